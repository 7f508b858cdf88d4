//! `rejudge`: what other settings of one label would have raised, beside what the service raised. Fast enough to be asked while a
//! threshold is dragged.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    pictures,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    history::{
        self, Filter, Reader, alerts,
        marks::{self, Verdict},
        rejudge::{self, Change, Compared, Counted, Difference, RaisedSpan, Trial},
        scores::Window,
    },
    judge::LabelSetup,
    policy::LabelName,
    suggest::MarkedMoment,
    yaml::value::duration_text,
};

/// The alerts that are listed, unless the request says otherwise.
const LIMIT: u32 = 60;
/// The most alerts that are listed.
const MOST: u32 = 1000;
/// The most spans of an answer, the newest ones. A chart has fewer pixels.
const MOST_SPANS: usize = 2000;
/// The most verdicts that are compared.
const MOST_MARKS: u32 = 10_000;
/// A picture that was captured within this time of the raise shows the alert, at least and at most.
const AROUND: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_ALERT: SignedDuration = SignedDuration::from_mins(5);

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "rejudge",
    method: Method::Get,
    summary: "Judges the stored scores of one label again with other settings, and compares the alerts with those of the service.",
    answer: Answer::Read(answer),
};

/// Which label, when, and the settings that are tried. Settings that are not named stay as they were at each time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of the source.
    pub source: String,
    /// The label set.
    pub label_set: String,
    /// The label or the rule.
    pub label: String,
    /// The first moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Another threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Another clear level. A clear level that was not configured follows the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_below: Option<f64>,
    /// Another rise over the baseline, instead of a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<f64>,
    /// Another clear level as a rise over the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_rise: Option<f64>,
    /// The frames that must agree, such as `2 of 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// How long they must agree, such as `5s`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// The time after a raise without another one, such as `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<String>,
    /// The hours in which the label may be raised, such as `22:00-06:00`; `always` removes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
    /// The most alerts that are listed, from 1 to 1000; 60 if there is none. The counts are of all alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer. The counts of verdicts and of differences are of the newest 20,000 alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The number of frames with a score of the label.
    pub scores: u64,
    /// The number of places in which frames are missing.
    pub gaps: u64,
    /// The number of damaged parts of the history, which are left out.
    pub damaged: u64,
    /// The settings that were in force at the newest frame.
    pub settings: Settings,
    /// The same with the settings that are tried.
    pub tried: Settings,
    /// The alerts of the service.
    pub now: Alerts,
    /// The alerts with the settings that are tried.
    pub then: Alerts,
    /// The alerts that only the settings that are tried raise.
    pub new: Verdicts,
    /// The alerts of the service that are lost: with the settings that are tried the label is raised at no time of them.
    pub lost: Verdicts,
    /// The alerts with the settings that are tried, the newest first.
    pub alerts: Vec<TriedAlert>,
    /// The alerts of the service that are lost, the newest first.
    pub lost_alerts: Vec<TriedAlert>,
}

/// The settings of a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// `threshold`, or `rise`; `null` for a rule over labels.
    pub threshold: Option<f64>,
    /// `clear_below`, or `clear_rise`; `null` for a rule over labels.
    pub clear_below: Option<f64>,
    /// Whether the levels are rises over a baseline.
    pub rises: bool,
    /// Whether the source learns a baseline, which a rise needs.
    pub has_baseline: bool,
    /// `hold`: the frames that must agree, such as `2 of 3`.
    pub hold: String,
    /// `for`: how long they must agree, such as `5s`.
    #[serde(rename = "for")]
    pub lasting: String,
    /// `cooldown`, such as `5m`.
    pub cooldown: String,
    /// `active`: the hours; empty: always.
    pub active: Vec<String>,
}

/// How many alerts there are, what people said about them, and when the label was raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alerts {
    /// How often the label was raised.
    pub alerts: u64,
    /// What people said about these alerts.
    #[serde(flatten)]
    pub verdicts: Verdicts,
    /// The times in which it was raised, in milliseconds since 1970; at most 2000, the newest ones.
    pub spans: Vec<[i64; 2]>,
}

/// What people said about some alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdicts {
    /// Marked as right.
    pub right: u64,
    /// Marked as wrong.
    pub wrong: u64,
    /// Without a mark.
    pub unmarked: u64,
}

/// An alert of the service, or one that the settings that are tried would have raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriedAlert {
    /// When the frame that raises the label was captured.
    pub time: Time,
    /// When the label was cleared; `null` if it is still raised at the end.
    pub cleared: Option<Time>,
    /// The score that raised it; `null` for a rule.
    pub score: Option<f64>,
    /// The threshold at that time; `null` for a rule.
    pub threshold: Option<f64>,
    /// Whether the service raised it, too.
    pub difference: DifferenceWord,
    /// The identifier of the alert that the service raised, if it is stored.
    pub id: Option<String>,
    /// The address of a small picture, if one is stored.
    pub picture: Option<String>,
    /// A person's verdict: `right` or `wrong`.
    pub mark: Option<String>,
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceWord {
    /// The service raised it, too.
    Kept,
    /// Only the settings that are tried raise it.
    New,
    /// Only the service raised it.
    Lost,
}

impl Request {
    fn name(&self) -> LabelName {
        LabelName { label_set: self.label_set.clone(), label: self.label.clone() }
    }

    /// The settings that are tried.
    fn changes(&self) -> Result<Vec<Change>, Error> {
        let numbers = [
            ("threshold", self.threshold),
            ("clear_below", self.clear_below),
            ("rise", self.rise),
            ("clear_rise", self.clear_rise),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, value)| Some((key, value?.to_string())));
        let texts = [("hold", &self.hold), ("for", &self.lasting), ("cooldown", &self.cooldown)];
        let texts = texts.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        let hours = self.active.iter().map(|text| ("active", text.clone()));
        let name = self.name();
        let change = |(key, value): (&str, String)| {
            let wrong = |remedy| Error::parameter(key, format!("`{value}` is not possible")).remedy(remedy);
            Change::of(&name, key, &value).map_err(wrong)
        };
        numbers.chain(texts).chain(hours).map(change).collect()
    }
}

/// Judges the scores of the label again.
///
/// # Errors
/// No scores of the label are stored, a setting or the limit is out of range, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let limit = request.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::parameter("limit", format!("{limit} is not a number from 1 to {MOST}")));
    }
    let time = |time: Option<Time>| time.map(|Time(time)| time);
    let window = Window { since: time(request.since), until: time(request.until) };
    let (name, changes) = (request.name(), request.changes()?);
    rejudge::sources(reader, Some(&request.source), window)?;
    let trial = rejudge::try_label(reader, &request.source, window, &name, &changes)?;
    let marks = marks_of(reader, &request.source, &name, window)?;
    let Trial { now, then, judged, scores, newest, tried } = trial;
    let (with_changes, recorded) = rejudge::compare(&now.spans, &then.spans, &marks);
    let is = |wanted: Difference| move |alert: &Compared| alert.difference == wanted;
    let lost: Vec<_> = recorded.iter().copied().filter(|alert| is(Difference::Lost)(alert)).collect();
    let listed = |alerts: &[Compared]| {
        let newest = alerts.iter().rev().take(limit as usize);
        newest.map(|alert| alert_of(reader, request, alert)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Response {
        scores,
        gaps: judged.gaps,
        damaged: judged.damaged,
        settings: settings(&newest),
        tried: settings(&tried),
        new: Counted::of(&with_changes, is(Difference::New)).into(),
        lost: Counted::of(&lost, |_| true).into(),
        alerts: listed(&with_changes)?,
        lost_alerts: listed(&lost)?,
        now: alerts_of(now.alerts, &recorded, &now.spans),
        then: alerts_of(then.alerts, &with_changes, &then.spans),
    })
}

/// The verdicts on moments of a label, in the order in which they were given.
pub(super) fn marks_of(
    reader: &Reader,
    source: &str,
    LabelName { label_set, label }: &LabelName,
    window: Window,
) -> Result<Vec<MarkedMoment>, Error> {
    let filter = Filter {
        source: Some(source.to_owned()),
        label: Some(label.clone()),
        since: window.since,
        until: window.until,
        limit: Some(MOST_MARKS),
    };
    let mut marks = marks::newest(reader.connection(), &filter).map_err(history::Error::from)?;
    marks.retain(|mark| mark.subject.label_set == *label_set && mark.subject.label == *label);
    marks.sort_by_key(|mark| mark.marked_at);
    let moment = |mark: marks::Mark| MarkedMoment {
        time: mark.subject.time,
        is_right: mark.verdict == Verdict::Right,
    };
    Ok(marks.into_iter().map(moment).collect())
}

fn alerts_of(alerts: u64, compared: &[Compared], spans: &[RaisedSpan]) -> Alerts {
    let newest = spans.get(spans.len().saturating_sub(MOST_SPANS)..).unwrap_or_default();
    let span = |span: &RaisedSpan| [span.from.as_millisecond(), span.until.as_millisecond()];
    let verdicts = Counted::of(compared, |_| true).into();
    Alerts { alerts, verdicts, spans: newest.iter().map(span).collect() }
}

/// An alert with what is stored about it.
fn alert_of(reader: &Reader, request: &Request, alert: &Compared) -> Result<TriedAlert, Error> {
    let Compared { span, difference, raised_at, is_right } = *alert;
    let (connection, source) = (reader.connection(), &*request.source);
    let names = [source, &request.label_set, &request.label];
    let stored = raised_at.map(|moment| alerts::raised_at(connection, names, moment)).transpose();
    let stored = stored.map_err(history::Error::from)?.flatten();
    let mut picture = stored.as_ref().and_then(|stored| stored.picture);
    if picture.is_none() {
        picture = nearest_picture(reader, source, &span)?;
    }
    Ok(TriedAlert {
        time: Time(span.from),
        cleared: span.is_cleared.then_some(Time(span.until)),
        score: number(span.score),
        threshold: number(span.threshold),
        difference: difference.into(),
        id: stored.map(|stored| stored.id),
        picture: picture.map(pictures::address),
        mark: is_right.map(|is_right| Verdict::of(is_right).word().to_owned()),
    })
}

/// A picture of the frames that raised the label. It is of a near miss, of another label, or of a frame that changed.
fn nearest_picture(reader: &Reader, source: &str, span: &RaisedSpan) -> Result<Option<i64>, Error> {
    let within = span.until.duration_since(span.from).clamp(AROUND, LONGEST_ALERT);
    let nearest = history::pictures::nearest(reader.connection(), source, span.from, within);
    Ok(nearest.map_err(history::Error::from)?.map(|stored| stored.id))
}

fn settings(label: &LabelSetup) -> Settings {
    let (trigger, is_rule) = (label.trigger, label.when.is_some());
    Settings {
        threshold: number(trigger.threshold).filter(|_| !is_rule),
        clear_below: number(trigger.clear_below).filter(|_| !is_rule),
        rises: trigger.rises,
        has_baseline: label.over.is_some(),
        hold: trigger.hold.to_string(),
        lasting: duration_text(trigger.lasting),
        cooldown: duration_text(trigger.cooldown),
        active: label.active.as_ref().map_or_else(Vec::new, |active| active.parts().collect()),
    }
}

/// Six decimals, as alerts are published; `None` for NaN.
fn number(score: f32) -> Option<f64> {
    score.is_finite().then(|| (f64::from(score) * 1e6).round() / 1e6)
}

impl From<Counted> for Verdicts {
    fn from(Counted { right, wrong, unmarked }: Counted) -> Self {
        Self { right, wrong, unmarked }
    }
}

impl From<Difference> for DifferenceWord {
    fn from(difference: Difference) -> Self {
        match difference {
            Difference::Kept => Self::Kept,
            Difference::New => Self::New,
            Difference::Lost => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{
        api::{error::Kind, mark},
        classify::{RegionScores, Scored, SetScores},
        frame::{Frame, Slot},
        history::{History, scores::ScoreRecorder},
        judge::{Judge, Judged},
        observe::Observation,
        picture::Picture,
        samples,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A frame of `back` with this score of Person.
    fn scored(second: i64, score: f32) -> Scored {
        let regions = vec![RegionScores { region: None, labels: vec![score, 0.1], background: None }];
        let labels = ["Person".into(), "package".into()].into();
        let frame = Frame {
            source: "back".into(),
            origin: "1.jpg".to_owned(),
            captured_at: at(second),
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::free(),
        };
        let sets = vec![SetScores { label_set: "porch".into(), labels, regions }];
        Scored { frame, sets, embeddings: vec![] }
    }

    /// A history with these scores of Person, whose threshold is 0.6, one a second.
    fn recorded(folder: &std::path::Path, scores: &[f32]) -> History {
        let mut config = samples::config();
        let person = &mut config.label_sets[0].labels[0].trigger;
        (person.threshold, person.clear_below) = (0.6, 0.6);
        let mut judge = Judge::new("home", "bundled");
        judge.reload(&config, at(0), Uuid::nil);
        let (mut history, mut recorder) = (History::open(folder).unwrap(), ScoreRecorder::default());
        for (number, score) in (0..).zip(scores) {
            let second = i64::try_from(number).unwrap();
            let checkpoint = (number == 0).then(|| judge.checkpoint("back").unwrap());
            let scored = scored(second, *score);
            let Judged { alerts, assessments } = judge.judge(&scored, at(second), Uuid::nil);
            let Scored { frame, sets, embeddings } = scored;
            let observation = Observation {
                judged_at: at(second),
                number,
                checkpoint,
                source: Arc::clone(&frame.source),
                origin: frame.origin,
                captured_at: frame.captured_at,
                duration: Duration::ZERO,
                picture: frame.picture.into(),
                sets,
                embeddings,
                alerts,
                assessments,
            };
            history.write(|transaction| recorder.record(transaction, &observation)).unwrap();
        }
        history.write(|transaction| recorder.flush(transaction)).unwrap();
        history
    }

    fn request() -> Request {
        let [source, label_set, label] = ["back", "porch", "Person"].map(str::to_owned);
        Request { source, label_set, label, ..Request::default() }
    }

    fn mark(history: &mut History, second: i64, verdict: mark::Choice) {
        let request = mark::Request {
            id: None,
            source: Some("back".to_owned()),
            label: Some("porch/Person".to_owned()),
            at: Some(Time(at(second))),
            verdict,
        };
        mark::answer(history, &request).unwrap();
    }

    #[test]
    fn the_alerts_of_other_settings_are_compared_with_those_of_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let scores = [0.1, 0.7, 0.7, 0.1, 0.5, 0.1, 0.1, 0.9, 0.1, 0.45, 0.45];
        let mut history = recorded(folder.path(), &scores);
        mark(&mut history, 1, mark::Choice::Wrong);
        mark(&mut history, 4, mark::Choice::Right);
        mark(&mut history, 7, mark::Choice::Right);
        let reader = Reader::open(folder.path()).unwrap();
        let tried = |request: &Request| answer(&reader, request).unwrap();

        let same = tried(&request());
        assert_eq!((same.scores, same.gaps, same.damaged), (11, 0, 0));
        assert_eq!((same.now.alerts, &same.now.verdicts), (2, &Verdicts { right: 1, wrong: 1, unmarked: 0 }));
        assert_eq!((&same.now, same.new, same.lost), (&same.then, Verdicts::default(), Verdicts::default()));
        assert_eq!(same.settings, same.tried);
        assert_eq!(
            (same.settings.threshold, &*same.settings.hold, &*same.settings.cooldown),
            (Some(0.6), "1 of 1", "0s")
        );

        let lower = tried(&Request { threshold: Some(0.4), ..request() });
        assert_eq!(
            (lower.then.alerts, lower.then.verdicts),
            (4, Verdicts { right: 2, wrong: 1, unmarked: 1 })
        );
        assert_eq!(
            (lower.new, lower.lost),
            (Verdicts { right: 1, wrong: 0, unmarked: 1 }, Verdicts::default())
        );
        assert_eq!((lower.tried.threshold, lower.tried.clear_below), (Some(0.4), Some(0.4)), "it follows");
        let start = at(0).as_millisecond();
        let spans: Vec<_> =
            lower.then.spans.iter().map(|span| span.map(|time| (time - start) / 1000)).collect();
        assert_eq!(spans, [[1, 3], [4, 5], [7, 8], [9, 10]]);
        let newest = &lower.alerts[0];
        assert_eq!(
            (newest.time, newest.cleared, newest.difference),
            (Time(at(9)), None, DifferenceWord::New)
        );
        assert!((newest.score.unwrap() - 0.45).abs() < 1e-3 && newest.mark.is_none(), "{newest:?}");
        let words: Vec<_> = lower.alerts.iter().map(|alert| alert.mark.as_deref()).collect();
        assert_eq!(words, [None, Some("right"), Some("right"), Some("wrong")]);
        assert_eq!(
            tried(&Request { threshold: Some(0.4), limit: Some(1), ..request() }).alerts,
            lower.alerts[..1]
        );

        let higher = tried(&Request { threshold: Some(0.8), ..request() });
        assert_eq!((higher.then.alerts, higher.lost), (1, Verdicts { right: 0, wrong: 1, unmarked: 0 }));
        assert_eq!(higher.lost_alerts[0].time, Time(at(1)));
        let held = tried(&Request { hold: Some("2 of 2".to_owned()), ..request() });
        assert_eq!((held.then.alerts, held.alerts[0].time, held.lost.right), (1, Time(at(2)), 1));
        let part = tried(&Request { since: Some(Time(at(5))), until: Some(Time(at(8))), ..request() });
        assert_eq!((part.scores, part.now.alerts, part.now.verdicts.right), (4, 1, 1));
        let json = serde_json::to_string(&lower).unwrap();
        assert!(json.contains(r#""then":{"alerts":4,"right":2,"wrong":1,"unmarked":1,"spans":[["#), "{json}");
        assert_eq!(serde_json::from_str::<Response>(&json).unwrap(), lower);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        let folder = tempfile::tempdir().unwrap();
        drop(recorded(folder.path(), &[0.1, 0.7]));
        let reader = Reader::open(folder.path()).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (Request { threshold: Some(60.0), ..request() }, Some("threshold"), "did you mean `0.6`?"),
            (Request { threshold: Some(f64::NAN), ..request() }, Some("threshold"), "write a score"),
            (Request { hold: text("3"), ..request() }, Some("hold"), "did you mean `3 of 3`?"),
            (Request { lasting: text("3"), ..request() }, Some("for"), "needs a unit"),
            (Request { active: vec!["night".to_owned()], ..request() }, Some("active"), "write hours"),
            (Request { limit: Some(0), ..request() }, Some("limit"), "1 to 1000"),
            (Request { clear_below: Some(0.9), ..request() }, None, "above the level"),
            (Request { rise: Some(0.2), ..request() }, None, "`baseline: true`"),
            (Request { label: "Fox".to_owned(), ..request() }, None, "no scores of `porch/Fox` on back"),
            (Request { source: "front".to_owned(), ..request() }, None, "there are scores of: back"),
        ];
        for (request, place, words) in cases {
            let error = answer(&reader, &request).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, place), "{request:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
