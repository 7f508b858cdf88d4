//! The publisher: brings the outbox and the board to the broker, however long that takes.
//!
//! An alert leaves the outbox when the broker has acknowledged it, and not before; so it may come twice, with the same
//! `id`, and is never lost. On the board only the newest value counts. It refuses to decide what is published, and to
//! hold anything in memory that must not be lost.
//!
//! [`Publisher::run`] tries again; a session is straight-line: connect, say `online`, tell the board, drain the
//! outbox, and at the end say `offline`.

mod link;
mod outage;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rumqttc::v5::{ConnectionError, MqttOptions};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    link::{Link, Refusal, Silence},
    outage::{Outage, Reminder, Trouble},
};
use super::{
    OFFLINE, ONLINE, Topics,
    board::{self, Board, Values},
    outbox::{self, Entry, Outbox, Seq, Snapshot},
};
use crate::{backoff::Backoff, config::Mqtt, mqtt};

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// What is kept of the time at the end for saying goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// A picture during which the session broke so often is left out: some brokers hang up on what is too large for them.
const SNAPSHOT_TRIES: u32 = 3;

/// Brings alerts and the board to one broker.
pub struct Publisher {
    broker: Mqtt,
    url: String,
    options: MqttOptions,
    topics: Topics,
    outbox: Arc<Outbox>,
    news: watch::Receiver<Values>,
    /// Never written; as long as it is here the news do not end.
    _board: Board,
    counts: Arc<Counts>,
    outage: Outage,
    head: Head,
    refused: Reminder,
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Alerts that the broker acknowledged.
    pub published: AtomicU64,
    /// Alerts that were sent again because no acknowledgement had come.
    pub repeated: AtomicU64,
    /// Times the broker refused an alert.
    pub refused: AtomicU64,
    /// Pictures that were left out because the broker does not take them.
    pub snapshots_skipped: AtomicU64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Alerts that wait on disk for the next start.
    pub waiting: u64,
    /// Whether we said `offline` ourselves; otherwise the broker does when it notices, if it is there.
    pub said: bool,
}

/// What is known of the alert at the head of the outbox.
#[derive(Debug, Default)]
struct Head {
    seq: Option<Seq>,
    snapshot_tries: u32,
    /// The broker has the picture, or will not take it.
    snapshot_settled: bool,
    sent: bool,
}

/// What became of an attempt to deliver the head.
#[derive(Debug, PartialEq, Eq)]
enum Delivery {
    Done,
    Refused,
    /// It was refused, and it is too early to ask again.
    Postponed,
    NothingThere,
}

/// When to offer a refused alert again.
struct Patience {
    backoff: Backoff,
    until: Option<Instant>,
}

/// Why a session ended without a goodbye.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Broker(#[from] ConnectionError),
    #[error(transparent)]
    Silence(#[from] Silence),
    /// Nobody can do anything about it here.
    #[error(transparent)]
    Outbox(#[from] outbox::Error),
    #[error("there is no time left")]
    OutOfTime,
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(broker: &Mqtt, outbox: Arc<Outbox>, board: &Board) -> Result<Self, mqtt::Error> {
        let topics = Topics::new(&broker.prefix);
        Ok(Self {
            url: mqtt::url(broker),
            options: mqtt::options(broker, &topics.status(), OFFLINE)?,
            broker: broker.clone(),
            topics,
            outbox,
            news: board.subscribe(),
            _board: board.clone(),
            counts: Arc::default(),
            outage: Outage::default(),
            head: Head::default(),
            refused: Reminder::default(),
        })
    }

    /// What was done so far, to look at while it runs.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Publishes until `stop`; then what is left, and goodbye, within `grace`. When `stop` comes nobody may write to the
    /// outbox or the board any more. Fails only if the outbox does.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> Result<Farewell, outbox::Error> {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let began = Instant::now();
            match self.session(&stop, grace).await {
                Ok(()) => return Ok(self.farewell(true)),
                Err(Interrupted::Outbox(error)) => return Err(error),
                Err(_) if stop.is_cancelled() => return Ok(self.farewell(false)),
                Err(Interrupted::Broker(error)) => {
                    self.broken(&outage::explain(&error, self.broker.username.as_deref()))
                }
                Err(other) => self.broken(&Trouble { login: false, text: other.to_string() }),
            }
            if began.elapsed() > LONGEST_DELAY {
                backoff.reset();
            }
            tokio::select! {
                () = sleep(backoff.failed(jitter())) => {}
                () = stop.cancelled() => return Ok(self.farewell(false)),
            }
        }
    }

    /// One connection, from beginning to end. A new client each time: nothing of an old one can get in the way.
    async fn session(&mut self, stop: &CancellationToken, grace: Duration) -> Result<(), Interrupted> {
        let (link, pump) = link::open(self.options.clone());
        tokio::select! {
            ended = pump.run() => Ok(ended?),
            interrupted = self.talk(&link, stop, grace) => interrupted,
            // Without a goodbye the last will says it.
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
            () = link.connected() => {}
            // A broker that was away until now is not waited for.
            () = stop.cancelled(), if self.outage.is_on() => return Err(Interrupted::OutOfTime),
        }
        let status = self.topics.status();
        if let Err(refusal) = link.deliver(&status, true, ONLINE.into()).await? {
            self.warn_refused(&status, &refusal);
        }
        self.connected();
        self.serve(link, stop, grace).await?;
        if let Err(refusal) = link.deliver(&status, true, OFFLINE.into()).await? {
            self.warn_refused(&status, &refusal);
        }
        link.disconnect().await;
        Ok(())
    }

    /// Tells what is there and what comes, until `stop` and nothing is left or the time is up.
    async fn serve(
        &mut self,
        link: &Link,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        let (mut told, mut patience, mut leave) = (Values::new(), Patience::default(), None);
        self.tell_board(link, &mut told).await?;
        loop {
            // Asked first: what was there before `stop` is seen below.
            if stop.is_cancelled() {
                leave.get_or_insert_with(|| Instant::now() + grace.saturating_sub(GOODBYE));
            }
            let delivery =
                if patience.is_over() { self.deliver_head(link).await? } else { Delivery::Postponed };
            self.tell_board(link, &mut told).await?;
            match delivery {
                Delivery::Done if leave.is_none_or(|leave| Instant::now() < leave) => {
                    patience = Patience::default();
                    continue;
                }
                Delivery::NothingThere => patience = Patience::default(),
                Delivery::Refused => patience.refused(),
                Delivery::Done | Delivery::Postponed => {}
            }
            if leave.is_some() {
                return Ok(());
            }
            tokio::select! {
                () = self.outbox.appended() => {}
                _ = self.news.changed() => {}
                () = patience.end() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Makes the broker equal to the board: everything at first, later what changed.
    async fn tell_board(&mut self, link: &Link, told: &mut Values) -> Result<(), Interrupted> {
        let news = board::news(&self.news.borrow_and_update(), told);
        let mut receipts = Vec::with_capacity(news.len());
        for (topic, payload) in news {
            let receipt = link.send(&topic, true, payload.as_bytes().to_vec()).await?;
            told.insert(topic.clone(), payload);
            receipts.push((topic, receipt));
        }
        for (topic, receipt) in receipts {
            // Tried again when it changes, and in the next session: the newest value alone counts.
            if let Err(refusal) = receipt.answer().await? {
                self.warn_refused(&topic, &refusal);
            }
        }
        Ok(())
    }

    /// Sends the oldest alert, its picture first, and removes it when the broker has it.
    async fn deliver_head(&mut self, link: &Link) -> Result<Delivery, Interrupted> {
        let Some((seq, entry)) = self.on_disk(Outbox::head).await? else { return Ok(Delivery::NothingThere) };
        if self.head.seq != Some(seq) {
            self.head = Head { seq: Some(seq), ..Head::default() };
        }
        let Entry { id, topic, payload, snapshot } = entry;
        if let Some(snapshot) = snapshot
            && !self.head.snapshot_settled
        {
            self.deliver_snapshot(link, snapshot, &id).await?;
        }
        if std::mem::replace(&mut self.head.sent, true) {
            add(&self.counts.repeated);
        }
        match link.deliver(&topic, false, payload.into_bytes()).await? {
            Ok(()) => {
                self.on_disk(move |outbox| outbox.remove(seq)).await?;
                add(&self.counts.published);
                tracing::info!(id, topic, "alert published");
                Ok(Delivery::Done)
            }
            Err(refusal) => {
                add(&self.counts.refused);
                self.complain(&id, &topic, &refusal);
                Ok(Delivery::Refused)
            }
        }
    }

    /// The one place where a picture is dropped: its alert must not wait for ever behind what the broker does not take.
    async fn deliver_snapshot(
        &mut self,
        link: &Link,
        snapshot: Snapshot,
        id: &str,
    ) -> Result<(), Interrupted> {
        let Snapshot { topic, jpeg } = snapshot;
        let size = jpeg.len();
        let delivered = if self.head.snapshot_tries < SNAPSHOT_TRIES {
            self.head.snapshot_tries += 1;
            link.deliver(&topic, true, jpeg).await?.map_err(|refusal| refusal.to_string())
        } else {
            Err(format!("the connection broke {SNAPSHOT_TRIES} times while it was sent"))
        };
        self.head.snapshot_settled = true;
        if let Err(why) = delivered {
            add(&self.counts.snapshots_skipped);
            tracing::warn!(id, topic, size, why, "the snapshot was left out; its alert is sent without it");
        }
        Ok(())
    }

    /// Reading and syncing block, and the runtime has other things to do.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox) -> Result<T, outbox::Error> + Send + 'static,
    ) -> Result<T, outbox::Error> {
        let outbox = Arc::clone(&self.outbox);
        match spawn_blocking(move || work(&outbox)).await {
            Ok(done) => done,
            // Nobody aborts it, so it panicked; whoever may die does not hide it.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn connected(&mut self) {
        // The broker may have lost what it was told before.
        self.head.snapshot_settled = false;
        match self.outage.over(Instant::now()) {
            Some(away) => tracing::info!(
                broker = self.url,
                away_s = away.as_secs(),
                waiting = self.outbox.waiting(),
                "the broker is back; the alerts that waited are sent now"
            ),
            None => {
                tracing::info!(broker = self.url, waiting = self.outbox.waiting(), "connected to the broker")
            }
        }
    }

    fn broken(&mut self, trouble: &Trouble) {
        let Some(away) = self.outage.failed(Instant::now(), trouble) else { return };
        let (waiting, away_s) = (self.outbox.waiting(), away.as_secs());
        if trouble.login {
            tracing::error!(
                broker = self.url,
                why = trouble.text,
                waiting,
                away_s,
                "not connected; alerts wait on disk"
            );
        } else {
            tracing::warn!(
                broker = self.url,
                why = trouble.text,
                waiting,
                away_s,
                "not connected; alerts wait on disk"
            );
        }
    }

    fn complain(&mut self, id: &str, topic: &str, refusal: &Refusal) {
        if self.refused.due(Instant::now()) {
            let (user, waiting) =
                (self.broker.username.as_deref().unwrap_or("anonymous"), self.outbox.waiting());
            tracing::error!(
                broker = self.url, user, id, topic, why = %refusal, waiting,
                "the broker refuses an alert; it and those behind it wait on disk until the broker's access rules \
                 allow this user to publish there"
            );
        }
    }

    fn warn_refused(&self, topic: &str, refusal: &Refusal) {
        tracing::warn!(broker = self.url, topic, why = %refusal, "the broker refuses a value");
    }

    fn farewell(&self, said: bool) -> Farewell {
        let waiting = self.outbox.waiting();
        if waiting > 0 {
            tracing::warn!(broker = self.url, waiting, "alerts wait on disk and are sent at the next start");
        }
        Farewell { waiting, said }
    }
}

impl Patience {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    fn refused(&mut self) {
        self.until = Some(Instant::now() + self.backoff.failed(jitter()));
    }

    async fn end(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY), until: None }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A number from 0 to 1 that differs from machine to machine and from call to call.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
