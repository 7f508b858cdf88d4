//! How alerts come into the file, all or none. Refuses to know whether they are on the disk then: see [`super::Disk::append`].

use rusqlite::{Connection, named_params};

use super::Row;
use crate::alert::outbox::entry::Mark;

/// A change that was never made unless it is committed: not on an error, nor when something panics. Unlike rusqlite's own it
/// has no words parsed anew each time: nothing is on the way of an alert.
pub(super) struct Begun<'c>(&'c Connection);

impl<'c> Begun<'c> {
    pub(super) fn immediate(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(connection))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // After some errors SQLite has done so by itself.
        if !self.0.is_autocommit() {
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

pub(super) fn insert(connection: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    for row in rows {
        let entry = &row.entry;
        connection
            .prepare_cached(
                "INSERT INTO alerts (seq, id, topic, payload, bytes, created, pending)
                 VALUES (:seq, :id, :topic, :payload, :bytes, :created, :pending)",
            )?
            .execute(named_params! {
                ":seq": row.seq, ":id": entry.id, ":topic": entry.topic, ":payload": entry.payload,
                ":bytes": entry.size(), ":created": row.created, ":pending": row.pending,
            })?;
        if let Some(snapshot) = &entry.snapshot {
            connection
                .prepare_cached("INSERT INTO snapshots (seq, topic, jpeg) VALUES (?1, ?2, ?3)")?
                .execute((row.seq, &snapshot.topic, &snapshot.jpeg))?;
        }
        if let Some(mark) = &entry.mark {
            remember(connection, mark, &entry.payload)?;
        }
    }
    Ok(())
}

fn remember(connection: &Connection, mark: &Mark, payload: &str) -> rusqlite::Result<()> {
    if mark.raised {
        connection
            .prepare_cached("INSERT OR REPLACE INTO marks (topic, raised, alert) VALUES (?1, 1, ?2)")?
            .execute((&mark.topic, payload))?;
    } else {
        // When it was raised stays known: a cooldown may run.
        connection.prepare_cached("UPDATE marks SET raised = 0 WHERE topic = ?1")?.execute([&mark.topic])?;
    }
    Ok(())
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
            Row { seq, pending: Sink::Mqtt.bit(), created: 0, entry: Arc::new(entry) }
        };
        let half = catch_unwind(AssertUnwindSafe(|| {
            let _begun = Begun::immediate(&disk.connection).unwrap();
            insert(&disk.connection, &[row(1, "half")]).unwrap();
            panic!("on the way");
        }));
        assert!(half.is_err());
        disk.append(&[row(1, "whole")]).unwrap();
        let ids = disk.read(Sink::Mqtt, 0, 10, 1_000).unwrap();
        assert_eq!(ids.iter().map(|row| &*row.entry.id).collect::<Vec<_>>(), ["whole"]);
    }
}
