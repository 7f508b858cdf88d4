//! The publisher: brings the outbox and the board to the broker, however long that takes.
//!
//! An alert leaves the outbox when the broker has acknowledged it, and not before; so it may come twice, with the same
//! `id`, and is never lost. On the board only the newest value counts. It refuses to decide what is published, and to
//! hold anything in memory that must not be lost.
//!
//! [`Publisher::run`] tries again; a session is straight-line: connect, say `online`, tell the board, drain the
//! outbox, and at the end say `offline`.

mod discovery;
mod link;
pub(super) mod outage;
mod score_sink;
mod session;
mod snapshot;
mod window;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::{discovery::Announcer, score_sink::ScoreSink};
use self::{
    discovery::Discovery,
    link::{Refusal, Silence},
    outage::{Outage, Trouble},
    score_sink::{ScoreSource, score_way},
    window::Window,
};
use super::{
    OFFLINE, Topics,
    board::{Board, Values},
    outbox::Outbox,
};
use crate::{backoff::Backoff, config::Mqtt, metrics::Histogram, mqtt};

/// The delays between two tries to connect.
pub(super) const FIRST_DELAY: Duration = Duration::from_secs(1);
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// So long the board may wait while one alert follows another.
const BOARD_LAG: Duration = Duration::from_secs(1);
/// So many values of the board are told one by one, more of them all at once.
const FEW: usize = 8;
/// What is kept of the time at the end for saying goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// What messages are.
const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";
const TEXT: &str = "text/plain";

/// Brings alerts and the board to one broker.
pub struct Publisher {
    broker: Mqtt,
    url: String,
    options: mqtt::Options,
    topics: Topics,
    outbox: Arc<Outbox>,
    news: watch::Receiver<Values>,
    /// Never written; as long as it is here the news do not end.
    _board: Board,
    discovery: Option<Discovery>,
    scores: ScoreSource,
    score_sink: ScoreSink,
    counts: Arc<Counts>,
    outage: Outage,
    window: Window,
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Whether the broker is there.
    pub connected: AtomicBool,
    /// How long it took from an alert to its acknowledgement.
    pub delivery: Histogram,
    /// Alerts that the broker acknowledged.
    pub published: AtomicU64,
    /// Alerts that were sent again because no acknowledgement had come.
    pub repeated: AtomicU64,
    /// Times the broker refused an alert.
    pub refused: AtomicU64,
    /// Pictures that were made smaller because the broker does not take larger ones.
    pub snapshots_scaled: AtomicU64,
    /// Pictures that were left out because the broker does not take them in any size.
    pub snapshots_skipped: AtomicU64,
    /// Scores that were left out because alerts went first or the broker was away.
    pub scores_dropped: AtomicU64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Alerts that wait on disk for the next start.
    pub waiting: u64,
    /// Whether we said `offline` ourselves; otherwise the broker does when it notices, if it is there.
    pub said: bool,
}

/// Why a session ended without a goodbye.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Broker(#[from] mqtt::trouble::Broken),
    #[error(transparent)]
    Silence(#[from] Silence),
    #[error("there is no time left")]
    OutOfTime,
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(broker: &Mqtt, outbox: Arc<Outbox>, board: &Board) -> Result<Self, mqtt::Error> {
        let topics = Topics::new(&broker.prefix);
        let counts = Arc::default();
        let (score_sink, scores) = score_way(&counts);
        Ok(Self {
            url: mqtt::url(broker),
            options: mqtt::options(broker, &topics.status(), OFFLINE)?,
            broker: broker.clone(),
            topics,
            outbox,
            news: board.subscribe(),
            _board: board.clone(),
            discovery: None,
            scores,
            score_sink,
            counts,
            outage: Outage::default(),
            window: Window::default(),
        })
    }

    /// Home Assistant is told, too; what it was told is remembered in `state_dir`.
    #[must_use]
    pub fn announcing(mut self, announcer: &Announcer, state_dir: &Path) -> Self {
        self.discovery = Some(Discovery::new(announcer, state_dir));
        self
    }

    /// Where scores are put.
    #[must_use]
    pub fn scores(&self) -> ScoreSink {
        self.score_sink.clone()
    }

    /// What was done so far, to look at while it runs.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Publishes until `stop`; then what is left, and goodbye, within `grace`. When `stop` comes nobody may write to the
    /// outbox or the board any more.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> Farewell {
        let said = self.publish(&stop, grace).await;
        self.let_go().await;
        self.farewell(said)
    }

    /// Whether it ended with a goodbye.
    async fn publish(&mut self, stop: &CancellationToken, grace: Duration) -> bool {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let (began, before) = (Instant::now(), self.counts.published.load(Ordering::Relaxed));
            let ended = self.session(stop, grace).await;
            self.let_go().await;
            match ended {
                Ok(()) => return true,
                Err(_) if stop.is_cancelled() => return false,
                Err(Interrupted::Broker(error)) => {
                    self.broken(&outage::explain(&error, self.broker.username.as_deref()))
                }
                Err(other) => self.broken(&Trouble { login: false, text: other.to_string() }),
            }
            // A broker that took alerts is not one that has to be spared.
            if began.elapsed() > LONGEST_DELAY || self.counts.published.load(Ordering::Relaxed) > before {
                backoff.reset();
            }
            tokio::select! {
                () = sleep(backoff.failed(jitter())) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    fn broken(&mut self, trouble: &Trouble) {
        self.counts.connected.store(false, Ordering::Relaxed);
        if let Some(away) = self.outage.failed(Instant::now(), trouble) {
            let (waiting, away_s) = (self.outbox.waiting(), away.as_secs());
            tracing::warn!(
                broker = self.url,
                why = trouble.text,
                waiting,
                away_s,
                "not connected; alerts wait on disk"
            );
        }
    }

    /// After so many seconds the broker gives an alert to nobody any more, and forgets a picture.
    fn expiry(&self) -> Option<u32> {
        let expiry = self.broker.connection.message_expiry?;
        u32::try_from(expiry.as_secs()).ok()
    }

    fn warn_refused(&self, topic: &str, refusal: &Refusal) {
        tracing::warn!(broker = self.url, topic, why = %refusal, "the broker refuses a value");
    }

    fn farewell(&self, said: bool) -> Farewell {
        let waiting = self.outbox.waiting();
        let scores_dropped = self.counts.scores_dropped.load(Ordering::Relaxed);
        if scores_dropped > 0 {
            tracing::info!(
                scores_dropped,
                "scores were left out while alerts went first or the broker was away"
            );
        }
        if waiting > 0 {
            tracing::warn!(broker = self.url, waiting, "alerts wait on disk and are sent at the next start");
        }
        Farewell { waiting, said }
    }
}

/// Looks whether the broker takes us in, and leaves again; says in words why it does not.
///
/// # Errors
/// What [`Publisher::run`] would log, once.
pub async fn visit(broker: &Mqtt) -> Result<(), String> {
    let options = mqtt::visit(broker).map_err(|error| error.to_string())?;
    let (link, pump) = link::open(options);
    let leave = async {
        link.connected().await;
        link.disconnect().await;
        // The pump ends when the goodbye is sent.
        std::future::pending().await
    };
    tokio::select! {
        ended = pump.run() => ended.map_err(|error| outage::explain(&error, broker.username.as_deref()).text),
        () = leave => Ok(()),
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A number from 0 to 1 that differs from machine to machine and from call to call.
pub(super) fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
