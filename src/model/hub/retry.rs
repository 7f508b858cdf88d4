//! Sends a request to the hub again after a failure that may pass. The only place that retries.

use std::{thread, time::Duration};

use super::{error::HubError, event::Event};
use crate::backoff::{Backoff, jitter};

/// The number of failures in a row, without progress, after which an operation fails.
const TRIES: u32 = 5;
/// An operation fails if the hub asks for a longer wait.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// Another attempt would end the same way.
    Final(HubError),
    /// Another attempt may succeed.
    Passing {
        error: HubError,
        /// The wait that the hub asked for.
        wait: Option<Duration>,
        /// A part of the work was done: earlier failures do not count any more.
        gained: bool,
    },
}

impl AttemptError {
    pub fn passing(error: HubError) -> Self {
        Self::Passing { error, wait: None, gained: false }
    }
}

impl From<HubError> for AttemptError {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Attempts until one succeeds, fails for good, or too many have failed in a row.
pub(super) fn retrying<T>(
    report: &mut dyn FnMut(Event<'_>),
    mut attempt: impl FnMut(&mut dyn FnMut(Event<'_>)) -> Result<T, AttemptError>,
) -> Result<T, HubError> {
    let mut schedule = Schedule::default();
    loop {
        let (error, wait, gained) = match attempt(report) {
            Ok(done) => return Ok(done),
            Err(AttemptError::Final(error)) => return Err(error),
            Err(AttemptError::Passing { error, wait, gained }) => (error, wait, gained),
        };
        let Some(wait) = schedule.failed(wait, gained, jitter()) else { return Err(error) };
        report(Event::Again { why: error.in_short(), wait });
        thread::sleep(wait);
    }
}

/// When to try again. Pure.
struct Schedule {
    backoff: Backoff,
    failures: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(10)), failures: 0 }
    }
}

impl Schedule {
    /// The delay before the next attempt; `None` to give up. `jitter` is from 0 to 1.
    fn failed(&mut self, asked_for: Option<Duration>, gained: bool, jitter: f64) -> Option<Duration> {
        if gained {
            *self = Self::default();
        }
        self.failures += 1;
        if self.failures == TRIES || asked_for.is_some_and(|wait| wait > LONGEST_WAIT) {
            return None;
        }
        Some(asked_for.unwrap_or_else(|| self.backoff.failed(jitter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failure: what the hub asked for in seconds, whether bytes arrived, and the milliseconds to wait.
    type Failure = (Option<u64>, bool, Option<u64>);

    #[test]
    fn failures_without_progress_end_an_operation() {
        let plain = |wait| (None, false, wait);
        let cases: [(&str, &[Failure]); 4] = [
            (
                "the delay doubles until the operation fails",
                &[plain(Some(500)), plain(Some(1000)), plain(Some(2000)), plain(Some(4000)), plain(None)],
            ),
            (
                "progress starts the count and the delay again",
                &[
                    plain(Some(500)),
                    plain(Some(1000)),
                    (None, true, Some(500)),
                    plain(Some(1000)),
                    plain(Some(2000)),
                    plain(Some(4000)),
                    plain(None),
                ],
            ),
            (
                "the hub's own wait is used and counts as a failure",
                &[
                    (Some(3), false, Some(3000)),
                    (Some(0), false, Some(0)),
                    plain(Some(500)),
                    (Some(120), false, Some(120_000)),
                    plain(None),
                ],
            ),
            ("a wait of more than two minutes is not accepted", &[(Some(121), true, None)]),
        ];
        for (name, failures) in cases {
            let mut schedule = Schedule::default();
            for (number, (asked_for, gained, expected)) in failures.iter().enumerate() {
                let delay = schedule.failed(asked_for.map(Duration::from_secs), *gained, 1.0);
                assert_eq!(delay, expected.map(Duration::from_millis), "{name}: failure {number}");
            }
        }
    }

    #[test]
    fn a_final_failure_is_not_retried_and_a_success_ends_the_attempts() {
        let refused = || HubError::Name("x".to_owned());
        let mut reported = 0;
        let mut attempts = 0;
        let failed: Result<(), _> = retrying(&mut |_| reported += 1, |_| {
            attempts += 1;
            Err(refused().into())
        });
        assert_eq!((failed, attempts), (Err(refused()), 1));

        let mut results = vec![
            Ok("done"),
            Err(AttemptError::Passing { error: refused(), wait: Some(Duration::ZERO), gained: false }),
        ];
        let done = retrying(&mut |_| reported += 1, |_| results.pop().unwrap());
        assert_eq!((done, reported), (Ok("done"), 1));
    }
}
