//! Puts a file into a folder under its name, or a free one like it. Nothing is overwritten, and no link is written through.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{self, Seek},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, statat, unlinkat},
    io::Errno,
};
use uuid::Uuid;

use super::names::{free_number, numbered, with_suffix};
use crate::descriptors::{Calls, create_new, rename_new};

/// How files and folders begin that exist only while a file is moved or deleted. They are never taken.
pub(super) const PREFIX: &str = ".stakeout-";
/// How often a name that was free may be taken before the file is renamed.
const ATTEMPTS: usize = 16;

/// A name that no one guesses, for a file or folder that exists for a short time.
pub(super) fn temporary_name() -> OsString {
    format!("{PREFIX}{}", Uuid::now_v7().simple()).into()
}

/// Whether a file or folder exists only while a file is moved or deleted.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Renames the file `name` in `from` to `wanted` in `to`, or the first free name like it.
///
/// # Errors
/// The file cannot be renamed; [`Errno::XDEV`] if `to` is on another file system.
pub(super) fn settle(
    from: &OwnedFd,
    name: &OsStr,
    to: &OwnedFd,
    wanted: &OsStr,
    calls: Calls,
) -> Result<(), Errno> {
    let rename = |new: &OsStr| rename_new(from.as_fd(), Path::new(name), to.as_fd(), Path::new(new), calls);
    let is_taken = |number| match statat(to, numbered(wanted, number), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    };
    for _ in 0..ATTEMPTS {
        let Some(number) = free_number(is_taken)? else { break };
        match rename(&numbered(wanted, number)) {
            Err(Errno::EXIST) => {} // someone was faster
            renamed => return renamed,
        }
    }
    // Someone takes each number: then one that no one guesses.
    rename(&with_suffix(wanted, &format!("-{}", Uuid::now_v7().simple())))
}

/// Copies an open file into a folder, under a temporary name: complete and on disk, or not at all.
///
/// # Errors
/// It cannot be copied.
pub(super) fn copy(mut from: &File, to: &OwnedFd) -> io::Result<OsString> {
    let name = temporary_name();
    let mut copy = create_new(to.as_fd(), Path::new(&name))?;
    let mut fill = || {
        from.rewind()?;
        io::copy(&mut from, &mut copy)?;
        let metadata = from.metadata()?;
        // A file system without permissions refuses this; nothing depends on it.
        let _ = copy.set_permissions(Permissions::from_mode(metadata.permissions().mode() & 0o777));
        copy.set_modified(metadata.modified()?)?;
        copy.sync_all()
    };
    fill().inspect_err(|_| remove(to, &name)).map(|()| name)
}

/// Deletes a temporary file. A failure has a cause that was reported already.
pub(super) fn remove(folder: &OwnedFd, name: &OsStr) {
    let _ = unlinkat(folder, name, AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::{CWD, Mode, OFlags, openat};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_name_that_a_link_or_a_folder_has_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "not overwritten").unwrap();
        symlink(at("victim"), at("a.jpg")).unwrap();
        symlink(at("nowhere"), at("a-1.jpg")).unwrap();
        fs::create_dir(at("a-2.jpg")).unwrap();
        fs::write(at("new"), "new").unwrap();
        let opened = open(folder.path());
        settle(&opened, OsStr::new("new"), &opened, OsStr::new("a.jpg"), Calls::default()).unwrap();
        assert_eq!(fs::read_to_string(at("a-3.jpg")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "not overwritten");
    }

    #[test]
    fn names_that_others_take_at_the_same_time_cost_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) =
            (tempfile::tempdir_in(folder.path()).unwrap(), tempfile::tempdir_in(folder.path()).unwrap());
        let without = Calls { rename_new: false, hard_links: true, ..Calls::default() };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Takes the next names all the time.
            scope.spawn(|| {
                for number in (0_u64..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let name = numbered(OsStr::new("a.jpg"), number % 1000);
                    let _ = File::create_new(to.path().join(name));
                }
            });
            let (from_fd, to_fd) = (open(from.path()), open(to.path()));
            for number in 0..500 {
                let calls = if number % 2 == 0 { Calls::default() } else { without };
                fs::write(from.path().join("file"), format!("file {number}")).unwrap();
                settle(&from_fd, OsStr::new("file"), &to_fd, OsStr::new("a.jpg"), calls).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let texts =
            fs::read_dir(to.path()).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let mut moved: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
        moved.sort();
        moved.dedup();
        assert_eq!(moved.len(), 500, "each file is there");
    }
}
