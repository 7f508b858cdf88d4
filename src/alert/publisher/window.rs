//! Decides which alert is sent next: a state machine with events in and actions out.
//!
//! Alerts are sent in order. A few are sent one at a time: two small answers in a row cost 40 ms at a broker with Nagle's
//! algorithm. When many wait, up to [`MOST_IN_FLIGHT`] are in flight. An alert that the broker refuses is held, and with it all
//! others to the same topic; other topics are not delayed. A snapshot is sent, and answered, directly before its alert.
//! Alerts wait while Home Assistant cannot receive them, as [`Readiness`] decides.
//!
//! Pure: [`Delivery`](super::delivery) passes the time, carries out the actions and reports what came of them. An alert that
//! was not acknowledged when a session ends is still in the outbox; [`Window::start`] makes the window read it again.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use self::readiness::Readiness;
use super::link::Refusal;
use crate::{
    alert::outbox::{Entry, Seq},
    backoff::Backoff,
};

pub(super) mod readiness;

/// Up to this number, alerts are sent one at a time.
const FEW: usize = 8;
/// Fewer than the link has room for, so that retained values find some.
const MOST_IN_FLIGHT: usize = 12;
/// This many acknowledged alerts are deleted from the outbox at a time, while others follow;
const DELETE_AT_ONCE: usize = 64;
/// or all of them, this long after the first was acknowledged: each deletion costs as much as an append. An alert that was
/// acknowledged and not deleted when the service is killed is sent again.
const DELETE_WITHIN: Duration = Duration::from_millis(100);
/// The most alerts in memory that wait for a discovery message while alerts to other topics overtake them. Further ones are left
/// in the outbox and read again later.
const MOST_DEFERRED: usize = 64;
/// The shortest time until they are read again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// A snapshot is left out after the connection broke this often while it was sent: some brokers hang up on a packet that is
/// too large for them.
pub(super) const SNAPSHOT_TRIES: u32 = 4;
/// Starting at the third try, a snapshot is made smaller by this factor: a connection may break once for any reason.
const SMALLER: usize = 4;

/// What delivery has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Read the alerts behind `after` from the outbox and pass them to [`Window::found`].
    Read {
        /// The last alert that was sent or held.
        after: Seq,
    },
    /// Read this held alert from the outbox and pass it to [`Window::fetched`].
    Fetch(Seq),
    /// Publish the snapshot of this alert. Call [`Window::snapshot_sent`], then, with or without an answer of the broker,
    /// [`Window::snapshot_done`].
    SendSnapshot {
        /// The alert.
        seq: Seq,
        /// The alert.
        entry: Arc<Entry>,
        /// How large the picture may be.
        size: SnapshotSize,
    },
    /// Publish this alert.
    Send {
        /// The alert.
        seq: Seq,
        /// The alert.
        entry: Arc<Entry>,
        /// Whether it was sent before and not answered.
        repeated: bool,
    },
    /// Wait for the answer to the oldest alert in flight and pass it to [`Window::answered`].
    Wait,
    /// Delete these alerts from the outbox: the broker has them.
    Delete(Vec<Seq>),
    /// Nothing can be sent before something is appended to the outbox or this time is reached.
    Idle(Option<Instant>),
}

/// How large a snapshot may be so that the broker does not hang up on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotSize {
    /// As large as it is.
    Any,
    /// At most this many bytes.
    AtMost(usize),
    /// It is left out: the connection broke [`SNAPSHOT_TRIES`] times.
    LeftOut,
}

/// What an answer of the broker means for its alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has the alert.
    Delivered {
        /// Earlier alerts to its topic were refused.
        resumed: bool,
    },
    /// The alert is held. `first`: none to this topic was held before.
    Refused {
        /// Whether it is to be logged.
        first: bool,
    },
    /// A refusal that follows one about our quota: the alert is read and sent again after the pause.
    Ignored,
}

/// The state of delivery.
pub(super) struct Window {
    /// 0 to 1, for each delay.
    jitter: fn() -> f64,
    /// Everything up to here was sent in this session, or is held or deferred.
    cursor: Seq,
    /// Read from the outbox and not sent yet.
    next: VecDeque<(Seq, Arc<Entry>)>,
    /// The outbox had no more when it was read last.
    exhausted: bool,
    /// The snapshot of the first alert in `next` was published or left out.
    snapshot_done: bool,
    in_flight: VecDeque<(Seq, Arc<Entry>)>,
    /// Sent and not answered, also in earlier sessions.
    unanswered: HashSet<Seq>,
    /// To be deleted from the outbox, at this time at the latest.
    acknowledged: Vec<Seq>,
    delete_at: Option<Instant>,
    /// Refused alerts by their topic.
    held: BTreeMap<String, Held>,
    retry: Option<Retry>,
    /// Whether Home Assistant can receive alerts.
    readiness: Readiness,
    /// Alerts of this session to topics that Home Assistant does not know yet, in order.
    deferred: VecDeque<(Seq, Arc<Entry>)>,
    /// The topics of the alerts for which `deferred` had no room. Alerts that follow to one of them stay behind those.
    left_behind: HashSet<String>,
    /// When everything is read again for them.
    read_again_at: Option<Instant>,
    /// The broker's quota for us is used up: everything waits.
    pause: Patience,
    restart: Option<Restart>,
    rewound: u64,
    stopping: bool,
    /// How often each snapshot was sent and neither accepted nor refused.
    snapshot_tries: HashMap<Seq, u32>,
}

/// Why everything is read again once nothing is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    /// There may be room for the alerts that were left behind.
    LeftBehind,
    /// The outbox has alerts again that could not be read for a while.
    Rewound,
    /// The broker's quota for us is used up.
    Quota,
}

/// The alerts of one topic that the broker refuses.
#[derive(Default)]
struct Held {
    /// Those of this session, in order; others are read again.
    seqs: VecDeque<Seq>,
    patience: Patience,
}

/// The topic whose held alerts are offered again, and the one that was read for it.
struct Retry {
    topic: String,
    fetched: Option<(Seq, Arc<Entry>)>,
}

/// When to ask again.
#[derive(Default)]
struct Patience {
    backoff: Backoff,
    until: Option<Instant>,
}

impl Window {
    /// A window before the first session.
    pub fn new(jitter: fn() -> f64) -> Self {
        Self {
            jitter,
            cursor: 0,
            next: VecDeque::new(),
            exhausted: false,
            snapshot_done: false,
            in_flight: VecDeque::new(),
            unanswered: HashSet::new(),
            acknowledged: Vec::new(),
            delete_at: None,
            held: BTreeMap::new(),
            retry: None,
            readiness: Readiness::default(),
            deferred: VecDeque::new(),
            left_behind: HashSet::new(),
            read_again_at: None,
            pause: Patience::default(),
            restart: None,
            rewound: 0,
            stopping: false,
            snapshot_tries: HashMap::new(),
        }
    }

    /// A session starts: what was in flight was not acknowledged, and is read again. Whatever [`Self::take_acknowledged`]
    /// returned must be deleted before.
    pub fn start(&mut self) {
        (self.cursor, self.snapshot_done, self.exhausted) = (0, false, false);
        (self.restart, self.retry) = (None, None);
        self.next.clear();
        self.deferred.clear();
        self.left_behind.clear();
        self.read_again_at = None;
        self.in_flight.clear();
        for held in self.held.values_mut() {
            held.seqs.clear();
            held.patience.until = None;
        }
    }

    /// Sends no more alerts; answers are still waited for.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// The state of Home Assistant, to report changes to it.
    pub fn readiness(&mut self) -> &mut Readiness {
        &mut self.readiness
    }

    /// The outbox may have more by now.
    pub fn look_again(&mut self) {
        self.exhausted = false;
    }

    /// Whether every alert up to this one was sent in this session, is held because the broker refuses it, or waits for its
    /// discovery message: what follows them in the order of time may be sent.
    pub fn has_passed(&self, seq: Seq) -> bool {
        self.restart.is_none() && (self.cursor >= seq || (self.exhausted && self.next.is_empty()))
    }

    /// What to do next. `rewound` is the outbox's count of alerts that came back.
    pub fn next(&mut self, now: Instant, rewound: u64) -> Action {
        if std::mem::replace(&mut self.rewound, rewound) != rewound {
            self.restart.get_or_insert(Restart::Rewound);
        }
        if self.read_again_at.is_some_and(|at| at <= now) && !self.stopping {
            self.restart.get_or_insert(Restart::LeftBehind);
        }
        let due = self.delete_at.is_some_and(|at| at <= now);
        if due || self.acknowledged.len() >= DELETE_AT_ONCE {
            return Action::Delete(self.take_acknowledged());
        }
        if let Some(reason) = self.restart {
            if !self.in_flight.is_empty() {
                return Action::Wait;
            }
            // They would be read again.
            if !self.acknowledged.is_empty() {
                return Action::Delete(self.take_acknowledged());
            }
            self.start();
            if reason == Restart::Quota {
                self.pause.refused(now, self.jitter);
            }
        }
        self.readiness.lasts(now);
        let sends = !self.stopping && self.pause.is_over(now);
        match sends.then(|| self.retry_held(now).or_else(|| self.send_next(now))).flatten() {
            Some(action) => action,
            None if self.in_flight.is_empty() => Action::Idle(self.due(now)),
            None => Action::Wait,
        }
    }

    /// Alerts that were read from the outbox; none if it has no more.
    pub fn found(&mut self, alerts: Vec<(Seq, Arc<Entry>)>) {
        self.exhausted = alerts.is_empty();
        self.next = alerts.into();
    }

    /// The held alert that was read from the outbox; `None` if the outbox dropped it.
    pub fn fetched(&mut self, entry: Option<Arc<Entry>>) {
        let Some(retry) = &mut self.retry else { return };
        let seq = self.held.get_mut(&retry.topic).and_then(|held| held.seqs.pop_front());
        retry.fetched = seq.zip(entry);
    }

    /// The snapshot of this alert is being sent.
    pub fn snapshot_sent(&mut self, seq: Seq) {
        *self.snapshot_tries.entry(seq).or_default() += 1;
    }

    /// The snapshot of this alert was accepted, refused or left out: its alert is next.
    pub fn snapshot_done(&mut self, seq: Seq) {
        self.snapshot_done = true;
        // One that was left out stays so until its alert is delivered, also if the connection breaks again.
        if self.snapshot_tries.get(&seq).is_some_and(|tries| *tries < SNAPSHOT_TRIES) {
            self.snapshot_tries.remove(&seq);
        }
    }

    /// The broker's answer to an alert in flight.
    pub fn answered(&mut self, seq: Seq, refusal: Option<&Refusal>, now: Instant) -> Outcome {
        self.exhausted = false;
        self.unanswered.remove(&seq);
        let Some(at) = self.in_flight.iter().position(|(other, _)| *other == seq) else {
            return Outcome::Ignored;
        };
        let Some((_, entry)) = self.in_flight.remove(at) else { return Outcome::Ignored };
        match refusal {
            None => self.delivered(seq, &entry.topic, now),
            Some(_) if self.restart == Some(Restart::Quota) => Outcome::Ignored,
            Some(_) if self.retry.is_some() => {
                self.retry = None;
                let held = self.held.entry(entry.topic.clone()).or_default();
                held.seqs.push_front(seq);
                held.patience.refused(now, self.jitter);
                Outcome::Refused { first: false }
            }
            // It is about us and not about this alert: nothing overtakes it.
            Some(Refusal::Quota) => {
                self.restart = Some(Restart::Quota);
                Outcome::Refused { first: true }
            }
            Some(_) => {
                let first = !self.held.contains_key(&entry.topic);
                let held = self.held.entry(entry.topic.clone()).or_default();
                // Later ones may be held already: they were read while this one was in flight.
                let at = held.seqs.partition_point(|other| *other < seq);
                held.seqs.insert(at, seq);
                if held.patience.is_over(now) {
                    held.patience.refused(now, self.jitter);
                }
                Outcome::Refused { first }
            }
        }
    }

    /// Alerts that the broker has and the outbox, too. The caller deletes them.
    pub fn take_acknowledged(&mut self) -> Vec<Seq> {
        self.delete_at = None;
        std::mem::take(&mut self.acknowledged)
    }

    fn delivered(&mut self, seq: Seq, topic: &str, now: Instant) -> Outcome {
        self.acknowledged.push(seq);
        self.delete_at.get_or_insert(now + DELETE_WITHIN);
        self.snapshot_tries.remove(&seq);
        self.pause = Patience::default();
        let resumed = self.held.get(topic).is_some_and(|held| held.seqs.is_empty());
        if resumed {
            self.held.remove(topic);
        }
        Outcome::Delivered { resumed }
    }

    /// Offers held alerts again, one topic after the other: first one alert, then, if it is accepted, those behind it.
    fn retry_held(&mut self, now: Instant) -> Option<Action> {
        loop {
            let topic = match &self.retry {
                Some(retry) => retry.topic.clone(),
                None => {
                    let is_due = |held: &Held| !held.seqs.is_empty() && held.patience.is_over(now);
                    self.held.iter().find(|(_, held)| is_due(held))?.0.clone()
                }
            };
            if !self.in_flight.is_empty() {
                return Some(Action::Wait);
            }
            if self.readiness.hold(now).is_some() {
                return None;
            }
            let retry = self.retry.get_or_insert(Retry { topic, fetched: None });
            if let Some((seq, entry)) = retry.fetched.take() {
                return Some(self.send(seq, entry));
            }
            if let Some(seq) = self.held.get(&retry.topic).and_then(|held| held.seqs.front()) {
                return Some(Action::Fetch(*seq));
            }
            // All were accepted, or the outbox dropped them.
            self.held.remove(&retry.topic);
            self.retry = None;
        }
    }

    fn send_next(&mut self, now: Instant) -> Option<Action> {
        self.take_back(now);
        loop {
            let Some((seq, entry)) = self.next.front() else {
                if !self.exhausted {
                    return Some(Action::Read { after: self.cursor });
                }
                if self.deferred.is_empty() && self.left_behind.is_empty() {
                    self.readiness.idle(now);
                }
                return None;
            };
            let (seq, entry) = (*seq, Arc::clone(entry));
            if self.readiness.hold(now).is_some() {
                return None;
            }
            let opens = self.readiness.closed_until(&entry.topic, now);
            let is_behind = self.left_behind.contains(&entry.topic);
            if opens.is_some() || is_behind {
                if is_behind || self.deferred.len() >= MOST_DEFERRED {
                    let again = opens.unwrap_or(now).max(now + READ_AGAIN);
                    self.read_again_at = Some(self.read_again_at.map_or(again, |at| at.min(again)));
                    self.left_behind.insert(entry.topic.clone());
                } else {
                    self.deferred.push_back((seq, entry));
                }
                self.next.pop_front();
                self.pass(seq);
                // Its snapshot is sent once more.
                self.snapshot_done = false;
                continue;
            }
            if let Some(held) = self.held.get_mut(&entry.topic)
                && held.patience.until.is_some()
            {
                held.seqs.push_back(seq);
                self.next.pop_front();
                self.pass(seq);
                continue;
            }
            if self.in_flight.len() >= self.limit() {
                return None;
            }
            if let Some(snapshot) = &entry.snapshot
                && !self.snapshot_done
            {
                // Nothing else is in flight meanwhile: so it is known on which picture the broker hung up.
                if !self.in_flight.is_empty() {
                    return Some(Action::Wait);
                }
                let tries = self.snapshot_tries.get(&seq).copied().unwrap_or(0);
                let size = snapshot_size(snapshot.jpeg.len(), tries);
                return Some(Action::SendSnapshot { seq, entry, size });
            }
            self.next.pop_front();
            self.pass(seq);
            return Some(self.send(seq, entry));
        }
    }

    /// The alert was sent, held or deferred. A deferred one is older than what was read since.
    fn pass(&mut self, seq: Seq) {
        self.cursor = self.cursor.max(seq);
    }

    /// Puts deferred alerts whose topics Home Assistant knows by now in front of those that are newer.
    fn take_back(&mut self, now: Instant) {
        // The first alert in `next` follows its snapshot directly.
        if self.snapshot_done {
            return;
        }
        let readiness = &self.readiness;
        let (closed, mut open): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|(_, entry)| readiness.closed_until(&entry.topic, now).is_some());
        self.deferred = closed;
        open.append(&mut self.next);
        self.next = open;
    }

    fn send(&mut self, seq: Seq, entry: Arc<Entry>) -> Action {
        self.snapshot_done = false;
        self.in_flight.push_back((seq, Arc::clone(&entry)));
        Action::Send { seq, entry, repeated: !self.unanswered.insert(seq) }
    }

    /// How many may be in flight. The last ones before a snapshot, whose answers are waited for, count as few, too.
    fn limit(&self) -> usize {
        let without_snapshot = self.next.iter().take_while(|(_, entry)| entry.snapshot.is_none()).count();
        if without_snapshot + self.in_flight.len() > FEW { MOST_IN_FLIGHT } else { 1 }
    }

    /// When there is something to send, to send again, or to delete.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let pause = self.pause.until.filter(|pause| *pause > now);
        let send = match pause.or_else(|| self.readiness.held_until(now)) {
            _ if self.stopping => None,
            Some(until) => Some(until),
            None => {
                let held = self.held.values().filter(|held| !held.seqs.is_empty());
                let opens = |(_, entry): &(Seq, Arc<Entry>)| self.readiness.closed_until(&entry.topic, now);
                let deferred = self.deferred.iter().filter_map(opens);
                held.filter_map(|held| held.patience.until).chain(deferred).chain(self.read_again_at).min()
            }
        };
        let lasts = if self.stopping { None } else { self.readiness.lasts(now) };
        send.into_iter().chain(self.delete_at).chain(lasts).min()
    }
}

fn snapshot_size(bytes: usize, tries: u32) -> SnapshotSize {
    match tries {
        0 | 1 => SnapshotSize::Any,
        SNAPSHOT_TRIES.. => SnapshotSize::LeftOut,
        tries => SnapshotSize::AtMost(bytes / SMALLER.pow(tries - 1)),
    }
}

impl Patience {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    fn refused(&mut self, now: Instant, jitter: fn() -> f64) {
        self.until = Some(now + self.backoff.failed(jitter()));
    }
}

#[cfg(test)]
mod tests;
