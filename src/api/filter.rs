//! The request of the verbs that list entries of the history (`alerts`, `near_misses`, `marks`): by source, label and time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{error::Error, time::Time};
use crate::history::Filter;

/// The entries of one answer, if the request names no number.
const LIMIT: u32 = 100;
/// The most entries of one answer.
pub const HIGHEST_LIMIT: u32 = 10_000;

/// Which entries are listed.
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
    /// The most entries that are listed, from 1 to 10000; 100 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Request {
    /// The entries as the history selects them.
    ///
    /// # Errors
    /// The limit is out of range.
    pub(super) fn filter(&self) -> Result<Filter, Error> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=HIGHEST_LIMIT).contains(&limit) {
            let what = format!("{limit} is not a number from 1 to {HIGHEST_LIMIT}");
            return Err(Error::parameter("limit", what));
        }
        Ok(Filter {
            source: self.source.clone(),
            label: self.label.clone(),
            since: self.since.map(|since| since.0),
            until: self.until.map(|until| until.0),
            limit: Some(limit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn limits_have_a_range() {
        let limited = |limit| Request { limit, ..Request::default() }.filter();
        assert_eq!(limited(None).unwrap().limit, Some(LIMIT));
        for limit in [1, HIGHEST_LIMIT] {
            assert_eq!(limited(Some(limit)).unwrap().limit, Some(limit));
        }
        for limit in [0, HIGHEST_LIMIT + 1] {
            let error = limited(Some(limit)).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("limit")));
        }
    }
}
