//! Replaces a file in one step: readers, and whatever is left after a crash, have the old content or the new, never a part.
//!
//! In tests each step can fail: see `faults`.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tempfile::{Builder, NamedTempFile};

#[cfg(test)]
use crate::faults::{Operation, hit};

/// Only the owner reads and writes the files of the service.
pub const PRIVATE: u32 = 0o600;

/// How often [`read`] tries to read a file, and the time between. State files are read at the start, where waiting is allowed.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Writes `content` to `path`, whose folder must exist. When this returns, the content and the file's name are synced to disk.
///
/// A file that exists keeps its permissions; a new file gets those of the process (`umask`). A link is replaced, not followed.
///
/// # Errors
/// The folder cannot be written, or the disk is full. The old file is unchanged then, and no temporary file is left.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let old = fs::metadata(path).ok().map(|old| old.permissions());
    replace(path, content.as_ref(), 0o666, None, old)
}

/// Like [`write()`], for a file of people: it also keeps its owner and its group, so that everyone who could read it still can.
///
/// # Errors
/// As [`write()`]; also if this process may not give a file to that owner or group.
pub fn write_for_owner(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let old = fs::metadata(path)?;
    replace(path, content.as_ref(), PRIVATE, Some((old.uid(), old.gid())), Some(old.permissions()))
}

/// Like [`write()`], for a file that only its owner reads, whatever its permissions were and whatever those of the process are.
///
/// # Errors
/// As [`write()`].
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    replace(path, content.as_ref(), PRIVATE, None, Some(Permissions::from_mode(PRIVATE)))
}

/// Writes `content` to a new file that only its owner reads. A file that exists is left as it is, which is an error of the kind
/// [`io::ErrorKind::AlreadyExists`]. When this returns, the content and the file's name are synced to disk.
///
/// # Errors
/// The file exists, the folder cannot be written, or the disk is full. No temporary file is left then.
pub fn create_private(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = parts(path)?;
    let mut new = temporary(folder, name, PRIVATE)?;
    new.write_all(content.as_ref())?;
    new.as_file().sync_all()?;
    new.persist_noclobber(path)?;
    File::open(folder)?.sync_all()
}

/// Takes the permissions to read a file of the service from everyone but its owner: an earlier version may have made it.
///
/// # Errors
/// The file belongs to another user. A missing file is no error.
pub fn make_private(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o777 != PRIVATE => {
            fs::set_permissions(path, Permissions::from_mode(PRIVATE))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder and the name of a file.
fn parts(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder, path.file_name().ok_or(io::ErrorKind::InvalidInput)?))
}

/// A temporary file. Its extension keeps readers of `*.yaml` or `*.json` in the same folder from taking it.
fn temporary(folder: &Path, name: &OsStr, mode: u32) -> io::Result<NamedTempFile> {
    Builder::new().prefix(name).suffix(".new").permissions(Permissions::from_mode(mode)).tempfile_in(folder)
}

fn replace(
    path: &Path,
    content: &[u8],
    new_mode: u32,
    owner: Option<(u32, u32)>,
    mode: Option<Permissions>,
) -> io::Result<()> {
    let (folder, name) = parts(path)?;
    #[cfg(test)]
    hit(path, Operation::Open)?;
    let mut new = temporary(folder, name, new_mode)?;
    // Before the permissions: a change of the owner removes some of them.
    if let Some((user, group)) = owner {
        let own = new.as_file().metadata()?;
        if (own.uid(), own.gid()) != (user, group) {
            let user = Some(user).filter(|user| *user != own.uid());
            fchown(new.as_file(), user, Some(group))?;
        }
    }
    if let Some(mode) = mode {
        new.as_file().set_permissions(mode)?;
    }
    #[cfg(test)]
    hit(path, Operation::Write)?;
    new.write_all(content)?;
    #[cfg(test)]
    hit(path, Operation::Sync)?;
    new.as_file().sync_all()?;
    #[cfg(test)]
    hit(path, Operation::Rename)?;
    new.persist(path)?;
    // The rename is part of the folder.
    #[cfg(test)]
    hit(path, Operation::Sync)?;
    File::open(folder)?.sync_all()
}

/// Reads a file that [`write()`] wrote. A failure may be over at once (too many open files, a disk that wakes up): the file is read
/// again before it counts as unreadable, because its content is replaced then.
///
/// # Errors
/// It does not exist, or cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    for _ in 1..TRIES {
        match read_once(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => thread::sleep(PAUSE),
            read => return read,
        }
    }
    read_once(path)
}

fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    #[cfg(test)]
    hit(path, Operation::Read)?;
    fs::read(path)
}

/// Renames a file that cannot be used to `NAME.damaged`, before it is replaced. An older one of that name is replaced. Returns the new
/// path; `None` if there is no such file.
///
/// # Errors
/// The folder cannot be written.
pub fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    #[cfg(test)]
    hit(path, Operation::Rename)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".damaged");
    let aside = path.with_file_name(name);
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a text that [`write()`] wrote.
///
/// # Errors
/// As for [`read`]; also if it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::descriptors::tests::names;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_has_the_permissions_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, usual) = (folder.path().join("a.json"), folder.path().join("usual"));
        fs::write(&usual, "").unwrap();
        write(&file, "one").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        assert_eq!(mode(&file), mode(&usual));
        assert_eq!(names(folder.path()), ["a.json", "usual"]);
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_open_readers_keep_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        fs::write(&file, "a long old text").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let reader = File::open(&file).unwrap();
        write(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(io::read_to_string(reader).unwrap(), "a long old text");
        assert_eq!(mode(&file), 0o640);
    }

    #[test]
    fn a_file_of_people_keeps_its_owner_and_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        assert!(write_for_owner(&file, "new").is_err(), "it has no owner yet");
        fs::write(&file, "old").unwrap();
        // Only root can give a file away.
        let is_root = fs::metadata(&file).unwrap().uid() == 0;
        if is_root {
            std::os::unix::fs::chown(&file, Some(1), Some(2)).unwrap();
        }
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&file).unwrap();
        write_for_owner(&file, "new").unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!((after.uid(), after.gid(), mode(&file)), (before.uid(), before.gid(), 0o640));
        assert_ne!(before.ino(), after.ino(), "it was replaced in one step");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        if is_root {
            write(&file, "newer").unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "state files belong to the service");
        }
    }

    #[test]
    fn a_private_file_is_private_whatever_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        write_private(&file, "new").unwrap();
        assert_eq!(mode(&file), 0o600);
        for was in [0o644, 0o666, 0o400] {
            fs::set_permissions(&file, Permissions::from_mode(was)).unwrap();
            write_private(&file, "again").unwrap();
            assert_eq!(mode(&file), 0o600, "{was:o}");
            fs::set_permissions(&file, Permissions::from_mode(was)).unwrap();
            make_private(&file).unwrap();
            assert_eq!(mode(&file), 0o600, "{was:o}");
        }
        make_private(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn a_link_is_replaced_and_its_target_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "target").unwrap();
        symlink(&target, &link).unwrap();
        write(&link, "new").unwrap();
        assert!(!link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "target");
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that is not empty cannot be replaced by a file.
        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        fs::write(occupied.join("file"), "").unwrap();
        assert!(write(&occupied, "new").is_err());
        assert_eq!(names(folder.path()), ["occupied"]);
        assert!(write(&folder.path().join("missing/a.json"), "new").is_err());
        assert!(write(Path::new("/"), "new").is_err());
    }
}
