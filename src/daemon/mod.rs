//! The only wiring: builds the parts, connects them, waits for the word to stop, and takes them down in order.
//!
//! It refuses to decide anything about frames, scores or alerts; that is `judge` and what it calls.

mod judge;

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::judge::Judge;
use crate::{
    alert::{
        State, Topics,
        board::Board,
        outbox::{self, Entry, Outbox},
        publisher::{Farewell, Publisher},
    },
    classify::{self, Classifier, Scored},
    config::Config,
    source::{self, Counts},
};

/// How long everything under way may take to reach the disk and the broker after the word to stop.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of it the publisher may use.
const GRACE: Duration = Duration::from_secs(5);
/// How long the judge waits before it tries again to keep an alert.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// Watches as `config` says until told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// What hinders the start, or which part ended without being told to.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(watch_until_told(config));
    // What still runs then (after the deadline, say) must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn watch_until_told(config: &Config) -> anyhow::Result<()> {
    // First of all, so that a signal during the start is not the end of the process but the end of its work.
    let mut told = Signals::new()?;
    let mut house = House::build(config)?;
    notify_systemd(sd_notify::NotifyState::Ready);
    tracing::info!(
        sources = config.sources.len(),
        label_sets = config.label_sets.len(),
        model = &*config.model.name(),
        "watching"
    );

    tokio::select! {
        signal = told.next() => tracing::info!(signal, "stopping"),
        part = house.ended() => bail!("{part} ended without being told to; its last words are above"),
    }
    notify_systemd(sd_notify::NotifyState::Stopping);
    tokio::select! {
        done = house.stop() => done,
        () = tokio::time::sleep(DEADLINE) => {
            bail!("stopped after {} s with work left; alerts that were raised are in the outbox", DEADLINE.as_secs())
        }
        signal = told.next() => bail!("stopped at once by a second signal ({signal})"),
    }
}

/// The parts, connected and running.
struct House {
    stop_sources: CancellationToken,
    sources: Vec<Running>,
    model: thread::JoinHandle<Result<classify::Counts, classify::NobodyListens>>,
    /// Closes when the judge ends. It ends when the model does, so this speaks for both.
    judge_ended: oneshot::Receiver<()>,
    stop_publisher: CancellationToken,
    publisher: JoinHandle<Result<Farewell, outbox::Error>>,
}

/// A source on its thread.
struct Running {
    name: Arc<str>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
}

impl House {
    /// Builds from the end to the beginning, so that nothing flows before it can go the whole way.
    fn build(config: &Config) -> anyhow::Result<Self> {
        let outbox = Arc::new(Outbox::open(&config.state_dir)?);
        let classifier = Classifier::load(config)?;
        let topics = Topics::new(&config.mqtt.prefix);
        let board = board(config, &topics);

        let stop_publisher = CancellationToken::new();
        let publisher = Publisher::new(&config.mqtt, Arc::clone(&outbox), &board)?;
        let publisher = tokio::spawn(publisher.run(stop_publisher.clone(), GRACE));

        let under_way = config.sources.len() * source::SLOTS;
        let (scored, to_judge) = mpsc::channel(under_way.max(1));
        let (frames, to_model) = mpsc::channel(under_way.max(1));
        let judge = Judge::new(config, &config.model.name());
        let judge_ended = spawn_judge(judge, topics.clone(), outbox, board.clone(), to_judge)?;
        let model = classify::spawn(classifier, &config.sources, to_model, scored)?;

        let stop_sources = CancellationToken::new();
        let start = |source| start_source(config, source, &frames, &stop_sources, &topics, &board);
        let sources = config.sources.iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { stop_sources, sources, model, judge_ended, stop_publisher, publisher })
    }

    /// Which part ended that should not have.
    async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.judge_ended => if self.model.is_finished() { "the model" } else { "the judge" },
            _ = &mut self.publisher => "the publisher",
        }
    }

    /// Only the sources are told; the rest ends when what it reads from has ended, and the publisher last.
    async fn stop(self) -> anyhow::Result<()> {
        self.stop_sources.cancel();
        // The judge is the last to see a frame: when it has ended, every frame under way went the whole way.
        let _ = self.judge_ended.await;
        for source in self.sources {
            tracing::info!(source = &*source.name, "{}", source.counts.snapshot());
            source.thread.join().map_err(|_| anyhow!("the source {} panicked", source.name))?;
        }
        let counts = self.model.join().map_err(|_| anyhow!("the model panicked"))??;
        tracing::info!(scored = counts.scored, failed = counts.failed, "the model is done");

        self.stop_publisher.cancel();
        let farewell = self.publisher.await.context("the publisher panicked")??;
        tracing::info!(waiting = farewell.waiting, said_offline = farewell.said, "stopped");
        Ok(())
    }
}

/// What the broker should know before the first frame: no label is raised, no source is there yet.
fn board(config: &Config, topics: &Topics) -> Board {
    let board = Board::new();
    for source in &config.sources {
        board.set(&topics.source_status(&source.name), source::Status::Offline.as_str());
    }
    for (source, label_set) in config.watches() {
        for label in &label_set.labels {
            let topic = topics.state(&source.name, &label_set.name, &label.name);
            board.set(&topic, State::Cleared.switch());
        }
    }
    board
}

fn start_source(
    config: &Config,
    source: &crate::config::Source,
    frames: &mpsc::Sender<crate::frame::Frame>,
    stop: &CancellationToken,
    topics: &Topics,
    board: &Board,
) -> anyhow::Result<Running> {
    let name: Arc<str> = source.name.as_str().into();
    let counts = Arc::new(Counts::default());
    let (status, mut statuses) = watch::channel(source::Status::Offline);
    let context = source::Context {
        name: Arc::clone(&name),
        frames: frames.clone(),
        slots: Arc::new(Semaphore::new(source::SLOTS)),
        stop: stop.clone(),
        status,
        counts: Arc::clone(&counts),
        max_pixels: config.max_pixels,
    };
    let thread = source::spawn(source, context).with_context(|| format!("cannot start the source {name}"))?;

    let (topic, board) = (topics.source_status(&name), board.clone());
    tokio::spawn(async move {
        while statuses.changed().await.is_ok() {
            board.set(&topic, statuses.borrow_and_update().as_str());
        }
        // The source has ended and said its last word, which the publisher still tells.
        board.set(&topic, source::Status::Offline.as_str());
    });
    Ok(Running { name, thread, counts })
}

fn spawn_judge(
    mut judge: Judge,
    topics: Topics,
    outbox: Arc<Outbox>,
    board: Board,
    mut scored: mpsc::Receiver<Scored>,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let (alive, ended) = oneshot::channel();
    let work = move || {
        // Dropped when the thread ends, in whatever way.
        let _alive: oneshot::Sender<()> = alive;
        while let Some(scored) = scored.blocking_recv() {
            tell(&mut judge, &topics, &outbox, &board, scored);
        }
    };
    thread::Builder::new().name("judge".to_owned()).spawn(work).context("cannot start the judge")?;
    Ok(ended)
}

/// What this frame changed: onto the disk first, then onto the board; then its source may have its slot back.
fn tell(judge: &mut Judge, topics: &Topics, outbox: &Outbox, board: &Board, scored: Scored) {
    let alerts = judge.judge(&scored, Timestamp::now(), Uuid::now_v7);
    tracing::debug!(
        source = &*scored.frame.source,
        origin = scored.frame.origin,
        alerts = alerts.len(),
        "scored"
    );
    // One picture a frame is enough: its topic is the source's.
    let mut pictured = false;
    for mut alert in alerts {
        let jpeg = match alert.state {
            State::Raised if !pictured => snapshot(&scored),
            _ => None,
        };
        pictured |= jpeg.is_some();
        if !pictured {
            // The topic holds the picture of an older alert.
            alert.snapshot = None;
        }
        keep(outbox, &Entry::new(&alert, topics, jpeg));
        board.set(&topics.state(&alert.source, &alert.label_set, &alert.label), alert.state.switch());
        tracing::info!(
            source = &*alert.source,
            label_set = &*alert.label_set,
            label = &*alert.label,
            score = alert.score,
            origin = alert.frame.origin,
            "{}",
            alert.state.word()
        );
    }
    scored.frame.slot.done();
}

fn snapshot(scored: &Scored) -> Option<Vec<u8>> {
    const QUALITY: u8 = 85;
    let jpeg = scored.frame.picture.to_jpeg(QUALITY);
    jpeg.inspect_err(|error| {
        tracing::warn!(source = &*scored.frame.source, %error, "an alert goes without its snapshot");
    })
    .ok()
}

/// Returns when the alert is on disk. While the disk is full the frames wait, and nothing is forgotten.
fn keep(outbox: &Outbox, entry: &Entry) {
    let mut tries = 0_u32;
    while let Err(error) = outbox.append(entry) {
        if tries.is_multiple_of(60) {
            tracing::error!(error = format!("{:#}", anyhow!(error)), "an alert waits for the disk");
        }
        tries += 1;
        thread::sleep(KEEP_AGAIN);
    }
}

fn notify_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// The words to stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
