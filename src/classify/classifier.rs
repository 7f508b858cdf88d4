//! A model together with the label sets it scores: pictures in, scores out.

use tracing::info;

use super::{
    labels::{self, LabelError, LabelVectors, VectorCache},
    score::Scores,
};
use crate::{
    config::{Config, Device},
    model::{
        Model, ModelError, Options, Runtime, RuntimeError,
        hub::{self, HubError},
    },
    picture::Picture,
    policy::LabelSet,
};

/// Why a configuration's model and label sets do not come to life.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The model was not found.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// There is no ONNX Runtime.
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
    /// The place in the configuration that this is about, as a dotted path.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Runtime(_) => "onnxruntime".to_owned(),
            Self::Labels(LabelError::Empty { set } | LabelError::Alone { set }) => {
                format!("label_sets.{set}")
            }
            Self::Labels(LabelError::Sigmoid { set }) => format!("label_sets.{set}.scoring"),
            Self::Model(ModelError::Device(_)) => "device".to_owned(),
            Self::Hub(_) | Self::Model(_) | Self::Labels(LabelError::Model(_)) => "model".to_owned(),
        }
    }

    /// Whether the configuration is to blame: what it says cannot be, or the device that it names is not there.
    #[must_use]
    pub fn is_bad_configuration(&self) -> bool {
        matches!(
            self,
            Self::Hub(HubError::Name(_))
                | Self::Model(ModelError::Device(_))
                | Self::Labels(
                    LabelError::Empty { .. } | LabelError::Alone { .. } | LabelError::Sigmoid { .. }
                )
        )
    }
}

/// The device that `config` asks for: what `auto` stands for on this machine.
///
/// # Errors
/// There is no ONNX Runtime, or the device that was named does not work.
pub fn device(config: &Config) -> Result<Device, LoadError> {
    let runtime = Runtime::load(config.onnxruntime.as_deref())?;
    Ok(runtime.device(config.execution.device).map_err(ModelError::from)?)
}

/// The model that `config` asks for: finds it and loads it.
///
/// # Errors
/// In words for people, with the place in the configuration.
pub fn load_model(config: &Config) -> Result<Model, LoadError> {
    let found = hub::find(&config.model, device(config)?)?;
    let runtime = Runtime::load(config.onnxruntime.as_deref())?;
    let options = Options { execution: config.execution, ..found.options() };
    let model = Model::load(&runtime, &found.files, &options)?;
    let (wanted, device) = (config.execution.device, model.device());
    info!(variant = found.variant(), %device, %wanted, library = runtime.library(), "the model is loaded");
    Ok(model)
}

/// A loaded model and the vectors of the label sets.
pub struct Classifier {
    model: Model,
    sets: Vec<LabelVectors>,
}

impl Classifier {
    /// What `config` asks for: finds the model, loads it and encodes the label sets.
    ///
    /// # Errors
    /// In words for people, with the place in the configuration.
    pub fn load(config: &Config) -> Result<Self, LoadError> {
        Ok(Self::with(load_model(config)?, &config.label_sets, &VectorCache::of_user())?)
    }

    /// Encodes the label sets, after holding them to what their scores need to mean anything.
    ///
    /// # Errors
    /// A label set that cannot be scored by this model, or a model that fails.
    pub fn new(model: Model, sets: &[LabelSet]) -> Result<Self, LabelError> {
        Self::with(model, sets, &VectorCache::none())
    }

    /// Likewise, with vectors from the disk where they are there.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(model: Model, sets: &[LabelSet], cache: &VectorCache) -> Result<Self, LabelError> {
        sets.iter().try_for_each(|set| labels::check(set, model.activation()))?;
        Self::as_the_pipeline(model, sets, cache)
    }

    /// Likewise, but allows what the reference's pipeline allows: a single label, whose softmax is always 1.
    ///
    /// # Errors
    /// A model that fails.
    pub fn as_the_pipeline(model: Model, sets: &[LabelSet], cache: &VectorCache) -> Result<Self, LabelError> {
        let sets = labels::encode(sets, model.text(), cache)?;
        Ok(Self { model, sets })
    }

    /// The vectors of some pictures, each of length 1, from one run of the model.
    ///
    /// # Errors
    /// The model failed, or answered with something that is no number.
    pub fn embed(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.model.embed_pictures(pictures)
    }

    /// Likewise, of pictures that the model's [`Preprocessor`](crate::model::preprocess::Preprocessor) has prepared, one behind the other.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn embed_prepared(&mut self, pixel_values: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.model.embed_prepared(pixel_values)
    }

    /// The scores of a set (as [`Self::set`] numbers it) for a picture, by its vector.
    ///
    /// # Panics
    /// There is no set of this number.
    #[must_use]
    pub fn scores(&self, set: usize, picture: &[f32]) -> Scores {
        self.sets[set].scores(picture, self.model.logits(), self.model.activation())
    }

    /// The label sets, in the order given.
    #[must_use]
    pub fn sets(&self) -> &[LabelVectors] {
        &self.sets
    }

    /// The number of the set of this name.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<usize> {
        self.sets.iter().position(|set| *set.name == *name)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}
