//! Marks: a person's verdict on an alert, a near miss, or a moment of a label on a source.
//!
//! *Right* says that the label was in view, and *wrong* that it was not, whatever the service did. So marks are truth data: an alert
//! that is wrong was a false one, and a near miss that is right was a missed one.
//!
//! A mark contains everything that is needed of what it marks. It survives the picture and the age of the alert, and is deleted only by
//! [`undo`], or when its moment is to be forgotten.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction};

use super::{
    filter::{self, Filter},
    table::{Table, TimeColumns, known_name_id, name_id},
};
pub use crate::suggest::AROUND;

/// The table of marks. `target` is the identifier of an alert or a near miss; a moment has none.
pub const TABLE: Table = Table {
    label: Some("label"),
    names: &["label_set", "label"],
    permanent: true,
    ..Table::new(
        "marks",
        "CREATE TABLE IF NOT EXISTS marks (
             source INTEGER NOT NULL,
             time INTEGER NOT NULL,
             label_set INTEGER NOT NULL,
             label INTEGER NOT NULL,
             kind TEXT NOT NULL,
             target TEXT,
             score REAL,
             threshold REAL,
             is_right INTEGER NOT NULL,
             marked_at INTEGER NOT NULL
         ) STRICT;
         CREATE INDEX IF NOT EXISTS marks_by_time ON marks (time);
         CREATE UNIQUE INDEX IF NOT EXISTS marks_by_target ON marks (target) WHERE target IS NOT NULL;
         CREATE UNIQUE INDEX IF NOT EXISTS marks_by_moment ON marks (source, label_set, label, time)
             WHERE target IS NULL;",
        TimeColumns::At("time"),
    )
};

/// The shortest end of an identifier that is searched.
pub const SHORTEST_ID: usize = 6;

/// A person's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The label was in view.
    Right,
    /// The label was not in view.
    Wrong,
}

impl Verdict {
    /// The verdict with this truth.
    #[must_use]
    pub fn of(is_right: bool) -> Self {
        if is_right { Self::Right } else { Self::Wrong }
    }

    /// The word for people and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
        }
    }
}

/// What kind of entry is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// An alert.
    Alert,
    /// A near miss.
    NearMiss,
    /// A moment of a label on a source.
    Moment,
}

impl SubjectKind {
    const ALL: [Self; 3] = [Self::Alert, Self::NearMiss, Self::Moment];

    /// The word in the file and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::NearMiss => "near_miss",
            Self::Moment => "moment",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What is marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// What kind of entry it is.
    pub kind: SubjectKind,
    /// The identifier of the alert or the near miss.
    pub id: Option<String>,
    /// The name of the source.
    pub source: String,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label.
    pub label: String,
    /// When the frame was captured.
    pub time: Timestamp,
    /// The score, if it is known; a rule has none.
    pub score: Option<f64>,
    /// The threshold at that time, if it is known.
    pub threshold: Option<f64>,
}

/// A mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What is marked.
    pub subject: Subject,
    /// The verdict.
    pub verdict: Verdict,
    /// When it was given.
    pub marked_at: Timestamp,
}

/// The names of a row with `source`, `label_set` and `label`.
const NAMES: &str =
    "(SELECT text FROM names WHERE names.id = source), (SELECT text FROM names WHERE names.id = label_set),
    (SELECT text FROM names WHERE names.id = label)";

/// The alert that raised what the alert `cleared` cleared; the alert itself, if it raised a label.
const RAISED: &str = "(SELECT rowid FROM alerts
    WHERE source = cleared.source AND label_set = cleared.label_set AND label = cleared.label
        AND rowid <= cleared.rowid AND payload ->> 'state' = 'raised'
    ORDER BY rowid DESC LIMIT 1)";

/// The alerts and near misses with this identifier, or with one that ends so: at most two, since more than one is too many. Of a
/// label that was cleared, the alert that raised it is found. What is marked is found even if it was deleted.
///
/// # Errors
/// The file cannot be read.
pub fn find(connection: &Connection, typed: &str) -> rusqlite::Result<Vec<Subject>> {
    let typed = typed.to_ascii_lowercase();
    if typed.len() < SHORTEST_ID || !typed.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-') {
        return Ok(Vec::new());
    }
    // The inner selections read an index only.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT 'alert', id, {NAMES}, time, payload ->> 'score', payload ->> 'threshold' FROM alerts
             WHERE rowid IN (SELECT coalesce({RAISED}, cleared.rowid) FROM alerts AS cleared WHERE id LIKE ?1)
         UNION ALL SELECT 'near_miss', id, {NAMES}, time, score, threshold FROM near_misses
             WHERE rowid IN (SELECT rowid FROM near_misses WHERE id LIKE ?1)
         UNION ALL SELECT kind, target, {NAMES}, time, score, threshold FROM marks
             WHERE target LIKE ?1 AND NOT EXISTS (SELECT 1 FROM alerts WHERE id = target)
             AND NOT EXISTS (SELECT 1 FROM near_misses WHERE id = target)
         LIMIT 2"
    ))?;
    let subjects = statement.query_map([format!("%{typed}")], subject)?;
    subjects.collect()
}

/// The label sets in which the history has alerts, near misses or marks of a label on a source.
///
/// # Errors
/// The file cannot be read.
pub fn label_sets(connection: &Connection, source: &str, label: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT text FROM names WHERE id IN (
             SELECT label_set FROM alerts WHERE source = ?1 AND label = ?2
             UNION SELECT label_set FROM near_misses WHERE source = ?1 AND label = ?2
             UNION SELECT label_set FROM marks WHERE source = ?1 AND label = ?2) ORDER BY text",
    )?;
    let ids = (known_name_id(connection, source)?, known_name_id(connection, label)?);
    let sets = statement.query_map(ids, |row| row.get(0))?;
    sets.collect()
}

/// Marks something. An earlier mark of the same is replaced.
///
/// # Errors
/// The disk does not work.
pub fn set(
    transaction: &Transaction<'_>,
    subject: &Subject,
    verdict: Verdict,
    now: Timestamp,
) -> rusqlite::Result<()> {
    undo(transaction, subject)?;
    let [source, label_set, label] = names(transaction, subject)?;
    transaction
        .prepare_cached(
            "INSERT INTO marks
                 (source, time, label_set, label, kind, target, score, threshold, is_right, marked_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            source,
            subject.time.as_millisecond(),
            label_set,
            label,
            subject.kind.word(),
            &subject.id,
            subject.score,
            subject.threshold,
            verdict == Verdict::Right,
            now.as_millisecond(),
        ))?;
    Ok(())
}

/// Removes a mark, and returns whether there was one.
///
/// # Errors
/// The disk does not work.
pub fn undo(transaction: &Transaction<'_>, subject: &Subject) -> rusqlite::Result<bool> {
    let removed = match &subject.id {
        Some(id) => transaction.prepare_cached("DELETE FROM marks WHERE target = ?1")?.execute([id])?,
        None => {
            let [source, label_set, label] = names(transaction, subject)?;
            transaction
                .prepare_cached(
                    "DELETE FROM marks WHERE target IS NULL
                     AND source = ?1 AND label_set = ?2 AND label = ?3 AND time = ?4",
                )?
                .execute((source, label_set, label, subject.time.as_millisecond()))?
        }
    };
    Ok(removed > 0)
}

fn names(transaction: &Transaction<'_>, subject: &Subject) -> rusqlite::Result<[i64; 3]> {
    let id = |name: &str| name_id(transaction, name);
    Ok([id(&subject.source)?, id(&subject.label_set)?, id(&subject.label)?])
}

/// The newest marks of a filter, by the times of what is marked, the newest first.
///
/// # Errors
/// The file cannot be read.
pub fn newest(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Mark>> {
    let clauses = filter.clauses(connection, "marks")?;
    let mut statement = connection.prepare(&format!(
        "SELECT kind, target, {NAMES}, time, score, threshold, is_right, marked_at FROM marks {clauses}"
    ))?;
    let marks = statement.query_map([], |row| {
        let (verdict, marked_at) = (Verdict::of(row.get(8)?), filter::time(row.get(9)?)?);
        Ok(Mark { subject: subject(row)?, verdict, marked_at })
    })?;
    marks.collect()
}

fn subject(row: &Row<'_>) -> rusqlite::Result<Subject> {
    Ok(Subject {
        kind: SubjectKind::of(row.get_ref(0)?.as_str()?).unwrap_or(SubjectKind::Moment),
        id: row.get(1)?,
        source: row.get(2)?,
        label_set: row.get(3)?,
        label: row.get(4)?,
        time: filter::time(row.get(5)?)?,
        score: row.get(6)?,
        threshold: row.get(7)?,
    })
}

/// The marks of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label.
    pub label: String,
    /// How many say that it was in view.
    pub right: u64,
    /// How many say that it was not.
    pub wrong: u64,
}

/// The number of marks of each label, by label set and label. The limit of the filter has no effect.
///
/// # Errors
/// The file cannot be read.
pub fn counts(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Count>> {
    let clauses = Filter { limit: None, ..filter.clone() }.clauses(connection, "marks")?;
    let mut statement = connection.prepare(&format!(
        "SELECT (SELECT text FROM names WHERE id = label_set) AS of_set,
             (SELECT text FROM names WHERE id = label) AS of_label, sum(is_right), sum(NOT is_right)
         FROM (SELECT * FROM marks {clauses}) GROUP BY label_set, label ORDER BY of_set, of_label"
    ))?;
    let counts = statement.query_map([], |row| {
        Ok(Count { label_set: row.get(0)?, label: row.get(1)?, right: row.get(2)?, wrong: row.get(3)? })
    })?;
    counts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::State,
        history::{
            History, alerts,
            pictures::{FramePicture, PictureRecorder},
            samples::{alert, assessment, at, grey, observation},
        },
        observe::Observation,
        policy::HistoryPictures,
    };

    /// A history with an alert of `person` on `door`, and its identifier.
    fn with_alert(folder: &std::path::Path) -> (History, String) {
        let mut history = History::open(folder).unwrap();
        let alert = alert("door", State::Raised, 0x0193_40a2_7b1c_7000_8000_0000_00ab_cdef, 0);
        let id = alert.id.to_string();
        let observation = Observation {
            alerts: vec![alert],
            assessments: vec![assessment(0.83, None)],
            ..observation("door", 0, &grey(90))
        };
        let mut pictures = PictureRecorder::new(HistoryPictures::Off);
        let mut frame = FramePicture::of(&observation);
        history
            .write(|transaction| alerts::record(transaction, &observation, &mut pictures, &mut frame))
            .unwrap();
        (history, id)
    }

    fn moment(label: &str, millisecond: i64) -> Subject {
        Subject {
            kind: SubjectKind::Moment,
            id: None,
            source: "door".to_owned(),
            label_set: "porch".to_owned(),
            label: label.to_owned(),
            time: at(millisecond),
            score: None,
            threshold: None,
        }
    }

    fn mark(history: &mut History, subject: &Subject, verdict: Verdict) {
        history.write(|transaction| set(transaction, subject, verdict, at(9))).unwrap();
    }

    #[test]
    fn an_alert_is_found_by_its_identifier_or_the_end_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (history, id) = with_alert(folder.path());
        let found = |typed: &str| find(history.connection(), typed).unwrap();
        let subject = Subject {
            kind: SubjectKind::Alert,
            id: Some(id.clone()),
            score: Some(0.83),
            threshold: Some(0.6),
            ..moment("person", 0)
        };
        for typed in [&*id, &id.to_uppercase(), "00abcdef", "abcdef", "8000-000000abcdef"] {
            assert_eq!(found(typed), std::slice::from_ref(&subject), "{typed}");
        }
        for typed in ["", "bcdef", "abcde0", "%", "019340a2", "0193-a", "' OR 1"] {
            assert_eq!(found(typed), [], "{typed}");
        }
    }

    #[test]
    fn of_a_label_that_was_cleared_the_alert_that_raised_it_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, raised) = with_alert(folder.path());
        let cleared = alert("door", State::Cleared, 0x0193_40a2_7b1c_7000_8000_0000_0012_3456, 60_000);
        let observation = Observation {
            alerts: vec![cleared],
            assessments: vec![assessment(0.2, None)],
            ..observation("door", 60_000, &grey(90))
        };
        let mut pictures = PictureRecorder::new(HistoryPictures::Off);
        let mut frame = FramePicture::of(&observation);
        history
            .write(|transaction| alerts::record(transaction, &observation, &mut pictures, &mut frame))
            .unwrap();
        let found = find(history.connection(), "123456").unwrap();
        assert_eq!(found.iter().map(|it| it.id.as_deref()).collect::<Vec<_>>(), [Some(&*raised)]);
    }

    #[test]
    fn a_mark_replaces_the_one_before_and_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, id) = with_alert(folder.path());
        let subject = find(history.connection(), &id).unwrap().remove(0);
        mark(&mut history, &subject, Verdict::Right);
        mark(&mut history, &subject, Verdict::Wrong);
        let marks = newest(history.connection(), &Filter::default()).unwrap();
        let expected = Mark { subject: subject.clone(), verdict: Verdict::Wrong, marked_at: at(9) };
        assert_eq!(marks, [expected]);
        let stored = alerts::newest(history.connection(), &Filter::default()).unwrap();
        assert_eq!(stored[0].mark, Some(Verdict::Wrong));

        for expected in [true, false] {
            assert_eq!(history.write(|transaction| undo(transaction, &subject)).unwrap(), expected);
        }
        assert_eq!(newest(history.connection(), &Filter::default()).unwrap(), []);
    }

    #[test]
    fn a_mark_survives_what_it_marks() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, id) = with_alert(folder.path());
        let subject = find(history.connection(), &id).unwrap().remove(0);
        mark(&mut history, &subject, Verdict::Right);
        history.write(|transaction| transaction.execute("DELETE FROM alerts", [])).unwrap();
        let marks = newest(history.connection(), &Filter::default()).unwrap();
        assert_eq!(marks[0].subject, subject);
        assert_eq!(
            find(history.connection(), &id).unwrap(),
            std::slice::from_ref(&subject),
            "it can be undone"
        );
        assert!(history.write(|transaction| undo(transaction, &subject)).unwrap());
        assert_eq!(find(history.connection(), &id).unwrap(), []);
    }

    #[test]
    fn moments_are_marked_and_counted_by_label() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let verdicts = [
            ("person", 0, Verdict::Right),
            ("person", 0, Verdict::Wrong),
            ("person", 1, Verdict::Right),
            ("package", 0, Verdict::Right),
            ("person", 7_200_000, Verdict::Right),
        ];
        for (label, millisecond, verdict) in verdicts {
            mark(&mut history, &moment(label, millisecond), verdict);
        }
        let counts = |filter: &Filter| {
            let counts = counts(history.connection(), filter).unwrap();
            let shown =
                counts.iter().map(|it| format!("{}/{} {} {}", it.label_set, it.label, it.right, it.wrong));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(counts(&Filter::default()), ["porch/package 1 0", "porch/person 2 1"]);
        let late = Filter { since: Some(at(1)), limit: Some(1), ..Filter::default() };
        assert_eq!(counts(&late), ["porch/person 2 0"]);
        let other = Filter { source: Some("yard".to_owned()), ..Filter::default() };
        assert_eq!(counts(&other), Vec::<String>::new());
        let found = newest(history.connection(), &Filter { limit: Some(2), ..Filter::default() }).unwrap();
        let times: Vec<_> = found.iter().map(|mark| mark.subject.time).collect();
        assert_eq!(times, [at(7_200_000), at(1)]);
        assert!(found.iter().all(|mark| mark.subject.kind == SubjectKind::Moment));
    }
}
