//! The running sources: starts, stops and replaces them while the others continue.
//!
//! Frames do not pass through here: each source sends them to the model.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    broker_state::{BrokerState, SourceTopics},
    delivery::unverified,
    dynamic_sources::DynamicSources,
};
use crate::{
    alert::{Topics, board::Board},
    classify::Away,
    config::{self, Config, plan::Plan},
    frame::Frame,
    observe::metrics::{RunningSource, ServiceMetrics, problem_of_engine},
    source::{self, Appeared, Counts, Decoders},
    tls::Trust,
};

/// How long to wait until the folders that start are watched. A large folder on a slow disk may take longer.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a source to end before others start without it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// All sources, and what a new one needs.
pub(super) struct Sources {
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
    /// The topics of the configuration in force, dynamic sources included.
    pub(super) topics: Topics,
    board: Board,
    appeared: mpsc::Sender<Appeared>,
    /// The topics that the broker retains for the sources of the configuration.
    published: BTreeSet<SourceTopics>,
    running: Vec<Running>,
    /// Sources that received the stop signal and have not ended.
    stopping: Vec<Running>,
    metrics: Arc<ServiceMetrics>,
    decoders: Arc<Decoders>,
}

/// A source on its thread.
struct Running {
    name: Arc<str>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// Where its status is published: its own topics and those of its dynamic sources.
    status_topics: watch::Sender<Vec<SourceTopics>>,
    /// Ends with the source, when its last status is on the board.
    ended: JoinHandle<()>,
}

impl Sources {
    /// No source yet. Sources will send frames into `frames`, and the names of dynamic sources into `appeared`.
    pub(super) fn new(
        frames: mpsc::Sender<Frame>,
        appeared: mpsc::Sender<Appeared>,
        broker: &BrokerState,
        metrics: Arc<ServiceMetrics>,
        decoders: Arc<Decoders>,
    ) -> Self {
        let (topics, board) = (broker.topics(), broker.board.clone());
        let (published, running, stopping) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self {
            frames,
            stop: CancellationToken::new(),
            topics,
            board,
            appeared,
            published,
            running,
            stopping,
            metrics,
            decoders,
        }
    }

    /// Stops and starts the sources that `plan` names. Other sources never notice.
    ///
    /// When it returns, each folder that it started is watched. If the future is dropped, sources may have received the stop
    /// signal, and either none or all of the new ones are started; [`Self::stop`] stops them all.
    pub(super) async fn apply(&mut self, plan: &Plan) -> anyhow::Result<()> {
        self.decoders.memory().resize(plan.in_force.memory);
        let stops = |running: &mut Running| plan.stop.iter().any(|name| **name == *running.name);
        let is_disabled = |name: &str| plan.in_force.sources.iter().any(|it| it.name == name && !it.enabled);
        for source in self.running.extract_if(.., stops) {
            if is_disabled(&source.name) {
                // Its last status is `disabled`, which `publish` sets.
                source.status_topics.send_replace(Vec::new());
            }
            source.stop.cancel();
            self.metrics.remove_source(&source.name);
            self.stopping.push(source);
        }
        self.join_stopping().await;
        let mut folders = Vec::new();
        for source in &plan.start {
            let begun = self.start(source, &plan.in_force)?;
            if source.kind.settings().is_local() {
                folders.push(begun);
            }
        }
        // A client that sees the reload as done may write a file at once, and that file must count as new.
        let watched = async {
            for begun in folders {
                begun.cancelled().await;
            }
        };
        if tokio::time::timeout(BEGIN_TIMEOUT, watched).await.is_err() {
            tracing::warn!(
                "the first scan of the folders takes long; files that arrive meanwhile may count as existing"
            );
        }
        Ok(())
    }

    /// Publishes the status of the sources of `config` and of their dynamic sources. Clears the topics of all others, which the
    /// broker would retain otherwise.
    pub(super) fn publish(&mut self, config: &Config, dynamic: &DynamicSources) {
        for running in &self.running {
            let names = std::iter::once(&*running.name).chain(dynamic.of(&running.name));
            let topics = names.map(|name| SourceTopics::new(name, &self.topics)).collect();
            running.status_topics.send_if_modified(|old| std::mem::replace(old, topics) != *old);
        }
        let names: Vec<_> = config
            .sources
            .iter()
            .flat_map(|source| std::iter::once(&*source.name).chain(dynamic.of(&source.name)))
            .collect();
        for source in config.sources.iter().filter(|source| !source.enabled) {
            for name in std::iter::once(&*source.name).chain(dynamic.of(&source.name)) {
                let topics = SourceTopics::new(name, &self.topics);
                self.board.set(&topics.problem, "");
                self.board.set(&topics.status, source::Status::Disabled.as_str());
            }
        }
        // Before topics are cleared, so that none is published again afterwards.
        self.metrics.report_sources(names.iter().copied());
        let current = names.into_iter().map(|name| SourceTopics::new(name, &self.topics)).collect();
        let before = std::mem::replace(&mut self.published, current);
        // A source that is configured again: the next session must not clear its new snapshot and stats.
        for added in self.published.difference(&before) {
            self.board.remove(&added.snapshot);
            self.board.remove(&added.stats);
        }
        for removed in before.difference(&self.published) {
            for topic in removed.clone().all() {
                self.board.set(&topic, "");
            }
        }
    }

    /// Publishes the status of one more dynamic source, `name`, of the configured source `of`, and clears the topics of the
    /// dynamic source `gone`. Others are not published again.
    pub(super) fn publish_one_more(&mut self, of: &str, name: &str, gone: Option<&str>) {
        let added = SourceTopics::new(name, &self.topics);
        let removed = gone.map(|gone| SourceTopics::new(gone, &self.topics));
        for running in self.running.iter().filter(|running| *running.name == *of) {
            running.status_topics.send_modify(|topics| {
                topics.retain(|topics| Some(topics) != removed.as_ref());
                topics.push(added.clone());
            });
        }
        self.metrics.report_source(name, gone);
        if let Some(removed) = removed.filter(|removed| self.published.remove(removed)) {
            removed.all().iter().for_each(|topic| self.board.set(topic, ""));
        }
        // The next session must not clear a new snapshot and new stats.
        self.board.remove(&added.snapshot);
        self.board.remove(&added.stats);
        self.published.insert(added);
    }

    /// Sends the stop signal to all sources. The channel to the model closes when the last one has ended;
    /// [`StoppingSources::join`] does not wait after that.
    pub(super) fn stop(self) -> StoppingSources {
        self.stop.cancel();
        let running = self.stopping.into_iter().chain(self.running).collect();
        StoppingSources { running, decoders: self.decoders }
    }

    /// Waits for each source in its place in the list, so that a dropped future loses none.
    async fn join_stopping(&mut self) {
        while let Some(stopping) = self.stopping.last_mut() {
            if tokio::time::timeout(STOP_TIMEOUT, &mut stopping.ended).await.is_err() {
                tracing::error!(source = &*stopping.name, "the source does not end; others start without it");
                return;
            }
            if let Some(Err(error)) = self.stopping.pop().map(Running::join) {
                tracing::error!("{error:#}");
            }
        }
    }

    /// Starts a source. The returned token is cancelled when the source has begun.
    fn start(&mut self, source: &config::Source, config: &Config) -> anyhow::Result<CancellationToken> {
        let name: Arc<str> = source.name.as_str().into();
        if let Some((host, port, Trust::Unverified)) = source.kind.settings().tls() {
            tracing::warn!(source = &*name, "{}", unverified(&format!("the source {name} at {host}:{port}")));
        }
        let counts = Arc::new(Counts::new(source::causes(&source.kind), Arc::clone(&self.metrics.decoding)));
        let (stop, begun) = (self.stop.child_token(), CancellationToken::new());
        let (status, statuses) = watch::channel(source::Status::Offline);
        let (problem, problems) = watch::channel(None);
        let slots = Arc::new(Semaphore::new(source::SLOTS));
        let reported = RunningSource {
            kind: source.kind.settings().key(),
            settings: source.kind.clone(),
            counts: Arc::clone(&counts),
            status: statuses.clone(),
            problem: problems.clone(),
            slots: Arc::clone(&slots),
        };
        let context = source::Context {
            begun: begun.clone(),
            name: Arc::clone(&name),
            frames: self.frames.clone(),
            slots,
            stop: stop.clone(),
            status,
            problem,
            remedy: source.kind.settings().remedy(),
            counts: Arc::clone(&counts),
            max_pixels: config.max_pixels,
            mask: source.mask.as_slice().into(),
            decoders: Arc::clone(&self.decoders),
            state_dir: Some(config.state_dir.clone()),
            topics: Some(source::ForTopics {
                broker: config.mqtt.clone(),
                id: self.topics.clone().as_identifiers().source(&name),
                appeared: self.appeared.clone(),
            }),
        };
        let topics = SourceTopics::new(&name, &self.topics);
        self.board.set(&topics.status, source::Status::Offline.as_str());
        // That of an earlier run may still be retained.
        self.board.set(&topics.problem, "");
        let thread =
            source::spawn(source, context).with_context(|| format!("cannot start the source {name}"))?;
        self.metrics.add_source(&name, reported);
        let info =
            publish_info(counts.stream.subscribe(), self.topics.source_info(&name), self.board.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(info).await });
        let (status_topics, topics) = watch::channel(vec![topics]);
        let engine = self.metrics.model.engine.subscribe();
        let ended = tokio::spawn(publish_status(statuses, problems, engine, topics, self.board.clone()));
        self.running.push(Running { name, thread, counts, stop, status_topics, ended });
        Ok(begun)
    }
}

/// Sources that received the stop signal.
pub(super) struct StoppingSources {
    running: Vec<Running>,
    decoders: Arc<Decoders>,
}

impl StoppingSources {
    /// Waits for each source until its last status is on the board, and logs what it counted.
    pub(super) async fn join(self) -> anyhow::Result<()> {
        for mut source in self.running {
            if (&mut source.ended).await.is_err() {
                tracing::error!(source = &*source.name, "its last status is not published");
            }
            source.join()?;
        }
        // What another thread still decodes is dropped.
        self.decoders.stopped();
        Ok(())
    }
}

impl Running {
    fn join(self) -> anyhow::Result<()> {
        tracing::info!(source = &*self.name, "{}", self.counts.snapshot());
        self.thread.join().map_err(|_| anyhow!("the source {} panicked", self.name))
    }
}

/// Publishes the properties of the source's stream.
async fn publish_info(mut infos: watch::Receiver<Option<source::StreamInfo>>, topic: String, board: Board) {
    while infos.changed().await.is_ok() {
        if let Some(info) = &*infos.borrow_and_update() {
            board.set(&topic, &info.to_json());
        }
    }
}

/// Publishes the status of a source and its problem at `topics`, until the source has ended. A source without a problem of its own has
/// that of the engine, if there is one: its frames are not scored.
async fn publish_status(
    mut statuses: watch::Receiver<source::Status>,
    mut problems: watch::Receiver<Option<source::Problem>>,
    mut engine: watch::Receiver<Option<Away>>,
    mut topics: watch::Receiver<Vec<SourceTopics>>,
    board: Board,
) {
    let publish = |topic: &SourceTopics, status: source::Status, problem: &str| {
        board.set(&topic.problem, problem);
        board.set(&topic.status, status.as_str());
    };
    let in_words =
        |problem: &Option<source::Problem>| problem.as_ref().map_or(String::new(), source::Problem::to_json);
    // What was published at which topics: only that differs for a topic that is added.
    let (mut published, mut before) = (BTreeSet::new(), None);
    loop {
        tokio::select! {
            changed = statuses.changed() => if changed.is_err() { break },
            Ok(()) = problems.changed() => {}
            Ok(()) = engine.changed() => {}
            // The sender is dropped when the source is joined, which is after its end.
            Ok(()) = topics.changed() => {}
        }
        let of_engine = engine.borrow_and_update().as_ref().map(problem_of_engine);
        let problem = in_words(&problems.borrow_and_update().clone().or(of_engine));
        let now = Some((*statuses.borrow_and_update(), problem));
        let topics = topics.borrow_and_update();
        if before != now {
            published.clear();
        }
        if let Some((status, problem)) = &now {
            let new = topics.iter().filter(|topic| !published.contains(*topic));
            new.for_each(|topic| publish(topic, *status, problem));
        }
        (published, before) = (topics.iter().cloned().collect(), now);
    }
    // A source that has ended has no problem.
    topics.borrow_and_update().iter().for_each(|topic| publish(topic, source::Status::Offline, ""));
}
