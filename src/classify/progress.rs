//! How the model gets on, for others to look at while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Counts;
use crate::{heartbeat::Pulse, metrics::Histogram};

/// Shared between the thread of the model and who looks at it.
#[derive(Debug, Default)]
pub struct Progress {
    scored: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    unwatched: AtomicU64,
    /// How long frames waited for the model, from the source on; meanwhile their pictures were made ready.
    pub queue: Histogram,
    /// How long a batch took to be scored.
    pub batch: Histogram,
    /// Whether the model's thread gets on with its work.
    pub pulse: Pulse,
    /// Likewise the thread that makes pictures ready for it.
    pub prepare: Pulse,
}

impl Progress {
    /// These are the counts of now.
    pub(super) fn tell(&self, counts: &Counts) {
        self.scored.store(counts.scored, Ordering::Relaxed);
        self.repeated.store(counts.repeated, Ordering::Relaxed);
        self.failed.store(counts.failed, Ordering::Relaxed);
        self.unwatched.store(counts.unwatched, Ordering::Relaxed);
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            scored: self.scored.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            unwatched: self.unwatched.load(Ordering::Relaxed),
        }
    }
}
