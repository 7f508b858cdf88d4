//! The configuration as JSON Schema, for editors: completion, hover texts, and a mark below what is wrong.
//!
//! Nothing is listed here a second time: the keys of each section are those that the reader itself takes, and what is said of a
//! key, and its default, is what `config/reference.yaml` says, which is held to the reader by tests. Only the form of a value is told
//! here, in [`kind`]. It refuses to know what a schema cannot say (names that must be defined elsewhere, two labels of one
//! topic): `stakeout check` does.

mod markdown;
mod reference;

use serde_json::{Map, Value, json};

pub use self::markdown::markdown;
use self::reference::Reference;
use super::{
    broker, build, delivery, home_assistant, listen, model, mqtt_source, read_label, read_label_sets,
    read_rules as label_rules, read_sources,
};

/// Where it is said which meta-schema this is; editors know draft 7 best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
/// What a value may be taken from instead of being typed.
const ELSEWHERE: &str = r"\$\{(env|file|credential):";

/// The form of a value.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Switch,
    /// From, to.
    Whole(u64, u64),
    /// More than 0, at most 1.
    Level,
    Duration,
    Hold,
    Words(&'static [&'static str]),
    /// What has a form of its own, below.
    Special(fn(&Reference) -> Value),
}

/// The form of the value of `key` in a section; `None` if nobody has said yet, and anything is taken.
fn kind(section: &str, key: &str) -> Option<Kind> {
    use Kind::*;
    Some(match (section, key) {
        ("", "model") => Special(model),
        ("", "device") => Text,
        ("", "threads" | "max_batch") => Whole(1, 1024),
        ("", "onnxruntime" | "state_dir" | "gpu_memory") => Text,
        ("", "max_pixels") => Whole(1, 10_000_000_000),
        ("", "mqtt") => Special(|reference| section_of(reference, "mqtt", broker::KEYS, &["url"])),
        ("", "home_assistant") => Special(home_assistant),
        ("", "label_sets") => Special(label_sets),
        ("", "sources") => Special(sources),
        ("", "outbox") => Special(|reference| section_of(reference, "outbox", delivery::OUTBOX_KEYS, &[])),
        ("", "webhook") => {
            Special(|reference| section_of(reference, "webhook", delivery::WEBHOOK_KEYS, &["url"]))
        }
        ("", "command") => {
            Special(|reference| section_of(reference, "command", delivery::COMMAND_KEYS, &["run"]))
        }
        ("", "listen") => Special(listen),
        ("listen", _) => Text,
        ("outbox", "max_age") | ("webhook" | "command", "timeout") => Duration,
        ("outbox" | "webhook", _) => Text,
        ("command", "run") => Texts,
        ("model", "variant") => Words(VARIANTS),
        ("mqtt", "keep_alive" | "message_expiry") => Duration,
        ("mqtt", "version") => Special(version),
        ("mqtt", "tls") => Special(|reference| section_of(reference, "mqtt.tls", broker::TLS_KEYS, &[])),
        ("mqtt.tls", "alpn") => Texts,
        ("mqtt.tls", _) => Text,
        ("model" | "mqtt" | "home_assistant", _) => Text,
        (SET, "template") => Text,
        (SET, "templates") => Special(one_or_more),
        (SET, "scoring") => Words(&["auto", "softmax", "sigmoid", "cosine"]),
        (SET, "rules") => Special(rules),
        (RULE, "when") => Text,
        (RULE, key) => return kind(LABEL, key),
        (SET, "background") => Texts,
        (SET, "labels") => Special(labels),
        (LABEL, "prompts" | "regions") => Texts,
        (LABEL, "threshold" | "clear_below" | "rise" | "clear_rise") => Level,
        (LABEL, "hold") => Hold,
        (LABEL, "cooldown" | "for") => Duration,
        (LABEL, "severity") => Words(&["info", "warning", "critical"]),
        (LABEL, "message") => Text,
        (LABEL, "active") => Special(one_or_more),
        (LABEL, "home_assistant") => Special(look),
        (LOOK, "device_class") => Words(home_assistant::DEVICE_CLASSES),
        (LOOK, _) => Text,
        (SOURCE, "folder" | "rtsp" | "video" | "http" | "username" | "password") => Text,
        (SOURCE, "existing") => Words(&["skip", "process"]),
        (SOURCE, "after") => Special(after),
        (SOURCE, "poll" | "every" | "stall_after" | "timeout" | "at_least_every") => Duration,
        (SOURCE, "unchanged") => Words(&["repeat", "score"]),
        (SOURCE, "decode") => Words(&["auto", "key_frames", "all"]),
        (SOURCE, "hwaccel") => Words(&["none", "auto", "cuda", "vaapi", "drm", "vdpau", "vulkan"]),
        (SOURCE, "transport") => Words(&["tcp", "udp"]),
        (SOURCE, "pace") => Words(&["real", "full"]),
        (SOURCE, "regions") => Special(regions),
        (SOURCE, "watch") => Special(watch),
        (SOURCE, "scores" | "retained") => Switch,
        (SOURCE, "baseline") => Special(baseline),
        (BASELINE, "over") => Duration,
        (SOURCE, "mqtt") => Special(one_or_more),
        (SOURCE, "name" | "share" | "max_packet" | "grid") => Text,
        (SOURCE, "max_sources") => Whole(1, 1000),
        (SOURCE, "json") => Special(places),
        (JSON, _) => Text,
        (SOURCE, "broker") => Special(|reference| section_of(reference, "mqtt", broker::KEYS, &["url"])),
        _ => return None,
    })
}

const SET: &str = "label_sets.*";
const LABEL: &str = "label_sets.*.labels.*";
const RULE: &str = "label_sets.*.rules.*";
const LOOK: &str = "label_sets.*.labels.*.home_assistant";
const SOURCE: &str = "sources.*";
const BASELINE: &str = "sources.*.baseline";
const JSON: &str = "sources.*.json";
const VARIANTS: &[&str] = &["auto", "fp32", "fp16", "int8", "quantized", "uint8", "q4", "q4f16", "bnb4"];

/// The schema of a main file, and of a file in `rules.d`.
#[must_use]
pub fn schema() -> Value {
    let reference = Reference::read();
    let mut schema = section_of(&reference, "", build::KEYS, &[]);
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("A configuration of stakeout");
    // A file of rules has neither.
    schema["dependencies"] = json!({"mqtt": ["sources"], "sources": ["mqtt"]});
    schema
}

/// A mapping that takes these keys and no others.
fn section_of(reference: &Reference, section: &str, keys: &[&str], required: &[&str]) -> Value {
    let properties = keys.iter().map(|key| ((*key).to_owned(), value(reference, section, key)));
    let properties = properties.collect::<Map<_, _>>();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    // What must be typed has an example and no default.
    for key in required {
        if let Some(value) = schema["properties"][key].as_object_mut() {
            value.remove("default");
        }
    }
    schema
}

fn value(reference: &Reference, section: &str, key: &str) -> Value {
    let mut schema = kind(section, key).map_or(json!({}), |kind| form(reference, kind));
    let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    if let Some(description) = reference.description(&path) {
        schema["description"] = json!(description);
    }
    if let Some(default) = reference.default(&path) {
        schema["default"] = json!(default);
    }
    schema
}

fn form(reference: &Reference, kind: Kind) -> Value {
    /// Numbers may stand in quotes, have `_` between digits, or be taken from elsewhere.
    fn number(kind: &str, least: Value, most: Value, typed: &str) -> Value {
        json!({"anyOf": [
            {"type": kind, "minimum": least, "maximum": most},
            {"type": "string", "pattern": format!("^{typed}$|{ELSEWHERE}")},
        ]})
    }
    match kind {
        Kind::Text => text(),
        Kind::Texts => json!({"type": "array", "minItems": 1, "items": text()}),
        Kind::Switch => json!({"enum": [true, false, "true", "false"]}),
        Kind::Whole(least, most) => number("integer", json!(least), json!(most), "[0-9][0-9_]*"),
        Kind::Level => {
            let mut level = number("number", json!(0), json!(1), r"(0?\.[0-9]+|1(\.0*)?)");
            level["anyOf"][0]["exclusiveMinimum"] = json!(0);
            level
        }
        Kind::Duration => json!({"anyOf": [
            {"const": 0},
            {"type": "string", "pattern": format!("^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$|{ELSEWHERE}"), "minLength": 1},
        ]}),
        Kind::Hold => json!({"type": "string", "pattern": format!("^ *[0-9]+ +of +[0-9]+ *$|{ELSEWHERE}")}),
        Kind::Words(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": ELSEWHERE}]}),
        Kind::Special(special) => special(reference),
    }
}

/// What is typed without quotes may look like a number.
fn text() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

/// A number, or a text that looks like one.
fn version(_: &Reference) -> Value {
    json!({"anyOf": [{"enum": [5, "5", "3.1.1"]}, {"type": "string", "pattern": ELSEWHERE}]})
}

fn one_or_more(_: &Reference) -> Value {
    json!({"anyOf": [text(), {"type": "array", "minItems": 1, "items": text()}]})
}

/// A mapping from names that people choose.
fn named(value: Value) -> Value {
    json!({"type": "object", "minProperties": 1, "additionalProperties": value})
}

fn model(reference: &Reference) -> Value {
    json!({"anyOf": [text(), section_of(reference, "model", model::KEYS, &["id"])]})
}

fn listen(reference: &Reference) -> Value {
    json!({"anyOf": [text(), section_of(reference, "listen", listen::KEYS, &["address"])]})
}

/// Where the picture is, or where that and more is.
fn places(reference: &Reference) -> Value {
    json!({"anyOf": [text(), section_of(reference, JSON, mqtt_source::JSON_KEYS, &["picture"])]})
}

fn home_assistant(reference: &Reference) -> Value {
    json!({"anyOf": [
        form(reference, Kind::Switch),
        section_of(reference, "home_assistant", home_assistant::KEYS, &[]),
    ]})
}

fn label_sets(reference: &Reference) -> Value {
    named(section_of(reference, SET, read_label_sets::SET_KEYS, &["labels"]))
}

/// A list of names, or for each name nothing, a threshold, or more.
fn labels(reference: &Reference) -> Value {
    let long = section_of(reference, LABEL, read_label::KEYS, &[]);
    let label = json!({"anyOf": [{"type": "null"}, form(reference, Kind::Level), long]});
    json!({"anyOf": [form(reference, Kind::Texts), named(label)]})
}

/// For each name a condition, or more.
fn rules(reference: &Reference) -> Value {
    named(json!({"anyOf": [text(), section_of(reference, RULE, label_rules::KEYS, &["when"])]}))
}

fn look(reference: &Reference) -> Value {
    section_of(reference, LOOK, home_assistant::LOOK_KEYS, &[])
}

/// For each kind of source what it takes.
fn sources(reference: &Reference) -> Value {
    let kinds = read_sources::KINDS.iter().filter(|(kind, _)| read_sources::KEYS.contains(kind));
    let kinds = kinds.map(|(kind, own)| {
        let keys = [&[*kind], *own, read_sources::COMMON].concat();
        let mut source = section_of(reference, SOURCE, &keys, &[kind, "watch"]);
        source["title"] = json!(kind);
        source
    });
    named(json!({"anyOf": kinds.collect::<Vec<_>>()}))
}

fn after(_: &Reference) -> Value {
    json!({"anyOf": [
        {"enum": ["keep", "delete"]},
        {"type": "object", "additionalProperties": false, "required": ["move"], "properties": {"move": text()}},
    ]})
}

/// Names of label sets, or for each nothing or the labels that are different here.
fn watch(reference: &Reference) -> Value {
    let adjusted = section_of(reference, LABEL, read_label::ADJUSTABLE, &[]);
    let label = json!({"anyOf": [form(reference, Kind::Level), adjusted]});
    let set = json!({"anyOf": [{"type": "null"}, named(label)]});
    json!({"anyOf": [form(reference, Kind::Texts), named(set)]})
}

fn baseline(reference: &Reference) -> Value {
    json!({"anyOf": [form(reference, Kind::Switch), section_of(reference, BASELINE, read_sources::BASELINE_KEYS, &[])]})
}

fn regions(_: &Reference) -> Value {
    let fraction = json!({"anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9.]+$"},
    ]});
    named(json!({"type": "array", "minItems": 4, "maxItems": 4, "items": fraction}))
}

#[cfg(test)]
mod tests;
