//! Keeps the counter of the time that has passed in the file, beside the alerts whose age it measures.

use rusqlite::{Connection, OptionalExtension as _, named_params};
use uuid::Uuid;

use super::Disk;
use crate::{
    alert::outbox::elapsed::{Elapsed, Gap},
    clock::Reading,
};

/// One row. Older versions ignore this table and the column of the alerts, so that they do not change the format.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS clock (
        id           INTEGER PRIMARY KEY CHECK (id = 1),
        total        INTEGER NOT NULL,
        boot         TEXT NOT NULL,
        up           INTEGER NOT NULL,
        wall         INTEGER NOT NULL,
        synchronised INTEGER NOT NULL,
        gap_wall     INTEGER,
        gap_total    INTEGER
    ) STRICT;";

impl Disk {
    /// Advances the counter in the file to `now`, and returns it. Alerts without a counter are as old as the newest one.
    pub fn elapsed(&mut self, now: Reading) -> rusqlite::Result<Elapsed> {
        let mut elapsed = read(&self.connection)?.unwrap_or(Elapsed::new(now));
        let newest = "SELECT max(elapsed) FROM alerts";
        let newest = self.connection.query_row(newest, [], |row| row.get::<_, Option<i64>>(0))?;
        // The table is written less often than alerts.
        elapsed.total = elapsed.total.max(newest.unwrap_or(i64::MIN));
        elapsed.advance(now);
        let written = self.lazily(|disk| {
            disk.connection
                .execute("UPDATE alerts SET elapsed = ?1 WHERE elapsed IS NULL", [elapsed.total])?;
            write(&disk.connection, &elapsed)
        });
        if let Err(error) = written {
            // With a full disk the alerts can still be read. The counter is written with the next ones.
            tracing::debug!(%error, "the time that has passed could not be written to the outbox");
        }
        Ok(elapsed)
    }

    /// Writes the counter.
    pub fn write_elapsed(&mut self, elapsed: &Elapsed) -> rusqlite::Result<()> {
        self.lazily(|disk| write(&disk.connection, elapsed))
    }
}

/// Makes the table, and the column of the alerts.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLE)?;
    let has_column = "SELECT count(*) FROM pragma_table_info('alerts') WHERE name = 'elapsed'";
    if connection.query_row(has_column, [], |row| row.get::<_, i64>(0))? == 0 {
        connection.execute_batch("ALTER TABLE alerts ADD COLUMN elapsed INTEGER")?;
    }
    Ok(())
}

fn read(connection: &Connection) -> rusqlite::Result<Option<Elapsed>> {
    let stored = connection
        .prepare_cached("SELECT total, boot, up, wall, synchronised, gap_wall, gap_total FROM clock")?
        .query_row([], |row| {
            let gap = row.get::<_, Option<i64>>(5)?.zip(row.get::<_, Option<i64>>(6)?);
            let boot = row.get::<_, String>(1)?;
            let (up, wall, synchronised) = (row.get(2)?, row.get(3)?, row.get(4)?);
            // Another text is no start of this machine.
            let last = Reading { boot: boot.parse().unwrap_or(Uuid::nil()), up, wall, synchronised };
            Ok(Elapsed { total: row.get(0)?, last, gap: gap.map(|(wall, total)| Gap { wall, total }) })
        });
    stored.optional()
}

pub(super) fn write(connection: &Connection, elapsed: &Elapsed) -> rusqlite::Result<()> {
    let Elapsed { total, last, gap } = elapsed;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO clock (id, total, boot, up, wall, synchronised, gap_wall, gap_total)
             VALUES (1, :total, :boot, :up, :wall, :synchronised, :gap_wall, :gap_total)",
        )?
        .execute(named_params! {
            ":total": total, ":boot": last.boot.to_string(), ":up": last.up, ":wall": last.wall,
            ":synchronised": last.synchronised, ":gap_wall": gap.map(|gap| gap.wall),
            ":gap_total": gap.map(|gap| gap.total),
        })
        .map(drop)
}
