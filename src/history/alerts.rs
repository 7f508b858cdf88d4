//! Every alert: its published JSON, the levels and the reason, and the picture of its frame.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params_from_iter};
use serde_json::Value;

use super::{
    filter::{self, Filter},
    marks::Verdict,
    pictures::{self, FramePicture, PictureRecorder, Reason},
    table::{Selection, Table, TimeColumns, known_name_id, name_id, name_text},
};
use crate::{
    alert::{Alert, State},
    judge::Assessment,
    observe::Observation,
};

/// The table of alerts. The time is that of the frame.
pub const TABLE: Table = Table {
    label: Some("label"),
    names: &["label_set", "label"],
    forget: Some(forget),
    ..Table::new(
        "alerts",
        "CREATE TABLE IF NOT EXISTS alerts (
             id TEXT NOT NULL,
             source INTEGER NOT NULL,
             time INTEGER NOT NULL,
             label_set INTEGER NOT NULL,
             label INTEGER NOT NULL,
             clear_below REAL,
             reason TEXT NOT NULL,
             payload TEXT NOT NULL,
             picture INTEGER
         ) STRICT;
         CREATE UNIQUE INDEX IF NOT EXISTS alerts_by_id ON alerts (id);
         CREATE INDEX IF NOT EXISTS alerts_by_time ON alerts (time);
         CREATE INDEX IF NOT EXISTS alerts_by_source ON alerts (source, time);
         CREATE INDEX IF NOT EXISTS alerts_by_picture ON alerts (picture) WHERE picture IS NOT NULL;",
        TimeColumns::At("time"),
    )
};

/// An alert of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// Its identifier, a `UUIDv7`.
    pub id: String,
    /// When its frame was captured; if no frame caused it, when the label was cleared.
    pub captured_at: Timestamp,
    /// The JSON that was published.
    pub payload: String,
    /// The level below which the label was cleared, or would have been; `None` for a rule.
    pub clear_below: Option<f64>,
    /// Why it was raised or cleared, for people.
    pub reason: String,
    /// The identifier of its picture: see [`pictures::jpeg`].
    pub picture: Option<i64>,
    /// A person's verdict.
    pub mark: Option<Verdict>,
}

/// Records the alerts of a frame.
pub(super) fn record(
    transaction: &Transaction<'_>,
    observation: &Observation,
    pictures: &mut PictureRecorder,
    frame: &mut FramePicture<'_>,
) -> rusqlite::Result<()> {
    if observation.alerts.is_empty() {
        return Ok(());
    }
    let picture = pictures.take(frame, Reason::Alert);
    let picture = picture.map(|picture| pictures::store(transaction, &picture, false)).transpose()?;
    for alert in &observation.alerts {
        let of_alert = |it: &&Assessment| it.label_set == alert.label_set && it.label == alert.label;
        let assessment = observation.assessments.iter().find(of_alert);
        write(transaction, alert, alert.frame.captured_at, assessment, picture)?;
    }
    Ok(())
}

/// Records alerts that no frame caused. They show the frame that raised the label, so their time is their own.
pub(super) fn record_without_frame(transaction: &Transaction<'_>, alerts: &[Alert]) -> rusqlite::Result<()> {
    alerts.iter().try_for_each(|alert| write(transaction, alert, alert.time, None, None))
}

fn write(
    transaction: &Transaction<'_>,
    alert: &Alert,
    time: Timestamp,
    assessment: Option<&Assessment>,
    picture: Option<i64>,
) -> rusqlite::Result<()> {
    let [source, label_set, label] = [&alert.source, &alert.label_set, &alert.label];
    let clear_below = assessment.and_then(|it| it.levels).map(|levels| rounded(levels.clear_below));
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO alerts
                 (id, source, time, label_set, label, clear_below, reason, payload, picture)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            alert.id.to_string(),
            name_id(transaction, source)?,
            time.as_millisecond(),
            name_id(transaction, label_set)?,
            name_id(transaction, label)?,
            clear_below,
            reason(alert, assessment),
            alert.to_json(),
            picture,
        ))?;
    Ok(())
}

/// Why an alert was raised or cleared: the level that its score crossed, and the gates that let it through.
fn reason(alert: &Alert, assessment: Option<&Assessment>) -> String {
    let clear_below = assessment.and_then(|it| it.levels).map_or(f32::NAN, |levels| levels.clear_below);
    let what = match (alert.state, &alert.when) {
        (State::Raised, Some(when)) => format!("the condition is met: {when}"),
        (State::Cleared, Some(when)) => format!("the condition is no longer met: {when}"),
        (State::Raised, None) => {
            let over = alert.baseline.map_or(String::new(), |baseline| {
                format!(", a rise of {:.2} over the baseline {baseline:.2}", alert.threshold - baseline)
            });
            format!("score {:.2}, threshold {:.2}{over}", alert.score, alert.threshold)
        }
        (State::Cleared, None) if clear_below.is_nan() => format!("score {:.2}", alert.score),
        (State::Cleared, None) => format!("score {:.2}, cleared below {clear_below:.2}", alert.score),
    };
    let passed = assessment.filter(|_| alert.state == State::Raised).map(|it| it.passed);
    let passed: Vec<_> = passed.into_iter().flat_map(|gates| gates.iter().map(|gate| gate.word())).collect();
    if passed.is_empty() { what } else { format!("{what}; passed: {}", passed.join(", ")) }
}

/// As alerts are published: six decimals.
pub(super) fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e6).round() / 1e6
}

/// The newest alerts of a filter, the newest first.
///
/// # Errors
/// The file cannot be read.
pub fn newest(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<StoredAlert>> {
    select(connection, &filter.clauses(connection, "alerts")?, None)
}

/// The alert with this identifier.
///
/// # Errors
/// The file cannot be read.
pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<StoredAlert>> {
    Ok(select(connection, "WHERE alerts.id = ?1", Some(id))?.pop())
}

/// The alerts that a statement with this end selects; `?1` in it is `id`.
pub(super) fn select(
    connection: &Connection,
    clauses: &str,
    id: Option<&str>,
) -> rusqlite::Result<Vec<StoredAlert>> {
    let mut statement = connection.prepare(&format!(
        "SELECT alerts.time, payload, clear_below, reason, picture, marks.is_right, alerts.id
         FROM alerts LEFT JOIN marks ON marks.target = alerts.id {clauses}"
    ))?;
    let alerts = statement.query_map(params_from_iter(id), read)?;
    alerts.collect()
}

/// The identifier and the picture of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEntry {
    /// The identifier.
    pub id: String,
    /// The identifier of its picture.
    pub picture: Option<i64>,
}

/// The alert that raised a label at this moment; `None` if there is none (any more).
///
/// # Errors
/// The file cannot be read.
pub fn raised_at(
    connection: &Connection,
    [source, label_set, label]: [&str; 3],
    moment: Timestamp,
) -> rusqlite::Result<Option<AlertEntry>> {
    let known = |name| known_name_id(connection, name);
    let (Some(source), Some(label_set), Some(label)) = (known(source)?, known(label_set)?, known(label)?)
    else {
        return Ok(None);
    };
    let mut select = connection.prepare_cached(
        "SELECT id, picture FROM alerts WHERE source = ?1 AND time = ?2 AND label_set = ?3 AND label = ?4
         AND payload ->> 'state' = 'raised' LIMIT 1",
    )?;
    let entry = |row: &Row<'_>| Ok(AlertEntry { id: row.get(0)?, picture: row.get(1)? });
    select.query_row((source, moment.as_millisecond(), label_set, label), entry).optional()
}

/// When the label that this alert raised was cleared; `None` if it is still raised, or if that is not stored.
///
/// # Errors
/// The file cannot be read.
pub fn cleared_at(connection: &Connection, id: &str) -> rusqlite::Result<Option<Timestamp>> {
    let mut next = connection.prepare_cached(
        "SELECT CASE WHEN next.payload ->> 'state' = 'cleared' THEN next.time END
         FROM alerts AS raised JOIN alerts AS next ON next.source = raised.source AND next.time >= raised.time
         WHERE raised.id = ?1 AND next.rowid > raised.rowid
             AND next.label_set = raised.label_set AND next.label = raised.label
         ORDER BY next.time, next.rowid LIMIT 1",
    )?;
    let time = next.query_row([id], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten();
    time.map(filter::time).transpose()
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    Ok(StoredAlert {
        captured_at: filter::time(row.get(0)?)?,
        payload: row.get(1)?,
        clear_below: row.get(2)?,
        reason: row.get(3)?,
        picture: row.get(4)?,
        mark: row.get::<_, Option<bool>>(5)?.map(Verdict::of),
        id: row.get(6)?,
    })
}

/// Deletes the alerts of a selection. Of one label: its alerts, and its scores in the alerts of other labels.
fn forget(transaction: &Transaction<'_>, selection: &Selection) -> rusqlite::Result<u64> {
    let Selection { source, from, to, label } = *selection;
    let Some(label) = label else {
        let all = "DELETE FROM alerts WHERE source = ?1 AND time BETWEEN ?2 AND ?3";
        return Ok(transaction.execute(all, (source, from, to))? as u64);
    };
    let own = "DELETE FROM alerts WHERE source = ?1 AND time BETWEEN ?2 AND ?3 AND label = ?4";
    let mut forgotten = transaction.execute(own, (source, from, to, label))? as u64;
    let name = name_text(transaction, label)?;
    let mut others = transaction
        .prepare("SELECT rowid, payload FROM alerts WHERE source = ?1 AND time BETWEEN ?2 AND ?3")?;
    let others = others.query_map((source, from, to), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let others: Vec<(i64, String)> = others.collect::<rusqlite::Result<_>>()?;
    for (row, payload) in others {
        if let Some(payload) = without_score(&payload, &name) {
            transaction.execute("UPDATE alerts SET payload = ?2 WHERE rowid = ?1", (row, payload))?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// The JSON of an alert without the scores of this label; `None` if it has none. The alert of a rule names labels of other label sets
/// `set/label`.
fn without_score(payload: &str, label: &str) -> Option<String> {
    let mut alert: Value = serde_json::from_str(payload).ok()?;
    let scores = alert.get_mut("scores")?.as_object_mut()?;
    let before = scores.len();
    scores.retain(|name, _| name != label && name.split_once('/').is_none_or(|(_, of_set)| of_set != label));
    (scores.len() < before).then(|| alert.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{
            History,
            samples::{alert, assessment, at, grey, observation},
        },
        policy::HistoryPictures,
        trigger::GateKind,
    };

    fn record_all(history: &mut History, observations: &[Observation]) {
        let mut pictures = PictureRecorder::new(HistoryPictures::Alerts);
        for observation in observations {
            let mut frame = FramePicture::of(observation);
            history.write(|transaction| record(transaction, observation, &mut pictures, &mut frame)).unwrap();
        }
    }

    fn raised_and_cleared(source: &str, number: u128, millisecond: i64) -> [Observation; 2] {
        let frame = |state, number, millisecond, score| Observation {
            alerts: vec![alert(source, state, number, millisecond)],
            assessments: vec![assessment(score, None)],
            ..observation(source, millisecond, &grey(90))
        };
        [
            frame(State::Raised, number, millisecond, 0.83),
            frame(State::Cleared, number + 1, millisecond + 60_000, 0.2),
        ]
    }

    #[test]
    fn alerts_are_found_again_with_everything() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let frames = raised_and_cleared("Front Door", 1, 0);
        record_all(&mut history, &frames);
        record_all(&mut history, &frames);
        let found = newest(history.connection(), &Filter::default()).unwrap();
        let [cleared, raised] = &found[..] else { panic!("each is stored once: {found:?}") };
        assert_eq!(raised.payload, frames[0].alerts[0].to_json());
        assert_eq!((raised.captured_at, cleared.captured_at), (at(0), at(60_000)));
        let cleared_at = |alert: &StoredAlert| cleared_at(history.connection(), &alert.id).unwrap();
        assert_eq!((cleared_at(raised), cleared_at(cleared)), (Some(at(60_000)), None));
        assert_eq!(find(history.connection(), &raised.id).unwrap().as_ref(), Some(raised));
        assert_eq!(find(history.connection(), "' OR 1").unwrap(), None);
        assert_eq!(
            (raised.clear_below, &*raised.reason),
            (Some(0.4), "score 0.83, threshold 0.60; passed: threshold")
        );
        assert_eq!(cleared.reason, "score 0.83, cleared below 0.40");
        let jpeg = pictures::jpeg(history.connection(), raised.picture.unwrap()).unwrap().unwrap();
        assert!(jpeg.starts_with(&[0xFF, 0xD8]));
        assert_eq!(raised.mark, None);
        let entry = |names, millisecond| raised_at(history.connection(), names, at(millisecond)).unwrap();
        let (front, back) = (["Front Door", "porch", "person"], ["back", "porch", "person"]);
        let expected = AlertEntry { id: frames[0].alerts[0].id.to_string(), picture: raised.picture };
        assert_eq!(entry(front, 0), Some(expected));
        assert_eq!((entry(front, 60_000), entry(front, 1), entry(back, 0)), (None, None, None));
    }

    #[test]
    fn alerts_without_a_frame_have_their_own_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let cleared = Alert { time: at(90_000), ..alert("door", State::Cleared, 7, 0) };
        history.write(|transaction| record_without_frame(transaction, &[cleared])).unwrap();
        let found = newest(history.connection(), &Filter::default()).unwrap();
        assert_eq!(
            (found[0].captured_at, found[0].picture, &*found[0].reason),
            (at(90_000), None, "score 0.83")
        );
    }

    #[test]
    fn filters_select_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        for (number, source) in ["Front Door", "back", "Front Door"].into_iter().enumerate() {
            let millisecond = number as i64 * 3_600_000;
            record_all(&mut history, &raised_and_cleared(source, 10 * (number as u128 + 1), millisecond));
        }
        let times = |filter: Filter| {
            let found = newest(history.connection(), &filter).unwrap();
            found.iter().map(|it| it.captured_at.duration_since(at(0)).as_mins()).collect::<Vec<_>>()
        };
        let source = |name: &str| Filter { source: Some(name.to_owned()), ..Filter::default() };
        let label = |name: &str| Filter { label: Some(name.to_owned()), ..Filter::default() };
        assert_eq!(times(Filter::default()), [121, 120, 61, 60, 1, 0]);
        assert_eq!(times(Filter { limit: Some(2), ..Filter::default() }), [121, 120]);
        assert_eq!(times(source("front-door")), Vec::<i64>::new());
        assert_eq!(times(source("front door")), [121, 120, 1, 0]);
        assert_eq!(times(source("garage")), Vec::<i64>::new());
        assert_eq!(times(label("porch/person")).len(), 6);
        assert_eq!(times(label("yard/person")), Vec::<i64>::new());
        let (since, until) = (Some(at(60_000)), Some(at(3_600_000)));
        assert_eq!(times(Filter { since, until, ..Filter::default() }), [60, 1]);
        assert_eq!(times(Filter { since, ..source("Front Door") }), [121, 120, 1]);
    }

    #[test]
    fn a_label_is_forgotten_in_the_alerts_of_others_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        record_all(&mut history, &raised_and_cleared("door", 1, 0));
        let forgotten = |history: &mut History, label: Option<&str>| {
            let forgotten = history.write(|transaction| {
                let source = name_id(transaction, "door")?;
                let label = label.map(|label| name_id(transaction, label)).transpose()?;
                let (from, to) = (at(0).as_millisecond(), at(60_000).as_millisecond());
                forget(transaction, &Selection { source, from, to, label })
            });
            forgotten.unwrap()
        };
        let scores = |history: &History| {
            let found = newest(history.connection(), &Filter::default()).unwrap();
            let scores = found
                .iter()
                .map(|it| serde_json::from_str::<Value>(&it.payload).unwrap()["scores"].to_string());
            scores.collect::<Vec<_>>()
        };
        assert_eq!(forgotten(&mut history, Some("package")), 2);
        assert_eq!(scores(&history), [r#"{"person":0.83,"background":0.15}"#; 2]);
        assert_eq!(forgotten(&mut history, Some("package")), 0);
        assert_eq!((forgotten(&mut history, Some("person")), scores(&history).len()), (2, 0));
        record_all(&mut history, &raised_and_cleared("door", 1, 0));
        assert_eq!((forgotten(&mut history, None), scores(&history).len()), (2, 0));
        let of_rule = r#"{"scores":{"dog":0.1,"porch/person":0.9}}"#;
        assert_eq!(without_score(of_rule, "person").as_deref(), Some(r#"{"scores":{"dog":0.1}}"#));
    }

    #[test]
    fn a_table_of_reasons() {
        let raised = || alert("door", State::Raised, 1, 0);
        let cleared = || alert("door", State::Cleared, 1, 0);
        let rule = |alert: Alert| Alert { when: Some("person and not dog".into()), score: f32::NAN, ..alert };
        let through = |gates: &[GateKind]| Assessment {
            passed: gates.iter().copied().collect(),
            ..assessment(0.83, None)
        };
        let cases = [
            (raised(), None, "score 0.83, threshold 0.60"),
            (raised(), Some(through(&[])), "score 0.83, threshold 0.60"),
            (
                Alert { baseline: Some(0.25), ..raised() },
                Some(through(&[GateKind::Threshold, GateKind::Hold, GateKind::Cooldown])),
                "score 0.83, threshold 0.60, a rise of 0.35 over the baseline 0.25; passed: threshold, hold, cooldown",
            ),
            (
                rule(raised()),
                Some(through(&[GateKind::Condition])),
                "the condition is met: person and not dog; passed: condition",
            ),
            (rule(cleared()), Some(through(&[])), "the condition is no longer met: person and not dog"),
            (cleared(), Some(through(&[GateKind::Hold])), "score 0.83, cleared below 0.40"),
            (cleared(), None, "score 0.83"),
        ];
        for (alert, assessment, expected) in cases {
            assert_eq!(reason(&alert, assessment.as_ref()), expected);
        }
    }
}
