//! What the SQLite files of the state folder share: a file is private, has a write-ahead log, is renamed when it is damaged, and is
//! recognised when it was deleted, renamed or replaced while it is open.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

use crate::{
    atomic_file,
    descriptors::{Identity, Whereabouts, is_missing},
    state_file,
};

/// The size of the log that is kept after its content is in the database, in bytes.
const LOG_SIZE: u64 = 4 << 20;
/// The prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// No other process, and no other connection, can open the file.
    pub exclusive: bool,
    /// What is committed is synced. Otherwise a power cut loses the newest commits, and the file stays valid.
    pub durable: bool,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Its content is invalid; the text is SQLite's.
    Damaged(String),
    /// Another process has it.
    InUse,
    /// A newer stakeout wrote it, with this format.
    Newer(i64),
    /// It is no longer where it was just opened.
    Vanished(io::Error),
    /// Any other error.
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_damaged(&error) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Other(error),
        }
    }
}

/// Whether the error says that the content of the file is invalid.
#[must_use]
pub fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The error for content that SQLite accepts and that is invalid.
#[must_use]
pub fn damaged(why: &str) -> rusqlite::Error {
    sqlite_error(rusqlite::ffi::SQLITE_CORRUPT, why)
}

fn sqlite_error(code: i32, why: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(why.to_owned()))
}

/// Opens the file, or makes it; its folder must exist. Waits for another process that has it for as long as `patience`.
///
/// # Errors
/// The file is damaged, in use, or cannot be made or opened.
pub fn connect(path: &Path, mode: Mode, patience: Duration) -> Result<Connection, OpenError> {
    make_private(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(patience)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let locking = if mode.exclusive { "EXCLUSIVE" } else { "NORMAL" };
    let synchronous = if mode.durable { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = {locking};
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA journal_size_limit = {LOG_SIZE};
         PRAGMA synchronous = {synchronous};"
    ))?;
    Ok(connection)
}

/// Checks the whole file. Reads all of it.
///
/// # Errors
/// It is damaged, or cannot be read at the moment.
pub fn check(connection: &Connection) -> Result<(), OpenError> {
    let check = || connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let mut checked = check()?;
    if checked != "ok" {
        // A page that cannot be read at the moment is reported like a damaged one.
        read_through(connection.path())?;
        checked = check()?;
    }
    if checked == "ok" { Ok(()) } else { Err(OpenError::Damaged(checked)) }
}

/// Reads the database and its log to their ends. Fails if the disk does not work.
fn read_through(path: Option<&str>) -> rusqlite::Result<()> {
    let Some(path) = path.map(Path::new) else { return Ok(()) };
    let read = |path: &Path| -> io::Result<()> {
        #[cfg(test)]
        crate::faults::hit(path, crate::faults::Operation::Read)?;
        io::copy(&mut fs::File::open(path)?, &mut io::sink()).map(drop)
    };
    for file in [path, &log_of(path)] {
        match read(file) {
            Err(error) if !is_missing(&error) => {
                return Err(sqlite_error(rusqlite::ffi::SQLITE_IOERR_READ, &error.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes everything in the log to the database, and empties the log. Returns whether that was possible: a reader may need the log.
///
/// # Errors
/// The disk does not work.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Makes sure that only the user of the service reads the file and those beside it: they contain alerts and pictures. SQLite gives
/// its other files the permissions of the first one, so that one is made here. A failure is SQLite's to report.
fn make_private(path: &Path) {
    let _ = fs::OpenOptions::new().write(true).create_new(true).mode(atomic_file::PRIVATE).open(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten() {
        // With the log of SQLite and the damaged files that were set aside.
        if file.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            state_file::make_private(&file.path());
        }
    }
}

/// Renames the file, and the files that belong to it, to the first free name. Returns that name.
///
/// # Errors
/// The folder cannot be written.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (1..).map(|number| beside(path, &format!(".damaged-{number}"))).find(|aside| !aside.exists());
    let aside = aside.unwrap_or_else(|| beside(path, ".damaged"));
    if path.exists() {
        fs::rename(path, &aside)?;
    }
    for suffix in ["-wal", "-shm"] {
        let (from, to) = (beside(path, suffix), beside(&aside, suffix));
        if from.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(aside)
}

/// The files that [`set_aside`] has made of this one, with their logs, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn files_set_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = beside(path, ".damaged");
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?.path();
        if file.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes()) {
            found.push(file);
        }
    }
    found.sort_by_key(|file| (fs::metadata(file).and_then(|data| data.modified()).ok(), file.clone()));
    Ok(found)
}

/// The path of the database's log.
#[must_use]
pub fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path of the index of the log, which the processes share that have the database open.
#[must_use]
pub fn index_of(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The files of an open database. SQLite keeps them open, and does not notice when they are deleted, renamed or replaced.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    database: Identity,
    /// The log of what is not in the database yet; `None` where SQLite has no such log.
    log: Option<Identity>,
    /// `None` where the index is in memory: an exclusive database.
    index: Option<Identity>,
}

/// What became of the open files.
#[derive(Debug)]
pub enum FilesState {
    /// They are where they were opened.
    InPlace,
    /// Only the log of the database, or the log's index, is gone.
    WithoutLog,
    /// The database is gone.
    Gone,
    /// The system does not say.
    Unknown(io::Error),
}

impl Files {
    /// The files of the database that was just opened at `path` in this way.
    ///
    /// # Errors
    /// It is not there.
    pub fn at(path: &Path, mode: Mode) -> io::Result<Self> {
        let [log, index] = [log_of(path), index_of(path)].map(|path| Identity::at(&path).ok());
        Ok(Self { database: Identity::at(path)?, log, index: index.filter(|_| !mode.exclusive) })
    }

    /// Whether the files are still at `path`.
    #[must_use]
    pub fn files_state(&self, path: &Path) -> FilesState {
        match self.database.look(path) {
            Whereabouts::Gone => return FilesState::Gone,
            Whereabouts::Unknown(error) => return FilesState::Unknown(error),
            Whereabouts::Here => {}
        }
        for (file, path) in [(self.log, log_of(path)), (self.index, index_of(path))] {
            match file.map(|file| file.look(&path)) {
                None | Some(Whereabouts::Here) => {}
                Some(Whereabouts::Gone) => return FilesState::WithoutLog,
                Some(Whereabouts::Unknown(error)) => return FilesState::Unknown(error),
            }
        }
        FilesState::InPlace
    }

    /// Whether the log at `path` is the one of this database.
    #[must_use]
    pub fn has_log(&self, path: &Path) -> bool {
        matches!(self.log.map(|log| log.look(&log_of(path))), Some(Whereabouts::Here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: Mode = Mode { exclusive: false, durable: false };

    fn opened(path: &Path) -> (Connection, Files) {
        let connection = connect(path, SHARED, Duration::ZERO).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)").unwrap();
        (connection, Files::at(path, SHARED).unwrap())
    }

    #[test]
    fn a_file_and_its_log_are_recognised_wherever_they_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (connection, files) = opened(&path);
        assert!(matches!(files.files_state(&path), FilesState::InPlace) && files.has_log(&path));
        for part in [log_of(&path), index_of(&path)] {
            let away = folder.path().join("away");
            fs::rename(&part, &away).unwrap();
            assert!(matches!(files.files_state(&path), FilesState::WithoutLog), "{}", part.display());
            fs::rename(&away, &part).unwrap();
        }
        assert!(checkpoint(&connection).unwrap());
        assert_eq!(fs::metadata(log_of(&path)).unwrap().len(), 0);
        let copy = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(files.files_state(&path), FilesState::Gone), "deleted");
        fs::write(&path, copy).unwrap();
        assert!(matches!(files.files_state(&path), FilesState::Gone), "replaced");
    }

    #[test]
    fn a_file_in_use_waits_for_no_longer_than_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let alone = Mode { exclusive: true, durable: true };
        let first = connect(&path, alone, Duration::ZERO).unwrap();
        first.execute_batch("CREATE TABLE numbers (number INTEGER)").unwrap();
        assert!(matches!(connect(&path, alone, Duration::ZERO), Err(OpenError::InUse)));
        drop(first);
        assert!(connect(&path, alone, Duration::ZERO).is_ok());
    }

    #[test]
    fn damaged_files_get_names_of_their_own_and_keep_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for number in 1..=2 {
            fs::write(&path, "damaged").unwrap();
            fs::write(log_of(&path), "log").unwrap();
            let aside = set_aside(&path).unwrap();
            assert_eq!(aside, folder.path().join(format!("a.db.damaged-{number}")));
            assert!(aside.exists() && log_of(&aside).exists() && !path.exists() && !log_of(&path).exists());
        }
        assert_eq!(files_set_aside(&path).unwrap().len(), 4);
    }
}
