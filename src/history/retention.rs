//! Deletes what is too old or too much, the oldest first: a little at a time, so that no transaction is long.

use std::{path::Path, time::Duration};

use rusqlite::{OptionalExtension as _, Transaction};
use rustix::fs::statvfs;

use super::store::{History, TABLES, Table};

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

impl Space {
    /// The disk with this folder, if the system says how large it is.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        let disk = statvfs(folder).ok()?;
        // A file system in another process may say anything.
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Self { total: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
    }

    /// Whether there is less than what is left free for alerts and for other programs.
    #[must_use]
    pub fn is_almost_full(self) -> bool {
        self.missing() > 0
    }

    /// How many more bytes should be free.
    fn missing(self) -> u64 {
        RESERVE.min(self.total / 20).saturating_sub(self.free)
    }
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Entries that were deleted before their time.
    pub dropped: u64,
    /// The tables with fewer rows than before.
    pub tables: Vec<&'static str>,
    /// There is more to do.
    pub more: bool,
}

/// Makes one step. `now` is in milliseconds since 1970.
///
/// # Errors
/// The disk does not work.
pub fn step(history: &mut History, now: i64, limits: Limits, space: Option<Space>) -> rusqlite::Result<Step> {
    let keep = i64::try_from(limits.keep.as_millis()).unwrap_or(i64::MAX);
    let mut tables = Vec::new();
    let oldest = now.saturating_sub(keep);
    history.write(|transaction| delete_until(transaction, oldest - 1, &mut tables))?;
    let (pages, free) = history.pages()?;
    let page_size = history.page_size();
    let used = (pages - free) * page_size;
    // What is free in the file is returned to the disk, sooner or later: it must not be deleted for twice.
    let returned = history.file_size().saturating_sub(used);
    let space = space.map(|space| Space { free: space.free.saturating_add(returned), ..space });
    let mut dropped = 0;
    if used > room(limits.max_size, used, space) {
        dropped = history.write(|transaction| drop_oldest(transaction, &mut tables))?;
    }
    let shrunk = shrink(history)?;
    if dropped > 0 && space.is_some_and(|space| space.missing() > 0) {
        // At once: the disk is almost full.
        history.empty_log()?;
    }
    Ok(Step { dropped, more: !tables.is_empty() || shrunk, tables })
}

/// The bytes that entries may take. The rest of `max_size` is the log, and pages that were freed and are not returned yet.
fn room(max_size: u64, used: u64, space: Option<Space>) -> u64 {
    let room = (max_size - LOG.min(max_size / 2)) / 16 * 15;
    match space.map_or(0, Space::missing) {
        0 => room,
        missing => room.min(used.saturating_sub(missing)),
    }
}

/// Deletes the oldest entries of all tables, and adds the tables that had some. Returns how many that were.
fn drop_oldest(transaction: &Transaction<'_>, tables: &mut Vec<&'static str>) -> rusqlite::Result<u64> {
    let mut oldest = None;
    for Table { name, time, .. } in temporary() {
        let last = time.last();
        let sql = format!("SELECT {last} FROM {name} ORDER BY {last} LIMIT 1");
        let of_table =
            transaction.prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
        oldest = [oldest, of_table].into_iter().flatten().min();
    }
    let Some(oldest) = oldest else { return Ok(0) };
    delete_until(transaction, oldest.saturating_add(SPAN), tables)
}

/// Deletes entries from before `until`, a few of each table, and adds the tables that had some. Returns how many that were.
fn delete_until(
    transaction: &Transaction<'_>,
    until: i64,
    tables: &mut Vec<&'static str>,
) -> rusqlite::Result<u64> {
    let mut deleted = 0;
    for Table { name, time, step, .. } in temporary() {
        let last = time.last();
        let sql = format!(
            "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} WHERE {last} <= ?1 ORDER BY {last} LIMIT {step})"
        );
        let of_table = transaction.prepare_cached(&sql)?.execute([until])?;
        if of_table > 0 {
            tables.push(name);
            deleted += of_table as u64;
        }
    }
    Ok(deleted)
}

fn temporary() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().filter(|table| !table.permanent)
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
    use std::{fs, sync::Arc};

    use jiff::Timestamp;

    use super::*;
    use crate::{
        config::Config,
        history::{recorders::Recorders, store::Table},
        observe::{Observation, tests::observation},
        policy::HistorySettings,
        samples,
        storage::is_damaged,
    };

    const MB: u64 = 1 << 20;

    #[test]
    fn the_room_is_the_limit_or_what_the_disk_allows() {
        let disk = |total, free| Some(Space { total: total * MB, free: free * MB });
        let room_of = |max_size: u64, used: u64, space| room(max_size * MB, used * MB, space) / MB;
        assert_eq!(room_of(100, 10, None), 90, "without the log, and a sixteenth");
        assert_eq!(room_of(4, 1, None), 1, "a small limit");
        assert_eq!(room_of(1000, 300, disk(100_000, 50_000)), 933, "there is space");
        assert_eq!(room_of(1000, 300, disk(100_000, 156)), 200, "100 MB are missing");
        assert_eq!(room_of(1000, 300, disk(100_000, 0)), 44);
        assert_eq!(room_of(1000, 100, disk(100_000, 0)), 0);
        assert_eq!(room_of(1000, 300, disk(1000, 60)), 933, "a small disk has a smaller reserve");
        assert_eq!(room_of(1000, 300, disk(1000, 40)), 290);
    }

    const HOUR: i64 = 3_600_000;

    /// Records a frame of a source of its own for each of these hours.
    fn record(history: &mut History, hours: std::ops::Range<i64>) {
        let settings = HistorySettings { search: true, ..HistorySettings::default() };
        let config = Arc::new(Config { history: Some(settings), ..samples::config() });
        let mut recorders = Recorders::new(&config);
        let recorded = history.write(|transaction| {
            for hour in hours {
                let embedding = (0..64).map(|it| ((it * 7 + hour * 13) % 29) as f32 / 29.0 - 0.4).collect();
                let frame = Observation {
                    source: format!("source {hour}").into(),
                    captured_at: Timestamp::from_millisecond(hour * HOUR).unwrap(),
                    embeddings: vec![embedding],
                    ..observation("1.jpg")
                };
                recorders.record(transaction, &frame)?;
            }
            recorders.flush(transaction)
        });
        recorded.unwrap();
    }

    /// Deletes until nothing is left to do. Returns how many entries were deleted before their time.
    fn run(history: &mut History, now: i64, limits: Limits) -> u64 {
        let mut dropped = 0;
        loop {
            let step = step(history, now, limits, None).unwrap();
            dropped += step.dropped;
            if !step.more {
                return dropped;
            }
        }
    }

    /// The hours of the entries.
    fn hours(history: &History) -> Vec<i64> {
        let mut found = Vec::new();
        for Table { name, time, .. } in TABLES {
            let sql = format!("SELECT {} FROM {name}", time.last());
            let mut times = history.connection().prepare(&sql).unwrap();
            let times = times.query_map([], |row| row.get::<_, i64>(0)).unwrap();
            found.extend(times.map(|time| time.unwrap() / HOUR));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn entries_older_than_keep_are_deleted_a_few_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        record(&mut history, 0..1200);
        let limits = Limits { keep: Duration::from_secs(3600 * 24), max_size: 1 << 40 };
        let first = step(&mut history, 1000 * HOUR, limits, None).unwrap();
        assert!(
            first.more && first.dropped == 0 && hours(&history).len() > 1000,
            "a few in a step: {first:?}"
        );
        assert_eq!(run(&mut history, 1000 * HOUR, limits), 0, "none before its time");
        assert_eq!(hours(&history), (976..1200).collect::<Vec<_>>());
    }

    #[test]
    fn beyond_the_size_the_oldest_are_deleted_and_the_file_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        record(&mut history, 0..4000);
        history.empty_log().unwrap();
        let before = history.size();
        let limits = Limits { keep: Duration::from_secs(1 << 40), max_size: before };
        let dropped = run(&mut history, 0, limits);
        history.empty_log().unwrap();
        let left = hours(&history);
        assert!(dropped > 0 && history.size() <= before, "{dropped}");
        assert_eq!(left.last(), Some(&3999), "the newest are kept");
        let orphans = "SELECT count(*) FROM vectors WHERE id >> 12 NOT IN (SELECT id FROM vector_chunks)";
        let orphans = history.connection().query_row(orphans, [], |row| row.get::<_, u64>(0));
        assert_eq!(orphans.unwrap(), 0, "what belongs to a row is deleted with it");
        assert_eq!(left.len() as i64, 4000 - left[0], "the oldest are gone, and none between");
    }

    #[test]
    fn an_almost_full_disk_costs_the_oldest_entries_and_not_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        record(&mut history, 0..4000);
        history.empty_log().unwrap();
        let limits = Limits { keep: Duration::from_secs(1 << 40), max_size: 1 << 40 };
        let before = history.file_size();
        // 100 kB are missing, and the system does not notice that they become free.
        let space = Space { total: 1 << 40, free: RESERVE - 100_000 };
        while step(&mut history, 0, limits, Some(space)).unwrap().more {}
        let (pages, free) = history.pages().unwrap();
        let used = (pages - free) * history.page_size();
        assert!(used <= before - 100_000 && used + 600_000 > before, "{before} {used}");
        assert_eq!(hours(&history).last(), Some(&3999), "the newest are kept");
    }

    #[test]
    fn a_damaged_number_of_free_pages_is_noticed_and_deletes_nothing() {
        for number in [u32::MAX, 1 << 30] {
            let folder = tempfile::tempdir().unwrap();
            let mut history = History::open(folder.path()).unwrap();
            record(&mut history, 0..50);
            history.empty_log().unwrap();
            let path = history.path().to_owned();
            drop(history);
            let mut file = fs::read(&path).unwrap();
            // Its place in the header.
            file[36..40].copy_from_slice(&number.to_be_bytes());
            fs::write(&path, file).unwrap();
            let mut history = History::open(folder.path()).unwrap();
            let limits = Limits { keep: Duration::from_secs(1 << 40), max_size: 10 * MB };
            let error = step(&mut history, 0, limits, None).unwrap_err();
            assert!(is_damaged(&error), "{error}");
            assert_eq!(hours(&history).len(), 50, "{number}");
        }
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
