//! Forgets what was seen: deletes it from the history so that no file contains it any more.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::history::{History, forget::Scope};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "forget",
    method: Method::Post,
    summary: "Deletes what was seen on a source in a range of time, so that no file of the history contains it.",
    answer: Answer::Write(answer),
};

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source. It need not be configured any more.
    pub source: String,
    /// The first moment.
    pub from: Time,
    /// The last moment.
    pub to: Time,
    /// Only what belongs to this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// How many entries of each kind.
    pub entries: BTreeMap<String, u64>,
    /// How many files that were set aside because they are damaged. What they contain is unknown.
    pub damaged_files: u64,
}

/// Forgets what is requested.
///
/// # Errors
/// The times are in the wrong order, or the disk does not work.
pub fn answer(history: &mut History, request: &Request) -> Result<Response, Error> {
    let Request { source, from: Time(from), to: Time(to), label } = request.clone();
    if to < from {
        return Err(Error::parameter("to", "`to` is before `from`"));
    }
    let forgotten = history.forget(&Scope { source, from, to, label })?;
    Ok(Response { entries: forgotten.entries, damaged_files: forgotten.files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn times_in_the_wrong_order_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let at = |text: &str| Time(text.parse().unwrap());
        let (early, late) = (at("2026-11-23T08:00:00Z"), at("2026-11-23T09:00:00Z"));
        let request = |from, to| Request { source: "door".to_owned(), from, to, label: None };
        let error = answer(&mut history, &request(late, early)).unwrap_err();
        assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("to")));
        assert_eq!(answer(&mut history, &request(early, late)).unwrap().damaged_files, 0);
    }
}
