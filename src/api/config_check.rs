//! `config_check`: the service's own check of a text in place of its configuration file. Nothing is changed.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    configuration::{self, ConfigProblem, Configuration},
    error::Error,
    role::Role,
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::config::Replaced;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "config_check",
    method: Method::Post,
    summary: "Checks a text in place of the configuration file, as `stakeout check --offline` does.",
    answer: Answer::ForRole(|service, role, request| {
        Box::pin(async move { answer(&service, role, request).await })
    }),
};

/// The text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The text in place of the main file, at most 1 MiB.
    pub text: String,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Whether it is a valid configuration.
    pub valid: bool,
    /// What is wrong, in the order of the files and lines. No value of a reference such as `${credential:mqtt}` is in it.
    pub problems: Vec<ConfigProblem>,
}

/// Answers the request.
///
/// # Errors
/// The client may not edit the configuration, the text is too long, or a file cannot be read for now.
pub async fn answer(service: &Arc<Service>, role: Role, request: Request) -> Result<Response, Error> {
    service.configuration()?.allow_editing(role)?;
    configuration::limited(&request.text)?;
    let activation = service.activation();
    service
        .on_configuration(move |path| {
            let replaced = Replaced { file: path, text: &request.text };
            let checked = configuration::check(path, replaced, activation)?;
            let problems = Configuration::problems(path, checked.as_ref().err());
            Ok(Response { valid: checked.is_ok(), problems })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        Kind,
        configuration::tests::{TEXT, service},
    };

    async fn check(text: &str) -> Response {
        let (_folder, service, _state) = service(true);
        answer(&service, Role::Change, Request { text: text.to_owned() }).await.unwrap()
    }

    #[tokio::test]
    async fn a_text_is_valid_or_has_problems() {
        assert_eq!(check(TEXT).await, Response { valid: true, problems: vec![] });
        let wrong = check(&TEXT.replace("porch]", "yard]")).await;
        assert!(
            !wrong.valid && wrong.problems[0].message.contains("there is no label set `yard`"),
            "{wrong:#?}"
        );
    }

    /// The cases of the reader's own test of hostile files.
    #[tokio::test]
    async fn hostile_texts_are_answered() {
        let long = "x".repeat(100_000);
        for text in [
            String::new(),
            "\u{feff}".to_owned(),
            "\0".to_owned(),
            "{".repeat(100_000),
            format!("{}x", "? ".repeat(1000)),
            "&a ".repeat(50_000),
            format!("a: &a {long}\nb: [{}]", "*a, ".repeat(20_000)),
            (0..3_000).map(|number| format!("k{number}: x\n")).collect(),
            "mqtt: { url: \"${file:/dev/zero}\" }".to_owned(),
            "mqtt: { url: \"${file:/proc/self/environ}\" }".to_owned(),
            "x".repeat(300 * 1024),
        ] {
            let answer = check(&text).await;
            let start: String = text.chars().take(40).collect();
            assert!(!answer.valid && !answer.problems.is_empty(), "{start}");
            assert!(answer.problems.len() <= 250, "{start}");
        }
    }

    #[tokio::test]
    async fn a_check_needs_the_same_right_as_a_save() {
        for (edit, role) in [(true, Role::View), (false, Role::Change)] {
            let (_folder, service, _state) = service(edit);
            let error = answer(&service, role, Request { text: TEXT.to_owned() }).await.unwrap_err();
            assert_eq!(error.kind, Kind::Forbidden);
        }
    }
}
