//! Scans a folder and everything below it.
//!
//! Every folder is visited once, by its device and inode: cycles end, and a folder that is reached by two paths is known by one of
//! them, a real one before a linked one. Links are followed only if the source follows links. Files are not opened here. Files and
//! folders that the patterns of the source exclude are left out, and so is the state folder.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::{Path, PathBuf},
};

use rustix::{fd::OwnedFd, io::Errno};
use tokio_util::sync::CancellationToken;

use super::{
    seen::Version,
    settings::Patterns,
    settle::is_temporary,
    tree::{Entry, Tree},
};
use crate::descriptors::Identity;

/// Whether the patterns of the source that watches `root` take a file, or let a folder be scanned.
pub(crate) fn is_wanted(patterns: &Patterns, root: &Path, path: &Path, is_folder: bool) -> bool {
    // The watched folder itself may have any name.
    path.strip_prefix(root).is_ok_and(|below| {
        below.as_os_str().is_empty() || !below.iter().any(is_temporary) && patterns.take(below, is_folder)
    })
}

/// The folders that are scanned, by their identity.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    paths: HashMap<Identity, PathBuf>,
}

impl Folders {
    /// Removes `path` and the folders below it.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.paths.retain(|_, known| !known.starts_with(path));
    }

    pub(crate) fn clear(&mut self) {
        self.paths.clear();
    }

    /// Records a folder; `false` if it is already scanned under another path that is still valid.
    fn enter(&mut self, id: Identity, path: &Path, tree: &Tree) -> bool {
        if let Some(known) = self.paths.get(&id)
            && known != path
            && tree.entry(known).is_ok_and(|entry| entry.id == id)
        {
            return false;
        }
        self.paths.insert(id, path.to_path_buf());
        true
    }
}

/// One scan.
pub(crate) struct Scan<'a> {
    pub(crate) folders: &'a mut Folders,
    /// The watched folder, from which the paths of `patterns` start.
    pub(crate) tree: &'a Tree,
    pub(crate) patterns: &'a Patterns,
    /// A folder that is never scanned.
    pub(crate) except: Option<&'a Path>,
    pub(crate) stop: &'a CancellationToken,
}

/// What a scan could not read.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Folders that could not be read, and why.
    pub(crate) folders: Vec<(PathBuf, io::Error)>,
    /// The number of links that were ignored.
    pub(crate) links: u64,
    /// The stop signal ended the scan early.
    pub(crate) stopped: bool,
}

impl Unseen {
    /// Whether the scan was complete.
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && !self.stopped
    }
}

impl Scan<'_> {
    /// Calls `on_folder` for `start` and every folder below, before the folder is read, and `on_file` for every file.
    ///
    /// # Errors
    /// Only those of `on_folder`, which end the scan.
    pub(crate) fn run<E>(
        &mut self,
        start: &Path,
        mut on_folder: impl FnMut(&Path) -> Result<(), E>,
        mut on_file: impl FnMut(PathBuf, Version),
    ) -> Result<Unseen, E> {
        let mut unseen = Unseen::default();
        let except = self.except.and_then(|path| Identity::at(path).ok());
        // Links come last, so that a folder is known by its real path if it has one in here.
        let (mut real, mut linked) = (VecDeque::from([start.to_path_buf()]), VecDeque::new());
        while let Some(folder) = real.pop_front().or_else(|| linked.pop_front()) {
            let (opened, id) = match self.open(&folder) {
                Ok(Some(opened)) => opened,
                Ok(None) => continue,
                Err(error) => {
                    unseen.folders.push((folder, error.into()));
                    continue;
                }
            };
            if except == Some(id)
                || self.except == Some(&*folder)
                || !self.folders.enter(id, &folder, self.tree)
            {
                continue;
            }
            on_folder(&folder)?;
            let links = &mut unseen.links;
            let found = self.read(&opened, &folder, |path, entry| match () {
                () if entry.is_file() => on_file(path, entry.version),
                () if entry.is_folder() && entry.over_link => linked.push_back(path),
                () if entry.is_folder() => real.push_back(path),
                () if entry.is_link() => *links += 1,
                // Pipes, sockets and devices are never opened.
                () => tracing::debug!(path = %path.display(), "neither a file nor a folder"),
            });
            if let Err(error) = found
                && error != Errno::NOENT
            {
                unseen.folders.push((folder, error.into()));
            }
            if self.stop.is_cancelled() {
                unseen.stopped = true;
                break;
            }
        }
        Ok(unseen)
    }

    /// Opens a folder; `None` if it was just removed or exchanged for a link, or is the state folder.
    fn open(&self, folder: &Path) -> Result<Option<(OwnedFd, Identity)>, Errno> {
        let opened = match self.tree.folder(folder) {
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            opened => opened?,
        };
        if self.tree.is_in_state(&opened)? {
            return Ok(None);
        }
        let id = Identity::of_open(&opened)?;
        Ok(Some((opened, id)))
    }

    /// Calls `found` with the path of each entry of `folder`, and what it is.
    fn read(
        &self,
        opened: &OwnedFd,
        folder: &Path,
        mut found: impl FnMut(PathBuf, &Entry),
    ) -> Result<(), Errno> {
        self.tree.read(opened, |name, entry| {
            let path = folder.join(name);
            match entry {
                Ok(entry) if !is_wanted(self.patterns, self.tree.path(), &path, entry.is_folder()) => {}
                Ok(entry) => found(path, &entry),
                // Just removed, or a broken link: a later scan finds its target.
                Err(error) => tracing::debug!(path = %path.display(), %error, "skipped"),
            }
            !self.stop.is_cancelled()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{super::settings::Links, *};

    #[test]
    fn names_count_below_the_watched_folder_only() {
        let wanted =
            |root: &str, path: &str| is_wanted(&Patterns::default(), Path::new(root), Path::new(path), true);
        assert!(wanted("/@eaDir/.inbox.tmp", "/@eaDir/.inbox.tmp"));
        assert!(wanted("/@eaDir/.inbox.tmp", "/@eaDir/.inbox.tmp/a"));
        assert!(!wanted("/inbox", "/inbox/@eaDir"));
        assert!(!wanted("/inbox", "/elsewhere/a"));
        let all = Patterns::new(vec![], vec![super::super::settings::PathPattern::parse("!.*").unwrap()]);
        let wanted = |path: &str| is_wanted(&all, Path::new("/inbox"), Path::new(path), false);
        assert!(wanted("/inbox/.hidden") && !wanted("/inbox/.stakeout-0/a.jpg"), "never what is in our own");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_reported_and_the_others_are_scanned() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a"), "").unwrap();
        let stop = CancellationToken::new();
        let mut files = Vec::new();
        let mut scan = |start: &Path, except: Option<&Path>| {
            files.clear();
            let mut folders = Folders::default();
            let patterns = Patterns::default();
            let tree = Tree::open(folder.path(), Links::Ignore, None).unwrap();
            let mut run =
                Scan { folders: &mut folders, tree: &tree, patterns: &patterns, except, stop: &stop };
            let unseen = run.run(start, |_| Ok::<_, ()>(()), |path, _| files.push(path)).unwrap();
            (files.len(), unseen.is_empty())
        };
        assert_eq!(scan(folder.path(), None), (1, true));
        assert_eq!(scan(folder.path(), Some(&folder.path().join("sub"))), (0, true));
        assert_eq!(scan(&folder.path().join("gone"), None), (0, true));
        // The user of this test may read every folder, but no user can read a file as a folder.
        assert_eq!(scan(&folder.path().join("sub/a"), None), (0, false));
        stop.cancel();
        assert_eq!(scan(folder.path(), None), (0, false), "the stop signal");
    }

    #[test]
    fn links_and_the_state_folder_are_left_out() {
        let world = tempfile::tempdir().unwrap();
        let at = |path: &str| world.path().join(path);
        for folder in ["inbox/sub", "inbox/state/sub", "outside"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in
            ["inbox/1.jpg", "inbox/sub/2.jpg", "inbox/state/3.jpg", "inbox/state/sub/4.jpg", "outside/5.jpg"]
        {
            fs::write(at(file), "").unwrap();
        }
        for (target, link) in [
            ("outside", "inbox/linked"),
            ("outside/5.jpg", "inbox/6.jpg"),
            ("inbox", "inbox/sub/cycle"),
            ("inbox/state/sub", "inbox/sub/to-state"),
            ("nowhere", "inbox/broken.jpg"),
        ] {
            symlink(at(target), at(link)).unwrap();
        }
        for (links, expected) in
            [(Links::Ignore, &["1.jpg", "2.jpg"][..]), (Links::Follow, &["1.jpg", "2.jpg", "5.jpg", "6.jpg"])]
        {
            let tree = Tree::open(&at("inbox"), links, Some(&at("inbox/state"))).unwrap();
            let (mut folders, patterns, stop) =
                (Folders::default(), Patterns::default(), CancellationToken::new());
            let mut scan =
                Scan { folders: &mut folders, tree: &tree, patterns: &patterns, except: None, stop: &stop };
            let mut files = Vec::new();
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            let unseen =
                scan.run(tree.path(), |_| Ok::<_, ()>(()), |path, _| files.push(name(path))).unwrap();
            files.sort();
            assert!(unseen.is_empty() && files == expected, "{links:?}: {files:?}");
            assert_eq!(unseen.links, if links == Links::Ignore { 5 } else { 0 });
        }
    }
}
