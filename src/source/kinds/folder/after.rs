//! What happens to a file once its frame was scored and its alerts are on disk.
//!
//! It refuses to overwrite anything, and to touch a file that is no longer the version that was taken. A file that failed
//! stays where it is, whatever is asked for: people will want to look at it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{seen::Version, take};
use crate::{config::After, picture};

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
    pub(crate) content: u64,
    /// When the file was made, where its file system knows: an inode may be used again.
    pub(crate) created: Option<SystemTime>,
}

/// Does `after` to the file at `path`, if it is still what was taken; says whether the file is gone from there.
pub(crate) fn finish(after: &After, path: &Path, taken: &Taken) -> io::Result<bool> {
    if !is_still(path, taken) {
        return Ok(false);
    }
    carry_out(after, path)
}

fn carry_out(after: &After, path: &Path) -> io::Result<bool> {
    let done = match after {
        After::Keep => return Ok(false),
        // Of a link only the link goes.
        After::Delete => fs::remove_file(path),
        After::Move(folder) => {
            let told =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
            move_into(path, folder).map_err(told)
        }
    };
    match done {
        // Somebody else has taken it away in the meantime.
        Err(_) if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
            Ok(true)
        }
        done => done.map(|()| true),
    }
}

/// Copying tools set the time of a file after they closed it: then its content decides. Another file of the same name
/// and content is still another file.
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
    // An empty file holds the name, so that the rename overwrites nothing but that.
    let target = reserve(path, folder)?;
    let moved = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_symlink() {
            // A link may lead nowhere from there: its picture is what is kept.
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

/// The name of `path`, with a number before its extension from 1 on.
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

/// Copies over a file system's border: whole and on disk, or not at all.
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
    fn what_somebody_else_took_away_in_the_meantime_is_gone_and_no_failure() {
        let from = tempfile::tempdir().unwrap();
        let (gone, to) = (from.path().join("gone.png"), from.path().join("done"));
        for after in [After::Delete, After::Move(to.clone())] {
            assert!(carry_out(&after, &gone).unwrap(), "{after:?}");
        }
        assert_eq!(names(&to), Vec::<String>::new(), "no place is held for it");
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
    fn another_version_is_left_alone() {
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
        assert!(!finish(&After::Delete, &path, &old).unwrap(), "gone is no failure");
    }

    #[test]
    fn a_time_that_is_set_later_makes_no_other_version_but_other_content_does() {
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
    fn a_file_crosses_the_border_of_a_file_system_whole() {
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
    fn a_failed_move_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, no_folder) = (folder.path().join("a.png"), folder.path().join("file"));
        fs::write(&path, "picture").unwrap();
        fs::write(&no_folder, "").unwrap();
        let error = finish(&After::Move(no_folder.clone()), &path, &taken(&path)).unwrap_err();
        assert!(error.to_string().starts_with(&no_folder.display().to_string()), "{error}");
        assert_eq!(names(folder.path()), ["a.png", "file"]);
    }
}
