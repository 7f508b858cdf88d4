//! Writes the graph for pictures, with its weights, for a model server.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    build::{self, Precision, Recipe},
    error::ModelError,
    export::portable,
    files::ModelFiles,
    layout::Graphs,
    origin::Origin,
};

/// Why a graph was not written.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The files of the model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// There is only a graph for pictures and texts together.
    #[error(
        "the model in {place} has one graph for pictures and texts, and a server needs one for pictures alone: use a repository \
         with `onnx/vision_model.onnx`, and name it with `--onnx`"
    )]
    Combined {
        /// The folder.
        place: String,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The name of the graph at a server.
const GRAPH: &str = "model.onnx";

/// Writes the graph for pictures to `folder` as `model.onnx`, and its weights to the places beside it that the graph names.
pub(super) fn write_vision(files: &ModelFiles, origin: &Origin, folder: &Path) -> Result<(), ServingError> {
    match origin {
        Origin::Files(graphs, _) => copy_vision(files, graphs, folder),
        Origin::Weights(recipe, precision) => build_vision(files, recipe, precision, folder),
    }
}

fn build_vision(
    files: &ModelFiles,
    recipe: &Recipe,
    precision: &Precision,
    folder: &Path,
) -> Result<(), ServingError> {
    let numbers = folder.join("numbers.int8");
    let written = recipe.export(build::Tower::Vision, &portable(precision, &numbers), &folder.join(GRAPH));
    written.map_err(|error| files.unusable(&error.file, &error.problem))?;
    // They are in the file with the weights.
    match fs::remove_file(&numbers) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ServingError::Io { path: numbers, error })
        }
        _ => Ok(()),
    }
}

fn copy_vision(files: &ModelFiles, graphs: &Graphs, folder: &Path) -> Result<(), ServingError> {
    if graphs.is_combined() {
        return Err(ServingError::Combined { place: files.place() });
    }
    let graph = graphs.vision.as_str();
    let beside = Path::new(graph).parent().unwrap_or(Path::new(""));
    let target = folder.join(GRAPH);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ServingError::Io { path, error }
    };
    let Some(from) = files.folder() else {
        let content = files.read(graph)?.unwrap_or_default();
        return fs::write(&target, &content).map_err(failed(&target));
    };
    for weights in files.weights(graph)? {
        let name = Path::new(&weights.name);
        let target = folder.join(name.strip_prefix(beside).unwrap_or(name));
        copy(&from.join(name), &target).map_err(failed(&target))?;
    }
    copy(&from.join(graph), &target).map_err(failed(&target))
}

/// With the permissions of a new file: those in a cache may keep the server away.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::Local;

    fn graphs(files: &ModelFiles) -> Graphs {
        Graphs::find(files, "", Local::Both).unwrap()
    }

    #[test]
    fn the_graph_and_its_weights_are_copied() {
        let (model, server) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bundled = ModelFiles::bundled();
        copy_vision(&bundled, &graphs(&bundled), server.path()).unwrap();
        let copied = fs::read(server.path().join("model.onnx")).unwrap();
        assert_eq!(copied, *bundled.read("onnx/vision_model.onnx").unwrap().unwrap());

        // One tensor in `a.bin`, as ONNX writes it.
        let tensor = b"\x6a\x11\x0a\x08location\x12\x05a.bin\x70\x01";
        let initializer = [&[0x2a, tensor.len() as u8], &tensor[..]].concat();
        let graph = [&[0x3a, initializer.len() as u8], &initializer[..]].concat();
        fs::create_dir(model.path().join("onnx")).unwrap();
        for (name, content) in [
            ("config.json", &b"{}"[..]),
            ("preprocessor_config.json", &b"{}"[..]),
            ("tokenizer.json", &b"{}"[..]),
            ("onnx/vision_model.onnx", &graph[..]),
            ("onnx/text_model.onnx", &b""[..]),
            ("onnx/a.bin", &b"1234"[..]),
        ] {
            fs::write(model.path().join(name), content).unwrap();
        }
        let files = ModelFiles::Folder(model.path().to_owned());
        copy_vision(&files, &graphs(&files), server.path()).unwrap();
        assert_eq!(fs::read(server.path().join("model.onnx")).unwrap(), graph);
        assert_eq!(fs::read(server.path().join("a.bin")).unwrap(), b"1234");

        fs::remove_file(model.path().join("onnx/text_model.onnx")).unwrap();
        fs::write(model.path().join("onnx/model.onnx"), b"").unwrap();
        let combined = copy_vision(&files, &graphs(&files), server.path()).unwrap_err().to_string();
        assert!(combined.contains("one graph for pictures and texts"), "{combined}");
    }
}
