//! `enable` and `disable`: whether a source is read, or a label is judged.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    control::{self, Response},
    error::Error,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{config::controlled::Wish, policy::SetBy};

/// Switches a source or a label on.
pub const ENABLE: Verb<Request, Response> = Verb {
    name: "enable",
    method: Method::Post,
    summary: "Reads a source again, or judges a label again, until the configuration changes that.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request, true).await })),
};

/// Switches a source or a label off.
pub const DISABLE: Verb<Request, Response> = Verb {
    name: "disable",
    method: Method::Post,
    summary: "Does not read a source, or does not judge a label, until the configuration changes that.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request, false).await })),
};

/// What is switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label or the rule, as `set/label`; the label alone, if the source has it in one label set. Without it, the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The caller; `api` if it is absent.
    #[serde(default)]
    pub by: SetBy,
}

async fn answer(service: &Arc<Service>, request: Request, enabled: bool) -> Result<Response, Error> {
    let target = control::target(service, &request.source, request.label.as_deref())?;
    control::set(service, target, Wish::Enabled(enabled), request.by).await
}
