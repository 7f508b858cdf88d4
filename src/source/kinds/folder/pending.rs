//! The files that were noticed and not yet taken: decides which of them is complete, and which is next. Pure.
//!
//! | how a file was noticed         | when it is tried                                                             |
//! |--------------------------------|------------------------------------------------------------------------------|
//! | closed after writing, moved in | at once                                                                      |
//! | found by a scan, or linked     | when it did not change for [`Patience::settle`]                              |
//! | being written                  | when it is closed; [`Patience::long`] after its last notice                  |
//! | tried without success          | when it changes or is closed; once more after a pause, and then reported     |
//!
//! Files that are ready are taken in the order of modification, then of name.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::seen::{Modified, Version};

/// How long to wait for a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A file that was found is complete when it did not change for this time.
    pub(crate) settle: Duration,
    /// A file that was closed and is no picture is tried again after this time: its writer may open it once more.
    pub(crate) short: Duration,
    /// A file that was not seen to be closed and is no picture is tried again after this time: its writer may only pause.
    pub(crate) long: Duration,
}

/// How a file was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It was closed after writing, or moved in.
    Complete,
    /// It was found by a scan, or linked.
    Found,
    /// It is being written to; [`Evidence::Complete`] will follow.
    Writing,
}

/// A file that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) version: Version,
    pub(crate) evidence: Evidence,
    /// Whether this version was tried without success.
    pub(crate) failed: bool,
    place: Queue,
}

/// The queue that a candidate is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Waiting(Instant),
    Ready,
}

/// All files that wait.
pub(crate) struct Pending {
    patience: Patience,
    files: HashMap<Arc<Path>, Candidate>,
    waiting: BTreeSet<(Instant, Arc<Path>)>,
    ready: BTreeSet<(Modified, Arc<Path>)>,
}

impl Pending {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, files: HashMap::new(), waiting: BTreeSet::new(), ready: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Records that `path` was noticed in this version.
    pub(crate) fn notice(&mut self, path: &Path, version: Version, evidence: Evidence, now: Instant) {
        let known = self.files.get(path).copied();
        let unchanged = known.is_some_and(|candidate| candidate.version.looks_like(version));
        if unchanged && evidence == Evidence::Found {
            return; // its time runs already, or its writer will close it
        }
        let evidence = match known.map(|candidate| candidate.evidence) {
            Some(Evidence::Writing) if evidence == Evidence::Found => Evidence::Writing,
            _ => evidence,
        };
        // Another close of the same version says nothing new about a file that was tried without success.
        let failed = unchanged && known.is_some_and(|candidate| candidate.failed);
        self.put(path, version, evidence, failed, now);
    }

    /// Records a write to `path`. A file that does not wait here will be noticed when it is closed.
    pub(crate) fn writing(&mut self, path: &Path, now: Instant) {
        if let Some(Candidate { version, .. }) = self.files.get(path).copied() {
            self.put(path, version, Evidence::Writing, false, now);
        }
    }

    /// Puts back `candidate`, which was tried without success for the first time.
    pub(crate) fn failed(&mut self, path: &Path, candidate: Candidate, now: Instant) {
        self.put(path, candidate.version, candidate.evidence, true, now);
    }

    /// Puts back `candidate`, which could not be tried: no file can be opened for now.
    pub(crate) fn later(&mut self, path: &Path, candidate: Candidate, now: Instant) {
        self.remove(path);
        self.put_at(path, candidate, now + self.patience.short);
    }

    /// Removes `path`, which is gone.
    pub(crate) fn remove(&mut self, path: &Path) -> Option<Candidate> {
        let (path, candidate) = self.files.remove_entry(path)?;
        match candidate.place {
            Queue::Waiting(due) => self.waiting.remove(&(due, path)),
            Queue::Ready => self.ready.remove(&(candidate.version.modified, path)),
        };
        Some(candidate)
    }

    /// When the next waiting file is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Makes the files ready that are due.
    pub(crate) fn wake(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, path)) = self.waiting.pop_first() else { return };
            if let Some(candidate) = self.files.get_mut(&path) {
                candidate.place = Queue::Ready;
                self.ready.insert((candidate.version.modified, path));
            }
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the oldest of the files that are ready.
    pub(crate) fn pop(&mut self) -> Option<(PathBuf, Candidate)> {
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
        let candidate = Candidate { version, evidence, failed, place: Queue::Ready };
        if wait.is_zero() {
            let path = Arc::<Path>::from(path);
            self.ready.insert((version.modified, Arc::clone(&path)));
            self.files.insert(path, candidate);
        } else {
            self.put_at(path, candidate, now + wait);
        }
    }

    /// Lets `candidate` wait until `due`.
    fn put_at(&mut self, path: &Path, candidate: Candidate, due: Instant) {
        let path = Arc::<Path>::from(path);
        self.waiting.insert((due, Arc::clone(&path)));
        self.files.insert(path, Candidate { place: Queue::Waiting(due), ..candidate });
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Evidence::{Complete, Found, Writing},
        *,
    };

    const PATIENCE: Patience = Patience {
        settle: Duration::from_millis(500),
        short: Duration::from_millis(2000),
        long: Duration::from_millis(10_000),
    };

    fn version(size: u64) -> Version {
        crate::source::kinds::folder::seen::tests::version(1, size, 100)
    }

    /// What happens to the one file of a case.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Noticed with this size.
        Notice(Evidence, u64),
        /// The hint that the file is written to.
        Hint,
        /// Taken if ready, and no picture.
        Fail,
        /// Taken if ready, and not opened.
        Later,
        /// Deleted.
        Remove,
    }

    /// A name, the steps with their millisecond, and the millisecond in which the file is ready.
    type Case = (&'static str, &'static [(u64, Step)], Option<u64>);

    /// When the file is ready after the steps, each at its millisecond; `None` if it does not wait at all.
    fn ready_at(steps: &[(u64, Step)]) -> Option<u64> {
        let (start, path) = (Instant::now(), Path::new("a"));
        let mut pending = Pending::new(PATIENCE);
        for (millisecond, step) in steps {
            let now = start + Duration::from_millis(*millisecond);
            pending.wake(now);
            match *step {
                Step::Notice(evidence, size) => pending.notice(path, version(size), evidence, now),
                Step::Hint => pending.writing(path, now),
                Step::Remove => drop(pending.remove(path)),
                Step::Fail => {
                    let (_, candidate) = pending.pop().expect("the file is ready");
                    pending.failed(path, candidate, now);
                }
                Step::Later => {
                    let (_, candidate) = pending.pop().expect("the file is ready");
                    pending.later(path, candidate, now);
                }
            }
        }
        assert_eq!(pending.len(), usize::from(pending.contains(path)));
        let last = steps.last().map_or(0, |(millisecond, _)| *millisecond);
        if pending.has_ready() {
            return Some(last);
        }
        pending.next_due().map(|due| u64::try_from((due - start).as_millis()).expect("a short case"))
    }

    #[test]
    fn when_a_file_is_ready() {
        use Step::{Fail, Hint, Later, Notice, Remove};
        let cases: &[Case] = &[
            ("nothing", &[], None),
            ("closed", &[(0, Notice(Complete, 1))], Some(0)),
            ("found", &[(0, Notice(Found, 1))], Some(500)),
            ("found again: the time runs on", &[(0, Notice(Found, 1)), (300, Notice(Found, 1))], Some(500)),
            (
                "found changed: the time starts again",
                &[(0, Notice(Found, 1)), (300, Notice(Found, 2))],
                Some(800),
            ),
            ("found, then closed", &[(0, Notice(Found, 1)), (300, Notice(Complete, 1))], Some(300)),
            (
                "closed, then found: still ready",
                &[(0, Notice(Complete, 1)), (300, Notice(Found, 1))],
                Some(300),
            ),
            ("closed, then found changed", &[(0, Notice(Complete, 1)), (300, Notice(Found, 2))], Some(800)),
            ("written to", &[(0, Notice(Found, 1)), (300, Hint)], Some(10_300)),
            ("written to after it was ready", &[(0, Notice(Complete, 0)), (300, Hint)], Some(10_300)),
            (
                "a scan does not make a file that is written to ready",
                &[(0, Notice(Writing, 1)), (300, Notice(Found, 1)), (400, Notice(Found, 2))],
                Some(10_400),
            ),
            ("a writer that closes", &[(0, Notice(Writing, 1)), (300, Notice(Complete, 2))], Some(300)),
            ("a hint about a file that does not wait", &[(0, Hint)], None),
            ("closed and no picture", &[(0, Notice(Complete, 1)), (1, Fail)], Some(2001)),
            ("found and no picture", &[(0, Notice(Found, 1)), (500, Fail)], Some(10_500)),
            (
                "no picture, and found again",
                &[(0, Notice(Found, 1)), (500, Fail), (600, Notice(Found, 1))],
                Some(10_500),
            ),
            (
                "no picture, then closed unchanged: tried once more",
                &[(0, Notice(Found, 1)), (500, Fail), (600, Notice(Complete, 1))],
                Some(2600),
            ),
            (
                "no picture, then closed changed",
                &[(0, Notice(Found, 1)), (500, Fail), (600, Notice(Complete, 2))],
                Some(600),
            ),
            (
                "no picture, then written to and closed",
                &[(0, Notice(Complete, 0)), (1, Fail), (2, Hint), (3, Notice(Complete, 0))],
                Some(3),
            ),
            ("closed and not opened", &[(0, Notice(Complete, 1)), (1, Later)], Some(2001)),
            (
                "found, and not opened again and again",
                &[(0, Notice(Found, 1)), (500, Later), (2500, Later)],
                Some(4500),
            ),
            (
                "not opened, then no picture: this was the first try",
                &[(0, Notice(Complete, 1)), (1, Later), (2001, Fail), (2002, Notice(Complete, 2))],
                Some(2002),
            ),
            ("gone while waiting", &[(0, Notice(Found, 1)), (1, Remove)], None),
            ("gone while ready", &[(0, Notice(Complete, 1)), (1, Remove)], None),
        ];
        for (name, steps, expected) in cases {
            assert_eq!(ready_at(steps), *expected, "{name}");
        }
    }

    #[test]
    fn older_files_are_first_and_then_the_name_decides() {
        let mut pending = Pending::new(PATIENCE);
        let now = Instant::now();
        for (path, seconds) in [("new", 300), ("b", 200), ("a", 200), ("old", 100)] {
            let version = crate::source::kinds::folder::seen::tests::version(1, 1, seconds);
            pending.notice(Path::new(path), version, Found, now);
        }
        assert!(!pending.has_ready());
        pending.wake(now + PATIENCE.settle);
        let order = std::iter::from_fn(|| pending.pop()).map(|(path, _)| path.display().to_string());
        assert_eq!(order.collect::<Vec<_>>(), ["old", "a", "b", "new"]);
        assert_eq!(pending.len(), 0);
    }
}
