//! Deletes vectors: their rows, and their bits in blocks. A chunk that has no rows any more is deleted, too.

use rusqlite::{Connection, Transaction, params};

use super::{
    codec::{Block, BlockBuilder, Span},
    tables::rows_from,
};
use crate::history::table::Selection;

/// A chunk that may have vectors of the selection.
struct Chunk {
    id: i64,
    dimensions: usize,
}

/// Deletes the vectors of a source that were seen at any time of the selection. Returns their number. A vector belongs to a frame,
/// so that nothing is deleted for a single label.
///
/// # Errors
/// The disk does not work.
pub fn forget(connection: &Transaction<'_>, selection: &Selection) -> rusqlite::Result<u64> {
    let &Selection { source, from, to, label: None } = selection else { return Ok(0) };
    let mut statement = connection.prepare_cached(
        "SELECT id, dimensions FROM vector_chunks WHERE source = ?1 AND last >= ?2 AND first <= ?3",
    )?;
    let chunk = |row: &rusqlite::Row<'_>| {
        let dimensions = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok(Chunk { id: row.get(0)?, dimensions })
    };
    let chunks = statement.query_map([source, from, to], chunk)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut forgotten = 0;
    for chunk in chunks {
        forgotten += chunk.forget(connection, from, to)?;
    }
    Ok(forgotten)
}

impl Chunk {
    fn forget(&self, connection: &Connection, from: i64, to: i64) -> rusqlite::Result<u64> {
        let rows = rows_from(self.id, 0);
        let mut delete = connection.prepare_cached(
            "DELETE FROM vectors WHERE id >= ?1 AND id < ?2 AND last >= ?3 AND first <= ?4",
        )?;
        let forgotten = delete.execute([rows.start, rows.end, from, to])?;
        let left: Option<(i64, i64)> = connection
            .prepare_cached("SELECT min(first), max(last) FROM vectors WHERE id >= ?1 AND id < ?2")?
            .query_row([rows.start, rows.end], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))?;
        match left {
            // What belongs to it is deleted with it.
            None => {
                connection.prepare_cached("DELETE FROM vector_chunks WHERE id = ?1")?.execute([self.id])?;
            }
            Some((first, last)) => {
                self.repack(connection, from, to)?;
                connection
                    .prepare_cached("UPDATE vector_chunks SET first = ?2, last = ?3 WHERE id = ?1")?
                    .execute([self.id, first, last])?;
            }
        }
        Ok(forgotten as u64)
    }

    /// Takes the bits of deleted rows out of the blocks.
    fn repack(&self, connection: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
        let mut select =
            connection.prepare_cached("SELECT id, content FROM vector_blocks WHERE chunk = ?1")?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let blocks = select.query_map([self.id], read)?.collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
        for (id, content) in blocks {
            let mut kept = BlockBuilder::new(self.dimensions);
            // A damaged block is deleted, too: what is in it cannot be known.
            if let Some(block) = Block::parse(&content, self.dimensions) {
                let stays = |span: Span| span.last < from || span.first > to;
                kept.append(&block, stays);
                if kept.len() == block.len() {
                    continue;
                }
            }
            if kept.is_empty() {
                connection.prepare_cached("DELETE FROM vector_blocks WHERE id = ?1")?.execute([id])?;
            } else {
                connection
                    .prepare_cached("UPDATE vector_blocks SET vectors = ?2, content = ?3 WHERE id = ?1")?
                    .execute(params![id, kept.len() as i64, kept.bytes()])?;
            }
        }
        Ok(())
    }
}
