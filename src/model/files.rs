//! The files of a model, in a folder or inside the binary, and what its `config.json` says.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::BufReader,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    build::{Format, OpenClipSettings},
    digest::{self, Verdict},
    error::ModelError,
    external_data::{self, Locations},
    family::{self, Family},
    layout::{
        self, CONFIG, Graphs, Local, OPEN_CLIP_CONFIG, PREPROCESSOR, PROCESSOR, SPLIT, TOKENIZER_SETTINGS,
        Vocabulary, graph_names,
    },
    preprocess::{Backend, Preprocessor, SettingError},
    tokenizer::open_clip::OpenClipText,
};
use crate::{
    engine::GraphContent,
    shortage::Shortage,
    text_file::{self, TextFileError},
};

/// The longest file that is read into memory, in bytes. Only vocabularies have more than some megabytes; graphs and weights are
/// opened by the engine.
const LONGEST: u64 = 256 << 20;

/// The files of a model in the hub's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// In a folder.
    Folder(PathBuf),
    /// In the hub's cache on this machine.
    Cached {
        /// The folder of a commit.
        folder: PathBuf,
        /// The folder with the tokenizer, if that is in another repository.
        tokenizer: Option<PathBuf>,
        /// The command that fetches the model, and repairs it.
        pull: String,
    },
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
            Self::Folder(path) | Self::Cached { folder: path, .. } => path.display().to_string(),
            Self::Embedded(_) => "the binary itself".to_owned(),
        }
    }

    /// The folder; `None` for the model inside the binary.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) | Self::Cached { folder: path, .. } => Some(path),
            Self::Embedded(_) => None,
        }
    }

    /// The place of a file in a folder; `None` for the model inside the binary.
    fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(name)),
            Self::Cached { folder, tokenizer, .. } => {
                let elsewhere = tokenizer.as_ref().filter(|_| layout::is_of_tokenizer(name));
                Some(elsewhere.unwrap_or(folder).join(name))
            }
            Self::Embedded(_) => None,
        }
    }

    /// A hash that changes with these graphs, their weights in other files, and every file that says how pictures and texts are
    /// prepared for them.
    ///
    /// In a folder it covers path, size, time of change and time of the last change of the file's metadata, since reading
    /// gigabytes would take longer than the caller saves. A copy may keep the size and the first time, but not the second. (In
    /// the hub's cache the path contains the content's hash.) In the binary it covers the contents.
    pub(super) fn fingerprint(&self, graphs: &[&str]) -> [u8; 32] {
        // A graph that cannot be read has no known weights, and is rejected when it is opened.
        let weights = graphs.iter().flat_map(|graph| self.weights(graph).unwrap_or_default());
        self.fingerprint_of(
            graphs.iter().map(|graph| (*graph).to_owned()).chain(weights.map(|file| file.name)),
        )
    }

    /// The same for files of these names.
    pub(super) fn fingerprint_of(&self, names: impl Iterator<Item = String>) -> [u8; 32] {
        let mut hash = Sha256::new();
        for name in names.chain(deciding_files().map(str::to_owned)) {
            hash.update(format!("{name}\n"));
            match self {
                Self::Folder(_) | Self::Cached { .. } => {
                    let path = self.path(&name).unwrap_or_default();
                    let path = path.canonicalize().unwrap_or(path);
                    let times = |file: &fs::Metadata| {
                        (file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec())
                    };
                    let metadata = fs::metadata(&path).map(|metadata| (metadata.len(), times(&metadata)));
                    hash.update(format!("{path:?} {:?}\n", metadata.ok()));
                }
                Self::Embedded(files) => {
                    let content = files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes);
                    hash.update(Sha256::digest(content.unwrap_or_default()));
                }
            }
        }
        hash.finalize().into()
    }

    /// The size of a graph in bytes, including its weights in other files.
    pub(super) fn graph_bytes(&self, graph: &str) -> u64 {
        match self {
            Self::Folder(folder) | Self::Cached { folder, .. } => {
                let weights = self.weights(graph).unwrap_or_default().into_iter().map(|file| file.name);
                let names = std::iter::once(graph.to_owned()).chain(weights);
                // In the hub's cache the entries are links.
                names.filter_map(|name| fs::metadata(folder.join(name)).ok()).map(|data| data.len()).sum()
            }
            Self::Embedded(files) => {
                files.iter().filter(|(file, _)| *file == graph).map(|(_, bytes)| bytes.len() as u64).sum()
            }
        }
    }

    /// The files beside a graph that hold its weights, as the graph names them. None if the graph does not exist or cannot be
    /// read: the engine reports why.
    ///
    /// # Errors
    /// The graph names a file outside of its folder.
    pub(super) fn weights(&self, graph: &str) -> Result<Vec<WeightFile>, ModelError> {
        let weight_file = |(location, needed): (String, u64)| match external_data::is_inside(&location) {
            true => Ok(WeightFile { name: external_data::beside(graph, &location), needed }),
            false => Err(self.unusable(
                graph,
                format!("it keeps weights in {location:?}, which is outside of its folder"),
            )),
        };
        self.locations(graph).into_iter().map(weight_file).collect()
    }

    fn locations(&self, graph: &str) -> Locations {
        let Some(folder) = self.folder() else { return Locations::new() };
        let opened = File::open(folder.join(graph)).map(BufReader::new);
        opened.and_then(external_data::locations).unwrap_or_default()
    }

    /// The weights of a graph that are missing or shorter than the graph says, for a message.
    fn missing_weights(&self, graph: &str) -> Result<Vec<String>, ModelError> {
        let Some(folder) = self.folder() else { return Ok(Vec::new()) };
        let lacks = |WeightFile { name, needed }| match fs::metadata(folder.join(&name)) {
            Ok(file) if file.is_file() && file.len() >= needed => None,
            Ok(file) if file.is_file() => {
                Some(format!("the end of {name} ({graph} needs {needed} bytes of it, it has {})", file.len()))
            }
            _ => Some(format!("{name} (weights of {graph})")),
        };
        Ok(self.weights(graph)?.into_iter().filter_map(lacks).collect())
    }

    /// The name of the file that says how pictures are prepared, and its settings: those for pictures inside of
    /// `processor_config.json`, which newer versions of the reference write, else `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file cannot be read or is no JSON.
    fn preprocessing(&self) -> Result<(&'static str, Value), ModelError> {
        let nested = self.json(PROCESSOR)?.get_mut("image_processor").map(Value::take);
        match nested.filter(|settings| !settings.is_null()) {
            Some(settings) => Ok((PROCESSOR, settings)),
            None => Ok((PREPROCESSOR, self.json(PREPROCESSOR)?)),
        }
    }

    /// What the model's files say about its family, and how pictures are prepared for it, with the name of the file that says so.
    ///
    /// # Errors
    /// The model is of a type that is not supported, or a setting is.
    pub(super) fn settings(
        &self,
        format: Format,
        backend: Backend,
    ) -> Result<(ModelConfig, &'static str, Preprocessor), ModelError> {
        let config = ModelConfig::read(self, format)?;
        let (file, preprocessor) = match format {
            Format::Transformers => {
                let (file, settings) = self.preprocessing()?;
                (file, Preprocessor::of_model(settings, config.family, backend))
            }
            Format::OpenClip => (OPEN_CLIP_CONFIG, Preprocessor::of_open_clip(&self.json(OPEN_CLIP_CONFIG)?)),
        };
        Ok((config, file, preprocessor.map_err(|error| self.wrong_setting(file, error))?))
    }

    /// Whether the model's tokenizer says where the padding is. The reference's tokenizers do, unless a file says otherwise.
    ///
    /// # Errors
    /// A file cannot be read or is no JSON.
    pub(super) fn masks_padding(&self) -> Result<bool, ModelError> {
        let declared = self.json("tokenizer_config.json")?;
        let names = declared["model_input_names"].as_array();
        Ok(names.is_none_or(|names| names.iter().any(|name| name == "attention_mask")))
    }

    /// Whether a file of the reference says how pictures are prepared.
    pub(super) fn has_preprocessing(&self) -> bool {
        self.contains(PREPROCESSOR) || self.preprocessing().is_ok_and(|(file, _)| file == PROCESSOR)
    }

    /// The files with settings and the tokenizer that a model of this format needs and that are missing.
    ///
    /// # Errors
    /// The settings do not say which tokenizer the model has.
    pub(super) fn missing(&self, format: Format) -> Result<Vec<String>, ModelError> {
        let mut missing = layout::missing_settings(format, |name| match name {
            PREPROCESSOR => self.has_preprocessing(),
            name => self.contains(name),
        });
        // This program has the vocabulary of most models in OpenCLIP's format.
        let needs_none = format == Format::OpenClip
            && missing.is_empty()
            && ModelConfig::of_open_clip(self)?.open_clip.is_some_and(|rules| rules.own_vocabulary);
        if !needs_none && Vocabulary::among(|name| self.contains(name)).is_none() {
            missing.push(layout::TOKENIZER);
        }
        Ok(missing.into_iter().map(str::to_owned).collect())
    }

    /// The format of the settings beside ONNX files.
    pub(super) fn format_of_graphs(&self) -> Format {
        layout::format_of_graphs(|name| self.contains(name))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Embedded(files) => files.iter().any(|(file, _)| *file == name),
            Self::Folder(_) | Self::Cached { .. } => self.path(name).is_some_and(|path| path.is_file()),
        }
    }

    /// The contents of a file; `None` if it does not exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, ModelError> {
        if let Self::Embedded(files) = self {
            return Ok(files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| Cow::Borrowed(*bytes)));
        }
        match text_file::read_bytes(&self.path(name).unwrap_or_default(), LONGEST) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(TextFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(TextFileError::Io(error)) => Err(self.unusable(name, error)),
            Err(error) => Err(self.unusable(name, format!("it {error}"))),
        }
    }

    /// The JSON in a file; an empty object if the file does not exist.
    pub(super) fn json(&self, name: &str) -> Result<Value, ModelError> {
        match self.read(name)? {
            None => Ok(Value::Object(serde_json::Map::new())),
            Some(text) => {
                let text = text_file::ascii(&text)
                    .map_err(|error| self.unusable(name, format!("it {error}: {}", error.remedy())))?;
                serde_json::from_slice(text).map_err(|error| self.unusable(name, error))
            }
        }
    }

    /// An ONNX file, as an engine opens it.
    pub(super) fn graph(&self, name: &str) -> Result<GraphContent, ModelError> {
        Ok(match self {
            Self::Folder(folder) | Self::Cached { folder, .. } => GraphContent::File(folder.join(name)),
            Self::Embedded(_) => GraphContent::Bytes(self.read(name)?.unwrap_or_default()),
        })
    }

    pub(super) fn unusable(&self, file: &str, reason: impl std::fmt::Display) -> ModelError {
        let remedy = self.remedy(file);
        ModelError::File { place: self.place(), file: file.to_owned(), reason: reason.to_string(), remedy }
    }

    fn wrong_setting(&self, file: &'static str, error: SettingError) -> ModelError {
        ModelError::Setting { place: self.place(), file, error, remedy: self.remedy(file) }
    }

    /// What to do if a file in the hub's cache is damaged: its content, or that of the graph's weights, has another hash than
    /// the hub gave. Empty otherwise.
    fn remedy(&self, file: &str) -> String {
        let Self::Cached { folder, pull, .. } = self else { return String::new() };
        let weights = self.locations(file).into_keys().filter(|location| external_data::is_inside(location));
        let names = std::iter::once(file.to_owned())
            .chain(weights.map(|location| external_data::beside(file, &location)));
        let differs = |name: &String| {
            let verdict = digest::verdict(&folder.join(name));
            match verdict {
                Ok(verdict) => matches!(verdict, Verdict::Damaged | Verdict::Missing),
                // A file that cannot be opened for now may be whole.
                Err(error) => Shortage::of_io(&error).is_none(),
            }
        };
        match &names.filter(differs).collect::<Vec<_>>()[..] {
            [] => String::new(),
            damaged => format!(". Damaged on this disk: {}. Repair it with `{pull}`", damaged.join(", ")),
        }
    }
}

/// A file beside a graph that holds weights of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WeightFile {
    /// Its name, relative to the model's folder.
    pub name: String,
    /// The number of bytes that the graph needs; 0 if the graph does not say it.
    pub needed: u64,
}

/// The files that say how pictures and texts are prepared.
fn deciding_files() -> impl Iterator<Item = &'static str> {
    let settings = [CONFIG, OPEN_CLIP_CONFIG, PREPROCESSOR, PROCESSOR].into_iter().chain(TOKENIZER_SETTINGS);
    settings.chain(layout::vocabulary_files())
}

impl Graphs {
    /// The graphs of a variant ("" for full precision). One error lists every missing file.
    pub(super) fn find(files: &ModelFiles, suffix: &str, local: Local) -> Result<Self, ModelError> {
        let has = |name: &str| files.contains(name) || local.is_elsewhere(name);
        let mut graphs = Self::among(has, suffix);
        let mut missing = files.missing(files.format_of_graphs())?;
        match &mut graphs {
            Some(_) if local == Local::Neither => {}
            Some(graphs) => {
                if graphs.is_combined() || local == Local::Both {
                    missing.extend(files.missing_weights(&graphs.vision)?);
                }
                if !graphs.is_combined() {
                    missing.extend(files.missing_weights(&graphs.text)?);
                    // It is a source of the scale only.
                    let is_whole =
                        |graph: &String| files.missing_weights(graph).is_ok_and(|it| it.is_empty());
                    graphs.combined = graphs.combined.take().filter(is_whole);
                }
            }
            None => {
                let lacks = |name: &&str| !graph_names(name, suffix).iter().any(|name| has(name));
                let file = |name| format!("onnx/{name}{suffix}.onnx");
                let split: Vec<_> = SPLIT.into_iter().filter(lacks).map(file).collect();
                missing.push(format!("{} (or onnx/model{suffix}.onnx)", split.join(", ")));
            }
        }
        match graphs {
            Some(graphs) if missing.is_empty() => Ok(graphs),
            _ => Err(ModelError::Incomplete { place: files.place(), missing }),
        }
    }
}

/// What the file with a model's settings says: `config.json`, or `open_clip_config.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ModelConfig {
    pub family: &'static Family,
    /// The longest text in tokens.
    pub context: usize,
    /// Texts are padded to this number of tokens.
    pub padded_to: Option<usize>,
    /// Whether texts become lower case, whatever the tokenizer's files say.
    pub lower_cases: bool,
    /// The longest text in tokens that the model was trained on.
    pub trained_on: usize,
    /// The token that fills a text up, where no tokenizer file names one.
    pub pad_id: Option<i64>,
    /// How texts are tokenized, for a model in OpenCLIP's format.
    pub open_clip: Option<OpenClipText>,
}

impl ModelConfig {
    pub(super) fn read(files: &ModelFiles, format: Format) -> Result<Self, ModelError> {
        match format {
            Format::Transformers => Self::of_transformers(files),
            Format::OpenClip => Self::of_open_clip(files),
        }
    }

    fn of_transformers(files: &ModelFiles) -> Result<Self, ModelError> {
        let config = files.json(CONFIG)?;
        let model_type = config["model_type"].as_str();
        let Some(family) = model_type.and_then(family::of_model_type) else {
            // Its `config.json` may be that of something else.
            if files.contains(OPEN_CLIP_CONFIG) {
                return Self::of_open_clip(files);
            }
            let found = model_type.unwrap_or("(none: config.json has no model_type)").to_owned();
            let (supported, nearest) = (family::supported(), family::nearest(&found));
            return Err(ModelError::Type { place: files.place(), found, supported, nearest });
        };
        let text = &config["text_config"];
        let positions = match &text["max_position_embeddings"] {
            Value::Null => family.default_context,
            value => value
                .as_u64()
                .and_then(|context| usize::try_from(context).ok())
                .filter(|context| (2..=65_536).contains(context))
                .ok_or_else(|| {
                    files.unusable(CONFIG, format!("text_config.max_position_embeddings is {value}"))
                })?,
        };
        let positions = positions.saturating_sub(family.unused_positions).max(2);
        // The reference pads to a length of its own, and fails if the model has fewer positions.
        let padded_to = family.padded_to.map(|padded_to| positions.min(padded_to));
        let context = padded_to.unwrap_or(positions);
        Ok(Self {
            family,
            context,
            padded_to,
            // The reference uses the class Siglip2Tokenizer for this type, whatever class the files name.
            lower_cases: model_type == Some("siglip2"),
            trained_on: context.min(family.trained_on),
            pad_id: text["pad_token_id"].as_i64(),
            open_clip: None,
        })
    }

    /// What `open_clip_config.json` says. OpenCLIP pads each text to the model's context.
    fn of_open_clip(files: &ModelFiles) -> Result<Self, ModelError> {
        let config = files.json(OPEN_CLIP_CONFIG)?;
        let settings = OpenClipSettings::read(&config);
        let settings = settings.map_err(|error| files.unusable(&error.file, &error.problem))?;
        let rules = OpenClipText::read(&config).map_err(|reason| files.unusable(OPEN_CLIP_CONFIG, reason))?;
        let context = rules.context;
        Ok(Self {
            family: family::of_open_clip(settings.has_bias),
            context,
            padded_to: Some(context),
            lower_cases: false,
            trained_on: context,
            pad_id: Some(0),
            open_clip: Some(rules),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_fingerprint_changes_with_each_file_that_decides_the_results() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("onnx")).unwrap();
        let files = ModelFiles::Folder(folder.path().to_owned());
        let graph = "onnx/text_model.onnx";
        // One tensor in `a.bin`, as ONNX writes it.
        let entry = b"\x6a\x11\x0a\x08location\x12\x05a.bin";
        let tensor = [&entry[..], b"\x70\x01"].concat();
        let initializer = [&[0x2a, tensor.len() as u8], &tensor[..]].concat();
        let model = [&[0x3a, initializer.len() as u8], &initializer[..]].concat();
        let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        write(graph, &model);
        write("onnx/a.bin", b"1234");
        let weights = files.weights(graph).unwrap();
        assert_eq!(weights, [WeightFile { name: "onnx/a.bin".to_owned(), needed: 0 }]);
        assert_eq!(files.graph_bytes(graph), model.len() as u64 + 4);

        let mut known = vec![files.fingerprint(&[graph])];
        assert_eq!(files.fingerprint(&[graph]), known[0]);
        write("onnx/other.bin", b"1234");
        write("README.md", b"1234");
        assert_eq!(files.fingerprint(&[graph]), known[0], "other files do not matter");
        for name in deciding_files().chain(["onnx/a.bin", graph]) {
            // With a time of its own, as a copy may keep it.
            write(name, if name == graph { &model } else { b"5678" });
            let changed = File::options().append(true).open(folder.path().join(name)).unwrap();
            changed.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            let fingerprint = files.fingerprint(&[graph]);
            assert!(!known.contains(&fingerprint), "{name}");
            known.push(fingerprint);
        }
        fs::remove_file(folder.path().join("onnx/a.bin")).unwrap();
        assert!(!known.contains(&files.fingerprint(&[graph])));
    }

    #[test]
    fn texts_are_as_long_as_the_family_and_the_model_allow() {
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::Folder(folder.path().to_owned());
        let read = |model_type: &str, positions: Value| {
            let config = serde_json::json!({
                "model_type": model_type, "text_config": {"max_position_embeddings": positions}
            });
            fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            let read = ModelConfig::read(&files, Format::Transformers);
            read.map(|config| (config.context, config.padded_to, config.lower_cases))
        };
        for (model_type, positions, expected) in [
            ("siglip", Value::Null, (64, Some(64), false)),
            ("siglip", 96.into(), (64, Some(64), false)),
            ("siglip", 16.into(), (16, Some(16), false)),
            ("siglip2", 64.into(), (64, Some(64), true)),
            ("clip", Value::Null, (77, None, false)),
            ("clip", 248.into(), (248, None, false)),
            ("chinese_clip", 512.into(), (512, None, false)),
            ("altclip", Value::Null, (512, None, false)),
            ("altclip", 40.into(), (38, None, false)),
        ] {
            assert_eq!(read(model_type, positions.clone()), Ok(expected), "{model_type}, {positions}");
        }
        let open_clip = serde_json::json!({"model_cfg": {
            "embed_dim": 4, "init_logit_bias": -10, "vision_cfg": {}, "text_cfg": {"context_length": 32}
        }});
        fs::write(folder.path().join(OPEN_CLIP_CONFIG), open_clip.to_string()).unwrap();
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        for format in [Format::OpenClip, Format::Transformers] {
            let found = ModelConfig::read(&files, format).unwrap();
            assert_eq!((found.context, found.padded_to, found.family.has_bias), (32, Some(32), true));
        }
        for positions in [1.into(), (-1).into(), "64".into()] {
            let error = read("clip", positions).unwrap_err().to_string();
            assert!(error.contains("max_position_embeddings is"), "{error}");
        }
    }
}
