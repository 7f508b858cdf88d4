//! A model together with the label sets it scores: pictures in, scores out.

use super::{
    labels::{self, LabelError, LabelVectors},
    model::{Model, ModelError},
    score::Scores,
};
use crate::{config::LabelSet, picture::Picture};

/// A loaded model and the vectors of the label sets.
pub struct Classifier {
    model: Model,
    sets: Vec<LabelVectors>,
}

impl Classifier {
    /// Encodes the label sets, after holding them to what their scores need to mean anything.
    ///
    /// # Errors
    /// A label set that cannot be scored by this model, or a model that fails.
    pub fn new(model: Model, sets: &[LabelSet]) -> Result<Self, LabelError> {
        sets.iter().try_for_each(|set| labels::check(set, model.activation()))?;
        Self::as_the_pipeline(model, sets)
    }

    /// Likewise, but allows what the reference's pipeline allows: a single label, whose softmax is always 1.
    ///
    /// # Errors
    /// A template that cannot be filled in, or a model that fails.
    pub fn as_the_pipeline(model: Model, sets: &[LabelSet]) -> Result<Self, LabelError> {
        let sets = labels::encode(sets, model.text())?;
        Ok(Self { model, sets })
    }

    /// The vectors of some pictures, each of length 1, from one run of the model.
    ///
    /// # Errors
    /// The model failed, or answered with something that is no number.
    pub fn embed(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.model.embed_pictures(pictures)
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
