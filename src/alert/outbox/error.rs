//! Why an outbox cannot be opened. What breaks later is no error: see [`Status`](super::Status).

use std::{io, path::PathBuf};

use super::disk::FORMAT;

/// Why the outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made, or a damaged file cannot be moved out of the way.
    #[error(
        "cannot keep alerts in the folder {}: make it writable for the user who runs stakeout, or set state_dir to another",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be opened or made.
    #[error(
        "cannot open the outbox {}: make it and its folder writable for the user who runs stakeout, \
         or set state_dir to another folder",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Another process has it.
    #[error(
        "the outbox {} belongs to another stakeout that is running: stop that one, or give each its own state_dir",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer stakeout wrote it.
    #[error(
        "the outbox {} was written by a newer stakeout (format {found}, this one knows {FORMAT}): \
         install that version again, or move the file away and lose the alerts in it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The fresh file that was made in place of a damaged one is damaged too.
    #[error("the outbox {} is damaged although it was made a moment ago ({why}): see that its disk works", path.display())]
    Unreliable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
}
