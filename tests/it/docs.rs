//! Checks the pages against the program: topics and payloads, every command, every block of YAML and JSON.

mod blocks;
mod commands;
mod newcomer;
mod pages;
mod promises;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use stakeout::{
    alert::{Alert, ClearReason, FrameInfo, Place, State, Topics, control_topics, outbox},
    observe::scores::Scores,
    policy::{SettingKind, Severity, Target},
    source::{Problem, StreamInfo},
};

use crate::common::broker::Broker;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every topic of the program as the pages write it, without the prefix, by the name of the method that makes it.
fn topics() -> BTreeMap<&'static str, String> {
    let topics = Topics::new("stakeout");
    let (source, label_set, label) = ("SOURCE", "LABELSET", "LABEL");
    let known = [
        ("status", topics.status()),
        ("config_status", topics.config_status()),
        ("outbox_status", topics.outbox_status()),
        ("service_problem", topics.service_problem()),
        ("model", topics.model()),
        ("heartbeat", topics.heartbeat()),
        ("stats", topics.stats()),
        ("source_status", topics.source_status(source)),
        ("source_problem", topics.source_problem(source)),
        ("source_info", topics.source_info(source)),
        ("source_stats", topics.source_stats(source)),
        ("snapshot", topics.snapshot(source)),
        ("requested_snapshot", topics.requested_snapshot(source)),
        ("alert", topics.alert(source, label_set, label)),
        ("state", topics.state(source, label_set, label)),
        ("scores", topics.scores(source, label_set)),
        ("near_miss", topics.near_miss(source, label_set, label)),
    ];
    let written = |topic: &str| {
        let topic = topic.strip_prefix("stakeout/").unwrap();
        topic.replace("source", "<source>").replace("labelset", "<label_set>").replace("/label/", "/<label>/")
    };
    known.into_iter().map(|(name, topic)| (name, written(&topic))).collect()
}

/// The first cell of each row of the table below `heading`.
fn table<'t>(text: &'t str, heading: &str) -> BTreeSet<&'t str> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_table_of_topics_has_every_topic() {
    // A topic that is added to the program must be added to the list above.
    let source = read("src/alert/topics.rs");
    let (_, methods) = source.split_once("impl Topics {").unwrap();
    let methods = methods.split("\n}\n").next().unwrap();
    let methods = methods.lines().filter(|line| line.contains("pub fn") && line.contains("-> String"));
    let methods: BTreeSet<_> =
        methods.map(|line| line.trim().strip_prefix("pub fn ").unwrap().split('(').next().unwrap()).collect();
    let topics = topics();
    let mut known: BTreeSet<_> = topics.keys().copied().collect();
    // A filter for subscribers, the levels that topics consist of, topics that are read, and settings, which have a table of their own.
    known.extend(["all_alerts", "source", "label_level", "label_of_set", "ask", "mark", "setting"]);
    assert_eq!(methods, known, "make the list above and docs/topics.md complete");

    let document = read("docs/topics.md");
    let published = document.split("\n### ").next().unwrap();
    let written = table(published, "## What is published");
    assert_eq!(written, topics.values().map(String::as_str).collect());
    assert!(document.contains(&Topics::new("<prefix>").all_alerts()));
}

#[test]
fn the_table_of_settings_and_of_requests_has_every_one() {
    let topics = Topics::new("stakeout");
    let (source, label) = (Target::source("SOURCE"), Target::label("SOURCE", "LABELSET", "LABEL"));
    let of = |target: &Target, kinds: &[SettingKind]| {
        let written = |kind: &SettingKind| {
            let topic = topics.setting(target, *kind).replace("stakeout/source", "<source>");
            topic.replace("/labelset/label/", "/<label_set>/<label>/")
        };
        kinds.iter().map(written).collect::<Vec<_>>()
    };
    use SettingKind::{Enabled, Snooze, Threshold};
    let expected = [of(&source, &[Enabled, Snooze]), of(&label, &[Enabled, Threshold, Snooze])].concat();
    let document = read("docs/topics.md");
    let written: Vec<_> = table(&document, "### What can be set").into_iter().map(str::to_owned).collect();
    assert_eq!(BTreeSet::from_iter(written), BTreeSet::from_iter(expected));
    let (_, read_topics) = document.split_once("## What is read").unwrap();
    let requests = [vec![Topics::new("<prefix>").mark()], control_topics::filters("<prefix>")].concat();
    for topic in requests {
        assert!(read_topics.contains(&format!("`{topic}`")), "{topic}");
    }
}

/// The blocks of JSON in a document.
fn examples(document: &str) -> Vec<Value> {
    let blocks = document.split("```json\n").skip(1);
    blocks.map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap()).collect()
}

fn keys(json: &Value) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_examples_of_payloads_equal_what_is_published() {
    let examples = examples(&read("docs/topics.md"));
    let [alert, stats, scores, near_miss, stream, problem, restart, invalid, outbox, model, heartbeat] =
        &examples[..]
    else {
        panic!("{}", examples.len())
    };
    let labels: Vec<(Arc<str>, f32)> = vec![("package".into(), 0.83), ("person".into(), 0.02)];
    let built = Alert {
        id: "019340a2-7b1c-7000-8000-000000000001".parse().unwrap(),
        state: State::Raised,
        time: "2026-11-23T08:15:30.125Z".parse().unwrap(),
        source: "front-door".into(),
        region: None,
        label_set: "porch".into(),
        label: "package".into(),
        when: None,
        score: 0.83,
        threshold: 0.6,
        scores: labels.clone(),
        background: Some(0.15),
        model: "openai/clip-vit-base-patch16".into(),
        frame: FrameInfo {
            origin: "rtsp://10.0.0.21/stream2".to_owned(),
            captured_at: "2026-11-23T08:15:29.9Z".parse().unwrap(),
            width: 1920,
            height: 1080,
        },
        snapshot: Some("stakeout/front-door/snapshot".to_owned()),
        place: Place { instance: Some("stakeout-pi".into()), ..Place::default() },
        severity: None,
        message: None,
        reason: None,
        baseline: None,
    };
    assert_eq!(alert.to_string(), built.to_json());
    let (_, explained) = read("docs/topics.md")
        .split_once("| key | what it says |")
        .map(|(a, b)| (a.len(), b.to_owned()))
        .unwrap();
    let everywhere = Some("here".into());
    let place = Place { area: everywhere.clone(), location: everywhere, ..built.place.clone() };
    let everything = Alert {
        severity: Severity::of("info"),
        message: Some(String::new()),
        baseline: Some(0.4),
        reason: Some(ClearReason::Disabled),
        place,
        ..built
    };
    let everything = serde_json::from_str(&everything.to_json()).unwrap();
    assert_eq!(keys(&everything).len(), keys(alert).len() + 6);
    for key in keys(&everything) {
        assert!(explained.contains(&format!("`{key}`")), "{key} is not explained");
    }
    let built = Scores {
        time: "2026-11-23T08:15:30.125Z".parse().unwrap(),
        source: "front-door".into(),
        label_set: "porch".into(),
        region: None,
        scores: labels,
        background: Some(0.15),
    };
    assert_eq!(scores.to_string(), built.to_json());
    let built = StreamInfo {
        codec: "h264".to_owned(),
        size: (1920, 1080),
        rate: Some(25.0),
        key_frames: Some(Duration::from_secs(1)),
        decode: "key_frames",
        hwaccel: "none",
    };
    assert_eq!(stream.to_string(), built.to_json());
    assert_eq!(outbox.to_string(), outbox::Status::default().to_json());
    let built = Problem {
        cause: "rtsp://10.0.0.21/stream2 did not answer within 30 s".to_owned(),
        since: "2026-11-23T08:15:30Z".parse().unwrap(),
        remedy: "check that the camera is on, that this machine reaches it, and its address, user and password",
    };
    assert_eq!(problem.to_string(), built.to_json());
    assert_eq!(keys(stats), ["frames", "per_second", "last_frame"]);
    // Unit tests check these payloads.
    let expected = [
        "time",
        "source",
        "region",
        "label_set",
        "label",
        "score",
        "threshold",
        "reason",
        "held_by",
        "also_held_by",
        "passed",
    ];
    assert_eq!(keys(near_miss), expected);
    assert_eq!(keys(model), ["state", "device", "cause", "since", "remedy"]);
    assert_eq!(keys(heartbeat), ["time", "every_s", "waiting", "outbox"]);
    assert_eq!((keys(restart), keys(invalid)), (vec!["state", "after_restart"], vec!["state", "problems"]));
}

/// The types of nodes that come with Node-RED, as far as the flow uses them.
const NODE_RED: [&str; 10] = [
    "tab",
    "mqtt-broker",
    "mqtt in",
    "mqtt out",
    "function",
    "switch",
    "template",
    "debug",
    "inject",
    "http request",
];

/// What prevents Node-RED from running a flow, or from showing its texts as they are.
fn flow_faults(flow: &str) -> Vec<String> {
    let mut faults = vec![];
    for entity in ["&lt;", "&gt;", "&amp;", "&quot;", "&#", "\\u003c"] {
        if flow.contains(entity) {
            faults.push(format!("escaped for HTML: {entity}"));
        }
    }
    let flow: Value = serde_json::from_str(flow).unwrap();
    let nodes = flow.as_array().unwrap();
    let ids: BTreeSet<_> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    if ids.len() < nodes.len() {
        faults.push("two nodes have the same id".to_owned());
    }
    for node in nodes {
        let name = format!("{} {}", node["type"], node["name"]);
        if !NODE_RED.contains(&node["type"].as_str().unwrap()) {
            faults.push(format!("{name} is not a node of Node-RED itself"));
        }
        let wires = node["wires"].as_array().into_iter().flatten().flat_map(|wire| wire.as_array().unwrap());
        let broker = (node["type"] != "mqtt-broker").then_some(&node["broker"]);
        for id in wires.chain([&node["z"]]).chain(broker).filter_map(Value::as_str) {
            if !ids.contains(id) {
                faults.push(format!("{name}: there is no node {id}"));
            }
            if id == node["id"] {
                faults.push(format!("{name} refers to itself"));
            }
        }
        // Node-RED takes every property that equals an id for a reference to that node.
        for (key, value) in node.as_object().unwrap() {
            let refers = key == "id" || key == "z" || (key == "broker" && node["type"] != "mqtt-broker");
            if !refers && value.as_str().is_some_and(|value| ids.contains(value)) {
                faults.push(format!("{name}: `{key}` equals the id of a node"));
            }
        }
        // Two braces escape for HTML, three do not.
        let template = node["template"].as_str().unwrap_or_default();
        if template.replace("{{{", "").contains("{{") || template.contains("{{{{") {
            faults.push(format!("{name} escapes its text for HTML"));
        }
    }
    faults
}

#[test]
fn faults_of_a_flow_are_found() {
    let node = |more: &str| format!(r#"[{{"id": "a1", "type": "mqtt-broker"{more}}}]"#);
    let cases = [
        (node(""), ""),
        (node(r#", "name": "a1""#), "`name` equals the id of a node"),
        (node(r#", "broker": "a1""#), "`broker` equals the id of a node"),
        (node(r#", "z": "a1""#), "refers to itself"),
        (node(r#", "wires": [["b2"]]"#), "there is no node b2"),
        (node(r#"}, {"id": "a1", "type": "tab""#), "two nodes have the same id"),
        (node(r#"}, {"id": "b2", "type": "dashboard""#), "is not a node of Node-RED itself"),
        (node(r#"}, {"id": "b2", "type": "template", "template": "{{payload}}""#), "escapes its text"),
        (node(r#"}, {"id": "b2", "type": "template", "template": "{{{payload}}}""#), ""),
        (node(r#", "name": "a &amp; b""#), "escaped for HTML"),
    ];
    for (flow, expected) in cases {
        let faults = flow_faults(&flow).join(", ");
        assert!(faults.contains(expected) && faults.is_empty() == expected.is_empty(), "{flow}: {faults}");
    }
}

#[test]
fn the_flow_for_node_red_is_consistent() {
    let text = read("docs/node-red/flow.json");
    assert_eq!(flow_faults(&text), [""; 0]);
    let flow: Value = serde_json::from_str(&text).unwrap();
    let nodes = flow.as_array().unwrap();
    let listened: BTreeSet<_> = nodes
        .iter()
        .filter(|node| node["type"] == "mqtt in")
        .map(|node| node["topic"].as_str().unwrap())
        .collect();
    let topics = Topics::new("stakeout");
    let snapshots = topics.snapshot("SOURCE").replace("source", "+");
    assert_eq!(listened, BTreeSet::from([&*topics.all_alerts(), &*snapshots]));

    // The configuration that the page shows for the flow's camera reads the topic that the flow publishes.
    let page = read("docs/node-red.md");
    let published = nodes.iter().find(|node| node["type"] == "mqtt out").unwrap()["topic"].as_str().unwrap();
    assert!(page.contains(&format!("mqtt: {published},")), "{published}");
    for name in [
        "first time only",
        "raised or cleared",
        "in words",
        "picture of the alert",
        "fetch",
        "every 5 s",
        "broker",
    ] {
        assert!(page.contains(name) && nodes.iter().any(|node| node["name"] == name), "{name}");
    }
}

/// Every block of code has one of these forms. Add a check here for a new form.
#[test]
fn every_block_is_checked() {
    let mut wrong = vec![];
    let blocks = blocks::blocks();
    assert!(blocks.len() > 30, "{}", blocks.len());
    for block in &blocks {
        let fault = match block.kind.as_str() {
            "sh" => commands::commands(&block.text).iter().find_map(|command| commands::fault(command)),
            "console" => console(&block.text),
            "yaml" => yaml::fault(&block.text),
            "json" => serde_json::from_str::<Value>(&block.text).err().map(|error| error.to_string()),
            "csv" => csv(&block.text),
            "log" => log(&block.text),
            "mosquitto" => mosquitto(&block.text),
            "ini" => ini(&block.text),
            "nginx" => nginx(block, &blocks),
            other => Some(format!("blocks of the form {other:?} have no check in tests/it/docs.rs")),
        };
        wrong.extend(fault.map(|fault| format!("{}: {fault}", block.place())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Commands in a sentence are checked like those in blocks.
#[test]
fn every_command_in_a_sentence_is_checked() {
    let (mut found, mut wrong) = (0, vec![]);
    for document in blocks::documents() {
        for (line, code) in blocks::spans(&document) {
            if ["stakeout ", "sudo ", "make ", "cargo ", "tools/", "systemctl "]
                .iter()
                .any(|begin| code.starts_with(begin))
            {
                found += 1;
                let fault = commands::commands(&code).iter().find_map(|command| commands::fault(command));
                wrong.extend(fault.map(|fault| format!("{}:{line}: `{code}`: {fault}", document.name)));
            }
        }
    }
    assert!(found > 40, "{found}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A command follows `$ `, the other lines are its output. An alert in the output has the keys of the documented one.
fn console(text: &str) -> Option<String> {
    let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    if commands.is_empty() || !text.starts_with("$ ") {
        return Some("no line starts with `$ `".to_owned());
    }
    let fault =
        commands.iter().find_map(|line| commands::commands(line).iter().find_map(|it| commands::fault(it)));
    fault.or_else(|| {
        let json = text.get(text.find('{')?..=text.rfind('}')?)?;
        let alert: Value = serde_json::from_str(json).ok()?;
        let documented = examples(&read("docs/topics.md"));
        (keys(&alert) != keys(&documented[0]))
            .then(|| format!("the alert has other keys than in docs/topics.md: {json}"))
    })
}

/// The file for `--truth`. `tune.rs` tests the program with it.
fn csv(text: &str) -> Option<String> {
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let heads = rows.headers().ok()?.iter().map(str::to_owned).collect::<Vec<_>>();
    let rows = rows.records().collect::<Result<Vec<_>, _>>();
    match rows {
        Ok(rows) if heads == ["label", "start", "end"] && !rows.is_empty() => None,
        other => Some(format!("{heads:?} {other:?}")),
    }
}

/// Lines of the log: the source, and a message of the program.
fn log(text: &str) -> Option<String> {
    let source = pages::source();
    let message = |line: &str| {
        let (_, rest) = line.split_once(": ")?;
        let message = rest.split(" (").next()?.split(": ").next()?;
        Some(message.rsplit("` ").next()?.to_owned())
    };
    let wrong = |line: &&str| message(line).is_none_or(|message| !source.contains(&message));
    text.lines().find(wrong).map(|line| format!("the program does not log {line:?}"))
}

/// Access rules: a broker starts with them, or the test panics.
fn mosquitto(text: &str) -> Option<String> {
    let rules = text.to_owned();
    Broker::prepared("allow_anonymous true\nacl_file {folder}/rules", |folder| {
        fs::write(folder.join("rules"), rules).unwrap();
    });
    None
}

/// A proxy: its location and the address behind it are those of a `listen` with `base_url` in a block of the same page before it.
fn nginx(block: &blocks::Block, blocks: &[blocks::Block]) -> Option<String> {
    let lines: Vec<_> = block.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let [first, directives @ .., "}"] = &lines[..] else {
        return Some("it is no block in braces".to_owned());
    };
    if let Some(line) = directives.iter().find(|line| !line.ends_with(';') || line.split(' ').count() < 2) {
        return Some(format!("{line:?} is no directive"));
    }
    let Some(location) = first.strip_prefix("location ").and_then(|line| line.strip_suffix("/ {")) else {
        return Some(format!("{first:?} is no location"));
    };
    let proxied =
        directives.iter().find_map(|line| line.strip_prefix("proxy_pass http://")?.strip_suffix("/;"));
    let Some(proxied) = proxied else { return Some("it has no proxy_pass".to_owned()) };
    let is_configured = |block: &blocks::Block| {
        let has = |line: &str, key: &str, end: &str| line.trim().starts_with(key) && line.ends_with(end);
        block.kind == "yaml"
            && block.text.lines().any(|line| has(line, "base_url: https://", location))
            && block.text.lines().any(|line| has(line, "address: ", proxied))
    };
    let before = blocks.iter().filter(|other| other.document == block.document && other.line < block.line);
    let is_one = before.into_iter().any(is_configured);
    (!is_one)
        .then(|| format!("no configuration before it has {proxied} and a base_url that ends with {location}"))
}

/// Drop-ins of systemd: sections with keys and values.
fn ini(text: &str) -> Option<String> {
    let wrong = |line: &&str| {
        let is_key = |key: &str| !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric());
        let section = line.starts_with('[') && line.ends_with(']');
        !(section
            || line.is_empty()
            || line.starts_with('#')
            || line.split_once('=').is_some_and(|(key, _)| is_key(key)))
    };
    text.lines().find(wrong).map(|line| format!("{line:?} is neither a key nor a section"))
}
