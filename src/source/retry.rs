//! When a source tries again, and which of its failures are worth a line in the log.
//!
//! It refuses to sleep and to look at a clock: the caller brings both.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::backoff::Backoff;

/// A source that ran this long had recovered: its next failure is a first one.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// A source that brought frames is tried again within this, however often it broke off: it may be back already, sooner than
/// anybody could see that it was away.
const SOON: Duration = Duration::from_secs(2);
/// The same cause is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// A wrong password or address stays wrong until somebody puts it right, and a camera may lock out who tries too often.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// A refusal is told again after this long.
const TELL_REFUSAL_AGAIN: Duration = Duration::from_secs(3600);

/// The failures of one source.
pub(super) struct Retry {
    backoff: Backoff,
    told: Option<(String, Instant)>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)), told: None }
    }
}

impl Retry {
    /// How long to wait after a run that failed after `ran`: longer if the source was `refused`, not for long if it was
    /// `online` until then.
    pub(super) fn failed(&mut self, ran: Duration, refused: bool, online: bool) -> Duration {
        if refused {
            return REFUSED_PAUSE.mul_f64(0.5 + jitter() / 2.0);
        }
        if ran >= GOOD_RUN {
            self.backoff.reset();
        }
        let pause = self.backoff.failed(jitter());
        if online { pause.min(SOON) } else { pause }
    }

    /// What could not be reached can be again: the next failure is a first one.
    pub(super) fn returned(&mut self) {
        self.backoff.reset();
    }

    /// Whether people should be told: a changed cause at once, the same one at most once a minute (a refusal: an hour).
    pub(super) fn is_news(&mut self, cause: &str, refused: bool, now: Instant) -> bool {
        let again = if refused { TELL_REFUSAL_AGAIN } else { TELL_AGAIN };
        let news = match &self.told {
            Some((told, at)) => told != cause || now.duration_since(*at) >= again,
            None => true,
        };
        if news {
            self.told = Some((cause.to_owned(), now));
        }
        news
    }
}

/// 0 to 1, different for every call: the standard library's only source of chance, and enough to spread retries.
fn jitter() -> f64 {
    f64::from(u16::try_from(RandomState::new().hash_one(0) >> 48).unwrap_or(u16::MAX)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_cause_is_news_and_the_same_one_once_a_minute() {
        let start = Instant::now();
        let mut retry = Retry::default();
        let cases = [
            ("first", 0, "gone", true),
            ("the same", 1, "gone", false),
            ("changed", 2, "forbidden", true),
            ("changed back", 3, "gone", true),
            ("the same within a minute", 62, "gone", false),
            ("the same after a minute", 63, "gone", true),
            ("a refusal", 64, "refused", true),
            ("the same within an hour", 3663, "refused", false),
            ("the same after an hour", 3664, "refused", true),
        ];
        for (name, second, cause, expected) in cases {
            assert_eq!(
                retry.is_news(cause, cause == "refused", start + Duration::from_secs(second)),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn delays_grow_and_start_over_after_a_good_minute() {
        let mut retry = Retry::default();
        let (short, good) = (Duration::from_secs(1), Duration::from_secs(60));
        let delays = [short, short, short, good].map(|ran| retry.failed(ran, false, false).as_secs_f64());
        let bounds = [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (0.5, 1.0)];
        for (delay, (least, most)) in delays.into_iter().zip(bounds) {
            assert!((least..=most).contains(&delay), "{delays:?}");
        }
        let refused = retry.failed(short, true, false).as_secs_f64();
        assert!((30.0..=60.0).contains(&refused), "{refused}");
        for _ in 0..10 {
            retry.failed(short, false, false);
        }
        assert_eq!(retry.failed(short, false, true), SOON, "it was there a moment ago");
        assert!(retry.failed(short, false, false) > SOON);
    }
}
