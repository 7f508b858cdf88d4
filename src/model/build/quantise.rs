//! Turns weights into whole numbers of 8 bits. Pure.
//!
//! Each row of a linear layer, which makes one output, has a scale of its own, so that one output with large weights does not make
//! the others coarse. An outlier in a row would still do so to its neighbours; the scale is therefore the one with the smallest
//! error, which may cut the outlier. A layer whose error stays large keeps its full precision (see [`Quantised::error`]).

/// The largest magnitude of a quantised weight.
///
/// Processors without VNNI multiply two pairs of 8-bit numbers at once and add the products in 16 bits, where large ones
/// overflow without notice: activations have at most 255, and two products of 63 stay below 2^15. Other processors add in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Magnitude {
    /// 127
    Whole,
    /// 63
    Reduced,
}

/// The largest [error](Quantised::error) of a layer that is quantised. Weights that are spread as a bell have 0.02 with the reduced
/// magnitude.
pub(super) const MOST_ERROR: f32 = 0.06;
/// The largest weights that are tried as the end of the scale, as parts of the row's largest one.
const CUTS: [f32; 8] = [1.0, 0.95, 0.9, 0.84, 0.78, 0.7, 0.6, 0.5];

impl Magnitude {
    /// That of the processor that the program runs on.
    pub(crate) fn of_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let adds_in_32_bits = std::arch::is_x86_feature_detected!("avx512vnni")
                || std::arch::is_x86_feature_detected!("avxvnni");
            if !adds_in_32_bits {
                return Self::Reduced;
            }
        }
        Self::Whole
    }

    pub(crate) fn most(self) -> i8 {
        match self {
            Self::Whole => 127,
            Self::Reduced => 63,
        }
    }
}

/// The weights of a linear layer as whole numbers: each weight is about its number times the scale of its row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantised {
    /// A row for each input, a column for each output: the layout that ONNX Runtime multiplies by.
    pub by_input: Vec<i8>,
    /// One for each output.
    pub scales: Vec<f32>,
    /// How far a number is from its weight, as a part of a typical weight of its row: the root of the mean square. The typical weight is
    /// the median, since a few outliers would hide how much all others lose.
    pub error: f32,
}

/// Quantises a matrix with a row of `inputs` weights for each output. `None` if a weight is no number, or the matrix has no such rows.
pub(super) fn quantise(weights: &[f32], inputs: usize, magnitude: Magnitude) -> Option<Quantised> {
    if inputs == 0
        || !weights.len().is_multiple_of(inputs)
        || !weights.iter().all(|weight| weight.is_finite())
    {
        return None;
    }
    let outputs = weights.len() / inputs;
    let mut quantised =
        Quantised { by_input: vec![0; weights.len()], scales: Vec::with_capacity(outputs), error: 0.0 };
    let mut lost = 0.0_f64;
    for (output, row) in weights.chunks_exact(inputs).enumerate() {
        let (scale, error) = best_scale(row, magnitude.most());
        for (input, weight) in row.iter().enumerate() {
            quantised.by_input[input * outputs + output] = nearest(*weight, scale, magnitude.most());
        }
        quantised.scales.push(scale);
        if let Some(typical) = typical(row) {
            lost += error / (inputs as f64 * typical * typical);
        }
    }
    quantised.error = (lost / outputs.max(1) as f64).sqrt() as f32;
    Some(quantised)
}

/// The median of the magnitudes, or their mean if most of them are 0. `None` for a row of zeros.
fn typical(row: &[f32]) -> Option<f64> {
    let mut sizes: Vec<f32> = row.iter().map(|weight| weight.abs()).collect();
    let middle = sizes.len() / 2;
    let median = f64::from(*sizes.select_nth_unstable_by(middle, f32::total_cmp).1);
    let mean = row.iter().map(|weight| f64::from(weight.abs())).sum::<f64>() / row.len() as f64;
    Some(if median > 0.0 { median } else { mean }).filter(|typical| *typical > 0.0)
}

/// The scale with the smallest sum of squared errors, and that sum.
fn best_scale(row: &[f32], most: i8) -> (f32, f64) {
    let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let whole = largest / f32::from(most);
    // The scale of a row of zeros does not matter. One that is too small for a float would make infinite numbers.
    if !whole.is_normal() {
        return (1.0, row.iter().map(|weight| f64::from(*weight).powi(2)).sum());
    }
    let tried = CUTS.map(|cut| {
        let scale = whole * cut;
        (scale, row.iter().map(|weight| lost(*weight, scale, most)).sum::<f64>())
    });
    // The first of equal ones, which cuts nothing.
    tried.into_iter().reduce(|best, next| if next.1 < best.1 { next } else { best }).unwrap_or((1.0, 0.0))
}

/// The square of what a weight loses.
fn lost(weight: f32, scale: f32, most: i8) -> f64 {
    let back = f32::from(nearest(weight, scale, most)) * scale;
    f64::from(weight - back).powi(2)
}

/// The nearest whole number, half to even.
fn nearest(weight: f32, scale: f32, most: i8) -> i8 {
    let most = f32::from(most);
    (weight / scale).round_ties_even().clamp(-most, most) as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Magnitude; 2] = [Magnitude::Whole, Magnitude::Reduced];

    #[test]
    fn weights_become_columns_with_a_scale_for_each_output() {
        // Two outputs of three inputs.
        let quantised = quantise(&[127.0, -127.0, 0.0, 1.0, 0.25, -1.0], 3, Magnitude::Whole).unwrap();
        assert_eq!(quantised.by_input, [127, 127, -127, 32, 0, -127]);
        assert_eq!(quantised.scales, [1.0, 1.0 / 127.0]);
        let reduced = quantise(&[63.0, -31.0], 2, Magnitude::Reduced).unwrap();
        assert_eq!((reduced.by_input, reduced.scales, reduced.error), (vec![63, -31], vec![1.0], 0.0));
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_matrix_is_refused() {
        for magnitude in BOTH {
            let zeros = quantise(&[0.0; 6], 2, magnitude).unwrap();
            assert_eq!((zeros.by_input, zeros.scales, zeros.error), (vec![0; 6], vec![1.0; 3], 0.0));
            // Smaller than any scale: the layer is not quantised, because everything is lost.
            let tiny = quantise(&[f32::MIN_POSITIVE / 4.0; 4], 2, magnitude).unwrap();
            assert!(tiny.scales.iter().all(|scale| *scale == 1.0) && tiny.error > MOST_ERROR, "{tiny:?}");
            for wrong in [&[f32::NAN, 1.0][..], &[f32::INFINITY, 1.0], &[1.0, 2.0, 3.0]] {
                assert_eq!(quantise(wrong, 2, magnitude), None);
            }
            assert_eq!(quantise(&[1.0], 0, magnitude), None);
        }
    }

    #[test]
    fn products_of_the_reduced_magnitude_do_not_overflow() {
        let most = i32::from(Magnitude::Reduced.most());
        assert!(2 * 255 * most <= i32::from(i16::MAX) && 2 * 255 * 127 > i32::from(i16::MAX));
    }

    #[test]
    fn an_outlier_is_cut_only_if_that_helps() {
        let mut row: Vec<f32> = (0..2048).map(|at| ((at * 7919) % 2001) as f32 / 1000.0 - 1.0).collect();
        let plain = quantise(&row, row.len(), Magnitude::Reduced).unwrap();
        assert!(plain.error < MOST_ERROR / 1.5, "{}", plain.error);
        row[5] = 3.0;
        let (scale, error) = best_scale(&row, 63);
        assert!(scale <= 3.0 / 63.0);
        let uncut: f64 = row.iter().map(|weight| lost(*weight, 3.0 / 63.0, 63)).sum();
        assert!(error <= uncut);
        // So far off that every other weight is 0, whatever is cut.
        row[5] = 4000.0;
        let ruined = quantise(&row[..64], 64, Magnitude::Reduced).unwrap();
        assert_eq!(ruined.by_input.iter().filter(|number| **number != 0).count(), 1);
        assert!(ruined.error > MOST_ERROR, "{}", ruined.error);
        // One such row of many does not cost the layer its speed.
        let layer = [row[..64].to_vec(), (0..500).flat_map(|_| row[64..128].to_vec()).collect()].concat();
        assert!(quantise(&layer, 64, Magnitude::Reduced).unwrap().error < MOST_ERROR);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Without a cut no weight is further from its number than half a step, and no number is larger than the magnitude.
        #[test]
        fn the_error_of_each_weight_is_bounded(
            rows in prop::collection::vec(prop::collection::vec(-1000.0_f32..1000.0, 5), 1..8),
            exponent in -20..20_i32,
            reduced in any::<bool>(),
        ) {
            let magnitude = if reduced { Magnitude::Reduced } else { Magnitude::Whole };
            let weights: Vec<f32> = rows.iter().flatten().map(|weight| weight * 2f32.powi(exponent)).collect();
            let quantised = quantise(&weights, 5, magnitude).unwrap();
            let outputs = rows.len();
            for (output, row) in weights.chunks_exact(5).enumerate() {
                let scale = quantised.scales[output];
                let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
                let numbers: Vec<i8> = (0..5).map(|input| quantised.by_input[input * outputs + output]).collect();
                prop_assert!(numbers.iter().all(|number| number.abs() <= magnitude.most()));
                let uncut: f64 = row.iter().map(|weight| {
                    lost(*weight, largest / f32::from(magnitude.most()), magnitude.most())
                }).filter(|lost| lost.is_finite()).sum();
                let error: f64 = row.iter().zip(&numbers).map(|(weight, number)| {
                    f64::from(weight - f32::from(*number) * scale).powi(2)
                }).sum();
                prop_assert!(largest == 0.0 || error <= uncut * 1.000_01, "{} {}", error, uncut);
                let end = scale * f32::from(magnitude.most());
                for (weight, number) in row.iter().zip(&numbers) {
                    let off = (weight - f32::from(*number) * scale).abs();
                    prop_assert!(weight.abs() > end || off <= scale * 0.500_1, "{} {} {}", weight, number, scale);
                }
            }
        }

        /// A matrix that is multiplied by a power of two has the same numbers.
        #[test]
        fn the_numbers_do_not_depend_on_the_unit(row in prop::collection::vec(-1.0_f32..1.0, 8), exponent in -10..10_i32) {
            let larger: Vec<f32> = row.iter().map(|weight| weight * 2f32.powi(exponent)).collect();
            let of = |weights: &[f32]| quantise(weights, 8, Magnitude::Whole).unwrap().by_input;
            prop_assert_eq!(of(&row), of(&larger));
        }
    }
}
