//! The score of words over time, from the stored vectors of a source.

use rusqlite::Connection;

use super::{
    codec::Span,
    read::{self, Chunk, Rows},
    tables::WHOLE_FRAME,
};
use crate::history::table::known_name_id;

/// The vectors whose scores are computed.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The source.
    pub source: &'a str,
    /// The regions; `None` is the whole frame.
    pub regions: &'a [Option<&'a str>],
    /// The model that made the vectors.
    pub model: &'a str,
    /// The length of its vectors.
    pub dimensions: usize,
    /// Only pictures that were seen at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Only pictures that were seen before this time.
    pub until: Option<i64>,
    /// The most vectors.
    pub most: u64,
}

/// The scores over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The highest score of the regions, where it may change: at the first and the last frame with each picture, in milliseconds since
    /// 1970.
    pub points: Vec<(i64, f32)>,
    /// The number of vectors.
    pub vectors: u64,
    /// The number of stored vectors of the source that other models made.
    pub of_other_models: u64,
}

/// Why there are no scores.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The file cannot be read.
    #[error("cannot read the history")]
    Statement(#[from] rusqlite::Error),
    /// There are more vectors than allowed.
    #[error("there are {vectors} embeddings in this time, and {most} can be scored at once")]
    TooMany {
        /// How many there are, about.
        vectors: u64,
        /// How many are allowed.
        most: u64,
    },
}

/// Calls `score` with each stored vector, in rotated form ([`Rotation`](super::rotation::Rotation)) and of length 1. The result has the
/// scores in the order of time.
///
/// # Errors
/// There are too many vectors, or the file cannot be read.
pub fn series(
    connection: &Connection,
    asked: &Asked<'_>,
    mut score: impl FnMut(&[f32]) -> f32,
) -> Result<Series, SeriesError> {
    // One state of the file for all that is read: the writer packs rows meanwhile.
    let connection = &*connection.unchecked_transaction()?;
    let Some(source) = known_name_id(connection, asked.source)? else { return Ok(Series::default()) };
    let model = known_name_id(connection, asked.model)?;
    let of_other_models = read::vectors_of_other_models(connection, model, asked.dimensions, Some(source))?;
    let Some(model) = model else { return Ok(Series { of_other_models, ..Series::default() }) };
    let chunks = read::chunks(connection, model, asked.dimensions, Some(source))?;
    let is_asked = |chunk: &&Chunk| chunk.span.is_within(asked.since, asked.until);
    let mut regions = Vec::new();
    for region in asked.regions {
        let id = match region {
            None => Some(WHOLE_FRAME),
            Some(name) => known_name_id(connection, name)?,
        };
        let own = chunks.iter().filter(is_asked).filter(|chunk| Some(chunk.region) == id);
        regions.push(own.collect::<Vec<_>>());
    }
    let vectors = regions.iter().flatten().map(|chunk| u64::from(chunk.next)).sum();
    if vectors > asked.most {
        return Err(SeriesError::TooMany { vectors, most: asked.most });
    }
    let (mut scored, mut vector) = (Vec::new(), Vec::new());
    let mut rows = Rows::of(connection)?;
    for chunks in regions {
        let mut spans = Vec::new();
        for chunk in chunks {
            rows.between(chunk, read::rows(chunk), |_, span, code| {
                if span.is_within(asked.since, asked.until) {
                    vector.clear();
                    vector.extend(code.values().zip(&chunk.centre).map(|(value, centre)| value + centre));
                    to_length_1(&mut vector);
                    spans.push(ScoredSpan { span, score: score(&vector) });
                }
            })?;
        }
        scored.push(spans);
    }
    let vectors = scored.iter().map(|spans| spans.len() as u64).sum();
    Ok(Series { points: merged(&scored), vectors, of_other_models })
}

/// Rounding has changed the length a little.
fn to_length_1(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|value| *value /= length);
}

/// The score of a picture, and when it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ScoredSpan {
    span: Span,
    score: f32,
}

/// A picture of a region begins to be seen, or is seen for the last time.
#[derive(Debug, Clone, Copy)]
struct Turn {
    time: i64,
    region: u32,
    /// The number of its span in the region.
    span: u32,
}

/// The highest score of several regions at each time at which one of them begins or ends to show a picture. There are fewer than 2^32
/// spans.
#[expect(clippy::cast_possible_truncation, reason = "the number of spans is limited")]
fn merged(regions: &[Vec<ScoredSpan>]) -> Vec<(i64, f32)> {
    let mut turns = Vec::with_capacity(2 * regions.iter().map(Vec::len).sum::<usize>());
    for (region, spans) in regions.iter().enumerate() {
        for (number, ScoredSpan { span, .. }) in spans.iter().enumerate() {
            let turn = |time| Turn { time, region: region as u32, span: number as u32 };
            turns.push(turn(span.first));
            if span.last > span.first {
                turns.push(turn(span.last));
            }
        }
    }
    turns.sort_by_key(|turn| turn.time);
    let mut shown: Vec<Option<ScoredSpan>> = vec![None; regions.len()];
    let mut points: Vec<(i64, f32)> = Vec::new();
    for at_once in turns.chunk_by(|a, b| a.time == b.time) {
        let time = at_once[0].time;
        for turn in at_once {
            let (region, scored) = (turn.region as usize, regions[turn.region as usize][turn.span as usize]);
            // Where one picture ends and the next one begins at the same time, the next one counts.
            if shown[region].is_none_or(|before| before.span.first <= scored.span.first) {
                shown[region] = Some(scored);
            }
        }
        let is_seen = |scored: &&ScoredSpan| (scored.span.first..=scored.span.last).contains(&time);
        let highest = shown.iter().flatten().filter(is_seen).map(|scored| scored.score).reduce(f32::max);
        points.extend(highest.map(|highest| (time, highest)));
    }
    points
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        classify::score::dot,
        history::{
            History,
            vectors::{Recorder, rotation::Rotation},
        },
    };

    fn spans(all: &[(i64, i64, f32)]) -> Vec<ScoredSpan> {
        let scored = |(first, last, score): &(i64, i64, f32)| ScoredSpan {
            span: Span { first: *first, last: *last },
            score: *score,
        };
        all.iter().map(scored).collect()
    }

    #[test]
    fn the_highest_region_counts_at_each_time() {
        type Case<'c> = (&'c str, &'c [&'c [(i64, i64, f32)]], &'c [(i64, f32)]);
        let cases: &[Case<'_>] = &[
            ("nothing", &[&[], &[]], &[]),
            ("frames", &[&[(1, 1, 0.1), (2, 2, 0.9)]], &[(1, 0.1), (2, 0.9)]),
            ("a picture that stays", &[&[(1, 50, 0.1), (60, 60, 0.2)]], &[(1, 0.1), (50, 0.1), (60, 0.2)]),
            (
                "two regions",
                &[&[(1, 1, 0.1), (2, 2, 0.2)], &[(1, 1, 0.5), (2, 2, 0.1)]],
                &[(1, 0.5), (2, 0.2)],
            ),
            (
                "one changes, the other stays",
                &[&[(1, 9, 0.3)], &[(1, 4, 0.2), (5, 5, 0.6), (6, 9, 0.1)]],
                &[(1, 0.3), (4, 0.3), (5, 0.6), (6, 0.3), (9, 0.3)],
            ),
            ("one has ended", &[&[(1, 2, 0.9)], &[(1, 5, 0.2)]], &[(1, 0.9), (2, 0.9), (5, 0.2)]),
        ];
        for (name, regions, expected) in cases {
            let regions: Vec<_> = regions.iter().map(|region| spans(region)).collect();
            assert_eq!(merged(&regions), *expected, "{name}");
        }
    }

    #[test]
    fn the_scores_are_those_of_the_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let mut recorder = Recorder::new("clip");
        let vector = |number: i64| -> Arc<[f32]> {
            let angle = number as f32 / 100.0;
            [angle.cos(), angle.sin(), 0.0].into()
        };
        history
            .write(|transaction| {
                (0..600).try_for_each(|number| {
                    let (step, gate) = (vector(number), vector(number / 2));
                    let views = [(Some("step"), &step), (Some("gate"), &gate)];
                    recorder.record_frame(transaction, &"door".into(), 1000 * number, views)
                })
            })
            .unwrap();
        let rotation = Rotation::new(3);
        let words = rotation.apply(&[0.0, 1.0, 0.0]);
        let asked = Asked {
            source: "door",
            regions: &[Some("step")],
            model: "clip",
            dimensions: 3,
            since: None,
            until: None,
            most: 1200,
        };
        let found = |asked: Asked<'_>| series(history.connection(), &asked, |vector| dot(vector, &words));
        let all = found(asked).unwrap();
        assert_eq!((all.points.len(), all.vectors, all.of_other_models), (600, 600, 0));
        for (number, (time, score)) in (0_i64..).zip(&all.points) {
            assert_eq!(*time, 1000 * number);
            assert!((score - vector(number)[1]).abs() < 0.01, "{number}: {score}");
        }
        let both = found(Asked { regions: &[Some("step"), Some("gate")], ..asked }).unwrap();
        assert_eq!((both.points.len(), both.vectors), (600, 1200));
        assert!(both.points.iter().zip(&all.points).all(|(both, step)| both.1 >= step.1 - 0.01));
        let part = found(Asked { since: Some(10_000), until: Some(20_000), ..asked }).unwrap();
        assert_eq!((part.vectors, part.points[0].0), (10, 10_000));
        let many = found(Asked { most: 599, ..asked }).unwrap_err();
        assert!(matches!(many, SeriesError::TooMany { vectors: 600, most: 599 }), "{many}");
        assert_eq!(found(Asked { regions: &[None], ..asked }).unwrap().points, []);
        assert_eq!(found(Asked { source: "yard", ..asked }).unwrap(), Series::default());
        let other = found(Asked { model: "siglip", ..asked }).unwrap();
        assert_eq!((other.points.len(), other.of_other_models), (0, 1200));
    }
}
