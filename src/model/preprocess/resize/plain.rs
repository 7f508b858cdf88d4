//! Both passes in plain code, for every kind of weight and every processor. The fast passes must give the same bytes.

use std::ops::Range;

use super::axis::{Axis, Rows, Tap, Taps};

/// Resizes the given `rows` of a picture horizontally; the picture's first column is column `offset` of the axis.
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

/// Resizes one plane horizontally, into levels that are not rounded.
pub(super) fn horizontal_of_plane(plane: &[u8], width: usize, axis: &Axis, offset: usize) -> Vec<f32> {
    let Taps::Weighted { pixels, precision } = &axis.taps else {
        let column = |row: &'_ [u8]| row[axis.window.start - offset..axis.window.end - offset].to_vec();
        return plane.chunks_exact(width).flat_map(column).map(f32::from).collect();
    };
    let one = 1.0 / (1_u32 << precision) as f32;
    let level = |row: &[u8], Tap { first, weights }: &Tap| {
        let taps = row[first - offset..].iter().zip(weights);
        taps.map(|(level, weight)| i32::from(*level) * weight).sum::<i32>() as f32 * one
    };
    plane.chunks_exact(width).flat_map(|row| pixels.iter().map(move |tap| level(row, tap))).collect()
}

/// Resizes rows of bytes vertically. It adds whole rows, so that the compiler can use wide registers.
pub(super) fn vertical(rows: &Rows<'_>, axis: &Axis) -> Vec<u8> {
    let bytes = rows.columns.len();
    let row = |y: usize| rows.row(y);
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
