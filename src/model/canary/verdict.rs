//! Judges the answers of a device to the pictures of the canary. Pure: the caller passes the vectors and the times.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    engine::ProviderShare,
    model::family::{Activation, Logits},
};

/// No score may differ by more from the reference's.
pub const MOST_DIFFERENCE: f32 = 0.01;
/// No cosine to the reference's vector may be smaller. Reduced precision is far above it; a wrong vector is far below.
const LEAST_COSINE: f32 = 0.95;
/// Vectors of different pictures that are nearer to each other than this are one vector.
const SAME: f32 = 0.9999;
/// A device may take this many times its usual time...
const SLOW: u32 = 5;
/// ...and always this time.
const NEVER_SLOW: Duration = Duration::from_millis(50);

/// The vectors of the reference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Of the pictures, each of length 1.
    pub pictures: Vec<Vec<f32>>,
    /// Of the texts, each of length 1. None if the texts cannot be encoded: then no scores are compared.
    pub texts: Vec<Vec<f32>>,
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceAnswer {
    /// The vector of each picture; `None`: not a number.
    pub vectors: Vec<Option<Vec<f32>>>,
    /// The least time of one picture.
    pub took: Duration,
    /// Which execution providers run the graph. Empty: not known.
    pub placement: Vec<ProviderShare>,
}

/// What is expected besides the vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// How similarities become logits.
    pub logits: Logits,
    /// How logits become scores.
    pub activation: Activation,
    /// Whether another provider than the processor's must run the graph.
    pub off_processor: bool,
    /// The time of one picture when it was measured; `None`: it is measured now.
    pub usual: Option<Duration>,
}

/// The figures of an answer without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The least cosine to the reference's vectors.
    pub cosine: f32,
    /// The greatest difference of a score.
    pub difference: f32,
    /// The least time of one picture.
    pub took: Duration,
}

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A vector is not a number.
    #[error("its answer is not a number")]
    NotANumber,
    /// All pictures have the same vector.
    #[error("its answer is the same for every picture")]
    Constant,
    /// A vector is another one.
    #[error("its answer is wrong: the cosine to the reference's is {0:.4}")]
    Wrong(f32),
    /// A score differs.
    #[error("a score differs by {0:.3} from the reference's, and {max} is allowed", max = MOST_DIFFERENCE)]
    Inexact(f32),
    /// The provider that was asked for does not run the graph.
    #[error("it is not used: {0} runs most of the model")]
    NotUsed(String),
    /// It takes much longer than when it was measured.
    #[error("it takes {} ms for a picture instead of {} ms", .took.as_millis(), .usual.as_millis())]
    Slow {
        /// The least time of one picture.
        took: Duration,
        /// The time when it was measured.
        usual: Duration,
    },
    /// It hangs, or has crashed.
    #[error("it is lost: {0}")]
    Lost(String),
    /// It fails on a picture that it must accept.
    #[error("it fails: {0}")]
    Failed(String),
}

impl Fault {
    /// A word for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::Constant => "constant",
            Self::Wrong(_) => "wrong",
            Self::Inexact(_) => "inexact",
            Self::NotUsed(_) => "not_used",
            Self::Slow { .. } => "slow",
            Self::Lost(_) => "lost",
            Self::Failed(_) => "failed",
        }
    }

    /// The words of all faults.
    pub const WORDS: [&'static str; 8] =
        ["not_a_number", "constant", "wrong", "inexact", "not_used", "slow", "lost", "failed"];
}

/// Judges an answer.
///
/// # Errors
/// The first fault of the list above, the gravest ones first.
pub fn judge(reference: &Reference, answer: &DeviceAnswer, expected: &Expected) -> Result<Figures, Fault> {
    let vectors = numbers(answer, reference.pictures.len())?;
    if is_constant(&vectors) && !is_constant(&reference.pictures.iter().collect::<Vec<_>>()) {
        return Err(Fault::Constant);
    }
    let pairs = || vectors.iter().zip(&reference.pictures);
    let cosine = pairs().map(|(found, right)| cosine(found, right)).fold(1.0, f32::min);
    if cosine < LEAST_COSINE {
        return Err(Fault::Wrong(cosine));
    }
    let scores = |vector: &[f32]| scores(vector, &reference.texts, expected);
    let differences = pairs().flat_map(|(found, right)| {
        scores(found)
            .into_iter()
            .zip(scores(right))
            .map(|(found, right)| (found - right).abs())
            .collect::<Vec<_>>()
    });
    let difference = differences.fold(0.0, f32::max);
    if difference > MOST_DIFFERENCE {
        return Err(Fault::Inexact(difference));
    }
    if let Some(provider) = wrong_provider(&answer.placement).filter(|_| expected.off_processor) {
        return Err(Fault::NotUsed(provider));
    }
    match expected.usual {
        Some(usual) if answer.took > (usual * SLOW).max(NEVER_SLOW) => {
            Err(Fault::Slow { took: answer.took, usual })
        }
        _ => Ok(Figures { cosine, difference, took: answer.took }),
    }
}

/// Judges an answer with which later ones are compared, because there is no reference.
///
/// # Errors
/// A vector is not a number, or all pictures have the same one.
pub fn judge_first(answer: &DeviceAnswer, pictures: usize) -> Result<Vec<Vec<f32>>, Fault> {
    let vectors = numbers(answer, pictures)?;
    match is_constant(&vectors) {
        true => Err(Fault::Constant),
        false => Ok(vectors.into_iter().cloned().collect()),
    }
}

/// The vectors, if there are as many as pictures and all are numbers.
fn numbers(answer: &DeviceAnswer, pictures: usize) -> Result<Vec<&Vec<f32>>, Fault> {
    let vectors: Vec<_> = answer.vectors.iter().map_while(Option::as_ref).collect();
    match vectors.len() < pictures || vectors.iter().any(|vector| !is_number(vector)) {
        true => Err(Fault::NotANumber),
        false => Ok(vectors),
    }
}

/// The processor's provider, if it runs most of the graph.
fn wrong_provider(placement: &[ProviderShare]) -> Option<String> {
    let nodes = |is_processor: bool| -> usize {
        let of =
            placement.iter().filter(|share| (share.provider == ProviderShare::PROCESSOR) == is_processor);
        of.map(|share| share.nodes).sum()
    };
    (!placement.is_empty() && nodes(true) >= nodes(false)).then(|| ProviderShare::PROCESSOR.to_owned())
}

fn is_number(vector: &[f32]) -> bool {
    vector.iter().all(|value| value.is_finite()) && vector.iter().any(|value| *value != 0.0)
}

fn is_constant(vectors: &[&Vec<f32>]) -> bool {
    vectors.len() > 1 && vectors[1..].iter().all(|vector| cosine(vector, vectors[0]) > SAME)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// 0 for vectors of different lengths, which belong to different models.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The scores of a picture for all texts. None without texts.
fn scores(vector: &[f32], texts: &[Vec<f32>], expected: &Expected) -> Vec<f32> {
    let Logits { scale, bias } = expected.logits;
    let logits: Vec<f32> = texts.iter().map(|text| scale * dot(vector, text) + bias).collect();
    match expected.activation {
        Activation::Softmax => {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shares: Vec<f32> = logits.iter().map(|logit| (logit - highest).exp()).collect();
            let total: f32 = shares.iter().sum();
            shares.into_iter().map(|share| share / total).collect()
        }
        Activation::Sigmoid => logits.into_iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Activation::Cosine => texts.iter().map(|text| dot(vector, text).clamp(0.0, 1.0)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        Reference {
            pictures: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            texts: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
        }
    }

    fn share(provider: &str, nodes: usize) -> ProviderShare {
        ProviderShare { provider: provider.to_owned(), nodes }
    }

    #[test]
    fn a_table_of_answers() {
        let ms = Duration::from_millis;
        let right = || reference().pictures.into_iter().map(Some).collect::<Vec<_>>();
        let exact = Figures { cosine: 1.0, difference: 0.0, took: ms(20) };
        let processor = || share(ProviderShare::PROCESSOR, 3);
        let not_used = || Err(Fault::NotUsed(ProviderShare::PROCESSOR.to_owned()));
        let slow = Fault::Slow { took: ms(101), usual: ms(20) };
        type Case<'a> = (&'a str, Vec<Option<Vec<f32>>>, u64, Vec<ProviderShare>, Result<Figures, Fault>);
        let cases: [Case<'_>; 15] = [
            ("exact", right(), 20, vec![], Ok(exact)),
            ("by the device", right(), 20, vec![processor(), share("Gpu", 4)], Ok(exact)),
            ("as slow as is allowed", right(), 100, vec![], Ok(Figures { took: ms(100), ..exact })),
            ("slow", right(), 101, vec![], Err(slow)),
            ("by the processor", right(), 20, vec![processor()], not_used()),
            ("mostly by the processor", right(), 20, vec![share("Gpu", 3), processor()], not_used()),
            (
                "an infinite number",
                vec![Some(vec![f32::INFINITY, 0.0]), Some(vec![0.0, 1.0])],
                20,
                vec![],
                Err(Fault::NotANumber),
            ),
            (
                "NaN",
                vec![Some(vec![1.0, 0.0]), Some(vec![f32::NAN, 1.0])],
                20,
                vec![],
                Err(Fault::NotANumber),
            ),
            ("no number", vec![Some(vec![1.0, 0.0]), None], 20, vec![], Err(Fault::NotANumber)),
            ("zeros", vec![Some(vec![0.0; 2]), Some(vec![0.0; 2])], 20, vec![], Err(Fault::NotANumber)),
            ("none", vec![], 20, vec![], Err(Fault::NotANumber)),
            ("constant", vec![Some(vec![0.6, 0.8]), Some(vec![0.6, 0.8])], 20, vec![], Err(Fault::Constant)),
            (
                "exchanged",
                vec![Some(vec![0.0, 1.0]), Some(vec![1.0, 0.0])],
                20,
                vec![],
                Err(Fault::Wrong(0.0)),
            ),
            ("of another model", vec![Some(vec![1.0]), Some(vec![2.0])], 20, vec![], Err(Fault::Constant)),
            // NaN is found before the time.
            ("slow and NaN", vec![None, None], 1000, vec![], Err(Fault::NotANumber)),
        ];
        for (name, vectors, took, placement, expected) in cases {
            let answer = DeviceAnswer { vectors, took: ms(took), placement };
            let expected_of_device = Expected {
                logits: Logits { scale: 100.0, bias: 0.0 },
                activation: Activation::Softmax,
                off_processor: true,
                usual: Some(ms(20)),
            };
            assert_eq!(judge(&reference(), &answer, &expected_of_device), expected, "{name}");
            let on_processor = Expected { off_processor: false, usual: None, ..expected_of_device };
            let judged = judge(&reference(), &answer, &on_processor);
            let is_about_device = matches!(expected, Err(Fault::NotUsed(_) | Fault::Slow { .. }));
            assert_eq!(judged.is_ok(), expected.is_ok() || is_about_device, "{name}: {judged:?}");
        }
    }

    #[test]
    fn a_first_answer_must_be_numbers_that_differ() {
        let right = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let judged = |vectors: Vec<Option<Vec<f32>>>| {
            judge_first(&DeviceAnswer { vectors, took: Duration::ZERO, placement: vec![] }, 2)
        };
        assert_eq!(judged(right.iter().cloned().map(Some).collect()), Ok(right));
        assert_eq!(judged(vec![Some(vec![0.6, 0.8]); 2]), Err(Fault::Constant));
        assert_eq!(judged(vec![Some(vec![0.6, 0.8]), None]), Err(Fault::NotANumber));
        assert_eq!(judged(vec![Some(vec![0.6, 0.8])]), Err(Fault::NotANumber));
    }

    #[test]
    fn a_score_may_differ_by_a_hundredth() {
        let reference = Reference { pictures: vec![vec![0.6, 0.8]], ..reference() };
        // The difference of the two logits moves by less and by more than the bound allows.
        for (turned, expected) in [(0.0005_f32, true), (0.01, false)] {
            let (sin, cos) = turned.sin_cos();
            let vectors = vec![Some(vec![0.6 * cos - 0.8 * sin, 0.6 * sin + 0.8 * cos])];
            let answer = DeviceAnswer { vectors, took: Duration::ZERO, placement: vec![] };
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                let logits = Logits { scale: 10.0, bias: -7.0 };
                let expected_of_device = Expected { logits, activation, off_processor: false, usual: None };
                let judged = judge(&reference, &answer, &expected_of_device);
                assert_eq!(judged.is_ok(), expected, "{activation:?} {turned}: {judged:?}");
                assert!(judged.is_ok() || matches!(judged, Err(Fault::Inexact(_))), "{judged:?}");
            }
        }
    }

    #[test]
    fn every_fault_has_a_word_and_a_text() {
        let ms = Duration::from_millis;
        let faults = [
            Fault::NotANumber,
            Fault::Constant,
            Fault::Wrong(0.5),
            Fault::Inexact(0.25),
            Fault::NotUsed("CPUExecutionProvider".to_owned()),
            Fault::Slow { took: ms(500), usual: ms(20) },
            Fault::Lost("it has crashed".to_owned()),
            Fault::Failed("out of memory".to_owned()),
        ];
        assert_eq!(faults.clone().map(|fault| fault.word()), Fault::WORDS);
        let texts = faults.map(|fault| fault.to_string());
        assert_eq!(texts[2], "its answer is wrong: the cosine to the reference's is 0.5000");
        assert_eq!(texts[3], "a score differs by 0.250 from the reference's, and 0.01 is allowed");
        assert_eq!(texts[4], "it is not used: CPUExecutionProvider runs most of the model");
        assert_eq!(texts[5], "it takes 500 ms for a picture instead of 20 ms");
        assert_eq!(texts[6], "it is lost: it has crashed");
    }
}
