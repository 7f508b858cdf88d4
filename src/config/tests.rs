//! The values of valid files, and that no text makes the reader panic. The messages of mistakes are tested in `tests/it/check.rs`.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{load::load_in, *};
use crate::{
    picture::Limits,
    policy::{
        HistoryPictures, HistorySettings, Hold, Label, LabelRule, LabelSet, Look, Scoring, Severity,
        TriggerSettings,
    },
    yaml::{
        Places,
        error::Problems,
        fields::{Default, Form, Spec, specs},
        reader::Surroundings,
    },
};

const EXAMPLE: &str = include_str!("../../config/stakeout.yaml");
const REFERENCE: &str = include_str!("../../config/reference.yaml");
const SMALL: &str = "mqtt: { url: mqtt://broker }
label_sets: { porch: { labels: [person] } }
sources: { inbox: { folder: inbox, watch: [porch] } }
";

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load_from(folder: &Path, env: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    load_in(
        &folder.join("stakeout.yaml"),
        &Surroundings { env: &env, hostname: "host", superuser: true, unseen: false },
    )
}

fn load_text(text: &str) -> Config {
    let folder = folder_with(&[("stakeout.yaml", text)]);
    load_from(folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn label(name: &str, prompts: &[&str], rule: TriggerSettings) -> Label {
    let prompts = prompts.iter().map(|&prompt| prompt.to_owned()).collect();
    Label { prompts, ..Label::new(name, rule) }
}

fn rule(threshold: f32) -> TriggerSettings {
    TriggerSettings::at(threshold)
}

#[test]
fn a_new_service_watches_nothing() {
    let config = load_text("mqtt: { url: mqtt://broker }\nlabel_sets: {}\nsources: {}\n");
    assert_eq!((config.sources.len(), config.label_sets.len()), (0, 0));
    for text in
        ["label_sets:\nsources: {}\n", "label_sets: {}\nsources:\n", "sources: {}\n", "label_sets: {}\n"]
    {
        let folder = folder_with(&[("stakeout.yaml", &format!("mqtt: {{ url: mqtt://broker }}\n{text}"))]);
        assert!(load_from(folder.path(), &[]).is_err(), "{text}");
    }
}

#[test]
fn absent_keys_have_the_documented_defaults() {
    let folder = folder_with(&[("stakeout.yaml", SMALL)]);
    let Loaded { config, .. } = load_from(folder.path(), &[]).unwrap();
    let expected = Config {
        instance: "stakeout-host".to_owned(),
        model: ModelRef::Bundled,
        model_server: None,
        execution: Execution::default(),
        canary: Some(Duration::from_secs(3600)),
        onnxruntime: None,
        mqtt: Mqtt {
            host: "broker".to_owned(),
            port: 1883,
            tls: false,
            username: None,
            password: None,
            prefix: "stakeout".to_owned(),
            client_id: "stakeout-host".to_owned(),
            connection: MqttConnection::default(),
            commands: false,
            near_misses: false,
        },
        webhook: None,
        command: None,
        outbox: OutboxLimits::default(),
        home_assistant: None,
        history: Some(HistorySettings::default()),
        listen: None,
        state_dir: "/var/lib/stakeout".into(),
        max_pixels: 100_000_000,
        memory: 512_000_000,
        sandbox: true,
        label_sets: vec![LabelSet::new(
            "porch",
            "This is a photo of {}.".parse().unwrap(),
            vec![label("person", &["person"], rule(0.5))],
        )],
        sources: vec![Source {
            name: "inbox".to_owned(),
            kind: SourceKind::Folder(Folder::at(folder.path().join("inbox"))),
            enabled: true,
            mask: vec![],
            regions: vec![],
            watch: vec!["porch".to_owned()],
            adjusted: vec![],
            controlled: vec![],
            scores: false,
            baseline: None,
            look: DeviceLook::default(),
            location: None,
            area: None,
        }],
        names: std::sync::Arc::clone(&config.names),
        controls: crate::policy::Controls::default(),
    };
    assert_eq!(config, expected);
}

#[test]
fn the_example_watches_a_folder_with_the_bundled_model() {
    let config = load_text(EXAMPLE);
    assert_eq!(config.model, ModelRef::Bundled);
    assert_eq!((&*config.mqtt.host, config.mqtt.port), ("localhost", 1883));
    let [set] = &config.label_sets[..] else { panic!("{:?}", config.label_sets) };
    assert!(!set.background.is_empty(), "one label alone would always score 1");
    let [source] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert_eq!(source.watch, std::slice::from_ref(&set.name));
}

/// The fields below a form.
fn below(form: &Form, found: &mut Vec<&'static Spec>) {
    let mut all = |fields: Vec<&'static Spec>| {
        for spec in fields {
            found.push(spec);
            below(&spec.form, found);
        }
    };
    match form {
        Form::Mapping(table) => all((table.fields)()),
        Form::Kinds(kinds) => kinds().into_iter().for_each(|kind| all(kind.fields)),
        Form::List(form) | Form::OneOrMore(form) | Form::Named(form) => below(form, found),
        Form::Either(forms) => forms.iter().for_each(|form| below(form, found)),
        _ => {}
    }
}

#[test]
fn the_reference_shows_every_key_and_its_default() {
    let mut found = specs(assemble::FIELDS);
    found.iter().map(|spec| spec.form).collect::<Vec<_>>().iter().for_each(|form| below(form, &mut found));
    assert!(found.len() > 100, "{}", found.len());
    for spec in found {
        let line = match spec.default {
            Default::Value(value) => format!("{}: {value}", spec.key),
            _ => format!("{}:", spec.key),
        };
        assert!(REFERENCE.contains(&line), "{line} is missing");
    }
    let config = load_text(REFERENCE);
    let porch = &config.label_sets[0];
    assert_eq!(porch.templates, ["This is a photo of {}.".parse().unwrap()]);
    assert_eq!(porch.labels[0], label("person", &["person"], rule(0.7)));
    assert_eq!(porch.labels[1], label("dog", &["dog"], rule(0.5)));
    assert_eq!(porch.labels[2].trigger, rule(0.5), "the long form of the defaults");
    let SourceKind::Folder(folder) = &config.sources[0].kind else { panic!("a folder") };
    assert_eq!((folder.existing, &folder.after), (Existing::Skip, &After::Keep));

    let plain = load_text(SMALL);
    assert_eq!(
        (config.model, Execution { threads: None, ..config.execution }, config.max_pixels),
        (plain.model, plain.execution, plain.max_pixels)
    );
    assert_eq!((config.state_dir, config.mqtt.prefix), (plain.state_dir, plain.mqtt.prefix));
    assert_eq!(config.outbox, plain.outbox);
    assert_eq!(config.history, plain.history);
}

#[test]
fn every_default_is_valid() {
    let text = "
mqtt: { url: mqtt://broker }
outbox: {}
history: {}
webhook: { url: 'http://h' }
command: { run: [a] }
home_assistant: {}
model: { id: bundled }
label_sets: { porch: { labels: { person: {} } } }
sources:
  a: { folder: a, watch: [porch] }
  b: { rtsp: 'rtsp://h', watch: [porch] }
  c: { video: a.mp4, watch: [porch] }
  d: { http: 'http://h', watch: [porch], baseline: {} }
  e: { mqtt: a, watch: [porch] }
";
    let config = load_text(text);
    assert_eq!(config.outbox, OutboxLimits::default());
    assert_eq!(config.history, Some(HistorySettings::default()));
    assert_eq!(config.sources[3].baseline, Some(Duration::from_secs(600)));
    assert_eq!(config.label_sets[0].labels[0], label("person", &["person"], rule(0.5)));
}

#[test]
fn every_key_is_read() {
    let text = r#"
model: ./clip
device: cuda:1
threads: 2
max_batch: 16
gpu_memory: 2GB
onnxruntime: ~/ort.so
state_dir: state
max_pixels: 40_000_000
memory: 1GB
home_assistant: { discovery_prefix: ha, name: Eyes }
mqtt:
  url: mqtts://${env:BROKER}
  username: me
  password: ${file:secret}
  prefix: home/eye
label_sets:
  porch:
    template: a security camera photo of {}
    background: [an empty porch, "costs $${env:X}"]
    labels:
      person: 0.75
      dog: ~
      package: &strict
        prompts: [a parcel, a box]
        threshold: "0.5"
        clear_below: 0.25
        hold: 2 of 3
        for: 10s
        cooldown: 1m30s
        home_assistant: { name: Parcel, icon: mdi:package-variant, device_class: occupancy }
      bicycle: { <<: *strict, threshold: 1, prompts: [a bicycle] }
sources:
  inbox:
    folder: /pictures
    existing: process
    after: { move: /pictures/../done }
    poll: 5s
    regions: { step: [0.7, 0, 0.3, 1] }
    watch: [porch]
  trash: { folder: ./trash, after: delete, watch: [porch], scores: true }
  door:
    rtsp: rtsp://${env:CAMERA}
    every: 500ms
    decode: key_frames
    transport: udp
    stall_after: 5s
    watch: [porch]
  day: { video: day.mp4, pace: full, decode: all, watch: [porch] }
  news: { video: "https://h/live.m3u8", watch: [porch] }
  gate: { http: "http://h/a.jpg", username: me, password: "${file:secret}", every: 5s, timeout: 3s, watch: [porch] }
"#;
    let folder = folder_with(&[("stakeout.yaml", text), ("secret", "pass word\n")]);
    let env = [
        ("BROKER", "broker.lan:9000"),
        ("HOME", "/home/me"),
        ("STATE_DIRECTORY", "/ignored"),
        ("CAMERA", "me:hunter2@h/s"),
    ];
    let Loaded { config, places, .. } = load_from(folder.path(), &env).unwrap();

    assert_eq!(config.model, ModelRef::Folder(folder.path().join("clip"), Variant::Auto));
    let execution = Execution {
        device: Device::Cuda(1),
        precision: Precision::Auto,
        threads: Some(2),
        max_batch: 16,
        gpu_memory: Some(2_000_000_000),
    };
    assert_eq!((config.execution, config.max_pixels), (execution, 40_000_000));
    assert_eq!(config.limits(), Limits { max_pixels: 40_000_000, memory: 1_000_000_000 });
    assert_eq!(config.onnxruntime.as_deref(), Some(Path::new("/home/me/ort.so")));
    assert_eq!(config.state_dir, folder.path().join("state"));
    let mqtt = &config.mqtt;
    assert_eq!((&*mqtt.host, mqtt.port, mqtt.tls, &*mqtt.prefix), ("broker.lan", 9000, true, "home/eye"));
    assert_eq!((mqtt.username.as_deref(), &*mqtt.client_id), (Some("me"), "home-eye-host"));
    assert_eq!(mqtt.password.as_ref().map(Secret::reveal), Some("pass word"));
    assert!(!format!("{config:?}").contains("pass word"));

    let strict = TriggerSettings {
        threshold: 0.5,
        clear_below: 0.25,
        rises: false,
        hold: Hold { frames: 2, of: 3 },
        lasting: Duration::from_secs(10),
        cooldown: Duration::from_secs(90),
    };
    let porch = &config.label_sets[0];
    assert_eq!(porch.background[1], "costs ${env:X}");
    assert_eq!(porch.labels[0], label("person", &["person"], rule(0.75)));
    assert_eq!(porch.labels[1], label("dog", &["dog"], rule(0.5)));
    let look = Look {
        name: Some("Parcel".to_owned()),
        icon: Some("mdi:package-variant".to_owned()),
        device_class: Some("occupancy"),
    };
    let looks = |label: Label| Label { look: look.clone(), ..label };
    assert_eq!(porch.labels[2], looks(label("package", &["a parcel", "a box"], strict)));
    assert_eq!(
        porch.labels[3],
        looks(label("bicycle", &["a bicycle"], TriggerSettings { threshold: 1.0, ..strict }))
    );

    let SourceKind::Folder(inbox) = &config.sources[0].kind else { panic!("a folder") };
    let moved = After::Move("/pictures/../done".into());
    let poll = Some(Duration::from_secs(5));
    let expected = Folder { existing: Existing::Process, after: moved, poll, ..Folder::at("/pictures") };
    assert_eq!(inbox, &expected);
    let [region] = &config.sources[0].regions[..] else { panic!("one region") };
    assert!(region.x + region.width <= 1.0 && (region.width - 0.3).abs() < 1e-9);
    let SourceKind::Folder(trash) = &config.sources[1].kind else { panic!("a folder") };
    assert!(config.sources[1].scores && !config.sources[0].scores);
    assert_eq!((&trash.path, &trash.after), (&folder.path().join("trash"), &After::Delete));
    cameras(&config, folder.path());

    later_problems_have_the_place_of_their_setting(&places);
}

fn cameras(config: &Config, folder: &Path) {
    let [_, _, door, day, news, gate] = &config.sources[..] else { panic!("six sources") };
    let second = Duration::from_secs(1);
    let SourceKind::Stream(door) = &door.kind else { panic!("a stream") };
    let Input::Rtsp(address) = &door.input else { panic!("a camera") };
    assert_eq!((address.login(), &*address.to_string()), (Some(("me", "hunter2")), "rtsp://h/s"));
    assert_eq!((door.every, door.stall_after), (second / 2, 5 * second));
    assert_eq!((door.decode, door.transport), (Decode::KeyFrames, Some(Transport::Udp)));
    let SourceKind::Stream(day) = &day.kind else { panic!("a stream") };
    assert_eq!((&day.input, day.pace), (&Input::File(folder.join("day.mp4")), Pace::Full));
    let SourceKind::Stream(news) = &news.kind else { panic!("a stream") };
    assert!(matches!(&news.input, Input::Url(address) if address.reveal() == "https://h/live.m3u8"));
    assert_eq!(
        (news.every, news.decode, news.pace, news.stall_after),
        (second, Decode::Auto, Pace::Real, 20 * second)
    );
    let SourceKind::Http(gate) = &gate.kind else { panic!("a picture") };
    assert_eq!(
        (gate.address.login(), gate.every, gate.timeout),
        (Some(("me", "pass word")), 5 * second, 3 * second)
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("pass word"), "{shown}");
}

fn later_problems_have_the_place_of_their_setting(places: &Places) {
    let cases = [
        ("model", "stakeout.yaml:2:8"),
        ("mqtt.password", "stakeout.yaml:15:13"),
        ("label_sets.porch", "stakeout.yaml:18:3"),
        ("label_sets.porch.background.1", "stakeout.yaml:20:34"),
        ("label_sets.porch.labels.person", "stakeout.yaml:22:7"),
        ("label_sets.porch.labels.package.prompts.1", "stakeout.yaml:25:29"),
        ("sources.trash.folder", "stakeout.yaml:41:20"),
        ("sources.trash.poll", "stakeout.yaml:41:3"),
        ("nothing.of.this", "stakeout.yaml\n"),
    ];
    for (path, place) in cases {
        let shown = places.problem(path, "it does not suit", "change it").to_string();
        assert!(shown.starts_with("error: it does not suit\n") && shown.contains(place), "{path}: {shown}");
        assert!(shown.ends_with("= help: change it"), "{shown}");
    }
}

#[test]
fn the_history_is_on_off_or_has_settings() {
    let with = |history: &str| load_text(&format!("{SMALL}history: {history}")).history;
    let all = "{ keep: 7d, max_size: 500MB, pictures: changes, search: true, near_misses: false }";
    let expected = HistorySettings {
        keep: Duration::from_secs(7 * 86_400),
        max_size: 500_000_000,
        pictures: HistoryPictures::Changes,
        search: true,
        near_misses: false,
    };
    let usual = HistorySettings::default();
    for (history, expected) in [
        ("off", None),
        ("on", Some(usual)),
        (all, Some(expected)),
        ("{ pictures: off }", Some(HistorySettings { pictures: HistoryPictures::Off, ..usual })),
    ] {
        assert_eq!(with(history), expected, "{history}");
    }
    let config = load_text(&SMALL.replace("broker }", "broker, commands: true, near_misses: true }"));
    assert!(config.mqtt.commands && config.mqtt.near_misses);
}

#[test]
fn a_mask_is_one_polygon_or_several() {
    let text = "
mqtt: { url: mqtt://broker }
label_sets: { porch: { labels: [person] } }
sources:
  none: { folder: a, watch: [porch] }
  one: { folder: a, watch: [porch], mask: [[0, 0], [0.5, 0], [0.5, 1.0]] }
  several:
    folder: a
    mask:
      - [[0, 0], [1, 0], [1, 1], [0, 1]]
      - - [0.1, 0.1]
        - [0.2, 0.1]
        - [0.1, .2]
    watch: [porch]
";
    let config = load_text(text);
    let corners = |source: usize| -> Vec<Vec<[f64; 2]>> {
        config.sources[source].mask.iter().map(|polygon| polygon.corners().to_vec()).collect()
    };
    assert!(corners(0).is_empty());
    assert_eq!(corners(1), [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]]);
    let square = vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    assert_eq!(corners(2), [square, vec![[0.1, 0.1], [0.2, 0.1], [0.1, 0.2]]]);
}

#[test]
fn a_label_can_be_different_on_a_source() {
    let text = r#"
mqtt: { url: mqtt://broker }
label_sets:
  porch:
    labels:
      person: 0.7
      dog: { threshold: 0.6, clear_below: 0.4, severity: info, message: "{label}!", active: [sat, "22:00-06:00 UTC"] }
      cat: ~
  yard: { labels: [fox, hen] }
sources:
  inbox: { folder: inbox, watch: [porch, yard] }
  door:
    folder: door
    regions: { step: [0, 0, 1, 1] }
    watch:
      porch: { person: 0.8, dog: { threshold: 0.9, severity: critical, regions: [step] } }
      yard:
"#;
    let config = load_text(text);
    let [porch, yard] = &config.label_sets[..] else { panic!("two label sets") };
    let [inbox, door] = &config.sources[..] else { panic!("two sources") };
    assert_eq!((&inbox.watch, inbox.adjusted.len()), (&door.watch, 0));
    assert_eq!(inbox.label("porch", &porch.labels[0]).trigger, rule(0.7));
    assert_eq!(door.label("porch", &porch.labels[0]).trigger, rule(0.8), "the clear level follows");
    let (dog, here) = (&porch.labels[1], door.label("porch", &porch.labels[1]));
    assert_eq!(dog.severity, Some(Severity::Info));
    assert!(dog.active.is_some() && dog.message.is_some() && dog.regions.is_empty());
    let expected = Label {
        trigger: TriggerSettings { threshold: 0.9, ..dog.trigger },
        severity: Some(Severity::Critical),
        regions: vec!["step".to_owned()],
        ..dog.clone()
    };
    assert_eq!(*here, expected);
    assert_eq!(door.label("porch", &porch.labels[2]), &porch.labels[2]);
    assert_eq!(door.label("yard", &yard.labels[0]), &yard.labels[0]);
}

#[test]
fn a_rule_is_over_labels_of_its_set_and_of_others() {
    let text = r#"
mqtt: { url: mqtt://broker }
label_sets:
  porch:
    labels: [person, big dog, a/b]
    rules:
      stranger: person and not big dog
      visitor:
        when: person and (yard/fox or a/b) and not "big dog"
        hold: 2 of 3
        for: 10s
        cooldown: 5m
        severity: critical
        message: "{label} on {source}"
        active: 22:00-06:00 UTC
        home_assistant: { icon: mdi:account-question }
  yard: { labels: [fox, hen] }
sources:
  inbox: { folder: inbox, watch: [porch, yard] }
  door: { folder: door, watch: { porch: { visitor: { hold: 1 of 2, severity: info } }, yard: } }
"#;
    let config = load_text(text);
    let porch = &config.label_sets[0];
    let [stranger, visitor] = &porch.rules[..] else { panic!("{:?}", porch.rules) };
    let labels = |rule: &LabelRule| {
        let labels = rule.when.labels().into_iter();
        labels.map(|name| format!("{}:{}", name.label_set, name.label)).collect::<Vec<_>>()
    };
    assert_eq!(
        (&*stranger.settings.name, labels(stranger)),
        ("stranger", vec!["porch:person".to_owned(), "porch:big dog".to_owned()])
    );
    assert_eq!(stranger.settings.trigger, rule(0.5));
    assert_eq!(labels(visitor), ["porch:person", "yard:fox", "porch:a/b", "porch:big dog"]);
    let expected = TriggerSettings {
        hold: Hold { frames: 2, of: 3 },
        lasting: Duration::from_secs(10),
        cooldown: Duration::from_secs(300),
        ..rule(0.5)
    };
    assert_eq!((visitor.settings.trigger, visitor.settings.severity), (expected, Some(Severity::Critical)));
    assert!(visitor.settings.prompts.is_empty() && visitor.settings.active.is_some());
    assert_eq!(visitor.settings.look.icon.as_deref(), Some("mdi:account-question"));
    let names: Vec<_> = porch.alerting().map(|label| &*label.name).collect();
    assert_eq!(names, ["person", "big dog", "a/b", "stranger", "visitor"]);
    let here = config.sources[1].label("porch", &visitor.settings);
    assert_eq!((here.trigger.hold, here.severity), (Hold { frames: 1, of: 2 }, Some(Severity::Info)));
    assert_eq!(here.trigger.cooldown, Duration::from_secs(300), "as in the label set");
}

#[test]
fn a_rule_finds_labels_of_a_set_in_another_file() {
    let rules = "label_sets: { yard: { labels: [fox, hen], rules: { both: fox and porch/person } } }\n";
    let main = SMALL.replace("watch: [porch]", "watch: [porch, yard]");
    let folder = folder_with(&[("stakeout.yaml", &main), ("rules.d/yard.yaml", rules)]);
    let config = load_from(folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(config.label_sets[1].rules[0].when.text(), "fox and porch/person");
}

#[test]
fn templates_are_sentences_and_groups() {
    let templates = |typed: &str| {
        let text = SMALL.replace("labels: [person]", &format!("{typed}, labels: [person]"));
        let set = load_text(&text).label_sets.remove(0);
        set.templates.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(templates("template: 'a {0} by a {0}'"), ["a {0} by a {0}"]);
    assert_eq!(templates("templates: 'a photo of {}'"), ["a photo of {}"]);
    let camera = templates("templates: camera");
    assert!(camera.len() > 10 && camera.contains(&"a photo of {} at night".to_owned()), "{camera:?}");
    let mixed = templates("templates: [plain, '{} in our yard', camera, 'a photo of {} at night']");
    assert_eq!(mixed[..2], ["{}", "{} in our yard"]);
    assert_eq!(mixed[2..], camera, "a sentence of two groups counts once");
}

#[test]
fn a_label_set_has_a_scoring() {
    let scoring = |typed: &str| {
        load_text(&SMALL.replace("labels: [person]", &format!("{typed}labels: [person]"))).label_sets[0]
            .scoring
    };
    for (word, expected) in Scoring::WORDS {
        assert_eq!((scoring(&format!("scoring: {word}, ")), expected.word()), (expected, word));
    }
    assert_eq!(scoring(""), Scoring::Auto);
}

#[test]
fn a_source_cannot_take_the_topic_of_the_configuration() {
    let text = EXAMPLE.replace("\n  inbox:", "\n  Config:");
    assert_ne!(text, EXAMPLE);
    let folder = folder_with(&[("stakeout.yaml", &text)]);
    let problems = load_from(folder.path(), &[]).unwrap_err().to_string();
    assert!(problems.contains("a source cannot be called `Config`"), "{problems}");
    assert!(problems.contains("Config:") && problems.contains("1 problem found"), "{problems}");
}

#[test]
fn a_model_is_a_word_a_folder_or_a_hub_id() {
    let folder = folder_with(&[("clip/x", ""), ("org/model/x", "")]);
    let cases = [
        ("bundled", Some(ModelRef::Bundled)),
        ("/models/clip", Some(ModelRef::Folder("/models/clip".into(), Variant::Auto))),
        ("./none", Some(ModelRef::Folder(folder.path().join("none"), Variant::Auto))),
        ("clip", Some(ModelRef::Folder(folder.path().join("clip"), Variant::Auto))),
        ("org/model", Some(ModelRef::Folder(folder.path().join("org/model"), Variant::Auto))),
        (
            "openai/clip-vit-base-patch16",
            Some(ModelRef::Hub(HubModel::named("openai/clip-vit-base-patch16"))),
        ),
        ("clip-b", None),
        ("a/b/c", None),
        ("openai/", None),
    ];
    for (typed, expected) in cases {
        fs::write(folder.path().join("stakeout.yaml"), format!("model: {typed}\n{SMALL}")).unwrap();
        let model = load_from(folder.path(), &[]).ok().map(|loaded| loaded.config.model);
        assert_eq!(model, expected, "{typed}");
    }
}

#[test]
fn a_model_has_a_long_form() {
    let hub = HubModel::named("org/name");
    let half = Variant::Named("fp16");
    let cases = [
        ("{ id: org/name }", ModelRef::Hub(hub.clone())),
        ("{ id: org/name, variant: fp16 }", ModelRef::Hub(HubModel { variant: half, ..hub.clone() })),
        (
            "{ id: org/name, onnx: a/b, revision: refs/pr/1, variant: auto }",
            ModelRef::Hub(HubModel {
                onnx: Some("a/b".to_owned()),
                revision: Some("refs/pr/1".to_owned()),
                ..hub
            }),
        ),
        ("{ id: /models/clip, variant: fp16 }", ModelRef::Folder("/models/clip".into(), half)),
        ("{ id: bundled }", ModelRef::Bundled),
    ];
    for (typed, expected) in cases {
        assert_eq!(load_text(&format!("model: {typed}\n{SMALL}")).model, expected, "{typed}");
    }
    assert_eq!([Variant::parse("auto"), Variant::parse("fp61")], [Some(Variant::Auto), None]);
}

#[test]
fn a_model_has_a_server() {
    let server = |typed: &str| load_text(&format!("model: {typed}\n{SMALL}")).model_server.unwrap();
    let usual = server("{ id: openai/clip-vit-base-patch16, server: grpc://gpu-1:8001 }");
    assert_eq!(
        (&*usual.name, usual.in_flight, usual.timeout),
        ("clip-vit-base-patch16-vision", 4, Duration::from_secs(10))
    );
    assert_eq!(
        (usual.addresses().as_str(), usual.token, usual.tls),
        ("grpc://gpu-1:8001", None, Trust::System)
    );
    let whole = server(
        "{ id: bundled, server: [grpcs://a:1, grpc://b:2], name: clip, token: abc, timeout: 5s, in_flight: 8, \
         tls: { verify: false } }",
    );
    assert_eq!((&*whole.name, whole.in_flight, whole.timeout), ("clip", 8, Duration::from_secs(5)));
    assert_eq!((whole.addresses().as_str(), &whole.tls), ("grpcs://a:1, grpc://b:2", &Trust::Unverified));
    assert_eq!(whole.token.unwrap().reveal(), "abc");

    let hub = load_text(&format!("model: {{ id: org/name, server: grpc://a:1 }}\n{SMALL}")).model;
    assert_eq!(hub, ModelRef::Hub(HubModel { text_only: true, ..HubModel::named("org/name") }));
    assert_eq!(load_text(&format!("model: {{ id: org/name }}\n{SMALL}")).model_server, None);
}

#[test]
fn a_device_may_be_a_plugin() {
    let folder = folder_with(&[(
        "stakeout.yaml",
        &format!(
            "device: {{ plugin: p.so, device: 2, options: {{ a: b, c: 1 }} }}\nprecision: bf16\ncanary: off\n{SMALL}"
        ),
    )]);
    let Loaded { config, .. } = load_from(folder.path(), &[]).unwrap();
    let Device::Plugin(custom) = config.execution.device else { panic!("{:?}", config.execution) };
    assert_eq!((custom.library.clone(), custom.device), (folder.path().join("p.so"), 2));
    let options = [("a", "b"), ("c", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(custom.options, options);
    assert_eq!((config.execution.precision, config.canary), (Precision::Bf16, None));
    let canary = |typed: &str| load_text(&format!("canary: {typed}\n{SMALL}")).canary;
    assert_eq!(canary("90s"), Some(Duration::from_secs(90)));
    for wrong in
        ["canary: 59s", "canary: 25h", "device: {}", "device: { plugin: a, device: 64 }", "precision: int8"]
    {
        let folder = folder_with(&[("stakeout.yaml", &format!("{wrong}\n{SMALL}"))]);
        assert!(load_from(folder.path(), &[]).is_err(), "{wrong}");
    }
}

#[test]
fn each_device_has_a_preferred_variant() {
    use Device::{Auto, CoreMl, Cpu, Cuda, DirectMl, MiGraphX, Rocm, TensorRt};
    let openvino = [OpenVino::Default, OpenVino::Cpu, OpenVino::Gpu(0), OpenVino::Npu].map(Device::OpenVino);
    let [default, processor, gpu, npu] = openvino;
    for device in [Auto, Cpu, default, processor] {
        let choices = Variant::Auto.choices(device);
        assert_eq!(choices[..3], ["fp32", "fp16", "bf16"], "{device}");
        assert_eq!(choices, Variant::NAMES, "{device}");
    }
    let plugins = [Device::TensorRtRtx(0), Device::WebGpu(0), Device::Qnn];
    for device in
        [Cuda(1), TensorRt(0), Rocm(0), MiGraphX(0), gpu, npu, CoreMl, DirectMl(0)].into_iter().chain(plugins)
    {
        let choices = Variant::Auto.choices(device);
        assert_eq!(choices[..3], ["fp16", "fp32", "bf16"], "{device}");
        assert_eq!(choices.len(), Variant::NAMES.len(), "{device}");
        assert_eq!(Variant::Named("int8").choices(device), ["int8"], "a named variant is not changed");
    }
    for (name, suffix) in [("fp32", ""), ("fp16", "_fp16")] {
        assert_eq!((Variant::suffix(name).as_str(), Variant::of_suffix(suffix)), (suffix, name));
    }
}

#[test]
fn a_user_has_a_state_folder_of_their_own() {
    let folder = folder_with(&[("stakeout.yaml", SMALL)]);
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("HOME", "/home/me")], "/home/me/.local/state/stakeout"),
        (&[("HOME", "/home/me"), ("XDG_STATE_HOME", "/state")], "/state/stakeout"),
        (&[("HOME", "/home/me"), ("STATE_DIRECTORY", "/given")], "/given"),
        (&[], "/var/lib/stakeout"),
    ];
    for (env, expected) in cases {
        let env =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let surroundings = Surroundings { env: &env, hostname: "host", superuser: false, unseen: false };
        let loaded = load_in(&folder.path().join("stakeout.yaml"), &surroundings).unwrap();
        assert_eq!(loaded.config.state_dir, Path::new(expected));
    }
}

#[test]
fn no_source_uses_the_state_folder_whatever_path_leads_there() {
    let load = |source: &str, state_dir: &str| {
        let text = SMALL.replace("folder: inbox", source);
        let folder = folder_with(&[("stakeout.yaml", &format!("state_dir: {state_dir}\n{text}"))]);
        for made in ["state/deep", "pictures"] {
            fs::create_dir_all(folder.path().join(made)).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("state"), folder.path().join("pictures/link")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("pictures"), folder.path().join("state/moved"))
            .unwrap();
        load_from(folder.path(), &[]).map(|_| ()).map_err(|problems| problems.to_string())
    };
    let cases = [
        ("folder: pictures", true),
        ("folder: state2", true),
        ("folder: state/moved", true),
        ("folder: state", false),
        ("folder: state/deep", false),
        ("folder: ./pictures/../state/new", false),
        ("folder: pictures/link/deep", false),
        ("folder: pictures, after: { move: state }", false),
        ("folder: pictures, after: { move: pictures/link/new/deeper }", false),
        ("folder: pictures, after: { move: pictures/done }", true),
        ("video: state/day.mp4", false),
        ("video: pictures/day.mp4", true),
        ("video: \"http://h/state/day.mp4\"", true),
    ];
    for (source, is_good) in cases {
        for state_dir in ["state", "pictures/link", "./other/../state/"] {
            let loaded = load(source, state_dir);
            assert_eq!(loaded.is_ok(), is_good, "{source}, state_dir: {state_dir}: {loaded:?}");
            assert!(
                loaded.is_ok() || loaded.is_err_and(|text| text.contains("is in `state_dir`")),
                "{source}"
            );
        }
    }
}

#[test]
fn home_assistant_is_off_by_default() {
    let shown = |typed: &str| load_text(&format!("home_assistant: {typed}\n{SMALL}")).home_assistant;
    let expected = |discovery_prefix: &str, name: &str| {
        Some(HomeAssistant {
            discovery_prefix: discovery_prefix.to_owned(),
            name: name.to_owned(),
            suggested_area: None,
            configuration_url: None,
        })
    };
    assert_eq!(shown("false"), None);
    assert_eq!(shown("true"), expected("homeassistant", "stakeout"));
    assert_eq!(shown("{}"), expected("homeassistant", "stakeout"));
    assert_eq!(shown("{ name: The barn }"), expected("homeassistant", "The barn"));
    assert_eq!(shown("{ discovery_prefix: ha/eyes }"), expected("ha/eyes", "stakeout"));
    let placed = shown("{ suggested_area: Hall, configuration_url: 'https://eyes.lan:9464/a?b' }").unwrap();
    assert_eq!(placed.suggested_area.as_deref(), Some("Hall"));
    assert_eq!(
        placed.configuration_url.map(|link| link.reveal().into_owned()).as_deref(),
        Some("https://eyes.lan:9464/a?b")
    );
}

#[test]
fn a_link_in_home_assistant_is_an_address_without_password() {
    for (typed, remedy) in [
        ("camera.lan", "write `http://HOST/PATH`"),
        ("rtsp://camera.lan/", "write `http://` or `https://` or `homeassistant://`"),
        ("http:///x", "write a host after `://`"),
        ("http://me:secret@camera.lan/", "remove user and password"),
    ] {
        let folder = folder_with(&[(
            "stakeout.yaml",
            &format!("home_assistant: {{ configuration_url: '{typed}' }}\n{SMALL}"),
        )]);
        let problems = load_from(folder.path(), &[]).unwrap_err().to_string();
        assert!(problems.contains(remedy) && !problems.contains("secret"), "{problems}");
    }
}

#[test]
fn a_source_has_a_look_in_home_assistant() {
    let text = SMALL.replace(
        "watch: [porch]",
        "watch: [porch], home_assistant: { name: Inbox, suggested_area: Porch, configuration_url: 'http://10.0.0.21/' }",
    );
    assert_ne!(text, SMALL);
    let look = &load_text(&text).sources[0].look;
    assert_eq!((look.name.as_deref(), look.suggested_area.as_deref()), (Some("Inbox"), Some("Porch")));
    assert_eq!(look.configuration_url.as_ref().map(Address::public).as_deref(), Some("http://10.0.0.21/"));
}

#[test]
fn the_state_folder_of_systemd_is_the_default() {
    let folder = folder_with(&[("stakeout.yaml", SMALL)]);
    let loaded = load_from(folder.path(), &[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")]).unwrap();
    assert_eq!(loaded.config.state_dir, Path::new("/var/lib/a"));
}

#[test]
fn label_sets_come_from_rules_too_in_the_order_of_file_names() {
    let set = |name: &str| format!("label_sets: {{ {name}: {{ labels: [cat] }} }}\n");
    let folder = folder_with(&[
        ("stakeout.yaml", SMALL),
        ("rules.d/20-b.yaml", &set("b")),
        ("rules.d/10-a.yaml", &set("a")),
        ("rules.d/30-empty.yaml", "# nothing\n"),
        ("rules.d/.hidden.yaml", "not: read"),
        ("rules.d/README", "not: read"),
    ]);
    let config = load_from(folder.path(), &[]).unwrap().config;
    let names: Vec<_> = config.label_sets.iter().map(|set| &*set.name).collect();
    assert_eq!(names, ["porch", "a", "b"]);
}

#[test]
fn sources_come_from_files_of_their_own_too_in_the_order_of_file_names() {
    let source = |name: &str| format!("sources: {{ {name}: {{ folder: {name}, watch: [porch] }} }}\n");
    let folder = folder_with(&[
        ("stakeout.yaml", SMALL),
        ("sources.d/20-b.yaml", &source("b")),
        ("sources.d/10-a.yaml", &source("a")),
        ("sources.d/30-empty.yaml", "# nothing\n"),
        ("sources.d/.hidden.yaml", "not: read"),
    ]);
    let names = || {
        let config = load_from(folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}")).config;
        config.sources.into_iter().map(|source| source.name).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["inbox", "a", "b"]);
    let SourceKind::Folder(of_a) = &load_from(folder.path(), &[]).unwrap().config.sources[1].kind else {
        panic!("a folder")
    };
    assert_eq!(of_a.path, folder.path().join("a"), "paths start at the folder of the main file");
    let (main, _) = SMALL.split_once("sources:").unwrap();
    fs::write(folder.path().join("stakeout.yaml"), main).unwrap();
    assert_eq!(names(), ["a", "b"], "the main file needs none");
}

#[test]
fn a_source_takes_what_it_has_not_from_the_defaults() {
    let text = "mqtt: { url: mqtt://broker }
label_sets: { porch: { labels: [person] }, yard: { labels: [fox] } }
defaults:
  x-note: not a key
  watch: [porch]
  every: 2s
  area: Outside
  username: viewer
  password: one
  tls: { verify: false }
  unchanged: score
  rtsp: { every: 3s, transport: tcp }
  folder: { existing: process }
sources:
  a: { rtsp: 'rtsp://h/1' }
  b: { rtsp: 'rtsps://me:two@h/2', every: 4s, area: Hall, watch: { yard: { fox: 0.9 } } }
  c: { http: 'http://h/3', username: other }
  d: { folder: d, home_assistant: { suggested_area: Cellar } }
  e: { video: film.mp4 }
  f: { rtsp: 'rtsp://me:two@h/2', unchanged: repeat }
";
    let config = load_text(text);
    let stream = |at: usize| match &config.sources[at].kind {
        SourceKind::Stream(stream) => stream,
        other => panic!("{other:?}"),
    };
    let login = |at: usize| match &stream(at).input {
        Input::Rtsp(address) => address.login().map(|(user, password)| format!("{user}:{password}")),
        _ => None,
    };
    let seconds = Duration::from_secs;
    assert_eq!(
        (stream(0).every, stream(0).transport, stream(0).unchanged),
        (seconds(3), Some(Transport::Tcp), Unchanged::Score)
    );
    assert_eq!(
        (login(0).as_deref(), &stream(0).tls),
        (Some("viewer:one"), &Trust::System),
        "it is without TLS"
    );
    assert_eq!(
        (stream(1).every, login(1).as_deref(), &stream(1).tls),
        (seconds(4), Some("me:two"), &Trust::Unverified)
    );
    let SourceKind::Http(http) = &config.sources[2].kind else { panic!("http") };
    assert_eq!((http.every, http.address.login()), (seconds(2), Some(("other", "one"))));
    let SourceKind::Folder(folder) = &config.sources[3].kind else { panic!("a folder") };
    assert_eq!((folder.every, folder.existing), (seconds(2), Existing::Process));
    assert_eq!((stream(4).every, stream(4).unchanged), (seconds(2), Unchanged::Score));
    assert!(matches!(stream(5).unchanged, Unchanged::Repeat { .. }));
    let watch: Vec<_> = config.sources.iter().map(|source| source.watch.join(" ")).collect();
    assert_eq!(watch, ["porch", "yard", "porch", "porch", "porch", "porch"]);
    let areas = config.sources.iter().map(|it| (it.area.as_deref(), it.look.suggested_area.as_deref()));
    let outside = (Some("Outside"), Some("Outside"));
    let expected =
        [outside, (Some("Hall"), Some("Hall")), outside, (Some("Outside"), Some("Cellar")), outside, outside];
    assert_eq!(areas.collect::<Vec<_>>(), expected);
}

#[test]
fn a_mistake_in_a_default_is_reported_once_whether_it_is_used_or_not() {
    let with = |defaults: &str, sources: &str| {
        let text = format!(
            "mqtt: {{ url: mqtt://broker }}\nlabel_sets: {{ porch: {{ labels: [person] }} }}\n{defaults}\nsources: {sources}\n"
        );
        let folder = folder_with(&[("stakeout.yaml", &text)]);
        load_from(folder.path(), &[]).unwrap_err().to_string()
    };
    let many = "{ a: { folder: a, watch: [porch] }, b: { folder: b, watch: [porch] } }";
    for sources in ["{}", many] {
        let problems = with("defaults: { every: 2, rtsp: { transport: sctp } }", sources);
        assert!(problems.ends_with("\n2 problems found"), "{problems}");
        assert!(
            problems.contains("`every` must be a duration") && problems.contains("`transport` must be"),
            "{problems}"
        );
    }
    let named = with("defaults: { home_assistant: { name: Door } }", many);
    assert!(
        named.contains("the same name in Home Assistant") && named.ends_with("1 problem found"),
        "{named}"
    );
}

#[test]
fn a_service_has_a_name_in_its_alerts() {
    assert_eq!(load_text(SMALL).instance, "stakeout-host");
    assert_eq!(load_text(&format!("instance: gate-pi\n{SMALL}")).instance, "gate-pi");
}

#[test]
fn places_are_not_part_of_the_configuration() {
    assert_eq!(
        load_text(REFERENCE),
        load_text(&format!("\u{feff}# moved\r\n\r\n{}", REFERENCE.replace('\n', "\r\n")))
    );
}

#[test]
fn secrets_are_never_shown() {
    let cases = [
        "mqtt: { url: 'mqtt://me:hunter2@host' }",
        "mqtt: { password: [hunter2] }",
        "mqtt: { password: hunter2, url: }",
        "mqtt:\n  url: mqtt://h\n  password: |\n    hunter2\n\tx",
        "mqtt:\n  pasword: hunter2",
        "mqtt: { url: '${env:URL}' }",
        "mqtt: { url: mqtt://h, prefix: '${env:URL}' }",
        "device: ${env:URL}",
        "password: hunter2: hunter2",
    ];
    for text in cases {
        let folder = folder_with(&[("stakeout.yaml", text)]);
        let shown = load_from(folder.path(), &[("URL", "ws://me:hunter2@host")]).unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[test]
fn hostile_files_are_rejected_in_reasonable_time() {
    let many_keys: String = (0..3_000).map(|i| format!("k{i}: x, ")).collect();
    let long = "x".repeat(100_000);
    let cases = [
        (format!("{{ {many_keys} }}"), "problems found; there may be more"),
        (many_keys.replace(", ", "\n"), "problems found; there may be more"),
        (format!("a: &a {long}\nb: [{}]", "*a, ".repeat(20_000)), "more than 50000 values"),
        (format!("{}x", "? ".repeat(1000)), "nested too deeply"),
        (format!("{}x", "- ".repeat(1000)), "nested too deeply"),
        ("{".repeat(100_000), "nested too deeply"),
        ("&a ".repeat(50_000), "not YAML"),
    ];
    for (text, expected) in cases {
        let folder = folder_with(&[("stakeout.yaml", &text)]);
        let begin = std::time::Instant::now();
        let shown = load_from(folder.path(), &[]).unwrap_err().to_string();
        assert!(shown.contains(expected), "{expected}: {}", shown.chars().take(1000).collect::<String>());
        assert!(begin.elapsed() < Duration::from_secs(120), "{expected} took {:?}", begin.elapsed());
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let folder = folder_with(&[("stakeout.yaml", &text)]);
        let shown = load_from(folder.path(), &[]).map(|loaded| loaded.config).map_err(|problems| problems.to_string());
        prop_assert!(shown.is_err());
    }

    #[test]
    fn no_change_of_a_valid_file_makes_it_panic(
        at in 0..REFERENCE.len(),
        length in 0usize..40,
        new in prop_oneof!["(?s).{0,8}", "[-:{}\\[\\]\"'&*!|>%@,?#~\t\n $]{0,6}", Just("${".to_owned())],
    ) {
        let floor = |at: usize| (0..=at.min(REFERENCE.len())).rev().find(|at| REFERENCE.is_char_boundary(*at)).unwrap();
        let text = format!("{}{new}{}", &REFERENCE[..floor(at)], &REFERENCE[floor(at + length)..]);
        let folder = folder_with(&[("stakeout.yaml", &text)]);
        if let Err(problems) = load_from(folder.path(), &[]) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}

#[test]
fn a_label_with_a_rise_is_cleared_at_half_of_it_by_default() {
    let text = "mqtt: { url: mqtt://broker }
label_sets:
  porch:
    labels:
      person: { rise: 0.2 }
      dog: { rise: 0.4, clear_rise: 0.3 }
      cat: 0.7
sources:
  door: { folder: a, baseline: true, watch: [porch] }
  gate:
    folder: b
    baseline: { over: 1h }
    watch: { porch: { person: { rise: 0.3 }, dog: 0.6, cat: { rise: 0.1, hold: 2 of 3 } } }
  back: { folder: c, baseline: false, watch: { porch: { person: 0.6, dog: { threshold: 0.5 } } } }
";
    let config = load_text(text);
    let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
    let over: Vec<_> = config.sources.iter().map(|source| source.baseline).collect();
    assert_eq!(over, [minutes(10), minutes(60), None]);
    let shown = |source: usize| {
        let rule = |label: &Label| {
            let rule = config.sources[source].label("porch", label).trigger;
            (rule.rises, rule.threshold, rule.clear_below)
        };
        config.label_sets[0].labels.iter().map(rule).collect::<Vec<_>>()
    };
    assert_eq!(shown(0), [(true, 0.2, 0.1), (true, 0.4, 0.3), (false, 0.7, 0.7)]);
    assert_eq!(shown(1), [(true, 0.3, 0.15), (false, 0.6, 0.6), (true, 0.1, 0.05)]);
    assert_eq!(shown(2), [(false, 0.6, 0.6), (false, 0.5, 0.5), (false, 0.7, 0.7)]);
}
