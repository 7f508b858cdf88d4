//! The thread `judge`: runs the triggers over scored frames, writes their alerts to the outbox, and publishes observations.
//!
//! The alerts of a frame are on disk before its source receives the slot back and before any observer sees the frame.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{checkpoints::Checkpoints, clock_steps::ClockSteps};
use crate::{
    alert::{
        Alert, State, Topics,
        board::Board,
        outbox::{Entry, Outbox},
    },
    classify::Scored,
    config::{Config, Source},
    history,
    judge::{Assessment, Judge, Judged, Reloaded, SavedBaseline},
    observe::{Observation, Observers, ServiceMetrics},
    state_file::StateFile,
    trigger::whole_milliseconds,
};

/// The most frames that are judged together: their alerts reach the disk in one transaction.
const BATCH: usize = 32;
/// The file with the learnt baselines, in the state folder.
const BASELINES: &str = "baselines.json";
/// The JPEG quality of snapshots.
const QUALITY: u8 = 85;

/// The judge, and where its alerts go.
pub(super) struct JudgeThread {
    pub(super) judge: Judge,
    pub(super) baselines: BaselineFile,
    pub(super) topics: Topics,
    pub(super) outbox: Arc<Outbox>,
    pub(super) board: Board,
    pub(super) metrics: Arc<ServiceMetrics>,
    pub(super) observers: Observers,
    pub(super) steps: ClockSteps,
    pub(super) checkpoints: Checkpoints,
    /// The history, unless the configuration forbids it.
    pub(super) history: Option<history::Handle>,
}

/// A change of what is watched.
pub(super) enum Watching {
    /// What this configuration says, dynamic sources included.
    All(Arc<Config>),
    /// One more source of this configuration.
    OneMore {
        /// The configuration, dynamic sources included.
        config: Arc<Config>,
        /// The new source.
        source: Arc<Source>,
        /// A source that is no longer watched.
        gone: Option<String>,
    },
}

/// An alert, and its snapshot as JPEG.
type Pictured = (Alert, Option<Vec<u8>>);

impl JudgeThread {
    /// Starts the thread, which ends when `scored` closes. It watches what the newest of `watching` says, and puts a heartbeat into the
    /// outbox for each of `beats`.
    ///
    /// The result closes when the thread ends, by a panic, too.
    pub(super) fn spawn(
        mut self,
        mut scored: mpsc::Receiver<Scored>,
        mut watching: mpsc::Receiver<Watching>,
        mut beats: mpsc::Receiver<()>,
    ) -> anyhow::Result<oneshot::Receiver<()>> {
        let (alive, ended) = oneshot::channel();
        // A runtime for waiting on either channel; everything else on this thread may block.
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("no runtime")?;
        let work = async move {
            let _alive: oneshot::Sender<()> = alive;
            let mut frames = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    Some(watching) = watching.recv() => match watching {
                        Watching::All(config) => self.reload(&config),
                        Watching::OneMore { config, source, gone } => self.add(&config, &source, gone.as_deref()),
                    },
                    Some(()) = beats.recv() => self.outbox.beat(Timestamp::now()),
                    count = scored.recv_many(&mut frames, BATCH) => match count {
                        0 => break,
                        _ => self.judge_all(std::mem::take(&mut frames)),
                    }
                }
                self.baselines.save_if_due(&self.judge);
            }
            self.baselines.save(&self.judge);
        };
        let thread = thread::Builder::new().name("judge".to_owned());
        thread.spawn(move || runtime.block_on(work)).context("cannot start the judge")?;
        Ok(ended)
    }

    /// Restores which labels were raised when the service ended. Called before the first [`Self::reload`], with the topics of that
    /// configuration.
    pub(super) fn restore(&mut self) {
        let mut moved = Vec::new();
        let parse = |(topic, raised, alert): (String, bool, String)| {
            let Some(alert) = Alert::from_json(&alert) else {
                tracing::warn!(
                    "the outbox has a label whose last alert is unreadable: if it is raised, it is raised again"
                );
                return None;
            };
            // An earlier release may have spelt the names in another way.
            let now = self.topics.state(&alert.source, &alert.label_set, &alert.label);
            if now != topic {
                moved.push((topic, now));
            }
            Some((raised, alert))
        };
        let marks: Vec<_> = self.outbox.marks().into_iter().filter_map(parse).collect();
        self.outbox.move_marks(&moved);
        self.judge.restore(marks);
    }

    /// Watches what `config` says.
    pub(super) fn reload(&mut self, config: &Arc<Config>) {
        self.topics = Topics::of(config);
        self.observers.reload(config);
        self.metrics.set_labels(config);
        let reloaded = self.judge.reload(config, Timestamp::now(), Uuid::now_v7);
        self.checkpoints.reloaded(|name| config.sources.iter().any(|source| source.name == name));
        self.apply(reloaded);
    }

    /// Watches one more source.
    fn add(&mut self, config: &Arc<Config>, source: &Source, gone: Option<&str>) {
        self.topics = Topics::of(config);
        self.observers.reload(config);
        self.metrics.add_labels(config, source, gone);
        let reloaded = self.judge.add(config, source, gone, Timestamp::now(), Uuid::now_v7);
        self.checkpoints.added(&source.name, gone);
        self.apply(reloaded);
    }

    /// Publishes what a change of the labels means.
    fn apply(&mut self, reloaded: Reloaded) {
        let cleared = self.commit(reloaded.cleared.into_iter().map(|cleared| (cleared, None)).collect());
        if let Some(history) = &self.history {
            history.record(cleared);
        }
        for (topics, payload) in [
            (&reloaded.removed, ""),
            (&reloaded.added, State::Cleared.switch()),
            (&reloaded.raised, State::Raised.switch()),
        ] {
            topics.iter().for_each(|topic| self.board.set(topic, payload));
        }
        // A topic that is removed and added, because only the spelling of its label changed, has no mark to keep either.
        if !reloaded.removed.is_empty() {
            self.outbox.forget_marks(&reloaded.removed);
        }
        tracing::debug!(added = reloaded.added.len(), removed = reloaded.removed.len(), "labels");
    }

    /// Judges these frames. All their alerts are committed in one step; then their sources receive the slots back.
    fn judge_all(&mut self, frames: Vec<Scored>) {
        let metrics = Arc::clone(&self.metrics);
        let (_working, began) = (metrics.judge.work(), Instant::now());
        let (mut alerts, mut judged) = (Vec::new(), Vec::with_capacity(frames.len()));
        if let Some(by) = self.steps.notice() {
            self.judge.clock_was_set(by);
            self.checkpoints.clock_was_set(by);
        }
        for mut scored in frames {
            let captured_at = self.steps.corrected(scored.frame.captured_at);
            scored.frame.captured_at = whole_milliseconds(captured_at);
            let now = Timestamp::now();
            let (number, checkpoint) = self.checkpoints.next(&scored.frame.source, &self.judge, began);
            let (own, assessments) = self.judge_one(&scored, now);
            judged.push((scored, now, own.len(), assessments, number, checkpoint));
            alerts.extend(own);
        }
        let mut alerts = self.commit(alerts).into_iter();
        metrics.judging.observe(began.elapsed());
        for (scored, judged_at, count, assessments, number, checkpoint) in judged {
            let Scored { frame, sets, embeddings } = scored;
            let duration = frame.slot.age();
            metrics.count_frame(&frame.source, frame.captured_at, duration);
            frame.slot.done();
            let source = Arc::clone(&frame.source);
            let received = self.observers.publish(Observation {
                judged_at,
                number,
                checkpoint,
                source: frame.source,
                origin: frame.origin,
                captured_at: frame.captured_at,
                duration,
                picture: frame.picture.into(),
                sets,
                embeddings,
                alerts: alerts.by_ref().take(count).collect(),
                assessments,
            });
            if !received {
                self.checkpoints.lost(&source);
            }
        }
    }

    /// The alerts of this frame, with one snapshot at most: all alerts of a source share its topic; and what was made of each label.
    fn judge_one(&mut self, scored: &Scored, now: Timestamp) -> (Vec<Pictured>, Vec<Assessment>) {
        let Judged { alerts, assessments } = self.judge.judge(scored, now, Uuid::now_v7);
        tracing::debug!(
            source = &*scored.frame.source,
            origin = scored.frame.origin,
            alerts = alerts.len(),
            "scored"
        );
        let mut pictured = false;
        let with_snapshot = |mut alert: Alert| {
            let jpeg = match alert.state {
                State::Raised if !pictured => snapshot(scored),
                _ => None,
            };
            pictured |= jpeg.is_some();
            if !pictured {
                // The topic has the snapshot of an older alert.
                alert.snapshot = None;
            }
            (alert, jpeg)
        };
        (alerts.into_iter().map(with_snapshot).collect(), assessments)
    }

    /// Writes the alerts to the outbox, and then the states of their labels to the board.
    fn commit(&self, alerts: Vec<Pictured>) -> Vec<Alert> {
        let entry = |(alert, jpeg): Pictured| {
            let entry = Entry::new(&alert, &self.topics, jpeg);
            (alert, entry)
        };
        let (alerts, entries): (Vec<_>, Vec<_>) = alerts.into_iter().map(entry).unzip();
        self.outbox.append_all(entries);
        for alert in &alerts {
            self.metrics.count_alert(alert);
            let topic = self.topics.state(&alert.source, &alert.label_set, &alert.label);
            self.board.set(&topic, alert.state.switch());
            tracing::info!(
                source = &*alert.source,
                label_set = &*alert.label_set,
                label = &*alert.label,
                score = alert.when.is_none().then_some(alert.score),
                when = alert.when.as_deref(),
                origin = alert.frame.origin,
                "`{}` {}",
                alert.label,
                alert.state.word()
            );
        }
        alerts
    }
}

fn snapshot(scored: &Scored) -> Option<Vec<u8>> {
    let jpeg = scored.frame.picture.to_jpeg(QUALITY);
    jpeg.inspect_err(|error| {
        tracing::warn!(source = &*scored.frame.source, %error, "an alert has no snapshot");
    })
    .ok()
}

/// The learnt baselines in the state directory. A kill loses the last minutes of values that change over many.
pub(super) struct BaselineFile {
    file: StateFile,
    saved_at: Instant,
}

impl BaselineFile {
    /// The time between two writes.
    const PAUSE: Duration = Duration::from_secs(600);

    /// Reads the file in `state_dir`.
    pub(super) fn load(state_dir: &Path) -> (Self, Vec<SavedBaseline>) {
        let (file, baselines) = StateFile::load(
            state_dir,
            BASELINES,
            "labels with a `rise` are not raised until their baselines are learnt again",
        );
        (Self { file, saved_at: Instant::now() }, baselines)
    }

    fn save_if_due(&mut self, judge: &Judge) {
        if self.saved_at.elapsed() >= Self::PAUSE {
            self.save(judge);
        }
    }

    fn save(&mut self, judge: &Judge) {
        self.file.save(&judge.baselines());
        self.saved_at = Instant::now();
    }
}

/// The baselines that a service with this state folder has learnt, for commands that judge beside it; none if they cannot be read.
#[must_use]
pub fn saved_baselines(state_dir: &Path) -> Vec<SavedBaseline> {
    let content = fs::read(state_dir.join(BASELINES)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        classify::{RegionScores, SetScores},
        clock::Clock,
        frame::{Frame, Slot},
        judge::Gate,
        picture::Picture,
        samples,
    };

    #[tokio::test]
    async fn observers_receive_a_frame_after_its_alerts_are_in_the_outbox() {
        let (state, config) = (tempfile::tempdir().unwrap(), Arc::new(samples::config()));
        let outbox = Arc::new(Outbox::open(state.path()).unwrap());
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::clone(&config), Arc::clone(&metrics));
        let mut subscription = observers.subscribe("test");
        let mut judge = JudgeThread {
            judge: Judge::new("home", "bundled"),
            baselines: BaselineFile::load(state.path()).0,
            topics: Topics::new("home"),
            outbox: Arc::clone(&outbox),
            board: Board::new(),
            metrics,
            observers,
            steps: ClockSteps::new(Clock::system()),
            checkpoints: Checkpoints::default(),
            history: None,
        };
        judge.reload(&config);
        let ((scored, to_judge), (_configs, to_watch)) = (mpsc::channel(1), mpsc::channel(1));
        let (beats, to_beat) = mpsc::channel(1);
        let ended = judge.spawn(to_judge, to_watch, to_beat).unwrap();
        beats.send(()).await.unwrap();
        while outbox.take_heartbeat(|_| true).is_none() {
            tokio::task::yield_now().await;
        }

        let slots = Arc::new(Semaphore::new(1));
        let frame = Frame {
            source: "back".into(),
            origin: "1.jpg".to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::new(Arc::clone(&slots).try_acquire_owned().unwrap()),
        };
        let set = SetScores {
            label_set: "porch".into(),
            labels: ["Person".into(), "package".into()].into(),
            regions: vec![RegionScores { region: None, labels: vec![0.9, 0.1], background: None }],
        };
        scored.send(Scored { frame, sets: vec![set], embeddings: vec![[1.0].into()] }).await.unwrap();
        let observation = subscription.observations.recv().await.unwrap();
        assert_eq!((outbox.waiting(), slots.available_permits()), (1, 1));
        let labels: Vec<_> = observation.alerts.iter().map(|alert| &*alert.label).collect();
        assert_eq!((labels, observation.sets.len(), observation.embeddings.len()), (vec!["Person"], 1, 1));
        let assessed = observation.assessments.iter().map(|it| (&*it.label, it.raised, it.held_by.clone()));
        let expected = [("Person", true, None), ("package", false, Some(Gate::BelowThreshold))];
        assert_eq!(assessed.collect::<Vec<_>>(), expected);

        drop(scored);
        assert!(ended.await.is_err(), "the thread has ended");
        assert!(subscription.observations.recv().await.is_none());
    }
}
