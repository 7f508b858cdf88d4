//! The outbox's file: one SQLite database that nobody else may open meanwhile.
//!
//! What [`Disk::append`] took is on the disk when it returns, and survives the process and the power. Being removed need
//! not survive the power: what comes back is told once more, with the same `id`. It refuses to decide what becomes of
//! alerts when the disk does not work.

mod open;
mod write;

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, TransactionBehavior};

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

fn is_older(created: i64, age: Duration, now: i64) -> bool {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    created >= CLOCK_WAS_SET && now.saturating_sub(created) > age
}

impl Disk {
    /// The next free number.
    pub fn next(&self) -> rusqlite::Result<Seq> {
        let newest = "SELECT max(coalesce((SELECT max(seq) FROM alerts), 0),
                                 coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'alerts'), 0))";
        Ok(self.connection.query_row(newest, [], |row| row.get::<_, Seq>(0))? + 1)
    }

    /// Sinks that are not in the set `known` are gone and are not waited for. How many alerts left with them.
    pub fn forget_others(&mut self, known: u8) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE alerts SET pending = pending & ?1 WHERE pending & ~?1", [known])?;
        let gone = transaction.execute("DELETE FROM alerts WHERE pending = 0", [])?;
        transaction.execute("DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM alerts)", [])?;
        transaction.commit()?;
        self.stock = take_stock(&self.connection)?;
        Ok(gone)
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

    /// Forgets how it stands with labels, by the topics of their states.
    pub fn forget_marks(&mut self, topics: &[String]) -> rusqlite::Result<()> {
        self.sync(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for topic in topics {
            transaction.prepare_cached("DELETE FROM marks WHERE topic = ?1")?.execute([topic])?;
        }
        transaction.commit()
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

    /// Forgets alerts that `sink` was told. Those that are no longer there are no error.
    pub fn remove(&mut self, sink: Sink, seqs: &[Seq]) -> rusqlite::Result<()> {
        self.sync(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut stock = self.stock;
        for &seq in seqs {
            let gone = transaction
                .prepare_cached("DELETE FROM alerts WHERE seq = ?1 AND pending = ?2 RETURNING bytes")?
                .query_row((seq, sink.bit()), |row| row.get::<_, u64>(0))
                .optional()?;
            let told = match gone {
                Some(bytes) => {
                    stock.bytes = stock.bytes.saturating_sub(bytes);
                    true
                }
                None => {
                    transaction
                        .prepare_cached(
                            "UPDATE alerts SET pending = pending & ~?2 WHERE seq = ?1 AND pending & ?2",
                        )?
                        .execute((seq, sink.bit()))?
                        > 0
                }
            };
            if told {
                stock.uncount(sink.bit());
            }
            if sink == Sink::Mqtt {
                stock.drop_snapshot(forget_snapshot(&transaction, seq)?);
            }
        }
        transaction.commit()?;
        self.stock = stock;
        self.give_back()
    }

    /// The oldest leave until they are neither too many bytes nor too old; how many did. The newest stays in any case.
    pub fn drop_oldest(&mut self, size: u64, age: Duration, now: i64) -> rusqlite::Result<u64> {
        let mut dropped = 0;
        let mut stock = self.stock;
        self.sync(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        loop {
            let oldest = transaction
                .prepare_cached(
                    "SELECT seq, bytes, created, pending, id, topic FROM alerts ORDER BY seq LIMIT 1",
                )?
                .query_row([], |row| {
                    let text = |at| row.get::<_, String>(at);
                    Ok((
                        row.get::<_, Seq>(0)?,
                        row.get::<_, u64>(1)?,
                        row.get(2)?,
                        row.get::<_, u8>(3)?,
                        text(4)?,
                        text(5)?,
                    ))
                })
                .optional()?;
            let Some((seq, bytes, created, pending, id, topic)) = oldest else { break };
            let too_much = stock.bytes > size && stock.bytes > bytes;
            if !too_much && !is_older(created, age, now) {
                break;
            }
            // The one place where an alert that is on disk is lost by intention.
            transaction.prepare_cached("DELETE FROM alerts WHERE seq = ?1")?.execute([seq])?;
            stock.drop_snapshot(forget_snapshot(&transaction, seq)?);
            stock.bytes = stock.bytes.saturating_sub(bytes);
            stock.uncount(pending);
            dropped += 1;
            tracing::debug!(id, topic, "the oldest alert was dropped");
        }
        transaction.commit()?;
        self.stock = stock;
        if dropped > 0 {
            self.give_back()?;
        }
        Ok(dropped)
    }

    /// The oldest snapshots leave until the rest takes no more than `size`; how many did. Their alerts stay.
    pub fn drop_snapshots(&mut self, size: u64) -> rusqlite::Result<u64> {
        let mut dropped = 0;
        if self.stock.snapshot_bytes <= size {
            return Ok(dropped);
        }
        let mut stock = self.stock;
        self.sync(false)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        while stock.snapshot_bytes > size {
            // The one place where a snapshot on disk is lost by intention: pictures must not push out alerts.
            let gone = transaction
                .prepare_cached(
                    "DELETE FROM snapshots WHERE seq = (SELECT min(seq) FROM snapshots) RETURNING length(jpeg)",
                )?
                .query_row([], |row| row.get(0))
                .optional()?;
            let Some(bytes) = gone else { break };
            stock.drop_snapshot(Some(bytes));
            dropped += 1;
        }
        transaction.commit()?;
        self.stock = stock;
        Ok(dropped)
    }

    /// Whether the next changes are on the disk when they return. What leaves need not be: at worst it comes back, and is
    /// told or dropped once more.
    fn sync(&mut self, synced: bool) -> rusqlite::Result<()> {
        if self.synced != Some(synced) {
            let synchronous = if synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.synced = Some(synced);
        }
        Ok(())
    }

    /// Gives the disk back what an outage took. Only when empty: then there is nothing to move.
    fn give_back(&self) -> rusqlite::Result<()> {
        if self.stock.bytes == 0 {
            let mut vacuum = self.connection.prepare_cached("PRAGMA incremental_vacuum")?;
            let mut pages = vacuum.query([])?;
            // Each step frees one page.
            while pages.next()?.is_some() {}
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

fn forget_snapshot(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("DELETE FROM snapshots WHERE seq = ?1 RETURNING length(jpeg)")?
        .query_row([seq], |row| row.get(0))
        .optional()
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
