//! What can be wrong with a model, and what to do about it.

use super::preprocess::SettingError;
use crate::engine::{
    EngineError,
    onnx::{DeviceError, RuntimeError},
};

/// Why a model cannot be loaded or gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// ONNX Runtime itself is missing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The device that was named does not work.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder lacks files; all of them are listed.
    #[error(
        "the model in {place} is incomplete; missing: {}. A model is a folder in the hub's layout, with its weights in \
         `model.safetensors`, or with its ONNX export in `onnx/`",
        .missing.join(", ")
    )]
    Incomplete {
        /// The folder.
        place: String,
        /// The missing files.
        missing: Vec<String>,
    },
    /// A file of the model cannot be read or used.
    #[error("{file} of the model in {place} cannot be used: {reason}{remedy}")]
    File {
        /// The folder.
        place: String,
        /// The file, relative to the folder.
        file: String,
        /// Why.
        reason: String,
        /// What to do if the file is damaged; empty if it is not, or not known to be.
        remedy: String,
    },
    /// The settings for pictures ask for something that is not supported.
    #[error("{file} of the model in {place}: {error}{remedy}")]
    Setting {
        /// The folder.
        place: String,
        /// `preprocessor_config.json` or `processor_config.json`.
        file: &'static str,
        /// Which key, and why.
        error: SettingError,
        /// What to do if the file is damaged; empty if it is not, or not known to be.
        remedy: String,
    },
    /// A model of no supported family.
    #[error(
        "the model in {place} is of the type {found}, which is not supported; supported are {supported}{}",
        .nearest.map_or(String::new(), |model| format!(". Use {model} instead"))
    )]
    Type {
        /// The folder.
        place: String,
        /// `model_type` of its `config.json`.
        found: String,
        /// The types that are supported.
        supported: String,
        /// The model to use instead.
        nearest: Option<&'static str>,
    },
    /// A graph has other inputs or outputs than its family of models should.
    #[error(
        "{file} of the model in {place} has other {what} than expected: expected {expected}, found {found}"
    )]
    Graph {
        /// The folder.
        place: String,
        /// The graph's file, relative to the folder.
        file: String,
        /// "inputs" or "outputs".
        what: &'static str,
        /// The names that were expected.
        expected: String,
        /// The names that the graph has.
        found: String,
    },
    /// Neither a file nor a graph holds the scale.
    #[error(
        "the model in {place} does not say how similarities become scores (the split graphs do not hold it): put the \
         combined `onnx/model.onnx` beside them, or a `stakeout.json` with {{\"logit_scale\": N, \"logit_bias\": N}}, \
         where logit_scale is the multiplier itself (100 for OpenAI's CLIP)"
    )]
    Scale {
        /// The folder.
        place: String,
    },
    /// No model server has the graph for pictures; what to do is part of the text.
    #[error("{0}")]
    Server(String),
    /// The model failed on these inputs; another try would end the same way.
    #[error("the model failed: {0}")]
    Run(String),
    /// The model gave a vector that is not a number, or of no length.
    #[error("the model failed: its answer is not a number")]
    NotANumber,
    /// The engine hangs or has crashed, and never answers again.
    #[error("the engine is lost: {0}")]
    Lost(String),
    /// The engine cannot run the model now; the same inputs may succeed later.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
}

impl From<EngineError> for ModelError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable(reason) => Self::Unavailable(reason),
            EngineError::Rejected(reason) => Self::Run(reason),
            EngineError::Lost(reason) => Self::Lost(reason),
        }
    }
}
