//! Computes the delay before the next try: it doubles from a first delay to a longest one, with jitter.
//!
//! Pure but for [`jitter`]: the caller passes the randomness, and sleeps.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The first delay of a connection that is tried again.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay of a connection that is tried again.
pub const LONGEST_DELAY: Duration = Duration::from_secs(30);

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
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure and returns the delay before the next try. `jitter`, 0 to 1, spreads it over its upper half,
    /// so that many clients do not try again in the same instant.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(30)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// A try succeeded: the delay after the next failure is `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// For connections: from [`FIRST_DELAY`] to [`LONGEST_DELAY`].
impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST_DELAY, LONGEST_DELAY)
    }
}

/// A random number from 0 to 1. It differs between machines and between calls.
#[must_use]
pub fn jitter() -> f64 {
    #[cfg(test)]
    if let Some(jitter) = crate::faults::jitter() {
        return jitter;
    }
    // Each `RandomState` has keys of its own.
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(delays: impl IntoIterator<Item = Duration>) -> Vec<u128> {
        delays.into_iter().map(|delay| delay.as_millis()).collect()
    }

    #[test]
    fn delays_double_up_to_the_longest_and_start_over_after_a_reset() {
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

    #[test]
    fn jitter_is_in_range_and_varies() {
        let values: Vec<_> = std::iter::repeat_with(jitter).take(20).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)), "{values:?}");
        assert!(values.iter().any(|value| *value != values[0]), "{values:?}");
    }
}
