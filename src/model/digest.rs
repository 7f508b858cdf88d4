//! Computes the hashes that the hub names contents by: sha256 of large files, git's own sha1 of small ones. The name of a file
//! in the hub's cache is the hash of its content, so a damaged file can be found without the network.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::cache::hex;

/// How a hash is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashKind {
    Sha256,
    /// Of `blob SIZE`, a zero byte and the content.
    GitBlob,
}

impl HashKind {
    /// The kind of a hash by its length; `None` for another server's `ETag`, which says nothing about the content.
    pub fn of(hash: &str) -> Option<Self> {
        match hash.len() {
            _ if !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
            64 => Some(Self::Sha256),
            40 => Some(Self::GitBlob),
            _ => None,
        }
    }
}

/// The result of comparing a file of the cache with the hub's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The hashes are equal.
    Whole,
    /// The hashes differ.
    Damaged,
    /// The file does not exist.
    Missing,
    /// The hub gave no hash of the content.
    Unchecked,
}

/// Compares a file of the hub's cache with its hash, which is the name of the file that the link `path` points to.
///
/// # Errors
/// The file cannot be read.
pub(super) fn verdict(path: &Path) -> io::Result<Verdict> {
    let Ok(blob) = fs::canonicalize(path) else { return Ok(Verdict::Missing) };
    let hash = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(match HashKind::of(hash) {
        None => Verdict::Unchecked,
        Some(kind) if of_file(&blob, kind)? == hash => Verdict::Whole,
        Some(_) => Verdict::Damaged,
    })
}

/// The hash of a file on the disk.
pub(super) fn of_file(path: &Path, kind: HashKind) -> io::Result<String> {
    let file = File::open(path)?;
    match kind {
        HashKind::Sha256 => through(file, Sha256::new()),
        HashKind::GitBlob => {
            let mut hash = Sha1::new();
            hash.update(format!("blob {}\0", file.metadata()?.len()));
            through(file, hash)
        }
    }
}

/// The hash of bytes in memory.
pub(super) fn of_bytes(bytes: &[u8], kind: HashKind) -> String {
    match kind {
        HashKind::Sha256 => hex(&Sha256::digest(bytes)),
        HashKind::GitBlob => {
            let mut hash = Sha1::new();
            hash.update(format!("blob {}\0", bytes.len()));
            hash.update(bytes);
            hex(&hash.finalize())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        fs::write(&path, "hello\n").unwrap();
        let found = |kind| of_file(&path, kind).unwrap();
        assert_eq!(found(HashKind::GitBlob), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(
            found(HashKind::Sha256),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        for kind in [HashKind::GitBlob, HashKind::Sha256] {
            assert_eq!(of_bytes(b"hello\n", kind), found(kind));
        }
        let blob = folder.path().join(found(HashKind::GitBlob));
        assert_eq!(verdict(&path).unwrap(), Verdict::Unchecked, "its name is no hash");
        assert_eq!(verdict(&blob).unwrap(), Verdict::Missing);
        fs::rename(&path, &blob).unwrap();
        std::os::unix::fs::symlink(&blob, &path).unwrap();
        assert_eq!(verdict(&path).unwrap(), Verdict::Whole);
        fs::write(&blob, "hullo\n").unwrap();
        assert_eq!(verdict(&path).unwrap(), Verdict::Damaged);
        assert_eq!(HashKind::of(&"a".repeat(40)), Some(HashKind::GitBlob));
        assert_eq!((HashKind::of("abc"), HashKind::of(&"x".repeat(64))), (None, None));
    }
}
