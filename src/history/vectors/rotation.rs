//! A fixed rotation of vectors, which spreads the content of a vector evenly over its dimensions. Pure.
//!
//! The vectors of CLIP models have a few dimensions with large values. A sign or a step of 8 bits then says little about the
//! other dimensions. After the rotation all dimensions are alike. Similarities do not change, because lengths and angles stay
//! the same, so that everything is stored and compared in rotated form.

/// How often signs are flipped and dimensions are mixed.
const ROUNDS: usize = 4;
/// Part of the file format: vectors that were rotated with other signs cannot be compared.
const SEED: u64 = 0x5741_4b45_4f55_5421;

/// The rotation for vectors of one length.
#[derive(Debug, Clone)]
pub struct Rotation {
    dimensions: usize,
    /// The length of the part that one round mixes: the highest power of two that fits.
    part: usize,
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation for vectors with this many dimensions.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        let part = dimensions.checked_ilog2().map_or(0, |exponent| 1 << exponent);
        let mut state = SEED;
        let signs =
            (0..ROUNDS * part).map(|_| if next(&mut state) >> 63 == 0 { 1.0 } else { -1.0 }).collect();
        Self { dimensions, part, signs }
    }

    /// The number of dimensions.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The rotated vector. A vector of another length is cut or filled with zeros.
    #[must_use]
    pub fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut values = vector.to_vec();
        values.resize(self.dimensions, 0.0);
        if self.part < 2 {
            return values;
        }
        let scale = 1.0 / (self.part as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(self.part).enumerate() {
            let start = self.start(round);
            let part = &mut values[start..start + self.part];
            part.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign * scale);
            hadamard(part);
        }
        values
    }

    /// The vector that [`Self::apply`] has rotated.
    #[must_use]
    pub fn undo(&self, rotated: &[f32]) -> Vec<f32> {
        let mut values = rotated.to_vec();
        values.resize(self.dimensions, 0.0);
        if self.part < 2 {
            return values;
        }
        let scale = 1.0 / (self.part as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(self.part).enumerate().rev() {
            let start = self.start(round);
            let part = &mut values[start..start + self.part];
            hadamard(part);
            part.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign * scale);
        }
        values
    }

    /// Where the part of a round begins: the beginning and the end in turn. Both overlap, so that every dimension reaches every other one.
    fn start(&self, round: usize) -> usize {
        if round.is_multiple_of(2) { 0 } else { self.dimensions - self.part }
    }
}

/// The Walsh-Hadamard transform in place, without its scale. The length is a power of two.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (left, right) in left.iter_mut().zip(right) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        half *= 2;
    }
}

/// The next number of SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    proptest! {
        #[test]
        fn similarities_stay_the_same(
            (a, b) in (1_usize..300).prop_flat_map(|length| {
                let vector = || prop::collection::vec(-1.0_f32..1.0, length);
                (vector(), vector())
            })
        ) {
            let rotation = Rotation::new(a.len());
            let (left, right) = (rotation.apply(&a), rotation.apply(&b));
            prop_assert_eq!(left.len(), a.len());
            prop_assert!((dot(&left, &right) - dot(&a, &b)).abs() < 1e-3);
            let undone = rotation.undo(&left);
            prop_assert!(undone.iter().zip(&a).all(|(undone, value)| (undone - value).abs() < 1e-4));
        }
    }

    #[test]
    fn one_large_value_is_spread_over_all_dimensions() {
        for dimensions in [128, 512, 640, 768, 1152] {
            let mut vector = vec![0.0; dimensions];
            vector[dimensions / 2] = 1.0;
            let rotated = Rotation::new(dimensions).apply(&vector);
            let largest = rotated.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest < 0.3, "{dimensions}: {largest}");
        }
    }

    #[test]
    fn the_rotation_is_part_of_the_file_format() {
        // If this fails, stored vectors cannot be compared with new ones any more.
        let rotated = Rotation::new(6).apply(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let again = Rotation::new(6).apply(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(rotated, again);
        assert!(Rotation::new(0).apply(&[]).is_empty());
        assert_eq!(Rotation::new(1).apply(&[0.5]), [0.5]);
    }
}
