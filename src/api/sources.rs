//! `sources`: every source as it is now, with its newest scores. What Live shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    control::{self, SetValue},
    error::Error,
    explain::{ExplainedLabel, SourceProblem},
    newest,
    service::{Service, source_named},
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{Config, Source, SourceKind},
    judge::{Assessment, Gate},
    observe::{metrics::SourceState, newest::NewestFrame},
    policy::{Label, LabelSet},
    source::{Status, StreamInfo},
    trigger::Gates,
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "sources",
    method: Method::Get,
    summary: "Lists the sources: whether each delivers, what is wrong with it, and the newest score of each label.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, &request) })),
};

/// Which sources are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only the sources with these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// The sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The state of the whole service.
    pub service: ServiceState,
    /// The sources, in the order of the configuration.
    pub sources: Vec<LiveSource>,
}

/// The state of the whole service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceState {
    /// The number of sources that are not switched off.
    pub sources: usize,
    /// The number of sources that deliver frames.
    pub online: usize,
    /// Whether the broker is connected.
    pub broker_connected: bool,
    /// Whether the files of the configuration are valid. If they are not, an earlier configuration is in force.
    pub configuration_valid: bool,
}

/// A source as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LiveSource {
    /// The name of the source.
    pub source: String,
    /// The kind, as its key in the configuration: `folder`, `rtsp`, `video`, `http` or `mqtt`.
    pub kind: String,
    /// Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off.
    pub status: String,
    /// Why the source delivers no frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SourceProblem>,
    /// What was set for it while the service runs, instead of the value in the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<SetValue>,
    /// How its frames are taken, for people: `every 1s`, `key frames`.
    pub details: Vec<String>,
    /// The newest frame; absent if there was none since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<LiveFrame>,
    /// The address of its newest small picture; absent if there was no frame since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// The named parts of the frame that are scored separately.
    pub regions: Vec<LiveRegion>,
    /// The labels and rules that it watches, in the order of the configuration.
    pub labels: Vec<ExplainedLabel>,
}

/// The newest frame of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveFrame {
    /// When it was captured.
    pub captured_at: Time,
    /// When its picture was captured for the first time: frames that show the same picture repeat its scores.
    pub scored_at: Time,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
}

/// A named part of the frame, in fractions of its width and height.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LiveRegion {
    /// The name.
    pub name: String,
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// Lists the sources.
///
/// # Errors
/// There is no such source, or the service is starting.
pub fn answer(service: &Service, request: &Request) -> Result<Response, Error> {
    let newest = &service.live()?.newest;
    let config = newest.config();
    let named = |name: &String| source_named(&config, "sources", name);
    let asked = match &request.sources[..] {
        [] => config.sources.iter().collect(),
        names => names.iter().map(named).collect::<Result<Vec<_>, _>>()?,
    };
    let mut sources: Vec<_> = asked
        .into_iter()
        .map(|source| {
            let frame = newest.of(&source.name);
            live(&config, source, frame.as_deref(), service.metrics.source_state(source))
        })
        .collect();
    if request.sources.is_empty() {
        sources.extend(without_names(service, &config));
    }
    Ok(Response { service: state(service, &config), sources })
}

/// The state of the whole service.
pub(super) fn state(service: &Service, config: &Config) -> ServiceState {
    let metrics = &service.metrics;
    let is_online = |state: &SourceState| state.status == Status::Online;
    let named = config.sources.iter();
    let named = named.filter(|source| metrics.source_state(source).as_ref().is_some_and(is_online)).count();
    let others = metrics.running_sources(|name, settings| !is_among(config, name, settings));
    let online = others.iter().filter(|(.., state)| is_online(state)).count();
    ServiceState {
        sources: config.enabled_sources().count() + others.len(),
        online: named + online,
        broker_connected: metrics.is_connected(),
        configuration_valid: !metrics.is_invalid(),
    }
}

/// The sources that give other sources their names, as long as they have given none.
fn without_names(service: &Service, config: &Config) -> Vec<LiveSource> {
    let running = service.metrics.running_sources(|name, settings| !is_among(config, name, settings));
    let live = |(source, kind, state): (String, &'static str, SourceState)| LiveSource {
        source,
        kind: kind.to_owned(),
        status: state.status.as_str().to_owned(),
        problem: state.problem.as_ref().map(SourceProblem::from),
        set: vec![],
        details: vec!["no picture has given a name yet".to_owned()],
        frame: None,
        picture: None,
        regions: vec![],
        labels: vec![],
    };
    running.into_iter().map(live).collect()
}

/// Whether a running source is one of the configuration, or has made the name of one.
pub(super) fn is_among(config: &Config, name: &str, settings: &SourceKind) -> bool {
    let makes_names = settings.settings().name_pattern().is_some();
    config.sources.iter().any(|source| source.name == name || makes_names && source.kind == *settings)
}

fn live(
    config: &Config,
    source: &Source,
    frame: Option<&NewestFrame>,
    state: Option<SourceState>,
) -> LiveSource {
    let (status, problem, stream) = match state {
        Some(SourceState { status, problem, stream }) => (status, problem, stream),
        None => (Status::Offline, None, None),
    };
    let assessments = frame.map_or(&[][..], |frame| &frame.assessments);
    LiveSource {
        source: source.name.clone(),
        kind: source.kind.settings().key().to_owned(),
        status: status.as_str().to_owned(),
        problem: problem.as_ref().map(SourceProblem::from),
        set: control::about_source(config, &source.name),
        details: details(source, stream.as_ref()),
        frame: frame.map(|frame| LiveFrame {
            captured_at: Time(frame.captured_at),
            scored_at: Time(frame.scored_at),
            width: frame.size.0,
            height: frame.size.1,
        }),
        picture: frame.map(|_| newest::address(&source.name)),
        regions: source
            .regions
            .iter()
            .map(|region| LiveRegion {
                name: region.name.clone(),
                x: region.x,
                y: region.y,
                width: region.width,
                height: region.height,
            })
            .collect(),
        labels: labels(config, source, assessments),
    }
}

/// How the frames of a source are taken.
fn details(source: &Source, stream: Option<&StreamInfo>) -> Vec<String> {
    let explained = source.kind.settings().explain();
    // `every` of a folder is about the clips in it.
    let every = explained.get("every").filter(|_| !matches!(source.kind, SourceKind::Folder(_)));
    let every = every.and_then(|every| every.as_str()).map(|every| format!("every {every}"));
    let decoded = stream.map(|stream| match stream.decode {
        "key_frames" => "key frames".to_owned(),
        _ => "all frames".to_owned(),
    });
    every.into_iter().chain(decoded).collect()
}

/// The labels that a source watches now. One that the newest frame was not judged for has no score yet.
fn labels(config: &Config, source: &Source, assessments: &[Assessment]) -> Vec<ExplainedLabel> {
    let of_set = |set: &LabelSet| {
        let conditions =
            set.labels.iter().map(|_| None).chain(set.rules.iter().map(|rule| Some(rule.when.text())));
        let labels = set.alerting().zip(conditions);
        let explained = labels.map(|(label, when)| {
            let found = assessments.iter().find(|it| *it.label_set == *set.name && *it.label == *label.name);
            let label = found.map_or_else(|| not_judged(source, set, label, when), ExplainedLabel::from);
            let set = control::about_label(config, &source.name, &label.label_set, &label.label);
            ExplainedLabel { set, ..label }
        });
        explained.collect::<Vec<_>>()
    };
    config.watched_by(source).flat_map(of_set).collect()
}

fn not_judged(source: &Source, set: &LabelSet, label: &Label, when: Option<&str>) -> ExplainedLabel {
    let Label { trigger, silence, .. } = source.label(&set.name, label);
    let held_by = (silence.disabled || !source.enabled).then_some(Gate::Disabled);
    let levels = (!trigger.rises && when.is_none()).then(|| trigger.levels());
    ExplainedLabel {
        label_set: set.name.clone(),
        label: label.name.clone(),
        when: when.map(str::to_owned),
        score: None,
        region: None,
        threshold: levels.map(|levels| levels.threshold),
        clear_below: levels.map(|levels| levels.clear_below),
        baseline: None,
        raised: false,
        raised_since: None,
        reason: held_by.as_ref().map(Gate::sentence),
        held_by,
        also_held_by: Gates::default(),
        passed: Gates::default(),
        set: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{policy::Levels, samples, source::Problem};

    fn assessment(label: &str, score: f32, raised: bool) -> Assessment {
        Assessment {
            label_set: "porch".into(),
            label: label.into(),
            when: None,
            score,
            region: None,
            levels: Some(Levels { threshold: 0.7, clear_below: 0.7 }),
            baseline: None,
            raised,
            raised_since: raised.then_some(Timestamp::UNIX_EPOCH),
            held_by: None,
            also_held_by: Gates::default(),
            passed: Gates::default(),
        }
    }

    #[test]
    fn labels_are_those_of_the_configuration_with_the_scores_of_the_newest_frame() {
        let config = samples::config();
        let source = &config.sources[0];
        let assessments = [assessment("removed", 0.9, true), assessment("package", 0.25, true)];
        let labels = labels(&config, source, &assessments);
        let shown: Vec<_> =
            labels.iter().map(|it| (&*it.label_set, &*it.label, it.score, it.threshold, it.raised)).collect();
        let expected = [
            ("porch", "Person", None, Some(0.7), false),
            ("porch", "package", Some(0.25), Some(0.7), true),
            ("yard", "fox", None, Some(0.5), false),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_source_says_what_is_wrong_and_how_its_frames_are_taken() {
        let config = samples::config();
        let problem = Problem {
            cause: "the camera answers 401".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            remedy: "Check user and password.",
        };
        let stream = StreamInfo {
            codec: "h264".to_owned(),
            size: (1920, 1080),
            rate: None,
            key_frames: None,
            decode: "key_frames",
            hwaccel: "none",
        };
        let state =
            SourceState { status: Status::Stalled, problem: Some(problem), stream: Some(stream.clone()) };
        let shown = live(&config, &config.sources[1], None, Some(state));
        assert_eq!((&*shown.source, &*shown.kind, &*shown.status), ("back", "folder", "stalled"));
        assert_eq!(shown.problem.unwrap().remedy, "Check user and password.");
        assert_eq!(shown.details, ["key frames"]);
        assert_eq!((shown.frame, shown.picture), (None, None));
        let mut off = config.sources[1].clone();
        off.enabled = false;
        let off = live(
            &config,
            &off,
            None,
            Some(SourceState { status: Status::Disabled, problem: None, stream: None }),
        );
        assert_eq!((&*off.status, &off.labels[0].held_by), ("disabled", &Some(Gate::Disabled)));
        let unknown = live(&config, &config.sources[1], None, None);
        assert_eq!((&*unknown.status, unknown.details.len()), ("offline", 0));
        assert_eq!(
            details(&config.sources[1], Some(&StreamInfo { decode: "all", ..stream })),
            ["all frames"]
        );
    }

    #[test]
    fn sources_that_make_names_are_known_by_their_topics() {
        let mut config = samples::config();
        let made = SourceKind::Mqtt(samples::topics("cams/+", Some("cam-{1}")));
        assert!(!is_among(&config, "cams", &made));
        config.sources.push(Source { kind: made.clone(), ..samples::source("cam-1", &["porch"]) });
        assert!(is_among(&config, "cams", &made), "it has made `cam-1`");
        let other = SourceKind::Mqtt(samples::topics("other", None));
        assert!(!is_among(&config, "other", &other));
    }
}
