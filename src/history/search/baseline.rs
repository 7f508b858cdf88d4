//! How similar the frames of one view usually are to a query. A view is a source, or a region of one. Pure.
//!
//! Similarities to words cannot be compared between cameras: the camera of a lawn is always similar to "a dog", and a
//! dark picture is similar to everything. What counts is the lift: by how much a frame is more similar than other frames of its
//! view, in units of their usual spread.

/// The least spread. A view that never changes has almost none, and its noise would then count as a lift.
const LEAST_SPREAD: f32 = 0.002;
/// A standard deviation is this multiple of the median distance from the median.
const OF_MEDIAN: f32 = 1.4826;
/// A view with few frames is treated as if it had more of them, which are usual for all views together: half of this number for a
/// view with one frame, and none for a view with many.
const BORROWED: f32 = 8.0;
/// Chance alone reaches the line in one of this number of searches.
const SEARCHES: u64 = 20;

/// The usual similarity of a view, and its spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    /// The usual similarity.
    pub usual: f32,
    /// The standard deviation; never 0.
    pub spread: f32,
    /// The number of frames that it was computed from.
    pub frames: usize,
}

impl Baseline {
    /// The baseline of some frames, given their similarities. `None` without frames.
    ///
    /// It is not computed from mean and variance: if what is searched for is in view in every fourth frame, these would be the frames
    /// that make both large. The median and the frames below it say what is usual without it.
    #[must_use]
    pub fn of(similarities: &[f32]) -> Option<Self> {
        let mut sorted: Vec<f32> = similarities.iter().copied().filter(|it| it.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let usual = middle(&sorted)?;
        let below: Vec<f32> = sorted.iter().rev().filter(|it| **it <= usual).map(|it| usual - it).collect();
        let of_lower_half = OF_MEDIAN * middle(&below)?;
        let count = sorted.len() as f32;
        let mean = sorted.iter().sum::<f32>() / count;
        let deviation = (sorted.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / count).sqrt();
        let spread = of_lower_half.max(deviation / 2.0).max(LEAST_SPREAD);
        Some(Self { usual, spread, frames: sorted.len() })
    }

    /// The baseline with the experience of other views: it decides for a view with no frames, and hardly counts for one with many.
    #[must_use]
    pub fn with(self, all: Self) -> Self {
        let own = self.frames as f32;
        let other = BORROWED / (1.0 + own);
        let mix = |mine: f32, theirs: f32| (own * mine + other * theirs) / (own + other);
        let spread = mix(self.spread.powi(2), all.spread.powi(2)).sqrt();
        Self { usual: mix(self.usual, all.usual), spread, frames: self.frames }
    }

    /// The lift of a similarity.
    #[must_use]
    pub fn lift(&self, similarity: f32) -> f32 {
        (similarity - self.usual) / self.spread
    }
}

/// The baselines of views, given the similarities of some frames of each.
#[must_use]
pub fn of_views(views: &[Vec<f32>]) -> Vec<Baseline> {
    let unknown = Baseline { usual: 0.0, spread: 1.0, frames: 0 };
    let all = Baseline::of(&views.concat()).unwrap_or(unknown);
    views.iter().map(|view| Baseline::of(view).map_or(all, |own| own.with(all))).collect()
}

fn middle(sorted: &[f32]) -> Option<f32> {
    sorted.get(sorted.len() / 2).copied()
}

/// The lift that none of this number of unrelated moments reaches by chance, in most searches. Results below it are probably wrong.
///
/// This is a quantile of the normal distribution. It is bounded because moments of a camera are not independent, and because the
/// spread is not exact.
#[must_use]
pub fn chance_line(moments: u64) -> f32 {
    let twice_log = 2.0 * (moments.max(1).saturating_mul(SEARCHES) as f32).ln();
    let squared = twice_log - (std::f32::consts::TAU * twice_log).ln();
    squared.max(0.0).sqrt().clamp(3.0, 6.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `count` values of a normal distribution, without chance.
    fn normal(count: usize, mean: f32, deviation: f32) -> Vec<f32> {
        // The sum of three waves that have no common period is nearly normal.
        let wave = |at: usize, speed: f32| (at as f32 * speed).sin();
        let value = |at| wave(at, 0.734_1) + wave(at, 1.934_7) + wave(at, 2.618_3);
        (0..count).map(|at| mean + deviation * value(at) / 1.224_7).collect()
    }

    #[test]
    fn frames_that_show_it_do_not_change_what_is_usual() {
        let empty = normal(256, 0.2, 0.01);
        let baseline = Baseline::of(&empty).unwrap();
        assert!((baseline.usual - 0.2).abs() < 0.004, "{baseline:?}");
        assert!((0.007..0.016).contains(&baseline.spread), "{baseline:?}");
        // In every fourth frame there is a dog.
        let mut with_dog = empty;
        with_dog.iter_mut().step_by(4).for_each(|similarity| *similarity += 0.08);
        let baseline = Baseline::of(&with_dog).unwrap();
        assert!(baseline.lift(0.28) > 3.0, "{baseline:?}");
        assert!(baseline.lift(0.2).abs() < 1.0, "{baseline:?}");
    }

    #[test]
    fn a_table_of_cases() {
        assert_eq!(Baseline::of(&[]), None);
        assert_eq!(Baseline::of(&[f32::NAN]), None);
        let single = Baseline::of(&[0.3]).unwrap();
        assert_eq!(single, Baseline { usual: 0.3, spread: LEAST_SPREAD, frames: 1 });
        // One frame says little: its view is treated as usual.
        let all = Baseline { usual: 0.2, spread: 0.02, frames: 1000 };
        let mixed = single.with(all);
        assert!((mixed.usual - 0.22).abs() < 0.001 && mixed.lift(0.3) > 4.0, "{mixed:?}");
        let views = of_views(&[vec![0.3], vec![], vec![0.1; 9]]);
        assert!(views.iter().all(|view| (0.09..0.2).contains(&view.usual)), "{views:?}");
        assert_eq!(of_views(&[vec![]])[0].lift(0.5), 0.5);
        let many = Baseline { usual: 0.3, spread: 0.01, frames: 1000 }.with(all);
        assert!((many.usual - 0.3).abs() < 0.001 && (many.spread - 0.01).abs() < 0.001, "{many:?}");
    }

    #[test]
    fn the_line_is_the_quantile_of_chance() {
        // Quantiles of the normal distribution at 1 - 1 / (20 n).
        for (moments, quantile) in [(50, 3.09), (500, 3.72), (5_000, 4.26), (50_000, 4.75)] {
            let line = chance_line(moments);
            assert!((line - quantile).abs() < 0.05, "{moments}: {line}");
        }
        assert_eq!((chance_line(0), chance_line(1), chance_line(u64::MAX)), (3.0, 3.0, 6.0));
    }

    proptest! {
        #[test]
        fn every_baseline_has_a_spread(similarities in prop::collection::vec(any::<f32>(), 0..40)) {
            if let Some(baseline) = Baseline::of(&similarities) {
                prop_assert!(baseline.spread >= LEAST_SPREAD);
                prop_assert!(baseline.usual.is_finite());
            }
        }
    }
}
