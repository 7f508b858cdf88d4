//! Deletes alerts and snapshots from the file: delivered, too old or too many. None of it need be synced at once.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Disk, take_stock};
use crate::alert::outbox::entry::{Seq, Sink};

impl Disk {
    /// Stops waiting for sinks that are not in the set `known`. Returns how many alerts were deleted for it.
    pub fn keep_sinks(&mut self, known: u8) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE alerts SET pending = pending & ?1 WHERE pending & ~?1", [known])?;
        let deleted = transaction.execute("DELETE FROM alerts WHERE pending = 0", [])?;
        transaction.execute("DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM alerts)", [])?;
        transaction.commit()?;
        self.stock = take_stock(&self.connection)?;
        Ok(deleted)
    }

    /// Marks alerts as delivered to `sink`, and deletes those that every sink has. A missing alert is no error.
    pub fn remove(&mut self, sink: Sink, seqs: &[Seq]) -> rusqlite::Result<()> {
        self.lazily(|disk| disk.delete(sink, seqs))
    }

    fn delete(&mut self, sink: Sink, seqs: &[Seq]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut stock = self.stock;
        for &seq in seqs {
            let deleted = transaction
                .prepare_cached("DELETE FROM alerts WHERE seq = ?1 AND pending = ?2 RETURNING bytes")?
                .query_row((seq, sink.bit()), |row| row.get::<_, u64>(0))
                .optional()?;
            let waited = match deleted {
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
            if waited {
                stock.uncount(sink.bit());
            }
            if sink == Sink::Mqtt {
                stock.drop_snapshot(delete_snapshot(&transaction, seq)?);
            }
        }
        transaction.commit()?;
        self.stock = stock;
        self.vacuum()
    }

    /// Deletes the oldest until the rest is not too large, and none is from before `oldest` by the counter of time. Returns how many
    /// were deleted, and the number of the last one. The newest is never deleted for its size.
    pub fn drop_oldest(&mut self, size: u64, oldest: i64) -> rusqlite::Result<(u64, Option<Seq>)> {
        self.lazily(|disk| disk.delete_oldest(size, oldest))
    }

    fn delete_oldest(&mut self, size: u64, oldest: i64) -> rusqlite::Result<(u64, Option<Seq>)> {
        let (mut dropped, mut last) = (0, None);
        let mut stock = self.stock;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        loop {
            let found = transaction
                .prepare_cached(
                    "SELECT seq, bytes, coalesce(elapsed, ?1), pending, id, topic FROM alerts ORDER BY seq LIMIT 1",
                )?
                .query_row([oldest], |row| {
                    let text = |at| row.get::<_, String>(at);
                    Ok((
                        row.get::<_, Seq>(0)?,
                        row.get::<_, u64>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, u8>(3)?,
                        text(4)?,
                        text(5)?,
                    ))
                })
                .optional()?;
            let Some((seq, bytes, elapsed, pending, id, topic)) = found else { break };
            let too_much = stock.bytes > size && stock.bytes > bytes;
            if !too_much && elapsed >= oldest {
                break;
            }
            // The one place where an alert on disk is dropped.
            transaction.prepare_cached("DELETE FROM alerts WHERE seq = ?1")?.execute([seq])?;
            stock.drop_snapshot(delete_snapshot(&transaction, seq)?);
            stock.bytes = stock.bytes.saturating_sub(bytes);
            stock.uncount(pending);
            (dropped, last) = (dropped + 1, Some(seq));
            tracing::debug!(id, topic, "the oldest alert was dropped");
        }
        transaction.commit()?;
        self.stock = stock;
        if dropped > 0 {
            self.vacuum()?;
        }
        Ok((dropped, last))
    }

    /// Deletes the oldest snapshots until the rest takes no more than `size`. Returns how many were deleted. Their alerts stay.
    pub fn drop_snapshots(&mut self, size: u64) -> rusqlite::Result<u64> {
        if self.stock.snapshot_bytes <= size {
            return Ok(0);
        }
        self.lazily(|disk| disk.delete_snapshots(size))
    }

    fn delete_snapshots(&mut self, size: u64) -> rusqlite::Result<u64> {
        let mut dropped = 0;
        let mut stock = self.stock;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        while stock.snapshot_bytes > size {
            // The one place where a snapshot on disk is dropped: snapshots must not displace alerts.
            let deleted = transaction
                .prepare_cached(
                    "DELETE FROM snapshots WHERE seq = (SELECT min(seq) FROM snapshots) RETURNING length(jpeg)",
                )?
                .query_row([], |row| row.get(0))
                .optional()?;
            let Some(bytes) = deleted else { break };
            stock.drop_snapshot(Some(bytes));
            dropped += 1;
        }
        transaction.commit()?;
        self.stock = stock;
        Ok(dropped)
    }

    /// Deletes the marks of labels, by the topics of their states.
    pub fn delete_marks(&mut self, topics: &[String]) -> rusqlite::Result<()> {
        self.lazily(|disk| {
            let transaction = disk.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for topic in topics {
                transaction.prepare_cached("DELETE FROM marks WHERE topic = ?1")?.execute([topic])?;
            }
            transaction.commit()
        })
    }

    /// Moves the marks of labels whose topic changed, given as (old topic, new topic). A mark that the new topic already has is newer
    /// and stays.
    pub fn move_marks(&mut self, moves: &[(String, String)]) -> rusqlite::Result<()> {
        self.lazily(|disk| {
            let transaction = disk.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (from, to) in moves {
                transaction
                    .prepare_cached("UPDATE OR IGNORE marks SET topic = ?2 WHERE topic = ?1")?
                    .execute([from, to])?;
                transaction.prepare_cached("DELETE FROM marks WHERE topic = ?1")?.execute([from])?;
            }
            transaction.commit()
        })
    }

    /// Makes a change that need not be synced when it returns: at worst a deletion is undone, and made again later.
    pub(super) fn lazily<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.sync(false)?;
        let done = change(self);
        // Now, so that the next append need not wait for it. If this fails, the append sets it again.
        let _ = self.sync(true);
        done
    }

    /// Makes the file small again after an outage. Only when it is empty: then there is nothing to move.
    fn vacuum(&self) -> rusqlite::Result<()> {
        if self.stock.bytes == 0 {
            let mut vacuum = self.connection.prepare_cached("PRAGMA incremental_vacuum")?;
            let mut pages = vacuum.query([])?;
            // Each step frees one page.
            while pages.next()?.is_some() {}
        }
        Ok(())
    }
}

fn delete_snapshot(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("DELETE FROM snapshots WHERE seq = ?1 RETURNING length(jpeg)")?
        .query_row([seq], |row| row.get(0))
        .optional()
}
