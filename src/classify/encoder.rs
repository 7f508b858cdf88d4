//! Encodes label sets into a [`Watchlist`], outside the model's thread and again whenever the label sets change.
//!
//! A text whose vector is known is not encoded again, so a new label costs its own prompts only. The vectors of texts that
//! no label set uses any more are dropped.

use std::{collections::HashMap, slice};

use super::{
    labels::{self, LabelError, LabelVectors, VectorCache},
    score::Activation,
    watchlist::{Scale, Watchlist},
};
use crate::{
    config::Source,
    model::{Model, ModelError, TextEncoder, Tokens},
    policy::LabelSet,
};

/// Encodes label sets for one model.
pub struct LabelEncoder {
    text: TextEncoder,
    scale: Scale,
    cache: VectorCache,
    known: KnownVectors,
}

impl LabelEncoder {
    /// An encoder for `model` that reads and writes vectors in `cache`.
    #[must_use]
    pub fn new(model: &Model, cache: VectorCache) -> Self {
        Self { text: model.text().clone(), scale: Scale::of(model), cache, known: KnownVectors::default() }
    }

    /// The watchlist of `sources`, after [`labels::check`] of every label set.
    ///
    /// # Errors
    /// A label set cannot be scored by this model, or the model fails. Known vectors stay known then.
    ///
    /// # Panics
    /// A source watches a label set that does not exist; a valid configuration has none such.
    pub fn watchlist(&mut self, sets: &[LabelSet], sources: &[Source]) -> Result<Watchlist, LabelError> {
        sets.iter().try_for_each(|set| labels::check(set, self.scale.activation))?;
        let Self { text, cache, known, .. } = self;
        let vectors = labels::encode_with(sets, |texts| known.vectors(texts, |new| cache.encode(text, new)))?;
        Ok(Watchlist::new(sets, vectors, sources))
    }

    /// The vectors of one label set, after [`labels::check`]. Neither memory nor disk keeps them; those that are known are used.
    pub(super) fn encode_once(&self, set: &LabelSet) -> Result<LabelVectors, LabelError> {
        labels::check(set, self.scale.activation)?;
        let vectors = labels::encode_with(slice::from_ref(set), |texts| {
            self.known.or_encoded(texts, |new| self.text.encode(new))
        })?;
        // One set gives one entry.
        vectors.into_iter().next().ok_or_else(|| LabelError::Empty { set: set.name.clone() })
    }

    /// The tokens of a text.
    pub(super) fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        self.text.tokens(text)
    }

    /// How the model was trained to score.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.scale.activation
    }

    /// How the model turns similarities into scores.
    pub(super) fn scale(&self) -> Scale {
        self.scale
    }
}

/// The vectors of the texts of the newest label sets.
#[derive(Default)]
struct KnownVectors(HashMap<String, Vec<f32>>);

impl KnownVectors {
    /// The vectors of `texts`, which are all different. Only unknown texts are encoded.
    fn vectors(
        &mut self,
        texts: &[&str],
        encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let new: Vec<&str> = texts.iter().copied().filter(|text| !self.0.contains_key(*text)).collect();
        // The encoder would load the text graph even for no text.
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

    /// The vectors of `texts`, which are all different. Only unknown texts are encoded, and none of them becomes known.
    fn or_encoded(
        &self,
        texts: &[&str],
        encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let new: Vec<&str> = texts.iter().copied().filter(|text| !self.0.contains_key(*text)).collect();
        let mut encoded = if new.is_empty() { vec![] } else { encode(&new)? }.into_iter();
        let vector = |text: &&str| self.0.get(*text).cloned().or_else(|| encoded.next());
        Ok(texts.iter().filter_map(vector).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_texts_are_encoded() {
        let mut known = KnownVectors::default();
        let mut vectors_of = |texts: &[&str]| {
            let mut encoded = Vec::new();
            let vectors = known.vectors(texts, |new| {
                encoded = new.iter().map(ToString::to_string).collect();
                Ok(new.iter().map(|text| vec![text.len() as f32]).collect())
            });
            (vectors.unwrap().concat(), encoded.join(" "))
        };
        assert_eq!(vectors_of(&["a", "bb"]), (vec![1.0, 2.0], "a bb".to_owned()));
        assert_eq!(vectors_of(&["a", "bb"]), (vec![1.0, 2.0], String::new()), "nothing new");
        assert_eq!(vectors_of(&["a", "bb", "ccc"]), (vec![1.0, 2.0, 3.0], "ccc".to_owned()));
        assert_eq!(vectors_of(&["ccc"]), (vec![3.0], String::new()), "fewer");
        assert_eq!(
            vectors_of(&["a", "ccc"]),
            (vec![1.0, 3.0], "a".to_owned()),
            "unused vectors were dropped"
        );
    }

    #[test]
    fn texts_that_are_encoded_once_do_not_become_known() {
        let mut known = KnownVectors::default();
        known.vectors(&["a"], |_| Ok(vec![vec![1.0]])).unwrap();
        for _ in 0..2 {
            let vectors = known.or_encoded(&["b", "a", "c"], |new| {
                assert_eq!(new, ["b", "c"]);
                Ok(vec![vec![2.0], vec![3.0]])
            });
            assert_eq!(vectors.unwrap().concat(), [2.0, 1.0, 3.0]);
        }
        assert_eq!(known.or_encoded(&["a"], |_| unreachable!()), Ok(vec![vec![1.0]]));
    }

    #[test]
    fn a_failure_forgets_nothing() {
        let mut known = KnownVectors::default();
        known.vectors(&["a"], |_| Ok(vec![vec![1.0]])).unwrap();
        known.vectors(&["a", "b"], |_| Err(ModelError::Run("no".to_owned()))).unwrap_err();
        assert_eq!(known.vectors(&["a"], |_| unreachable!()), Ok(vec![vec![1.0]]));
    }
}
