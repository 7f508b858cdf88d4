//! The scores of every frame, packed so that they can be judged again: about two bytes for each label and frame.
//!
//! A chunk holds about a minute of one source: how it was judged, the states of its triggers before the first frame, and the scores that
//! they received. Each chunk can be judged alone, so a missing one (after a kill, or after observations were lost) makes the others no less
//! exact. `recorder` writes chunks, [`chunks`] reads them, and [`chart`] reduces them
//! to what a chart shows. [`SourceJudge`](crate::judge::SourceJudge) judges their frames.

mod bytes;
mod chart;
mod chunk;
mod recorder;
pub mod reduce;
mod states;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    bytes::Damaged,
    chart::{Chart, chart},
    chunk::{Chunk, Columns, FrameBuffer},
    recorder::ScoreRecorder,
    table::{StoredChunk, TABLE, Window, chunks, frames, newest, setups, sources},
};
