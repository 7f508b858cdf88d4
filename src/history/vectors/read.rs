//! Reads stored vectors for a search: chunk by chunk, never all of them at the same time. Damaged parts are skipped.

use rusqlite::{CachedStatement, Connection, Row, types::ValueRef};

use super::{
    codec::{Block, Code, Span},
    rotation::Rotation,
    tables::{LAST, centre, row_of},
};
use crate::history::table::known_name_id;

/// A chunk, without its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its identifier.
    pub id: i64,
    /// The identifier of the source's name.
    pub source: i64,
    /// The identifier of the region's name; [`WHOLE_FRAME`](super::tables::WHOLE_FRAME) for none.
    pub region: i64,
    /// From its first to its last frame.
    pub span: Span,
    /// The number of the next vector. Vectors with lower numbers may have been forgotten.
    pub next: u16,
    /// Vectors with lower numbers are in blocks.
    pub packed: u16,
    /// What its vectors are stored as differences from.
    pub centre: Vec<f32>,
}

/// The chunks of a model, in the order of views and times; of one source or of all.
///
/// # Errors
/// The disk does not work.
pub fn chunks(
    connection: &Connection,
    model: i64,
    dimensions: usize,
    source: Option<i64>,
) -> rusqlite::Result<Vec<Chunk>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, region, first, last, next, packed, centre FROM vector_chunks
         JOIN vector_centres ON chunk = id
         WHERE model = ?1 AND dimensions = ?2 AND source = coalesce(?3, source)
         ORDER BY source, region, day, id",
    )?;
    let number = |number: i64| u16::try_from(number.clamp(0, 4096)).unwrap_or(0);
    let chunk = |row: &Row<'_>| {
        let Some(centre) = centre(row.get_ref(7)?.as_blob()?, dimensions) else { return Ok(None) };
        Ok(Some(Chunk {
            id: row.get(0)?,
            source: row.get(1)?,
            region: row.get(2)?,
            span: Span { first: row.get(3)?, last: row.get(4)? },
            next: number(row.get(5)?),
            packed: number(row.get(6)?),
            centre,
        }))
    };
    let found = select.query_map((model, dimensions as i64, source), chunk)?;
    found.filter_map(Result::transpose).collect()
}

/// The number of stored vectors of other models, or of other versions of this one, whose vectors have another length.
///
/// # Errors
/// The disk does not work.
pub fn vectors_of_other_models(
    connection: &Connection,
    model: Option<i64>,
    dimensions: usize,
    source: Option<i64>,
) -> rusqlite::Result<u64> {
    // The rows that are in no block are at most those numbered behind the last block.
    let mut select = connection.prepare_cached(
        "SELECT coalesce(sum((SELECT coalesce(sum(vectors), 0) FROM vector_blocks WHERE chunk = c.id)
                + (SELECT count(*) FROM vectors WHERE id >= (c.id << 12) + c.packed AND id < (c.id + 1) << 12)), 0)
         FROM vector_chunks AS c
         WHERE NOT (model = coalesce(?1, -1) AND dimensions = ?2) AND source = coalesce(?3, source)",
    )?;
    let count: i64 = select.query_row((model, dimensions as i64, source), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// When the pictures were seen that a model has vectors of: of one source, in chunks that touch this time.
///
/// # Errors
/// The disk does not work.
pub fn spans(connection: &Connection, model: i64, source: i64, time: Span) -> rusqlite::Result<Vec<Span>> {
    let mut select = connection.prepare_cached(
        "SELECT id, dimensions, packed FROM vector_chunks
         WHERE model = ?1 AND source = ?2 AND last >= ?3 AND first <= ?4",
    )?;
    let chunk = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let chunks = select.query_map([model, source, time.first, time.last], chunk)?;
    let mut blocks = connection.prepare_cached("SELECT content FROM vector_blocks WHERE chunk = ?1")?;
    let mut rows =
        connection.prepare_cached("SELECT first, last FROM vectors WHERE id >= ?1 AND id <= ?2")?;
    let mut spans = Vec::new();
    for chunk in chunks {
        let (id, dimensions, packed) = chunk?;
        let mut found = blocks.query([id])?;
        while let Some(row) = found.next()? {
            let block =
                blob(row, 0)?.and_then(|bytes| Block::parse(bytes, usize::try_from(dimensions).ok()?));
            spans.extend(block.iter().flat_map(|block| (0..block.len()).map(move |at| block.span(at))));
        }
        let first = row_of(id, 0).saturating_add(packed.max(0));
        let mut found = rows.query([first, row_of(id, LAST)])?;
        while let Some(row) = found.next()? {
            spans.push(Span { first: row.get(0)?, last: row.get(1)? });
        }
    }
    Ok(spans)
}

/// The names of the sources with stored vectors, sorted.
///
/// # Errors
/// The disk does not work.
pub fn sources(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare_cached(
        "SELECT text FROM names WHERE id IN (SELECT DISTINCT source FROM vector_chunks) ORDER BY text",
    )?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Calls `each` with every block of a chunk.
///
/// # Errors
/// The disk does not work.
pub fn blocks(
    connection: &Connection,
    chunk: &Chunk,
    mut each: impl FnMut(&Block<'_>),
) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached("SELECT content FROM vector_blocks WHERE chunk = ?1 ORDER BY id")?;
    let mut rows = select.query([chunk.id])?;
    while let Some(row) = rows.next()? {
        if let Some(block) = blob(row, 0)?.and_then(|bytes| Block::parse(bytes, chunk.centre.len())) {
            each(&block);
        }
    }
    Ok(())
}

/// The first and the last row that the vectors of a chunk may have.
#[must_use]
pub fn rows(chunk: &Chunk) -> (i64, i64) {
    (row_of(chunk.id, 0), row_of(chunk.id, LAST))
}

/// Reads rows of vectors.
pub struct Rows<'c> {
    /// Prepared once: a search reads thousands of single rows.
    select: CachedStatement<'c>,
}

impl<'c> Rows<'c> {
    /// The rows of this file.
    ///
    /// # Errors
    /// The disk does not work.
    pub fn of(connection: &'c Connection) -> rusqlite::Result<Self> {
        let select = connection.prepare_cached(
            "SELECT id, first, last, code FROM vectors WHERE id >= ?1 AND id <= ?2 ORDER BY id",
        )?;
        Ok(Self { select })
    }

    /// Calls `each` with every vector of a chunk that is in no block yet: its row, its span and its difference from the centre.
    ///
    /// # Errors
    /// The disk does not work.
    pub fn unpacked(&mut self, chunk: &Chunk, each: impl FnMut(i64, Span, Code<'_>)) -> rusqlite::Result<()> {
        let first = row_of(chunk.id, 0).saturating_add(chunk.packed.into());
        self.between(chunk, (first, row_of(chunk.id, LAST)), each)
    }

    /// Calls `each` with the vectors of a chunk in the rows from the first to the last one.
    ///
    /// # Errors
    /// The disk does not work.
    pub fn between(
        &mut self,
        chunk: &Chunk,
        rows: (i64, i64),
        mut each: impl FnMut(i64, Span, Code<'_>),
    ) -> rusqlite::Result<()> {
        let mut rows = self.select.query(rows)?;
        while let Some(row) = rows.next()? {
            let span = Span { first: row.get(1)?, last: row.get(2)? };
            if let Some(code) = blob(row, 3)?.and_then(|bytes| Code::parse(bytes, chunk.centre.len())) {
                each(row.get(0)?, span, code);
            }
        }
        Ok(())
    }
}

/// Which frame a vector is of.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The source.
    pub source: &'a str,
    /// The region; `None`: the whole frame, or else the first region.
    pub region: Option<&'a str>,
    /// When the frame was captured, in milliseconds since 1970.
    pub time: i64,
}

/// The vector of length 1 that this model made of a frame; of the nearest one at most `within` milliseconds away, if none is stored of
/// the frame itself.
///
/// # Errors
/// The disk does not work.
pub fn of_moment(
    connection: &Connection,
    model: &str,
    moment: &Moment<'_>,
    within: i64,
) -> rusqlite::Result<Option<Vec<f32>>> {
    let known = |name: &str| known_name_id(connection, name);
    let Some((source, model)) = known(moment.source)?.zip(known(model)?) else { return Ok(None) };
    let region = match moment.region {
        None => None,
        // No name has this identifier.
        Some(region) => Some(known(region)?.unwrap_or(-1)),
    };
    let (first, last) = (moment.time.saturating_sub(within), moment.time.saturating_add(within));
    let mut select = connection.prepare_cached(
        "SELECT dimensions, centre, code FROM vector_chunks AS c
         JOIN vector_centres ON chunk = c.id
         JOIN vectors AS v ON v.id >= c.id << 12 AND v.id < (c.id + 1) << 12
         WHERE c.source = ?1 AND c.model = ?2 AND c.region = coalesce(?3, c.region)
             AND c.last >= ?4 AND c.first <= ?5 AND v.last >= ?4 AND v.first <= ?5
         ORDER BY max(v.first - ?6, ?6 - v.last, 0), c.region, v.id LIMIT 1",
    )?;
    let mut rows = select.query((source, model, region, first, last, moment.time))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let dimensions = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    let centre = blob(row, 1)?.and_then(|bytes| centre(bytes, dimensions));
    let code = blob(row, 2)?.and_then(|bytes| Code::parse(bytes, dimensions));
    Ok(centre.zip(code).map(|(centre, code)| {
        let rotated: Vec<_> = code.values().zip(&centre).map(|(value, centre)| value + centre).collect();
        let vector = Rotation::new(dimensions).undo(&rotated);
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        vector.into_iter().map(|value| value / length).collect()
    }))
}

/// Vectors at evenly distributed places of some chunks, at most `most`: for each the index of its chunk, and its row. Rows may have
/// been forgotten.
#[must_use]
pub fn sample(chunks: &[&Chunk], most: usize) -> Vec<(usize, i64)> {
    let total: u64 = chunks.iter().map(|chunk| u64::from(chunk.next)).sum();
    let count = total.min(most as u64);
    let (mut sample, mut at, mut before) = (Vec::new(), 0, 0);
    for number in 0..count {
        let (start, end) = (number * total / count, (number + 1) * total / count);
        // Not the first of each part: a camera may show the same at equal intervals.
        let place = start + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (end - start).max(1);
        while place - before >= u64::from(chunks[at].next) {
            before += u64::from(chunks[at].next);
            at += 1;
        }
        sample.push((at, row_of(chunks[at].id, (place - before) as u16)));
    }
    sample
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::{History, vectors::Recorder};

    #[test]
    fn the_vector_of_a_moment_is_that_of_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let mut recorder = Recorder::new("clip");
        let vector = |number: i64| -> Arc<[f32]> {
            let angle = number as f32 / 10.0;
            [angle.cos(), angle.sin(), 0.0].into()
        };
        history
            .write(|transaction| {
                (0..600).try_for_each(|number| {
                    let (step, gate) = (vector(number), vector(number + 5));
                    let views = [(Some("step"), &step), (Some("gate"), &gate)];
                    recorder.record_frame(transaction, &"door".into(), 1000 * number, views)
                })
            })
            .unwrap();
        let found = |source, region, time| {
            let moment = Moment { source, region, time };
            of_moment(history.connection(), "clip", &moment, 400).unwrap()
        };
        for (region, time, expected) in [
            (Some("step"), 7000, Some(7)),
            (Some("gate"), 7000, Some(12)),
            (None, 599_000, Some(599)),
            (Some("step"), 7400, Some(7)),
            (Some("step"), 7500, None),
            (Some("yard"), 7000, None),
        ] {
            let found = found("door", region, time);
            let is_near = |found: &Vec<f32>, number: i64| {
                found.iter().zip(&*vector(number)).all(|(found, value)| (found - value).abs() < 0.02)
            };
            assert_eq!(found.is_some(), expected.is_some(), "{region:?} {time}");
            let same = found.zip(expected).is_none_or(|(found, number)| is_near(&found, number));
            assert!(same, "{region:?} {time}");
        }
        assert_eq!(found("yard", None, 7000), None);
        let other =
            of_moment(history.connection(), "siglip", &Moment { source: "door", region: None, time: 0 }, 1);
        assert_eq!(other.unwrap(), None);
    }

    #[test]
    fn a_sample_is_spread_over_all_chunks() {
        let chunk =
            |id, next| Chunk { id, source: 1, region: 0, span: Span::at(0), next, packed: 0, centre: vec![] };
        let chunks = [chunk(1, 100), chunk(5, 0), chunk(7, 300)];
        let chunks: Vec<_> = chunks.iter().collect();
        let all = sample(&chunks, 1000);
        assert_eq!(all.len(), 400);
        assert_eq!(
            (all[0], all[99], all[100], all[399]),
            ((0, row_of(1, 0)), (0, row_of(1, 99)), (2, row_of(7, 0)), (2, row_of(7, 299)))
        );
        let some = sample(&chunks, 40);
        assert_eq!(some.len(), 40);
        assert_eq!(some.iter().filter(|(at, _)| *at == 0).count(), 10);
        assert!(some.windows(2).all(|pair| pair[0].1 < pair[1].1), "{some:?}");
        assert!(sample(&[], 40).is_empty() && sample(&chunks[1..2], 40).is_empty());
    }
}
