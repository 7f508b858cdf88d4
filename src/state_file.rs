//! A JSON file in the state directory: read once at the start, replaced atomically when its content changes, and written again when
//! it vanished or could not be written. A file that cannot be used is renamed before it is replaced.
//!
//! Only the user of the service can read it. [`tend`] takes care of every file: no owner of one needs to do that.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    atomic_file,
    descriptors::{Identity, is_missing},
    shortage,
};

/// How often a file that cannot be written is logged; the first time at once.
const REMIND: Duration = Duration::from_secs(600);

/// Every file that is in use, by its path.
static FILES: Mutex<Vec<(PathBuf, Weak<Mutex<Kept>>)>> = Mutex::new(Vec::new());

/// The file, and what it contains. A clone is the same file.
#[derive(Debug, Clone)]
pub struct StateFile(Arc<Mutex<Kept>>);

/// What is to be in the file, and which file has it.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// What the file is to contain; `None`: nothing was read or saved yet.
    content: Option<String>,
    /// The file that has this content; `None`: it is not written.
    written: Option<Version>,
    /// The file has a content that could not be used.
    unusable: bool,
    consequence: &'static str,
    failing: Option<String>,
    reminded: Option<Instant>,
}

/// Changes when a file is replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    file: Identity,
    size: u64,
    modified: (i64, i64),
}

/// The state of all files in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that cannot be written, and why.
    pub failing: Vec<(PathBuf, String)>,
    /// How many files had vanished and were written again in this call.
    pub restored: u64,
}

/// Takes the permissions to read a state file from other users. An earlier version, or one in a container, may have made it readable.
pub fn make_private(path: &Path) {
    if let Err(error) = atomic_file::make_private(path) {
        let file = path.display();
        tracing::warn!(%file, %error, "other users may read a state file: give it to the user who runs stakeout");
    }
}

impl StateFile {
    /// Reads `name` in `state_dir`. A missing file is the default value. So is an unreadable or damaged one, with a warning
    /// that names the `consequence` of losing it.
    #[must_use]
    pub fn load<T: DeserializeOwned + Default>(
        state_dir: &Path,
        name: &str,
        consequence: &'static str,
    ) -> (Self, T) {
        let path = state_dir.join(name);
        make_private(&path);
        // A file that cannot be opened for now must not be replaced by an empty one.
        let read = shortage::patiently(|| Ok((atomic_file::read_to_string(&path)?, Version::at(&path)?)));
        let mut unusable = false;
        let (content, written) = match read {
            Ok((content, version)) => (Some(content), Some(version)),
            Err(error) => {
                if !is_missing(&error) {
                    tracing::warn!(file = %path.display(), %error, "cannot read a state file: {consequence}");
                    unusable = true;
                }
                (None, None)
            }
        };
        let value = content.as_deref().map(serde_json::from_str::<T>).transpose().unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "ignored a damaged state file: {consequence}");
            unusable = true;
            None
        });
        // A damaged file is not worth being written again.
        let content = content.filter(|_| value.is_some());
        let (failing, reminded) = (None, None);
        let kept = Kept { path: path.clone(), content, written, unusable, consequence, failing, reminded };
        let kept = Arc::new(Mutex::new(kept));
        let mut files = lock(&FILES);
        // The newest owner decides what a file contains.
        files.retain(|(other, file)| *other != path && file.strong_count() > 0);
        files.push((path, Arc::downgrade(&kept)));
        (Self(kept), value.unwrap_or_default())
    }

    /// Writes `value`, unless the file contains it. A failure is logged, and tried again by [`tend`] and with the next call.
    pub fn save(&mut self, value: &impl Serialize) {
        let mut kept = lock(&self.0);
        match serde_json::to_string(value) {
            Ok(content) => {
                if kept.content.as_ref() != Some(&content) {
                    (kept.content, kept.written) = (Some(content), None);
                }
                kept.write_if_missing();
            }
            Err(error) => kept.failed(&error.into()),
        }
    }
}

/// Writes the files in `state_dir` again that vanished or could not be written. To be called every second or so. Blocks for the disk.
#[must_use]
pub fn tend(state_dir: &Path) -> Report {
    let is_inside = |(path, file): &(PathBuf, Weak<_>)| {
        (path.parent() == Some(state_dir)).then(|| file.upgrade()).flatten()
    };
    let files: Vec<Arc<Mutex<Kept>>> = lock(&FILES).iter().filter_map(is_inside).collect();
    let mut report = Report::default();
    for file in files {
        let mut kept = lock(&file);
        report.restored += u64::from(kept.write_if_missing());
        if let Some(why) = &kept.failing {
            report.failing.push((kept.path.clone(), why.clone()));
        }
    }
    report
}

impl Kept {
    /// Writes the content unless the file has it. Returns whether it had vanished and is there again.
    fn write_if_missing(&mut self) -> bool {
        let Some(content) = &self.content else { return false };
        let had = self.written.is_some();
        if had && Version::at(&self.path).ok() == self.written {
            return false;
        }
        match write(&self.path, content, self.unusable) {
            Ok(version) => {
                self.unusable = false;
                let file = self.path.display();
                if had {
                    tracing::error!(
                        %file,
                        "a state file was deleted, renamed or replaced: it was written again; let no other program change \
                         the state folder"
                    );
                }
                if self.failing.take().is_some() {
                    tracing::info!(%file, "a state file can be written again");
                }
                (self.written, self.reminded) = (Some(version), None);
                had
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.reminded.is_none_or(|last| now.duration_since(last) >= REMIND) {
            self.reminded = Some(now);
            let (file, consequence) = (self.path.display(), self.consequence);
            tracing::warn!(%file, %error, "cannot write a state file: make it writable. After a restart: {consequence}");
        }
        self.failing = Some(error.to_string());
    }
}

impl Version {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { file: Identity::of(&metadata), size: metadata.len(), modified })
    }
}

fn write(path: &Path, content: &str, unusable: bool) -> io::Result<Version> {
    // The folder may have been deleted.
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    if unusable && let Some(aside) = atomic_file::set_aside(path)? {
        let (file, aside) = (path.display(), aside.display());
        tracing::warn!(
            %file, %aside,
            "a state file that could not be used was renamed and is replaced: if it is intact, stop the service and rename it back"
        );
    }
    atomic_file::write_private(path, content)?;
    Version::at(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Disk, sweep};

    #[test]
    fn no_fault_destroys_what_was_written() {
        let load = |disk: &Disk| StateFile::load::<Vec<u32>>(disk.path(), "a.json", "nothing is lost");
        let faults = sweep(
            |disk| load(disk).0.save(&[1]),
            |disk| {
                let (mut file, mut value) = load(disk);
                for number in [2, 3] {
                    value.push(number);
                    file.save(&value);
                }
                assert!(tend(disk.path()).failing.is_empty() || disk.has_failed());
            },
            |disk, fault| {
                let (mut file, value) = load(disk);
                let kept = fs::read_to_string(disk.path().join("a.json.damaged")).ok();
                let all = if kept.is_some() { &[2, 3][..] } else { &[1, 2, 3] };
                assert!(kept.is_none_or(|kept| kept == "[1]"), "{fault:?}");
                assert!(
                    all.starts_with(&value) && (all.len() == 2 || !value.is_empty()),
                    "{fault:?}: {value:?}"
                );
                let is_over = fault.is_none_or(|fault| !fault.permanent);
                assert!(!is_over || value == [1, 2, 3], "{fault:?}: {value:?}: it is tried again");
                file.save(&[9]);
                assert_eq!((load(disk).1, tend(disk.path())), (vec![9], Report::default()), "{fault:?}");
                let names = fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().file_name());
                let other = |name: &std::ffi::OsString| name != "a.json" && name != "a.json.damaged";
                assert_eq!(names.filter(other).collect::<Vec<_>>(), [""; 0], "{fault:?}");
            },
        );
        assert!(faults >= 22, "{faults}");
    }

    #[test]
    fn only_the_owner_reads_it_also_if_an_earlier_version_made_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let load = || StateFile::load::<Vec<u32>>(folder.path(), "a.json", "nothing is lost");
        load().0.save(&[1]);
        assert_eq!(mode(), 0o600, "a new file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load().1, [1]);
        assert_eq!(mode(), 0o600, "an older file that does not change");
    }

    #[test]
    fn a_value_is_restored_and_written_only_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let load = || StateFile::load::<Vec<u32>>(folder.path(), "a.json", "nothing is lost");
        let (mut file, value) = load();
        assert_eq!(value, [0_u32; 0]);
        file.save(&[1, 2]);
        assert_eq!(load().1, [1, 2]);
        let path = folder.path().join("a.json");
        let version = Version::at(&path).unwrap();
        file.save(&[1, 2]);
        assert_eq!(Version::at(&path).unwrap(), version, "the same value is not written again");
        file.save(&[3]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[3]");
        drop(file);
        for damaged in ["", "{}", "[1", "[-1]"] {
            fs::write(&path, damaged).unwrap();
            let (mut file, value) = load();
            assert_eq!(value, [0_u32; 0], "{damaged}");
            file.save(&value);
            assert_eq!(load().1, [0_u32; 0], "{damaged}");
        }
    }

    #[test]
    fn a_failed_write_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        fs::write(&state_dir, "a file instead of the folder").unwrap();
        let (mut file, _) = StateFile::load::<Vec<u32>>(&state_dir, "a.json", "nothing is lost");
        file.save(&[1]);
        let failing = tend(&state_dir).failing;
        assert!(failing.len() == 1 && failing[0].0.ends_with("a.json"), "{failing:?}");
        fs::remove_file(&state_dir).unwrap();
        assert_eq!(tend(&state_dir), Report::default(), "it works again");
        assert_eq!(fs::read_to_string(state_dir.join("a.json")).unwrap(), "[1]");
    }

    #[test]
    fn a_file_that_vanishes_is_written_again_whatever_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (state_dir, away) = (folder.path().join("state"), folder.path().join("away"));
        let path = state_dir.join("a.json");
        let (mut file, _) = StateFile::load::<Vec<u32>>(&state_dir, "a.json", "nothing is lost");
        assert_eq!(tend(&state_dir), Report::default());
        assert!(!path.exists(), "nothing was saved yet");
        file.save(&[1]);
        let clone = file.clone();
        let cases: [(&str, &dyn Fn()); 4] = [
            ("deleted", &|| fs::remove_file(&path).unwrap()),
            ("replaced", &|| atomic_file::write(&path, "[2]").unwrap()),
            ("emptied", &|| fs::write(&path, "").unwrap()),
            ("with its folder", &|| fs::rename(&state_dir, &away).unwrap()),
        ];
        for (what, damage) in cases {
            damage();
            assert_eq!(tend(&state_dir), Report { restored: 1, ..Report::default() }, "{what}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "[1]", "{what}");
            assert_eq!(tend(&state_dir), Report::default(), "{what}");
        }
        fs::remove_file(&path).unwrap();
        file.save(&[1]);
        assert!(path.exists(), "it is noticed by a save, too");
        drop((file, clone));
        fs::remove_file(&path).unwrap();
        assert_eq!(tend(&state_dir), Report::default(), "no one uses it any more");
    }
}
