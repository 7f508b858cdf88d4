//! Decides which failures to connect are logged: the first at once, then one a minute, then the recovery.
//!
//! Pure: the caller passes the time and writes the lines.

use std::time::{Duration, Instant};

use crate::mqtt::failure::Explanation;

const MINUTE: Duration = Duration::from_secs(60);

/// Limits a repeated log line to one a minute.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    last: Option<Instant>,
}

impl Reminder {
    /// Whether the line is to be logged now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= MINUTE);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Since when there is no connection, and whether that was logged.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    login: bool,
    logged: bool,
    /// Outlives an outage: a connection that breaks every second is logged once a minute, too.
    reminder: Reminder,
    connected_before: bool,
}

/// What to log about a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Connected {
    /// It is the first one.
    First,
    /// An outage of this length that was logged is over.
    Back(Duration),
    /// Nothing: the outage was not logged.
    Silent,
}

impl Outage {
    /// Counts a failure. Returns the length of the outage so far if the failure is to be logged.
    pub fn failed(&mut self, now: Instant, explanation: &Explanation) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if self.login != explanation.login {
            // The cause changed.
            self.reminder = Reminder::default();
            self.login = explanation.login;
        }
        let due = self.reminder.due(now);
        self.logged |= due;
        due.then(|| now.duration_since(since))
    }

    /// A connection was made: the outage, if there was one, is over.
    pub fn over(&mut self, now: Instant) -> Connected {
        let (since, logged) = (self.since.take(), std::mem::take(&mut self.logged));
        let first = !std::mem::replace(&mut self.connected_before, true);
        match since {
            Some(since) if logged => Connected::Back(now.duration_since(since)),
            _ if first => Connected::First,
            _ => Connected::Silent,
        }
    }

    /// Whether the last try to connect failed.
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_logged_at_once_then_one_a_minute_then_the_recovery() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let explanation = |login| Explanation { login, text: String::new() };
        let mut outage = Outage::default();
        assert_eq!(outage.over(at(0)), Connected::First, "the first connection ends no outage");

        let logged =
            [0, 1, 30, 59, 60, 61, 119, 121].map(|second| outage.failed(at(second), &explanation(false)));
        let seconds = logged.map(|logged| logged.map(|away| away.as_secs()));
        assert_eq!(seconds, [Some(0), None, None, None, Some(60), None, None, Some(121)]);

        let logged = [122, 123].map(|second| outage.failed(at(second), &explanation(true)).is_some());
        assert_eq!(logged, [true, false], "a wrong password is news");

        assert!(outage.is_on());
        assert_eq!(outage.over(at(130)), Connected::Back(Duration::from_secs(130)));
        assert!(!outage.is_on());
        for second in 131..181 {
            let failed = outage.failed(at(second), &explanation(true));
            assert_eq!(failed, None, "once a minute also if the connection comes and goes");
            assert_eq!(outage.over(at(second)), Connected::Silent);
        }
        assert_eq!(outage.failed(at(182), &explanation(true)), Some(Duration::ZERO), "a new outage");
        assert_eq!(outage.over(at(192)), Connected::Back(Duration::from_secs(10)));
    }

    #[test]
    fn a_broker_that_is_missing_at_the_start_is_an_outage() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        let explanation = Explanation { login: false, text: String::new() };
        assert_eq!(outage.failed(start, &explanation), Some(Duration::ZERO));
        assert_eq!(outage.over(start + MINUTE), Connected::Back(MINUTE));
        assert_eq!(outage.over(start + MINUTE), Connected::Silent);
    }
}
