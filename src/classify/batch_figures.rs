//! How fast the model is now: the figures of its newest batches. Pure: the caller passes the time.

use std::{collections::VecDeque, time::Duration};

/// The batches that count.
const NEWEST: usize = 32;

/// The newest batches of the model.
#[derive(Debug, Default)]
pub(super) struct RecentBatches(VecDeque<RecentBatch>);

#[derive(Debug, Clone, Copy)]
struct RecentBatch {
    /// When it ended, since any fixed moment.
    end: Duration,
    took: Duration,
    /// The frames that the model scored. Repeated pictures do not count.
    frames: u64,
}

/// The figures of the newest batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchFigures {
    /// The number of batches that these figures are of.
    pub batches: usize,
    /// The mean number of frames in a batch.
    pub frames: f64,
    /// The mean time of a batch.
    pub batch: Duration,
    /// The mean time of a frame in a batch.
    pub frame: Duration,
    /// Frames that were scored in a second, since the first of these batches.
    pub per_second: f64,
}

impl RecentBatches {
    /// A batch ended. One in which the model scored nothing says nothing about its speed.
    pub(super) fn add(&mut self, end: Duration, took: Duration, frames: u64) {
        if frames == 0 {
            return;
        }
        if self.0.len() >= NEWEST {
            self.0.pop_front();
        }
        self.0.push_back(RecentBatch { end, took, frames });
    }

    /// The figures `now`; `None` before the first batch.
    pub(super) fn figures(&self, now: Duration) -> Option<BatchFigures> {
        let first = self.0.front()?;
        let (batches, frames) = (self.0.len(), self.0.iter().map(|batch| batch.frames).sum::<u64>());
        let took = self.0.iter().map(|batch| batch.took).sum::<Duration>();
        let since = now.saturating_sub(first.end.saturating_sub(first.took)).as_secs_f64();
        Some(BatchFigures {
            batches,
            frames: frames as f64 / batches as f64,
            batch: took.div_f64(batches as f64),
            frame: took.div_f64(frames as f64),
            per_second: if since > 0.0 { frames as f64 / since } else { 0.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn figures_of_the_newest_batches() {
        let mut recent = RecentBatches::default();
        assert_eq!(recent.figures(ms(0)), None);
        recent.add(ms(500), ms(400), 0);
        assert_eq!(recent.figures(ms(600)), None, "every picture was repeated");
        recent.add(ms(1000), ms(100), 1);
        recent.add(ms(2000), ms(200), 2);
        let figures = recent.figures(ms(2400)).unwrap();
        let expected =
            BatchFigures { batches: 2, frames: 1.5, batch: ms(150), frame: ms(100), per_second: 2.0 };
        assert_eq!(figures, expected);
        assert!(recent.figures(ms(300_900)).unwrap().per_second < 0.011, "nothing arrives any more");
        for number in 0..NEWEST as u64 {
            recent.add(ms(10_000 + number * 10), ms(10), 1);
        }
        let figures = recent.figures(ms(10_310)).unwrap();
        assert_eq!((figures.batches, figures.frame), (NEWEST, ms(10)), "older batches do not count");
        assert!((figures.per_second - 100.0).abs() < 1e-6, "{figures:?}");
    }
}
