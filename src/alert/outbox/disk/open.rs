//! Opens, checks and migrates the outbox's file. A damaged file is renamed, never deleted, and what can still be read of it is
//! copied into a new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};

use super::{Disk, Row, Seq, Stock, clock, read_row, take_stock};
use crate::storage::{self, Files, Mode, OpenError};

const FILE: &str = "outbox.sqlite";
/// Exclusive: two publishers on one outbox would send everything twice. Durable: committed means on the disk.
const MODE: Mode = Mode { exclusive: true, durable: true };
/// The file's format, in its `user_version`; 0 is a new file.
const FORMAT: i64 = 2;
/// How long to wait at the start for another process that has the file open: the previous service may be ending.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How many alerts of a damaged file are copied at most.
const SALVAGE: usize = 100_000;

/// `seq` is assigned by the writer. (Older files have AUTOINCREMENT; it is harmless and costs one more page for each write.)
/// `pending` has a bit for each sink that does not have the alert yet. Snapshots have a table of their own: they are large, and
/// are deleted when the broker has them.
const SCHEMA: &str = "
    CREATE TABLE alerts (
        seq     INTEGER PRIMARY KEY,
        id      TEXT NOT NULL,
        topic   TEXT NOT NULL,
        payload TEXT NOT NULL,
        bytes   INTEGER NOT NULL,
        created INTEGER NOT NULL,
        pending INTEGER NOT NULL,
        elapsed INTEGER
    ) STRICT;
    CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, jpeg BLOB NOT NULL) STRICT;
    PRAGMA user_version = 2;";

/// For each label that was ever raised its last raised alert, and whether it still is raised. Older versions ignore this table, so
/// it does not change the format.
const MARKS: &str = "
    CREATE TABLE IF NOT EXISTS marks (
        topic  TEXT PRIMARY KEY,
        raised INTEGER NOT NULL,
        alert  TEXT NOT NULL
    ) STRICT;";

/// Format 1 had only the broker as a sink, and no age.
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

/// The path of the file.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// A file that was opened.
pub struct Opened {
    pub disk: Disk,
    /// A number beyond all in it.
    pub next: Seq,
    /// The new name of the damaged file that it replaces.
    pub aside: Option<PathBuf>,
}

impl Disk {
    /// Opens the file for these sinks, or makes it and its folder. Waits for another process that has it for as long as `patience`.
    pub fn open_for(path: &Path, sinks: u8, patience: Duration) -> Result<Opened, Error> {
        let broken = |source| Error::Open { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(|source| Error::Folder { folder: folder.to_owned(), source })?;
        let (mut disk, aside) = Self::open_or_replace(path, patience)?;
        let alerts = disk.keep_sinks(sinks).map_err(broken)?;
        if alerts > 0 {
            tracing::warn!(
                alerts,
                "alerts were deleted: the webhook or command that they waited for is no longer configured"
            );
        }
        disk.settle().map_err(broken)?;
        let next = disk.next().map_err(broken)?;
        Ok(Opened { disk, next, aside })
    }

    /// Makes sure that all content is on the disk. After a sync that failed, also one of an earlier process, the system forgets what it
    /// could not write, and a later sync succeeds without it: the log then has a hole, and a power cut loses what follows. So its
    /// content is written once more, to the database.
    pub fn settle(&mut self) -> rusqlite::Result<()> {
        self.checkpoint()?;
        // Any change: the first one syncs the new log, so that a power cut does not bring back the old one.
        self.sync(true)?;
        self.connection.pragma_update(None, "user_version", FORMAT)
    }

    /// Opens and locks the file, checks it completely, and makes missing tables.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection = storage::connect(path, MODE, PATIENCE)?;
        let stock = prepare(&mut connection)?;
        Self::opened(path, connection, stock)
    }

    fn opened(path: &Path, connection: Connection, stock: Stock) -> Result<Self, OpenError> {
        let files = Files::at(path, MODE).map_err(OpenError::Vanished)?;
        Ok(Self { connection, stock, synced: None, files })
    }

    /// Opens the file; a damaged one is replaced. Returns the new name of the damaged one. Waits for another process that has the
    /// file for as long as `patience`.
    pub fn open_or_replace(path: &Path, patience: Duration) -> Result<(Self, Option<PathBuf>), Error> {
        let (why, rows) = match storage::connect(path, MODE, patience) {
            Ok(mut connection) => match prepare(&mut connection) {
                Ok(stock) => {
                    let opened = Self::opened(path, connection, stock);
                    return opened.map(|disk| (disk, None)).map_err(|error| error_at(path, error));
                }
                Err(OpenError::Damaged(why)) => (why, salvage(&connection)),
                Err(other) => return Err(error_at(path, other)),
            },
            Err(OpenError::Damaged(why)) => (why, Vec::new()),
            Err(other) => return Err(error_at(path, other)),
        };
        replace(path, &why, &rows).map(|(disk, aside)| (disk, Some(aside)))
    }

    /// Renames this file, and copies what can still be read into a new one.
    pub fn replace(self, path: &Path, why: &str) -> Result<(Self, PathBuf), Error> {
        let rows = salvage(&self.connection);
        drop(self);
        replace(path, why, &rows)
    }
}

/// Why the outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made, or a damaged file cannot be renamed.
    #[error(
        "cannot keep alerts in the folder {}: make it writable for the user who runs stakeout, or set state_dir to another",
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
        "cannot open the outbox {}: make it and its folder writable for the user who runs stakeout, \
         or set state_dir to another folder",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Another process has it open.
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
    /// The new file that replaces a damaged one is damaged, too.
    #[error("the outbox {} is damaged although it was just made ({why}): check the disk", path.display())]
    Unreliable {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        why: String,
    },
}

impl Error {
    /// The error with its causes.
    #[must_use]
    pub fn with_causes(self) -> String {
        format!("{:#}", anyhow::anyhow!(self))
    }
}

/// The error of the file at `path`.
fn error_at(path: &Path, error: OpenError) -> Error {
    let path = path.to_owned();
    match error {
        OpenError::Damaged(why) => Error::Unreliable { path, why },
        OpenError::InUse => Error::InUse { path },
        OpenError::Newer(found) => Error::Newer { path, found },
        OpenError::Vanished(source) => {
            Error::Folder { folder: path.parent().unwrap_or(&path).to_owned(), source }
        }
        OpenError::Other(source) => Error::Open { path, source },
    }
}

fn prepare(connection: &mut Connection) -> Result<Stock, OpenError> {
    let begin = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    match begin.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        0 => begin.execute_batch(SCHEMA)?,
        1 => begin.execute_batch(FROM_FORMAT_1)?,
        FORMAT => {}
        found => return Err(OpenError::Newer(found)),
    }
    begin.execute_batch(MARKS)?;
    begin.execute_batch("DROP INDEX IF EXISTS merged")?;
    clock::prepare(&begin)?;
    storage::check(&begin)?;
    begin.commit()?;
    Ok(take_stock(connection)?)
}

/// What can still be read, from both ends; without snapshots, which are large and less important.
pub(super) fn salvage(connection: &Connection) -> Vec<Row> {
    let mut rows = Vec::new();
    for order in ["ASC", "DESC"] {
        let known = rows.len();
        let select = |elapsed| {
            connection.prepare(&format!(
                "SELECT seq, id, topic, payload, created, pending, {elapsed}, NULL, NULL FROM alerts
                 ORDER BY seq {order} LIMIT {SALVAGE}"
            ))
        };
        // A file of an older version does not have the column.
        let Ok(mut statement) = select("coalesce(elapsed, 0)").or_else(|_| select("0")) else { continue };
        let Ok(found) = statement.query_map([], read_row) else { continue };
        for row in found {
            // Rows behind the first unreadable page may be wrong.
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
    let aside = storage::set_aside(path).map_err(no_folder)?;
    let mut disk = Disk::open(path).map_err(|error| error_at(path, error))?;
    disk.append(rows, None).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    tracing::error!(
        file = %path.display(), aside = %aside.display(), why, copied = rows.len(),
        "the outbox is damaged: it was renamed and replaced by a new one; what could still be read was copied, \
         other alerts in it are not delivered"
    );
    Ok((disk, aside))
}
