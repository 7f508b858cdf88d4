//! A chunk: frames of one source that follow each other, with the states of the triggers before the first of them. Pure.
//!
//! | part | content |
//! |---|---|
//! | head | format, flags, by how much the clock was set, the time of the first frame |
//! | states | of each label and rule; see `states` |
//! | runs | the number of rows, and for each row how many further frames have its scores; mostly 0, which is counted |
//! | times | from frame to frame: by how much the distance differs from the distance before; runs of 0 are counted |
//! | sets | the rows in which a label set was not scored, which only happens while the configuration changes |
//! | rows | 2 bytes for each label: its score as [`rounding`] writes it, or that it is missing, or that it is stored exactly |
//! | exact | the scores that are stored exactly, 4 bytes each |
//!
//! A score is rounded unless that would change how it compares with the levels in force at that frame. Judged again with the same settings,
//! the chunk therefore gives the same alerts. A frame with the scores of the frame before costs a byte or less.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    bytes::{Bytes, Damaged, Sparse, SparseWriter, folded, put, put_signed, unfolded},
    states,
};
use crate::{
    judge::{Checkpoint, FrameScores, LabelSetup, LabelState, Setup, Start},
    policy::Levels,
    trigger::rounding::{self, FREE},
};

/// The first byte.
const FORMAT: u8 = 1;
/// The label was not scored.
const MISSING: u16 = FREE;
/// The score is the next one of those that are stored exactly.
const EXACT: u16 = FREE + 1;
/// The most frames of a chunk, so that a damaged one ends.
const MOST_FRAMES: usize = 1 << 16;
/// A chunk with this number of frames is full...
const FRAMES: usize = 8192;
/// ...and so is one with this number of different scores.
const SCORES: usize = 1 << 16;

const FOLLOWS: u8 = 1;
const RESTARTED: u8 = 2;
const ADDED: u8 = 4;

/// A chunk that is being written.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    /// Head and states.
    head: Vec<u8>,
    /// The number of frames of each row before the newest one, less one.
    runs: SparseWriter,
    /// The number of rows, and of frames of the newest row.
    row_count: usize,
    run: u64,
    /// From frame to frame: the change of the distance in milliseconds, folded.
    times: SparseWriter,
    newest: i64,
    distance: i64,
    rows: Vec<u16>,
    exact: Vec<f32>,
    /// Rows in which a label set was not scored, with whether each set was.
    partial: Vec<(usize, Vec<bool>)>,
    /// The newest row, and its exact scores.
    row: Vec<u16>,
    row_exact: Vec<f32>,
    /// The times of the earliest and the latest frame, and the number of frames.
    first: i64,
    last: i64,
    frames: usize,
}

/// How a score may be rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    /// As long as it compares in the same way with these levels, which are in force at the frame. `None`: there are none.
    Levels(Option<Levels>),
    /// Not at all: it is as it was read from a chunk.
    Never,
}

impl ChunkWriter {
    /// An empty chunk. `at` is the time of its first frame, and `follows` says that no frame is missing between the source's chunk before
    /// and this one.
    pub(super) fn new(checkpoint: &Checkpoint, follows: bool, at: Timestamp) -> Self {
        let base = at.as_millisecond();
        let start = match checkpoint.start {
            Start::Continued => 0,
            Start::Restarted => RESTARTED,
            Start::Added => ADDED,
        };
        let mut head = vec![FORMAT, start | if follows { FOLLOWS } else { 0 }];
        let by = i64::try_from(checkpoint.clock_set_by.as_millis()).unwrap_or(0);
        put_signed(&mut head, by);
        put_signed(&mut head, base);
        states::encode(&mut head, &checkpoint.setup, &checkpoint.states, base);
        Self {
            head,
            runs: SparseWriter::default(),
            row_count: 0,
            run: 0,
            times: SparseWriter::default(),
            newest: base,
            distance: 0,
            rows: vec![],
            exact: vec![],
            partial: vec![],
            row: vec![],
            row_exact: vec![],
            first: base,
            last: base,
            frames: 0,
        }
    }

    /// Adds a frame. `scores` are in the order of [`Setup::labels`], and `sets` says which label sets were scored. The scores as they will
    /// be read replace those in `stored`.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        scores: impl Iterator<Item = (Option<f32>, Rounding)>,
        sets: &[bool],
        stored: &mut Vec<Option<f32>>,
    ) {
        let (mut row, mut row_exact) = (Vec::with_capacity(self.row.len()), vec![]);
        stored.clear();
        for (score, rounding) in scores {
            let (code, read) = match score {
                None => (MISSING, None),
                Some(score) => match rounded(score, rounding) {
                    Some((code, rounded)) => (code, Some(rounded)),
                    None => {
                        row_exact.push(score);
                        (EXACT, Some(score))
                    }
                },
            };
            row.push(code);
            stored.push(read);
        }
        self.add_row(row, row_exact, sets);
        let at = at.as_millisecond();
        let distance = at.wrapping_sub(self.newest);
        self.times.add(folded(distance.wrapping_sub(self.distance)));
        (self.newest, self.distance) = (at, distance);
        (self.first, self.last) = (self.first.min(at), self.last.max(at));
        self.frames += 1;
    }

    fn add_row(&mut self, row: Vec<u16>, exact: Vec<f32>, sets: &[bool]) {
        let partial = self.partial.last().filter(|(row, _)| *row + 1 == self.row_count);
        let same_sets = partial.map_or(!sets.contains(&false), |(_, before)| before == sets);
        let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
        if self.run > 0 && same_sets && row == self.row && bits(&exact) == bits(&self.row_exact) {
            self.run += 1;
            return;
        }
        self.end_run();
        if sets.contains(&false) {
            self.partial.push((self.row_count, sets.to_vec()));
        }
        (self.row_count, self.run) = (self.row_count + 1, 1);
        self.rows.extend(&row);
        self.exact.extend(&exact);
        (self.row, self.row_exact) = (row, exact);
    }

    fn end_run(&mut self) {
        if let Some(further) = self.run.checked_sub(1) {
            self.runs.add(further);
        }
    }

    /// Whether the chunk should be written, and another one begun.
    pub(super) fn is_full(&self) -> bool {
        self.frames >= FRAMES || self.rows.len() >= SCORES
    }

    /// The times of the earliest and the latest frame in milliseconds since 1970, and the number of frames.
    pub(super) fn span(&self) -> (i64, i64, usize) {
        (self.first, self.last, self.frames)
    }

    /// The bytes of the chunk.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_run();
        let mut bytes = self.head;
        put(&mut bytes, self.row_count as u64);
        bytes.extend(self.runs.finish());
        bytes.extend(self.times.finish());
        put(&mut bytes, self.partial.len() as u64);
        for (row, sets) in &self.partial {
            put(&mut bytes, *row as u64);
            bytes.extend(sets.iter().map(|scored| u8::from(*scored)));
        }
        bytes.extend(self.rows.iter().flat_map(|code| code.to_le_bytes()));
        bytes.extend(self.exact.iter().flat_map(|score| score.to_bits().to_le_bytes()));
        bytes
    }
}

/// The value and the rounded score, unless the score must be stored exactly.
fn rounded(score: f32, how: Rounding) -> Option<(u16, f32)> {
    let code = rounding::code(score)?;
    let rounded = rounding::score(code)?;
    let same = match how {
        Rounding::Levels(None) => true,
        Rounding::Levels(Some(Levels { threshold, clear_below })) => {
            (rounded >= threshold) == (score >= threshold) && (rounded < clear_below) == (score < clear_below)
        }
        Rounding::Never => rounded.to_bits() == score.to_bits(),
    };
    same.then_some((code, rounded))
}

/// A chunk that is read.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'b> {
    /// How the states continue those at the end of the chunk before.
    pub start: Start,
    /// Whether no frame is missing between the source's chunk before and this one.
    pub follows: bool,
    /// By how much the clock was set since the chunk before. The times in the states are moved already.
    pub clock_set_by: SignedDuration,
    base: i64,
    /// Everything after the states.
    frames: Bytes<'b>,
    labels: usize,
    sets: usize,
}

/// The scores of a chunk that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The numbers of labels in the order of [`Setup::labels`], ascending.
    pub labels: Vec<usize>,
    /// The numbers of label sets, ascending.
    pub sets: Vec<usize>,
}

/// Space for the frames of a chunk, which is used again for the next one.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    scores: Vec<Option<f32>>,
    sets: Vec<bool>,
}

impl<'b> Chunk<'b> {
    /// Reads the head of a chunk that was written for this setup, and the states before its first frame into `states`.
    ///
    /// # Errors
    /// The bytes are damaged, or were written for another setup.
    pub fn read(bytes: &'b [u8], setup: &Setup, states: &mut Vec<LabelState>) -> Result<Self, Damaged> {
        let mut bytes = Bytes::new(bytes);
        let (format, flags) = (bytes.byte()?, bytes.byte()?);
        if format != FORMAT {
            return Err(Damaged);
        }
        let (by, base) = (bytes.signed()?, bytes.signed()?);
        states::decode(&mut bytes, setup, states, base)?;
        Ok(Self {
            start: match flags {
                _ if flags & RESTARTED != 0 => Start::Restarted,
                _ if flags & ADDED != 0 => Start::Added,
                _ => Start::Continued,
            },
            follows: flags & FOLLOWS != 0,
            clock_set_by: SignedDuration::from_millis(by),
            base,
            frames: bytes,
            labels: setup.labels().count(),
            sets: setup.sets.len(),
        })
    }

    /// The same chunk without the scores and the states of the labels for which `is_gone` is true.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub(super) fn without(
        &self,
        setup: &Arc<Setup>,
        states: &[LabelState],
        is_gone: impl Fn(&LabelSetup) -> bool,
    ) -> Result<ChunkWriter, Damaged> {
        let states = setup.all().zip(states);
        let states =
            states.map(|((_, label), state)| if is_gone(label) { LabelState::default() } else { *state });
        let checkpoint = Checkpoint {
            setup: Arc::clone(setup),
            states: states.collect(),
            clock_set_by: self.clock_set_by,
            start: self.start,
        };
        let gone: Vec<_> = setup.labels().map(|(_, label)| is_gone(label)).collect();
        let base = Timestamp::from_millisecond(self.base).map_err(|_| Damaged)?;
        let (mut writer, mut stored) = (ChunkWriter::new(&checkpoint, self.follows, base), vec![]);
        self.frames(&mut FrameBuffer::default(), |frame| {
            let scores = frame.scores.iter().zip(&gone);
            let scores = scores.map(|(score, gone)| (score.filter(|_| !gone), Rounding::Never));
            writer.add(frame.at, scores, frame.sets, &mut stored);
        })?;
        Ok(writer)
    }

    /// Calls `each` for each frame, in the order in which they were judged.
    ///
    /// # Errors
    /// The bytes are damaged. The frames before the damage were given to `each`.
    pub fn frames(
        &self,
        buffer: &mut FrameBuffer,
        each: impl FnMut(&FrameScores<'_>),
    ) -> Result<(), Damaged> {
        let all = Columns { labels: (0..self.labels).collect(), sets: (0..self.sets).collect() };
        self.frames_of(&all, buffer, each)
    }

    /// Calls `each` for each frame, with the scores of these columns only.
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub fn frames_of(
        &self,
        columns: &Columns,
        buffer: &mut FrameBuffer,
        mut each: impl FnMut(&FrameScores<'_>),
    ) -> Result<(), Damaged> {
        let Layout { count, mut runs, mut times, rows, mut exact, mut partial } = self.layout()?;
        let mut next_partial = partial.next(self.sets)?;
        let row_bytes = 2 * self.labels;
        let (mut at, mut distance) = (self.base, 0_i64);
        for number in 0..count {
            let row = &rows[number * row_bytes..(number + 1) * row_bytes];
            read_row(row, &columns.labels, &mut exact, &mut buffer.scores)?;
            buffer.sets.clear();
            match next_partial {
                Some((row, sets)) if row == number => {
                    let is_scored = |set: &usize| sets.get(*set).is_some_and(|scored| *scored != 0);
                    buffer.sets.extend(columns.sets.iter().map(is_scored));
                    next_partial = partial.next(self.sets)?;
                }
                _ => buffer.sets.resize(columns.sets.len(), true),
            }
            for _ in 0..=runs.next()? {
                distance = distance.wrapping_add(unfolded(times.next()?));
                at = at.checked_add(distance).ok_or(Damaged)?;
                let at = Timestamp::from_millisecond(at).map_err(|_| Damaged)?;
                each(&FrameScores { at, scores: &buffer.scores, sets: &buffer.sets });
            }
        }
        Ok(())
    }

    /// Where the parts are.
    fn layout(&self) -> Result<Layout<'b>, Damaged> {
        let mut bytes = self.frames;
        let count = bytes.count(MOST_FRAMES)?;
        let runs = Sparse::new(bytes);
        let (mut skipped, mut frames) = (runs, 0_u64);
        for _ in 0..count {
            frames = frames.saturating_add(skipped.next()?).saturating_add(1);
        }
        if frames > MOST_FRAMES as u64 {
            return Err(Damaged);
        }
        let times = Sparse::new(skipped.rest());
        let mut skipped = times;
        for _ in 0..frames {
            skipped.next()?;
        }
        let mut bytes = skipped.rest();
        let partials = bytes.count(count)?;
        let partial = Partial { count: partials, bytes };
        let mut skipped = partial;
        while skipped.next(self.sets)?.is_some() {}
        let mut exact = skipped.bytes;
        let rows = exact.take(count * 2 * self.labels)?;
        Ok(Layout { count, runs, times, rows, exact, partial })
    }
}

struct Layout<'b> {
    /// The number of rows.
    count: usize,
    runs: Sparse<'b>,
    times: Sparse<'b>,
    rows: &'b [u8],
    exact: Bytes<'b>,
    partial: Partial<'b>,
}

#[derive(Clone, Copy)]
struct Partial<'b> {
    count: usize,
    bytes: Bytes<'b>,
}

impl<'b> Partial<'b> {
    fn next(&mut self, sets: usize) -> Result<Option<(usize, &'b [u8])>, Damaged> {
        let Some(left) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = left;
        Ok(Some((self.bytes.count(MOST_FRAMES)?, self.bytes.take(sets)?)))
    }
}

/// Reads the scores of these labels.
fn read_row(
    row: &[u8],
    labels: &[usize],
    exact: &mut Bytes<'_>,
    scores: &mut Vec<Option<f32>>,
) -> Result<(), Damaged> {
    scores.clear();
    let (codes, _) = row.as_chunks::<2>();
    if exact.is_empty() {
        // Most chunks have no exact scores, so that single columns are found without reading the others.
        for label in labels {
            let code = u16::from_le_bytes(*codes.get(*label).ok_or(Damaged)?);
            let score = rounding::score(code);
            if score.is_none() && code != MISSING {
                return Err(Damaged);
            }
            scores.push(score);
        }
        return Ok(());
    }
    let mut labels = labels.iter().peekable();
    for (label, code) in codes.iter().enumerate() {
        let code = u16::from_le_bytes(*code);
        let score = match rounding::score(code) {
            None if code != MISSING => Some(f32::from_bits(u32::from_le_bytes(exact.array()?))),
            score => score,
        };
        if labels.next_if(|wanted| **wanted == label).is_some() {
            scores.push(score);
        }
    }
    Ok(())
}
