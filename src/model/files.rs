//! Where the files of a model are: in a folder, or inside the binary.

use std::{borrow::Cow, fs, os::unix::fs::MetadataExt, path::PathBuf};

use sha2::{Digest as _, Sha256};

use super::ModelError;

/// The files of a model in the hub's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// In a folder.
    Folder(PathBuf),
    /// Inside the binary: names from the folder, and contents.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

impl ModelFiles {
    /// Where they are, in words for people.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Embedded(_) => "the binary itself".to_owned(),
        }
    }

    /// Whether everything is there that graphs with this suffix need.
    #[must_use]
    pub fn is_complete(&self, suffix: &str) -> bool {
        Graphs::find(self, suffix).is_ok()
    }

    /// Whether one of them tells scale and bias.
    #[must_use]
    pub fn holds_logits(&self, suffix: &str) -> bool {
        let combined =
            |graphs| matches!(graphs, Graphs::Combined(_) | Graphs::Split { combined: Some(_), .. });
        self.contains("stakeout.json") || Graphs::find(self, suffix).is_ok_and(combined)
    }

    /// Tells apart files of these names: by place, size and time of change in a folder, since reading gigabytes would take
    /// longer than what is spared by knowing (in the hub's cache the place is the hash); by content in the binary.
    pub(crate) fn fingerprint(&self, names: &[&str]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name);
            match self {
                Self::Folder(folder) => {
                    let path = folder.join(name);
                    let path = path.canonicalize().unwrap_or(path);
                    let changed = |metadata: &fs::Metadata| (metadata.mtime(), metadata.mtime_nsec());
                    let metadata = fs::metadata(&path).map(|metadata| (metadata.len(), changed(&metadata)));
                    hash.update(format!("{path:?} {:?}\n", metadata.ok()));
                }
                Self::Embedded(files) => {
                    let content = files.iter().find(|(file, _)| file == name).map(|(_, bytes)| *bytes);
                    hash.update(Sha256::digest(content.unwrap_or_default()));
                }
            }
        }
        hash.finalize().into()
    }

    /// How many bytes a graph has, with the files of weights beside it (`vision_model.onnx_data`, `..._data_1`).
    pub(crate) fn graph_bytes(&self, graph: &str) -> u64 {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(graph);
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return 0 };
                let name = name.to_string_lossy();
                let is_part = |file: &fs::DirEntry| {
                    let file = file.file_name();
                    file.to_string_lossy()
                        .strip_prefix(&*name)
                        .is_some_and(|rest| rest.is_empty() || rest.contains("data"))
                };
                let entries = fs::read_dir(parent).into_iter().flatten().flatten().filter(is_part);
                // In the hub's cache these are links.
                entries.filter_map(|file| fs::metadata(file.path()).ok()).map(|data| data.len()).sum()
            }
            Self::Embedded(files) => {
                files.iter().filter(|(file, _)| *file == graph).map(|(_, bytes)| bytes.len() as u64).sum()
            }
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(name).is_file(),
            Self::Embedded(files) => files.iter().any(|(file, _)| *file == name),
        }
    }

    /// The contents of a file; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, ModelError> {
        match self {
            Self::Folder(path) => match fs::read(path.join(name)) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.unusable(name, error)),
            },
            Self::Embedded(files) => {
                Ok(files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| Cow::Borrowed(*bytes)))
            }
        }
    }

    /// A file's JSON; an empty object if it is not there.
    pub(crate) fn json(&self, name: &str) -> Result<serde_json::Value, ModelError> {
        match self.read(name)? {
            None => Ok(serde_json::Value::Object(serde_json::Map::new())),
            Some(text) => serde_json::from_slice(&text).map_err(|error| self.unusable(name, error)),
        }
    }

    pub(crate) fn unusable(&self, file: &str, reason: impl std::fmt::Display) -> ModelError {
        ModelError::File { place: self.place(), file: file.to_owned(), reason: reason.to_string() }
    }
}

/// The graphs of a model: two towers, or both in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Graphs {
    Split { vision: String, text: String, combined: Option<String> },
    Combined(String),
}

impl Graphs {
    /// The graph that pictures go into.
    pub(crate) fn vision(&self) -> &str {
        match self {
            Self::Split { vision: file, .. } | Self::Combined(file) => file,
        }
    }

    /// Finds the graphs of a variant ("" for full precision); every file that is missing comes in one error.
    pub(crate) fn find(files: &ModelFiles, variant: &str) -> Result<Self, ModelError> {
        // The hub keeps graphs in `onnx/`; an export on one's own machine puts them beside the configuration.
        let find = |name: &str| {
            [format!("onnx/{name}{variant}.onnx"), format!("{name}{variant}.onnx")]
                .into_iter()
                .find(|name| files.contains(name))
        };
        let (vision, text, combined) = (find("vision_model"), find("text_model"), find("model"));
        let mut missing: Vec<_> = ["config.json", "preprocessor_config.json", "tokenizer.json"]
            .into_iter()
            .filter(|name| !files.contains(name))
            .map(str::to_owned)
            .collect();
        let has = (vision.is_some(), text.is_some());
        let graphs = match (vision, text, combined) {
            (Some(vision), Some(text), combined) => Some(Self::Split { vision, text, combined }),
            (_, _, Some(combined)) => Some(Self::Combined(combined)),
            _ => None,
        };
        if graphs.is_none() {
            let lacks = |there: bool, name: &str| (!there).then(|| format!("onnx/{name}{variant}.onnx"));
            let towers: Vec<_> =
                [lacks(has.0, "vision_model"), lacks(has.1, "text_model")].into_iter().flatten().collect();
            missing.push(format!("{} (or onnx/model{variant}.onnx)", towers.join(", ")));
        }
        match graphs {
            Some(graphs) if missing.is_empty() => Ok(graphs),
            _ => Err(ModelError::Incomplete { place: files.place(), missing }),
        }
    }
}
