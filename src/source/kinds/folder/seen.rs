//! Remembers the files that were handled, so that nothing is taken twice. Pure.
//!
//! A file is identified by its path and its [`Version`]: a file that is rewritten under the same name is new, and a file
//! that is renamed inside the folder is not. An entry has some 80 bytes however long the path (it is keyed by a 64-bit
//! hash of the path), and is removed with its file.
//!
//! **Restarts.** The entries are written to disk ([`Saved`]) and restored. Size and time alone identify a restored file,
//! because a share may have other inodes after it is mounted again. The entries of a folder that is replaced by another one
//! (a share that is not mounted yet, its empty mount point) are kept for the time when the first one is back.
//!
//! **Bounds.** At most [`MOST`] entries are kept, the newest files. Any older file that a scan of the folder finds counts as
//! handled.

use std::{
    collections::HashMap, fs::Metadata, os::unix::ffi::OsStrExt, os::unix::fs::MetadataExt, path::Path,
    time::SystemTime,
};

use jiff::Timestamp;
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most entries: some 16 MB in memory, and 8 MB on disk.
pub(crate) const MOST: usize = 100_000;

/// Changes whenever the content of a file does. Excludes the change time of the inode, which permissions change too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Modified,
}

/// When a file was modified; the order in which files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Modified {
    seconds: i64,
    nanoseconds: i64,
}

impl Saved {
    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

impl Version {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified = Modified { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() };
        Self { inode: metadata.ino(), size: metadata.len(), modified }
    }

    /// The same, from a status.
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let modified = Modified { seconds: stat.st_mtime, nanoseconds };
        Self { inode: stat.st_ino, size: u64::try_from(stat.st_size).unwrap_or(0), modified }
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
    found: Found,
    /// Another version was found at the path.
    replaced: bool,
}

/// Where a file was found last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// In the folder as it is.
    Here,
    /// In the same folder before a restart: its inode may be another one now.
    Before,
    /// In another folder that had the same path, and may have it again.
    Elsewhere,
}

/// The device and the inode of a folder.
pub(crate) type FolderId = [u64; 2];

/// The entries as they are written to disk.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The folder in which the files were found.
    place: Option<FolderId>,
    /// Files that are not newer than this count as handled.
    handled_until: Option<Modified>,
    files: Vec<SavedFile>,
}

/// Hash of the path; inode, size, seconds and nanoseconds of the version; the fate (and [`ELSEWHERE`]) and, if the file was
/// sent, the hash of its content. A list of numbers, because there are many.
type SavedFile = (u64, u64, u64, i64, i64, u8, u64);

/// Added to the fate of a file that was found in another folder.
const ELSEWHERE: u8 = 8;

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
    /// The most entries.
    most: usize,
    /// Whether another inode makes another version; not where a network file system may invent inodes.
    inodes_count: bool,
    round: u32,
    place: Option<FolderId>,
    handled_until: Option<Modified>,
    changes: u64,
}

impl Seen {
    /// Remembers at most about `most` files.
    pub(crate) fn new(inodes_count: bool, most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            most,
            inodes_count,
            round: 0,
            place: None,
            handled_until: None,
            changes: 0,
        }
    }

    /// Increases whenever something was learnt that [`Saved`] contains.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Records that [`Seen::save`] has another result than before.
    pub(crate) fn changed(&mut self) {
        self.changes += 1;
    }

    /// Whether there were more files than can be remembered.
    pub(crate) fn is_full(&self) -> bool {
        self.handled_until.is_some()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Judges the file at `path`, and records that it still exists.
    pub(crate) fn judge(&mut self, path: &Path, version: Version) -> Verdict {
        let Some(entry) = self.entries.get_mut(&key(path)) else { return Verdict::New };
        entry.round = self.round;
        let same_inode =
            !self.inodes_count || entry.found != Found::Here || entry.version.inode == version.inode;
        entry.replaced = !same_inode || !entry.version.looks_like(version);
        if entry.replaced {
            return Verdict::Changed(entry.fate);
        }
        if entry.found != Found::Here {
            (entry.found, entry.version) = (Found::Here, version);
            self.changes += 1;
        }
        Verdict::Known(entry.fate)
    }

    /// As [`Seen::judge`], for a file that a scan of the whole folder found: it may be too old to be remembered.
    pub(crate) fn judge_found(&mut self, path: &Path, version: Version) -> Verdict {
        match self.judge(path, version) {
            Verdict::New if self.handled_until.is_some_and(|until| version.modified <= until) => {
                Verdict::Known(Fate::Skipped)
            }
            verdict => verdict,
        }
    }

    pub(crate) fn insert(&mut self, path: &Path, version: Version, fate: Fate) {
        let entry = Entry { version, fate, round: self.round, found: Found::Here, replaced: false };
        self.put(key(path), entry);
    }

    /// Records that the frame of a file is in flight. [`Seen::changed`] is called when it is scored.
    pub(crate) fn sent(&mut self, path: &Path, version: Version, content: u64) {
        let changes = self.changes;
        self.insert(path, version, Fate::Sent(content));
        self.changes = changes;
    }

    /// Removes a file that is gone, or that is to be judged again.
    pub(crate) fn forget(&mut self, path: &Path) -> Option<Entry> {
        let entry = self.entries.remove(&key(path));
        self.changes += u64::from(entry.is_some());
        entry
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
    /// renamed without a notice appears as one that is gone and one that is new. Files of another folder are not removed.
    pub(crate) fn end_scan(&mut self) -> HashMap<Version, Entry> {
        let round = self.round;
        // Where another version was found, the old one may have another name now: cameras number their files anew.
        let unseen = self.entries.values().filter(|entry| entry.round != round || entry.replaced);
        let unseen = unseen.map(|entry| (entry.version, *entry)).collect();
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.round == round || entry.found == Found::Elsewhere);
        self.changes += (before - self.entries.len()) as u64;
        unseen
    }

    /// Records which folder is at the path now, before it is scanned.
    pub(crate) fn enter(&mut self, place: FolderId) {
        if self.place == Some(place) {
            return;
        }
        if self.place.is_some() {
            self.entries.values_mut().for_each(|entry| entry.found = Found::Elsewhere);
        }
        self.place = Some(place);
        self.changes += 1;
    }

    /// The entries for the disk, except for those of the files `except`. An unreadable file is not among them: its permissions
    /// may be better after the restart. A clip that was not played to its end begins again.
    pub(crate) fn save<'p>(&self, except: impl IntoIterator<Item = &'p Path>) -> Saved {
        let except: Vec<_> = except.into_iter().map(key).collect();
        let files =
            self.entries.iter().filter(|(key, _)| !except.contains(key)).filter_map(|(key, entry)| {
                let Version { inode, size, modified: Modified { seconds, nanoseconds } } = entry.version;
                let (fate, content) = match entry.fate {
                    Fate::Skipped => (0, 0),
                    Fate::Sent(content) => (1, content),
                    Fate::Failed => (2, 0),
                    Fate::Unreadable | Fate::Playing => return None,
                };
                let elsewhere = if entry.found == Found::Elsewhere { ELSEWHERE } else { 0 };
                Some((*key, inode, size, seconds, nanoseconds, fate + elsewhere, content))
            });
        Saved { place: self.place, handled_until: self.handled_until, files: files.collect() }
    }

    /// Adds the entries of an earlier run; without those that were skipped, if `existing` files are to be processed now.
    pub(crate) fn restore(&mut self, saved: Saved, existing: bool) {
        (self.place, self.handled_until) = (saved.place, saved.handled_until);
        for (key, inode, size, seconds, nanoseconds, fate, content) in saved.files {
            let found = if fate & ELSEWHERE == 0 { Found::Before } else { Found::Elsewhere };
            let fate = match fate & !ELSEWHERE {
                0 if existing => continue,
                0 => Fate::Skipped,
                1 => Fate::Sent(content),
                2 => Fate::Failed,
                _ => continue,
            };
            let version = Version { inode, size, modified: Modified { seconds, nanoseconds } };
            self.put(key, Entry { version, fate, round: self.round, found, replaced: false });
        }
    }

    fn put(&mut self, key: u64, entry: Entry) {
        self.entries.insert(key, entry);
        self.changes += 1;
        // Many at a time: each time costs as much as all entries.
        if self.entries.len() > self.most + self.most / 8 {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let mut times: Vec<_> = self.entries.values().map(|entry| entry.version.modified).collect();
        let surplus = times.len() - self.most;
        let (_, until, _) = times.select_nth_unstable(surplus - 1);
        let until = *until;
        self.entries.retain(|_, entry| entry.version.modified > until);
        self.handled_until = self.handled_until.max(Some(until));
    }
}

/// Identifies a path. Also after an update of the program, so it is none of the standard library's hashes.
fn key(path: &Path) -> u64 {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let (first, _) = digest.as_slice().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
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
                let mut seen = Seen::new(inodes_count, MOST);
                seen.insert(Path::new("a"), version(1, 10, 100), sent);
                assert_eq!(seen.judge(Path::new(path), found), expected, "{name}, inodes: {inodes_count}");
            }
        }
    }

    #[test]
    fn only_a_rename_of_the_same_version_keeps_its_state() {
        let mut seen = Seen::new(true, MOST);
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
        let mut seen = Seen::new(true, MOST);
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

    /// What another run knows of `seen`, after it was written to disk and read again.
    fn restarted(seen: &Seen, existing: bool) -> Seen {
        let text = serde_json::to_string(&seen.save([])).unwrap();
        let mut again = Seen::new(true, seen.most);
        again.restore(serde_json::from_str(&text).unwrap(), existing);
        again
    }

    /// Scans a folder with these files, and returns those that are new.
    fn scan<'a>(seen: &mut Seen, place: FolderId, files: &[(&'a str, Version)]) -> Vec<&'a str> {
        seen.enter(place);
        seen.begin_scan();
        let is_new = |(path, version): &&(&str, Version)| {
            !matches!(seen.judge_found(Path::new(path), *version), Verdict::Known(_))
        };
        let new: Vec<_> = files.iter().filter(is_new).copied().collect();
        let mut gone = seen.end_scan();
        let mut renamed = |path: &str, version: Version| {
            gone.remove(&version).is_some_and(|entry| seen.renamed(entry, Path::new(path), version))
        };
        new.into_iter().filter(|(path, version)| !renamed(path, *version)).map(|(path, _)| path).collect()
    }

    #[test]
    fn a_table_of_restarts() {
        const DISK: FolderId = [1, 2];
        let (old, other) = (version(1, 10, 100), version(2, 20, 200));
        type Files<'a> = &'a [(&'a str, Version)];
        let cases: &[(&str, FolderId, Files<'_>, &[&str])] = &[
            ("the same files", DISK, &[("a", old), ("b", other)], &[]),
            ("a new file", DISK, &[("a", old), ("b", other), ("c", version(3, 30, 300))], &["c"]),
            ("renamed", DISK, &[("moved/a", old), ("b", other)], &[]),
            ("a hard link to a file that is still there", DISK, &[("a", old), ("link", old)], &["link"]),
            ("rewritten", DISK, &[("a", version(1, 10, 101)), ("b", other)], &["a"]),
            ("other inodes, as on a share that was mounted again", DISK, &[("a", version(7, 10, 100))], &[]),
            ("another device, as after a reboot", [9, 2], &[("a", old), ("b", other)], &[]),
            ("renamed on another device", [9, 2], &[("x", old), ("b", other)], &[]),
            ("the names exchanged", DISK, &[("a", other), ("b", old)], &[]),
            ("numbered anew, as logs are rotated", DISK, &[("a", version(3, 30, 300)), ("b", old)], &["a"]),
        ];
        for (name, place, files, expected) in cases {
            let mut seen = Seen::new(true, MOST);
            assert_eq!(scan(&mut seen, DISK, &[("a", old), ("b", other)]), ["a", "b"]);
            seen.insert(Path::new("a"), old, Fate::Sent(7));
            seen.insert(Path::new("b"), other, Fate::Failed);
            let mut seen = restarted(&seen, false);
            assert_eq!(scan(&mut seen, *place, files), *expected, "{name}");
            let taken = files.iter().filter(|(path, _)| expected.contains(path));
            taken.for_each(|(path, version)| seen.insert(Path::new(path), *version, Fate::Sent(8)));
            assert_eq!(scan(&mut seen, *place, files), [""; 0], "{name}: the next scan");
            assert_eq!(scan(&mut restarted(&seen, false), *place, files), [""; 0], "{name}: another restart");
        }
    }

    #[test]
    fn a_share_that_is_not_mounted_for_some_time_has_no_new_files() {
        let (mount_point, share) = ([1, 2], [5, 1]);
        let files = [("a", version(1, 10, 100))];
        let mut seen = Seen::new(true, MOST);
        scan(&mut seen, share, &files);
        seen.insert(Path::new("a"), files[0].1, Fate::Sent(7));
        assert_eq!(scan(&mut seen, mount_point, &[]), [""; 0]);
        let mut seen = restarted(&seen, false);
        assert_eq!(scan(&mut seen, mount_point, &[]), [""; 0]);
        assert_eq!(scan(&mut seen, [6, 1], &[("a", version(9, 10, 100))]), [""; 0], "with another inode");
        assert_eq!(scan(&mut seen, [6, 1], &[]), [""; 0]);
        assert_eq!(seen.entries.len(), 0, "deleted from the share");
    }

    #[test]
    fn skipped_files_are_processed_when_existing_files_are_to_be_processed_now() {
        let files = [("skipped", version(1, 10, 100)), ("sent", version(2, 10, 100))];
        let mut seen = Seen::new(true, MOST);
        scan(&mut seen, [1, 2], &files);
        seen.insert(Path::new("skipped"), files[0].1, Fate::Skipped);
        seen.insert(Path::new("sent"), files[1].1, Fate::Sent(7));
        seen.insert(Path::new("unreadable"), version(3, 10, 100), Fate::Unreadable);
        assert_eq!(seen.save([Path::new("sent")]).files.len(), 1, "not those that are in flight");
        assert_eq!(restarted(&seen, false).entries.len(), 2);
        assert_eq!(scan(&mut restarted(&seen, true), [1, 2], &files), ["skipped"]);
    }

    #[test]
    fn more_files_than_can_be_remembered_are_not_taken_again() {
        let mut seen = Seen::new(true, 8);
        let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let files: Vec<_> =
            (0..).zip(&names).map(|(number, name)| (&**name, version(number, 1, number as i64))).collect();
        for (path, version) in &files {
            seen.insert(Path::new(path), *version, Fate::Sent(0));
        }
        assert!(seen.is_full() && (8..=9).contains(&seen.entries.len()), "{}", seen.entries.len());
        assert_eq!(scan(&mut seen, [1, 2], &files), [""; 0]);
        assert_eq!(scan(&mut restarted(&seen, false), [1, 2], &files), [""; 0]);
        let newer = ("newer", version(7, 1, 1000));
        assert_eq!(scan(&mut seen, [1, 2], &[newer, ("older", version(8, 1, 5))]), ["newer"]);
        assert_eq!(
            seen.judge(Path::new("older"), version(8, 1, 5)),
            Verdict::New,
            "one that was seen to arrive"
        );
    }

    #[test]
    fn the_key_of_a_path_is_the_same_in_every_version_of_the_program() {
        assert_eq!(key(Path::new("/inbox/a.jpg")), 0x84102f1a327008ec);
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
