//! The settings in force, for `check --explain` and support bundles: with all defaults, the final prompts, and the topics. Pure.
//!
//! The settings come from the field descriptors of the configuration; only the topics and who watches a label set are added
//! here. The text for people has the same content as the JSON, line by line. Secrets are not shown.

use std::fmt::Write;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::{
    alert::{
        Topics, control_topics,
        home_assistant::{Announcement, BIRTH_TOPIC},
    },
    config::{self, Config, Source, SourceKind},
    policy::{Control, Label, LabelSet, Target},
    yaml::Places,
};

/// All settings in force, as JSON.
#[must_use]
pub fn describe(config: &Config) -> Value {
    let topics = Topics::of(config);
    let sources = config.sources.iter().map(|source| {
        let mut explained = source.explain();
        let set = sentences(config.controls.of(&Target::source(&source.name)));
        explained.extend(set.map(|set| ("set".to_owned(), set)));
        explained.insert("topics".to_owned(), source_topics(&topics, config, source).into());
        let sets = config.watches().filter(|(watching, _)| watching.name == source.name);
        let sets = sets.map(|(_, set)| (set.name.clone(), label_set(&topics, config, source, set)));
        explained.insert("label_sets".to_owned(), sets.collect::<Map<_, _>>().into());
        (source.name.clone(), explained.into())
    });
    let sources = sources.collect::<Map<_, _>>();
    let mut explained = config.explain();
    explained.insert("topics".to_owned(), service_topics(&topics, config).into());
    explained.insert("label_sets".to_owned(), watched_by(config).into());
    explained.insert("sources".to_owned(), sources.into());
    explained.into()
}

/// What was set while the service ran, for people; `None`: nothing.
fn sentences<'c>(controls: impl Iterator<Item = &'c Control>) -> Option<Value> {
    let sentences: Vec<_> = controls.map(|control| control.sentence(&TimeZone::system())).collect();
    (!sentences.is_empty()).then(|| json!(sentences))
}

/// All settings in force, and of each source the places of those that a file has.
#[must_use]
pub fn describe_with_places(config: &Config, places: &Places) -> Value {
    let mut described = describe(config);
    for source in &config.sources {
        let from = origins(source, places);
        if let (false, Some(explained)) =
            (from.is_empty(), described["sources"][&source.name].as_object_mut())
        {
            explained.insert("from".to_owned(), from.into());
        }
    }
    described
}

/// Where the settings of a source come from: `FILE:LINE:COLUMN`, and whether they are from `defaults`. The others are those of the program.
fn origins(source: &Source, places: &Places) -> Map<String, Value> {
    let kind = source.kind.settings().key();
    let keys = source.explain().into_iter().map(|(key, _)| key);
    let origin = |key: String| {
        let place = places.place(&format!("sources.{}.{key}", source.name))?;
        let of_defaults = [format!("defaults.{kind}.{key}"), format!("defaults.{key}")];
        let is_default = of_defaults.iter().any(|default| places.place(default).as_ref() == Some(&place));
        let shown = if is_default { format!("defaults, {place}") } else { place };
        Some((key, Value::from(shown)))
    };
    keys.filter_map(origin).collect()
}

/// The topics of the service itself: what it publishes, and what it reads.
fn service_topics(topics: &Topics, config: &Config) -> Map<String, Value> {
    let mut explained = Map::from_iter([
        ("status".to_owned(), json!(topics.status())),
        ("config_status".to_owned(), json!(topics.config_status())),
        ("outbox_status".to_owned(), json!(topics.outbox_status())),
        ("problem".to_owned(), json!(topics.service_problem())),
        ("model".to_owned(), json!(topics.model())),
        ("stats".to_owned(), json!(topics.stats())),
    ]);
    if config.mqtt.connection.heartbeat.is_some() {
        explained.insert("heartbeat".to_owned(), json!(topics.heartbeat()));
    }
    if config.mqtt.commands {
        let mut requests = vec![topics.ask(), topics.mark()];
        requests.extend(control_topics::filters(&config.mqtt.prefix));
        explained.insert("requests".to_owned(), json!(requests));
    }
    if config.home_assistant.is_some() {
        let announced: Vec<_> = Announcement::of(config).messages().map(|(topic, _)| topic).collect();
        explained.insert("discovery".to_owned(), json!(announced));
        explained.insert("subscribed".to_owned(), json!([BIRTH_TOPIC]));
    }
    explained
}

/// The topics of a source. Those of its labels are with the labels.
fn source_topics(topics: &Topics, config: &Config, source: &Source) -> Map<String, Value> {
    let settings = source.kind.settings();
    let mut explained = Map::from_iter([
        ("status".to_owned(), json!(topics.source_status(&source.name))),
        ("problem".to_owned(), json!(topics.source_problem(&source.name))),
        ("stats".to_owned(), json!(topics.source_stats(&source.name))),
        ("snapshot".to_owned(), json!(topics.snapshot(&source.name))),
    ]);
    if config.mqtt.commands {
        let requested = topics.requested_snapshot(&source.name);
        explained.insert("requested_snapshot".to_owned(), json!(requested));
    }
    if matches!(source.kind, SourceKind::Stream(_)) {
        explained.insert("info".to_owned(), json!(topics.source_info(&source.name)));
    }
    let subscriptions = settings.subscriptions();
    if !subscriptions.is_empty() {
        explained.insert("subscribed".to_owned(), json!(subscriptions));
    }
    explained
}

/// The sources that watch each label set; its settings are with the sources, which may change them.
fn watched_by(config: &Config) -> Map<String, Value> {
    let watching = |name: &String| {
        let sources = config.sources.iter().filter(|source| source.watch.contains(name));
        json!({"watched_by": sources.map(|source| &source.name).collect::<Vec<_>>()})
    };
    config.label_sets.iter().map(|set| (set.name.clone(), watching(&set.name))).collect()
}

/// A label set on a source.
fn label_set(topics: &Topics, config: &Config, source: &Source, set: &LabelSet) -> Value {
    let here = |label: &Label| source.label(&set.name, label).clone();
    let mut explained = config::explain_label_set(set, here, |label| {
        let topic = |topic: String| Value::String(topic);
        let mut explained = Map::from_iter([
            ("alert".to_owned(), topic(topics.alert(&source.name, &set.name, &label.name))),
            ("state".to_owned(), topic(topics.state(&source.name, &set.name, &label.name))),
        ]);
        let target = Target::label(&source.name, &set.name, &label.name);
        explained.extend(sentences(config.controls.of(&target)).map(|set| ("set".to_owned(), set)));
        if config.mqtt.near_misses {
            let near_miss = topics.near_miss(&source.name, &set.name, &label.name);
            explained.insert("near_miss".to_owned(), topic(near_miss));
        }
        explained
    });
    if source.scores {
        explained.insert("scores".to_owned(), json!(topics.scores(&source.name, &set.name)));
    }
    explained.into()
}

/// The explanation for people: one line for each setting.
#[must_use]
pub fn in_lines(value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(entries) = value {
        lines(&mut text, entries, 0);
    }
    text
}

fn lines(text: &mut String, entries: &Map<String, Value>, depth: usize) {
    for (key, value) in entries {
        let indent = "  ".repeat(depth);
        // Writing to a string cannot fail.
        let _ = match value {
            Value::Null => writeln!(text, "{indent}{key}: none"),
            Value::String(words) => writeln!(text, "{indent}{key}: {words}"),
            Value::Array(items) if items.iter().any(Value::is_string) => {
                let items =
                    items.iter().map(|item| format!("\n{indent}  - {}", item.as_str().unwrap_or_default()));
                writeln!(text, "{indent}{key}:{}", items.collect::<String>())
            }
            Value::Array(items) if items.is_empty() => writeln!(text, "{indent}{key}: none"),
            Value::Object(entries) => {
                let _ = writeln!(text, "{indent}{key}:");
                lines(text, entries, depth + 1);
                Ok(())
            }
            other => writeln!(text, "{indent}{key}: {other}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_content() {
        let value =
            json!({"a": {"b": null, "c": ["x: y", "z"], "d": [0.5, 1]}, "e": 0.7, "f": [], "g": false});
        let expected = "a:\n  b: none\n  c:\n    - x: y\n    - z\n  d: [0.5,1]\ne: 0.7\nf: none\ng: false\n";
        assert_eq!(in_lines(&value), expected);
    }
}
