//! Reads text files that people write: with a limit, as UTF-8, and without a byte order mark.
//!
//! Every text file is read here, so that all of them accept and reject the same. Errors never contain the text.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::shortage::Shortage;

/// The mark that some editors put before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text file cannot be used. Each message continues "the file ...".
#[derive(Debug, thiserror::Error)]
pub enum TextFileError {
    /// It does not exist, or cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is longer than the limit.
    #[error("is longer than {} KB", .limit / 1024)]
    TooLong {
        /// In bytes.
        limit: u64,
    },
    /// It has another encoding.
    #[error("is {0}, not UTF-8")]
    Encoding(&'static str),
    /// It has bytes that are no text.
    #[error("is not UTF-8, starting at line {line} (byte {offset})")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
        /// The place of the first wrong byte, from 0.
        offset: usize,
    },
}

impl TextFileError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io(_) => "make it readable for this user",
            Self::TooLong { .. } => "name another file",
            Self::Encoding(_) | Self::NotUtf8 { .. } => "save it as UTF-8",
        }
    }

    /// Why the file cannot be opened for now; `None` if it cannot be used as it is.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::Io(error) => Shortage::of_io(error),
            _ => None,
        }
    }

    /// The whole sentence about the file at `path`.
    #[must_use]
    pub fn about(&self, path: &Path) -> String {
        match self {
            // The system's own words say enough.
            Self::Io(_) => format!("{} {self}", path.display()),
            _ => format!("{} {self}: {}", path.display(), self.remedy()),
        }
    }
}

/// The text of a file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, is too long, or is not UTF-8.
pub fn read(path: &Path, limit: u64) -> Result<String, TextFileError> {
    text(read_bytes(path, limit)?)
}

/// The content of a file of at most `limit` bytes, as it is.
///
/// # Errors
/// The file cannot be read, or is too long.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, TextFileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(TextFileError::TooLong { limit }) } else { Ok(bytes) }
}

/// The content of a file of at most `limit` bytes without a byte order mark, for files whose important part is ASCII, such as PEM.
///
/// # Errors
/// The file cannot be read, is too long, or has code units of two or four bytes.
pub fn read_ascii(path: &Path, limit: u64) -> Result<Vec<u8>, TextFileError> {
    Ok(ascii(&read_bytes(path, limit)?)?.to_vec())
}

/// These bytes without a byte order mark, for a reader that knows UTF-8 and names other mistakes itself, such as one of JSON.
///
/// # Errors
/// The bytes have code units of two or four bytes.
pub fn ascii(bytes: &[u8]) -> Result<&[u8], TextFileError> {
    match other_encoding(bytes) {
        Some(encoding) => Err(TextFileError::Encoding(encoding)),
        None => Ok(without_mark(bytes)),
    }
}

/// The text of these bytes, without a byte order mark.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn text(mut bytes: Vec<u8>) -> Result<String, TextFileError> {
    let mark = bytes.len() - ascii(&bytes)?.len();
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        TextFileError::NotUtf8 { line, offset: mark + valid }
    })
}

/// The bytes after the byte order mark of UTF-8, if there is one.
#[must_use]
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// The name of an encoding with code units of two or four bytes: by its mark, or by the zero bytes that it has in every Latin
/// letter.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [a, 0, b, 0, ..] | [0, a, 0, b, ..] if *a > 0 && *b > 0 => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, bytes).unwrap();
        read(&file, 100).map_err(|error| error.to_string())
    }

    #[test]
    fn the_text_has_no_mark() {
        let mark = "\u{feff}";
        for (text, expected) in [
            ("cat\n", "cat\n"),
            ("", ""),
            (mark, ""),
            ("\u{feff}# a\r\ncat", "# a\r\ncat"),
            ("a\u{feff}", "a\u{feff}"),
            ("猫", "猫"),
            ("a\0", "a\0"),
        ] {
            assert_eq!(read_as(text.as_bytes()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn other_encodings_and_damage_are_named_with_their_place() {
        let utf16 = |text: &str, mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            [mark, &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat()
        };
        let cases = [
            (utf16("cat", &[0xff, 0xfe], u16::to_le_bytes), "is UTF-16, not UTF-8"),
            (utf16("猫", &[0xfe, 0xff], u16::to_be_bytes), "is UTF-16, not UTF-8"),
            (utf16("cat", &[], u16::to_le_bytes), "is UTF-16, not UTF-8"),
            (utf16("cat", &[], u16::to_be_bytes), "is UTF-16, not UTF-8"),
            (vec![0xff, 0xfe, 0, 0, b'c', 0, 0, 0], "is UTF-32, not UTF-8"),
            (b"a\nb\nGr\xfcn".to_vec(), "is not UTF-8, starting at line 3 (byte 6)"),
            (b"\xef\xbb\xbfGr\xfcn".to_vec(), "is not UTF-8, starting at line 1 (byte 5)"),
            (vec![b'a'; 101], "is longer than 0 KB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_as(&bytes), Err(expected.to_owned()));
        }
        let path = Path::new("/nowhere/a.txt");
        let missing = read(path, 1).unwrap_err().about(path);
        assert!(missing.starts_with("/nowhere/a.txt cannot be read: No such file"), "{missing}");
        let wrong = text(vec![0xff]).unwrap_err().about(path);
        assert_eq!(wrong, "/nowhere/a.txt is not UTF-8, starting at line 1 (byte 0): save it as UTF-8");
    }
}
