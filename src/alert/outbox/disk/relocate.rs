//! Moves the alerts to another file, because theirs was deleted, renamed or replaced while it was open. What is written to such a
//! file is lost when the process ends.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Transaction;

use super::{Disk, Mark, Row, Seq, clock, insert, open, take_stock, write_mark};
use crate::{
    alert::outbox::elapsed::Elapsed,
    storage::{self, FilesState},
};

/// How many alerts are copied at a time, and about how many bytes.
const BATCH: usize = 1000;
const BATCH_BYTES: u64 = 4_000_000;
/// Every sink.
const ANY: u8 = u8::MAX;

/// Where the alerts belong that another run left in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// They were raised before all alerts with this number and higher ones.
    Before(Seq),
    /// They follow the alerts below this number: when they were raised is unknown.
    After(Seq),
}

/// What came of moving.
#[derive(Debug)]
pub struct Relocated {
    pub disk: Disk,
    /// The new name of a damaged file that was at the path.
    pub aside: Option<PathBuf>,
    /// Alerts that another file at the path had; they are delivered, too.
    pub found: u64,
    /// Alerts that could not be read from the old file.
    pub lost: u64,
}

/// Which file failed.
enum CopyError {
    From(rusqlite::Error),
    Into(rusqlite::Error),
}

impl Disk {
    /// Whether its files are still at `path`.
    pub fn files_state(&self, path: &Path) -> FilesState {
        self.files.files_state(path)
    }

    /// Writes everything in the log to the database.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        storage::checkpoint(&self.connection).map(drop)
    }

    /// Copies everything into a file at `path`, whatever is there now. `kept` are the alerts in memory, `next` is the number of
    /// the next alert, and `elapsed` is the counter of its time. This file can still be used after an error.
    pub fn relocate(
        &self,
        path: &Path,
        kept: &[Row],
        next: Seq,
        elapsed: &Elapsed,
    ) -> Result<Relocated, open::Error> {
        let broken = |source| open::Error::Open { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(path);
        let no_folder = |source| open::Error::Folder { folder: folder.to_owned(), source };
        // So that a renamed file is complete. If this fails, everything is still read through the open files.
        let _ = self.checkpoint();
        self.unlink_log(path).map_err(no_folder)?;
        fs::create_dir_all(folder).map_err(no_folder)?;
        let (mut disk, aside) = Self::open_or_replace(path, Duration::ZERO)?;
        let first = disk.renumber(Order::After(next), elapsed).map_err(broken)?;
        let lost = match self.copy_into(&mut disk) {
            Ok(()) => 0,
            Err(CopyError::Into(error)) => return Err(broken(error)),
            Err(CopyError::From(error)) => {
                tracing::error!(%error, "the former file of the outbox cannot be read to its end");
                self.rescue_into(&mut disk, kept).map_err(broken)?
            }
        };
        let found = "SELECT count(*) FROM alerts WHERE seq >= ?1";
        let found = disk.connection.query_row(found, [first], |row| row.get(0)).map_err(broken)?;
        disk.stock = take_stock(&disk.connection).map_err(broken)?;
        Ok(Relocated { disk, aside, found, lost })
    }

    /// Gives the alerts in this file, which another run wrote, their numbers and their time in this run. Returns the lowest of their
    /// numbers, or the highest possible one if there are none.
    pub fn renumber(&mut self, order: Order, elapsed: &Elapsed) -> rusqlite::Result<Seq> {
        let theirs = self.elapsed(elapsed.last)?;
        let transaction = self.connection.transaction()?;
        let ends =
            |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<Seq>>(0)?.zip(row.get::<_, Option<Seq>>(1)?));
        let ends = transaction.query_row("SELECT min(seq), max(seq) FROM alerts", [], ends)?;
        let by = ends.map_or(0, |(lowest, highest)| match order {
            Order::Before(first) => first.saturating_sub(1).saturating_sub(highest).min(0),
            Order::After(next) => next.saturating_sub(lowest).max(0),
        });
        if by != 0 {
            for table in ["alerts", "snapshots"] {
                // In two steps, so that no number is used twice in between.
                transaction.execute(&format!("UPDATE {table} SET seq = -seq"), [])?;
                transaction.execute(&format!("UPDATE {table} SET seq = ?1 - seq"), [by])?;
            }
        }
        let time = elapsed.total.saturating_sub(theirs.total);
        transaction.execute("UPDATE alerts SET elapsed = elapsed + ?1", [time])?;
        clock::write(&transaction, elapsed)?;
        transaction.commit()?;
        Ok(ends.map_or(Seq::MAX, |(lowest, _)| lowest.saturating_add(by)))
    }

    /// SQLite would apply a log that is left to whatever database is at `path` next.
    fn unlink_log(&self, path: &Path) -> std::io::Result<()> {
        if self.files.has_log(path) { fs::remove_file(storage::log_of(path)) } else { Ok(()) }
    }

    fn copy_into(&self, other: &mut Self) -> Result<(), CopyError> {
        let mut after = 0;
        loop {
            let rows = self.select(ANY, after, BATCH, BATCH_BYTES).map_err(CopyError::From)?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            other.take_over(&rows).map_err(CopyError::Into)?;
        }
        let marks = self.marks().map_err(CopyError::From)?;
        let transaction = other.connection.transaction().map_err(CopyError::Into)?;
        copy_marks(&transaction, marks).map_err(CopyError::Into)?;
        transaction.commit().map_err(CopyError::Into)
    }

    /// Copies what can still be read, and what is in memory. Returns how many alerts are missing.
    fn rescue_into(&self, other: &mut Self, kept: &[Row]) -> rusqlite::Result<u64> {
        let readable = open::salvage(&self.connection).into_iter().chain(kept.iter().cloned());
        let rows: BTreeMap<Seq, Row> = readable.map(|row| (row.seq, row)).collect();
        let rows: Vec<_> = rows.into_values().collect();
        other.take_over(&rows)?;
        let waiting = self.stock.waiting.into_iter().max().unwrap_or(0);
        Ok(waiting.saturating_sub(rows.len() as u64))
    }

    /// Writes these alerts instead of those with the same identifiers.
    fn take_over(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        self.sync(true)?;
        let transaction = self.connection.transaction()?;
        if self.stock.bytes > 0 {
            // Otherwise each deletion would read the whole table. It is dropped when the file is opened next.
            transaction.execute_batch("CREATE INDEX IF NOT EXISTS merged ON alerts (id)")?;
            for row in rows {
                let same = "DELETE FROM alerts WHERE id = ?1 RETURNING seq";
                let mut same = transaction.prepare_cached(same)?;
                let same = same.query_map([&row.entry.id], |row| row.get::<_, Seq>(0))?;
                for seq in same.collect::<rusqlite::Result<Vec<_>>>()? {
                    transaction.prepare_cached("DELETE FROM snapshots WHERE seq = ?1")?.execute([seq])?;
                }
            }
        }
        insert(&transaction, rows)?;
        transaction.commit()
    }
}

fn copy_marks(transaction: &Transaction<'_>, marks: Vec<(String, bool, String)>) -> rusqlite::Result<()> {
    for (topic, raised, alert) in marks {
        // The alert of a label that is no longer raised is kept, too: a cooldown may run.
        write_mark(transaction, &Mark { topic: topic.clone(), raised: true }, &alert)?;
        if !raised {
            write_mark(transaction, &Mark { topic, raised: false }, &alert)?;
        }
    }
    Ok(())
}
