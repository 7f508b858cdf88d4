//! Deletes or moves a file after its frame was scored and its alerts are on disk.
//!
//! A file is identified by its folder, which is open since the file was taken, and by device, inode, size and time. It is moved
//! into a [private folder](super::private) first, compared there, and only then deleted or moved on: whatever others do with
//! links and folders meanwhile, no other file is deleted, and nothing is written through a link.
//!
//! Nothing is overwritten, and a file that is no longer the version that was taken is not touched. A file that failed
//! stays in its place, whatever `after` says: people will want to inspect it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustix::{
    fs::{AtFlags, unlinkat},
    io::Errno,
};
use tokio::sync::mpsc;

use super::{
    private::Private,
    seen::Version,
    settings::After,
    settle::{copy, remove, settle},
    take,
    tree::{Entry, FileLocation, Tree},
};
use crate::{
    descriptors::Identity,
    picture,
    source::{cause::Cause, counts::Counts},
};

/// A file that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
    pub(crate) content: u64,
    pub(crate) id: Identity,
    /// When the file was created, if its file system records that: an inode may be reused.
    pub(crate) created: Option<SystemTime>,
    /// Its folder, which stays open until the file is finished.
    pub(crate) place: Arc<FileLocation>,
    pub(crate) finisher: Arc<Finisher>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It is gone from its place.
    Gone,
    /// It is in its place, or another file is.
    Kept,
    /// It could not be deleted or moved. It may have been put back into its place.
    Failed,
}

/// Requests `after` for a file whose frame is scored.
pub(crate) fn request(done: &mpsc::Sender<Taken>, taken: Taken, source: &str, counts: &Counts) {
    // At shutdown the source ends before its frames: then, or if it is late, the file is finished from here.
    if let Err(unsent) = done.try_send(taken) {
        let taken = unsent.into_inner();
        finish_or_log(&taken.path, &taken, source, counts);
    }
}

/// Applies `after` to a file that is at `path` now, and logs and counts a failure.
pub(crate) fn finish_or_log(path: &Path, taken: &Taken, source: &str, counts: &Counts) -> Finished {
    match taken.finisher.finish(path, taken) {
        Ok(true) => Finished::Gone,
        Ok(false) => Finished::Kept,
        Err(error) => {
            counts.failed(Cause::After);
            let path = path.display();
            tracing::warn!(source, %path, cause = %error, "could not delete or move the file; it stays in its place");
            Finished::Failed
        }
    }
}

/// Between these steps others can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The file was compared with the file that was taken.
    Checked,
    /// The file is in the private folder.
    Held,
}

/// Deletes or moves the files of one source.
pub(crate) struct Finisher {
    after: After,
    tree: Arc<Tree>,
    /// Whether another inode is another file; not where a network file system may invent inodes.
    inodes_count: bool,
    private: Mutex<Option<Arc<Private>>>,
    #[cfg(test)]
    pub(super) hook: Option<Box<dyn Fn(Step) + Send + Sync>>,
}

impl std::fmt::Debug for Finisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Finisher").field("after", &self.after).finish_non_exhaustive()
    }
}

/// The file that was taken, found again and open.
struct Still {
    file: File,
    /// What is under its name: the file, or a link to it.
    entry: Entry,
}

/// A file in the private folder.
struct Held {
    private: Arc<Private>,
    name: OsString,
}

impl Held {
    fn delete(&self) -> Result<(), Errno> {
        unlinkat(self.private.folder(), &self.name, AtFlags::empty())
    }
}

impl Finisher {
    pub(crate) fn new(after: After, tree: Arc<Tree>, inodes_count: bool) -> Self {
        Self {
            after,
            tree,
            inodes_count,
            private: Mutex::new(None),
            #[cfg(test)]
            hook: None,
        }
    }

    /// Applies `after` to a file, which is at `path` now, if it is still the file that was taken. Whether it is gone from there.
    pub(crate) fn finish(&self, path: &Path, taken: &Taken) -> io::Result<bool> {
        if self.after == After::Keep {
            return Ok(false);
        }
        let Some(place) = self.place(path, taken)? else { return Ok(false) };
        let Some(still) = self.find(&place, taken)? else { return Ok(false) };
        let target = self.open_target(&place, &still)?;
        self.reached(Step::Checked);
        let held = match self.hold(&place) {
            Ok(held) => held,
            Err(error) => {
                target.iter().for_each(Target::drop_copy);
                // Another program removed it in the meantime.
                return if error == Errno::NOENT { Ok(true) } else { Err(error.into()) };
            }
        };
        self.reached(Step::Held);
        if !self.is_same(&held.private.entry(&held.name)?, &still.entry) {
            target.iter().for_each(Target::drop_copy);
            self.put_back(&held, &place)?;
            return Ok(false);
        }
        let done = match &target {
            None => held.delete().map_err(io::Error::from),
            Some(target) => target.receive(&held, &place, &still, &self.tree),
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) => {
                target.iter().for_each(Target::drop_copy);
                self.put_back(&held, &place)?;
                Err(error)
            }
        }
    }

    /// Where the file is now; `None` if nothing is there.
    fn place(&self, path: &Path, taken: &Taken) -> io::Result<Option<Arc<FileLocation>>> {
        if path == taken.path {
            return Ok(Some(Arc::clone(&taken.place)));
        }
        // It was renamed while its frame was in flight.
        missing_is_none(self.tree.place(path)).map(|place| place.map(Arc::new))
    }

    /// Opens the file that was taken. Copying tools set the time of a file after they closed it: then its content decides.
    /// Another file of the same name and content is a different file.
    fn find(&self, place: &FileLocation, taken: &Taken) -> io::Result<Option<Still>> {
        let Some(entry) = missing_is_none(place.entry())? else { return Ok(None) };
        let Some(mut file) = missing_is_none(self.tree.file(place))?.flatten() else { return Ok(None) };
        let metadata = file.metadata()?;
        let (id, now) = (Identity::of(&metadata), Version::of(&metadata));
        if self.inodes_count && !entry.is_link() && id != entry.id {
            return Ok(None); // exchanged between the two calls
        }
        let same_file =
            || (id, now.size) == (taken.id, taken.version.size) && metadata.created().ok() == taken.created;
        let mut same_content =
            || take::read(&mut file, now).is_ok_and(|(bytes, _)| picture::hash(&bytes) == taken.content);
        let same_version = now.looks_like(taken.version) && (id == taken.id || !self.inodes_count);
        Ok((same_version || same_file() && same_content()).then_some(Still { file, entry }))
    }

    /// Whether a file is still the one that was found before.
    fn is_same(&self, now: &Entry, before: &Entry) -> bool {
        now.version.looks_like(before.version) && (now.id == before.id || !self.inodes_count)
    }

    /// Opens the folder that the file is moved into, with a copy of it if it is on another file system; `None` if it is deleted.
    fn open_target(&self, place: &FileLocation, still: &Still) -> io::Result<Option<Target>> {
        let After::Move(path) = &self.after else { return Ok(None) };
        let in_target =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let folder = self.tree.target(path).map_err(in_target)?;
        let device = |folder: &OwnedFd| Identity::of_open(folder).map(|id| id.numbers()[0]);
        // A relative link may be broken in the other folder: its picture is moved instead.
        let is_copied = still.entry.is_link() || device(&folder)? != device(&place.folder)?;
        let copy = is_copied.then(|| copy(&still.file, &folder)).transpose().map_err(in_target)?;
        Ok(Some(Target { path: path.clone(), folder, copy }))
    }

    /// Moves the file at a place to where no one else can exchange it.
    fn hold(&self, place: &FileLocation) -> Result<Held, Errno> {
        for _ in 0..2 {
            let Some(private) = self.private() else { break };
            match private.hold(place) {
                Ok(name) => return Ok(Held { private, name }),
                Err(Errno::NOENT) if place.entry().is_err() => return Err(Errno::NOENT),
                // Someone removed the private folder: it is made anew.
                Err(Errno::NOENT) => *self.lock() = None,
                // Another file system is mounted in the watched folder.
                Err(_) => break,
            }
        }
        let here = Private::create(&place.folder).or_else(|_| Private::instead(&place.folder))?;
        let name = here.hold(place)?;
        Ok(Held { private: Arc::new(here), name })
    }

    /// The private folder in the watched one; `None` if it cannot be made there.
    fn private(&self) -> Option<Arc<Private>> {
        let mut private = self.lock();
        if private.is_none() {
            *private = Private::create(self.tree.root()).map(Arc::new).ok();
        }
        private.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Private>>> {
        self.private.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a file back under its name, or a free one like it if a newer file has that name.
    fn put_back(&self, held: &Held, place: &FileLocation) -> io::Result<()> {
        let back = |folder: &OwnedFd| {
            settle(held.private.folder(), &held.name, folder, &place.name, self.tree.calls)
        };
        // Its folder may be gone.
        back(&place.folder).or_else(|_| back(self.tree.root())).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("it is in a hidden folder until the next start: {error}"))
        })
    }

    fn reached(&self, _step: Step) {
        #[cfg(test)]
        if let Some(hook) = &self.hook {
            hook(_step);
        }
    }
}

/// The folder that a file is moved into.
struct Target {
    path: PathBuf,
    folder: OwnedFd,
    /// The temporary name of a copy of the file in it.
    copy: Option<OsString>,
}

impl Target {
    /// Moves a file into this folder, under its name or the first free one of `name-1`, `name-2`...
    fn receive(&self, held: &Held, place: &FileLocation, still: &Still, tree: &Tree) -> io::Result<()> {
        let named = |from: &OwnedFd, name: &OsStr| settle(from, name, &self.folder, &place.name, tree.calls);
        let received = match &self.copy {
            Some(copy) => named(&self.folder, copy).map_err(io::Error::from),
            None => match named(held.private.folder(), &held.name) {
                Ok(()) => return Ok(()),
                // Another mount of the same file system.
                Err(Errno::XDEV) => copy(&still.file, &self.folder).and_then(|copy| {
                    named(&self.folder, &copy).inspect_err(|_| remove(&self.folder, &copy))?;
                    Ok(())
                }),
                Err(error) => Err(error.into()),
            },
        };
        received
            .and_then(|()| {
                // The new name is on disk before the old file is deleted.
                rustix::fs::fsync(&self.folder).or_else(|error| match error {
                    Errno::INVAL => Ok(()), // not every file system syncs folders
                    error => Err(error),
                })?;
                held.delete()?;
                Ok(())
            })
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
    }

    /// Deletes the copy, unless it has its final name already.
    fn drop_copy(&self) {
        self.copy.iter().for_each(|copy| remove(&self.folder, copy));
    }
}

/// The error of a file that was removed, or exchanged for something that is never touched, is `None`.
fn missing_is_none<T>(found: Result<T, Errno>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
