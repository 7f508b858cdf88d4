//! Scans a folder and everything below it.
//!
//! Links to folders are followed, and every folder is visited once, by its device and inode: cycles end, and a folder
//! that is reached by two paths is known by one of them, a real one before a linked one. Files are not opened here.
//! Files and folders that the patterns of the source exclude are left out.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, DirEntry, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use super::{seen::Version, settings::Patterns};

/// The identity of a folder, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The numbers of the device and of the folder on it.
    pub(crate) fn numbers(self) -> [u64; 2] {
        [self.device, self.inode]
    }
}

/// Whether the patterns of the source that watches `root` take a file, or let a folder be scanned.
pub(crate) fn is_wanted(patterns: &Patterns, root: &Path, path: &Path, is_folder: bool) -> bool {
    // The watched folder itself may have any name.
    path.strip_prefix(root).is_ok_and(|below| below.as_os_str().is_empty() || patterns.take(below, is_folder))
}

/// The folders that are scanned, by their identity.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    paths: HashMap<FolderId, PathBuf>,
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
    fn enter(&mut self, id: FolderId, path: &Path) -> bool {
        if let Some(known) = self.paths.get(&id)
            && known != path
            && fs::metadata(known).is_ok_and(|metadata| FolderId::of(&metadata) == id)
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
    pub(crate) root: &'a Path,
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
        let except =
            self.except.and_then(|path| fs::metadata(path).ok()).map(|metadata| FolderId::of(&metadata));
        // Links come last, so that a folder is known by its real path if it has one in here.
        let (mut real, mut linked) = (VecDeque::from([start.to_path_buf()]), VecDeque::new());
        while let Some(folder) = real.pop_front().or_else(|| linked.pop_front()) {
            let Ok(metadata) = fs::metadata(&folder) else { continue }; // just removed
            let id = FolderId::of(&metadata);
            if except == Some(id) || self.except == Some(&*folder) || !self.folders.enter(id, &folder) {
                continue;
            }
            on_folder(&folder)?;
            let found = self.read(&folder, |entry, metadata, link| match () {
                () if metadata.is_file() => on_file(entry, Version::of(metadata)),
                () if metadata.is_dir() && link => linked.push_back(entry),
                () if metadata.is_dir() => real.push_back(entry),
                // Pipes, sockets and devices are never opened.
                () => tracing::debug!(path = %entry.display(), "neither a file nor a folder"),
            });
            match found {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unseen.folders.push((folder, error)),
                Ok(()) => {}
            }
            if self.stop.is_cancelled() {
                unseen.stopped = true;
                break;
            }
        }
        Ok(unseen)
    }

    /// Calls `found` with the path and the metadata of each entry of `folder`, and whether it is a link.
    fn read(&self, folder: &Path, mut found: impl FnMut(PathBuf, &Metadata, bool)) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let entry = entry?;
            let path = entry.path();
            match metadata(&entry, &path) {
                Ok((metadata, _)) if !is_wanted(self.patterns, self.root, &path, metadata.is_dir()) => {}
                Ok((metadata, link)) => found(path, &metadata, link),
                // Just removed, or a broken link: a later scan finds its target.
                Err(error) => tracing::debug!(path = %path.display(), %error, "skipped"),
            }
        }
        Ok(())
    }
}

/// The metadata of `entry` or of its target, and whether it is a link.
fn metadata(entry: &DirEntry, path: &Path) -> io::Result<(Metadata, bool)> {
    if entry.file_type()?.is_symlink() {
        Ok((fs::metadata(path)?, true))
    } else {
        Ok((entry.metadata()?, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_below_the_watched_folder_only() {
        let wanted =
            |root: &str, path: &str| is_wanted(&Patterns::default(), Path::new(root), Path::new(path), true);
        assert!(wanted("/@eaDir/.inbox.tmp", "/@eaDir/.inbox.tmp"));
        assert!(wanted("/@eaDir/.inbox.tmp", "/@eaDir/.inbox.tmp/a"));
        assert!(!wanted("/inbox", "/inbox/@eaDir"));
        assert!(!wanted("/inbox", "/elsewhere/a"));
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
            let (patterns, root) = (Patterns::default(), folder.path());
            let mut run = Scan { folders: &mut folders, root, patterns: &patterns, except, stop: &stop };
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
}
