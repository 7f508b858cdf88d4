//! Computes scores from similarities: softmax over a label set (CLIP) or sigmoid for each label (SigLIP), as the model was
//! trained, or the similarities themselves. Pure.

pub use crate::model::Activation;

/// The scores of one label set on one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// One for each label, 0 to 1, in the order of the logits.
    pub labels: Vec<f32>,
    /// The score of the background: the sum under softmax, otherwise the highest; `None` without background.
    pub background: Option<f32>,
}

/// `scale * cosine + bias`, of vectors of length 1.
#[must_use]
pub fn logit(picture: &[f32], text: &[f32], scale: f32, bias: f32) -> f32 {
    scale * dot(picture, text) + bias
}

/// The dot product. Eight sums are computed in parallel: with a single sum each addition waits for the one before it.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The scores for the logits of a set's labels and background prompts.
#[must_use]
pub fn scores(labels: &[f32], background: &[f32], activation: Activation) -> Scores {
    match activation {
        Activation::Softmax => {
            // Relative to the highest logit, `exp` cannot overflow.
            let highest = labels.iter().chain(background).copied().fold(f32::NEG_INFINITY, f32::max);
            let share = |logit: &f32| (logit - highest).exp();
            let total: f32 = labels.iter().chain(background).map(share).sum();
            let score = |logit: &f32| share(logit) / total;
            Scores {
                labels: labels.iter().map(score).collect(),
                background: (!background.is_empty())
                    .then(|| background.iter().map(score).sum::<f32>().min(1.0)),
            }
        }
        Activation::Sigmoid => each(labels, background, sigmoid),
        // The length of a vector is 1 only up to rounding.
        Activation::Cosine => each(labels, background, |cosine| cosine.clamp(0.0, 1.0)),
    }
}

fn each(labels: &[f32], background: &[f32], score: impl Fn(f32) -> f32) -> Scores {
    Scores {
        labels: labels.iter().copied().map(&score).collect(),
        background: background.iter().copied().map(&score).reduce(f32::max),
    }
}

/// `1 / (1 + exp(-x))`, written so that neither side overflows.
fn sigmoid(x: f32) -> f32 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let small = x.exp();
        small / (1.0 + small)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Activation::*, *};

    #[test]
    fn a_table_of_cases() {
        let e = 1f32.exp();
        type Case<'a> = (&'a str, Activation, &'a [f32], &'a [f32], &'a [f32], Option<f32>);
        let cases: &[Case<'_>] = &[
            ("a single label gets 1", Softmax, &[-7.0], &[], &[1.0], None),
            ("equal logits share", Softmax, &[3.0, 3.0], &[], &[0.5, 0.5], None),
            ("the background gets its share", Softmax, &[0.0], &[0.0, 0.0], &[1.0 / 3.0], Some(2.0 / 3.0)),
            ("one step is a factor e", Softmax, &[1.0, 0.0], &[], &[e / (1.0 + e), 1.0 / (1.0 + e)], None),
            ("large logits do not overflow", Softmax, &[1000.0, 0.0], &[-1000.0], &[1.0, 0.0], Some(0.0)),
            ("each label alone", Sigmoid, &[0.0, 1.0], &[], &[0.5, e / (1.0 + e)], None),
            ("the highest background", Sigmoid, &[0.0], &[-90.0, 0.0, -1.0], &[0.5], Some(0.5)),
            ("the ends of the scale", Sigmoid, &[-200.0, 200.0], &[], &[0.0, 1.0], None),
            ("no labels, no scores", Sigmoid, &[], &[], &[], None),
            ("a cosine as it is", Cosine, &[0.31, 0.24], &[0.2, 0.22], &[0.31, 0.24], Some(0.22)),
            ("a negative cosine scores 0", Cosine, &[-0.4, 1.000_001], &[-1.0], &[0.0, 1.0], Some(0.0)),
        ];
        for (name, activation, labels, background, expected, expected_background) in cases {
            let Scores { labels, background } = scores(labels, background, *activation);
            assert_eq!(labels.len(), expected.len(), "{name}");
            for (score, expected) in labels.iter().zip(*expected) {
                assert!((score - expected).abs() < 1e-6, "{name}: {labels:?}");
            }
            assert_eq!(background.is_some(), expected_background.is_some(), "{name}");
            let difference = background.unwrap_or(0.0) - expected_background.unwrap_or(0.0);
            assert!(difference.abs() < 1e-6, "{name}: {background:?}");
        }
    }

    #[test]
    fn a_logit_is_the_scaled_cosine_and_the_bias() {
        assert_eq!(logit(&[0.6, 0.8], &[1.0, 0.0], 10.0, -1.0), 5.0);
        for length in [0_u8, 1, 7, 8, 9, 40] {
            let (up, ones): (Vec<f32>, Vec<f32>) = (0..length).map(|number| (f32::from(number), 1.0)).unzip();
            let sum = (0..u32::from(length)).sum::<u32>();
            assert_eq!(logit(&up, &ones, 1.0, 0.0), sum as f32, "{length} numbers");
        }
    }

    proptest! {
        #[test]
        fn scores_stay_between_0_and_1_and_keep_the_order(
            labels in prop::collection::vec(-150f32..150.0, 1..20),
            background in prop::collection::vec(-150f32..150.0, 0..5),
            activation in prop::sample::select(vec![Softmax, Sigmoid, Cosine]),
        ) {
            let scored = scores(&labels, &background, activation);
            let all = || scored.labels.iter().chain(&scored.background).copied();
            prop_assert!(all().all(|score| (0.0..=1.0).contains(&score)));
            if activation == Softmax {
                prop_assert!((all().sum::<f32>() - 1.0).abs() < 1e-4);
            }
            for (a, b) in labels.iter().zip(&scored.labels) {
                for (c, d) in labels.iter().zip(&scored.labels) {
                    prop_assert!(a <= c && b <= d || a >= c && b >= d);
                }
            }
        }
    }
}
