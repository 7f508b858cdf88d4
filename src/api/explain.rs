//! Why a label is raised, or why it is not: its score and threshold, the gates that let a frame through, and the gate that held it.
//!
//! The running service answers from the newest frame of the source. [`answer`] reads the history: for a moment in the past, and when no
//! service runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::Error,
    service::{Service, known_source},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    history::Reader,
    judge::{Assessment, Gate},
    observe::newest::NewestFrame,
    source::{Problem, Status},
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
    /// Whether the source delivers: `online`, `offline` or `stalled`. Only the running service knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why the source delivers no frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SourceProblem>,
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
        }
    }
}

impl From<&Problem> for SourceProblem {
    fn from(problem: &Problem) -> Self {
        Self { cause: problem.cause.clone(), since: Time(problem.since), remedy: problem.remedy.to_owned() }
    }
}

impl Request {
    /// Whether the label is asked for. Names that differ only in their spelling are the same.
    #[must_use]
    pub fn includes(&self, label_set: &str, label: &str) -> bool {
        let is = |asked: &Option<String>, name: &str| {
            asked.as_ref().is_none_or(|asked| topic_level(asked) == topic_level(name))
        };
        is(&self.label_set, label_set) && is(&self.label, label)
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
    let source = known_source(&live.newest.config(), "source", &request.source)?.to_string();
    let request = Request { source, ..request };
    if request.at.is_some() {
        return service.read(move |reader| answer(reader, &request)).await;
    }
    let frame = live.newest.of(&request.source);
    let state = service.metrics.source_state(&request.source);
    Ok(of_service(&request, frame.as_deref(), state.as_ref()))
}

/// The answer from the newest frame of the source, and the state of the source.
fn of_service(
    request: &Request,
    frame: Option<&NewestFrame>,
    state: Option<&(Status, Option<Problem>)>,
) -> Response {
    Response {
        source: request.source.clone(),
        from: Origin::Service,
        status: state.map(|(status, _)| status.as_str().to_owned()),
        problem: state.and_then(|(_, problem)| problem.as_ref().map(SourceProblem::from)),
        frame: frame.map(|frame| ExplainedFrame {
            captured_at: Time(frame.captured_at),
            scored_at: Time(frame.scored_at),
        }),
        labels: frame.map_or(Vec::new(), |frame| request.labels(&frame.assessments)),
    }
}

/// The answer of the history: the newest recorded frame, or the newest one up to the moment that is named.
///
/// # Errors
/// The history cannot be read.
pub fn answer(_: &Reader, request: &Request) -> Result<Response, Error> {
    Ok(Response {
        source: request.source.clone(),
        from: Origin::History,
        status: None,
        problem: None,
        frame: None,
        labels: Vec::new(),
    })
}
