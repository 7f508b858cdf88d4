//! Reads one open file, or says why not.
//!
//! A file of more than [`MAX_BYTES`] is never read, and a file that changes while it is read is not taken.

use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
};

use rustix::io::Errno;

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

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        match error {
            // It, or a folder above it, was exchanged for a link or a file.
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Self::Gone,
            error => io::Error::from(error).into(),
        }
    }
}

/// The bytes of a file, if it is `version` before and after reading, and its metadata.
pub(crate) fn read(file: &mut File, version: Version) -> Result<(Vec<u8>, Metadata), Unusable> {
    read_if(file, version, |_| Ok(()))
}

/// Like [`read`], for a picture: of another file only the first bytes are read.
pub(crate) fn read_picture(file: &mut File, version: Version) -> Result<(Vec<u8>, Metadata), Unusable> {
    read_if(file, version, picture::check_head)
}

fn read_if(
    file: &mut File,
    version: Version,
    is_wanted: impl FnOnce(&[u8]) -> Result<(), PictureError>,
) -> Result<(Vec<u8>, Metadata), Unusable> {
    unchanged(file, version)?;
    if version.size > MAX_BYTES {
        return Err(Unusable::TooManyBytes(version.size));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(picture::HEAD as u64).read_to_end(&mut bytes)?;
    is_wanted(&bytes)?;
    bytes.reserve_exact(usize::try_from(version.size).unwrap_or(0));
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok((bytes, unchanged(file, version)?))
}

/// A hash instead of one of all bytes, for a file that is too large to be read, and its metadata: of its size, its beginning and its
/// end.
pub(crate) fn fingerprint(file: &mut File, version: Version) -> Result<(u64, Metadata), Unusable> {
    const PART: u64 = 64 << 10;
    let metadata = unchanged(file, version)?;
    let mut bytes = version.size.to_be_bytes().to_vec();
    file.by_ref().take(PART).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(version.size.saturating_sub(PART)))?;
    file.take(PART).read_to_end(&mut bytes)?;
    Ok((picture::hash(&bytes), metadata))
}

fn unchanged(file: &File, version: Version) -> Result<Metadata, Unusable> {
    let metadata = file.metadata()?;
    let now = Version::of(&metadata);
    if now.looks_like(version) { Ok(metadata) } else { Err(Unusable::Changing(now)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::open(path).unwrap()
    }

    fn version(path: &std::path::Path) -> Version {
        Version::of(&fs::metadata(path).unwrap())
    }

    #[test]
    fn only_the_noticed_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let old = version(&path);
        assert_eq!(read(&mut open(&path), old).unwrap().0, b"old");

        fs::write(&path, "newer").unwrap();
        let newer = version(&path);
        assert!(matches!(read(&mut open(&path), old), Err(Unusable::Changing(now)) if now == newer));
    }

    #[test]
    fn of_another_file_only_the_first_bytes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // Reading 200 MB of zeros would take memory for them.
        let file = File::create(&path).unwrap();
        file.set_len(200 << 20).unwrap();
        let error = read_picture(&mut open(&path), version(&path)).unwrap_err();
        assert!(matches!(error, Unusable::Picture(PictureError::NotAPicture)), "{error}");
        fs::write(&path, "GIF89a and more").unwrap();
        assert_eq!(read_picture(&mut open(&path), version(&path)).unwrap().0, b"GIF89a and more");
    }

    #[test]
    fn a_huge_file_is_rejected_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&mut open(&path), version(&path)).unwrap_err();
        assert_eq!(error.cause(), Some(Cause::TooManyBytes));
        assert_eq!(error.to_string(), "268435457 bytes are more than the limit of 268435456");
    }
}
