//! Label sets into vectors: each prompt is put into the template, encoded, and averaged with the label's other prompts.
//!
//! It refuses to know how a text is encoded: the caller brings the encoder, and no text goes to it twice.

mod cache;
mod template;

use std::{collections::HashMap, sync::Arc};

pub use cache::VectorCache;
pub use template::TemplateError;

use super::{
    model::{Logits, ModelError, TextEncoder},
    score::{self, Activation, Scores},
};
use crate::config::LabelSet;

/// A label set as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelVectors {
    /// The name of the set.
    pub name: Arc<str>,
    /// One vector of length 1 for each label, in the order of the set.
    pub labels: Vec<Arc<[f32]>>,
    /// One for each background prompt.
    pub background: Vec<Arc<[f32]>>,
}

/// Why a label set cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A set without labels.
    #[error("the label set {set} has no labels")]
    Empty {
        /// The set's name.
        set: String,
    },
    /// One label against nothing.
    #[error(
        "the label set {set} has one label and no background: with this model its score would always be 1.0. Add a \
         background prompt that says what is there otherwise, such as `background: [an empty room]`, or a second label"
    )]
    Alone {
        /// The set's name.
        set: String,
    },
    /// The template cannot be filled in.
    #[error("the template {template:?} of the label set {set}: {error}")]
    Template {
        /// The set's name.
        set: String,
        /// The template as typed.
        template: String,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// The texts could not be encoded.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Holds a set to what its scores need to mean anything under `activation`.
///
/// # Errors
/// [`LabelError::Empty`], and [`LabelError::Alone`] under softmax.
pub fn check(set: &LabelSet, activation: Activation) -> Result<(), LabelError> {
    match (set.labels.len(), set.background.len(), activation) {
        (0, ..) => Err(LabelError::Empty { set: set.name.clone() }),
        (1, 0, Activation::Softmax) => Err(LabelError::Alone { set: set.name.clone() }),
        _ => Ok(()),
    }
}

/// Encodes label sets, all in one go; what `cache` holds is not encoded again.
///
/// # Errors
/// A template that cannot be filled in, or a model that fails.
pub fn encode(
    sets: &[LabelSet],
    encoder: &TextEncoder,
    cache: &VectorCache,
) -> Result<Vec<LabelVectors>, LabelError> {
    encode_with(sets, |texts| cache.encode(encoder, texts))
}

impl LabelVectors {
    /// The scores of a picture, by its vector.
    #[must_use]
    pub fn scores(&self, picture: &[f32], logits: Logits, activation: Activation) -> Scores {
        score::scores(
            &self.logits(&self.labels, picture, logits),
            &self.logits(&self.background, picture, logits),
            activation,
        )
    }

    fn logits(&self, texts: &[Arc<[f32]>], picture: &[f32], logits: Logits) -> Vec<f32> {
        texts.iter().map(|text| score::logit(picture, text, logits.scale, logits.bias)).collect()
    }
}

/// Likewise; `encode` is given each text once, and answers in the same order.
pub(super) fn encode_with(
    sets: &[LabelSet],
    encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
) -> Result<Vec<LabelVectors>, LabelError> {
    let texts = sets.iter().map(Texts::of).collect::<Result<Vec<_>, _>>()?;
    let mut different: Vec<&str> = texts.iter().flat_map(Texts::all).collect();
    different.sort_unstable();
    different.dedup();
    let vectors: HashMap<&str, Vec<f32>> = different.iter().copied().zip(encode(&different)?).collect();
    Ok(sets.iter().zip(&texts).map(|(set, texts)| texts.vectors(&set.name, &vectors)).collect())
}

/// The texts of a set, with the template around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Those of each label, in the order of the set.
    pub labels: Vec<Vec<String>>,
    /// Those of the background.
    pub background: Vec<String>,
}

impl Texts {
    /// What the model is given for `set`.
    ///
    /// # Errors
    /// A template that cannot be filled in.
    pub fn of(set: &LabelSet) -> Result<Self, LabelError> {
        let fill = |prompt: &String| {
            template::fill(&set.template, prompt).map_err(|error| LabelError::Template {
                set: set.name.clone(),
                template: set.template.clone(),
                error,
            })
        };
        let all = |prompts: &[String]| prompts.iter().map(fill).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            labels: set.labels.iter().map(|label| all(&label.prompts)).collect::<Result<_, _>>()?,
            background: all(&set.background)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().flatten().chain(&self.background).map(String::as_str)
    }

    fn vectors(&self, name: &str, vectors: &HashMap<&str, Vec<f32>>) -> LabelVectors {
        let mean = |texts: &[String]| mean(texts.iter().map(|text| vectors[text.as_str()].as_slice()));
        LabelVectors {
            name: name.into(),
            labels: self.labels.iter().map(|texts| mean(texts)).collect(),
            background: self.background.iter().map(|text| mean(std::slice::from_ref(text))).collect(),
        }
    }
}

/// The average of vectors of length 1, again of length 1. Of a single one: itself, to the bit.
fn mean<'a>(mut vectors: impl ExactSizeIterator<Item = &'a [f32]>) -> Arc<[f32]> {
    if vectors.len() == 1 {
        return vectors.next().unwrap_or_default().into();
    }
    let mut sum: Vec<f32> = Vec::new();
    for vector in vectors {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    // Prompts that cancel out have no direction: they stay near 0 and are like nothing.
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Label, Rule};

    fn set(template: &str, labels: &[(&str, &[&str])], background: &[&str]) -> LabelSet {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rule = Rule::at(0.5);
        LabelSet {
            name: "porch".to_owned(),
            template: template.to_owned(),
            background: owned(background),
            labels: labels
                .iter()
                .map(|(name, prompts)| Label { prompts: owned(prompts), ..Label::new(name, rule) })
                .collect(),
        }
    }

    #[test]
    fn prompts_are_averaged_and_the_average_is_normalised() {
        let set = set("a {}", &[("cat", &["cat", "kitten"]), ("dog", &["dog"])], &["room"]);
        let mut asked = Vec::new();
        let vectors = encode_with(&[set], |texts| {
            asked = texts.iter().map(ToString::to_string).collect();
            let vector = |text: &&str| match *text {
                "a cat" => vec![1.0, 0.0],
                "a kitten" => vec![0.0, 1.0],
                "a dog" => vec![0.6, 0.8],
                _ => vec![-1.0, 0.0],
            };
            Ok(texts.iter().map(vector).collect())
        })
        .unwrap()
        .remove(0);
        assert_eq!(asked, ["a cat", "a dog", "a kitten", "a room"]);
        let half = 0.5f32.sqrt();
        assert!(vectors.labels[0].iter().all(|value| (value - half).abs() < 1e-6), "{:?}", vectors.labels[0]);
        assert_eq!(*vectors.labels[1], [0.6, 0.8]);
        assert_eq!(*vectors.background[0], [-1.0, 0.0]);
    }

    #[test]
    fn an_identical_text_is_encoded_once() {
        let one = set("{}", &[("a", &["x", "y"]), ("b", &["x"])], &["y"]);
        let two = set("{}", &[("c", &["x"])], &["z"]);
        let mut asked = 0;
        let encode = |texts: &[&str]| {
            asked = texts.len();
            Ok(vec![vec![1.0]; texts.len()])
        };
        encode_with(&[one, two], encode).unwrap();
        assert_eq!(asked, 3);
    }

    #[test]
    fn one_label_alone_means_nothing_under_softmax() {
        let alone = set("{}", &[("a", &["a"])], &[]);
        let error = check(&alone, Activation::Softmax).unwrap_err();
        assert!(
            error.to_string().contains("porch") && error.to_string().contains("always be 1.0"),
            "{error}"
        );
        assert_eq!(check(&alone, Activation::Sigmoid), Ok(()));
        assert_eq!(check(&set("{}", &[("a", &["a"])], &["b"]), Activation::Softmax), Ok(()));
        assert_eq!(check(&set("{}", &[("a", &["a"]), ("b", &["b"])], &[]), Activation::Softmax), Ok(()));
        assert_eq!(
            check(&set("{}", &[], &["b"]), Activation::Sigmoid),
            Err(LabelError::Empty { set: "porch".to_owned() })
        );
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_names_its_set() {
        let error = encode_with(&[set("a {", &[("a", &["a"])], &[])], |_| unreachable!()).unwrap_err();
        assert!(error.to_string().contains("\"a {\" of the label set porch"), "{error}");
    }
}
