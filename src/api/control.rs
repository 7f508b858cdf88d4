//! What is set while the service runs: the verb `controls` lists it, and the verbs of the files `enable`, `set` and `snooze` set it.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Kind},
    service::Service,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{
        Config, Source,
        controlled::{Refused, Wish},
    },
    controls::Done,
    policy::{Control, LabelName, SetBy, SettingKind, Target},
    topic::topic_level,
};

/// Lists what is set.
pub const LIST: Verb<ListRequest, List> = Verb {
    name: "controls",
    method: Method::Get,
    summary: "Lists the settings that were changed while the service runs, and who changed them.",
    answer: Answer::Live(|service, _| Box::pin(async move { list(&service) })),
};

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {}

/// What is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// In the order in which it was set.
    pub controls: Vec<SetValue>,
}

/// A setting that was changed while the service runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetValue {
    /// The name of the source.
    pub source: String,
    /// The label set; absent for a setting of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_set: Option<String>,
    /// The label or the rule; absent for a setting of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Which setting it is.
    pub setting: SettingKind,
    /// The value, for people: `false`, `0.7`, `until 2026-11-28 07:00`.
    pub value: String,
    /// The value in the configuration; absent for a snooze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When a snooze ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Who set it.
    pub by: SetBy,
    /// When it was set.
    pub at: Time,
    /// All of it for people: `threshold 0.7, set over MQTT at 2026-11-27 10:00; 0.6 in the file`.
    pub sentence: String,
}

/// What a request has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The setting as it is now; absent if it has the value of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetValue>,
    /// Whether this is different from what was set before.
    pub changed: bool,
}

impl From<&Control> for SetValue {
    fn from(control: &Control) -> Self {
        let (zone, Target { source, label }) = (TimeZone::system(), &control.target);
        Self {
            source: source.clone(),
            label_set: label.as_ref().map(|name| name.label_set.clone()),
            label: label.as_ref().map(|name| name.label.clone()),
            setting: control.setting.kind(),
            value: control.setting.value(&zone),
            file: control.setting.file(),
            until: control.setting.until().map(Time),
            by: control.by,
            at: Time(control.at),
            sentence: control.sentence(&zone),
        }
    }
}

impl From<Done> for Response {
    fn from(done: Done) -> Self {
        Self { set: done.control.as_ref().map(SetValue::from), changed: done.is_new }
    }
}

/// What is set for a label on a source: its own settings, and those of its source.
#[must_use]
pub fn about_label(config: &Config, source: &str, label_set: &str, label: &str) -> Vec<SetValue> {
    config.controls.about(source, label_set, label).map(SetValue::from).collect()
}

/// What is set for a source itself.
#[must_use]
pub fn about_source(config: &Config, source: &str) -> Vec<SetValue> {
    config.controls.of(&Target::source(source)).map(SetValue::from).collect()
}

fn list(service: &Service) -> Result<List, Error> {
    let controls = service.live()?.controls.list();
    Ok(List { controls: controls.iter().map(SetValue::from).collect() })
}

/// The target with the names as in the configuration. `label` is `set/label`, or the label alone if the source has it in one label set.
///
/// # Errors
/// There is no such source or label; the error names the parameter.
pub(super) fn target(service: &Service, source: &str, label: Option<&str>) -> Result<Target, Error> {
    let live = service.live()?;
    let (watched, files) = (live.newest.config(), live.controls.files());
    let of = |config: &Config| config.sources.iter().find(|known| is_same(&known.name, source)).cloned();
    // A source that names others is only in the files.
    let (config, found) = match of(&watched) {
        Some(found) => (&watched, Some(found)),
        None => (&files, of(&files)),
    };
    match (found, label) {
        (Some(found), Some(label)) => label_target(config, &found, label),
        (Some(found), None) => Ok(Target::source(&found.name)),
        // The error of what sets it lists the labels.
        (None, Some(label)) => Ok(unknown_label(source, label)),
        (None, None) => Ok(Target::source(source)),
    }
}

fn unknown_label(source: &str, typed: &str) -> Target {
    let (label_set, label) = typed.split_once('/').unwrap_or(("", typed));
    Target::label(source, label_set, label)
}

fn label_target(config: &Config, source: &Source, typed: &str) -> Result<Target, Error> {
    let all = config.watched_by(source).flat_map(|set| {
        let name = |label: &str| LabelName { label_set: set.name.clone(), label: label.to_owned() };
        set.alerting().map(|label| name(&label.name)).collect::<Vec<_>>()
    });
    let is_meant = |name: &LabelName| {
        is_same(&name.label, typed) || is_same(&format!("{}/{}", name.label_set, name.label), typed)
    };
    let found: Vec<LabelName> = all.filter(is_meant).collect();
    match &found[..] {
        [LabelName { label_set, label }] => Ok(Target::label(&source.name, label_set, label)),
        [] => Ok(unknown_label(&source.name, typed)),
        [LabelName { label_set, label }, ..] => {
            let what = format!("`{typed}` is in {} label sets of `{}`", found.len(), source.name);
            let remedy = format!("Write it with its label set: `{label_set}/{label}`.");
            Err(Error::parameter("label", what).remedy(remedy))
        }
    }
}

/// Names that differ only in their spelling are the same.
fn is_same(known: &str, typed: &str) -> bool {
    known == typed || topic_level(known) == topic_level(typed)
}

/// Sets something.
///
/// # Errors
/// There is no such source or label, or the value is impossible for it.
pub(super) async fn set(
    service: &Arc<Service>,
    target: Target,
    wish: Wish,
    by: SetBy,
) -> Result<Response, Error> {
    let controls = service.live()?.controls.clone();
    let set = move || controls.wish(&target, wish, by, Timestamp::now()).map_err(Error::from);
    service.blocking(set).await.map(Response::from)
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let what = refused.to_string();
        match refused {
            Refused::NoSource { .. } => {
                Self::parameter("source", what).remedy("Write its name as in the configuration.")
            }
            Refused::NoLabel { .. } => Self::parameter("label", what).remedy("Write it as `SET/LABEL`."),
            Refused::ThresholdOfSource | Refused::ThresholdOfRule(_) => {
                Self::parameter("label", what).remedy("Name a label as `SET/LABEL`.")
            }
            Refused::BelowClear { clear, .. } => {
                Self::parameter("threshold", what).remedy(format!("Set a threshold of at least {clear}."))
            }
            Refused::Dynamic { of, .. } => {
                Self::parameter("source", what).remedy(format!("Name `{of}`, or snooze the source."))
            }
            Refused::TooMany => Self::new(Kind::Conflict, what).remedy("`stakeout set` lists what is set."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Setting, samples};

    #[test]
    fn labels_are_found_by_their_names() {
        let mut config = samples::config();
        config.label_sets[1].labels.push(samples::label("person", 0.5));
        let door = &config.sources[0];
        for (typed, expected) in [
            ("porch/Person", Ok("Front Door/porch/Person")),
            ("PORCH/person", Ok("Front Door/porch/Person")),
            ("fox", Ok("Front Door/yard/fox")),
            ("yard/wolf", Ok("Front Door/yard/wolf")),
            ("wolf", Ok("Front Door//wolf")),
            ("person", Err("`person` is in 2 label sets of `Front Door`")),
        ] {
            let found = label_target(&config, door, typed).map(|target| target.to_string());
            assert_eq!(found.as_deref().map_err(|error| &*error.what), expected, "{typed}");
        }
    }

    #[test]
    fn a_value_says_who_set_it() {
        let at = "2026-11-27T10:00:00Z".parse().unwrap();
        let setting = Setting::Threshold { value: 0.7, file: 0.6 };
        let control =
            Control { target: Target::label("back", "porch", "Person"), setting, by: SetBy::Console, at };
        let mut config = samples::config();
        config.controls = [control].into_iter().collect();
        let values = about_label(&config, "back", "porch", "Person");
        let [value] = &values[..] else { panic!("{values:?}") };
        assert_eq!((&*value.value, value.file.as_deref(), value.by), ("0.7", Some("0.6"), SetBy::Console));
        assert!(
            value.sentence.starts_with("threshold 0.7, set in the console at 2026-11-"),
            "{}",
            value.sentence
        );
        assert_eq!(about_source(&config, "back"), []);
    }
}
