//! The error of every request: what is wrong, where, and what to do. Over HTTP it is a problem document (RFC 9457).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::{self, rejudge};

/// What kind of error it is. Each kind has one status of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong: a parameter is unknown, missing or out of range, or names something that does not exist.
    BadRequest,
    /// The token is missing or wrong.
    Unauthorized,
    /// The client may not do that here.
    Forbidden,
    /// The address, or what its last part names, does not exist.
    NotFound,
    /// The address has other methods.
    Method,
    /// The request is right and cannot be fulfilled as things are, such as a question about a source without a frame.
    Conflict,
    /// The request is too large.
    TooLarge,
    /// There are too many requests.
    TooMany,
    /// The service failed.
    Failed,
    /// The service cannot answer now: it is starting, stopping, or busy. Repeating the request later helps.
    Unavailable,
}

/// The short name, for the files of this room.
pub use self::ErrorKind as Kind;

impl ErrorKind {
    const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Conflict,
        Self::TooLarge,
        Self::TooMany,
        Self::Failed,
        Self::Unavailable,
    ];

    /// The status of HTTP.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::Failed => 500,
            Self::Unavailable => 503,
        }
    }

    /// The title of HTTP.
    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::Method => "Method Not Allowed",
            Self::Conflict => "Conflict",
            Self::TooLarge => "Content Too Large",
            Self::TooMany => "Too Many Requests",
            Self::Failed => "Internal Server Error",
            Self::Unavailable => "Service Unavailable",
        }
    }

    /// The kind with this status; any other status is a failure.
    fn of(status: u16) -> Self {
        Self::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(Self::Failed)
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// The parameter, key or file that is wrong.
    pub place: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
}

impl Error {
    /// An error without a place and a remedy.
    #[must_use]
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), place: None, remedy: None }
    }

    /// The parameter `place` of the request is wrong.
    #[must_use]
    pub fn parameter(place: &str, what: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, what).at(place)
    }

    /// The same error, at this place.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    /// The same error, with what to do.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The problem document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            title: self.kind.title().to_owned(),
            status: self.kind.status(),
            detail: self.what.clone(),
            place: self.place.clone(),
            remedy: self.remedy.clone(),
        }
    }

    /// The problem document as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.problem()).expect("texts and a number are valid JSON")
    }
}

/// One line: where, what is wrong, and what to do.
impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        formatter.write_str(&self.what)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, ". {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<history::Error> for Error {
    fn from(error: history::Error) -> Self {
        let kind = if matches!(error, history::Error::InUse { .. }) { Kind::Conflict } else { Kind::Failed };
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            what = format!("{what}: {source}");
            cause = source.source();
        }
        Self::new(kind, what)
    }
}

impl From<rejudge::Error> for Error {
    fn from(error: rejudge::Error) -> Self {
        match error {
            rejudge::Error::Request(what) => Self::new(Kind::BadRequest, what),
            rejudge::Error::Read(error) => history::Error::from(error).into(),
        }
    }
}

/// A problem document: the body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The title of the status.
    pub title: String,
    /// The status of HTTP.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// The parameter, key or file that is wrong.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self {
            kind: Kind::of(problem.status),
            what: problem.detail,
            place: problem.place,
            remedy: problem.remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_http() {
        for kind in Kind::ALL {
            let short = Error::new(kind, "the picture is gone");
            let long = short.clone().at("source").remedy("Write `Front Door`");
            for error in [short, long] {
                let problem: Problem = serde_json::from_str(&error.to_json()).unwrap();
                assert_eq!(Error::from(problem), error);
            }
        }
        let other = Problem { status: 418, ..Error::new(Kind::Failed, "a teapot").problem() };
        assert_eq!(Error::from(other).kind, Kind::Failed);
    }

    #[test]
    fn the_exact_texts() {
        let error = Error::parameter("source", "there is no source `Dor`").remedy("Did you mean `Door`?");
        assert_eq!(error.to_string(), "source: there is no source `Dor`. Did you mean `Door`?");
        let expected = concat!(
            r#"{"title":"Bad Request","status":400,"detail":"there is no source `Dor`","#,
            r#""where":"source","remedy":"Did you mean `Door`?"}"#,
        );
        assert_eq!(error.to_json(), expected);
        let short = Error::new(Kind::Unavailable, "the model is being loaded");
        assert_eq!(
            short.to_json(),
            r#"{"title":"Service Unavailable","status":503,"detail":"the model is being loaded"}"#
        );
    }
}
