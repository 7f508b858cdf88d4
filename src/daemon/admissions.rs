//! Limits how fast sources can appear: anyone who may publish pictures can invent names, and each new source costs work and
//! files. Pure: the caller passes the time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// This number of sources of one configured source may appear at once, for example at the first start with many cameras.
pub(super) const BURST: u32 = 32;
/// After that, one more in each of these intervals.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The sources that appeared, by the configured source that they belong to.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    /// When the whole burst is available again.
    full_at: HashMap<String, Instant>,
}

impl Admissions {
    /// Whether one more source of the configured source `of` may appear `now`. If so, that is recorded.
    pub(super) fn admits(&mut self, of: &str, now: Instant) -> bool {
        let full_at = self.full_at.get(of).copied().unwrap_or(now).max(now) + INTERVAL;
        let admits = full_at.duration_since(now) <= INTERVAL * BURST;
        if admits {
            self.full_at.insert(of.to_owned(), full_at);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_in_each_interval_for_each_configured_source() {
        let (start, mut admissions) = (Instant::now(), Admissions::default());
        let mut admitted = |of: &str, second: f64, requests: u32| {
            let now = start + Duration::from_secs_f64(second);
            (0..requests).filter(|_| admissions.admits(of, now)).count()
        };
        assert_eq!(admitted("cams", 0.0, 1000), 32);
        assert_eq!(admitted("cams", 0.9, 1000), 0);
        assert_eq!(admitted("cams", 1.0, 1000), 1);
        assert_eq!(admitted("others", 1.0, 10), 10, "each has a limit of its own");
        assert_eq!(admitted("cams", 11.0, 1000), 10);
        assert_eq!(admitted("cams", 1000.0, 1000), 32, "the burst is there again, and no more");
    }
}
