//! The cache folder: files that can be computed again, in the folder of the service or of the user.

use std::{
    cmp::Reverse,
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{atomic_file, shortage};

/// The cache folder, which may not exist yet. `None` if neither the service manager nor the user has one.
pub(crate) fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    // systemd separates several folders with colons; the unit names one.
    let service = set("CACHE_DIRECTORY").and_then(|given| Some(given.to_str()?.split(':').next()?.into()));
    let user = || {
        let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
        cache.map(|cache| cache.join("stakeout"))
    };
    service.or_else(user)
}

/// The content of a file; `None` if it cannot be read. A file that cannot be opened for now is waited for: it would be made again,
/// and replaced by less.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    shortage::patiently(|| fs::read(path)).ok()
}

/// Replaces a file in one step and keeps only the newest `most` files of its folder.
///
/// # Errors
/// The folder cannot be created or written.
pub(crate) fn write(path: &Path, bytes: &[u8], most: usize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    atomic_file::write(path, bytes)?;
    prune(folder, most);
    Ok(())
}

/// Marks a file as used, so that it is not among the oldest. The mark is at most one day old.
pub(crate) fn touch(path: &Path) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    if changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age > DAY)) {
        // A folder that cannot be written is not pruned either.
        let _ = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now));
    }
}

/// Marks a folder as used, and keeps only the newest `most` folders beside it.
pub(crate) fn keep_newest_folders(used: &Path, most: usize) {
    // Without the mark the folder is as old as its newest file.
    let _ = fs::File::open(used).and_then(|folder| folder.set_modified(SystemTime::now()));
    let all = used.parent().unwrap_or(Path::new("."));
    for path in newest_first(all).into_iter().filter(|path| path.is_dir()).skip(most) {
        // Another process may use it or may have deleted it.
        let _ = fs::remove_dir_all(path);
    }
}

/// Deletes the files of a folder whose name is `stale`, and keeps only the newest `most` others.
pub(crate) fn keep_newest_files(folder: &Path, most: usize, stale: impl Fn(&str) -> bool) {
    let is_stale = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(&stale);
    let (stale, others): (Vec<_>, Vec<_>) = newest_first(folder).into_iter().partition(is_stale);
    for path in stale.into_iter().chain(others.into_iter().skip(most)) {
        // Another process may have deleted it.
        let _ = fs::remove_file(path);
    }
}

/// Bytes as lower-case hexadecimal digits, for names of files.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prune(folder: &Path, most: usize) {
    for path in newest_first(folder).into_iter().skip(most) {
        // Another process may have deleted it.
        let _ = fs::remove_file(path);
    }
}

fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let changed = |entry: &fs::DirEntry| entry.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut found: Vec<_> = entries.filter_map(|entry| Some((changed(&entry)?, entry.path()))).collect();
    found.sort_by_key(|(changed, _)| Reverse(*changed));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_are_deleted_and_used_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("deep").join(name);
        let days_ago = |name: &str, days: u64| {
            let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
            fs::File::options().append(true).open(at(name)).unwrap().set_modified(time).unwrap();
        };
        for (name, days) in [("a", 5), ("b", 4), ("c", 3)] {
            write(&at(name), name.as_bytes(), 3).unwrap();
            days_ago(name, days);
        }
        touch(&at("a"));
        write(&at("d"), b"d", 3).unwrap();
        let there = ["a", "b", "c", "d"].map(|name| at(name).exists());
        assert_eq!(there, [true, false, true, true]);
        write(&at("d"), b"more", 3).unwrap();
        assert_eq!(fs::read(at("d")).unwrap(), b"more");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 3, "no temporary file is left");
        touch(&at("gone"));
    }

    #[test]
    fn stale_files_and_the_oldest_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        for (name, days) in [("a-1", 4), ("a-2", 3), ("b-1", 2), ("c-1", 1), ("d-1", 5)] {
            let path = folder.path().join(name);
            fs::write(&path, "x").unwrap();
            let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
            fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        keep_newest_files(folder.path(), 3, |name| name != "a-2" && name.starts_with("a-"));
        let there = ["a-1", "a-2", "b-1", "c-1", "d-1"].map(|name| folder.path().join(name).exists());
        assert_eq!(there, [false, true, true, true, false]);
        keep_newest_files(&folder.path().join("none"), 3, |_| true);
    }

    #[test]
    fn the_folders_used_last_are_kept() {
        let all = tempfile::tempdir().unwrap();
        let at = |name: &str| all.path().join(name);
        for (name, days) in [("a", 3), ("b", 2), ("c", 1)] {
            fs::create_dir(at(name)).unwrap();
            let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
            fs::File::open(at(name)).unwrap().set_modified(time).unwrap();
        }
        fs::write(at("file"), "x").unwrap();
        keep_newest_folders(&at("a"), 2);
        assert_eq!(["a", "b", "c", "file"].map(|name| at(name).exists()), [true, false, true, true]);
    }
}
