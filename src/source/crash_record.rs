//! Records which pictures are being decoded, so that one that ends the whole process (a crash of a decoder, or the kernel's lack of
//! memory) is not decoded again at every start: folders and brokers deliver it again.
//!
//! The record is a small file in the state folder, with a line of fixed length for each picture: a hash of its content, its
//! length, and its name. A line is written before a picture is decoded and blanked after it: two writes of a few microseconds
//! that are never synced. The kernel keeps them when the process is killed. After a power failure the record may be old or empty;
//! no picture causes one.
//!
//! One coincidence proves nothing: most processes that are killed are killed for another reason, and a picture that is skipped is
//! an alert that may be lost. So what the file lists at the start is decoded once more. If the process ends during that, too, the
//! picture is suspected. What is suspected, or is yet to be decoded once more, stays in the file until it was decoded or the service
//! stops in order: if another picture ends the process before the first one is out of the way, both are still known.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{descriptors::Identity, picture, state_file};

/// The name of the file in the state folder.
const NAME: &str = "decoding";
/// The bytes of a line.
const LINE: usize = 256;
/// The most pictures that are remembered: the newest ones.
const MOST: usize = 1024;
/// A picture is suspected when the process has ended this number of times while it was being decoded.
const SUSPECTED_AFTER: u8 = 2;

/// The content of a picture, as far as it is needed to recognise the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    hash: u64,
    length: u64,
}

impl Fingerprint {
    /// Of large pictures the beginning and the end are hashed: hashing all of a picture would take a notable part of the time that
    /// decoding takes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        const PART: usize = 256 << 10;
        let hash = match bytes.len().checked_sub(2 * PART) {
            None | Some(0) => picture::hash(bytes),
            Some(_) => picture::hash(&[&bytes[..PART], &bytes[bytes.len() - PART..]].concat()),
        };
        Self { hash, length: bytes.len() as u64 }
    }

    /// Of a file that is too large to be read, by a hash of parts of it.
    #[must_use]
    pub fn of_parts(hash: u64, length: u64) -> Self {
        Self { hash, length }
    }
}

/// The pictures that are being decoded, and those that were when the process ended.
#[derive(Debug, Default)]
pub struct CrashRecord {
    slots: Mutex<Slots>,
}

/// The lines of the file.
#[derive(Debug, Default)]
struct Slots {
    /// `None` if there is no record.
    file: Option<RecordFile>,
    /// The pictures of the first lines. `None` was decoded since.
    witnessed: Vec<Option<Witnessed>>,
    /// Whether each line after the first ones is in use.
    used: Vec<bool>,
}

/// A picture that was being decoded when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Witnessed {
    picture: Fingerprint,
    /// How often.
    times: u8,
    name: String,
}

#[derive(Debug)]
struct RecordFile {
    file: File,
    path: PathBuf,
}

/// A picture that is being decoded, until this is dropped.
#[derive(Debug)]
pub struct Entry<'r> {
    record: &'r CrashRecord,
    picture: Fingerprint,
    /// The number of its line after the first ones; `None` if it is not recorded.
    slot: Option<usize>,
    /// Whether this survives a decoding.
    was_decoded: bool,
}

impl CrashRecord {
    /// Reads and opens the record in `state_dir`. Without one that can be written, nothing is recorded, which is logged.
    #[must_use]
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(NAME);
        match Self::try_open(&path) {
            Ok(record) => {
                record.report();
                record
            }
            Err(error) => {
                let file = path.display();
                tracing::warn!(
                    %file, %error,
                    "cannot record which pictures are being decoded: make the state folder writable. A picture that ends the \
                     service would be decoded again at the next start"
                );
                Self::default()
            }
        }
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let mut file = create(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take((2 * MOST * LINE) as u64).read_to_end(&mut bytes)?;
        let witnessed = witnessed(bytes.chunks(LINE).filter_map(parse));
        let lines: String = witnessed.iter().map(Witnessed::line).collect();
        // Over the old lines, and only then without what is left of them: a crash in between loses nothing.
        file.write_all_at(lines.as_bytes(), 0)?;
        file.set_len(lines.len() as u64)?;
        let file = Some(RecordFile { file, path: path.to_owned() });
        let witnessed = witnessed.into_iter().map(Some).collect();
        Ok(Self { slots: Mutex::new(Slots { file, witnessed, used: Vec::new() }) })
    }

    /// Logs what was being decoded when the service ended.
    fn report(&self) {
        let slots = self.lock();
        let (suspected, once): (Vec<_>, Vec<_>) =
            slots.witnessed.iter().flatten().partition(|it| it.times >= SUSPECTED_AFTER);
        let names = |of: &[&Witnessed]| of.iter().map(|it| &*it.name).collect::<Vec<_>>().join(", ");
        if !once.is_empty() {
            let (pictures, names) = (once.len(), names(&once));
            tracing::warn!(
                pictures,
                "the service ended unexpectedly while it decoded {names}: decoded once more"
            );
        }
        if !suspected.is_empty() {
            let (pictures, names) = (suspected.len(), names(&suspected));
            tracing::warn!(
                pictures,
                "the service ended unexpectedly again while it decoded {names}: not decoded again until it was stopped and started"
            );
        }
    }

    /// Whether the process ended unexpectedly, more than once, while this picture was being decoded.
    #[must_use]
    pub fn is_suspected(&self, picture: Fingerprint) -> bool {
        let slots = self.lock();
        let mut witnessed = slots.witnessed.iter().flatten();
        witnessed.any(|it| it.picture == picture && it.times >= SUSPECTED_AFTER)
    }

    /// Records that a picture is being decoded.
    pub fn begin(&self, picture: Fingerprint, name: &str) -> Entry<'_> {
        let mut slots = self.lock();
        let slot = slots.write(picture, name);
        Entry { record: self, picture, slot, was_decoded: true }
    }

    /// The service stops in order: nothing is suspected at the next start.
    pub fn clear(&self) {
        let mut slots = self.lock();
        if let Some(file) = slots.file.take() {
            // If it fails, pictures are suspected that are innocent, and skipped once.
            let _ = file.file.set_len(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// The picture was not decoded: nothing is known about it that was not known before.
    pub fn not_decoded(mut self) {
        self.was_decoded = false;
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut slots = self.record.lock();
        let is_same = |it: &Option<Witnessed>| it.as_ref().is_some_and(|it| it.picture == self.picture);
        let survived = slots.witnessed.iter().position(is_same);
        if let Some(line) = survived.filter(|_| self.was_decoded) {
            slots.witnessed[line] = None;
            slots.blank(line);
        }
        if let Some(slot) = self.slot {
            slots.used[slot] = false;
            let line = slots.witnessed.len() + slot;
            slots.blank(line);
        }
    }
}

impl Slots {
    /// Writes a line, and returns its number; `None` if it cannot be written.
    fn write(&mut self, picture: Fingerprint, name: &str) -> Option<usize> {
        let slot = self.used.iter().position(|used| !used).unwrap_or(self.used.len());
        let at = offset(self.witnessed.len() + slot);
        let file = self.file.as_mut()?;
        file.keep_in_place();
        let line = Witnessed { picture, times: 0, name: name.to_owned() }.line();
        file.file.write_all_at(line.as_bytes(), at).ok()?;
        match self.used.get_mut(slot) {
            Some(used) => *used = true,
            None => self.used.push(true),
        }
        Some(slot)
    }

    fn blank(&self, line: usize) {
        if let Some(file) = &self.file {
            // A full disk has room for a line that exists.
            let _ = file.file.write_all_at(blank().as_bytes(), offset(line));
        }
    }
}

fn offset(line: usize) -> u64 {
    (line * LINE) as u64
}

impl RecordFile {
    /// Creates the file again if it was deleted or replaced: what is written to a deleted file is lost.
    fn keep_in_place(&mut self) {
        let there = fs::symlink_metadata(&self.path).map(|metadata| Identity::of(&metadata));
        if there.is_ok_and(|there| Identity::of_open(&self.file) == Ok(there)) {
            return;
        }
        if let Ok(file) = create(&self.path) {
            self.file = file;
        }
    }
}

/// Opens the file, and creates it if it does not exist. Only its owner may read it, because it has the names of files.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    state_file::make_private(path); // an earlier run may have had other permissions
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

impl Witnessed {
    /// The line of the file: hash, length, how often (0 while it is being decoded), name.
    fn line(&self) -> String {
        let Self { picture: Fingerprint { hash, length }, times, name } = self;
        let name = name.replace(char::is_control, "\u{FFFD}");
        let mut line = format!("{hash:016x} {length} x{times} {name}");
        line.truncate(line.floor_char_boundary(LINE - 1));
        line.push_str(&" ".repeat(LINE - 1 - line.len()));
        line.push('\n');
        line
    }
}

fn blank() -> String {
    " ".repeat(LINE - 1) + "\n"
}

/// `None` for a line that is blank, or was not written by [`Witnessed::line`].
fn parse(line: &[u8]) -> Option<Witnessed> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.trim_end().splitn(4, ' ');
    let hash = u64::from_str_radix(words.next()?, 16).ok()?;
    let length = words.next()?.parse().ok()?;
    let times = words.next()?.strip_prefix('x')?.parse().ok()?;
    Some(Witnessed { picture: Fingerprint { hash, length }, times, name: words.next()?.to_owned() })
}

/// The newest pictures of these lines, each once. One that was being decoded is witnessed once more, however many sources decoded it.
fn witnessed(lines: impl Iterator<Item = Witnessed>) -> Vec<Witnessed> {
    let (decoded, mut all): (Vec<_>, Vec<_>) = lines.partition(|line| line.times == 0);
    for (at, line) in decoded.iter().enumerate() {
        let is_same = |it: &Witnessed| it.picture == line.picture;
        if decoded[..at].iter().any(is_same) {
            continue;
        }
        match all.iter_mut().find(|it| is_same(it)) {
            Some(known) => known.times = known.times.saturating_add(1),
            None => all.push(Witnessed { times: 1, ..line.clone() }),
        }
    }
    all.drain(..all.len().saturating_sub(MOST));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str) -> Fingerprint {
        Fingerprint::of(name.as_bytes())
    }

    /// The names that a process finds that starts now. Without changing the file: the running one still writes it.
    fn found(folder: &Path) -> Vec<String> {
        let bytes = fs::read(folder.join(NAME)).unwrap();
        bytes.chunks(LINE).filter_map(parse).map(|it| it.name).collect()
    }

    /// Starts while another process was killed.
    fn restart(folder: &Path) -> CrashRecord {
        CrashRecord::try_open(&folder.join(NAME)).unwrap()
    }

    fn suspected<const N: usize>(record: &CrashRecord, names: [&str; N]) -> [bool; N] {
        names.map(|name| record.is_suspected(picture(name)))
    }

    #[test]
    fn what_is_being_decoded_at_two_crashes_is_suspected() {
        let folder = tempfile::tempdir().unwrap();
        let record = CrashRecord::open(folder.path());
        let (one, two) = (record.begin(picture("1"), "one"), record.begin(picture("2"), "two\nlines"));
        drop(record.begin(picture("3"), "three"));
        drop(one);
        let four = record.begin(picture("4"), &"four ".repeat(100));
        assert_eq!(found(folder.path()).len(), 2);

        // The process is killed.
        std::mem::forget((two, four));
        let record = restart(folder.path());
        let names = found(folder.path());
        assert_eq!(names[1], "two\u{FFFD}lines");
        assert!(names[0].starts_with("four four"));
        assert_eq!(suspected(&record, ["1", "2", "3", "4"]), [false; 4], "one coincidence proves nothing");

        // Killed again, while one of them and another one are decoded.
        std::mem::forget([record.begin(picture("2"), "two"), record.begin(picture("5"), "five")]);
        let record = restart(folder.path());
        assert_eq!(suspected(&record, ["1", "2", "4", "5"]), [false, true, false, false]);

        // One that needs more memory than expected is not decoded, and proves nothing yet.
        record.begin(picture("5"), "five").not_decoded();
        assert_eq!(suspected(&record, ["2", "5"]), [true, false]);
        let lines = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(lines.lines().any(|line| line.trim_end().ends_with("x1 five")), "{lines}");

        // And again, before the first ones are out of the way: nothing is forgotten.
        std::mem::forget(record.begin(picture("4"), "four"));
        let record = restart(folder.path());
        assert_eq!(suspected(&record, ["1", "2", "4", "5"]), [false, true, true, false]);

        // One of them proves its innocence.
        drop(record.begin(picture("5"), "five"));
        std::mem::forget(record.begin(picture("5"), "five"));
        let record = restart(folder.path());
        assert_eq!(suspected(&record, ["2", "4", "5"]), [true, true, false]);

        // It stops in order while something is decoded.
        let six = record.begin(picture("6"), "six");
        record.clear();
        drop((six, record.begin(picture("7"), "seven")));
        assert!(found(folder.path()).is_empty());
    }

    #[test]
    fn a_picture_that_two_sources_decode_is_witnessed_once() {
        let folder = tempfile::tempdir().unwrap();
        let record = CrashRecord::open(folder.path());
        std::mem::forget([record.begin(picture("1"), "one"), record.begin(picture("1"), "also one")]);
        let record = restart(folder.path());
        assert_eq!(suspected(&record, ["1"]), [false]);
        std::mem::forget([record.begin(picture("1"), "one"), record.begin(picture("1"), "also one")]);
        assert_eq!(suspected(&restart(folder.path()), ["1"]), [true]);
    }

    #[test]
    fn a_deleted_record_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let record = CrashRecord::open(folder.path());
        drop(record.begin(picture("1"), "one"));
        fs::remove_file(folder.path().join(NAME)).unwrap();
        let two = record.begin(picture("2"), "two");
        assert_eq!(found(folder.path()), ["two"]);
        drop(two);
        assert!(found(folder.path()).is_empty());
    }

    #[test]
    fn a_damaged_record_and_a_missing_folder_prevent_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), [0xFF; 1000]).unwrap();
        let record = CrashRecord::open(folder.path());
        let one = record.begin(picture("1"), "one");
        assert_eq!(found(folder.path()), ["one"]);
        drop(one);
        let missing = CrashRecord::open(&folder.path().join("missing"));
        drop(missing.begin(picture("1"), "one"));
        assert!(!missing.is_suspected(picture("1")));
    }

    #[test]
    fn large_pictures_are_recognised_by_their_ends_and_their_length() {
        let (mut bytes, of) = (vec![7; 1 << 20], Fingerprint::of);
        let before = of(&bytes);
        for at in [0, (1 << 20) - 1] {
            bytes[at] = 8;
            assert_ne!(of(&bytes), before);
            bytes[at] = 7;
        }
        assert_eq!(of(&bytes), before);
        bytes.push(7);
        assert_ne!(of(&bytes), before);
    }
}
