//! The broker of a simulation, with one connection at a time.
//!
//! It handles messages in the order in which they were sent, as TCP delivers them. What it forbids changes only while nothing is
//! unanswered: a message that is forbidden between two that are accepted would be overtaken by the second, which no sender that has
//! several messages in flight can prevent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{schedule::Broker as Answers, world::World};
use crate::{
    faults::Random,
    mqtt::{
        connection::{Event, PubAckReason, Received},
        fake::{Broker, Peer, Request},
    },
};

/// What the broker knows, and how it answers.
pub(super) struct BrokerState {
    pub(super) answers: Answers,
    /// Topics to which no one may publish; the first is in force, the second will be.
    denied: BTreeSet<String>,
    pub(super) to_deny: BTreeSet<String>,
    quota_used_up: bool,
    pub(super) quota_to_be_used_up: bool,
    pub(super) retained: BTreeMap<String, Vec<u8>>,
    /// How often the service tried to connect.
    connects: u64,
    /// The connection with this number is refused; also all later ones.
    pub(super) refuses: Option<(u64, bool)>,
    random: Random,
}

/// What happens to a message.
enum Fate {
    /// The connection breaks before the broker has it.
    Lost,
    /// The connection breaks before the broker has acknowledged it.
    Unacknowledged,
    /// The broker has it and never answers.
    Silence,
    /// The broker answers after this time.
    Answered(Duration),
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The service disconnected.
    Disconnected,
    /// It broke.
    Broken,
}

/// One connection.
struct Session<'w> {
    world: &'w Arc<World>,
    peer: Peer,
    /// What is to be sent, and when.
    answers: BTreeMap<(Instant, u64), Event>,
    /// Counts messages.
    count: u64,
    /// Messages without an answer.
    silent: bool,
    last: Instant,
}

impl BrokerState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            answers: Answers::FINE,
            denied: BTreeSet::new(),
            to_deny: BTreeSet::new(),
            quota_used_up: false,
            quota_to_be_used_up: false,
            retained: BTreeMap::new(),
            connects: 0,
            refuses: None,
            random: Random::new(seed, 4),
        }
    }

    /// It works and accepts everything. Returns how often the service tried to connect.
    pub(super) fn heal(&mut self) -> u64 {
        (self.answers, self.quota_to_be_used_up, self.refuses) = (Answers::FINE, false, None);
        self.to_deny.clear();
        self.connects
    }

    /// Whether the next connection is accepted, and the time until that.
    fn connect(&mut self) -> (bool, Duration) {
        self.connects += 1;
        let refuses = self
            .refuses
            .is_some_and(|(nth, permanent)| self.connects == nth || permanent && self.connects > nth);
        let delay = self.random.below(20);
        (self.answers.up && !refuses, Duration::from_millis(delay))
    }

    fn fate(&mut self) -> Fate {
        let Answers { loses, breaks, silent, slow, .. } = self.answers;
        let chance = self.random.below(100);
        if chance < loses {
            Fate::Lost
        } else if chance < loses + breaks {
            Fate::Unacknowledged
        } else if chance < loses + breaks + silent {
            Fate::Silence
        } else {
            Fate::Answered(Duration::from_millis(self.random.below(slow + 1)))
        }
    }

    fn refusal(&self, topic: &str) -> Option<PubAckReason> {
        if is_alert(topic) && self.quota_used_up {
            return Some(PubAckReason::QuotaExceeded);
        }
        self.denied.contains(topic).then_some(PubAckReason::NotAuthorized)
    }

    /// New access rules and quotas are in force.
    fn apply_rules(&mut self) {
        self.denied.clone_from(&self.to_deny);
        self.quota_used_up = self.quota_to_be_used_up;
    }

    fn retain(&mut self, topic: &str, payload: Vec<u8>) {
        if payload.is_empty() {
            self.retained.remove(topic);
        } else {
            self.retained.insert(topic.to_owned(), payload);
        }
    }
}

fn is_alert(topic: &str) -> bool {
    topic.ends_with("/alert")
}

/// Accepts one connection after the other, until the service ends.
pub(super) async fn serve(world: Arc<World>, mut broker: Broker) {
    while let Some(peer) = broker.next().await {
        let (accepted, delay) = world.broker().connect();
        sleep(delay).await;
        if !accepted {
            world.trace("the broker refuses the connection");
            continue;
        }
        world.trace("the broker accepts the connection");
        let (answers, last) = (BTreeMap::new(), Instant::now());
        let session = Session { world: &world, peer, answers, count: 0, silent: false, last };
        if session.run().await == Ended::Broken {
            world.trace("the connection is broken");
            // The last will.
            world.broker().retain(&world.status_topic(), b"offline".to_vec());
        }
    }
}

impl Session<'_> {
    async fn run(mut self) -> Ended {
        let mut breaks = self.world.breaks.subscribe();
        self.world.broker().apply_rules();
        self.peer.send(Event::Connected { max_packet: None }).await;
        loop {
            let next = self.answers.first_key_value().map(|((at, _), _)| *at);
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = breaks.changed() => return Ended::Broken,
                () = due => self.answer().await,
                request = self.peer.next() => match request {
                    Some(Request::Publish { topic, payload, retain, id }) => {
                        if !self.published(&topic, payload, retain, id) {
                            return Ended::Broken;
                        }
                    }
                    Some(Request::Subscribe(topic)) => self.subscribed(topic),
                    Some(Request::Disconnect) => return Ended::Disconnected,
                    Some(Request::Offer(_) | Request::Acknowledge(_)) => {}
                    None => return Ended::Broken,
                },
            }
        }
    }

    /// Sends the next answer.
    async fn answer(&mut self) {
        if let Some((_, event)) = self.answers.pop_first() {
            self.peer.send(event).await;
        }
        if self.answers.is_empty() && !self.silent {
            self.world.broker().apply_rules();
        }
    }

    /// A message arrived. Returns whether the connection still works.
    fn published(&mut self, topic: &str, payload: Vec<u8>, retain: bool, id: u16) -> bool {
        if self.answers.is_empty() && !self.silent {
            self.world.broker().apply_rules();
        }
        let (fate, refusal) = {
            let mut broker = self.world.broker();
            (broker.fate(), broker.refusal(topic))
        };
        // A service that died sends nothing any more.
        if matches!(fate, Fate::Lost) || self.world.disk.is_dead() {
            return false;
        }
        let accepted = refusal.is_none();
        if accepted {
            if is_alert(topic) {
                let what = self.world.ledger().received(topic, &payload);
                self.world.trace(format!("the broker receives {what}"));
            }
            if retain {
                self.world.broker().retain(topic, payload);
            }
        } else {
            self.world.trace(format!("the broker refuses a message to {topic}"));
        }
        match fate {
            Fate::Lost | Fate::Unacknowledged => return false,
            Fate::Silence => {
                self.world.trace("the broker does not acknowledge a message");
                self.silent = true;
            }
            Fate::Answered(delay) => {
                let reason = refusal.unwrap_or(PubAckReason::Success);
                // Answers keep the order of their messages.
                self.last = self.last.max(Instant::now() + delay);
                self.at(self.last, Event::Acknowledged(id, reason));
            }
        }
        true
    }

    /// Home Assistant may publish its birth message.
    fn subscribed(&mut self, topic: String) {
        let (born, delay) = {
            let mut broker = self.world.broker();
            (broker.random.percent(50), broker.random.below(6_000))
        };
        if born {
            let birth = Received {
                topic: topic.into_bytes(),
                payload: b"online".to_vec(),
                retain: false,
                id: None,
                reply_to: None,
            };
            self.at(Instant::now() + Duration::from_millis(delay), Event::Received(birth));
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.answers.insert((at, self.count), event);
    }
}
