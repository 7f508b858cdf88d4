//! Reads one file, or says why not.
//!
//! Anything but a regular file is never opened, a file of more than [`MAX_BYTES`] is never read, and a file that changes
//! while it is read is not taken.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::SystemTime,
};

use super::seen::Version;
use crate::{
    picture::{self, MAX_BYTES, PictureError},
    shortage::Shortage,
    source::{cause::Cause, decoders::NotDecoded, kinds::stream::error::StreamError},
};

/// Why a file did not become a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// The file was removed, or is not a regular file: nothing to report.
    #[error("gone")]
    Gone,
    /// The file is not the version that was noticed, or changed while it was read.
    #[error("still changing")]
    Changing(Version),
    /// No file can be opened for now, which says nothing about this one.
    #[error("{0}")]
    NotNow(Shortage),
    /// The file could not be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// The file has more than [`MAX_BYTES`].
    #[error("{0} bytes are more than the limit of {MAX_BYTES}")]
    TooManyBytes(u64),
    /// The file is no usable picture.
    #[error("{0}")]
    Picture(#[from] PictureError),
    /// The service ended unexpectedly while it decoded the file.
    #[error("{}", NotDecoded::Crashed)]
    Crashed,
    /// The file is a damaged clip.
    #[error("{0}")]
    Clip(String),
}

impl Unusable {
    /// The cause to count it by; `None` if there is nothing to report (yet).
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Gone | Self::Changing(_) | Self::NotNow(_) => None,
            Self::Unreadable(_) => Some(Cause::Unreadable),
            Self::TooManyBytes(_) => Some(Cause::TooManyBytes),
            Self::Picture(error) => Some(error.into()),
            Self::Crashed => Some(Cause::Crashed),
            Self::Clip(_) => Some(Cause::Corrupt),
        }
    }

    /// What to do about it, if that is known.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(error) if error.kind() == ErrorKind::PermissionDenied => {
                Some("let the user that runs stakeout read the file, for example with `chmod o+r`")
            }
            _ => None,
        }
    }
}

impl From<NotDecoded> for Unusable {
    fn from(error: NotDecoded) -> Self {
        match error {
            NotDecoded::Picture(error) => Self::Picture(error),
            NotDecoded::Crashed => Self::Crashed,
            // The file is taken at the next start.
            NotDecoded::Stopped => Self::Gone,
        }
    }
}

impl From<StreamError> for Unusable {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::NotNow { shortage, .. } => Self::NotNow(shortage),
            StreamError::NotConverted { cause, .. } => Self::Picture(cause),
            error => Self::Clip(error.to_string()),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match Shortage::of_io(&error) {
            Some(shortage) => Self::NotNow(shortage),
            None if error.kind() == ErrorKind::NotFound => Self::Gone,
            None => Self::Unreadable(error),
        }
    }
}

/// The bytes of the file at `path`, if it is `version` before and after reading, and when the file was created, if its
/// file system records that.
pub(crate) fn read(path: &Path, version: Version) -> Result<(Vec<u8>, Option<SystemTime>), Unusable> {
    read_if(path, version, |_| Ok(()))
}

/// Like [`read`], for a picture: of another file only the first bytes are read.
pub(crate) fn read_picture(path: &Path, version: Version) -> Result<(Vec<u8>, Option<SystemTime>), Unusable> {
    read_if(path, version, picture::check_head)
}

fn read_if(
    path: &Path,
    version: Version,
    is_wanted: impl FnOnce(&[u8]) -> Result<(), PictureError>,
) -> Result<(Vec<u8>, Option<SystemTime>), Unusable> {
    // Before opening it, because opening a pipe or a device may have an effect.
    regular(&std::fs::metadata(path)?)?;
    // Without blocking, in case it was replaced by a pipe.
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    unchanged(&file, version)?;
    if version.size > MAX_BYTES {
        return Err(Unusable::TooManyBytes(version.size));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(picture::HEAD as u64).read_to_end(&mut bytes)?;
    is_wanted(&bytes)?;
    bytes.reserve_exact(usize::try_from(version.size).unwrap_or(0));
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok((bytes, unchanged(&file, version)?.created().ok()))
}

/// A hash instead of one of all bytes, for a file that is too large to be read, and when the file was created: of its size, its
/// beginning and its end.
pub(crate) fn fingerprint(path: &Path, version: Version) -> Result<(u64, Option<SystemTime>), Unusable> {
    const PART: u64 = 64 << 10;
    regular(&std::fs::metadata(path)?)?;
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = unchanged(&file, version)?;
    let mut bytes = version.size.to_be_bytes().to_vec();
    file.by_ref().take(PART).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(version.size.saturating_sub(PART)))?;
    file.take(PART).read_to_end(&mut bytes)?;
    Ok((picture::hash(&bytes), metadata.created().ok()))
}

fn regular(metadata: &Metadata) -> Result<(), Unusable> {
    if metadata.is_file() { Ok(()) } else { Err(Unusable::Gone) }
}

fn unchanged(file: &File, version: Version) -> Result<Metadata, Unusable> {
    let metadata = file.metadata()?;
    regular(&metadata)?;
    let now = Version::of(&metadata);
    if now.looks_like(version) { Ok(metadata) } else { Err(Unusable::Changing(now)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_noticed_version_of_a_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let version = Version::of(&fs::metadata(&path).unwrap());
        assert_eq!(read(&path, version).unwrap().0, b"old");

        fs::write(&path, "newer").unwrap();
        let newer = Version::of(&fs::metadata(&path).unwrap());
        assert!(matches!(read(&path, version), Err(Unusable::Changing(now)) if now == newer));
        assert!(matches!(read(folder.path(), version), Err(Unusable::Gone)), "a folder");
        assert!(matches!(read(Path::new("/dev/null"), version), Err(Unusable::Gone)), "a device");
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path, version), Err(Unusable::Gone)));
    }

    #[test]
    fn of_another_file_only_the_first_bytes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // Reading 200 MB of zeros would take memory for them.
        let file = File::create(&path).unwrap();
        file.set_len(200 << 20).unwrap();
        let version = Version::of(&fs::metadata(&path).unwrap());
        let error = read_picture(&path, version).unwrap_err();
        assert!(matches!(error, Unusable::Picture(PictureError::NotAPicture)), "{error}");
        fs::write(&path, "GIF89a and more").unwrap();
        let version = Version::of(&fs::metadata(&path).unwrap());
        assert_eq!(read_picture(&path, version).unwrap().0, b"GIF89a and more");
    }

    #[test]
    fn a_huge_file_is_rejected_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path, Version::of(&fs::metadata(&path).unwrap())).unwrap_err();
        assert_eq!(error.cause(), Some(Cause::TooManyBytes));
        assert_eq!(error.to_string(), "268435457 bytes are more than the limit of 268435456");
    }
}
