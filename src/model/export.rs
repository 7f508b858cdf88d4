//! Writes a model into a folder in the hub's layout, for other programs: settings, `tokenizer.json`, scale and bias, and ONNX files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    build::{self, Format, Magnitude, Precision, Recipe},
    error::ModelError,
    family::Logits,
    files::{ModelConfig, ModelFiles},
    layout::{self, Graphs, Local},
    origin::Origin,
    tokenizer,
};

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The model itself cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The folder contains files.
    #[error("{} is not empty: name a new folder, or an empty one", .0.display())]
    NotEmpty(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written: {reason}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A variant of a model to export.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The model's files.
    pub files: ModelFiles,
    /// The suffix of the names of its graphs.
    pub suffix: String,
    /// Scale and bias, where they are known and the files may not hold them.
    pub logits: Option<Logits>,
}

/// Writes the variants of one model into `folder`, with the settings of the first one. Returns the files that were written.
///
/// # Errors
/// The model cannot be used, the folder is not empty, or a file cannot be written.
pub fn export(variants: &[Exported], folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ExportError::NotEmpty(folder.to_owned()));
    }
    let mut target = Target { folder, written: Vec::new() };
    for (at, variant) in variants.iter().enumerate() {
        let origin = Origin::find(&variant.files, &variant.suffix, Local::Both)?;
        if at == 0 {
            settings(&mut target, variant, &origin)?;
        }
        match &origin {
            Origin::Files(graphs, _) => target.copy_graphs(&variant.files, graphs)?,
            Origin::Weights(recipe, precision) => {
                target.build_graphs(&variant.files, recipe, precision, &variant.suffix)?;
            }
        }
    }
    Ok(target.written)
}

/// Writes everything but the graphs.
fn settings(target: &mut Target<'_>, variant: &Exported, origin: &Origin) -> Result<(), ExportError> {
    let Exported { files, logits, .. } = variant;
    let format = origin.format();
    // With a `config.json` the folder would be a model of the other format.
    let other = if format == Format::OpenClip { layout::CONFIG } else { layout::OPEN_CLIP_CONFIG };
    for name in layout::settings_files().filter(|name| *name != other) {
        if let Some(content) = files.read(name)? {
            target.write(name, &content)?;
        }
    }
    let config = ModelConfig::read(files, format)?;
    target.write(layout::TOKENIZER, &tokenizer::json(files, config)?)?;
    let logits = origin.logits(files)?.or(*logits);
    if let (Some(logits), false) = (logits, files.contains(layout::SCALE)) {
        target.write(layout::SCALE, format!("{:#}\n", logits.to_json()).as_bytes())?;
    }
    Ok(())
}

/// The folder, and what was written into it.
struct Target<'f> {
    folder: &'f Path,
    written: Vec<PathBuf>,
}

impl Target<'_> {
    /// The place of a file, in a folder that exists.
    fn place(&self, name: &str) -> Result<PathBuf, ExportError> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(self.folder);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        Ok(path)
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<(), ExportError> {
        let path = self.place(name)?;
        fs::write(&path, content).map_err(failed(&path))?;
        self.written.push(path);
        Ok(())
    }

    /// Copies ONNX files with their weights.
    fn copy_graphs(&mut self, files: &ModelFiles, graphs: &Graphs) -> Result<(), ExportError> {
        let mut names: Vec<String> = Vec::new();
        for graph in
            [Some(&graphs.vision), Some(&graphs.text), graphs.combined.as_ref()].into_iter().flatten()
        {
            names.push(graph.clone());
            names.extend(files.weights(graph)?.into_iter().map(|weights| weights.name));
        }
        names.sort();
        names.dedup();
        for name in names {
            let path = self.place(&name)?;
            match files.folder() {
                Some(folder) => {
                    fs::copy(folder.join(&name), &path).map_err(failed(&path))?;
                }
                None => {
                    let content = files.read(&name)?.unwrap_or_default();
                    fs::write(&path, &content).map_err(failed(&path))?;
                }
            }
            self.written.push(path);
        }
        Ok(())
    }

    /// Writes graphs that are built from weights, with the weights beside them.
    fn build_graphs(
        &mut self,
        files: &ModelFiles,
        recipe: &Recipe,
        precision: &Precision,
        suffix: &str,
    ) -> Result<(), ExportError> {
        let work = self.place("onnx/numbers.int8")?;
        let precision = &portable(precision, &work);
        for (tower, name) in [(build::Tower::Vision, "vision_model"), (build::Tower::Text, "text_model")] {
            let path = self.place(&format!("onnx/{name}{suffix}.onnx"))?;
            let written = recipe.export(tower, precision, &path);
            let written = written.map_err(|error| files.unusable(&error.file, &error.problem))?;
            self.written.extend(written);
        }
        match fs::remove_file(&work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&work)(error)),
            _ => Ok(()),
        }
    }
}

/// The same precision for any processor, with the numbers of 8 bits in the file `work`.
pub(super) fn portable(precision: &Precision, work: &Path) -> Precision {
    match precision {
        Precision::Int8(..) => Precision::Int8(work.to_owned(), Magnitude::Reduced),
        other => other.clone(),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |error| ExportError::Write { path, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_with_onnx_files_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new/model");
        let variant = Exported { files: ModelFiles::bundled(), suffix: String::new(), logits: None };
        let written = export(std::slice::from_ref(&variant), &target).unwrap();
        let names: Vec<_> =
            written.iter().map(|path| path.strip_prefix(&target).unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "config.json",
                "preprocessor_config.json",
                "stakeout.json",
                "tokenizer.json",
                "onnx/text_model.onnx",
                "onnx/vision_model.onnx"
            ]
        );
        for name in names {
            let expected = ModelFiles::bundled().read(name).unwrap().unwrap();
            assert_eq!(fs::read(target.join(name)).unwrap(), *expected, "{name}");
        }
        let error = export(&[variant], &target).unwrap_err().to_string();
        assert!(error.ends_with("is not empty: name a new folder, or an empty one"), "{error}");
    }
}
