//! The views of a search: the chunks of each source and region, with the query and the usual similarity as they are for this view.

use rusqlite::Connection;

use super::{
    baseline::{self, Baseline},
    query::Query,
};
use crate::{
    classify::score::dot,
    history::vectors::{
        codec::Code,
        read::{self, Chunk, Rows},
    },
};

/// The frames that a baseline is computed from: of each view at most and at least, and of all views.
const SAMPLE: usize = 256;
const SMALLEST_SAMPLE: usize = 64;
const ALL_SAMPLES: usize = 2048;

/// The chunks of one view, with the query as it is for this view.
pub(super) struct View<'a> {
    pub(super) chunks: Vec<&'a Chunk>,
    pub(super) query: Query,
    /// The spread of the similarity to each vector of the search.
    spreads: Vec<f32>,
    pub(super) baseline: Baseline,
    /// The average of some frames.
    pub(super) average: Vec<f32>,
}

impl View<'_> {
    /// The lift of a frame with these similarities.
    pub(super) fn lift(&self, similarities: &[f32]) -> f32 {
        self.baseline.lift(combined(similarities, &self.spreads))
    }
}

/// Some frames of a view.
struct Sample {
    /// For each frame its similarity to each vector of the search.
    similarities: Vec<Vec<f32>>,
    average: Vec<f32>,
}

/// The views of some chunks, which are in the order of views, each with its baseline.
pub(super) fn views<'a>(
    connection: &Connection,
    chunks: &'a [Chunk],
    vectors: &[Vec<f32>],
) -> rusqlite::Result<Vec<View<'a>>> {
    let groups: Vec<Vec<&Chunk>> = chunks
        .chunk_by(|a, b| (a.source, a.region) == (b.source, b.region))
        .map(|group| group.iter().collect())
        .collect();
    let size = (ALL_SAMPLES / groups.len().max(1)).clamp(SMALLEST_SAMPLE, SAMPLE);
    let mut rows = Rows::of(connection)?;
    let samples = groups
        .iter()
        .map(|group| sample(&mut rows, group, vectors, size))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let of_vector = |at: usize| {
        let views = samples.iter().map(|it| it.similarities.iter().map(|frame| frame[at]).collect());
        baseline::of_views(&views.collect::<Vec<_>>())
    };
    let of_vectors: Vec<_> = (0..vectors.len()).map(of_vector).collect();
    let spreads = |view: usize| -> Vec<f32> { of_vectors.iter().map(|views| views[view].spread).collect() };
    // Of several vectors, the sum of similarities in units of their spreads has a spread of its own.
    let sums = |(view, sample): (usize, &Sample)| {
        let spreads = spreads(view);
        sample.similarities.iter().map(|frame| combined(frame, &spreads)).collect()
    };
    let baselines = baseline::of_views(&samples.iter().enumerate().map(sums).collect::<Vec<_>>());
    let view = |(at, ((chunks, baseline), sample)): (usize, ((Vec<_>, _), Sample))| {
        let spreads = spreads(at);
        let mut query = vec![0.0; vectors.first().map_or(0, Vec::len)];
        for (vector, spread) in vectors.iter().zip(&spreads) {
            query.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / spread);
        }
        View { chunks, query: Query::new(query), spreads, baseline, average: sample.average }
    };
    let views = groups.into_iter().zip(baselines).zip(samples);
    Ok(views.enumerate().map(view).collect())
}

/// Reads some frames of a view.
fn sample(
    rows: &mut Rows<'_>,
    chunks: &[&Chunk],
    vectors: &[Vec<f32>],
    size: usize,
) -> rusqlite::Result<Sample> {
    let mut sample = Sample { similarities: vec![], average: vec![0.0; vectors.first().map_or(0, Vec::len)] };
    // Only the newest chunk's similarities to its centre are kept: rows of a chunk follow each other.
    let mut of_centre: (usize, Vec<f32>) = (usize::MAX, vec![]);
    for (at, row) in read::sample(chunks, size) {
        let centre = &chunks[at].centre;
        if of_centre.0 != at {
            of_centre = (at, vectors.iter().map(|vector| dot(vector, centre)).collect());
        }
        rows.between(chunks[at], (row, row), |_, _, code| {
            sample.add(code, centre, vectors, &of_centre.1);
        })?;
    }
    let count = sample.similarities.len().max(1) as f32;
    sample.average.iter_mut().for_each(|sum| *sum /= count);
    Ok(sample)
}

impl Sample {
    /// Adds a frame. Until the end, the average is a sum.
    fn add(&mut self, code: Code<'_>, centre: &[f32], vectors: &[Vec<f32>], of_centre: &[f32]) {
        let similarity = |(vector, of_centre): (&Vec<f32>, &f32)| of_centre + code.dot(vector);
        self.similarities.push(vectors.iter().zip(of_centre).map(similarity).collect());
        let values = code.values().zip(centre).map(|(value, centre)| value + centre);
        self.average.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

/// One similarity of several, each in units of its spread.
fn combined(similarities: &[f32], spreads: &[f32]) -> f32 {
    similarities.iter().zip(spreads).map(|(similarity, spread)| similarity / spread).sum()
}
