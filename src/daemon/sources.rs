//! The sources that run: started, stopped and replaced while the others go on.
//!
//! It refuses to know what a source delivers; that goes to the model without passing here.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::{
    alert::{Topics, board::Board},
    config,
    frame::Frame,
    source::{self, Counts},
};

/// A source that was told to end gets this long before others start without waiting for it.
const LEAVE: Duration = Duration::from_secs(10);

/// All sources, and what a new one is given.
pub(super) struct Sources {
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
    topics: Topics,
    board: Board,
    running: Vec<Running>,
    /// Told to end, and not seen to have done so.
    leaving: Vec<Running>,
}

/// A source on its thread.
struct Running {
    name: Arc<str>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// Ends with the source, when its last status is on the board.
    ended: JoinHandle<()>,
}

impl Sources {
    /// No source yet. They will send into `frames`.
    pub(super) fn new(frames: mpsc::Sender<Frame>, topics: Topics, board: Board) -> Self {
        let stop = CancellationToken::new();
        Self { frames, stop, topics, board, running: Vec::new(), leaving: Vec::new() }
    }

    /// Stops and starts what `plan` says; a source that it does not name never notices.
    ///
    /// Dropped half-way it has told sources to end and started none; [`Self::tell_to_end`] takes care of all.
    pub(super) async fn carry_out(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let stops = |running: &mut Running| plan.stop.iter().any(|name| **name == *running.name);
        for leaving in self.running.extract_if(.., stops) {
            leaving.stop.cancel();
            self.leaving.push(leaving);
        }
        self.wait_for_leaving().await;

        let status = |name: &str| self.topics.source_status(name);
        let stays = |topic: &str| plan.in_force.sources.iter().any(|source| status(&source.name) == topic);
        for topic in plan.stop.iter().map(|name| status(name)).filter(|topic| !stays(topic)) {
            self.board.set(&topic, "");
        }
        plan.start.iter().try_for_each(|source| self.start(source, plan.in_force.max_pixels))
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

    fn start(&mut self, source: &config::Source, max_pixels: u64) -> anyhow::Result<()> {
        let name: Arc<str> = source.name.as_str().into();
        let (counts, stop) = (Arc::new(Counts::default()), self.stop.child_token());
        let (status, statuses) = watch::channel(source::Status::Offline);
        let context = source::Context {
            name: Arc::clone(&name),
            frames: self.frames.clone(),
            slots: Arc::new(Semaphore::new(source::SLOTS)),
            stop: stop.clone(),
            status,
            counts: Arc::clone(&counts),
            max_pixels,
        };
        let topic = self.topics.source_status(&name);
        self.board.set(&topic, source::Status::Offline.as_str());
        let thread =
            source::spawn(source, context).with_context(|| format!("cannot start the source {name}"))?;
        let ended = tokio::spawn(tell_status(statuses, topic, self.board.clone()));
        self.running.push(Running { name, thread, counts, stop, ended });
        Ok(())
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

/// Puts what a source says of itself onto the board, until it has ended.
async fn tell_status(mut statuses: watch::Receiver<source::Status>, topic: String, board: Board) {
    while statuses.changed().await.is_ok() {
        board.set(&topic, statuses.borrow_and_update().as_str());
    }
    // It has said its last word, which the publisher still tells.
    board.set(&topic, source::Status::Offline.as_str());
}
