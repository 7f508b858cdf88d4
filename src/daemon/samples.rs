//! A configuration for the tests of decisions.

use std::time::Duration;

use crate::config::{
    After, Config, Device, Existing, Folder, Hold, Label, LabelSet, ModelRef, Mqtt, Rule, Source, SourceKind,
};

pub(super) fn label(name: &str, threshold: f32) -> Label {
    let hold = Hold { frames: 1, of: 1 };
    let rule = Rule { threshold, clear_below: threshold, hold, cooldown: Duration::ZERO };
    Label { name: name.to_owned(), prompts: vec![name.to_owned()], rule }
}

pub(super) fn source(name: &str, watch: &[&str]) -> Source {
    let folder = Folder { path: name.into(), existing: Existing::Skip, after: After::Keep, poll: None };
    let watch = watch.iter().map(ToString::to_string).collect();
    Source {
        name: name.to_owned(),
        kind: SourceKind::Folder(folder),
        regions: Vec::new(),
        watch,
        scores: false,
    }
}

pub(super) fn config() -> Config {
    let label_set = |name: &str, labels| LabelSet {
        name: name.to_owned(),
        template: "a photo of {}".to_owned(),
        background: vec!["an empty porch".to_owned()],
        labels,
    };
    Config {
        model: ModelRef::Bundled,
        device: Device::Cpu,
        threads: None,
        onnxruntime: None,
        mqtt: Mqtt {
            host: "localhost".to_owned(),
            port: 1883,
            tls: false,
            username: None,
            password: None,
            prefix: "home".to_owned(),
            client_id: "stakeout".to_owned(),
        },
        home_assistant: None,
        state_dir: "state".into(),
        max_pixels: 1_000_000,
        label_sets: vec![
            label_set("porch", vec![label("Person", 0.7), label("package", 0.6)]),
            label_set("yard", vec![label("fox", 0.5)]),
        ],
        sources: vec![source("Front Door", &["porch", "yard"]), source("back", &["porch"])],
    }
}
