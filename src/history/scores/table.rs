//! The tables of chunks and of setups.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::{
    bytes::Damaged,
    chunk::{Chunk, ChunkWriter, FrameBuffer},
};
use crate::{
    alert::{instant, number},
    history::table::{Export, Range, Selection, Table, TimeColumns, known_name_id, name_id, name_text},
    judge::{FrameScores, Setup},
};

/// The table of chunks.
pub const TABLE: Table = Table {
    forget: Some(forget),
    export: Export::Lines(export),
    ..Table::new("scores", CREATE, TimeColumns::Span { first: "first", last: "last" })
};

/// Setups are texts of a few kilobytes that rarely change, so each is stored once.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS score_setups (
        id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, content TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS scores (
        id INTEGER PRIMARY KEY, source INTEGER NOT NULL, setup INTEGER NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, frames INTEGER NOT NULL, chunk BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS scores_by_last ON scores (last, source);
    CREATE INDEX IF NOT EXISTS scores_by_source ON scores (source, last);
    CREATE INDEX IF NOT EXISTS scores_by_setup ON scores (setup);
";

/// The time in which chunks are read: those that have a frame in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// `None`: since the first chunk.
    pub since: Option<Timestamp>,
    /// `None`: until the last chunk.
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether a time is in it.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }

    /// In milliseconds since 1970.
    pub(super) fn range(&self) -> (i64, i64) {
        let millisecond = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
        (millisecond(self.since).unwrap_or(i64::MIN), millisecond(self.until).unwrap_or(i64::MAX))
    }
}

/// A chunk in the file.
#[derive(Debug, Clone, Copy)]
pub struct StoredChunk<'r> {
    /// The setup for which it was written.
    pub setup: &'r Arc<Setup>,
    /// Its content, for [`Chunk::read`](super::Chunk::read).
    pub bytes: &'r [u8],
}

/// Writes a chunk.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    source: &str,
    setup: i64,
    chunk: ChunkWriter,
) -> rusqlite::Result<()> {
    let (first, last, frames) = chunk.span();
    let source = name_id(transaction, source)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO scores (source, setup, first, last, frames, chunk) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![source, setup, first, last, frames as i64, chunk.finish()]).map(drop)
}

/// The identifier of a setup; a new one if it has none yet. Setups without chunks are deleted then.
pub(super) fn setup_id(transaction: &Transaction<'_>, setup: &Setup) -> rusqlite::Result<i64> {
    let content = serde_json::to_string(setup)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let digest = Sha256::digest(&content);
    let mut known = transaction.prepare_cached("SELECT id FROM score_setups WHERE digest = ?1")?;
    if let Some(id) = known.query_row([digest.as_slice()], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    delete_unused_setups(transaction)?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO score_setups (digest, content) VALUES (?1, ?2)")?;
    insert.execute(params![digest.as_slice(), content])?;
    Ok(transaction.last_insert_rowid())
}

/// Deletes what is selected, and returns the number of chunks that it was part of. If one label is selected, its scores are removed from
/// the chunks.
fn forget(transaction: &Transaction<'_>, selection: &Selection) -> rusqlite::Result<u64> {
    let Selection { source, from, to, label } = *selection;
    let count = match label {
        Some(label) => forget_label(transaction, (source, from, to), &name_text(transaction, label)?)?,
        None => transaction
            .prepare_cached("DELETE FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3")?
            .execute(params![source, from, to])?,
    };
    delete_unused_setups(transaction)?;
    Ok(count as u64)
}

/// Removes the scores of a label from the chunks of a source.
fn forget_label(
    transaction: &Transaction<'_>,
    selected: (i64, i64, i64),
    label: &str,
) -> rusqlite::Result<usize> {
    let mut select = transaction
        .prepare_cached("SELECT id FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3")?;
    let mut read = transaction.prepare_cached("SELECT setup, chunk FROM scores WHERE id = ?1")?;
    let mut delete = transaction.prepare_cached("DELETE FROM scores WHERE id = ?1")?;
    let mut update = transaction.prepare_cached("UPDATE scores SET chunk = ?2 WHERE id = ?1")?;
    let chunks = select.query_map(selected, |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    let (mut setups, mut states) = (Setups::default(), Vec::new());
    for id in &chunks {
        let (setup, bytes): (i64, Vec<u8>) = read.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let others = setups.get(transaction, setup)?.and_then(|setup| {
            let chunk = Chunk::read(&bytes, setup, &mut states).ok()?;
            chunk.without(setup, &states, |it| it.name == label).ok()
        });
        match others {
            Some(others) => update.execute(params![id, others.finish()])?,
            // It is damaged.
            None => delete.execute([id])?,
        };
    }
    Ok(chunks.len())
}

/// The scores of each frame as JSON, a minute of a source at a time.
fn export(
    connection: &Connection,
    range: &Range,
    each: &mut dyn FnMut(serde_json::Value) -> bool,
) -> rusqlite::Result<()> {
    let Range { source, from, to } = *range;
    let mut select = connection.prepare_cached(
        "SELECT source, setup, chunk FROM scores WHERE (?1 IS NULL OR source = ?1) AND last >= ?2 AND first <= ?3 ORDER BY first",
    )?;
    let mut rows = select.query(params![source, from, to])?;
    let (mut states, mut buffer, mut goes_on) = (Vec::new(), FrameBuffer::default(), true);
    let mut setups = Setups::default();
    while let (true, Some(row)) = (goes_on, rows.next()?) {
        let source = name_text(connection, row.get(0)?)?;
        let (Some(setup), Ok(bytes)) = (setups.get(connection, row.get(1)?)?, row.get_ref(2)?.as_blob())
        else {
            continue;
        };
        let Ok(chunk) = Chunk::read(bytes, setup, &mut states) else { continue };
        // The frames before the damage, if there is any.
        let _ = chunk.frames(&mut buffer, |frame| {
            if goes_on && (from..=to).contains(&frame.at.as_millisecond()) {
                goes_on = each(exported(&source, setup, frame));
            }
        });
    }
    Ok(())
}

fn exported(source: &str, setup: &Setup, frame: &FrameScores<'_>) -> serde_json::Value {
    let mut scores = serde_json::Map::new();
    for ((set, label), score) in setup.labels().zip(frame.scores) {
        let Some(score) = *score else { continue };
        let set = scores.entry(&set.name).or_insert_with(|| serde_json::json!({}));
        set[&label.name] = number(score);
    }
    serde_json::json!({ "time": instant(frame.at), "source": source, "scores": scores })
}

/// Deletes setups without chunks.
fn delete_unused_setups(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let unused =
        "DELETE FROM score_setups WHERE NOT EXISTS (SELECT 1 FROM scores WHERE setup = score_setups.id)";
    transaction.prepare_cached(unused)?.execute([]).map(drop)
}

/// The names of the sources that have chunks in the window, in alphabetical order.
///
/// # Errors
/// The file cannot be read.
pub fn sources(connection: &Connection, window: Window) -> rusqlite::Result<Vec<String>> {
    let (since, until) = window.range();
    let mut select = connection.prepare_cached("SELECT DISTINCT source FROM scores")?;
    let ids = select.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut any = connection
        .prepare_cached("SELECT 1 FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3 LIMIT 1")?;
    let mut names = Vec::new();
    for id in ids {
        if any.exists(params![id, since, until])? {
            names.push(name_text(connection, id)?);
        }
    }
    names.sort();
    Ok(names)
}

/// The times of about the first and the last frame of a source in the window, in milliseconds since 1970; `None` if there is none. Frames
/// may be earlier or later where the clock was set.
///
/// # Errors
/// The file cannot be read.
pub(super) fn span(
    connection: &Connection,
    source: &str,
    window: Window,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(None) };
    let (since, until) = window.range();
    let chunks = "FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3 ORDER BY last";
    let end = |statement: &str| {
        let mut select = connection.prepare_cached(statement)?;
        select.query_row(params![source, since, until], |row| row.get::<_, i64>(0)).optional()
    };
    let first = end(&format!("SELECT first {chunks} LIMIT 1"))?;
    let last = end(&format!("SELECT last {chunks} DESC LIMIT 1"))?;
    Ok(first.zip(last).map(|(first, last)| (first.max(since), last.min(until))))
}

/// The number of frames in a source's chunks that have frames in the window.
///
/// # Errors
/// The file cannot be read.
pub fn frames(connection: &Connection, source: &str, window: Window) -> rusqlite::Result<u64> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(0) };
    let (since, until) = window.range();
    let mut select = connection.prepare_cached(
        "SELECT coalesce(sum(frames), 0) FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3",
    )?;
    let frames: i64 = select.query_row(params![source, since, until], |row| row.get(0))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

/// The setups of a source's chunks in the window, without those that are damaged.
///
/// # Errors
/// The file cannot be read.
pub fn setups(connection: &Connection, source: &str, window: Window) -> rusqlite::Result<Vec<Arc<Setup>>> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(vec![]) };
    let (since, until) = window.range();
    let mut select = connection.prepare_cached(
        "SELECT DISTINCT setup FROM scores WHERE source = ?1 AND last >= ?2 AND first <= ?3",
    )?;
    let ids = select.query_map(params![source, since, until], |row| row.get::<_, i64>(0))?;
    ids.collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter_map(|id| setup(connection, id).transpose())
        .collect()
}

/// The newest chunk of a source that begins at this time or earlier, with its setup; without a time, the newest of all. `None` if there
/// is none, or if its setup is damaged.
///
/// # Errors
/// The file cannot be read.
pub fn newest(
    connection: &Connection,
    source: &str,
    until: Option<Timestamp>,
) -> rusqlite::Result<Option<(Arc<Setup>, Vec<u8>)>> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(None) };
    let (_, until) = Window { since: None, until }.range();
    let mut select = connection.prepare_cached(
        "SELECT setup, chunk FROM scores WHERE source = ?1 AND first <= ?2 ORDER BY last DESC LIMIT 1",
    )?;
    let newest = select.query_row(params![source, until], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((id, chunk)) = newest else { return Ok(None) };
    Ok(setup(connection, id)?.map(|setup| (setup, chunk)))
}

/// Calls `each` for the chunks of a source that have frames in the window, in the order in which they were judged. Chunks whose setup is
/// damaged are `Err`.
///
/// # Errors
/// The file cannot be read, or `each` fails.
pub fn chunks<E: From<rusqlite::Error>>(
    connection: &Connection,
    source: &str,
    window: Window,
    mut each: impl FnMut(Result<StoredChunk<'_>, Damaged>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(source) = known_name_id(connection, source)? else { return Ok(()) };
    let (since, until) = window.range();
    // By their identifiers, so that whole chunks are not sorted: that would need a temporary file.
    let mut select = connection.prepare_cached(
        "SELECT setup, chunk FROM scores WHERE id IN (SELECT id FROM scores WHERE source = ?1 AND last >= ?2)
         AND first <= ?3 ORDER BY id",
    )?;
    let mut setups = Setups::default();
    let mut rows = select.query(params![source, since, until])?;
    while let Some(row) = rows.next()? {
        match (setups.get(connection, row.get(0)?)?, row.get_ref(1)?.as_blob()) {
            (Some(setup), Ok(bytes)) => each(Ok(StoredChunk { setup, bytes }))?,
            _ => each(Err(Damaged))?,
        }
    }
    Ok(())
}

/// Setups that were read. Each is read once, because many chunks have the same one.
#[derive(Default)]
struct Setups(HashMap<i64, Option<Arc<Setup>>>);

impl Setups {
    /// The setup; `None` if it is damaged.
    fn get(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Option<&Arc<Setup>>> {
        let setup = match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(setup(connection, id)?),
        };
        Ok(setup.as_ref())
    }
}

/// Reads a setup; `None` if it is damaged.
fn setup(connection: &Connection, id: i64) -> rusqlite::Result<Option<Arc<Setup>>> {
    let mut select = connection.prepare_cached("SELECT content FROM score_setups WHERE id = ?1")?;
    let content: Option<String> = select.query_row([id], |row| row.get(0)).optional()?;
    Ok(content.and_then(|content| serde_json::from_str(&content).ok()).map(Arc::new))
}
