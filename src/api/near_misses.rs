//! `near_misses`: the moments that nearly raised a label, and what held each of them back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    pictures,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    history::{self, Filter, Reader, near_misses},
    judge::Gate,
};

/// The near misses of one answer, if the request names no number.
pub const LIMIT: u32 = 100;
/// The most near misses of one answer.
pub const HIGHEST_LIMIT: u32 = 10_000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "near_misses",
    method: Method::Get,
    summary: "Lists the newest moments that nearly raised a label, the newest first.",
    answer: Answer::Read(answer),
};

/// Which near misses are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only near misses of the source with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only near misses of the label with this name; `set/label` names its label set, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only near misses of frames that were captured at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only near misses of frames that were captured at this time or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The most near misses, from 1 to 10000; 100 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The near misses that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The near misses, the newest first.
    pub near_misses: Vec<NearMiss>,
}

/// A moment that nearly raised a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NearMiss {
    /// A UUIDv7.
    pub id: String,
    /// When its frame was captured.
    pub captured_at: Time,
    /// The name of the source.
    pub source: String,
    /// The region with this score; `null` is the whole frame, or a rule.
    pub region: Option<String>,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or of the rule over labels.
    pub label: String,
    /// The score of the label from 0 to 1; `null` for a rule.
    pub score: Option<f64>,
    /// The threshold at that time; `null` for a rule.
    pub threshold: Option<f64>,
    /// The score of the label on quiet frames, if it was learnt.
    pub baseline: Option<f64>,
    /// What held the label back.
    pub held_by: Gate,
    /// What held the label back, for people.
    pub reason: String,
    /// The address of its small picture, if it has one.
    pub picture: Option<String>,
    /// A person's verdict: `right` if the label was in view, else `wrong`.
    pub mark: Option<String>,
}

/// Lists near misses.
///
/// # Errors
/// The limit is out of range, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let limit = request.limit.unwrap_or(LIMIT);
    if !(1..=HIGHEST_LIMIT).contains(&limit) {
        return Err(Error::parameter("limit", format!("{limit} is not a number from 1 to {HIGHEST_LIMIT}")));
    }
    let filter = Filter {
        source: request.source.clone(),
        label: request.label.clone(),
        since: request.since.map(|since| since.0),
        until: request.until.map(|until| until.0),
        limit: Some(limit),
    };
    let found = near_misses::newest(reader.connection(), &filter).map_err(history::Error::from)?;
    Ok(Response { near_misses: found.into_iter().map(NearMiss::from).collect() })
}

impl From<near_misses::NearMiss> for NearMiss {
    fn from(stored: near_misses::NearMiss) -> Self {
        Self {
            id: stored.id,
            captured_at: Time(stored.captured_at),
            source: stored.source,
            region: stored.region,
            label_set: stored.label_set,
            label: stored.label,
            score: stored.score,
            threshold: stored.threshold,
            baseline: stored.baseline,
            reason: stored.gate.sentence(),
            held_by: stored.gate,
            picture: stored.picture.map(pictures::address),
            mark: stored.mark.map(|mark| mark.word().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn limits_have_a_range() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(answer(&reader, &Request::default()).unwrap().near_misses, []);
        for limit in [0, HIGHEST_LIMIT + 1] {
            let error = answer(&reader, &Request { limit: Some(limit), ..Request::default() }).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("limit")));
        }
    }
}
