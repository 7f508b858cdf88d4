//! What is in force, for `check --explain`: everything that was typed and everything that was not, with the final prompts and
//! the topics. Pure.
//!
//! There is one description, as JSON; the form for people is the same, line by line, so that neither can tell more than the
//! other. It refuses to show a secret.

use std::{fmt::Write, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    alert::Topics,
    config::{
        After, Config, Decode, Existing, Input, ModelRef, Mqtt, Pace, Source, SourceKind, TlsFiles, Transport,
    },
    mqtt,
    policy::{Label, LabelSet, Severity},
};

/// All of it.
pub(super) fn describe(config: &Config) -> Value {
    let sources = config.sources.iter().map(|source| (source.name.clone(), describe_source(config, source)));
    let sources = sources.collect::<Map<_, _>>();
    let threads = config.execution.threads.map_or(json!("one for each processor"), |threads| json!(threads));
    let home_assistant = config
        .home_assistant
        .as_ref()
        .map_or(json!(false), |told| json!({"discovery_prefix": told.discovery_prefix, "name": told.name}));
    json!({
        "model": model(&config.model),
        "device": config.execution.device.to_string(),
        "threads": threads,
        "max_batch": config.execution.max_batch,
        "gpu_memory": config.execution.gpu_memory,
        "onnxruntime": config.onnxruntime.as_ref().map_or(json!("looked for in the usual places"), |path| json!(path.display().to_string())),
        "state_dir": config.state_dir.display().to_string(),
        "max_pixels": config.max_pixels,
        "mqtt": broker(&config.mqtt),
        "home_assistant": home_assistant,
        "outbox": {
            "max_size": config.outbox.size,
            "max_snapshots": config.outbox.snapshots,
            "max_age": duration(config.outbox.age),
        },
        "webhook": config.webhook.as_ref().map(|webhook| json!({
            "url": webhook.address.to_string(),
            "secret": if webhook.secret.is_some() { "set" } else { "none" },
            "token": if webhook.token.is_some() { "set" } else { "none" },
            "timeout": duration(webhook.timeout),
        })),
        "command": config.command.as_ref().map(|command| {
            let program = command.program.display().to_string();
            json!({
                "run": std::iter::once(&program).chain(&command.arguments).collect::<Vec<_>>(),
                "timeout": duration(command.timeout),
            })
        }),
        "topics": topics(config),
        "sources": sources,
    })
}

fn model(model: &ModelRef) -> Value {
    match model {
        ModelRef::Hub(hub) => json!({
            "id": hub.id,
            "onnx": hub.onnx,
            "revision": hub.revision.as_deref().unwrap_or("main"),
            "variant": format!("{:?}", hub.variant).to_lowercase(),
        }),
        other => json!(other.name()),
    }
}

fn broker(settings: &Mqtt) -> Value {
    json!({
        "url": mqtt::url(settings),
        "username": settings.username,
        "password": if settings.password.is_some() { "set" } else { "none" },
        "prefix": settings.prefix,
        "client_id": settings.client_id,
        "version": settings.connection.version.word(),
        "keep_alive": duration(settings.connection.keep_alive),
        "message_expiry": settings.connection.message_expiry.map(duration),
        "tls": settings.tls.then(|| tls(&settings.connection.tls)),
    })
}

fn tls(files: &TlsFiles) -> Value {
    json!({
        "ca": files.ca.as_ref().map_or(json!("who the system trusts"), |path| json!(path.display().to_string())),
        "certificate": files.identity.as_ref().map(|(certificate, _)| certificate.display().to_string()),
        "alpn": files.alpn,
    })
}

fn topics(config: &Config) -> Value {
    let topics = Topics::new(&config.mqtt.prefix);
    json!({"status": topics.status(), "config_status": topics.config_status()})
}

fn describe_source(config: &Config, source: &Source) -> Value {
    let topics = Topics::new(&config.mqtt.prefix);
    let mut described = kind(&source.kind);
    let regions = source
        .regions
        .iter()
        .map(|region| (region.name.clone(), json!([region.x, region.y, region.width, region.height])));
    let regions = regions.collect::<Map<_, _>>();
    described.insert(
        "regions".to_owned(),
        if regions.is_empty() { json!("the whole frame") } else { regions.into() },
    );
    described.insert("scores".to_owned(), json!(source.scores));
    let baseline = source.baseline.map(|over| json!({ "over": duration(over) }));
    described.insert("baseline".to_owned(), json!(baseline));
    described.insert(
        "topics".to_owned(),
        json!({
            "status": topics.source_status(&source.name),
            "snapshot": topics.snapshot(&source.name),
        }),
    );
    let sets = config.watches().filter(|(watching, _)| watching.name == source.name);
    let sets = sets.map(|(_, set)| (set.name.clone(), describe_set(&topics, source, set)));
    described.insert("label_sets".to_owned(), sets.collect::<Map<_, _>>().into());
    described.into()
}

fn kind(kind: &SourceKind) -> Map<String, Value> {
    let described = match kind {
        SourceKind::Folder(folder) => json!({
            "folder": folder.path.display().to_string(),
            "existing": match folder.existing {
                Existing::Skip => "skip",
                Existing::Process => "process",
            },
            "after": match &folder.after {
                After::Keep => json!("keep"),
                After::Delete => json!("delete"),
                After::Move(to) => json!({"move": to.display().to_string()}),
            },
            "poll": folder.poll.map_or(json!("the kernel says what is new"), |poll| json!(duration(poll))),
        }),
        SourceKind::Stream(stream) => {
            let input = match &stream.input {
                Input::Rtsp(address) | Input::Url(address) => address.to_string(),
                Input::File(path) => path.display().to_string(),
            };
            let is_rtsp = matches!(stream.input, Input::Rtsp(_));
            let mut described = json!({
                (if is_rtsp { "rtsp" } else { "video" }): input,
                "every": duration(stream.every),
                "decode": match stream.decode {
                    Decode::Auto => "auto",
                    Decode::KeyFrames => "key_frames",
                    Decode::All => "all",
                },
                "hwaccel": stream.hwaccel.as_str(),
                "stall_after": duration(stream.stall_after),
            });
            if is_rtsp {
                let transport = if stream.transport == Transport::Tcp { "tcp" } else { "udp" };
                described["transport"] = json!(transport);
            } else {
                described["pace"] = json!(if stream.pace == Pace::Real { "real" } else { "full" });
            }
            described
        }
        SourceKind::Http(http) => json!({
            "http": http.address.to_string(),
            "every": duration(http.every),
            "timeout": duration(http.timeout),
        }),
        SourceKind::Mqtt(mqtt) => json!({
            "mqtt": mqtt.filters.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "retained": mqtt.retained,
            "share": mqtt.share,
            "max_packet": mqtt.max_packet,
            "max_sources": mqtt.max_sources,
            "broker": mqtt.broker.as_ref().map(broker),
        }),
    };
    match described {
        Value::Object(described) => described,
        other => Map::from_iter([("kind".to_owned(), other)]),
    }
}

/// With one template prompts are told in it; otherwise they stand for themselves in each of those that are told above them.
fn describe_set(topics: &Topics, source: &Source, set: &LabelSet) -> Value {
    let prompts = |prompts: &[String]| match &set.templates[..] {
        [template] => prompts.iter().map(|prompt| template.fill(prompt)).collect::<Vec<_>>(),
        _ => prompts.to_vec(),
    };
    let labels = set.labels.iter().map(|label| {
        let label = source.label(&set.name, label);
        let regions = if label.regions.is_empty() { json!("all") } else { json!(label.regions) };
        let (upper, lower) =
            if label.trigger.rises { ("rise", "clear_rise") } else { ("threshold", "clear_below") };
        let described = json!({
            "prompts": prompts(&label.prompts),
            "regions": regions,
            (upper): number(label.trigger.threshold),
            (lower): number(label.trigger.clear_below),
        });
        (label.name.clone(), alerting(topics, source, set, label, described))
    });
    let rules = set.rules.iter().map(|rule| {
        let settings = source.label(&set.name, &rule.settings);
        let described = json!({"when": rule.when.text()});
        (settings.name.clone(), alerting(topics, source, set, settings, described))
    });
    let templates: Vec<_> = set.templates.iter().map(ToString::to_string).collect();
    let mut described = json!({
        "templates": templates,
        "scoring": set.scoring.word(),
        "background": prompts(&set.background),
        "labels": labels.collect::<Map<_, _>>(),
    });
    if !set.rules.is_empty() {
        described["rules"] = rules.collect::<Map<_, _>>().into();
    }
    if source.scores {
        described["scores"] = json!(topics.scores(&source.name, &set.name));
    }
    described
}

/// What a label and a rule over labels have in common, behind what is their own.
fn alerting(topics: &Topics, source: &Source, set: &LabelSet, label: &Label, mut own: Value) -> Value {
    let rule = &label.trigger;
    own["hold"] = json!(format!("{} of {}", rule.hold.frames, rule.hold.of));
    own["for"] = json!(duration(rule.lasting));
    own["cooldown"] = json!(duration(rule.cooldown));
    own["severity"] = json!(label.severity.map(Severity::word));
    own["message"] = json!(label.message.as_ref().map(ToString::to_string));
    own["active"] = label.active.as_ref().map_or(json!("always"), |active| json!(active.to_string()));
    own["home_assistant"] = json!({
        "name": label.look.name.as_ref().unwrap_or(&label.name),
        "icon": label.look.icon,
        "device_class": label.look.device_class,
    });
    own["alert"] = json!(topics.alert(&source.name, &set.name, &label.name));
    own["state"] = json!(topics.state(&source.name, &set.name, &label.name));
    own
}

/// As it was typed: 0.7 and not 0.699999988.
fn number(score: f32) -> Value {
    score.to_string().parse::<f64>().map_or(Value::Null, |number| json!(number))
}

/// `1h30m`, `500ms`
fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let (mut text, mut left) = (String::new(), duration.as_millis());
    for (unit, length) in UNITS {
        if left >= length {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", left / length);
            left %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The same for people: a line for each thing, what belongs to it below.
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
    fn durations_are_told_as_they_are_typed() {
        for (milliseconds, told) in
            [(0, "0s"), (500, "500ms"), (5_400_000, "1h30m"), (61_001, "1m1s1ms"), (86_400_000, "1d")]
        {
            assert_eq!(duration(Duration::from_millis(milliseconds)), told);
        }
    }

    #[test]
    fn both_forms_tell_the_same() {
        let value =
            json!({"a": {"b": null, "c": ["x: y", "z"], "d": [0.5, 1]}, "e": 0.7, "f": [], "g": false});
        let expected = "a:\n  b: none\n  c:\n    - x: y\n    - z\n  d: [0.5,1]\ne: 0.7\nf: none\ng: false\n";
        assert_eq!(in_lines(&value), expected);
    }
}
