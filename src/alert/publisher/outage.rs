//! What people are told while the broker is away: the first failure at once, then a line a minute, then the end.
//!
//! Pure: the caller brings the clock and writes the lines. It refuses to decide when to try again.

use std::time::Duration;

use tokio::time::Instant;

pub use crate::mqtt::trouble::{Trouble, explain};

const MINUTE: Duration = Duration::from_secs(60);
/// Says a lasting thing once a minute.
#[derive(Debug, Default)]
pub struct Reminder {
    last: Option<Instant>,
}

impl Reminder {
    /// Whether it is time to say it (again).
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= MINUTE);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Since when the broker is away, and what was said about it.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    login: bool,
    told: bool,
    /// Outlives an outage: a connection that breaks every second is told of once a minute too.
    reminder: Reminder,
    connected_before: bool,
}

/// What is to be said when there is a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// The first one.
    First,
    /// There was none for so long, and people know.
    Back(Duration),
    /// Nobody knows that there was none.
    Nothing,
}

impl Outage {
    /// One more failure. Says for how long the broker is away by now if that is to be told.
    pub fn failed(&mut self, now: Instant, trouble: &Trouble) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if self.login != trouble.login {
            // Something else is wrong now.
            self.reminder = Reminder::default();
            self.login = trouble.login;
        }
        let due = self.reminder.due(now);
        self.told |= due;
        due.then(|| now.duration_since(since))
    }

    /// There is a connection.
    pub fn over(&mut self, now: Instant) -> Word {
        let (since, told) = (self.since.take(), std::mem::take(&mut self.told));
        let first = !std::mem::replace(&mut self.connected_before, true);
        match since {
            Some(since) if told => Word::Back(now.duration_since(since)),
            _ if first => Word::First,
            _ => Word::Nothing,
        }
    }

    /// Whether the broker is known to be away.
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_at_once_then_a_line_a_minute_then_the_end() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let trouble = |login| Trouble { login, text: String::new() };
        let mut outage = Outage::default();
        assert_eq!(outage.over(at(0)), Word::First, "the first connection ends no outage");

        let told = [0, 1, 30, 59, 60, 61, 119, 121].map(|second| outage.failed(at(second), &trouble(false)));
        let seconds = told.map(|told| told.map(|away| away.as_secs()));
        assert_eq!(seconds, [Some(0), None, None, None, Some(60), None, None, Some(121)]);

        let told = [122, 123].map(|second| outage.failed(at(second), &trouble(true)).is_some());
        assert_eq!(told, [true, false], "a wrong password is news");

        assert!(outage.is_on());
        assert_eq!(outage.over(at(130)), Word::Back(Duration::from_secs(130)));
        assert!(!outage.is_on());
        for second in 131..181 {
            assert_eq!(
                outage.failed(at(second), &trouble(true)),
                None,
                "once a minute also if it comes and goes"
            );
            assert_eq!(outage.over(at(second)), Word::Nothing);
        }
        assert_eq!(outage.failed(at(182), &trouble(true)), Some(Duration::ZERO), "a new outage");
        assert_eq!(outage.over(at(192)), Word::Back(Duration::from_secs(10)));
    }
}
