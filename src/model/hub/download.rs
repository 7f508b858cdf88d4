//! Downloads one file into the cache. An interrupted download is resumed; the file gets its final name only after its hash
//! was checked.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    cache::{self, Repository},
    client::{self, Client, FilePath, Meta},
    error::HubError,
    event::Event,
    retry::{AttemptError, retrying},
};
use crate::model::digest::{self, HashKind};

/// Downloads a file of a repository unless the cache has it undamaged, and gives it its name in the snapshot of `commit`.
pub(super) fn fetch(
    client: &Client,
    repository: &Repository,
    commit: &str,
    file: &str,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    Fetched::get(client, repository, commit, file, report)?.link(repository)
}

/// A file whose content is in the cache, and that may have no name yet.
pub(super) struct Fetched {
    commit: String,
    file: String,
    hash: String,
    /// Where its content is.
    pub path: PathBuf,
}

impl Fetched {
    /// Downloads a file of a repository unless the cache has it undamaged.
    pub(super) fn get(
        client: &Client,
        repository: &Repository,
        commit: &str,
        file: &str,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, HubError> {
        let path = FilePath { id: &repository.id, revision: commit, file };
        let meta = retrying(report, |_| client.meta(path))?;
        let (blob, pointer) = (repository.blob(&meta.hash), repository.snapshot(commit).join(file));
        let fetched = |path| Self { commit: commit.into(), file: file.into(), hash: meta.hash.clone(), path };
        // On a file system without links, and if the hub's own tools are configured to make none, the file has no blob.
        let is_no_link = fs::symlink_metadata(&pointer).is_ok_and(|file| file.is_file());
        if is_no_link && is_whole(&pointer, &meta) {
            return Ok(fetched(pointer));
        }
        cache::make_parent(&blob)?;
        if !is_whole(&blob, &meta) {
            let _lock = lock(&repository.lock(&meta.hash), file, report)?;
            // While this process waited for the lock, another one may have downloaded the file.
            if !is_whole(&blob, &meta) {
                if is_no_link || blob.is_file() {
                    report(Event::Damaged { file });
                }
                Download { client, path, meta: &meta }.run(&blob, report)?;
            }
        }
        Ok(fetched(blob))
    }

    /// Gives the file its name in the snapshot.
    pub(super) fn link(&self, repository: &Repository) -> Result<(), HubError> {
        if self.path == repository.snapshot(&self.commit).join(&self.file) {
            return Ok(());
        }
        repository.link(&self.commit, &self.file, &self.hash)
    }
}

/// Whether a file is there with the content that the hub describes. Reading it takes a second for each gigabyte, and a disk may
/// have damaged it since it was downloaded.
fn is_whole(path: &Path, meta: &Meta) -> bool {
    let Ok(file) = fs::metadata(path) else { return false };
    if !file.is_file() || meta.size.is_some_and(|size| size != file.len()) {
        return false;
    }
    let hash = |kind| digest::of_file(path, kind);
    HashKind::of(&meta.hash).is_none_or(|kind| hash(kind).is_ok_and(|found| found == meta.hash))
}

/// Keeps other processes away until it is dropped, including Hugging Face's own tools.
fn lock(path: &Path, file: &str, report: &mut dyn FnMut(Event<'_>)) -> Result<File, HubError> {
    cache::make_parent(path)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(HubError::writing(path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            report(Event::OtherProcess { file });
            lock.lock().map_err(HubError::writing(path))?;
        }
        Err(TryLockError::Error(error)) => return Err(HubError::writing(path)(error)),
    }
    Ok(lock)
}

struct Download<'a> {
    client: &'a Client,
    path: FilePath<'a>,
    meta: &'a Meta,
}

impl Download<'_> {
    fn run(&self, blob: &Path, report: &mut dyn FnMut(Event<'_>)) -> Result<(), HubError> {
        let incomplete = blob.with_file_name(format!("{}.incomplete", self.meta.hash));
        let writing = || HubError::writing(&incomplete);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&incomplete)
            .map_err(writing())?;
        let resumed = file.metadata().map_err(writing())?.len() > 0;
        self.fill(&mut file, &incomplete, report)?;
        let mut checked = self.check(&incomplete);
        if resumed && matches!(checked, Err(HubError::Damaged { .. })) {
            // The bytes of the earlier download may be damaged.
            file.set_len(0).map_err(writing())?;
            self.fill(&mut file, &incomplete, report)?;
            checked = self.check(&incomplete);
        }
        if let Err(error) = checked {
            // A resumed download would keep the damage.
            let _ = fs::remove_file(&incomplete);
            return Err(error);
        }
        file.sync_all().and_then(|()| fs::rename(&incomplete, blob)).map_err(writing())?;
        report(Event::Ends { file: self.path.file });
        Ok(())
    }

    fn fill(&self, file: &mut File, path: &Path, report: &mut dyn FnMut(Event<'_>)) -> Result<(), HubError> {
        let have = file.metadata().map_err(HubError::writing(path))?.len();
        report(Event::Begins { file: self.path.file, have, size: self.meta.size });
        let mut furthest = have;
        retrying(report, |report| self.attempt(file, path, &mut furthest, report))
    }

    /// Fetches the missing bytes in one request.
    fn attempt(
        &self,
        file: &mut File,
        path: &Path,
        furthest: &mut u64,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), AttemptError> {
        let writing = || HubError::writing(path);
        let length = file.metadata().map_err(writing())?.len();
        let Some(wanted) = missing_from(length, self.meta.size) else { return Ok(()) };
        let mut part = self.client.open(self.path, wanted)?;
        let mut have = write_from(wanted, part.offset);
        if length > have {
            file.set_len(have).map_err(writing())?;
        }
        file.seek(SeekFrom::Start(have)).map_err(writing())?;
        let mut buffer = vec![0; 1 << 17];
        let broken = loop {
            match part.reader.read(&mut buffer) {
                Ok(0) => break None,
                Ok(read) => file.write_all(&buffer[..read]).map_err(writing())?,
                Err(error) => break Some(client::reading(&error)),
            }
            have = file.stream_position().map_err(writing())?;
            report(Event::At(have));
        };
        let gained = have > *furthest;
        *furthest = have.max(*furthest);
        match broken.or_else(|| ends_early(have, self.meta.size)) {
            None => Ok(()),
            Some(reason) => {
                let error = self.client.unreachable(self.client.host(), reason);
                Err(AttemptError::Passing { error, wait: None, gained })
            }
        }
    }

    /// Checks the bytes on the disk, not those that were received: a disk can fail, too.
    fn check(&self, path: &Path) -> Result<(), HubError> {
        let expected = &self.meta.hash;
        let Some(kind) = HashKind::of(expected) else { return Ok(()) };
        let found = digest::of_file(path, kind).map_err(HubError::reading(path))?;
        if found == *expected {
            return Ok(());
        }
        Err(HubError::Damaged {
            id: self.path.id.to_owned(),
            file: self.path.file.to_owned(),
            expected: expected.clone(),
            found,
        })
    }
}

/// The first byte to ask for, if a file of `size` bytes has `length` bytes on the disk; `None` if it is complete.
fn missing_from(length: u64, size: Option<u64>) -> Option<u64> {
    match size {
        Some(size) if length == size => None,
        // More bytes than the file has cannot be a part of it.
        Some(size) if length > size => Some(0),
        _ => Some(length),
    }
}

/// Where the answer is written, which starts at byte `offset` of the file: a server without support for parts sends the
/// whole file.
fn write_from(wanted: u64, offset: u64) -> u64 {
    // A gap before the answer cannot be filled; the hash of the file will be wrong then.
    if offset <= wanted { offset } else { 0 }
}

/// Why an answer that ended after `have` bytes of the file is no success.
fn ends_early(have: u64, size: Option<u64>) -> Option<String> {
    size.is_some_and(|size| have < size).then(|| "it broke off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_if_it_has_the_hubs_size_and_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        let meta = |hash: &str, size| Meta { hash: hash.to_owned(), size };
        let hello = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert!(!is_whole(&path, &meta(hello, Some(6))), "it does not exist");
        fs::write(&path, "hello\n").unwrap();
        assert!(is_whole(&path, &meta(hello, Some(6))) && is_whole(&path, &meta(hello, None)));
        assert!(!is_whole(&path, &meta(hello, Some(7))));
        assert!(is_whole(&path, &meta("no-hash", Some(6))), "another server's ETag says nothing");
        fs::write(&path, "hullo\n").unwrap();
        assert!(!is_whole(&path, &meta(hello, Some(6))));
        assert!(!is_whole(folder.path(), &meta("no-hash", None)), "a folder");
    }

    #[test]
    fn a_download_resumes_after_the_bytes_on_the_disk() {
        for (length, size, expected) in [
            (0, Some(10), Some(0)),
            (4, Some(10), Some(4)),
            (10, Some(10), None),
            (11, Some(10), Some(0)),
            (0, Some(0), None),
            (0, None, Some(0)),
            (4, None, Some(4)),
        ] {
            assert_eq!(missing_from(length, size), expected, "{length} of {size:?}");
        }
    }

    #[test]
    fn the_answer_is_written_where_it_belongs() {
        for (wanted, offset, expected) in [(4, 4, 4), (4, 0, 0), (4, 2, 2), (0, 0, 0), (4, 5, 0)] {
            assert_eq!(write_from(wanted, offset), expected, "{wanted}, {offset}");
        }
        assert_eq!(ends_early(9, Some(10)), Some("it broke off".to_owned()));
        assert_eq!((ends_early(10, Some(10)), ends_early(9, None)), (None, None));
    }
}
