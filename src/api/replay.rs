//! What would have happened: stored scores are judged again, with other settings if the request has some.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    alerts::Alert,
    error::Error,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::history::{
    Reader,
    rejudge::{self, Change, Count, Rejudged, Replayed},
    scores::Window,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "replay",
    method: Method::Get,
    summary: "Judges stored scores again, with the settings of that time or with others, and counts the alerts.",
    answer: Answer::Read(answer),
};

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The first moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Settings that are tried, such as `yard/person.threshold=0.55`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Leave the alerts out: only their numbers are wanted.
    #[serde(default)]
    pub counts_only: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The alerts with these settings. They have no region, and no size of the frame: these are not stored with scores.
    pub alerts: Vec<Alert>,
    /// How often each label was raised.
    pub counts: Vec<LabelCount>,
    /// The number of frames that were judged.
    pub frames: u64,
    /// The number of places in which frames are missing.
    pub gaps: u64,
    /// The number of damaged parts of the history, which are left out.
    pub damaged: u64,
}

/// How often a label was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelCount {
    /// The source.
    pub source: String,
    /// The label set.
    pub label_set: String,
    /// The label or the rule.
    pub label: String,
    /// How often the service raised it.
    pub now: u64,
    /// How often it is raised with the settings that are tried.
    pub then: u64,
}

/// Judges the stored scores again.
///
/// # Errors
/// What is asked for is not stored, a setting is impossible, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let changes = request.set.iter().map(|text| text.parse()).collect::<Result<Vec<Change>, _>>();
    let changes = changes.map_err(|remedy| Error::parameter("set", "a setting is invalid").remedy(remedy))?;
    let time = |time: Option<Time>| time.map(|Time(time)| time);
    let window = Window { since: time(request.since), until: time(request.until) };
    let Replayed { alerts, judged, counts } =
        rejudge::replay(reader, request.source.as_deref(), window, &changes, |_| {})?;
    let alerts = if request.counts_only { vec![] } else { alerts };
    let alerts = alerts.iter().map(|alert| Alert::of(&alert.to_json())).collect::<Result<_, _>>()?;
    let count =
        |Count { source, label_set, label, now, then }| LabelCount { source, label_set, label, now, then };
    let Rejudged { frames, gaps, damaged } = judged;
    Ok(Response { alerts, counts: counts.into_iter().map(count).collect(), frames, gaps, damaged })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let wrong = |set: &[&str]| {
            let set = set.iter().map(ToString::to_string).collect();
            answer(&reader, &Request { set, ..Request::default() }).unwrap_err()
        };
        let error = wrong(&["person.for=1s", "person.size=3"]);
        assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("set")));
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("LABEL.KEY=VALUE")));
        let error = wrong(&[]);
        assert_eq!(error.kind, Kind::BadRequest);
        assert!(error.what.starts_with("no scores are stored"), "{error}");
    }
}
