//! `set`: another threshold of a label on one source.

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

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "set",
    method: Method::Post,
    summary: "Sets the threshold of a label on one source, until the configuration changes it.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, &request).await })),
};

/// What is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label, as `set/label`; the label alone, if the source has it in one label set.
    pub label: String,
    /// The threshold, above 0 and up to 1; for a label with a `rise`, the rise. The value of the configuration ends the change.
    pub threshold: f32,
    /// The caller; `api` if it is absent.
    #[serde(default)]
    pub by: SetBy,
}

async fn answer(service: &Arc<Service>, request: &Request) -> Result<Response, Error> {
    let level = request.threshold;
    if !(level > 0.0 && level <= 1.0) {
        let what = format!("{level} is not a number above 0 and up to 1");
        return Err(Error::parameter("threshold", what).remedy("Write a score such as `0.6`."));
    }
    let target = control::target(service, &request.source, Some(&request.label))?;
    control::set(service, target, Wish::Threshold(level), request.by).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, service::tests::starting};

    #[tokio::test]
    async fn a_threshold_is_a_score() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for (threshold, kind) in [
            (0.0, Kind::BadRequest),
            (1.5, Kind::BadRequest),
            (f32::NAN, Kind::BadRequest),
            (0.5, Kind::Unavailable),
        ] {
            let request =
                Request { source: "back".to_owned(), label: "Person".to_owned(), threshold, by: SetBy::Api };
            assert_eq!(answer(&service, &request).await.unwrap_err().kind, kind, "{threshold}");
        }
    }
}
