//! Decides which alert a sink gets next, and how long to wait after a failure.
//!
//! Alerts go in order. When the sink is unavailable, everything waits. An alert that is refused [`REFUSALS`] times is held, and
//! those behind it go first; a held alert is offered again after [`HELD`]. Pure: the caller passes the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{alert::outbox::Seq, backoff::Backoff};

/// How often an alert is refused before it is held.
pub(super) const REFUSALS: u32 = 5;
/// How long an alert is held.
const HELD: Duration = Duration::from_secs(10 * 60);

/// The state of one sink.
pub(super) struct Schedule {
    /// 0 to 1, for each delay.
    jitter: fn() -> f64,
    cursor: Seq,
    rewound: u64,
    backoff: Backoff,
    refusals: u32,
    held: VecDeque<(Instant, Seq)>,
}

/// Why a sink does not have an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The sink does not work: it would not accept the next alert either.
    Unavailable(String),
    /// The sink works and does not accept this alert.
    Refused(String),
}

/// Which alert is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This one, which was held until now.
    Held(Seq),
    /// The first one behind this one.
    After(Seq),
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Retry {
    /// How long to wait.
    pub pause: Duration,
    /// The alert was refused too often and is held now; this is to be logged.
    pub holds: bool,
}

impl Schedule {
    pub fn new(jitter: fn() -> f64) -> Self {
        Self {
            jitter,
            cursor: 0,
            rewound: 0,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            refusals: 0,
            held: VecDeque::new(),
        }
    }

    /// Which alert is next. `rewound` is the outbox's count of alerts that came back; everything is read again then.
    pub fn next(&mut self, now: Instant, rewound: u64) -> Next {
        if std::mem::replace(&mut self.rewound, rewound) != rewound {
            self.cursor = 0;
            self.held.clear();
        }
        match self.held.front() {
            Some(&(due, seq)) if due <= now => {
                self.held.pop_front();
                Next::Held(seq)
            }
            _ => Next::After(self.cursor),
        }
    }

    /// When a held alert is to be offered again.
    pub fn due(&self) -> Option<Instant> {
        self.held.front().map(|(due, _)| *due)
    }

    /// The sink has the alert.
    pub fn accepted(&mut self, seq: Seq) {
        self.cursor = self.cursor.max(seq);
        self.refusals = 0;
        self.backoff.reset();
    }

    /// The sink does not have the alert that [`Self::next`] returned; `refused`: it was available and does not want this one.
    pub fn failed(&mut self, next: Next, seq: Seq, refused: bool, now: Instant) -> Retry {
        if matches!(next, Next::Held(_)) {
            self.held.push_back((now + HELD, seq));
        } else if refused {
            self.refusals += 1;
            if self.refusals >= REFUSALS {
                self.accepted(seq);
                self.held.push_back((now + HELD, seq));
                return Retry { pause: Duration::ZERO, holds: true };
            }
        }
        Retry { pause: self.backoff.failed((self.jitter)()), holds: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule without jitter, and its first moment.
    fn schedule() -> (Schedule, Instant) {
        (Schedule::new(|| 1.0), Instant::now())
    }

    #[test]
    fn while_a_sink_is_unavailable_its_first_alert_is_tried_after_longer_and_longer_delays() {
        let (mut schedule, now) = schedule();
        let mut fail = || {
            let next = schedule.next(now, 0);
            assert_eq!(next, Next::After(0), "nothing overtakes it");
            schedule.failed(next, 1, false, now).pause.as_secs()
        };
        let pauses: Vec<_> = std::iter::repeat_with(&mut fail).take(9).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule.accepted(1);
        let next = schedule.next(now, 0);
        assert_eq!(next, Next::After(1));
        assert_eq!(
            schedule.failed(next, 2, false, now).pause.as_secs(),
            1,
            "an accepted alert resets the delay"
        );
    }

    #[test]
    fn an_alert_that_is_refused_five_times_is_held_and_others_go_first() {
        let (mut schedule, now) = schedule();
        let retries = (0..5).map(|_| {
            let next = schedule.next(now, 0);
            let Retry { pause, holds } = schedule.failed(next, 1, true, now);
            (pause.as_secs(), holds)
        });
        assert_eq!(retries.collect::<Vec<_>>(), [(1, false), (2, false), (4, false), (8, false), (0, true)]);
        assert_eq!(schedule.next(now, 0), Next::After(1));
        schedule.accepted(2);
        assert_eq!(schedule.due(), Some(now + HELD));
        assert_eq!(schedule.next(now + HELD - Duration::from_millis(1), 0), Next::After(2));

        let later = now + HELD;
        let next = schedule.next(later, 0);
        assert_eq!(next, Next::Held(1));
        let retry = schedule.failed(next, 1, true, later);
        assert_eq!(retry, Retry { pause: Duration::from_secs(1), holds: false }, "reported once");
        assert_eq!(schedule.next(later, 0), Next::After(2));
        assert_eq!(schedule.next(later + HELD, 0), Next::Held(1));
        schedule.accepted(1);
        assert_eq!(
            (schedule.next(later + HELD, 0), schedule.due()),
            (Next::After(2), None),
            "the cursor stays"
        );
    }

    #[test]
    fn an_unavailable_sink_does_not_count_as_a_refusal() {
        let (mut schedule, now) = schedule();
        let outcomes = [true, true, true, true, false, true].map(|refused| {
            let next = schedule.next(now, 0);
            schedule.failed(next, 1, refused, now).holds
        });
        assert_eq!(outcomes, [false, false, false, false, false, true]);
    }

    #[test]
    fn after_a_rewind_everything_is_read_again() {
        let (mut schedule, now) = schedule();
        schedule.accepted(7);
        for _ in 0..5 {
            let next = schedule.next(now, 0);
            schedule.failed(next, 8, true, now);
        }
        assert_eq!(schedule.next(now, 1), Next::After(0));
        assert_eq!(schedule.due(), None);
    }
}
