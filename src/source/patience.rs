//! Decides whether failures change the status of a source: a camera that misses one request is not offline. Pure.
//!
//! One rule for every kind of source and every cause.

use std::time::{Duration, Instant};

use super::context::Status;

/// The number of failures in a row that change the status.
const FAILURES: u32 = 3;
/// The time from the first failure in a row to the one that changes the status: an attempt to open a stream may take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The failures of a source in a row.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    first: Option<Instant>,
}

impl Patience {
    /// Records a failure. Whether the source keeps its status; `status` is the one that follows from the failure, and
    /// `has_worked` says whether the source worked since the last failure.
    pub(crate) fn failed(&mut self, has_worked: bool, status: Status, now: Instant) -> bool {
        if has_worked {
            *self = Self::default();
        }
        self.failures = self.failures.saturating_add(1);
        let first = *self.first.get_or_insert(now);
        is_transient(self.failures, now.duration_since(first), status)
    }
}

/// Whether a source keeps its status that fails for the `failures`-th time in a row, `failing` after the first of these.
fn is_transient(failures: u32, failing: Duration, status: Status) -> bool {
    // A stalled stream was waited for already, as long as `stall_after` says.
    let has_waited = status == Status::Stalled;
    !has_waited && failures < FAILURES && failing < PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_failure_changes_the_status() {
        let cases = [
            ("a single 503, a damaged picture, or a lost connection", 1, 0, Status::Offline, true),
            ("a second one", 2, 2, Status::Offline, true),
            ("the third in a row", 3, 4, Status::Offline, false),
            ("a second request that took long", 2, 29, Status::Offline, true),
            ("a second attempt that took too long", 2, 30, Status::Offline, false),
            ("a stall, whose time has passed", 1, 0, Status::Stalled, false),
        ];
        for (name, failures, failing, status, expected) in cases {
            assert_eq!(is_transient(failures, Duration::from_secs(failing), status), expected, "{name}");
        }
    }

    #[test]
    fn a_success_ends_the_row() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let mut failed = |has_worked, second| {
            patience.failed(has_worked, Status::Offline, start + Duration::from_secs(second))
        };
        assert_eq!([failed(true, 0), failed(false, 1)], [true, true]);
        assert_eq!(
            [failed(true, 2), failed(false, 3), failed(false, 4), failed(false, 5)],
            [true, true, false, false]
        );
        assert!(failed(true, 3600), "a source that works for an hour and fails once");
        assert!(!failed(false, 3630), "and is still away");
    }
}
