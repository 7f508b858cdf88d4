//! `mark`: stores a person's verdict on an alert, a near miss, or a moment of a label; `marks` counts them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    filter,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::history::{
    self, History, Reader,
    marks::{self, SHORTEST_ID, Subject, SubjectKind, Verdict},
};

/// The verb that stores a verdict.
pub const VERB: Verb<Request, Response> = Verb {
    name: "mark",
    method: Method::Post,
    summary: "Stores a person's verdict on an alert, a near miss, or a moment of a label.",
    answer: Answer::Write(answer),
};

/// The verb that lists verdicts.
pub const LIST: Verb<filter::Request, ListResponse> = Verb {
    name: "marks",
    method: Method::Get,
    summary: "Counts the verdicts of people for each label, and lists the newest ones.",
    answer: Answer::Read(list),
};

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The label was in view
    Right,
    /// The label was not in view
    Wrong,
    /// The mark is removed
    Undo,
}

/// A verdict on an alert or a near miss (`id`), or on a moment (`source`, `label` and `at`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The identifier of an alert or a near miss, or the end of it: 6 characters or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the source of a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The label of a moment, as `set/label`; the label alone, if the history has it in one label set of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The time of a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// `right` if the label was in view, `wrong` if it was not; `undo` removes the mark.
    pub verdict: Choice,
}

/// What is marked now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// What is marked, with its verdict.
    #[serde(flatten)]
    pub marked: Marked,
}

/// Something that a person may mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Marked {
    /// `alert`, `near_miss` or `moment`.
    pub kind: String,
    /// The identifier of the alert or the near miss.
    pub id: Option<String>,
    /// The name of the source.
    pub source: String,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label.
    pub label: String,
    /// When the frame was captured.
    pub captured_at: Time,
    /// The score, if it is known.
    pub score: Option<f64>,
    /// The threshold at that time, if it is known.
    pub threshold: Option<f64>,
    /// The verdict, `right` or `wrong`; `null` after `undo`.
    pub mark: Option<String>,
}

/// The marks that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListResponse {
    /// The number of marks of each label.
    pub counts: Vec<Count>,
    /// The marks, the newest moments first.
    pub marks: Vec<Marked>,
}

/// The number of marks of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Stores or removes a verdict.
///
/// # Errors
/// Nothing has this identifier, or several entries have; the moment is incomplete; or the store cannot be changed.
pub fn answer(history: &mut History, request: &Request) -> Result<Response, Error> {
    let subject = match request {
        Request { id: Some(id), source: None, label: None, at: None, .. } => of_id(history, id)?,
        Request { id: None, source: Some(source), label: Some(label), at: Some(at), .. } => {
            of_moment(history, source, label, at.0)?
        }
        _ => {
            return Err(Error::new(Kind::BadRequest, "it is not said what is marked")
                .remedy("Name the `id` of an alert or a near miss, or the `source`, the `label` and the time (`at`) of a moment."));
        }
    };
    let verdict = match request.verdict {
        Choice::Right => Some(Verdict::Right),
        Choice::Wrong => Some(Verdict::Wrong),
        Choice::Undo => None,
    };
    let removed = history
        .write(|transaction| match verdict {
            Some(verdict) => marks::set(transaction, &subject, verdict, Timestamp::now()).map(|()| true),
            None => marks::undo(transaction, &subject),
        })
        .map_err(history::Error::from)?;
    if !removed {
        return Err(Error::new(Kind::Conflict, "it has no mark").remedy("There is nothing to undo."));
    }
    Ok(Response { marked: Marked::of(subject, verdict) })
}

fn of_id(history: &History, id: &str) -> Result<Subject, Error> {
    if id.len() < SHORTEST_ID {
        let what = format!("`{id}` is too short");
        return Err(
            Error::parameter("id", what).remedy(format!("Write at least the last {SHORTEST_ID} characters."))
        );
    }
    let found = marks::find(history.connection(), id).map_err(history::Error::from)?;
    match <[Subject; 1]>::try_from(found) {
        Ok([subject]) => Ok(subject),
        Err(found) if found.is_empty() => {
            Err(Error::new(Kind::NotFound, format!("no alert and no near miss has the identifier `{id}`")).at("id")
                .remedy("`stakeout alerts --last 20 --near-misses` lists identifiers. What is older than `history.keep` is deleted."))
        }
        Err(_) => Err(Error::parameter("id", format!("several identifiers end in `{id}`")).remedy("Write more of it.")),
    }
}

fn of_moment(history: &History, source: &str, label: &str, time: Timestamp) -> Result<Subject, Error> {
    let connection = history.connection();
    if history::store::known_name_id(connection, source).map_err(history::Error::from)?.is_none() {
        return Err(Error::parameter("source", format!("the history has no source `{source}`"))
            .remedy("Write its name as in the configuration."));
    }
    let moment = |label_set: &str, label: &str| Subject {
        kind: SubjectKind::Moment,
        id: None,
        source: source.to_owned(),
        label_set: label_set.to_owned(),
        label: label.to_owned(),
        time,
        score: None,
        threshold: None,
    };
    let sets = marks::label_sets(connection, source, label).map_err(history::Error::from)?;
    match (&sets[..], label.split_once('/')) {
        ([set], _) => Ok(moment(set, label)),
        ([], Some((set, label))) => Ok(moment(set, label)),
        ([], None) => Err(Error::parameter(
            "label",
            format!("the history does not say in which label set `{label}` is"),
        )
        .remedy(format!("Write it with its label set: `SET/{label}`."))),
        ([first, ..], _) => {
            Err(Error::parameter("label", format!("`{label}` is in {} label sets", sets.len()))
                .remedy(format!("Write it with its label set: `{first}/{label}`.")))
        }
    }
}

/// Counts and lists marks.
///
/// # Errors
/// The limit is out of range, or the store cannot be read.
pub fn list(reader: &Reader, request: &filter::Request) -> Result<ListResponse, Error> {
    let filter = request.filter()?;
    let counts = marks::counts(reader.connection(), &filter).map_err(history::Error::from)?;
    let found = marks::newest(reader.connection(), &filter).map_err(history::Error::from)?;
    let count = |it: marks::Count| Count {
        label_set: it.label_set,
        label: it.label,
        right: it.right,
        wrong: it.wrong,
    };
    Ok(ListResponse {
        counts: counts.into_iter().map(count).collect(),
        marks: found.into_iter().map(|mark| Marked::of(mark.subject, Some(mark.verdict))).collect(),
    })
}

impl Marked {
    fn of(subject: Subject, verdict: Option<Verdict>) -> Self {
        Self {
            kind: subject.kind.word().to_owned(),
            id: subject.id,
            source: subject.source,
            label_set: subject.label_set,
            label: subject.label,
            captured_at: Time(subject.time),
            score: subject.score,
            threshold: subject.threshold,
            mark: verdict.map(|verdict| verdict.word().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(label: &str, verdict: Choice) -> Request {
        let at = Some(Time("2026-11-23T08:15:30Z".parse().unwrap()));
        let (source, label) = (Some("door".to_owned()), Some(label.to_owned()));
        Request { id: None, source, label, at, verdict }
    }

    fn with_id(id: &str) -> Request {
        Request { id: Some(id.to_owned()), source: None, label: None, at: None, verdict: Choice::Right }
    }

    #[test]
    fn a_moment_is_marked_counted_and_undone() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let error = answer(&mut history, &moment("porch/person", Choice::Right)).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("source"), "{error}");
        history.write(|transaction| history::store::name_id(transaction, "door")).unwrap();
        let error = answer(&mut history, &moment("person", Choice::Right)).unwrap_err();
        assert!(error.to_string().contains("SET/person"), "{error}");

        let marked = answer(&mut history, &moment("porch/person", Choice::Right)).unwrap().marked;
        assert_eq!((&*marked.label_set, marked.mark.as_deref()), ("porch", Some("right")));
        answer(&mut history, &moment("porch/person", Choice::Wrong)).unwrap();
        // Since the first mark, its label set is known.
        let again = answer(&mut history, &moment("person", Choice::Wrong)).unwrap().marked;
        assert_eq!((&*again.label_set, again.mark.as_deref()), ("porch", Some("wrong")));
        let listed = |folder: &std::path::Path| {
            list(&Reader::open(folder).unwrap(), &filter::Request::default()).unwrap()
        };
        let found = listed(folder.path());
        assert_eq!((found.counts[0].right, found.counts[0].wrong, found.marks.len()), (0, 1, 1));
        assert_eq!(answer(&mut history, &moment("person", Choice::Undo)).unwrap().marked.mark, None);
        let error = answer(&mut history, &moment("porch/person", Choice::Undo)).unwrap_err();
        assert_eq!(error.kind, Kind::Conflict);
        assert_eq!(listed(folder.path()), ListResponse { counts: vec![], marks: vec![] });
    }

    #[test]
    fn what_is_marked_must_be_said_and_exist() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let both = Request { id: Some("0123456789".to_owned()), ..moment("porch/person", Choice::Right) };
        let half = Request { at: None, ..moment("porch/person", Choice::Right) };
        for (request, kind, text) in [
            (both, Kind::BadRequest, "Name the `id`"),
            (half, Kind::BadRequest, "Name the `id`"),
            (with_id("12345"), Kind::BadRequest, "too short"),
            (with_id("123456"), Kind::NotFound, "no alert"),
            (with_id("no identifier"), Kind::NotFound, "no alert"),
        ] {
            let error = answer(&mut history, &request).unwrap_err();
            assert_eq!(error.kind, kind, "{request:?}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
