//! Which files are pictures, and how a picture is read. Watched folders, `replay`, `tune`, `classify`, cameras and web addresses
//! use the same rules.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{Format, HEAD, PictureError, captured_at, is_picture};

/// The most bytes of a picture in a file or at a web address.
pub const MAX_BYTES: u64 = 256 << 20;

/// The extensions of picture files.
const EXTENSIONS: [&str; 23] = [
    "apng", "avif", "avifs", "bmp", "dib", "gif", "heic", "heif", "hif", "j2c", "j2k", "jfif", "jp2", "jpc",
    "jpe", "jpeg", "jpf", "jpg", "jpx", "png", "tif", "tiff", "webp",
];

/// Why the bytes of a picture were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The first bytes are not those of a picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// There are more bytes than the limit.
    #[error("it has more bytes than the limit of {0}")]
    TooManyBytes(u64),
    /// The bytes cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Whether a file in a folder is to be read as a picture: its name ends like that of one, so that a damaged one is reported, or
/// its first bytes are those of one. Other files are not pictures.
#[must_use]
pub fn is_picture_file(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
        || head(path).is_ok_and(|head| is_picture(&head))
}

/// The first bytes of a file, as many as [`is_picture`] needs.
///
/// # Errors
/// The file cannot be read.
pub fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Checks the first bytes of a file.
///
/// # Errors
/// They are not those of a picture, or there are none.
pub fn check_head(head: &[u8]) -> Result<(), PictureError> {
    Format::of(head).map(drop)
}

/// Reads a picture of at most `most` bytes: the first bytes, and the rest only if those are of a picture.
///
/// # Errors
/// The bytes are not those of a picture, too many, or cannot be read.
pub fn read(reader: &mut impl Read, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    reader.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    check_head(&bytes)?;
    reader.by_ref().take((most + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooManyBytes(most));
    }
    Ok(bytes)
}

/// [`read`] of the file at `path`, with [`MAX_BYTES`].
///
/// # Errors
/// As [`read`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    read(&mut File::open(path)?, MAX_BYTES)
}

/// When the picture in a file was captured, as [`captured_at`]; `None` also if the file cannot be read.
#[must_use]
pub fn captured_at_of_file(path: &Path, zone: &TimeZone) -> Option<Timestamp> {
    // A JPEG has its EXIF block first. Other formats may have it at the end.
    const FIRST: u64 = 128 << 10;
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.by_ref().take(FIRST).read_to_end(&mut bytes).ok()?;
    match Format::of(&bytes).ok()? {
        Format::Jpeg => {}
        _ => drop(file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?),
    }
    captured_at(&bytes, zone)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A reader that counts how many bytes were taken from it.
    struct Counted<'b>(&'b [u8], usize);

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 += read;
            Ok(read)
        }
    }

    #[test]
    fn only_the_head_of_another_file_is_read() {
        let video = [&b"\0\0\0\x18ftypisom"[..], &[7; 100_000]].concat();
        let mut reader = Counted(&video, 0);
        assert!(matches!(read(&mut reader, MAX_BYTES), Err(ReadError::Picture(PictureError::NotAPicture))));
        assert!(reader.1 <= HEAD, "{} bytes", reader.1);

        let picture = [&b"GIF89a"[..], &[7; 100]].concat();
        assert_eq!(read(&mut &picture[..], 106).unwrap(), picture);
        assert!(matches!(read(&mut &picture[..], 105), Err(ReadError::TooManyBytes(105))));
        assert!(matches!(read(&mut &b""[..], 9), Err(ReadError::Picture(PictureError::Empty))));
    }

    #[test]
    fn a_file_is_a_picture_by_its_name_or_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            ("damaged.JPG", &b"no picture"[..], true),
            ("new.heic", b"", true),
            ("no extension", b"\xFF\xD8\xFF\xE0", true),
            ("wrong.txt", b"\x89PNG\r\n\x1A\n", true),
            ("notes.txt", b"no picture", false),
            ("clip.mp4", b"\0\0\0\x18ftypisom", false),
            ("Thumbs.db", b"", false),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            assert_eq!(is_picture_file(&path), expected, "{name}");
        }
        assert!(!is_picture_file(&folder.path().join("missing")));
    }
}
