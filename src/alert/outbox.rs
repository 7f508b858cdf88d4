//! The outbox: the alerts on disk that the broker has not yet acknowledged, in the order they came.
//!
//! One SQLite file. What [`Outbox::append`] took is on the disk when it returns, and survives the process and the
//! power; it leaves by [`Outbox::remove`] alone, or as the oldest of too many. It refuses to know what a broker is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, named_params};
use tokio::sync::Notify;

use super::Alert;

const FILE: &str = "outbox.sqlite";
/// The file's format, in its `user_version`; 0 is a new file.
const FORMAT: i64 = 1;
/// So many alerts wait at most.
const LIMIT: u64 = 100_000;
/// How long another process may hold the file at start: the one before us, on its way out.
const PATIENCE: Duration = Duration::from_secs(2);

/// AUTOINCREMENT: a number is never used twice, so that nobody removes an alert that he did not send.
const SCHEMA: &str = "
    CREATE TABLE alerts (
        seq            INTEGER PRIMARY KEY AUTOINCREMENT,
        id             TEXT NOT NULL,
        topic          TEXT NOT NULL,
        payload        TEXT NOT NULL,
        snapshot_topic TEXT,
        snapshot       BLOB
    ) STRICT;
    PRAGMA user_version = 1;";

/// The place of an alert in the outbox.
pub type Seq = i64;

/// An alert, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The alert's identifier.
    pub id: String,
    /// Where it is published.
    pub topic: String,
    /// Its JSON.
    pub payload: String,
    /// The picture that is published before it.
    pub snapshot: Option<Snapshot>,
}

/// A picture that goes before its alert.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is published.
    pub topic: String,
    /// The picture.
    pub jpeg: Vec<u8>,
}

/// The alerts on disk.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    file: Mutex<File>,
    appended: Notify,
}

#[derive(Debug)]
struct File {
    connection: Connection,
    waiting: u64,
    dropped: u64,
    limit: u64,
}

/// Why the outbox cannot do its work.
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
         see that the disk is not full, or set state_dir to another folder",
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
    /// It was open and no longer works.
    #[error("cannot {doing} the outbox {}: see that its disk works and is not full", path.display())]
    Broken {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl Entry {
    /// What is kept of `alert`: where it goes and what it says. The picture goes to the topic that the alert names.
    #[must_use]
    pub fn new(alert: &Alert, topics: &super::Topics, jpeg: Option<Vec<u8>>) -> Self {
        let snapshot = alert.snapshot.clone().zip(jpeg).map(|(topic, jpeg)| Snapshot { topic, jpeg });
        Self {
            id: alert.id.to_string(),
            topic: topics.alert(&alert.source, &alert.label_set, &alert.label),
            payload: alert.to_json(),
            snapshot,
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({}, {} bytes)", self.topic, self.jpeg.len())
    }
}

impl Outbox {
    /// Opens the outbox in `state_dir`, or makes it. A damaged file is set aside and a fresh one made.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        Self::with_limit(state_dir, LIMIT)
    }

    fn with_limit(state_dir: &Path, limit: u64) -> Result<Self, Error> {
        let no_folder = |source| Error::Folder { folder: state_dir.to_owned(), source };
        fs::create_dir_all(state_dir).map_err(no_folder)?;
        let path = state_dir.join(FILE);
        let connection = match connect(&path) {
            Err(Trouble::Damaged(why)) => {
                let aside = set_aside(&path).map_err(no_folder)?;
                tracing::error!(
                    file = %path.display(), aside = %aside.display(), why,
                    "the outbox is damaged: it was set aside and a fresh one begun; alerts in it were not delivered"
                );
                connect(&path)
            }
            other => other,
        }
        .map_err(|trouble| trouble.explain(&path))?;
        let count = connection.query_row("SELECT count(*) FROM alerts", [], |row| row.get(0));
        let waiting =
            count.map(i64::unsigned_abs).map_err(|source| Error::Open { path: path.clone(), source })?;
        let file = File { connection, waiting, dropped: 0, limit };
        Ok(Self { path, file: Mutex::new(file), appended: Notify::new() })
    }

    /// Takes an alert. It is on the disk when this returns; it blocks that long.
    pub fn append(&self, entry: &Entry) -> Result<(), Error> {
        self.file().append(entry).map_err(self.broken("write to"))?;
        self.appended.notify_one();
        Ok(())
    }

    /// The oldest alert.
    pub fn head(&self) -> Result<Option<(Seq, Entry)>, Error> {
        self.file().head().map_err(self.broken("read"))
    }

    /// Forgets an alert: the broker has it. One that is no longer there is no error.
    pub fn remove(&self, seq: Seq) -> Result<(), Error> {
        self.file().remove(seq).map_err(self.broken("write to"))
    }

    /// How many alerts wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.file().waiting
    }

    /// How many alerts were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.file().dropped
    }

    /// Returns when something was appended since the last call; for one waiter.
    pub async fn appended(&self) {
        self.appended.notified().await;
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // Every change is one transaction: a thread that panicked has left nothing half done.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Broken { doing, path, source }
    }
}

impl File {
    fn append(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let snapshot = entry.snapshot.as_ref();
        transaction
            .prepare_cached(
                "INSERT INTO alerts (id, topic, payload, snapshot_topic, snapshot)
             VALUES (:id, :topic, :payload, :snapshot_topic, :snapshot)",
            )?
            .execute(named_params! {
                ":id": entry.id, ":topic": entry.topic, ":payload": entry.payload,
                ":snapshot_topic": snapshot.map(|snapshot| &snapshot.topic),
                ":snapshot": snapshot.map(|snapshot| &snapshot.jpeg),
            })?;
        // The one place where an alert is lost by intention: when so many wait that the newest could not be
        // kept otherwise, the oldest has the least to say.
        let oldest = if self.waiting >= self.limit {
            transaction
                .query_row(
                    "DELETE FROM alerts WHERE seq = (SELECT min(seq) FROM alerts) RETURNING id, topic",
                    [],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
                )
                .optional()?
        } else {
            None
        };
        transaction.commit()?;
        match oldest {
            Some((id, topic)) => {
                self.dropped += 1;
                tracing::error!(
                    id,
                    topic,
                    limit = self.limit,
                    dropped = self.dropped,
                    "the outbox is full: its oldest alert was dropped"
                );
            }
            None => self.waiting += 1,
        }
        Ok(())
    }

    fn head(&self) -> rusqlite::Result<Option<(Seq, Entry)>> {
        self.connection
            .prepare_cached(
                "SELECT seq, id, topic, payload, snapshot_topic, snapshot FROM alerts ORDER BY seq LIMIT 1",
            )?
            .query_row([], |row| {
                let (topic, jpeg) = (row.get::<_, Option<_>>(4)?, row.get::<_, Option<_>>(5)?);
                let snapshot = topic.zip(jpeg).map(|(topic, jpeg)| Snapshot { topic, jpeg });
                let entry = Entry { id: row.get(1)?, topic: row.get(2)?, payload: row.get(3)?, snapshot };
                Ok((row.get(0)?, entry))
            })
            .optional()
    }

    fn remove(&mut self, seq: Seq) -> rusqlite::Result<()> {
        let removed = self.connection.prepare_cached("DELETE FROM alerts WHERE seq = ?1")?.execute([seq])?;
        self.waiting = self.waiting.saturating_sub(removed as u64);
        if removed > 0 && self.waiting == 0 {
            // Gives the disk back what an outage took. Only when empty: then there is nothing to move.
            // Each step frees one page.
            let mut vacuum = self.connection.prepare_cached("PRAGMA incremental_vacuum")?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(())
    }
}

enum Trouble {
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
    fn explain(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Damaged(why) => Error::Unreliable { path, why },
            Self::InUse => Error::InUse { path },
            Self::Newer(found) => Error::Newer { path, found },
            Self::Other(source) => Error::Open { path, source },
        }
    }
}

/// Opens the file for us alone, checks it from end to end, and makes the table where there is none.
fn connect(path: &Path) -> Result<Connection, Trouble> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // EXCLUSIVE: two publishers on one outbox would send everything twice. FULL: committed means on the disk.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA synchronous = FULL;",
    )?;
    let begin = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = begin.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => begin.execute_batch(SCHEMA)?,
        FORMAT => {}
        found => return Err(Trouble::Newer(found)),
    }
    let check = begin.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
    if check != "ok" {
        return Err(Trouble::Damaged(check));
    }
    begin.commit()?;
    Ok(connection)
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
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let (from, mut to) = (beside(suffix), aside.as_os_str().to_owned());
        to.push(suffix);
        if from.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        Entry {
            id: format!("id-{number}"),
            topic: format!("stakeout/door/porch/{number}/alert"),
            payload: format!("{{\"number\":{number}}}"),
            snapshot: number.is_multiple_of(2).then(|| Snapshot {
                topic: "stakeout/door/snapshot".to_owned(),
                jpeg: vec![0xff, 0xd8, number as u8],
            }),
        }
    }

    fn drain(outbox: &Outbox) -> Vec<Entry> {
        let mut drained = Vec::new();
        while let Some((seq, entry)) = outbox.head().unwrap() {
            drained.push(entry);
            outbox.remove(seq).unwrap();
        }
        drained
    }

    #[test]
    fn what_goes_in_comes_out_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("made/on/the/way");
        let outbox = Outbox::open(&state).unwrap();
        assert_eq!(outbox.head().unwrap(), None);
        let entries = (0..4).map(entry).collect::<Vec<_>>();
        entries.iter().for_each(|entry| outbox.append(entry).unwrap());
        let (first, _) = outbox.head().unwrap().unwrap();
        outbox.remove(first).unwrap();
        outbox.remove(first).unwrap();
        assert_eq!(outbox.waiting(), 3);
        drop(outbox);

        let outbox = Outbox::open(&state).unwrap();
        assert_eq!(outbox.waiting(), 3);
        assert_eq!(drain(&outbox), entries[1..]);
        assert_eq!(outbox.waiting(), 0);
        outbox.append(&entry(9)).unwrap();
        let (seq, _) = outbox.head().unwrap().unwrap();
        assert_eq!(seq, first + 4, "a number is never used twice");
    }

    #[test]
    fn what_was_appended_is_on_the_disk_and_not_only_in_the_process() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outbox = Outbox::open(folder.path()).unwrap();
        (0..3).for_each(|number| outbox.append(&entry(number)).unwrap());
        outbox.remove(outbox.head().unwrap().unwrap().0).unwrap();
        // The files as they are while the process still runs: what a power cut would leave.
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        assert_eq!(drain(&Outbox::open(copy.path()).unwrap()), [entry(1), entry(2)]);
    }

    #[test]
    fn of_too_many_the_oldest_is_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::with_limit(folder.path(), 3).unwrap();
        (0..5).for_each(|number| outbox.append(&entry(number)).unwrap());
        assert_eq!((outbox.waiting(), outbox.dropped()), (3, 2));
        assert_eq!(drain(&outbox), [entry(2), entry(3), entry(4)]);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_never_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let big = Entry { payload: "x".repeat(100_000), ..entry(1) };
        for round in 1..=2 {
            Outbox::open(folder.path()).unwrap().append(&big).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            // Once its pages are wrong, once its beginning.
            let wrong = if round == 1 { 4096..middle } else { 0..100 };
            bytes[wrong].fill(0x5a);
            fs::write(&path, &bytes).unwrap();

            let outbox = Outbox::open(folder.path()).unwrap();
            assert_eq!(outbox.waiting(), 0);
            outbox.append(&entry(7)).unwrap();
            assert_eq!(drain(&outbox), [entry(7)]);
            let aside = folder.path().join(format!("{FILE}.damaged-{round}"));
            assert!(
                fs::read(aside).unwrap()[4096..] == bytes[4096..],
                "every page is still there to be repaired"
            );
        }
    }

    #[test]
    fn the_disk_is_given_back_when_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let snapshot = Snapshot { topic: "t".to_owned(), jpeg: vec![7; 100_000] };
        for number in 0..20 {
            outbox.append(&Entry { snapshot: Some(snapshot.clone()), ..entry(number) }).unwrap();
        }
        drain(&outbox);
        drop(outbox);
        let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
        assert!(size < 100_000, "{size} bytes are still taken");
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Outbox::open(&file.join("state")).unwrap_err().to_string();
        assert!(error.contains("file/state") && error.contains("state_dir"), "{error}");

        fs::create_dir(folder.path().join(FILE)).unwrap();
        let error = Outbox::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cannot open the outbox") && error.contains(FILE), "{error}");
    }

    #[test]
    fn nobody_else_takes_the_same_outbox_and_a_newer_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let error = Outbox::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error:?}");
        drop(outbox);

        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.execute_batch("PRAGMA user_version = 2").unwrap();
        drop(connection);
        let error = Outbox::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Newer { found: 2, .. }), "{error:?}");
    }
}
