//! `stakeout check`: the exact text for each kind of mistake.
//!
//! `mistakes/NAME.yaml` (or `mistakes/NAME/stakeout.yaml`) is the configuration, `mistakes/NAME.txt` the expected text.
//! With `UPDATE_EXPECTED=1` the texts are rewritten: read the difference before you commit it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::common::{broker::free_port, service::Home, stakeout};

fn check(folder: &Path, config: &str) -> Output {
    stakeout()
        .args(["check", "--offline", "--config", config])
        .current_dir(folder)
        .env_remove("STATE_DIRECTORY")
        .output()
        .expect("the binary runs")
}

fn mistakes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mistakes")
}

/// The name of each case, its folder, and its configuration in it.
fn cases() -> Vec<(String, PathBuf, String)> {
    let entries = fs::read_dir(mistakes()).expect("the folder of mistakes");
    let case = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            None => Some((name, path, "stakeout.yaml".to_owned())),
            Some("yaml") => Some((name.clone(), mistakes(), format!("{name}.yaml"))),
            Some(_) => None,
        }
    };
    let mut cases: Vec<_> = entries.filter_map(|entry| case(entry.ok()?.path())).collect();
    cases.sort();
    assert!(cases.len() > 100, "some cases are not found");
    cases
}

#[test]
fn every_mistake_has_the_expected_text() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut different = String::new();
    for (name, folder, config) in cases() {
        let output = check(&folder, &config);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{name}: {log}");
        assert!(output.stdout.is_empty(), "{name} writes to standard output");
        assert!(!log.contains("hunter2"), "{name} shows a password: {log}");

        let expected = mistakes().join(format!("{name}.txt"));
        if update {
            fs::write(&expected, &log).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != log {
            different += &format!("\n--- {name}: the text is now\n{log}");
        }
    }
    assert!(
        different.is_empty(),
        "{different}\nIf this is right: UPDATE_EXPECTED=1 cargo test --test it check"
    );
}

#[test]
fn one_file_shows_all_its_mistakes_at_once() {
    let log = String::from_utf8(check(&mistakes(), "many.yaml").stderr).unwrap();
    assert_eq!(log.matches("error: ").count(), 23, "{log}");
    assert!(log.ends_with("\n23 problems found\n"), "{log}");
}

#[test]
fn the_example_and_the_reference_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for (config, summary) in [
        ("stakeout.yaml", "ok: 1 source, 1 label set, 3 labels\n"),
        ("reference.yaml", "ok: 5 sources, 2 label sets, 5 labels, 2 rules\n"),
    ] {
        let output = check(&folder, config);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), summary);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
    }
}

#[test]
fn unreadable_files_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("latin1.yaml", b"mqtt:\n  prefix: T\xfcr\n");
    write("utf16.yaml", b"\xff\xfem\0q\0t\0t\0:\0\n\0");
    write("long.yaml", &b"# nothing\n".repeat(1_000_000));
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let cases = [
        (
            "none.yaml",
            "error: there is no such file\n --> none.yaml\n  = help: name another one with `--config FILE`",
        ),
        ("latin1.yaml", "error: the file is not UTF-8, starting at line 2 (byte 17)\n --> latin1.yaml"),
        ("utf16.yaml", "error: the file is UTF-16, not UTF-8\n --> utf16.yaml"),
        ("long.yaml", "error: the file is longer than 256 KB\n --> long.yaml"),
        ("folder.yaml", "error: the file cannot be read: Is a directory"),
    ];
    for (config, begin) in cases {
        let output = check(folder.path(), config);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{log}");
        assert!(log.starts_with(begin), "{log}");
        assert!(log.ends_with("1 problem found\n"), "{log}");
    }
}

/// The configuration may be right: a script must not take a broker that restarts for a mistake.
#[test]
fn an_unreachable_broker_is_no_invalid_configuration() {
    let home = Home::new(free_port(), "");
    let check = |arguments: &[&str]| {
        let config = home.path("stakeout.yaml");
        let output = stakeout().args(["check", "--config"]).arg(config).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, log) = check(&[]);
    assert!(code == Some(1) && log.contains("not connected to mqtt://"), "{code:?} {log}");
    assert_eq!(check(&["--offline"]).0, Some(0));
    let config = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(home.path("stakeout.yaml"), config + "treshold: 1\n").unwrap();
    assert_eq!(check(&[]).0, Some(78));
}

#[test]
fn only_the_service_reads_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let config = "
        mqtt: { url: mqtt://127.0.0.1, username: watcher, password: \"${credential:mqtt}\" }
        label_sets: { porch: { background: [an empty porch], labels: [person] } }
        sources: { inbox: { folder: ., watch: [porch] } }";
    fs::write(folder.path().join("stakeout.yaml"), config).unwrap();
    let output = check(folder.path(), "stakeout.yaml");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.starts_with("note: only the service itself can read its credentials"), "{log}");

    let run =
        stakeout().args(["run", "--config", "stakeout.yaml"]).current_dir(folder.path()).output().unwrap();
    let log = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(78), "the service itself needs it: {log}");
    assert!(log.contains("the credential `mqtt` is missing"), "{log}");
}

#[test]
fn the_configuration_is_explained_as_text_and_as_json() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let explain = |config: &str, more: &[&str]| {
        let arguments = [&["check", "--offline", "--config", config, "--explain"], more].concat();
        let output = stakeout().args(arguments).current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let words = explain("reference.yaml", &[]);
    for expected in [
        "model: bundled\n",
        "  url: mqtt://localhost:1883\n",
        "          package:\n            prompts:\n              - This is a photo of a parcel on the doorstep.\n",
        "            threshold: 0.7\n            clear_below: 0.7\n            hold: 1 of 1\n",
        "            alert: stakeout/inbox/porch/person/alert\n",
        "    regions:\n      step: [0.2,0.5,0.6,0.5]\n",
        "    rtsp: rtsp://10.0.0.21/stream2\n    every: 1s\n",
    ] {
        assert!(words.contains(expected), "{expected:?} in\n{words}");
    }
    let json: Value = serde_json::from_str(&explain("reference.yaml", &["--format", "json"])).unwrap();
    let person = &json["sources"]["inbox"]["label_sets"]["porch"]["labels"]["person"];
    assert_eq!(person["threshold"], 0.7);
    assert_eq!(person["state"], "stakeout/inbox/porch/person/state");
    assert_eq!(json["sources"]["front-door"]["transport"], "auto");
}

#[test]
fn an_explanation_shows_templates_rules_and_settings_of_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let text = "mqtt: { url: mqtt://h }\nlabel_sets:\n  porch:\n    templates: [plain, 'a photo of {}']\n    scoring: cosine\n    \
                background: [nothing]\n    labels: { person: { threshold: 0.3, message: '{label}: {score}' }, dog: 0.3 }\n    \
                rules: { stranger: { when: person and not dog, for: 5s, active: mon-fri 22:00-06:00 UTC } }\n\
                sources: { door: { folder: ., watch: { porch: { person: 0.25, stranger: { hold: 2 of 3 } } } } }\n";
    fs::write(folder.path().join("stakeout.yaml"), text).unwrap();
    let arguments = ["check", "--offline", "--config", "stakeout.yaml", "--explain"];
    let output = stakeout().args(arguments).current_dir(folder.path()).output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "      porch:\n        templates:\n          - {}\n          - a photo of {}\n        scoring: cosine\n        background:\n          - nothing\n",
        "          person:\n            prompts:\n              - person\n            regions: all\n            threshold: 0.25\n            clear_below: 0.25\n",
        "            message: {label}: {score}\n            active: always\n",
        "        rules:\n          stranger:\n            when: person and not dog\n            hold: 2 of 3\n            for: 5s\n            cooldown: 0s\n",
        "            active: mon-fri 22:00-06:00 UTC\n",
        "            alert: stakeout/door/porch/stranger/alert\n",
    ] {
        assert!(log.contains(expected), "{expected:?} in\n{log}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stderr), "ok: 1 source, 1 label set, 2 labels, 1 rule\n");
}

#[test]
fn an_explanation_shows_where_the_settings_of_a_source_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = "mqtt: { url: mqtt://h }\nlabel_sets: { porch: { labels: [person, dog] } }\n\
                defaults:\n  every: 3s\n  watch: [porch]\n  username: viewer\n  password: hunter2\n  rtsp: { transport: tcp, every: 2s }\n\
                sources:\n  door: { rtsp: 'rtsp://h/s' }\n  gate: { http: 'http://me:hunter2@h/s', every: 9s }\n";
    fs::write(folder.path().join("stakeout.yaml"), text).unwrap();
    fs::create_dir(folder.path().join("sources.d")).unwrap();
    let more = "sources:\n  inbox:\n    folder: .\n    location: the yard\n";
    fs::write(folder.path().join("sources.d/inbox.yaml"), more).unwrap();
    let arguments = ["check", "--offline", "--config", "stakeout.yaml", "--explain", "--format", "json"];
    let output = stakeout().args(arguments).current_dir(folder.path()).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).lines().last(),
        Some("ok: 3 sources, 1 label set, 2 labels")
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [door, gate, inbox] = ["door", "gate", "inbox"].map(|name| &json["sources"][name]);
    for (source, key, value, from) in [
        (door, "every", "2s", "defaults, stakeout.yaml:8:34"),
        (door, "transport", "tcp", "defaults, stakeout.yaml:8:22"),
        (door, "username", "viewer", "defaults, stakeout.yaml:6:13"),
        (gate, "every", "9s", "stakeout.yaml:11:49"),
        (gate, "username", "me", ""),
        (inbox, "every", "3s", "defaults, stakeout.yaml:4:10"),
        (inbox, "location", "the yard", "sources.d/inbox.yaml:4:15"),
        (inbox, "existing", "skip", ""),
    ] {
        assert_eq!(source[key], value, "{key}");
        let expected = if from.is_empty() { Value::Null } else { from.into() };
        assert_eq!(source["from"][key], expected, "{key}");
    }
    assert_eq!(inbox["watch"], serde_json::json!(["porch"]));
    assert_eq!(inbox["from"]["watch"], "defaults, stakeout.yaml:5:3");
}

#[test]
fn an_explanation_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let text = "mqtt: { url: mqtt://h, username: me, password: hunter2 }\nlabel_sets: { porch: { labels: [person, dog] } }\n\
                sources: { door: { rtsp: 'rtsp://viewer:hunter2@h/s', watch: [porch] } }\n";
    fs::write(folder.path().join("stakeout.yaml"), text).unwrap();
    for format in ["text", "json"] {
        let arguments = ["check", "--offline", "--config", "stakeout.yaml", "--explain", "--format", format];
        let output = stakeout().args(arguments).current_dir(folder.path()).output().unwrap();
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(log.contains("This is a photo of dog.") && !log.contains("hunter2"), "{log}");
    }
}

/// A configuration with every key.
const EVERYTHING: &str = r#"
x-camera: &camera
  username: viewer
  password: hunter2
  tls: { ca: ca.pem }
  regions: { step: [0, 0, 1, 1] }
  baseline: { over: 5m }
  watch: [porch]
model: { id: org/name, variant: int8, onnx: org/name-onnx, revision: main }
device: cuda
threads: 2
max_batch: 4
gpu_memory: 2GB
onnxruntime: /usr/lib/libonnxruntime.so
state_dir: state
max_pixels: 1_000_000
memory: 1GB
sandbox: off
mqtt: &broker
  url: mqtts://broker.lan
  version: 5
  username: me
  password: hunter2
  prefix: home
  client_id: eye
  keep_alive: 30s
  message_expiry: 1d
  heartbeat: 1m
  near_misses: true
  commands: true
  tls: { ca: ca.pem, certificate: me.pem, key: me.key, alpn: [mqtt] }
home_assistant: { discovery_prefix: homeassistant, name: Eye }
outbox: { max_size: 10MB, max_snapshots: 20MB, max_age: 1d }
webhook: { url: https://example.org/alerts, secret: hunter2hunter2hunter2, token: hunter2hunter2hunter2, timeout: 5s }
command: { run: [/bin/true, --loud], timeout: 5s }
listen: { address: 0.0.0.0:9464, token: hunter2hunter2hunter2hunter2hunter2, tls: { cert: cert.pem, key: key.pem } }
label_sets:
  porch:
    template: a photo of {}
    scoring: auto
    background: [an empty porch]
    labels:
      person: { prompts: [a person], threshold: 0.7, clear_below: 0.5, hold: 2 of 3, for: 1s, cooldown: 5s, severity: warning,
        message: "{label}", active: sat, regions: [step], home_assistant: { name: Person, icon: mdi:dog, device_class: motion } }
    rules:
      crowd: { when: person, hold: 2 of 3, for: 1s, cooldown: 5s, severity: info, message: "{label}", active: sat,
        home_assistant: { name: Crowd, icon: mdi:dog, device_class: motion } }
  street: { templates: [plain, "a photo of {}"], background: [a street], labels: { car: { rise: 0.2, clear_rise: 0.1 } } }
  unused: { labels: [cat, dog] }
sources:
  inbox:
    folder: inbox
    existing: process
    after: { move: done }
    poll: 5s
    regions: { step: [0, 0, 0.5, 0.5] }
    grid: 2x3
    watch: [porch, street]
    scores: true
    baseline: { over: 5m }
  door: { rtsp: 'rtsps://10.0.0.2/s', <<: *camera }
  film: { video: 'https://10.0.0.2/s', <<: *camera }
  gate: { http: 'https://10.0.0.2/s', <<: *camera }
  frigate:
    mqtt: [frigate/+/person/snapshot]
    name: "frigate-{1}-{name}"
    json: { picture: /image, time: /time, name: /camera }
    share: farm
    max_packet: 1MiB
    max_sources: 3
    broker: *broker
    regions: { step: [0, 0, 1, 1] }
    baseline: { over: 5m }
    watch: [porch]
"#;

/// What [`EVERYTHING`] cannot have beside its own lines: each is a line, and what takes its place.
const INSTEAD: [(&str, &str); 2] = [
    (
        "model: { id: org/name, variant: int8, onnx: org/name-onnx, revision: main }\ndevice: cuda\n",
        "device: { plugin: plugin.so, device: 1, options: { precision: fast } }\n",
    ),
    (
        "revision: main }\ndevice: cuda\nthreads: 2\nmax_batch: 4\ngpu_memory: 2GB\n",
        "server: grpcs://gpu.lan:8001, name: clip, token: hunter2, timeout: 5s, in_flight: 2, tls: { verify: false } }\n",
    ),
];

/// The keys of `schema` that are in none of `values`, which are the same part of one or several explanations.
fn missing_keys(schema: &Value, values: &[&Value], path: &str, missing: &mut BTreeSet<String>) {
    let alternatives = schema["anyOf"].as_array().cloned();
    for form in alternatives.unwrap_or_else(|| vec![schema.clone()]) {
        // The kinds of sources are alternatives, each with the key that names it as its title.
        let kind = form["title"].as_str().filter(|_| schema.get("anyOf").is_some());
        let objects: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
        let objects: Vec<_> =
            objects.into_iter().filter(|it| kind.is_none_or(|kind| it.contains_key(kind))).collect();
        // The sources show what they take from `defaults`.
        let shown =
            form["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "defaults");
        for (key, form) in shown {
            let path = format!("{path}.{key}");
            let found: Vec<_> = objects.iter().filter_map(|object| object.get(key)).collect();
            if found.is_empty() {
                missing.insert(path);
            } else if !["label_sets", "sources", "watch"].contains(&&**key) {
                missing_keys(form, &found, &path, missing);
            }
        }
        if form["additionalProperties"].is_object() {
            let found: Vec<_> = objects.iter().flat_map(|object| object.values()).collect();
            missing_keys(&form["additionalProperties"], &found, &format!("{path}.NAME"), missing);
        }
    }
}

/// The keys are those of the schema, which is derived from the same descriptors as the explanation.
#[test]
fn every_key_and_every_topic_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stakeout.yaml"), EVERYTHING).unwrap();
    let run = |arguments: &[&str]| {
        let output = stakeout().args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let explain = || {
        let text = run(&["check", "--offline", "--config", "stakeout.yaml", "--explain", "--format", "json"]);
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    let text = explain();
    let (explained, schema): (Value, Value) =
        (serde_json::from_str(&text).unwrap(), serde_json::from_str(&run(&["schema"])).unwrap());
    let others = INSTEAD.map(|(line, other)| {
        assert!(EVERYTHING.contains(line), "{line}");
        fs::write(folder.path().join("stakeout.yaml"), EVERYTHING.replace(line, other)).unwrap();
        serde_json::from_str::<Value>(&explain()).unwrap()
    });

    let mut missing = BTreeSet::new();
    missing_keys(&schema, &[&explained, &others[0], &others[1]], "", &mut missing);
    let sources = explained["sources"].as_object().unwrap();
    let schema_of = |key: &str| &schema["properties"][key];
    missing_keys(schema_of("sources"), &[&explained["sources"]], "sources", &mut missing);
    let sets: Vec<_> = sources.values().map(|source| &source["label_sets"]).collect();
    missing_keys(schema_of("label_sets"), &sets, "label_sets", &mut missing);
    assert!(missing.is_empty(), "the explanation lacks {missing:#?}");
    assert_eq!(explained["label_sets"]["unused"]["watched_by"], serde_json::json!([]));

    // The table of topics is complete: another test compares it with the program.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/topics.md")).unwrap();
    let table = page.split("## What is published").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let topics = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut number = 0;
    for topic in topics {
        let topic =
            topic.replace("<source>", "inbox").replace("<label_set>", "porch").replace("<label>", "person");
        let topic = if topic.ends_with("/info") { topic.replace("inbox", "door") } else { topic };
        assert!(text.contains(&format!("\"home/{topic}\"")), "{topic} is not in {text}");
        number += 1;
    }
    assert!(number >= 11, "{number}");
    for topic in ["$share/farm/frigate/+/person/snapshot", "homeassistant/status"] {
        assert!(text.contains(&format!("\"{topic}\"")), "{topic} is not in {text}");
    }
    assert!(text.contains("\"homeassistant/device/"), "{text}");
}

/// Keys that start with `x-` are a place for anchors. A name of one's own may start so, too, if it has no anchor.
#[test]
fn keys_that_start_with_x_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let text = "x-camera: &camera { every: 2s, watch: [porch], scores: true }\n\
                x-anything: [{ at: all }, 7]\n\
                mqtt: { url: mqtt://localhost, x-note: the broker in the cellar }\n\
                label_sets:\n  x-usual: &usual { background: [an empty porch], x-note: { a: b } }\n  \
                porch:\n    <<: *usual\n    labels:\n      x-strict: &strict { threshold: 0.9 }\n      \
                person: *strict\n      x-ray machine: 0.7\n\
                sources:\n  x-folder: &folder { existing: process }\n  \
                front: { <<: *camera, rtsp: 'rtsp://10.0.0.2/s' }\n  \
                x-inbox: { <<: *folder, folder: ., watch: [porch] }\n";
    fs::write(folder.path().join("stakeout.yaml"), text).unwrap();
    let arguments = ["check", "--offline", "--config", "stakeout.yaml", "--explain", "--format", "json"];
    let output = stakeout().args(arguments).current_dir(folder.path()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(log, "ok: 2 sources, 1 label set, 2 labels\n");
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["sources"]["front"]["every"], "2s");
    assert_eq!(explained["sources"]["x-inbox"]["existing"], "process");
    let labels = &explained["sources"]["front"]["label_sets"]["porch"]["labels"];
    assert_eq!(labels["person"]["threshold"], 0.9);
    assert_eq!(labels["x-ray machine"]["threshold"], 0.7);
}
