//! A query in the form that the first pass compares with signs, and the first pass: the estimated dot products of the query with
//! all vectors of a block. Pure.
//!
//! The query keeps 4 bits for each dimension, as four planes of bits, so that a dot product with signs is a weighted number of
//! common bits. With one bit for the query, too, the best vectors would often be missed: see the test.

use crate::history::vectors::codec::{Block, Code};

/// The bits of a query for each dimension.
const PLANES: usize = 4;
/// The middle of the values of four bits.
const MIDDLE: f32 = 7.5;
/// Two vectors are alike if at most one of this number of signs differs: the angle between their differences from the centre is then
/// about 20 degrees.
const ALIKE: u32 = 8;

/// A query, rotated like the vectors.
#[derive(Debug, Clone)]
pub struct Query {
    values: Vec<f32>,
    /// The bits of lowest weight first; each as many words as the signs of a vector.
    planes: [Vec<u64>; PLANES],
    step: f32,
    /// The sum of `sign * query` is `step * (2 * common - 15 * ones + rest)`.
    rest: f32,
    length: f32,
}

impl Query {
    /// A query from its rotated vector.
    #[must_use]
    pub fn new(values: Vec<f32>) -> Self {
        let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = largest / MIDDLE;
        let words = values.len().div_ceil(64);
        let mut planes = [(); PLANES].map(|()| vec![0_u64; words]);
        let mut sum = 0_u32;
        for (at, value) in values.iter().enumerate() {
            // `as` saturates, and a query of zeros (0 / 0) becomes 0.
            let level = ((value / step + MIDDLE).round() as u32).min((1 << PLANES) - 1);
            sum += level;
            for (plane, bits) in planes.iter_mut().enumerate() {
                bits[at / 64] |= u64::from(level >> plane & 1) << (at % 64);
            }
        }
        let rest = MIDDLE * values.len() as f32 - sum as f32;
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        Self { values, planes, step, rest, length }
    }

    /// The number of dimensions.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.values.len()
    }

    /// The dot product with a vector in full precision, such as the centre of a chunk.
    #[must_use]
    pub fn dot(&self, vector: &[f32]) -> f32 {
        crate::classify::score::dot(&self.values, vector)
    }

    /// The dot product with a difference in its stored form.
    #[must_use]
    pub fn dot_code(&self, code: Code<'_>) -> f32 {
        code.dot(&self.values)
    }

    /// The standard deviation of the error of an estimate with this factor, at most. The part of a difference that its signs do not
    /// have is about 0.6 of its length, in a direction that has nothing to do with the query.
    #[must_use]
    pub fn error(&self, factor: f32) -> f32 {
        0.61 * self.length * factor
    }

    /// Calls `each` with the estimated dot product of the query with every difference in the block, in order, and with whether the
    /// difference is nearly the one before it.
    pub fn estimate(&self, block: &Block<'_>, mut each: impl FnMut(usize, f32, bool)) {
        let mut sums = vec![Sum::default(); block.len()];
        self.count(block.all_signs(), &mut sums);
        for (at, sum) in sums.into_iter().enumerate() {
            let sign_sum = 2.0 * sum.common as f32 - 15.0 * sum.ones as f32 + self.rest;
            let is_alike = at > 0 && ALIKE * sum.changed <= self.values.len() as u32;
            each(at, sign_sum * self.step * block.factor(at), is_alike);
        }
    }

    /// Counts the common bits of the query and of each vector, with the instructions of this processor.
    fn count(&self, signs: &[u8], sums: &mut [Sum]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return simd.vectorize(Count { planes: &self.planes, signs, sums });
        }
        count(&self.planes, signs, sums);
    }
}

/// The bits that a vector has in common with a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    /// Weighted by the planes.
    common: u32,
    /// All bits of the vector.
    ones: u32,
    /// The bits that differ from the vector before it; 0 for the first one.
    changed: u32,
}

#[cfg(target_arch = "x86_64")]
struct Count<'a> {
    planes: &'a [Vec<u64>; PLANES],
    signs: &'a [u8],
    sums: &'a mut [Sum],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        count(self.planes, self.signs, self.sums);
    }
}

/// In plain code, compiled a second time for processors that count bits with one instruction.
#[inline(always)]
fn count(planes: &[Vec<u64>; PLANES], signs: &[u8], sums: &mut [Sum]) {
    let words = planes[0].len();
    let [p0, p1, p2, p3] = planes.each_ref().map(|plane| &plane[..words]);
    let mut before = None;
    for (signs, sum) in signs.chunks_exact((8 * words).max(1)).zip(sums) {
        let (mut common, mut ones, mut changed) = (0, 0, 0);
        let signs = &signs.as_chunks::<8>().0[..words];
        let before = &before.replace(signs).unwrap_or(signs)[..words];
        for at in 0..words {
            let word = u64::from_le_bytes(signs[at]);
            ones += word.count_ones();
            changed += (word ^ u64::from_le_bytes(before[at])).count_ones();
            common += (word & p0[at]).count_ones()
                + 2 * (word & p1[at]).count_ones()
                + 4 * (word & p2[at]).count_ones()
                + 8 * (word & p3[at]).count_ones();
        }
        *sum = Sum { common, ones, changed };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::vectors::codec::{BlockBuilder, Span, encode};

    proptest! {
        #[test]
        fn estimates_are_the_sums_over_signs(
            (query, vectors) in (1_usize..260).prop_flat_map(|length| {
                let vector = move || prop::collection::vec(-1.0_f32..1.0, length);
                (vector(), prop::collection::vec(vector(), 1..5))
            })
        ) {
            let query = Query::new(query);
            let mut builder = BlockBuilder::new(query.dimensions());
            for vector in &vectors {
                builder.push(0, Span::at(0), Code::parse(&encode(vector), vector.len()).unwrap());
            }
            let bytes = builder.bytes();
            let block = Block::parse(&bytes, query.dimensions()).unwrap();
            // The query with 4 bits.
            let coarse = |at: usize| {
                let level = |plane: usize| (query.planes[plane][at / 64] >> (at % 64) & 1) << plane;
                ((0..PLANES).map(level).sum::<u64>() as f32 - MIDDLE) * query.step
            };
            let mut estimates = Vec::new();
            let mut alike = Vec::new();
            query.estimate(&block, |_, estimate, is_alike| {
                estimates.push(estimate);
                alike.push(is_alike);
            });
            prop_assert_eq!(estimates.len(), vectors.len());
            for (at, is_alike) in alike.into_iter().enumerate() {
                let words = |at: usize| block.signs(at).as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
                let changed = |at: usize| words(at - 1).zip(words(at)).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
                let expected = at > 0 && changed(at) as usize * 8 <= query.dimensions();
                prop_assert_eq!(is_alike, expected);
            }
            for (at, estimate) in estimates.into_iter().enumerate() {
                let words = block.signs(at).as_chunks::<8>().0;
                let sign = |at: usize| {
                    if u64::from_le_bytes(words[at / 64]) >> (at % 64) & 1 == 1 { 1.0 } else { -1.0 }
                };
                let sum: f32 = (0..query.dimensions()).map(|at| sign(at) * coarse(at)).sum();
                let expected = sum * block.factor(at);
                prop_assert!((estimate - expected).abs() < 1e-2, "{estimate} {expected}");
            }
            for at in 0..query.dimensions() {
                prop_assert!((coarse(at) - query.values[at]).abs() <= query.step * 0.501);
            }
            let mut plain = vec![Sum::default(); block.len()];
            count(&query.planes, block.all_signs(), &mut plain);
            let mut wide = vec![Sum::default(); block.len()];
            query.count(block.all_signs(), &mut wide);
            prop_assert_eq!(plain, wide);
        }
    }

    #[test]
    fn a_query_of_zeros_scores_nothing() {
        let query = Query::new(vec![0.0; 64]);
        let mut builder = BlockBuilder::new(64);
        builder.push(0, Span::at(0), Code::parse(&encode(&[0.5; 64]), 64).unwrap());
        let bytes = builder.bytes();
        let block = Block::parse(&bytes, 64).unwrap();
        let mut estimates = Vec::new();
        query.estimate(&block, |_, estimate, _| estimates.push(estimate));
        assert_eq!(estimates, [0.0]);
    }
}
