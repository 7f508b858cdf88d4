//! The model inside the binary, on the sample pictures that come with it.

use std::{collections::HashMap, fs, path::Path};

use serde_json::Value;
use stakeout::{
    classify::Classifier,
    config::{self, Device, ModelRef, Variant},
    model::{Model, ModelFiles, Options, Runtime, hub},
    picture,
    policy::LabelSet,
};

use crate::common::stakeout;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/bundled"))
}

fn json(file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder().join(file)).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// The label set of the demo.
fn demo() -> LabelSet {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.yaml");
    let [label_set] = &config::load(&demo).unwrap().config.label_sets[..] else { panic!("one label set") };
    label_set.clone()
}

#[test]
fn the_model_card_was_measured_with_the_label_set_of_the_demo() {
    let (demo, measured) = (demo(), json("demo-labels.json"));
    assert_eq!(demo.templates, [text(&measured["template"]).parse().unwrap()]);
    assert_eq!(demo.background, texts(&measured["background"]));
    let labels = measured["labels"].as_object().unwrap();
    assert_eq!(demo.labels.len(), labels.len());
    for (label, (name, measured)) in demo.labels.iter().zip(labels) {
        assert_eq!((&label.name, &label.prompts), (name, &texts(&measured["prompts"])));
        assert!((f64::from(label.trigger.threshold) - measured["threshold"].as_f64().unwrap()).abs() < 1e-6);
    }
}

fn classifier(files: &ModelFiles) -> Classifier {
    let model = Model::load(&Runtime::load(None).unwrap(), files, &Options::default()).unwrap();
    Classifier::new(model, &[demo()]).unwrap()
}

#[test]
fn every_sample_raises_only_the_label_that_it_shows() {
    let mut classifier = classifier(&hub::find(&ModelRef::Bundled, Device::Cpu).unwrap().files);
    let labels = demo().labels;
    let samples = json("samples/samples.json");
    let samples = samples.as_array().unwrap();
    for sample in samples {
        let file = text(&sample["file"]);
        let bytes = fs::read(folder().join("samples").join(&file)).unwrap();
        let picture = picture::decode(&bytes, picture::Limits::of(10_000_000)).unwrap();
        let vector = classifier.embed(&[&picture]).unwrap().remove(0);
        let scores = classifier.scores(0, &vector);
        let high =
            labels.iter().zip(&scores.labels).filter(|(label, score)| **score >= label.trigger.threshold);
        let high: Vec<&str> = high.map(|(label, _)| label.name.as_str()).collect();
        let expected: Vec<&str> = sample["alert"].as_str().into_iter().collect();
        assert_eq!(high, expected, "{file}: {scores:?}");
    }
    assert!(samples.len() >= 10, "{}", samples.len());
}

#[test]
fn the_embedded_files_score_like_the_folder() {
    let mut answers: HashMap<&str, Vec<f32>> = HashMap::new();
    let picture = picture::decode(
        &fs::read(folder().join("samples/red-car.jpg")).unwrap(),
        picture::Limits::of(10_000_000),
    )
    .unwrap();
    for (name, files) in [
        ("embedded", hub::find(&ModelRef::Bundled, Device::Cpu).unwrap().files),
        (
            "folder",
            hub::find(&ModelRef::Folder(folder().to_owned(), Variant::Auto), Device::Cpu).unwrap().files,
        ),
    ] {
        let mut classifier = classifier(&files);
        let vector = classifier.embed(&[&picture]).unwrap().remove(0);
        answers.insert(name, classifier.scores(0, &vector).labels);
    }
    assert_eq!(answers["embedded"], answers["folder"]);
}

#[test]
fn classify_uses_the_bundled_model_by_default() {
    let picture = folder().join("samples/red-car.jpg");
    let labels = ["a red car", "a green tree", "a plain background"];
    let output = stakeout()
        .args(["classify", "--template", "a photo of {}", "--format", "json"])
        .args(labels.iter().flat_map(|label| ["--label", label]))
        .arg(&picture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["scores"][0]["label"], "a red car", "{line}");
}
