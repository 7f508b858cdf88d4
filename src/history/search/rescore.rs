//! The second pass of a search: computes the lift of candidates from 8 bits for each dimension, and joins frames to events.
//!
//! Of each candidate it reads the vector with the highest estimate. All vectors are read only of those that are, with this vector, nearly
//! among the results: to find the best frame of each event.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{
    candidates::Candidate,
    events::{Event, Hit, events},
    views::View,
};
use crate::{
    classify::score::dot,
    history::vectors::{
        codec::Span,
        read::{Chunk, Rows},
        tables::chunk_of,
    },
};

/// The candidates whose similarity is computed at once; each time twice as many.
const FIRST_BATCH: usize = 256;
/// The second pass ends when candidates would have to be wrong by this number of standard deviations to be among the results.
const CERTAINTY: f32 = 3.0;
/// Another vector of a candidate is better by this number of standard deviations of an estimate at most. The estimates of vectors that
/// look alike are wrong by nearly the same amount, so the one with the highest estimate is nearly the best.
const BETTER: f32 = 1.25;
/// All vectors are read of at most this number of candidates for each wanted result.
const REFINED: usize = 8;

/// A candidate whose similarity was computed.
#[derive(Clone)]
pub(super) struct Scored<'a> {
    pub(super) hit: Hit,
    pub(super) chunk: &'a Chunk,
    /// Of its best frame and each vector of the search.
    pub(super) similarities: Vec<f32>,
    candidate: Candidate,
    /// The stored vector of the best frame.
    vector: Vec<f32>,
    /// Its dot product with itself.
    square: f32,
    /// Its dot product with the average of its view.
    of_average: f32,
}

/// The average of a view, and its dot product with itself.
struct Average<'a> {
    vector: &'a [f32],
    square: f32,
}

impl<'a> Average<'a> {
    fn new(vector: &'a [f32]) -> Self {
        Self { vector, square: dot(vector, vector) }
    }
}

/// Computes the lift of the candidates, which are in the order of their estimates, until no other one can be among the `top` results.
/// Returns the best frame of each event and the event's span.
pub(super) fn best_events<'a>(
    connection: &Connection,
    views: &[View<'a>],
    vectors: &[Vec<f32>],
    candidates: &[Candidate],
    (top, is_wanted): (usize, impl Fn(Span) -> bool),
) -> rusqlite::Result<Vec<(Scored<'a>, Span)>> {
    let mut scorer = Scorer::new(connection, views, vectors, is_wanted)?;
    let mut scored: Vec<Scored<'a>> = Vec::new();
    let (mut rest, mut size, mut least) = (candidates, FIRST_BATCH, f32::NEG_INFINITY);
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(size.min(rest.len()));
        (rest, size) = (others, 2 * size);
        // In the order of the file, without those that cannot be among the results.
        let can_be = |it: &&Candidate| it.lift + CERTAINTY * it.error >= least;
        let mut batch: Vec<_> = batch.iter().filter(can_be).copied().collect();
        batch.sort_unstable_by_key(|candidate| candidate.best);
        for candidate in batch {
            scored.extend(scorer.score(candidate)?);
        }
        least = least_lift(&scored, &scorer.events(&scored), top);
        if rest.iter().all(|other| other.lift + CERTAINTY * other.error < least) {
            break;
        }
    }
    for at in nearly_found(&scored, least, top) {
        let candidate = scored[at].candidate;
        if let Some(better) = scorer.best_frame(candidate, candidate.rows)? {
            scored[at] = better;
        }
    }
    let mut found = scorer.events(&scored);
    found.truncate(top);
    Ok(found.iter().map(|event| (scored[event.best].clone(), event.span)).collect())
}

/// The lift of the last result.
fn least_lift(scored: &[Scored<'_>], found: &[Event], top: usize) -> f32 {
    let last = top.checked_sub(1).and_then(|last| found.get(last));
    // With fewer events than wanted, what is usual completes the list.
    last.map_or(0.0, |event| scored[event.best].hit.lift)
}

/// The candidates of several vectors that are among the results, or may be with another vector: in the order of the file.
fn nearly_found(scored: &[Scored<'_>], least: f32, top: usize) -> Vec<usize> {
    let is_near = |it: &Scored<'_>| {
        let Candidate { rows, error, .. } = it.candidate;
        rows.0 != rows.1 && it.hit.lift + BETTER * error >= least
    };
    let mut near: Vec<_> = (0..scored.len()).filter(|at| is_near(&scored[*at])).collect();
    near.sort_unstable_by(|a, b| scored[*b].hit.lift.total_cmp(&scored[*a].hit.lift));
    near.truncate(REFINED.saturating_mul(top));
    near.sort_unstable_by_key(|at| scored[*at].candidate.rows);
    near
}

/// Computes the lift of stored vectors.
struct Scorer<'s, 'a, Wanted> {
    rows: Rows<'s>,
    chunks: HashMap<i64, &'a Chunk>,
    views: &'s [View<'a>],
    averages: Vec<Average<'s>>,
    vectors: &'s [Vec<f32>],
    is_wanted: Wanted,
}

impl<'s, 'a, Wanted: Fn(Span) -> bool> Scorer<'s, 'a, Wanted> {
    fn new(
        connection: &'s Connection,
        views: &'s [View<'a>],
        vectors: &'s [Vec<f32>],
        is_wanted: Wanted,
    ) -> rusqlite::Result<Self> {
        let chunks = views.iter().flat_map(|view| &view.chunks).map(|chunk| (chunk.id, *chunk));
        let averages = views.iter().map(|view| Average::new(&view.average));
        Ok(Self {
            rows: Rows::of(connection)?,
            chunks: chunks.collect(),
            views,
            averages: averages.collect(),
            vectors,
            is_wanted,
        })
    }

    /// Computes the lift of the vector with the highest estimate; of all vectors if that one is damaged.
    fn score(&mut self, candidate: Candidate) -> rusqlite::Result<Option<Scored<'a>>> {
        match self.best_frame(candidate, (candidate.best, candidate.best))? {
            None if candidate.rows.0 != candidate.rows.1 => self.best_frame(candidate, candidate.rows),
            scored => Ok(scored),
        }
    }

    /// The best frame in these rows of a candidate; `None` if all vectors are damaged.
    fn best_frame(&mut self, candidate: Candidate, rows: (i64, i64)) -> rusqlite::Result<Option<Scored<'a>>> {
        let Self { rows: reader, chunks, views, vectors, is_wanted, .. } = self;
        let Some(chunk) = chunks.get(&chunk_of(candidate.best)).copied() else { return Ok(None) };
        let view = &views[candidate.view];
        let of_centre: Vec<_> = vectors.iter().map(|vector| dot(vector, &chunk.centre)).collect();
        let (mut best, mut difference): (Option<(Span, f32, Vec<f32>)>, _) = (None, Vec::new());
        reader.between(chunk, rows, |_, span, code| {
            if !is_wanted(span) {
                return;
            }
            let similarity = |(vector, of_centre): (&Vec<f32>, &f32)| of_centre + code.dot(vector);
            let similarities: Vec<_> = vectors.iter().zip(&of_centre).map(similarity).collect();
            let lift = view.lift(&similarities);
            if best.as_ref().is_none_or(|(_, most, _)| lift > *most) {
                best = Some((span, lift, similarities));
                difference.clear();
                difference.extend(code.values());
            }
        })?;
        let Some((span, lift, similarities)) = best else { return Ok(None) };
        let vector: Vec<f32> =
            difference.iter().zip(&chunk.centre).map(|(value, centre)| value + centre).collect();
        let (square, of_average) = (dot(&vector, &vector), dot(&vector, &view.average));
        let hit = Hit { source: chunk.source, span: candidate.span, best: span, lift };
        Ok(Some(Scored { hit, chunk, similarities, candidate, vector, square, of_average }))
    }

    fn events(&self, scored: &[Scored<'_>]) -> Vec<Event> {
        let hits: Vec<_> = scored.iter().map(|scored| scored.hit).collect();
        events(&hits, |a, b| {
            let (a, b) = (&scored[a], &scored[b]);
            alike(a, b, &self.averages[a.candidate.view])
        })
    }
}

/// How alike two frames are: the cosine of their differences from the average of the view of `a`. Frames that are nearly equal as a
/// whole are alike, too: what is always there is a part of the average, and the differences are only noise.
///
/// The products of the differences are computed from those of the wholes. They are exact enough: frames with small differences are
/// nearly equal as a whole.
fn alike(a: &Scored<'_>, b: &Scored<'_>, average: &Average<'_>) -> f32 {
    let both = dot(&a.vector, &b.vector);
    let left = a.of_average;
    let right =
        if a.candidate.view == b.candidate.view { b.of_average } else { dot(&b.vector, average.vector) };
    let square = |of_whole: f32, of_average: f32| of_whole - 2.0 * of_average + average.square;
    let cosine = |both: f32, left: f32, right: f32| {
        let length = (left.max(0.0) * right.max(0.0)).sqrt();
        (both / length.max(f32::MIN_POSITIVE)).clamp(-1.0, 1.0)
    };
    let of_differences =
        cosine(both - left - right + average.square, square(a.square, left), square(b.square, right));
    // 0.94 counts as similar, and 0.985 as nearly equal.
    of_differences.max(10.0 * cosine(both, a.square, b.square) - 9.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As [`alike`], from the differences themselves.
    fn expected(a: &[f32], b: &[f32], average: &[f32]) -> f64 {
        let cosine = |a: &[f64], b: &[f64]| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-300)
        };
        let wide = |vector: &[f32]| vector.iter().map(|it| f64::from(*it)).collect::<Vec<_>>();
        let difference = |vector: &[f32]| -> Vec<f64> {
            vector
                .iter()
                .zip(average)
                .map(|(value, average)| f64::from(*value) - f64::from(*average))
                .collect()
        };
        cosine(&difference(a), &difference(b)).max(10.0 * cosine(&wide(a), &wide(b)) - 9.0)
    }

    proptest! {
        #[test]
        fn alike_is_the_cosine_of_differences(
            (average, left, right) in (64_usize..300).prop_flat_map(|length| {
                let vector = move || prop::collection::vec(-1.0_f32..1.0, length);
                (vector(), vector(), vector())
            }),
            amount in 0.0_f32..1.0,
            same in 0.0_f32..1.0,
        ) {
            let unit = |vector: Vec<f32>| -> Vec<f32> {
                let length = dot(&vector, &vector).sqrt().max(1e-6);
                vector.into_iter().map(|value| value / length).collect()
            };
            let average = unit(average);
            let near = |noise: &[f32], other: &[f32]| {
                let mixed = average.iter().zip(noise.iter().zip(other));
                unit(mixed.map(|(value, (noise, other))| value + amount * 0.1 * (noise + same * other)).collect())
            };
            let (a, b) = (near(&left, &right), near(&right, &left));
            let chunk = Chunk {
                id: 1, source: 1, region: 0, span: Span::at(0), next: 0, packed: 0, centre: vec![],
            };
            let average = Average::new(&average);
            let (span, row) = (Span::at(0), 1);
            let scored = |vector: &[f32], view| Scored {
                hit: Hit { source: 1, span, best: span, lift: 0.0 },
                chunk: &chunk,
                similarities: vec![],
                candidate: Candidate { rows: (row, row), best: row, view, span, lift: 0.0, error: 0.0 },
                square: dot(vector, vector),
                // Of another view, it is of another average.
                of_average: if view == 0 { dot(vector, average.vector) } else { 7.0 },
                vector: vector.to_vec(),
            };
            for view in [0, 1] {
                let found = f64::from(alike(&scored(&a, 0), &scored(&b, view), &average));
                let expected = expected(&a, &b, average.vector);
                // What decides is whether it is above a line between 0.4 and 0.85.
                let close = (found - expected).abs() < 0.01 || found > 0.9 && expected > 0.9;
                prop_assert!(close, "{found} {expected}");
            }
        }
    }
}
