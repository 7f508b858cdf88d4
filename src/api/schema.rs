//! `schema`: the JSON Schema of the configuration, as `stakeout schema` prints it, for editors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verb::{Answer, Method, Verb};
use crate::config;

/// The verb.
pub const VERB: Verb<Request, Value> = Verb {
    name: "schema",
    method: Method::Get,
    summary: "The JSON Schema of the configuration file, as `stakeout schema` prints it.",
    answer: Answer::Live(|_, _| Box::pin(std::future::ready(Ok(config::schema())))),
};

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}
