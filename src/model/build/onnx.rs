//! Writes an ONNX model in its encoding, Protocol Buffers. Pure.
//!
//! Only seven messages are written and none is read, which takes a few lines for each. A code generator with the whole of
//! `onnx.proto` would be the larger part of the build.

/// The version of the format. ONNX Runtime 1.21 reads versions up to 10.
const FORMAT: u64 = 9;
/// The version of ONNX's own operators: the first with `Gelu`.
const OPERATORS: u64 = 20;
/// The name of ONNX Runtime's own operators.
pub(super) const ONNX_RUNTIME: &str = "com.microsoft";
/// A dimension of any size that is the number of pictures or texts.
pub(super) const BATCH: Dimension = Dimension::Any("batch");

/// The type of the numbers in a tensor, with its number in `onnx.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    Float = 1,
    UInt8 = 2,
    Int8 = 3,
    Int32 = 6,
    Int64 = 7,
    Half = 10,
    BFloat16 = 16,
}

/// A setting of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub operator: &'static str,
    /// Empty for ONNX's own operators.
    pub domain: &'static str,
    /// Names of values; an empty name for an optional input that is absent.
    pub inputs: Vec<String>,
    pub output: String,
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A size of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Fixed(usize),
    /// Any size. Equal names mean equal sizes.
    Any(&'static str),
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outlet {
    pub name: String,
    pub element: Element,
    pub shape: Vec<Dimension>,
}

/// A tensor that is known when the graph is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constant {
    pub name: String,
    pub element: Element,
    pub shape: Vec<usize>,
    pub data: Data,
}

/// Where the numbers of a constant are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// In the graph, as little-endian bytes.
    Inside(Vec<u8>),
    /// In a file.
    Outside { file: String, offset: u64, length: u64 },
}

/// A graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Graph {
    pub inputs: Vec<Outlet>,
    pub outputs: Vec<Outlet>,
    pub constants: Vec<Constant>,
    /// Each after those whose outputs it uses.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The bytes of a model file with this graph.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut graph = Encoded::default();
        self.nodes.iter().for_each(|node| graph.message(1, node.message()));
        graph.text(2, "tower");
        self.constants.iter().for_each(|constant| graph.message(5, constant.message()));
        self.inputs.iter().for_each(|input| graph.message(11, input.message()));
        self.outputs.iter().for_each(|output| graph.message(12, output.message()));
        let mut model = Encoded::default();
        model.number(1, FORMAT);
        model.text(2, env!("CARGO_PKG_NAME"));
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.message(7, graph);
        model.message(8, operators("", OPERATORS));
        if self.nodes.iter().any(|node| node.domain == ONNX_RUNTIME) {
            model.message(8, operators(ONNX_RUNTIME, 1));
        }
        model.0
    }
}

/// An `OperatorSetIdProto`.
fn operators(domain: &str, version: u64) -> Encoded {
    let mut message = Encoded::default();
    message.text(1, domain);
    message.number(2, version);
    message
}

impl Node {
    /// A `NodeProto`. Its name is that of its output.
    fn message(&self) -> Encoded {
        let mut message = Encoded::default();
        self.inputs.iter().for_each(|input| message.text(1, input));
        message.text(2, &self.output);
        message.text(3, &self.output);
        message.text(4, self.operator);
        for (name, attribute) in &self.attributes {
            message.message(5, attribute.message(name));
        }
        message.text(7, self.domain);
        message
    }
}

impl Attribute {
    /// An `AttributeProto`.
    fn message(&self, name: &str) -> Encoded {
        let mut message = Encoded::default();
        message.text(1, name);
        match self {
            Self::Float(value) => {
                message.float(2, *value);
                message.number(20, 1);
            }
            Self::Int(value) => {
                message.number(3, *value as u64);
                message.number(20, 2);
            }
            Self::Text(text) => {
                message.text(4, text);
                message.number(20, 3);
            }
            Self::Ints(values) => {
                values.iter().for_each(|value| message.number(8, *value as u64));
                message.number(20, 7);
            }
        }
        message
    }
}

impl Outlet {
    /// A `ValueInfoProto`, with the `TypeProto` of a tensor.
    fn message(&self) -> Encoded {
        let mut shape = Encoded::default();
        for dimension in &self.shape {
            let mut message = Encoded::default();
            match dimension {
                Dimension::Fixed(size) => message.number(1, *size as u64),
                Dimension::Any(name) => message.text(2, name),
            }
            shape.message(1, message);
        }
        let mut tensor = Encoded::default();
        tensor.number(1, self.element as u64);
        tensor.message(2, shape);
        let mut of_type = Encoded::default();
        of_type.message(1, tensor);
        let mut message = Encoded::default();
        message.text(1, &self.name);
        message.message(2, of_type);
        message
    }
}

impl Constant {
    /// A `TensorProto`.
    fn message(&self) -> Encoded {
        let mut message = Encoded::default();
        self.shape.iter().for_each(|size| message.number(1, *size as u64));
        message.number(2, self.element as u64);
        message.text(8, &self.name);
        match &self.data {
            Data::Inside(bytes) => message.bytes(9, bytes),
            Data::Outside { file, offset, length } => {
                let entries = [("location", file.clone()), ("offset", offset.to_string())];
                for (key, value) in entries.into_iter().chain([("length", length.to_string())]) {
                    let mut entry = Encoded::default();
                    entry.text(1, key);
                    entry.text(2, &value);
                    message.message(13, entry);
                }
                // EXTERNAL
                message.number(14, 1);
            }
        }
        message
    }
}

/// The fields of a message, encoded.
#[derive(Default)]
struct Encoded(Vec<u8>);

impl Encoded {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, content: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(content.len() as u64);
        self.0.extend(content);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: Self) {
        self.bytes(field, &message.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::model::external_data;

    #[test]
    fn a_model_has_the_bytes_of_the_format() {
        let outlet = |name: &str| Outlet {
            name: name.to_owned(),
            element: Element::Float,
            shape: vec![BATCH, Dimension::Fixed(300)],
        };
        let graph = Graph {
            inputs: vec![outlet("x")],
            outputs: vec![outlet("y")],
            constants: vec![Constant {
                name: "c".to_owned(),
                element: Element::Int64,
                shape: vec![1],
                data: Data::Inside(vec![255; 8]),
            }],
            nodes: vec![Node {
                operator: "Op",
                domain: "",
                inputs: vec!["x".to_owned(), String::new()],
                output: "y".to_owned(),
                attributes: vec![
                    ("i", Attribute::Int(-1)),
                    ("f", Attribute::Float(1.0)),
                    ("l", Attribute::Ints(vec![0, 2])),
                    ("s", Attribute::Text("tanh")),
                ],
            }],
        };
        let bytes = graph.to_bytes();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let minus_one = b"\x0a\x01i\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xa0\x01\x02";
        assert!(has(b"\x0a\x01x\x0a\x00\x12\x01y\x1a\x01y\x22\x02Op\x2a") && has(minus_one));
        assert!(
            has(b"\x0a\x01f\x15\x00\x00\x80\x3f\xa0\x01\x01")
                && has(b"\x0a\x01l\x40\x00\x40\x02\xa0\x01\x07")
                && has(b"\x0a\x01s\x22\x04tanh\xa0\x01\x03")
        );
        assert!(has(b"\x08\x01\x10\x07\x42\x01c\x4a\x08\xff\xff\xff\xff\xff\xff\xff\xff"));
        assert!(has(b"\x0a\x01x\x12\x14\x0a\x12\x08\x01\x12\x0e\x0a\x07\x12\x05batch\x0a\x03\x08\xac\x02"));
        assert!(bytes.starts_with(b"\x08\x09\x12") && bytes.ends_with(b"\x42\x04\x0a\x00\x10\x14"));
    }

    #[test]
    fn the_operators_of_onnx_runtime_are_declared_if_they_are_used() {
        let node = |domain| Node {
            operator: "Op",
            domain,
            inputs: vec![],
            output: "y".to_owned(),
            attributes: vec![],
        };
        let ends = |domain| {
            let bytes = Graph { nodes: vec![node(domain)], ..Graph::default() }.to_bytes();
            bytes.ends_with(b"\x42\x11\x0a\x0dcom.microsoft\x10\x01")
        };
        assert_eq!((ends(""), ends(ONNX_RUNTIME)), (false, true));
    }

    #[test]
    fn weights_in_files_are_found_by_the_reader_of_graphs() {
        let place = |offset, length| Data::Outside { file: "model.safetensors".to_owned(), offset, length };
        let constant =
            |data| Constant { name: "w".to_owned(), element: Element::Half, shape: vec![2, 3], data };
        let constants = vec![constant(place(1000, 12)), constant(place(300, 12))];
        let bytes = Graph { constants, ..Graph::default() }.to_bytes();
        let found = external_data::locations(Cursor::new(bytes)).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("model.safetensors".to_owned(), 1012)]);
    }
}
