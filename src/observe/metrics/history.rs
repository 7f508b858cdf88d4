//! What is counted of the history. Its thread writes this; the metrics page and the watchdog read it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
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
    /// Why the newest change of the file failed, if it did.
    failure: Mutex<Option<String>>,
}

impl HistoryCounts {
    /// Sets why the newest change of the file failed, or that it did not.
    pub fn set_failure(&self, why: Option<String>) {
        *self.failure() = why;
    }

    /// Why nothing is remembered at the moment, for people; `None` while it is.
    #[must_use]
    pub fn why_failing(&self) -> Option<String> {
        let stalled = || self.is_stalled().then(|| "the disk does not answer".to_owned());
        self.failure().clone().or_else(stalled)
    }

    /// Whether nothing is remembered at the moment.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failure().is_some() || self.is_stalled()
    }

    /// Whether the disk hangs. Nothing waits for it but the history.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.work.is_stuck(PATIENCE)
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(counts.why_failing().as_deref(), Some("the disk does not answer"));
        drop(working);
        assert!(!counts.is_failing());
        counts.set_failure(Some("the disk is full".to_owned()));
        assert!(counts.is_failing() && !counts.is_stalled());
        assert_eq!(counts.why_failing().as_deref(), Some("the disk is full"));
        counts.set_failure(None);
        assert_eq!((counts.is_failing(), counts.why_failing()), (false, None));
    }
}
