//! Builds the graphs of a model from its configuration and its weights, for models without ONNX files.
//!
//! A graph is made in memory and has some kilobytes: its weights stay in the `.safetensors` files, to which it refers by offset
//! and length. Nothing is copied or converted on disk. ONNX Runtime lays out most weights for the processor when it loads the
//! graph, and then no longer needs those of the file, so the memory is that of the weights once (`graph` says what 16 bits
//! change).
//!
//! Both towers are built, and so checked against the weights, before a session is created. `pytorch_model.bin` is never read:
//! opening such a file can run any code.

mod blocks;
mod config;
mod error;
mod export;
mod families;
mod given;
mod graph;
mod half_graph;
mod int8;
mod int8_graph;
mod onnx;
mod openclip;
mod quantise;
mod source;
mod timm;
mod towers;
mod weights;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub(super) use error::BuildError;
pub(super) use quantise::Magnitude;
pub(super) use source::{Format, WeightSource, pickle_among};
pub(super) use weights::{files_of, shards};

use self::{
    config::Section,
    given::Given,
    graph::GraphBuilder,
    onnx::{Data, Element, Graph},
    openclip::OpenClip,
    weights::Weights,
};
use super::family::Logits;

/// Raise it with each change of the graphs that are built, so that results of the old ones are not used.
pub(super) const VERSION: u32 = 1;

/// One of the two graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tower {
    Vision,
    Text,
}

/// Everything that the graphs of a model are built from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    source: WeightSource,
    config: Value,
    weights: Weights,
    masks_padding: bool,
}

/// How graphs compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Precision {
    /// With 32 bits.
    Full,
    /// With 16 bits, in half precision.
    Fp16,
    /// With 16 bits, in bfloat16.
    Bf16,
    /// The layers of the vision tower multiply numbers of 8 bits, which are in this file. It is made if it does not exist.
    Int8(PathBuf, Magnitude),
}

/// A graph that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuiltGraph {
    /// An ONNX model.
    pub bytes: Vec<u8>,
    /// The size of its weights in their files.
    pub weight_bytes: u64,
    /// The folder that its weights are in.
    pub folder: PathBuf,
    /// Layers that kept their full precision, because 8 bits would change them too much.
    pub kept: Vec<String>,
}

impl Recipe {
    /// Reads the headers of the weights in a folder, and checks them against `config`. `masks_padding`: the model's tokenizer
    /// says where the padding is.
    ///
    /// # Errors
    /// A file is missing or false, or the configuration contradicts the weights: which file, and which tensor or key.
    pub(super) fn read(
        folder: &Path,
        source: WeightSource,
        config: Value,
        masks_padding: bool,
    ) -> Result<Self, BuildError> {
        let weights = Weights::open(folder, source.weights)?;
        let recipe = Self { source, config, weights, masks_padding };
        for tower in [Tower::Vision, Tower::Text] {
            recipe.graph(tower, false)?;
        }
        Ok(recipe)
    }

    /// Checks a configuration before its weights are there.
    ///
    /// # Errors
    /// No graph can be built from it, whatever the weights are: which key is the reason.
    pub(super) fn check(source: WeightSource, config: Value) -> Result<(), BuildError> {
        let recipe = Self { source, config, weights: Weights::of_anything(), masks_padding: false };
        recipe.graph(Tower::Vision, false)?;
        recipe.graph(Tower::Text, false)?;
        Ok(())
    }

    /// The file with the weights, or their index.
    pub(super) fn weights(&self) -> &'static str {
        self.source.weights
    }

    /// The format of the model's settings.
    pub(super) fn format(&self) -> Format {
        self.source.format
    }

    /// Builds a graph. `fuses_attention`: attention is one operator of ONNX Runtime, which not every device has.
    ///
    /// # Errors
    /// As [`Self::read`], and if the file with numbers of 8 bits cannot be made.
    pub(super) fn build(
        &self,
        tower: Tower,
        fuses_attention: bool,
        precision: &Precision,
    ) -> Result<BuiltGraph, BuildError> {
        let (graph, folder, kept) = self.made(tower, fuses_attention, precision)?;
        let outside = |data: &Data| match data {
            Data::Inside(_) => 0,
            Data::Outside { length, .. } => *length,
        };
        let weight_bytes = graph.constants.iter().map(|constant| outside(&constant.data)).sum();
        Ok(BuiltGraph { bytes: graph.to_bytes(), weight_bytes, folder, kept })
    }

    /// Writes a graph as an ONNX file, with its weights beside it. Returns the files.
    ///
    /// # Errors
    /// As [`Self::build`], and if a file cannot be written.
    pub(super) fn export(
        &self,
        tower: Tower,
        precision: &Precision,
        path: &Path,
    ) -> Result<Vec<PathBuf>, BuildError> {
        let (graph, folder, _) = self.made(tower, false, precision)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        export::write(graph, &folder, path).map_err(|error| BuildError::new(name, error.to_string()))
    }

    /// A graph in a precision, the folder of its weights, and the layers that kept full precision.
    fn made(
        &self,
        tower: Tower,
        fuses_attention: bool,
        precision: &Precision,
    ) -> Result<(Graph, PathBuf, Vec<String>), BuildError> {
        let graph = self.graph(tower, fuses_attention)?;
        let own = |graph| (graph, self.weights.folder().to_owned(), Vec::new());
        Ok(match (precision, tower) {
            // The vectors of texts are computed once and kept: less precision would make them worse, and nothing faster.
            (Precision::Full, _) | (Precision::Int8(..), Tower::Text) => own(graph),
            (Precision::Fp16, _) => own(half_graph::rewritten(graph, Element::Half)),
            (Precision::Bf16, _) => own(half_graph::rewritten(graph, Element::BFloat16)),
            (Precision::Int8(file, magnitude), Tower::Vision) => {
                let int8 = int8::of(graph, self.weights.folder(), file, *magnitude)?;
                (int8.graph, int8.folder, int8.kept)
            }
        })
    }

    fn graph(&self, tower: Tower, fuses_attention: bool) -> Result<Graph, BuildError> {
        let file = self.source.config();
        let mut builder = GraphBuilder::new(&self.weights, file, fuses_attention);
        match self.source.format {
            Format::Transformers => {
                let config = Section::whole(file, &self.config);
                let model_type = config.text("model_type", "")?;
                let family = families::of_model_type(model_type).ok_or_else(|| {
                    BuildError::new(file, format!("no graph is known for the type {model_type:?}"))
                })?;
                let given = Given { config, masks_padding: self.masks_padding };
                let build = if tower == Tower::Vision { family.vision } else { family.text };
                build(&mut builder, &given)?;
            }
            Format::OpenClip => {
                let model = OpenClip::of(&self.config)?;
                match tower {
                    Tower::Vision => model.build_vision(&mut builder)?,
                    Tower::Text => model.build_text(&mut builder)?,
                }
            }
        }
        Ok(builder.finish())
    }

    /// Scale and bias, which the weights hold beside the towers. `None` if they do not hold them.
    ///
    /// # Errors
    /// They are no numbers, or cannot be read.
    pub(super) fn logits(&self) -> Result<Option<Logits>, BuildError> {
        // The weights hold the logarithm of the multiplier. CLIP has no bias.
        let Some(scale) = self.weights.number("logit_scale")? else { return Ok(None) };
        let bias = self.weights.number("logit_bias")?.unwrap_or(0.0);
        let logits = Logits::checked(scale.exp(), bias);
        let wrong = || {
            let problem = format!(
                "the tensors `logit_scale` and `logit_bias` are {scale} and {bias}, which make no scores"
            );
            BuildError::new(self.source.weights, problem)
        };
        logits.map(Some).ok_or_else(wrong)
    }
}

/// What `open_clip_config.json` says beside the towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenClipSettings {
    /// The number of tokens that each text is padded to.
    pub context: usize,
    /// Whether each label is judged alone.
    pub has_bias: bool,
}

impl OpenClipSettings {
    /// # Errors
    /// It is no such file, or asks for a model that is not supported.
    pub(super) fn read(config: &Value) -> Result<Self, BuildError> {
        let model = OpenClip::of(config)?;
        Ok(Self { context: model.context()?, has_bias: model.has_bias() })
    }
}

/// Parses weights and both kinds of configuration for the fuzzer, and builds what follows from them.
#[cfg(fuzzing)]
pub(super) fn fuzz(config: &[u8], weights: &[u8]) {
    let _ = shards("index", weights);
    let Ok(config) = serde_json::from_slice::<Value>(config) else { return };
    let _ = OpenClipSettings::read(&config);
    let Ok(weights) = Weights::of_bytes(weights) else { return };
    for (format, file) in
        [(Format::Transformers, "model.safetensors"), (Format::OpenClip, "open_clip_model.safetensors")]
    {
        let source = WeightSource { format, weights: file };
        let recipe = Recipe { source, config: config.clone(), weights: weights.clone(), masks_padding: true };
        for tower in [Tower::Vision, Tower::Text] {
            let _ = recipe.build(tower, true, &Precision::Full);
        }
    }
}

#[cfg(test)]
mod tests;
