//! Delivers the alerts of the outbox: carries out what the [`Window`] decides, one connection at a time.
//!
//! A snapshot that is too large for the broker is made smaller. One that the broker does not accept in any size is left out,
//! so that it cannot hold up its alert for ever.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    counts::{Counts, add},
    link::{Interrupted, JPEG, JSON, Link, Message, Receipt, Refusal},
    window::{Action, Outcome, SNAPSHOT_TRIES, SnapshotSize, Window, readiness::Readiness},
};
use crate::{
    alert::outbox::{Entry, Heartbeat, Outbox, Seq, Sink, Snapshot},
    backoff::jitter,
    blocking,
    config::Mqtt,
    mqtt, picture,
};

/// How many alerts are read at a time.
const BATCH: usize = 64;

/// The way of alerts from the outbox to the broker.
pub(super) struct Delivery {
    pub outbox: Arc<Outbox>,
    counts: Arc<Counts>,
    window: Window,
    /// The alerts in flight, oldest first.
    in_flight: VecDeque<InFlight>,
    url: String,
    user: String,
    /// Seconds after which the broker discards an alert that it could not pass on, and a retained snapshot.
    expiry: Option<u32>,
}

struct InFlight {
    seq: Seq,
    entry: Arc<Entry>,
    receipt: Receipt,
}

/// What a step of delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An answer came; there may be more to do at once.
    More,
    /// Nothing can be sent before something is appended or this time is reached.
    Idle(Option<Instant>),
}

impl Delivery {
    pub fn new(broker: &Mqtt, outbox: Arc<Outbox>, counts: Arc<Counts>) -> Self {
        let expiry = broker.connection.message_expiry;
        Self {
            outbox,
            counts,
            window: Window::new(jitter),
            in_flight: VecDeque::new(),
            url: mqtt::url(broker),
            user: broker.username.clone().unwrap_or_else(|| "anonymous".to_owned()),
            expiry: expiry.and_then(|expiry| u32::try_from(expiry.as_secs()).ok()),
        }
    }

    /// A session starts: what the last one had in flight is sent again.
    pub async fn start(&mut self) {
        self.delete_acknowledged().await;
        self.in_flight.clear();
        self.window.start();
    }

    /// The state of Home Assistant, for which alerts wait.
    pub fn readiness(&mut self) -> &mut Readiness {
        self.window.readiness()
    }

    /// Sends what comes next and waits for one answer, if there is any to come.
    pub async fn step(&mut self, link: &Link) -> Result<Step, Interrupted> {
        self.window.look_again();
        loop {
            match self.window.next(Instant::now().into_std(), self.outbox.rewound()) {
                Action::Read { after } => {
                    let found = self.read(after).await;
                    self.window.found(found);
                }
                Action::Fetch(seq) => {
                    let entry = self.on_disk(move |outbox| outbox.get(Sink::Mqtt, seq)).await;
                    self.window.fetched(entry);
                }
                Action::SendSnapshot { seq, entry, size } => {
                    self.send_snapshot(link, seq, &entry, size).await?;
                    self.window.snapshot_done(seq);
                }
                Action::Send { seq, .. } if self.outbox.is_dropped(seq) => {
                    // It was counted as dropped after it was read.
                    self.window.answered(seq, None, Instant::now().into_std());
                }
                Action::Send { seq, entry, repeated } => {
                    if repeated {
                        add(&self.counts.repeated);
                    }
                    let message =
                        Message { topic: &entry.topic, retain: false, kind: JSON, expiry: self.expiry };
                    let receipt = link.send(message, entry.payload.as_bytes().to_vec()).await?;
                    self.in_flight.push_back(InFlight { seq, entry, receipt });
                }
                Action::Wait => {
                    self.wait().await?;
                    return Ok(Step::More);
                }
                Action::Delete(seqs) => self.delete(seqs).await,
                Action::Idle(until) => return Ok(Step::Idle(until.map(Instant::from_std))),
            }
        }
    }

    /// Takes the heartbeat if every alert that was raised before it was sent.
    pub fn take_heartbeat(&self) -> Option<Heartbeat> {
        self.outbox.take_heartbeat(|after| self.window.has_passed(after))
    }

    /// Sends no more alerts and waits for the answers to those in flight.
    pub async fn finish(&mut self, link: &Link) -> Result<(), Interrupted> {
        self.window.stop();
        while self.step(link).await? == Step::More {}
        Ok(())
    }

    /// Deletes the alerts that the broker has from the outbox.
    pub async fn delete_acknowledged(&mut self) {
        let seqs = self.window.take_acknowledged();
        self.delete(seqs).await;
    }

    async fn delete(&self, seqs: Vec<Seq>) {
        if !seqs.is_empty() {
            self.on_disk(move |outbox| outbox.remove(Sink::Mqtt, &seqs)).await;
        }
    }

    async fn read(&mut self, after: Seq) -> Vec<(Seq, Arc<Entry>)> {
        if let Some(found) = self.outbox.peek(Sink::Mqtt, after, BATCH) {
            return found;
        }
        // The disk must not return what was acknowledged already.
        self.delete_acknowledged().await;
        self.on_disk(move |outbox| outbox.read(Sink::Mqtt, after, BATCH)).await
    }

    /// Waits for the oldest answer.
    async fn wait(&mut self) -> Result<(), Interrupted> {
        let Some(InFlight { seq, entry, receipt }) = self.in_flight.pop_front() else { return Ok(()) };
        let refusal = receipt.answer().await?.err();
        let outcome = self.window.answered(seq, refusal.as_ref(), Instant::now().into_std());
        match (outcome, refusal) {
            (Outcome::Delivered { resumed }, _) => self.delivered(seq, &entry, resumed),
            (Outcome::Refused { first }, Some(refusal)) => self.refused(&entry, &refusal, first),
            _ => {}
        }
        Ok(())
    }

    fn delivered(&self, seq: Seq, entry: &Entry, resumed: bool) {
        add(&self.counts.published);
        // An alert from before the start has only the time of day, which may have been set since: negative if it was set back.
        let by_clock = || jiff::Timestamp::now().duration_since(entry.raised()?).try_into().ok();
        let took = self.outbox.age(seq).or_else(by_clock);
        self.counts.delivery.observe(took.unwrap_or_default());
        if resumed {
            tracing::info!(
                broker = self.url,
                topic = entry.topic,
                "the broker accepts alerts to this topic again"
            );
        }
        let subject = entry.subject();
        tracing::info!(
            source = subject.source,
            label_set = subject.label_set,
            label = subject.label,
            score = subject.score,
            topic = entry.topic,
            id = entry.id,
            "alert published: {}",
            subject.words
        );
    }

    fn refused(&self, entry: &Entry, refusal: &Refusal, first: bool) {
        add(&self.counts.refused);
        if !first {
            tracing::debug!(topic = entry.topic, why = %refusal, "the broker still refuses an alert");
            return;
        }
        tracing::error!(
            broker = self.url, user = self.user, id = entry.id, topic = entry.topic, why = %refusal,
            waiting = self.outbox.waiting(), "the broker refuses an alert: {}; it waits on disk and is offered again",
            refusal.remedy()
        );
    }

    async fn send_snapshot(
        &mut self,
        link: &Link,
        seq: Seq,
        entry: &Entry,
        size: SnapshotSize,
    ) -> Result<(), Interrupted> {
        let Some(Snapshot { topic, jpeg }) = &entry.snapshot else { return Ok(()) };
        let limit = match size {
            SnapshotSize::Any => link.room(topic),
            SnapshotSize::AtMost(bytes) => Some(link.room(topic).map_or(bytes, |room| room.min(bytes))),
            SnapshotSize::LeftOut => {
                self.left_out(
                    entry,
                    &format!("the connection broke {SNAPSHOT_TRIES} times while it was sent"),
                );
                return Ok(());
            }
        };
        let Some(fitting) = fit(jpeg, limit).await else {
            self.left_out(entry, "it is too large for the broker, and cannot be made smaller");
            return Ok(());
        };
        if fitting.len() < jpeg.len() {
            add(&self.counts.snapshots_scaled);
            tracing::debug!(
                id = entry.id,
                from = jpeg.len(),
                to = fitting.len(),
                "the snapshot was made smaller"
            );
        }
        self.window.snapshot_sent(seq);
        let message = Message { topic, retain: true, kind: JPEG, expiry: self.expiry };
        if let Err(refusal) = link.deliver(message, fitting).await? {
            self.left_out(entry, &refusal.to_string());
        }
        Ok(())
    }

    /// The one place where the publisher drops a snapshot.
    fn left_out(&self, entry: &Entry, why: &str) {
        add(&self.counts.snapshots_skipped);
        if let Some(Snapshot { topic, jpeg }) = &entry.snapshot {
            let (id, size) = (&entry.id, jpeg.len());
            tracing::warn!(id, topic, size, why, "the snapshot was left out; its alert is sent without it");
        }
    }

    /// Reading and syncing block, and must not block the runtime.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Outbox) -> T + Send + 'static) -> T {
        let outbox = Arc::clone(&self.outbox);
        match blocking::run(move || work(&outbox)).await {
            Ok(done) => done,
            // It is never aborted, so it panicked.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// The picture in at most `limit` bytes, if that is possible.
async fn fit(jpeg: &[u8], limit: Option<usize>) -> Option<Vec<u8>> {
    let jpeg = jpeg.to_vec();
    match limit {
        Some(limit) if jpeg.len() > limit => {
            // It takes long enough to hold up the runtime.
            blocking::run(move || picture::shrink_jpeg(&jpeg, limit)).await.ok().flatten()
        }
        _ => Some(jpeg),
    }
}
