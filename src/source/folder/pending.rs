//! The files that were noticed and not yet taken: which of them is complete, and which is next.
//!
//! | how a file was noticed        | when it is tried                                              |
//! |-------------------------------|---------------------------------------------------------------|
//! | closed after writing, moved in| at once                                                       |
//! | found by a look, or linked    | when it did not change for [`Patience::settle`]               |
//! | being written                 | when it is closed; [`Patience::long`] after its last sign of life |
//! | tried in vain                 | when it changes or is closed; once more after a patience, and then reported |
//!
//! Whoever is ready is taken in the order of modification, then of name. Pure decisions; it refuses to touch the disk and
//! the clock.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::seen::{Modified, Version};

/// How long to wait for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// A file that was found is complete when it did not change for this long.
    pub(super) settle: Duration,
    /// A file that was closed and is no picture is tried again after this long: its writer may open it once more.
    pub(super) short: Duration,
    /// Likewise for a file that nobody closed while we watched: its writer may only pause.
    pub(super) long: Duration,
}

/// How a file was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Somebody closed it after writing, or moved it in.
    Complete,
    /// It was found in a look, or linked.
    Found,
    /// Somebody writes to it; a [`Evidence::Complete`] will follow.
    Writing,
}

/// A file that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) version: Version,
    pub(super) evidence: Evidence,
    /// Whether this version was tried in vain.
    pub(super) failed: bool,
    place: Place,
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting(Instant),
    Ready,
}

/// All files that wait.
pub(super) struct Pending {
    patience: Patience,
    files: HashMap<Arc<Path>, Candidate>,
    waiting: BTreeSet<(Instant, Arc<Path>)>,
    ready: BTreeSet<(Modified, Arc<Path>)>,
}

impl Pending {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, files: HashMap::new(), waiting: BTreeSet::new(), ready: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// `path` was noticed in this version.
    pub(super) fn notice(&mut self, path: &Path, version: Version, evidence: Evidence, now: Instant) {
        let known = self.files.get(path).copied();
        let unchanged = known.is_some_and(|candidate| candidate.version.looks_like(version));
        if unchanged && evidence == Evidence::Found {
            return; // its clock runs, or its writer is waited for
        }
        let evidence = match known.map(|candidate| candidate.evidence) {
            Some(Evidence::Writing) if evidence == Evidence::Found => Evidence::Writing,
            _ => evidence,
        };
        // Closing it once more in the same version is no news about a file that was tried in vain.
        let failed = unchanged && known.is_some_and(|candidate| candidate.failed);
        self.put(path, version, evidence, failed, now);
    }

    /// Somebody writes to `path`. A file that nobody waits for will be noticed when it is closed.
    pub(super) fn writing(&mut self, path: &Path, now: Instant) {
        if let Some(Candidate { version, .. }) = self.files.get(path).copied() {
            self.put(path, version, Evidence::Writing, false, now);
        }
    }

    /// `candidate`, just taken out, was tried in vain for the first time.
    pub(super) fn failed(&mut self, path: &Path, candidate: Candidate, now: Instant) {
        self.put(path, candidate.version, candidate.evidence, true, now);
    }

    /// `path` is gone.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Candidate> {
        let (path, candidate) = self.files.remove_entry(path)?;
        match candidate.place {
            Place::Waiting(due) => self.waiting.remove(&(due, path)),
            Place::Ready => self.ready.remove(&(candidate.version.modified, path)),
        };
        Some(candidate)
    }

    /// When the next waiting file is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Those whose time has come are ready.
    pub(super) fn wake(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, path)) = self.waiting.pop_first() else { return };
            if let Some(candidate) = self.files.get_mut(&path) {
                candidate.place = Place::Ready;
                self.ready.insert((candidate.version.modified, path));
            }
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the oldest of those that are ready.
    pub(super) fn pop(&mut self) -> Option<(PathBuf, Candidate)> {
        let (_, path) = self.ready.pop_first()?;
        let candidate = self.files.remove(&path)?;
        Some((path.to_path_buf(), candidate))
    }

    fn put(&mut self, path: &Path, version: Version, evidence: Evidence, failed: bool, now: Instant) {
        self.remove(path);
        let wait = match (evidence, failed) {
            (Evidence::Complete, false) => Duration::ZERO,
            (Evidence::Complete, true) => self.patience.short,
            (Evidence::Found, false) => self.patience.settle,
            (Evidence::Found, true) | (Evidence::Writing, _) => self.patience.long,
        };
        let path = Arc::<Path>::from(path);
        let place = if wait.is_zero() {
            self.ready.insert((version.modified, Arc::clone(&path)));
            Place::Ready
        } else {
            self.waiting.insert((now + wait, Arc::clone(&path)));
            Place::Waiting(now + wait)
        };
        self.files.insert(path, Candidate { version, evidence, failed, place });
    }
}
