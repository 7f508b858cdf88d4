//! Remembers over restarts which files were handled: a state file for each folder source.
//!
//! What arrives while the service is stopped is new at the next start, and nothing that was handled is taken again. A missing
//! or damaged file is a first start. The file is written when files were handled, less often the larger it is and the slower
//! the disk, and when the source ends. Files whose frames are in flight are not in it: after a kill they are taken again.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    seen::{self, Seen},
    settings::{Existing, Patterns},
};
use crate::{cache, state_file::StateFile};

/// The shortest time between two writes.
const PAUSE: Duration = Duration::from_millis(100);
/// The time that each file adds to it: some 80 KB are written a second at most.
const A_FILE: Duration = Duration::from_millis(1);
/// The least multiple of the duration of a write.
const REST: u32 = 20;

/// The state file of a folder source.
#[derive(Debug)]
pub(super) struct Memory {
    file: StateFile,
    source: String,
    folder: String,
    patterns: Patterns,
    /// [`Seen::changes`] when the file was written last.
    written: u64,
    not_before: Instant,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// The name of the source, for people.
    source: String,
    folder: String,
    include: Vec<String>,
    exclude: Vec<String>,
    #[serde(flatten)]
    seen: seen::Saved,
}

/// What the file contained about this folder.
pub(super) struct Recalled {
    /// The patterns that were in force, if they were others.
    pub(super) earlier_patterns: Option<Patterns>,
}

impl Memory {
    /// Reads the file of the source `name` in `state_dir` into `seen`. `None` instead of the content: no earlier run has watched
    /// this folder.
    pub(super) fn load(
        state_dir: &Path,
        name: &str,
        root: &Path,
        patterns: &Patterns,
        existing: Existing,
        seen: &mut Seen,
    ) -> (Self, Option<Recalled>) {
        let (file, content) = StateFile::load::<Option<Content>>(
            state_dir,
            &file_name(name),
            "the files in the folder count as existing ones, as at the first start",
        );
        let folder = root.to_string_lossy().into_owned();
        let content = content.filter(|content| content.folder == folder);
        let recalled = content.map(|content| {
            seen.restore(content.seen, existing == Existing::Process);
            let earlier = Patterns::of_texts(&content.include, &content.exclude);
            Recalled { earlier_patterns: earlier.filter(|earlier| earlier != patterns) }
        });
        let memory = Self {
            file,
            source: name.to_owned(),
            folder,
            patterns: patterns.clone(),
            written: u64::MAX,
            not_before: Instant::now(),
        };
        (memory, recalled)
    }

    /// When the file is to be written, if there is something to write.
    pub(super) fn due(&self, seen: &Seen) -> Option<Instant> {
        (seen.changes() != self.written).then_some(self.not_before)
    }

    /// Writes the file, without the files `except`.
    pub(super) fn save<'p>(&mut self, seen: &Seen, except: impl IntoIterator<Item = &'p Path>) {
        if self.due(seen).is_none() {
            return;
        }
        let [include, exclude] = self.patterns.texts();
        let (source, folder, seen_files) = (self.source.clone(), self.folder.clone(), seen.save(except));
        let pause = PAUSE + A_FILE * u32::try_from(seen_files.len()).unwrap_or(u32::MAX);
        let started = Instant::now();
        self.file.save(&Content { source, folder, include, exclude, seen: seen_files });
        let ended = Instant::now();
        (self.written, self.not_before) = (seen.changes(), ended + pause.max((ended - started) * REST));
    }
}

/// The name of the file. The name of a source may contain anything.
fn file_name(source: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("folder-{}.json", cache::hex(&Sha256::digest(source)[..8]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{
            seen::{Fate, MOST, Verdict, tests::version},
            settings::PathPattern,
        },
        *,
    };
    use crate::{faults::sweep, state_file};

    fn load(state_dir: &Path, root: &str, patterns: &Patterns) -> (Memory, Option<Recalled>, Seen) {
        let mut seen = Seen::new(true, MOST);
        let (memory, recalled) =
            Memory::load(state_dir, "cam / 1", Path::new(root), patterns, Existing::Skip, &mut seen);
        (memory, recalled, seen)
    }

    #[test]
    fn what_was_handled_is_restored_for_the_same_folder() {
        let state = tempfile::tempdir().unwrap();
        let (a, patterns) = (Path::new("/in/a"), Patterns::default());
        let (mut memory, recalled, mut seen) = load(state.path(), "/in", &patterns);
        assert!(recalled.is_none(), "the first start");
        seen.insert(a, version(1, 10, 100), Fate::Skipped);
        memory.save(&seen, []);
        assert_eq!(memory.due(&seen), None);

        let (_, recalled, mut again) = load(state.path(), "/in", &patterns);
        assert!(recalled.is_some_and(|recalled| recalled.earlier_patterns.is_none()));
        assert_eq!(again.judge(a, version(1, 10, 100)), Verdict::Known(Fate::Skipped));
        let (_, recalled, mut other) = load(state.path(), "/other", &patterns);
        assert!(recalled.is_none(), "another folder under this name");
        assert_eq!(other.judge(a, version(1, 10, 100)), Verdict::New);
        let narrow = Patterns::new(vec![PathPattern::including("*.jpg").unwrap()], vec![]);
        let (_, recalled, _) = load(state.path(), "/in", &narrow);
        assert_eq!(recalled.unwrap().earlier_patterns, Some(patterns));
    }

    #[test]
    fn a_damaged_file_is_a_first_start() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(file_name("cam / 1"));
        for damaged in
            ["", "[]", "{\"folder\": 7}", "{\"source\":\"cam / 1\",\"folder\":\"/in\",\"include\":[]"]
        {
            fs::write(&file, damaged).unwrap();
            let (mut memory, recalled, seen) = load(state.path(), "/in", &Patterns::default());
            assert!(recalled.is_none(), "{damaged}");
            memory.save(&seen, []);
            assert!(load(state.path(), "/in", &Patterns::default()).1.is_some(), "{damaged}");
        }
    }

    #[test]
    fn no_fault_makes_handled_files_new_for_ever() {
        let (a, b, patterns) = (Path::new("/in/a"), Path::new("/in/b"), Patterns::default());
        let (first, second) = (version(1, 10, 100), version(2, 20, 200));
        let faults = sweep(
            |disk| {
                let (mut memory, _, mut seen) = load(disk.path(), "/in", &patterns);
                seen.insert(a, first, Fate::Skipped);
                memory.save(&seen, []);
            },
            |disk| {
                let (mut memory, _, mut seen) = load(disk.path(), "/in", &patterns);
                seen.insert(b, second, Fate::Skipped);
                memory.save(&seen, []);
                // As the service does every second.
                let _ = state_file::tend(disk.path());
            },
            |disk, fault| {
                let (_, recalled, mut seen) = load(disk.path(), "/in", &patterns);
                let known = [(a, first), (b, second)]
                    .map(|(path, version)| seen.judge(path, version) == Verdict::Known(Fate::Skipped));
                let damaged = disk.path().join(file_name("cam / 1") + ".damaged").exists();
                assert!(recalled.is_some(), "{fault:?}");
                assert!(known[0] || damaged, "{fault:?}: one of the two files has it");
                assert!(
                    known[1] || fault.is_some_and(|fault| fault.permanent),
                    "{fault:?}: it is tried again"
                );
            },
        );
        assert!(faults >= 12, "{faults}");
    }

    #[test]
    fn a_large_file_is_written_less_often() {
        let state = tempfile::tempdir().unwrap();
        let (mut memory, _, mut seen) = load(state.path(), "/in", &Patterns::default());
        let mut pause = |files: u64| {
            (0..files).for_each(|n| seen.insert(Path::new(&n.to_string()), version(n, 1, 1), Fate::Failed));
            memory.save(&seen, []);
            memory.not_before.saturating_duration_since(Instant::now())
        };
        assert!(!pause(1).is_zero());
        assert!(pause(10_000) > Duration::from_secs(9));
    }
}
