//! `suggest`: the settings that `stakeout tune --history` suggests for one label, with the reason.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    rejudge::marks_of,
    service::{Service, source_named},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{Config, Source},
    history::{
        Reader,
        rejudge::{self, LabelScores},
        scores::Window,
    },
    judge,
    policy::{Label, LabelName, LabelSet, TriggerSettings},
    suggest::{
        Grade, Interval, MarkedMoment, Measure, Recording, Suggestion, TruthBy, events_of_marks, joined,
    },
    yaml::names,
};

/// The most scores that are learnt from: those of a week with a frame a second, and of a month with one in four seconds.
const MOST_SCORES: usize = 700_000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "suggest",
    method: Method::Get,
    summary: "Suggests a threshold, a clear level and a hold for one label from its stored scores and marks, with the reason.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request).await })),
};

/// Which label, and from which time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
    /// The first moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// What is suggested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Whether other settings are suggested.
    pub outcome: Outcome,
    /// The suggested settings; `null` if none are suggested.
    pub settings: Option<SuggestedSettings>,
    /// The reason, as a sentence: why these settings, or why none.
    pub reason: String,
    /// The lowest and the highest threshold that do as well; `null` if no settings separate.
    pub range: Option<[f64; 2]>,
    /// What the settings of the configuration do with these scores.
    pub now: Graded,
    /// What the suggested settings do; `null` if none are suggested.
    pub then: Option<Graded>,
    /// The number of marks that were used. Without any, only the alerts of the service say what the label looks like.
    pub marks: u64,
    /// The number of scores that were used.
    pub scores: u64,
    /// The number of frames with scores of other prompts, regions or models, which are left out.
    pub left_out: u64,
    /// Whether there are more scores than can be used: the newest are left out. Choose a shorter time.
    pub is_cut: bool,
    /// The label in the configuration.
    pub configured: ConfiguredLabel,
}

/// A label as it is in the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfiguredLabel {
    /// The words that the model compares pictures with.
    pub prompts: Vec<String>,
    /// The background of the label set.
    pub background: Vec<String>,
    /// Whether the label has settings of its own on this source: then these are changed, and not those of the label set.
    pub is_adjusted: bool,
    /// The number of sources that have the same settings of the label, this one included.
    pub sources: usize,
    /// Whether embeddings are stored, so that other words can be tried.
    pub has_embeddings: bool,
}

/// Whether other settings are suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Other settings are better.
    Other,
    /// The settings of the configuration are good as they are.
    Good,
    /// Nothing can be suggested; the reason says what to do.
    Nothing,
}

/// Suggested settings. All others stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuggestedSettings {
    /// `threshold`.
    pub threshold: f64,
    /// `clear_below`.
    pub clear_below: f64,
    /// `hold`, such as `2 of 3`.
    pub hold: String,
}

/// What settings do with the stored scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Graded {
    /// The number of alerts.
    pub alerts: u64,
    /// The number of alerts in a day.
    pub a_day: f64,
    /// Events with an alert; `null` without marks.
    pub right: Option<u64>,
    /// Alerts without an event, or for an event that already has one; `null` without marks.
    pub wrong: Option<u64>,
    /// Events without an alert; `null` without marks.
    pub missed: Option<u64>,
}

/// A label of the configuration, as its scores are compared.
struct Asked {
    source: String,
    name: LabelName,
    settings: TriggerSettings,
    over: Option<Duration>,
    measure: Measure,
    /// What its scores are computed from.
    of: String,
    configured: ConfiguredLabel,
}

/// Suggests settings.
///
/// # Errors
/// The configuration has no such label on this source, the history cannot be read, or the service is starting.
pub async fn answer(service: &Arc<Service>, request: Request) -> Result<Response, Error> {
    let asked = asked(&service.live()?.newest.config(), &request)?;
    service.read(move |reader| suggested(reader, &request, &asked)).await
}

/// The source, the label set and the label of the configuration.
///
/// # Errors
/// There is no such source, label set or label on this source.
pub(super) fn label<'c>(
    config: &'c Config,
    [source, label_set, label]: [&str; 3],
) -> Result<(&'c Source, &'c LabelSet, &'c Label), Error> {
    let source = source_named(config, "source", source)?;
    let sets: Vec<_> = config.watched_by(source).collect();
    let set = sets.iter().copied().find(|set| set.name == *label_set).ok_or_else(|| {
        let suggestion = names::suggest(label_set, &sets.iter().map(|set| &*set.name).collect::<Vec<_>>());
        let what = format!("the source `{}` watches no label set `{label_set}`; {suggestion}", source.name);
        Error::parameter("label_set", what)
    })?;
    if set.rules.iter().any(|rule| rule.settings.name == *label) {
        let what = format!("`{label}` is a rule over labels");
        return Err(Error::parameter("label", what).remedy("A rule follows the settings of its labels."));
    }
    let found = set.labels.iter().find(|it| it.name == *label).ok_or_else(|| {
        let known: Vec<_> = set.labels.iter().map(|label| &*label.name).collect();
        let what = format!("there is no label `{label}`; {}", names::suggest(label, &known));
        Error::parameter("label", what)
    })?;
    Ok((source, set, source.label(&set.name, found)))
}

fn asked(config: &Config, request: &Request) -> Result<Asked, Error> {
    let (source, set, label) = label(config, [&request.source, &request.label_set, &request.label])?;
    let is_adjusted = |source: &Source| {
        source.adjusted.iter().any(|(of, adjusted)| *of == set.name && adjusted.name == label.name)
    };
    let shares = |other: &&Source| other.watch.contains(&set.name) && !is_adjusted(other);
    let is_own = is_adjusted(source);
    let configured = ConfiguredLabel {
        prompts: label.prompts.clone(),
        background: set.background.clone(),
        is_adjusted: is_own,
        sources: if is_own { 1 } else { config.sources.iter().filter(shares).count() },
        has_embeddings: config.history.as_ref().is_some_and(|history| history.search),
    };
    Ok(Asked {
        source: source.name.clone(),
        name: LabelName { label_set: set.name.clone(), label: label.name.clone() },
        settings: label.trigger,
        over: source.baseline,
        measure: Measure::of(set.scoring),
        of: judge::scored_from(source, set, label, &config.model.name()),
        configured,
    })
}

fn suggested(reader: &Reader, request: &Request, asked: &Asked) -> Result<Response, Error> {
    let time = |time: Option<Time>| time.map(|Time(time)| time);
    let window = Window { since: time(request.since), until: time(request.until) };
    let scores = rejudge::label_scores(reader, &asked.source, window, &asked.name, MOST_SCORES, |label| {
        label.of == asked.of
    })?;
    let marks = marks_of(reader, &asked.source, &asked.name, window)?;
    Ok(response(&scores, &marks, asked))
}

/// Why there is nothing to learn from.
const NO_SCORES: &str = "no scores are stored for this time. Scores of other prompts, regions or models are not used: choose a longer \
                         time, or wait for new scores";

fn response(scores: &LabelScores, marks: &[MarkedMoment], asked: &Asked) -> Response {
    let raised: Vec<Interval> = scores.raised.iter().map(|span| (span.from, span.until)).collect();
    let events = (!marks.is_empty()).then(|| joined(events_of_marks(&raised, marks)));
    let recording = Recording::new(&scores.points);
    let suggestion = Suggestion::of(&recording, asked.settings, asked.over, events, asked.measure);
    let separates = suggestion.advice.as_ref().ok().filter(|advice| advice.separates);
    let graded = |alerts: usize, grade: Option<Grade>| Graded {
        alerts: alerts as u64,
        a_day: (suggestion.a_day(alerts) * 10.0).round() / 10.0,
        right: grade.map(|grade| grade.right as u64),
        wrong: grade.map(|grade| grade.wrong() as u64),
        missed: grade.map(|grade| grade.missed as u64),
    };
    let advice = suggestion.suggested();
    Response {
        outcome: match (advice, separates) {
            (Some(_), _) => Outcome::Other,
            (None, Some(_)) => Outcome::Good,
            (None, None) => Outcome::Nothing,
        },
        settings: advice.map(|advice| SuggestedSettings {
            threshold: typed(advice.settings.threshold),
            clear_below: typed(advice.settings.clear_below),
            hold: advice.settings.hold.to_string(),
        }),
        reason: if scores.points.is_empty() {
            NO_SCORES.to_owned()
        } else {
            suggestion.reason(TruthBy::Marks)
        },
        range: separates.map(|advice| [typed(advice.range.0), typed(advice.range.1)]),
        now: graded(suggestion.now.0, suggestion.now.1),
        then: advice.map(|advice| graded(advice.alerts, advice.grade)),
        marks: marks.len() as u64,
        scores: scores.points.len() as u64,
        left_out: scores.left_out,
        is_cut: scores.is_cut,
        configured: asked.configured.clone(),
    }
}

/// The number as people type it: a suggested level has few digits.
fn typed(level: f32) -> f64 {
    level.to_string().parse().unwrap_or_else(|_| level.into())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{history::rejudge::RaisedSpan, samples, suggest::Point};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn request(source: &str, label_set: &str, label: &str) -> Request {
        let [source, label_set, label] = [source, label_set, label].map(str::to_owned);
        Request { source, label_set, label, ..Request::default() }
    }

    #[test]
    fn a_label_is_that_of_the_configuration_with_its_settings_on_the_source() {
        let mut config = samples::config();
        config.sources[1].adjusted = vec![("porch".to_owned(), samples::label("package", 0.75))];
        let threshold =
            |source: &str| asked(&config, &request(source, "porch", "package")).unwrap().settings.threshold;
        assert_eq!((threshold("Front Door"), threshold("back")), (0.6, 0.75));
        let configured =
            |source: &str, label: &str| asked(&config, &request(source, "porch", label)).unwrap().configured;
        let package = configured("back", "package");
        assert_eq!((package.is_adjusted, package.sources, package.has_embeddings), (true, 1, false));
        assert_eq!(
            (package.prompts, package.background),
            (vec!["package".to_owned()], vec!["an empty porch".to_owned()])
        );
        assert_eq!(
            (configured("Front Door", "package").sources, configured("back", "Person").sources),
            (1, 2)
        );
        for (source, set, label, place, words) in [
            ("bakc", "porch", "Person", "source", "did you mean `back`?"),
            ("back", "prch", "Person", "label_set", "did you mean `porch`?"),
            ("back", "yard", "fox", "label_set", "watches no label set `yard`"),
            ("back", "porch", "person", "label", "did you mean `Person`?"),
        ] {
            let error = asked(&config, &request(source, set, label)).err().unwrap();
            assert_eq!(error.place.as_deref(), Some(place), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    /// Ten minutes of quiet scores, with three events; the second one is weaker.
    fn scores() -> LabelScores {
        let score = |second: i64| match second % 200 {
            100..110 if second / 200 == 1 => 0.62,
            100..110 => 0.9,
            _ => 0.05 + 0.01 * (second % 5) as f32,
        };
        let points = (0..600).map(|second| Point { time: at(second), score: score(second) }).collect();
        let raised = [100, 300, 500].map(|from| RaisedSpan {
            from: at(from),
            until: at(from + 10),
            is_cleared: true,
            is_alert: true,
            score: 0.9,
            threshold: 0.1,
        });
        LabelScores { points, raised: raised.into(), ..LabelScores::default() }
    }

    #[test]
    fn the_suggestion_uses_marks_and_gives_its_reason() {
        let mut asked = asked(&samples::config(), &request("back", "porch", "Person")).unwrap();
        asked.settings = TriggerSettings::at(0.1);
        let without = response(&scores(), &[], &asked);
        assert_eq!((without.outcome, without.now.alerts, without.now.right), (Outcome::Other, 3, None));
        let settings = without.settings.clone().unwrap();
        assert!((0.15..0.6).contains(&settings.threshold) && settings.hold == "1 of 1", "{without:?}");
        assert_eq!(without.then.unwrap().alerts, 3);
        assert!(without.reason.contains("it makes no difference: 3 alerts"), "{}", without.reason);

        // The weaker event was something else.
        let wrong = MarkedMoment { time: at(300), is_right: false };
        let with = response(&scores(), &[wrong], &asked);
        let settings = with.settings.unwrap();
        assert!((0.63..0.9).contains(&settings.threshold), "{settings:?}");
        let counts = |graded: Graded| (graded.right, graded.wrong, graded.missed);
        assert_eq!(counts(with.now), (Some(2), Some(1), Some(0)));
        assert_eq!(counts(with.then.unwrap()), (Some(2), Some(0), Some(0)));
        assert!(with.reason.starts_with("2 of 2 events are alerted, with no false alert"), "{}", with.reason);
        let [low, high] = with.range.unwrap();
        assert!(low <= settings.threshold && settings.threshold <= high && with.marks == 1);

        asked.settings = TriggerSettings {
            clear_below: settings.clear_below as f32,
            ..TriggerSettings::at(settings.threshold as f32)
        };
        let same = response(&scores(), &[wrong], &asked);
        assert_eq!((same.outcome, same.settings), (Outcome::Good, None));
        asked.settings = TriggerSettings::at(0.99);
        let nothing = response(&scores(), &[], &asked);
        assert_eq!((nothing.outcome, nothing.range), (Outcome::Nothing, None));
        assert!(nothing.reason.starts_with("not seen here"), "{}", nothing.reason);
        let empty = response(&LabelScores { left_out: 7, ..LabelScores::default() }, &[], &asked);
        assert_eq!((empty.outcome, empty.scores, empty.left_out), (Outcome::Nothing, 0, 7));
        assert!(empty.reason.starts_with("no scores are stored"), "{}", empty.reason);
    }
}
