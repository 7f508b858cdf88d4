//! Files and folders by descriptor: a path may lead elsewhere the next time it is resolved, a descriptor stays the same file.
//!
//! [`open_below`] opens what is below a folder without following links. [`open_regular_at`] opens regular files only, and never
//! waits. [`rename_new`] renames without replacing anything. [`is_within`] says whether a folder is in another one, however it was
//! reached. `Identity::look` says whether a file is still at its path. Everything works without the newest system calls: [`Calls`]
//! leaves some out for tests.

use std::{
    fs::{self, File, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, linkat, openat,
        openat2, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
};

/// The most folders above another one. A longer way up is an attack.
const DEEPEST: usize = 4096;

/// Identifies a file or folder as long as it exists, whatever its path. After its end another one may get the same numbers, so hold
/// the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// What is at the path of a file. An open file may have been deleted, renamed or replaced since it was opened; what is written to it
/// is then lost with the process.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// The file.
    Here,
    /// Nothing, or another file.
    Gone,
    /// The system does not say.
    Unknown(io::Error),
}

impl Identity {
    /// That of the file that is at `path` now; links are followed.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// That of the file with this metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// That of the file with this status.
    #[must_use]
    pub fn of_stat(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// That of an open file.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn of_open(file: impl AsFd) -> Result<Self, Errno> {
        fstat(file).map(|stat| Self::of_stat(&stat))
    }

    /// Whether this file is still at `path`.
    pub(crate) fn look(self, path: &Path) -> Whereabouts {
        match Self::at(path) {
            Ok(found) if found == self => Whereabouts::Here,
            Ok(_) => Whereabouts::Gone,
            Err(error) if is_missing(&error) => Whereabouts::Gone,
            Err(error) => Whereabouts::Unknown(error),
        }
    }

    /// The numbers of the device and of the file on it.
    #[must_use]
    pub fn numbers(self) -> [u64; 2] {
        [self.device, self.inode]
    }
}

/// Whether the error says that there is no such file: its folder may be missing, or a file.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The system calls that are tried first. Tests leave some out, as older kernels and other file systems do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// `openat2`, since Linux 5.6; sandboxes may refuse it.
    pub openat2: bool,
    /// `renameat2` with `RENAME_NOREPLACE`, which NFS and some FUSE file systems refuse.
    pub rename_new: bool,
    /// Hard links, which exFAT and SMB refuse.
    pub hard_links: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self { openat2: true, rename_new: true, hard_links: true }
    }
}

/// Opens the path `below` the folder `root`. No link in the path is followed, and nothing outside of `root` is opened: such a path is
/// [`Errno::LOOP`] or [`Errno::XDEV`]. With `O_PATH`, a link at its end is opened itself.
///
/// # Errors
/// Those of `openat2`.
pub fn open_below(root: BorrowedFd<'_>, below: &Path, flags: OFlags, calls: Calls) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if calls.openat2 {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(root, or_itself(below), flags, Mode::empty(), resolve) {
            // The kernel or a sandbox does not have the call; something was renamed meanwhile; or a link at the end is no folder, which
            // only the other way distinguishes from a file.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::NOTDIR) => {}
            opened => return opened,
        }
    }
    open_part_by_part(root, below, flags)
}

/// The path, or that of the folder itself if it is empty.
pub fn or_itself(below: &Path) -> &Path {
    if below.as_os_str().is_empty() { Path::new(".") } else { below }
}

fn open_part_by_part(root: BorrowedFd<'_>, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut folder: Option<OwnedFd> = None;
    let mut parts = below.components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(Errno::XDEV) };
        let at = folder.as_ref().map_or(root, AsFd::as_fd);
        if parts.peek().is_none() {
            return no_link(openat(at, name, flags, Mode::empty()), at, Path::new(name));
        }
        let to_enter = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = no_link(openat(at, name, to_enter, Mode::empty()), at, Path::new(name))?;
        folder = Some(opened);
    }
    openat(root, ".", flags, Mode::empty())
}

/// A link that was to be opened as a folder has the same error as from `openat2`.
fn no_link(opened: Result<OwnedFd, Errno>, at: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let is_link =
        || statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| kind(&stat) == FileType::Symlink);
    match opened {
        Err(Errno::NOTDIR) if is_link() => Err(Errno::LOOP),
        opened => opened,
    }
}

/// What kind of file this is.
#[must_use]
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Opens the file at `path` for reading, as [`open_regular_at`]; links are followed.
///
/// # Errors
/// It cannot be opened.
pub fn open_regular(path: &Path) -> io::Result<Option<File>> {
    Ok(open_regular_at(CWD, path, true)?)
}

/// Opens a regular file for reading; `None` if it is something else. A pipe, a socket or a device never makes this wait.
///
/// # Errors
/// It cannot be opened.
pub fn open_regular_at(
    folder: BorrowedFd<'_>,
    name: &Path,
    follow_link: bool,
) -> Result<Option<File>, Errno> {
    let (at, link) = match follow_link {
        true => (AtFlags::empty(), OFlags::empty()),
        false => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
    };
    // Before it is opened, because opening a pipe or a device may have an effect.
    if kind(&statat(folder, name, at)?) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | link;
    let file = match openat(folder, name, flags, Mode::empty()) {
        // A link or a socket took its place.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        opened => opened?,
    };
    let is_regular = kind(&fstat(&file)?) == FileType::RegularFile;
    Ok(is_regular.then(|| File::from(file)))
}

/// Renames a file. A file that exists under the new name is not replaced: [`Errno::EXIST`].
///
/// # Errors
/// Those of `renameat2`.
pub fn rename_new(
    from: BorrowedFd<'_>,
    name: &Path,
    to: BorrowedFd<'_>,
    new_name: &Path,
    calls: Calls,
) -> Result<(), Errno> {
    if calls.rename_new {
        match renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return renamed,
        }
    }
    if calls.hard_links {
        match linkat(from, name, to, new_name, AtFlags::empty()) {
            Ok(()) => {
                return unlinkat(from, name, AtFlags::empty()).inspect_err(|_| {
                    // The old name stays, so the new one is one too many. The error above says more than this one's.
                    let _ = unlinkat(to, new_name, AtFlags::empty());
                });
            }
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
            Err(error) => return Err(error),
        }
    }
    rename_to_reserved(from, name, to, new_name)
}

/// Renames to a name that an empty file reserves.
fn rename_to_reserved(
    from: BorrowedFd<'_>,
    name: &Path,
    to: BorrowedFd<'_>,
    new_name: &Path,
) -> Result<(), Errno> {
    let reserved = create_new(to, new_name)?;
    renameat(from, name, to, new_name).inspect_err(|_| {
        let ours = Identity::of_open(&reserved);
        let there = statat(to, new_name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| (Identity::of_stat(&stat), stat.st_size));
        if ours.is_ok_and(|ours| there == Ok((ours, 0))) {
            let _ = unlinkat(to, new_name, AtFlags::empty());
        }
    })
}

/// Creates a file that only its owner can read. A file or link that exists under this name is [`Errno::EXIST`].
///
/// # Errors
/// It cannot be created.
pub fn create_new(folder: BorrowedFd<'_>, name: &Path) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Whether `inner` is the folder with the identity `outer`, or is in it. The folders above `inner` are compared by device and
/// inode, so it does not matter over which links and mounts `inner` was reached.
///
/// # Errors
/// A folder above `inner` cannot be opened.
pub fn is_within(inner: BorrowedFd<'_>, outer: Identity) -> Result<bool, Errno> {
    let mut id = Identity::of_open(inner)?;
    let mut folder: Option<OwnedFd> = None;
    for _ in 0..DEEPEST {
        if id == outer {
            return Ok(true);
        }
        let at = folder.as_ref().map_or(inner, AsFd::as_fd);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(at, "..", flags, Mode::empty())?;
        let id_above = Identity::of_open(&above)?;
        if id_above == id {
            return Ok(false); // the top
        }
        (id, folder) = (id_above, Some(above));
    }
    Err(Errno::LOOP)
}

/// Whether `path` leads into `folder`, over whatever links and mounts. Both may not exist yet.
#[must_use]
pub fn leads_into(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (resolved(path), resolved(folder));
    let id = |path: &Path| Identity::at(path).ok();
    let outer = id(&folder);
    path.starts_with(&folder) || outer.is_some() && path.ancestors().any(|above| id(above) == outer)
}

/// The path without links, as far as it exists; the rest is appended without `..`.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let real = |path: &Path| fs::canonicalize(path).ok();
    let (start, rest) = path
        .ancestors()
        .find_map(|above| Some((real(above)?, path.strip_prefix(above).ok()?)))
        .unwrap_or((PathBuf::new(), path.as_path()));
    rest.components().fold(start, |mut resolved, part| {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            _ => resolved.push(part),
        }
        resolved
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What is in a folder, in the order of names.
    pub(crate) fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const OLD: Calls = Calls { openat2: false, rename_new: false, hard_links: false };

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_file_is_gone_when_its_path_leads_nowhere_or_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (state, away) = (folder.path().join("state"), folder.path().join("away"));
        fs::create_dir(&state).unwrap();
        let path = state.join("file");
        // Held open, so that no other file gets its inode.
        let _open = File::create(&path).unwrap();
        let id = Identity::at(&path).unwrap();
        let is_here = || matches!(id.look(&path), Whereabouts::Here);
        let is_gone = || matches!(id.look(&path), Whereabouts::Gone);
        assert!(is_here());
        fs::rename(&path, state.join("other")).unwrap();
        assert!(is_gone(), "renamed");
        fs::write(&path, "").unwrap();
        assert!(is_gone(), "replaced");
        fs::rename(state.join("other"), &path).unwrap();
        assert!(is_here(), "it is back");
        fs::rename(&state, &away).unwrap();
        assert!(is_gone(), "the folder is renamed");
        fs::write(&state, "").unwrap();
        assert!(is_gone(), "the folder is a file");
        fs::remove_file(&state).unwrap();
        symlink(&state, &state).unwrap();
        assert!(matches!(id.look(&path), Whereabouts::Unknown(_)), "a link to itself");
    }

    #[test]
    fn no_link_and_no_way_up_is_followed_with_and_without_openat2() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "in").unwrap();
        fs::write(outside.path().join("file"), "out").unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        symlink("b", folder.path().join("a/inner")).unwrap();
        symlink(outside.path().join("file"), folder.path().join("file")).unwrap();
        let root = open(folder.path());
        let (read, list) = (OFlags::RDONLY, OFlags::RDONLY | OFlags::DIRECTORY);
        let cases = [
            ("", list, None),
            (".", list, None),
            ("a/b", list, None),
            ("a/b/file", read, None),
            ("./a/./b/file", read, None),
            ("a/none", read, Some(Errno::NOENT)),
            ("a/b/file/x", read, Some(Errno::NOTDIR)),
            ("a/b/file", list, Some(Errno::NOTDIR)),
            ("link/file", read, Some(Errno::LOOP)),
            ("link", list, Some(Errno::LOOP)),
            ("a/inner/file", read, Some(Errno::LOOP)),
            ("file", read, Some(Errno::LOOP)),
            ("../x", read, Some(Errno::XDEV)),
            ("/etc/passwd", read, Some(Errno::XDEV)),
        ];
        for calls in [Calls::default(), OLD] {
            for (path, flags, expected) in cases {
                let opened = open_below(root.as_fd(), Path::new(path), flags, calls);
                assert_eq!(opened.err(), expected, "{path} {calls:?}");
            }
            let link = open_below(root.as_fd(), Path::new("file"), OFlags::PATH, calls).unwrap();
            assert_eq!(kind(&fstat(link).unwrap()), FileType::Symlink, "a link itself");
        }
    }

    #[test]
    fn a_pipe_a_device_and_a_link_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::process::Command::new("mkfifo").arg(at("pipe.mp4")).status().unwrap();
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        let opens = |path: &Path| open_regular(path).unwrap().is_some();
        assert!(opens(&at("file")) && opens(&at("link")));
        for other in [&*at("pipe.mp4"), folder.path(), Path::new("/dev/zero")] {
            assert!(!opens(other), "{}", other.display());
        }
        let root = open(folder.path());
        assert!(open_regular_at(root.as_fd(), Path::new("link"), false).unwrap().is_none());
        assert!(open_regular(&at("none")).is_err());
    }

    #[test]
    fn a_rename_replaces_nothing_on_any_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let root = open(folder.path());
        let rename = |from: &str, to: &str, calls| {
            rename_new(root.as_fd(), Path::new(from), root.as_fd(), Path::new(to), calls)
        };
        let links_only = Calls { hard_links: true, ..OLD };
        for calls in [Calls::default(), links_only, OLD] {
            for name in ["a", "b"] {
                fs::write(folder.path().join(name), name).unwrap();
            }
            symlink("nowhere", folder.path().join("link")).unwrap();
            for taken in ["b", "link"] {
                assert_eq!(rename("a", taken, calls), Err(Errno::EXIST), "{taken} {calls:?}");
            }
            assert_eq!(rename("none", "c", calls), Err(Errno::NOENT), "{calls:?}");
            assert!(!folder.path().join("c").exists(), "the reserved name is free again: {calls:?}");
            rename("a", "c", calls).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("c")).unwrap(), "a");
            assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "b");
            assert!(!folder.path().join("a").exists());
            ["b", "c", "link"].iter().for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
        }
    }

    #[test]
    fn a_folder_is_within_another_whatever_path_leads_to_it() {
        let both = tempfile::tempdir().unwrap();
        let at = |path: &str| both.path().join(path);
        fs::create_dir_all(at("state/deep/er")).unwrap();
        fs::create_dir_all(at("inbox/sub")).unwrap();
        symlink(at("state"), at("inbox/link")).unwrap();
        symlink(at("inbox"), at("state/moved")).unwrap();
        let cases = [
            ("state", true),
            ("state/deep/er", true),
            ("state/new/folder", true),
            ("inbox/link/deep", true),
            ("inbox/link/new", true),
            ("inbox/sub/../../state/deep", true),
            ("inbox", false),
            ("inbox/sub", false),
            ("state/moved", false),
            ("state/moved/sub", false),
            ("state2", false),
            (".", false),
        ];
        let state = Identity::of(&fs::metadata(at("state")).unwrap());
        for (path, expected) in cases {
            assert_eq!(leads_into(&at(path), &at("state")), expected, "{path}");
            if at(path).exists() {
                assert_eq!(is_within(open(&at(path)).as_fd(), state), Ok(expected), "{path}");
            }
        }
        assert!(leads_into(&at("none/deep"), &at("none")), "both do not exist yet");
        assert!(!leads_into(&at("none/../inbox"), &at("none")));
    }
}
