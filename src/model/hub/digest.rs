//! The hashes by which the hub names contents: sha256 of large files, git's own sha1 of small ones.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What a hash is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sha256,
    /// Of `blob SIZE`, a zero byte and the content.
    GitBlob,
}

impl Kind {
    /// By the look of a hash; `None` is some other server's idea of an `ETag`, which says nothing of the content.
    pub fn of(hash: &str) -> Option<Self> {
        match hash.len() {
            _ if !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
            64 => Some(Self::Sha256),
            40 => Some(Self::GitBlob),
            _ => None,
        }
    }
}

/// The hash of a file as it is on the disk.
pub(crate) fn of_file(path: &Path, kind: Kind) -> io::Result<String> {
    let file = File::open(path)?;
    match kind {
        Kind::Sha256 => through(file, Sha256::new()),
        Kind::GitBlob => {
            let mut hash = Sha1::new();
            hash.update(format!("blob {}\0", file.metadata()?.len()));
            through(file, hash)
        }
    }
}

fn through(mut file: File, mut hash: impl sha2::Digest) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        let found = |kind| of_file(&path, kind).unwrap();
        assert_eq!(found(Kind::GitBlob), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(found(Kind::Sha256), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(Kind::of(&"a".repeat(40)), Some(Kind::GitBlob));
        assert_eq!((Kind::of("abc"), Kind::of(&"x".repeat(64))), (None, None));
    }
}
