//! Times in requests and answers.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::alert::instant;

/// A time: RFC 3339, in answers in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Timestamp);

impl From<Time> for String {
    fn from(time: Time) -> Self {
        instant(time.0)
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = |_| format!("`{text}` is not a time: write one such as `2026-11-23T08:15:30Z`");
        text.parse().map(Self).map_err(wrong)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_zone() {
        let time: Time = serde_json::from_str(r#""2026-11-23T09:15:30+01:00""#).unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), r#""2026-11-23T08:15:30.000Z""#);
        for wrong in ["", "today", "2026-11-23", "2026-11-23T09:15:30"] {
            let error = Time::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.contains("2026-11-23T08:15:30Z"), "{wrong}: {error}");
        }
    }
}
