//! What is known of the folder: which folders there are, which files were dealt with, which wait.
//!
//! Looks and notices meet here. Both are only hints where to look: the file's version decides, so it does not matter in
//! which order they come or how often. It refuses to read files.

use std::{
    collections::{HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use tokio::time::Instant;

use super::{
    FolderError,
    pending::{Evidence, Pending},
    scan::{Folders, Scan, Unseen, is_wanted},
    seen::{Entry, Fate, Modified, Seen, Verdict, Version},
    watch::{self, Notice, Watch},
};
use crate::source::{Cause, Context};

/// The state of one folder source.
pub(crate) struct Inventory {
    pub(crate) seen: Seen,
    pub(crate) pending: Pending,
    /// Something was passed over: look at everything again soon.
    pub(crate) look_again: bool,
    /// The watched folder itself was deleted or moved away.
    pub(crate) root_lost: bool,
    root: PathBuf,
    /// Never looked at: where the files are moved to.
    except: Option<PathBuf>,
    folders: Folders,
    /// So many files wait at most; for more there is the next look.
    most: usize,
    /// More were found than may wait.
    overfull: bool,
    /// The newest files that went away: they may appear again under another name.
    left: VecDeque<(PathBuf, Entry)>,
    /// Folders that cannot be read, so that each is told once.
    unreadable: HashSet<PathBuf>,
}

impl Inventory {
    pub(crate) fn new(
        root: PathBuf,
        except: Option<PathBuf>,
        seen: Seen,
        pending: Pending,
        most: usize,
    ) -> Self {
        Self {
            seen,
            pending,
            look_again: false,
            root_lost: false,
            root,
            except,
            folders: Folders::default(),
            most,
            overfull: false,
            left: VecDeque::new(),
            unreadable: HashSet::new(),
        }
    }

    /// Everything that is there now was there before us.
    pub(crate) fn skip_existing(&mut self, context: &Context) -> Result<(), FolderError> {
        self.folders.clear();
        let Self { seen, folders, root, except, .. } = self;
        let mut scan = Scan { folders, except: except.as_deref(), stop: &context.stop };
        let skip = |path: PathBuf, version| seen.insert(&path, version, Fate::Skipped);
        let unseen = scan.run(root, |_| Ok::<_, FolderError>(()), skip)?;
        self.tell_unreadable(unseen.folders, context)
    }

    /// Looks at everything: watches every folder, and notices every file that was not dealt with.
    pub(crate) fn look(&mut self, watch: Option<&mut Watch>, context: &Context) -> Result<(), FolderError> {
        (self.look_again, self.root_lost, self.overfull) = (false, false, false);
        self.folders.clear();
        self.seen.begin_look();
        let (found, unseen) = self.scan(self.root.clone(), watch, context)?;
        // Only a look that saw everything can tell that something is gone.
        let mut gone = if unseen.nothing() { self.seen.end_look() } else { Default::default() };
        self.unreadable.retain(|path| unseen.folders.iter().any(|(folder, _)| folder == path));
        for (path, version) in found {
            if gone.remove(&version).is_some_and(|entry| self.seen.renamed(entry, &path, version)) {
                self.pending.remove(&path);
            } else {
                self.wait(&path, version, Evidence::Found);
            }
        }
        self.tell_unreadable(unseen.folders, context)
    }

    /// Whether there is room again for files that were passed over.
    pub(crate) fn has_room_again(&self) -> bool {
        self.overfull && self.pending.len() <= self.most / 2
    }

    /// Takes one notice of the kernel.
    pub(crate) fn notice(
        &mut self,
        notice: Notice,
        watch: &mut Watch,
        context: &Context,
    ) -> Result<(), FolderError> {
        match notice {
            Notice::Complete(path) => self.look_at(&path, Evidence::Complete, watch, context),
            Notice::Created(path) => self.look_at(&path, Evidence::Found, watch, context),
            Notice::Writing(path) if self.pending.contains(&path) => {
                self.pending.writing(&path, Instant::now());
                Ok(())
            }
            Notice::Writing(path) => self.look_at(&path, Evidence::Writing, watch, context),
            Notice::Attributes(path) => {
                let Some(entry) = self.seen.forget(&path) else { return Ok(()) };
                if entry.fate != Fate::Unreadable {
                    self.seen.put_back(&path, entry);
                    return Ok(());
                }
                self.look_at(&path, Evidence::Found, watch, context)
            }
            Notice::Gone(path) => {
                self.pending.remove(&path);
                self.root_lost |= path == self.root;
                self.folders.forget(&path);
                if let Some(entry) = self.seen.forget(&path) {
                    self.left.push_front((path, entry));
                    self.left.truncate(watch::MOVES);
                }
                Ok(())
            }
            Notice::Renamed(from, to) => {
                let Ok(metadata) = fs::metadata(&to) else { return Ok(()) }; // gone again
                if metadata.is_dir() {
                    // Its files are known under their old paths: only a look at everything tells which are new.
                    self.look_again = true;
                    return Ok(());
                }
                let left = self.left.iter().position(|(path, _)| *path == from);
                let left = left.and_then(|place| self.left.remove(place));
                if left.is_some_and(|(_, entry)| self.seen.renamed(entry, &to, Version::of(&metadata))) {
                    return Ok(());
                }
                self.look_at(&to, Evidence::Complete, watch, context)
            }
        }
    }

    /// Something is at `path`: a file that may be new, or a folder that is.
    fn look_at(
        &mut self,
        path: &Path,
        evidence: Evidence,
        watch: &mut Watch,
        context: &Context,
    ) -> Result<(), FolderError> {
        if !is_wanted(path) {
            return Ok(());
        }
        let Ok(metadata) = fs::metadata(path) else { return Ok(()) }; // gone again, or a link that leads nowhere
        if metadata.is_dir() {
            return self.look_below(path, watch, context);
        }
        let version = Version::of(&metadata);
        if metadata.is_file() && !matches!(self.seen.judge(path, version), Verdict::Known(_)) {
            self.wait(path, version, evidence);
        }
        Ok(())
    }

    /// Looks at a folder that is new: files may have come into it before it was watched.
    fn look_below(&mut self, folder: &Path, watch: &mut Watch, context: &Context) -> Result<(), FolderError> {
        let (found, unseen) = self.scan(folder.to_path_buf(), Some(watch), context)?;
        for (path, version) in found {
            self.wait(&path, version, Evidence::Found);
        }
        self.tell_unreadable(unseen.folders, context)
    }

    /// The files at and below `start` that were not dealt with, the oldest ones if they are too many.
    fn scan(
        &mut self,
        start: PathBuf,
        mut watch: Option<&mut Watch>,
        context: &Context,
    ) -> Result<(Vec<(PathBuf, Version)>, Unseen), FolderError> {
        let Self { seen, folders, except, .. } = self;
        let mut found = Oldest::new(self.most);
        let mut refused = Vec::new();
        let mut scan = Scan { folders, except: except.as_deref(), stop: &context.stop };
        let mut unseen = scan.run(
            &start,
            |folder| match watch.as_mut().map_or(Ok(()), |watch| watch.folder(folder)) {
                Ok(()) => Ok(()),
                Err(error) => match FolderError::of_watch(folder, error) {
                    None => Ok(()), // gone again
                    Some(FolderError::Unreadable { path, cause }) => {
                        refused.push((path, cause));
                        Ok(())
                    }
                    Some(fatal) => Err(fatal),
                },
            },
            |path, version| {
                if !matches!(seen.judge(&path, version), Verdict::Known(_)) {
                    found.push(path, version);
                }
            },
        )?;
        for (path, cause) in refused {
            if !unseen.folders.iter().any(|(folder, _)| *folder == path) {
                unseen.folders.push((path, cause));
            }
        }
        let (found, dropped) = found.into_files();
        self.overfull |= dropped;
        Ok((found, unseen))
    }

    /// Puts a file among those that wait, if there is room.
    fn wait(&mut self, path: &Path, version: Version, evidence: Evidence) {
        if self.pending.len() >= self.most && !self.pending.contains(path) {
            self.overfull = true; // dropped here, and found again by the look that follows when there is room
            return;
        }
        self.pending.notice(path, version, evidence, Instant::now());
    }

    /// An unreadable folder below is told and counted once; the watched folder itself ends the run.
    fn tell_unreadable(
        &mut self,
        folders: Vec<(PathBuf, io::Error)>,
        context: &Context,
    ) -> Result<(), FolderError> {
        for (path, cause) in folders {
            if path == self.root {
                return Err(FolderError::Unreadable { path, cause });
            }
            if self.unreadable.insert(path.clone()) {
                context.counts.failed(Cause::UnreadableFolder);
                let error = FolderError::Unreadable { path, cause };
                tracing::warn!(source = &*context.name, "{error}");
            }
        }
        Ok(())
    }
}

/// Collects files and keeps the oldest `most`.
struct Oldest {
    files: Vec<(Modified, PathBuf, Version)>,
    most: usize,
    dropped: bool,
}

impl Oldest {
    fn new(most: usize) -> Self {
        Self { files: Vec::new(), most, dropped: false }
    }

    fn push(&mut self, path: PathBuf, version: Version) {
        self.files.push((version.modified, path, version));
        if self.files.len() >= self.most.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.files.len() > self.most {
            self.files.select_nth_unstable_by(self.most, |a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            self.files.truncate(self.most);
            self.dropped = true;
        }
    }

    /// The oldest, and whether there were more.
    fn into_files(mut self) -> (Vec<(PathBuf, Version)>, bool) {
        self.cut();
        (self.files.into_iter().map(|(_, path, version)| (path, version)).collect(), self.dropped)
    }
}
