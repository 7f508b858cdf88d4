//! The thread `judge`: runs the triggers over the scores, and brings onto the disk and the board what they say.
//!
//! It refuses to decide what is raised; that is [`Judge`].

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{judge::Judge, meter::Meter};
use crate::{
    alert::{
        Alert, State, Topics,
        board::Board,
        outbox::{Entry, Outbox},
    },
    classify::Scored,
    config::Config,
};

/// How long the judge waits before it tries again to keep an alert.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// A judge, and where what it says is told.
pub(super) struct Judging {
    pub(super) judge: Judge,
    pub(super) meter: Meter,
    pub(super) topics: Topics,
    pub(super) outbox: Arc<Outbox>,
    pub(super) board: Board,
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
            loop {
                tokio::select! {
                    biased;
                    Some(config) = configs.recv() => self.reload(&config),
                    scored = scored.recv() => match scored {
                        Some(scored) => self.judge(scored),
                        None => break,
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("judge".to_owned());
        thread.spawn(move || runtime.block_on(work)).context("cannot start the judge")?;
        Ok(ended)
    }

    /// Goes on with what `config` watches.
    pub(super) fn reload(&mut self, config: &Config) {
        self.meter.reload(config);
        let told = self.judge.reload(config, Timestamp::now(), Uuid::now_v7);
        for cleared in &told.cleared {
            self.tell(cleared, None);
        }
        for topic in &told.forgotten {
            self.board.set(topic, "");
        }
        for topic in &told.new {
            self.board.set(topic, State::Cleared.switch());
        }
        tracing::debug!(new = told.new.len(), forgotten = told.forgotten.len(), "labels");
    }

    /// What this frame changed: onto the disk first, then onto the board; then its source may have its slot back.
    fn judge(&mut self, scored: Scored) {
        self.meter.tell(&scored, Timestamp::now());
        let alerts = self.judge.judge(&scored, Timestamp::now(), Uuid::now_v7);
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
            self.tell(&alert, jpeg);
        }
        scored.frame.slot.done();
    }

    /// Onto the disk first, then onto the board.
    fn tell(&self, alert: &Alert, jpeg: Option<Vec<u8>>) {
        keep(&self.outbox, &Entry::new(alert, &self.topics, jpeg));
        let topic = self.topics.state(&alert.source, &alert.label_set, &alert.label);
        self.board.set(&topic, alert.state.switch());
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
