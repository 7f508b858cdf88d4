//! Which file a path leads to: its device and inode. An open file may have been deleted, renamed or replaced since it was opened;
//! what is written to it is then lost with the process.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Identifies a file as long as it exists. After its end another file may get the same inode, so hold the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// What is at the path of a file.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// The file.
    Here,
    /// Nothing, or another file.
    Gone,
    /// The system does not say.
    Unknown(io::Error),
}

impl FileId {
    /// The file that is at `path` now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether this file is still at `path`.
    pub(crate) fn look(self, path: &Path) -> Whereabouts {
        match Self::at(path) {
            Ok(found) if found == self => Whereabouts::Here,
            Ok(_) => Whereabouts::Gone,
            Err(error) if is_missing(&error) => Whereabouts::Gone,
            Err(error) => Whereabouts::Unknown(error),
        }
    }
}

/// Whether the error says that there is no such file: its folder may be missing, or a file.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_when_its_path_leads_nowhere_or_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (state, away) = (folder.path().join("state"), folder.path().join("away"));
        fs::create_dir(&state).unwrap();
        let path = state.join("file");
        // Held open, so that no other file gets its inode.
        let _open = fs::File::create(&path).unwrap();
        let id = FileId::at(&path).unwrap();
        let is_here = || matches!(id.look(&path), Whereabouts::Here);
        let is_gone = || matches!(id.look(&path), Whereabouts::Gone);
        assert!(is_here());
        fs::rename(&path, state.join("other")).unwrap();
        assert!(is_gone(), "renamed");
        fs::write(&path, "").unwrap();
        assert!(is_gone(), "replaced");
        fs::rename(state.join("other"), &path).unwrap();
        assert!(is_here(), "it is back");
        fs::rename(&state, &away).unwrap();
        assert!(is_gone(), "the folder is renamed");
        fs::write(&state, "").unwrap();
        assert!(is_gone(), "the folder is a file");
        fs::remove_file(&state).unwrap();
        std::os::unix::fs::symlink(&state, &state).unwrap();
        assert!(matches!(id.look(&path), Whereabouts::Unknown(_)), "a link to itself");
    }
}
