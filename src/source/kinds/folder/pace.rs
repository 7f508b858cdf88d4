//! The intervals and limits of a folder source, which its documentation describes.

use std::time::Duration;

use super::pending::Patience;

/// The intervals and limits of a folder source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) patience: Patience,
    /// The shortest time between two scans of the whole folder.
    pub(crate) scan: Duration,
    /// The shortest time between a lost notice and the scan that finds the file: otherwise scans would follow each other
    /// during a flood of files.
    pub(crate) scan_again: Duration,
    /// Between two checks whether the folder is still the same.
    pub(crate) check: Duration,
    /// The number of notices that may wait: as many as the kernel itself holds.
    pub(crate) notices: usize,
    /// The number of files that may wait; some 300 bytes each.
    pub(crate) files: usize,
}

impl Pace {
    pub(crate) fn of(poll: Option<Duration>) -> Self {
        let second = Duration::from_secs(1);
        let patience = match poll {
            None => Patience { settle: second / 2, short: second * 2, long: second * 10 },
            Some(poll) => {
                let long = (poll * 2).max(second * 2);
                Patience { settle: poll, short: long, long }
            }
        };
        let scan = poll.unwrap_or(second * 60);
        Self { patience, scan, scan_again: second / 2, check: second, notices: 16_384, files: 10_000 }
    }
}
