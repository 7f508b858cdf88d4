//! One session with the broker: from the first packet to the last, never beyond.
//!
//! It refuses to reconnect. The library would, but drops unacknowledged messages without a word when the broker has
//! forgotten the session; so a broken session ends, and what was not acknowledged is still in the outbox.
//!
//! Two loops run side by side: the [`Pump`] alone polls the connection and never waits for room to send (that is a
//! dead lock when there is none); the [`Link`] sends. What comes in is one word of Home Assistant's, which is counted and
//! not kept: it can hold up nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::timeout,
};

pub use crate::mqtt::connection::Message;
use crate::{
    alert::home_assistant::BIRTH,
    mqtt::{
        INFLIGHT, Options,
        connection::{self, Client, Connection, Event, Filter, PubAckReason, Received},
        trouble::Broken,
    },
};

/// A broker that does not acknowledge for so long is as good as gone. A picture of 1 MB passes 140 kbit/s in that time.
const SILENCE: Duration = Duration::from_secs(60);
/// The identifier of messages that nobody acknowledges.
const UNACKNOWLEDGED: u16 = 0;
/// More than the headers and properties of any of our messages.
const HEADERS: usize = 64;

/// The sending side.
pub struct Link {
    client: Client,
    waiters: Waiters,
    room: Arc<Semaphore>,
    /// For what nobody acknowledges, one at a time.
    aside: Arc<Semaphore>,
    broker: watch::Receiver<Option<Broker>>,
    births: watch::Receiver<u64>,
}

/// The side that owns the connection; it must run as long as the link is used.
pub struct Pump {
    connection: Connection,
    waiters: Waiters,
    unacknowledged: HashMap<u16, Waiter>,
    aside: Arc<Semaphore>,
    broker: watch::Sender<Option<Broker>>,
    births: watch::Sender<u64>,
}

/// Those who wait for an acknowledgement and whose message has no packet identifier yet, in the order sent.
type Waiters = Arc<Mutex<VecDeque<Waiter>>>;

struct Waiter {
    reply: oneshot::Sender<PubAckReason>,
    /// Bounds what is under way; free again when the broker has answered.
    _room: OwnedSemaphorePermit,
}

/// What the broker said of itself.
#[derive(Debug, Clone, Copy)]
struct Broker {
    max_packet: Option<u32>,
}

/// The broker's promise to answer.
pub struct Receipt {
    answer: Result<oneshot::Receiver<PubAckReason>, Refusal>,
}

/// The broker did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the broker has not acknowledged a message for {} s", SILENCE.as_secs())]
pub struct Silence;

/// Why the broker does not take a message; it is still connected and takes others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its access rules forbid it.
    #[error("the broker does not allow us to publish there")]
    NotAuthorized,
    /// It would have to break its own limit.
    #[error("{size} bytes are more than the broker takes in one packet ({limit})")]
    TooLarge {
        /// Of the packet.
        size: usize,
        /// The broker's.
        limit: u32,
    },
    /// No message may go there.
    #[error("this is no topic that can be published to")]
    Topic,
    /// It takes no more of us for now.
    #[error("we have used up what the broker allows us (its quota)")]
    Quota,
    /// Any other reason.
    #[error("the broker answers {0}")]
    Other(String),
}

impl Refusal {
    /// What can be done about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotAuthorized => "let this user write there in the broker's access rules",
            Self::TooLarge { .. } => "raise the broker's limit for the size of a packet",
            Self::Topic => "set mqtt.prefix to another",
            Self::Quota => "raise this user's quota at the broker, or wait until it is renewed",
            Self::Other(_) => "see the broker's log for why",
        }
    }
}

/// A link that is not connected yet, and the pump that will connect it.
pub fn open(options: Options) -> (Link, Pump) {
    // Three more than may be under way, for the subscription, what goes aside, and the goodbye: so there is always room
    // and nobody waits inside the library.
    let (client, connection) = connection::open(options, usize::from(INFLIGHT) + 3);
    let waiters = Waiters::default();
    let (told, broker) = watch::channel(None);
    let room = Arc::new(Semaphore::new(usize::from(INFLIGHT)));
    let aside = Arc::new(Semaphore::new(1));
    let (born, births) = watch::channel(0);
    let link =
        Link { client, waiters: Arc::clone(&waiters), room, aside: Arc::clone(&aside), broker, births };
    let pump =
        Pump { connection, waiters, unacknowledged: HashMap::new(), aside, broker: told, births: born };
    (link, pump)
}

impl Link {
    /// Waits until the broker has taken us in.
    pub async fn connected(&self) {
        if self.broker.clone().wait_for(Option::is_some).await.is_err() {
            // The pump has ended, and says why itself.
            std::future::pending::<()>().await;
        }
    }

    /// Sends a message, at least once, and waits until the broker has it or has refused it.
    pub async fn deliver(
        &self,
        message: Message<'_>,
        payload: Vec<u8>,
    ) -> Result<Result<(), Refusal>, Silence> {
        self.send(message, payload).await?.answer().await
    }

    /// Sends a message; the receipt tells what became of it.
    pub async fn send(&self, message: Message<'_>, payload: Vec<u8>) -> Result<Receipt, Silence> {
        if let Err(refusal) = self.fits(message.topic.len() + payload.len() + HEADERS) {
            return Ok(Receipt { answer: Err(refusal) });
        }
        let room = timeout(SILENCE, Arc::clone(&self.room).acquire_owned()).await.map_err(|_| Silence)?;
        let room = room.expect("the semaphore is never closed");
        // No await from here on: who waits and what is sent must never get out of step.
        let (reply, answer) = oneshot::channel();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push_back(Waiter { reply, _room: room });
        if self.client.publish(message, payload).is_err() {
            // There is room: only a topic with a wildcard in it is left.
            waiters.pop_back();
            return Ok(Receipt { answer: Err(Refusal::Topic) });
        }
        Ok(Receipt { answer: Ok(answer) })
    }

    /// Sends a message at most once, and only if there is room right now. Whether it was sent.
    pub fn offer(&self, topic: &str, payload: Vec<u8>) -> bool {
        if self.fits(topic.len() + payload.len() + HEADERS).is_err() {
            return false;
        }
        let Ok(room) = self.aside.try_acquire() else { return false };
        let sent = self.client.offer(topic, payload).is_ok();
        if sent {
            // The pump gives it back.
            room.forget();
        }
        sent
    }

    /// Asks for what is said at `topic` and counts each `online`. Once a session, and only while no message is without
    /// its acknowledgement: the library takes packet identifiers from one small circle, and one that is used for
    /// something else lets the newest message meet the oldest there.
    pub fn births(&self, topic: &str) -> watch::Receiver<u64> {
        // Retained ones are of no use: everything is told at the start of a session anyway.
        let filter = Filter { path: topic.to_owned(), at_least_once: false, retained: false };
        // Fails only if the pump has ended.
        let _ = self.client.subscribe(&[filter]);
        self.births.clone()
    }

    /// Tells the broker that we leave by intention, so that it keeps the last will to itself. The pump ends then.
    pub async fn disconnect(&self) {
        // Fails only if the pump has ended.
        if self.client.leave().is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// How many bytes a message to `topic` may have, if the broker says so.
    pub fn room(&self, topic: &str) -> Option<usize> {
        let limit = self.broker.borrow().and_then(|broker| broker.max_packet)?;
        Some((limit as usize).saturating_sub(topic.len() + HEADERS))
    }

    fn fits(&self, size: usize) -> Result<(), Refusal> {
        match self.broker.borrow().and_then(|broker| broker.max_packet) {
            Some(limit) if size > limit as usize => Err(Refusal::TooLarge { size, limit }),
            _ => Ok(()),
        }
    }
}

impl Receipt {
    /// Waits until the broker has the message or has refused it.
    pub async fn answer(self) -> Result<Result<(), Refusal>, Silence> {
        let answer = match self.answer {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match timeout(SILENCE, answer).await {
            Ok(Ok(PubAckReason::Success | PubAckReason::NoMatchingSubscribers)) => Ok(Ok(())),
            Ok(Ok(PubAckReason::NotAuthorized)) => Ok(Err(Refusal::NotAuthorized)),
            Ok(Ok(PubAckReason::TopicNameInvalid)) => Ok(Err(Refusal::Topic)),
            Ok(Ok(PubAckReason::QuotaExceeded)) => Ok(Err(Refusal::Quota)),
            Ok(Ok(reason)) => Ok(Err(Refusal::Other(format!("{reason:?}")))),
            Ok(Err(_)) | Err(_) => Err(Silence),
        }
    }
}

impl Pump {
    /// Connects and keeps the packets flowing, until the connection breaks or, with `Ok`, our goodbye is sent.
    pub async fn run(mut self) -> Result<(), Broken> {
        loop {
            match self.connection.poll().await? {
                Event::Connected { max_packet } => {
                    self.broker.send_replace(Some(Broker { max_packet }));
                }
                // The library gives identifiers in the order of the requests.
                Event::Sent(UNACKNOWLEDGED) => self.aside.add_permits(1),
                Event::Sent(id) => self.sent(id),
                Event::Acknowledged(id, reason) => self.acknowledged(id, reason),
                Event::Received(message) => self.heard(&message),
                Event::Subscribed(refusals) => subscribed(&refusals),
                Event::Left => return Ok(()),
                Event::Other => {}
            }
        }
    }

    fn sent(&mut self, id: u16) {
        let waiter = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(waiter) = waiter {
            self.unacknowledged.insert(id, waiter);
        }
    }

    fn heard(&self, message: &Received) {
        // What a broker kept is of earlier times; one that speaks MQTT 3.1.1 sends it all the same.
        if !message.retain && message.payload == BIRTH.as_bytes() {
            self.births.send_modify(|births| *births += 1);
        }
    }

    fn acknowledged(&mut self, id: u16, reason: PubAckReason) {
        if let Some(waiter) = self.unacknowledged.remove(&id) {
            // Whoever no longer wants to know is gone.
            let _ = waiter.reply.send(reason);
        }
    }
}

fn subscribed(refusals: &[Option<String>]) {
    if let Some(why) = refusals.iter().flatten().next() {
        tracing::warn!(
            why,
            "the broker does not let us hear that Home Assistant has started; it reads what is retained"
        );
    }
}
