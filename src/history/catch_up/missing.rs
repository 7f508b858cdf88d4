//! Finds the stored pictures that a model has not embedded.

use rusqlite::Connection;

use crate::history::{
    pictures,
    table::known_name_id,
    vectors::{codec::Span, read},
};

/// A day in milliseconds.
const DAY: i64 = 24 * 3_600_000;

/// The identifiers of the pictures at whose time this model has no vectors of their source, `most` at most. The newest day is first; the
/// pictures of a source follow each other within a day, the newest first.
///
/// # Errors
/// The file cannot be read.
pub(super) fn missing(connection: &Connection, model: &str, most: usize) -> rusqlite::Result<Vec<i64>> {
    // One state of the file for all that is read: the writer records pictures and vectors meanwhile.
    let connection = &*connection.unchecked_transaction()?;
    let model = known_name_id(connection, model)?;
    let (mut missing, mut until) = (Vec::new(), i64::MAX);
    while let Some(newest) = pictures::newest_before(connection, until)? {
        let from = newest.div_euclid(DAY).saturating_mul(DAY);
        let to = from.saturating_add(DAY);
        for source in pictures::sources_between(connection, from, to)? {
            let embedded = match model {
                Some(model) => {
                    Spans::new(read::spans(connection, model, source, Span { first: from, last: to })?)
                }
                None => Spans::default(),
            };
            let pictures = pictures::between(connection, source, from, to)?;
            let others = pictures.into_iter().filter(|(_, time)| !embedded.has(*time));
            missing.extend(others.map(|(id, _)| id).take(most - missing.len()));
            if missing.len() >= most {
                return Ok(missing);
            }
        }
        until = from;
    }
    Ok(missing)
}

/// Spans that may overlap.
#[derive(Debug, Default)]
struct Spans {
    /// In the order of their beginnings: the beginning, and the latest end of this span and those before it.
    spans: Vec<(i64, i64)>,
}

impl Spans {
    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable();
        let mut latest = i64::MIN;
        let span = |span: Span| {
            latest = latest.max(span.last);
            (span.first, latest)
        };
        Self { spans: spans.into_iter().map(span).collect() }
    }

    /// Whether a span contains this moment.
    fn has(&self, time: i64) -> bool {
        let before = self.spans.partition_point(|(first, _)| *first <= time);
        before.checked_sub(1).is_some_and(|last| self.spans[last].1 >= time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::history::{History, pictures::store_for_test, vectors::Recorder};

    proptest! {
        #[test]
        fn a_moment_is_in_a_span_or_in_none(
            spans in prop::collection::vec((-50_i64..50, 0_i64..20), 0..20),
            time in -60_i64..80,
        ) {
            let spans: Vec<_> =
                spans.into_iter().map(|(first, length)| Span { first, last: first + length }).collect();
            let expected = spans.iter().any(|span| (span.first..=span.last).contains(&time));
            prop_assert_eq!(Spans::new(spans).has(time), expected);
        }
    }

    #[test]
    fn pictures_without_vectors_of_the_model_are_found_newest_day_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let vector: Arc<[f32]> = [0.6, 0.8].into();
        let stored = history.write(|transaction| {
            let (mut old, mut new) = (Recorder::new("old"), Recorder::new("new"));
            let mut ids = Vec::new();
            for (source, time) in [
                ("door", 1_000),
                ("door", DAY + 1_000),
                ("yard", DAY + 2_000),
                ("door", DAY + 3_000),
                // The models have seen them.
                ("door", DAY + 60_000),
                ("yard", DAY + 60_000),
            ] {
                ids.push(store_for_test(transaction, source, time, vec![7; time as usize % 11]));
                old.record_frame(transaction, &source.into(), time, [(None, &vector)])?;
            }
            // A frame whose picture stayed the same for a minute, and one in a region.
            for time in [DAY + 30_000, DAY + 90_000] {
                new.record_frame(transaction, &"door".into(), time, [(None, &vector)])?;
            }
            new.record_frame(transaction, &"yard".into(), DAY + 60_000, [(Some("gate"), &vector)])?;
            new.flush(transaction)?;
            Ok(ids)
        });
        let stored = stored.unwrap();
        let found = |model, most| missing(history.connection(), model, most).unwrap();
        assert_eq!(found("new", 100), [stored[3], stored[1], stored[2], stored[0]]);
        assert_eq!(found("new", 2), [stored[3], stored[1]]);
        assert!(found("old", 100).is_empty());
        assert_eq!(found("unknown", 100).len(), stored.len());
    }
}
