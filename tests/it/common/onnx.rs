//! Reads the weights of an ONNX graph, and moves them into files beside it, as exporters do for large models.

use std::collections::BTreeMap;

use super::protobuf::{field, number};

/// Smaller weights stay in the graph.
const THRESHOLD: usize = 1024;
const FLOAT: u64 = 1;
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const DIMENSION: u64 = 1;
const DATA_TYPE: u64 = 2;
const NAME: u64 = 8;
const RAW_DATA: u64 = 9;
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;

/// A weight of a graph: 32-bit numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The 32-bit weights that a graph contains, in their order.
pub fn weights(model: &[u8]) -> Vec<Weight> {
    let graphs = fields(model).into_iter().filter(|part| part.number == GRAPH);
    let parts = graphs.flat_map(|graph| fields(graph.content));
    parts.filter(|part| part.number == INITIALIZER).filter_map(|tensor| weight(tensor.content)).collect()
}

/// `None` for other types than 32-bit numbers.
fn weight(tensor: &[u8]) -> Option<Weight> {
    let parts = fields(tensor);
    let first = |number| parts.iter().find(|part| part.number == number);
    first(DATA_TYPE).filter(|part| part.value == FLOAT)?;
    let dimensions = parts.iter().filter(|part| part.number == DIMENSION);
    let shape: Vec<usize> = dimensions.map(|part| usize::try_from(part.value).unwrap()).collect();
    let bytes = first(RAW_DATA).expect("the weights are in the graph").content;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    assert_eq!(values.len(), shape.iter().product::<usize>());
    let name = String::from_utf8(first(NAME).unwrap().content.to_vec()).unwrap();
    Some(Weight { name, shape, values })
}

/// The graph without its larger weights, and the files that hold them. `location` gives the file of a tensor by its name.
pub fn with_external_weights(
    model: &[u8],
    location: impl Fn(&str) -> String,
) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    let mut rebuilt = Vec::new();
    for part in fields(model) {
        if part.number != GRAPH {
            rebuilt.extend_from_slice(part.whole);
            continue;
        }
        let mut graph = Vec::new();
        for part in fields(part.content) {
            match part.number {
                INITIALIZER => graph.extend(field(INITIALIZER, &moved(part.content, &location, &mut files))),
                _ => graph.extend_from_slice(part.whole),
            }
        }
        rebuilt.extend(field(GRAPH, &graph));
    }
    (rebuilt, files)
}

/// A tensor with its weights in `files`, if they are large.
fn moved(tensor: &[u8], location: impl Fn(&str) -> String, files: &mut BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let parts = fields(tensor);
    let content = |number| parts.iter().find(|part| part.number == number).map(|part| part.content);
    let Some(weights) = content(RAW_DATA).filter(|weights| weights.len() >= THRESHOLD) else {
        return tensor.to_vec();
    };
    let location = location(std::str::from_utf8(content(NAME).unwrap()).unwrap());
    let file = files.entry(location.clone()).or_default();
    let (offset, length) = (file.len().to_string(), weights.len().to_string());
    file.extend_from_slice(weights);
    let kept = parts.iter().filter(|part| part.number != RAW_DATA);
    let mut moved: Vec<u8> = kept.flat_map(|part| part.whole).copied().collect();
    for (key, value) in [("location", &location), ("offset", &offset), ("length", &length)] {
        moved.extend(field(EXTERNAL_DATA, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    moved.extend(number(DATA_LOCATION << 3));
    moved.push(1);
    moved
}

struct Field<'a> {
    number: u64,
    whole: &'a [u8],
    /// Empty for numbers.
    content: &'a [u8],
    /// 0 for anything but a number.
    value: u64,
}

fn fields(message: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let start = at;
        let tag = varint(message, &mut at);
        let (mut content, mut value) = (&message[..0], 0);
        match tag & 7 {
            0 => value = varint(message, &mut at),
            1 => at += 8,
            2 => {
                let size = usize::try_from(varint(message, &mut at)).unwrap();
                content = &message[at..at + size];
                at += size;
            }
            5 => at += 4,
            wire => panic!("no such kind of field: {wire}"),
        }
        found.push(Field { number: tag >> 3, whole: &message[start..at], content, value });
    }
    found
}

fn varint(message: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
