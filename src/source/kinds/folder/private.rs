//! A folder that only the service enters, on the file system of the watched folder.
//!
//! A file that is to be deleted or moved is moved into this folder first, and compared there with the file that was taken: no one can
//! exchange it between these steps. If it is another file, it is put back. After a kill, [`recover`] puts back what is left.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, statat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
    process::geteuid,
};

use super::{
    names::shortened,
    settle::{is_temporary, settle, temporary_name},
    tree::{Entry, FileLocation, Tree},
};
use crate::descriptors::Identity;

/// How often the folder is made again because someone else put one in its place.
const TRIES: usize = 4;
/// The most bytes of the original name of a file in the folder; the number before it has the others.
const NAME: usize = 230;

/// The folder; deleted with this value if it is empty.
#[derive(Debug)]
pub(super) struct Private {
    folder: OwnedFd,
    /// The folder that it is in, and its name there. `None`: there was no room for a folder, and files get a name that no one guesses.
    made: Option<(OwnedFd, OsString)>,
    count: AtomicU64,
}

impl Private {
    /// Makes a folder in `parent`.
    pub(super) fn create(parent: &OwnedFd) -> Result<Self, Errno> {
        Self::create_if(parent, is_private)
    }

    fn create_if(
        parent: &OwnedFd,
        is_private: impl Fn(&OwnedFd) -> Result<bool, Errno>,
    ) -> Result<Self, Errno> {
        for attempt in 1..=TRIES {
            let name = temporary_name();
            mkdirat(parent, &name, Mode::RWXU)?;
            let folder = match open(parent, &name) {
                // Someone put something else in its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if attempt < TRIES => continue,
                opened => opened?,
            };
            // A file system without permissions (exFAT, SMB) has no private folders: there the name alone protects the file.
            if attempt < TRIES && !is_private(&folder)? {
                // Empty, if it is the one that was made.
                let _ = unlinkat(parent, &name, AtFlags::REMOVEDIR);
                continue;
            }
            // Shows other services that it is in use. Not every file system has locks.
            let _ = flock(&folder, FlockOperation::NonBlockingLockExclusive);
            let parent = fcntl_dupfd_cloexec(parent, 0)?;
            return Ok(Self { folder, made: Some((parent, name)), count: AtomicU64::new(0) });
        }
        Err(Errno::EXIST)
    }

    /// The folder itself instead of a private one in it, if there is no room for one.
    pub(super) fn instead(folder: &OwnedFd) -> Result<Self, Errno> {
        Ok(Self { folder: fcntl_dupfd_cloexec(folder, 0)?, made: None, count: AtomicU64::new(0) })
    }

    /// Moves the file at a place into this folder. Its name here.
    pub(super) fn hold(&self, place: &FileLocation) -> Result<OsString, Errno> {
        let name = match &self.made {
            Some(_) => held_name(self.count.fetch_add(1, Ordering::Relaxed), &place.name),
            None => temporary_name(),
        };
        renameat(&place.folder, &place.name, &self.folder, &name)?;
        Ok(name)
    }

    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// What is in this folder under a name.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Entry, Errno> {
        Entry::in_folder(&self.folder, name)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some((parent, name)) = &self.made {
            let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Identity::of_stat(&stat));
            if Identity::of_open(&self.folder).is_ok_and(|ours| there == Ok(ours)) {
                // It is not empty if a file could not be put back; then the next start does that.
                let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
            }
        }
    }
}

/// Puts back the files that an earlier run left in such folders when it was killed, and deletes the folders.
pub(super) fn recover(tree: &Tree, source: &str) {
    let names_in = |folder: &OwnedFd, wanted: &dyn Fn(&OsStr, Entry) -> bool| {
        let mut names = Vec::new();
        let read = tree.read(folder, |name, entry| {
            if entry.is_ok_and(|entry| wanted(name, entry)) {
                names.push(name.to_owned());
            }
            true
        });
        read.map(|()| names).unwrap_or_default()
    };
    for left in names_in(tree.root(), &|name, entry| is_temporary(name) && entry.is_folder()) {
        let Ok(folder) = open(tree.root(), &left) else { continue };
        // The lock is that of a service that uses the folder.
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err()
            || is_private(&folder) != Ok(true)
        {
            continue;
        }
        for held in names_in(&folder, &|_, _| true) {
            let name = original_name(&held);
            match settle(&folder, &held, tree.root(), name, tree.calls) {
                Ok(()) => tracing::info!(source, file = ?name, "put back a file of an earlier run"),
                Err(error) => {
                    tracing::warn!(source, file = ?name, %error, "cannot put back a file of an earlier run")
                }
            }
        }
        let _ = unlinkat(tree.root(), &left, AtFlags::REMOVEDIR);
    }
}

fn open(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent.as_fd(), name, flags, Mode::empty())
}

/// Whether only this user enters the folder.
fn is_private(folder: &OwnedFd) -> Result<bool, Errno> {
    let stat = fstat(folder)?;
    Ok(stat.st_mode & 0o777 == 0o700 && stat.st_uid == geteuid().as_raw())
}

/// A number, and the original name.
fn held_name(number: u64, name: &OsStr) -> OsString {
    let name = shortened(name.as_bytes(), NAME);
    OsString::from_vec([number.to_string().as_bytes(), b"-", name].concat())
}

fn original_name(held: &OsStr) -> &OsStr {
    let name = held.as_bytes().splitn(2, |byte| *byte == b'-').nth(1);
    name.filter(|name| !name.is_empty()).map_or(held, OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use super::{super::settings::Links, *};
    use crate::descriptors::tests::names;

    fn tree(folder: &Path) -> Tree {
        Tree::open(folder, Links::Ignore, None).unwrap()
    }

    #[test]
    fn only_the_service_enters_the_folder_and_it_is_deleted_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "a").unwrap();
        // As in a folder that a group shares.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o2775)).unwrap();
        let tree = tree(folder.path());
        let private = Private::create(tree.root()).unwrap();
        let [name, _] = names(folder.path()).try_into().unwrap();
        let metadata = fs::metadata(folder.path().join(&name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
        assert!(is_temporary(OsStr::new(&name)));
        let place = tree.place(&folder.path().join("a.jpg")).unwrap();
        let held = private.hold(&place).unwrap();
        assert_eq!(private.hold(&place).unwrap_err(), Errno::NOENT);
        assert_eq!(names(folder.path()), [&*name]);
        settle(private.folder(), &held, &place.folder, &place.name, tree.calls).unwrap();
        drop(private);
        assert_eq!(names(folder.path()), ["a.jpg"]);
    }

    #[test]
    fn a_file_system_without_permissions_keeps_one_folder_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(folder.path());
        let private = Private::create_if(tree.root(), |_| Ok(false)).unwrap();
        assert_eq!(names(folder.path()).len(), 1, "the folders of earlier tries are gone");
        drop(private);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn what_a_killed_service_left_is_put_back_and_what_another_one_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let tree = tree(folder.path());
        let put = |private: &Private, name: &str, text: &str| {
            fs::write(at(name), text).unwrap();
            private.hold(&tree.place(&at(name)).unwrap()).unwrap();
        };
        let (killed, running) =
            (Private::create(tree.root()).unwrap(), Private::create(tree.root()).unwrap());
        put(&killed, "a-b.jpg", "left");
        put(&killed, &format!("{}.jpg", "x".repeat(250)), "long");
        put(&running, "c.jpg", "in use");
        // A kill closes what was open, and runs nothing.
        let Private { folder: lock, .. } = &killed;
        flock(lock, FlockOperation::Unlock).unwrap();
        fs::write(at("a-b.jpg"), "new").unwrap();
        recover(&tree, "inbox");
        assert_eq!(fs::read_to_string(at("a-b.jpg")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("a-b-1.jpg")).unwrap(), "left");
        let names = names(folder.path());
        assert_eq!(names.iter().filter(|name| is_temporary(OsStr::new(name))).count(), 1, "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("xxx")) && !names.contains(&"c.jpg".to_owned()));
    }
}
