//! The head of the outbox: how one alert, with its picture, is brought to the broker.
//!
//! It refuses to look past the head: what comes later waits, so that the order is kept.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    FIRST_DELAY, Interrupted, LONGEST_DELAY, Publisher, jitter,
    link::{Link, Refusal},
};
use crate::{
    alert::outbox::{self, Entry, Outbox, Seq, Snapshot},
    backoff::Backoff,
};

/// A picture during which the session broke so often is left out: some brokers hang up on what is too large for them.
const SNAPSHOT_TRIES: u32 = 3;

/// What is known of the alert at the head of the outbox.
#[derive(Debug, Default)]
pub(super) struct Head {
    seq: Option<Seq>,
    /// How often the picture was sent and neither taken nor refused.
    snapshot_tries: u32,
    /// The broker has the picture, or will not take it.
    snapshot_settled: bool,
    /// The alert was sent, and there was no answer.
    unanswered: bool,
}

/// What became of an attempt to deliver the head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Done,
    Refused,
    /// It was refused, and it is too early to ask again.
    Postponed,
    NothingThere,
}

/// When to offer a refused alert again.
pub(super) struct Patience {
    backoff: Backoff,
    until: Option<Instant>,
}

impl Publisher {
    /// Sends the oldest alert, its picture first, and removes it when the broker has it.
    pub(super) async fn deliver_head(&mut self, link: &Link) -> Result<Delivery, Interrupted> {
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
        if std::mem::replace(&mut self.head.unanswered, true) {
            add(&self.counts.repeated);
        }
        let answer = link.deliver(&topic, false, payload.into_bytes()).await?;
        self.head.unanswered = false;
        match answer {
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
            let answer = link.deliver(&topic, true, jpeg).await?;
            self.head.snapshot_tries = 0;
            answer.map_err(|refusal| refusal.to_string())
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

    fn complain(&mut self, id: &str, topic: &str, refusal: &Refusal) {
        if self.refused.due(Instant::now()) {
            let user = self.broker.username.as_deref().unwrap_or("anonymous");
            tracing::error!(
                broker = self.url, user, id, topic, why = %refusal, waiting = self.outbox.waiting(),
                "the broker refuses an alert: see its access rules and limits for this user; until then it and those \
                 behind it wait on disk"
            );
        }
    }
}

impl Head {
    /// A new session: the broker may have lost what it had.
    pub(super) fn forget_snapshot(&mut self) {
        self.snapshot_settled = false;
    }
}

impl Patience {
    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    pub(super) fn refused(&mut self) {
        self.until = Some(Instant::now() + self.backoff.failed(jitter()));
    }

    pub(super) async fn end(&self) {
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
