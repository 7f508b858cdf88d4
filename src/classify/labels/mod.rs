//! Encodes label sets into vectors: each prompt is put into every template, encoded, and averaged over the templates and
//! over the label's prompts. The caller brings the encoder, which gets every text once.

mod cache;

use std::{collections::HashMap, sync::Arc};

pub use cache::VectorCache;

use super::score::{self, Activation, Scores};
use crate::{
    model::{Logits, ModelError, TextEncoder},
    policy::{LabelSet, Scoring},
};

/// A label set as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelVectors {
    /// The name of the set.
    pub name: Arc<str>,
    /// One vector of length 1 for each label, in the order of the set.
    pub labels: Vec<Arc<[f32]>>,
    /// One for each background prompt.
    pub background: Vec<Arc<[f32]>>,
    /// How similarities become scores.
    pub scoring: Scoring,
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
    /// A softmax over a single label.
    #[error(
        "the label set {set} has one label and no background: with this model its score would always be 1.0. Add a \
         background prompt that says what is there otherwise, such as `background: [an empty room]`, or a second label"
    )]
    Alone {
        /// The set's name.
        set: String,
    },
    /// A sigmoid for a model that was trained with softmax.
    #[error(
        "the label set {set} asks for `scoring: sigmoid`, and this model was trained with softmax: it has no bias, so \
         a sigmoid would give nearly 1.0 to everything. Remove `scoring`, or use `scoring: cosine`, which also scores each \
         label alone"
    )]
    Sigmoid {
        /// The set's name.
        set: String,
    },
    /// The texts could not be encoded.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// How a set's logits become scores with a model that was trained with `model`.
pub(super) fn activation(scoring: Scoring, model: Activation) -> Activation {
    match scoring {
        Scoring::Auto => model,
        Scoring::Softmax => Activation::Softmax,
        Scoring::Sigmoid => Activation::Sigmoid,
        Scoring::Cosine => Activation::Cosine,
    }
}

/// Checks that the scores of a set mean something with a model that was trained with `model`.
///
/// # Errors
/// [`LabelError::Empty`], [`LabelError::Alone`] under softmax, and [`LabelError::Sigmoid`] for a model of softmax.
pub fn check(set: &LabelSet, model: Activation) -> Result<(), LabelError> {
    let activation = activation(set.scoring, model);
    match (set.labels.len(), set.background.len(), activation) {
        (0, ..) => Err(LabelError::Empty { set: set.name.clone() }),
        (1, 0, Activation::Softmax) => Err(LabelError::Alone { set: set.name.clone() }),
        (.., Activation::Sigmoid) if model == Activation::Softmax => {
            Err(LabelError::Sigmoid { set: set.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Encodes label sets, all in one call; texts whose vectors are in `cache` are not encoded again.
///
/// # Errors
/// The model fails.
pub fn encode(
    sets: &[LabelSet],
    encoder: &TextEncoder,
    cache: &VectorCache,
) -> Result<Vec<LabelVectors>, LabelError> {
    encode_with(sets, |texts| cache.encode(encoder, texts))
}

impl LabelVectors {
    /// The scores of a picture, from its vector; `logits` and `model` are the model's own.
    #[must_use]
    pub fn scores(&self, picture: &[f32], logits: Logits, model: Activation) -> Scores {
        let activation = activation(self.scoring, model);
        let logits = if activation == Activation::Cosine { Logits { scale: 1.0, bias: 0.0 } } else { logits };
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

/// Encodes label sets with `encode`, which gets each text once and returns the vectors in the same order.
pub(super) fn encode_with(
    sets: &[LabelSet],
    encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
) -> Result<Vec<LabelVectors>, LabelError> {
    let texts = sets.iter().map(Texts::of).collect::<Vec<_>>();
    let mut different: Vec<&str> = texts.iter().flat_map(Texts::all).collect();
    different.sort_unstable();
    different.dedup();
    let vectors: HashMap<&str, Vec<f32>> = different.iter().copied().zip(encode(&different)?).collect();
    Ok(sets.iter().zip(&texts).map(|(set, texts)| texts.vectors(set, &vectors)).collect())
}

/// The texts of a set: every prompt in every template.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts {
    /// The texts of each label, in the order of the set.
    labels: Vec<Vec<String>>,
    /// The texts of each background prompt.
    background: Vec<Vec<String>>,
}

impl Texts {
    /// The texts that the model encodes for `set`.
    fn of(set: &LabelSet) -> Self {
        let filled =
            |prompt: &String| set.templates.iter().map(|template| template.fill(prompt)).collect::<Vec<_>>();
        Self {
            labels: set.labels.iter().map(|label| label.prompts.iter().flat_map(filled).collect()).collect(),
            background: set.background.iter().map(filled).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().chain(&self.background).flatten().map(String::as_str)
    }

    fn vectors(&self, set: &LabelSet, vectors: &HashMap<&str, Vec<f32>>) -> LabelVectors {
        let mean = |texts: &Vec<String>| mean(texts.iter().map(|text| vectors[text.as_str()].as_slice()));
        LabelVectors {
            name: set.name.as_str().into(),
            labels: self.labels.iter().map(mean).collect(),
            background: self.background.iter().map(mean).collect(),
            scoring: set.scoring,
        }
    }
}

/// The average of vectors of length 1, again of length 1. The average of a single vector is equal to it to the last bit.
fn mean<'a>(mut vectors: impl ExactSizeIterator<Item = &'a [f32]>) -> Arc<[f32]> {
    if vectors.len() == 1 {
        return vectors.next().unwrap_or_default().into();
    }
    let mut sum: Vec<f32> = Vec::new();
    for vector in vectors {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    // Prompts that cancel each other out have no direction: their average stays near 0 and resembles no picture.
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Label, TriggerSettings};

    fn set(template: &str, labels: &[(&str, &[&str])], background: &[&str]) -> LabelSet {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rule = TriggerSettings::at(0.5);
        let labels =
            labels.iter().map(|(name, prompts)| Label { prompts: owned(prompts), ..Label::new(name, rule) });
        let background = owned(background);
        LabelSet { background, ..LabelSet::new("porch", template.parse().unwrap(), labels.collect()) }
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
    fn a_single_label_is_an_error_under_softmax() {
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
    fn every_prompt_is_averaged_over_every_template() {
        let mut set = set("a {}", &[("cat", &["cat", "kitten"])], &["room"]);
        set.templates.push("the {}".parse().unwrap());
        let mut asked = Vec::new();
        let vectors = encode_with(&[set], |texts| {
            asked = texts.iter().map(ToString::to_string).collect();
            let vector = |text: &&str| match *text {
                "a cat" => vec![1.0, 0.0, 0.0, 0.0],
                "the cat" => vec![0.0, 1.0, 0.0, 0.0],
                "a kitten" => vec![0.0, 0.0, 1.0, 0.0],
                "the kitten" => vec![0.0, 0.0, 0.0, 1.0],
                "a room" => vec![0.6, 0.8, 0.0, 0.0],
                _ => vec![0.8, 0.6, 0.0, 0.0],
            };
            Ok(texts.iter().map(vector).collect())
        })
        .unwrap()
        .remove(0);
        assert_eq!(asked, ["a cat", "a kitten", "a room", "the cat", "the kitten", "the room"]);
        assert!(vectors.labels[0].iter().all(|value| (value - 0.5).abs() < 1e-6), "{:?}", vectors.labels[0]);
        let half = 0.5f32.sqrt();
        let [room] = &vectors.background[..] else { panic!("one background prompt is one vector") };
        assert!((room[0] - half).abs() < 1e-6 && (room[1] - half).abs() < 1e-6, "{room:?}");
    }

    #[test]
    fn a_set_is_checked_for_the_scoring_that_it_asks_for() {
        use Activation::{Sigmoid, Softmax};
        let scored = |scoring, labels| LabelSet { scoring, ..set("{}", labels, &[]) };
        let (one, two): (&[_], &[_]) = (&[("a", &["a"][..])], &[("a", &["a"][..]), ("b", &["b"])]);
        let alone = Err(LabelError::Alone { set: "porch".to_owned() });
        let no_bias = Err(LabelError::Sigmoid { set: "porch".to_owned() });
        let cases = [
            (Scoring::Auto, one, Softmax, &alone),
            (Scoring::Auto, one, Sigmoid, &Ok(())),
            (Scoring::Softmax, one, Sigmoid, &alone),
            (Scoring::Softmax, two, Sigmoid, &Ok(())),
            (Scoring::Softmax, two, Softmax, &Ok(())),
            (Scoring::Sigmoid, two, Softmax, &no_bias),
            (Scoring::Sigmoid, one, Sigmoid, &Ok(())),
            (Scoring::Cosine, one, Softmax, &Ok(())),
            (Scoring::Cosine, one, Sigmoid, &Ok(())),
        ];
        for (scoring, labels, model, expected) in cases {
            assert_eq!(check(&scored(scoring, labels), model), *expected, "{scoring:?} on {model:?}");
        }
    }

    #[test]
    fn a_set_chooses_how_scores_are_computed() {
        let scores = |scoring, model| {
            let vector = |x: f32| vec![x, (1.0 - x * x).sqrt()].into();
            let vectors = LabelVectors {
                name: "porch".into(),
                labels: vec![vector(0.3), vector(-0.2)],
                background: vec![vector(0.1)],
                scoring,
            };
            let scores = vectors.scores(&[1.0, 0.0], Logits { scale: 10.0, bias: -2.0 }, model);
            (scores.labels, scores.background)
        };
        let model = [Activation::Softmax, Activation::Sigmoid];
        let [softmax, sigmoid] = model.map(|model| scores(Scoring::Auto, model));
        assert_ne!(softmax, sigmoid);
        assert_eq!(scores(Scoring::Softmax, Activation::Sigmoid), softmax);
        assert_eq!(scores(Scoring::Sigmoid, Activation::Sigmoid), sigmoid);
        for model in model {
            assert_eq!(scores(Scoring::Cosine, model), (vec![0.3, 0.0], Some(0.1)), "neither scale nor bias");
        }
    }
}
