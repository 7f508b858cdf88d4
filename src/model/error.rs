//! What can be wrong with a model, in words for people.

use super::{DeviceError, RuntimeError};
use crate::model::preprocess::SettingError;

/// Why a model cannot be loaded or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// ONNX Runtime itself is not there.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The device that was asked for does not work.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder lacks files; all of them are listed.
    #[error(
        "the model in {place} is incomplete; missing: {}. A model is a folder in the hub's layout, with its ONNX \
         export in `onnx/`",
        .missing.join(", ")
    )]
    Incomplete {
        /// The folder.
        place: String,
        /// The files that are not there.
        missing: Vec<String>,
    },
    /// A file of the model cannot be read or used.
    #[error("{file} of the model in {place} cannot be used: {reason}")]
    File {
        /// The folder.
        place: String,
        /// The file, from the folder.
        file: String,
        /// Why.
        reason: String,
    },
    /// `preprocessor_config.json` asks for something that is not supported.
    #[error("preprocessor_config.json of the model in {place}: {error}")]
    Setting {
        /// The folder.
        place: String,
        /// Which key, and why.
        error: SettingError,
    },
    /// A kind of model that nobody here knows.
    #[error(
        "the model in {place} is of the type {found}, which is not supported; supported are clip, chinese_clip, and \
         siglip and siglip2 of fixed resolution"
    )]
    Type {
        /// The folder.
        place: String,
        /// `model_type` of its `config.json`.
        found: String,
    },
    /// A graph has other inputs or outputs than its kind of model should.
    #[error(
        "{file} of the model in {place} has other {what} than expected: expected {expected}, found {found}"
    )]
    Graph {
        /// The folder.
        place: String,
        /// The graph's file, from the folder.
        file: String,
        /// "inputs" or "outputs".
        what: &'static str,
        /// The names that would do.
        expected: String,
        /// The names that are there.
        found: String,
    },
    /// Neither a file nor a graph tells how similarities become scores.
    #[error(
        "the model in {place} does not say how similarities become scores (the split graphs do not hold it): put the \
         combined `onnx/model.onnx` beside them, or a `stakeout.json` with {{\"logit_scale\": N, \"logit_bias\": N}}, \
         where logit_scale is the multiplier itself (100 for OpenAI's CLIP)"
    )]
    Scale {
        /// The folder.
        place: String,
    },
    /// The model was asked and failed.
    #[error("the model failed: {0}")]
    Run(String),
}
