//! Label sets into a [`Watchlist`], beside the thread that owns the model and again whenever the label sets change.
//!
//! A text whose vector is known does not go to the model a second time, so a new label costs its own prompts and
//! nothing else. It refuses to keep the vectors of texts that no label set uses any more.

use std::collections::HashMap;

use super::{
    labels::{self, LabelError, VectorCache},
    score::Activation,
    watchlist::Watchlist,
};
use crate::{
    config::Source,
    model::{Model, ModelError, TextEncoder},
    policy::LabelSet,
};

/// What it takes to encode label sets for one model.
pub struct LabelEncoder {
    text: TextEncoder,
    activation: Activation,
    cache: VectorCache,
    known: Known,
}

impl LabelEncoder {
    /// An encoder for `model` that knows the texts in `cache`.
    #[must_use]
    pub fn new(model: &Model, cache: VectorCache) -> Self {
        Self { text: model.text().clone(), activation: model.activation(), cache, known: Known::default() }
    }

    /// What is looked for on `sources`, after holding the label sets to what their scores need to mean anything.
    ///
    /// # Errors
    /// A label set that cannot be scored by this model, or a model that fails. What was known before stays known.
    ///
    /// # Panics
    /// A source watches a label set that is not there: a valid configuration rules that out.
    pub fn watchlist(&mut self, sets: &[LabelSet], sources: &[Source]) -> Result<Watchlist, LabelError> {
        sets.iter().try_for_each(|set| labels::check(set, self.activation))?;
        let Self { text, cache, known, .. } = self;
        let vectors = labels::encode_with(sets, |texts| known.vectors(texts, |new| cache.encode(text, new)))?;
        Ok(Watchlist::new(sets, vectors, sources))
    }
}

/// The vectors of the newest texts.
#[derive(Default)]
struct Known(HashMap<String, Vec<f32>>);

impl Known {
    /// The vectors of `texts`, each of them there once; only what is not known is encoded.
    fn vectors(
        &mut self,
        texts: &[&str],
        encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let new: Vec<&str> = texts.iter().copied().filter(|text| !self.0.contains_key(*text)).collect();
        // Even for no text at all the encoder would load its part of the model.
        if !new.is_empty() {
            let vectors = encode(&new)?;
            self.0.extend(new.into_iter().map(str::to_owned).zip(vectors));
        }
        let mut used = HashMap::with_capacity(texts.len());
        let take = |text: &&str| {
            let (text, vector) = self.0.remove_entry(*text)?;
            used.insert(text, vector.clone());
            Some(vector)
        };
        let vectors = texts.iter().filter_map(take).collect();
        self.0 = used;
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_are_not_known_are_encoded() {
        let mut known = Known::default();
        let mut look = |texts: &[&str]| {
            let mut encoded = Vec::new();
            let vectors = known.vectors(texts, |new| {
                encoded = new.iter().map(ToString::to_string).collect();
                Ok(new.iter().map(|text| vec![text.len() as f32]).collect())
            });
            (vectors.unwrap().concat(), encoded.join(" "))
        };
        assert_eq!(look(&["a", "bb"]), (vec![1.0, 2.0], "a bb".to_owned()));
        assert_eq!(look(&["a", "bb"]), (vec![1.0, 2.0], String::new()), "nothing new");
        assert_eq!(look(&["a", "bb", "ccc"]), (vec![1.0, 2.0, 3.0], "ccc".to_owned()));
        assert_eq!(look(&["ccc"]), (vec![3.0], String::new()), "fewer");
        assert_eq!(look(&["a", "ccc"]), (vec![1.0, 3.0], "a".to_owned()), "what nobody used was let go");
    }

    #[test]
    fn a_failure_forgets_nothing() {
        let mut known = Known::default();
        known.vectors(&["a"], |_| Ok(vec![vec![1.0]])).unwrap();
        known.vectors(&["a", "b"], |_| Err(ModelError::Run("no".to_owned()))).unwrap_err();
        assert_eq!(known.vectors(&["a"], |_| unreachable!()), Ok(vec![vec![1.0]]));
    }
}
