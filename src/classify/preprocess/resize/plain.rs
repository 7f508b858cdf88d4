//! Both passes in plain code: for every kind of weight, on every processor. What the fast ones are held to.

use std::ops::Range;

use super::{Axis, Tap, Taps};

/// Resizes the given `rows` of a picture across; the picture's first column is column `offset` of the axis.
pub(super) fn horizontal(
    rgb: &[u8],
    width: usize,
    rows: Range<usize>,
    axis: &Axis,
    offset: usize,
) -> Vec<u8> {
    let source = rgb.chunks_exact(width * 3).skip(rows.start).take(rows.len());
    let mut result = Vec::with_capacity(rows.len() * axis.len() * 3);
    match &axis.taps {
        Taps::Copy => {
            let (start, end) = (axis.window.start - offset, axis.window.end - offset);
            source.for_each(|row| result.extend_from_slice(&row[start * 3..end * 3]));
        }
        Taps::Weighted { pixels, precision } => {
            for row in source {
                let row = row.as_chunks::<3>().0;
                for Tap { first, weights } in pixels {
                    let taps = &row[first - offset..first - offset + weights.len()];
                    let [mut red, mut green, mut blue] = [1 << precision >> 1; 3];
                    for ([r, g, b], weight) in taps.iter().zip(weights) {
                        red += i32::from(*r) * weight;
                        green += i32::from(*g) * weight;
                        blue += i32::from(*b) * weight;
                    }
                    let sums = [red, green, blue];
                    result.extend(sums.map(|sum| clamped(sum >> precision)));
                }
            }
        }
    }
    result
}

/// Resizes the given `columns` of a whole picture down.
pub(super) fn vertical(rgb: &[u8], width: usize, columns: Range<usize>, axis: &Axis) -> Vec<u8> {
    let row = |y: usize| &rgb[(y * width + columns.start) * 3..(y * width + columns.end) * 3];
    down(row, columns.len() * 3, axis)
}

/// Resizes a picture down whose first row is row `offset` of the axis.
pub(super) fn vertical_of_part(rgb: &[u8], width: usize, axis: &Axis, offset: usize) -> Vec<u8> {
    let row = |y: usize| &rgb[(y - offset) * width * 3..(y - offset + 1) * width * 3];
    down(row, width * 3, axis)
}

/// Row after row of the result; whole rows are added up, so that the compiler can use wide registers.
fn down<'a>(row: impl Fn(usize) -> &'a [u8], bytes: usize, axis: &Axis) -> Vec<u8> {
    let mut result = Vec::with_capacity(axis.len() * bytes);
    match &axis.taps {
        Taps::Copy => axis.window.clone().for_each(|y| result.extend_from_slice(row(y))),
        Taps::Weighted { pixels, precision } => {
            let mut sums = vec![0i32; bytes];
            for Tap { first, weights } in pixels {
                sums.fill(1 << precision >> 1);
                for (y, weight) in (*first..).zip(weights) {
                    for (sum, byte) in sums.iter_mut().zip(row(y)) {
                        *sum += i32::from(*byte) * weight;
                    }
                }
                result.extend(sums.iter().map(|sum| clamped(sum >> precision)));
            }
        }
    }
    result
}

pub(super) fn clamped(level: i32) -> u8 {
    level.clamp(0, 255) as u8
}
