//! The weights of a resize: how each pixel of one edge of the result is computed from pixels of the source.

use std::ops::Range;

/// The image library whose rounding is followed. Some values of the results differ by one level, and scores by up to 0.025.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The reference's default: weights of 16 bits.
    #[default]
    Torchvision,
    /// The reference without torchvision, and its older releases: weights of 22 bits.
    Pil,
}

/// The shape of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Bilinear,
    Bicubic,
}

/// How each pixel of one edge of the result is computed from pixels of the same edge of the source.
pub(super) struct Axis {
    pub taps: Taps,
    /// The pixels of the result that are computed.
    pub window: Range<usize>,
}

pub(super) enum Taps {
    /// The size does not change: the pass is omitted.
    Copy,
    /// One tap for each pixel of the window, in fixed point with `precision` fractional bits.
    Weighted { pixels: Vec<Tap>, precision: u32 },
}

/// The pixels of the source that one pixel of the result is computed from.
pub(super) struct Tap {
    pub first: usize,
    pub weights: Vec<i32>,
}

/// The longest edge whose largest weight is searched on the whole edge. A picture that is hundreds of times as wide as high
/// may exceed it; then only the window is searched, since the whole edge would keep a core busy for seconds.
const LONGEST: u32 = 100_000;

impl Axis {
    pub fn new(from: u32, to: u32, window: Range<usize>, filter: Filter, backend: Backend) -> Self {
        let taps = if from == to { Taps::Copy } else { weighted(from, to, &window, filter, backend) };
        Self { taps, window }
    }

    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// The pixels of the source that the window is computed from.
    pub fn needed(&self) -> Range<usize> {
        match &self.taps {
            Taps::Copy => self.window.clone(),
            Taps::Weighted { pixels, .. } => {
                let end = pixels.iter().map(|tap| tap.first + tap.weights.len()).max();
                pixels.first().map_or(0, |tap| tap.first)..end.unwrap_or(0)
            }
        }
    }
}

fn weighted(from: u32, to: u32, window: &Range<usize>, filter: Filter, backend: Backend) -> Taps {
    let weights = |pixel| weights(from, to, pixel, filter);
    let precision = match backend {
        Backend::Pil => 22,
        // The reference searches the whole axis, not only the window.
        Backend::Torchvision => {
            let searched = if to <= LONGEST { 0..to as usize } else { window.clone() };
            precision(searched.flat_map(|pixel| weights(pixel).1))
        }
    };
    fixed(precision, window, weights)
}

/// The weights of each pixel of the window in fixed point.
pub(super) fn fixed(
    precision: u32,
    window: &Range<usize>,
    weights: impl Fn(usize) -> (usize, Vec<f64>),
) -> Taps {
    let one = f64::from(1u32 << precision);
    // Rounds half away from zero.
    let fixed = |weight: f64| (weight * one + 0.5f64.copysign(weight)) as i32;
    let tap = |pixel| {
        let (first, weights) = weights(pixel);
        Tap { first, weights: weights.into_iter().map(fixed).collect() }
    };
    Taps::Weighted { pixels: window.clone().map(tap).collect(), precision }
}

/// The first pixel of the source that a pixel of the result is computed from, and the weights of this pixel and those after
/// it; the sum of the weights is 1. Positions are computed in float64 and truncated, in the reference's order.
pub(super) fn weights(from: u32, to: u32, pixel: usize, filter: Filter) -> (usize, Vec<f64>) {
    let scale = f64::from(from) / f64::from(to);
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    let center = scale * (pixel as f64 + 0.5);
    let first = ((center - support + 0.5) as i64).max(0);
    let end = ((center + support + 0.5) as i64).min(i64::from(from));
    let inverse = 1.0 / filter_scale;
    let weight = |tap: i64| filter.weight(((tap + first) as f64 - center + 0.5) * inverse);
    let mut weights: Vec<f64> = (0..end - first).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    (first as usize, weights)
}

/// The most fractional bits (at most 22) with which the largest weight still fits 16 bits.
pub(super) fn precision(weights: impl Iterator<Item = f64>) -> u32 {
    let largest = weights.fold(0.0, f64::max);
    (0..=22)
        .take_while(|bits| *bits == 0 || 0.5 + largest * f64::from(1u32 << bits) < 32768.0)
        .last()
        .unwrap_or(0)
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        /// Keys' cubic with Pillow's parameter.
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// Some rows of bytes.
pub(super) struct Rows<'a> {
    pub bytes: &'a [u8],
    /// The distance from one row to the next.
    pub stride: usize,
    /// The bytes of a row that are used.
    pub columns: Range<usize>,
    /// The number of the first row.
    pub first: usize,
}

impl<'a> Rows<'a> {
    /// The given columns of a picture of `width` pixels.
    pub fn of_columns(rgb: &'a [u8], width: usize, columns: Range<usize>) -> Self {
        Self { bytes: rgb, stride: width * 3, columns: columns.start * 3..columns.end * 3, first: 0 }
    }

    /// The bytes of row `y` and of the rows after it.
    pub fn starting_at(&self, y: usize) -> &'a [u8] {
        &self.bytes[(y - self.first) * self.stride + self.columns.start..]
    }

    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.starting_at(y)[..self.columns.len()]
    }
}
