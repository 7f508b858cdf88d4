//! Sends messages over one connection to the broker, and matches the broker's answers to them.
//!
//! It never reconnects. The MQTT library would, but drops unacknowledged messages silently when the broker has forgotten the
//! session; so a broken connection ends the session, and what was not acknowledged is still in the outbox.
//!
//! Two loops run side by side: the [`Pump`] polls the connection and never waits for room to send (with no room that would be a
//! deadlock); the [`Link`] sends. Of incoming messages only Home Assistant's birth message and last will are of interest: of
//! them only the newest state is kept, so they cannot block anything.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::timeout,
};

pub(super) use crate::mqtt::connection::Message;
use crate::{
    alert::home_assistant::{BIRTH, LAST_WILL},
    mqtt::{
        INFLIGHT, Options,
        connection::{self, Client, Connection, Event, Filter, PubAckReason, Received},
        failure::ConnectionFailure,
    },
};

/// Content types of messages.
pub(super) const JSON: &str = "application/json";
pub(super) const JPEG: &str = "image/jpeg";
pub(super) const TEXT: &str = "text/plain";

/// A broker that does not acknowledge a message within this time counts as gone. A picture of 1 MB needs 140 kbit/s for it.
const SILENCE: Duration = Duration::from_secs(60);
/// The packet identifier of messages that are not acknowledged.
const UNACKNOWLEDGED: u16 = 0;
/// More than the headers and properties of any of our messages, in bytes.
const HEADERS: usize = 64;

/// The sending side.
pub(super) struct Link {
    client: Client,
    waiters: Waiters,
    room: Arc<Semaphore>,
    /// For messages that are not acknowledged: one at a time.
    best_effort: Arc<Semaphore>,
    broker: watch::Receiver<Option<Broker>>,
    home_assistant: watch::Receiver<HomeAssistantStatus>,
}

/// The side that owns the connection; it must run as long as the link is used.
pub(super) struct Pump {
    connection: Connection,
    waiters: Waiters,
    unacknowledged: HashMap<u16, Waiter>,
    best_effort: Arc<Semaphore>,
    broker: watch::Sender<Option<Broker>>,
    home_assistant: watch::Sender<HomeAssistantStatus>,
}

/// The status that Home Assistant published in this session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HomeAssistantStatus {
    /// How often it published its birth message.
    pub births: u64,
    /// Its last will was published, and no birth message since.
    pub gone: bool,
}

/// Messages that have no packet identifier yet, in the order in which they were sent.
type Waiters = Arc<Mutex<VecDeque<Waiter>>>;

/// A message that is to be acknowledged.
struct Waiter {
    reply: oneshot::Sender<PubAckReason>,
    /// Bounds what is in flight; released when the broker has answered.
    _room: OwnedSemaphorePermit,
}

/// What the broker said about itself when it accepted the connection.
#[derive(Debug, Clone, Copy)]
struct Broker {
    max_packet: Option<u32>,
}

/// The answer to a message, once it comes.
pub(super) struct Receipt {
    answer: Result<oneshot::Receiver<PubAckReason>, Refusal>,
}

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// The connection could not be made, or broke.
    #[error(transparent)]
    Broker(#[from] ConnectionFailure),
    /// The broker did not answer.
    #[error("the broker has not acknowledged a message for {} s", SILENCE.as_secs())]
    Silence,
    /// The grace period after the stop signal is over.
    #[error("there is no time left")]
    OutOfTime,
}

/// Why the broker does not accept a message; it is still connected and accepts others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Its access rules forbid it.
    #[error("the broker does not allow us to publish there")]
    NotAuthorized,
    /// The packet is larger than the broker's limit. It was not sent.
    #[error("{size} bytes are more than the broker takes in one packet ({limit})")]
    TooLarge {
        /// Of the packet, in bytes.
        size: usize,
        /// The broker's, in bytes.
        limit: u32,
    },
    /// The topic is invalid.
    #[error("this is no topic that can be published to")]
    Topic,
    /// Our quota at the broker is used up.
    #[error("we have used up what the broker allows us (its quota)")]
    Quota,
    /// Any other reason.
    #[error("the broker answers {0}")]
    Other(String),
}

impl Refusal {
    /// What to do about it.
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
pub(super) fn open(options: Options) -> (Link, Pump) {
    // Three more than may be in flight, for the subscription, a best-effort message, and the disconnect: so the library always
    // has room.
    let (client, connection) = connection::open(options, usize::from(INFLIGHT) + 3);
    let waiters = Waiters::default();
    let (accepted, broker) = watch::channel(None);
    let room = Arc::new(Semaphore::new(usize::from(INFLIGHT)));
    let best_effort = Arc::new(Semaphore::new(1));
    let (publishes, home_assistant) = watch::channel(HomeAssistantStatus::default());
    let link = Link {
        client,
        waiters: Arc::clone(&waiters),
        room,
        best_effort: Arc::clone(&best_effort),
        broker,
        home_assistant,
    };
    let pump = Pump {
        connection,
        waiters,
        unacknowledged: HashMap::new(),
        best_effort,
        broker: accepted,
        home_assistant: publishes,
    };
    (link, pump)
}

impl Link {
    /// Waits until the broker has accepted the connection.
    pub async fn connected(&self) {
        if self.broker.clone().wait_for(Option::is_some).await.is_err() {
            // The pump has ended, and returns the reason itself.
            std::future::pending::<()>().await;
        }
    }

    /// Sends a message, at least once, and waits until the broker has acknowledged or refused it.
    pub async fn deliver(
        &self,
        message: Message<'_>,
        payload: Vec<u8>,
    ) -> Result<Result<(), Refusal>, Interrupted> {
        self.send(message, payload).await?.answer().await
    }

    /// Sends a message, at least once. Waits for room only.
    pub async fn send(&self, message: Message<'_>, payload: Vec<u8>) -> Result<Receipt, Interrupted> {
        if let Err(refusal) = self.fits(message.topic.len() + payload.len() + HEADERS) {
            return Ok(Receipt { answer: Err(refusal) });
        }
        let room = timeout(SILENCE, Arc::clone(&self.room).acquire_owned())
            .await
            .map_err(|_| Interrupted::Silence)?
            .expect("the semaphore is never closed");
        // No await below: the waiters and what is sent must stay in the same order.
        let (reply, answer) = oneshot::channel();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push_back(Waiter { reply, _room: room });
        if self.client.publish(message, payload).is_err() {
            // There is room, so the cause is a topic with a wildcard.
            waiters.pop_back();
            return Ok(Receipt { answer: Err(Refusal::Topic) });
        }
        Ok(Receipt { answer: Ok(answer) })
    }

    /// Sends a message at most once, and only if there is room right now. Returns whether it was sent.
    pub fn offer(&self, topic: &str, payload: Vec<u8>) -> bool {
        if self.fits(topic.len() + payload.len() + HEADERS).is_err() {
            return false;
        }
        let Ok(room) = self.best_effort.try_acquire() else { return false };
        let sent = self.client.offer(topic, payload).is_ok();
        if sent {
            // The pump releases it.
            room.forget();
        }
        sent
    }

    /// Subscribes to `topic` and follows what Home Assistant publishes there. Call it once a session, and only while no message
    /// is unacknowledged: the library takes packet identifiers from one small range, and one that is used for
    /// something else lets the newest message collide with the oldest.
    pub fn home_assistant(&self, topic: &str) -> watch::Receiver<HomeAssistantStatus> {
        // A retained message is of no use: everything is announced at the start of a session anyway.
        let filter = Filter { path: topic.to_owned(), at_least_once: false, retained: false };
        // Fails only if the pump has ended.
        let _ = self.client.subscribe(&[filter]);
        self.home_assistant.clone()
    }

    /// Disconnects, so that the broker does not publish the last will. The pump ends then.
    pub async fn disconnect(&self) {
        // Fails only if the pump has ended.
        if self.client.disconnect().is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// How many bytes a message to `topic` may have, if the broker has a limit.
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
    /// Waits until the broker has acknowledged or refused the message.
    pub async fn answer(self) -> Result<Result<(), Refusal>, Interrupted> {
        let answer = match self.answer {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Ok(Ok(reason)) = timeout(SILENCE, answer).await else { return Err(Interrupted::Silence) };
        Ok(match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            PubAckReason::NotAuthorized => Err(Refusal::NotAuthorized),
            PubAckReason::TopicNameInvalid => Err(Refusal::Topic),
            PubAckReason::QuotaExceeded => Err(Refusal::Quota),
            reason => Err(Refusal::Other(format!("{reason:?}"))),
        })
    }
}

impl Pump {
    /// Connects and handles packets until the connection breaks or, with `Ok`, our disconnect is sent.
    pub async fn run(mut self) -> Result<(), ConnectionFailure> {
        loop {
            match self.connection.poll().await? {
                Event::Connected { max_packet } => {
                    if let Some(lacks) = self.connection.lacks() {
                        tracing::error!("{lacks}");
                    }
                    self.broker.send_replace(Some(Broker { max_packet }));
                }
                Event::Sent(UNACKNOWLEDGED) => self.best_effort.add_permits(1),
                Event::Sent(id) => self.sent(id),
                Event::Acknowledged(id, reason) => self.acknowledged(id, reason),
                Event::Received(message) => self.received(&message),
                Event::Subscribed(refusals) => subscribed(&refusals),
                Event::Disconnected => return Ok(()),
                Event::Other => {}
            }
        }
    }

    /// The library assigns identifiers in the order of the requests.
    fn sent(&mut self, id: u16) {
        let waiter = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(waiter) = waiter {
            self.unacknowledged.insert(id, waiter);
        }
    }

    fn acknowledged(&mut self, id: u16, reason: PubAckReason) {
        if let Some(waiter) = self.unacknowledged.remove(&id) {
            // Fails if the receipt was dropped.
            let _ = waiter.reply.send(reason);
        }
    }

    fn received(&self, message: &Received) {
        // A retained message is an old one; a broker with MQTT 3.1.1 sends it all the same.
        if message.retain {
            return;
        }
        if message.payload == BIRTH.as_bytes() {
            self.home_assistant.send_modify(|status| {
                *status = HomeAssistantStatus { births: status.births + 1, gone: false };
            });
        } else if message.payload == LAST_WILL.as_bytes() {
            self.home_assistant.send_modify(|status| status.gone = true);
        }
    }
}

fn subscribed(refusals: &[Option<String>]) {
    if let Some(why) = refusals.iter().flatten().next() {
        tracing::warn!(
            why,
            "the broker refuses the subscription to Home Assistant's birth message: let this user read it in the broker's access \
             rules, or alerts wait for 15 s after each connect, and those of a restart of Home Assistant do not reach it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::fake::{self, Peer, Request};

    fn message(topic: &str) -> Message<'_> {
        Message { topic, retain: false, kind: TEXT, expiry: None }
    }

    /// A link whose broker accepts packets of `max_packet` bytes, and the broker's end of it.
    async fn connected(max_packet: Option<u32>) -> (Link, Peer) {
        let (options, mut broker) = fake::broker();
        let (link, pump) = open(options);
        tokio::spawn(pump.run());
        let peer = broker.accept().await;
        peer.send(Event::Connected { max_packet }).await;
        link.connected().await;
        (link, peer)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_reach_their_messages_in_any_order() {
        let (link, mut peer) = connected(None).await;
        let mut receipts = Vec::new();
        for topic in ["a", "b", "c"] {
            receipts.push(link.send(message(topic), topic.into()).await.unwrap());
        }
        let mut ids = Vec::new();
        for expected in ["a", "b", "c"] {
            let (topic, id) = peer.published().await;
            assert_eq!(topic, expected);
            ids.push(id);
        }
        let reasons = [PubAckReason::Success, PubAckReason::QuotaExceeded, PubAckReason::NotAuthorized];
        for at in [2, 0, 1] {
            peer.send(Event::Acknowledged(ids[at], reasons[at])).await;
        }
        let mut answers = Vec::new();
        for receipt in receipts {
            answers.push(receipt.answer().await.unwrap());
        }
        assert_eq!(answers, [Ok(()), Err(Refusal::Quota), Err(Refusal::NotAuthorized)]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_inflight_limit_is_sent_without_an_answer() {
        let (link, mut peer) = connected(None).await;
        let mut receipts = Vec::new();
        for _ in 0..INFLIGHT {
            receipts.push(link.send(message("t"), vec![]).await.unwrap());
        }
        let more = link.send(message("more"), vec![]);
        tokio::pin!(more);
        assert!(timeout(Duration::from_secs(59), &mut more).await.is_err(), "there is no room");
        let (_, id) = peer.published().await;
        peer.send(Event::Acknowledged(id, PubAckReason::Success)).await;
        assert!(timeout(Duration::from_millis(1), more).await.unwrap().is_ok(), "an answer makes room");
        let another = link.send(message("another"), vec![]).await;
        assert!(matches!(another, Err(Interrupted::Silence)), "after a minute without room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_answer_for_a_minute_is_gone() {
        let (link, mut peer) = connected(None).await;
        let began = tokio::time::Instant::now();
        let answer = link.deliver(message("t"), vec![]).await;
        assert!(matches!(answer, Err(Interrupted::Silence)));
        assert!((SILENCE..SILENCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        peer.published().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_or_has_no_valid_topic_is_refused_without_being_sent() {
        let (link, mut peer) = connected(Some(1000)).await;
        assert_eq!(link.room("topic"), Some(1000 - 5 - HEADERS));
        let answer = link.deliver(message("topic"), vec![0; 932]).await.unwrap();
        assert_eq!(answer, Err(Refusal::TooLarge { size: 1001, limit: 1000 }));
        assert!(!link.offer("topic", vec![0; 932]));
        assert_eq!(link.deliver(message("a/+"), vec![]).await.unwrap(), Err(Refusal::Topic));
        let receipt = link.send(message("topic"), vec![0; 931]).await.unwrap();
        let (topic, id) = peer.published().await;
        assert_eq!(topic, "topic", "the first that was sent");
        peer.send(Event::Acknowledged(id, PubAckReason::NoMatchingSubscribers)).await;
        assert_eq!(receipt.answer().await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_at_a_time_is_sent_without_acknowledgement() {
        let (link, mut peer) = connected(None).await;
        assert!(link.offer("scores", b"1".to_vec()));
        assert!(!link.offer("scores", b"2".to_vec()), "the first is not sent yet");
        assert!(matches!(peer.next().await, Some(Request::Offer(topic)) if topic == "scores"));
        tokio::task::yield_now().await;
        assert!(link.offer("scores", b"3".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn births_are_counted_unless_they_are_retained_or_something_else() {
        let (link, mut peer) = connected(None).await;
        let mut status_of = link.home_assistant("homeassistant/status");
        assert!(
            matches!(peer.next().await, Some(Request::Subscribe(topic)) if topic == "homeassistant/status")
        );
        let status = |payload: &str, retain| {
            let (topic, payload) = (b"homeassistant/status".to_vec(), payload.into());
            Event::Received(Received { topic, payload, retain, id: None, reply_to: None })
        };
        for (payload, retain) in [("online", true), ("offline", false), ("online", false), ("other", false)] {
            peer.send(status(payload, retain)).await;
        }
        let born = |status: &HomeAssistantStatus| *status == HomeAssistantStatus { births: 1, gone: false };
        status_of.wait_for(born).await.unwrap();
        peer.send(status("offline", true)).await;
        peer.send(status("offline", false)).await;
        status_of.changed().await.unwrap();
        assert_eq!(*status_of.borrow(), HomeAssistantStatus { births: 1, gone: true });
    }

    #[tokio::test(start_paused = true)]
    async fn the_pump_ends_with_the_disconnect_or_the_connection() {
        let (options, mut broker) = fake::broker();
        let (link, pump) = open(options.clone());
        let running = tokio::spawn(pump.run());
        let mut peer = broker.accept().await;
        peer.send(Event::Connected { max_packet: None }).await;
        link.connected().await;
        tokio::select! {
            () = link.disconnect() => panic!("the pump ends first"),
            ended = running => assert!(ended.unwrap().is_ok()),
        }
        assert!(matches!(peer.next().await, Some(Request::Disconnect)));

        let (link, pump) = open(options);
        let running = tokio::spawn(pump.run());
        drop(broker.accept().await);
        assert!(running.await.unwrap().is_err());
        assert!(timeout(Duration::from_secs(600), link.connected()).await.is_err(), "the pump says why");
    }
}
