//! What the model's thread has done and is doing.

use std::sync::{Mutex, PoisonError};

use crate::{heartbeat::Heartbeat, metrics::Histogram};

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
    /// The time from the source to the model, which includes preparing the picture.
    pub queue: Histogram,
    /// The time that a batch took in the model's thread.
    pub batch: Histogram,
    /// The heartbeat of the model's thread.
    pub pulse: Heartbeat,
    /// The heartbeat of the thread that prepares pictures.
    pub prepare: Heartbeat,
}

impl Progress {
    pub(super) fn set(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// The counts after the last batch.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
