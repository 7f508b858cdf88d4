//! Downloads one file into the cache. An interrupted download is resumed; the file gets its final name only after its hash
//! was checked. No more bytes are written than the hub announced.

use std::{
    cmp::Ordering,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    cache::{self, Repository},
    choice,
    client::{self, Client, FilePath},
    content::Content,
    error::HubError,
    event::Event,
    listing::Listing,
    retry::{AttemptError, retrying},
};
use crate::{model::digest, shortage::Shortage};

/// Downloads a file of a repository unless the cache has it undamaged, and gives it its name in the snapshot of the listed
/// commit.
pub(super) fn fetch(
    client: &Client,
    repository: &Repository,
    listing: &Listing,
    file: &str,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    Fetched::get(client, repository, listing, file, report)?.link(repository)
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
        listing: &Listing,
        file: &str,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, HubError> {
        let commit = &*listing.commit;
        let path = FilePath { id: &repository.id, revision: commit, file };
        let meta = retrying(report, |_| client.content(path, listing.contents.get(file)))?;
        if let Some(most) = choice::most_bytes(file) {
            HubError::check_size(&repository.id, file, meta.size, most)?;
        }
        let (blob, pointer) = (repository.blob(&meta.hash), repository.snapshot(commit).join(file));
        let fetched = |path| Self { commit: commit.into(), file: file.into(), hash: meta.hash.clone(), path };
        // On a file system without links, and if the hub's own tools are configured to make none, the file has no blob.
        let is_no_link = fs::symlink_metadata(&pointer).is_ok_and(|file| file.is_file());
        if is_no_link && is_whole(&pointer, &meta)? {
            return Ok(fetched(pointer));
        }
        cache::make_parent(&blob)?;
        if !is_whole(&blob, &meta)? {
            let _lock = lock(&repository.lock(&meta.hash), file, report)?;
            // While this process waited for the lock, another one may have downloaded the file.
            if !is_whole(&blob, &meta)? {
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
///
/// # Errors
/// The file cannot be opened for now, which says nothing about it.
fn is_whole(path: &Path, meta: &Content) -> Result<bool, HubError> {
    let read = || -> io::Result<bool> {
        let file = fs::metadata(path)?;
        Ok(file.is_file() && file.len() == meta.size && digest::of_file(path, meta.kind)? == meta.hash)
    };
    match read() {
        Err(error) if Shortage::of_io(&error).is_some() => Err(HubError::reading(path)(error)),
        read => Ok(read.unwrap_or(false)),
    }
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
    meta: &'a Content,
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
        report(Event::Begins { file: self.path.file, have, size: Some(self.meta.size) });
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
                Ok(read) if read as u64 > self.meta.size.saturating_sub(have) => {
                    // Nothing of such an answer can be trusted.
                    file.set_len(0).map_err(writing())?;
                    return Err(self.too_long().into());
                }
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

    fn too_long(&self) -> HubError {
        let (file, id, size) = (self.path.file, self.path.id, self.meta.size);
        self.client
            .nonsense(&format!("it sends more of {file} of {id} than the {size} bytes that it announced"))
    }

    /// Checks the bytes on the disk, not those that were received: a disk can fail, too.
    fn check(&self, path: &Path) -> Result<(), HubError> {
        let expected = &self.meta.hash;
        let found = digest::of_file(path, self.meta.kind).map_err(HubError::reading(path))?;
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
fn missing_from(length: u64, size: u64) -> Option<u64> {
    match length.cmp(&size) {
        Ordering::Less => Some(length),
        Ordering::Equal => None,
        // More bytes than the file has cannot be a part of it.
        Ordering::Greater => Some(0),
    }
}

/// Where the answer is written, which starts at byte `offset` of the file: a server without support for parts sends the
/// whole file.
fn write_from(wanted: u64, offset: u64) -> u64 {
    // A gap before the answer cannot be filled; the hash of the file will be wrong then.
    if offset <= wanted { offset } else { 0 }
}

/// Why an answer that ended after `have` bytes of the file is no success.
fn ends_early(have: u64, size: u64) -> Option<String> {
    (have < size).then(|| "it broke off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_if_it_has_the_hubs_size_and_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        let whole = |path: &Path, size| {
            let hello = Content::new("ce013625030ba8dba906f756967f9e9ca394464a", size).unwrap();
            is_whole(path, &hello).unwrap()
        };
        assert!(!whole(&path, 6), "it does not exist");
        fs::write(&path, "hello\n").unwrap();
        assert!(whole(&path, 6) && !whole(&path, 7));
        fs::write(&path, "hullo\n").unwrap();
        assert!(!whole(&path, 6) && !whole(folder.path(), 6), "other bytes, and a folder");
    }

    #[test]
    fn a_download_resumes_after_the_bytes_on_the_disk() {
        for (length, size, expected) in
            [(0, 10, Some(0)), (4, 10, Some(4)), (10, 10, None), (11, 10, Some(0)), (0, 0, None)]
        {
            assert_eq!(missing_from(length, size), expected, "{length} of {size}");
        }
    }

    #[test]
    fn the_answer_is_written_where_it_belongs() {
        for (wanted, offset, expected) in [(4, 4, 4), (4, 0, 0), (4, 2, 2), (0, 0, 0), (4, 5, 0)] {
            assert_eq!(write_from(wanted, offset), expected, "{wanted}, {offset}");
        }
        assert_eq!((ends_early(9, 10), ends_early(10, 10)), (Some("it broke off".to_owned()), None));
    }
}
