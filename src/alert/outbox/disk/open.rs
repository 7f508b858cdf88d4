//! How the file is opened, and what becomes of one that is damaged: it is set aside, and what can still be read of it is
//! carried over into a fresh one. Refuses to delete anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{CLOCK_WAS_SET, Disk, Row, Stock, read_row, take_stock};
use crate::alert::outbox::{Error, now};

const FILE: &str = "outbox.sqlite";
/// The file's format, in its `user_version`; 0 is a new file.
pub(in crate::alert::outbox) const FORMAT: i64 = 2;
/// How long another process may hold the file at start: the one before us, on its way out.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many alerts of a damaged file are carried over at most.
const SALVAGE: usize = 100_000;

/// `seq` is given by who writes (files of before have AUTOINCREMENT, which does no harm and takes one more page each time). `pending`
/// has a bit for each sink that was not told yet. Snapshots stand apart: they are large, and go when the broker has theirs.
const SCHEMA: &str = "
    CREATE TABLE alerts (
        seq     INTEGER PRIMARY KEY,
        id      TEXT NOT NULL,
        topic   TEXT NOT NULL,
        payload TEXT NOT NULL,
        bytes   INTEGER NOT NULL,
        created INTEGER NOT NULL,
        pending INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, jpeg BLOB NOT NULL) STRICT;
    PRAGMA user_version = 2;";

/// How it stands with each label that was ever raised: its newest alert that it was raised, and whether it still is. Files of
/// before had none of this, and who does not know it does no harm: it is no format of its own.
const MARKS: &str = "
    CREATE TABLE IF NOT EXISTS marks (
        topic  TEXT PRIMARY KEY,
        raised INTEGER NOT NULL,
        alert  TEXT NOT NULL
    ) STRICT;";

/// Format 1 knew the broker alone, and no age.
const FROM_FORMAT_1: &str = "
    CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, jpeg BLOB NOT NULL) STRICT;
    INSERT INTO snapshots SELECT seq, snapshot_topic, snapshot FROM alerts
        WHERE snapshot IS NOT NULL AND snapshot_topic IS NOT NULL;
    ALTER TABLE alerts DROP COLUMN snapshot;
    ALTER TABLE alerts DROP COLUMN snapshot_topic;
    ALTER TABLE alerts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE alerts ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE alerts ADD COLUMN pending INTEGER NOT NULL DEFAULT 1;
    UPDATE alerts SET bytes = octet_length(id) + octet_length(topic) + octet_length(payload) + 64;
    PRAGMA user_version = 2;";

/// Where the file is.
pub(in crate::alert::outbox) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

impl Disk {
    /// Opens the file for us alone, checks it from end to end, and makes the tables where there are none.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let mut connection = connect(path)?;
        let stock = prepare(&mut connection)?;
        Ok(Self { connection, stock, synced: None })
    }

    /// Likewise; what can still be read of a damaged file is carried over into a fresh one, and the damaged one is set
    /// aside. Says so with its new name.
    pub fn open_or_replace(path: &Path) -> Result<(Self, Option<PathBuf>), Error> {
        let (why, rows) = match connect(path) {
            Ok(mut connection) => match prepare(&mut connection) {
                Ok(stock) => return Ok((Self { connection, stock, synced: None }, None)),
                Err(Trouble::Damaged(why)) => (why, salvage(&connection)),
                Err(other) => return Err(other.explain(path)),
            },
            Err(Trouble::Damaged(why)) => (why, Vec::new()),
            Err(other) => return Err(other.explain(path)),
        };
        replace(path, &why, &rows).map(|(disk, aside)| (disk, Some(aside)))
    }

    /// What can still be read goes into a fresh file; this one is set aside.
    pub fn replace(self, path: &Path, why: &str) -> Result<(Self, PathBuf), Error> {
        let rows = salvage(&self.connection);
        drop(self);
        replace(path, why, &rows)
    }
}

/// Why the file cannot be used.
pub(in crate::alert::outbox) enum Trouble {
    Damaged(String),
    InUse,
    Newer(i64),
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Other(error),
        }
    }
}

impl Trouble {
    pub fn explain(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Damaged(why) => Error::Unreliable { path, why },
            Self::InUse => Error::InUse { path },
            Self::Newer(found) => Error::Newer { path, found },
            Self::Other(source) => Error::Open { path, source },
        }
    }
}

fn connect(path: &Path) -> Result<Connection, Trouble> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    // EXCLUSIVE: two publishers on one outbox would send everything twice. FULL: committed means on the disk.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA synchronous = FULL;",
    )?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> Result<Stock, Trouble> {
    let begin = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    match begin.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        0 => begin.execute_batch(SCHEMA)?,
        1 => begin.execute_batch(FROM_FORMAT_1)?,
        FORMAT => {}
        found => return Err(Trouble::Newer(found)),
    }
    begin.execute_batch(MARKS)?;
    let check = begin.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    if check != "ok" {
        return Err(Trouble::Damaged(check));
    }
    // From now on, if the clock is right by now.
    begin.execute("UPDATE alerts SET created = ?1 WHERE created < ?2", (now(), CLOCK_WAS_SET))?;
    begin.commit()?;
    Ok(take_stock(connection)?)
}

/// What can still be read, from either end; without snapshots, which are large and matter less.
fn salvage(connection: &Connection) -> Vec<Row> {
    let mut rows = Vec::new();
    for order in ["ASC", "DESC"] {
        let known = rows.len();
        let sql = format!(
            "SELECT seq, id, topic, payload, created, pending, NULL, NULL FROM alerts ORDER BY seq {order} LIMIT {SALVAGE}"
        );
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let Ok(found) = statement.query_map([], read_row) else { continue };
        for row in found {
            // What lies behind the first page that cannot be read may be anything.
            let Ok(row) = row else { break };
            if serde_json::from_str::<serde_json::Value>(&row.entry.payload).is_ok() {
                rows.push(row);
            }
        }
        if order == "DESC" {
            rows[known..].reverse();
        }
    }
    rows.sort_by_key(|row| row.seq);
    rows.dedup_by_key(|row| row.seq);
    rows
}

fn replace(path: &Path, why: &str, rows: &[Row]) -> Result<(Disk, PathBuf), Error> {
    let no_folder = |source| Error::Folder { folder: path.parent().unwrap_or(path).to_owned(), source };
    let aside = set_aside(path).map_err(no_folder)?;
    let mut disk = Disk::open(path).map_err(|trouble| trouble.explain(path))?;
    disk.append(rows).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    tracing::error!(
        file = %path.display(), aside = %aside.display(), why, carried_over = rows.len(),
        "the outbox is damaged: it was set aside and a fresh one begun; what could still be read was carried over, \
         other alerts in it were not delivered"
    );
    Ok((disk, aside))
}

/// Moves the file and what belongs to it to the first free name. Nothing is deleted: somebody may want to repair it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = (1..).map(|number| beside(&format!(".damaged-{number}"))).find(|aside| !aside.exists());
    let aside = aside.unwrap_or_else(|| beside(".damaged"));
    if path.exists() {
        fs::rename(path, &aside)?;
    }
    for suffix in ["-wal", "-shm"] {
        let (from, mut to) = (beside(suffix), aside.as_os_str().to_owned());
        to.push(suffix);
        if from.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(aside)
}
