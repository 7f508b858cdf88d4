//! `search`: finds stored frames by words, or by a stored frame that they are similar to. With [`find`] the commands, and
//! [`search_picture`](super::search_picture), also search by a picture.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ask,
    error::{Error, Kind},
    service::{Live, Service},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::Config,
    history::{
        self, Reader, pictures,
        search::{Found, Search, SearchError},
        vectors::read::{self, Moment},
    },
    observe::HistoryCounts,
    policy::{LabelSet, Scoring, Template},
    yaml::names,
};

/// The results, unless the request says otherwise.
pub const TOP: u32 = 20;
/// The most results.
pub const MOST: u32 = 1000;
/// A picture that was captured within this time of the best frame shows the event, at least and at most.
const AROUND: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_EVENT: SignedDuration = SignedDuration::from_mins(5);
/// A frame without an embedding of its own is found by one that was captured within this time, in milliseconds.
const NEAR: i64 = 2000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "search",
    method: Method::Get,
    summary: "Finds stored frames by words, or by a stored frame that they are similar to.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request).await })),
};

/// What to search for, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words, such as `a dog at the gate`. They may be left out if frames are to be similar to a picture or to a stored frame.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The source of the stored frame that frames are to be similar to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like_source: Option<String>,
    /// When that frame was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like_at: Option<Time>,
    /// The region of that frame; the whole frame if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like_region: Option<String>,
    /// Only frames of the source with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only frames that were captured at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only frames that were captured before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The number of results at most, from 1 to 1000; 20 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<u32>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The events that were found, the best first.
    pub matches: Vec<Match>,
    /// The lift that chance alone reaches in one of twenty searches. Matches below it are probably wrong.
    pub line: f32,
    /// The model that the frames were searched with.
    pub model: String,
    /// The number of stored embeddings that were searched.
    pub embeddings: u64,
    /// The number of sources that they are of.
    pub sources: usize,
    /// The first stored frame of these sources.
    pub first: Option<Time>,
    /// The last stored frame of these sources.
    pub last: Option<Time>,
    /// The number of stored embeddings of other models, which could not be searched.
    pub embeddings_of_other_models: u64,
    /// The number of stored pictures that the model has not embedded yet. The service does so while the model is idle, after a change of
    /// `model` for example, and a later search finds them.
    #[serde(default)]
    pub pictures_to_embed: u64,
}

/// An event that was found: frames of one source that follow each other and are similar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// The name of the source.
    pub source: String,
    /// The region in which it was found; `null` is the whole frame.
    pub region: Option<String>,
    /// When the best frame was captured.
    pub time: Time,
    /// The first frame of the event that was found.
    pub first: Time,
    /// The last frame of the event that was found.
    pub last: Time,
    /// By how much the best frame is more similar than usual for this source, in standard deviations.
    pub lift: f32,
    /// The similarity of the best frame: a cosine.
    pub similarity: f32,
    /// The lift is above the line.
    pub likely: bool,
    /// The address of a small picture of the event, if one is stored.
    pub picture: Option<String>,
}

/// Searches with the model of the running service.
///
/// # Errors
/// The request is wrong, the service keeps no embeddings, or the model is busy.
pub async fn answer(service: &Service, request: Request) -> Result<Response, Error> {
    let is_like = request.like()?.is_some();
    let live = service.live()?;
    let vectors = match &*request.text {
        "" if is_like => Vec::new(),
        text => of_words(live, text).await?,
    };
    find_like(service, live, request, vectors).await
}

/// The vectors of words, by the model of the running service.
///
/// # Errors
/// There are no words, or too many; or the model is busy.
pub(super) async fn of_words(live: &Live, text: &str) -> Result<Vec<Vec<f32>>, Error> {
    let texts = live.texts.encode(words(text)?).await?;
    Ok(texts.vectors.labels.iter().map(|vector| vector.to_vec()).collect())
}

/// Searches by these vectors, and by the stored frame of the request if it names one.
///
/// # Errors
/// As [`answer`].
pub(super) async fn find_like(
    service: &Service,
    live: &Live,
    request: Request,
    mut vectors: Vec<Vec<f32>>,
) -> Result<Response, Error> {
    let config = live.newest.config();
    let search = move |reader: &Reader| {
        if let Some(like) = request.like()? {
            vectors.push(of_frame(reader, &config, &like)?);
        }
        find(reader, &config, &request, &vectors)
    };
    let found = service.read(search).await?;
    let to_embed = |counts: &HistoryCounts| counts.to_embed.load(Ordering::Relaxed);
    Ok(Response { pictures_to_embed: service.metrics.history().map_or(0, to_embed), ..found })
}

/// The vector of a stored frame.
fn of_frame(reader: &Reader, config: &Config, like: &Moment<'_>) -> Result<Vec<f32>, Error> {
    let found = read::of_moment(reader.connection(), &config.model.name(), like, NEAR);
    found.map_err(SearchError::from)?.ok_or_else(|| {
        Error::new(Kind::NotFound, "no embedding of this frame is stored")
            .at("like_at")
            .remedy("Embeddings are stored with `history: { search: true }`. Search by the picture of the frame instead.")
    })
}

impl Request {
    /// The stored frame that frames are to be similar to.
    ///
    /// # Errors
    /// It is named incompletely.
    fn like(&self) -> Result<Option<Moment<'_>>, Error> {
        let Self { like_source, like_at, like_region, .. } = self;
        match (like_source, like_at) {
            (Some(source), Some(Time(at))) => {
                let (region, time) = (like_region.as_deref(), at.as_millisecond());
                Ok(Some(Moment { source, region, time }))
            }
            (None, None) if like_region.is_none() => Ok(None),
            (None, _) => Err(Error::parameter("like_source", "the source of the stored frame is missing")),
            (Some(_), None) => Err(Error::parameter("like_at", "the time of the stored frame is missing")),
        }
    }
}

/// The words of a search as a label set, which the label encoder encodes.
///
/// # Errors
/// There are no words, or too many.
pub fn words(text: &str) -> Result<LabelSet, Error> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err(Error::parameter("text", "there are no words to search for"));
    }
    if length > ask::LONGEST_TEXT {
        let most = ask::LONGEST_TEXT;
        return Err(Error::parameter("text", format!("it has {length} characters, and {most} are allowed")));
    }
    let template: Template =
        ask::TEMPLATE.parse().map_err(|error| Error::new(Kind::Failed, format!("the template: {error}")))?;
    let set = LabelSet::untriggered("search", &template, &[text.to_owned()]);
    // Similarities alone are compared: a single label needs no background.
    Ok(LabelSet { scoring: Scoring::Cosine, ..set })
}

/// Searches the store, given the vectors of words, of a picture, or of both, which the model of `config` has made.
///
/// # Errors
/// The request is wrong, no embeddings are stored, or the store cannot be read.
pub fn find(
    reader: &Reader,
    config: &Config,
    request: &Request,
    vectors: &[Vec<f32>],
) -> Result<Response, Error> {
    let top = request.top.unwrap_or(TOP);
    if !(1..=MOST).contains(&top) {
        return Err(Error::parameter("top", format!("write a number from 1 to {MOST}")));
    }
    let milliseconds = |time: Option<Time>| time.map(|Time(time)| time.as_millisecond());
    let (since, until) = (milliseconds(request.since), milliseconds(request.until));
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Error::parameter("until", "it is not later than `since`"));
    }
    let model = config.model.name();
    let search =
        Search { vectors, model: &model, source: request.source.as_deref(), since, until, top: top as usize };
    let found = history::search::search(reader.connection(), &search)?;
    if found.sources == 0 {
        check_source(reader, request)?;
        check_settings(config, &found)?;
    }
    response(reader, found, &model)
}

/// The error for a source without stored embeddings, if other sources have some: its name is probably misspelt.
fn check_source(reader: &Reader, request: &Request) -> Result<(), Error> {
    let Some(source) = &request.source else { return Ok(()) };
    let known = read::sources(reader.connection()).map_err(SearchError::from)?;
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    if known.is_empty() || known.contains(&source.as_str()) {
        return Ok(());
    }
    let what = format!("no embeddings of a source `{source}` are stored; {}", names::suggest(source, &known));
    Err(Error::parameter("source", what))
}

/// The error for a history that keeps no embeddings.
fn check_settings(config: &Config, found: &Found) -> Result<(), Error> {
    let searches = config.history.as_ref().is_some_and(|history| history.search);
    if searches || found.of_other_models > 0 {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "no embeddings are stored, so there is nothing to search")
        .at("history.search")
        .remedy("Set `history: { search: true }`. Frames that are scored later can be found."))
}

fn response(reader: &Reader, found: Found, model: &str) -> Result<Response, Error> {
    let matches = found.matches.into_iter().map(|found| result(reader, found));
    Ok(Response {
        matches: matches.collect::<Result<_, _>>()?,
        line: found.line,
        model: model.to_owned(),
        embeddings: found.vectors,
        sources: found.sources,
        first: found.span.map(|span| time(span.first)),
        last: found.span.map(|span| time(span.last)),
        embeddings_of_other_models: found.of_other_models,
        pictures_to_embed: 0,
    })
}

fn result(reader: &Reader, found: history::search::Match) -> Result<Match, Error> {
    let (Time(best), Time(last)) = (time(found.time), time(found.span.last));
    // Of the event, and else of the seconds around the best frame: a picture is stored for an alert, and not for every frame.
    let within = last.duration_since(best).clamp(AROUND, LONGEST_EVENT);
    let picture = pictures::nearest(reader.connection(), &found.source, best, within);
    let picture = picture.map_err(history::Error::from)?;
    Ok(Match {
        source: found.source,
        region: found.region,
        time: time(found.time),
        first: time(found.span.first),
        last: time(found.span.last),
        lift: found.lift,
        // With words and a picture, that of the words, which are first.
        similarity: found.similarities.first().copied().unwrap_or_default(),
        likely: found.is_likely,
        picture: picture.map(|picture| super::pictures::address(picture.id)),
    })
}

fn time(milliseconds: i64) -> Time {
    Time(Timestamp::from_millisecond(milliseconds).unwrap_or_default())
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Statement(error) => history::Error::from(error).into(),
            SearchError::Vectors => Self::new(Kind::BadRequest, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        history::{History, vectors::Recorder},
        policy::HistorySettings,
        samples,
    };

    fn request(source: Option<&str>, top: Option<u32>) -> Request {
        Request { text: "a dog".to_owned(), source: source.map(str::to_owned), top, ..Request::default() }
    }

    fn config(search: bool) -> Config {
        Config {
            history: Some(HistorySettings { search, ..HistorySettings::default() }),
            ..samples::config()
        }
    }

    fn time(text: &str) -> Option<Time> {
        Some(Time(text.parse().unwrap()))
    }

    #[test]
    fn what_was_found_has_times_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let config = config(true);
        let mut recorder = Recorder::new(&config.model.name());
        let start: Timestamp = "2026-11-23T08:15:30Z".parse().unwrap();
        history
            .write(|transaction| {
                (0..100_i64).try_for_each(|at| {
                    let content = if at == 60 { 0.5 } else { 0.01 * (at % 7) as f32 };
                    let vector: Arc<[f32]> = [(1.0 - content * content).sqrt(), content, 0.0].into();
                    let time = start.as_millisecond() + 600_000 * at;
                    recorder.record_frame(transaction, &"Front Door".into(), time, [(Some("step"), &vector)])
                })
            })
            .unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let like = |at: &str, region: Option<&str>| Request {
            like_source: Some("Front Door".to_owned()),
            like_at: time(at),
            like_region: region.map(str::to_owned),
            ..Request::default()
        };
        let similar = like("2026-11-23T18:15:31Z", None);
        let vector = of_frame(&reader, &config, &similar.like().unwrap().unwrap()).unwrap();
        assert!((vector[1] - 0.5).abs() < 0.01, "{vector:?}");
        let same = find(&reader, &config, &similar, &[vector]).unwrap();
        assert_eq!(Some(same.matches[0].time), time("2026-11-23T18:15:30Z"));
        for (at, region) in [("2026-11-23T18:20:00Z", None), ("2026-11-23T18:15:30Z", Some("gate"))] {
            let other = like(at, region);
            let error = of_frame(&reader, &config, &other.like().unwrap().unwrap()).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::NotFound, Some("like_at")));
        }
        let half = Request { like_at: None, ..like("2026-11-23T18:15:30Z", None) };
        assert_eq!(half.like().unwrap_err().place.as_deref(), Some("like_at"));
        let found = find(&reader, &config, &request(None, None), &[vec![0.0, 1.0, 0.0]]).unwrap();
        let best = &found.matches[0];
        assert_eq!((&*best.source, best.region.as_deref(), best.likely), ("Front Door", Some("step"), true));
        assert_eq!(Some(best.time), time("2026-11-23T18:15:30Z"));
        assert!((best.similarity - 0.5).abs() < 0.01 && best.lift > found.line, "{best:?}");
        assert_eq!((found.embeddings, found.sources, found.first), (100, 1, time("2026-11-23T08:15:30Z")));
        let json = serde_json::to_string(&found).unwrap();
        assert!(json.contains(r#""time":"2026-11-23T18:15:30.000Z""#), "{json}");
        assert_eq!(serde_json::from_str::<Response>(&json).unwrap(), found);

        let other = find(&reader, &config, &request(Some("front door"), None), &[vec![0.0, 1.0, 0.0]]);
        let error = other.unwrap_err();
        assert_eq!(error.place.as_deref(), Some("source"));
        assert!(error.what.contains("did you mean `Front Door`?"), "{error}");
    }

    #[test]
    fn a_wrong_request_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let vectors = [vec![0.0, 1.0]];
        let error =
            |request: &Request, search| find(&reader, &config(search), request, &vectors).unwrap_err();
        for top in [0, 1001] {
            assert_eq!(error(&request(None, Some(top)), true).place.as_deref(), Some("top"));
        }
        let (since, until) = (time("2026-11-23T08:15:30Z"), time("2026-11-23T08:15:30Z"));
        let empty = Request { since, until, ..request(None, None) };
        assert_eq!(error(&empty, true).place.as_deref(), Some("until"));
        let off = error(&request(None, None), false);
        assert!(off.to_string().contains("Set `history: { search: true }`"), "{off}");
        let found = find(&reader, &config(true), &request(None, None), &vectors).unwrap();
        assert_eq!((found.matches.len(), found.embeddings), (0, 0), "nothing was seen yet");
        for (text, what) in [(" ", "no words"), (&"x".repeat(301), "301 characters")] {
            let error = words(text).unwrap_err();
            assert!(error.what.contains(what) && error.place.as_deref() == Some("text"), "{error}");
        }
        assert_eq!(words("a dog").unwrap().scoring, Scoring::Cosine);
    }
}
