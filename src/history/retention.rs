//! Deletes what is too old or too much, the oldest first: a little at a time, so that no transaction is long.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Transaction};

use super::store::{History, TABLES};

/// The most rows of a table that are deleted in one step.
const ROWS: u32 = 500;
/// For want of space everything is deleted that is at most this much newer than the oldest entry, in milliseconds.
const SPAN: i64 = 10 * 60_000;
/// The free pages that are returned to the file system in one step.
const FREED: u64 = 256;
/// The size of the log, which belongs to the file, in bytes.
const LOG: u64 = 4 << 20;
/// What is left free on the disk for alerts and for other programs: this, or a twentieth of a smaller disk.
const RESERVE: u64 = 256 << 20;

/// The limits of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The age at which an entry is deleted.
    pub keep: Duration,
    /// The most bytes on disk.
    pub max_size: u64,
}

/// The disk on which the history is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What can still be written.
    pub free: u64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Entries that were deleted before their time.
    pub dropped: u64,
    /// There is more to do.
    pub more: bool,
}

/// Makes one step. `now` is in milliseconds since 1970.
///
/// # Errors
/// The disk does not work.
pub fn step(history: &mut History, now: i64, limits: Limits, space: Option<Space>) -> rusqlite::Result<Step> {
    let keep = i64::try_from(limits.keep.as_millis()).unwrap_or(i64::MAX);
    let expired = history.write(|transaction| expire(transaction, now.saturating_sub(keep)))?;
    let (pages, free) = history.pages()?;
    let page_size = history.page_size();
    let used = (pages - free) * page_size;
    let dropped = if used > room(limits.max_size, used, space) { history.write(drop_oldest)? } else { 0 };
    let shrunk = shrink(history)?;
    Ok(Step { dropped, more: expired > 0 || dropped > 0 || shrunk })
}

/// The bytes that entries may take. The rest of `max_size` is the log, and pages that were freed and are not returned yet.
fn room(max_size: u64, used: u64, space: Option<Space>) -> u64 {
    let room = (max_size - LOG.min(max_size / 2)) / 16 * 15;
    match space {
        Some(Space { total, free }) => {
            let missing = RESERVE.min(total / 20).saturating_sub(free);
            if missing > 0 { room.min(used.saturating_sub(missing)) } else { room }
        }
        None => room,
    }
}

/// Deletes entries that are older than `oldest`.
fn expire(transaction: &Transaction<'_>, oldest: i64) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for table in TABLES.iter().filter(|table| !table.permanent) {
        deleted += delete_until(transaction, table.name, table.time.last(), oldest - 1)?;
    }
    Ok(deleted)
}

/// Deletes the oldest entries of all tables.
fn drop_oldest(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let mut oldest = None;
    let tables =
        || TABLES.iter().filter(|table| !table.permanent).map(|table| (table.name, table.time.last()));
    for (name, last) in tables() {
        let sql = format!("SELECT {last} FROM {name} ORDER BY {last} LIMIT 1");
        let of_table =
            transaction.prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
        oldest = [oldest, of_table].into_iter().flatten().min();
    }
    let Some(oldest) = oldest else { return Ok(0) };
    let mut deleted = 0;
    for (name, last) in tables() {
        deleted += delete_until(transaction, name, last, oldest.saturating_add(SPAN))?;
    }
    Ok(deleted)
}

fn delete_until(transaction: &Transaction<'_>, name: &str, last: &str, until: i64) -> rusqlite::Result<u64> {
    let sql = format!(
        "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} WHERE {last} <= ?1 ORDER BY {last} LIMIT {ROWS})"
    );
    Ok(transaction.prepare_cached(&sql)?.execute([until])? as u64)
}

/// Returns free pages to the file system. Some stay for new entries: returning a page moves another one. Returns whether there are
/// more.
fn shrink(history: &History) -> rusqlite::Result<bool> {
    let (pages, free) = history.pages()?;
    let spare = FREED.max(pages / 32);
    if free <= spare {
        return Ok(false);
    }
    let mut vacuum = history.connection().prepare(&format!("PRAGMA incremental_vacuum({FREED})"))?;
    let mut freed = vacuum.query([])?;
    // Each row is one page.
    while freed.next()?.is_some() {}
    Ok(free - FREED.min(free) > spare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::store::Table;

    const MB: u64 = 1 << 20;

    #[test]
    fn the_room_is_the_limit_or_what_the_disk_allows() {
        let disk = |total, free| Some(Space { total: total * MB, free: free * MB });
        let room = |max_size: u64, used: u64, space| super::room(max_size * MB, used * MB, space) / MB;
        assert_eq!(room(100, 10, None), 90, "without the log, and a sixteenth");
        assert_eq!(room(4, 1, None), 1, "a small limit");
        assert_eq!(room(1000, 300, disk(100_000, 50_000)), 933, "there is space");
        assert_eq!(room(1000, 300, disk(100_000, 156)), 200, "100 MB are missing");
        assert_eq!(room(1000, 300, disk(100_000, 0)), 44);
        assert_eq!(room(1000, 100, disk(100_000, 0)), 0);
        assert_eq!(room(1000, 300, disk(1000, 60)), 933, "a small disk has a smaller reserve");
        assert_eq!(room(1000, 300, disk(1000, 40)), 290);
    }

    #[test]
    fn every_table_finds_its_oldest_rows_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        for Table { name, time, permanent, .. } in TABLES {
            let last = time.last();
            let plan =
                format!("EXPLAIN QUERY PLAN SELECT rowid FROM {name} WHERE {last} <= 1 ORDER BY {last}");
            let plan = history.connection().query_row(&plan, [], |row| row.get::<_, String>(3)).unwrap();
            assert!(*permanent || plan.contains("INDEX") || plan.contains("PRIMARY KEY"), "{name}: {plan}");
        }
    }
}
