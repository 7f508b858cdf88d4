//! `watch-for`: temporary labels. One verb adds one, one lists them, and one ends one.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ask::{LONGEST_TEXT, TEMPLATE},
    error::{Error, Kind},
    service::{Service, known_source},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    policy::{LabelSet, Template},
    watches::{DURATIONS, Refused, THRESHOLD, Watch},
    yaml::value,
};

/// Adds a temporary label.
pub const ADD: Verb<Request, Watched> = Verb {
    name: "watch-for",
    method: Method::Post,
    summary: "Watches for words on one source until a time.",
    answer: Answer::Live(|service, request| Box::pin(async move { add(&service, request).await })),
};

/// Lists the temporary labels.
pub const LIST: Verb<ListRequest, List> = Verb {
    name: "watches",
    method: Method::Get,
    summary: "Lists the words that are watched for until a time.",
    answer: Answer::Live(|service, _| Box::pin(async move { list(&service) })),
};

/// Ends a temporary label.
pub const CANCEL: Verb<CancelRequest, Watched> = Verb {
    name: "cancel-watch",
    method: Method::Post,
    summary: "Ends the watch for words before its time.",
    answer: Answer::Live(|service, request| Box::pin(async move { cancel(&service, request.id).await })),
};

/// What is watched for, where, and until when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words, such as `a package by the door`.
    pub text: String,
    /// The name of the source, as in the configuration.
    pub source: String,
    /// How long, in seconds: from a minute to 31 days.
    pub seconds: u64,
    /// Whether it ends with its first alert.
    #[serde(default)]
    pub once: bool,
    /// The threshold, from 0 to 1; 0.5 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {}

/// Which one ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Its number.
    pub id: u64,
}

/// A temporary label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Watched {
    /// Its number.
    pub id: u64,
    /// The words, which are the name of the label.
    pub text: String,
    /// The name of the source.
    pub source: String,
    /// The name of its label set, which is in its alerts.
    pub label_set: String,
    /// When it ends.
    pub until: Time,
    /// Whether it ends with its first alert.
    pub once: bool,
    /// The threshold.
    pub threshold: f32,
}

/// The temporary labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// In the order of their numbers.
    pub watches: Vec<Watched>,
}

impl From<Watch> for Watched {
    fn from(watch: Watch) -> Self {
        Self {
            label_set: watch.label_set(),
            id: watch.id,
            text: watch.text,
            source: watch.source,
            until: Time(watch.until),
            once: watch.once,
            threshold: watch.threshold,
        }
    }
}

async fn add(service: &Arc<Service>, request: Request) -> Result<Watched, Error> {
    let watch = checked(&request, Timestamp::now())?;
    let live = service.live()?;
    let source = known_source(&live.newest.config(), "source", &request.source)?;
    if !live.watches.can_watch(&source) {
        let what = format!("`{source}` was named by an MQTT topic, and words cannot be added to it alone");
        return Err(
            Error::parameter("source", what).remedy("Add the label to its source in the configuration.")
        );
    }
    // The model must read all of it. The background is left out, and so is the check of a single label.
    let template: Template =
        TEMPLATE.parse().map_err(|error| Error::new(Kind::Failed, format!("{error}")))?;
    let pair = [watch.text.clone(), "something else".to_owned()];
    live.texts.encode(LabelSet::untriggered("the words", &template, &pair)).await?;
    let (watches, watch) = (live.watches.clone(), Watch { source: source.to_string(), ..watch });
    let added = service.blocking(move || watches.add(watch).map_err(Error::from)).await?;
    tracing::info!(id = added.id, text = added.text, source = added.source, "a temporary label was added");
    Ok(added.into())
}

fn list(service: &Service) -> Result<List, Error> {
    Ok(List { watches: service.live()?.watches.list().into_iter().map(Watched::from).collect() })
}

async fn cancel(service: &Arc<Service>, id: u64) -> Result<Watched, Error> {
    let watches = service.live()?.watches.clone();
    let cancelled = service.blocking(move || Ok(watches.cancel(id))).await?;
    let cancelled = cancelled.ok_or_else(|| {
        Error::parameter("id", format!("no temporary label has the number {id}"))
            .remedy("`stakeout watch-for --list` lists them.")
    })?;
    tracing::info!(id, text = cancelled.text, source = cancelled.source, "a temporary label was cancelled");
    Ok(cancelled.into())
}

/// The watch that is asked for `now`; its number is not assigned yet.
fn checked(request: &Request, now: Timestamp) -> Result<Watch, Error> {
    let (text, length) = (request.text.trim(), request.text.chars().count());
    if text.is_empty() || text == "background" || text.chars().any(char::is_control) {
        return Err(Error::parameter("text", "these words cannot be the name of a label"));
    }
    if length > LONGEST_TEXT {
        let what = format!("the text has {length} characters, and {LONGEST_TEXT} are allowed");
        return Err(Error::parameter("text", what));
    }
    let [shortest, longest] = DURATIONS;
    let duration = Duration::from_secs(request.seconds);
    if duration < shortest || duration > longest {
        let [shortest, longest] = DURATIONS.map(value::duration_text);
        let what = format!("{} s is not a time from {shortest} to {longest}", request.seconds);
        return Err(Error::parameter("seconds", what));
    }
    let threshold = request.threshold.unwrap_or(THRESHOLD);
    if !(threshold > 0.0 && threshold <= 1.0) {
        return Err(Error::parameter(
            "threshold",
            format!("{threshold} is not a number above 0 and up to 1"),
        ));
    }
    // A month is not past the end of time.
    let until = now.checked_add(duration).unwrap_or(Timestamp::MAX);
    let (text, source) = (text.to_owned(), request.source.clone());
    Ok(Watch { id: 0, text, source, until, once: request.once, threshold })
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let what = refused.to_string();
        match refused {
            Refused::TooMany => Self::new(Kind::Conflict, what)
                .remedy("Cancel one (`stakeout watch-for --cancel ID`), or add labels to the configuration."),
            Refused::Known { .. } => Self::new(Kind::Conflict, what)
                .remedy("Cancel that one first (`stakeout watch-for --cancel ID`)."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            text: " a package ".to_owned(),
            source: "back".to_owned(),
            seconds: 7200,
            once: true,
            threshold: None,
        }
    }

    #[test]
    fn a_request_is_checked() {
        let now: Timestamp = "2026-11-23T08:15:30Z".parse().unwrap();
        let watch = checked(&request(), now).unwrap();
        assert_eq!((&*watch.text, watch.threshold, watch.once), ("a package", 0.5, true));
        assert_eq!(watch.until, "2026-11-23T10:15:30Z".parse().unwrap());
        let threshold = |threshold| Request { threshold: Some(threshold), ..request() };
        let text = |text: &str| Request { text: text.to_owned(), ..request() };
        for (request, place) in [
            (text(" "), "text"),
            (text("background"), "text"),
            (text("two\nlines"), "text"),
            (text(&"x".repeat(301)), "text"),
            (Request { seconds: 59, ..request() }, "seconds"),
            (Request { seconds: 32 * 86_400, ..request() }, "seconds"),
            (Request { seconds: u64::MAX, ..request() }, "seconds"),
            (threshold(0.0), "threshold"),
            (threshold(1.5), "threshold"),
            (threshold(f32::NAN), "threshold"),
        ] {
            let error = checked(&request, now).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some(place)), "{request:?}");
        }
    }
}
