//! Runs a search on the file.

use rusqlite::Connection;

use super::{
    baseline::chance_line,
    candidates::{Candidate, Candidates},
    rescore::{Scored, best_events},
    views::{View, views},
};
use crate::history::{
    table::{known_name_id, name_text},
    vectors::{
        codec::Span,
        read::{self, Chunk, Rows},
        rotation::Rotation,
        tables::{WHOLE_FRAME, row_of},
    },
};

/// The candidates that the first pass keeps. Of most searches, the second pass uses a few hundred.
const CANDIDATES: usize = 16_384;

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
    let is_wanted = |span: Span| span.is_within(search.since, search.until);
    let matches = best_events(connection, &views, &vectors, &candidates.best(), (search.top, is_wanted))?;
    let named = |(scored, span): (Scored<'_>, Span)| {
        let region = scored.chunk.region;
        Ok(Match {
            source: name_text(connection, scored.hit.source)?,
            region: (region != WHOLE_FRAME).then(|| name_text(connection, region)).transpose()?,
            time: scored.hit.best.first,
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

/// Estimates the lift of all vectors in the filter, and keeps the best moments.
fn first_pass(
    connection: &Connection,
    search: &Search<'_>,
    views: &[View<'_>],
) -> rusqlite::Result<Candidates> {
    let (mut candidates, mut rows) = (Candidates::new(CANDIDATES), Rows::of(connection)?);
    for (at, View { chunks, query, baseline, .. }) in views.iter().enumerate() {
        for chunk in chunks.iter().filter(|chunk| chunk.span.is_within(search.since, search.until)) {
            let of_centre = query.dot(&chunk.centre);
            let mut add = |id: i64, span: Span, (estimate, error): (f32, f32), is_alike: bool| {
                if span.is_within(search.since, search.until) {
                    let lift = baseline.lift(of_centre + estimate);
                    let error = error / baseline.spread;
                    let vector = Candidate { rows: (id, id), best: id, view: at, span, lift, error };
                    candidates.push(vector, is_alike);
                }
            };
            read::blocks(connection, chunk, |block| {
                query.estimate(block, |at, estimate, is_alike| {
                    let id = row_of(chunk.id, block.number(at));
                    add(id, block.span(at), (estimate, query.error(block.factor(at))), is_alike);
                });
            })?;
            rows.unpacked(chunk, |id, span, code| add(id, span, (query.dot_code(code), 0.0), false))?;
        }
    }
    Ok(candidates)
}
