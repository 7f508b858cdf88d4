//! `snooze`: holds the alerts of a source or a label back for some time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    control::{self, Response},
    error::Error,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::controlled::Wish,
    policy::{SetBy, Snooze},
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "snooze",
    method: Method::Post,
    summary: "Holds the alerts of a source or a label back for some time.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, &request).await })),
};

/// What is snoozed, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label or the rule, as `set/label`; the label alone, if the source has it in one label set. Without it, all of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `1h`, `until 07:00` (the next time at which the clock of the service shows it), or `off`.
    #[serde(rename = "for")]
    pub length: String,
    /// The caller; `api` if it is absent.
    #[serde(default)]
    pub by: SetBy,
}

async fn answer(service: &Arc<Service>, request: &Request) -> Result<Response, Error> {
    let snooze = Snooze::parse(&request.length).map_err(|remedy| {
        Error::parameter("for", format!("{:?} is no snooze", request.length)).remedy(remedy)
    })?;
    let target = control::target(service, &request.source, request.label.as_deref())?;
    control::set(service, target, Wish::Snooze(snooze), request.by).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::tests::starting;

    #[tokio::test]
    async fn a_wrong_time_says_what_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let request = |length: &str| Request {
            source: "back".to_owned(),
            label: None,
            length: length.to_owned(),
            by: SetBy::Api,
        };
        let error = answer(&service, &request("07:00")).await.unwrap_err();
        assert_eq!(
            (error.place.as_deref(), error.remedy.as_deref()),
            (Some("for"), Some("did you mean `until 07:00`?"))
        );
    }
}
