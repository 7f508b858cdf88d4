//! `near_misses`: the moments that nearly raised a label, and what held each of them back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    filter::Request,
    pictures,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    history::{self, Reader, near_misses},
    judge::Gate,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "near_misses",
    method: Method::Get,
    summary: "Lists the newest moments that nearly raised a label, the newest first.",
    answer: Answer::Read(answer),
};

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
    let found = near_misses::newest(reader.connection(), &request.filter()?).map_err(history::Error::from)?;
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

    #[test]
    fn nothing_is_remembered_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(answer(&reader, &Request::default()).unwrap().near_misses, []);
    }
}
