//! The file: opened by one writer and any number of readers, with the tables of all kinds of content.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

pub use super::table::{
    Export, ExportLines, Range, Selection, Table, TimeColumns, known_name_id, name_id, name_text,
};
use super::{alerts, marks, near_misses, pictures, scores, vectors};
use crate::{
    atomic_file,
    descriptors::is_missing,
    state_file,
    storage::{self, Files, FilesState, Mode, OpenError},
};

const FILE: &str = "history.db";
/// The writer locks this file: the database itself is shared with readers.
const LOCK: &str = "history.lock";
/// The file's format, in its `user_version`; 0 is a new file.
const FORMAT: i64 = 1;
/// Not durable: a power cut may lose the newest observations. Syncs are rare, because flash cards wear out.
pub(super) const MODE: Mode = Mode { exclusive: false, durable: false };
/// How long a connection waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a writer waits for the one before it, which may be ending.
const PATIENCE_FOR_WRITER: Duration = Duration::from_secs(2);
/// The time between two attempts to become the writer.
const PAUSE: Duration = Duration::from_millis(50);
/// The pages in the log that are worth being written to the database, about 4 MB: a page that changed often is written once.
const LOG_PAGES: u64 = 1000;
/// What the log has for each page, besides the page.
const LOG_HEADER: u64 = 24;

const NAMES: &str =
    "CREATE TABLE IF NOT EXISTS names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;";

/// The tables of all kinds of content. Each has a line here.
pub const TABLES: &[Table] =
    &[pictures::TABLE, alerts::TABLE, near_misses::TABLE, marks::TABLE, scores::TABLE, vectors::TABLE];

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
    /// Something was deleted, and traces of it may be left.
    #[error(
        "it is deleted, but copies may be left in unused parts of the files ({why}): make space, stop what reads them, \
         and run the command again"
    )]
    Incomplete {
        /// What prevented it.
        why: String,
    },
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
    files: Files,
    page_size: u64,
    /// The pages in the log when they were counted last.
    log_pages: u64,
    forgotten: bool,
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
        let lock = lock(state_dir, PATIENCE_FOR_WRITER).map_err(no_folder)?;
        let lock = lock.ok_or_else(|| Error::InUse { path: path.clone() })?;
        let opened = storage::connect(&path, mode, PATIENCE).and_then(|mut connection| {
            prepare(&mut connection)?;
            let files = Files::at(&path, mode).map_err(OpenError::Vanished)?;
            let page_size = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
            Ok((connection, files, page_size))
        });
        let (connection, files, page_size) = opened.map_err(|error| error_at(&path, error))?;
        Ok(Self { connection, path, files, page_size, log_pages: 0, forgotten: false, _lock: lock })
    }

    /// The connection, for reading.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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
    pub fn files_state(&self) -> FilesState {
        self.files.files_state(&self.path)
    }

    /// Something was forgotten.
    pub(super) fn set_forgotten(&mut self) {
        self.forgotten = true;
    }

    /// Whether something was forgotten since the last call: names may have other identifiers.
    pub(super) fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.forgotten)
    }

    /// The size of its files on the disk, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let files = [self.path.clone(), storage::log_of(&self.path)];
        files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    /// The size of the file without its log, in bytes.
    pub(super) fn file_size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// The number of pages of the database, and the number of free ones among them. SQLite reads the second number from the file without
    /// a check.
    ///
    /// # Errors
    /// The disk does not work, or the file is damaged.
    pub(super) fn pages(&self) -> rusqlite::Result<(u64, u64)> {
        let count = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let counts = [count("PRAGMA page_count")?, count("PRAGMA freelist_count")?];
        match counts.map(u64::try_from) {
            [Ok(pages), Ok(free)] if free <= pages => Ok((pages, free)),
            _ => Err(storage::damaged("the number of free pages is wrong")),
        }
    }

    /// The size of a page, in bytes.
    pub(super) fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The bytes that were written since the last call, at most. What is in the log is written to the database when it is enough.
    ///
    /// # Errors
    /// The disk does not work.
    pub(super) fn settle(&mut self) -> rusqlite::Result<u64> {
        let pages = self.checkpoint("NOOP")?.0;
        // The log begins anew after all of it was written to the database.
        let new = pages.checked_sub(self.log_pages).unwrap_or(pages);
        self.log_pages = pages;
        let mut written = new * (self.page_size + LOG_HEADER);
        if new > 0 && pages >= LOG_PAGES {
            written += self.checkpoint("PASSIVE")?.1 * self.page_size;
        }
        Ok(written)
    }

    /// The pages in the log, and how many of them are in the database.
    fn checkpoint(&self, how: &str) -> rusqlite::Result<(u64, u64)> {
        // -1: there is no log.
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
            Ok((count(row.get(1)?), count(row.get(2)?)))
        })
    }

    /// Empties the log, and returns whether that was possible: a reader may need it.
    ///
    /// # Errors
    /// The disk does not work.
    pub(super) fn empty_log(&mut self) -> rusqlite::Result<bool> {
        self.log_pages = 0;
        storage::checkpoint(&self.connection)
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

/// Locks the history for one writer; `None` if another one keeps it for longer than `patience`.
fn lock(state_dir: &Path, patience: Duration) -> io::Result<Option<File>> {
    let path = state_dir.join(LOCK);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(atomic_file::PRIVATE).open(&path)?;
    // It may be older, and open to others.
    state_file::make_private(&path);
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => return Ok(None),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
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
    // The writer does that itself, and counts it. Freed pages are not overwritten, which would double what is written: `forget` does.
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = FAST;")?;
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
