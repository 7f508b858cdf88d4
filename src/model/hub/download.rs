//! Brings one file into the cache: resumed where it broke off, checked against the hub's hash, and under its final name
//! only when it is whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::{
    Event, HubError,
    cache::{self, Repository},
    client::{self, Client, Meta, Place},
    digest::{self, Kind},
    retry::{Trouble, patiently},
};

/// Fetches a file of a repository unless the cache has it, and gives it its name in the snapshot of `commit`.
pub(crate) fn fetch(
    client: &Client,
    repository: &Repository,
    commit: &str,
    file: &str,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let place = Place { id: &repository.id, revision: commit, file };
    let meta = patiently(tell, |_| client.meta(place))?;
    let blob = repository.blob(&meta.hash);
    cache::make_parent(&blob)?;
    if !blob.is_file() {
        let _lock = lock(&repository.lock(&meta.hash), file, tell)?;
        // While this process waited for the lock, another one may have brought it.
        if !blob.is_file() {
            Job { client, place, meta: &meta }.bring(&blob, tell)?;
        }
    }
    repository.link(commit, file, &meta.hash)
}

/// Holds others off until it is dropped, those of Hugging Face's own tools too.
fn lock(path: &Path, file: &str, tell: &mut dyn FnMut(Event<'_>)) -> Result<File, HubError> {
    cache::make_parent(path)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(HubError::writing(path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            tell(Event::OtherProcess { file });
            lock.lock().map_err(HubError::writing(path))?;
        }
        Err(TryLockError::Error(error)) => return Err(HubError::writing(path)(error)),
    }
    Ok(lock)
}

struct Job<'a> {
    client: &'a Client,
    place: Place<'a>,
    meta: &'a Meta,
}

impl Job<'_> {
    fn bring(&self, blob: &Path, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), HubError> {
        let incomplete = blob.with_file_name(format!("{}.incomplete", self.meta.hash));
        let writing = || HubError::writing(&incomplete);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&incomplete)
            .map_err(writing())?;
        let resumed = file.metadata().map_err(writing())?.len() > 0;
        self.fill(&mut file, &incomplete, tell)?;
        let mut checked = self.check(&incomplete);
        if resumed && matches!(checked, Err(HubError::Damaged { .. })) {
            // What lay there from an earlier time may be to blame.
            file.set_len(0).map_err(writing())?;
            self.fill(&mut file, &incomplete, tell)?;
            checked = self.check(&incomplete);
        }
        if let Err(error) = checked {
            // It would only be resumed into the same damage.
            let _ = fs::remove_file(&incomplete);
            return Err(error);
        }
        file.sync_all().and_then(|()| fs::rename(&incomplete, blob)).map_err(writing())?;
        tell(Event::Ends { file: self.place.file });
        Ok(())
    }

    fn fill(&self, file: &mut File, path: &Path, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), HubError> {
        let have = file.metadata().map_err(HubError::writing(path))?.len();
        tell(Event::Begins { file: self.place.file, have, size: self.meta.size });
        let mut furthest = have;
        patiently(tell, |tell| self.try_to_fill(file, path, &mut furthest, tell))
    }

    fn try_to_fill(
        &self,
        file: &mut File,
        path: &Path,
        furthest: &mut u64,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Trouble> {
        let writing = || HubError::writing(path);
        let mut have = file.metadata().map_err(writing())?.len();
        if self.meta.size.is_some_and(|size| size < have) {
            have = 0;
        }
        if self.meta.size != Some(have) {
            let mut part = self.client.open(self.place, have)?;
            // Whoever does not do parts begins at the beginning; more than what is there cannot be skipped.
            have = if part.offset <= have { part.offset } else { 0 };
            if file.metadata().map_err(writing())?.len() > have {
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
                tell(Event::At(have));
            };
            let short = self.meta.size.is_some_and(|size| have < size);
            if let Some(reason) = broken.or_else(|| short.then(|| "it broke off".to_owned())) {
                let error = self.client.unreachable(self.client.host(), reason);
                let gained = have > *furthest;
                *furthest = have.max(*furthest);
                return Err(Trouble::Passing { error, wait: None, gained });
            }
        }
        Ok(())
    }

    /// What is on the disk, not what went by: a disk can err, too.
    fn check(&self, path: &Path) -> Result<(), HubError> {
        let expected = &self.meta.hash;
        let Some(kind) = Kind::of(expected) else { return Ok(()) };
        let found = digest::of_file(path, kind).map_err(HubError::reading(path))?;
        if found == *expected {
            return Ok(());
        }
        Err(HubError::Damaged {
            id: self.place.id.to_owned(),
            file: self.place.file.to_owned(),
            expected: expected.clone(),
            found,
        })
    }
}
