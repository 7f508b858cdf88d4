//! Decides whether a frame shows the same as the last scored one, by comparing small grey pictures. Pure.
//!
//! Each part of the frame that is scored (its regions, or the whole) is made [`Grey`]: 128 by 72 means of brightness.
//! [`Grey::differs`] ignores some differences: a change of exposure is a straight line from old to new brightness, fitted
//! without the cells that deviate from it; noise is measured by the median of the remaining differences; and along edges,
//! where compression artefacts vary at a key frame, a larger difference is allowed. The rest is a change if `CHANGED`
//! of its cells are adjacent: about a sixth of a percent of the part, so a person who covers half a percent is noticed and
//! the running digits of a clock usually are not.
//!
//! Frames are compared with the last *scored* frame and not with the previous one, so a slow change is noticed when it is
//! large enough. A change of colour without a change of brightness is not noticed before `at_least_every`.

use std::time::Duration;

use crate::{
    config::{Region, Unchanged},
    picture::Picture,
};

const WIDTH: usize = 128;
const HEIGHT: usize = 72;
/// The number of adjacent changed cells that are a change.
const CHANGED: usize = 16;
/// A changed cell counts if more than this number of its neighbours changed, itself included.
const NEIGHBOURS: usize = 2;
/// A smaller difference of brightness (of 255) is ignored...
const LEAST: f32 = 6.0;
/// ...and so is one of fewer standard deviations of the noise.
const DEVIATIONS: f32 = 4.0;
/// The largest deviation that is taken for noise: if more than half of a picture moves, it is no noise.
const MOST_NOISE: f32 = 3.0;
/// The number of fits, each without the cells that deviate from the previous fit.
const ROUNDS: usize = 6;
/// The share of the contrast around a cell that is allowed in addition.
const EDGES: f32 = 0.25;
/// From the median of absolute values to the standard deviation of normal noise.
const MEDIAN_TO_DEVIATION: f32 = 1.4826;

/// A part of a frame, as a small picture of its brightness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grey(Vec<u8>);

/// The size of a frame in pixels, and its regions that are scored and compared.
#[derive(Debug, Clone, Copy)]
pub struct FrameLayout<'a> {
    /// Width and height.
    pub size: (usize, usize),
    /// Empty for the whole frame.
    pub regions: &'a [Region],
}

impl FrameLayout<'_> {
    /// The parts of a plane of brightness, one byte a pixel, in rows of `stride` bytes. `None` if the plane is too short.
    #[must_use]
    pub fn luma(&self, plane: &[u8], stride: usize) -> Option<Vec<Grey>> {
        if stride < self.size.0 || plane.len() < stride * (self.size.1.checked_sub(1)?) + self.size.0 {
            return None;
        }
        let sum = |y: usize, from: usize, to: usize| {
            plane[y * stride + from..y * stride + to].iter().map(|level| u32::from(*level)).sum()
        };
        Some(self.each(sum))
    }

    /// The parts of a picture of this size.
    #[must_use]
    pub fn picture(&self, picture: &Picture) -> Vec<Grey> {
        let rgb = picture.rgb();
        let pixels = rgb.as_chunks::<3>().0;
        let brightness =
            |[r, g, b]: &[u8; 3]| (77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b)) >> 8;
        self.each(|y, from, to| {
            let row = y * self.size.0;
            pixels[row + from..row + to].iter().map(brightness).sum()
        })
    }

    /// The parts, if `sum` returns the sum of the brightness of a row between two columns.
    fn each(&self, sum: impl Fn(usize, usize, usize) -> u32) -> Vec<Grey> {
        let (width, height) = self.size;
        if self.regions.is_empty() {
            return vec![grey((0, width), (0, height), &sum)];
        }
        let pixel = |fraction: f64, size: usize| (fraction.clamp(0.0, 1.0) * size as f64).round() as usize;
        let edge = |from: f64, length: f64, size: usize| {
            let start = pixel(from, size).min(size - 1);
            (start, pixel(from + length, size).clamp(start + 1, size))
        };
        let regions = self.regions.iter();
        regions
            .map(|region| {
                grey(edge(region.x, region.width, width), edge(region.y, region.height, height), &sum)
            })
            .collect()
    }
}

fn grey(columns: (usize, usize), rows: (usize, usize), sum: &impl Fn(usize, usize, usize) -> u32) -> Grey {
    // In a part with fewer pixels than cells, one pixel belongs to several cells.
    let cell = |(start, end): (usize, usize), number: usize, cells: usize| {
        let from = start + number * (end - start) / cells;
        (from, (start + (number + 1) * (end - start) / cells).max(from + 1))
    };
    let mut levels = Vec::with_capacity(WIDTH * HEIGHT);
    for row in 0..HEIGHT {
        let (top, bottom) = cell(rows, row, HEIGHT);
        // Every other row of a large picture is enough.
        let step = if bottom - top >= 8 { 2 } else { 1 };
        let mut sums = [0; WIDTH];
        for y in (top..bottom).step_by(step) {
            for (column, total) in sums.iter_mut().enumerate() {
                let (left, right) = cell(columns, column, WIDTH);
                *total += sum(y, left, right);
            }
        }
        let lines = (bottom - top).div_ceil(step);
        levels.extend(sums.iter().enumerate().map(|(column, total)| {
            let (left, right) = cell(columns, column, WIDTH);
            let pixels = ((right - left) * lines) as u32;
            u8::try_from((total + pixels / 2) / pixels).unwrap_or(u8::MAX)
        }));
    }
    Grey(levels)
}

impl Grey {
    /// Whether `new` shows something different.
    #[must_use]
    pub fn differs(&self, new: &Self) -> bool {
        self.changed_cells(new).take(CHANGED).count() == CHANGED
    }

    /// The smallest rectangle around everything that is different in `new`: left edge, upper edge, width and height, as fractions of the
    /// part. `None` if nothing is different.
    #[must_use]
    pub fn changed_area(&self, new: &Self) -> Option<[f64; 4]> {
        let cells: Vec<_> = self.changed_cells(new).map(|at| (at % WIDTH, at / WIDTH)).collect();
        if cells.len() < CHANGED {
            return None;
        }
        let edge = |of: fn(&(usize, usize)) -> usize, size: usize| {
            let all = || cells.iter().map(of);
            let (first, last) = (all().min()?, all().max()?);
            Some((first as f64 / size as f64, (last + 1 - first) as f64 / size as f64))
        };
        let ((x, width), (y, height)) = (edge(|cell| cell.0, WIDTH)?, edge(|cell| cell.1, HEIGHT)?);
        Some([x, y, width, height])
    }

    /// The cells that changed together with cells around them.
    fn changed_cells(&self, new: &Self) -> impl Iterator<Item = usize> {
        let remains = without_exposure(&self.0, &new.0);
        let noise = (deviation(&remains) * DEVIATIONS).min(MOST_NOISE * DEVIATIONS);
        let allowed = noise.max(LEAST);
        let changed = |x: usize, y: usize| {
            // The cheap comparison first: most cells did not change.
            let remains = remains[y * WIDTH + x].abs();
            remains > allowed && remains > allowed + EDGES * contrast(&self.0, x, y)
        };
        let changed: Vec<bool> = (0..WIDTH * HEIGHT).map(|at| changed(at % WIDTH, at / WIDTH)).collect();
        (0..WIDTH * HEIGHT).filter(move |at| {
            changed[*at] && around(*at % WIDTH, *at / WIDTH).filter(|at| changed[*at]).count() > NEIGHBOURS
        })
    }
}

/// The differences that a change of exposure does not explain.
fn without_exposure(old: &[u8], new: &[u8]) -> Vec<f32> {
    let pairs: Vec<(f32, f32)> =
        old.iter().zip(new).map(|(old, new)| ((*old).into(), (*new).into())).collect();
    let remains = |gain: f32, offset: f32| -> Vec<f32> {
        pairs.iter().map(|(old, new)| new - (gain * old + offset).clamp(0.0, 255.0)).collect()
    };
    let shift = median(pairs.iter().map(|(old, new)| new - old).collect());
    let (mut gain, mut offset) = (1.0, shift);
    for _ in 0..ROUNDS {
        let left = remains(gain, offset);
        let follows = (2.5 * deviation(&left)).max(2.0);
        let lit = |level: f32| (4.0..251.0).contains(&level);
        let kept = pairs
            .iter()
            .zip(&left)
            .filter(|(pair, left)| left.abs() <= follows && lit(pair.0) && lit(pair.1));
        let Some(line) = straight_line(kept.map(|(pair, _)| *pair)) else { break };
        (gain, offset) = line;
    }
    // With little contrast a line fits noise: then a constant difference of brightness explains more.
    let (line, step) = (remains(gain, offset), remains(1.0, shift));
    let much = |remains: &[f32]| remains.iter().map(|level| level.abs()).sum::<f32>();
    if much(&line) < much(&step) { line } else { step }
}

/// The line of least squares, as gain and offset; `None` if the points are too close together.
fn straight_line(points: impl Iterator<Item = (f32, f32)>) -> Option<(f32, f32)> {
    let (mut count, mut x, mut y, mut xx, mut xy) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
    for (old, new) in points.map(|(old, new)| (f64::from(old), f64::from(new))) {
        (count, x, y, xx, xy) = (count + 1.0, x + old, y + new, xx + old * old, xy + old * new);
    }
    let spread = count * xx - x * x;
    // A standard deviation of two levels.
    if count < (WIDTH * HEIGHT / 8) as f64 || spread < count * count * 4.0 {
        return None;
    }
    let gain = ((count * xy - x * y) / spread).clamp(0.5, 2.0);
    Some((gain as f32, ((y - gain * x) / count) as f32))
}

/// The difference between the darkest and the brightest cell around this one.
fn contrast(levels: &[u8], x: usize, y: usize) -> f32 {
    let around = around(x, y).map(|at| levels[at]);
    let (least, most) = around.fold((u8::MAX, 0), |(least, most), level| (level.min(least), level.max(most)));
    f32::from(most.saturating_sub(least))
}

/// A cell and its neighbours.
fn around(x: usize, y: usize) -> impl Iterator<Item = usize> {
    let rows = y.saturating_sub(1)..(y + 2).min(HEIGHT);
    let columns = x.saturating_sub(1)..(x + 2).min(WIDTH);
    rows.flat_map(move |y| columns.clone().map(move |x| y * WIDTH + x))
}

/// The standard deviation of noise around zero, robust against outliers.
fn deviation(values: &[f32]) -> f32 {
    median(values.iter().map(|value| value.abs()).collect()) * MEDIAN_TO_DEVIATION
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

/// The last scored frame and its time.
#[derive(Debug)]
pub struct LastScored {
    setting: Unchanged,
    last: Option<(Vec<Grey>, (usize, usize), Duration)>,
}

impl LastScored {
    /// No frame was scored yet.
    #[must_use]
    pub fn new(setting: Unchanged) -> Self {
        Self { setting, last: None }
    }

    /// Whether frames are compared at all.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.setting != Unchanged::Score
    }

    /// Whether a frame of `size` pixels at this time shows the same.
    #[must_use]
    pub fn is_repeated(&self, size: (usize, usize), parts: &[Grey], now: Duration) -> bool {
        let (Unchanged::Repeat { at_least_every }, Some((last, last_size, at))) = (self.setting, &self.last)
        else {
            return false;
        };
        now.saturating_sub(*at) < at_least_every
            && *last_size == size
            && last.len() == parts.len()
            && !last.iter().zip(parts).any(|(last, new)| last.differs(new))
    }

    /// Records a frame that is scored.
    pub fn scored(&mut self, size: (usize, usize), parts: Vec<Grey>, now: Duration) {
        self.last = Some((parts, size, now));
    }
}

#[cfg(test)]
mod tests;
