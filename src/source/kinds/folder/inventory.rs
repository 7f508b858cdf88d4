//! The state of a watched folder: its subfolders, the files that were handled, and the files that wait.
//!
//! Scans and notices are both only hints: the version of the file decides, so their order and number do not matter. Files
//! are not read here.

use std::{
    collections::{HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    error::FolderError,
    pending::{Evidence, Pending},
    scan::{Folders, Scan, Unseen, is_wanted},
    seen::{Entry, Fate, Modified, Seen, Verdict, Version},
    settings::Patterns,
    tree::{self, Tree},
    watch::{self, Notice, Watch},
};
use crate::{
    shortage::Shortage,
    source::{cause::Cause, context::Context},
};

/// The number of files whose return is awaited: usually 0.
const RETURNS: usize = 64;

/// The state of one folder source.
pub(crate) struct Inventory {
    pub(crate) seen: Seen,
    pub(crate) pending: Pending,
    /// Something was missed: scan everything again soon.
    pub(crate) scan_again: bool,
    /// The watched folder itself was deleted or moved.
    pub(crate) root_lost: bool,
    root: PathBuf,
    /// The folder, since it was opened.
    tree: Option<Arc<Tree>>,
    patterns: Patterns,
    /// The folder into which files are moved; never scanned.
    except: Option<PathBuf>,
    folders: Folders,
    /// The largest number of files that wait; a later scan finds the others.
    most: usize,
    /// More files were found than may wait.
    overfull: bool,
    /// The files that disappeared last: they may appear again under another name.
    gone: VecDeque<(PathBuf, Entry)>,
    /// Files that were handled, taken away and put back: the kernel will report them as moved in.
    returned: VecDeque<(PathBuf, Version, Fate)>,
    /// It was logged that links are ignored.
    links_logged: bool,
    /// Folders that cannot be read, so that each is reported once.
    unreadable: HashSet<PathBuf>,
}

impl Inventory {
    pub(crate) fn new(
        root: PathBuf,
        patterns: Patterns,
        except: Option<PathBuf>,
        seen: Seen,
        pending: Pending,
        most: usize,
    ) -> Self {
        Self {
            seen,
            pending,
            scan_again: false,
            root_lost: false,
            root,
            tree: None,
            patterns,
            except,
            folders: Folders::default(),
            most,
            overfull: false,
            gone: VecDeque::new(),
            returned: VecDeque::new(),
            links_logged: false,
            unreadable: HashSet::new(),
        }
    }

    /// Sets the open folder that everything is looked up in.
    pub(crate) fn enter(&mut self, tree: Arc<Tree>) {
        self.tree = Some(tree);
    }

    /// The folder; `None` before it was opened.
    pub(crate) fn tree(&self) -> Option<&Arc<Tree>> {
        self.tree.as_ref()
    }

    /// Records that a file was handled and may have been taken away and put back in the meantime.
    pub(crate) fn returned(&mut self, path: PathBuf, version: Version, fate: Fate) {
        self.returned.push_front((path, version, fate));
        self.returned.truncate(RETURNS); // without an entry, the file is taken once more
    }

    /// Marks files that exist now as handled: all, or those that the patterns of an earlier run did not take.
    pub(crate) fn skip_existing(
        &mut self,
        earlier: Option<&Patterns>,
        context: &Context,
    ) -> Result<(), FolderError> {
        self.folders.clear();
        let Self { seen, folders, root, tree, patterns, except, .. } = self;
        let Some(tree) = tree.as_deref() else { return Ok(()) };
        let mut scan = Scan { folders, tree, patterns, except: except.as_deref(), stop: &context.stop };
        let skip = |path: PathBuf, version| {
            let was_taken = earlier.is_some_and(|earlier| is_wanted(earlier, root, &path, false));
            if !was_taken && seen.judge(&path, version) == Verdict::New {
                seen.insert(&path, version, Fate::Skipped);
            }
        };
        let unseen = scan.run(root, |_| Ok::<_, FolderError>(()), skip)?;
        self.report_unreadable(unseen.folders, context)
    }

    /// Scans everything: watches every folder, and notices every file that was not handled.
    pub(crate) fn scan_all(
        &mut self,
        watch: Option<&mut Watch>,
        context: &Context,
    ) -> Result<(), FolderError> {
        (self.scan_again, self.root_lost, self.overfull) = (false, false, false);
        self.folders.clear();
        self.seen.begin_scan();
        let (found, unseen) = self.scan(self.root.clone(), watch, context)?;
        if unseen.links > 0 && !std::mem::replace(&mut self.links_logged, true) {
            tracing::info!(
                source = &*context.name, path = %self.root.display(), links = unseen.links,
                "symbolic links are ignored: `links: follow` makes what they lead to part of the folder"
            );
        }
        // Only a complete scan proves that a file is gone.
        let mut gone = if unseen.is_empty() { self.seen.end_scan() } else { Default::default() };
        self.unreadable.retain(|path| unseen.folders.iter().any(|(folder, _)| folder == path));
        for (path, version) in found {
            if gone.remove(&version).is_some_and(|entry| self.seen.renamed(entry, &path, version)) {
                self.pending.remove(&path);
            } else {
                self.wait(&path, version, Evidence::Found);
            }
        }
        self.report_unreadable(unseen.folders, context)
    }

    /// Whether there is room again for files that found none.
    pub(crate) fn has_room_again(&self) -> bool {
        self.overfull && self.pending.len() <= self.most / 2
    }

    /// Handles one notice of the kernel.
    pub(crate) fn notice(
        &mut self,
        notice: Notice,
        watch: &mut Watch,
        context: &Context,
    ) -> Result<(), FolderError> {
        match notice {
            Notice::Complete(path) if self.has_returned(&path) => Ok(()),
            Notice::Complete(path) => self.check(&path, Evidence::Complete, watch, context),
            Notice::Created(path) => self.check(&path, Evidence::Found, watch, context),
            Notice::Writing(path) if self.pending.contains(&path) => {
                self.pending.writing(&path, Instant::now());
                Ok(())
            }
            Notice::Writing(path) => self.check(&path, Evidence::Writing, watch, context),
            Notice::Attributes(path) => {
                let Some(entry) = self.seen.forget(&path) else { return Ok(()) };
                if entry.fate != Fate::Unreadable {
                    self.seen.put_back(&path, entry);
                    return Ok(());
                }
                self.check(&path, Evidence::Found, watch, context)
            }
            Notice::Gone(path) => {
                self.pending.remove(&path);
                self.root_lost |= path == self.root;
                self.folders.forget(&path);
                if let Some(entry) = self.seen.forget(&path) {
                    self.gone.push_front((path, entry));
                    self.gone.truncate(watch::MOVES);
                }
                Ok(())
            }
            Notice::Renamed(from, to) => {
                let Some(tree) = &self.tree else { return Ok(()) };
                let Some(found) = found(tree, &to, &mut self.scan_again) else { return Ok(()) };
                if found.is_folder() {
                    // Its files have their state under the old paths: only a scan finds which are new.
                    self.scan_again = true;
                    return Ok(());
                }
                let gone = self.gone.iter().position(|(path, _)| *path == from);
                let gone = gone.and_then(|place| self.gone.remove(place));
                if gone.is_some_and(|(_, entry)| self.seen.renamed(entry, &to, found.version)) {
                    return Ok(());
                }
                self.check(&to, Evidence::Complete, watch, context)
            }
        }
    }

    /// Checks `path`: a file that may be new, or a new folder.
    fn check(
        &mut self,
        path: &Path,
        evidence: Evidence,
        watch: &mut Watch,
        context: &Context,
    ) -> Result<(), FolderError> {
        let Some(tree) = &self.tree else { return Ok(()) };
        let Some(entry) = found(tree, path, &mut self.scan_again) else { return Ok(()) };
        if !is_wanted(&self.patterns, &self.root, path, entry.is_folder()) {
            return Ok(());
        }
        if entry.is_folder() {
            return self.scan_below(path, watch, context);
        }
        let version = entry.version;
        if entry.is_file() && !matches!(self.seen.judge(path, version), Verdict::Known(_)) {
            self.wait(path, version, evidence);
        }
        Ok(())
    }

    /// Whether a file that was moved in is one that was put back unchanged. It is not taken again then.
    fn has_returned(&mut self, path: &Path) -> bool {
        let Some(place) = self.returned.iter().position(|(returned, ..)| returned == path) else {
            return false;
        };
        let Some((path, version, fate)) = self.returned.remove(place) else { return false };
        let same = self
            .tree
            .as_ref()
            .and_then(|tree| tree.entry(&path).ok())
            .is_some_and(|now| now.version == version);
        if same {
            self.seen.insert(&path, version, fate);
        }
        same
    }

    /// Scans a new folder: files may have been created in it before it was watched.
    fn scan_below(&mut self, folder: &Path, watch: &mut Watch, context: &Context) -> Result<(), FolderError> {
        let (found, unseen) = self.scan(folder.to_path_buf(), Some(watch), context)?;
        for (path, version) in found {
            self.wait(&path, version, Evidence::Found);
        }
        self.report_unreadable(unseen.folders, context)
    }

    /// The files below `start` that were not handled: the oldest ones if they are too many.
    fn scan(
        &mut self,
        start: PathBuf,
        mut watch: Option<&mut Watch>,
        context: &Context,
    ) -> Result<(Vec<(PathBuf, Version)>, Unseen), FolderError> {
        let Self { seen, folders, root, tree, patterns, except, .. } = self;
        let Some(tree) = tree.as_deref() else { return Ok((Vec::new(), Unseen::default())) };
        let mut found = Oldest::new(self.most);
        let mut refused = Vec::new();
        // The files of a folder that was moved in may be old.
        let whole = start == *root;
        let mut scan = Scan { folders, tree, patterns, except: except.as_deref(), stop: &context.stop };
        let mut unseen = scan.run(
            &start,
            |folder| match watch.as_mut().map_or(Ok(()), |watch| watch.folder(folder)) {
                Ok(()) => Ok(()),
                Err(error) => match FolderError::of_watch(folder, error) {
                    None => Ok(()), // just removed
                    Some(FolderError::Unreadable { path, cause }) => {
                        refused.push((path, cause));
                        Ok(())
                    }
                    Some(fatal) => Err(fatal),
                },
            },
            |path, version| {
                let verdict =
                    if whole { seen.judge_found(&path, version) } else { seen.judge(&path, version) };
                if !matches!(verdict, Verdict::Known(_)) {
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

    /// Lets a file wait, if there is room.
    fn wait(&mut self, path: &Path, version: Version, evidence: Evidence) {
        if self.pending.len() >= self.most && !self.pending.contains(path) {
            self.overfull = true; // dropped here; a scan finds it when there is room
            return;
        }
        self.pending.notice(path, version, evidence, Instant::now());
    }

    /// Reports and counts an unreadable folder once; if it is the watched folder itself, the run ends.
    fn report_unreadable(
        &mut self,
        folders: Vec<(PathBuf, io::Error)>,
        context: &Context,
    ) -> Result<(), FolderError> {
        for (path, cause) in folders {
            if let Some(shortage) = Shortage::of_io(&cause) {
                if path == self.root {
                    return Err(FolderError::NotNow { path, shortage });
                }
                self.scan_again = true;
                let (source, path) = (&*context.name, path.display());
                tracing::warn!(source, %path, "a folder is scanned again soon: {shortage}. {}", shortage.remedy());
                continue;
            }
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

/// What is at a path; `None` if it was just removed, or is a broken link. If no file can be opened for now, a scan is to find it.
fn found(tree: &Tree, path: &Path, scan_again: &mut bool) -> Option<tree::Entry> {
    let entry = tree.entry(path).map_err(io::Error::from);
    *scan_again |= entry.as_ref().is_err_and(|error| Shortage::of_io(error).is_some());
    entry.ok()
}

/// Collects files and keeps the `most` oldest ones.
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

    /// The oldest files, and whether there were more.
    fn into_files(mut self) -> (Vec<(PathBuf, Version)>, bool) {
        self.cut();
        (self.files.into_iter().map(|(_, path, version)| (path, version)).collect(), self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::{
        super::{
            pace::Pace,
            seen,
            settings::{Links, PathPattern},
        },
        *,
    };
    use crate::picture::Limits;

    struct Folder {
        folder: TempDir,
        inventory: Inventory,
        watch: Watch,
        context: Context,
    }

    impl Folder {
        /// A folder with these files. At most `most` of them may wait.
        fn with(files: &[&str], most: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let pending = Pending::new(Pace::of(None).patience);
            let (root, patterns) = (folder.path().to_path_buf(), Patterns::default());
            let tree = Tree::open(&root, Links::Ignore, None).unwrap();
            let mut inventory =
                Inventory::new(root, patterns, None, Seen::new(true, seen::MOST), pending, most);
            inventory.enter(Arc::new(tree));
            let (watch, context) = (Watch::new(16).unwrap(), Context::detached("inbox", Limits::of(1)));
            let folder = Self { folder, inventory, watch, context };
            files.iter().for_each(|name| fs::write(folder.path(name), name).unwrap());
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn scan(&mut self) {
            self.inventory.scan_all(None, &self.context).unwrap();
        }

        fn notice(&mut self, notice: Notice) {
            self.inventory.notice(notice, &mut self.watch, &self.context).unwrap();
        }

        /// Takes every file that waits, as if its frame was sent. Their names.
        fn take(&mut self) -> Vec<String> {
            self.inventory.pending.wake(Instant::now() + Pace::of(None).patience.long);
            let mut names = Vec::new();
            while let Some((path, candidate)) = self.inventory.pending.pop() {
                self.inventory.seen.insert(&path, candidate.version, Fate::Sent(0));
                names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
            names.sort();
            names
        }
    }

    #[test]
    fn a_scan_finds_new_files_once_and_renamed_ones_not_at_all() {
        let mut folder = Folder::with(&["a", "b", ".hidden", "c.tmp"], 10);
        folder.scan();
        folder.scan();
        assert_eq!(folder.take(), ["a", "b"]);
        fs::rename(folder.path("a"), folder.path("renamed")).unwrap();
        fs::write(folder.path("b"), "rewritten").unwrap();
        fs::create_dir(folder.path("below")).unwrap();
        fs::write(folder.path("below/d"), "d").unwrap();
        folder.scan();
        assert_eq!(folder.take(), ["b", "d"]);
    }

    #[test]
    fn files_that_exist_at_start_are_skipped() {
        let mut folder = Folder::with(&["old"], 10);
        folder.inventory.skip_existing(None, &folder.context).unwrap();
        fs::write(folder.path("new"), "new").unwrap();
        folder.scan();
        assert_eq!(folder.take(), ["new"]);
    }

    #[test]
    fn files_that_only_new_patterns_take_are_skipped() {
        let mut folder = Folder::with(&["known.jpg", "waited.jpg", "old.png"], 10);
        let version = Version::of(&fs::metadata(folder.path("known.jpg")).unwrap());
        folder.inventory.seen.insert(&folder.path("known.jpg"), version, Fate::Sent(7));
        let earlier = Patterns::new(vec![PathPattern::including("*.jpg").unwrap()], vec![]);
        folder.inventory.skip_existing(Some(&earlier), &folder.context).unwrap();
        folder.scan();
        assert_eq!(folder.take(), ["waited.jpg"]);
    }

    #[test]
    fn a_temporary_name_that_becomes_the_final_one_is_an_arrival() {
        let mut folder = Folder::with(&["a.jpg.upload"], 10);
        folder.inventory.skip_existing(None, &folder.context).unwrap();
        folder.notice(Notice::Complete(folder.path("a.jpg.upload")));
        assert_eq!(folder.take(), [""; 0]);
        fs::rename(folder.path("a.jpg.upload"), folder.path("a.jpg")).unwrap();
        folder.notice(Notice::Gone(folder.path("a.jpg.upload")));
        folder.notice(Notice::Renamed(folder.path("a.jpg.upload"), folder.path("a.jpg")));
        assert_eq!(folder.take(), ["a.jpg"]);
        fs::create_dir(folder.path("@eaDir")).unwrap();
        fs::write(folder.path("@eaDir/thumb.jpg"), "thumb").unwrap();
        folder.notice(Notice::Created(folder.path("@eaDir")));
        folder.notice(Notice::Complete(folder.path("@eaDir/thumb.jpg")));
        folder.scan();
        assert_eq!(folder.take(), [""; 0]);
    }

    #[test]
    fn files_without_room_are_found_when_there_is_room_again() {
        let mut folder = Folder::with(&["a", "b", "c", "d", "e"], 2);
        let mut taken = Vec::new();
        for left in [3, 1, 0] {
            folder.scan();
            assert!(!folder.inventory.has_room_again(), "the queue is full, or holds all files");
            taken.extend(folder.take());
            assert_eq!(folder.inventory.has_room_again(), left > 0, "{left} files are left");
        }
        taken.sort();
        assert_eq!(taken, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_file_that_is_moved_keeps_its_state() {
        let mut folder = Folder::with(&["a", "b"], 10);
        folder.scan();
        folder.take();
        for (from, to) in [("a", "moved"), ("b", "moved and rewritten")] {
            fs::rename(folder.path(from), folder.path(to)).unwrap();
            folder.notice(Notice::Gone(folder.path(from)));
        }
        fs::write(folder.path("moved and rewritten"), "new content").unwrap();
        folder.notice(Notice::Renamed(folder.path("a"), folder.path("moved")));
        folder.notice(Notice::Renamed(folder.path("b"), folder.path("moved and rewritten")));
        assert_eq!(folder.take(), ["moved and rewritten"]);
    }

    #[test]
    fn notices_decide_nothing_alone() {
        let mut folder = Folder::with(&["a"], 10);
        folder.notice(Notice::Complete(folder.path("a")));
        assert_eq!(folder.take(), ["a"]);
        folder.notice(Notice::Complete(folder.path("a")));
        folder.notice(Notice::Complete(folder.path("missing")));
        folder.notice(Notice::Attributes(folder.path("a")));
        assert_eq!(folder.take(), [""; 0], "the version is the same");
        folder.inventory.seen.insert(
            &folder.path("a"),
            Version::of(&fs::metadata(folder.path("a")).unwrap()),
            Fate::Unreadable,
        );
        folder.notice(Notice::Attributes(folder.path("a")));
        assert_eq!(folder.take(), ["a"], "its permissions may have changed");
        folder.notice(Notice::Gone(folder.folder.path().to_path_buf()));
        assert!(folder.inventory.root_lost);
    }

    #[test]
    fn a_link_is_no_arrival_however_it_is_noticed() {
        let mut folder = Folder::with(&["a"], 10);
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("deep")).unwrap();
        fs::write(outside.path().join("private"), "private").unwrap();
        fs::write(outside.path().join("deep/private"), "private").unwrap();
        symlink(outside.path(), folder.path("folder")).unwrap();
        symlink(outside.path().join("private"), folder.path("file")).unwrap();
        symlink(folder.path("a"), folder.path("inside")).unwrap();
        for path in ["folder", "file", "inside", "folder/private", "folder/deep", "folder/deep/private"] {
            for notice in [Notice::Complete, Notice::Created, Notice::Writing, Notice::Attributes] {
                folder.notice(notice(folder.path(path)));
            }
            folder.notice(Notice::Renamed(folder.path("old"), folder.path(path)));
        }
        folder.scan();
        folder.inventory.skip_existing(None, &folder.context).unwrap();
        assert_eq!(folder.take(), ["a"]);
        assert_eq!(folder.inventory.seen.len(), 1, "nothing behind a link is remembered");
    }

    #[test]
    fn a_file_that_was_put_back_is_no_arrival_unless_it_changed() {
        let mut folder = Folder::with(&["a", "b"], 10);
        folder.scan();
        folder.take();
        for name in ["a", "b"] {
            let version = Version::of(&fs::metadata(folder.path(name)).unwrap());
            folder.inventory.returned(folder.path(name), version, Fate::Sent(0));
            folder.notice(Notice::Gone(folder.path(name)));
        }
        fs::write(folder.path("b"), "new content").unwrap();
        for name in ["a", "b"] {
            folder.notice(Notice::Complete(folder.path(name)));
        }
        folder.scan();
        assert_eq!(folder.take(), ["b"]);
        fs::write(folder.path("a"), "new content").unwrap();
        folder.notice(Notice::Complete(folder.path("a")));
        assert_eq!(folder.take(), ["a"]);
    }
}
