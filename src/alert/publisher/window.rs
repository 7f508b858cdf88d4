//! The way of alerts from the outbox to the broker: which come next, which are under way, which the broker refuses.
//!
//! They are sent in their order. A few go one by one (two small answers in a row cost the broker's system 40 ms, and so do the
//! last ones before a snapshot, whose answer is waited for); when many wait several are under way at once. An alert that the broker refuses is held, and with it all that go to the same
//! topic; the others go past it. It refuses to forget an alert that was not acknowledged: what is under way when a
//! session ends is still in the outbox, and is read again.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{
    FIRST_DELAY, Interrupted, LONGEST_DELAY, Publisher, jitter,
    link::{Link, Message, Receipt, Refusal},
};
use crate::{
    alert::outbox::{Entry, Outbox, Seq, Sink},
    backoff::Backoff,
};

/// So many alerts are read at a time.
const BATCH: usize = 64;
/// So many go one by one.
const FEW: usize = 8;
/// So many are under way at most; less than the link has room for, so that the board finds some.
const UNDER_WAY: usize = 12;
/// So many acknowledged alerts leave the disk at a time, while others follow;
const LEAVE: usize = 64;
/// or all of them, so long after the first: each time costs as much as bringing an alert onto the disk. If the service
/// is killed before, they are sent again.
const LINGER: Duration = Duration::from_millis(100);

/// Where delivery stands.
#[derive(Default)]
pub(super) struct Window {
    /// Everything up to here was sent in this session, or is held.
    cursor: Seq,
    /// Those that were sent and not answered, also in earlier sessions.
    unanswered: HashSet<Seq>,
    next: VecDeque<(Seq, Arc<Entry>)>,
    under_way: VecDeque<UnderWay>,
    /// To be removed from the outbox.
    acknowledged: Vec<Seq>,
    /// When they leave at the latest.
    leave: Option<Instant>,
    held: BTreeMap<String, Held>,
    pause: Patience,
    rewound: u64,
    /// How often a picture was sent and neither taken nor refused.
    pub(super) snapshot_tries: HashMap<Seq, u32>,
}

struct UnderWay {
    seq: Seq,
    entry: Arc<Entry>,
    receipt: Receipt,
}

/// The alerts of one topic that the broker refuses.
#[derive(Default)]
struct Held {
    /// Those of this session, in order; others are read again.
    seqs: VecDeque<Seq>,
    patience: Patience,
}

/// When to ask again.
pub(super) struct Patience {
    backoff: Backoff,
    until: Option<Instant>,
}

/// What a step of delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do at once.
    More,
    /// Nothing can be sent right now.
    Idle,
}

impl Publisher {
    /// A new session: what was under way was not acknowledged, and is read again.
    pub(super) fn rewind(&mut self) {
        let window = &mut self.window;
        (window.cursor, window.rewound) = (0, self.outbox.rewound());
        window.next.clear();
        window.under_way.clear();
        window.held.values_mut().for_each(|held| {
            held.seqs.clear();
            held.patience.until = None;
        });
    }

    /// Sends what comes next and takes answers in; one of them at least, if there is any to come.
    pub(super) async fn deliver_some(&mut self, link: &Link) -> Result<Step, Interrupted> {
        if self.window.rewound != self.outbox.rewound() {
            self.settle_all().await?;
            self.let_go().await;
            self.rewind();
        }
        if self.window.pause.is_over() {
            self.retry_held(link).await?;
            self.refill().await;
            self.send_next(link).await?;
        }
        let step = if self.window.under_way.is_empty() { Step::Idle } else { Step::More };
        self.settle_one().await?;
        if self.window.acknowledged.len() >= LEAVE
            || self.window.leave.is_some_and(|leave| leave <= Instant::now())
        {
            self.let_go().await;
        }
        Ok(step)
    }

    /// What the broker has leaves the disk.
    pub(super) async fn let_go(&mut self) {
        let seqs = std::mem::take(&mut self.window.acknowledged);
        self.window.leave = None;
        if !seqs.is_empty() {
            self.on_disk(move |outbox| outbox.remove(Sink::Mqtt, &seqs)).await;
        }
    }

    async fn refill(&mut self) {
        if !self.window.next.is_empty() {
            return;
        }
        let after = self.window.cursor;
        let found = match self.outbox.peek(Sink::Mqtt, after, BATCH) {
            Some(found) => found,
            None => {
                // The disk must not give what was acknowledged already.
                self.let_go().await;
                self.on_disk(move |outbox| outbox.read(Sink::Mqtt, after, BATCH)).await
            }
        };
        self.window.next = found.into();
    }

    async fn send_next(&mut self, link: &Link) -> Result<(), Interrupted> {
        let alone = self.window.next.iter().take_while(|(_, entry)| entry.snapshot.is_none()).count();
        let many = alone + self.window.under_way.len() > FEW;
        let most = if many { UNDER_WAY } else { 1 };
        while self.window.under_way.len() < most {
            let Some((seq, entry)) = self.window.next.pop_front() else { return Ok(()) };
            self.window.cursor = seq;
            if let Some(held) = self.window.held.get_mut(&entry.topic)
                && held.patience.until.is_some()
            {
                held.seqs.push_back(seq);
                continue;
            }
            if entry.snapshot.is_some() {
                // Its answer is waited for, so that everybody knows which picture it was that the broker hung up on.
                self.settle_all().await?;
                self.deliver_snapshot(link, seq, &entry).await?;
            }
            self.send(link, seq, entry).await?;
        }
        Ok(())
    }

    async fn send(&mut self, link: &Link, seq: Seq, entry: Arc<Entry>) -> Result<(), Interrupted> {
        if !self.window.unanswered.insert(seq) {
            super::add(&self.counts.repeated);
        }
        let message =
            Message { topic: &entry.topic, retain: false, kind: super::JSON, expiry: self.expiry() };
        let receipt = link.send(message, entry.payload.as_bytes().to_vec()).await?;
        self.window.under_way.push_back(UnderWay { seq, entry, receipt });
        Ok(())
    }

    pub(super) async fn settle_all(&mut self) -> Result<(), Interrupted> {
        while !self.window.under_way.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits for the oldest answer.
    async fn settle_one(&mut self) -> Result<(), Interrupted> {
        let Some(UnderWay { seq, entry, receipt }) = self.window.under_way.pop_front() else { return Ok(()) };
        match self.answer(seq, receipt).await? {
            Ok(()) => self.delivered(seq, &entry),
            Err(Refusal::Quota) => {
                // It is about us and not about this alert: nothing goes past it.
                super::add(&self.counts.refused);
                self.complain(&entry, &Refusal::Quota);
                while let Some(UnderWay { seq, entry, receipt }) = self.window.under_way.pop_front() {
                    if self.answer(seq, receipt).await?.is_ok() {
                        self.delivered(seq, &entry);
                    }
                }
                self.let_go().await;
                self.rewind();
                self.window.pause.refused();
            }
            Err(refusal) => {
                super::add(&self.counts.refused);
                let news = !self.window.held.contains_key(&entry.topic);
                let held = self.window.held.entry(entry.topic.clone()).or_default();
                held.seqs.push_back(seq);
                if held.patience.is_over() {
                    held.patience.refused();
                }
                if news {
                    self.complain(&entry, &refusal);
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, seq: Seq, receipt: Receipt) -> Result<Result<(), Refusal>, Interrupted> {
        let answer = receipt.answer().await?;
        self.window.unanswered.remove(&seq);
        Ok(answer)
    }

    fn delivered(&mut self, seq: Seq, entry: &Entry) {
        super::add(&self.counts.published);
        if let Some(raised) = entry.raised() {
            let took = jiff::Timestamp::now().duration_since(raised);
            // A clock that was set back in between says nothing.
            self.counts.delivery.observe(took.try_into().unwrap_or_default());
        }
        self.window.acknowledged.push(seq);
        self.window.leave.get_or_insert_with(|| Instant::now() + LINGER);
        self.window.snapshot_tries.remove(&seq);
        self.window.pause = Patience::default();
        if self.window.held.get(&entry.topic).is_some_and(|held| held.seqs.is_empty()) {
            self.window.held.remove(&entry.topic);
            tracing::info!(broker = self.url, topic = entry.topic, "the broker takes alerts there again");
        }
        tracing::info!(id = entry.id, topic = entry.topic, "alert published");
    }

    /// Asks the broker again for each topic whose time has come: first one alert, then those behind it.
    async fn retry_held(&mut self, link: &Link) -> Result<(), Interrupted> {
        let due = |held: &Held| !held.seqs.is_empty() && held.patience.is_over();
        while let Some(topic) =
            self.window.held.iter().find(|(_, held)| due(held)).map(|(topic, _)| topic.clone())
        {
            self.settle_all().await?;
            while let Some(seq) = self.window.held.get_mut(&topic).and_then(|held| held.seqs.pop_front()) {
                let Some(entry) = self.on_disk(move |outbox| outbox.get(Sink::Mqtt, seq)).await else {
                    continue;
                };
                self.send(link, seq, entry).await?;
                let under_way = self.window.under_way.pop_back();
                let Some(UnderWay { seq, entry, receipt }) = under_way else { continue };
                if let Err(refusal) = self.answer(seq, receipt).await? {
                    tracing::debug!(topic, why = %refusal, "the broker still refuses an alert");
                    super::add(&self.counts.refused);
                    if let Some(held) = self.window.held.get_mut(&topic) {
                        held.seqs.push_front(seq);
                        held.patience.refused();
                    }
                    break;
                }
                self.delivered(seq, &entry);
            }
            // All of them are gone, also when they were dropped in the outbox.
            if self.window.held.get(&topic).is_some_and(|held| held.seqs.is_empty()) {
                self.window.held.remove(&topic);
            }
        }
        Ok(())
    }

    fn complain(&mut self, entry: &Entry, refusal: &Refusal) {
        let user = self.broker.username.as_deref().unwrap_or("anonymous");
        tracing::error!(
            broker = self.url, user, id = entry.id, topic = entry.topic, why = %refusal,
            waiting = self.outbox.waiting(), "the broker refuses an alert: {}; it waits on disk and is offered again",
            refusal.remedy()
        );
    }

    /// Reading and syncing block, and the runtime has other things to do.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Outbox) -> T + Send + 'static) -> T {
        let outbox = Arc::clone(&self.outbox);
        match tokio::task::spawn_blocking(move || work(&outbox)).await {
            Ok(done) => done,
            // Nobody aborts it, so it panicked; whoever may die does not hide it.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

impl Window {
    /// Waits until there is something to deliver, or to let go.
    pub(super) async fn due(&self, outbox: &Outbox) {
        let held = self.held.values().filter(|held| !held.seqs.is_empty());
        let due = match self.pause.until {
            Some(pause) if !self.pause.is_over() => Some(pause),
            _ => held.filter_map(|held| held.patience.until).min(),
        };
        let due = due.into_iter().chain(self.leave).min();
        let patience = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = outbox.appended(Sink::Mqtt) => {}
            () = patience => {}
        }
    }
}

impl Patience {
    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    pub(super) fn refused(&mut self) {
        self.until = Some(Instant::now() + self.backoff.failed(jitter()));
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY), until: None }
    }
}
