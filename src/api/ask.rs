//! `ask`: scores the newest frame of a source against words, through the model of the running service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    service::{Service, known_source},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    classify::{TextError, TextVectors, labels::LabelError},
    observe::newest::RegionEmbedding,
    policy::{LabelSet, Template},
};

/// The most texts of one question.
pub const MOST_TEXTS: usize = 16;
/// The longest text, in characters. Models read 77 tokens or fewer.
pub const LONGEST_TEXT: usize = 300;
/// The sentence around each text, as `stakeout classify` has it.
pub const TEMPLATE: &str = "This is a photo of {}.";

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "ask",
    method: Method::Get,
    summary: "Scores the newest frame of a source against words.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, &request).await })),
};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source, as in the configuration.
    pub source: String,
    /// The texts that are scored together, such as `the gate is open` and `the gate is closed`.
    pub text: Vec<String>,
    /// The sentence around each text, with `{}` in its place; `This is a photo of {}.` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The name of the source.
    pub source: String,
    /// When the frame was captured.
    pub captured_at: Time,
    /// Where the frame came from: a path, an address, a topic.
    pub origin: String,
    /// The model that scored.
    pub model: String,
    /// Each text with its score, the highest first.
    pub scores: Vec<TextScore>,
}

/// The score of one text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TextScore {
    /// The text.
    pub text: String,
    /// Its score from 0 to 1, the highest of the regions of the source.
    pub score: f32,
    /// The region with this score; `null` is the whole frame.
    pub region: Option<String>,
}

/// Answers a question.
///
/// # Errors
/// The question is wrong, the source has no frame yet, or the model is busy.
pub async fn answer(service: &Service, request: &Request) -> Result<Response, Error> {
    let set = question(&request.text, request.template.as_deref())?;
    let live = service.live()?;
    let config = live.newest.config();
    let source = known_source(&config, "source", &request.source)?;
    let no_frame = || {
        Error::new(Kind::Conflict, format!("the source `{source}` has delivered no frame since the start"))
            .at("source")
            .remedy("Wait for its next picture; `stakeout doctor` checks a source that delivers none.")
    };
    live.newest.of(&source).ok_or_else(no_frame)?;
    let texts = live.texts.encode(set).await?;
    // A newer frame may have arrived while the texts were encoded.
    let frame = live.newest.of(&source).ok_or_else(no_frame)?;
    Ok(Response {
        source: source.to_string(),
        captured_at: Time(frame.captured_at),
        origin: frame.origin.clone(),
        model: config.model.name().into_owned(),
        scores: scores(&request.text, &texts, &frame.regions),
    })
}

/// The label set of a question.
pub(super) fn question(text: &[String], template: Option<&str>) -> Result<LabelSet, Error> {
    let template = template.unwrap_or(TEMPLATE);
    let template: Template =
        template.parse().map_err(|error| Error::parameter("template", format!("{error}")))?;
    let wrong = |what: String| Err(Error::parameter("text", what));
    match text.len() {
        0 => return wrong("there is no text".to_owned()),
        count if count > MOST_TEXTS => {
            return wrong(format!("there are {count} texts, and {MOST_TEXTS} are allowed"));
        }
        _ => {}
    }
    for (number, one) in text.iter().enumerate() {
        let length = one.chars().count();
        if one.trim().is_empty() {
            return wrong("a text is empty".to_owned());
        }
        if length > LONGEST_TEXT {
            return wrong(format!("a text has {length} characters, and {LONGEST_TEXT} are allowed"));
        }
        if text[..number].contains(one) {
            return wrong(format!("`{one}` is given twice"));
        }
    }
    Ok(LabelSet::untriggered("the question", &template, text))
}

/// Each text with the highest of its scores in the regions, the highest first; equal scores keep the order of the texts.
pub(super) fn scores(texts: &[String], vectors: &TextVectors, regions: &[RegionEmbedding]) -> Vec<TextScore> {
    let regions: Vec<_> =
        regions.iter().map(|(region, vector)| (region, vectors.scores(vector).labels)).collect();
    let best = |(number, text): (usize, &String)| {
        let scored = regions.iter().map(|(region, scores)| (*region, scores[number]));
        let (region, score) = scored.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        Some(TextScore { text: text.clone(), score, region: region.as_deref().map(str::to_owned) })
    };
    let mut scores: Vec<_> = texts.iter().enumerate().filter_map(best).collect();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    scores
}

impl From<TextError> for Error {
    fn from(error: TextError) -> Self {
        let text = error.to_string();
        match error {
            TextError::TooLong { .. } => Self::parameter("text", text).remedy("Write a shorter text."),
            TextError::Labels(LabelError::Alone { .. }) => {
                Self::parameter("text", "a single text would always score 1.0 with this model")
                    .remedy("Add a text that says what is there otherwise, such as `the gate is closed`.")
            }
            TextError::Labels(_) => Self::new(Kind::Failed, text),
            TextError::Busy | TextError::Stopping => {
                Self::new(Kind::Unavailable, text).remedy("Repeat the request in a few seconds.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::tests::starting;

    fn request(text: &[&str]) -> Request {
        let text = text.iter().map(ToString::to_string).collect();
        Request { source: "back".to_owned(), text, template: None }
    }

    #[test]
    fn a_wrong_question_says_what_is_wrong() {
        let (long, many) = ("x".repeat(LONGEST_TEXT + 1), vec!["a"; MOST_TEXTS + 1]);
        for (text, what) in [
            (&[][..], "there is no text"),
            (&["open", " "], "empty"),
            (&["open", "open"], "`open` is given twice"),
            (&["open", &long], "301 characters, and 300 are allowed"),
            (&many, "17 texts, and 16 are allowed"),
        ] {
            let error = question(&request(text).text, None).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("text")));
            assert!(error.what.contains(what), "{error}");
        }
        let two = request(&["open", "closed"]).text;
        assert_eq!(question(&two, Some("a {} and {}")).unwrap_err().place.as_deref(), Some("template"));
        let set = question(&two, None).unwrap();
        assert_eq!(set.templates[0].fill("x"), "This is a photo of x.");
        let set = question(&request(&["open"]).text, Some("{}")).unwrap();
        assert_eq!((set.templates[0].fill("x"), &*set.labels[0].name), ("x".to_owned(), "open"));
    }

    #[tokio::test]
    async fn a_question_before_the_model_is_loaded_is_repeated_later() {
        let folder = tempfile::tempdir().unwrap();
        let error = answer(&starting(folder.path()), &request(&["open", "closed"])).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
    }
}
