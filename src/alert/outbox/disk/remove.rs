//! How alerts leave the file: told, too old or too many. None of it need be on the disk at once. Refuses to decide how much is
//! too much.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{CLOCK_WAS_SET, Disk, take_stock};
use crate::alert::outbox::entry::{Seq, Sink};

impl Disk {
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

    /// Forgets alerts that `sink` was told. Those that are no longer there are no error.
    pub fn remove(&mut self, sink: Sink, seqs: &[Seq]) -> rusqlite::Result<()> {
        self.lazily(|disk| disk.take_out(sink, seqs))
    }

    fn take_out(&mut self, sink: Sink, seqs: &[Seq]) -> rusqlite::Result<()> {
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
        self.lazily(|disk| disk.take_out_oldest(size, age, now))
    }

    fn take_out_oldest(&mut self, size: u64, age: Duration, now: i64) -> rusqlite::Result<u64> {
        let mut dropped = 0;
        let mut stock = self.stock;
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
        if self.stock.snapshot_bytes <= size {
            return Ok(0);
        }
        self.lazily(|disk| disk.take_out_snapshots(size))
    }

    fn take_out_snapshots(&mut self, size: u64) -> rusqlite::Result<u64> {
        let mut dropped = 0;
        let mut stock = self.stock;
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

    /// Forgets how it stands with labels, by the topics of their states.
    pub fn forget_marks(&mut self, topics: &[String]) -> rusqlite::Result<()> {
        self.lazily(|disk| {
            let transaction = disk.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for topic in topics {
                transaction.prepare_cached("DELETE FROM marks WHERE topic = ?1")?.execute([topic])?;
            }
            transaction.commit()
        })
    }

    /// A change that need not be on the disk when it returns: what leaves comes back at worst, and is told or dropped once
    /// more.
    fn lazily<T>(&mut self, change: impl FnOnce(&mut Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.sync(false)?;
        let done = change(self);
        // Now, so that the next alert need not wait for it; if this fails, who brings that one tries again.
        let _ = self.sync(true);
        done
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
}

fn forget_snapshot(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("DELETE FROM snapshots WHERE seq = ?1 RETURNING length(jpeg)")?
        .query_row([seq], |row| row.get(0))
        .optional()
}

fn is_older(created: i64, age: Duration, now: i64) -> bool {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    created >= CLOCK_WAS_SET && now.saturating_sub(created) > age
}
