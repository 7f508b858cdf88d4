//! Deletes or moves a file after its frame was scored and its alerts are on disk.
//!
//! Nothing is overwritten, and a file that is no longer the version that was taken is not touched. A file that failed
//! stays in its place, whatever `after` says: people will want to inspect it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tokio::sync::mpsc;

use super::settings::After;
use super::{seen::Version, take};
use crate::{
    picture,
    source::{cause::Cause, counts::Counts},
};

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
    pub(crate) content: u64,
    /// When the file was created, if its file system records that: an inode may be reused.
    pub(crate) created: Option<SystemTime>,
}

/// Applies `after` to the file at `path` if it is still the file that was taken. Whether the file is gone from there.
pub(crate) fn finish(after: &After, path: &Path, taken: &Taken) -> io::Result<bool> {
    if *after == After::Keep || !is_still(path, taken) {
        return Ok(false);
    }
    carry_out(after, path)
}

/// Requests `after` for a file whose frame is scored.
pub(crate) fn request(
    done: &mpsc::Sender<Taken>,
    after: &After,
    taken: Taken,
    source: &str,
    counts: &Counts,
) {
    // At shutdown the source ends before its frames: then, or if it is late, the file is finished from here.
    if let Err(unsent) = done.try_send(taken) {
        let taken = unsent.into_inner();
        finish_or_log(after, &taken.path, &taken, source, counts);
    }
}

/// Applies `after` to a file, and logs and counts a failure. Whether the file is gone from there.
pub(crate) fn finish_or_log(
    after: &After,
    path: &Path,
    taken: &Taken,
    source: &str,
    counts: &Counts,
) -> bool {
    finish(after, path, taken).unwrap_or_else(|error| {
        counts.failed(Cause::After);
        let path = path.display();
        tracing::warn!(source, %path, cause = %error, "could not delete or move the file; it stays in its place");
        false
    })
}

fn carry_out(after: &After, path: &Path) -> io::Result<bool> {
    let done = match after {
        After::Keep => return Ok(false),
        // Only the link is deleted, not its target.
        After::Delete => fs::remove_file(path),
        After::Move(folder) => {
            let with_target =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
            move_into(path, folder).map_err(with_target)
        }
    };
    match done {
        // Another program removed it in the meantime.
        Err(_) if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
            Ok(true)
        }
        done => done.map(|()| true),
    }
}

/// Whether the file at `path` is still the file that was taken. Copying tools set the time of a file after they closed it:
/// then its content decides. Another file of the same name and content is a different file.
fn is_still(path: &Path, taken: &Taken) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let now = Version::of(&metadata);
    let same_file = || {
        (now.inode, now.size) == (taken.version.inode, taken.version.size)
            && metadata.created().ok() == taken.created
    };
    let same_content =
        || take::read(path, now).is_ok_and(|(bytes, _)| picture::hash(&bytes) == taken.content);
    now.looks_like(taken.version) || same_file() && same_content()
}

/// Moves the file at `path` into `folder`, under its name or the first free one of `name-1`, `name-2`...
fn move_into(path: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // An empty file reserves the name, so that the rename overwrites nothing else.
    let target = reserve(path, folder)?;
    let moved = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_symlink() {
            // A relative link may be broken in the other folder: its picture is moved instead.
            return copy(path, &target).and_then(|()| fs::remove_file(path));
        }
        match fs::rename(path, &target) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                copy(path, &target).and_then(|()| fs::remove_file(path))
            }
            renamed => renamed,
        }
    });
    if moved.is_err() && fs::metadata(&target).is_ok_and(|metadata| metadata.len() == 0) {
        fs::remove_file(&target)?;
    }
    moved
}

/// Creates an empty file under the first free name.
fn reserve(path: &Path, folder: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let target = folder.join(numbered(path, number));
        match File::create_new(&target) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            created => return created.map(|_| target),
        }
    }
}

/// The name of `path`, with `number` before its extension if it is not 0.
fn numbered(path: &Path, number: u64) -> OsString {
    if number == 0 {
        return path.file_name().unwrap_or_default().to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    name
}

/// Copies to another file system: complete and on disk, or not at all.
fn copy(path: &Path, target: &Path) -> io::Result<()> {
    let mut hidden = OsString::from(".");
    hidden.push(target.file_name().unwrap_or_default());
    hidden.push(".stakeout");
    let hidden = target.with_file_name(hidden);
    let copied = (|| {
        fs::copy(path, &hidden)?;
        let file = OpenOptions::new().write(true).open(&hidden)?;
        file.set_modified(fs::metadata(path)?.modified()?)?;
        file.sync_all()?;
        fs::rename(&hidden, target)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&hidden); // the copy's error says more than this one's
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &Path) -> Taken {
        let metadata = fs::metadata(path).unwrap();
        let content = picture::hash(&fs::read(path).unwrap());
        let (version, created) = (Version::of(&metadata), metadata.created().ok());
        Taken { path: path.to_path_buf(), version, content, created }
    }

    fn names(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names = names.collect::<Vec<_>>();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_another_program_removed_is_no_failure() {
        let from = tempfile::tempdir().unwrap();
        let (gone, to) = (from.path().join("gone.png"), from.path().join("done"));
        for after in [After::Delete, After::Move(to.clone())] {
            assert!(carry_out(&after, &gone).unwrap(), "{after:?}");
        }
        assert_eq!(names(&to), Vec::<String>::new(), "its name is not reserved");
    }

    #[test]
    fn nothing_is_overwritten() {
        let from = tempfile::tempdir().unwrap();
        let to = from.path().join("deep/done");
        for text in ["one", "two", "three"] {
            let path = from.path().join("a.b.png");
            fs::write(&path, text).unwrap();
            assert!(finish(&After::Move(to.clone()), &path, &taken(&path)).unwrap());
            assert!(!path.exists());
        }
        assert_eq!(names(&to), ["a.b-1.png", "a.b-2.png", "a.b.png"]);
        assert_eq!(fs::read_to_string(to.join("a.b-2.png")).unwrap(), "three");
        assert_eq!(
            [numbered(Path::new("x/plain"), 3), numbered(Path::new("x/plain"), 0)],
            ["plain-3", "plain"]
        );
    }

    #[test]
    fn another_version_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, "old").unwrap();
        let old = taken(&path);
        fs::write(&path, "newer").unwrap();
        for after in [After::Delete, After::Move(folder.path().join("done"))] {
            assert!(!finish(&after, &path, &old).unwrap());
        }
        assert!(!finish(&After::Keep, &path, &taken(&path)).unwrap());
        assert_eq!(names(folder.path()), ["a.png"]);
        assert!(finish(&After::Delete, &path, &taken(&path)).unwrap());
        assert!(!finish(&After::Delete, &path, &old).unwrap(), "a missing file is no failure");
    }

    #[test]
    fn a_time_that_is_set_later_makes_no_new_version_but_new_content_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, "same size").unwrap();
        let old = taken(&path);
        let set_time =
            || File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH);
        fs::write(&path, "SAME SIZE").unwrap();
        set_time().unwrap();
        assert!(!finish(&After::Delete, &path, &old).unwrap());
        fs::write(&path, "same size").unwrap();
        set_time().unwrap();
        assert!(finish(&After::Delete, &path, &old).unwrap());
        fs::write(&path, "same size").unwrap();
        assert!(!finish(&After::Delete, &path, &old).unwrap(), "another file of the same name and content");
    }

    #[test]
    fn a_file_is_moved_to_another_file_system_completely() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let path = here.path().join("a.png");
        fs::write(&path, "picture").unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(finish(&After::Move(there.path().to_path_buf()), &path, &taken(&path)).unwrap());
        assert!(!path.exists());
        assert_eq!(names(there.path()), ["a.png"]);
        assert_eq!(fs::read_to_string(there.path().join("a.png")).unwrap(), "picture");
        assert_eq!(fs::metadata(there.path().join("a.png")).unwrap().modified().unwrap(), modified);
    }

    #[test]
    fn a_link_is_moved_as_its_picture_and_deleted_as_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (original, link) = (folder.path().join("original"), folder.path().join("link.png"));
        fs::write(&original, "picture").unwrap();
        std::os::unix::fs::symlink("original", &link).unwrap();
        let to = folder.path().join("done");
        assert!(finish(&After::Move(to.clone()), &link, &taken(&link)).unwrap());
        assert_eq!(fs::read_to_string(to.join("link.png")).unwrap(), "picture");
        assert!(!fs::symlink_metadata(to.join("link.png")).unwrap().is_symlink());

        std::os::unix::fs::symlink("original", &link).unwrap();
        assert!(finish(&After::Delete, &link, &taken(&link)).unwrap());
        assert_eq!(names(folder.path()), ["done", "original"]);
    }

    #[test]
    fn a_failed_move_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, no_folder) = (folder.path().join("a.png"), folder.path().join("file"));
        fs::write(&path, "picture").unwrap();
        fs::write(&no_folder, "").unwrap();
        let error = finish(&After::Move(no_folder.clone()), &path, &taken(&path)).unwrap_err();
        assert!(error.to_string().starts_with(&no_folder.display().to_string()), "{error}");
        assert_eq!(names(folder.path()), ["a.png", "file"]);
    }
}
