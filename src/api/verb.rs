//! A verb: one thing that the API does, with the types of its request and its answer. Commands call it ([`Client`]), and it has
//! an address over HTTP ([`routes`]).
//!
//! [`Client`]: super::client::Client
//! [`routes`]: super::routes

use std::{pin::Pin, sync::Arc, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    error::{Error, Kind},
    query,
    role::Role,
    service::Service,
};
use crate::history::{History, Reader};

/// The beginning of every address of the API.
pub const PREFIX: &str = "/api/v1/";
/// The time limit of a request and its answer: a question waits for the model, and a search for the disk.
pub const PATIENCE: Duration = Duration::from_secs(50);
/// The time limit of a change of the store. To forget something, the whole file is written again.
const PATIENCE_FOR_CHANGE: Duration = Duration::from_secs(3600);
/// The largest request in bytes, unless its verb needs more. Most requests are words, names and times.
pub const LARGEST: usize = 64 * 1024;
/// No request has more fields than this.
const MOST_FIELDS: usize = 32;

/// How a verb is requested over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It changes nothing. The fields of the request are parameters of the address; a list is a parameter that is repeated.
    Get,
    /// It changes something, so its client needs the right to change. The request is JSON.
    Post,
    /// It changes nothing, and its request is too large for an address, such as one with a picture. The request is JSON, sent with
    /// POST, and the right to look is enough.
    Query,
}

impl Method {
    /// The method of HTTP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post | Self::Query => "POST",
        }
    }

    /// What a client must be allowed to do.
    #[must_use]
    pub fn needs(self) -> Role {
        match self {
            Self::Get | Self::Query => Role::View,
            Self::Post => Role::Change,
        }
    }
}

/// One thing that the API does.
pub struct Verb<Request, Response> {
    /// The last part of its address, `/api/v1/NAME`.
    pub name: &'static str,
    /// How it is requested.
    pub method: Method,
    /// What it does, as one sentence.
    pub summary: &'static str,
    /// Who answers.
    pub answer: Answer<Request, Response>,
}

/// An answer that is being made.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Who answers a request.
pub enum Answer<Request, Response> {
    /// The store, with or without a running service.
    Read(fn(&Reader, &Request) -> Result<Response, Error>),
    /// The store, which is changed, with or without a running service.
    Write(fn(&mut History, &Request) -> Result<Response, Error>),
    /// The running service.
    Live(fn(Arc<Service>, Request) -> Pending<Response>),
    /// The running service. What it answers depends on what the client may do.
    ForRole(fn(Arc<Service>, Role, Request) -> Pending<Response>),
    /// The running service, for clients of its unix socket only.
    Owner(fn(Arc<Service>, Request) -> Pending<Response>),
    /// The running service, and without one the store.
    Either {
        /// With a running service.
        live: fn(Arc<Service>, Request) -> Pending<Response>,
        /// Without one.
        read: fn(&Reader, &Request) -> Result<Response, Error>,
    },
}

impl<Request, Response> Clone for Answer<Request, Response> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Request, Response> Copy for Answer<Request, Response> {}

impl<Request, Response> Answer<Request, Response> {
    /// The time limit.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Write(_) => PATIENCE_FOR_CHANGE,
            Self::Read(_) | Self::Live(_) | Self::ForRole(_) | Self::Owner(_) | Self::Either { .. } => {
                PATIENCE
            }
        }
    }
}

/// A verb without its types, as the server sees it. Requests and answers are JSON.
pub struct Route {
    /// The last part of its address.
    pub name: &'static str,
    /// How it is requested.
    pub method: Method,
    /// What it does.
    pub summary: &'static str,
    /// The schema of the request, without references.
    pub request: Value,
    /// The time limit.
    pub patience: Duration,
    /// The largest request that is read, in bytes.
    pub largest: usize,
    /// Only clients of the unix socket may request it.
    pub is_for_owner: bool,
    /// The schemas of the request and of the answer, for the document.
    pub schemas: fn(&mut SchemaGenerator) -> [Schema; 2],
    answer: Box<dyn Fn(Arc<Service>, Role, Value) -> Pending<String> + Send + Sync>,
}

impl Route {
    /// The answer of the running service to a client with this role, as JSON.
    pub fn answer(&self, service: Arc<Service>, role: Role, request: Value) -> Pending<String> {
        (self.answer)(service, role, request)
    }

    /// The same verb, for requests of up to this number of bytes.
    #[must_use]
    pub fn up_to(self, largest: usize) -> Self {
        Self { largest, ..self }
    }
}

impl<Request, Response> Verb<Request, Response>
where
    Request: DeserializeOwned + JsonSchema + Send + 'static,
    Response: Serialize + JsonSchema + Send + 'static,
{
    /// This verb as the server sees it.
    #[must_use]
    pub fn route(&self) -> Route {
        let answer = self.answer;
        Route {
            name: self.name,
            method: self.method,
            summary: self.summary,
            request: query::schema::<Request>(),
            patience: answer.patience(),
            largest: LARGEST,
            is_for_owner: matches!(answer, Answer::Owner(_)),
            schemas: |generator| {
                [generator.subschema_for::<Request>(), generator.subschema_for::<Response>()]
            },
            answer: Box::new(move |service, role, request| {
                Box::pin(async move {
                    let request: Request = parse(request)?;
                    let response = match answer {
                        Answer::Read(answer) => service.read(move |reader| answer(reader, &request)).await?,
                        Answer::Write(answer) => {
                            service.write(move |history| answer(history, &request)).await?
                        }
                        Answer::Live(answer)
                        | Answer::Owner(answer)
                        | Answer::Either { live: answer, .. } => answer(service, request).await?,
                        Answer::ForRole(answer) => answer(service, role, request).await?,
                    };
                    json(&response)
                })
            }),
        }
    }
}

/// The request with these fields; the error names the field that is wrong.
///
/// # Errors
/// A field is missing, unknown, or has a wrong value.
pub fn parse<Request: DeserializeOwned>(value: Value) -> Result<Request, Error> {
    let error = match Request::deserialize(&value) {
        Ok(request) => return Ok(request),
        Err(error) => Error::new(Kind::BadRequest, error.to_string()),
    };
    let Value::Object(fields) = value else {
        return Err(Error::new(Kind::BadRequest, "the request is not a JSON object"));
    };
    if fields.len() > MOST_FIELDS {
        // To try each of them takes a time that grows with the square of their number.
        return Err(error);
    }
    let is_wrong = |field: &&String| {
        let mut others = fields.clone();
        others.shift_remove(*field);
        serde_json::from_value::<Request>(Value::Object(others)).is_ok()
    };
    Err(match fields.keys().find(is_wrong) {
        Some(field) => error.at(field.as_str()),
        None => error,
    })
}

/// The JSON of an answer.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(response: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(response)
        .map_err(|error| Error::new(Kind::Failed, format!("the answer is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::api::time::Time;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[serde(rename = "count")]
        _count: u8,
        #[serde(rename = "since")]
        _since: Option<Time>,
    }

    #[test]
    fn the_error_names_the_field() {
        assert!(parse::<Example>(json!({"count": 1, "since": "2026-11-23T08:15:30Z"})).is_ok());
        let many: serde_json::Map<_, _> =
            (0..=MOST_FIELDS).map(|number| (format!("field {number}"), json!(1))).collect();
        let many = Value::Object(many);
        for (value, place, what) in [
            (json!({"count": 1, "since": "soon"}), Some("since"), "is not a time"),
            (json!({"count": 1, "other": 2}), Some("other"), "unknown field"),
            (json!({"count": 300, "since": "2026-11-23T08:15:30Z"}), None, "300"),
            (json!({"since": "2026-11-23T08:15:30Z"}), None, "missing field `count`"),
            (json!([1]), None, "object"),
            (many, None, "unknown field"),
        ] {
            let error = parse::<Example>(value.clone()).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, place), "{value}");
            assert!(error.what.contains(what), "{value}: {error}");
        }
    }
}
