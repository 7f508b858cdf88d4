//! Reads one file and decodes it, or says why not.
//!
//! It refuses to follow what the file is not: anything but a regular file is never opened, a file of more than
//! [`MAX_BYTES`] is never read, and one that changes while it is read is not taken. A decoder that panics on a hostile
//! file fails that file only.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::SystemTime,
};

use super::seen::Version;
use crate::{picture::PictureError, source::Cause};

/// Files of more bytes are refused unread.
const MAX_BYTES: u64 = 256 << 20;

/// Why a file did not become a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is gone, or no regular file: nothing to report.
    #[error("gone")]
    Gone,
    /// It is not the version that was noticed, or changed while it was read.
    #[error("still changing")]
    Changing(Version),
    /// It could not be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It has more than [`MAX_BYTES`].
    #[error("{0} bytes are more than the {MAX_BYTES} that are read")]
    TooManyBytes(u64),
    /// It is no usable picture.
    #[error("{0}")]
    Picture(#[from] PictureError),
}

impl Unusable {
    /// The cause to count it by; `None` if there is nothing to report (yet).
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Gone | Self::Changing(_) => None,
            Self::Unreadable(_) => Some(Cause::Unreadable),
            Self::TooManyBytes(_) => Some(Cause::TooManyBytes),
            Self::Picture(error) => Some(error.into()),
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(error) if error.kind() == ErrorKind::PermissionDenied => {
                Some("let the user that runs stakeout read the file, for example with `chmod o+r`")
            }
            _ => None,
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound { Self::Gone } else { Self::Unreadable(error) }
    }
}

/// The bytes of the file at `path`, if it is `version` before and after, and when the file was made, where that is known.
pub(crate) fn read(path: &Path, version: Version) -> Result<(Vec<u8>, Option<SystemTime>), Unusable> {
    // Before it is opened, because opening a pipe or a device may do something.
    regular(&std::fs::metadata(path)?)?;
    // Without blocking, in case it became a pipe in between.
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    unchanged(&file, version)?;
    if version.size > MAX_BYTES {
        return Err(Unusable::TooManyBytes(version.size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(version.size).unwrap_or(0));
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok((bytes, unchanged(&file, version)?.created().ok()))
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
    fn a_huge_file_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path, Version::of(&fs::metadata(&path).unwrap())).unwrap_err();
        assert_eq!(error.cause(), Some(Cause::TooManyBytes));
        assert_eq!(error.to_string(), "268435457 bytes are more than the 268435456 that are read");
    }
}
