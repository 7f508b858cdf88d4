//! The main file of a configuration, for people who edit it through the service: its text, its tag, whether it can be written, and a
//! new version of it.
//!
//! A tag changes whenever the content does. A client that saves a text names the tag of the text that it has read: a file that was
//! changed by someone else meanwhile is not overwritten.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{load, versions::Versions};
use crate::{
    atomic_file,
    cache::hex,
    text_file::{self, TextFileError},
};

/// The bytes of a hash in a tag.
const TAG: usize = 12;

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Its text without a byte order mark. Bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The tag of its content.
    pub tag: String,
    /// Why it cannot be edited as text; `None` if it is UTF-8.
    pub damage: Option<String>,
}

/// Why a file cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What prevents it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Why a text was not saved. The file is as it was.
#[derive(Debug)]
pub enum SaveError {
    /// The file has another tag: it was changed meanwhile.
    Changed,
    /// The file, or an earlier version of it, cannot be written or read.
    Io {
        /// What failed: the file, or the folder of earlier versions.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The tag of a content.
#[must_use]
pub fn tag(content: &[u8]) -> String {
    hex(&Sha256::digest(content)[..TAG])
}

/// The tag of the file now; empty if it cannot be read.
#[must_use]
pub fn tag_now(path: &Path) -> String {
    load::read_bytes(path).map(|bytes| tag(&bytes)).unwrap_or_default()
}

/// Reads a file of the configuration.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read(path: &Path) -> Result<ReadFile, TextFileError> {
    let bytes = load::read_bytes(path)?;
    let tag = tag(&bytes);
    Ok(match text_file::text(bytes.clone()) {
        Ok(text) => ReadFile { text, tag, damage: None },
        Err(error) => {
            let text = String::from_utf8_lossy(text_file::without_mark(&bytes)).into_owned();
            ReadFile { text, tag, damage: Some(format!("the file {error}")) }
        }
    })
}

/// The files of `rules.d` and `sources.d` beside the main file; none if one of the folders cannot be read.
#[must_use]
pub fn included(path: &Path) -> Vec<PathBuf> {
    load::included(path).unwrap_or_default()
}

/// What prevents that the file is replaced by this process; `None` if nothing does. Nothing is written to find out.
#[must_use]
pub fn obstacle(path: &Path) -> Option<Obstacle> {
    let shown = path.display();
    let found = fs::canonicalize(path).and_then(|target| Ok((fs::metadata(&target)?, target)));
    let (metadata, target) = match found {
        Ok(found) => found,
        Err(error) => {
            let what = format!("{shown} cannot be opened: {error}");
            return Some(Obstacle {
                what,
                remedy: "Make it readable for the user of the service.".to_owned(),
            });
        }
    };
    let folder = target.parent().unwrap_or(Path::new("/"));
    let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let user = rustix::process::geteuid().as_raw();
    let what = if user != 0 && metadata.uid() != user {
        format!("{shown} belongs to another user, and a file that the service saves would not")
    } else if !may_write(folder) {
        format!("the service may not write in {}", folder.display())
    } else if !may_write(&target) {
        format!("the service may not write {shown}")
    } else {
        return None;
    };
    let remedy = "Allow it as docs/console.md describes (for the package: edit.conf), or change the file on the machine.";
    Some(Obstacle { what, remedy: remedy.to_owned() })
}

/// Saves `text` as the file, if the file still has `expected` as tag. The content before is kept in `versions`. A link stays a link;
/// permissions, owner and group stay. Returns the new tag.
///
/// # Errors
/// The file has changed, or cannot be written.
pub fn save(
    path: &Path,
    versions: &Versions,
    text: &str,
    expected: &str,
    now: Timestamp,
) -> Result<String, SaveError> {
    let failed = |error| SaveError::Io { path: path.to_owned(), error };
    let target = fs::canonicalize(path).map_err(failed)?;
    let before = load::read_bytes(&target).map_err(|error| match error {
        TextFileError::Io(error) => failed(error),
        other => failed(io::Error::other(format!("the file {other}"))),
    })?;
    if tag(&before) != expected {
        return Err(SaveError::Changed);
    }
    if before == text.as_bytes() {
        return Ok(tag(&before));
    }
    versions
        .keep(&before, now)
        .map_err(|error| SaveError::Io { path: versions.folder().to_owned(), error })?;
    atomic_file::write_for_owner(&target, text).map_err(failed)?;
    Ok(tag(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_text_is_saved_only_over_the_text_that_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.yaml"), folder.path().join("stakeout.yaml"));
        fs::write(&real, "one").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.yaml", &link).unwrap();
        let versions = Versions::of(&folder.path().join("state"));
        let now = Timestamp::from_second(1).unwrap();
        let one = read(&link).unwrap();
        assert_eq!((&*one.text, &one.damage), ("one", &None));
        assert_eq!(one.tag, tag_now(&link));
        let two = save(&link, &versions, "two", &one.tag, now).unwrap();
        assert_eq!((tag_now(&link), fs::read_to_string(&real).unwrap()), (two.clone(), "two".to_owned()));
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(matches!(save(&link, &versions, "three", &one.tag, now), Err(SaveError::Changed)));
        assert_eq!(save(&link, &versions, "two", &two, now).unwrap(), two);
        let kept = versions.list().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(versions.read(&kept[0].id).unwrap().unwrap(), b"one");
        fs::remove_file(&real).unwrap();
        assert!(matches!(save(&link, &versions, "three", &two, now), Err(SaveError::Io { .. })));
        assert!(obstacle(&link).unwrap().what.contains("cannot be opened"));
    }

    #[test]
    fn without_a_place_for_the_version_before_nothing_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stakeout.yaml");
        fs::write(&file, "one").unwrap();
        // A file is where the folder would be.
        let versions = Versions::of(&file);
        let saved = save(&file, &versions, "two", &tag(b"one"), Timestamp::UNIX_EPOCH);
        assert!(matches!(saved, Err(SaveError::Io { .. })), "{saved:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    }

    #[test]
    fn a_file_that_is_no_text_is_shown_and_has_damage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stakeout.yaml");
        fs::write(&file, b"\xef\xbb\xbfa: \xff").unwrap();
        let found = read(&file).unwrap();
        assert_eq!(found.text, "a: \u{fffd}");
        assert!(found.damage.unwrap().contains("not UTF-8"));
        assert!(read(&folder.path().join("none")).is_err());
        assert_eq!(tag_now(&folder.path().join("none")), "");
    }
}
