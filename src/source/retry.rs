//! Decides when a source tries again after a failure, and which failures are logged.
//!
//! Pure: the caller brings the time and sleeps.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, jitter};

/// A run of this length counts as a recovery: the failure after it starts a new series.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// The longest pause after a run that delivered frames, however often the source failed: it may be back before anyone
/// could notice that it was away.
const SHORT_PAUSE: Duration = Duration::from_secs(2);
/// The same cause is logged again after this time.
const LOG_AGAIN: Duration = Duration::from_secs(60);
/// A wrong password or address stays wrong until someone corrects it, and a camera may lock out a client that tries too
/// often.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// A refusal is logged again after this time.
const LOG_REFUSAL_AGAIN: Duration = Duration::from_secs(3600);

/// The failures of one source.
#[derive(Default)]
pub(super) struct Retry {
    backoff: Backoff,
    logged: Option<(String, Instant)>,
}

impl Retry {
    /// The pause after a run that lasted `ran` and failed. Longer if the source was `refused`, short if it was `online`
    /// when it failed.
    pub(super) fn failed(&mut self, ran: Duration, refused: bool, online: bool) -> Duration {
        if refused {
            return REFUSED_PAUSE.mul_f64(0.5 + jitter() / 2.0);
        }
        if ran >= GOOD_RUN {
            self.backoff.reset();
        }
        let pause = self.backoff.failed(jitter());
        if online { pause.min(SHORT_PAUSE) } else { pause }
    }

    /// The host is reachable again: the next failure starts a new series.
    pub(super) fn reachable_again(&mut self) {
        self.backoff.reset();
    }

    /// Whether to log this failure: a changed cause at once, the same cause at most once a minute (a refusal: an hour).
    pub(super) fn is_news(&mut self, cause: &str, refused: bool, now: Instant) -> bool {
        let again = if refused { LOG_REFUSAL_AGAIN } else { LOG_AGAIN };
        let news = self
            .logged
            .as_ref()
            .is_none_or(|(logged, at)| logged != cause || now.duration_since(*at) >= again);
        if news {
            self.logged = Some((cause.to_owned(), now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_cause_is_logged_at_once_and_the_same_one_once_a_minute() {
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
            let news = retry.is_news(cause, cause == "refused", start + Duration::from_secs(second));
            assert_eq!(news, expected, "{name}");
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
        assert_eq!(retry.failed(short, false, true), SHORT_PAUSE, "it delivered frames until it failed");
        assert!(retry.failed(short, false, false) > SHORT_PAUSE);
    }
}
