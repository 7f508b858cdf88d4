//! `timeline`: alerts and near misses as one list, the newest first, which a client continues where it ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    alerts::Alert,
    error::Error,
    filter, near_misses, pictures,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    history::{
        self, Reader, alerts,
        timeline::{self, Asked, Position},
    },
    judge::Gate,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "timeline",
    method: Method::Get,
    summary: "Lists alerts and near misses together, the newest first.",
    answer: Answer::Read(answer),
};

/// Which entries are listed. To continue a list, repeat its request with `until` and `after` of its last entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only entries of the source with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only entries of the label with this name; `set/label` names its label set, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only entries of frames that were captured at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only entries of frames that were captured at this time or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Only entries behind the one with this identifier, whose `captured_at` is `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only alerts, or only near misses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<EntryKind>,
    /// Only entries that no one has marked.
    #[serde(default)]
    pub unmarked: bool,
    /// The most entries that are listed, from 1 to 10000; 100 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A label was raised.
    Alerts,
    /// A label was nearly raised.
    NearMisses,
}

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The entries, the newest first.
    pub entries: Vec<Entry>,
    /// Whether there are older ones.
    pub more: bool,
}

/// A moment in which a label was raised, or nearly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// A UUIDv7.
    pub id: String,
    /// `raised`, `cleared` or `near_miss`.
    pub state: String,
    /// When its frame was captured.
    pub captured_at: Time,
    /// When the label was cleared again; `null` while it is raised, of a near miss, and if it is not stored.
    pub cleared_at: Option<Time>,
    /// The name of the source.
    pub source: String,
    /// The region with this score; `null` is the whole frame, or a rule.
    pub region: Option<String>,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or of the rule over labels.
    pub label: String,
    /// The condition of a rule over labels; `null` for a label, and of a near miss.
    pub when: Option<String>,
    /// The score of the label from 0 to 1; `null` for a rule.
    pub score: Option<f64>,
    /// The threshold at that time; `null` for a rule.
    pub threshold: Option<f64>,
    /// The level below which the label is cleared; `null` for a rule, and of a near miss.
    pub clear_below: Option<f64>,
    /// The score of the label on quiet frames, if it was learnt.
    pub baseline: Option<f64>,
    /// The severity, if it is configured.
    pub severity: Option<String>,
    /// The message, if it is configured.
    pub message: Option<String>,
    /// What held a near miss back.
    pub held_by: Option<Gate>,
    /// Why the label was raised, or what held it back, for people.
    pub reason: String,
    /// The address of its small picture, if it has one.
    pub picture: Option<String>,
    /// A person's verdict: `right` or `wrong`.
    pub mark: Option<String>,
}

/// Lists entries.
///
/// # Errors
/// The limit is out of range, `after` is no identifier or has no `until`, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let mut asked = request.asked()?;
    let limit = asked.filter.limit.unwrap_or(0);
    // One more says whether there are older ones.
    asked.filter.limit = Some(limit + 1);
    let mut found = timeline::newest(reader.connection(), &asked).map_err(history::Error::from)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let entries = found.into_iter().map(|stored| Entry::of(reader, stored));
    Ok(Response { entries: entries.collect::<Result<_, _>>()?, more })
}

impl Request {
    /// The entries as the history selects them.
    fn asked(&self) -> Result<Asked, Error> {
        let Self { source, label, since, until, after, only, unmarked, limit } = self.clone();
        let after = match (after, until) {
            (None, _) => None,
            (Some(after), Some(Time(captured_at))) => {
                let id: Uuid = after.parse().map_err(|_| {
                    Error::parameter("after", format!("`{after}` is not the identifier of an entry"))
                })?;
                Some(Position { captured_at, id: id.to_string() })
            }
            (Some(_), None) => {
                return Err(Error::parameter("after", "it has no effect without `until`")
                    .remedy("Set `until` to the `captured_at` of the same entry."));
            }
        };
        let only = only.map(|only| match only {
            EntryKind::Alerts => timeline::EntryKind::Alert,
            EntryKind::NearMisses => timeline::EntryKind::NearMiss,
        });
        let filter = filter::Request { source, label, since, until, limit }.filter()?;
        Ok(Asked { filter, after, only, unmarked })
    }
}

impl Entry {
    /// An entry as the API shows it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn of(reader: &Reader, stored: timeline::Entry) -> Result<Self, Error> {
        match stored {
            timeline::Entry::Alert(stored) => {
                let cleared_at = alerts::cleared_at(reader.connection(), &stored.id);
                let cleared_at = cleared_at.map_err(history::Error::from)?;
                let alert = Alert::of(&stored.payload)?;
                Ok(Self {
                    captured_at: Time(stored.captured_at),
                    cleared_at: cleared_at.map(Time),
                    clear_below: stored.clear_below,
                    reason: stored.reason,
                    picture: stored.picture.map(pictures::address),
                    mark: stored.mark.map(|mark| mark.word().to_owned()),
                    ..Self::of_published(alert)
                })
            }
            timeline::Entry::NearMiss(stored) => Ok(Self::of_near_miss(stored.into())),
        }
    }

    fn of_published(alert: Alert) -> Self {
        Self {
            id: alert.id,
            state: alert.state,
            captured_at: alert.frame.captured_at,
            cleared_at: None,
            source: alert.source,
            region: alert.region,
            label_set: alert.label_set,
            label: alert.label,
            when: alert.when,
            score: alert.score,
            threshold: alert.threshold,
            clear_below: None,
            baseline: alert.baseline,
            severity: alert.severity,
            message: alert.message,
            held_by: None,
            reason: String::new(),
            picture: None,
            mark: None,
        }
    }

    fn of_near_miss(near_miss: near_misses::NearMiss) -> Self {
        Self {
            id: near_miss.id,
            state: "near_miss".to_owned(),
            captured_at: near_miss.captured_at,
            cleared_at: None,
            source: near_miss.source,
            region: near_miss.region,
            label_set: near_miss.label_set,
            label: near_miss.label,
            when: None,
            score: near_miss.score,
            threshold: near_miss.threshold,
            clear_below: None,
            baseline: near_miss.baseline,
            severity: None,
            message: None,
            held_by: Some(near_miss.held_by),
            reason: near_miss.reason,
            picture: near_miss.picture,
            mark: near_miss.mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_request_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let time = || Some(Time("2026-11-23T08:15:30Z".parse().unwrap()));
        let id = || Some("019ab1c2-0000-7000-8000-000000000001".to_owned());
        for (request, place) in [
            (Request { limit: Some(0), ..Request::default() }, Some("limit")),
            (Request { limit: Some(10_001), ..Request::default() }, Some("limit")),
            (Request { after: id(), ..Request::default() }, Some("after")),
            (
                Request { after: Some("' OR 1".to_owned()), until: time(), ..Request::default() },
                Some("after"),
            ),
            (Request { after: id(), until: time(), ..Request::default() }, None),
            (Request::default(), None),
        ] {
            let error = answer(&reader, &request).err();
            assert_eq!(error.and_then(|error| error.place).as_deref(), place, "{request:?}");
        }
        let nothing = answer(&reader, &Request::default()).unwrap();
        assert_eq!(nothing, Response { entries: vec![], more: false });
    }
}
