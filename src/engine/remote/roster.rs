//! Which of several servers is used, and when each of them is checked. Pure: the caller checks servers, and passes the time since
//! any fixed moment.
//!
//! The first server in the order of the configuration that answers is used. A server that does not answer is checked again with a
//! growing delay, and is used again as soon as a check has succeeded. The delay is short again only after the server has answered a
//! request: one that passes checks and fails requests would otherwise be used, and fail, again and again.

use std::time::Duration;

use crate::backoff::Backoff;

/// The time between two checks of a server that answers.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(10);
/// The first delay before a server that does not answer is checked again.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The delay before a server is checked again whose answers were wrong.
const DISTRUST: Duration = Duration::from_secs(60);
/// The longest delay before a server that does not answer is checked again.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// The servers, by their numbers in the configuration.
#[derive(Debug)]
pub(super) struct Roster(Vec<Server>);

#[derive(Debug)]
struct Server {
    condition: Condition,
    /// When it is checked next.
    next: Duration,
    /// It is being checked.
    is_checked: bool,
    backoff: Backoff,
}

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing: it has not been checked.
    Unknown,
    /// It answers.
    Ready,
    /// It does not answer, for this reason.
    Away(String),
    /// It answers, and a person must change something before it can be used.
    Unsuitable(String),
}

impl Roster {
    /// This number of servers, which are all due.
    pub(super) fn new(servers: usize) -> Self {
        let server = || Server {
            condition: Condition::Unknown,
            next: Duration::ZERO,
            is_checked: false,
            backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY),
        };
        Self(std::iter::repeat_with(server).take(servers).collect())
    }

    /// The server that is used.
    pub(super) fn preferred(&self) -> Option<usize> {
        self.0.iter().position(|server| server.condition == Condition::Ready)
    }

    /// The state of each server, in the order of the configuration.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter().map(|server| &server.condition)
    }

    /// Whether it is known which server is used: no server before the first one that answers is unknown.
    pub(super) fn is_settled(&self) -> bool {
        let mut conditions = self.conditions();
        conditions.find(|condition| matches!(condition, Condition::Ready | Condition::Unknown))
            != Some(&Condition::Unknown)
    }

    /// The servers that are to be checked now. They count as being checked until the result is reported.
    pub(super) fn due(&mut self, now: Duration) -> Vec<usize> {
        let is_due = |server: &Server| !server.is_checked && server.next <= now;
        let due = self.0.iter_mut().enumerate().filter(|(_, server)| is_due(server));
        due.map(|(number, server)| {
            server.is_checked = true;
            number
        })
        .collect()
    }

    /// How long no server is due.
    pub(super) fn rest(&self, now: Duration) -> Duration {
        let waiting = self.0.iter().filter(|server| !server.is_checked);
        waiting.map(|server| server.next.saturating_sub(now)).min().unwrap_or(CHECK_EVERY)
    }

    /// A check of the server has succeeded.
    pub(super) fn ready(&mut self, server: usize, now: Duration) {
        let server = &mut self.0[server];
        server.is_checked = false;
        server.condition = Condition::Ready;
        server.next = now + CHECK_EVERY;
    }

    /// A check of the server, or a request to it, has failed. `jitter` is from 0 to 1.
    pub(super) fn failed(&mut self, server: usize, condition: Condition, now: Duration, jitter: f64) {
        let server = &mut self.0[server];
        server.is_checked = false;
        server.condition = condition;
        server.next = now + server.backoff.failed(jitter);
    }

    /// The answers of the server were wrong. Only a person can change that, so it is not checked soon.
    pub(super) fn distrusted(&mut self, server: usize, condition: Condition, now: Duration) {
        let server = &mut self.0[server];
        server.condition = condition;
        server.next = now + DISTRUST;
    }

    /// The server has answered a request.
    pub(super) fn answered(&mut self, server: usize) {
        self.0[server].backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn away() -> Condition {
        Condition::Away("refused".to_owned())
    }

    #[test]
    fn the_first_server_that_answers_is_used_and_the_first_one_again_when_it_is_back() {
        let mut roster = Roster::new(3);
        assert_eq!((roster.preferred(), roster.is_settled()), (None, false));
        assert_eq!(roster.due(at(0)), [0, 1, 2]);
        assert_eq!(roster.due(at(0)), [0; 0], "they are being checked");
        // What happens: `+` the server answers a check, `-` it fails. Then: the server that is used, and whether that is known.
        for (number, event, preferred, settled) in [
            (1, '+', Some(1), false),
            (2, '-', Some(1), false),
            (0, '-', Some(1), true),
            (2, '+', Some(1), true),
            (1, '-', Some(2), true),
            (0, '+', Some(0), true),
            (1, '+', Some(0), true),
            (0, '-', Some(1), true),
            (1, '-', Some(2), true),
            (2, '-', None, true),
            (1, '+', Some(1), true),
        ] {
            match event {
                '+' => roster.ready(number, at(0)),
                _ => roster.failed(number, away(), at(0), 1.0),
            }
            assert_eq!((roster.preferred(), roster.is_settled()), (preferred, settled), "{event}{number}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_checked_with_a_growing_delay() {
        let mut roster = Roster::new(1);
        let (mut now, mut delays) = (at(0), Vec::new());
        for _ in 0..8 {
            assert_eq!(roster.due(now), [0]);
            roster.failed(0, away(), now, 1.0);
            let rest = roster.rest(now);
            assert_eq!(roster.due(now + rest - at(1)), [0; 0]);
            delays.push(rest.as_millis());
            now += rest;
        }
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        roster.ready(0, now);
        assert_eq!(roster.rest(now), CHECK_EVERY, "while it answers, it is checked now and then");
        roster.failed(0, away(), now, 1.0);
        assert_eq!(roster.rest(now), LONGEST_DELAY, "a check that has succeeded is no answer to a request");
        roster.ready(0, now);
        roster.answered(0);
        roster.failed(0, away(), now, 1.0);
        assert_eq!(roster.rest(now), FIRST_DELAY);
    }

    #[test]
    fn a_server_whose_answers_were_wrong_is_not_used_for_a_while() {
        let mut roster = Roster::new(2);
        assert_eq!(roster.due(at(0)), [0, 1]);
        [0, 1].into_iter().for_each(|server| roster.ready(server, at(0)));
        roster.distrusted(0, Condition::Unsuitable("wrong".to_owned()), at(5));
        assert_eq!(roster.preferred(), Some(1));
        assert_eq!(roster.due(at(5) + CHECK_EVERY), [1]);
        assert_eq!(roster.due(at(5) + DISTRUST), [0], "the other one is being checked");
        roster.ready(0, at(5) + DISTRUST);
        assert_eq!(roster.preferred(), Some(0));
    }

    #[test]
    fn a_server_is_checked_by_one_check_at_a_time() {
        let mut roster = Roster::new(2);
        assert_eq!(roster.due(at(0)), [0, 1]);
        assert_eq!(roster.rest(at(0)), CHECK_EVERY, "nothing is due before a result is reported");
        roster.ready(1, at(5));
        assert_eq!(roster.rest(at(5)), CHECK_EVERY);
        assert_eq!(roster.due(at(5) + CHECK_EVERY), [1], "the first one is still being checked");
    }
}
