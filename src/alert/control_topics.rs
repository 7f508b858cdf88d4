//! The topics of controls: what can be set by a message to which topic, and the retained states. Pure.
//!
//! A state is published at a topic such as `<source>/enabled`, and is set by a message to `<source>/enabled/set`. They exist only with
//! `mqtt: { commands: true }`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::Topics;
use crate::{
    config::{Config, Source},
    policy::{Control, Controls, Setting, SettingKind, Target},
};

/// The payload of a switch that is on.
pub const ON: &str = "ON";
/// The payload of a switch that is off.
pub const OFF: &str = "OFF";

/// What a message to a topic asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// To set a setting of a source or a label.
    Set(Target, SettingKind),
    /// To publish the newest picture of the source with this name.
    Snapshot(String),
}

/// Topics and their retained values; `None`: a value is published there on request.
pub type States = BTreeMap<String, Option<String>>;

/// The filters of all topics of commands under a prefix.
#[must_use]
pub fn filters(prefix: &str) -> Vec<String> {
    let of_source = ["enabled/set", "snooze/set", "snapshot/get"].map(|what| format!("{prefix}/+/{what}"));
    let of_label =
        ["enabled/set", "threshold/set", "snooze/set"].map(|what| format!("{prefix}/+/+/+/{what}"));
    of_source.into_iter().chain(of_label).collect()
}

/// The topics of all commands of `watched`, and of the sources of `configured` that name others.
#[must_use]
pub fn commands(watched: &Config, configured: &Config, topics: &Topics) -> BTreeMap<String, Command> {
    let mut commands: BTreeMap<String, Command> = BTreeMap::new();
    let mut add = |topic: String, command: Command| drop(commands.insert(format!("{topic}/set"), command));
    for source in configured.sources.iter().filter(|source| has_pattern(source)) {
        let target = Target::source(&source.name);
        add(topics.setting(&target, SettingKind::Enabled), Command::Set(target, SettingKind::Enabled));
    }
    for source in &watched.sources {
        for (target, kinds) in targets(source, watched) {
            for kind in kinds {
                add(topics.setting(&target, kind), Command::Set(target.clone(), kind));
            }
        }
    }
    for source in &watched.sources {
        let topic = format!("{}/get", topics.snapshot(&source.name));
        commands.insert(topic, Command::Snapshot(source.name.clone()));
    }
    commands
}

/// The states of all controls of `watched`, and of the sources of `configured` that name others.
#[must_use]
pub fn states(watched: &Config, configured: &Config, topics: &Topics) -> States {
    let enabled = |source: &Source| {
        let topic = topics.setting(&Target::source(&source.name), SettingKind::Enabled);
        (topic, Some(switch(source.enabled).to_owned()))
    };
    let named = configured.sources.iter().filter(|source| has_pattern(source)).map(enabled);
    let of_sources = watched.sources.iter().flat_map(|source| states_of(source, watched, topics));
    named.chain(of_sources).collect()
}

/// The states of one source of `watched`.
#[must_use]
pub fn states_of(source: &Source, watched: &Config, topics: &Topics) -> States {
    let mut states = States::from([(topics.requested_snapshot(&source.name), None)]);
    for (target, kinds) in targets(source, watched) {
        for kind in kinds {
            states.insert(topics.setting(&target, kind), value(source, watched, &target, kind));
        }
    }
    states
}

/// Whether topics of the source name others, or have named it.
fn has_pattern(source: &Source) -> bool {
    source.kind.settings().name_pattern().is_some()
}

/// The source, its labels and its rules, each with what can be set.
fn targets(source: &Source, watched: &Config) -> Vec<(Target, Vec<SettingKind>)> {
    use SettingKind::{Enabled, Snooze, Threshold};
    // The pictures of a dynamic source arrive with those of others.
    let own = if has_pattern(source) { vec![Snooze] } else { vec![Enabled, Snooze] };
    let labels = watched.watched_by(source).flat_map(|set| {
        let target = |label: &str| Target::label(&source.name, &set.name, label);
        let labels = set.labels.iter().map(|label| (target(&label.name), vec![Enabled, Threshold, Snooze]));
        let rules = set.rules.iter().map(|rule| (target(&rule.settings.name), vec![Enabled, Snooze]));
        labels.chain(rules).collect::<Vec<_>>()
    });
    std::iter::once((Target::source(&source.name), own)).chain(labels).collect()
}

/// The payload of a state.
fn value(source: &Source, watched: &Config, target: &Target, kind: SettingKind) -> Option<String> {
    if kind == SettingKind::Snooze {
        return Some(snooze(&watched.controls, target));
    }
    let Some(name) = &target.label else { return Some(switch(source.enabled).to_owned()) };
    let set = watched.label_sets.iter().find(|set| set.name == name.label_set)?;
    let label = source.label(&set.name, set.alerting().find(|label| label.name == name.label)?);
    Some(match kind {
        SettingKind::Threshold => label.trigger.threshold.to_string(),
        _ => switch(!label.silence.disabled).to_owned(),
    })
}

/// The payload of a switch.
#[must_use]
pub fn switch(is_on: bool) -> &'static str {
    if is_on { ON } else { OFF }
}

/// The payload of the snooze of a source or a label.
fn snooze(controls: &Controls, target: &Target) -> String {
    let snooze = match controls.find(target, SettingKind::Snooze) {
        Some(Control { setting: Setting::Snooze { until, asked }, .. }) => Some((*until, asked.as_str())),
        _ => None,
    };
    snooze_state(snooze)
}

/// The payload of a snooze: its end, and what was asked for.
#[must_use]
pub fn snooze_state(snooze: Option<(Timestamp, &str)>) -> String {
    let (until, asked) = snooze.map_or((None, "off"), |(until, asked)| (Some(format!("{until:.0}")), asked));
    json!({ "until": until, "asked": asked }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::SourceKind,
        policy::{Condition, LabelRule, SetBy},
        samples,
    };

    /// `cams` names the dynamic source `cam-1`.
    fn configs() -> (Config, Config) {
        let mut configured = samples::config();
        let settings = samples::label("visitor", 0.5);
        configured.label_sets[1].rules.push(LabelRule { settings, when: Condition::of("yard", "fox") });
        let kind = SourceKind::Mqtt(samples::topics("cams/+", Some("cam-{1}")));
        configured.sources.push(Source { kind, ..samples::source("cams", &["yard"]) });
        configured.sources.remove(0);
        let until = "2026-11-28T06:00:00.5Z".parse().unwrap();
        let setting = Setting::Snooze { until, asked: "until 07:00".to_owned() };
        let control =
            Control { target: Target::source("back"), setting, by: SetBy::Mqtt, at: Timestamp::UNIX_EPOCH };
        configured.controls = [control].into_iter().collect();
        let mut watched = configured.clone();
        watched.sources[1] =
            configured.dynamic_source(&configured.sources[1], "cam-1", Timestamp::UNIX_EPOCH);
        watched.sources[0].enabled = false;
        configured.sources[0].enabled = false;
        (configured, watched)
    }

    #[test]
    fn the_table_of_states() {
        let (configured, watched) = configs();
        let states = states(&watched, &configured, &Topics::new("home"));
        let states: Vec<_> = states.iter().map(|(topic, value)| (&topic[5..], value.as_deref())).collect();
        let off = Some(r#"{"until":null,"asked":"off"}"#);
        let expected = [
            ("back/enabled", Some("OFF")),
            ("back/porch/package/enabled", Some("ON")),
            ("back/porch/package/snooze", off),
            ("back/porch/package/threshold", Some("0.6")),
            ("back/porch/person/enabled", Some("ON")),
            ("back/porch/person/snooze", off),
            ("back/porch/person/threshold", Some("0.7")),
            ("back/snapshot/now", None),
            ("back/snooze", Some(r#"{"until":"2026-11-28T06:00:00Z","asked":"until 07:00"}"#)),
            ("cam-1/snapshot/now", None),
            ("cam-1/snooze", off),
            ("cam-1/yard/fox/enabled", Some("ON")),
            ("cam-1/yard/fox/snooze", off),
            ("cam-1/yard/fox/threshold", Some("0.5")),
            ("cam-1/yard/visitor/enabled", Some("ON")),
            ("cam-1/yard/visitor/snooze", off),
            ("cams/enabled", Some("ON")),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn each_state_is_set_by_a_message_to_its_topic() {
        let (configured, watched) = configs();
        let topics = Topics::new("home");
        let states = states(&watched, &configured, &topics);
        let commands = commands(&watched, &configured, &topics);
        let settable: Vec<_> = commands.keys().filter_map(|topic| topic.strip_suffix("/set")).collect();
        let set: Vec<_> =
            states.iter().filter(|(_, value)| value.is_some()).map(|(topic, _)| &**topic).collect();
        assert_eq!(settable, set);
        let snapshots: Vec<_> = commands.keys().filter(|topic| topic.ends_with("/get")).collect();
        assert_eq!(snapshots, ["home/back/snapshot/get", "home/cam-1/snapshot/get"]);
        let person = Command::Set(Target::label("back", "porch", "Person"), SettingKind::Threshold);
        assert_eq!(commands["home/back/porch/person/threshold/set"], person);
        assert_eq!(commands["home/cam-1/snapshot/get"], Command::Snapshot("cam-1".to_owned()));
        let levels = |topic: &str| topic.split('/').count();
        let filters = filters("home");
        for topic in commands.keys() {
            let last: Vec<_> = topic.rsplit('/').take(2).collect();
            let matches = |filter: &&String| {
                levels(filter) == levels(topic) && filter.rsplit('/').take(2).collect::<Vec<_>>() == last
            };
            assert_eq!(filters.iter().filter(matches).count(), 1, "{topic}");
        }
    }
}
