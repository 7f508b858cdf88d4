//! The thread `judge`: runs the triggers over the scores, and brings onto the disk and the board what they say.
//!
//! It refuses to decide what is raised; that is [`Judge`].

use std::{sync::Arc, thread, time::Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::baselines::Baselines;
use crate::{
    alert::{
        Alert, State, Topics,
        board::Board,
        outbox::{Entry, Outbox},
    },
    classify::Scored,
    config::Config,
    judge::Judge,
    observe::{metrics::Figures, score_publisher::Meter},
};

/// So many frames are judged together at most: what they raise reaches the disk at the price of one.
const AT_ONCE: usize = 32;

/// A judge, and where what it says is told.
pub(super) struct Judging {
    pub(super) judge: Judge,
    pub(super) baselines: Baselines,
    pub(super) meter: Meter,
    pub(super) topics: Topics,
    pub(super) outbox: Arc<Outbox>,
    pub(super) board: Board,
    pub(super) figures: Arc<Figures>,
}

impl Judging {
    /// Starts the thread, which ends when `scored` is closed. From `configs` it takes what is to be watched from then on.
    ///
    /// The answer closes when the thread ends, in whatever way.
    pub(super) fn spawn(
        mut self,
        mut scored: mpsc::Receiver<Scored>,
        mut configs: mpsc::Receiver<Arc<Config>>,
    ) -> anyhow::Result<oneshot::Receiver<()>> {
        let (alive, ended) = oneshot::channel();
        // The thread's own runtime waits for either channel; all else on this thread may block.
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("no runtime")?;
        let work = async move {
            let _alive: oneshot::Sender<()> = alive;
            let mut frames = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    Some(config) = configs.recv() => self.reload(&config),
                    count = scored.recv_many(&mut frames, AT_ONCE) => match count {
                        0 => break,
                        _ => self.judge_all(std::mem::take(&mut frames)),
                    }
                }
                if self.baselines.is_due() {
                    self.baselines.keep(self.judge.known());
                }
            }
            self.baselines.keep(self.judge.known());
        };
        let thread = thread::Builder::new().name("judge".to_owned());
        thread.spawn(move || runtime.block_on(work)).context("cannot start the judge")?;
        Ok(ended)
    }

    /// Goes on where the service was when it ended. Before the first [`Self::reload`].
    pub(super) fn recall(&mut self) {
        let marks = self.outbox.marks().into_iter();
        let known = |(raised, alert): (bool, String)| {
            let alert = Alert::from_json(&alert);
            if alert.is_none() {
                tracing::warn!(
                    "the outbox remembers a label in words that nobody understands: if it is raised, it is raised again"
                );
            }
            Some((raised, alert?))
        };
        self.judge.recall(marks.filter_map(known));
    }

    /// Goes on with what `config` watches.
    pub(super) fn reload(&mut self, config: &Config) {
        self.meter.reload(config);
        self.figures.watch(config);
        let told = self.judge.reload(config, Timestamp::now(), Uuid::now_v7);
        self.tell(told.cleared.into_iter().map(|cleared| (cleared, None)).collect());
        for topic in &told.forgotten {
            self.board.set(topic, "");
        }
        for topic in &told.new {
            self.board.set(topic, State::Cleared.switch());
        }
        for topic in &told.still {
            self.board.set(topic, State::Raised.switch());
        }
        // One may be forgotten under one spelling and new under another; then there is nothing to remember of it either.
        self.outbox.forget_marks(&told.forgotten);
        tracing::debug!(new = told.new.len(), forgotten = told.forgotten.len(), "labels");
    }

    /// What these frames changed: onto the disk first, all at once, then onto the board; then their sources may have
    /// their slots back.
    fn judge_all(&mut self, frames: Vec<Scored>) {
        let figures = Arc::clone(&self.figures);
        let (_at_work, began) = (figures.judge.work(), Instant::now());
        let alerts = frames.iter().flat_map(|scored| self.judge(scored)).collect();
        self.tell(alerts);
        figures.judging.observe(began.elapsed());
        for scored in frames {
            figures.whole_way.observe(scored.frame.slot.age());
            figures.frame(&scored.frame.source, scored.frame.captured_at);
            scored.frame.slot.done();
        }
    }

    /// What this frame changed, and its picture where it belongs.
    fn judge(&mut self, scored: &Scored) -> Vec<(Alert, Option<Vec<u8>>)> {
        self.meter.tell(scored, Timestamp::now());
        let alerts = self.judge.judge(scored, Timestamp::now(), Uuid::now_v7);
        tracing::debug!(
            source = &*scored.frame.source,
            origin = scored.frame.origin,
            alerts = alerts.len(),
            "scored"
        );
        // One picture a frame is enough: its topic is the source's.
        let mut pictured = false;
        let with_picture = |mut alert: Alert| {
            let jpeg = match alert.state {
                State::Raised if !pictured => snapshot(scored),
                _ => None,
            };
            pictured |= jpeg.is_some();
            if !pictured {
                // The topic holds the picture of an older alert.
                alert.snapshot = None;
            }
            (alert, jpeg)
        };
        alerts.into_iter().map(with_picture).collect()
    }

    /// Onto the disk first, then onto the board.
    fn tell(&self, alerts: Vec<(Alert, Option<Vec<u8>>)>) {
        let entry = |(alert, jpeg): (Alert, Option<Vec<u8>>)| {
            let entry = Entry::new(&alert, &self.topics, jpeg);
            (alert, entry)
        };
        let (alerts, entries): (Vec<_>, Vec<_>) = alerts.into_iter().map(entry).unzip();
        self.outbox.append_all(entries);
        for alert in alerts {
            self.figures.alert(&alert);
            let topic = self.topics.state(&alert.source, &alert.label_set, &alert.label);
            self.board.set(&topic, alert.state.switch());
            tracing::info!(
                source = &*alert.source,
                label_set = &*alert.label_set,
                label = &*alert.label,
                score = alert.when.is_none().then_some(alert.score),
                when = alert.when.as_deref(),
                origin = alert.frame.origin,
                "{}",
                alert.state.word()
            );
        }
    }
}

fn snapshot(scored: &Scored) -> Option<Vec<u8>> {
    const QUALITY: u8 = 85;
    let jpeg = scored.frame.picture.to_jpeg(QUALITY);
    jpeg.inspect_err(|error| {
        tracing::warn!(source = &*scored.frame.source, %error, "an alert goes without its snapshot");
    })
    .ok()
}
