use std::{fs, path::Path};

use super::*;
use crate::yaml::tree::{self, Node};

#[test]
fn texts_and_defaults_are_those_of_the_fields() {
    let schema = schema();
    let prefix = &schema["properties"]["mqtt"]["properties"]["prefix"];
    assert_eq!(prefix["description"], "The first levels of every topic.");
    assert_eq!(prefix["default"], "stakeout");
    let threads = &schema["properties"]["threads"];
    assert_eq!(
        threads["description"],
        "Threads of one run on the processor. Default: one for each processor."
    );
    assert_eq!((threads.get("default"), schema["properties"]["mqtt"].get("default")), (None, None));
}

#[test]
fn the_example_files_are_valid_and_name_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["stakeout.yaml", "reference.yaml", "demo.yaml"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(fault(&text), None, "{name}");
        assert!(text.starts_with("# yaml-language-server: $schema=stakeout.schema.json\n"), "{name}");
    }
    for text in [
        "mqtt: { url: 'mqtt://h' }\nlabel_sets: {}\nsources: {}",
        "label_sets: { yard: { labels: { fox: 0.3, cat: , cow: { hold: 2 of 3, cooldown: 1m30s } } } }",
        "sources: { a: { folder: a, every: 2s } }",
        "mqtt: { url: 'mqtt://h' }\ndefaults: { watch: [x], every: 2s, rtsp: { transport: tcp } }\nsources: { a: { folder: a } }",
        "mqtt: { url: 'mqtt://h' }\nsources: { a: { folder: '${env:X}', poll: 5s, after: { move: b }, watch: [1] } }\nthreads: '2'",
    ] {
        assert_eq!(fault(text), None, "{text}");
    }
}

/// A schema can find mistakes that are complete in one place. It cannot find names that are not defined, two labels with one
/// topic, or broken YAML.
#[test]
fn a_schema_rejects_the_mistakes_that_it_can() {
    const HIDDEN: &[&str] = &[
        "alias-of-itself",
        "baseline-over",
        "billion-laughs",
        "clear-below-above",
        "clear-rise-",
        "device-",
        "duplicate-key",
        "folder-",
        "hold-",
        "http-password",
        "label-background",
        "label-name",
        "label-sets-same",
        "label-set-name",
        "labels-same",
        "list-as-key",
        "long-line",
        "model-",
        "mqtt-",
        "nested",
        "rise-",
        "rtsp-",
        "second-document",
        "secret-",
        "sources-same",
        "syntax-",
        "tag",
        "template-",
        "video-file",
        "wide-letters",
        "after-move-inside",
        "background-empty",
        "prompt-empty",
        "http-every",
        "poll-",
        "source-every",
        "rules-",
        "missing-label-sets",
        "missing-mqtt",
        "empty",
        "regions-wrong",
        "cooldown-",
        "watch-twice",
        "watch-unknown",
        "state-dir",
        "existing-",
        "source-mqtt",
        "max-pixels-",
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mistakes");
    let (mut rejected, mut missed) = (0, vec![]);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let faulty = fs::read_to_string(&path).is_ok_and(|text| fault(&text).is_some());
        rejected += usize::from(faulty);
        if !faulty && !HIDDEN.iter().any(|hidden| name.starts_with(hidden)) {
            missed.push(name);
        }
    }
    assert!(rejected > 50, "only {rejected}; not {missed:?}");
    for must in [
        "unknown-key-top",
        "label-unknown-key",
        "threshold-range",
        "source-unknown-key",
        "watch-text",
        "source-no-watch",
        "defaults-unknown-key",
    ] {
        assert!(!missed.iter().any(|name| name == must), "{must} is valid");
    }
    eprintln!("{rejected} mistakes are rejected; of those that might be, not: {missed:?}");
}

/// The mistake in a text, if there is one.
fn fault(text: &str) -> Option<String> {
    let (root, mistakes) = tree::parse(0, text);
    if let Some(mistake) = mistakes.first() {
        return Some(mistake.message.clone());
    }
    let root = root.map_or(json!({}), |node| json(&node));
    validate(&schema(), &root, "").err()
}

/// As an editor reads YAML: a text that looks like a number is one.
fn json(node: &Node) -> Value {
    match &node.value {
        tree::Value::Nothing => Value::Null,
        tree::Value::Text(text) => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => text
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| text.parse::<f64>().map(Value::from))
                .unwrap_or_else(|_| json!(text)),
        },
        tree::Value::List(items) => items.iter().map(json).collect(),
        tree::Value::Mapping(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect())
        }
    }
}

/// The part of draft 7 that the schema uses; an unknown keyword fails.
fn validate(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{path}: {why}"));
    for (word, rule) in schema.as_object().unwrap() {
        let number = value.as_f64().zip(rule.as_f64());
        let (object, list, text) = (value.as_object(), value.as_array(), value.as_str());
        match word.as_str() {
            "$schema" | "title" | "description" | "default" => {}
            "patternProperties" => assert_eq!(*rule, json!({"^x-": true})),
            "type" => {
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("{other}"),
                };
                if !rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is)) {
                    return wrong("another type");
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => return wrong("another word"),
            "enum" => {}
            "const" if rule != value => return wrong("another value"),
            "const" => {}
            "anyOf" => {
                let faults = rule.as_array().unwrap().iter().map(|schema| validate(schema, value, path));
                let faults = faults.collect::<Vec<_>>();
                if faults.iter().all(Result::is_err) {
                    return wrong(&format!("none of {faults:?}"));
                }
            }
            "allOf" => {
                for schema in rule.as_array().unwrap() {
                    validate(schema, value, path)?;
                }
            }
            "not" if validate(rule, value, path).is_ok() => return wrong("not allowed"),
            "not" => {}
            "pattern" => {
                let pattern = fancy_regex::Regex::new(rule.as_str().unwrap()).unwrap();
                if text.is_some_and(|text| !pattern.is_match(text).unwrap()) {
                    return wrong("another pattern");
                }
            }
            "minLength" if text.is_some_and(|text| text.len() < rule.as_u64().unwrap() as usize) => {
                return wrong("too short");
            }
            "minimum" if number.is_some_and(|(value, rule)| value < rule) => return wrong("too small"),
            "exclusiveMinimum" if number.is_some_and(|(value, rule)| value <= rule) => {
                return wrong("too small");
            }
            "maximum" if number.is_some_and(|(value, rule)| value > rule) => return wrong("too large"),
            "minItems" if list.is_some_and(|list| list.len() < rule.as_u64().unwrap() as usize) => {
                return wrong("too few");
            }
            "maxItems" if list.is_some_and(|list| list.len() > rule.as_u64().unwrap() as usize) => {
                return wrong("too many");
            }
            "minProperties" if object.is_some_and(|object| object.is_empty()) => return wrong("empty"),
            "minLength" | "minimum" | "exclusiveMinimum" | "maximum" | "minItems" | "maxItems"
            | "minProperties" => {}
            "items" => {
                for item in list.into_iter().flatten() {
                    validate(rule, item, path)?;
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if object.is_some_and(|object| !object.contains_key(key.as_str().unwrap())) {
                        return wrong(&format!("{key} is missing"));
                    }
                }
            }
            "dependencies" => {
                for (key, needed) in rule.as_object().unwrap() {
                    let has = |key: &str| object.is_some_and(|object| object.contains_key(key));
                    if has(key)
                        && !needed.as_array().unwrap().iter().all(|needed| has(needed.as_str().unwrap()))
                    {
                        return wrong(&format!("{key} without {needed}"));
                    }
                }
            }
            "properties" => {
                for (key, schema) in rule.as_object().unwrap() {
                    if let Some(value) = object.and_then(|object| object.get(key)) {
                        validate(schema, value, &format!("{path}.{key}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let ignored = |key: &str| schema.get("patternProperties").is_some() && key.starts_with("x-");
                for (key, value) in object.into_iter().flatten() {
                    let path = format!("{path}.{key}");
                    match rule {
                        _ if ignored(key) || known.is_some_and(|known| known.contains_key(key)) => {}
                        Value::Bool(false) => return Err(format!("{path}: unknown")),
                        rule => validate(rule, value, &path)?,
                    }
                }
            }
            other => panic!("the validator does not know `{other}`"),
        }
    }
    Ok(())
}
