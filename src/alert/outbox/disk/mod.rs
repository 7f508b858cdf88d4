//! The outbox's file: one SQLite database, locked against other processes.
//!
//! What [`Disk::append`] wrote is synced when it returns: it survives the process and a power cut. A deletion need not survive a
//! power cut: what comes back is sent once more, with the same `id`. What to do when the disk does not work is decided by the
//! [`Outbox`](super::Outbox).

mod clock;
mod open;
mod relocate;
mod remove;

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, named_params};

pub use self::open::Error;
pub(super) use self::{
    open::{Opened, PATIENCE, path},
    relocate::Order,
};
use super::{
    elapsed::Elapsed,
    entry::{Entry, Mark, Seq, Sink, Snapshot},
};
use crate::{config::OutboxLimits, storage::Files};

/// A row of the table of alerts.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub seq: Seq,
    /// A bit for each sink that does not have it yet.
    pub pending: u8,
    /// Milliseconds since 1970, for people.
    pub created: i64,
    /// The counter of the time that has passed; the difference is the alert's age.
    pub elapsed: i64,
    pub entry: Arc<Entry>,
}

/// The state of a label that could not be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnwrittenMark {
    pub raised: bool,
    /// Its last alert that it was raised, as JSON, if it was raised since the file could not be written.
    pub alert: Option<String>,
}

/// Sums over the file, kept up to date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    pub bytes: u64,
    pub snapshot_bytes: u64,
    /// How many alerts each sink does not have yet.
    pub waiting: [u64; Sink::ALL.len()],
}

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    pub stock: Stock,
    /// The last setting of `PRAGMA synchronous`; `None` at first.
    synced: Option<bool>,
    files: Files,
}

impl Disk {
    /// A number beyond all in the file. It may have been used before, if the newest alerts were deleted.
    pub fn next(&self) -> rusqlite::Result<Seq> {
        let newest = "SELECT coalesce(max(seq), 0) FROM alerts";
        Ok(self.connection.query_row(newest, [], |row| row.get::<_, Seq>(0))? + 1)
    }

    /// Writes alerts, all or none, with the counter of their time if there is one. They are synced when this returns.
    pub fn append(&mut self, rows: &[Row], elapsed: Option<&Elapsed>) -> rusqlite::Result<()> {
        self.sync(true)?;
        let transaction = Transaction::immediate(&self.connection)?;
        insert(&self.connection, rows)?;
        if let Some(elapsed) = elapsed {
            clock::write(&self.connection, elapsed)?;
        }
        transaction.commit()?;
        for row in rows {
            self.stock.bytes += row.entry.size();
            self.stock.snapshot_bytes += row.entry.snapshot_size();
            self.stock.count(row.pending, 1);
        }
        Ok(())
    }

    /// The counter of time of the oldest alert that `sink` does not have yet.
    pub fn oldest(&self, sink: Sink) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT elapsed FROM alerts WHERE pending & ?1 ORDER BY seq LIMIT 1")?
            .query_row([sink.bit()], |row| row.get(0))
            .optional()
            .map(Option::flatten)
    }

    /// Counts again what is in the file.
    pub fn measure(&mut self) -> rusqlite::Result<()> {
        self.stock = take_stock(&self.connection)?;
        Ok(())
    }

    /// Writes states of labels whose alerts were delivered before they could be written.
    pub fn write_marks(&mut self, marks: &BTreeMap<String, UnwrittenMark>) -> rusqlite::Result<()> {
        self.sync(true)?;
        let transaction = Transaction::immediate(&self.connection)?;
        for (topic, UnwrittenMark { raised, alert }) in marks {
            if let Some(alert) = alert {
                write_mark(&self.connection, &Mark { topic: topic.clone(), raised: true }, alert)?;
            }
            if !raised {
                write_mark(&self.connection, &Mark { topic: topic.clone(), raised: false }, "")?;
            }
        }
        transaction.commit()
    }

    /// The mark of each label: the topic of its state, whether it is raised, and its last raised alert as JSON.
    pub fn marks(&self) -> rusqlite::Result<Vec<(String, bool, String)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT topic, raised, alert FROM marks ORDER BY topic")?;
        let marks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        marks.collect()
    }

    /// Alerts behind `after` that `sink` does not have yet, oldest first: at most `most`, and about `bytes` at most.
    pub fn read(&self, sink: Sink, after: Seq, most: usize, bytes: u64) -> rusqlite::Result<Vec<Row>> {
        self.select(sink.bit(), after, most, bytes)
    }

    /// The same, for any of several `sinks`: a set of bits.
    fn select(&self, sinks: u8, after: Seq, most: usize, bytes: u64) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT alerts.seq, id, alerts.topic, payload, created, pending, coalesce(elapsed, 0), snapshots.topic, jpeg
             FROM alerts LEFT JOIN snapshots USING (seq)
             WHERE alerts.seq > ?1 AND pending & ?2 ORDER BY alerts.seq LIMIT ?3",
        )?;
        let mut found = statement.query((after, sinks, most))?;
        let (mut rows, mut size) = (Vec::new(), 0);
        while size < bytes
            && let Some(row) = found.next()?
        {
            let row = read_row(row)?;
            size += row.entry.size() + row.entry.snapshot_size();
            rows.push(row);
        }
        Ok(rows)
    }

    /// Sets whether the next changes are synced when they return.
    fn sync(&mut self, synced: bool) -> rusqlite::Result<()> {
        if self.synced != Some(synced) {
            let synchronous = if synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.synced = Some(synced);
        }
        Ok(())
    }

    /// Limits the file to this many pages.
    #[cfg(test)]
    pub fn set_most_pages(&self, pages: u32) {
        self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    }
}

impl Stock {
    /// Whether a limit is exceeded.
    pub fn is_beyond(&self, limits: &OutboxLimits) -> bool {
        self.bytes > limits.size || self.snapshot_bytes > limits.snapshots
    }

    fn count(&mut self, pending: u8, alerts: u64) {
        for sink in Sink::ALL.into_iter().filter(|sink| pending & sink.bit() != 0) {
            self.waiting[sink.index()] += alerts;
        }
    }

    fn uncount(&mut self, pending: u8) {
        for sink in Sink::ALL.into_iter().filter(|sink| pending & sink.bit() != 0) {
            self.waiting[sink.index()] = self.waiting[sink.index()].saturating_sub(1);
        }
    }

    fn drop_snapshot(&mut self, bytes: Option<u64>) {
        self.snapshot_bytes = self.snapshot_bytes.saturating_sub(bytes.unwrap_or(0));
    }
}

fn insert(connection: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    for row in rows {
        let entry = &row.entry;
        connection
            .prepare_cached(
                "INSERT INTO alerts (seq, id, topic, payload, bytes, created, pending, elapsed)
                 VALUES (:seq, :id, :topic, :payload, :bytes, :created, :pending, :elapsed)",
            )?
            .execute(named_params! {
                ":seq": row.seq, ":id": entry.id, ":topic": entry.topic, ":payload": entry.payload,
                ":bytes": entry.size(), ":created": row.created, ":pending": row.pending,
                ":elapsed": row.elapsed,
            })?;
        if let Some(snapshot) = &entry.snapshot {
            connection
                .prepare_cached("INSERT INTO snapshots (seq, topic, jpeg) VALUES (?1, ?2, ?3)")?
                .execute((row.seq, &snapshot.topic, &snapshot.jpeg))?;
        }
        if let Some(mark) = &entry.mark {
            write_mark(connection, mark, &entry.payload)?;
        }
    }
    Ok(())
}

fn write_mark(connection: &Connection, mark: &Mark, payload: &str) -> rusqlite::Result<()> {
    if mark.raised {
        connection
            .prepare_cached("INSERT OR REPLACE INTO marks (topic, raised, alert) VALUES (?1, 1, ?2)")?
            .execute((&mark.topic, payload))?;
    } else {
        // The alert stays: a cooldown may run.
        connection.prepare_cached("UPDATE marks SET raised = 0 WHERE topic = ?1")?.execute([&mark.topic])?;
    }
    Ok(())
}

fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let (topic, jpeg) = (row.get::<_, Option<_>>(7)?, row.get::<_, Option<_>>(8)?);
    let snapshot = topic.zip(jpeg).map(|(topic, jpeg)| Snapshot { topic, jpeg });
    let entry =
        Arc::new(Entry { id: row.get(1)?, topic: row.get(2)?, payload: row.get(3)?, snapshot, mark: None });
    let (created, pending, elapsed) = (row.get(4)?, row.get(5)?, row.get(6)?);
    Ok(Row { seq: row.get(0)?, created, pending, elapsed, entry })
}

fn take_stock(connection: &Connection) -> rusqlite::Result<Stock> {
    let waiting = |sink: Sink| {
        connection.query_row("SELECT count(*) FROM alerts WHERE pending & ?1", [sink.bit()], |row| row.get(0))
    };
    let sum = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
    Ok(Stock {
        bytes: sum("SELECT coalesce(sum(bytes), 0) FROM alerts")?,
        snapshot_bytes: sum("SELECT coalesce(sum(length(jpeg)), 0) FROM snapshots")?,
        waiting: [waiting(Sink::Mqtt)?, waiting(Sink::Webhook)?, waiting(Sink::Command)?],
    })
}

/// A transaction that is rolled back unless it is committed, also on a panic. Unlike rusqlite's own, it uses prepared statements:
/// parsing them again would delay each alert.
struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    fn immediate(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(connection))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // After some errors SQLite has rolled back already.
        if !self.0.is_autocommit() {
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Arc,
    };

    use super::*;
    use crate::alert::outbox::{Entry, Sink, disk::Disk};

    #[test]
    fn a_panic_between_begin_and_commit_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(&folder.path().join("outbox.sqlite")).ok().unwrap();
        let row = |seq, id: &str| {
            let text = || "text".to_owned();
            let entry =
                Entry { id: id.to_owned(), topic: text(), payload: text(), snapshot: None, mark: None };
            Row { seq, pending: Sink::Mqtt.bit(), created: 0, elapsed: 0, entry: Arc::new(entry) }
        };
        let half = catch_unwind(AssertUnwindSafe(|| {
            let _transaction = Transaction::immediate(&disk.connection).unwrap();
            insert(&disk.connection, &[row(1, "half")]).unwrap();
            panic!("between begin and commit");
        }));
        assert!(half.is_err());
        disk.append(&[row(1, "whole")], None).unwrap();
        let ids = disk.read(Sink::Mqtt, 0, 10, 1_000).unwrap();
        assert_eq!(ids.iter().map(|row| &*row.entry.id).collect::<Vec<_>>(), ["whole"]);
    }
}
