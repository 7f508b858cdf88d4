//! The watched folder by descriptor. Whatever is below it is opened from that descriptor, never by its whole path.
//!
//! Unless the source follows links (`links: follow`), no link below the folder is followed. Nothing is ever taken from the state
//! folder of the service, or put into it, whatever links or mounts lead there.

use std::{
    ffi::{CStr, OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, statat},
    io::Errno,
};

use super::{seen::Version, settings::Links};
use crate::descriptors::{self, Calls, Identity, kind, open_below, open_regular_at, or_itself};

/// How a folder is opened to be read.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a folder is opened to open, rename or delete what is in it.
const ENTER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The watched folder.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    id: Identity,
    path: PathBuf,
    links: Links,
    /// The state folder of the service; `None` without one.
    state_dir: Option<PathBuf>,
    /// What was at its path at the start.
    state: Option<Identity>,
    pub(super) calls: Calls,
}

/// What is under a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: Identity,
    pub(crate) version: Version,
    kind: FileType,
    /// It was reached over a link.
    pub(crate) over_link: bool,
}

/// Where a file is: its folder, which stays the same however its path changes, and its name in it.
#[derive(Debug)]
pub(crate) struct FileLocation {
    pub(crate) folder: OwnedFd,
    pub(crate) name: OsString,
}

impl Entry {
    fn of(stat: &Stat, over_link: bool) -> Self {
        Self { id: Identity::of_stat(stat), version: Version::of_stat(stat), kind: kind(stat), over_link }
    }

    /// What is in a folder under a name; a link itself, not its target.
    pub(crate) fn in_folder(folder: &OwnedFd, name: &OsStr) -> Result<Self, Errno> {
        statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::of(&stat, false))
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(crate) fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }
}

impl FileLocation {
    /// What is under the name now; a link itself, not its target.
    pub(crate) fn entry(&self) -> Result<Entry, Errno> {
        Entry::in_folder(&self.folder, &self.name)
    }

    pub(crate) fn name(&self) -> &Path {
        Path::new(&self.name)
    }
}

impl Tree {
    /// Opens the folder at `path`. This path is the administrator's: links in it are followed.
    pub(crate) fn open(path: &Path, links: Links, state_dir: Option<&Path>) -> io::Result<Self> {
        let root = openat(CWD, path, LIST, Mode::empty())?;
        let id = Identity::of_open(&root)?;
        let state = state_dir.and_then(|path| Identity::at(path).ok());
        let (path, state_dir) = (path.to_path_buf(), state_dir.map(Path::to_path_buf));
        Ok(Self { root, id, path, links, state_dir, state, calls: Calls::default() })
    }

    /// The path that it was opened at.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id(&self) -> Identity {
        self.id
    }

    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens a folder at or below this one, to read it.
    pub(crate) fn folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_at(self.below(path)?, LIST)
    }

    /// What is at `path`; a link is followed only if the source follows links.
    pub(crate) fn entry(&self, path: &Path) -> Result<Entry, Errno> {
        let below = self.below(path)?;
        match self.links {
            Links::Ignore => {
                let opened = open_below(self.root.as_fd(), below, OFlags::PATH, self.calls)?;
                Ok(Entry::of(&fstat(opened)?, false))
            }
            Links::Follow => {
                statat(&self.root, or_itself(below), AtFlags::empty()).map(|stat| Entry::of(&stat, false))
            }
        }
    }

    /// Calls `found` with the name of everything in `folder`, and what it is; until `found` returns `false`.
    pub(crate) fn read(
        &self,
        folder: &OwnedFd,
        mut found: impl FnMut(&OsStr, Result<Entry, Errno>) -> bool,
    ) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                let what = self.entry_in(folder, name);
                if !found(OsStr::from_bytes(name.to_bytes()), what) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn entry_in(&self, folder: &OwnedFd, name: &CStr) -> Result<Entry, Errno> {
        let entry = Entry::of(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?, false);
        if entry.is_link() && self.links == Links::Follow {
            return statat(folder, name, AtFlags::empty()).map(|stat| Entry::of(&stat, true));
        }
        Ok(entry)
    }

    /// Opens the folder that the file at `path` is in.
    pub(crate) fn place(&self, path: &Path) -> Result<FileLocation, Errno> {
        let below = self.below(path)?;
        let name = below.file_name().ok_or(Errno::ISDIR)?.to_owned();
        let folder = self.open_at(below.parent().unwrap_or(Path::new("")), ENTER)?;
        Ok(FileLocation { folder, name })
    }

    /// Opens the file at a place for reading; `None`: it is no regular file, a link that is not followed, or in the state folder.
    pub(crate) fn file(&self, place: &FileLocation) -> Result<Option<File>, Errno> {
        if self.is_in_state(&place.folder)? {
            return Ok(None);
        }
        let follow = self.links == Links::Follow;
        let Some(file) = open_regular_at(place.folder.as_fd(), place.name(), follow)? else {
            return Ok(None);
        };
        Ok((!follow || !self.is_in_state(real_folder(&file)?)?).then_some(file))
    }

    /// Opens the folder at `path` to put files into it, and creates it if it is missing. Of a folder below the watched one, no part may
    /// be a link unless the source follows links. Others are the administrator's.
    pub(crate) fn target(&self, path: &Path) -> io::Result<OwnedFd> {
        // The highest of them, so that a link below it cannot take its place.
        let is_root = |above: &&Path| Identity::at(above).is_ok_and(|above| above == self.id);
        let root = path.ancestors().filter(is_root).last();
        let opened = match root.and_then(|root| path.strip_prefix(root).ok()) {
            Some(below) if self.links == Links::Ignore => self.make(below)?,
            _ => {
                fs::create_dir_all(path)?;
                openat(CWD, path, LIST, Mode::empty())?
            }
        };
        if self.is_in_state(&opened)? {
            return Err(io::Error::other("it is in the state folder of the service: name another folder"));
        }
        if Identity::of_open(&opened)? == self.id {
            return Err(io::Error::other("it is the watched folder itself: name another folder"));
        }
        Ok(opened)
    }

    /// Opens a folder below this one, and creates what is missing of it. Follows no link.
    fn make(&self, below: &Path) -> Result<OwnedFd, Errno> {
        let mut made = PathBuf::new();
        for part in below.components() {
            made.push(part);
            let folder = open_below(self.root.as_fd(), made.parent().unwrap_or(&made), ENTER, self.calls)?;
            match mkdirat(&folder, part, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        open_below(self.root.as_fd(), below, LIST, self.calls)
    }

    /// Whether a folder is the state folder of the service, or is in it.
    pub(crate) fn is_in_state(&self, folder: impl AsFd) -> Result<bool, Errno> {
        // By its path, because it may have been created after this folder was opened. A disk that does not answer stops no source.
        let state = self.state_dir.as_deref().and_then(|path| Identity::at(path).ok()).or(self.state);
        state.map_or(Ok(false), |state| descriptors::is_within(folder.as_fd(), state))
    }

    fn open_at(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.links {
            Links::Ignore => open_below(self.root.as_fd(), below, flags, self.calls),
            Links::Follow => openat(&self.root, or_itself(below), flags, Mode::empty()),
        }
    }

    fn below<'p>(&self, path: &'p Path) -> Result<&'p Path, Errno> {
        path.strip_prefix(&self.path).map_err(|_| Errno::XDEV)
    }
}

/// The folder of an open file that was reached over a link.
fn real_folder(file: &File) -> Result<OwnedFd, Errno> {
    let path = fs::read_link(by_descriptor(file))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    openat(CWD, path.parent().unwrap_or(&path), ENTER, Mode::empty())
}

/// A path that leads to an open file, whatever happens to its name.
pub(crate) fn by_descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A state folder, a private folder, and a watched folder with links to both.
    fn world() -> tempfile::TempDir {
        let world = tempfile::tempdir().unwrap();
        let at = |path: &str| world.path().join(path);
        for folder in ["state/below", "private", "inbox/sub"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in
            ["state/outbox.sqlite", "state/below/a.jpg", "private/a.jpg", "inbox/a.jpg", "inbox/sub/a.jpg"]
        {
            fs::write(at(file), file).unwrap();
        }
        for (target, link) in [
            ("state", "inbox/to-state"),
            ("private", "inbox/to-private"),
            ("state/outbox.sqlite", "inbox/outbox.jpg"),
            ("private/a.jpg", "inbox/private.jpg"),
            ("inbox/sub", "inbox/to-sub"),
        ] {
            symlink(at(target), at(link)).unwrap();
        }
        world
    }

    fn tree(world: &tempfile::TempDir, links: Links) -> Tree {
        Tree::open(&world.path().join("inbox"), links, Some(&world.path().join("state"))).unwrap()
    }

    /// What is read at a path below the watched folder; `None` if the file is not opened.
    fn read(tree: &Tree, path: &str) -> Result<Option<String>, Errno> {
        let place = tree.place(&tree.path().join(path))?;
        Ok(tree.file(&place)?.map(|file| io::read_to_string(file).unwrap()))
    }

    #[test]
    fn a_link_is_followed_only_on_request_and_never_into_the_state_folder() {
        let world = world();
        let cases = [
            ("a.jpg", Ok(Some("inbox/a.jpg")), Some("inbox/a.jpg")),
            ("sub/a.jpg", Ok(Some("inbox/sub/a.jpg")), Some("inbox/sub/a.jpg")),
            ("private.jpg", Ok(None), Some("private/a.jpg")),
            ("to-private/a.jpg", Err(Errno::LOOP), Some("private/a.jpg")),
            ("to-sub/a.jpg", Err(Errno::LOOP), Some("inbox/sub/a.jpg")),
            ("outbox.jpg", Ok(None), None),
            ("to-state/outbox.sqlite", Err(Errno::LOOP), None),
            ("to-state/below/a.jpg", Err(Errno::LOOP), None),
        ];
        for (path, ignored, followed) in cases {
            for openat2 in [true, false] {
                let mut tree = tree(&world, Links::Ignore);
                tree.calls.openat2 = openat2;
                assert_eq!(
                    read(&tree, path),
                    ignored.map(|text| text.map(str::to_owned)),
                    "{path} {openat2}"
                );
            }
            let followed = followed.map(str::to_owned);
            assert_eq!(read(&tree(&world, Links::Follow), path), Ok(followed), "{path} with links");
        }
    }

    #[test]
    fn a_target_is_never_reached_over_a_link_below_the_watched_folder_or_in_the_state_folder() {
        let world = world();
        let at = |path: &str| world.path().join(path);
        symlink(at("inbox"), at("alias")).unwrap();
        let cases = [
            ("inbox/new/deep", true, true),
            ("inbox/sub", true, true),
            ("alias/sub/other", true, true),
            ("elsewhere/new", true, true),
            ("inbox/to-private", false, true),
            ("inbox/to-private/new", false, true),
            ("alias/to-private/newer", false, true),
            ("inbox/to-sub", false, true),
            ("inbox/to-state", false, false),
            ("inbox/to-state/new", false, false),
            ("state", false, false),
            ("state/below", false, false),
            ("inbox", false, false),
            ("inbox/sub/..", false, false),
        ];
        for (links, expected) in [(Links::Ignore, 0), (Links::Follow, 2)] {
            for (path, ignored, followed) in cases {
                let opened = tree(&world, links).target(&at(path));
                let is_good = if links == Links::Ignore { ignored } else { followed };
                assert_eq!(opened.is_ok(), is_good, "{path} {links:?}: {opened:?}");
            }
            let made = fs::read_dir(at("private")).unwrap().count() - 1;
            assert_eq!(made, expected, "folders were made behind links: {links:?}");
        }
    }

    #[test]
    fn the_watched_folder_stays_the_same_when_its_path_leads_elsewhere() {
        let world = world();
        let tree = tree(&world, Links::Ignore);
        fs::rename(world.path().join("inbox"), world.path().join("moved")).unwrap();
        symlink(world.path().join("private"), world.path().join("inbox")).unwrap();
        assert_eq!(read(&tree, "a.jpg").unwrap().unwrap(), "inbox/a.jpg");
        assert_eq!(read(&tree, "sub/a.jpg").unwrap().unwrap(), "inbox/sub/a.jpg");
    }
}
