//! The one place where the hub is asked again: what is passing is waited for, what is final is said at once.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use super::{Event, HubError};
use crate::backoff::Backoff;

/// So many tries in a row without anything gained, and it is given up.
const TRIES: u32 = 5;
/// Nobody waits longer at the hub's word.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Why a try failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another try would end the same way.
    Final(HubError),
    /// It may be better soon.
    Passing {
        error: HubError,
        /// How long the hub said to wait.
        wait: Option<Duration>,
        /// Part of the work was done nonetheless: this try does not count.
        gained: bool,
    },
}

impl Trouble {
    pub fn passing(error: HubError) -> Self {
        Self::Passing { error, wait: None, gained: false }
    }
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Tries until it succeeds, fails for good, or has failed too often in a row.
pub(crate) fn patiently<T>(
    tell: &mut dyn FnMut(Event<'_>),
    mut attempt: impl FnMut(&mut dyn FnMut(Event<'_>)) -> Result<T, Trouble>,
) -> Result<T, HubError> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut failures = 0;
    loop {
        let (error, wait) = match attempt(tell) {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing { error, wait, gained }) => {
                if gained {
                    backoff.reset();
                    failures = 0;
                }
                (error, wait)
            }
        };
        failures += 1;
        if failures == TRIES || wait.is_some_and(|wait| wait > LONGEST_WAIT) {
            return Err(error);
        }
        let wait = wait.unwrap_or_else(|| backoff.failed(jitter()));
        tell(Event::Again { why: error.in_short(), wait });
        thread::sleep(wait);
    }
}

/// 0 to 1, different for every call: the standard library's only source of chance.
fn jitter() -> f64 {
    f64::from(u16::try_from(RandomState::new().hash_one(0) >> 48).unwrap_or(u16::MAX)) / f64::from(u16::MAX)
}
