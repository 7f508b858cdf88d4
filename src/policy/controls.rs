//! Controls: settings that were changed while the service runs, over MQTT, the API, the console or a command. Pure.
//!
//! A control replaces a value of the files until the files change that value. So each one has the value that the files had when it was
//! set. A snooze replaces no value, and ends at its time.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::LabelName;

/// The most controls at a time.
pub const MOST_CONTROLS: usize = 2000;

/// What a control is about: a source, or a label or a rule on a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The name of the source, as in the configuration.
    pub source: String,
    /// The label or the rule; `None` is the source.
    #[serde(flatten)]
    pub label: Option<LabelName>,
}

/// Who set a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// A message to a topic.
    Mqtt,
    /// A program, over HTTP.
    #[default]
    Api,
    /// A person, in the console.
    Console,
    /// A person, with a command of `stakeout`.
    Command,
}

/// What is set, and to which value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "setting", rename_all = "snake_case")]
pub enum Setting {
    /// Whether the source is read, or the label is judged.
    Enabled {
        /// The value.
        value: bool,
        /// The value in the files.
        file: bool,
    },
    /// The threshold of the label, or its rise.
    Threshold {
        /// The value.
        value: f32,
        /// The value in the files.
        file: f32,
    },
    /// Alerts are held back.
    Snooze {
        /// Until this time.
        until: Timestamp,
        /// As it was asked for: `1h`, `until 07:00`.
        asked: String,
    },
}

/// Which setting of a source or a label it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// Whether the source is read, or the label is judged.
    Enabled,
    /// The threshold of a label, or its rise.
    Threshold,
    /// Alerts are held back.
    Snooze,
}

/// A setting that was changed while the service runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// What it is about.
    #[serde(flatten)]
    pub target: Target,
    /// What is set.
    #[serde(flatten)]
    pub setting: Setting,
    /// Who set it.
    pub by: SetBy,
    /// When it was set.
    pub at: Timestamp,
}

/// All controls: at most one for each setting of a source or a label. In the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Controls(Vec<Control>);

impl Target {
    /// A source.
    #[must_use]
    pub fn source(name: &str) -> Self {
        Self { source: name.to_owned(), label: None }
    }

    /// A label or a rule on a source.
    #[must_use]
    pub fn label(source: &str, label_set: &str, label: &str) -> Self {
        let label = LabelName { label_set: label_set.to_owned(), label: label.to_owned() };
        Self { source: source.to_owned(), label: Some(label) }
    }

    /// Whether it is this label or rule on a source.
    #[must_use]
    pub fn is_label(&self, label_set: &str, label: &str) -> bool {
        self.label.as_ref().is_some_and(|it| it.label_set == label_set && it.label == label)
    }
}

/// As commands write it: `door/porch/person`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match &self.label {
            Some(LabelName { label_set, label }) => write!(f, "/{label_set}/{label}"),
            None => Ok(()),
        }
    }
}

impl SetBy {
    /// How the value came here, after "set".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Mqtt => "over MQTT",
            Self::Api => "through the API",
            Self::Console => "in the console",
            Self::Command => "by a command",
        }
    }
}

impl SettingKind {
    /// The word in topics, in JSON and for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Threshold => "threshold",
            Self::Snooze => "snooze",
        }
    }
}

impl Setting {
    /// Which setting it is.
    #[must_use]
    pub fn kind(&self) -> SettingKind {
        match self {
            Self::Enabled { .. } => SettingKind::Enabled,
            Self::Threshold { .. } => SettingKind::Threshold,
            Self::Snooze { .. } => SettingKind::Snooze,
        }
    }

    /// The end of a snooze.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Snooze { until, .. } => Some(*until),
            Self::Enabled { .. } | Self::Threshold { .. } => None,
        }
    }

    /// The value for people: `false`, `0.7`, `until 2026-11-28 07:00`.
    #[must_use]
    pub fn value(&self, zone: &TimeZone) -> String {
        match self {
            Self::Enabled { value, .. } => value.to_string(),
            Self::Threshold { value, .. } => value.to_string(),
            Self::Snooze { until, .. } => format!("until {}", minute(*until, zone)),
        }
    }

    /// The value in the files, for people.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match self {
            Self::Enabled { file, .. } => Some(file.to_string()),
            Self::Threshold { file, .. } => Some(file.to_string()),
            Self::Snooze { .. } => None,
        }
    }
}

impl Control {
    /// `set over MQTT at 2026-11-27 10:00`.
    #[must_use]
    pub fn origin(&self, zone: &TimeZone) -> String {
        format!("set {} at {}", self.by.words(), minute(self.at, zone))
    }

    /// The setting, its value, and where it comes from, for people: `threshold 0.7, set over MQTT at 2026-11-27 10:00; 0.6 in the file`.
    #[must_use]
    pub fn sentence(&self, zone: &TimeZone) -> String {
        let word = match &self.setting {
            Setting::Snooze { .. } => "snoozed",
            other => other.kind().word(),
        };
        let file = self.setting.file().map_or(String::new(), |file| format!("; {file} in the file"));
        format!("{word} {}, {}{file}", self.setting.value(zone), self.origin(zone))
    }

    /// Whether it is a snooze that counts at `now`. A clock that shows a time before the snooze was set is wrong: then it is not known
    /// how long the snooze lasts, and alerts are not held back.
    #[must_use]
    pub fn is_snooze_at(&self, now: Timestamp) -> bool {
        self.setting.until().is_some_and(|until| now < until) && self.at <= now
    }
}

impl Controls {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Control> {
        self.0.iter()
    }

    /// Their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a source or a label.
    pub fn of<'c>(&'c self, target: &Target) -> impl Iterator<Item = &'c Control> {
        self.iter().filter(move |control| control.target == *target)
    }

    /// The control of this setting, if it is set.
    #[must_use]
    pub fn find(&self, target: &Target, kind: SettingKind) -> Option<&Control> {
        self.iter().find(|control| control.target == *target && control.setting.kind() == kind)
    }

    /// What concerns a label on a source: its own controls, and those of its source.
    pub fn about<'c>(
        &'c self,
        source: &str,
        label_set: &str,
        label: &str,
    ) -> impl Iterator<Item = &'c Control> {
        self.iter().filter(move |control| {
            let target = &control.target;
            target.source == source && (target.label.is_none() || target.is_label(label_set, label))
        })
    }

    /// Adds a control, instead of the one of the same setting.
    pub fn set(&mut self, control: Control) {
        let _ = self.remove(&control.target, control.setting.kind());
        self.0.push(control);
    }

    /// Removes the control of this setting, and returns it.
    pub fn remove(&mut self, target: &Target, kind: SettingKind) -> Option<Control> {
        let is_same = |it: &Control| it.target == *target && it.setting.kind() == kind;
        let at = self.0.iter().position(is_same)?;
        Some(self.0.remove(at))
    }

    /// Removes these controls, where they are still the same.
    pub fn remove_all(&mut self, controls: &[Control]) {
        self.0.retain(|control| !controls.contains(control));
    }

    /// Removes the snoozes that have ended, and returns them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Control> {
        self.0.extract_if(.., |control| control.setting.until().is_some_and(|until| until <= now)).collect()
    }

    /// When the next snooze ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.iter().filter_map(|control| control.setting.until()).min()
    }

    /// The snoozes that do not count yet, because the clock is wrong.
    #[must_use]
    pub fn waiting(&self, now: Timestamp) -> usize {
        let is_snooze = |control: &&Control| control.setting.until().is_some_and(|until| now < until);
        self.iter().filter(is_snooze).filter(|control| !control.is_snooze_at(now)).count()
    }
}

impl FromIterator<Control> for Controls {
    fn from_iter<I: IntoIterator<Item = Control>>(controls: I) -> Self {
        let mut all = Self::default();
        controls.into_iter().for_each(|control| all.set(control));
        all
    }
}

/// A date and a time in the zone, to the minute.
fn minute(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-27T{text}Z").parse().unwrap()
    }

    fn control(target: Target, setting: Setting) -> Control {
        Control { target, setting, by: SetBy::Mqtt, at: at("10:00:00") }
    }

    fn snooze(target: Target, until: &str) -> Control {
        control(target, Setting::Snooze { until: at(until), asked: "1h".to_owned() })
    }

    #[test]
    fn a_setting_has_one_control() {
        let person = || Target::label("door", "porch", "person");
        let threshold = |value| control(person(), Setting::Threshold { value, file: 0.6 });
        let off = control(Target::source("door"), Setting::Enabled { value: false, file: true });
        let mut controls: Controls = [threshold(0.7), off.clone(), threshold(0.8)].into_iter().collect();
        assert_eq!(controls.iter().cloned().collect::<Vec<_>>(), [off.clone(), threshold(0.8)]);
        assert_eq!(controls.find(&person(), SettingKind::Threshold), Some(&threshold(0.8)));
        assert_eq!(controls.find(&person(), SettingKind::Enabled), None);
        assert_eq!(controls.about("door", "porch", "person").count(), 2);
        assert_eq!(controls.about("door", "porch", "dog").count(), 1, "those of the source");
        assert_eq!(controls.about("back", "porch", "person").count(), 0);
        controls.remove_all(&[threshold(0.7), off]);
        assert_eq!(controls.len(), 1, "one that was set again is another one");
        assert_eq!(controls.remove(&person(), SettingKind::Threshold), Some(threshold(0.8)));
        assert_eq!((controls.remove(&person(), SettingKind::Threshold), controls.is_empty()), (None, true));
    }

    #[test]
    fn snoozes_end_at_their_time() {
        let (door, back) =
            (snooze(Target::source("door"), "11:00:00"), snooze(Target::source("back"), "12:00:00"));
        let off = control(Target::source("door"), Setting::Enabled { value: false, file: true });
        let mut controls: Controls = [back, off, door.clone()].into_iter().collect();
        assert_eq!(controls.next_end(), Some(at("11:00:00")));
        assert_eq!(controls.expire(at("10:59:59")), []);
        for (now, counts, waiting) in
            [("09:59:59", false, 2), ("10:00:00", true, 0), ("10:59:59", true, 0), ("11:00:00", false, 0)]
        {
            assert_eq!((door.is_snooze_at(at(now)), controls.waiting(at(now))), (counts, waiting), "{now}");
        }
        assert_eq!(controls.expire(at("11:00:00")), [door]);
        assert_eq!((controls.len(), controls.next_end()), (2, Some(at("12:00:00"))));
    }

    #[test]
    fn a_control_is_said_in_words_and_stored_as_json() {
        let (door, person) = (Target::source("door"), Target::label("door", "porch", "person"));
        for (control, sentence, json) in [
            (
                control(person, Setting::Threshold { value: 0.7, file: 0.6 }),
                "threshold 0.7, set over MQTT at 2026-11-27 10:00; 0.6 in the file",
                r#"{"source":"door","label_set":"porch","label":"person","setting":"threshold","value":0.7,"file":0.6,"by":"mqtt","at":"2026-11-27T10:00:00Z"}"#,
            ),
            (
                control(door.clone(), Setting::Enabled { value: false, file: true }),
                "enabled false, set over MQTT at 2026-11-27 10:00; true in the file",
                r#"{"source":"door","setting":"enabled","value":false,"file":true,"by":"mqtt","at":"2026-11-27T10:00:00Z"}"#,
            ),
            (
                snooze(door, "11:00:00"),
                "snoozed until 2026-11-27 11:00, set over MQTT at 2026-11-27 10:00",
                r#"{"source":"door","setting":"snooze","until":"2026-11-27T11:00:00Z","asked":"1h","by":"mqtt","at":"2026-11-27T10:00:00Z"}"#,
            ),
        ] {
            assert_eq!(control.sentence(&TimeZone::UTC), sentence);
            assert_eq!(serde_json::to_string(&control).unwrap(), json);
            assert_eq!(serde_json::from_str::<Control>(json).unwrap(), control);
        }
    }
}
