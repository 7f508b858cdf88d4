//! Writes a graph as an ONNX file with its weights in a file beside it, as exports on the hub have them.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::onnx::{Data, Graph};

/// Tensors begin at multiples of this, so that they can be mapped into memory one by one.
const ALIGNMENT: u64 = 64;

/// Writes `graph` to `path`, and the tensors that it takes from files of `folder` to the file with `_data` after the name. Returns both.
///
/// # Errors
/// A file cannot be read or written.
pub(super) fn write(mut graph: Graph, folder: &Path, path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let data_name = format!("{name}_data");
    let data_path = path.with_file_name(&data_name);
    let mut data = BufWriter::new(File::create(&data_path)?);
    let mut at = 0_u64;
    for constant in &mut graph.constants {
        let Data::Outside { file, offset, length } = &constant.data else { continue };
        let gap = at.next_multiple_of(ALIGNMENT) - at;
        data.write_all(&[0; ALIGNMENT as usize][..gap as usize])?;
        let mut source = File::open(folder.join(file))?;
        source.seek(SeekFrom::Start(*offset))?;
        let length = *length;
        if io::copy(&mut source.take(length), &mut data)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        constant.data = Data::Outside { file: data_name.clone(), offset: at + gap, length };
        at += gap + length;
    }
    data.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::write(path, graph.to_bytes())?;
    Ok(vec![path.to_owned(), data_path])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{
        build::onnx::{Constant, Element},
        external_data,
    };

    #[test]
    fn the_weights_are_in_one_file_beside_the_graph() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.safetensors"), b"xxABCDxxxxEFGH").unwrap();
        let constant = |name: &str, offset| Constant {
            name: name.to_owned(),
            element: Element::Float,
            shape: vec![1],
            data: Data::Outside { file: "a.safetensors".to_owned(), offset, length: 4 },
        };
        let inside = Constant { data: Data::Inside(vec![0; 4]), ..constant("inside", 0) };
        let constants = vec![constant("first", 10), inside, constant("second", 2)];
        let path = folder.path().join("vision_model.onnx");
        let written = write(Graph { constants, ..Graph::default() }, folder.path(), &path).unwrap();
        assert_eq!(written, [path.clone(), folder.path().join("vision_model.onnx_data")]);
        let data = fs::read(&written[1]).unwrap();
        assert_eq!((&data[..4], &data[64..], data.len()), (&b"EFGH"[..], &b"ABCD"[..], 68));
        let graph = io::BufReader::new(File::open(&path).unwrap());
        let locations: Vec<_> = external_data::locations(graph).unwrap().into_iter().collect();
        assert_eq!(locations, [("vision_model.onnx_data".to_owned(), 68)]);

        let constants = vec![constant("beyond", 12)];
        let error = write(Graph { constants, ..Graph::default() }, folder.path(), &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
