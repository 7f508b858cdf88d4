//! Why a folder cannot be watched, in words that name the folder and the way out.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is something else.
    #[error("{0} is not a folder: name the folder that holds the pictures")]
    NotAFolder(PathBuf),
    /// The system does not let us.
    #[error("cannot read the folder {path}: {cause}{}", remedy(path, cause))]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Files would be moved to where they are.
    #[error("{0} is watched, so its files cannot be moved into it: name another folder in `after`")]
    MovesIntoItself(PathBuf),
    /// The kernel's limit for watched folders.
    #[error(
        "the kernel watches no more folders than now, {0} is one too many: raise the limit with \
         `sysctl fs.inotify.max_user_watches=1048576`, or let the source look by itself with `poll: 10s`"
    )]
    TooManyFolders(PathBuf),
    /// The kernel's limit for programs that watch.
    #[error(
        "the kernel lets no more programs of this user watch folders: raise the limit with \
         `sysctl fs.inotify.max_user_instances=1024`, or let the source look by itself with `poll: 10s`"
    )]
    TooManyWatchers,
    /// Anything else that the kernel refused.
    #[error("cannot watch the folder {0}: {1}: if its file system tells no changes, use `poll: 10s`")]
    Watch(PathBuf, String),
}

impl FolderError {
    /// What a refused watch on `path` means; `None` if only the folder is gone again.
    pub(crate) fn of_watch(path: &Path, error: notify::Error) -> Option<Self> {
        match error.kind {
            notify::ErrorKind::PathNotFound => None,
            notify::ErrorKind::MaxFilesWatch => Some(Self::TooManyFolders(path.to_path_buf())),
            notify::ErrorKind::Io(cause) => match cause.kind() {
                ErrorKind::NotFound => None,
                ErrorKind::PermissionDenied => Some(Self::Unreadable { path: path.to_path_buf(), cause }),
                _ if cause.raw_os_error() == Some(libc::EMFILE) => Some(Self::TooManyWatchers),
                _ => Some(Self::Watch(path.to_path_buf(), cause.to_string())),
            },
            other => Some(Self::Watch(path.to_path_buf(), notify::Error::new(other).to_string())),
        }
    }
}

/// What to do about a folder that cannot be read, where that is known.
fn remedy(path: &Path, cause: &io::Error) -> String {
    if cause.kind() != ErrorKind::PermissionDenied {
        return String::new();
    }
    let path = path.display();
    format!(
        ": the user that runs stakeout needs read and execute permission for it and execute permission for every \
         folder above it, for example `chmod o+rx {path}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: notify::ErrorKind) -> String {
        let error = FolderError::of_watch(Path::new("/in/box"), notify::Error::new(kind));
        error.map_or_else(|| "nothing".to_owned(), |error| error.to_string())
    }

    #[test]
    fn a_refused_watch_says_what_to_do() {
        let io = |code| notify::ErrorKind::Io(io::Error::from_raw_os_error(code));
        let cases = [
            (notify::ErrorKind::MaxFilesWatch, "fs.inotify.max_user_watches"),
            (notify::ErrorKind::MaxFilesWatch, "/in/box is one too many"),
            (notify::ErrorKind::MaxFilesWatch, "`poll: 10s`"),
            (io(libc::EMFILE), "fs.inotify.max_user_instances"),
            (io(libc::EACCES), "cannot read the folder /in/box: Permission denied"),
            (io(libc::EACCES), "`chmod o+rx /in/box`"),
            (io(libc::ENOSYS), "cannot watch the folder /in/box"),
            (io(libc::ENOENT), "nothing"),
            (notify::ErrorKind::PathNotFound, "nothing"),
        ];
        for (kind, expected) in cases {
            let told = told(kind);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn permission_is_the_remedy_for_nothing_else() {
        let cause = io::Error::from_raw_os_error(libc::ESTALE);
        let error = FolderError::Unreadable { path: PathBuf::from("/in/box"), cause };
        assert_eq!(error.to_string(), "cannot read the folder /in/box: Stale file handle (os error 116)");
    }
}
