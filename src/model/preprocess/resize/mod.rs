//! Resizes 8-bit RGB with antialiasing, as Pillow and torchvision do it: in two passes, with the result of the first pass
//! rounded to 8 bits. Source: Pillow's `Resample.c` and PyTorch's `UpSampleKernelAVXAntialias.h`.
//!
//! The sums are of integers that never overflow, so the order of the additions is free: the passes that use a processor's wide
//! registers (`wide`) give the same bytes as those in plain code (`plain`).

mod plain;
#[cfg(target_arch = "x86_64")]
mod wide;

use std::ops::Range;

use crate::picture::Plane;

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

/// Resizes `rgb` of size `from` to `to` (width, height) and returns the `window` (columns, rows) of the result. Pixels outside the
/// window are not computed.
pub(crate) fn resize(
    rgb: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    window: (Range<usize>, Range<usize>),
    filter: Filter,
    backend: Backend,
) -> Vec<u8> {
    let (columns, rows) = window;
    let across = Axis::new(from.0, to.0, columns, filter, backend);
    let down = Axis::new(from.1, to.1, rows, filter, backend);
    if backend == Backend::Pil && vertical_first(from, to) {
        let needed = across.needed();
        let part = plain::vertical(&Rows::of_columns(rgb, from.0 as usize, needed.clone()), &down);
        plain::horizontal(&part, needed.len(), 0..down.len(), &across, needed.start)
    } else {
        let needed = down.needed();
        let part = horizontal(rgb, from.0 as usize, needed.clone(), &across);
        let rows = Rows { first: needed.start, ..Rows::of_columns(&part, across.len(), 0..across.len()) };
        vertical(&rows, &down)
    }
}

/// Resizes a part of `from` pixels of a plane to `to` (width, height) and returns the levels of the `window` (columns, rows)
/// of the result, not rounded. There is no reference for planes, so the cheap vertical pass is first: it adds whole rows.
pub(crate) fn resize_plane(
    plane: &Plane<'_>,
    from: (u32, u32),
    to: (u32, u32),
    (columns, rows): (Range<usize>, Range<usize>),
    filter: Filter,
) -> Vec<f32> {
    let axis = |from, to, start, halved, samples, window: Range<usize>| {
        let weights = |pixel| {
            let (first, weights) = weights(from, to, pixel, filter);
            if halved { of_samples(first + start, &weights, samples) } else { (first + start, weights) }
        };
        let precision = precision(window.clone().flat_map(|pixel| weights(pixel).1));
        Axis { taps: fixed(precision, &window, weights), window }
    };
    let across = axis(from.0, to.0, plane.start.0, plane.halved.0, plane.size.0, columns);
    let down = axis(from.1, to.1, plane.start.1, plane.halved.1, plane.size.1, rows);
    let needed = across.needed();
    let rows = Rows { bytes: plane.levels, stride: plane.size.0, columns: needed.clone(), first: 0 };
    plain::horizontal_of_plane(&vertical(&rows, &down), needed.len(), &across, needed.start)
}

/// Converts the weights of pixels to weights of `count` colour samples, of which each belongs to two pixels.
fn of_samples(first: usize, weights: &[f64], count: usize) -> (usize, Vec<f64>) {
    let start = (first / 2).saturating_sub(1);
    let end = ((first + weights.len()) / 2 + 1).min(count);
    let mut sums = vec![0.0; end - start];
    for (pixel, weight) in (first..).zip(weights) {
        let (near, far) = Plane::between(pixel, count);
        sums[near - start] += 0.75 * weight;
        sums[far - start] += 0.25 * weight;
    }
    (start, sums)
}

/// Some rows of bytes.
struct Rows<'a> {
    bytes: &'a [u8],
    /// The distance from one row to the next.
    stride: usize,
    /// The bytes of a row that are used.
    columns: Range<usize>,
    /// The number of the first row.
    first: usize,
}

impl<'a> Rows<'a> {
    /// The given columns of a picture of `width` pixels.
    fn of_columns(rgb: &'a [u8], width: usize, columns: Range<usize>) -> Self {
        Self { bytes: rgb, stride: width * 3, columns: columns.start * 3..columns.end * 3, first: 0 }
    }

    /// The bytes of row `y` and of the rows after it.
    fn starting_at(&self, y: usize) -> &'a [u8] {
        &self.bytes[(y - self.first) * self.stride + self.columns.start..]
    }

    fn row(&self, y: usize) -> &'a [u8] {
        &self.starting_at(y)[..self.columns.len()]
    }
}

/// Resizes the given `rows` of a whole picture horizontally, with the fastest code for this processor.
fn horizontal(rgb: &[u8], width: usize, rows: Range<usize>, axis: &Axis) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if let Some(result) = wide::horizontal(rgb, width, rows.clone(), axis) {
        return result;
    }
    plain::horizontal(rgb, width, rows, axis, 0)
}

/// Resizes rows of bytes vertically, with the fastest code for this processor.
fn vertical(rows: &Rows<'_>, axis: &Axis) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if let Some(result) = wide::vertical(rows, axis) {
        return result;
    }
    plain::vertical(rows, axis)
}

/// Whether the vertical pass is first: since version 13, Pillow starts with the pass that removes more pixels.
fn vertical_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let less = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (across, down) = (less(from.0, to.0), less(from.1, to.1));
    down > 0 && down > 2 * across
}

/// How each pixel of one edge of the result is computed from pixels of the same edge of the source.
struct Axis {
    taps: Taps,
    /// The pixels of the result that are computed.
    window: Range<usize>,
}

enum Taps {
    /// The size does not change: the pass is omitted.
    Copy,
    /// One tap for each pixel of the window, in fixed point with `precision` fractional bits.
    Weighted { pixels: Vec<Tap>, precision: u32 },
}

/// The pixels of the source that one pixel of the result is computed from.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// The longest edge whose largest weight is searched on the whole edge. A picture that is hundreds of times as wide as high may
/// exceed it; then only the window is searched, since the whole edge would keep a core busy for seconds.
const LONGEST: u32 = 100_000;

impl Axis {
    fn new(from: u32, to: u32, window: Range<usize>, filter: Filter, backend: Backend) -> Self {
        let taps = if from == to { Taps::Copy } else { weighted(from, to, &window, filter, backend) };
        Self { taps, window }
    }

    fn len(&self) -> usize {
        self.window.len()
    }

    /// The pixels of the source that the window is computed from.
    fn needed(&self) -> Range<usize> {
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
fn fixed(precision: u32, window: &Range<usize>, weights: impl Fn(usize) -> (usize, Vec<f64>)) -> Taps {
    let one = f64::from(1u32 << precision);
    // Rounds half away from zero.
    let fixed = |weight: f64| (weight * one + 0.5f64.copysign(weight)) as i32;
    let tap = |pixel| {
        let (first, weights) = weights(pixel);
        Tap { first, weights: weights.into_iter().map(fixed).collect() }
    };
    Taps::Weighted { pixels: window.clone().map(tap).collect(), precision }
}

/// The first pixel of the source that a pixel of the result is computed from, and the weights of this pixel and those after it; the
/// sum of the weights is 1. Positions are computed in float64 and truncated, in the reference's order.
fn weights(from: u32, to: u32, pixel: usize, filter: Filter) -> (usize, Vec<f64>) {
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
fn precision(weights: impl Iterator<Item = f64>) -> u32 {
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

#[cfg(test)]
mod tests;
