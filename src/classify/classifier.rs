//! Loads the model of a configuration, and scores single pictures with label sets for the commands.

use std::sync::Arc;

use tracing::info;

use super::{
    embed::embed_each,
    labels::{self, LabelError, LabelVectors, VectorCache},
    score::Scores,
};
use crate::{
    config::{Config, Device, Variant},
    engine::Engines,
    model::{
        Model, ModelError, Options, RuntimeError,
        hub::{self, HubError},
    },
    picture::Picture,
    policy::LabelSet,
    shortage::Shortage,
};

/// Why the model and the label sets of a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The model was not found.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// ONNX Runtime is missing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A label set cannot be scored by this model.
    #[error(transparent)]
    Labels(#[from] LabelError),
}

impl LoadError {
    /// The place in the configuration that causes the error, as a dotted path.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Runtime(_) => "onnxruntime".to_owned(),
            Self::Labels(LabelError::Empty { set } | LabelError::Alone { set }) => {
                format!("label_sets.{set}")
            }
            Self::Labels(LabelError::Sigmoid { set }) => format!("label_sets.{set}.scoring"),
            Self::Model(ModelError::Device(_)) => "device".to_owned(),
            Self::Model(ModelError::Server(_)) => "model.server".to_owned(),
            Self::Hub(_) | Self::Model(_) | Self::Labels(LabelError::Model(_)) => "model".to_owned(),
        }
    }

    /// Whether the configuration is wrong: it is contradictory, or names a device that does not work.
    #[must_use]
    pub fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Hub(HubError::Name(_)) => true,
            // A device that cannot be opened for now may work at the next start.
            Self::Model(ModelError::Device(_)) => Shortage::now().is_none(),
            Self::Labels(error) => matches!(
                error,
                LabelError::Empty { .. } | LabelError::Alone { .. } | LabelError::Sigmoid { .. }
            ),
            _ => false,
        }
    }
}

/// The device that `config` asks for; `auto` is replaced by a device of this machine. A plugin is not loaded yet.
///
/// # Errors
/// ONNX Runtime is missing, or the device that is named does not work.
pub fn device(config: &Config) -> Result<Device, LoadError> {
    let (engines, wanted) = (Engines::load(config)?, config.execution.device);
    if engines.needs_plugin(wanted) {
        return Ok(wanted);
    }
    Ok(engines.device(wanted).map_err(ModelError::from)?)
}

/// Finds and loads the model that `config` asks for.
///
/// # Errors
/// The model cannot be found or loaded; the error says what to do.
pub fn load_model(config: &Config) -> Result<Model, LoadError> {
    load_model_as(config, config)
}

/// Finds and loads the model of `chosen`, which is `asked` with the device, precision and variant that were chosen for it.
///
/// # Errors
/// As [`load_model`].
pub fn load_model_as(asked: &Config, chosen: &Config) -> Result<Model, LoadError> {
    let found = hub::find(&chosen.model, device(chosen)?)?;
    let engines = Engines::load(chosen)?;
    // A variant that someone named is compared with itself on the processor.
    let reference = (asked.model.variant() == Variant::Auto).then(|| found.reference_for(&found.suffix));
    let options = Options { execution: chosen.execution, reference, ..found.options() };
    let model = Model::load(engines.clone(), &found.files, &options)?;
    let (wanted, device, variant, library) =
        (asked.execution.device, model.device(), found.variant(), engines.name());
    match engines.server() {
        None => info!(variant, %device, %wanted, library, "the model is loaded"),
        Some(server) => {
            let (servers, name) = (server.addresses(), &*server.name);
            info!(servers, name, library, "the model is loaded: a model server runs the graph for pictures");
        }
    }
    Ok(model)
}

/// A loaded model with the vectors of label sets.
pub struct Classifier {
    model: Model,
    sets: Vec<LabelVectors>,
}

impl Classifier {
    /// Finds and loads the model that `config` asks for, and encodes the label sets.
    ///
    /// # Errors
    /// The model cannot be loaded or a label set cannot be scored; the error says what to do.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        Ok(Self::with(load_model(config)?, &config.label_sets, &VectorCache::of_user())?)
    }

    /// Encodes the label sets, after [`labels::check`] of each.
    ///
    /// # Errors
    /// A label set cannot be scored by this model, or the model fails.
    pub fn new(model: Model, sets: &[LabelSet]) -> Result<Self, LabelError> {
        Self::with(model, sets, &VectorCache::none())
    }

    /// As [`Self::new`], with a cache of vectors on disk.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(model: Model, sets: &[LabelSet], cache: &VectorCache) -> Result<Self, LabelError> {
        sets.iter().try_for_each(|set| labels::check(set, model.activation()))?;
        Self::as_the_pipeline(model, sets, cache)
    }

    /// As [`Self::with`], but without the check: the reference's pipeline allows a single label, whose softmax is always 1.
    ///
    /// # Errors
    /// The model fails.
    pub fn as_the_pipeline(model: Model, sets: &[LabelSet], cache: &VectorCache) -> Result<Self, LabelError> {
        let sets = labels::encode(sets, model.text(), cache)?;
        Ok(Self { model, sets })
    }

    /// Checks whether the model could score a picture now.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`]: no model server answers.
    pub fn health(&mut self) -> Result<(), ModelError> {
        self.model.health()
    }

    /// The vectors of some pictures, each of length 1, from one run of the model.
    ///
    /// # Errors
    /// The model failed, or its answer is not a number.
    pub fn embed(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.model.embed_pictures(pictures)
    }

    /// The vector of each picture, in order. `values` are pictures that the model's
    /// [`Preprocessor`](crate::model::preprocess::Preprocessor) has prepared, one after the other. A picture that the model
    /// rejects has an error, and the others have their vectors.
    pub fn embed_each(&mut self, values: &[f32]) -> Vec<Result<Arc<[f32]>, ModelError>> {
        let max_batch = self.model.max_batch();
        embed_each(&mut self.model, values, max_batch, Model::embed_prepared)
    }

    /// The scores of a set for a picture, from the picture's vector. `set` is the index of the label set.
    ///
    /// # Panics
    /// The index is out of range.
    #[must_use]
    pub fn scores(&self, set: usize, picture: &[f32]) -> Scores {
        self.sets[set].scores(picture, self.model.logits(), self.model.activation())
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}
