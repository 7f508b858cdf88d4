//! `try_words`: the scores that other words for a label would have had, from the stored embeddings of a source. The label set is scored
//! as a whole, as the classifier does it: with softmax, the words of one label change the scores of all.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ask::{LONGEST_TEXT, MOST_TEXTS},
    error::{Error, Kind},
    scores::{points_of, score_point},
    service::Service,
    suggest::label,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    classify::TextVectors,
    config::Config,
    history::{
        self, Reader,
        scores::reduce::Reducer,
        vectors::{
            rotation::Rotation,
            series::{Asked, Series, SeriesError, series},
        },
    },
    judge::{FrameScores, LabelSetup, SetSetup, Setup},
    policy::{LabelSet, Silence, TriggerSettings},
};

/// The most embeddings that are scored at once: those of a week with a frame a second. They need about 60 MB.
const MOST_EMBEDDINGS: u64 = 700_000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "try_words",
    method: Method::Query,
    summary: "Scores the stored embeddings of a source with other words for one label, as the model would have scored them.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request).await })),
};

/// Which label, with which words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
    /// The words instead of those in the configuration, such as `a red car in the yard`: at least one.
    pub prompts: Vec<String>,
    /// The background of the label set instead of the one in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Vec<String>>,
    /// The first moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The most points, from 1 to 2000; 500 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

/// The scores of these words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Each point: when its first frame was captured (milliseconds since 1970), the lowest score, the highest score, and the score of its
    /// last frame. Embeddings are stored with 8 bits for each dimension, so the scores differ a little from those of the service.
    pub points: Vec<(i64, f64, f64, f64)>,
    /// Times without embeddings: the last before and the first after, in milliseconds since 1970.
    pub gaps: Vec<[i64; 2]>,
    /// The number of embeddings that were scored.
    pub embeddings: u64,
    /// The number of stored embeddings of the source that other models made. They cannot be scored.
    pub embeddings_of_other_models: u64,
    /// Whether the labels of the set share a total score of 1: then these words change the scores of the other labels, too.
    pub changes_other_labels: bool,
}

/// The label set with the words that are tried, and where its scores are read.
struct Trial {
    set: LabelSet,
    /// The place of the label in the set.
    label: usize,
    source: String,
    /// The regions that count for the label; `None` is the whole frame.
    regions: Vec<Option<String>>,
    model: String,
    /// Whether embeddings are stored.
    searches: bool,
}

/// Scores the stored embeddings with other words.
///
/// # Errors
/// The request is wrong, no embeddings are stored or too many, or the model is busy.
pub async fn answer(service: &Arc<Service>, request: Request) -> Result<Response, Error> {
    let points = points_of(request.points)?;
    let live = service.live()?;
    let trial = trial(&live.newest.config(), &request)?;
    let texts =
        live.texts.encode(trial.set.clone()).await.map_err(|error| Error::from(error).at("prompts"))?;
    let milliseconds = |time: Option<Time>| time.map(|Time(time)| time.as_millisecond());
    let window = (milliseconds(request.since), milliseconds(request.until));
    service.read(move |reader| scored(reader, &trial, &texts, window, points)).await
}

fn trial(config: &Config, request: &Request) -> Result<Trial, Error> {
    check("prompts", &request.prompts)?;
    if request.prompts.is_empty() {
        return Err(Error::parameter("prompts", "there are no words").remedy("Write at least one."));
    }
    check("background", request.background.as_deref().unwrap_or_default())?;
    let (source, set, own) = label(config, [&request.source, &request.label_set, &request.label])?;
    let names: Vec<_> = source.regions.iter().map(|region| region.name.clone()).collect();
    let counts = |name: &String| own.regions.is_empty() || own.regions.contains(name);
    let regions: Vec<_> = names.into_iter().filter(counts).map(Some).collect();
    let place = set.labels.iter().position(|it| it.name == own.name).unwrap_or(0);
    let mut set = set.clone();
    set.rules.clear();
    if let Some(tried) = set.labels.get_mut(place) {
        tried.prompts.clone_from(&request.prompts);
    }
    if let Some(background) = &request.background {
        set.background.clone_from(background);
    }
    Ok(Trial {
        set,
        label: place,
        source: source.name.clone(),
        regions: if source.regions.is_empty() { vec![None] } else { regions },
        model: config.model.name().into_owned(),
        searches: config.history.as_ref().is_some_and(|history| history.search),
    })
}

/// The error for too many or too long texts.
fn check(parameter: &str, texts: &[String]) -> Result<(), Error> {
    if texts.len() > MOST_TEXTS {
        return Err(Error::parameter(
            parameter,
            format!("{} texts are given, and {MOST_TEXTS} are allowed", texts.len()),
        ));
    }
    for text in texts {
        let length = text.chars().count();
        if text.trim().is_empty() {
            return Err(
                Error::parameter(parameter, "a text is empty").remedy("Write words, or leave it out.")
            );
        }
        if length > LONGEST_TEXT {
            let what = format!("a text has {length} characters, and {LONGEST_TEXT} are allowed");
            return Err(Error::parameter(parameter, what));
        }
    }
    Ok(())
}

fn scored(
    reader: &Reader,
    trial: &Trial,
    texts: &TextVectors,
    (since, until): (Option<i64>, Option<i64>),
    points: usize,
) -> Result<Response, Error> {
    let dimensions = texts.vectors.labels.first().map_or(0, |vector| vector.len());
    let rotation = Rotation::new(dimensions);
    let rotated = texts.in_form(|vector| rotation.apply(vector));
    let regions: Vec<_> = trial.regions.iter().map(Option::as_deref).collect();
    let asked = Asked {
        source: &trial.source,
        regions: &regions,
        model: &trial.model,
        dimensions,
        since,
        // The last moment is a part of it.
        until: until.map(|until| until.saturating_add(1)),
        most: MOST_EMBEDDINGS,
    };
    let score =
        |picture: &[f32]| rotated.scores(picture).labels.get(trial.label).copied().unwrap_or(f32::NAN);
    let found = series(reader.connection(), &asked, score)?;
    if found.vectors == 0 && found.of_other_models == 0 && !trial.searches {
        return Err(Error::new(Kind::Conflict, "no embeddings are stored, so other words cannot be tried")
            .at("history.search")
            .remedy("Set `history: { search: true }`. Words can be tried on frames that are scored later."));
    }
    Ok(reduced(&found, points, texts.share_scores()))
}

/// The scores as points of a chart.
fn reduced(found: &Series, points: usize, changes_other_labels: bool) -> Response {
    let times = || found.points.iter().map(|(time, _)| *time);
    let span = times().min().zip(times().max()).unwrap_or((0, 0));
    let mut reducer = Reducer::new(span, points, points);
    reducer.enter(&Arc::new(one_label()), |_, _| true);
    for (time, score) in &found.points {
        let Ok(at) = Timestamp::from_millisecond(*time) else { continue };
        reducer.add(&FrameScores { at, scores: &[Some(*score)], sets: &[true] });
    }
    let reduced = reducer.finish();
    let line = reduced.lines.into_iter().next();
    Response {
        points: line.map_or_else(Vec::new, |line| line.points.into_iter().map(score_point).collect()),
        gaps: reduced.gaps,
        embeddings: found.vectors,
        embeddings_of_other_models: found.of_other_models,
        changes_other_labels,
    }
}

/// A setup with one label, whose scores are reduced.
fn one_label() -> Setup {
    let label = LabelSetup {
        name: String::new(),
        trigger: TriggerSettings::at(1.0),
        over: None,
        active: None,
        severity: None,
        message: None,
        silence: Silence::default(),
        when: None,
        of: String::new(),
    };
    let set = SetSetup { name: String::new(), labels: vec![label], rules: vec![] };
    Setup { model: String::new(), sets: vec![set] }
}

impl From<SeriesError> for Error {
    fn from(error: SeriesError) -> Self {
        let what = error.to_string();
        match error {
            SeriesError::Statement(error) => history::Error::from(error).into(),
            SeriesError::TooMany { .. } => {
                Self::new(Kind::TooLarge, what).at("since").remedy("Choose a shorter time.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Region, samples};

    fn request(prompts: &[&str]) -> Request {
        let [source, label_set, label] = ["back", "porch", "package"].map(str::to_owned);
        let prompts = prompts.iter().map(ToString::to_string).collect();
        Request { source, label_set, label, prompts, ..Request::default() }
    }

    #[test]
    fn the_whole_set_is_scored_with_other_words_for_one_label() {
        let mut config = samples::config();
        let tried = trial(&config, &request(&["a parcel", "a box"])).unwrap();
        let prompts: Vec<_> = tried.set.labels.iter().map(|label| label.prompts.join("+")).collect();
        assert_eq!((prompts, tried.label), (vec!["Person".to_owned(), "a parcel+a box".to_owned()], 1));
        assert_eq!((tried.set.background, tried.regions), (vec!["an empty porch".to_owned()], vec![None]));
        let background = Some(vec!["rain".to_owned()]);
        let other = trial(&config, &Request { background, ..request(&["a parcel"]) }).unwrap();
        assert_eq!(other.set.background, ["rain"]);

        let region = |name: &str| Region { name: name.to_owned(), x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
        config.sources[1].regions = vec![region("step"), region("gate")];
        let regions = |config: &Config| trial(config, &request(&["a parcel"])).unwrap().regions;
        assert_eq!(regions(&config), [Some("step".to_owned()), Some("gate".to_owned())]);
        let mut own = samples::label("package", 0.6);
        own.regions = vec!["gate".to_owned()];
        config.sources[1].adjusted = vec![("porch".to_owned(), own)];
        assert_eq!(regions(&config), [Some("gate".to_owned())]);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        let config = samples::config();
        let (long, many) = ("x".repeat(301), vec!["a"; 17]);
        let cases = [
            (request(&[]), "prompts", "there are no words"),
            (request(&["a", " "]), "prompts", "a text is empty"),
            (request(&[&long]), "prompts", "301 characters"),
            (request(&many), "prompts", "17 texts"),
            (
                Request { background: Some(vec![String::new()]), ..request(&["a"]) },
                "background",
                "a text is empty",
            ),
            (
                Request { label: "parcel".to_owned(), ..request(&["a"]) },
                "label",
                "there is no label `parcel`",
            ),
        ];
        for (request, place, words) in cases {
            let error = trial(&config, &request).err().unwrap();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some(place)), "{error}");
            assert!(error.what.contains(words), "{error}");
        }
        let many = Error::from(SeriesError::TooMany { vectors: 2_000_000, most: MOST_EMBEDDINGS });
        assert!(many.to_string().contains("2000000 embeddings") && many.remedy.is_some(), "{many}");
    }

    #[test]
    fn scores_are_reduced_to_points() {
        let points =
            (0..1000).map(|number| (number * 1000, if number == 123 { 0.9 } else { 0.25 })).collect();
        let found = Series { points, vectors: 1000, of_other_models: 7 };
        let response = reduced(&found, 10, true);
        assert_eq!(response.points.len(), 10);
        assert_eq!(response.points[1], (100_000, 0.25, 0.9, 0.25));
        assert_eq!((response.embeddings, response.embeddings_of_other_models), (1000, 7));
        assert_eq!(reduced(&Series::default(), 10, false).points, []);
    }
}
