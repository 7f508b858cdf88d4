//! Why a label is raised, or why it is not: its score and threshold, the gates that let a frame through, and the gate that held it.
//!
//! The running service answers from the newest frame of the source. [`answer`] reads the history: for a moment in the past, and when no
//! service runs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    control::{self, SetValue},
    error::Error,
    service::{Service, source_named},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::Config,
    history::{
        self, Reader,
        scores::{self, Chunk, FrameBuffer},
    },
    judge::{Assessment, Gate, Setup, SourceJudge},
    observe::{metrics::SourceState, newest::NewestFrame},
    source::Problem,
    topic::topic_level,
    trigger::Gates,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "explain",
    method: Method::Get,
    summary: "Says for each label of a source why it is raised, or which gate holds it.",
    answer: Answer::Either {
        live: |service, request| Box::pin(async move { answer_live(&service, request).await }),
        read: answer,
    },
};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The moment in the past; without it, the newest frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The name of the source.
    pub source: String,
    /// Where the answer comes from.
    pub from: Origin,
    /// Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off. Only the running service knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why the source delivers no frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SourceProblem>,
    /// What was set for the source while the service runs, instead of the value in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<SetValue>,
    /// The frame that is explained; absent if none was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<ExplainedFrame>,
    /// The labels and rules, in the order of the configuration.
    pub labels: Vec<ExplainedLabel>,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The running service: its newest frame.
    Service,
    /// The history: what was recorded at that time.
    History,
    /// A picture that was judged as a frame of the source.
    Picture,
}

/// Why a source delivers no frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceProblem {
    /// The cause, for people.
    pub cause: String,
    /// When the source failed for the first time since it was well.
    pub since: Time,
    /// What to do about it.
    pub remedy: String,
}

/// The frame that is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedFrame {
    /// When it was captured.
    pub captured_at: Time,
    /// When its picture was captured for the first time: frames that show the same picture repeat its scores.
    pub scored_at: Time,
}

/// What was made of a label, or of a rule over labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedLabel {
    /// The label set.
    pub label_set: String,
    /// The label or the rule.
    pub label: String,
    /// The condition of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The score that the trigger received, 0 to 1; absent for a rule.
    pub score: Option<f32>,
    /// The region with this score; absent for the whole frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A frame with at least this score counts for the label; absent for a rule, and while a baseline is not known.
    pub threshold: Option<f32>,
    /// A raised label is cleared below this score.
    pub clear_below: Option<f32>,
    /// The usual score while the label is absent, if it is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f32>,
    /// Whether the label is raised after the frame.
    pub raised: bool,
    /// When it was raised, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_since: Option<Time>,
    /// The gate that keeps it from being raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Gate>,
    /// The same for people: `hold: 1 of 2 so far`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Further gates that hold.
    pub also_held_by: Gates,
    /// The gates that let the frame through.
    pub passed: Gates,
    /// What was set for the label or its source while the service runs, instead of the value in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<SetValue>,
}

impl From<&Assessment> for ExplainedLabel {
    fn from(it: &Assessment) -> Self {
        Self {
            label_set: it.label_set.to_string(),
            label: it.label.to_string(),
            when: it.when.as_deref().map(str::to_owned),
            score: it.score.is_finite().then_some(it.score),
            region: it.region.as_deref().map(str::to_owned),
            threshold: it.levels.map(|levels| levels.threshold),
            clear_below: it.levels.map(|levels| levels.clear_below),
            baseline: it.baseline,
            raised: it.raised,
            raised_since: it.raised_since.map(Time),
            held_by: it.held_by.clone(),
            reason: it.held_by.as_ref().map(Gate::sentence),
            also_held_by: it.also_held_by,
            passed: it.passed,
            set: Vec::new(),
        }
    }
}

impl From<&Problem> for SourceProblem {
    fn from(problem: &Problem) -> Self {
        Self { cause: problem.cause.clone(), since: Time(problem.since), remedy: problem.remedy.to_owned() }
    }
}

/// Whether this is the name that is asked for, if any is. Names that differ only in their spelling are the same.
pub(super) fn is_asked(asked: Option<&str>, name: &str) -> bool {
    asked.is_none_or(|asked| topic_level(asked) == topic_level(name))
}

impl Request {
    /// Whether the label is asked for. Names that differ only in their spelling are the same.
    #[must_use]
    pub fn includes(&self, label_set: &str, label: &str) -> bool {
        is_asked(self.label_set.as_deref(), label_set) && is_asked(self.label.as_deref(), label)
    }

    /// These assessments as the labels of an answer.
    pub fn labels<'a>(&self, assessments: impl IntoIterator<Item = &'a Assessment>) -> Vec<ExplainedLabel> {
        let asked = assessments.into_iter().filter(|it| self.includes(&it.label_set, &it.label));
        asked.map(ExplainedLabel::from).collect()
    }
}

/// The answer of the running service: from the newest frame of the source, or from the history if a moment is named.
///
/// # Errors
/// There is no such source, the service is starting, or the history cannot be read.
pub async fn answer_live(service: &Service, request: Request) -> Result<Response, Error> {
    let live = service.live()?;
    let config = live.newest.config();
    let source = source_named(&config, "source", &request.source)?;
    let request = Request { source: source.name.clone(), ..request };
    if request.at.is_some() {
        return service.read(move |reader| answer(reader, &request)).await;
    }
    let frame = live.newest.of(&request.source);
    let state = service.metrics.source_state(source);
    Ok(of_service(&request, &config, frame.as_deref(), state.as_ref()))
}

/// The answer from the newest frame of the source, and the state of the source.
fn of_service(
    request: &Request,
    config: &Config,
    frame: Option<&NewestFrame>,
    state: Option<&SourceState>,
) -> Response {
    let mut labels = frame.map_or(Vec::new(), |frame| request.labels(&frame.assessments));
    for label in &mut labels {
        label.set = control::about_label(config, &request.source, &label.label_set, &label.label);
    }
    Response {
        source: request.source.clone(),
        from: Origin::Service,
        status: state.map(|state| state.status.as_str().to_owned()),
        problem: state.and_then(|state| state.problem.as_ref().map(SourceProblem::from)),
        frame: frame.map(|frame| ExplainedFrame {
            captured_at: Time(frame.captured_at),
            scored_at: Time(frame.scored_at),
        }),
        set: control::about_source(config, &request.source),
        labels,
    }
}

/// The answer of the history: its newest frame, or its newest one up to the moment that is named. The recorded scores are judged again,
/// from the state of the triggers before them.
///
/// # Errors
/// The history cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let until = request.at.map(|at| at.0);
    let newest = scores::newest(reader.connection(), &request.source, until).map_err(history::Error::from)?;
    let judged = newest.and_then(|(setup, chunk)| last_judged(&setup, &chunk, until));
    let (frame, labels) = match judged {
        Some((at, assessments)) => {
            let frame = ExplainedFrame { captured_at: Time(at), scored_at: Time(at) };
            (Some(frame), request.labels(&assessments))
        }
        None => (None, Vec::new()),
    };
    let source = request.source.clone();
    let set = Vec::new();
    Ok(Response { source, from: Origin::History, status: None, problem: None, set, frame, labels })
}

/// The last frame of a chunk up to this time, and what was made of it; `None` if the chunk is damaged or begins later.
pub(super) fn last_judged(
    setup: &Setup,
    chunk: &[u8],
    until: Option<Timestamp>,
) -> Option<(Timestamp, Vec<Assessment>)> {
    let mut states = Vec::new();
    let chunk = Chunk::read(chunk, setup, &mut states).ok()?;
    let mut judge = SourceJudge::new(setup);
    judge.resume(&states, |_| true);
    let mut last = None;
    // Frames before a damage are as good as those of an intact chunk.
    let _ = chunk.frames(&mut FrameBuffer::default(), |frame| {
        if until.is_none_or(|until| frame.at <= until) {
            last = Some((frame.at, judge.assess(frame)));
        }
    });
    last
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use uuid::Uuid;

    use super::*;
    use crate::{
        classify::{RegionScores, Scored, SetScores},
        frame::{Frame, Slot},
        history::{History, scores::ScoreRecorder},
        judge::{Judge, Judged},
        observe::Observation,
        picture::Picture,
        policy::{Control, Hold, SetBy, Setting, Target},
        samples,
        source::Status,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A frame of `back` with these scores of Person and package.
    fn scored(second: i64, scores: [f32; 2]) -> Scored {
        let regions = vec![RegionScores { region: None, labels: scores.to_vec(), background: None }];
        let labels = ["Person".into(), "package".into()].into();
        let frame = Frame {
            source: "back".into(),
            origin: "1.jpg".to_owned(),
            captured_at: at(second),
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::free(),
        };
        Scored {
            frame,
            sets: vec![SetScores { label_set: "porch".into(), labels, regions }],
            embeddings: vec![],
        }
    }

    fn request(at: Option<Timestamp>) -> Request {
        Request { source: "back".to_owned(), label_set: None, label: None, at: at.map(Time) }
    }

    /// Without its score, which is rounded where it is stored.
    fn rounded(label: &ExplainedLabel) -> ExplainedLabel {
        ExplainedLabel { score: None, ..label.clone() }
    }

    #[test]
    fn the_history_says_what_the_service_said() {
        let mut config = samples::config();
        config.label_sets[0].labels[0].trigger.hold = Hold { frames: 2, of: 2 };
        config.label_sets[0].labels[1].trigger.cooldown = Duration::from_secs(60);
        let mut judge = Judge::new("home", "bundled");
        judge.reload(&config, at(0), Uuid::nil);
        let folder = tempfile::tempdir().unwrap();
        let (mut history, mut recorder) = (History::open(folder.path()).unwrap(), ScoreRecorder::default());
        let mut said = Vec::new();
        let frames = [[0.9, 0.1], [0.9, 0.9], [0.1, 0.1], [0.1, 0.9], [0.65, 0.9]];
        for (number, scores) in (0..).zip(frames) {
            let second = i64::try_from(number).unwrap();
            let checkpoint = (number == 0).then(|| judge.checkpoint("back").unwrap());
            let scored = scored(second, scores);
            let Judged { alerts, assessments } = judge.judge(&scored, at(second), Uuid::nil);
            said.push((second, request(None).labels(&assessments)));
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

        let reader = Reader::open(folder.path()).unwrap();
        let found = |second: Option<i64>| answer(&reader, &request(second.map(at))).unwrap();
        for (second, labels) in &said {
            let answer = found(Some(*second));
            assert_eq!(answer.frame.unwrap().captured_at, Time(at(*second)));
            let (answered, said): (Vec<_>, Vec<_>) =
                (answer.labels.iter().map(rounded).collect(), labels.iter().map(rounded).collect());
            assert_eq!(answered, said, "second {second}");
            for (answered, said) in answer.labels.iter().zip(labels) {
                assert!((answered.score.unwrap() - said.score.unwrap()).abs() < 1e-3, "{answered:?}");
            }
        }
        let reasons: Vec<_> = said.iter().map(|(_, labels)| labels[0].reason.as_deref()).collect();
        assert_eq!(reasons[..2], [Some("hold: 1 of 2 so far"), None]);
        assert_eq!(said[3].1[1].reason.as_deref(), Some("cooldown: 58s left"));
        assert_eq!(found(None).labels.len(), 2, "the newest frame");
        assert_eq!(found(None).frame, found(Some(1000)).frame);
        let before = found(Some(-1));
        assert_eq!((before.frame, before.labels), (None, vec![]), "before the first frame");
    }

    #[test]
    fn only_what_is_asked_for_is_answered_and_problems_of_the_source_are_known() {
        let mut judge = Judge::new("home", "bundled");
        judge.reload(&samples::config(), at(0), Uuid::nil);
        let assessments = judge.judge(&scored(0, [0.9, 0.1]), at(0), Uuid::nil).assessments;
        let names = |label_set: Option<&str>, label: Option<&str>| {
            let request = Request {
                label_set: label_set.map(str::to_owned),
                label: label.map(str::to_owned),
                ..request(None)
            };
            request.labels(&assessments).into_iter().map(|label| label.label).collect::<Vec<_>>()
        };
        assert_eq!(names(None, None), ["Person", "package"]);
        assert_eq!(names(Some("PORCH"), Some("person")), ["Person"]);
        assert_eq!(names(Some("yard"), None), [""; 0]);

        let problem = Problem { cause: "refused".to_owned(), since: at(0), remedy: "Check it." };
        let state = SourceState { status: Status::Offline, problem: Some(problem), stream: None };
        let mut config = samples::config();
        let setting = Setting::Enabled { value: false, file: true };
        let control = Control { target: Target::source("back"), setting, by: SetBy::Mqtt, at: at(0) };
        config.controls = [control].into_iter().collect();
        let answer = of_service(&request(None), &config, None, Some(&state));
        assert!(answer.set[0].sentence.starts_with("enabled false, set over MQTT at "), "{:?}", answer.set);
        assert_eq!((answer.status.as_deref(), answer.frame), (Some("offline"), None));
        assert_eq!(answer.problem.map(|problem| problem.cause).as_deref(), Some("refused"));
    }
}
