//! Records the embeddings of observations.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    codec::{BLOCK, Block, BlockBuilder, CHUNK, Code, MOST_DIMENSIONS, Span, encode},
    rotation::Rotation,
    tables::{WHOLE_FRAME, centre, centre_bytes, row_of, rows_from},
};
use crate::{history::table::name_id, observe::Observation};

/// A day in milliseconds.
const DAY: i64 = 24 * 3_600_000;
/// The longest span of a row: a longer one is continued by another row, so that a part of it can be forgotten.
const LONGEST_SPAN: i64 = 3_600_000;
/// The end of a span is written this often while the picture does not change: in milliseconds.
const STRETCH: i64 = 10_000;
/// The vectors of a view's first chunk, which has no centre. The next chunk has one.
const FIRST: usize = 256;
/// The vectors that a centre is the average of, at least: a single vector must not live on as a centre when it was forgotten.
const FOR_CENTRE: usize = 16;
/// The chunks of a view that are read for a centre, at most: a source may have few frames a day.
const CHUNKS_FOR_CENTRE: usize = 16;

/// A view without frames for this time is removed from memory, so that sources that come and go do not fill it. That is longer than a
/// span, so nothing is lost.
const FORGOTTEN: Duration = Duration::from_secs(2 * 3600);

/// Records embeddings. What it keeps in memory belongs to one open file: another recorder is made when the file was replaced, when
/// a transaction was rolled back, and after something was forgotten.
#[derive(Debug)]
pub struct Recorder {
    model: String,
    rotation: Rotation,
    views: HashMap<ViewName, View>,
}

/// A source, the place of a region in its list, and whether frames are recorded as they come.
type ViewName = (Arc<str>, usize, Origin);

/// Where the frames of a view come from. Stored pictures are mostly of other days than the frames of the camera, so each of the two has
/// an open chunk of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Camera,
    StoredPictures,
}

/// The state of a view.
#[derive(Debug)]
struct View {
    ids: ViewIds,
    chunk: Chunk,
    /// The embedding of its newest row; the same allocation is the same picture.
    embedding: Arc<[f32]>,
    row: i64,
    span: Span,
    /// The end of the span in the file.
    written: i64,
    /// When the newest frame was recorded.
    used: Instant,
}

/// The identifiers that the chunks of a view have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ViewIds {
    source: i64,
    region: i64,
    model: i64,
    dimensions: usize,
}

/// The chunk that new vectors of a view are added to.
#[derive(Debug)]
struct Chunk {
    id: i64,
    day: i64,
    next: usize,
    packed: usize,
    most: usize,
    centre: Vec<f32>,
}

impl Recorder {
    /// A recorder of the embeddings of this model.
    #[must_use]
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), rotation: Rotation::new(0), views: HashMap::new() }
    }

    /// Records the embeddings of a frame and of its regions.
    ///
    /// # Errors
    /// The disk does not work, or it is full.
    pub fn record(
        &mut self,
        transaction: &Transaction<'_>,
        observation: &Observation,
    ) -> rusqlite::Result<()> {
        let regions = observation.sets.first().map_or(&[][..], |set| &set.regions);
        let region = |at: usize| regions.get(at).and_then(|region| region.region.as_deref());
        let views = observation.embeddings.iter().enumerate().map(|(at, embedding)| (region(at), embedding));
        self.record_frame(transaction, &observation.source, observation.captured_at.as_millisecond(), views)
    }

    /// Records the embeddings of a frame that was captured at `time` (milliseconds since 1970): of each region with its name, or of
    /// the whole frame.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_frame<'a>(
        &mut self,
        transaction: &Transaction<'_>,
        source: &Arc<str>,
        time: i64,
        views: impl IntoIterator<Item = (Option<&'a str>, &'a Arc<[f32]>)>,
    ) -> rusqlite::Result<()> {
        self.record_views(transaction, (source, Origin::Camera), time, views)
    }

    /// Records the embeddings of a stored picture, which was captured at `time`: as [`Self::record_frame`], while frames of the camera
    /// are recorded as well.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_stored<'a>(
        &mut self,
        transaction: &Transaction<'_>,
        source: &Arc<str>,
        time: i64,
        views: impl IntoIterator<Item = (Option<&'a str>, &'a Arc<[f32]>)>,
    ) -> rusqlite::Result<()> {
        self.record_views(transaction, (source, Origin::StoredPictures), time, views)
    }

    fn record_views<'a>(
        &mut self,
        transaction: &Transaction<'_>,
        (source, origin): (&Arc<str>, Origin),
        time: i64,
        views: impl IntoIterator<Item = (Option<&'a str>, &'a Arc<[f32]>)>,
    ) -> rusqlite::Result<()> {
        for (at, (region, embedding)) in views.into_iter().enumerate() {
            let name = (Arc::clone(source), at, origin);
            self.record_view(transaction, (name, region), embedding, time)?;
        }
        Ok(())
    }

    /// Writes the ends of spans that are only in memory.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.views.values_mut().try_for_each(|view| view.write_end(transaction))?;
        self.views.retain(|_, view| view.used.elapsed() < FORGOTTEN);
        Ok(())
    }

    fn record_view(
        &mut self,
        transaction: &Transaction<'_>,
        (name, region): (ViewName, Option<&str>),
        embedding: &Arc<[f32]>,
        time: i64,
    ) -> rusqlite::Result<()> {
        if let Some(view) = self.views.get_mut(&name) {
            if view.stretch(transaction, embedding, time)? {
                return Ok(());
            }
            view.write_end(transaction)?;
        }
        let usable =
            (1..=MOST_DIMENSIONS).contains(&embedding.len()) && embedding.iter().all(|it| it.is_finite());
        if !usable {
            return Ok(());
        }
        if self.rotation.dimensions() != embedding.len() {
            self.rotation = Rotation::new(embedding.len());
        }
        let ids = ViewIds {
            source: name_id(transaction, &name.0)?,
            region: region.map_or(Ok(WHOLE_FRAME), |region| name_id(transaction, region))?,
            model: name_id(transaction, &self.model)?,
            dimensions: embedding.len(),
        };
        let (vector, day) = (self.rotation.apply(embedding), time.div_euclid(DAY));
        self.leave_chunk(transaction, name.2, (ids, day))?;
        let mut chunk = ids.chunk(transaction, self.views.remove(&name), day)?;
        let row = match chunk.add(transaction, &vector, time)? {
            Some(row) => row,
            // Retention has deleted the chunk.
            None => {
                chunk = ids.new_chunk(transaction, day)?;
                let Some(row) = chunk.add(transaction, &vector, time)? else { return Ok(()) };
                row
            }
        };
        let (embedding, span) = (Arc::clone(embedding), Span::at(time));
        let view = View { ids, chunk, embedding, row, span, written: time, used: Instant::now() };
        self.views.insert(name, view);
        Ok(())
    }

    /// A chunk is open for frames of one origin at most: afterwards those of the other one continue what is in the file.
    fn leave_chunk(
        &mut self,
        transaction: &Transaction<'_>,
        origin: Origin,
        (ids, day): (ViewIds, i64),
    ) -> rusqlite::Result<()> {
        let is_open =
            |(name, view): &(&ViewName, &View)| name.2 != origin && view.ids == ids && view.chunk.day == day;
        let open = self.views.iter().find(is_open).map(|(name, _)| name.clone());
        if let Some(mut view) = open.and_then(|name| self.views.remove(&name)) {
            view.write_end(transaction)?;
        }
        Ok(())
    }
}

impl View {
    /// Makes the span of the newest row longer; `false` if the frame needs a row of its own.
    fn stretch(
        &mut self,
        transaction: &Transaction<'_>,
        embedding: &Arc<[f32]>,
        time: i64,
    ) -> rusqlite::Result<bool> {
        let longest = self.span.first.saturating_add(LONGEST_SPAN);
        if !Arc::ptr_eq(embedding, &self.embedding) || !(self.span.last..=longest).contains(&time) {
            return Ok(false);
        }
        (self.span.last, self.used) = (time, Instant::now());
        if time.saturating_sub(self.written) >= STRETCH {
            self.write_end(transaction)?;
        }
        Ok(true)
    }

    fn write_end(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.written == self.span.last {
            return Ok(());
        }
        transaction
            .prepare_cached("UPDATE vectors SET last = ?2 WHERE id = ?1")?
            .execute([self.row, self.span.last])?;
        transaction
            .prepare_cached("UPDATE vector_chunks SET last = max(last, ?2) WHERE id = ?1")?
            .execute([self.chunk.id, self.span.last])?;
        self.written = self.span.last;
        Ok(())
    }
}

impl ViewIds {
    /// The chunk for a vector of this day: the open one, one of the file, or a new one.
    fn chunk(self, transaction: &Transaction<'_>, view: Option<View>, day: i64) -> rusqlite::Result<Chunk> {
        let open = view.filter(|view| view.ids == self).map(|view| view.chunk);
        if let Some(open) = open {
            if open.day == day && open.next < open.most {
                return Ok(open);
            }
            // Frames that are not in the order of time may change the day back and forth: then the open chunk is not closed.
            if open.day != day
                && let Some(chunk) = self.open_chunk(transaction, day)?
            {
                return Ok(chunk);
            }
            open.close(transaction, self.dimensions)?;
            return self.new_chunk(transaction, day);
        }
        match self.open_chunk(transaction, day)? {
            Some(chunk) => Ok(chunk),
            None => self.new_chunk(transaction, day),
        }
    }

    /// The newest chunk of this day, if it is not complete.
    fn open_chunk(self, transaction: &Transaction<'_>, day: i64) -> rusqlite::Result<Option<Chunk>> {
        let mut select = transaction.prepare_cached(
            "SELECT id, next, packed, most, centre FROM vector_chunks JOIN vector_centres ON chunk = id
             WHERE source = ?1 AND region = ?2 AND model = ?3 AND dimensions = ?4 AND day = ?5
             ORDER BY id DESC LIMIT 1",
        )?;
        let number = |number: i64| usize::try_from(number).unwrap_or(CHUNK).min(CHUNK);
        let chunk = select.query_row(
            params![self.source, self.region, self.model, self.dimensions as i64, day],
            |row| {
                let (id, next) = (row.get(0)?, number(row.get(1)?));
                let (packed, most) = (number(row.get(2)?), number(row.get(3)?));
                let centre = centre(row.get_ref(4)?.as_blob()?, self.dimensions);
                Ok(centre.map(|centre| Chunk { id, day, next, packed, most, centre }))
            },
        );
        // A damaged centre ends a chunk.
        Ok(chunk.optional()?.flatten().filter(|chunk| chunk.next < chunk.most && chunk.packed <= chunk.next))
    }

    fn new_chunk(self, transaction: &Transaction<'_>, day: i64) -> rusqlite::Result<Chunk> {
        let centre = self.average(transaction)?;
        let most = if centre.is_some() { CHUNK } else { FIRST };
        let centre = centre.unwrap_or_else(|| vec![0.0; self.dimensions]);
        transaction
            .prepare_cached(
                "INSERT INTO vector_chunks (source, region, model, dimensions, day, first, last, next, packed, most)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8)",
            )?
            .execute(params![
                self.source,
                self.region,
                self.model,
                self.dimensions as i64,
                day,
                i64::MAX,
                i64::MIN,
                most as i64
            ])?;
        let id = transaction.last_insert_rowid();
        transaction
            .prepare_cached("INSERT OR REPLACE INTO vector_centres (chunk, centre) VALUES (?1, ?2)")?
            .execute(params![id, centre_bytes(&centre)])?;
        Ok(Chunk { id, day, next: 0, packed: 0, most, centre })
    }

    /// The average of the view's newest vectors, of one or more chunks; `None` if there are too few.
    fn average(self, transaction: &Transaction<'_>) -> rusqlite::Result<Option<Vec<f32>>> {
        let mut select = transaction.prepare_cached(
            "SELECT id, centre FROM vector_chunks JOIN vector_centres ON chunk = id
             WHERE source = ?1 AND region = ?2 AND model = ?3 AND dimensions = ?4 ORDER BY id DESC LIMIT ?5",
        )?;
        let most = CHUNKS_FOR_CENTRE as i64;
        let mut chunks =
            select.query(params![self.source, self.region, self.model, self.dimensions as i64, most])?;
        let (mut sum, mut count) = (vec![0.0_f64; self.dimensions], 0);
        while let Some(row) = chunks.next()?
            && count < FOR_CENTRE
        {
            let Some(centre) = centre(row.get_ref(1)?.as_blob()?, self.dimensions) else { continue };
            let rows = rows_from(row.get(0)?, 0);
            let mut select =
                transaction.prepare_cached("SELECT code FROM vectors WHERE id >= ?1 AND id < ?2")?;
            let mut codes = select.query([rows.start, rows.end])?;
            while let Some(row) = codes.next()? {
                let Some(code) = Code::parse(row.get_ref(0)?.as_blob()?, self.dimensions) else { continue };
                let values = code.values().zip(&centre);
                sum.iter_mut()
                    .zip(values)
                    .for_each(|(sum, (value, centre))| *sum += f64::from(value + centre));
                count += 1;
            }
        }
        let average = || sum.iter().map(|sum| (sum / count as f64) as f32).collect();
        Ok((count >= FOR_CENTRE).then(average))
    }
}

impl Chunk {
    /// Adds a rotated vector, and returns its row; `None` if the chunk was deleted meanwhile.
    fn add(
        &mut self,
        transaction: &Transaction<'_>,
        vector: &[f32],
        time: i64,
    ) -> rusqlite::Result<Option<i64>> {
        // The rows before this one do not change any more.
        let packed = if self.next - self.packed >= BLOCK { self.next } else { self.packed };
        let changed = transaction
            .prepare_cached(
                "UPDATE vector_chunks SET next = ?2, packed = ?3, first = min(first, ?4), last = max(last, ?4)
                 WHERE id = ?1",
            )?
            .execute([self.id, self.next as i64 + 1, packed as i64, time])?;
        if changed == 0 {
            return Ok(None);
        }
        if packed > self.packed {
            self.pack(transaction, vector.len())?;
        }
        let difference: Vec<f32> =
            vector.iter().zip(&self.centre).map(|(value, centre)| value - centre).collect();
        let row = row_of(self.id, self.next as u16);
        transaction
            .prepare_cached("INSERT OR REPLACE INTO vectors (id, first, last, code) VALUES (?1, ?2, ?2, ?3)")?
            .execute(params![row, time, encode(&difference)])?;
        self.next += 1;
        Ok(Some(row))
    }

    /// Packs the rows that are in no block yet.
    fn pack(&mut self, transaction: &Transaction<'_>, dimensions: usize) -> rusqlite::Result<()> {
        let mut select = transaction.prepare_cached(
            "SELECT id, first, last, code FROM vectors WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )?;
        let rows = row_of(self.id, self.packed as u16)..row_of(self.id, 0).saturating_add(self.next as i64);
        let mut rows = select.query([rows.start, rows.end])?;
        let mut block = BlockBuilder::new(dimensions);
        while let Some(row) = rows.next()? {
            let Some(code) = Code::parse(row.get_ref(3)?.as_blob()?, dimensions) else { continue };
            let number = (row.get::<_, i64>(0)? - row_of(self.id, 0)) as u16;
            block.push(number, Span { first: row.get(1)?, last: row.get(2)? }, code);
        }
        self.packed = self.next;
        insert_block(transaction, self.id, &block)
    }

    /// Packs all rows, and all blocks into one.
    fn close(mut self, transaction: &Transaction<'_>, dimensions: usize) -> rusqlite::Result<()> {
        self.pack(transaction, dimensions)?;
        transaction
            .prepare_cached("UPDATE vector_chunks SET packed = ?2 WHERE id = ?1")?
            .execute([self.id, self.packed as i64])?;
        let mut select =
            transaction.prepare_cached("SELECT content FROM vector_blocks WHERE chunk = ?1 ORDER BY id")?;
        let mut blocks = select.query([self.id])?;
        let (mut whole, mut count) = (BlockBuilder::new(dimensions), 0);
        while let Some(row) = blocks.next()? {
            if let Some(block) = Block::parse(row.get_ref(0)?.as_blob()?, dimensions) {
                whole.append(&block, |_| true);
            }
            count += 1;
        }
        drop(blocks);
        if count < 2 {
            return Ok(());
        }
        transaction.prepare_cached("DELETE FROM vector_blocks WHERE chunk = ?1")?.execute([self.id])?;
        insert_block(transaction, self.id, &whole)
    }
}

fn insert_block(transaction: &Transaction<'_>, chunk: i64, block: &BlockBuilder) -> rusqlite::Result<()> {
    if block.is_empty() {
        return Ok(());
    }
    transaction
        .prepare_cached("INSERT INTO vector_blocks (chunk, vectors, content) VALUES (?1, ?2, ?3)")?
        .execute(params![chunk, block.len() as i64, block.bytes()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{History, vectors::read};

    #[test]
    fn stored_pictures_and_frames_of_a_camera_share_chunks_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let (mut recorder, source) = (Recorder::new("clip"), Arc::<str>::from("yard"));
        // The frames are of the tenth day. The pictures are of this day and of the two days before.
        let stored_day = |at: i64| {
            if at < 300 {
                10
            } else if at < 600 {
                9
            } else {
                8
            }
        };
        history
            .write(|transaction| {
                for at in 0..900_i64 {
                    let vector: Arc<[f32]> = [0.1, 0.001 * at as f32, -0.3].into();
                    let frame = [(Some("gate"), &vector)];
                    recorder.record_frame(transaction, &source, 10 * DAY + 2_000 * at, frame)?;
                    let vector: Arc<[f32]> = [0.1, -0.3, 0.001 * at as f32].into();
                    let time = stored_day(at) * DAY + 2_000 * at + 1_000;
                    recorder.record_stored(transaction, &source, time, [(Some("gate"), &vector)])?;
                }
                recorder.flush(transaction)
            })
            .unwrap();
        let count =
            |select: &str| -> i64 { history.connection().query_row(select, [], |row| row.get(0)).unwrap() };
        assert_eq!(count("SELECT count(*) FROM vectors"), 1_800);
        // The first has 256 vectors and no centre.
        assert_eq!(count("SELECT count(*) FROM vector_chunks"), 4);
        let ids = [source.as_ref(), "clip"]
            .map(|name| crate::history::table::known_name_id(history.connection(), name).unwrap().unwrap());
        let all = Span { first: i64::MIN, last: i64::MAX };
        let mut times: Vec<_> = read::spans(history.connection(), ids[1], ids[0], all)
            .unwrap()
            .iter()
            .map(|it| it.first)
            .collect();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 1_800, "each is in a block, or in a row after the last block");
    }
}
