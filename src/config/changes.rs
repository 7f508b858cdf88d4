//! What differs between two configurations, for people: sources, labels and other keys. Pure.
//!
//! Which of the changes stop and start sources, or wait for a restart, is the decision of [`Plan`]. Values are compared as
//! `stakeout check --explain` shows them, so no secret is in a change.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{assemble::Config, label_sets, plan::Plan, sources::Source};
use crate::policy::LabelSet;

/// The keys that name programs and libraries: who may change them can run code as the user of the service.
const PRIVILEGED: [&str; 2] = ["command", "onnxruntime"];

/// All changes from one configuration to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Sources, in the order of the new configuration; then those that stop.
    pub sources: Vec<SourceChange>,
    /// Label sets, labels and rules.
    pub labels: Vec<LabelChange>,
    /// Other keys of the main file.
    pub keys: Vec<KeyChange>,
}

/// A source that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceChange {
    /// Its name.
    pub source: String,
    /// What happens to it.
    pub effect: SourceEffect,
}

/// What happens to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceEffect {
    /// It is new.
    Starts,
    /// It is removed.
    Stops,
    /// It stops and starts with other settings.
    Restarts,
    /// It continues with other settings.
    Changes,
}

/// A label set, or a label or rule in it, that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelChange {
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or rule; `None`: settings of the label set itself.
    pub label: Option<String>,
    /// The source on which it is different; `None`: everywhere.
    pub source: Option<String>,
    /// What happens to it.
    pub effect: LabelEffect,
    /// The settings that change.
    pub settings: Vec<SettingChange>,
}

/// What happens to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelEffect {
    /// It is new.
    Added,
    /// It is removed.
    Removed,
    /// It has other settings.
    Changed,
}

/// A setting that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingChange {
    /// Its key.
    pub key: String,
    /// The value before; `null` if there was none.
    pub before: Value,
    /// The value after; `null` if there is none.
    pub after: Value,
}

/// A key of the main file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// Whether it takes effect only after a restart of the service.
    pub after_restart: bool,
}

impl Changes {
    /// What changes from `before` to `after`, of which `plan` is the plan.
    #[must_use]
    pub fn between(before: &Config, after: &Config, plan: &Plan) -> Self {
        Self {
            sources: sources(before, after, plan),
            labels: labels(before, after),
            keys: keys(before, after, plan),
        }
    }
}

/// The keys with which code can be run as the user of the service, if their values differ.
#[must_use]
pub fn privileged(before: &Config, after: &Config) -> Vec<&'static str> {
    let differs = |key: &&str| match *key {
        "command" => before.command != after.command,
        _ => before.onnxruntime != after.onnxruntime,
    };
    PRIVILEGED.into_iter().filter(differs).collect()
}

fn sources(before: &Config, after: &Config, plan: &Plan) -> Vec<SourceChange> {
    let starts = |name: &str| plan.start.iter().any(|source| source.name == name);
    let stops = |name: &str| plan.stop.iter().any(|stopped| stopped == name);
    let find = |config: &'_ Config, name: &str| -> Option<Source> {
        config.sources.iter().find(|source| source.name == name).cloned()
    };
    let kept = after.sources.iter().filter_map(|source| {
        let name = &*source.name;
        let effect = match (starts(name), stops(name), find(before, name)) {
            (true, true, _) => SourceEffect::Restarts,
            (true, false, _) => SourceEffect::Starts,
            (_, _, Some(old)) if old != *source => SourceEffect::Changes,
            _ => return None,
        };
        Some(SourceChange { source: name.to_owned(), effect })
    });
    let gone = plan.stop.iter().filter(|name| find(after, name).is_none());
    let gone = gone.map(|name| SourceChange { source: name.clone(), effect: SourceEffect::Stops });
    kept.chain(gone).collect()
}

fn labels(before: &Config, after: &Config) -> Vec<LabelChange> {
    let names = |config: &Config| config.label_sets.iter().map(|set| set.name.clone()).collect::<Vec<_>>();
    let of = |config: &Config, name: &str| {
        config.label_sets.iter().find(|set| set.name == name).map(Explained::of)
    };
    let mut changes = Vec::new();
    for name in both(names(before), names(after)) {
        let (old, new) = (of(before, &name), of(after, &name));
        let own = |explained: &Option<Explained>| explained.as_ref().map(|it| it.own.clone());
        changes.extend(change(&name, None, None, own(&old).as_ref(), own(&new).as_ref()));
        let (old, new) = (old.unwrap_or_default().labels, new.unwrap_or_default().labels);
        let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
        for label in both(keys(&old), keys(&new)) {
            let settings =
                |labels: &Map<String, Value>| labels.get(&label).and_then(Value::as_object).cloned();
            changes.extend(change(
                &name,
                Some(&label),
                None,
                settings(&old).as_ref(),
                settings(&new).as_ref(),
            ));
        }
    }
    changes.extend(after.sources.iter().flat_map(|source| on_source(before, after, source)));
    changes
}

/// The labels that change on a source that exists before and after, beyond what changes everywhere.
fn on_source(before: &Config, after: &Config, source: &Source) -> Vec<LabelChange> {
    let Some(old) = before.sources.iter().find(|old| old.name == source.name) else { return Vec::new() };
    let adjusted = |source: &Source, config: &Config| -> Map<String, Value> {
        let settings = source.adjusted.iter().filter_map(|(set, label)| {
            let set = config.label_sets.iter().find(|known| known.name == *set)?;
            let alone = LabelSet { labels: vec![label.clone()], rules: Vec::new(), ..set.clone() };
            let explained = Explained::of(&alone).labels.shift_remove(&label.name)?;
            Some((format!("{}\0{}", set.name, label.name), explained))
        });
        settings.collect()
    };
    let (old, new) = (adjusted(old, before), adjusted(source, after));
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    let mut changes = Vec::new();
    for place in both(keys(&old), keys(&new)) {
        let (set, label) = place.split_once('\0').unwrap_or((place.as_str(), ""));
        let settings = |labels: &Map<String, Value>| labels.get(&place).and_then(Value::as_object).cloned();
        let (old, new) = (settings(&old), settings(&new));
        changes.extend(change(set, Some(label), Some(&source.name), old.as_ref(), new.as_ref()));
    }
    changes
}

/// The change of one label, if it changes.
fn change(
    label_set: &str,
    label: Option<&str>,
    source: Option<&str>,
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
) -> Option<LabelChange> {
    let effect = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => LabelEffect::Added,
        (Some(_), None) => LabelEffect::Removed,
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) => LabelEffect::Changed,
    };
    let settings = match (before, after) {
        (Some(before), Some(after)) => differences(before, after),
        _ => Vec::new(),
    };
    Some(LabelChange {
        label_set: label_set.to_owned(),
        label: label.map(str::to_owned),
        source: source.map(str::to_owned),
        effect,
        settings,
    })
}

fn differences(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<SettingChange> {
    let keys = both(before.keys().cloned().collect(), after.keys().cloned().collect());
    let value = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or_default();
    let change = |key: String| {
        let (before, after) = (value(before, &key), value(after, &key));
        (before != after).then_some(SettingChange { key, before, after })
    };
    keys.into_iter().filter_map(change).collect()
}

fn keys(before: &Config, after: &Config, plan: &Plan) -> Vec<KeyChange> {
    let shown = differences(&before.explain(), &after.explain()).into_iter().map(|change| change.key);
    // Passwords that differ are not shown, but the plan compares them.
    let waiting = plan.after_restart.iter().map(ToString::to_string);
    let keys: BTreeSet<_> = shown.chain(waiting).collect();
    let change =
        |key: String| KeyChange { after_restart: plan.after_restart.iter().any(|waits| *waits == key), key };
    keys.into_iter().map(change).collect()
}

/// A label set as it is shown: its own settings, and those of its labels and rules.
#[derive(Default)]
struct Explained {
    own: Map<String, Value>,
    labels: Map<String, Value>,
}

impl Explained {
    fn of(set: &LabelSet) -> Self {
        let mut own = label_sets::explain(set, Clone::clone, |_| Map::new());
        let mut take = |key: &str| match own.shift_remove(key) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let mut labels = take("labels");
        labels.extend(take("rules"));
        Self { own, labels }
    }
}

/// The names of two lists, each once: those of the second list first.
fn both(before: Vec<String>, after: Vec<String>) -> Vec<String> {
    let gone = before.into_iter().filter(|name| !after.contains(name)).collect::<Vec<_>>();
    after.into_iter().chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Command, samples};

    /// One line for each change.
    fn lines(edit: impl Fn(&mut Config)) -> Vec<String> {
        let before = samples::config();
        let mut after = before.clone();
        edit(&mut after);
        let changes = Changes::between(&before, &after, &Plan::between(&before, &after));
        let sources = changes.sources.iter().map(|it| format!("{} {:?}", it.source, it.effect));
        let labels = changes.labels.iter().map(|it| {
            let label = it.label.as_deref().unwrap_or("*");
            let on = it.source.as_ref().map(|source| format!(" on {source}")).unwrap_or_default();
            let settings = it.settings.iter().map(|it| format!(" {}: {} -> {}", it.key, it.before, it.after));
            format!("{}/{label}{on} {:?}{}", it.label_set, it.effect, settings.collect::<String>())
        });
        let keys =
            changes.keys.iter().map(|it| format!("{}{}", it.key, if it.after_restart { " !" } else { "" }));
        sources.chain(labels).chain(keys).collect()
    }

    #[test]
    fn each_kind_of_change() {
        assert_eq!(lines(|_| {}), Vec::<String>::new());
        type Edit<'a> = &'a dyn Fn(&mut Config);
        let cases: &[(Edit<'_>, &[&str])] = &[
            (&|c| c.sources.push(samples::source("new", &[])), &["new Starts"]),
            (&|c| c.sources.truncate(1), &["back Stops"]),
            (&|c| c.sources[1].kind = samples::source("other", &[]).kind, &["back Restarts"]),
            (&|c| c.sources[1].watch = vec!["yard".into()], &["back Changes"]),
            (&|c| c.label_sets[0].labels.push(samples::label("cat", 0.5)), &["porch/cat Added"]),
            (&|c| c.label_sets[0].labels.truncate(1), &["porch/package Removed"]),
            (
                &|c| c.label_sets[1].labels[0].trigger = crate::policy::TriggerSettings::at(0.25),
                &["yard/fox Changed threshold: 0.5 -> 0.25 clear_below: 0.5 -> 0.25"],
            ),
            (
                &|c| c.label_sets[1].background = vec!["a lawn".into()],
                &["yard/* Changed background: [\"a photo of an empty porch\"] -> [\"a photo of a lawn\"]"],
            ),
            (&|c| c.max_pixels += 1, &["Front Door Restarts", "back Restarts", "max_pixels"]),
            (&|c| c.memory += 1, &["memory"]),
            (&|c| c.mqtt.prefix = "elsewhere".into(), &["mqtt !"]),
            (&|c| c.mqtt.password = Some(crate::config::Secret::new("hunter2".to_owned())), &["mqtt !"]),
        ];
        for (edit, expected) in cases {
            assert_eq!(lines(edit), *expected);
        }
    }

    #[test]
    fn a_label_can_change_on_one_source() {
        let strict = |c: &mut Config| {
            c.sources[0].adjusted = vec![("porch".to_owned(), samples::label("package", 0.75))];
        };
        assert_eq!(lines(strict), ["Front Door Changes", "porch/package on Front Door Added"]);
    }

    #[test]
    fn programs_and_libraries_are_privileged() {
        let before = samples::config();
        let command = Command {
            program: "/bin/true".into(),
            arguments: vec![],
            shown_arguments: vec![],
            environment: vec![],
            timeout: std::time::Duration::from_secs(1),
        };
        let with = Config { command: Some(command), ..before.clone() };
        assert_eq!(privileged(&before, &with), ["command"]);
        assert_eq!(privileged(&with, &with.clone()), Vec::<&str>::new());
        let library = Config { onnxruntime: Some("/tmp/x.so".into()), ..with.clone() };
        assert_eq!(privileged(&with, &library), ["onnxruntime"]);
        assert_eq!(privileged(&library, &before), ["command", "onnxruntime"]);
        let other = Config { max_pixels: 1, ..before.clone() };
        assert_eq!(privileged(&before, &other), Vec::<&str>::new());
    }
}
