//! The settings in force, for `check --explain`: with all defaults, the final prompts, and the topics. Pure.
//!
//! The settings come from the field descriptors of the configuration; only the topics are added here. The text for people has the
//! same content as the JSON, line by line. Secrets are not shown.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{
    alert::Topics,
    config::{self, Config, Source},
    policy::{Label, LabelSet},
};

/// All settings in force, as JSON.
pub(super) fn describe(config: &Config) -> Value {
    let topics = Topics::of(config);
    let sources = config.sources.iter().map(|source| {
        let mut explained = source.explain();
        let own =
            json!({"status": topics.source_status(&source.name), "snapshot": topics.snapshot(&source.name)});
        explained.insert("topics".to_owned(), own);
        let sets = config.watches().filter(|(watching, _)| watching.name == source.name);
        let sets = sets.map(|(_, set)| (set.name.clone(), label_set(&topics, source, set)));
        explained.insert("label_sets".to_owned(), sets.collect::<Map<_, _>>().into());
        (source.name.clone(), explained.into())
    });
    let sources = sources.collect::<Map<_, _>>();
    let mut explained = config.explain();
    explained.insert(
        "topics".to_owned(),
        json!({"status": topics.status(), "config_status": topics.config_status()}),
    );
    explained.insert("sources".to_owned(), sources.into());
    explained.into()
}

/// A label set on a source.
fn label_set(topics: &Topics, source: &Source, set: &LabelSet) -> Value {
    let here = |label: &Label| source.label(&set.name, label).clone();
    let mut explained = config::explain_label_set(set, here, |label| {
        let topic = |topic: String| Value::String(topic);
        Map::from_iter([
            ("alert".to_owned(), topic(topics.alert(&source.name, &set.name, &label.name))),
            ("state".to_owned(), topic(topics.state(&source.name, &set.name, &label.name))),
        ])
    });
    if source.scores {
        explained.insert("scores".to_owned(), json!(topics.scores(&source.name, &set.name)));
    }
    explained.into()
}

/// The explanation for people: one line for each setting.
pub(super) fn in_lines(value: &Value) -> String {
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
