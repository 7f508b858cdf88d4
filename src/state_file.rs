//! A JSON file in the state directory: read once at the start, replaced atomically when its content changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::atomic_file;

/// The file, and what it contains.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// The content on disk; `None` if it is not known.
    content: Option<String>,
    consequence: &'static str,
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
        let content = match fs::read_to_string(&path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot read a state file: {consequence}");
                None
            }
        };
        let value = content.as_deref().map(serde_json::from_str).transpose().unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "ignored a damaged state file: {consequence}");
            None
        });
        (Self { path, content, consequence }, value.unwrap_or_default())
    }

    /// Writes `value`, unless it is what the file contains. A failure is logged, and tried again with the next call.
    pub fn save(&mut self, value: &impl Serialize) {
        let written = serde_json::to_string(value).map_err(io::Error::from).and_then(|content| {
            if self.content.as_ref() != Some(&content) {
                atomic_file::write(&self.path, &content)?;
                self.content = Some(content);
            }
            Ok(())
        });
        if let Err(error) = written {
            let file = self.path.display();
            tracing::warn!(%file, %error, "cannot write a state file: make it writable. After a restart: {}", self.consequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_restored_and_written_only_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let load = || StateFile::load::<Vec<u32>>(folder.path(), "a.json", "nothing is lost");
        let (mut file, value) = load();
        assert_eq!(value, [0_u32; 0]);
        file.save(&[1, 2]);
        assert_eq!(load().1, [1, 2]);
        let path = folder.path().join("a.json");
        fs::remove_file(&path).unwrap();
        file.save(&[1, 2]);
        assert!(!path.exists(), "the same value is not written again");
        file.save(&[3]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[3]");
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
        let (mut file, _) = StateFile::load::<Vec<u32>>(&state_dir, "a.json", "nothing is lost");
        file.save(&[1]);
        fs::create_dir(&state_dir).unwrap();
        file.save(&[1]);
        assert_eq!(fs::read_to_string(state_dir.join("a.json")).unwrap(), "[1]");
    }
}
