//! Decides whether failures change the status of a source: a camera that misses one request is not offline. Pure.
//!
//! One rule for every kind of source and every cause.

use std::time::Duration;

use super::context::Status;

/// The number of failures in a row that change the status.
const FAILURES: u32 = 3;
/// The time without a success after which a single failure changes the status.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a source that fails keeps its status: it fails for the `failures`-th time in a row, and its last success was
/// `since_good` ago (`None`: there was none). `status` is the one that follows from the failure.
pub(crate) fn is_transient(failures: u32, since_good: Option<Duration>, status: Status) -> bool {
    // A stalled stream was waited for already, as long as `stall_after` says.
    let has_waited = status == Status::Stalled;
    !has_waited && failures < FAILURES && since_good.is_some_and(|since| since < PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_failure_changes_the_status() {
        let cases = [
            ("the first of a source that never delivered", 1, None, Status::Offline, false),
            ("a single 503, or a damaged picture", 1, Some(0), Status::Offline, true),
            ("a second one", 2, Some(2), Status::Offline, true),
            ("the third in a row", 3, Some(3), Status::Offline, false),
            ("a slow camera: the first failure after 9 s", 1, Some(9), Status::Offline, true),
            ("no answer for 10 s", 1, Some(10), Status::Offline, false),
            ("two quick failures, then one that takes long", 3, Some(60), Status::Offline, false),
            ("a stall, whose time has passed", 1, Some(1), Status::Stalled, false),
        ];
        for (name, failures, since_good, status, expected) in cases {
            let since_good = since_good.map(Duration::from_secs);
            assert_eq!(is_transient(failures, since_good, status), expected, "{name}");
        }
    }
}
