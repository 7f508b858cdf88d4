//! The file: opened by one writer and any number of readers, with the tables of all kinds of content.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use super::table::{
    Export, ExportLines, Range, Selection, Table, TimeColumns, known_name_id, name_id, name_text,
};
use super::vectors;
use crate::{
    atomic_file,
    descriptors::is_missing,
    storage::{self, Files, Mode, OpenError, Place},
};

const FILE: &str = "history.db";
/// The writer locks this file: the database itself is shared with readers.
const LOCK: &str = "history.lock";
/// The file's format, in its `user_version`; 0 is a new file.
const FORMAT: i64 = 1;
/// Not durable: a power cut may lose the newest observations. Syncs are rare, because flash cards wear out.
const MODE: Mode = Mode { exclusive: false, durable: false };
/// How long a connection waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);

const NAMES: &str =
    "CREATE TABLE IF NOT EXISTS names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;";

/// The tables of all kinds of content. Each has a line here.
pub const TABLES: &[Table] = &[vectors::TABLE];

/// Why the history cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or written.
    #[error(
        "cannot keep the history in the folder {}: make it writable for the user who runs stakeout, \
         or set state_dir to another folder",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file cannot be opened or made.
    #[error(
        "cannot open the history {}: make it and its folder accessible for the user who runs stakeout",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Another process writes to it.
    #[error("the history {} belongs to a stakeout that is running: ask that one, or stop it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer stakeout wrote it.
    #[error(
        "the history {} was written by a newer stakeout (format {found}, this one knows {FORMAT}): \
         install that version again, or move the file away and lose what it remembers",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// Its content is invalid.
    #[error("the history {} is damaged ({why}): the running service replaces it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        why: String,
    },
    /// A statement failed.
    #[error("cannot read or write the history")]
    Statement(#[from] rusqlite::Error),
    /// The running service cannot use it at the moment.
    #[error("the history does not work at the moment: {why}")]
    Unavailable {
        /// What the log of the service says.
        why: String,
    },
}

/// The file, open for its only writer.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
    mode: Mode,
    files: Files,
    /// Locked as long as this exists.
    _lock: File,
}

impl History {
    /// Opens the history in `state_dir`, or makes it.
    ///
    /// # Errors
    /// Another process writes to it, or the file or its folder cannot be used.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        Self::open_as(state_dir, MODE)
    }

    pub(super) fn open_as(state_dir: &Path, mode: Mode) -> Result<Self, Error> {
        let path = path(state_dir);
        let no_folder = |source| Error::Folder { folder: state_dir.to_owned(), source };
        fs::create_dir_all(state_dir).map_err(no_folder)?;
        let lock = lock(state_dir).map_err(no_folder)?;
        let lock = lock.ok_or_else(|| Error::InUse { path: path.clone() })?;
        let opened = storage::connect(&path, mode, PATIENCE).and_then(|mut connection| {
            prepare(&mut connection)?;
            let files = Files::at(&path, mode).map_err(OpenError::Vanished)?;
            Ok((connection, files))
        });
        let (connection, files) = opened.map_err(|error| error_at(&path, error))?;
        Ok(Self { connection, path, mode, files, _lock: lock })
    }

    /// The connection, for reading.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Makes a change, wholly or not at all.
    ///
    /// # Errors
    /// The disk does not work, or it is full.
    pub fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        transaction.commit()?;
        Ok(changed)
    }

    /// Whether the open files are still in their places.
    #[must_use]
    pub fn place(&self) -> Place {
        self.files.place(&self.path)
    }
}

/// The file, open for reading. What is written while it is open can be read as well.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the history in `state_dir`. If there is none, the reader finds nothing.
    ///
    /// # Errors
    /// The file is damaged, or this user may not read it.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let path = path(state_dir);
        let connection = match fs::metadata(&path) {
            Err(error) if is_missing(&error) => empty()?,
            _ => read_only(&path).map_err(|error| error_at(&path, error))?,
        };
        Ok(Self { connection })
    }

    /// The connection; it cannot write.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// The path of the file.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Locks the history for one writer; `None` if another one has it.
fn lock(state_dir: &Path) -> io::Result<Option<File>> {
    let path = state_dir.join(LOCK);
    let file =
        File::options().write(true).create(true).truncate(false).mode(atomic_file::PRIVATE).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes missing tables. The content is not checked: that would read all of it. Damage is found when it is read.
fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match begin.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        0 | FORMAT => {}
        found => return Err(OpenError::Newer(found)),
    }
    create(&begin)?;
    begin.pragma_update(None, "user_version", FORMAT)?;
    begin.commit()?;
    Ok(())
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(NAMES)?;
    TABLES.iter().try_for_each(|table| connection.execute_batch(table.create))
}

/// A history in which nothing is.
fn empty() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    create(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn read_only(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        FORMAT => Ok(connection),
        // A writer is making it at this moment.
        0 => Ok(empty()?),
        found => Err(OpenError::Newer(found)),
    }
}

fn error_at(path: &Path, error: OpenError) -> Error {
    let path = path.to_owned();
    match error {
        OpenError::Damaged(why) => Error::Damaged { path, why },
        OpenError::InUse => Error::InUse { path },
        OpenError::Newer(found) => Error::Newer { path, found },
        OpenError::Vanished(source) => {
            Error::Folder { folder: path.parent().unwrap_or(&path).to_owned(), source }
        }
        OpenError::Other(source) => Error::Open { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_the_only_writer_commits() {
        let folder = tempfile::tempdir().unwrap();
        assert!(known_name_id(Reader::open(folder.path()).unwrap().connection(), "door").unwrap().is_none());
        assert!(!path(folder.path()).exists(), "a reader makes no file");
        let mut history = History::open(folder.path()).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert!(matches!(History::open(folder.path()), Err(Error::InUse { .. })));
        let ids = history.write(|transaction| {
            Ok(["door", "yard", "door"].map(|name| name_id(transaction, name).unwrap()))
        });
        let ids = ids.unwrap();
        assert!(ids[0] == ids[2] && ids[0] != ids[1]);
        assert_eq!(known_name_id(reader.connection(), "yard").unwrap(), Some(ids[1]));
        assert_eq!(name_text(reader.connection(), ids[0]).unwrap(), "door");
        assert!(reader.connection().execute("DELETE FROM names", []).is_err(), "it cannot write");
        drop(history);
        assert_eq!(name_text(reader.connection(), ids[0]).unwrap(), "door", "also without the writer");
        History::open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        drop(History::open(folder.path()).unwrap());
        Connection::open(path(folder.path())).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(matches!(History::open(folder.path()), Err(Error::Newer { found: 9, .. })));
        assert!(matches!(Reader::open(folder.path()), Err(Error::Newer { found: 9, .. })));
    }
}
