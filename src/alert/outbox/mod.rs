//! The outbox: alerts that are not delivered yet, in the order in which they were raised, each until every sink has it.
//!
//! Alerts are kept on disk. What [`Outbox::append`] took is synced when it returns, in the file that is at its path: it survives
//! the process and a power cut. When the disk is full, read-only or broken, also at the start, the newest alerts are kept in memory
//! instead, within bounds, and are written to the disk as soon as it works; so an append never fails and never waits for that. An
//! alert is deleted by [`Outbox::remove`], or dropped as the oldest when a limit is exceeded.
//!
//! `disk` is the file, `recent` the newest alerts in memory, `recovery` what happens when the disk fails, and `elapsed` the time by
//! which alerts age: the clock may be wrong.

mod disk;
mod elapsed;
mod entry;
mod failures;
mod recent;
mod recovery;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::timeout_at,
};

pub use self::{
    disk::Error,
    entry::{Entry, Mark, Seq, Sink, Snapshot},
    failures::Failure,
    status::Status,
};
use self::{
    disk::{Disk, Opened, Row, UnwrittenMark},
    elapsed::Elapsed,
    failures::Failures,
    recent::{Dropped, Recent},
};
use crate::{clock::Clock, config::OutboxLimits};

/// The size of a batch that is read from disk; one alert may be larger.
const BATCH_BYTES: u64 = 4_000_000;
/// How often alerts that are too old are dropped, and the file is measured, in milliseconds.
const PRUNE: i64 = 60_000;

/// Alerts get this number and higher ones if the file cannot be opened at the start: more than any file has. The alerts in the file
/// get lower ones when it can be opened.
const FIRST_WITHOUT_FILE: Seq = 1 << 53;

/// How often dropped alerts are logged; the first time at once.
const REMIND: Duration = Duration::from_secs(60);

/// The alerts that are not delivered yet. One outbox is shared by all threads.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    /// A bit for each configured sink.
    sinks: u8,
    /// Locked before `recent` where both are needed. It is locked while the disk syncs, so the runtime must not wait for it.
    file: Mutex<File>,
    recent: Mutex<Recent>,
    appended: [Notify; Sink::ALL.len()],
    waiting: [AtomicU64; Sink::ALL.len()],
    /// How often alerts became readable again that could not be read for a while.
    rewound: AtomicU64,
    /// Alerts on disk with this number or a lower one were delivered or dropped.
    dropped_to: AtomicI64,
    heartbeat: Mutex<Option<Heartbeat>>,
    failures: Failures,
    clock: Clock,
    status: watch::Sender<Status>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// `None`: it cannot even be opened.
    disk: Option<Disk>,
    /// It was open before: its numbers are ours.
    known: bool,
    /// Why alerts are not written, if they are not.
    failing: Option<String>,
    /// The file may hold alerts that a reader missed.
    unread: bool,
    /// Delivered, and still in the file, which could not be written.
    undeleted: Vec<(Sink, Seq)>,
    /// States of labels that are not in the file, by their topics.
    marks: BTreeMap<String, UnwrittenMark>,
    /// The number of the first alert since the start.
    first: Seq,
    next: Seq,
    elapsed: Elapsed,
    /// The counter when it was written last.
    elapsed_written: Option<i64>,
    /// The counter when alerts that are too old were dropped last.
    pruned: i64,
    reminded: Option<Instant>,
}

/// A sign of life that follows the alerts to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it was created.
    pub time: Timestamp,
    /// Alerts up to this number were raised before it.
    pub after: Seq,
    /// How many alerts waited for the broker then.
    pub waiting: u64,
}

impl Outbox {
    /// Opens the outbox in `state_dir`, or makes it, with the broker as its only sink.
    ///
    /// # Errors
    /// See [`Self::with`].
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        Self::with(state_dir, OutboxLimits::default(), &[Sink::Mqtt])
    }

    /// Opens the outbox in `state_dir`, or makes it. A damaged file is renamed and replaced by a new one. If the folder or the file
    /// cannot be used, the outbox starts in memory.
    ///
    /// # Errors
    /// The file belongs to another stakeout: to one that is running, or to a newer version.
    pub fn with(state_dir: &Path, limits: OutboxLimits, sinks: &[Sink]) -> Result<Self, Error> {
        Self::with_clock(state_dir, limits, sinks, Clock::system())
    }

    /// The same, with other clocks than those of the machine.
    ///
    /// # Errors
    /// See [`Self::with`].
    pub fn with_clock(
        state_dir: &Path,
        limits: OutboxLimits,
        sinks: &[Sink],
        clock: Clock,
    ) -> Result<Self, Error> {
        let path = disk::path(state_dir);
        let sinks = sinks.iter().fold(0, |set, sink| set | sink.bit());
        let now = clock.read();
        let opened = Disk::open_for(&path, sinks, disk::PATIENCE).and_then(|mut opened| {
            let elapsed = opened.disk.elapsed(now);
            let elapsed = elapsed.map_err(|source| Error::Open { path: path.clone(), source })?;
            Ok((opened, elapsed))
        });
        let mut status = Status::default();
        let (disk, first, elapsed) = match opened {
            Ok((Opened { disk, next, aside }, elapsed)) => {
                status.set_aside = aside.map(|aside| aside.display().to_string());
                (Some(disk), next, elapsed)
            }
            Err(error @ (Error::InUse { .. } | Error::Newer { .. })) => return Err(error),
            Err(error) => {
                let why = error.with_causes();
                warn_in_memory(&path, &why);
                status.in_memory = Some(why);
                (None, FIRST_WITHOUT_FILE, Elapsed::new(now))
            }
        };
        let (known, failing) = (disk.is_some(), status.in_memory.clone());
        let (marks, undeleted, pruned) = (BTreeMap::new(), Vec::new(), elapsed.total);
        let unread = !known;
        let file = File {
            path,
            disk,
            known,
            failing,
            unread,
            undeleted,
            marks,
            first,
            next: first,
            elapsed,
            elapsed_written: None,
            pruned,
            reminded: None,
        };
        let outbox = Self {
            limits,
            sinks,
            recent: Mutex::new(Recent::new(first)),
            file: Mutex::new(file),
            appended: Default::default(),
            waiting: Default::default(),
            rewound: AtomicU64::new(0),
            dropped_to: AtomicI64::new(0),
            heartbeat: Mutex::default(),
            failures: Failures::default(),
            clock,
            status: watch::Sender::new(status),
        };
        outbox.prune(&mut outbox.file());
        outbox.count(&outbox.file());
        Ok(outbox)
    }

    /// Appends an alert. It is on the disk when this returns (this blocks for it), or in memory if the disk does not work;
    /// [`Self::status`] reports that.
    pub fn append(&self, entry: &Entry) {
        self.append_all(vec![entry.clone()]);
    }

    /// Appends several alerts with one sync.
    pub fn append_all(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let mut file = self.file();
        let now = self.clock.read();
        file.elapsed.advance(now);
        let (created, elapsed) = (now.wall, file.elapsed.total);
        let rows = entries.into_iter().map(|entry| {
            let seq = file.next;
            file.next += 1;
            Row { seq, pending: self.sinks, created, elapsed, entry: Arc::new(entry) }
        });
        let rows = rows.collect::<Vec<_>>();
        let on_disk = self.write(&mut file, &rows);
        if !on_disk {
            file.remember_marks(&rows);
        }
        let dropped = self.recent().push(rows, on_disk);
        if on_disk {
            // Now: when this returns, they are in the file that the next start finds.
            self.check_place(&mut file);
        }
        if file.disk.as_ref().is_some_and(|disk| disk.stock.is_beyond(&self.limits)) {
            self.prune(&mut file);
        }
        self.dropped_some(&mut file, &dropped);
        self.count(&file);
        drop(file);
        self.wake();
    }

    /// State of the labels as it was written last: for each the topic of its state, whether it is raised, and its last raised alert
    /// as JSON. Empty if the disk does not work.
    #[must_use]
    pub fn marks(&self) -> Vec<(String, bool, String)> {
        let mut file = self.file();
        match file.disk.as_ref().map(Disk::marks) {
            Some(Ok(marks)) => marks,
            Some(Err(error)) => {
                self.fail(&mut file, &error);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Deletes the marks of labels, by the topics of their states.
    pub fn forget_marks(&self, topics: &[String]) {
        if topics.is_empty() {
            return;
        }
        let mut file = self.file();
        let done = file.disk.as_mut().map(|disk| disk.delete_marks(topics));
        if let Some(Err(error)) = done {
            // They are back at the next start, which deletes them again.
            self.fail(&mut file, &error);
        }
    }

    /// Moves the marks of labels whose topic changed, given as (old topic, new topic).
    pub fn move_marks(&self, moves: &[(String, String)]) {
        if moves.is_empty() {
            return;
        }
        let mut file = self.file();
        let done = file.disk.as_mut().map(|disk| disk.move_marks(moves));
        if let Some(Err(error)) = done {
            // They are moved at the next start.
            self.fail(&mut file, &error);
        }
    }

    /// Alerts behind `after` that `sink` does not have yet, oldest first; at most `most`. Never blocks: `None` means that
    /// [`Self::read`] is needed.
    #[must_use]
    pub fn peek(&self, sink: Sink, after: Seq, most: usize) -> Option<Vec<(Seq, Arc<Entry>)>> {
        self.recent().read(sink, after, most)
    }

    /// The same, read from the disk, for which it blocks.
    #[must_use]
    pub fn read(&self, sink: Sink, after: Seq, most: usize) -> Vec<(Seq, Arc<Entry>)> {
        let mut file = self.file();
        let mut rows = match file.disk.as_ref().map(|disk| disk.read(sink, after, most, BATCH_BYTES)) {
            Some(Ok(rows)) => rows,
            Some(Err(error)) => {
                file.unread = true;
                self.fail(&mut file, &error);
                Vec::new()
            }
            None => Vec::new(),
        };
        rows.retain(|row| !file.undeleted.contains(&(sink, row.seq)));
        if rows.is_empty() {
            return self.recent().read_only_in_memory(sink, after, most);
        }
        rows.into_iter().map(|row| (row.seq, row.entry)).collect()
    }

    /// The alert with this number, if `sink` does not have it yet; it may block for the disk.
    #[must_use]
    pub fn get(&self, sink: Sink, seq: Seq) -> Option<Arc<Entry>> {
        let kept = self.recent().get(sink, seq);
        kept.or_else(|| {
            self.read(sink, seq - 1, 1).into_iter().find(|(found, _)| *found == seq).map(|(_, entry)| entry)
        })
    }

    /// `sink` has these alerts: deletes those that every sink has. Blocks for the disk. A missing alert is no error.
    pub fn remove(&self, sink: Sink, seqs: &[Seq]) {
        if seqs.is_empty() {
            return;
        }
        let mut file = self.file();
        let on_disk = self.recent().remove(sink, seqs);
        let done = file.disk.as_mut().map(|disk| disk.remove(sink, &on_disk));
        if let Some(Err(error)) = done {
            // They are not sent again before a restart.
            file.undeleted.extend(on_disk.iter().map(|seq| (sink, *seq)));
            self.fail(&mut file, &error);
        }
        self.count(&file);
    }

    /// How many alerts wait for the broker.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting_for(Sink::Mqtt)
    }

    /// How many alerts wait for `sink`.
    #[must_use]
    pub fn waiting_for(&self, sink: Sink) -> u64 {
        self.waiting[sink.index()].load(Ordering::Relaxed)
    }

    /// How many alerts were dropped because of the limits.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.status.borrow().dropped
    }

    /// Returns when something was appended since the last call for this sink, or at `until`. One task waits for each sink.
    pub async fn appended(&self, sink: Sink, until: Option<tokio::time::Instant>) {
        let appended = self.appended[sink.index()].notified();
        match until {
            Some(until) => drop(timeout_at(until, appended).await),
            None => appended.await,
        }
    }

    /// Changes when alerts became readable again that could not be read for a while: readers start again at 0 then.
    #[must_use]
    pub fn rewound(&self) -> u64 {
        self.rewound.load(Ordering::Relaxed)
    }

    /// The status, now and as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Checks that the file is in its place, drops what is too old, and tries a disk again that did not work. To be called every
    /// second or so: nothing else tries again. Blocks for the disk.
    pub fn tend(&self) {
        let mut file = self.file();
        file.elapsed.advance(self.clock.read());
        if file.failing.is_some() {
            self.recover(&mut file);
        } else {
            self.check_place(&mut file);
        }
        if file.failing.is_none() && file.elapsed.total.saturating_sub(file.pruned) >= PRUNE {
            self.measure(&mut file);
            self.prune(&mut file);
        }
        self.count(&file);
    }

    /// Whether this alert was dropped because of the limits although a reader had read it before. Never blocks.
    #[must_use]
    pub fn is_dropped(&self, seq: Seq) -> bool {
        seq <= self.dropped_to.load(Ordering::Relaxed)
    }

    /// The time since this alert was appended, if it is among the newest since the start. Never blocks.
    #[must_use]
    pub fn age(&self, seq: Seq) -> Option<Duration> {
        self.recent().age(seq)
    }

    /// The time since the oldest alert was raised that waits for `sink`. Blocks for the disk.
    #[must_use]
    pub fn oldest(&self, sink: Sink) -> Option<Duration> {
        let mut file = self.file();
        file.elapsed.advance(self.clock.read());
        let on_disk = match file.disk.as_ref().map(|disk| disk.oldest(sink)) {
            Some(Ok(oldest)) => oldest,
            // The next append or deletion handles it.
            Some(Err(_)) | None => None,
        };
        let in_memory = self.recent().oldest_only_in_memory(sink);
        let raised = on_disk.into_iter().chain(in_memory).min()?;
        Some(Duration::from_millis(file.elapsed.total.saturating_sub(raised).try_into().unwrap_or(0)))
    }

    /// `sink` did not accept alerts now, for this cause. It is kept for people who look at the service.
    pub fn failed(&self, sink: Sink, cause: &str) {
        let now = Timestamp::from_millisecond(self.clock.read().wall);
        self.failures.set(sink, cause, now.unwrap_or(Timestamp::UNIX_EPOCH));
    }

    /// `sink` accepts alerts.
    pub fn works(&self, sink: Sink) {
        self.failures.end(sink);
    }

    /// The newest failure of `sink` since the start.
    #[must_use]
    pub fn failure(&self, sink: Sink) -> Option<Failure> {
        self.failures.of(sink)
    }

    /// How many state files beside the outbox cannot be written, and how many had vanished and were written again.
    pub fn report_state_files(&self, failing: u64, restored: u64) {
        self.status.send_if_modified(|status| {
            let changed = status.state_files != failing || restored > 0;
            status.state_files = failing;
            status.restored += restored;
            changed
        });
    }

    /// Creates a heartbeat, which the publisher sends after the alerts that were raised before it. It replaces one that was not sent
    /// yet. Waits for the disk as an alert does, so that a disk that hangs stops the heartbeat, too.
    pub fn beat(&self, time: Timestamp) {
        let after = self.file().next - 1;
        let waiting = self.waiting();
        *self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Heartbeat { time, after, waiting });
        self.appended[Sink::Mqtt.index()].notify_one();
    }

    /// Takes the heartbeat if `is_due` agrees, which receives the number of the last alert before it. Never blocks.
    pub fn take_heartbeat(&self, is_due: impl FnOnce(Seq) -> bool) -> Option<Heartbeat> {
        let mut heartbeat = self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner);
        heartbeat.take_if(|heartbeat| is_due(heartbeat.after))
    }

    /// Writes `rows` to the disk. Returns whether they are on it.
    fn write(&self, file: &mut File, rows: &[Row]) -> bool {
        if file.failing.is_some() {
            return false;
        }
        let written = |file: &mut File| {
            let elapsed = file.elapsed_to_write();
            let Some(disk) = &mut file.disk else { return Ok(false) };
            disk.append(rows, elapsed.as_ref())?;
            file.elapsed_written = elapsed.map_or(file.elapsed_written, |elapsed| Some(elapsed.total));
            Ok(true)
        };
        match written(file) {
            Ok(written) => written,
            Err(error) => {
                self.fail(file, &error);
                // Unless a damaged file was just replaced.
                file.failing.is_none() && written(file).unwrap_or(false)
            }
        }
    }

    /// Counts what is in the file, and writes the counter of time beside alerts that wait.
    fn measure(&self, file: &mut File) {
        let elapsed = file.elapsed;
        let Some(disk) = &mut file.disk else { return };
        let waits = disk.stock.bytes > 0;
        let done = disk.measure().and_then(|()| if waits { disk.write_elapsed(&elapsed) } else { Ok(()) });
        match done {
            Ok(()) if waits => file.elapsed_written = Some(elapsed.total),
            Ok(()) => {}
            Err(error) => self.fail(file, &error),
        }
    }

    /// Counts and logs what was dropped.
    fn dropped_some(&self, file: &mut File, dropped: &Dropped) {
        if *dropped == Dropped::default() {
            return;
        }
        self.status.send_modify(|status| {
            status.dropped += dropped.alerts;
            status.snapshots_dropped += dropped.snapshots;
        });
        let now = Instant::now();
        if file.reminded.is_none_or(|last| now.duration_since(last) >= REMIND) {
            file.reminded = Some(now);
            let Status { dropped, snapshots_dropped, .. } = *self.status.borrow();
            tracing::error!(
                dropped,
                snapshots_dropped,
                "the outbox is full, or alerts waited for too long: the oldest were dropped (all since the start are counted \
                 here); see `outbox` in the configuration for its limits"
            );
        }
    }

    fn wake(&self) {
        self.appended.iter().for_each(Notify::notify_one);
    }

    fn count(&self, file: &File) {
        let recent = self.recent();
        for sink in Sink::ALL {
            let on_disk = file.disk.as_ref().map_or(0, |disk| disk.stock.waiting[sink.index()]);
            let delivered = file.undeleted.iter().filter(|(other, _)| *other == sink).count() as u64;
            let waiting = on_disk.saturating_sub(delivered) + recent.waiting_only_in_memory(sink);
            self.waiting[sink.index()].store(waiting, Ordering::Relaxed);
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // Every change of the file is one transaction: a panic leaves nothing half done.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// The counter of time, if it is to be written with the next alerts. A minute is as exact as it must be.
    fn elapsed_to_write(&self) -> Option<Elapsed> {
        const MINUTE: i64 = 60_000;
        let total = self.elapsed.total;
        let is_due = self.elapsed_written.is_none_or(|written| total.saturating_sub(written) >= MINUTE);
        is_due.then_some(self.elapsed)
    }

    /// Keeps the states of labels that these alerts would have written.
    fn remember_marks(&mut self, rows: &[Row]) {
        for row in rows {
            let Some(mark) = &row.entry.mark else { continue };
            let known = self.marks.entry(mark.topic.clone()).or_default();
            known.raised = mark.raised;
            if mark.raised {
                known.alert = Some(row.entry.payload.clone());
            }
        }
    }
}

fn warn_in_memory(path: &Path, why: &str) {
    tracing::error!(
        file = %path.display(),
        why,
        "alerts cannot be written to disk: they are kept in memory and delivered from there, and lost if stakeout ends before; \
         check that the disk works and is not full"
    );
}
