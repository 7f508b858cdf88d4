//! Runs a search on the file.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{
    baseline::{self, Baseline, chance_line},
    candidates::{Candidate, Candidates},
    events::{Hit, events},
    query::Query,
};
use crate::{
    classify::score::dot,
    history::{
        table::{known_name_id, name_text},
        vectors::{
            codec::{Code, Span},
            read::{self, Chunk},
            rotation::Rotation,
            tables::{WHOLE_FRAME, chunk_of, row_of},
        },
    },
};

/// The moments that the first pass keeps. Of most searches, the second pass uses a few hundred.
const CANDIDATES: usize = 16_384;
/// The candidates whose similarity is computed at once; each time twice as many.
const FIRST_BATCH: usize = 256;
/// The second pass ends when candidates would have to be wrong by this number of standard deviations to be among the results.
const CERTAINTY: f32 = 3.0;
/// The frames that a baseline is computed from: of each view at most and at least, and of all views.
const SAMPLE: usize = 256;
const SMALLEST_SAMPLE: usize = 64;
const ALL_SAMPLES: usize = 2048;

/// What to search for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The vectors of the words, of a picture, or of both, each of length 1. With several, their lifts are added.
    pub vectors: &'a [Vec<f32>],
    /// The model that made them.
    pub model: &'a str,
    /// Only frames of this source.
    pub source: Option<&'a str>,
    /// Only pictures that were seen at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only pictures that were seen before this time.
    pub until: Option<i64>,
    /// The number of results at most.
    pub top: usize,
}

/// Why a search fails.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The file cannot be read.
    #[error("cannot read the history")]
    Statement(#[from] rusqlite::Error),
    /// The vectors of a search are of different lengths, or there is none.
    #[error("a search needs the vector of a text or of a picture, and all of one model")]
    Vectors,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The results, the best first.
    pub matches: Vec<Match>,
    /// The lift that chance alone reaches in one of twenty searches: results below it are probably wrong.
    pub line: f32,
    /// The number of stored vectors that were searched.
    pub vectors: u64,
    /// The number of sources that they are of.
    pub sources: usize,
    /// From the first to the last stored frame of these sources.
    pub span: Option<Span>,
    /// The number of stored vectors that could not be searched, because another model made them.
    pub of_other_models: u64,
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The source.
    pub source: String,
    /// The region in which it was found; `None` is the whole frame.
    pub region: Option<String>,
    /// When the best frame was captured.
    pub time: i64,
    /// From the first to the last frame of the event that was found.
    pub span: Span,
    /// The lift of the best frame.
    pub lift: f32,
    /// The similarity of the best frame and each vector of the search: a cosine.
    pub similarities: Vec<f32>,
    /// The lift is above the line of chance.
    pub is_likely: bool,
}

/// The chunks of one view, with the query as it is for this view.
struct View<'a> {
    chunks: Vec<&'a Chunk>,
    query: Query,
    /// The spread of the similarity to each vector of the search.
    spreads: Vec<f32>,
    baseline: Baseline,
    /// The average of some frames.
    average: Vec<f32>,
}

/// Some frames of a view.
struct Sample {
    /// For each frame its similarity to each vector of the search.
    similarities: Vec<Vec<f32>>,
    average: Vec<f32>,
}

/// A candidate whose similarity was computed.
#[derive(Clone)]
struct Scored<'a> {
    hit: Hit,
    view: usize,
    chunk: &'a Chunk,
    /// The stored vector.
    vector: Vec<f32>,
    similarities: Vec<f32>,
}

/// Searches the stored vectors.
///
/// # Errors
/// The file cannot be read, or the search has no vectors.
pub fn search(connection: &Connection, search: &Search<'_>) -> Result<Found, SearchError> {
    let dimensions = search.vectors.first().map_or(0, Vec::len);
    if dimensions == 0 || search.vectors.iter().any(|vector| vector.len() != dimensions) {
        return Err(SearchError::Vectors);
    }
    // One state of the file for all that is read: the writer packs rows meanwhile.
    let connection = &*connection.unchecked_transaction()?;
    let source = match search.source {
        None => None,
        // No name has this identifier.
        Some(name) => Some(known_name_id(connection, name)?.unwrap_or(-1)),
    };
    let model = known_name_id(connection, search.model)?;
    let of_other_models = read::vectors_of_other_models(connection, model, dimensions, source)?;
    let chunks = match model {
        Some(model) => read::chunks(connection, model, dimensions, source)?,
        None => vec![],
    };
    let rotation = Rotation::new(dimensions);
    let vectors: Vec<_> = search.vectors.iter().map(|vector| rotation.apply(vector)).collect();
    let views = views(connection, &chunks, &vectors)?;
    let candidates = first_pass(connection, search, &views)?;
    let found = Found {
        line: chance_line(candidates.moments()),
        vectors: candidates.vectors(),
        of_other_models,
        ..covered(&chunks)
    };
    let matches = second_pass(connection, search, &views, &vectors, &candidates.best())?;
    let named = |(scored, span): (Scored<'_>, Span)| {
        let region = scored.chunk.region;
        Ok(Match {
            source: name_text(connection, scored.hit.source)?,
            region: (region != WHOLE_FRAME).then(|| name_text(connection, region)).transpose()?,
            time: scored.hit.span.first,
            span,
            lift: scored.hit.lift,
            similarities: scored.similarities,
            is_likely: scored.hit.lift >= found.line,
        })
    };
    let matches = matches.into_iter().map(named).collect::<rusqlite::Result<_>>()?;
    Ok(Found { matches, ..found })
}

/// What some chunks cover.
fn covered(chunks: &[Chunk]) -> Found {
    let mut sources: Vec<_> = chunks.iter().map(|chunk| chunk.source).collect();
    sources.dedup();
    let first = chunks.iter().map(|chunk| chunk.span.first).min();
    let last = chunks.iter().map(|chunk| chunk.span.last).max();
    let span = first.zip(last).map(|(first, last)| Span { first, last });
    Found { sources: sources.len(), span, ..Found::default() }
}

/// The views of some chunks, which are in the order of views, each with its baseline.
fn views<'a>(
    connection: &Connection,
    chunks: &'a [Chunk],
    vectors: &[Vec<f32>],
) -> rusqlite::Result<Vec<View<'a>>> {
    let groups: Vec<Vec<&Chunk>> = chunks
        .chunk_by(|a, b| (a.source, a.region) == (b.source, b.region))
        .map(|group| group.iter().collect())
        .collect();
    let size = (ALL_SAMPLES / groups.len().max(1)).clamp(SMALLEST_SAMPLE, SAMPLE);
    let samples = groups
        .iter()
        .map(|group| sample(connection, group, vectors, size))
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
    connection: &Connection,
    chunks: &[&Chunk],
    vectors: &[Vec<f32>],
    size: usize,
) -> rusqlite::Result<Sample> {
    let mut sample = Sample { similarities: vec![], average: vec![0.0; vectors.first().map_or(0, Vec::len)] };
    for (at, row) in read::sample(chunks, size) {
        let Some(stored) = read::vector(connection, row)? else { continue };
        let Some(code) = Code::parse(&stored.code, chunks[at].centre.len()) else { continue };
        let vector = vector(chunks[at], code);
        sample.similarities.push(vectors.iter().map(|it| dot(it, &vector)).collect());
        sample.average.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    let count = sample.similarities.len().max(1) as f32;
    sample.average.iter_mut().for_each(|sum| *sum /= count);
    Ok(sample)
}

/// A stored vector, rotated.
fn vector(chunk: &Chunk, code: Code<'_>) -> Vec<f32> {
    code.values().zip(&chunk.centre).map(|(value, centre)| value + centre).collect()
}

/// One similarity of several, each in units of its spread.
fn combined(similarities: &[f32], spreads: &[f32]) -> f32 {
    similarities.iter().zip(spreads).map(|(similarity, spread)| similarity / spread).sum()
}

/// Estimates the lift of all vectors in the filter, and keeps the best moments.
fn first_pass(
    connection: &Connection,
    search: &Search<'_>,
    views: &[View<'_>],
) -> rusqlite::Result<Candidates> {
    let mut candidates = Candidates::new(CANDIDATES);
    for (at, View { chunks, query, baseline, .. }) in views.iter().enumerate() {
        for chunk in chunks.iter().filter(|chunk| chunk.span.is_within(search.since, search.until)) {
            let of_centre = query.dot(&chunk.centre);
            let mut add = |id: i64, span: Span, estimate: f32, error: f32| {
                if span.is_within(search.since, search.until) {
                    let lift = baseline.lift(of_centre + estimate);
                    let error = error / baseline.spread;
                    candidates.push(Candidate { rows: (id, id), view: at, span, lift, error });
                }
            };
            read::blocks(connection, chunk, |block| {
                query.estimate(block, |at, estimate| {
                    let id = row_of(chunk.id, block.number(at));
                    add(id, block.span(at), estimate, query.error(block.factor(at)));
                });
            })?;
            read::unpacked(connection, chunk, |id, span, code| add(id, span, query.dot_code(code), 0.0))?;
        }
    }
    Ok(candidates)
}

/// Computes the lift of the candidates, which are in the order of their estimates, until no other one can be among the results.
/// Returns the best frame of each event and the event's span.
fn second_pass<'a>(
    connection: &Connection,
    search: &Search<'_>,
    views: &[View<'a>],
    vectors: &[Vec<f32>],
    candidates: &[Candidate],
) -> rusqlite::Result<Vec<(Scored<'a>, Span)>> {
    let chunks: HashMap<i64, &Chunk> =
        views.iter().flat_map(|view| &view.chunks).map(|chunk| (chunk.id, *chunk)).collect();
    let mut scored: Vec<Scored<'a>> = Vec::new();
    let mut found = Vec::new();
    let (mut rest, mut size, mut least) = (candidates, FIRST_BATCH, f32::NEG_INFINITY);
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(size.min(rest.len()));
        (rest, size) = (others, 2 * size);
        // In the order of the file, without those that cannot be among the results.
        let can_be = |it: &&Candidate| it.lift + CERTAINTY * it.error >= least;
        let mut batch: Vec<_> = batch.iter().filter(can_be).copied().collect();
        batch.sort_unstable_by_key(|candidate| candidate.rows);
        for candidate in &batch {
            if let Some(chunk) = chunks.get(&chunk_of(candidate.rows.0)) {
                scored.extend(best_of(
                    connection,
                    search,
                    candidate,
                    chunk,
                    &views[candidate.view],
                    vectors,
                )?);
            }
        }
        let hits: Vec<_> = scored.iter().map(|scored| scored.hit).collect();
        found = events(&hits, |a, b| alike(&scored[a], &scored[b], &views[scored[a].view].average));
        let last = search.top.checked_sub(1).and_then(|last| found.get(last));
        // With fewer events than wanted, what is usual completes the list.
        least = last.map_or(0.0, |event| hits[event.best].lift);
        if rest.iter().all(|other| other.lift + CERTAINTY * other.error < least) {
            break;
        }
    }
    found.truncate(search.top);
    Ok(found.iter().map(|event| (scored[event.best].clone(), event.span)).collect())
}

/// The vector of a moment with the highest lift; `None` if its vectors are damaged.
fn best_of<'a>(
    connection: &Connection,
    search: &Search<'_>,
    candidate: &Candidate,
    chunk: &'a Chunk,
    view: &View<'_>,
    vectors: &[Vec<f32>],
) -> rusqlite::Result<Option<Scored<'a>>> {
    let of_centre: Vec<_> = vectors.iter().map(|vector| dot(vector, &chunk.centre)).collect();
    let mut best: Option<Scored<'a>> = None;
    read::between(connection, chunk, candidate.rows, |_, span, code| {
        if !span.is_within(search.since, search.until) {
            return;
        }
        let similarities: Vec<_> =
            vectors.iter().zip(&of_centre).map(|(vector, of_centre)| of_centre + code.dot(vector)).collect();
        let lift = view.baseline.lift(combined(&similarities, &view.spreads));
        if best.as_ref().is_none_or(|best| lift > best.hit.lift) {
            let hit = Hit { source: chunk.source, span, lift };
            best =
                Some(Scored { hit, view: candidate.view, chunk, vector: vector(chunk, code), similarities });
        }
    })?;
    Ok(best)
}

/// How alike two frames are: the cosine of their differences from the average of their view. Frames that are nearly equal as a whole
/// are alike, too: what is always there is a part of the average, and the differences are only noise.
fn alike(a: &Scored<'_>, b: &Scored<'_>, average: &[f32]) -> f32 {
    // Products of the wholes and of the differences: of both, of the left one and of the right one with itself.
    let (mut wholes, mut differences) = ([0.0_f32; 3], [0.0_f32; 3]);
    for ((left, right), average) in a.vector.iter().zip(&b.vector).zip(average) {
        for (sums, left, right) in
            [(&mut wholes, *left, *right), (&mut differences, left - average, right - average)]
        {
            sums[0] += left * right;
            sums[1] += left * left;
            sums[2] += right * right;
        }
    }
    let cosine = |[both, left, right]: [f32; 3]| both / (left * right).sqrt().max(f32::MIN_POSITIVE);
    // 0.94 counts as similar, and 0.985 as nearly equal.
    cosine(differences).max(10.0 * cosine(wholes) - 9.0)
}
