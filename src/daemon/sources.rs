//! The sources that run: started, stopped and replaced while the others go on.
//!
//! It refuses to know what a source delivers; that goes to the model without passing here.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{dynamic_sources::Members, plan::Plan};
use crate::{
    alert::{Topics, board::Board},
    config::{self, Config, SourceKind},
    frame::Frame,
    observe::metrics::{self, Figures},
    source::{self, Appeared, Counts},
};

/// So long folders that start are waited for until they are watched; a large one on a slow disk may need longer.
const BEGIN: Duration = Duration::from_secs(5);
/// A source that was told to end gets this long before others start without waiting for it.
const LEAVE: Duration = Duration::from_secs(10);

/// All sources, and what a new one is given.
pub(super) struct Sources {
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
    topics: Topics,
    board: Board,
    appeared: mpsc::Sender<Appeared>,
    /// Those that topics speak of.
    told: BTreeSet<Told>,
    running: Vec<Running>,
    /// Told to end, and not seen to have done so.
    leaving: Vec<Running>,
    figures: Arc<Figures>,
}

/// A source on its thread.
struct Running {
    name: Arc<str>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// Where its status is told: at its own topic and at those of its members.
    told_at: watch::Sender<Vec<String>>,
    /// Ends with the source, when its last status is on the board.
    ended: JoinHandle<()>,
}

/// What the broker keeps of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    status: String,
    info: String,
    stats: String,
    snapshot: String,
}

impl Told {
    fn of(name: &str, topics: &Topics) -> Self {
        Self {
            status: topics.source_status(name),
            info: topics.source_info(name),
            stats: topics.source_stats(name),
            snapshot: topics.snapshot(name),
        }
    }
}

impl Sources {
    /// No source yet. They will send into `frames`, and names that they meet into `appeared`.
    pub(super) fn new(
        frames: mpsc::Sender<Frame>,
        appeared: mpsc::Sender<Appeared>,
        topics: Topics,
        board: Board,
        figures: Arc<Figures>,
    ) -> Self {
        let stop = CancellationToken::new();
        let (running, leaving) = (Vec::new(), Vec::new());
        Self { frames, stop, topics, board, appeared, told: BTreeSet::new(), running, leaving, figures }
    }

    /// Stops and starts what `plan` says; a source that it does not name never notices.
    ///
    /// A folder that it starts is watched when it returns. Dropped half-way it has told sources to end, and started none
    /// or all; [`Self::tell_to_end`] takes care of all.
    pub(super) async fn carry_out(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let stops = |running: &mut Running| plan.stop.iter().any(|name| **name == *running.name);
        for leaving in self.running.extract_if(.., stops) {
            leaving.stop.cancel();
            self.figures.source_ends(&leaving.name);
            self.leaving.push(leaving);
        }
        self.wait_for_leaving().await;
        let mut folders = Vec::new();
        for source in &plan.start {
            let begun = self.start(source, &plan.in_force)?;
            if matches!(source.kind, SourceKind::Folder(_)) {
                folders.push(begun);
            }
        }
        // Whoever sees that this is done may bring a file at once, which must not count as one that was there before. The
        // others begin when somebody answers them.
        let watched = async {
            for begun in folders {
                begun.cancelled().await;
            }
        };
        if tokio::time::timeout(BEGIN, watched).await.is_err() {
            tracing::warn!(
                "it takes long to look at the folders; what comes into them meanwhile may count as there before"
            );
        }
        Ok(())
    }

    /// Tells of the sources of `config` and of their members, and takes back what was told of others: their status, their
    /// figures and their snapshot would stay with the broker for ever.
    pub(super) fn tell_of(&mut self, config: &Config, members: &Members) {
        for running in &self.running {
            let names = std::iter::once(&*running.name).chain(members.of(&running.name));
            let told_at = names.map(|name| self.topics.source_status(name)).collect();
            running.told_at.send_if_modified(|old| std::mem::replace(old, told_at) != *old);
        }
        let typed = config
            .sources
            .iter()
            .flat_map(|source| std::iter::once(&*source.name).chain(members.of(&source.name)));
        let typed: Vec<_> = typed.collect();
        // Before anything is taken back, so that nothing is told again after it.
        self.figures.follow(typed.iter().copied());
        let told = typed.into_iter().map(|name| Told::of(name, &self.topics)).collect();
        let before = std::mem::replace(&mut self.told, told);
        // A source that is back: its next picture must not be taken back in the next session.
        for back in self.told.difference(&before) {
            self.board.leave(&back.snapshot);
            self.board.leave(&back.stats);
        }
        for gone in before.difference(&self.told) {
            self.board.set(&gone.status, "");
            self.board.set(&gone.info, "");
            self.board.set(&gone.stats, "");
            self.board.set(&gone.snapshot, "");
        }
    }

    /// Tells all of them to end. The way to the model closes when the last one has; [`Leaving::join`] then does not wait.
    pub(super) fn tell_to_end(self) -> Leaving {
        self.stop.cancel();
        Leaving(self.leaving.into_iter().chain(self.running).collect())
    }

    /// Each is waited for where it stands, so that nothing is lost with a dropped future.
    async fn wait_for_leaving(&mut self) {
        while let Some(leaving) = self.leaving.last_mut() {
            if tokio::time::timeout(LEAVE, &mut leaving.ended).await.is_err() {
                tracing::error!(source = &*leaving.name, "the source does not end; it is left to itself");
                return;
            }
            let ended = self.leaving.pop().map_or(Ok(()), Running::join);
            if let Err(error) = ended {
                tracing::error!("{error:#}");
            }
        }
    }

    /// Starts a source; what it cancels when it has begun.
    fn start(&mut self, source: &config::Source, config: &Config) -> anyhow::Result<CancellationToken> {
        let name: Arc<str> = source.name.as_str().into();
        let counts = Arc::new(Counts::new(source::causes(&source.kind), Arc::clone(&self.figures.decoding)));
        let (stop, begun) = (self.stop.child_token(), CancellationToken::new());
        let (status, statuses) = watch::channel(source::Status::Offline);
        let slots = Arc::new(Semaphore::new(source::SLOTS));
        let looked_at = metrics::Running {
            kind: metrics::kind(&source.kind),
            counts: Arc::clone(&counts),
            status: statuses.clone(),
            slots: Arc::clone(&slots),
        };
        let context = source::Context {
            begun: begun.clone(),
            name: Arc::clone(&name),
            frames: self.frames.clone(),
            slots,
            stop: stop.clone(),
            status,
            counts: Arc::clone(&counts),
            max_pixels: config.max_pixels,
            topics: Some(source::ForTopics { broker: config.mqtt.clone(), appeared: self.appeared.clone() }),
        };
        let topic = self.topics.source_status(&name);
        self.board.set(&topic, source::Status::Offline.as_str());
        let thread =
            source::spawn(source, context).with_context(|| format!("cannot start the source {name}"))?;
        self.figures.source_starts(&name, looked_at);
        let infos = tell_info(counts.stream.subscribe(), self.topics.source_info(&name), self.board.clone());
        let ends = stop.clone();
        tokio::spawn(async move { ends.run_until_cancelled(infos).await });
        let (told_at, places) = watch::channel(vec![topic]);
        let ended = tokio::spawn(tell_status(statuses, places, self.board.clone()));
        self.running.push(Running { name, thread, counts, stop, told_at, ended });
        Ok(begun)
    }
}

/// Sources that were told to end.
pub(super) struct Leaving(Vec<Running>);

impl Leaving {
    /// Waits for each, until its last status is on the board. Its last word is what it counted.
    pub(super) async fn join(self) -> anyhow::Result<()> {
        for mut source in self.0 {
            if (&mut source.ended).await.is_err() {
                tracing::error!(source = &*source.name, "its last status is not known");
            }
            source.join()?;
        }
        Ok(())
    }
}

impl Running {
    fn join(self) -> anyhow::Result<()> {
        tracing::info!(source = &*self.name, "{}", self.counts.snapshot());
        self.thread.join().map_err(|_| anyhow!("the source {} panicked", self.name))
    }
}

/// Puts what a source found of its stream onto the board.
async fn tell_info(mut infos: watch::Receiver<Option<source::StreamInfo>>, topic: String, board: Board) {
    while infos.changed().await.is_ok() {
        if let Some(info) = &*infos.borrow_and_update() {
            board.set(&topic, &info.to_json());
        }
    }
}

/// Puts what a source says of itself onto the board, until it has ended; wherever it is to be told.
async fn tell_status(
    mut statuses: watch::Receiver<source::Status>,
    mut places: watch::Receiver<Vec<String>>,
    board: Board,
) {
    let tell = |places: &[String], status: source::Status| {
        places.iter().for_each(|topic| board.set(topic, status.as_str()));
    };
    loop {
        tokio::select! {
            changed = statuses.changed() => if changed.is_err() { break },
            // The sender goes when the source is joined, which is after its end.
            Ok(()) = places.changed() => {}
        }
        tell(&places.borrow_and_update(), *statuses.borrow_and_update());
    }
    // It has said its last word, which the publisher still tells.
    tell(&places.borrow_and_update(), source::Status::Offline);
}
