//! What the triggers made of one frame: for each label its score and levels, and the gate that keeps it from being raised.
//!
//! An assessment is made for every label on every frame, so it contains no new texts: names are shared, and sentences for people
//! are made when they are shown.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    local_time,
    policy::Levels,
    trigger::{GateKind, Gates},
    yaml::value::duration_text,
};

/// What the judge made of one frame.
#[derive(Debug, Default)]
pub struct Judged {
    /// The alerts of the frame: labels in the order of their label sets, then rules.
    pub alerts: Vec<Alert>,
    /// An assessment of each label that was judged, in the same order.
    pub assessments: Vec<Assessment>,
}

/// What the trigger of one label, or of one rule over labels, made of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The name of the label set, as in the configuration.
    pub label_set: Arc<str>,
    /// The name of the label or of the rule, as in the configuration.
    pub label: Arc<str>,
    /// The condition of a rule; `None` is a label.
    pub when: Option<Arc<str>>,
    /// The score that the trigger received, 0 to 1; NaN for a rule.
    pub score: f32,
    /// The region with this score; `None` is the whole frame, or a rule.
    pub region: Option<Arc<str>>,
    /// The levels with which the score was compared; `None` for a rule, and while they are rises over an unknown baseline.
    pub levels: Option<Levels>,
    /// The baseline before this frame, where one is learnt and known.
    pub baseline: Option<f32>,
    /// Whether the label is raised after the frame.
    pub raised: bool,
    /// When the frame that raised it was captured, if it is raised.
    pub raised_since: Option<Timestamp>,
    /// The gate that keeps it from being raised; `None` exactly if it is raised.
    pub held_by: Option<Gate>,
    /// Further gates that hold: without `held_by` alone it would not be raised.
    pub also_held_by: Gates,
    /// The gates that let the frame through. Gates that the settings do not use are not named. Empty for a label that was raised before
    /// the frame.
    pub passed: Gates,
}

/// What keeps a label from being raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// The label or its source is switched off.
    #[serde(rename = "enabled")]
    Disabled,
    /// The score is below the threshold, in all regions.
    #[serde(rename = "threshold")]
    BelowThreshold,
    /// The threshold is a rise over a baseline that is not known yet. The score may be anything.
    #[serde(rename = "baseline")]
    BaselineUnknown {
        /// At least this number of quiet frames is missing ...
        frames: u32,
        /// ... and they must cover this time (seconds in JSON).
        #[serde(with = "seconds")]
        #[schemars(with = "f64")]
        left: Duration,
    },
    /// The frame is outside the hours of the label.
    #[serde(rename = "active")]
    Inactive {
        /// The hours, as they are typed.
        #[serde(with = "text")]
        #[schemars(with = "String")]
        active: Arc<str>,
    },
    /// Too few of the newest frames agree.
    Hold {
        /// This number agrees.
        seen: u8,
        /// This number must agree ...
        frames: u8,
        /// ... of this number of newest frames.
        of: u8,
    },
    /// Enough frames agree, but not for long enough yet (`for`).
    #[serde(rename = "for")]
    Lasting {
        /// For this much longer (seconds in JSON).
        #[serde(with = "seconds")]
        #[schemars(with = "f64")]
        left: Duration,
    },
    /// The last raise was too recent.
    Cooldown {
        /// For this much longer (seconds in JSON).
        #[serde(with = "seconds")]
        #[schemars(with = "f64")]
        left: Duration,
    },
    /// The score reaches the threshold only in regions that do not count for the label.
    #[serde(rename = "regions")]
    Region {
        /// The highest score in the regions that count.
        here: f32,
        /// The highest score in the other regions.
        elsewhere: f32,
        /// The region with that score.
        #[serde(with = "optional_text")]
        #[schemars(with = "Option<String>")]
        region: Option<Arc<str>>,
    },
    /// The condition of a rule is not met. Labels of other label sets are written `set/label`.
    Condition {
        /// Labels that are absent and must be present.
        #[serde(with = "texts")]
        #[schemars(with = "Vec<String>")]
        missing: Vec<Arc<str>>,
        /// Labels that are present and must be absent.
        #[serde(with = "texts")]
        #[schemars(with = "Vec<String>")]
        present: Vec<Arc<str>>,
        /// Labels that are not known yet to be present or absent.
        #[serde(with = "texts")]
        #[schemars(with = "Vec<String>")]
        unknown: Vec<Arc<str>>,
    },
    /// A person asked for silence.
    #[serde(rename = "snooze")]
    Snoozed {
        /// Until this time.
        #[schemars(with = "String")]
        until: Timestamp,
    },
}

impl Gate {
    /// Which gate it is.
    #[must_use]
    pub fn kind(&self) -> GateKind {
        match self {
            Self::Disabled => GateKind::Enabled,
            Self::BelowThreshold => GateKind::Threshold,
            Self::BaselineUnknown { .. } => GateKind::Baseline,
            Self::Inactive { .. } => GateKind::Active,
            Self::Hold { .. } => GateKind::Hold,
            Self::Lasting { .. } => GateKind::For,
            Self::Cooldown { .. } => GateKind::Cooldown,
            Self::Region { .. } => GateKind::Regions,
            Self::Condition { .. } => GateKind::Condition,
            Self::Snoozed { .. } => GateKind::Snooze,
        }
    }

    /// What holds and what is missing, for people: `hold: 1 of 2 so far`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Disabled => "enabled: it is switched off".to_owned(),
            Self::BelowThreshold => "threshold: the score is below it".to_owned(),
            Self::BaselineUnknown { frames, left } => {
                let frames = counted(*frames, "quiet frame");
                format!("baseline: not learnt yet, at least {frames} over {} to come", rounded(*left))
            }
            Self::Inactive { active } => format!("active: {active}, now outside"),
            Self::Hold { seen, frames, of } if frames == of => format!("hold: {seen} of {frames} so far"),
            Self::Hold { seen, frames, of } => {
                format!("hold: {seen} of {frames} so far, among the newest {of} frames")
            }
            Self::Lasting { left } => format!("for: {} left", rounded(*left)),
            Self::Cooldown { left } => format!("cooldown: {} left", rounded(*left)),
            Self::Region { here, elsewhere, region } => {
                let region = region.as_ref().map_or(String::new(), |region| format!(" ({region})"));
                format!("region gate: best {here:.2} here, {elsewhere:.2} elsewhere{region}")
            }
            Self::Condition { missing, present, unknown } => {
                let parts = [(missing, "missing"), (present, "present"), (unknown, "not known yet")];
                let parts = parts
                    .iter()
                    .flat_map(|(labels, what)| labels.iter().map(move |label| format!("{label} is {what}")));
                format!("condition: {}", parts.collect::<Vec<_>>().join(", "))
            }
            Self::Snoozed { until } => format!("snooze: until {}", local_time::local(*until)),
        }
    }
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whole seconds, rounded up: no gate says that nothing is left.
fn rounded(left: Duration) -> String {
    let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    duration_text(Duration::from_secs(whole))
}

/// A duration as seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A shared text as a text.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// A shared text that may be absent.
mod optional_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Arc::from))
    }
}

/// Shared texts as a list of texts.
mod texts {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(texts: &[Arc<str>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(texts.iter().map(|text| &**text))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Arc<str>>, D::Error> {
        Ok(Vec::<String>::deserialize(from)?.into_iter().map(Arc::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn gates_have_a_sentence_for_people_and_a_form_in_json() {
        let seconds = Duration::from_secs_f64;
        let cases = [
            (Gate::BelowThreshold, "threshold: the score is below it", r#"{"gate":"threshold"}"#),
            (
                Gate::BaselineUnknown { frames: 9, left: seconds(89.5) },
                "baseline: not learnt yet, at least 9 quiet frames over 1m30s to come",
                r#"{"gate":"baseline","frames":9,"left":89.5}"#,
            ),
            (
                Gate::BaselineUnknown { frames: 1, left: seconds(0.01) },
                "baseline: not learnt yet, at least 1 quiet frame over 1s to come",
                r#"{"gate":"baseline","frames":1,"left":0.01}"#,
            ),
            (
                Gate::Inactive { active: "mon-fri 22:00-06:00".into() },
                "active: mon-fri 22:00-06:00, now outside",
                r#"{"gate":"active","active":"mon-fri 22:00-06:00"}"#,
            ),
            (
                Gate::Hold { seen: 1, frames: 2, of: 2 },
                "hold: 1 of 2 so far",
                r#"{"gate":"hold","seen":1,"frames":2,"of":2}"#,
            ),
            (
                Gate::Hold { seen: 1, frames: 2, of: 3 },
                "hold: 1 of 2 so far, among the newest 3 frames",
                r#"{"gate":"hold","seen":1,"frames":2,"of":3}"#,
            ),
            (Gate::Lasting { left: seconds(7.0) }, "for: 7s left", r#"{"gate":"for","left":7.0}"#),
            (
                Gate::Cooldown { left: seconds(191.25) },
                "cooldown: 3m12s left",
                r#"{"gate":"cooldown","left":191.25}"#,
            ),
            (
                Gate::Region { here: 0.41, elsewhere: 0.93, region: None },
                "region gate: best 0.41 here, 0.93 elsewhere",
                r#"{"gate":"regions","here":0.41,"elsewhere":0.93,"region":null}"#,
            ),
            (
                Gate::Region { here: 0.41, elsewhere: 0.93, region: Some("drive".into()) },
                "region gate: best 0.41 here, 0.93 elsewhere (drive)",
                r#"{"gate":"regions","here":0.41,"elsewhere":0.93,"region":"drive"}"#,
            ),
            (
                Gate::Condition {
                    missing: names(&["person", "van"]),
                    present: names(&["yard/fox"]),
                    unknown: names(&["dog"]),
                },
                "condition: person is missing, van is missing, yard/fox is present, dog is not known yet",
                r#"{"gate":"condition","missing":["person","van"],"present":["yard/fox"],"unknown":["dog"]}"#,
            ),
        ];
        for (gate, sentence, json) in cases {
            assert_eq!(gate.sentence(), sentence);
            assert_eq!(serde_json::to_string(&gate).unwrap(), json);
            assert_eq!(serde_json::from_str::<Gate>(json).unwrap(), gate);
            assert!(json.starts_with(&format!(r#"{{"gate":"{}""#, gate.kind().word())), "{json}");
        }
        let until = "2026-11-23T08:15:30Z".parse().unwrap();
        let snoozed = Gate::Snoozed { until };
        assert_eq!(snoozed.sentence(), format!("snooze: until {}", local_time::local(until)));
        let json = r#"{"gate":"snooze","until":"2026-11-23T08:15:30Z"}"#;
        assert_eq!(serde_json::to_string(&snoozed).unwrap(), json);
        assert_eq!(snoozed.kind(), GateKind::Snooze);
        let disabled = Gate::Disabled;
        assert_eq!(
            (disabled.sentence().as_str(), disabled.kind()),
            ("enabled: it is switched off", GateKind::Enabled)
        );
        assert_eq!(serde_json::to_string(&disabled).unwrap(), r#"{"gate":"enabled"}"#);
    }

    #[test]
    fn damaged_json_is_an_error() {
        for json in
            ["{}", r#"{"gate":"x"}"#, r#"{"gate":"cooldown","left":-1}"#, r#"{"gate":"for","left":1e300}"#]
        {
            assert!(serde_json::from_str::<Gate>(json).is_err(), "{json}");
        }
    }
}
