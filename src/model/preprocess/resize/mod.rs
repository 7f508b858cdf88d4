//! Resizes 8-bit RGB with antialiasing, as Pillow and torchvision do it: in two passes, with the result of the first pass
//! rounded to 8 bits. Source: Pillow's `Resample.c` and PyTorch's `UpSampleKernelAVXAntialias.h`.
//!
//! The sums are of integers that never overflow, so the order of the additions is free: the passes that use a processor's
//! wide registers (`wide`) give the same bytes as those in plain code (`plain`).

mod axis;
mod plain;
#[cfg(target_arch = "x86_64")]
mod wide;

use std::ops::Range;

pub use axis::Backend;
pub(super) use axis::Filter;

use self::axis::{Axis, Rows, fixed, precision, weights};
use crate::picture::Plane;

/// Resizes `rgb` of size `from` to `to` (width, height) and returns the `window` (columns, rows) of the result. Pixels
/// outside the window are not computed.
pub(super) fn resize(
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
pub(super) fn resize_plane(
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

/// Converts the weights of pixels to weights of `count` colour samples. Each sample belongs to two pixels.
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

#[cfg(test)]
mod tests;
