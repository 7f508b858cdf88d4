//! The alert: the message that a trigger was raised or cleared.
//!
//! Pure: the caller passes the identifier and the time. [`outbox`] keeps alerts on disk, [`publisher`] and [`sinks`] deliver
//! them, and [`subscriber`] receives them again for people who watch.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::policy::Severity;

pub mod board;
pub mod control_topics;
pub mod home_assistant;
mod outage;
pub mod outbox;
pub mod publisher;
pub mod sinks;
pub mod subscriber;
mod topics;

pub use self::topics::Topics;

/// The payload of `<prefix>/status` while the service is connected.
pub const ONLINE: &str = "online";
/// The payload of `<prefix>/status` otherwise; also the last will, which the broker publishes when the service is killed.
pub const OFFLINE: &str = "offline";

/// The version of the published JSON; it changes when receivers must change.
const VERSION: u32 = 1;

/// A label was raised or cleared on a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// A `UUIDv7`, by which a receiver recognizes a repeated alert.
    pub id: Uuid,
    /// Raised or cleared.
    pub state: State,
    /// When the trigger changed.
    pub time: Timestamp,
    /// The name of the source, as typed.
    pub source: Arc<str>,
    /// The region with this score; `None` is the whole frame.
    pub region: Option<Arc<str>>,
    /// The name of the label set, as typed.
    pub label_set: Arc<str>,
    /// The name of the label or of the rule over labels, as typed.
    pub label: Arc<str>,
    /// The condition of a rule over labels; `None` is a label.
    pub when: Option<Arc<str>>,
    /// The label's score; NaN for a rule.
    pub score: f32,
    /// The label's threshold at that time; NaN for a rule.
    pub threshold: f32,
    /// The label's score on quiet frames, if it is learnt and known.
    pub baseline: Option<f32>,
    /// The severity, if it is configured.
    pub severity: Option<Severity>,
    /// The message, if it is configured.
    pub message: Option<String>,
    /// Why it was cleared, if no frame cleared it.
    pub reason: Option<ClearReason>,
    /// Every label of the set with its score in that region, in the order typed. For a rule: the labels of its condition, each
    /// with its own score; those of other label sets as `set/label`.
    pub scores: Vec<(Arc<str>, f32)>,
    /// The score of the background prompts, if the set has any.
    pub background: Option<f32>,
    /// The model that scored.
    pub model: Arc<str>,
    /// The frame that changed the trigger.
    pub frame: FrameInfo,
    /// The topic of the snapshot. A cleared alert has none: the topic retains the frame that raised the last alert.
    pub snapshot: Option<String>,
    /// Where it comes from.
    pub place: Place,
}

/// Where an alert comes from, for receivers of the alerts of many services and cameras.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the service; `None` in alerts of earlier versions.
    pub instance: Option<Arc<str>>,
    /// The area that the source belongs to, if it is configured.
    pub area: Option<Arc<str>>,
    /// Where the source is, in words, if it is configured.
    pub location: Option<Arc<str>>,
}

/// Why an alert was cleared without a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearReason {
    /// The label or its source was switched off.
    Disabled,
}

impl ClearReason {
    /// The word in the alert.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
        }
    }

    /// The reason of this word.
    fn of(word: &str) -> Option<Self> {
        (word == Self::Disabled.word()).then_some(Self::Disabled)
    }
}

/// The frame of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameInfo {
    /// Where the picture came from, as text for people.
    pub origin: String,
    /// When the picture was captured.
    pub captured_at: Timestamp,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Raised or cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The label is in view.
    Raised,
    /// The label is no longer in view.
    Cleared,
}

impl State {
    /// The word in the alert.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }

    /// The state of this word.
    fn of(word: &str) -> Option<Self> {
        [Self::Raised, Self::Cleared].into_iter().find(|state| state.word() == word)
    }

    /// The payload of the label's `state` topic.
    #[must_use]
    pub fn switch(self) -> &'static str {
        match self {
            Self::Raised => "ON",
            Self::Cleared => "OFF",
        }
    }
}

impl Alert {
    /// The published payload: one line of JSON, its keys in this order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut alert = json!({
            "version": VERSION,
            "id": self.id.to_string(),
            "state": self.state.word(),
            "time": instant(self.time),
            "source": &*self.source,
            "region": self.region.as_deref(),
            "label_set": &*self.label_set,
            "label": &*self.label,
            "score": number(self.score),
            "threshold": number(self.threshold),
            "scores": with_background(&self.scores, self.background),
            "model": &*self.model,
            "frame": {
                "origin": self.frame.origin,
                "captured_at": instant(self.frame.captured_at),
                "width": self.frame.width,
                "height": self.frame.height,
            },
            "snapshot": self.snapshot,
        });
        // Only if they are configured: the JSON of existing configurations does not change.
        if let Some(severity) = self.severity {
            alert["severity"] = json!(severity.word());
        }
        if let Some(message) = &self.message {
            alert["message"] = json!(message);
        }
        if let Some(when) = &self.when {
            alert["when"] = json!(&**when);
        }
        if let Some(baseline) = self.baseline {
            alert["baseline"] = number(baseline);
        }
        if let Some(reason) = self.reason {
            alert["reason"] = json!(reason.word());
        }
        let Place { instance, area, location } = &self.place;
        for (key, value) in [("instance", instance), ("area", area), ("location", location)] {
            if let Some(value) = value {
                alert[key] = json!(&**value);
            }
        }
        alert.to_string()
    }

    /// The alert of a payload that [`Self::to_json`] returned; `None` for anything else.
    #[must_use]
    pub fn from_json(payload: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(payload).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let shared = |value: &Value| value.as_str().map(Arc::from);
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let score = |value: &Value| value.as_f64().map_or(f32::NAN, |score| score as f32);
        let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
        let pixels = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let mut scores: Vec<(Arc<str>, f32)> = json["scores"]
            .as_object()?
            .iter()
            .map(|(label, value)| (label.as_str().into(), score(value)))
            .collect();
        // It is the last one, and no label can have this name.
        let background = scores.pop_if(|(name, _)| **name == *"background").map(|(_, score)| score);
        Some(Self {
            id: json["id"].as_str()?.parse().ok()?,
            state: State::of(json["state"].as_str()?)?,
            time: time(&json["time"])?,
            source: shared(&json["source"])?,
            region: shared(&json["region"]),
            label_set: shared(&json["label_set"])?,
            label: shared(&json["label"])?,
            when: shared(&json["when"]),
            score: score(&json["score"]),
            threshold: score(&json["threshold"]),
            baseline: json["baseline"].is_number().then(|| score(&json["baseline"])),
            severity: json["severity"].as_str().and_then(Severity::of),
            message: text(&json["message"]),
            reason: json["reason"].as_str().and_then(ClearReason::of),
            scores,
            background,
            model: shared(&json["model"])?,
            frame: FrameInfo {
                origin: text(&json["frame"]["origin"])?,
                captured_at: time(&json["frame"]["captured_at"])?,
                width: pixels(&json["frame"]["width"])?,
                height: pixels(&json["frame"]["height"])?,
            },
            snapshot: text(&json["snapshot"]),
            place: Place {
                instance: shared(&json["instance"]),
                area: shared(&json["area"]),
                location: shared(&json["location"]),
            },
        })
    }
}

/// No label can have the name `background`.
pub(crate) fn with_background(scores: &[(Arc<str>, f32)], background: Option<f32>) -> Map<String, Value> {
    let labels = scores.iter().map(|(label, score)| (label.to_string(), number(*score)));
    let background = background.map(|score| ("background".to_owned(), number(score)));
    labels.chain(background).collect()
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn instant(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Six decimals: more is noise of the model, fewer would hide a SigLIP score of 0.0005.
/// Rounded as `f64`, so that 0.83 is written as `0.83`. NaN is `null`.
pub(crate) fn number(score: f32) -> Value {
    json!((f64::from(score) * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised() -> Alert {
        Alert {
            id: Uuid::from_u128(0x0193_40a2_7b1c_7000_8000_0000_0000_0001),
            state: State::Raised,
            time: "2026-11-23T08:15:30.125Z".parse().unwrap(),
            source: "front-door".into(),
            region: None,
            label_set: "porch".into(),
            label: "package".into(),
            when: None,
            score: 0.83,
            threshold: 0.6,
            baseline: None,
            severity: None,
            message: None,
            reason: None,
            scores: vec![("package".into(), 0.83), ("person".into(), 0.02)],
            background: Some(0.15),
            model: "openai/clip-vit-base-patch16".into(),
            frame: FrameInfo {
                origin: "rtsp://10.0.0.21/stream2".to_owned(),
                captured_at: "2026-11-23T08:15:29.9Z".parse().unwrap(),
                width: 1920,
                height: 1080,
            },
            snapshot: Some("stakeout/front-door/snapshot".to_owned()),
            place: Place::default(),
        }
    }

    #[test]
    fn the_json_of_a_raised_alert() {
        let expected = concat!(
            r#"{"version":1,"id":"019340a2-7b1c-7000-8000-000000000001","state":"raised","#,
            r#""time":"2026-11-23T08:15:30.125Z","source":"front-door","region":null,"#,
            r#""label_set":"porch","label":"package","score":0.83,"threshold":0.6,"#,
            r#""scores":{"package":0.83,"person":0.02,"background":0.15},"#,
            r#""model":"openai/clip-vit-base-patch16","frame":{"origin":"rtsp://10.0.0.21/stream2","#,
            r#""captured_at":"2026-11-23T08:15:29.900Z","width":1920,"height":1080},"#,
            r#""snapshot":"stakeout/front-door/snapshot"}"#,
        );
        assert_eq!(raised().to_json(), expected);
    }

    #[test]
    fn an_alert_is_read_back_from_its_json() {
        let regional = Alert {
            region: Some("step".into()),
            severity: Some(Severity::Info),
            message: Some("look".to_owned()),
            baseline: Some(0.25),
            background: None,
            snapshot: None,
            state: State::Cleared,
            reason: Some(ClearReason::Disabled),
            place: Place {
                instance: Some("stakeout-pi".into()),
                area: Some("Porch".into()),
                location: Some("front door".into()),
            },
            ..raised()
        };
        for alert in [raised(), regional] {
            assert_eq!(Alert::from_json(&alert.to_json()), Some(alert));
        }
        for payload in ["", "{}", "[]", r#"{"scores":{}}"#] {
            assert_eq!(Alert::from_json(payload), None);
        }
    }

    #[test]
    fn severity_message_and_baseline_are_written_if_they_are_configured() {
        let alert = Alert {
            severity: Some(Severity::Critical),
            message: Some("a \"box\"".to_owned()),
            baseline: Some(0.4),
            ..raised()
        };
        let expected = raised().to_json().replace(
            r#"/snapshot"}"#,
            r#"/snapshot","severity":"critical","message":"a \"box\"","baseline":0.4}"#,
        );
        assert_eq!(alert.to_json(), expected);
    }

    #[test]
    fn the_place_is_written_as_far_as_it_is_known() {
        let place =
            Place { instance: Some("stakeout-pi".into()), area: None, location: Some("mast 3".into()) };
        let expected = raised()
            .to_json()
            .replace(r#"/snapshot"}"#, r#"/snapshot","instance":"stakeout-pi","location":"mast 3"}"#);
        assert_eq!(Alert { place, ..raised() }.to_json(), expected);
    }

    #[test]
    fn an_alert_of_a_rule_has_a_condition_and_no_score() {
        let json = Alert {
            when: Some("package and not person".into()),
            score: f32::NAN,
            threshold: f32::NAN,
            background: None,
            ..raised()
        }
        .to_json();
        assert!(
            json.contains(r#""score":null,"threshold":null,"scores":{"package":0.83,"person":0.02},"#),
            "{json}"
        );
        assert!(json.ends_with(r#","when":"package and not person"}"#), "{json}");
        let read = Alert::from_json(&json).unwrap();
        assert!(read.score.is_nan() && read.threshold.is_nan());
        assert_eq!(read.to_json(), json);
    }

    #[test]
    fn a_cleared_alert_has_the_same_shape() {
        let cleared = Alert {
            state: State::Cleared,
            region: Some("step".into()),
            background: None,
            snapshot: None,
            ..raised()
        };
        let value = serde_json::from_str::<Value>(&cleared.to_json()).unwrap();
        assert_eq!(
            (&value["state"], &value["region"], &value["snapshot"]),
            (&json!("cleared"), &json!("step"), &Value::Null)
        );
        assert_eq!(value["scores"].to_string(), r#"{"package":0.83,"person":0.02}"#);
        let keys =
            |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap().keys().cloned().collect();
        let (cleared, raised): (Vec<_>, Vec<_>) = (keys(&cleared.to_json()), keys(&raised().to_json()));
        assert_eq!(cleared, raised);
    }

    #[test]
    fn numbers_and_times_are_short_and_always_look_the_same() {
        let numbers = [0.0, 1.0, 0.1, 0.7, 0.000_5, 0.123_456_79, 0.999_999_9, f32::NAN];
        let written = numbers.map(|score| number(score).to_string());
        assert_eq!(written, ["0.0", "1.0", "0.1", "0.7", "0.0005", "0.123457", "1.0", "null"]);

        let times = ["2026-11-23T08:15:30Z", "2026-11-23T09:15:30.9999+01:00"];
        let written = times.map(|time| instant(time.parse().unwrap()));
        assert_eq!(written, ["2026-11-23T08:15:30.000Z", "2026-11-23T08:15:30.999Z"]);
    }
}
