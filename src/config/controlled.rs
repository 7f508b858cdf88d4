//! Applies controls to a configuration: what was set while the service runs, until the files change it. Pure.
//!
//! A control whose value the files have changed since, or whose source or label is gone, is dropped: the files win.

use jiff::{Timestamp, tz::TimeZone};

use super::{assemble::Config, sources::Source};
use crate::{
    policy::{
        Control, Controls, Label, LabelName, LabelSet, SetBy, Setting, SettingKind, Snooze, Target,
        TriggerSettings, controls::MOST_CONTROLS,
    },
    yaml::names,
};

/// A configuration with controls.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled {
    /// The configuration, with the controls that count.
    pub config: Config,
    /// The controls that do not count any more, and why.
    pub dropped: Vec<(Control, Dropped)>,
}

/// Why a control does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The files have another value than when it was set.
    FileChanged,
    /// The source or the label is not in the configuration.
    Gone,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wish {
    /// Whether a source is read, or a label is judged.
    Enabled(bool),
    /// The threshold of a label, or its rise.
    Threshold(f32),
    /// Alerts are held back, or no longer.
    Snooze(Snooze),
}

/// What a request changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This control is set.
    Set(Control),
    /// The setting has the value of the files.
    Remove(Target, SettingKind),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is no such source.
    #[error("there is no source `{name}`; {suggestion}")]
    NoSource {
        /// The name that was asked for.
        name: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// The source has no such label.
    #[error("`{source_name}` watches no label `{label}`; {suggestion}")]
    NoLabel {
        /// The name of the source.
        source_name: String,
        /// The label set and the label.
        label: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// A source has no threshold.
    #[error("a source has no threshold: name a label")]
    ThresholdOfSource,
    /// A rule over labels has no threshold.
    #[error("`{0}` is a rule over labels, which has no threshold: set that of its labels")]
    ThresholdOfRule(String),
    /// The label is cleared at a higher score.
    #[error(
        "{level} is below {clear}, at which the label is cleared: lower `{key}` in the configuration first"
    )]
    BelowClear {
        /// The threshold that was asked for.
        level: f32,
        /// The level at which the label is cleared.
        clear: f32,
        /// Its key.
        key: &'static str,
    },
    /// The pictures of a dynamic source arrive with those of others.
    #[error(
        "the pictures of `{name}` arrive with those of `{of}`: enable or disable `{of}`, or the labels of `{name}`"
    )]
    Dynamic {
        /// The dynamic source.
        name: String,
        /// The source that names it.
        of: String,
    },
    /// There are too many controls.
    #[error("{MOST_CONTROLS} settings are set already: set some of them to the value in the configuration")]
    TooMany,
}

impl Config {
    /// This configuration, which is that of the files, with `controls` as they count at `now`.
    #[must_use]
    pub fn controlled(&self, controls: &Controls, now: Timestamp) -> Controlled {
        let mut dropped = Vec::new();
        let mut kept = Vec::new();
        for control in controls.iter().cloned() {
            match self.verdict(&control) {
                None => kept.push(control),
                Some(why) => dropped.push((control, why)),
            }
        }
        let mut config = Self { controls: kept.into_iter().collect(), ..self.clone() };
        let (controls, sets) = (config.controls.clone(), &self.label_sets);
        config.sources.iter_mut().for_each(|source| source.control(&controls, sets, now));
        Controlled { config, dropped }
    }

    /// The dynamic source `name` of the source `of`, which has its controls already: the same settings, with controls of its own.
    #[must_use]
    pub fn dynamic_source(&self, of: &Source, name: &str, now: Timestamp) -> Source {
        let mut source = Source { name: name.to_owned(), ..of.clone() };
        source.control(&self.controls, &self.label_sets, now);
        source
    }

    /// What `wish` changes. This configuration is that of the files.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn wish(
        &self,
        controls: &Controls,
        (target, wish): (&Target, Wish),
        (by, now, zone): (SetBy, Timestamp, &TimeZone),
    ) -> Result<Change, Refused> {
        let source = self.source_of(&target.source).ok_or_else(|| {
            let known: Vec<_> = self.sources.iter().map(|source| &*source.name).collect();
            let suggestion = names::suggest(&target.source, &known);
            Refused::NoSource { name: target.source.clone(), suggestion }
        })?;
        let label = match &target.label {
            Some(name) => {
                Some(self.label_of(source, name).ok_or_else(|| self.no_label(target, source, name))?)
            }
            None => None,
        };
        let setting = match wish {
            Wish::Enabled(_) if target.label.is_none() && source.name != target.source => {
                return Err(Refused::Dynamic { name: target.source.clone(), of: source.name.clone() });
            }
            Wish::Enabled(value) => {
                let file = label.map_or(source.enabled, |(label, _)| !label.silence.disabled);
                (value != file).then_some(Setting::Enabled { value, file })
            }
            Wish::Threshold(value) => {
                let (label, is_rule) = label.ok_or(Refused::ThresholdOfSource)?;
                if is_rule {
                    return Err(Refused::ThresholdOfRule(label.name.clone()));
                }
                let file = checked_level(&label.trigger, value)?;
                (value != file).then_some(Setting::Threshold { value, file })
            }
            Wish::Snooze(snooze) => {
                let asked = snooze.to_string();
                snooze.end(now, zone).map(|until| Setting::Snooze { until, asked })
            }
        };
        let Some(setting) = setting else { return Ok(Change::Remove(target.clone(), wish.kind())) };
        if controls.find(target, wish.kind()).is_none() && controls.len() >= MOST_CONTROLS {
            return Err(Refused::TooMany);
        }
        Ok(Change::Set(Control { target: target.clone(), setting, by, at: now }))
    }

    /// Why a control does not count with the files as they are; `None`: it counts.
    fn verdict(&self, control: &Control) -> Option<Dropped> {
        let Some(source) = self.source_of(&control.target.source) else { return Some(Dropped::Gone) };
        let label = match &control.target.label {
            None => None,
            Some(name) => match self.label_of(source, name) {
                None => return Some(Dropped::Gone),
                label => label,
            },
        };
        let is_same = match (&control.setting, label) {
            (Setting::Enabled { file, .. }, None) => source.enabled == *file,
            (Setting::Enabled { file, .. }, Some((label, _))) => label.silence.disabled != *file,
            (Setting::Threshold { value, file }, Some((label, is_rule))) => {
                let settings = &label.trigger;
                !is_rule && settings.threshold == *file && settings.with_level(*value).is_ok()
            }
            (Setting::Threshold { .. }, None) => return Some(Dropped::Gone),
            (Setting::Snooze { .. }, _) => true,
        };
        (!is_same).then_some(Dropped::FileChanged)
    }

    /// The source with this name, or the one whose topics may name such a source.
    fn source_of(&self, name: &str) -> Option<&Source> {
        let may_give = |source: &&Source| {
            source.kind.settings().name_pattern().is_some_and(|pattern| pattern.may_give(name))
        };
        let named = self.sources.iter().find(|source| source.name == name);
        named.or_else(|| self.sources.iter().find(may_give))
    }

    /// A label or a rule on a source, and whether it is a rule.
    fn label_of<'c>(&'c self, source: &'c Source, name: &LabelName) -> Option<(&'c Label, bool)> {
        let set = self.watched_by(source).find(|set| set.name == name.label_set)?;
        let rules = set.rules.iter().map(|rule| (&rule.settings, true));
        let mut all = set.labels.iter().map(|label| (label, false)).chain(rules);
        let (label, is_rule) = all.find(|(label, _)| label.name == name.label)?;
        Some((source.label(&set.name, label), is_rule))
    }

    fn no_label(&self, target: &Target, source: &Source, name: &LabelName) -> Refused {
        let sets = self.watched_by(source);
        let known: Vec<String> =
            sets.flat_map(|set| set.alerting().map(|label| format!("{}/{}", set.name, label.name))).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let label = match &*name.label_set {
            "" => name.label.clone(),
            label_set => format!("{label_set}/{}", name.label),
        };
        let suggestion = names::suggest(&label, &known);
        Refused::NoLabel { source_name: target.source.clone(), label, suggestion }
    }
}

/// The threshold in the files, if `level` may replace it.
fn checked_level(settings: &TriggerSettings, level: f32) -> Result<f32, Refused> {
    let key = if settings.rises { "clear_rise" } else { "clear_below" };
    match settings.with_level(level) {
        Ok(_) => Ok(settings.threshold),
        Err(clear) => Err(Refused::BelowClear { level, clear, key }),
    }
}

impl Wish {
    /// Which setting is asked for.
    #[must_use]
    pub fn kind(self) -> SettingKind {
        match self {
            Self::Enabled(_) => SettingKind::Enabled,
            Self::Threshold(_) => SettingKind::Threshold,
            Self::Snooze(_) => SettingKind::Snooze,
        }
    }
}

impl Source {
    /// Applies the controls of this source and of its labels.
    fn control(&mut self, controls: &Controls, sets: &[LabelSet], now: Timestamp) {
        let own = controls.iter().filter(|control| control.target.source == self.name);
        for control in own.collect::<Vec<_>>() {
            match (&control.target.label, &control.setting) {
                (None, Setting::Enabled { value, .. }) => self.enabled = *value,
                (None, Setting::Snooze { until, .. }) if control.is_snooze_at(now) => {
                    self.snooze_all(sets, *until);
                }
                (Some(name), setting) => self.adjust(sets, name, |label| match setting {
                    Setting::Enabled { value, .. } => label.silence.disabled = !value,
                    // One that cannot be applied was dropped.
                    Setting::Threshold { value, .. } => {
                        label.trigger = label.trigger.with_level(*value).unwrap_or(label.trigger);
                    }
                    Setting::Snooze { until, .. } if control.is_snooze_at(now) => {
                        label.silence.snooze(*until)
                    }
                    Setting::Snooze { .. } => {}
                }),
                (None, _) => {}
            }
        }
    }

    fn snooze_all(&mut self, sets: &[LabelSet], until: Timestamp) {
        for set in sets.iter().filter(|set| self.watch.contains(&set.name)).collect::<Vec<_>>() {
            for label in set.alerting() {
                let name = LabelName { label_set: set.name.clone(), label: label.name.clone() };
                self.adjust(sets, &name, |label| label.silence.snooze(until));
            }
        }
    }

    /// Changes the settings that a label or a rule has here.
    fn adjust(&mut self, sets: &[LabelSet], name: &LabelName, change: impl FnOnce(&mut Label)) {
        let set = sets.iter().find(|set| set.name == name.label_set);
        let Some(label) = set.and_then(|set| set.alerting().find(|label| label.name == name.label)) else {
            return;
        };
        let mut here = self.label(&name.label_set, label).clone();
        change(&mut here);
        self.controlled.retain(|(of, label)| *of != name.label_set || label.name != name.label);
        self.controlled.push((name.label_set.clone(), here));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::SourceKind,
        policy::{Condition, LabelRule},
        samples,
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-11-27T{text}Z").parse().unwrap()
    }

    /// `Front Door` and `back` watch `porch`: Person 0.7, package 0.6, which is cleared below 0.4, and the rule `visitor`. `cams` names
    /// sources after topics.
    fn files() -> Config {
        let mut config = samples::config();
        config.label_sets[0].labels[1].trigger.clear_below = 0.4;
        let settings = samples::label("visitor", 0.5);
        config.label_sets[0].rules.push(LabelRule { settings, when: Condition::of("porch", "Person") });
        let cameras = SourceKind::Mqtt(samples::topics("cams/+", Some("cam-{1}")));
        config.sources.push(Source { kind: cameras, ..samples::source("cams", &["porch"]) });
        config
    }

    fn label(source: &str, label: &str) -> Target {
        Target::label(source, "porch", label)
    }

    fn wish(controls: &Controls, target: &Target, wish: Wish) -> Result<Change, String> {
        let by = (SetBy::Mqtt, at("10:00:00"), &TimeZone::UTC);
        files().wish(controls, (target, wish), by).map_err(|refused| refused.to_string())
    }

    fn control(target: Target, wished: Wish) -> Control {
        match wish(&Controls::default(), &target, wished) {
            Ok(Change::Set(control)) => control,
            other => panic!("{target}: {other:?}"),
        }
    }

    fn hour() -> Wish {
        Wish::Snooze(Snooze::For(Duration::from_secs(3600)))
    }

    #[test]
    fn a_table_of_wishes() {
        let (door, none) = (Target::source("Front Door"), Controls::default());
        let until = Setting::Snooze { until: at("11:00:00"), asked: "1h".to_owned() };
        for (target, wished, expected) in [
            (door.clone(), Wish::Enabled(false), Ok(Some(Setting::Enabled { value: false, file: true }))),
            (door.clone(), Wish::Enabled(true), Ok(None)),
            (
                label("back", "visitor"),
                Wish::Enabled(false),
                Ok(Some(Setting::Enabled { value: false, file: true })),
            ),
            (
                label("back", "Person"),
                Wish::Threshold(0.8),
                Ok(Some(Setting::Threshold { value: 0.8, file: 0.7 })),
            ),
            (label("back", "Person"), Wish::Threshold(0.7), Ok(None)),
            (
                label("cam-1", "Person"),
                Wish::Threshold(0.8),
                Ok(Some(Setting::Threshold { value: 0.8, file: 0.7 })),
            ),
            (door.clone(), hour(), Ok(Some(until.clone()))),
            (label("cam-1", "Person"), hour(), Ok(Some(until))),
            (door.clone(), Wish::Snooze(Snooze::Off), Ok(None)),
            (Target::source("bcak"), hour(), Err("there is no source `bcak`; did you mean `back`?")),
            (
                label("back", "Persn"),
                hour(),
                Err("`back` watches no label `porch/Persn`; did you mean `porch/Person`?"),
            ),
            (
                Target::label("back", "yard", "fox"),
                hour(),
                Err("`back` watches no label `yard/fox`; known: "),
            ),
            (door, Wish::Threshold(0.5), Err("a source has no threshold: name a label")),
            (
                label("back", "visitor"),
                Wish::Threshold(0.5),
                Err("`visitor` is a rule over labels, which has no threshold"),
            ),
            (
                label("back", "package"),
                Wish::Threshold(0.3),
                Err("0.3 is below 0.4, at which the label is cleared: lower `clear_below`"),
            ),
            (
                Target::source("cam-1"),
                Wish::Enabled(false),
                Err("the pictures of `cam-1` arrive with those of `cams`"),
            ),
        ] {
            match (wish(&none, &target, wished), expected) {
                (Ok(Change::Set(control)), Ok(Some(setting))) => {
                    assert_eq!((control.target, control.setting), (target, setting));
                }
                (Ok(Change::Remove(removed, kind)), Ok(None)) => {
                    assert_eq!((removed, kind), (target, wished.kind()));
                }
                (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{target}: {error}"),
                (found, expected) => panic!("{target}: {found:?} instead of {expected:?}"),
            }
        }
        let full: Controls = (0..MOST_CONTROLS)
            .map(|number| Control {
                target: Target::source(&number.to_string()),
                ..control(label("back", "Person"), hour())
            })
            .collect();
        assert!(wish(&full, &label("back", "Person"), hour()).unwrap_err().contains("2000 settings"));
        let again = wish(&full, &Target::source("7"), hour()).unwrap_err();
        assert!(again.starts_with("there is no source"), "{again}");
    }

    #[test]
    fn controls_are_applied_to_their_sources_and_labels() {
        let controls: Controls = [
            control(Target::source("back"), Wish::Enabled(false)),
            control(label("Front Door", "package"), Wish::Threshold(0.9)),
            control(label("Front Door", "Person"), Wish::Enabled(false)),
            control(Target::source("Front Door"), hour()),
            control(label("cam-1", "Person"), Wish::Threshold(0.8)),
        ]
        .into_iter()
        .collect();
        let Controlled { config, dropped } = files().controlled(&controls, at("10:00:00"));
        assert_eq!((dropped, &config.controls), (vec![], &controls));
        let [door, back, cams] = &config.sources[..] else { panic!("{:?}", config.sources) };
        assert_eq!((door.enabled, back.enabled), (true, false));
        let porch = &config.label_sets[0];
        let here = |source: &Source, number: usize| {
            let label = source.label("porch", porch.alerting().nth(number).unwrap());
            let levels = label.trigger.levels();
            (levels.threshold, levels.clear_below, label.silence.disabled, label.silence.snoozed_until)
        };
        let eleven = Some(at("11:00:00"));
        assert_eq!(here(door, 0), (0.7, 0.7, true, eleven));
        assert_eq!(here(door, 1), (0.9, 0.4, false, eleven));
        assert_eq!(here(door, 2), (0.5, 0.5, false, eleven), "the rule");
        assert_eq!(here(back, 1), (0.6, 0.4, false, None));
        assert_eq!(here(cams, 0), (0.7, 0.7, false, None));
        let dynamic = config.dynamic_source(cams, "cam-1", at("10:00:00"));
        assert_eq!((&*dynamic.name, here(&dynamic, 0)), ("cam-1", (0.8, 0.8, false, None)));

        for (now, until) in [("09:59:59", None), ("10:59:59", eleven), ("11:00:00", None)] {
            let config = files().controlled(&controls, at(now)).config;
            assert_eq!(here(&config.sources[0], 0).3, until, "{now}");
        }
        assert_eq!(files().controlled(&Controls::default(), at("10:00:00")).config, files());
    }

    #[test]
    fn the_files_win_when_they_change() {
        type Edit = fn(&mut Config);
        let cases: &[(&str, Control, Edit, Option<Dropped>)] = &[
            ("nothing", control(label("back", "Person"), Wish::Threshold(0.8)), |_| {}, None),
            (
                "the threshold",
                control(label("back", "Person"), Wish::Threshold(0.8)),
                |config| config.label_sets[0].labels[0].trigger = TriggerSettings::at(0.75),
                Some(Dropped::FileChanged),
            ),
            (
                "to the value that was set",
                control(label("back", "Person"), Wish::Threshold(0.8)),
                |config| config.label_sets[0].labels[0].trigger = TriggerSettings::at(0.8),
                Some(Dropped::FileChanged),
            ),
            (
                "the threshold on another source",
                control(label("back", "Person"), Wish::Threshold(0.8)),
                |config| config.sources[0].adjusted.push(("porch".to_owned(), samples::label("Person", 0.9))),
                None,
            ),
            (
                "the level at which it is cleared, to one above the threshold that was set",
                control(label("back", "package"), Wish::Threshold(0.5)),
                |config| config.label_sets[0].labels[1].trigger.clear_below = 0.55,
                Some(Dropped::FileChanged),
            ),
            (
                "another setting of the label",
                control(label("back", "Person"), Wish::Threshold(0.8)),
                |config| config.label_sets[0].labels[0].trigger.cooldown = Duration::from_secs(5),
                None,
            ),
            (
                "whether the source is read",
                control(Target::source("back"), Wish::Enabled(false)),
                |config| config.sources[1].enabled = false,
                Some(Dropped::FileChanged),
            ),
            (
                "whether the label is judged",
                control(label("back", "Person"), Wish::Enabled(false)),
                |config| config.label_sets[0].labels[0].silence.disabled = true,
                Some(Dropped::FileChanged),
            ),
            (
                "the threshold of a snoozed label",
                control(label("back", "Person"), hour()),
                |config| config.label_sets[0].labels[0].trigger = TriggerSettings::at(0.75),
                None,
            ),
            (
                "the label is removed",
                control(label("back", "Person"), hour()),
                |config| drop(config.label_sets[0].labels.remove(0)),
                Some(Dropped::Gone),
            ),
            (
                "the source is removed",
                control(Target::source("back"), hour()),
                |config| drop(config.sources.remove(1)),
                Some(Dropped::Gone),
            ),
            (
                "the source that names it is removed",
                control(label("cam-1", "Person"), hour()),
                |config| drop(config.sources.remove(2)),
                Some(Dropped::Gone),
            ),
        ];
        for (what, control, edit, expected) in cases {
            let mut files = files();
            edit(&mut files);
            let controls: Controls = [control.clone()].into_iter().collect();
            let Controlled { config, dropped } = files.controlled(&controls, at("10:00:00"));
            let why = dropped.first().map(|(_, why)| *why);
            assert_eq!((why, config.controls.is_empty()), (*expected, expected.is_some()), "{what}");
            if expected.is_some() {
                assert_eq!(config, files, "{what}");
            }
        }
    }
}
