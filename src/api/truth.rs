//! What marks say about recordings: the times at which labels were in view, as the CSV file that `stakeout tune --truth` reads.
//!
//! It says the same as marks do in `tune --history`: of a label with marks on a source, alerts are right unless they are marked as
//! wrong, and a near miss or a moment that is marked as right is an event, too. Labels without marks are left out, and so are rules over
//! labels, which `tune` does not tune.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    alerts::Alert,
    error::{Error, Kind},
    filter::Request,
    time::Time,
};
use crate::{
    alert::instant,
    history::{
        self, Filter, Reader, alerts,
        marks::{self, AROUND, Mark, SubjectKind, Verdict},
        timeline::{self, Asked, Entry},
    },
};

/// The last part of the address.
pub const NAME: &str = "truth.csv";
/// What the address does.
pub const SUMMARY: &str = "Writes what marks say as the CSV file that `stakeout tune --truth` reads.";
/// The alerts that are read from the store at once.
const PART: u32 = 1000;
/// The events at most, about 10 MB.
const MOST: usize = 100_000;

/// A time in which a label was in view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    source: String,
    label_set: String,
    label: String,
    start: Timestamp,
    end: Timestamp,
}

/// A label on a source.
type Label = (String, String, String);

/// An alert that raised a label.
#[derive(Debug, Clone)]
struct Raised {
    label: Label,
    captured_at: Timestamp,
    cleared_at: Option<Timestamp>,
    mark: Option<Verdict>,
}

/// Writes the file. The limit of the request has no effect.
///
/// # Errors
/// There are too many events, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<String, Error> {
    let filter = Filter { limit: None, ..request.filter()? };
    let marks = marks::newest(reader.connection(), &filter).map_err(history::Error::from)?;
    let labels: BTreeSet<Label> = marks.iter().filter(|mark| !is_of_rule(mark)).map(label_of).collect();
    let alerts = if labels.is_empty() { Vec::new() } else { raised(reader, filter, &labels)? };
    let events = events(&marks, &alerts);
    if events.len() > MOST {
        return Err(too_many());
    }
    csv(&events, &alerts)
        .map_err(|error| Error::new(Kind::Failed, format!("the file cannot be written: {error}")))
}

fn too_many() -> Error {
    Error::new(Kind::TooLarge, format!("there are more than {MOST} events"))
        .remedy("Ask for less: set `source`, `label`, `since` or `until`.")
}

/// The alerts of these labels, without rules. Read in parts, so that few payloads are in memory.
fn raised(reader: &Reader, filter: Filter, labels: &BTreeSet<Label>) -> Result<Vec<Raised>, Error> {
    let filter = Filter { limit: Some(PART), ..filter };
    let mut asked = Asked { filter, only: Some(timeline::EntryKind::Alert), ..Asked::default() };
    let mut found = Vec::new();
    loop {
        let part = timeline::newest(reader.connection(), &asked).map_err(history::Error::from)?;
        let Some(last) = part.last() else { return Ok(found) };
        asked.after = Some(last.place());
        for entry in part {
            let Entry::Alert(stored) = entry else { continue };
            let alert = Alert::of(&stored.payload)?;
            let label = (alert.source, alert.label_set, alert.label);
            if alert.when.is_none() && labels.contains(&label) {
                let cleared_at = alerts::cleared_at(reader.connection(), &stored.id);
                let cleared_at = cleared_at.map_err(history::Error::from)?;
                let (captured_at, mark) = (stored.captured_at, stored.mark);
                found.push(Raised { label, captured_at, cleared_at, mark });
            }
            if found.len() > MOST {
                return Err(too_many());
            }
        }
    }
}

/// A rule over labels has no threshold. A moment has none either.
fn is_of_rule(mark: &Mark) -> bool {
    mark.subject.kind != SubjectKind::Moment && mark.subject.threshold.is_none()
}

fn label_of(mark: &Mark) -> Label {
    let subject = &mark.subject;
    (subject.source.clone(), subject.label_set.clone(), subject.label.clone())
}

/// The events that marks and alerts say, sorted and each once.
fn events(marks: &[Mark], alerts: &[Raised]) -> Vec<Event> {
    let event = |(source, label_set, label): Label, start: Timestamp, end: Timestamp| Event {
        source,
        label_set,
        label,
        start,
        end,
    };
    let moved = |time: Timestamp, by: SignedDuration| time.checked_add(by).unwrap_or(time);
    let right = alerts.iter().filter(|alert| alert.mark != Some(Verdict::Wrong)).map(|alert| {
        let end = alert.cleared_at.unwrap_or_else(|| moved(alert.captured_at, AROUND));
        event(alert.label.clone(), alert.captured_at, end)
    });
    let known: BTreeSet<_> = alerts.iter().map(|alert| (alert.label.clone(), alert.captured_at)).collect();
    // The alert of a mark may be deleted, for its age.
    let is_known = |mark: &Mark| known.contains(&(label_of(mark), mark.subject.time));
    let is_event = |mark: &&Mark| mark.verdict == Verdict::Right && !is_of_rule(mark);
    let others = marks.iter().filter(is_event).filter(|mark| {
        // An alert has its own event. What else was marked is in view around the moment.
        mark.subject.kind != SubjectKind::Alert || !is_known(mark)
    });
    let others = others.map(|mark| {
        let time = mark.subject.time;
        event(label_of(mark), moved(time, -AROUND), moved(time, AROUND))
    });
    let events: BTreeSet<_> = right.chain(others).collect();
    events.into_iter().collect()
}

/// The file: the columns, what the file is about, and a row for each event.
fn csv(events: &[Event], alerts: &[Raised]) -> Result<String, csv::Error> {
    let unmarked = alerts.iter().filter(|alert| alert.mark.is_none()).count();
    let mut writer = csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    writer.write_record(["label", "start", "end", "source", "label_set"])?;
    for event in events {
        let Event { source, label_set, label, start, end } = event;
        writer.write_record([label, &instant(*start), &instant(*end), source, label_set])?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    let rows = String::from_utf8_lossy(&bytes).into_owned();
    let (columns, rows) = rows.split_once('\n').unwrap_or((&rows, ""));
    Ok(format!(
        "{columns}\n# Times at which labels with marks were in view: {}. Alerts without a mark, which count as right: {unmarked}.\n{rows}",
        events.len()
    ))
}

/// The name of the downloaded file: `truth.csv`, with the days that were asked for.
#[must_use]
pub fn file_name(request: &Request) -> String {
    let day = |time: Option<Time>| time.map(|Time(time)| time.strftime("%Y-%m-%d").to_string());
    let parts = ["truth".to_owned()].into_iter().chain(day(request.since)).chain(day(request.until));
    parts.collect::<Vec<_>>().join("-") + ".csv"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::marks::Subject;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn label(name: &str) -> Label {
        ("door".to_owned(), "porch".to_owned(), name.to_owned())
    }

    fn mark(kind: SubjectKind, name: &str, second: i64, verdict: Verdict, threshold: Option<f64>) -> Mark {
        let (source, label_set, label) = label(name);
        let time = at(second);
        let subject = Subject { kind, id: None, source, label_set, label, time, score: None, threshold };
        Mark { subject, verdict, marked_at: at(0) }
    }

    fn raised(name: &str, second: i64, cleared: Option<i64>, mark: Option<Verdict>) -> Raised {
        Raised { label: label(name), captured_at: at(second), cleared_at: cleared.map(at), mark }
    }

    #[test]
    fn a_table_of_cases() {
        use crate::history::marks::{
            SubjectKind as Kind,
            Verdict::{Right, Wrong},
        };
        type Span = (i64, i64);
        type Case<'a> = (&'a str, &'a [Mark], &'a [Raised], &'a [Span]);
        let cases: &[Case<'_>] = &[
            ("nothing", &[], &[], &[]),
            (
                "an alert that is right, until it was cleared",
                &[mark(Kind::Alert, "dog", 100, Right, Some(0.6))],
                &[raised("dog", 100, Some(110), Some(Right))],
                &[(100, 110)],
            ),
            (
                "an alert that is wrong",
                &[mark(Kind::Alert, "dog", 100, Wrong, Some(0.6))],
                &[raised("dog", 100, Some(110), Some(Wrong))],
                &[],
            ),
            (
                "an alert without a mark counts as right; one that is not cleared has half a minute",
                &[mark(Kind::NearMiss, "dog", 50, Wrong, Some(0.6))],
                &[raised("dog", 100, None, None)],
                &[(100, 130)],
            ),
            ("a near miss", &[mark(Kind::NearMiss, "dog", 50, Right, Some(0.6))], &[], &[(20, 80)]),
            ("a moment", &[mark(Kind::Moment, "dog", 50, Right, None)], &[], &[(20, 80)]),
            (
                "the alert of a mark was deleted",
                &[mark(Kind::Alert, "dog", 50, Right, Some(0.6))],
                &[raised("dog", 100, Some(101), None)],
                &[(20, 80), (100, 101)],
            ),
            ("a rule", &[mark(Kind::Alert, "dog", 50, Right, None)], &[], &[]),
        ];
        for (name, marks, alerts, expected) in cases {
            let events = events(marks, alerts);
            let spans: Vec<_> = events
                .iter()
                .map(|event| [event.start, event.end].map(|time| time.duration_since(at(0)).as_secs()))
                .map(|[start, end]| (start, end))
                .collect();
            assert_eq!(spans, *expected, "{name}");
        }
    }

    #[test]
    fn labels_of_any_name_are_written() {
        let alerts = [raised("# cat, \"black\"", 0, Some(5), None)];
        let text = csv(&events(&[], &alerts), &alerts).unwrap();
        let expected = "label,start,end,source,label_set\n\
                        # Times at which labels with marks were in view: 1. Alerts without a mark, which count as right: 1.\n\
                        \"# cat, \"\"black\"\"\",2027-01-15T08:00:00.000Z,2027-01-15T08:00:05.000Z,door,porch\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn without_marks_the_file_has_only_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let text = answer(&reader, &Request::default()).unwrap();
        assert!(
            text.starts_with("label,start,end,source,label_set\n# ") && text.lines().count() == 2,
            "{text}"
        );
        assert_eq!(file_name(&Request::default()), "truth.csv");
        let since = Some(Time(at(0)));
        assert_eq!(file_name(&Request { since, ..Request::default() }), "truth-2027-01-15.csv");
    }
}
