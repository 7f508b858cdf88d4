//! `ask_picture`: scores a picture that the client sends against words. The first steps of the console show with it how words score on
//! the picture of a camera that is not configured yet. Nothing is stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ask::{self, TextScore},
    error::Error,
    search_picture,
    service::Service,
    verb::{Answer, Method, Verb},
};

/// The largest request in bytes: a picture of 640 pixels in base64, and words.
pub const LARGEST: usize = 2 * 1024 * 1024;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "ask_picture",
    method: Method::Query,
    summary: "Scores the picture in the request against words.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, &request).await })),
};

/// A question about a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The picture, of any format that a folder may have, in base64.
    pub picture: String,
    /// The texts that are scored together.
    pub text: Vec<String>,
    /// The sentence around each text, with `{}` in its place; `This is a photo of {}.` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The model that scored.
    pub model: String,
    /// Each text with its score, the highest first.
    pub scores: Vec<TextScore>,
}

/// Answers a question. The request has its place already ([`Service::place_for`]).
///
/// # Errors
/// The question or the picture is wrong, or the model is busy.
pub async fn answer(service: &Service, request: &Request) -> Result<Response, Error> {
    let set = ask::question(&request.text, request.template.as_deref())?;
    let bytes = STANDARD
        .decode(&request.picture)
        .map_err(|error| Error::parameter("picture", format!("it is not base64: {error}")))?;
    let live = service.live()?;
    let vector = search_picture::vector(live, bytes).await?;
    let texts = live.texts.encode(set).await?;
    let scores = ask::scores(&request.text, &texts, &[(None, vector.into())]);
    Ok(Response { model: live.newest.config().model.name().into_owned(), scores })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, service::tests::starting};

    #[tokio::test]
    async fn what_is_wrong_with_a_question_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for (picture, text, kind, place) in [
            ("%", &["open", "closed"][..], Kind::BadRequest, Some("picture")),
            ("", &[], Kind::BadRequest, Some("text")),
            ("AAAA", &["open", "closed"], Kind::Unavailable, None),
        ] {
            let text = text.iter().map(ToString::to_string).collect();
            let request = Request { picture: picture.to_owned(), text, template: None };
            let error = answer(&service, &request).await.unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (kind, place), "{error}");
        }
    }
}
