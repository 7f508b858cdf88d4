//! What is counted of the history. Its thread writes this; the metrics page and the watchdog read it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::heartbeat::Heartbeat;

/// A disk that does not answer for this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The counts of the history.
#[derive(Debug, Default)]
pub struct HistoryCounts {
    /// Bytes that were written to its files, at most.
    pub written: AtomicU64,
    /// The size of its files, in bytes.
    pub size: AtomicU64,
    /// Entries that were deleted because of `max_size`, or for want of space on the disk.
    pub dropped: AtomicU64,
    /// Stored pictures that are to be embedded.
    pub to_embed: AtomicU64,
    /// Stored pictures that were embedded.
    pub embedded: AtomicU64,
    /// The thread uses the disk.
    pub work: Heartbeat,
    failing: AtomicBool,
}

impl HistoryCounts {
    /// Whether the newest change of the file failed.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Whether nothing is remembered at the moment.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) || self.is_stalled()
    }

    /// Whether the disk hangs. Nothing waits for it but the history.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.work.is_stuck(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_is_a_failure_and_no_part_that_is_stuck() {
        let counts = HistoryCounts::default();
        assert!(!counts.is_failing(), "it waits");
        let working = counts.work.work();
        assert!(!counts.is_failing(), "it works");
        counts.work.age(PATIENCE * 2);
        assert!(counts.is_failing() && counts.is_stalled());
        drop(working);
        assert!(!counts.is_failing());
        counts.set_failing(true);
        assert!(counts.is_failing() && !counts.is_stalled());
    }
}
