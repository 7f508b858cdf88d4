//! The files of a model, in a folder or inside the binary, and what its `config.json` says.

use std::{borrow::Cow, fs, os::unix::fs::MetadataExt, path::PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    error::ModelError,
    family::{self, Family},
};
use crate::engine::GraphSource;

/// The files of a model in the hub's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// In a folder.
    Folder(PathBuf),
    /// Inside the binary: names relative to the folder, and contents.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

macro_rules! bundled {
    ($($name:literal)*) => {
        &[$((
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/bundled/", $name)).as_slice(),
        )),*]
    };
}

/// The model inside the binary: small, and enough to try the service without a download.
const BUNDLED: &[(&str, &[u8])] = bundled!(
    "config.json" "preprocessor_config.json" "tokenizer.json" "stakeout.json"
    "onnx/vision_model.onnx" "onnx/text_model.onnx"
);

impl ModelFiles {
    /// The files of the bundled model.
    #[must_use]
    pub const fn bundled() -> Self {
        Self::Embedded(BUNDLED)
    }

    /// Where the files are, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Embedded(_) => "the binary itself".to_owned(),
        }
    }

    /// Whether every file is there that graphs with this suffix need.
    #[must_use]
    pub fn is_complete(&self, suffix: &str) -> bool {
        Graphs::find(self, suffix, false).is_ok()
    }

    /// Whether one of the files holds scale and bias.
    #[must_use]
    pub fn holds_logits(&self, suffix: &str) -> bool {
        self.contains("stakeout.json")
            || Graphs::find(self, suffix, false).is_ok_and(|graphs| graphs.combined.is_some())
    }

    /// A hash that changes with the files of these names. In a folder it covers path, size and time of change, since reading
    /// gigabytes would take longer than the caller saves (in the hub's cache the path contains the content's hash). In
    /// the binary it covers the contents.
    pub(super) fn fingerprint(&self, names: &[&str]) -> [u8; 32] {
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

    /// The size of a graph in bytes, including weight files beside it (`vision_model.onnx_data`, `..._data_1`).
    pub(super) fn graph_bytes(&self, graph: &str) -> u64 {
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
                // In the hub's cache the entries are links.
                entries.filter_map(|file| fs::metadata(file.path()).ok()).map(|data| data.len()).sum()
            }
            Self::Embedded(files) => {
                files.iter().filter(|(file, _)| *file == graph).map(|(_, bytes)| bytes.len() as u64).sum()
            }
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Folder(path) => path.join(name).is_file(),
            Self::Embedded(files) => files.iter().any(|(file, _)| *file == name),
        }
    }

    /// The contents of a file; `None` if it does not exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, ModelError> {
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

    /// The JSON in a file; an empty object if the file does not exist.
    pub(super) fn json(&self, name: &str) -> Result<Value, ModelError> {
        match self.read(name)? {
            None => Ok(Value::Object(serde_json::Map::new())),
            Some(text) => serde_json::from_slice(&text).map_err(|error| self.unusable(name, error)),
        }
    }

    /// A graph, as an engine opens it.
    pub(super) fn graph(&self, name: &str) -> Result<GraphSource, ModelError> {
        match self {
            Self::Folder(folder) => Ok(GraphSource::File(folder.join(name))),
            Self::Embedded(_) => Ok(GraphSource::Bytes(self.read(name)?.unwrap_or_default())),
        }
    }

    pub(super) fn unusable(&self, file: &str, reason: impl std::fmt::Display) -> ModelError {
        ModelError::File { place: self.place(), file: file.to_owned(), reason: reason.to_string() }
    }
}

/// The files that every model needs beside its graphs.
pub(super) const REQUIRED: [&str; 3] = ["config.json", "preprocessor_config.json", "tokenizer.json"];

/// The graphs of a model: one for pictures and one for texts. They are the same file if only the combined graph exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graphs {
    pub vision: String,
    pub text: String,
    /// The graph of both, which also computes logits.
    pub combined: Option<String>,
}

impl Graphs {
    /// The graphs with this suffix among files: `has` answers whether a file exists.
    pub(super) fn among(has: impl Fn(&str) -> bool, suffix: &str) -> Option<Self> {
        let find = |name| graph_names(name, suffix).into_iter().find(|name| has(name));
        let combined = find("model");
        let split = find("vision_model").zip(find("text_model"));
        let (vision, text) = split.or_else(|| Some((combined.clone()?, combined.clone()?)))?;
        Some(Self { vision, text, combined })
    }

    /// The graphs of a variant ("" for full precision). One error lists every missing file. `elsewhere` means that the engine has
    /// its own copy of the two graphs.
    pub(super) fn find(files: &ModelFiles, suffix: &str, elsewhere: bool) -> Result<Self, ModelError> {
        const SPLIT: [&str; 2] = ["vision_model", "text_model"];
        let has = |name: &str| files.contains(name) || elsewhere && SPLIT.iter().any(|it| name.contains(it));
        let graphs = Self::among(has, suffix);
        let mut missing: Vec<_> =
            REQUIRED.into_iter().filter(|name| !files.contains(name)).map(str::to_owned).collect();
        if graphs.is_none() {
            let lacks = |name: &&str| !graph_names(name, suffix).iter().any(|name| has(name));
            let file = |name| format!("onnx/{name}{suffix}.onnx");
            let split: Vec<_> = SPLIT.into_iter().filter(lacks).map(file).collect();
            missing.push(format!("{} (or onnx/model{suffix}.onnx)", split.join(", ")));
        }
        match graphs {
            Some(graphs) if missing.is_empty() => Ok(graphs),
            _ => Err(ModelError::Incomplete { place: files.place(), missing }),
        }
    }

    pub(super) fn is_combined(&self) -> bool {
        self.vision == self.text
    }
}

/// The hub keeps graphs in `onnx/`; an export on the user's machine puts them beside the configuration.
fn graph_names(name: &str, suffix: &str) -> [String; 2] {
    [format!("onnx/{name}{suffix}.onnx"), format!("{name}{suffix}.onnx")]
}

/// What `config.json` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ModelConfig {
    pub family: &'static Family,
    /// The longest text in tokens.
    pub context: usize,
    /// The longest text in tokens that the model was trained on.
    pub trained_on: usize,
    /// The token that fills a text up, where no tokenizer file names one.
    pub pad_id: Option<i64>,
}

impl ModelConfig {
    pub(super) fn read(files: &ModelFiles) -> Result<Self, ModelError> {
        let config = files.json("config.json")?;
        let model_type = config["model_type"].as_str();
        let family = model_type.and_then(family::of_model_type).ok_or_else(|| {
            let found = model_type.unwrap_or("(none: config.json has no model_type)").to_owned();
            ModelError::Type { place: files.place(), found, supported: family::supported() }
        })?;
        let text = &config["text_config"];
        let context = match &text["max_position_embeddings"] {
            Value::Null => family.default_context,
            value => value
                .as_u64()
                .and_then(|context| usize::try_from(context).ok())
                .filter(|context| (2..=65_536).contains(context))
                .ok_or_else(|| {
                    files.unusable("config.json", format!("text_config.max_position_embeddings is {value}"))
                })?,
        };
        let trained_on = context.min(family.trained_on);
        Ok(Self { family, context, trained_on, pad_id: text["pad_token_id"].as_i64() })
    }
}
