//! The tables of vectors.
//!
//! `vectors.id` is made of the chunk and the number of the vector in its chunk, so that the rows of a chunk are neighbours, and no
//! index over all vectors is needed. `vector_chunks` is the table that retention and forgetting know: with a chunk, a trigger deletes
//! everything that belongs to it. The identifiers of chunks are never used again. The columns: `next` is the number of the next
//! vector, vectors below `packed` are in blocks, and `most` is the number of vectors at which the chunk is complete.

use std::ops::Range;

/// The name of the table of chunks.
pub const NAME: &str = "vector_chunks";

/// Makes the tables.
pub const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS vector_chunks (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        source     INTEGER NOT NULL,
        region     INTEGER NOT NULL,
        model      INTEGER NOT NULL,
        dimensions INTEGER NOT NULL,
        day        INTEGER NOT NULL,
        first      INTEGER NOT NULL,
        last       INTEGER NOT NULL,
        next       INTEGER NOT NULL,
        packed     INTEGER NOT NULL,
        most       INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS vector_chunks_last ON vector_chunks (last);
    CREATE INDEX IF NOT EXISTS vector_chunks_view ON vector_chunks (source, region, model, dimensions, day);
    CREATE TABLE IF NOT EXISTS vector_centres (chunk INTEGER PRIMARY KEY, centre BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS vector_blocks (
        id      INTEGER PRIMARY KEY,
        chunk   INTEGER NOT NULL,
        vectors INTEGER NOT NULL,
        content BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS vector_blocks_chunk ON vector_blocks (chunk);
    CREATE TABLE IF NOT EXISTS vectors (
        id    INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last  INTEGER NOT NULL,
        code  BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER IF NOT EXISTS vector_chunks_deleted AFTER DELETE ON vector_chunks BEGIN
        DELETE FROM vectors WHERE id >= old.id << 12 AND id < (old.id + 1) << 12;
        DELETE FROM vector_blocks WHERE chunk = old.id;
        DELETE FROM vector_centres WHERE chunk = old.id;
    END;";

/// The identifier of the whole frame, which is no region.
pub const WHOLE_FRAME: i64 = 0;

/// The bits of an identifier that are the number in the chunk.
const NUMBER_BITS: u32 = 12;

/// The greatest number in a chunk.
pub const LAST: u16 = (1 << NUMBER_BITS) - 1;

/// The identifier of a vector.
#[must_use]
pub fn row_of(chunk: i64, number: u16) -> i64 {
    chunk << NUMBER_BITS | i64::from(number)
}

/// The chunk of a vector.
#[must_use]
pub fn chunk_of(row: i64) -> i64 {
    row >> NUMBER_BITS
}

/// The identifiers that the vectors of a chunk may have, starting at the one with this number.
#[must_use]
pub fn rows_from(chunk: i64, number: u16) -> Range<i64> {
    row_of(chunk, number)..row_of(chunk.saturating_add(1), 0)
}

/// The bytes of a centre.
#[must_use]
pub fn centre_bytes(centre: &[f32]) -> Vec<u8> {
    centre.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A centre from its bytes; `None` if it is no vector of this length.
#[must_use]
pub fn centre(bytes: &[u8], dimensions: usize) -> Option<Vec<f32>> {
    let (values, rest) = bytes.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let is_valid =
        rest.is_empty() && values.len() == dimensions && values.iter().all(|value| value.is_finite());
    is_valid.then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::vectors::codec::CHUNK;

    #[test]
    fn a_row_names_its_chunk() {
        assert_eq!(1 << NUMBER_BITS, CHUNK);
        for (chunk, number) in [(1, 0), (1, 4095), (77, 12)] {
            let row = row_of(chunk, number);
            assert_eq!(chunk_of(row), chunk);
            assert!(rows_from(chunk, 0).contains(&row) && !rows_from(chunk + 1, 0).contains(&row));
        }
        let _ = rows_from(i64::MAX, 0);
    }

    #[test]
    fn a_centre_is_read_only_if_it_is_a_vector() {
        let values = [0.5, -0.25];
        let bytes = centre_bytes(&values);
        assert_eq!(centre(&bytes, 2).as_deref(), Some(&values[..]));
        assert_eq!(centre(&bytes, 3), None);
        assert_eq!(centre(&bytes[..7], 2), None);
        assert_eq!(centre(&centre_bytes(&[f32::NAN, 0.0]), 2), None);
    }
}
