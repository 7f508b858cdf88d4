//! Remembers the files that were handled, so that nothing is taken twice. Pure.
//!
//! A file is identified by its path and its [`Version`]: a file that is rewritten under the same name is new, and a file
//! that is renamed inside the folder is not. An entry has some 80 bytes however long the path (it is keyed by a 64-bit
//! hash of the path), and is removed with its file.

use std::{
    collections::HashMap,
    fs::Metadata,
    hash::{BuildHasher, RandomState},
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use jiff::Timestamp;

/// Changes whenever the content of a file does. Excludes the change time of the inode, which permissions change too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Modified,
}

/// When a file was modified; the order in which files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Modified {
    seconds: i64,
    nanoseconds: i64,
}

impl Version {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified = Modified { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() };
        Self { inode: metadata.ino(), size: metadata.len(), modified }
    }

    /// Whether size and time are the same. Then two scans saw the same file, even where inodes are invented.
    pub(crate) fn looks_like(self, other: Self) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }
}

impl Modified {
    /// The time of capture; at most `now`.
    pub(crate) fn captured_at(self, now: SystemTime) -> Timestamp {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or(0);
        Timestamp::new(self.seconds, nanoseconds).map_or(now, |modified| modified.min(now))
    }
}

/// The result for a version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Ignored, because it existed at start.
    Skipped,
    /// Sent; with a hash of its content.
    Sent(u64),
    /// A clip that is played: only part of it was sent.
    Playing,
    /// Reported as no usable picture.
    Failed,
    /// Not readable; a change of its permissions may help.
    Unreadable,
}

/// The state of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    version: Version,
    pub(crate) fate: Fate,
    round: u32,
}

/// Whether a version is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Never seen.
    New,
    /// Handled.
    Known(Fate),
    /// The file was handled in another version.
    Changed(Fate),
}

/// Every file that was handled and still exists.
pub(crate) struct Seen {
    entries: HashMap<u64, Entry>,
    paths: RandomState,
    /// Whether another inode makes another version; not where a network file system may invent inodes.
    inodes_count: bool,
    round: u32,
}

impl Seen {
    pub(crate) fn new(inodes_count: bool) -> Self {
        Self { entries: HashMap::new(), paths: RandomState::new(), inodes_count, round: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Judges the file at `path`, and records that it still exists.
    pub(crate) fn judge(&mut self, path: &Path, version: Version) -> Verdict {
        let key = self.paths.hash_one(path);
        let Some(entry) = self.entries.get_mut(&key) else { return Verdict::New };
        entry.round = self.round;
        let same_inode = !self.inodes_count || entry.version.inode == version.inode;
        if same_inode && entry.version.looks_like(version) {
            Verdict::Known(entry.fate)
        } else {
            Verdict::Changed(entry.fate)
        }
    }

    pub(crate) fn insert(&mut self, path: &Path, version: Version, fate: Fate) {
        let entry = Entry { version, fate, round: self.round };
        self.entries.insert(self.paths.hash_one(path), entry);
    }

    /// Removes a file that is gone, or that is to be judged again.
    pub(crate) fn forget(&mut self, path: &Path) -> Option<Entry> {
        self.entries.remove(&self.paths.hash_one(path))
    }

    /// Restores what [`Seen::forget`] returned.
    pub(crate) fn put_back(&mut self, path: &Path, entry: Entry) {
        self.insert(path, entry.version, entry.fate);
    }

    /// Moves the state of a file to its new `path`, if that is the same version.
    pub(crate) fn renamed(&mut self, entry: Entry, path: &Path, version: Version) -> bool {
        let same = entry.version == version;
        if same {
            self.insert(path, version, entry.fate);
        }
        same
    }

    /// Starts a scan of the whole folder: [`Seen::judge`] will be called for every file.
    pub(crate) fn begin_scan(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Ends a scan that missed nothing: removes the files that are gone and returns them by version, because a file that was
    /// renamed without a notice appears as one that is gone and one that is new.
    pub(crate) fn end_scan(&mut self) -> HashMap<Version, Entry> {
        let gone = self.entries.extract_if(|_, entry| entry.round != self.round);
        gone.map(|(_, entry)| (entry.version, entry)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    pub(crate) fn version(inode: u64, size: u64, seconds: i64) -> Version {
        Version { inode, size, modified: Modified { seconds, nanoseconds: 0 } }
    }

    #[test]
    fn a_table_of_versions() {
        let sent = Fate::Sent(7);
        let cases = [
            ("the same", "a", version(1, 10, 100), Verdict::Known(sent), Verdict::Known(sent)),
            ("another path", "b", version(1, 10, 100), Verdict::New, Verdict::New),
            ("rewritten", "a", version(1, 10, 101), Verdict::Changed(sent), Verdict::Changed(sent)),
            ("grown", "a", version(1, 11, 100), Verdict::Changed(sent), Verdict::Changed(sent)),
            ("older", "a", version(1, 10, 99), Verdict::Changed(sent), Verdict::Changed(sent)),
            ("replaced", "a", version(2, 10, 100), Verdict::Changed(sent), Verdict::Known(sent)),
        ];
        for (name, path, found, by_inode, without) in cases {
            for (inodes_count, expected) in [(true, by_inode), (false, without)] {
                let mut seen = Seen::new(inodes_count);
                seen.insert(Path::new("a"), version(1, 10, 100), sent);
                assert_eq!(seen.judge(Path::new(path), found), expected, "{name}, inodes: {inodes_count}");
            }
        }
    }

    #[test]
    fn only_a_rename_of_the_same_version_keeps_its_state() {
        let mut seen = Seen::new(true);
        seen.insert(Path::new("a"), version(1, 10, 100), Fate::Skipped);
        let left = seen.forget(Path::new("a")).unwrap();
        assert_eq!(seen.judge(Path::new("a"), version(1, 10, 100)), Verdict::New);
        assert!(!seen.renamed(left, Path::new("b"), version(2, 10, 100)));
        assert_eq!(seen.judge(Path::new("b"), version(2, 10, 100)), Verdict::New);
        assert!(seen.renamed(left, Path::new("b"), version(1, 10, 100)));
        assert_eq!(seen.judge(Path::new("b"), version(1, 10, 100)), Verdict::Known(Fate::Skipped));
    }

    #[test]
    fn a_scan_removes_the_files_that_are_gone_and_no_others() {
        let mut seen = Seen::new(true);
        for (path, inode) in [("stays", 1), ("goes", 2)] {
            seen.insert(Path::new(path), version(inode, 10, 100), Fate::Failed);
        }
        seen.begin_scan();
        seen.judge(Path::new("stays"), version(1, 10, 100));
        seen.insert(Path::new("came"), version(3, 10, 100), Fate::Failed);
        let gone = seen.end_scan();
        assert_eq!(gone.into_keys().collect::<Vec<_>>(), [version(2, 10, 100)]);
        assert_eq!(seen.entries.len(), 2);
    }

    #[test]
    fn a_picture_is_never_captured_in_the_future() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let captured = |seconds| version(1, 1, seconds).modified.captured_at(now).as_second();
        assert_eq!(
            [captured(10), captured(1000), captured(5000), captured(i64::MAX)],
            [10, 1000, 1000, 1000]
        );
    }
}
