//! The outbox: the alerts that were not yet told, in the order they came, each until every sink has it.
//!
//! They are on disk; what [`Outbox::append`] took is synced when it returns, and survives the process and the power. When
//! the disk is full or broken the newest are kept in memory instead, within bounds, and go onto the disk as soon as it
//! works again: whoever writes here never fails and never waits for that. An alert leaves by [`Outbox::remove`], or as the
//! oldest of too many. It refuses to know what a broker is.
//!
//! `disk` is the file, `recent` the newest alerts in memory; `mending` what is done when one of them cannot do its part.

mod disk;
mod entry;
mod error;
mod recent;
pub mod recovery;
mod status;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use self::{
    disk::{Disk, Row},
    recent::Recent,
    recovery::{is_no_room, warn_in_memory},
};
pub use self::{
    entry::{Entry, Mark, Seq, Sink, Snapshot},
    error::Error,
    status::Status,
};
use crate::config::OutboxLimits;

/// Of a batch that is read from disk; one alert may be larger.
const BATCH_BYTES: u64 = 4_000_000;
/// So often somebody looks whether alerts are too old.
const PRUNE: Duration = Duration::from_secs(60);
/// Whoever delivers stays awake for so long while an alert is being written.
const AWAKE: Duration = Duration::from_millis(1);

/// The alerts that were not yet told.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    /// A bit for each sink that is there.
    sinks: u8,
    /// Taken before `recent` where both are needed. It is held while the disk syncs, so never by who must not wait.
    file: Mutex<File>,
    recent: Mutex<Recent>,
    appended: [Notify; Sink::ALL.len()],
    waiting: [AtomicU64; Sink::ALL.len()],
    /// How often alerts came back that could not be read for a while.
    rewound: AtomicU64,
    /// Whether an alert is on its way to the disk; no more than a hint.
    writing: AtomicBool,
    status: watch::Sender<Status>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// `None`: it cannot even be opened.
    disk: Option<Disk>,
    /// Why alerts are not written, if they are not.
    failing: Option<String>,
    /// Alerts may be in the file that nobody could read when he asked.
    unread: bool,
    /// Told, and still in the file, which could not be written.
    unremoved: Vec<(Sink, Seq)>,
    next: Seq,
    pruned: Instant,
    reminded: Option<Instant>,
}

impl Outbox {
    /// Opens the outbox in `state_dir` for the broker alone, or makes it.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        Self::with(state_dir, OutboxLimits::default(), &[Sink::Mqtt])
    }

    /// Opens the outbox in `state_dir`, or makes it. A damaged file is set aside and a fresh one made; with a full disk
    /// it begins in memory.
    pub fn with(state_dir: &Path, limits: OutboxLimits, sinks: &[Sink]) -> Result<Self, Error> {
        let path = disk::path(state_dir);
        fs::create_dir_all(state_dir)
            .map_err(|source| Error::Folder { folder: state_dir.to_owned(), source })?;
        let sinks = sinks.iter().fold(0, |set, sink| set | sink.bit());
        let mut status = Status::default();
        let opened = Disk::open_or_replace(&path).and_then(|(mut disk, aside)| {
            let broken = |source| Error::Open { path: path.clone(), source };
            status.set_aside = aside.map(|aside| aside.display().to_string());
            let gone = disk.forget_others(sinks).map_err(broken)?;
            if gone > 0 {
                tracing::warn!(alerts = gone, "alerts left the outbox: the webhook or command they waited for is not configured any more");
            }
            Ok((disk.next().map_err(broken)?, disk))
        });
        let (next, disk, failing) = match opened {
            Ok((next, disk)) => (next, Some(disk), None),
            // Nobody knows the numbers in the file yet; a clock's are beyond them.
            Err(Error::Open { source, .. }) if is_no_room(&source) => (now(), None, Some(source.to_string())),
            Err(error) => return Err(error),
        };
        if let Some(why) = &failing {
            warn_in_memory(&path, why);
        }
        status.in_memory.clone_from(&failing);
        let unread = disk.is_none();
        let (unremoved, pruned) = (Vec::new(), Instant::now());
        let file = File { path, disk, failing, unread, unremoved, next, pruned, reminded: None };
        let outbox = Self {
            limits,
            sinks,
            recent: Mutex::new(Recent::new(next)),
            file: Mutex::new(file),
            appended: Default::default(),
            waiting: Default::default(),
            rewound: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            status: watch::Sender::new(status),
        };
        outbox.prune(&mut outbox.file());
        outbox.count(&outbox.file());
        Ok(outbox)
    }

    /// Takes an alert. It is on the disk when this returns, and this blocks that long; or in memory, if the disk does not
    /// work, which [`Self::status`] says.
    pub fn append(&self, entry: &Entry) {
        self.append_all(vec![entry.clone()]);
    }

    /// Takes several at the price of one.
    pub fn append_all(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        // Whoever delivers wakes up while the disk works.
        self.writing.store(true, Ordering::Release);
        self.wake();
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
        self.lost(&mut file, &dropped);
        self.count(&file);
        drop(file);
        self.writing.store(false, Ordering::Release);
        self.wake();
    }

    /// How it stood with each label when this was written last: whether it was raised, and the JSON of its newest alert that it
    /// was. Of a disk that does not work nothing is known.
    #[must_use]
    pub fn marks(&self) -> Vec<(bool, String)> {
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

    /// Forgets how it stands with labels, by the topics of their states.
    pub fn forget_marks(&self, topics: &[String]) {
        if topics.is_empty() {
            return;
        }
        let mut file = self.file();
        let done = file.disk.as_mut().map(|disk| disk.forget_marks(topics));
        if let Some(Err(error)) = done {
            // They come back with the next start, which forgets them again.
            self.fail(&mut file, &error);
        }
    }

    /// Alerts behind `after` that `sink` has yet to be told, oldest first; at most `most`. Never waits: `None` means that
    /// [`Self::read`] has to ask the disk.
    #[must_use]
    pub fn peek(&self, sink: Sink, after: Seq, most: usize) -> Option<Vec<(Seq, Arc<Entry>)>> {
        self.recent().read(sink, after, most)
    }

    /// Likewise, from the disk where they are only there; it blocks that long.
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
        rows.retain(|row| !file.unremoved.contains(&(sink, row.seq)));
        if rows.is_empty() {
            return self.recent().read_alone(sink, after, most);
        }
        rows.into_iter().map(|row| (row.seq, row.entry)).collect()
    }

    /// The alert of this number, if `sink` was not told yet; it may block for the disk.
    #[must_use]
    pub fn get(&self, sink: Sink, seq: Seq) -> Option<Arc<Entry>> {
        let kept = self.recent().get(sink, seq);
        kept.or_else(|| {
            self.read(sink, seq - 1, 1).into_iter().find(|(found, _)| *found == seq).map(|(_, entry)| entry)
        })
    }

    /// Forgets alerts that `sink` was told; it blocks for the disk. One that is no longer there is no error.
    pub fn remove(&self, sink: Sink, seqs: &[Seq]) {
        if seqs.is_empty() {
            return;
        }
        let mut file = self.file();
        let on_disk = self.recent().remove(sink, seqs);
        let done = file.disk.as_mut().map(|disk| disk.remove(sink, &on_disk));
        if let Some(Err(error)) = done {
            // They are not told again; after a restart they would be.
            file.unremoved.extend(on_disk.iter().map(|seq| (sink, *seq)));
            self.fail(&mut file, &error);
        }
        self.count(&file);
    }

    /// How many alerts the broker has yet to be told.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting_for(Sink::Mqtt)
    }

    /// How many alerts `sink` has yet to be told.
    #[must_use]
    pub fn waiting_for(&self, sink: Sink) -> u64 {
        self.waiting[sink.index()].load(Ordering::Relaxed)
    }

    /// How many alerts were dropped because too many waited, or for too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.status.borrow().dropped
    }

    /// Returns when something was appended since the last call, or takes long to be; for one waiter of each sink. Not idle
    /// while an alert is being written: to fall asleep and be woken again takes as long as that.
    pub async fn appended(&self, sink: Sink) {
        self.appended[sink.index()].notified().await;
        let began = Instant::now();
        while self.writing.load(Ordering::Acquire) && began.elapsed() < AWAKE {
            // Who writes may need this very processor, and others this thread.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }

    /// Grows when alerts came back that could not be read for a while: who reads begins again at 0 then.
    #[must_use]
    pub fn rewound(&self) -> u64 {
        self.rewound.load(Ordering::Relaxed)
    }

    /// How it is doing, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// To be called now and then: drops what is too old, and takes up the disk again when it works. The one place where
    /// that is tried. It blocks for the disk.
    pub fn tend(&self) {
        let mut file = self.file();
        if file.failing.is_some() {
            self.recover(&mut file);
        } else if file.pruned.elapsed() >= PRUNE {
            self.prune(&mut file);
        }
        self.count(&file);
    }

    fn wake(&self) {
        self.appended.iter().for_each(Notify::notify_one);
    }

    fn count(&self, file: &File) {
        let recent = self.recent();
        for sink in Sink::ALL {
            let on_disk = file.disk.as_ref().map_or(0, |disk| disk.stock.waiting[sink.index()]);
            let told = file.unremoved.iter().filter(|(other, _)| *other == sink).count() as u64;
            let waiting = on_disk.saturating_sub(told) + recent.waiting_alone(sink);
            self.waiting[sink.index()].store(waiting, Ordering::Relaxed);
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // Every change of the file is one transaction: a thread that panicked has left nothing half done.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock on the wall, in milliseconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
