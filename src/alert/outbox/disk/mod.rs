//! The outbox's file: one SQLite database that nobody else may open meanwhile.
//!
//! What [`Disk::append`] took is on the disk when it returns, and survives the process and the power. Being removed need
//! not survive the power: what comes back is told once more, with the same `id`. It refuses to decide what becomes of
//! alerts when the disk does not work.

mod open;
pub mod remove;
mod write;

use std::sync::Arc;

use rusqlite::{Connection, Row as SqlRow};

pub(super) use self::open::{FORMAT, path};
use self::write::{Begun, insert};
use super::entry::{Entry, Seq, Sink, Snapshot};
use crate::config::OutboxLimits;

/// A clock that says less was never set: nobody knows how old an alert of that time is. 2020-01-01, in milliseconds.
const CLOCK_WAS_SET: i64 = 1_577_836_800_000;

/// An alert with what the outbox knows of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub seq: Seq,
    /// A bit for each sink that has yet to be told.
    pub pending: u8,
    /// Milliseconds since 1970.
    pub created: i64,
    pub entry: Arc<Entry>,
}

/// What is in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    pub bytes: u64,
    pub snapshot_bytes: u64,
    /// How many alerts each sink has yet to be told.
    pub waiting: [u64; Sink::ALL.len()],
}

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    pub stock: Stock,
    /// What was asked for last; `None` at first.
    synced: Option<bool>,
}

impl Disk {
    /// A number beyond all that are in the file. It may have been used before: whoever counts on goes on from it himself.
    pub fn next(&self) -> rusqlite::Result<Seq> {
        let newest = "SELECT coalesce(max(seq), 0) FROM alerts";
        Ok(self.connection.query_row(newest, [], |row| row.get::<_, Seq>(0))? + 1)
    }

    /// Takes alerts, all or none. They are on the disk when this returns.
    pub fn append(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        self.sync(true)?;
        let begun = Begun::immediate(&self.connection)?;
        insert(&self.connection, rows)?;
        begun.commit()?;
        for row in rows {
            self.stock.bytes += row.entry.size();
            self.stock.snapshot_bytes += row.entry.snapshot_size();
            self.stock.count(row.pending, 1);
        }
        Ok(())
    }

    /// How it stands with each label: whether it is raised, and its newest alert that it was.
    pub fn marks(&self) -> rusqlite::Result<Vec<(bool, String)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT raised, alert FROM marks ORDER BY topic")?;
        let marks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        marks.collect()
    }

    /// Alerts behind `after` that `sink` has yet to be told, oldest first: at most `most`, and not many more than `bytes`.
    pub fn read(&self, sink: Sink, after: Seq, most: usize, bytes: u64) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT alerts.seq, id, alerts.topic, payload, created, pending, snapshots.topic, jpeg
             FROM alerts LEFT JOIN snapshots USING (seq)
             WHERE alerts.seq > ?1 AND pending & ?2 ORDER BY alerts.seq LIMIT ?3",
        )?;
        let mut found = statement.query((after, sink.bit(), most))?;
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

    /// Whether the next changes are on the disk when they return.
    fn sync(&mut self, synced: bool) -> rusqlite::Result<()> {
        if self.synced != Some(synced) {
            let synchronous = if synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.synced = Some(synced);
        }
        Ok(())
    }

    /// The file may not grow beyond so many pages.
    #[cfg(test)]
    pub fn set_most_pages(&self, pages: u32) {
        self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    }
}

impl Stock {
    /// Whether there is more than is allowed.
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

fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let (topic, jpeg) = (row.get::<_, Option<_>>(6)?, row.get::<_, Option<_>>(7)?);
    let snapshot = topic.zip(jpeg).map(|(topic, jpeg)| Snapshot { topic, jpeg });
    let entry =
        Arc::new(Entry { id: row.get(1)?, topic: row.get(2)?, payload: row.get(3)?, snapshot, mark: None });
    Ok(Row { seq: row.get(0)?, created: row.get(4)?, pending: row.get(5)?, entry })
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
