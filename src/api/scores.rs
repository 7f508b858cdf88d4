//! `scores`: the scores of one source over any time, with a few points for each label, for charts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    explain::{is_asked, last_judged},
    service::{Service, source_named},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{Config, Source},
    history::{
        self, Reader,
        scores::{
            self, Chart, Window,
            reduce::{Reduced, ScoreLine, ScorePoint},
        },
    },
    judge::Assessment,
    policy::{Hold, LabelSet, TriggerSettings},
};

/// The points of a label, if the request names no number.
const POINTS: u32 = 500;
/// The most points of a label.
const MOST_POINTS: u32 = 2000;
/// The most points of an answer, about 2 MB of JSON.
const MOST_IN_ALL: usize = 50_000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "scores",
    method: Method::Get,
    summary: "Reads the scores of a source in a range of time, with the lowest and the highest score for each point of a chart.",
    answer: Answer::Either {
        live: |service, request| Box::pin(async move { answer_live(&service, request).await }),
        read: answer,
    },
};

/// Which scores are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// Only labels of this label set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_set: Option<String>,
    /// Only this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The first moment; without it, the first stored frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last moment; without it, the newest stored frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The most points of each label, from 1 to 2000; 500 if there is none. Answers with very many labels have fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

/// The scores that were read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The name of the source.
    pub source: String,
    /// About the first stored frame in the range; absent if none is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Time>,
    /// About the last stored frame in the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
    /// The labels: those that are watched now in the order of the configuration, then those that only were watched. Rules have no
    /// scores.
    pub labels: Vec<LabelScores>,
    /// Times without frames: the last frame before and the first frame after, in milliseconds since 1970.
    pub gaps: Vec<[i64; 2]>,
    /// The number of frames in the range.
    pub frames: u64,
    /// The number of damaged parts of the history, which are left out.
    pub damaged: u64,
}

/// The scores of a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelScores {
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
    /// The levels and settings that are in force now; absent for a label that is no longer watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels_now: Option<LevelsNow>,
    /// Each point: when its first frame was captured (milliseconds since 1970), the lowest score, the highest score, and the score of its
    /// last frame.
    pub points: Vec<(i64, f64, f64, f64)>,
}

/// The levels of a label, and the settings of its trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LevelsNow {
    /// A frame with at least this score counts for the label; absent while a baseline is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// A raised label is cleared below this score; absent while a baseline is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_below: Option<f64>,
    /// The usual score while the label is absent, if it is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The setting `threshold`, or `rise` if the levels are rises over the baseline.
    pub set_threshold: f64,
    /// The setting `clear_below`, or `clear_rise`.
    pub set_clear_below: f64,
    /// Whether the levels are rises over the baseline.
    pub rises: bool,
    /// The setting `hold`: this number of frames must agree ...
    pub hold_frames: u8,
    /// ... of this number of newest frames.
    pub hold_of: u8,
    /// The setting `for`, in seconds.
    pub for_s: f64,
    /// The setting `cooldown`, in seconds.
    pub cooldown_s: f64,
}

/// A label that is watched now.
struct Watched {
    label_set: String,
    label: String,
    levels: LevelsNow,
}

impl Request {
    /// Whether the label is asked for. Names that differ only in their spelling are the same.
    fn includes(&self, label_set: &str, label: &str) -> bool {
        is_asked(self.label_set.as_deref(), label_set) && is_asked(self.label.as_deref(), label)
    }

    fn window(&self) -> Window {
        Window { since: self.since.map(|Time(time)| time), until: self.until.map(|Time(time)| time) }
    }

    fn points(&self) -> Result<usize, Error> {
        points_of(self.points)
    }
}

/// The number of points for each label.
///
/// # Errors
/// It is out of range.
pub(super) fn points_of(points: Option<u32>) -> Result<usize, Error> {
    let points = points.unwrap_or(POINTS);
    if !(1..=MOST_POINTS).contains(&points) {
        let what = format!("{points} is not a number from 1 to {MOST_POINTS}");
        return Err(Error::parameter("points", what));
    }
    Ok(points as usize)
}

/// The answer of the running service: stored scores, with the levels that are in force.
///
/// # Errors
/// There is no such source, a number is out of range, the service is starting, or the history cannot be read.
pub async fn answer_live(service: &Service, request: Request) -> Result<Response, Error> {
    let live = service.live()?;
    let config = live.newest.config();
    let source = source_named(&config, "source", &request.source)?;
    let frame = live.newest.of(&source.name);
    let assessments = frame.as_ref().map_or(&[][..], |frame| &frame.assessments);
    let watched = watched_now(&config, source, assessments);
    service.read(move |reader| with_levels(reader, &request, watched)).await
}

/// The answer of the history alone. The levels are those of its newest frame.
///
/// # Errors
/// Nothing of this source is stored, a number is out of range, or the history cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let newest = scores::newest(reader.connection(), &request.source, None).map_err(history::Error::from)?;
    let Some((setup, chunk)) = newest else {
        let what = format!("no scores of a source `{}` are stored", request.source);
        return Err(Error::new(Kind::BadRequest, what).at("source"));
    };
    let assessments = last_judged(&setup, &chunk, None).map_or(vec![], |(_, assessments)| assessments);
    let watched = setup.labels().map(|(set, label)| Watched {
        label_set: set.name.clone(),
        label: label.name.clone(),
        levels: levels_now(&label.trigger, find(&assessments, &set.name, &label.name)),
    });
    with_levels(reader, request, watched.collect())
}

/// The labels that a source watches, with the levels that were in force at its newest frame.
fn watched_now(config: &Config, source: &Source, assessments: &[Assessment]) -> Vec<Watched> {
    let of_set = |set: &LabelSet| {
        let of_label = |label| {
            let settings = source.label(&set.name, label);
            Watched {
                label_set: set.name.clone(),
                label: label.name.clone(),
                levels: levels_now(&settings.trigger, find(assessments, &set.name, &label.name)),
            }
        };
        set.labels.iter().map(of_label).collect::<Vec<_>>()
    };
    config.watched_by(source).flat_map(of_set).collect()
}

fn find<'a>(assessments: &'a [Assessment], set: &str, label: &str) -> Option<&'a Assessment> {
    assessments.iter().find(|it| *it.label_set == *set && *it.label == *label)
}

fn levels_now(settings: &TriggerSettings, assessment: Option<&Assessment>) -> LevelsNow {
    let TriggerSettings { threshold, clear_below, rises, hold, lasting, cooldown } = *settings;
    let Hold { frames, of } = hold;
    // Levels that are scores are those of the settings, also before the first frame and right after a change.
    let levels = if rises { assessment.and_then(|it| it.levels) } else { Some(settings.levels()) };
    LevelsNow {
        threshold: levels.map(|levels| decimals(levels.threshold)),
        clear_below: levels.map(|levels| decimals(levels.clear_below)),
        baseline: assessment.and_then(|it| it.baseline).map(decimals),
        set_threshold: decimals(threshold),
        set_clear_below: decimals(clear_below),
        rises,
        hold_frames: frames,
        hold_of: of,
        for_s: lasting.as_secs_f64(),
        cooldown_s: cooldown.as_secs_f64(),
    }
}

/// The stored scores, with these levels.
fn with_levels(reader: &Reader, request: &Request, watched: Vec<Watched>) -> Result<Response, Error> {
    let points = request.points()?;
    let wants = |set: &str, label: &str| request.includes(set, label);
    let (connection, limits) = (reader.connection(), (points, MOST_IN_ALL));
    let chart = scores::chart(connection, &request.source, request.window(), limits, wants);
    let Chart { span, reduced, damaged } = chart.map_err(history::Error::from)?;
    let Reduced { mut lines, gaps, frames } = reduced;
    let asked = watched.into_iter().filter(|it| request.includes(&it.label_set, &it.label));
    let mut labels = Vec::with_capacity(lines.len());
    for Watched { label_set, label, levels } in asked {
        let found = lines.iter().position(|line| line.label_set == label_set && line.label == label);
        let points = found.map_or(vec![], |found| lines.remove(found).points);
        let points = points.into_iter().map(score_point).collect();
        labels.push(LabelScores { label_set, label, levels_now: Some(levels), points });
    }
    labels.extend(lines.into_iter().map(|ScoreLine { label_set, label, points }| LabelScores {
        label_set,
        label,
        levels_now: None,
        points: points.into_iter().map(score_point).collect(),
    }));
    let time = |millisecond| Timestamp::from_millisecond(millisecond).ok().map(Time);
    Ok(Response {
        source: request.source.clone(),
        first: span.and_then(|(first, _)| time(first)),
        last: span.and_then(|(_, last)| time(last)),
        labels,
        gaps,
        frames,
        damaged,
    })
}

/// A point as it is sent.
pub(super) fn score_point(point: ScorePoint) -> (i64, f64, f64, f64) {
    (point.at, decimals(point.lowest), decimals(point.highest), decimals(point.last))
}

/// Four decimals for charts, as more are noise of the model; further ones for the small scores of some models.
fn decimals(score: f32) -> f64 {
    let digits = if score.abs() < 0.01 { 1e6 } else { 1e4 };
    (f64::from(score) * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_range() {
        let points = |points| Request { points, ..Request::default() }.points();
        assert_eq!(points(None), Ok(500));
        for good in [1, MOST_POINTS] {
            assert_eq!(points(Some(good)), Ok(good as usize));
        }
        for wrong in [0, MOST_POINTS + 1] {
            let error = points(Some(wrong)).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("points")));
        }
    }

    #[test]
    fn a_source_without_stored_scores_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let request = Request { source: "yard".to_owned(), ..Request::default() };
        let error = answer(&reader, &request).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("source"));
        assert!(error.what.contains("no scores of a source `yard`"), "{error}");
        // A running service knows the source.
        let settings = TriggerSettings { clear_below: 0.5, ..TriggerSettings::at(0.65) };
        let watched = || Watched {
            label_set: "porch".to_owned(),
            label: "person".to_owned(),
            levels: levels_now(&settings, None),
        };
        let found = with_levels(&reader, &request, vec![watched()]).unwrap();
        assert_eq!((found.first, found.frames, found.gaps.len()), (None, 0, 0));
        let levels = found.labels[0].levels_now.clone().unwrap();
        assert_eq!((levels.threshold, levels.clear_below, levels.hold_of), (Some(0.65), Some(0.5), 1));
        assert_eq!(found.labels[0].points, []);
        let other = Request { label: Some("Fox".to_owned()), ..request };
        assert_eq!(with_levels(&reader, &other, vec![watched()]).unwrap().labels, []);
    }

    #[test]
    fn rises_have_no_levels_before_a_baseline_is_known() {
        let rises = TriggerSettings { rises: true, ..TriggerSettings::at(0.2) };
        let levels = levels_now(&rises, None);
        assert_eq!((levels.threshold, levels.set_threshold, levels.rises), (None, 0.2, true));
    }

    #[test]
    fn small_scores_keep_their_digits() {
        let scores = [0.123_456_79, 0.000_512_3, 0.0, 1.0, 0.65].map(decimals);
        assert_eq!(scores, [0.1235, 0.000_512, 0.0, 1.0, 0.65]);
    }
}
