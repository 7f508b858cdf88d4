//! Both passes with AVX2: the weights of the default backend fit into 16 bits, so a single instruction multiplies sixteen of
//! them and adds neighbours. The result is `None` if the processor or the weights do not allow it.
//!
//! A step reads up to [`MARGIN`] bytes after a pixel's last tap, with weights of 0.

use std::{arch::x86_64::__m256i, ops::Range};

use pulp::{cast, x86::V3};

use super::{
    axis::{Axis, Rows, Tap, Taps},
    plain,
};

/// The pixels of a horizontal step.
const STEP: usize = 4;
/// The rows that are resized horizontally at the same time.
const BLOCK: usize = 4;
/// The bytes that a horizontal step reads: more than its pixels have.
const READ: usize = 16;
const MARGIN: usize = READ - STEP * 3;
/// The bytes of a row that are resized vertically at the same time.
const CHUNK: usize = 32;

/// From `r0 g0 b0 r1 g1 b1 ...` in both halves to 16-bit pairs `r0 r1 g0 g1 b0 b1 0 0` and `r2 r3 g2 g3 b2 b3 0 0`.
#[rustfmt::skip]
const PAIRS: [i8; 32] = [
    0, -1, 3, -1,  1, -1,  4, -1,  2, -1,  5, -1, -1, -1, -1, -1,
    6, -1, 9, -1,  7, -1, 10, -1,  8, -1, 11, -1, -1, -1, -1, -1,
];

/// See [`plain::horizontal`].
pub(super) fn horizontal(rgb: &[u8], width: usize, rows: Range<usize>, axis: &Axis) -> Option<Vec<u8>> {
    let (pixels, precision) = narrow(axis)?;
    let simd = V3::try_new()?;
    let steps = pixels.iter().map(|tap| tap.weights.len()).max()?.div_ceil(STEP);
    let across = Across { simd, steps, weights: paired(pixels, steps), pixels, precision };
    let stride = width * 3;
    let bytes = pixels.len() * 3;
    let mut result = vec![0; rows.len() * bytes];
    // The bytes that a step may read after the picture's last row.
    let beyond = steps * STEP * 3 + MARGIN;
    let mut padded = Vec::new();
    for (start, result) in rows.step_by(BLOCK).zip(result.chunks_mut(BLOCK * bytes)) {
        let needed = BLOCK * stride + beyond;
        let rows = match rgb.get(start * stride..start * stride + needed) {
            Some(rows) => rows,
            None => {
                padded.clear();
                padded.extend(rgb[start * stride..].iter().take(needed));
                padded.resize(needed, 0);
                &padded
            }
        };
        simd.vectorize(Block { across: &across, rows, stride, result });
    }
    Some(result)
}

/// See [`plain::vertical`].
pub(super) fn vertical(rows: &Rows<'_>, axis: &Axis) -> Option<Vec<u8>> {
    let (pixels, precision) = narrow(axis)?;
    let simd = V3::try_new()?;
    let bytes = rows.columns.len();
    let mut result = vec![0; pixels.len() * bytes];
    for (tap, result) in pixels.iter().zip(result.chunks_mut(bytes.max(1))) {
        let (rows, stride) = (rows.starting_at(tap.first), rows.stride);
        simd.vectorize(Row { simd, rows, stride, weights: &tap.weights, precision, result });
    }
    Some(result)
}

/// The weights of an axis, if all of them fit into 16 bits.
fn narrow(axis: &Axis) -> Option<(&[Tap], u32)> {
    match &axis.taps {
        Taps::Weighted { pixels, precision } => {
            let fits = |weight: &i32| i16::try_from(*weight).is_ok();
            pixels.iter().all(|tap| tap.weights.iter().all(fits)).then_some((pixels, *precision))
        }
        Taps::Copy => None,
    }
}

struct Across<'a> {
    simd: V3,
    /// Steps for each pixel.
    steps: usize,
    /// `steps` for each pixel.
    weights: Vec<[i16; 16]>,
    pixels: &'a [Tap],
    precision: u32,
}

/// The weights in the order of [`PAIRS`], padded with zeros.
fn paired(pixels: &[Tap], steps: usize) -> Vec<[i16; 16]> {
    let weight = |tap: &Tap, at: usize| tap.weights.get(at).map_or(0, |weight| *weight as i16);
    let step = |tap: &Tap, step: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| weight(tap, step * STEP + at));
        [a, b, a, b, a, b, 0, 0, c, d, c, d, c, d, 0, 0]
    };
    pixels.iter().flat_map(|tap| (0..steps).map(move |number| step(tap, number))).collect()
}

/// The horizontal pass of up to [`BLOCK`] rows.
struct Block<'a> {
    across: &'a Across<'a>,
    rows: &'a [u8],
    stride: usize,
    result: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { across: Across { simd, steps, weights, pixels, precision }, rows, stride, result } = self;
        let V3 { sse2, avx, avx2, .. } = *simd;
        let pairs: __m256i = cast(PAIRS);
        let half = avx._mm256_set1_epi32(1 << precision >> 1);
        let shift = sse2._mm_cvtsi32_si128(*precision as i32);
        let bytes = pixels.len() * 3;
        let length = steps * STEP * 3 + MARGIN;
        for (at, (tap, weights)) in pixels.iter().zip(weights.chunks_exact(*steps)).enumerate() {
            let starts: [&[u8]; BLOCK] =
                std::array::from_fn(|row| &rows[row * stride + tap.first * 3..][..length]);
            let mut sums = [avx._mm256_setzero_si256(); BLOCK];
            for (step, weights) in weights.iter().enumerate() {
                let weights: __m256i = cast(*weights);
                for (sum, start) in sums.iter_mut().zip(starts) {
                    let read: [u8; READ] =
                        *start[step * STEP * 3..].first_chunk().expect("the margin is there");
                    let both = avx2._mm256_broadcastsi128_si256(cast(read));
                    let products = avx2._mm256_madd_epi16(avx2._mm256_shuffle_epi8(both, pairs), weights);
                    *sum = avx2._mm256_add_epi32(*sum, products);
                }
            }
            // Two rows in a register, then all four, clamped to 16 and then to 8 bits.
            let level = |a: __m256i, b: __m256i| {
                let low = avx2._mm256_permute2x128_si256::<0x20>(a, b);
                let high = avx2._mm256_permute2x128_si256::<0x31>(a, b);
                let sum = avx2._mm256_add_epi32(avx2._mm256_add_epi32(low, high), half);
                avx2._mm256_sra_epi32(sum, shift)
            };
            let (first, last) = (level(sums[0], sums[1]), level(sums[2], sums[3]));
            let words = avx2._mm256_packs_epi32(first, last);
            let levels: [u8; 32] = cast(avx2._mm256_packus_epi16(words, words));
            // Rows 0 and 2 are in the lower half, 1 and 3 in the upper one.
            for (row, from) in [0, 16, 4, 20].into_iter().enumerate() {
                if let Some(pixel) = result.get_mut(row * bytes + at * 3..row * bytes + at * 3 + 3) {
                    pixel.copy_from_slice(&levels[from..from + 3]);
                }
            }
        }
    }
}

/// The vertical pass of one row of the result; `rows` are the source rows, `stride` bytes apart.
struct Row<'a> {
    simd: V3,
    rows: &'a [u8],
    stride: usize,
    weights: &'a [i32],
    precision: u32,
    result: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd: V3 { sse2, avx, avx2, .. }, rows, stride, weights, precision, result } = self;
        let half = avx._mm256_set1_epi32(1 << precision >> 1);
        let shift = sse2._mm_cvtsi32_si128(precision as i32);
        let zero = avx._mm256_setzero_si256();
        let bytes = result.len();
        let (chunks, tail) = result.as_chunks_mut::<CHUNK>();
        let at_tail = bytes - tail.len();
        for (number, result) in chunks.iter_mut().enumerate() {
            let read = |row: usize| -> __m256i {
                let start = row * stride + number * CHUNK;
                cast(*rows[start..].first_chunk::<CHUNK>().expect("a chunk is inside its row"))
            };
            let mut sums = [half; 4];
            for (pair, weights) in weights.chunks(2).enumerate() {
                let (a, second) = (read(pair * 2), weights.get(1));
                let b = second.map_or(zero, |_| read(pair * 2 + 1));
                let weight = (weights[0] & 0xFFFF) | (second.copied().unwrap_or(0) << 16);
                let weight = avx._mm256_set1_epi32(weight);
                let (low, high) = (avx2._mm256_unpacklo_epi8(a, b), avx2._mm256_unpackhi_epi8(a, b));
                let parts = [
                    avx2._mm256_unpacklo_epi8(low, zero),
                    avx2._mm256_unpackhi_epi8(low, zero),
                    avx2._mm256_unpacklo_epi8(high, zero),
                    avx2._mm256_unpackhi_epi8(high, zero),
                ];
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = avx2._mm256_add_epi32(*sum, avx2._mm256_madd_epi16(part, weight));
                }
            }
            let [a, b, c, d] = sums.map(|sum| avx2._mm256_sra_epi32(sum, shift));
            let words = (avx2._mm256_packs_epi32(a, b), avx2._mm256_packs_epi32(c, d));
            *result = cast(avx2._mm256_packus_epi16(words.0, words.1));
        }
        for (at, result) in (at_tail..).zip(tail) {
            let sum: i32 = weights
                .iter()
                .enumerate()
                .map(|(row, weight)| i32::from(rows[row * stride + at]) * weight)
                .sum();
            *result = plain::clamped((sum + (1 << precision >> 1)) >> precision);
        }
    }
}
