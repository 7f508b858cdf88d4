//! Makes the variant `int8` of a vision tower from its weights, and keeps it in a file of the cache folder.
//!
//! The file holds every tensor of the tower, because ONNX Runtime reads the tensors of a graph from one folder. The text tower keeps its
//! full precision: the vectors of labels are computed once and kept, so 8 bits would make them worse and nothing faster.
//!
//! ```text
//! tensors, each at a multiple of 64 bytes | JSON: places of the tensors, layers that kept their precision | its length, 8 bytes | MARK
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::{
    error::BuildError,
    int8_graph::{self, LinearLayer, WholeWeights},
    onnx::{Constant, Data, Element, Graph},
    quantise::{self, MOST_ERROR, Magnitude},
};

/// The end of the file.
const MARK: &[u8; 8] = b"stkoint8";
/// Tensors begin at multiples of this, as vector instructions like it.
const ALIGNMENT: u64 = 64;
/// The longest list of places, in bytes. That of a tower with a thousand layers is a hundredth of this.
const LONGEST_INDEX: u64 = 16 << 20;

/// A graph whose weights have 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Int8Graph {
    pub graph: Graph,
    /// The folder of the file that the graph refers to.
    pub folder: PathBuf,
    /// The layers that kept their full precision, because 8 bits would change their weights too much.
    pub kept: Vec<String>,
}

/// What the file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// The first byte and the number of bytes of each tensor.
    places: BTreeMap<String, (u64, u64)>,
    kept: Vec<String>,
}

/// The graph of a vision tower in 8 bits, from the file at `path`, which is made if it does not exist or is damaged. `folder` contains
/// the weights that the graph refers to.
///
/// # Errors
/// The weights cannot be read, or the file cannot be written.
pub(super) fn of(
    graph: Graph,
    folder: &Path,
    path: &Path,
    magnitude: Magnitude,
) -> Result<Int8Graph, BuildError> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wrong = |error: io::Error| BuildError::new(file, error.to_string());
    let layers = int8_graph::layers(&graph);
    let index = match Index::read(path).filter(|index| index.fits(&graph, &layers)) {
        Some(index) => index,
        None => {
            make(&graph, &layers, folder, path, magnitude)?;
            let made = Index::read(path).filter(|index| index.fits(&graph, &layers));
            made.ok_or_else(|| wrong(io::ErrorKind::InvalidData.into()))?
        }
    };
    let parent = path.parent().unwrap_or(Path::new("."));
    let folder = parent.canonicalize().map_err(wrong)?;
    Ok(Int8Graph { graph: index.applied(graph, file), folder, kept: index.kept })
}

impl Index {
    /// The end of a file; `None` if the file does not exist or is no such file.
    fn read(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let end = file.seek(SeekFrom::End(-16)).ok()?;
        let mut tail = [0; 16];
        file.read_exact(&mut tail).ok()?;
        let (length, mark) = tail.split_at(8);
        let length = u64::from_le_bytes(length.try_into().ok()?);
        let begin = end.checked_sub(length).filter(|_| mark == MARK && length <= LONGEST_INDEX)?;
        file.seek(SeekFrom::Start(begin)).ok()?;
        let mut json = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut json).ok()?;
        let index: Self = serde_json::from_slice(&json).ok()?;
        let is_inside =
            |(offset, length): &(u64, u64)| offset.checked_add(*length).is_some_and(|end| end <= begin);
        index.places.values().all(is_inside).then_some(index)
    }

    /// Whether the file has every tensor that the graph takes from a file, in the size that it has there.
    fn fits(&self, graph: &Graph, layers: &[LinearLayer]) -> bool {
        let has =
            |name: &str, expected: u64| self.places.get(name).is_some_and(|(_, length)| *length == expected);
        let is_whole =
            |name: &str| layers.iter().any(|layer| layer.weight.name == name) && !self.is_kept(name);
        graph.constants.iter().all(|constant| match &constant.data {
            Data::Inside(_) => true,
            Data::Outside { .. } if is_whole(&constant.name) => {
                let size: usize = constant.shape.iter().product();
                let rows = constant.shape.first().copied().unwrap_or(0);
                has(&numbers(&constant.name), size as u64) && has(&scales(&constant.name), 4 * rows as u64)
            }
            Data::Outside { length, .. } => has(&constant.name, *length),
        })
    }

    fn is_kept(&self, layer: &str) -> bool {
        self.kept.iter().any(|kept| kept == layer)
    }

    /// The graph with its tensors in the file of this name.
    fn applied(&self, graph: Graph, file: &str) -> Graph {
        let place = |name: &str| {
            let (offset, length) = *self.places.get(name)?;
            Some(Data::Outside { file: file.to_owned(), offset, length })
        };
        let whole = |layer: LinearLayer| {
            let name = layer.weight.name;
            let weights = WholeWeights { numbers: place(&numbers(&name))?, scales: place(&scales(&name))? };
            Some((name, weights))
        };
        let whole = int8_graph::layers(&graph).into_iter().filter_map(whole).collect();
        let mut graph = int8_graph::rewritten(graph, &whole);
        for constant in &mut graph.constants {
            if let (Data::Outside { .. }, Some(place)) = (&constant.data, place(&constant.name)) {
                constant.data = place;
            }
        }
        graph
    }
}

/// The name of a layer's whole numbers in the file.
fn numbers(layer: &str) -> String {
    format!("{layer}:numbers")
}

/// The name of a layer's scales in the file.
fn scales(layer: &str) -> String {
    format!("{layer}:scales")
}

/// Makes the file, which gets its name when it is complete.
fn make(
    graph: &Graph,
    layers: &[LinearLayer],
    folder: &Path,
    path: &Path,
    magnitude: Magnitude,
) -> Result<(), BuildError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wrong = |error: io::Error| BuildError::new(name, error.to_string());
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(wrong)?;
    let temporary = tempfile::NamedTempFile::new_in(parent).map_err(wrong)?;
    let mut writer = Tensors { file: BufWriter::new(temporary), at: 0, index: Index::default() };
    for constant in &graph.constants {
        let Data::Outside { file, offset, length } = &constant.data else { continue };
        let read = || {
            read(&folder.join(file), *offset, *length)
                .map_err(|error| BuildError::new(file, error.to_string()))
        };
        let layer = layers.iter().find(|layer| layer.weight.name == constant.name);
        let quantised = match layer {
            Some(layer) => quantise::quantise(&floats(constant, &read()?), layer.inputs, magnitude),
            None => None,
        };
        match quantised.filter(|quantised| quantised.error <= MOST_ERROR) {
            Some(quantised) => {
                let whole: Vec<u8> =
                    quantised.by_input.iter().map(|number| number.to_le_bytes()[0]).collect();
                let parts: Vec<u8> = quantised.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                writer.add(numbers(&constant.name), &whole).map_err(wrong)?;
                writer.add(scales(&constant.name), &parts).map_err(wrong)?;
            }
            None => {
                writer.index.kept.extend(layer.map(|layer| layer.weight.name.clone()));
                writer.add(constant.name.clone(), &read()?).map_err(wrong)?;
            }
        }
    }
    writer.finish(path).map_err(wrong)
}

/// Bytes of a file.
fn read(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    let read = file.take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The numbers of a tensor of weights.
fn floats(constant: &Constant, bytes: &[u8]) -> Vec<f32> {
    let halves = || bytes.as_chunks::<2>().0.iter();
    match constant.element {
        Element::Half => halves().map(|half| f16::from_le_bytes(*half).to_f32()).collect(),
        Element::BFloat16 => halves().map(|half| bf16::from_le_bytes(*half).to_f32()).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|float| f32::from_le_bytes(*float)).collect(),
    }
}

/// The file that is being made.
struct Tensors {
    file: BufWriter<tempfile::NamedTempFile>,
    at: u64,
    index: Index,
}

impl Tensors {
    fn add(&mut self, name: String, bytes: &[u8]) -> io::Result<()> {
        let gap = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.file.write_all(&[0; ALIGNMENT as usize][..gap as usize])?;
        self.file.write_all(bytes)?;
        self.at += gap;
        self.index.places.insert(name, (self.at, bytes.len() as u64));
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(&self.index).map_err(io::Error::other)?;
        self.file.write_all(&json)?;
        self.file.write_all(&(json.len() as u64).to_le_bytes())?;
        self.file.write_all(MARK)?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::onnx::{Attribute, BATCH, Dimension, Node, Outlet};

    const INPUTS: usize = 16;

    /// Two layers of 16 inputs and a table of floats, in one file: the second layer does not fit 8 bits.
    fn model(folder: &Path) -> Graph {
        let spread: Vec<f32> = (0..32).map(|at| (at * 37 % 32) as f32 / 16.0 - 1.0).collect();
        let mut outlier = spread.clone();
        outlier[3] = 1e6;
        outlier[20] = 1e6;
        let bytes: Vec<u8> = [&spread[..], &outlier, &[0.5; 4]]
            .concat()
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        fs::write(folder.join("model.safetensors"), bytes).unwrap();
        let constant = |name: &str, shape: &[usize], offset| {
            let length = 4 * shape.iter().product::<usize>() as u64;
            let data = Data::Outside { file: "model.safetensors".to_owned(), offset, length };
            Constant { name: name.to_owned(), element: Element::Float, shape: shape.to_vec(), data }
        };
        let gemm = |input: &str, weight: &str, output: &str| Node {
            operator: "Gemm",
            domain: "",
            inputs: vec![input.to_owned(), weight.to_owned()],
            output: output.to_owned(),
            attributes: vec![("transB", Attribute::Int(1))],
        };
        let outlet = |name: &str, size| Outlet {
            name: name.to_owned(),
            element: Element::Float,
            shape: vec![BATCH, Dimension::Fixed(size)],
        };
        let add = Node {
            operator: "Add",
            domain: "",
            inputs: vec!["x".to_owned(), "table".to_owned()],
            output: "sum".to_owned(),
            attributes: vec![],
        };
        Graph {
            inputs: vec![outlet("x", INPUTS)],
            outputs: vec![outlet("y", 2), outlet("z", 2)],
            constants: vec![
                constant("good", &[2, INPUTS], 0),
                constant("bad", &[2, INPUTS], 128),
                constant("table", &[4], 256),
            ],
            nodes: vec![add, gemm("sum", "good", "y"), gemm("sum", "bad", "z")],
        }
    }

    #[test]
    fn a_file_is_made_once_and_again_if_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let graph = model(folder.path());
        let path = folder.path().join("cache/int8/a.int8");
        let of = |graph: &Graph| of(graph.clone(), folder.path(), &path, Magnitude::Whole).unwrap();
        let made = of(&graph);
        assert_eq!(made.kept, ["bad"]);
        assert_eq!(made.folder, path.parent().unwrap().canonicalize().unwrap());
        let bytes = fs::read(&path).unwrap();
        let place = |name: &str| {
            let constant = made.graph.constants.iter().find(|constant| constant.name == name).unwrap();
            let Data::Outside { file, offset, length } = &constant.data else { panic!("{constant:?}") };
            assert_eq!((&**file, offset % ALIGNMENT), ("a.int8", 0));
            bytes[*offset as usize..(*offset + *length) as usize].to_vec()
        };
        assert_eq!(place("table"), 0.5_f32.to_le_bytes().repeat(4));
        assert_eq!(place("bad")[12..16], 1e6_f32.to_le_bytes());
        let (numbers, scales) = (place("good numbers"), place("good scales"));
        assert_eq!((numbers.len(), scales.len()), (32, 8));
        // The largest numbers of the two rows.
        let expected = [1.0_f32, 0.9375].map(|largest| (largest / 127.0).to_le_bytes());
        assert_eq!(scales, expected.concat());
        assert_eq!(numbers[0] as i8, -127);

        // The same again, without a change of the file.
        let modified = || fs::metadata(&path).unwrap().modified().unwrap();
        let first = modified();
        assert_eq!(of(&graph), made);
        assert_eq!(modified(), first);
        for damaged in [&bytes[..bytes.len() - 1], &bytes[..10], b"", &[&bytes[..], b"x"].concat()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(of(&graph), made);
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        // A file of another model under this name.
        let mut other = graph;
        other.constants[2].name = "other".to_owned();
        other.nodes[0].inputs[1] = "other".to_owned();
        assert!(of(&other).graph.constants.iter().any(|constant| constant.name == "other"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn weights_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let graph = model(folder.path());
        fs::write(folder.path().join("model.safetensors"), [0; 100]).unwrap();
        let path = folder.path().join("a.int8");
        let error = of(graph, folder.path(), &path, Magnitude::Reduced).unwrap_err();
        assert!(error.file == "model.safetensors" && !path.exists(), "{error}");
    }

    #[test]
    fn weights_of_16_bits_are_read() {
        let constant = |element| Constant {
            name: "w".to_owned(),
            element,
            shape: vec![1],
            data: Data::Inside(Vec::new()),
        };
        assert_eq!(floats(&constant(Element::Half), &f16::from_f32(1.5).to_le_bytes()), [1.5]);
        assert_eq!(floats(&constant(Element::BFloat16), &bf16::from_f32(-3.0).to_le_bytes()), [-3.0]);
        assert_eq!(floats(&constant(Element::Float), &0.1_f32.to_le_bytes()), [0.1]);
    }
}
