//! The thread `history`: records observations, deletes what is too old, and carries out requests.
//!
//! It owns the file. Observations of several seconds are written in one transaction, and so are the vectors of stored pictures. A reader
//! ends the transaction only if it must see more than was written already. If the disk does not work, observations are lost
//! and counted, and the file is opened again every few seconds. That is logged once, and once when it works again. A damaged
//! file is renamed and replaced.

use std::{
    fs, io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Transaction;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use super::{
    Error, History, alerts,
    embedded::EmbeddedPicture,
    pace::Pace,
    recorders::Recorders,
    retention::{self, Limits, Space, Step},
    store,
};
use crate::{
    alert::Alert,
    clock::{Clock, Reading},
    config::Config,
    observe::{HistoryCounts, Observation, ServiceMetrics, Subscription},
    policy::HistorySettings,
    storage::{self, FilesState, Mode, is_damaged},
};

/// The name of the subscriber in the metrics.
pub const SUBSCRIBER: &str = "history";
/// The requests that wait for the thread at most.
const REQUESTS: usize = 16;
/// The time between two attempts to use a disk that does not work.
const RETRY: Duration = Duration::from_secs(10);
/// How often recorders write what they keep in memory.
const FLUSH: Duration = Duration::from_secs(120);
/// How often the file is checked, and old entries are deleted.
const TEND: Duration = Duration::from_secs(60);
/// The time between two steps that delete old entries.
const STEP: Duration = Duration::from_millis(100);
/// The most observations that are recorded before a request that must see them. More than the queue has.
const DRAINED: usize = 64;

/// Sends requests to the thread. A clone is the same.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Event>,
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;
/// Receives the file, or the reason why it cannot be used.
type Change = Box<dyn FnOnce(Result<&mut History, Error>) + Send>;

enum Request {
    Flush(Duration, Reply<()>),
    Change(Change),
}

impl Handle {
    /// Makes sure that readers see all that was observed, except for the last `age`. Nothing is written if they see it already. Alerts
    /// are written even if they are newer.
    ///
    /// # Errors
    /// The disk does not work, or the service ends.
    pub async fn flush(&self, age: Duration) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Event::Request(Request::Flush(age, reply))).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Lends the file to `change`, on the thread of the history, with all that was observed until now.
    ///
    /// # Errors
    /// The disk does not work, or the service ends.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut History) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let request: Change = Box::new(move |history| {
            // The client may be gone.
            let _ = reply.send(history.map(change));
        });
        self.requests.send(Event::Request(Request::Change(request))).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Records the vectors of stored pictures that still exist, and returns their number when they are committed: together with what
    /// is observed in the next seconds, or `at_once`.
    ///
    /// # Errors
    /// The disk does not work, or the service ends.
    pub async fn record_embedded(&self, pictures: Vec<EmbeddedPicture>, at_once: bool) -> Result<u64, Error> {
        let (reply, answer) = oneshot::channel();
        let entry = Entry::Embedded(Embedded { pictures, at_once, reply });
        self.requests.send(Event::Entry(entry)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Records alerts that no frame caused: those that clear labels which are no longer watched. Never waits. What the queue has no
    /// room for is lost.
    pub fn record(&self, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        let count = alerts.len();
        let request: Change = Box::new(move |history| {
            let recorded = history.and_then(|history| {
                Ok(history.write(|transaction| alerts::record_without_frame(transaction, &alerts))?)
            });
            if let Err(error) = recorded {
                tracing::warn!(alerts = count, %error, "the history lacks alerts of labels that are no longer watched");
            }
        });
        if self.requests.try_send(Event::Request(Request::Change(request))).is_err() {
            tracing::warn!(
                alerts = count,
                "the history lacks alerts of labels that are no longer watched: it is busy"
            );
        }
    }
}

fn ended() -> Error {
    Error::Unavailable { why: "the service is ending".to_owned() }
}

/// Starts the thread. It ends after the last observation. The result closes when it has ended, by
/// a panic, too.
///
/// # Errors
/// The thread cannot be started.
pub fn spawn(
    settings: HistorySettings,
    subscription: Subscription,
    metrics: &Arc<ServiceMetrics>,
) -> io::Result<(Handle, oneshot::Receiver<()>)> {
    let (writer, handle) = Writer::new(settings, subscription, metrics, store::MODE)?;
    let (alive, ended) = oneshot::channel::<()>();
    thread::Builder::new().name(SUBSCRIBER.to_owned()).spawn(move || {
        let _alive = alive;
        writer.run(None);
    })?;
    Ok((handle, ended))
}

/// The thread.
struct Writer {
    inbox: Inbox,
    mode: Mode,
    settings: HistorySettings,
    config: Arc<Config>,
    metrics: Arc<ServiceMetrics>,
    counts: Arc<HistoryCounts>,
    /// `None`: it cannot be opened.
    store: Option<Store>,
    /// Why nothing can be written.
    failing: Option<String>,
    /// When the file is opened again.
    retry: Instant,
    /// When a damaged file was replaced last.
    replaced: Option<Instant>,
    pace: Pace,
    /// Readers see what was observed before this moment, unless nothing can be written.
    flushed: Instant,
    /// When the file is tended next.
    tend: Instant,
    clock: Clock,
    started: Reading,
}

/// The open file, and what belongs to it.
struct Store {
    history: History,
    recorders: Recorders,
}

/// What the thread waits for.
struct Inbox {
    runtime: Runtime,
    subscription: Subscription,
    requests: mpsc::Receiver<Event>,
}

/// The vectors of stored pictures.
struct Embedded {
    pictures: Vec<EmbeddedPicture>,
    /// They are committed without waiting for what follows.
    at_once: bool,
    /// Receives the number of recorded pictures when that is committed.
    reply: Reply<u64>,
}

/// What is recorded in a transaction together with others.
enum Entry {
    Observation(Arc<Observation>),
    Embedded(Embedded),
}

enum Event {
    Entry(Entry),
    Request(Request),
    /// The time has come.
    Due,
    /// There are no more observations.
    Closed,
}

impl Inbox {
    fn wait(&mut self, until: Instant) -> Event {
        let Self { runtime, subscription, requests } = self;
        runtime.block_on(async {
            tokio::select! {
                observation = subscription.observations.recv() => observation.map_or(Event::Closed, observed),
                Some(request) = requests.recv() => request,
                () = tokio::time::sleep_until(until.into()) => Event::Due,
            }
        })
    }

    /// As [`Self::wait`], and answers readers that see enough: all that was observed before `written` can be read.
    fn wait_while_readers_see_enough(&mut self, until: Instant, written: Option<Instant>) -> Event {
        loop {
            match self.wait(until) {
                Event::Request(Request::Flush(age, reply)) if sees_enough(written, age, Instant::now()) => {
                    let _ = reply.send(Ok(()));
                }
                event => return event,
            }
        }
    }

    /// What was observed already.
    fn next_observed(&mut self) -> Event {
        self.subscription.observations.try_recv().map_or(Event::Due, observed)
    }

    fn has_new_config(&self) -> bool {
        self.subscription.config.has_changed().unwrap_or(false)
    }
}

impl Event {
    /// Whether this is a request that must see everything, if all that was observed before `written` can be read.
    fn needs_all(&self, written: Option<Instant>, now: Instant) -> bool {
        match self {
            Self::Request(Request::Flush(age, _)) => !sees_enough(written, *age, now),
            Self::Request(Request::Change(_)) => true,
            _ => false,
        }
    }
}

fn observed(observation: Arc<Observation>) -> Event {
    Event::Entry(Entry::Observation(observation))
}

/// Whether a reader may miss at most what was observed in the last `age`, if all that was observed before `written` can be read.
fn sees_enough(written: Option<Instant>, age: Duration, now: Instant) -> bool {
    written.is_some_and(|written| now.saturating_duration_since(written) < age)
}

/// What became of a transaction.
#[derive(Default)]
struct Batch {
    observations: u64,
    with_alert: bool,
    at_once: bool,
    /// The pictures whose vectors were recorded, and who is notified of the commit.
    embedded: Vec<(u64, Reply<u64>)>,
    /// When the recorders began to write what they keep in memory.
    flushed: Option<Instant>,
    next: Option<Event>,
}

impl Batch {
    fn record(
        &mut self,
        transaction: &Transaction<'_>,
        recorders: &mut Recorders,
        entry: Entry,
    ) -> rusqlite::Result<()> {
        match entry {
            Entry::Observation(observation) => {
                self.observations += 1;
                self.with_alert |= !observation.alerts.is_empty();
                recorders.record(transaction, &observation)
            }
            Entry::Embedded(Embedded { pictures, at_once, reply }) => {
                self.at_once |= at_once;
                let recorded = recorders.record_embedded(transaction, &pictures);
                self.embedded.push((recorded.as_ref().map_or(0, |recorded| *recorded), reply));
                recorded.map(drop)
            }
        }
    }
}

impl Writer {
    fn new(
        settings: HistorySettings,
        mut subscription: Subscription,
        metrics: &Arc<ServiceMetrics>,
        mode: Mode,
    ) -> io::Result<(Self, Handle)> {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let config = Arc::clone(&subscription.config.borrow_and_update());
        let (now, clock) = (Instant::now(), Clock::system());
        let writer = Self {
            inbox: Inbox { runtime, subscription, requests },
            mode,
            settings,
            pace: Pace::new(config.sources.len(), now),
            config,
            metrics: Arc::clone(metrics),
            counts: metrics.add_history(),
            store: None,
            failing: None,
            retry: now,
            replaced: None,
            flushed: now,
            tend: now,
            started: clock.read(),
            clock,
        };
        Ok((writer, Handle { requests: sender }))
    }

    /// Runs until there are no more observations. `next` is done first.
    fn run(mut self, mut next: Option<Event>) {
        loop {
            let due = if self.store.is_some() { self.tend } else { self.retry };
            match next.take().unwrap_or_else(|| self.inbox.wait(due)) {
                Event::Entry(entry) => next = self.record(entry, false),
                Event::Request(request) => self.answer(request),
                Event::Due => self.tend(),
                Event::Closed => break,
            }
        }
        self.flush();
    }

    /// Records this entry and those that follow, in one transaction. With `drain`, only observations that wait already follow, and
    /// readers see all of it. Returns what is to be done next, if that is known.
    fn record(&mut self, first: Entry, drain: bool) -> Option<Event> {
        self.reload();
        if !self.open() {
            match first {
                Entry::Observation(_) => self.metrics.lost_observations(SUBSCRIBER, 1),
                Entry::Embedded(embedded) => drop(embedded.reply.send(Err(self.unavailable()))),
            }
            return None;
        }
        let mut batch = Batch::default();
        let done = self.record_batch(first, drain, &mut batch);
        if let Some(flushed) = batch.flushed {
            self.flushed = flushed;
        }
        let is_done = self.settle(done);
        if !is_done {
            self.metrics.lost_observations(SUBSCRIBER, batch.observations);
        }
        for (recorded, reply) in batch.embedded {
            let _ = reply.send(if is_done { Ok(recorded) } else { Err(self.unavailable()) });
        }
        batch.next
    }

    fn record_batch(&mut self, first: Entry, drain: bool, batch: &mut Batch) -> rusqlite::Result<()> {
        let (began, flush, written) = (Instant::now(), self.flushed + FLUSH, self.written());
        let Self { inbox, store: Some(Store { history, recorders }), counts, pace, .. } = self else {
            return Ok(());
        };
        let mut working = Some(counts.work.work());
        let done = history.write(|transaction| {
            let mut entry = first;
            loop {
                batch.record(transaction, recorders, entry)?;
                drop(working.take());
                let ends = drain || batch.at_once || batch.embedded.len() >= REQUESTS;
                let event = match ends {
                    true if batch.observations as usize >= DRAINED => Event::Due,
                    true => inbox.next_observed(),
                    false => {
                        let due = pace.due(began, batch.with_alert);
                        // People look at an alert at once.
                        inbox.wait_while_readers_see_enough(due, written.filter(|_| !batch.with_alert))
                    }
                };
                working = Some(counts.work.work());
                match event {
                    Event::Entry(next) if !inbox.has_new_config() => entry = next,
                    Event::Due => break,
                    other => {
                        batch.next = Some(other);
                        break;
                    }
                }
            }
            // With this commit a request needs no other one.
            let now = Instant::now();
            let needs_all = drain || batch.next.as_ref().is_some_and(|next| next.needs_all(written, now));
            if needs_all || now >= flush {
                batch.flushed = Some(now);
                recorders.flush(transaction)?;
            }
            Ok(())
        });
        drop(working);
        done
    }

    /// The moment before which everything observed can be read; `None` if nothing can be written.
    fn written(&self) -> Option<Instant> {
        self.failing.is_none().then_some(self.flushed)
    }

    fn answer(&mut self, request: Request) {
        // A person waits, and may have repaired the disk.
        self.retry = Instant::now();
        match request {
            Request::Flush(age, reply) => {
                let sees_enough = sees_enough(self.written(), age, Instant::now());
                if !sees_enough {
                    self.drain();
                }
                let answer = if sees_enough || self.flush() { Ok(()) } else { Err(self.unavailable()) };
                let _ = reply.send(answer);
            }
            Request::Change(change) => self.change(change),
        }
    }

    /// Records what was observed already.
    fn drain(&mut self) {
        let mut next = Some(self.inbox.next_observed());
        while let Some(Event::Entry(entry)) = next {
            next = self.record(entry, true);
        }
    }

    /// Writes what recorders keep in memory. Returns whether that was possible.
    fn flush(&mut self) -> bool {
        if !self.open() {
            return false;
        }
        let Some(Store { history, recorders }) = &mut self.store else { return false };
        let (working, began) = (self.counts.work.work(), Instant::now());
        let done = history.write(|transaction| recorders.flush(transaction));
        drop(working);
        self.flushed = began;
        self.settle(done)
    }

    fn change(&mut self, change: Change) {
        self.drain();
        if !self.flush() {
            return change(Err(self.unavailable()));
        }
        let Some(Store { history, recorders }) = &mut self.store else { return };
        // To forget something takes as long as the file is large, so this does not count as a disk that hangs.
        change(Ok(&mut *history));
        if history.take_forgotten() {
            // They may refer to names and rows that are gone.
            *recorders = Recorders::new(&self.config);
        }
        self.settle(Ok(()));
    }

    /// Checks the file, and deletes what is too old or too much.
    fn tend(&mut self) {
        self.reload();
        self.tend = Instant::now() + TEND;
        if !self.open() || Instant::now() >= self.flushed + FLUSH && !self.flush() {
            return;
        }
        let limits = Limits { keep: self.settings.keep, max_size: self.settings.max_size };
        let (now, space) = (self.now(), Space::of(&self.config.state_dir));
        let Some(Store { history, recorders }) = &mut self.store else { return };
        let working = self.counts.work.work();
        let step = retention::step(history, now, limits, space).and_then(|step| {
            let config = &self.config;
            history.write(|transaction| recorders.rows_deleted(transaction, &step.tables, config))?;
            Ok(step)
        });
        drop(working);
        if let Ok(Step { dropped, more, .. }) = &step {
            self.counts.dropped.fetch_add(*dropped, Ordering::Relaxed);
            if *more {
                self.tend = Instant::now() + STEP;
            }
        }
        self.settle(step.map(drop));
        self.delete_old_damaged_files();
    }

    /// Milliseconds since 1970. A clock that is set forward while the service runs deletes nothing, unless a time server set it.
    fn now(&self) -> i64 {
        let reading = self.clock.read();
        let since = reading.since(&self.started).filter(|_| !reading.synchronised);
        since.map_or(reading.wall, |since| reading.wall.min(self.started.wall.saturating_add(since)))
    }

    /// A damaged file is not kept longer than its entries would be.
    fn delete_old_damaged_files(&self) {
        let files = storage::files_set_aside(&store::path(&self.config.state_dir)).unwrap_or_default();
        for file in files {
            let age = fs::metadata(&file).and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
            if age.is_some_and(|age| age > self.settings.keep) {
                let _ = fs::remove_file(file);
            }
        }
    }

    /// Makes sure that the file is open and in its place. Returns whether it is.
    fn open(&mut self) -> bool {
        let working = Arc::clone(&self.counts);
        let _working = working.work.work();
        if let Some(Store { history, .. }) = &self.store {
            match history.files_state() {
                FilesState::InPlace | FilesState::Unknown(_) => return true,
                FilesState::WithoutLog => {
                    // What is in the log is saved; then it is made anew.
                    let _ = storage::checkpoint(history.connection());
                }
                FilesState::Gone => {}
            }
            self.store = None;
            tracing::error!(
                file = %store::path(&self.config.state_dir).display(),
                "the history was deleted, renamed or replaced while it was open: the file that is there now is used; let no other \
                 program change the state folder"
            );
        } else if self.failing.is_some() && Instant::now() < self.retry {
            return false;
        }
        match History::open_as(&self.config.state_dir, self.mode) {
            Ok(history) => {
                self.store = Some(Store { history, recorders: Recorders::new(&self.config) });
                true
            }
            Err(Error::Damaged { why, .. }) => self.replace(&why),
            Err(error) => {
                self.report(format!("{:#}", anyhow::anyhow!(error)));
                false
            }
        }
    }

    /// Handles what came of a change: counts what was written, or handles the error. Returns whether the change was made.
    fn settle(&mut self, done: rusqlite::Result<()>) -> bool {
        let Some(store) = &mut self.store else { return false };
        let written = {
            let _working = self.counts.work.work();
            done.and_then(|()| store.history.settle())
        };
        match written {
            Ok(bytes) => {
                self.counts.written.fetch_add(bytes, Ordering::Relaxed);
                self.counts.size.store(store.history.size(), Ordering::Relaxed);
                self.pace.spend(bytes, Instant::now());
                if self.failing.take().is_some() {
                    self.counts.set_failure(None);
                    tracing::info!("the history is written again");
                }
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn fail(&mut self, error: &rusqlite::Error) {
        let counts = Arc::clone(&self.counts);
        let _working = counts.work.work();
        self.store = None;
        if is_damaged(error) {
            self.replace(&error.to_string());
        } else {
            self.report(error.to_string());
        }
    }

    /// Renames a damaged file, and makes a new one. Returns whether that was possible.
    fn replace(&mut self, why: &str) -> bool {
        let path = store::path(&self.config.state_dir);
        if self.replaced.is_some_and(|replaced| replaced.elapsed() < RETRY) {
            self.report(format!("{} is damaged although it was just made ({why})", path.display()));
            return false;
        }
        self.replaced = Some(Instant::now());
        // One is enough to find out what is wrong with the disk.
        let older = storage::files_set_aside(&path).unwrap_or_default();
        let opened = storage::set_aside(&path).map_err(anyhow::Error::from).and_then(|aside| {
            older.iter().for_each(|file| drop(fs::remove_file(file)));
            Ok((aside, History::open_as(&self.config.state_dir, self.mode)?))
        });
        match opened {
            Ok((aside, history)) => {
                tracing::error!(
                    file = %path.display(), aside = %aside.display(), why,
                    "the history is damaged: it was renamed and replaced by a new one"
                );
                self.store = Some(Store { history, recorders: Recorders::new(&self.config) });
                true
            }
            Err(error) => {
                self.report(format!("it is damaged ({why}) and cannot be replaced: {error:#}"));
                false
            }
        }
    }

    /// Nothing can be written. Logged once.
    fn report(&mut self, why: String) {
        self.retry = Instant::now() + RETRY;
        if self.failing.is_none() {
            tracing::error!(
                file = %store::path(&self.config.state_dir).display(), why,
                "the history cannot be written: nothing is remembered until it can, alerts are not affected; \
                 check that the disk works and is not full"
            );
        }
        self.counts.set_failure(Some(why.clone()));
        self.failing = Some(why);
    }

    fn why(&self) -> String {
        self.failing.clone().unwrap_or_else(|| "it cannot be opened".to_owned())
    }

    fn unavailable(&self) -> Error {
        Error::Unavailable { why: self.why() }
    }

    /// Uses another configuration, if there is one.
    fn reload(&mut self) {
        if !self.inbox.has_new_config() {
            return;
        }
        self.config = Arc::clone(&self.inbox.subscription.config.borrow_and_update());
        // Without a history it goes on until the next start.
        self.settings = self.config.history.unwrap_or(self.settings);
        self.pace.set_sources(self.config.sources.len(), Instant::now());
        let Some(Store { history, recorders }) = &mut self.store else { return };
        let done = history.write(|transaction| recorders.reload(transaction, &self.config));
        self.settle(done);
    }
}

#[cfg(test)]
mod tests;
