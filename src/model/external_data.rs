//! Finds the files beside an ONNX graph that hold its weights, from the graph itself.
//!
//! The graph is read as a stream of protobuf fields: weights inside of it are skipped, so a graph of gigabytes takes
//! milliseconds. Only tensors are visited that the format allows to be kept elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Seek, SeekFrom},
    path::{Component, Path},
};

/// The files that a graph refers to, by their `location` in the graph, with the number of bytes that the graph needs of each.
pub(super) type Locations = BTreeMap<String, u64>;

/// Messages inside messages; graphs on the hub have fewer than ten.
const DEEPEST: usize = 64;
/// Longer texts are no file names.
const LONGEST_TEXT: u64 = 4096;

/// The files that `graph` refers to.
///
/// # Errors
/// It cannot be read, or is not an ONNX graph ([`io::ErrorKind::InvalidData`], [`io::ErrorKind::UnexpectedEof`]).
pub(super) fn locations(mut graph: impl BufRead + Seek) -> io::Result<Locations> {
    let length = graph.seek(SeekFrom::End(0))?;
    graph.seek(SeekFrom::Start(0))?;
    let mut found = Locations::new();
    visit(&mut Fields { bytes: graph, at: 0 }, OnnxMessage::Model, length, 0, &mut found)?;
    Ok(found)
}

/// Whether a location is a file in the graph's own folder or below it. Others are never read or fetched.
pub(super) fn is_inside(location: &str) -> bool {
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    !location.is_empty()
        && !location.ends_with('/')
        && !location.contains(|c: char| c.is_control() || c == '\\')
        && Path::new(location).components().all(plain)
        && Path::new(location).file_name().is_some()
}

/// The name of a location, relative to the folder that contains the graph's name: `onnx/a.onnx` and `b` are `onnx/b`.
pub(super) fn beside(graph: &str, location: &str) -> String {
    let parts = Path::new(location).components();
    let plain: Vec<_> = parts.filter(|part| matches!(part, Component::Normal(_))).collect();
    let name: std::path::PathBuf = plain.iter().collect();
    Path::new(graph).with_file_name(name).to_string_lossy().into_owned()
}

/// The messages of `onnx.proto` that may contain tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnnxMessage {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
}

impl OnnxMessage {
    /// What a field of this message contains; `None` for fields without tensors.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            _ => return None,
        })
    }
}

/// Visits the tensors of a message that ends at `end`.
fn visit(
    fields: &mut Fields<impl BufRead + Seek>,
    message: OnnxMessage,
    end: u64,
    depth: usize,
    found: &mut Locations,
) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(invalid("its parts are nested too deeply"));
    }
    if message == OnnxMessage::Tensor {
        return tensor(fields, end, found);
    }
    while fields.at < end {
        match fields.next(end)? {
            Field::Content(number, after) => match message.field(number) {
                Some(inner) => visit(fields, inner, after, depth + 1, found)?,
                None => fields.skip_to(after)?,
            },
            Field::Number(..) => {}
        }
    }
    Ok(())
}

/// A `TensorProto`: `external_data` is a list of keys and values, which counts if `data_location` is 1.
fn tensor(fields: &mut Fields<impl BufRead + Seek>, end: u64, found: &mut Locations) -> io::Result<()> {
    const EXTERNAL_DATA: u64 = 13;
    const DATA_LOCATION: u64 = 14;
    let mut entries = BTreeMap::new();
    let mut is_external = false;
    while fields.at < end {
        match fields.next(end)? {
            Field::Content(EXTERNAL_DATA, after) => entries.extend([entry(fields, after)?]),
            Field::Content(_, after) => fields.skip_to(after)?,
            Field::Number(DATA_LOCATION, value) => is_external = value == 1,
            Field::Number(..) => {}
        }
    }
    let number = |key: &str| entries.get(key).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    if let Some(location) = entries.get("location").filter(|_| is_external) {
        let needed = number("offset").saturating_add(number("length"));
        let most = found.entry(location.clone()).or_default();
        *most = needed.max(*most);
    }
    Ok(())
}

/// A `StringStringEntryProto`: a key and a value.
fn entry(fields: &mut Fields<impl BufRead + Seek>, end: u64) -> io::Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    while fields.at < end {
        match fields.next(end)? {
            Field::Content(1, after) => key = fields.text(after)?,
            Field::Content(2, after) => value = fields.text(after)?,
            Field::Content(_, after) => fields.skip_to(after)?,
            Field::Number(..) => {}
        }
    }
    Ok((key, value))
}

/// The bytes of a graph, with the position in it.
struct Fields<R> {
    bytes: R,
    at: u64,
}

/// A field of a message.
enum Field {
    /// Its number, and the position of its end. The content has not been read.
    Content(u64, u64),
    /// Its number and its value; numbers of fixed width are skipped, and count as 0.
    Number(u64, u64),
}

impl<R: BufRead + Seek> Fields<R> {
    /// The next field of a message that ends at `end`.
    fn next(&mut self, end: u64) -> io::Result<Field> {
        let tag = self.varint()?;
        let (number, wire) = (tag >> 3, tag & 7);
        let field = match wire {
            0 => Field::Number(number, self.varint()?),
            1 | 5 => {
                self.skip_to(self.at + if wire == 1 { 8 } else { 4 })?;
                Field::Number(number, 0)
            }
            2 => {
                let size = self.varint()?;
                let after = self.at.checked_add(size).filter(|after| *after <= end);
                Field::Content(number, after.ok_or_else(cut)?)
            }
            _ => return Err(invalid("it is not an ONNX graph")),
        };
        if self.at > end { Err(cut()) } else { Ok(field) }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.bytes.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("it is not an ONNX graph"))
    }

    fn text(&mut self, after: u64) -> io::Result<String> {
        let size = after - self.at;
        if size > LONGEST_TEXT {
            return Err(invalid("the name of a weight file is too long"));
        }
        let mut text = String::new();
        self.bytes.by_ref().take(size).read_to_string(&mut text)?;
        self.at = after;
        Ok(text)
    }

    fn skip_to(&mut self, after: u64) -> io::Result<()> {
        let size = i64::try_from(after - self.at).map_err(|_| cut())?;
        self.bytes.seek_relative(size)?;
        self.at = after;
        Ok(())
    }
}

fn cut() -> io::Error {
    invalid("it is not an ONNX graph, or is incomplete")
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/common/protobuf.rs"));

    fn external(entries: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(key, value): &(&str, &str)| {
            field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
        };
        let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
        // dims, data_type, name, then data_location: EXTERNAL.
        [&[8, 3, 16, 1][..], &field(8, b"w"), &entries, &[14 << 3, 1]].concat()
    }

    fn found(model: &[u8]) -> io::Result<Vec<(String, u64)>> {
        let graph = BufReader::with_capacity(16, Cursor::new(model));
        Ok(locations(graph)?.into_iter().collect())
    }

    #[test]
    fn weight_files_are_found_wherever_a_tensor_may_be() {
        let inside = field(5, &[field(8, b"inside"), field(9, &[7; 5000])].concat());
        let initializer = field(5, &external(&[("location", "a.data"), ("offset", "100"), ("length", "28")]));
        let smaller = field(5, &external(&[("location", "a.data"), ("length", "100")]));
        let sparse = field(15, &field(1, &external(&[("location", "sparse")])));
        let constant = field(1, &field(5, &field(5, &external(&[("location", "constant_b")]))));
        let branch = field(5, &external(&[("location", "in_a_branch")]));
        let condition = field(1, &field(5, &field(6, &branch)));
        // `data_location` is not EXTERNAL: the entries mean nothing.
        let unused = field(5, &field(13, &[field(1, b"location"), field(2, b"unused")].concat()));
        let graph = [inside, initializer, smaller, sparse, constant, condition, unused].concat();
        let function = field(25, &field(7, &field(5, &field(5, &external(&[("location", "function")])))));
        let model = [&[8, 8][..], &field(2, b"pytorch"), &field(7, &graph), &function].concat();
        let expected =
            [("a.data", 128), ("constant_b", 0), ("function", 0), ("in_a_branch", 0), ("sparse", 0)];
        assert_eq!(found(&model).unwrap(), expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn what_is_not_a_graph_is_an_error() {
        assert_eq!(found(b"").unwrap(), []);
        let whole = field(7, &field(5, &external(&[("location", "a")])));
        assert_eq!(found(&whole).unwrap().len(), 1);
        for cut in 1..whole.len() {
            assert!(found(&whole[..cut]).is_err(), "{cut} bytes");
        }
        let mut nested = Vec::new();
        for _ in 0..100 {
            nested = field(1, &field(5, &field(6, &nested)));
        }
        assert!(found(&field(7, &nested)).unwrap_err().to_string().contains("too deeply"));
        let long = "x".repeat(5000);
        assert!(found(&field(7, &field(5, &external(&[("location", &long)])))).is_err());
        for damaged in
            [&b"{\"model\": 1}"[..], &[0xff; 40], b"version https://git-lfs.github.com/spec/v1\noid"]
        {
            assert!(found(damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn a_bundled_graph_holds_its_weights_itself() {
        for file in ["models/bundled/onnx/text_model.onnx", "models/bundled/onnx/vision_model.onnx"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let graph = BufReader::new(std::fs::File::open(path).unwrap());
            assert_eq!(locations(graph).unwrap(), Locations::new());
        }
    }

    #[test]
    fn a_location_stays_in_the_folder_of_its_graph() {
        for (location, name) in [
            ("model.onnx_data", "onnx/model.onnx_data"),
            ("./weights/part 1.bin", "onnx/weights/part 1.bin"),
            (".hidden", "onnx/.hidden"),
            ("text_model.embeddings.weight", "onnx/text_model.embeddings.weight"),
        ] {
            assert!(is_inside(location), "{location}");
            assert_eq!(beside("onnx/text_model.onnx", location), name);
        }
        assert_eq!(beside("model.onnx", "./a.bin"), "a.bin");
        for location in
            ["", ".", "..", "/etc/passwd", "../weights", "a/../../b", "a/..", "a\\..\\b", "a\0b", "a/"]
        {
            assert!(!is_inside(location), "{location:?}");
        }
    }
}
