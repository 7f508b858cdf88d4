//! Alerts and near misses as one list, the newest first, which a reader can continue where a part of it ended.
//!
//! The order is that of the capture, and of identifiers among entries of the same millisecond. So a part that begins after an entry has
//! every entry behind it exactly once, while newer ones are recorded.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    alerts::{self, StoredAlert},
    filter::Filter,
    near_misses::{self, NearMiss},
};

/// Which entries are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// By source, label and time, and how many.
    pub filter: Filter,
    /// Only entries behind this one.
    pub after: Option<Position>,
    /// Only alerts, or only near misses.
    pub only: Option<EntryKind>,
    /// Only entries without a mark.
    pub unmarked: bool,
}

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A label was raised.
    Alert,
    /// A label was nearly raised.
    NearMiss,
}

/// The place of an entry in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When its frame was captured.
    pub captured_at: Timestamp,
    /// Its identifier.
    pub id: String,
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A label was raised.
    Alert(StoredAlert),
    /// A label was nearly raised.
    NearMiss(NearMiss),
}

impl Entry {
    /// Its place in the list.
    #[must_use]
    pub fn place(&self) -> Position {
        let (captured_at, id) = match self {
            Self::Alert(alert) => (alert.captured_at, &alert.id),
            Self::NearMiss(near_miss) => (near_miss.captured_at, &near_miss.id),
        };
        Position { captured_at, id: id.clone() }
    }
}

/// The newest entries that are asked for, the newest first. Alerts that clear a label are no entries.
///
/// # Errors
/// The file cannot be read.
pub fn newest(connection: &Connection, asked: &Asked) -> rusqlite::Result<Vec<Entry>> {
    let after = asked.after.as_ref().map(|place| &*place.id);
    let mut entries = Vec::new();
    if asked.only != Some(EntryKind::NearMiss) {
        let clauses = asked.clauses(connection, "alerts", &["payload ->> 'state' = 'raised'"])?;
        entries.extend(alerts::select(connection, &clauses, after)?.into_iter().map(Entry::Alert));
    }
    if asked.only != Some(EntryKind::Alert) {
        let clauses = asked.clauses(connection, "near_misses", &[])?;
        entries.extend(near_misses::select(connection, &clauses, after)?.into_iter().map(Entry::NearMiss));
    }
    entries.sort_by_cached_key(|entry| std::cmp::Reverse(entry.place()));
    entries.truncate(asked.filter.limit.map_or(usize::MAX, |limit| limit as usize));
    Ok(entries)
}

/// The entry with this identifier; also an alert that cleared a label.
///
/// # Errors
/// The file cannot be read.
pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Entry>> {
    if let Some(alert) = alerts::find(connection, id)? {
        return Ok(Some(Entry::Alert(alert)));
    }
    Ok(near_misses::find(connection, id)?.map(Entry::NearMiss))
}

impl Asked {
    /// The end of the statement that selects from `table`, which is joined with `marks`. `?1` in it is the identifier of `after`.
    fn clauses(&self, connection: &Connection, table: &str, others: &[&str]) -> rusqlite::Result<String> {
        let mut conditions = self.filter.conditions(connection, table)?;
        conditions.extend(others.iter().map(ToString::to_string));
        if let Some(Position { captured_at, .. }) = &self.after {
            let time = captured_at.as_millisecond();
            conditions.push(format!("{table}.time <= {time} AND ({table}.time < {time} OR {table}.id < ?1)"));
        }
        if self.unmarked {
            conditions.push("marks.is_right IS NULL".to_owned());
        }
        let condition = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
        let limit = self.filter.limit.map_or(-1, i64::from);
        Ok(format!("WHERE {condition} ORDER BY {table}.time DESC, {table}.id DESC LIMIT {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        alert::State,
        history::{
            History,
            marks::{self, Verdict},
            pictures::{FramePicture, PictureRecorder},
            samples::{alert, assessment, at, grey, observation},
            store::name_id,
        },
        observe::Observation,
        policy::HistoryPictures,
    };

    fn record(history: &mut History, source: &str, state: State, number: u128, millisecond: i64) {
        let observation = Observation {
            alerts: vec![alert(source, state, number, millisecond)],
            assessments: vec![assessment(0.83, None)],
            ..observation(source, millisecond, &grey(90))
        };
        let mut pictures = PictureRecorder::new(HistoryPictures::Off);
        let mut frame = FramePicture::of(&observation);
        history
            .write(|transaction| alerts::record(transaction, &observation, &mut pictures, &mut frame))
            .unwrap();
    }

    /// A near miss as the recorder writes it.
    fn record_near_miss(history: &mut History, number: u128, millisecond: i64) {
        let id = Uuid::from_u128(number).to_string();
        let written = history.write(|transaction| {
            let [source, set, label] =
                ["door", "porch", "person"].map(|name| name_id(transaction, name).unwrap());
            transaction.execute(
                "INSERT INTO near_misses
                     (id, source, time, label_set, label, score, threshold, held, nearness, gate)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0.5, 0.6, 0, 0.8, '{\"gate\":\"threshold\"}')",
                (id, source, at(millisecond).as_millisecond(), set, label),
            )
        });
        assert_eq!(written.unwrap(), 1);
    }

    /// The ends of the identifiers of a list.
    fn ends(entries: &[Entry]) -> Vec<u128> {
        entries.iter().map(|entry| entry.place().id.parse::<Uuid>().unwrap().as_u128()).collect()
    }

    #[test]
    fn both_kinds_are_one_list_and_alerts_that_clear_are_not_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        record(&mut history, "door", State::Raised, 1, 0);
        record(&mut history, "door", State::Cleared, 2, 1000);
        record_near_miss(&mut history, 3, 500);
        record(&mut history, "yard", State::Raised, 4, 2000);
        let subject =
            marks::find(history.connection(), "00000000-0000-0000-0000-000000000004").unwrap().remove(0);
        history.write(|transaction| marks::set(transaction, &subject, Verdict::Wrong, at(9))).unwrap();
        let listed = |asked: &Asked| ends(&newest(history.connection(), asked).unwrap());
        let source = Filter { source: Some("door".to_owned()), ..Filter::default() };
        let limited = Filter { limit: Some(2), ..Filter::default() };
        for (asked, expected) in [
            (Asked::default(), &[4, 3, 1][..]),
            (Asked { filter: source, ..Asked::default() }, &[3, 1]),
            (Asked { filter: limited, ..Asked::default() }, &[4, 3]),
            (Asked { only: Some(EntryKind::Alert), ..Asked::default() }, &[4, 1]),
            (Asked { only: Some(EntryKind::NearMiss), ..Asked::default() }, &[3]),
            (Asked { unmarked: true, ..Asked::default() }, &[3, 1]),
        ] {
            assert_eq!(listed(&asked), expected, "{asked:?}");
        }
        let found = |number: u128| find(history.connection(), &Uuid::from_u128(number).to_string()).unwrap();
        assert!(matches!(found(2), Some(Entry::Alert(_))), "also one that cleared");
        assert!(matches!(found(3), Some(Entry::NearMiss(_))));
        assert_eq!(found(9), None);
    }

    #[test]
    fn parts_lose_and_double_nothing_while_entries_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        // Many of the same millisecond, of both kinds.
        for number in 0..40_u128 {
            let millisecond = i64::try_from(number / 8).unwrap();
            if number % 3 == 0 {
                record_near_miss(&mut history, number + 1, millisecond);
            } else {
                record(&mut history, "door", State::Raised, number + 1, millisecond);
            }
        }
        let whole = ends(&newest(history.connection(), &Asked::default()).unwrap());
        for limit in [1, 3, 7] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let filter = Filter { limit: Some(limit), ..Filter::default() };
                let part =
                    newest(history.connection(), &Asked { filter, after, ..Asked::default() }).unwrap();
                let Some(last) = part.last() else { break };
                after = Some(last.place());
                all.extend(ends(&part));
                // A newer one, which is before the first part.
                let number = 1000 * u128::from(limit) + all.len() as u128;
                record(&mut history, "door", State::Raised, number, 60_000);
            }
            assert_eq!(all.iter().filter(|number| **number <= 40).count(), whole.len(), "{limit}");
            let mut once = all.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), all.len(), "none is doubled");
            assert!(all.ends_with(&whole), "{limit}: the same order");
        }
    }
}
