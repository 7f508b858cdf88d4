//! Decides whether alerts wait for Home Assistant. A broker does not keep alerts for a subscriber that is away, so Home
//! Assistant never receives those of its restart, nor those of an entity that it does not know yet.
//!
//! Pure: the caller passes the time. Every wait ends: an alert is late rather than lost for the other subscribers.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// The longest that alerts wait. After a restart of the broker Home Assistant needs about 10 s to connect, and 5 s more until
/// its birth message.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// The time that Home Assistant needs to create, or to remove, the entities of a discovery message.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);
/// After this many sessions in a row that ended before alerts could be sent, alerts do not wait: a connection that breaks every
/// few seconds must not hold them for ever.
const SHORT_SESSIONS: u32 = 3;

/// The state of Home Assistant.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    presence: Presence,
    /// The alert topics of what is announced.
    topics: BTreeMap<String, Topic>,
    /// Before this time, an end of the session counts as early.
    early_until: Option<Instant>,
    short_sessions: u32,
}

/// Whether Home Assistant receives alerts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It is not configured: no alert waits.
    #[default]
    Unwanted,
    /// We connected, and do not know whether Home Assistant did.
    Unknown {
        /// Alerts wait until this time.
        until: Instant,
    },
    /// It is connected, or did not report itself in time.
    Here,
    /// Its last will was published.
    Away {
        /// The waiting alerts are held until this time; `None`: no alert waits.
        until: Option<Instant>,
    },
}

/// An alert topic, to which Home Assistant subscribes when it knows the entity.
#[derive(Debug, Clone, Copy)]
struct Topic {
    /// The discovery message is out in this session.
    announced: bool,
    /// Alerts to it wait until this time.
    opens: Instant,
}

impl Readiness {
    /// A session starts. `wanted`: Home Assistant is configured.
    pub fn connected(&mut self, wanted: bool, now: Instant) {
        self.topics.clear();
        self.short_sessions = if self.early_until.is_some() { self.short_sessions + 1 } else { 0 };
        self.early_until = Some(now + LONGEST_WAIT);
        self.presence = match wanted {
            false => Presence::Unwanted,
            true if self.is_unstable() => Presence::Here,
            true => Presence::Unknown { until: now + LONGEST_WAIT },
        };
    }

    /// Home Assistant published its birth message: it has subscribed to the topics of its entities.
    pub fn born(&mut self) {
        if self.presence != Presence::Unwanted {
            self.presence = Presence::Here;
        }
    }

    /// Home Assistant's last will was published.
    pub fn gone(&mut self, now: Instant) {
        self.presence = match self.presence {
            // A wait that has begun does not start again.
            Presence::Unknown { until } if until > now => Presence::Away { until: Some(until) },
            Presence::Unknown { .. } | Presence::Here => Presence::Away { until: None },
            unchanged => unchanged,
        };
    }

    /// The alert topics of what is to be announced; none if Home Assistant is not configured. Alerts to new ones wait.
    pub fn announcing<'t>(&mut self, topics: impl Iterator<Item = &'t str>, now: Instant) {
        let opens = if self.is_unstable() { now } else { now + LONGEST_WAIT };
        let mut known = std::mem::take(&mut self.topics);
        for topic in topics {
            let new = Topic { announced: false, opens };
            self.topics.insert(topic.to_owned(), known.remove(topic).unwrap_or(new));
        }
        self.is_wanted();
    }

    /// What is to be announced changes by these alert topics. Alerts to added ones that were not there before wait.
    pub fn announcing_also(&mut self, added: &[&str], removed: &[&str], now: Instant) {
        let opens = if self.is_unstable() { now } else { now + LONGEST_WAIT };
        let added: HashSet<_> = added.iter().copied().collect();
        for topic in removed.iter().filter(|topic| !added.contains(**topic)) {
            self.topics.remove(*topic);
        }
        for topic in added {
            self.topics.entry(topic.to_owned()).or_insert(Topic { announced: false, opens });
        }
        self.is_wanted();
    }

    /// Home Assistant is configured exactly if anything is announced to it.
    fn is_wanted(&mut self) {
        self.presence = match self.presence {
            _ if self.topics.is_empty() => Presence::Unwanted,
            Presence::Unwanted => Presence::Here,
            unchanged => unchanged,
        };
    }

    /// The broker has the discovery message of these alert topics.
    pub fn announced<'t>(&mut self, topics: impl Iterator<Item = &'t str>, now: Instant) {
        let unstable = self.is_unstable();
        for topic in topics {
            if let Some(topic) = self.topics.get_mut(topic)
                && !std::mem::replace(&mut topic.announced, true)
                && !unstable
            {
                topic.opens = now + SETTLE;
            }
        }
    }

    /// The broker does not accept the discovery message of these alert topics: there is nothing to wait for.
    pub fn unannounced<'t>(&mut self, topics: impl Iterator<Item = &'t str>, now: Instant) {
        for topic in topics {
            if let Some(topic) = self.topics.get_mut(topic)
                && !topic.announced
            {
                topic.opens = now;
            }
        }
    }

    /// The service stops: no alert waits any more.
    pub fn release(&mut self) {
        self.presence = Presence::Unwanted;
        self.topics.clear();
    }

    /// To be called when an alert is to be sent. Returns the time until which it waits; `None`: it is sent now.
    pub fn hold(&mut self, now: Instant) -> Option<Instant> {
        if let Presence::Away { until: until @ None } = &mut self.presence {
            *until = Some(now + LONGEST_WAIT);
        }
        self.held_until(now)
    }

    /// Every alert was sent: the next one waits anew while Home Assistant is away.
    pub fn idle(&mut self, now: Instant) {
        if let Presence::Away { until } = &mut self.presence
            && until.is_some_and(|until| until <= now)
        {
            *until = None;
        }
    }

    /// The time until which all alerts wait; `None`: they do not wait.
    pub fn held_until(&self, now: Instant) -> Option<Instant> {
        match self.presence {
            Presence::Unknown { until } | Presence::Away { until: Some(until) } => {
                (until > now).then_some(until)
            }
            Presence::Unwanted | Presence::Here | Presence::Away { until: None } => None,
        }
    }

    /// The time until which alerts to `topic` wait; `None`: they do not wait.
    pub fn closed_until(&self, topic: &str, now: Instant) -> Option<Instant> {
        self.topics.get(topic).map(|topic| topic.opens).filter(|opens| *opens > now)
    }

    /// Notices that the session has lasted. Returns when to call it again, if it must be called.
    pub fn lasts(&mut self, now: Instant) -> Option<Instant> {
        self.early_until = self.early_until.filter(|until| *until > now);
        self.early_until
    }

    fn is_unstable(&self) -> bool {
        self.short_sessions >= SHORT_SESSIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries out a script: each step is a time in seconds and a word. Returns for each `?` how long an alert to `a` that is
    /// there waits, in seconds.
    fn waits(script: &[(u64, &str)]) -> Vec<u64> {
        let (start, mut readiness, mut waits) = (Instant::now(), Readiness::default(), Vec::new());
        for (second, word) in script {
            let now = start + Duration::from_secs(*second);
            readiness.lasts(now);
            match *word {
                "connect" => readiness.connected(true, now),
                "connect without" => readiness.connected(false, now),
                "online" => readiness.born(),
                "offline" => readiness.gone(now),
                "announce a" => readiness.announcing(["a"].into_iter(), now),
                "announce b" => readiness.announcing(["b"].into_iter(), now),
                "announce nothing" => readiness.announcing([].into_iter(), now),
                "and a" => readiness.announcing_also(&["a"], &[], now),
                "and b instead of a" => readiness.announcing_also(&["b"], &["a"], now),
                "a as another device" => readiness.announcing_also(&["a"], &["a"], now),
                "a is out" => readiness.announced(["a"].into_iter(), now),
                "a is refused" => readiness.unannounced(["a"].into_iter(), now),
                "idle" => readiness.idle(now),
                "stop" => readiness.release(),
                "?" => {
                    let until = readiness.hold(now).max(readiness.closed_until("a", now));
                    waits.push(until.map_or(0, |until| (until - now).as_secs()));
                }
                other => panic!("{other}"),
            }
        }
        waits
    }

    #[test]
    fn the_table_of_waits() {
        /// A name, a script, and what it waits.
        type Case = (&'static str, Vec<(u64, &'static str)>, Vec<u64>);
        let known = [(0, "connect"), (0, "announce a"), (0, "a is out"), (5, "online")];
        let after = |script: &[(u64, &'static str)]| [&known[..], script].concat();
        let cases: Vec<Case> = vec![
            ("before the first session", vec![(0, "?")], vec![0]),
            (
                "without Home Assistant",
                vec![(0, "connect without"), (0, "?"), (0, "offline"), (0, "?")],
                vec![0, 0],
            ),
            ("after a connect", vec![(0, "connect"), (0, "?"), (9, "?"), (15, "?")], vec![15, 6, 0]),
            ("until the birth message", vec![(0, "connect"), (5, "online"), (5, "?")], vec![0]),
            ("known and online", after(&[(6, "?")]), vec![0]),
            (
                "each alert after the last will",
                after(&[(60, "offline"), (90, "?"), (104, "?"), (105, "?")]),
                vec![15, 1, 0],
            ),
            (
                "all that follow at once",
                after(&[(60, "offline"), (60, "?"), (75, "?"), (76, "?")]),
                vec![15, 0, 0],
            ),
            (
                "the next after a pause",
                after(&[(60, "offline"), (60, "?"), (75, "?"), (75, "idle"), (80, "?")]),
                vec![15, 0, 15],
            ),
            (
                "a wait that has begun",
                after(&[(60, "offline"), (60, "?"), (61, "idle"), (70, "?")]),
                vec![15, 5],
            ),
            (
                "back after the last will",
                after(&[(60, "offline"), (60, "?"), (63, "online"), (63, "?")]),
                vec![15, 0],
            ),
            (
                "the last will after a connect",
                vec![(0, "connect"), (9, "offline"), (9, "?"), (15, "?")],
                vec![6, 0],
            ),
            ("a new session", after(&[(60, "connect"), (60, "?")]), vec![15]),
            (
                "discovery is not out",
                vec![(0, "connect"), (0, "online"), (0, "announce a"), (1, "?"), (15, "?")],
                vec![14, 0],
            ),
            (
                "discovery is out",
                vec![(0, "connect"), (0, "online"), (0, "announce a"), (4, "a is out"), (4, "?"), (6, "?")],
                vec![2, 0],
            ),
            ("discovery is out again", after(&[(60, "announce a"), (60, "a is out"), (60, "?")]), vec![0]),
            (
                "discovery is refused",
                vec![(0, "connect"), (0, "online"), (0, "announce a"), (1, "a is refused"), (1, "?")],
                vec![0],
            ),
            (
                "accepted after all",
                vec![
                    (0, "connect"),
                    (0, "online"),
                    (0, "announce a"),
                    (1, "a is refused"),
                    (9, "a is out"),
                    (9, "?"),
                ],
                vec![2],
            ),
            ("known, and refused later", after(&[(60, "a is refused"), (60, "?")]), vec![0]),
            ("another topic", vec![(0, "connect"), (0, "online"), (0, "announce b"), (0, "?")], vec![0]),
            (
                "a label is added",
                vec![
                    (0, "connect"),
                    (0, "announce b"),
                    (60, "announce a"),
                    (60, "?"),
                    (61, "a is out"),
                    (61, "?"),
                ],
                vec![15, 2],
            ),
            (
                "a source is added",
                vec![
                    (0, "connect"),
                    (0, "announce b"),
                    (60, "and a"),
                    (60, "?"),
                    (61, "a is out"),
                    (61, "?"),
                ],
                vec![15, 2],
            ),
            (
                "a source is replaced",
                after(&[(60, "and b instead of a"), (60, "and a"), (61, "?")]),
                vec![14],
            ),
            ("a source has another label", after(&[(60, "a as another device"), (60, "?")]), vec![0]),
            (
                "switched on",
                vec![(0, "connect without"), (9, "announce a"), (9, "a is out"), (9, "?"), (11, "?")],
                vec![2, 0],
            ),
            ("switched off", after(&[(60, "announce nothing"), (60, "offline"), (60, "?")]), vec![0]),
            ("stopping", vec![(0, "connect"), (0, "announce a"), (1, "stop"), (1, "?")], vec![0]),
        ];
        for (case, script, expected) in cases {
            assert_eq!(waits(&script), expected, "{case}");
        }
    }

    #[test]
    fn a_connection_that_breaks_again_and_again_does_not_hold_alerts_for_ever() {
        let breaking = [
            (0, "connect"),
            (4, "connect"),
            (9, "connect"),
            (13, "?"),
            (13, "connect"),
            (13, "announce a"),
            (13, "?"),
        ];
        assert_eq!(waits(&breaking), [11, 0]);
        let session =
            [(20, "a is out"), (20, "?"), (27, "?"), (28, "connect"), (28, "?"), (50, "connect"), (50, "?")];
        assert_eq!(waits(&[&breaking[..], &session].concat()), [11, 0, 0, 0, 15, 15], "it lasted for 15 s");
    }
}
