//! How long to wait before the next try: doubling from a first delay up to a longest one, with jitter.
//!
//! Pure: the caller brings the randomness and the clock. It refuses to sleep.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The delays of one series of tries.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The delay after one more failure. `jitter`, 0 to 1, spreads it over its upper half,
    /// so that many clients do not come back in the same instant.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(30)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// All is well again: the next failure waits `first`.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1 for [`Backoff::failed`], different in every call.
#[must_use]
pub fn jitter() -> f64 {
    // The standard library's only source of randomness.
    f64::from(u16::try_from(RandomState::new().hash_one(0) >> 48).unwrap_or(u16::MAX)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(delays: impl IntoIterator<Item = Duration>) -> Vec<u128> {
        delays.into_iter().map(|delay| delay.as_millis()).collect()
    }

    #[test]
    fn it_doubles_up_to_the_longest_and_starts_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let delays = (0..7).map(|_| backoff.failed(1.0)).collect::<Vec<_>>();
        assert_eq!(milliseconds(delays), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.failed(1.0), Duration::from_secs(1));
    }

    #[test]
    fn jitter_spreads_over_the_upper_half_and_no_failure_count_overflows() {
        let delay = |jitter| Backoff::new(Duration::from_secs(2), Duration::from_secs(30)).failed(jitter);
        assert_eq!(milliseconds([delay(0.0), delay(0.5), delay(7.0), delay(-1.0)]), [1000, 1500, 2000, 1000]);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert!((0..100).all(|_| backoff.failed(1.0) >= Duration::from_secs(1)));
    }
}
