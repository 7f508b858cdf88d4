//! Where the graphs of a model come from: ONNX files, or the weights, from which they are built.

use std::sync::Arc;

use super::{
    build::{self, BuildError, BuiltGraph, Recipe, WeightSource},
    error::ModelError,
    family::Logits,
    files::{Graphs, ModelConfig, ModelFiles},
};
use crate::{
    cache,
    engine::{GraphContent, GraphSource},
};

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
    Files(Graphs),
    /// They are built from the weights.
    Weights(Arc<Recipe>),
}

/// What a folder or a repository has for the graphs of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// ONNX files.
    Files(Graphs),
    /// Weights.
    Weights(WeightSource),
}

/// Which files are used for the variant with this suffix ("" for full precision): ONNX files if there are some, else the
/// weights. `has` answers whether a file exists. `prepares_pictures`: one of them is that of the reference's settings for
/// pictures.
pub(super) fn choose(has: impl Fn(&str) -> bool, prepares_pictures: bool, suffix: &str) -> Option<Choice> {
    if let Some(graphs) = Graphs::among(&has, suffix) {
        return Some(Choice::Files(graphs));
    }
    // A graph that is built computes in full precision.
    let source = WeightSource::among(has, prepares_pictures).filter(|_| suffix.is_empty())?;
    Some(Choice::Weights(source))
}

impl Origin {
    /// The graphs of a variant. `elsewhere` means that the engine has its own copy of the graphs.
    ///
    /// # Errors
    /// Files are missing or false. One error lists every missing file.
    pub(super) fn find(files: &ModelFiles, suffix: &str, elsewhere: bool) -> Result<Self, ModelError> {
        let choice = choose(|name| files.contains(name), files.has_preprocessing(), suffix);
        match (choice, files.folder()) {
            (None, Some(_)) if !elsewhere => {
                files.check_for_code()?;
                Graphs::find(files, suffix, elsewhere).map(Self::Files)
            }
            (Some(Choice::Weights(source)), Some(folder)) if !elsewhere => {
                files.check_complete()?;
                let config = files.json(source.config())?;
                let read = Recipe::read(folder, source, config, files.masks_padding()?);
                let recipe = read.map_err(|error| files.not_built(&error))?;
                Ok(Self::Weights(Arc::new(recipe)))
            }
            _ => Graphs::find(files, suffix, elsewhere).map(Self::Files),
        }
    }

    /// The name of a graph, for messages.
    pub(super) fn name(&self, tower: Tower) -> &str {
        match (self, tower) {
            (Self::Weights(recipe), _) => recipe.weights(),
            (Self::Files(graphs), Tower::Vision) => &graphs.vision,
            (Self::Files(graphs), Tower::Text) => &graphs.text,
            (Self::Files(graphs), Tower::Combined) => graphs.combined.as_deref().unwrap_or(&graphs.vision),
        }
    }

    /// Whether pictures and texts have the same graph.
    pub(super) fn is_combined(&self) -> bool {
        matches!(self, Self::Files(graphs) if graphs.is_combined())
    }

    /// Whether there is a combined graph.
    pub(super) fn has_combined(&self) -> bool {
        matches!(self, Self::Files(graphs) if graphs.combined.is_some())
    }

    /// Scale and bias, if the weights hold them.
    ///
    /// # Errors
    /// They are no numbers, or cannot be read.
    pub(super) fn logits(&self, files: &ModelFiles) -> Result<Option<Logits>, ModelError> {
        match self {
            Self::Files(_) => Ok(None),
            Self::Weights(recipe) => recipe.logits().map_err(|error| files.not_built(&error)),
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
            Self::Files(_) => files.graph(self.name(tower))?,
            Self::Weights(recipe) => {
                let built = self.built(files, recipe, tower, fuses_attention)?;
                GraphContent::BytesOfFolder(built.bytes, recipe.folder().to_owned())
            }
        };
        Ok(GraphSource { content, key: cache::hex(&self.fingerprint(files, tower)[..16]) })
    }

    fn built(
        &self,
        files: &ModelFiles,
        recipe: &Recipe,
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
        recipe.build(tower, fuses_attention).map_err(|error| files.not_built(&error))
    }

    /// A hash of everything that a graph's results depend on, except for the program and the engine.
    pub(super) fn fingerprint(&self, files: &ModelFiles, tower: Tower) -> [u8; 32] {
        match self {
            Self::Files(_) => files.fingerprint(&[self.name(tower)]),
            Self::Weights(recipe) => {
                let names = files.folder().map(|folder| build::files_of(folder, recipe.weights()));
                // If the index cannot be read any more, its own change is in the fingerprint.
                let names = names.and_then(Result::ok).unwrap_or_else(|| vec![recipe.weights().to_owned()]);
                let version = format!("a graph of version {} of {tower:?}", build::VERSION);
                files.fingerprint_of(names.into_iter().chain([version]))
            }
        }
    }

    /// The size of a graph in bytes, including its weights.
    pub(super) fn bytes(&self, files: &ModelFiles, tower: Tower) -> u64 {
        match self {
            Self::Files(_) => files.graph_bytes(self.name(tower)),
            Self::Weights(recipe) => self
                .built(files, recipe, tower, false)
                .map_or(0, |built| built.weight_bytes + built.bytes.len() as u64),
        }
    }

    /// What the graph for pictures is, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Files(graphs) => graphs.vision.clone(),
            Self::Weights(recipe) => format!("built from {}", recipe.weights()),
        }
    }
}

impl ModelFiles {
    /// Whether every file is there that graphs with this suffix need.
    #[must_use]
    pub fn is_complete(&self, suffix: &str) -> bool {
        self.missing_for(suffix).is_ok()
    }

    /// Checks that every file is there that graphs with this suffix need. Unlike [`Origin::find`], it does not read weights.
    ///
    /// # Errors
    /// What is missing, or that the model is of a type that is not supported.
    pub(super) fn missing_for(&self, suffix: &str) -> Result<(), ModelError> {
        let choice = choose(|name| self.contains(name), self.has_preprocessing(), suffix);
        match (choice, self.folder()) {
            (Some(Choice::Weights(source)), Some(folder)) => {
                let mut missing = self.missing();
                let parts =
                    build::files_of(folder, source.weights).map_err(|error| self.not_built(&error))?;
                missing.extend(parts.into_iter().filter(|name| !self.contains(name)));
                self.incomplete_unless_empty(missing)?;
                // The hub's cache may have models of every kind.
                ModelConfig::read(self).map(|_| ())
            }
            (None, Some(_)) => {
                self.check_for_code()?;
                Graphs::find(self, suffix, false).map(|_| ())
            }
            _ => Graphs::find(self, suffix, false).map(|_| ()),
        }
    }

    /// An error if the only weights are in a file that may hold code.
    fn check_for_code(&self) -> Result<(), ModelError> {
        match build::pickle_among(|name| self.contains(name)) {
            Some(name) if choose(|name| self.contains(name), self.has_preprocessing(), "").is_none() => {
                Err(self.unusable(name, NEVER_READ))
            }
            _ => Ok(()),
        }
    }

    /// Whether the graphs with this suffix are built from the weights.
    pub(super) fn is_built(&self, suffix: &str) -> bool {
        let choice = choose(|name| self.contains(name), self.has_preprocessing(), suffix);
        matches!(choice, Some(Choice::Weights(_)))
    }

    /// Whether one of the files holds scale and bias.
    #[must_use]
    pub fn holds_logits(&self, suffix: &str) -> bool {
        self.contains("stakeout.json")
            || self.is_built(suffix)
            || Graphs::find(self, suffix, false).is_ok_and(|graphs| graphs.combined.is_some())
    }

    /// Checks that the files are there that every model needs.
    fn check_complete(&self) -> Result<(), ModelError> {
        self.incomplete_unless_empty(self.missing())
    }

    fn incomplete_unless_empty(&self, missing: Vec<String>) -> Result<(), ModelError> {
        if missing.is_empty() {
            return Ok(());
        }
        Err(ModelError::Incomplete { place: self.place(), missing })
    }

    /// An error of the files that a graph is built from.
    fn not_built(&self, error: &BuildError) -> ModelError {
        self.unusable(&error.file, &error.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn onnx_files_come_before_the_weights() {
        let weights = ["config.json", "preprocessor_config.json", "model.safetensors"];
        let half = ["onnx/vision_model_fp16.onnx", "onnx/text_model_fp16.onnx"];
        let full = ["onnx/model.onnx"];
        let chosen = |files: &[&str], suffix| {
            choose(|name| files.contains(&name), true, suffix).map(|choice| match choice {
                Choice::Files(graphs) => graphs.vision,
                Choice::Weights(source) => source.weights.to_owned(),
            })
        };
        let all = [&weights[..], &half, &full].concat();
        assert_eq!(chosen(&all, "").as_deref(), Some("onnx/model.onnx"));
        assert_eq!(chosen(&all, "_fp16").as_deref(), Some("onnx/vision_model_fp16.onnx"));
        let halves = [&weights[..], &half].concat();
        assert_eq!(chosen(&halves, "").as_deref(), Some("model.safetensors"));
        assert_eq!(chosen(&halves, "_int8"), None);
        assert_eq!(chosen(&weights, "").as_deref(), Some("model.safetensors"));
        assert_eq!(chosen(&[], ""), None);
    }
}
