//! Why a folder cannot be watched, with the folder and the remedy.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{shortage::Shortage, source::kind::Failure};

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The path is not a folder.
    #[error("{0} is not a folder: name the folder that holds the pictures")]
    NotAFolder(PathBuf),
    /// The folder cannot be read.
    #[error("cannot read the folder {path}: {cause}{}", remedy(path, cause))]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Files would be moved into the watched folder itself.
    #[error("{0} is watched, so its files cannot be moved into it: name another folder in `after`")]
    MovesIntoItself(PathBuf),
    /// The folder, or the one that files are moved into, is in the state folder of the service.
    #[error(
        "{0} is in the state folder of the service, where its alerts are kept: name a folder outside of it, and move the files there"
    )]
    InStateFolder(PathBuf),
    /// The kernel's limit of watched folders.
    #[error(
        "the kernel's limit of watched folders is reached at {0}: raise it with \
         `sysctl fs.inotify.max_user_watches=1048576`, or scan the folder at an interval with `poll: 10s`"
    )]
    TooManyFolders(PathBuf),
    /// The kernel's limit of programs that watch folders.
    #[error(
        "the kernel's limit of programs of this user that watch folders is reached: raise it with \
         `sysctl fs.inotify.max_user_instances=1024`, or scan the folder at an interval with `poll: 10s`"
    )]
    TooManyWatchers,
    /// No folder can be opened for now, which says nothing about this one.
    #[error("the folder {path} is opened again soon: {shortage}. {}", .shortage.remedy())]
    NotNow {
        /// The folder.
        path: PathBuf,
        /// What is used up.
        shortage: Shortage,
    },
    /// Anything else that the kernel refused.
    #[error("cannot watch the folder {0}: {1}: if its file system reports no changes, use `poll: 10s`")]
    Watch(PathBuf, String),
}

impl FolderError {
    /// The meaning of a refused watch on `path`; `None` if the folder was just removed.
    pub(crate) fn of_watch(path: &Path, error: notify::Error) -> Option<Self> {
        match error.kind {
            notify::ErrorKind::PathNotFound => None,
            notify::ErrorKind::MaxFilesWatch => Some(Self::TooManyFolders(path.to_path_buf())),
            notify::ErrorKind::Io(cause) => match cause.kind() {
                ErrorKind::NotFound => None,
                ErrorKind::PermissionDenied => Some(Self::Unreadable { path: path.to_path_buf(), cause }),
                // The kernel has one error number for both limits. That of the process shows with any other file, too.
                _ => match Shortage::of_io(&cause) {
                    Some(Shortage::Files) if Shortage::now().is_none() => Some(Self::TooManyWatchers),
                    Some(shortage) => Some(Self::NotNow { path: path.to_path_buf(), shortage }),
                    None => Some(Self::Watch(path.to_path_buf(), cause.to_string())),
                },
            },
            other => Some(Self::Watch(path.to_path_buf(), notify::Error::new(other).to_string())),
        }
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::offline(error)
    }
}

/// What to do about a folder that cannot be read, if that is known.
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

    fn message(kind: notify::ErrorKind) -> String {
        let error = FolderError::of_watch(Path::new("/in/box"), notify::Error::new(kind));
        error.map_or_else(|| "no error".to_owned(), |error| error.to_string())
    }

    #[test]
    fn a_refused_watch_has_a_remedy() {
        let io = |code| notify::ErrorKind::Io(io::Error::from_raw_os_error(code));
        let cases = [
            (notify::ErrorKind::MaxFilesWatch, "fs.inotify.max_user_watches"),
            (notify::ErrorKind::MaxFilesWatch, "is reached at /in/box"),
            (notify::ErrorKind::MaxFilesWatch, "`poll: 10s`"),
            (io(libc::EMFILE), "fs.inotify.max_user_instances"),
            (
                io(libc::ENFILE),
                "the folder /in/box is opened again soon: this machine has too many open files",
            ),
            (io(libc::EACCES), "cannot read the folder /in/box: Permission denied"),
            (io(libc::EACCES), "`chmod o+rx /in/box`"),
            (io(libc::ENOSYS), "cannot watch the folder /in/box"),
            (io(libc::ENOENT), "no error"),
            (notify::ErrorKind::PathNotFound, "no error"),
        ];
        for (kind, expected) in cases {
            let message = message(kind);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn only_a_lack_of_permission_has_the_remedy_permission() {
        let cause = io::Error::from_raw_os_error(libc::ESTALE);
        let error = FolderError::Unreadable { path: PathBuf::from("/in/box"), cause };
        assert_eq!(error.to_string(), "cannot read the folder /in/box: Stale file handle (os error 116)");
    }
}
