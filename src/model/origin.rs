//! Where the graphs of a model come from: ONNX files, or the weights, from which they are built.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tracing::info;

use super::{
    build::{self, BuildError, BuiltGraph, Format, Magnitude, Precision, Recipe},
    error::ModelError,
    family::Logits,
    files::{ModelConfig, ModelFiles},
    layout::{self, Choice, Graphs, Local},
};
use crate::{
    cache,
    config::Variant,
    engine::{GraphContent, GraphSource},
};

/// The number of files with weights of 8 bits that are kept on disk; the oldest are deleted first.
const MOST_KEPT: usize = 4;
/// Why some weights are not used, and what to do.
pub(super) const NEVER_READ: &str = "it is never read, because such a file can run any code. Convert it to `model.safetensors` with \
                                     the hub's https://huggingface.co/spaces/safetensors/convert, or name a repository that has it";

/// A graph of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tower {
    Vision,
    Text,
    /// The graph of both, which also computes logits. Only files have one.
    Combined,
}

/// Where the graphs of a model come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// ONNX files.
    Files(Graphs, Format),
    /// They are built from the weights.
    Weights(Arc<Recipe>, Precision),
}

impl Origin {
    /// The graphs of a variant.
    ///
    /// # Errors
    /// Files are missing or false. One error lists every missing file.
    pub(super) fn find(files: &ModelFiles, suffix: &str, local: Local) -> Result<Self, ModelError> {
        match (files.choice(suffix, local)?, files.folder()) {
            (Choice::Files(graphs), _) => Ok(Self::Files(graphs, files.format_of_graphs())),
            (Choice::Weights(source), folder) => {
                let config = files.json(source.config())?;
                // Only folders have weights.
                let folder = folder.unwrap_or(Path::new("."));
                let read = Recipe::read(folder, source, config, files.masks_padding()?);
                let recipe = read.map_err(|error| files.not_built(&error))?;
                let precision = files.precision(suffix, recipe.weights())?;
                Ok(Self::Weights(Arc::new(recipe), precision))
            }
        }
    }

    /// The format of the model's settings.
    pub(super) fn format(&self) -> Format {
        match self {
            Self::Files(_, format) => *format,
            Self::Weights(recipe, _) => recipe.format(),
        }
    }

    /// The name of a graph, for messages.
    pub(super) fn name(&self, tower: Tower) -> &str {
        match (self, tower) {
            (Self::Weights(recipe, _), _) => recipe.weights(),
            (Self::Files(graphs, _), Tower::Vision) => &graphs.vision,
            (Self::Files(graphs, _), Tower::Text) => &graphs.text,
            (Self::Files(graphs, _), Tower::Combined) => graphs.combined.as_deref().unwrap_or(&graphs.vision),
        }
    }

    /// Whether pictures and texts have the same graph.
    pub(super) fn is_combined(&self) -> bool {
        matches!(self, Self::Files(graphs, _) if graphs.is_combined())
    }

    /// Whether there is a combined graph.
    pub(super) fn has_combined(&self) -> bool {
        matches!(self, Self::Files(graphs, _) if graphs.combined.is_some())
    }

    /// Scale and bias, if the weights hold them.
    ///
    /// # Errors
    /// They are no numbers, or cannot be read.
    pub(super) fn logits(&self, files: &ModelFiles) -> Result<Option<Logits>, ModelError> {
        match self {
            Self::Files(..) => Ok(None),
            Self::Weights(recipe, _) => recipe.logits().map_err(|error| files.not_built(&error)),
        }
    }

    /// A graph, as an engine opens it. `fuses_attention`: the engine has one operator for attention.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn open(
        &self,
        files: &ModelFiles,
        tower: Tower,
        fuses_attention: bool,
    ) -> Result<GraphSource, ModelError> {
        let content = match self {
            Self::Files(..) => files.graph(self.name(tower))?,
            Self::Weights(recipe, precision) => {
                let built = self.built(files, recipe, precision, tower, fuses_attention)?;
                if !built.kept.is_empty() {
                    let layers = built.kept.join(", ");
                    info!(
                        layers,
                        "these layers keep full precision, because 8 bits would change them too much"
                    );
                }
                GraphContent::BytesOfFolder(built.bytes, built.folder)
            }
        };
        Ok(GraphSource { content, key: cache::hex(&self.fingerprint(files, tower)[..16]) })
    }

    fn built(
        &self,
        files: &ModelFiles,
        recipe: &Recipe,
        precision: &Precision,
        tower: Tower,
        fuses_attention: bool,
    ) -> Result<BuiltGraph, ModelError> {
        let tower = match tower {
            Tower::Vision => build::Tower::Vision,
            Tower::Text => build::Tower::Text,
            Tower::Combined => {
                return Err(
                    files.unusable(self.name(tower), "it has no graph of pictures and texts together")
                );
            }
        };
        recipe.build(tower, fuses_attention, precision).map_err(|error| files.not_built(&error))
    }

    /// A hash of everything that a graph's results depend on, except for the program and the engine.
    pub(super) fn fingerprint(&self, files: &ModelFiles, tower: Tower) -> [u8; 32] {
        match self {
            Self::Files(..) => files.fingerprint(&[self.name(tower)]),
            Self::Weights(recipe, precision) => {
                let names = files.folder().map(|folder| build::files_of(folder, recipe.weights()));
                // An index that cannot be read any more was read when the model was found, and its own change is in the fingerprint.
                let names = names.and_then(Result::ok).unwrap_or_else(|| vec![recipe.weights().to_owned()]);
                let version =
                    format!("a graph of version {} of {tower:?} with {precision:?}", build::VERSION);
                files.fingerprint_of(names.into_iter().chain([version]))
            }
        }
    }

    /// The size of a graph in bytes, including its weights.
    pub(super) fn bytes(&self, files: &ModelFiles, tower: Tower) -> u64 {
        match self {
            Self::Files(..) => files.graph_bytes(self.name(tower)),
            Self::Weights(recipe, precision) => self
                .built(files, recipe, precision, tower, false)
                .map_or(0, |built| built.weight_bytes + built.bytes.len() as u64),
        }
    }

    /// What the graph for pictures is, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Files(graphs, _) => graphs.vision.clone(),
            Self::Weights(recipe, precision) => {
                let made = match precision {
                    Precision::Full => "",
                    Precision::Fp16 => " as fp16",
                    Precision::Bf16 => " as bf16",
                    Precision::Int8(..) => " as int8",
                };
                format!("built from {}{made}", recipe.weights())
            }
        }
    }
}

impl ModelFiles {
    /// Whether every file is there that graphs with this suffix need.
    #[must_use]
    pub fn is_complete(&self, suffix: &str) -> bool {
        self.has_graphs(suffix, Local::Both)
    }

    /// Whether every file is there that this machine needs to run these graphs.
    pub(super) fn has_graphs(&self, suffix: &str, local: Local) -> bool {
        self.choice(suffix, local).is_ok()
    }

    /// Whether there are ONNX files with this suffix, so that nothing is made from weights.
    #[must_use]
    pub fn has_onnx(&self, suffix: &str) -> bool {
        matches!(self.choice(suffix, Local::Both), Ok(Choice::Files(_)))
    }

    /// A text that changes with the graphs of this suffix, as far as results that are kept on disk depend on them. `None`: they are
    /// not complete.
    #[must_use]
    pub fn identity(&self, suffix: &str) -> Option<String> {
        let origin = Origin::find(self, suffix, Local::Both).ok()?;
        let towers = [Tower::Vision, Tower::Text].map(|tower| origin.fingerprint(self, tower));
        Some(cache::hex(&Sha256::digest(towers.concat())[..16]))
    }

    /// The files of the graphs with this suffix ("" for full precision): ONNX files if there are some, else weights. Unlike
    /// [`Origin::find`], it does not read weights.
    ///
    /// # Errors
    /// One error lists every missing file. The model is of a type that is not supported.
    pub(super) fn choice(&self, suffix: &str, local: Local) -> Result<Choice, ModelError> {
        let graphs = || Graphs::find(self, suffix, local).map(Choice::Files);
        let Some(folder) = self.folder().filter(|_| local != Local::Neither) else { return graphs() };
        let has = |name: &str| self.contains(name) || local.is_elsewhere(name);
        let chosen = layout::choose(&[&has], &[Variant::of_suffix(suffix)], Variant::suffix);
        match chosen {
            Some((_, _, Choice::Files(_))) => graphs(),
            Some((_, _, Choice::Weights(source))) => {
                let mut missing = self.missing(source.format)?;
                let parts =
                    build::files_of(folder, source.weights).map_err(|error| self.not_built(&error))?;
                missing.extend(parts.into_iter().filter(|name| !self.contains(name)));
                if !missing.is_empty() {
                    return Err(ModelError::Incomplete { place: self.place(), missing });
                }
                // The hub's cache may have models of every kind.
                ModelConfig::read(self, source.format)?;
                Ok(Choice::Weights(source))
            }
            None => {
                self.check_for_code()?;
                graphs()
            }
        }
    }

    /// How graphs of a variant compute that are built from these weights.
    fn precision(&self, suffix: &str, weights: &str) -> Result<Precision, ModelError> {
        Ok(match Variant::of_suffix(suffix) {
            "fp16" => Precision::Fp16,
            "bf16" => Precision::Bf16,
            "int8" => {
                let magnitude = Magnitude::of_processor();
                let file = self.int8_file(weights, magnitude).ok_or_else(|| {
                    self.unusable(
                        weights,
                        "`variant: int8` needs a cache folder for what is made from it: set HOME or XDG_CACHE_HOME",
                    )
                })?;
                Precision::Int8(file, magnitude)
            }
            _ => Precision::Full,
        })
    }

    /// The file with the numbers of 8 bits that are made from these weights, as they are now. Those of older ones are deleted.
    fn int8_file(&self, weights: &str, magnitude: Magnitude) -> Option<PathBuf> {
        let folder = cache::folder()?.join("int8");
        let place = cache::hex(&Sha256::digest(self.repository())[..8]);
        let names = self.folder().map(|folder| build::files_of(folder, weights));
        let names = names.and_then(Result::ok).unwrap_or_else(|| vec![weights.to_owned()]);
        let version = format!("numbers of version {} with {magnitude:?}", build::VERSION);
        let now = self.fingerprint_of(names.into_iter().chain([version]));
        let name = format!("{place}-{}.int8", cache::hex(&now[..8]));
        let file = folder.join(&name);
        cache::touch(&file);
        cache::keep_newest_files(&folder, MOST_KEPT, |other| other != name && other.starts_with(&*place));
        Some(file)
    }

    /// An error if the only weights are in a file that may hold code.
    fn check_for_code(&self) -> Result<(), ModelError> {
        let has = |name: &str| self.contains(name);
        let of_any = |name: &&str| Graphs::among(has, &Variant::suffix(name)).is_some();
        let has_others = Variant::NAMES.iter().any(of_any) || layout::weights(has).is_some();
        match build::pickle_among(has).filter(|_| !has_others) {
            Some(name) => Err(self.unusable(name, NEVER_READ)),
            None => Ok(()),
        }
    }

    /// A text that stays the same when the model's files change.
    fn repository(&self) -> String {
        match self {
            // The folder of a commit, below that of the repository.
            Self::Cached { folder, .. } => {
                folder.ancestors().nth(2).unwrap_or(folder).to_string_lossy().into_owned()
            }
            _ => self.place(),
        }
    }

    /// Whether one of the files holds scale and bias.
    #[must_use]
    pub fn holds_logits(&self, suffix: &str) -> bool {
        self.contains(layout::SCALE)
            || match self.choice(suffix, Local::Text) {
                Ok(Choice::Files(graphs)) => graphs.combined.is_some(),
                Ok(Choice::Weights(_)) => true,
                Err(_) => false,
            }
    }

    /// An error of the files that a graph is built from.
    fn not_built(&self, error: &BuildError) -> ModelError {
        self.unusable(&error.file, &error.problem)
    }
}
