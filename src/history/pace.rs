//! When the writer commits: rarely, because each commit writes whole pages, and flash cards wear out. Pure: the caller passes the time.

use std::time::{Duration, Instant};

/// A commit with an alert is made after this time: people look at once.
const WITH_ALERT: Duration = Duration::from_secs(1);
/// Any other commit is made after this time.
const USUAL: Duration = Duration::from_secs(10);
/// No commit waits longer: what is not committed is lost if the process is killed.
const LONGEST: Duration = Duration::from_secs(60);
/// What each source may write in a day on average before commits become rarer, in bytes.
const DAILY: u64 = 50_000_000;
/// What may be written at once.
const BURST: f64 = 4e6;

/// What was written, compared with what may be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Bytes for each second.
    rate: f64,
    /// Bytes that were written beyond the rate, at `since`.
    debt: f64,
    since: Instant,
}

impl Pace {
    /// For this number of sources. Nothing is written yet.
    pub(super) fn new(sources: usize, now: Instant) -> Self {
        Self { rate: rate(sources), debt: 0.0, since: now }
    }

    /// The number of sources is another one.
    pub(super) fn set_sources(&mut self, sources: usize, now: Instant) {
        self.spend(0, now);
        self.rate = rate(sources);
    }

    /// These bytes were written.
    pub(super) fn spend(&mut self, bytes: u64, now: Instant) {
        let paid = now.saturating_duration_since(self.since).as_secs_f64() * self.rate;
        self.debt = (self.debt - paid).max(0.0) + bytes as f64;
        self.since = now;
    }

    /// When a transaction is committed that was begun at this time.
    pub(super) fn due(&self, began: Instant, with_alert: bool) -> Instant {
        let usual = if with_alert { WITH_ALERT } else { USUAL };
        let wait = Duration::try_from_secs_f64(((self.debt - BURST) / self.rate).max(0.0)).unwrap_or(LONGEST);
        let paid = self.since.checked_add(wait).unwrap_or(began);
        let wait = paid.saturating_duration_since(began).clamp(usual, LONGEST);
        began + wait
    }
}

fn rate(sources: usize) -> f64 {
    sources.max(1) as f64 * DAILY as f64 / 86_400.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_become_rarer_when_too_much_is_written_and_usual_again_when_it_is_paid() {
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let mut pace = Pace::new(1, start);
        assert_eq!(pace.due(start, true), second(1));
        assert_eq!(pace.due(start, false), second(10));
        pace.spend(4_000_000, start);
        assert_eq!(pace.due(start, true), second(1), "a burst");
        pace.spend(20_000, start);
        assert_eq!((pace.due(start, true) - start).as_secs(), 34, "20 kB at 579 bytes a second");
        pace.spend(1_000_000, start);
        assert_eq!(pace.due(start, true), second(60), "no longer than this");
        pace.set_sources(100, start);
        assert_eq!((pace.due(start, true) - start).as_secs(), 17, "of a hundred sources");
        assert_eq!(pace.due(second(20), true), second(21), "it is paid");
        pace.spend(0, second(86_400));
        assert_eq!(pace.due(second(86_400), false), second(86_410));
    }
}
