//! Earlier versions of the main file, kept in the state folder when the service saves a new one. Their number and size are limited.
//!
//! A version has the passwords that its file had, so only the user of the service may read it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::atomic_file;

/// The folder in the state folder.
const FOLDER: &str = "config-versions";
/// The most versions that are kept.
const MOST: usize = 50;
/// The most bytes of all versions together.
const MOST_BYTES: u64 = 5_000_000;

/// The earlier versions of a file.
#[derive(Debug, Clone)]
pub struct Versions {
    folder: PathBuf,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub id: String,
    /// When it was replaced by the next one.
    pub replaced_at: Timestamp,
    /// Its size in bytes.
    pub size: u64,
}

impl Versions {
    /// Those of the service with this state folder.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join(FOLDER) }
    }

    /// The folder that they are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All versions, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Version>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(time) = name.to_str().and_then(microseconds) else { continue };
            // Another save may have deleted it.
            let Ok(metadata) = entry.metadata() else { continue };
            if let Ok(replaced_at) = Timestamp::from_microsecond(time) {
                versions.push(Version { id: time.to_string(), replaced_at, size: metadata.len() });
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.replaced_at));
        Ok(versions)
    }

    /// The content of a version; `None` if there is none with this name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, id: &str) -> io::Result<Option<Vec<u8>>> {
        // The path is made of the number, and not of what was typed.
        let Some(time) = id.parse::<i64>().ok().filter(|time| *time >= 0) else { return Ok(None) };
        match atomic_file::read(&self.path(time)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Keeps `content`, which is replaced `now`, and deletes the oldest versions beyond the limits. What is the newest version
    /// already is not kept twice.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, content: &[u8], now: Timestamp) -> io::Result<()> {
        let newest = self.list()?.into_iter().next();
        if let Some(newest) = &newest
            && self.read(&newest.id)?.is_some_and(|known| known == content)
        {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.folder)?;
        // The clock may have been set back: the order of the names is the order of the saves.
        let after = newest.map_or(0, |newest| newest.replaced_at.as_microsecond() + 1);
        atomic_file::write_private(&self.path(now.as_microsecond().max(after)), content)?;
        self.prune()
    }

    fn prune(&self) -> io::Result<()> {
        let mut bytes = 0;
        for (number, version) in self.list()?.into_iter().enumerate() {
            bytes += version.size;
            if number > 0
                && (number >= MOST || bytes > MOST_BYTES)
                && let Some(time) = microseconds(&format!("{}.yaml", version.id))
            {
                fs::remove_file(self.path(time))?;
            }
        }
        Ok(())
    }

    fn path(&self, time: i64) -> PathBuf {
        self.folder.join(format!("{time}.yaml"))
    }
}

/// The time in the name of a version.
fn microseconds(name: &str) -> Option<i64> {
    name.strip_suffix(".yaml")?.parse().ok().filter(|time| *time >= 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn contents(versions: &Versions) -> Vec<String> {
        let list = versions.list().unwrap();
        list.iter().map(|it| String::from_utf8(versions.read(&it.id).unwrap().unwrap()).unwrap()).collect()
    }

    #[test]
    fn versions_are_listed_from_the_newest_to_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::of(folder.path());
        assert_eq!(versions.list().unwrap(), []);
        versions.keep(b"one", at(1)).unwrap();
        versions.keep(b"two", at(2)).unwrap();
        versions.keep(b"two", at(3)).unwrap();
        versions.keep(b"three", at(0)).unwrap();
        assert_eq!(contents(&versions), ["three", "two", "one"], "also if the clock was set back");
        let newest = &versions.list().unwrap()[0];
        assert_eq!((newest.replaced_at.as_second(), newest.size), (at(2).as_second(), 5));
        let file = folder.path().join(FOLDER).join(format!("{}.yaml", newest.id));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path().join(FOLDER)).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::of(folder.path());
        versions.keep(b"one", at(1)).unwrap();
        fs::write(folder.path().join("1.yaml"), "secret").unwrap();
        fs::write(folder.path().join(FOLDER).join("other.yaml"), "no version").unwrap();
        for id in ["", "../1", "../1.yaml", "-1", "1", "/etc/passwd", "other", "99999999999999999999999"] {
            assert_eq!(versions.read(id).unwrap(), None, "{id}");
        }
        assert_eq!(contents(&versions), ["one"]);
    }

    #[test]
    fn number_and_size_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::of(folder.path());
        for number in 0..=60 {
            versions.keep(number.to_string().as_bytes(), at(number)).unwrap();
        }
        let kept = contents(&versions);
        assert_eq!((kept.len(), &*kept[0], &*kept[MOST - 1]), (MOST, "60", "11"));
        let large = vec![b'x'; 3_000_000];
        versions.keep(&large, at(100)).unwrap();
        versions.keep(b"small", at(101)).unwrap();
        assert_eq!(versions.list().unwrap().len(), MOST);
        versions.keep(&[&large[..], b"y"].concat(), at(102)).unwrap();
        let sizes: Vec<_> = versions.list().unwrap().iter().map(|version| version.size).collect();
        assert_eq!(sizes, [3_000_001, 5]);
    }
}
