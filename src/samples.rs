//! A configuration for the tests of decisions.

use std::sync::Arc;

use crate::{
    config::{
        Config, Device, Execution, Folder, ModelRef, Mqtt, MqttConnection, MqttSettings, OutboxLimits,
        Source, SourceKind,
    },
    policy::{Label, LabelSet, NamePattern, TopicFilter, TriggerSettings},
};

pub(super) fn label(name: &str, threshold: f32) -> Label {
    Label::new(name, TriggerSettings::at(threshold))
}

pub(super) fn source(name: &str, watch: &[&str]) -> Source {
    let folder = Folder::at(name);
    let watch = watch.iter().map(ToString::to_string).collect();
    Source {
        name: name.to_owned(),
        kind: SourceKind::Folder(folder),
        enabled: true,
        mask: Vec::new(),
        regions: Vec::new(),
        watch,
        adjusted: Vec::new(),
        controlled: Vec::new(),
        scores: false,
        baseline: None,
        look: crate::config::DeviceLook::default(),
        location: None,
        area: None,
    }
}

pub(super) fn topics(filter: &str, name: Option<&str>) -> MqttSettings {
    MqttSettings {
        filters: vec![TopicFilter::parse(filter).unwrap()],
        name: name.map(|name| NamePattern::parse(name).unwrap()),
        json: None,
        retained: false,
        share: None,
        max_packet: 1 << 20,
        max_sources: 64,
        broker: None,
    }
}

pub(super) fn config() -> Config {
    let label_set = |name: &str, labels| LabelSet {
        background: vec!["an empty porch".to_owned()],
        ..LabelSet::new(name, "a photo of {}".parse().unwrap(), labels)
    };
    Config {
        instance: "stakeout".to_owned(),
        model: ModelRef::Bundled,
        model_server: None,
        execution: Execution { device: Device::Cpu, ..Execution::default() },
        canary: None,
        onnxruntime: None,
        mqtt: Mqtt {
            host: "localhost".to_owned(),
            port: 1883,
            tls: false,
            username: None,
            password: None,
            prefix: "home".to_owned(),
            client_id: "stakeout".to_owned(),
            connection: MqttConnection::default(),
            commands: false,
            near_misses: false,
        },
        webhook: None,
        command: None,
        outbox: OutboxLimits::default(),
        home_assistant: None,
        history: None,
        listen: None,
        state_dir: "state".into(),
        max_pixels: 1_000_000,
        memory: crate::picture::MEMORY,
        sandbox: false,
        label_sets: vec![
            label_set("porch", vec![label("Person", 0.7), label("package", 0.6)]),
            label_set("yard", vec![label("fox", 0.5)]),
        ],
        sources: vec![source("Front Door", &["porch", "yard"]), source("back", &["porch"])],
        names: Arc::default(),
        controls: crate::policy::Controls::default(),
    }
}
