//! Publishes the outbox and the board to the broker, however long that takes.
//!
//! An alert is deleted from the outbox when the broker has acknowledged it, and not before; so it may be published twice, with
//! the same `id`, and is never lost. Of a value on the board only the newest counts.
//!
//! [`Publisher::run`] connects again after a failure. A session is straight-line code: connect, publish the board, publish
//! `online`, deliver the outbox, and at the end publish `offline`. The board is first: who sees `online` must not find the
//! status that a source had before the service was killed.
//!
//! Where several events are awaited, `biased` gives them an order: the same events always lead to the same session, so that the
//! simulation in `daemon/simulation` can repeat one.

mod counts;
mod delivery;
mod discovery;
mod link;
mod scores;
#[cfg(test)]
mod tests;
mod window;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::{counts::Counts, discovery::Announcer, scores::ScoreSender};
use self::{
    counts::add,
    delivery::{Delivery, Step},
    discovery::{Clears, Discovery},
    link::{Interrupted, JSON, Link, Message, Refusal, TEXT},
    scores::ScoreReceiver,
};
use super::{
    OFFLINE, ONLINE, Topics,
    board::{self, Board, Values},
    instant,
    outage::{Connected, Outage},
    outbox::{Outbox, Sink},
};
use crate::{
    backoff::{Backoff, LONGEST_DELAY, jitter},
    config::Mqtt,
    mqtt::{
        self,
        failure::{Explanation, explain},
    },
};

/// The board waits at most this long while one alert follows another.
const BOARD_LAG: Duration = Duration::from_secs(1);
/// Up to this number, values of the board are sent one at a time; more of them all at once.
const FEW: usize = 8;
/// The part of the grace period that is kept for `offline` and the disconnect.
const RESERVE: Duration = Duration::from_secs(1);

/// Publishes alerts and the board to one broker.
pub struct Publisher {
    username: Option<String>,
    url: String,
    options: mqtt::Options,
    status: String,
    /// The topic of heartbeats, and the time between two of them.
    heartbeat: (String, Option<Duration>),
    delivery: Delivery,
    values: watch::Receiver<Values>,
    /// Keeps `values` open.
    _board: Board,
    discovery: Option<Discovery>,
    scores: ScoreReceiver,
    counts: Arc<Counts>,
    outage: Outage,
}

/// Which values of the board are published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BoardPart {
    /// Those that are not empty.
    Values,
    /// All of them. An empty one makes the broker delete its retained value.
    All,
}

/// What there is to publish besides alerts.
#[derive(Default)]
struct Rest {
    /// There is more to publish at once.
    more: bool,
    /// There is more to publish at this time.
    wake_at: Option<Instant>,
}

/// How a publisher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Alerts that wait on disk for the next start.
    pub waiting: u64,
    /// Whether we published `offline` ourselves; otherwise the broker publishes the last will when it notices.
    pub said: bool,
}

impl Publisher {
    /// A publisher that is not connected yet.
    ///
    /// # Errors
    /// The files for TLS cannot be used.
    pub fn new(broker: &Mqtt, outbox: Arc<Outbox>, board: &Board) -> Result<Self, mqtt::Error> {
        let topics = Topics::new(&broker.prefix);
        let status = topics.status();
        let counts = Arc::default();
        Ok(Self {
            username: broker.username.clone(),
            url: mqtt::url(broker),
            options: mqtt::options(broker, &status, OFFLINE)?,
            status,
            heartbeat: (topics.heartbeat(), broker.connection.heartbeat),
            delivery: Delivery::new(broker, outbox, Arc::clone(&counts)),
            values: board.subscribe(),
            _board: board.clone(),
            discovery: None,
            scores: ScoreReceiver::new(&counts),
            counts,
            outage: Outage::default(),
        })
    }

    /// Also announces devices to Home Assistant; what was announced is remembered in `state_dir`.
    #[must_use]
    pub fn announcing(mut self, announcer: &Announcer, state_dir: &Path) -> Self {
        self.discovery = Some(Discovery::new(announcer, state_dir));
        self
    }

    /// Connects with these options instead of those of the configuration.
    #[cfg(test)]
    pub(crate) fn over(mut self, options: mqtt::Options) -> Self {
        self.options = options;
        self
    }

    /// Where scores are sent to be published.
    #[must_use]
    pub fn scores(&self) -> ScoreSender {
        self.scores.sender()
    }

    /// What was done so far, also while it runs.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Publishes until `stop`; then what is left, and `offline`, within `grace`. After `stop` nothing may write to the
    /// outbox or the board any more.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> Farewell {
        let said = self.publish(&stop, grace).await;
        let waiting = self.delivery.outbox.waiting();
        let scores_dropped = self.counts.scores_dropped.load(Ordering::Relaxed);
        if scores_dropped > 0 {
            tracing::info!(
                scores_dropped,
                "scores were dropped while alerts went first or the broker was not connected"
            );
        }
        if waiting > 0 && self.delivery.outbox.status().borrow().is_on_disk() {
            tracing::warn!(broker = self.url, waiting, "alerts wait on disk and are sent at the next start");
        } else if waiting > 0 {
            tracing::error!(
                broker = self.url,
                waiting,
                "alerts are lost if they are only in memory: they could be neither sent nor written to disk"
            );
        }
        Farewell { waiting, said }
    }

    /// Connects again and again. Returns whether the last session ended with `offline`.
    async fn publish(&mut self, stop: &CancellationToken, grace: Duration) -> bool {
        let mut backoff = Backoff::default();
        loop {
            let (began, before) = (Instant::now(), self.counts.published.load(Ordering::Relaxed));
            let ended = self.session(stop, grace).await;
            self.delivery.delete_acknowledged().await;
            match ended {
                Ok(()) => return true,
                Err(_) if stop.is_cancelled() => return false,
                Err(Interrupted::Broker(error)) => {
                    self.disconnected(&explain(&error, self.username.as_deref()))
                }
                Err(other) => self.disconnected(&Explanation { login: false, text: other.to_string() }),
            }
            // A broker that accepted alerts need not be spared.
            if began.elapsed() > LONGEST_DELAY || self.counts.published.load(Ordering::Relaxed) > before {
                backoff.reset();
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = sleep(backoff.failed(jitter())) => {}
            }
        }
    }

    /// One connection, from beginning to end. A new client each time: nothing is left over from an old one.
    async fn session(&mut self, stop: &CancellationToken, grace: Duration) -> Result<(), Interrupted> {
        let (link, pump) = link::open(self.options.clone());
        tokio::select! {
            biased;
            ended = pump.run() => Ok(ended?),
            ended = self.talk(&link, stop, grace) => ended,
            // The broker publishes the last will.
            () = async { stop.cancelled().await; sleep(grace).await } => Err(Interrupted::OutOfTime),
        }
    }

    async fn talk(
        &mut self,
        link: &Link,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        tokio::select! {
            biased;
            () = link.connected() => {}
            // The broker has not been connected until now: it is not waited for.
            () = stop.cancelled(), if self.outage.is_on() => return Err(Interrupted::OutOfTime),
        }
        match &mut self.discovery {
            Some(discovery) => discovery.start_over(link, self.delivery.readiness()),
            None => self.delivery.readiness().connected(false, Instant::now().into_std()),
        }
        let mut published = Values::new();
        self.publish_board(link, &mut published, BoardPart::Values).await?;
        self.publish_status(link, ONLINE).await?;
        self.connected().await;
        self.serve(link, published, stop, grace).await?;
        self.publish_status(link, OFFLINE).await?;
        link.disconnect().await;
        Ok(())
    }

    async fn publish_status(&self, link: &Link, status: &str) -> Result<(), Interrupted> {
        let message = Message { topic: &self.status, retain: true, kind: TEXT, expiry: None };
        if let Err(refusal) = link.deliver(message, status.into()).await? {
            self.warn_refused(&self.status, &refusal);
        }
        Ok(())
    }

    /// Publishes what is there and what follows: alerts first, then the board, then devices for Home Assistant, then scores.
    /// Returns after `stop`, when nothing is left or the time is up.
    async fn serve(
        &mut self,
        link: &Link,
        mut published: Values,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        let (mut stop_at, mut board_published, mut rest) = (None, Instant::now(), Rest::default());
        loop {
            // Before the steps below: they see everything that was written before `stop`.
            if stop.is_cancelled() {
                stop_at.get_or_insert_with(|| Instant::now() + grace.saturating_sub(RESERVE));
                self.delivery.readiness().release();
            } else if let Some(discovery) = &mut self.discovery {
                discovery.follow(self.delivery.readiness());
            }
            let step = self.delivery.step(link).await?;
            let more = step == Step::More && stop_at.is_none_or(|stop_at| Instant::now() < stop_at);
            // Alerts first. Of the board only the newest values count, so it waits for a pause, but not for long.
            if !more || board_published.elapsed() > BOARD_LAG {
                rest = self.publish_rest(link, &mut published, stop_at.is_some()).await?;
                board_published = Instant::now();
            }
            if more || rest.more {
                continue;
            }
            if stop_at.is_some() {
                return self.delivery.finish(link).await;
            }
            let Step::Idle(wake_at) = step else { continue };
            let wake_at = wake_at.into_iter().chain(rest.wake_at).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.delivery.outbox.appended(Sink::Mqtt, wake_at) => {}
                _ = self.values.changed() => {}
                () = changed(self.discovery.as_mut()) => {}
                message = self.scores.next() => self.scores.offer(link, message),
            }
        }
    }

    /// Publishes what changed on the board, and the next device for Home Assistant unless we are `stopping`.
    async fn publish_rest(
        &mut self,
        link: &Link,
        published: &mut Values,
        stopping: bool,
    ) -> Result<Rest, Interrupted> {
        self.publish_heartbeat(link).await?;
        self.publish_board(link, published, BoardPart::Values).await?;
        let (mut rest, mut clears) = (Rest::default(), Clears::Now);
        if let Some(discovery) = self.discovery.as_mut().filter(|_| !stopping) {
            rest.more = discovery.send_next(link, &self.url, self.delivery.readiness()).await?;
            clears = discovery.clears();
        }
        match clears {
            Clears::Now => self.publish_board(link, published, BoardPart::All).await?,
            Clears::At(at) => rest.wake_at = Some(at),
            Clears::Later => {}
        }
        Ok(rest)
    }

    /// Publishes the heartbeat, if there is one, once every alert that was raised before it was sent. It has taken the path of the alerts
    /// then: the judge's thread, the outbox, and this connection. It is not retained, so that a subscriber that receives one
    /// knows that it was sent just now.
    async fn publish_heartbeat(&mut self, link: &Link) -> Result<(), Interrupted> {
        let Some(heartbeat) = self.delivery.take_heartbeat() else { return Ok(()) };
        let (topic, every) = &self.heartbeat;
        let seconds = every.and_then(|every| u32::try_from(every.as_secs()).ok());
        let outbox = if self.delivery.outbox.status().borrow().is_on_disk() { "disk" } else { "memory" };
        let json = json!({
            "time": instant(heartbeat.time),
            "every_s": seconds,
            "waiting": heartbeat.waiting,
            "outbox": outbox,
        });
        // A broker that keeps it for a subscriber that is away must not deliver it as a fresh one.
        let message = Message { topic, retain: false, kind: JSON, expiry: seconds };
        match link.deliver(message, json.to_string().into_bytes()).await? {
            Ok(()) => add(&self.counts.heartbeats),
            Err(refusal) => self.warn_refused(topic, &refusal),
        }
        Ok(())
    }

    /// Makes the broker's retained values equal to this part of the board: everything at first, later what changed.
    async fn publish_board(
        &mut self,
        link: &Link,
        published: &mut Values,
        part: BoardPart,
    ) -> Result<(), Interrupted> {
        let changed = {
            let values = self.values.borrow_and_update();
            // What was taken off the board counts as changed if it comes back.
            board::forget_removed(&values, published);
            let changed = board::changed(&values, published).into_iter();
            changed.filter(|(_, payload)| part == BoardPart::All || !payload.is_empty()).collect::<Vec<_>>()
        };
        // Of two answers to two messages, a broker with Nagle's algorithm holds back the second until our system
        // acknowledges the first, which it delays by 40 ms: longer than a few take one at a time.
        let at_once = if changed.len() <= FEW { 1 } else { changed.len() };
        let mut refused = None;
        for values in changed.chunks(at_once) {
            let mut receipts = Vec::with_capacity(values.len());
            for (topic, payload) in values {
                let kind = if payload.starts_with('{') { JSON } else { TEXT };
                let message = Message { topic, retain: true, kind, expiry: None };
                receipts.push((topic, link.send(message, payload.as_bytes().to_vec()).await?));
                published.insert(topic.clone(), Arc::clone(payload));
            }
            for (topic, receipt) in receipts {
                if let Err(refusal) = receipt.answer().await? {
                    refused.get_or_insert((topic.clone(), refusal));
                }
            }
        }
        // Sent again when the value changes, and in the next session. One warning is logged for all.
        if let Some((topic, refusal)) = refused {
            self.warn_refused(&topic, &refusal);
        }
        Ok(())
    }

    async fn connected(&mut self) {
        self.set_connected(true);
        self.delivery.outbox.works(Sink::Mqtt);
        self.delivery.start().await;
        self.scores.clear();
        let (broker, waiting) = (&self.url, self.delivery.outbox.waiting());
        match self.outage.over(Instant::now().into_std()) {
            Connected::First => tracing::info!(broker, waiting, "connected to the broker"),
            Connected::Back(away) => {
                let away_s = away.as_secs();
                tracing::info!(
                    broker,
                    waiting,
                    away_s,
                    "the broker is back; the alerts that waited are sent now"
                );
            }
            Connected::Silent => {}
        }
    }

    fn disconnected(&mut self, explanation: &Explanation) {
        self.set_connected(false);
        self.delivery.outbox.failed(Sink::Mqtt, &explanation.text);
        if let Some(away) = self.outage.failed(Instant::now().into_std(), explanation) {
            let (waiting, away_s, why) = (self.delivery.outbox.waiting(), away.as_secs(), &explanation.text);
            let broker = &self.url;
            if self.delivery.outbox.status().borrow().is_on_disk() {
                tracing::warn!(broker, why, waiting, away_s, "not connected; alerts wait on disk");
            } else {
                tracing::warn!(broker, why, waiting, away_s, "not connected; alerts wait in memory only");
            }
        }
    }

    fn set_connected(&self, connected: bool) {
        if self.counts.connected.swap(connected, Ordering::Relaxed) != connected {
            self.counts.connection_changed.notify_one();
        }
    }

    fn warn_refused(&self, topic: &str, refusal: &Refusal) {
        tracing::warn!(broker = self.url, topic, why = %refusal, "the broker refuses a value");
    }
}

async fn changed(discovery: Option<&mut Discovery>) {
    match discovery {
        Some(discovery) => discovery.changed().await,
        None => std::future::pending().await,
    }
}
