//! What the model's thread has done and is doing.

use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    availability::Availability,
    batch_figures::{BatchFigures, RecentBatches},
    canary_status::CanaryStatus,
};
use crate::{heartbeat::Heartbeat, metrics::Histogram};

/// The start of the times of batches.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the thread has done when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that the model scored.
    pub scored: u64,
    /// Frames that got the scores of an earlier frame with the same picture.
    pub repeated: u64,
    /// Frames that the model could not score.
    pub failed: u64,
    /// Frames of a source that is not watched any more.
    pub unwatched: u64,
}

/// What the thread is doing, for other threads to read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    counts: Mutex<Counts>,
    recent: Mutex<RecentBatches>,
    /// The time from the source to the model, which includes preparing the picture.
    pub queue: Histogram,
    /// The time that a batch took in the model's thread.
    pub batch: Histogram,
    /// Whether the engine can be used.
    pub engine: Availability,
    /// The heartbeat of the model's thread.
    pub pulse: Heartbeat,
    /// The heartbeat of the thread that prepares pictures.
    pub prepare: Heartbeat,
    /// What the canary found.
    pub canary: CanaryStatus,
}

impl Progress {
    /// A batch ended, with these counts after it.
    pub(super) fn batch_ended(&self, counts: Counts, took: Duration) {
        let before =
            std::mem::replace(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner), counts);
        self.batch.observe(took);
        let frames = counts.scored.saturating_sub(before.scored);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.add(EPOCH.elapsed(), took, frames);
    }

    /// The figures of the newest batches; `None` before the first one.
    #[must_use]
    pub fn figures(&self) -> Option<BatchFigures> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).figures(EPOCH.elapsed())
    }

    /// The counts after the last batch.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
