//! Near misses: the moments that nearly raised a label, with the gate that held it back.
//!
//! `choose` decides what is near and how many are kept, and `episodes` joins near frames to moments; both are pure. This file writes and
//! reads them, and `report` reports them while they are new.

mod choose;
mod episodes;
mod report;

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params_from_iter};
use uuid::Uuid;

use self::{
    choose::{HOUR, Kept, Nearness, Placement, place},
    episodes::{At, Episodes, Key, Moment, Seen, Step},
};
pub use self::{
    choose::{MOST_BELOW, MOST_HELD},
    report::NearMissReporter,
};
use super::{
    alerts::rounded,
    filter::{self, Filter},
    marks::Verdict,
    pictures::{self, FramePicture, PictureRecorder, Reason, SmallPicture},
    table::{Table, TimeColumns, name_id},
};
use crate::{
    judge::{Assessment, Gate},
    observe::Observation,
};

/// The table of near misses. `nearness` is the part of the way to the threshold, and `held` says that a gate held the label back.
pub const TABLE: Table = Table {
    label: Some("label"),
    names: &["label_set", "label", "region"],
    ..Table::new(
        "near_misses",
        "CREATE TABLE IF NOT EXISTS near_misses (
             id TEXT NOT NULL,
             source INTEGER NOT NULL,
             time INTEGER NOT NULL,
             label_set INTEGER NOT NULL,
             label INTEGER NOT NULL,
             region INTEGER,
             score REAL,
             threshold REAL,
             baseline REAL,
             held INTEGER NOT NULL,
             nearness REAL NOT NULL,
             gate TEXT NOT NULL,
             picture INTEGER
         ) STRICT;
         CREATE UNIQUE INDEX IF NOT EXISTS near_misses_by_id ON near_misses (id);
         CREATE INDEX IF NOT EXISTS near_misses_by_time ON near_misses (time);
         CREATE INDEX IF NOT EXISTS near_misses_by_label ON near_misses (source, label_set, label, time);
         CREATE INDEX IF NOT EXISTS near_misses_by_picture ON near_misses (picture)
             WHERE picture IS NOT NULL;",
        TimeColumns::At("time"),
    )
};

/// A near miss of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct NearMiss {
    /// Its identifier, a `UUIDv7`.
    pub id: String,
    /// When its frame was captured.
    pub captured_at: Timestamp,
    /// The name of the source.
    pub source: String,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or of the rule over labels.
    pub label: String,
    /// The region with the score; `None` is the whole frame, or a rule.
    pub region: Option<String>,
    /// The score; `None` for a rule.
    pub score: Option<f64>,
    /// The threshold at that time; `None` for a rule.
    pub threshold: Option<f64>,
    /// The baseline, where one was learnt.
    pub baseline: Option<f64>,
    /// What held the label back.
    pub gate: Gate,
    /// The identifier of its picture: see [`pictures::jpeg`].
    pub picture: Option<i64>,
    /// A person's verdict.
    pub mark: Option<Verdict>,
}

/// Records near misses: in memory while they may still be raised or become nearer.
#[derive(Debug)]
pub(super) struct NearMissRecorder {
    episodes: Episodes<Content>,
}

/// What is stored of a moment, beside its time.
#[derive(Debug, Clone)]
struct Content {
    region: Option<Arc<str>>,
    score: Option<f64>,
    threshold: Option<f64>,
    baseline: Option<f64>,
    gate: Gate,
    picture: Option<Arc<SmallPicture>>,
}

impl NearMissRecorder {
    pub fn new() -> Self {
        Self { episodes: Episodes::new() }
    }

    /// Counts a frame, and writes what is due.
    pub fn record(
        &mut self,
        transaction: &Transaction<'_>,
        observation: &Observation,
        pictures: &mut PictureRecorder,
        frame: &mut FramePicture<'_>,
    ) -> rusqlite::Result<()> {
        let at = At { captured: observation.captured_at, judged: observation.judged_at };
        for assessment in &observation.assessments {
            let seen = match Nearness::of(assessment) {
                _ if assessment.raised => Seen::Raised,
                Some(nearness) => Seen::Near(nearness),
                None => Seen::Far,
            };
            let key = Key {
                source: Arc::clone(&observation.source),
                label_set: Arc::clone(&assessment.label_set),
                label: Arc::clone(&assessment.label),
            };
            let content = |before: Option<&Content>| {
                let picture = pictures.take(frame, Reason::NearMiss);
                // A picture of the same episode is better than none.
                let picture = picture.or_else(|| before?.picture.clone());
                Content::of(assessment, picture)
            };
            for step in self.episodes.see(key.clone(), at, seen, content, Uuid::now_v7) {
                apply(transaction, &key, step)?;
            }
        }
        for (key, step) in self.episodes.settle(observation.judged_at) {
            apply(transaction, &key, step)?;
        }
        Ok(())
    }

    /// Writes what is only in memory.
    pub fn flush(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.episodes.flush().into_iter().try_for_each(|(key, step)| apply(transaction, &key, step))
    }
}

impl Content {
    fn of(assessment: &Assessment, picture: Option<Arc<SmallPicture>>) -> Self {
        let number = |score: f32| score.is_finite().then(|| rounded(score));
        Self {
            region: assessment.region.clone(),
            score: number(assessment.score),
            threshold: assessment.levels.and_then(|levels| number(levels.threshold)),
            baseline: assessment.baseline.and_then(number),
            // Only what a gate holds is near.
            gate: assessment.held_by.clone().unwrap_or(Gate::BelowThreshold),
            picture,
        }
    }
}

/// The identifiers of a label on a source.
struct Ids {
    source: i64,
    label_set: i64,
    label: i64,
}

fn apply(transaction: &Transaction<'_>, key: &Key, step: Step<Content>) -> rusqlite::Result<()> {
    match step {
        Step::Withdraw { id } => delete(transaction, id),
        Step::Write { id, moment } => {
            let ids = Ids {
                source: name_id(transaction, &key.source)?,
                label_set: name_id(transaction, &key.label_set)?,
                label: name_id(transaction, &key.label)?,
            };
            let kept = kept_beside(transaction, &ids, moment.captured)?;
            let Placement::Keep { instead_of } = place(&kept, id, moment.nearness) else { return Ok(()) };
            instead_of.map_or(Ok(()), |farther| delete(transaction, farther))?;
            write(transaction, &ids, id, &moment)
        }
    }
}

/// The near misses of the same hour and label.
fn kept_beside(transaction: &Transaction<'_>, ids: &Ids, time: Timestamp) -> rusqlite::Result<Vec<Kept>> {
    let hour = time.as_millisecond().div_euclid(HOUR) * HOUR;
    let mut statement = transaction.prepare_cached(
        "SELECT id, held, nearness FROM near_misses
         WHERE source = ?1 AND label_set = ?2 AND label = ?3 AND time >= ?4 AND time < ?5 ORDER BY rowid",
    )?;
    let found = statement.query_map((ids.source, ids.label_set, ids.label, hour, hour + HOUR), |row| {
        let id = row.get_ref(0)?.as_str()?.parse().unwrap_or_default();
        Ok(Kept { id, nearness: Nearness { held: row.get(1)?, share: row.get(2)? } })
    })?;
    found.collect()
}

fn write(
    transaction: &Transaction<'_>,
    ids: &Ids,
    id: Uuid,
    moment: &Moment<Content>,
) -> rusqlite::Result<()> {
    let Content { region, score, threshold, baseline, gate, picture } = &moment.content;
    // First the new picture: it may be the one of the version before.
    let picture = picture.as_ref().map(|picture| pictures::store(transaction, picture, false)).transpose()?;
    delete(transaction, id)?;
    let gate =
        serde_json::to_string(gate).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached(
            "INSERT INTO near_misses
                 (id, source, time, label_set, label, region, score, threshold, baseline, held, nearness, gate, picture)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            id.to_string(),
            ids.source,
            moment.captured.as_millisecond(),
            ids.label_set,
            ids.label,
            region.as_ref().map(|region| name_id(transaction, region)).transpose()?,
            score,
            threshold,
            baseline,
            moment.nearness.held,
            moment.nearness.share,
            gate,
            picture,
        ))?;
    Ok(())
}

/// Deletes a near miss, if it is kept, and its picture if no other row has it.
fn delete(transaction: &Transaction<'_>, id: Uuid) -> rusqlite::Result<()> {
    let deleted = transaction
        .prepare_cached("DELETE FROM near_misses WHERE id = ?1 RETURNING picture")?
        .query_row([id.to_string()], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    deleted.flatten().map_or(Ok(()), |picture| pictures::release(transaction, picture))
}

/// The newest near misses of a filter, the newest first.
///
/// # Errors
/// The file cannot be read.
pub fn newest(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<NearMiss>> {
    select(connection, &filter.clauses(connection, "near_misses")?, None)
}

/// The near miss with this identifier.
///
/// # Errors
/// The file cannot be read.
pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<NearMiss>> {
    Ok(select(connection, "WHERE near_misses.id = ?1", Some(id))?.pop())
}

/// The near misses that a statement with this end selects; `?1` in it is `id`.
pub(super) fn select(
    connection: &Connection,
    clauses: &str,
    id: Option<&str>,
) -> rusqlite::Result<Vec<NearMiss>> {
    let mut statement = connection.prepare(&format!(
        "SELECT near_misses.id, near_misses.time, sources.text, sets.text, labels.text, regions.text,
             near_misses.score, near_misses.threshold, baseline, gate, picture, marks.is_right
         FROM near_misses
             JOIN names AS sources ON sources.id = near_misses.source
             JOIN names AS sets ON sets.id = near_misses.label_set
             JOIN names AS labels ON labels.id = near_misses.label
             LEFT JOIN names AS regions ON regions.id = near_misses.region
             LEFT JOIN marks ON marks.target = near_misses.id {clauses}"
    ))?;
    let near_misses = statement.query_map(params_from_iter(id), read)?;
    near_misses.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<NearMiss> {
    let gate = row.get_ref(9)?.as_str()?;
    let gate = serde_json::from_str(gate).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(9, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(NearMiss {
        id: row.get(0)?,
        captured_at: filter::time(row.get(1)?)?,
        source: row.get(2)?,
        label_set: row.get(3)?,
        label: row.get(4)?,
        region: row.get(5)?,
        score: row.get(6)?,
        threshold: row.get(7)?,
        baseline: row.get(8)?,
        gate,
        picture: row.get(10)?,
        mark: row.get::<_, Option<bool>>(11)?.map(Verdict::of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{
            History,
            samples::{assessment, at, grey, observation},
        },
        policy::HistoryPictures,
    };

    fn hold() -> Gate {
        Gate::Hold { seen: 1, frames: 2, of: 2 }
    }

    struct Recorder {
        folder: tempfile::TempDir,
        history: History,
        near_misses: NearMissRecorder,
        pictures: PictureRecorder,
    }

    impl Recorder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let history = History::open(folder.path()).unwrap();
            let pictures = PictureRecorder::new(HistoryPictures::Alerts);
            Self { folder, history, near_misses: NearMissRecorder::new(), pictures }
        }

        /// As after a restart of the service.
        fn restart(&mut self) {
            self.history.write(|transaction| self.near_misses.flush(transaction)).unwrap();
            self.near_misses = NearMissRecorder::new();
        }

        fn frame(&mut self, second: i64, score: f32, held_by: Option<Gate>) {
            let observation = Observation {
                assessments: vec![assessment(score, held_by)],
                ..observation("door", second * 1000, &grey(u8::try_from(second % 200).unwrap()))
            };
            let Self { history, near_misses, pictures, .. } = self;
            let mut frame = FramePicture::of(&observation);
            history
                .write(|transaction| near_misses.record(transaction, &observation, pictures, &mut frame))
                .unwrap();
        }

        fn found(&self) -> Vec<NearMiss> {
            newest(self.history.connection(), &Filter::default()).unwrap()
        }

        fn pictures(&self) -> i64 {
            let count = "SELECT count(*) FROM pictures";
            self.history.connection().query_row(count, [], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn a_near_miss_is_found_with_its_gate_and_picture() {
        let mut recorder = Recorder::new();
        recorder.frame(0, 0.7, Some(hold()));
        recorder.frame(1, 0.9, Some(hold()));
        recorder.frame(2, 0.1, Some(Gate::BelowThreshold));
        assert_eq!(recorder.found(), [], "it may still be raised");
        recorder.restart();
        let [near_miss] = &recorder.found()[..] else { panic!("one") };
        let expected = NearMiss {
            id: near_miss.id.clone(),
            captured_at: at(1000),
            source: "door".to_owned(),
            label_set: "porch".to_owned(),
            label: "person".to_owned(),
            region: None,
            score: Some(0.9),
            threshold: Some(0.6),
            baseline: None,
            gate: hold(),
            picture: near_miss.picture,
            mark: None,
        };
        assert_eq!(*near_miss, expected);
        let picture = near_miss.picture.unwrap();
        assert!(pictures::jpeg(recorder.history.connection(), picture).unwrap().is_some());
        assert!(recorder.folder.path().exists());
    }

    #[test]
    fn a_label_that_is_raised_at_last_was_no_near_miss() {
        let mut recorder = Recorder::new();
        recorder.frame(0, 0.7, Some(hold()));
        recorder.frame(20, 0.8, Some(hold()));
        assert_eq!((recorder.found().len(), recorder.pictures()), (1, 1), "it is written after ten seconds");
        recorder.frame(21, 0.9, None);
        assert_eq!((recorder.found(), recorder.pictures()), (vec![], 0));
        recorder.restart();
        assert_eq!(recorder.found(), []);
    }

    #[test]
    fn an_hour_has_the_nearest_of_all_starts_of_the_service() {
        let mut recorder = Recorder::new();
        // In no order, each after a restart: a moment that is held, and one below the threshold.
        let scores = [0.61, 0.93, 0.75, 0.71, 0.88, 0.65, 0.97, 0.62];
        for (number, score) in (0_i64..).zip(scores) {
            recorder.frame(number * 120, score, Some(hold()));
            recorder.restart();
            recorder.frame(number * 120 + 60, 0.5 + score / 10.0, Some(Gate::BelowThreshold));
            recorder.restart();
        }
        let mut scores: Vec<_> = recorder.found().iter().filter_map(|it| it.score).collect();
        scores.sort_by(f64::total_cmp);
        assert_eq!(scores, [0.597, 0.88, 0.93, 0.97]);
        assert!(recorder.pictures() <= 4, "those of others are deleted");
        recorder.frame(3600, 0.61, Some(hold()));
        recorder.restart();
        assert_eq!(recorder.found().len(), 5, "another hour");
        let of_hour = Filter { until: Some(at(3_599_999)), limit: Some(2), ..Filter::default() };
        assert_eq!(newest(recorder.history.connection(), &of_hour).unwrap().len(), 2);
    }
}
