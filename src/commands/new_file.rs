//! Writes a new configuration file. It may hold passwords, so only its owner reads it; a file that exists keeps its owner and permissions.

use std::{io, path::Path};

use anyhow::{Context as _, Result};

use crate::atomic_file;

/// Writes `text` to `path` in one step. The caller has asked whether a file that exists may be replaced.
///
/// # Errors
/// The folder does not exist or cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let written = match atomic_file::create_private(path, text) {
        // A link stays a link.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::canonicalize(path).and_then(|target| atomic_file::write_for_owner(&target, text))
        }
        written => written,
    };
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write(&path, "one").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode()), ("one", 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode()), ("two", 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        let error = write(&folder.path().join("none/stakeout.yaml"), "x").unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error:#}");
    }
}
