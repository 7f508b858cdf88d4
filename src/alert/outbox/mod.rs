//! The outbox: alerts that are not delivered yet, in the order in which they were raised, each until every sink has it.
//!
//! Alerts are kept on disk. What [`Outbox::append`] took is synced when it returns: it survives the process and a power cut. When
//! the disk is full or broken, the newest alerts are kept in memory instead, within bounds, and are written to the disk as soon as
//! it works again; so an append never fails and never waits for that. An alert is deleted by [`Outbox::remove`], or dropped as the
//! oldest when a limit is exceeded.
//!
//! `disk` is the file, `recent` the newest alerts in memory.

mod disk;
mod entry;
mod recent;
mod status;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::ErrorCode;
use tokio::{
    sync::{Notify, watch},
    time::timeout_at,
};

pub use self::{
    disk::Error,
    entry::{Entry, Mark, Seq, Sink, Snapshot},
    status::Status,
};
use self::{
    disk::{Disk, Row, is_damaged, now},
    recent::{Dropped, Recent},
};
use crate::config::OutboxLimits;

/// The size of a batch that is read from disk; one alert may be larger.
const BATCH_BYTES: u64 = 4_000_000;
/// How often alerts that are too old are dropped.
const PRUNE: Duration = Duration::from_secs(60);

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
    status: watch::Sender<Status>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// `None`: it cannot even be opened.
    disk: Option<Disk>,
    /// Why alerts are not written, if they are not.
    failing: Option<String>,
    /// The file may hold alerts that a reader missed.
    unread: bool,
    /// Delivered, and still in the file, which could not be written.
    undeleted: Vec<(Sink, Seq)>,
    next: Seq,
    pruned: Instant,
    reminded: Option<Instant>,
}

impl Outbox {
    /// Opens the outbox in `state_dir`, or makes it, with the broker as its only sink.
    ///
    /// # Errors
    /// See [`Self::with`].
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        Self::with(state_dir, OutboxLimits::default(), &[Sink::Mqtt])
    }

    /// Opens the outbox in `state_dir`, or makes it. A damaged file is renamed and replaced by a new one. With a full disk the
    /// outbox starts in memory.
    ///
    /// # Errors
    /// The file cannot be used, and waiting would not help.
    pub fn with(state_dir: &Path, limits: OutboxLimits, sinks: &[Sink]) -> Result<Self, Error> {
        let path = disk::path(state_dir);
        fs::create_dir_all(state_dir)
            .map_err(|source| Error::Folder { folder: state_dir.to_owned(), source })?;
        let sinks = sinks.iter().fold(0, |set, sink| set | sink.bit());
        let mut status = Status::default();
        let opened = Disk::open_or_replace(&path).and_then(|(mut disk, aside)| {
            let broken = |source| Error::Open { path: path.clone(), source };
            status.set_aside = aside.map(|aside| aside.display().to_string());
            let alerts = disk.keep_sinks(sinks).map_err(broken)?;
            if alerts > 0 {
                tracing::warn!(
                    alerts,
                    "alerts were deleted: the webhook or command that they waited for is no longer configured"
                );
            }
            Ok((disk.next().map_err(broken)?, disk))
        });
        let (next, disk, failing) = match opened {
            Ok((next, disk)) => (next, Some(disk), None),
            // The numbers in the file are unknown; the time of day is beyond them.
            Err(Error::Open { source, .. }) if is_no_room(&source) => (now(), None, Some(source.to_string())),
            Err(error) => return Err(error),
        };
        if let Some(why) = &failing {
            warn_in_memory(&path, why);
        }
        status.in_memory.clone_from(&failing);
        let unread = disk.is_none();
        let (undeleted, pruned) = (Vec::new(), Instant::now());
        let file = File { path, disk, failing, unread, undeleted, next, pruned, reminded: None };
        let outbox = Self {
            limits,
            sinks,
            recent: Mutex::new(Recent::new(next)),
            file: Mutex::new(file),
            appended: Default::default(),
            waiting: Default::default(),
            rewound: AtomicU64::new(0),
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
        let created = now();
        let rows = entries.into_iter().map(|entry| {
            let seq = file.next;
            file.next += 1;
            Row { seq, pending: self.sinks, created, entry: Arc::new(entry) }
        });
        let rows = rows.collect::<Vec<_>>();
        let on_disk = self.write(&mut file, &rows);
        let dropped = self.recent().push(rows, on_disk);
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

    /// Drops what is too old, and tries a disk again that did not work. To be called every second or so: nothing else tries
    /// again. Blocks for the disk.
    pub fn tend(&self) {
        let mut file = self.file();
        if file.failing.is_some() {
            self.recover(&mut file);
        } else if file.pruned.elapsed() >= PRUNE {
            self.prune(&mut file);
        }
        self.count(&file);
    }

    /// Writes `rows` to the disk. Returns whether they are on it.
    fn write(&self, file: &mut File, rows: &[Row]) -> bool {
        if file.failing.is_some() {
            return false;
        }
        let written =
            |file: &mut File| file.disk.as_mut().map_or(Ok(false), |disk| disk.append(rows).map(|()| true));
        match written(file) {
            Ok(written) => written,
            Err(error) => {
                self.fail(file, &error);
                // Unless a damaged file was just replaced.
                file.failing.is_none() && written(file).unwrap_or(false)
            }
        }
    }

    /// Handles an error of the disk. A damaged file is replaced at once; anything else is tried again by [`Self::tend`].
    fn fail(&self, file: &mut File, error: &rusqlite::Error) {
        let why = match file.disk.take() {
            Some(damaged) if is_damaged(error) => match damaged.replace(&file.path, &error.to_string()) {
                Ok((disk, aside)) => {
                    self.reopened(file, disk, Some(aside));
                    return;
                }
                Err(error) => {
                    file.unread = true;
                    format!("{:#}", anyhow::anyhow!(error))
                }
            },
            disk => {
                file.disk = disk;
                error.to_string()
            }
        };
        if file.failing.is_none() {
            warn_in_memory(&file.path, &why);
            self.status.send_modify(|status| status.in_memory = Some(why.clone()));
        }
        file.failing = Some(why);
    }

    /// Uses a file that was opened again or replaced.
    fn reopened(&self, file: &mut File, mut disk: Disk, aside: Option<PathBuf>) {
        file.next = disk.next().map_or(file.next, |next| file.next.max(next));
        let _ = disk.keep_sinks(self.sinks);
        file.disk = Some(disk);
        file.unread = true;
        self.recent().forget_copies(file.next);
        if let Some(aside) = aside {
            self.status.send_modify(|status| status.set_aside = Some(aside.display().to_string()));
        }
    }

    /// Tries to write to the disk what is only in memory.
    fn recover(&self, file: &mut File) {
        if file.disk.is_none() {
            match Disk::open_or_replace(&file.path) {
                Ok((disk, aside)) => self.reopened(file, disk, aside),
                Err(error) => {
                    tracing::debug!(
                        error = format!("{:#}", anyhow::anyhow!(error)),
                        "the disk does not work yet"
                    );
                    return;
                }
            }
        }
        let rows = self.recent().only_in_memory();
        let Some(disk) = &mut file.disk else { return };
        let mut done = disk.append(&rows);
        for sink in Sink::ALL {
            let of_sink = |(other, seq): &(Sink, Seq)| (*other == sink).then_some(*seq);
            let delivered = file.undeleted.iter().filter_map(of_sink).collect::<Vec<_>>();
            if done.is_ok() && !delivered.is_empty() {
                done = disk.remove(sink, &delivered);
            }
        }
        match done {
            Ok(()) => {
                self.recent().all_on_disk();
                (file.failing, file.undeleted) = (None, Vec::new());
                if std::mem::take(&mut file.unread) {
                    self.rewound.fetch_add(1, Ordering::Relaxed);
                    self.wake();
                }
                self.status.send_modify(|status| status.in_memory = None);
                tracing::info!(file = %file.path.display(), alerts = rows.len(), "the disk works again: the alerts in memory were written to it");
                self.prune(file);
            }
            Err(error) => {
                tracing::debug!(%error, "the disk does not work yet");
                self.fail(file, &error);
            }
        }
    }

    /// Drops what exceeds the limits of the file.
    fn prune(&self, file: &mut File) {
        file.pruned = Instant::now();
        let OutboxLimits { size, snapshots, age } = self.limits;
        let Some(disk) = file.disk.as_mut().filter(|_| file.failing.is_none()) else { return };
        let pruned = disk
            .drop_oldest(size, age, now())
            .and_then(|alerts| Ok(Dropped { alerts, snapshots: disk.drop_snapshots(snapshots)? }));
        match pruned {
            Ok(dropped) => self.dropped_some(file, &dropped),
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

fn warn_in_memory(path: &Path, why: &str) {
    tracing::error!(
        file = %path.display(),
        why,
        "alerts cannot be written to disk: they are kept in memory and delivered from there, and lost if stakeout ends before; \
         check that the disk works and is not full"
    );
}

/// Whether waiting may help; otherwise the configuration or the permissions must be changed.
fn is_no_room(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
