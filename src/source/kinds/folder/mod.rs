//! The folder source: a frame for every picture that appears in a folder or below it.
//!
//! **When a file is taken.** When it is closed after writing or moved in. A file of which only the existence is known (a
//! look found it, or it was linked) is taken when it did not change for half a second; once somebody is seen writing to
//! it, not before it is closed. Whether the writer of a found file only pauses nobody can know, so a file that is no
//! picture is not reported at once: it is tried again when it changes or is closed, and once more after some seconds (2
//! after a close, 10 without one). Only then is it reported, counted, and left alone until it changes. Older files first.
//!
//! **Nothing missed, nothing twice.** A file's path and version (inode, size, time of modification) decide, never the
//! number of events. Rewritten under the same name it is taken again (`touch` does that, too), renamed inside the folder
//! it is not. Hard links and links to files are files of their own; what a link leads to is looked at every minute. A
//! tool that sets the time of a file after closing it makes no new version, unless the folder is polled. Whatever the
//! kernel or we had no room for is found by a look at the whole folder: soon after an overflow, and every minute anyway.
//!
//! **The folder itself.** It may be missing at start, be removed, made again or mounted over: it is looked for every
//! second. `existing` is about the files that are there when the source starts; those of a folder that appears later are
//! new.
//!
//! **Network file systems** tell nothing: with `poll` the folder is only looked at, and a file is complete when two looks
//! saw the same. Inodes make no version there, because some of these file systems make them up.
//!
//! **Afterwards.** A file is deleted or moved when its frame was scored and its alerts are on disk, and only if it is
//! still the one that was taken. Nothing is ever overwritten: `a.jpg` becomes `a-1.jpg`. A file that failed stays where it
//! is, and so does one that could not be moved, which is logged and counted.
//!
//! It refuses to take hidden names, names that end like a temporary one (`.tmp`, `.temp`, `.part`, `.partial`,
//! `.filepart`, `.crdownload`, `~`), anything but regular files, files of more than 256 MiB, and whatever lies in the
//! folder into which `after` moves.

mod after;
mod deliver;
mod error;
mod inventory;
mod pace;
mod pending;
mod scan;
mod seen;
pub mod settings;
mod take;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

pub use self::error::FolderError;
use self::{
    after::Taken,
    inventory::Inventory,
    pace::Pace,
    pending::Pending,
    scan::FolderId,
    seen::Seen,
    watch::{Notice, Watch},
};
use crate::{
    config::{After, Existing, Folder},
    source::{Cause, Causes, Context, SLOTS, Status, cause},
};

pub(crate) const CAUSES: Causes = Causes {
    skipped: &[],
    failed: &[
        cause::PICTURE,
        &[Cause::After, Cause::TooManyBytes, Cause::Unreadable, Cause::UnreadableFolder],
    ],
};

/// What makes a folder the same folder: path and inode may both be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RootId(FolderId, Option<SystemTime>);

/// Why the work on a folder ended without an error.
enum Ended {
    /// It was told to stop.
    Stopped,
    /// The folder is gone or another one.
    FolderLost,
}

/// A folder source, with what it remembers over its failures.
pub struct FolderSource {
    root: PathBuf,
    existing: Existing,
    after: After,
    polls: bool,
    pace: Pace,
    inventory: Inventory,
    watch: Option<Watch>,
    /// Whether the first look was taken: from then on every file is new.
    began: bool,
    next_look: Instant,
    /// Not before this, whatever was lost.
    may_look: Instant,
    next_check: Instant,
    /// Frames under way whose file is waited for: its path when it was taken, and now.
    under_way: HashMap<PathBuf, PathBuf>,
    /// Frames that went the whole way tell it here. When it is full, the file is finished by who tells it.
    done_sender: mpsc::Sender<Taken>,
    done: mpsc::Receiver<Taken>,
}

impl FolderSource {
    /// A source that did not begin yet.
    #[must_use]
    pub fn new(folder: &Folder) -> Self {
        Self::with_pace(folder, Pace::of(folder.poll))
    }

    fn with_pace(folder: &Folder, pace: Pace) -> Self {
        // Where there is no current folder, the path as typed is as good as any.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let root = absolute(&folder.path);
        let after = match &folder.after {
            After::Move(target) => After::Move(absolute(target)),
            other => other.clone(),
        };
        let except = if let After::Move(target) = &after { Some(target.clone()) } else { None };
        let polls = folder.poll.is_some();
        let (seen, pending) = (Seen::new(!polls), Pending::new(pace.patience));
        let now = Instant::now();
        let (done_sender, done) = mpsc::channel(2 * SLOTS);
        Self {
            inventory: Inventory::new(root.clone(), except, seen, pending, pace.files),
            root,
            existing: folder.existing,
            after,
            polls,
            pace,
            watch: None,
            began: false,
            next_look: now,
            may_look: now,
            next_check: now,
            under_way: HashMap::new(),
            done_sender,
            done,
        }
    }

    /// Delivers frames until it is told to stop.
    ///
    /// # Errors
    /// When the folder cannot be watched. That it is not there is no error: it is waited for.
    pub async fn run_once(&mut self, context: &Context) -> Result<(), FolderError> {
        while let Some(root) = self.folder_appears(context).await? {
            self.begin(context)?;
            context.report(Status::Online);
            if matches!(self.work(root, context).await?, Ended::Stopped) {
                break;
            }
        }
        Ok(())
    }

    /// Finishes the files whose frames went the whole way; for frames still under way, who ends them finishes their file.
    pub fn end(&mut self, context: &Context) {
        self.done.close();
        while let Ok(taken) = self.done.try_recv() {
            self.finish(taken, context);
        }
    }

    /// Waits for the folder; `None` when it was told to stop.
    async fn folder_appears(&mut self, context: &Context) -> Result<Option<RootId>, FolderError> {
        let mut told = false;
        loop {
            if let Some(root) = self.look_for_folder()? {
                return Ok(Some(root));
            }
            self.began = true; // nothing was there before us
            context.report(Status::Offline);
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(source = &*context.name, path = %self.root.display(), "waiting for the folder to appear");
            }
            tokio::select! {
                () = context.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(self.pace.check) => {}
            }
        }
    }

    fn look_for_folder(&self) -> Result<Option<RootId>, FolderError> {
        let path = self.root.clone();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                Ok(Some(RootId(FolderId::of(&metadata), metadata.created().ok())))
            }
            Ok(_) => Err(FolderError::NotAFolder(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(FolderError::NotAFolder(path)),
            Err(cause) => Err(FolderError::Unreadable { path, cause }),
        }
    }

    /// Sets the watches and takes the first look.
    fn begin(&mut self, context: &Context) -> Result<(), FolderError> {
        if let After::Move(target) = &self.after
            && let (Ok(target), Ok(root)) = (fs::metadata(target), fs::metadata(&self.root))
            && FolderId::of(&target) == FolderId::of(&root)
        {
            return Err(FolderError::MovesIntoItself(self.root.clone()));
        }
        if !self.began && self.existing == Existing::Skip {
            self.inventory.skip_existing(context)?;
        }
        self.began = true;
        self.watch = None; // gives the old watches back before it takes new ones
        if !self.polls {
            let watch = Watch::new(self.pace.notices);
            let refused = |error| {
                FolderError::of_watch(&self.root, error)
                    .unwrap_or_else(|| FolderError::Watch(self.root.clone(), "it is gone".to_owned()))
            };
            self.watch = Some(watch.map_err(refused)?);
        }
        self.look(context)?;
        tracing::info!(source = &*context.name, path = %self.root.display(), "watching the folder");
        Ok(())
    }

    fn look(&mut self, context: &Context) -> Result<(), FolderError> {
        let started = Instant::now();
        self.inventory.look(self.watch.as_mut(), context)?;
        let ended = Instant::now();
        // A folder that takes long to look at is looked at less often: at most a fifth of the time.
        let rest = (ended - started) * 4;
        self.next_look = ended + self.pace.look.max(rest);
        self.may_look = ended + self.pace.look_again.max(rest);
        Ok(())
    }

    /// The loop: whatever comes first, the oldest complete file whenever a slot is free.
    async fn work(&mut self, root: RootId, context: &Context) -> Result<Ended, FolderError> {
        self.next_check = Instant::now() + self.pace.check;
        loop {
            if context.stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            while let Ok(taken) = self.done.try_recv() {
                self.finish(taken, context);
            }
            let now = Instant::now();
            if self.inventory.root_lost || now >= self.next_check {
                self.next_check = now + self.pace.check;
                if self.inventory.root_lost || self.look_for_folder()? != Some(root) {
                    self.inventory.root_lost = false;
                    return Ok(Ended::FolderLost);
                }
            }
            if self.watch.as_ref().is_some_and(Watch::lost_something) || self.inventory.has_room_again() {
                self.inventory.look_again = true;
            }
            if self.inventory.look_again {
                self.next_look = self.next_look.min(self.may_look);
            }
            if now >= self.next_look {
                self.look(context)?;
            }
            self.inventory.pending.wake(now);

            let wake = self.next_check.min(self.next_look);
            let wake = self.inventory.pending.next_due().map_or(wake, |due| due.min(wake));
            tokio::select! {
                () = context.stop.cancelled() => return Ok(Ended::Stopped),
                () = sleep_until(wake) => {}
                Some(taken) = self.done.recv() => self.finish(taken, context),
                notice = next_notice(self.watch.as_mut()) => self.notice(notice, context)?,
                permit = context.slots.clone().acquire_owned(), if self.inventory.pending.has_ready() => {
                    // A closed semaphore or channel is somebody else's end, and ours.
                    let Ok(permit) = permit else { return Ok(Ended::Stopped) };
                    if self.take(permit, context).await.is_none() {
                        return Ok(Ended::Stopped);
                    }
                }
            }
        }
    }

    fn notice(&mut self, notice: Option<Notice>, context: &Context) -> Result<(), FolderError> {
        let (Some(notice), Some(watch)) = (notice, self.watch.as_mut()) else {
            return Err(FolderError::Watch(self.root.clone(), "the watcher ended".to_owned()));
        };
        if let Notice::Renamed(from, to) = &notice
            && let Some(path) = self.under_way.values_mut().find(|path| *path == from)
        {
            path.clone_from(to);
        }
        self.inventory.notice(notice, watch, context)
    }
}

/// The next notice; never, where the folder is polled.
async fn next_notice(watch: Option<&mut Watch>) -> Option<Notice> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
