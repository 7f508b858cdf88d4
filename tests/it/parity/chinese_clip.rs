//! Chinese-CLIP: a tiny model with results of the reference, made by `tools/chinese_clip_fixture.py`.

use std::{fs, path::PathBuf};

use serde_json::Value;
use stakeout::{
    classify::{
        labels::{self, VectorCache},
        score::Activation,
    },
    model::{Logits, Model, ModelFiles, Options, Runtime},
    picture::{self, Picture},
};

use super::{
    json, numbers,
    scores::{label_set, score_deviation},
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chinese-clip")
}

fn goldens() -> Value {
    json(&folder().join("goldens.json"))
}

fn load(folder: PathBuf, variant: &str) -> Model {
    // Only for half precision: here it has no combined graph from which they could be derived.
    let logits = (variant == "_fp16").then_some(Logits { scale: 12.5, bias: 0.0 });
    let options = Options { variant: variant.to_owned(), logits, ..Options::default() };
    Model::load(&Runtime::load(None).unwrap(), &ModelFiles::Folder(folder), &options).unwrap()
}

/// The model with only the combined graph.
fn combined() -> (Model, tempfile::TempDir) {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("onnx")).unwrap();
    let files = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "onnx/model.onnx",
    ];
    for file in files {
        fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    (load(copy.path().to_owned(), ""), copy)
}

fn sample(name: &str) -> Picture {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples").join(name);
    picture::decode(&fs::read(path).unwrap(), picture::Limits::of(10_000_000)).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn farthest(found: &[Vec<f32>], expected: &Value) -> f32 {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).flat_map(|(found, expected)| {
        let expected = numbers(expected);
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
    });
    differences.fold(0.0, f32::max)
}

#[test]
fn every_text_has_the_tokens_of_the_reference() {
    let model = load(folder(), "");
    let goldens = goldens();
    let cases = goldens["tokens"].as_array().unwrap();
    for case in cases {
        let expected: Vec<i64> =
            case["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        let found = model.text().tokens(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(found.uncut, expected.len(), "{case}");
        if expected.len() <= 128 {
            assert_eq!(found.ids, expected, "{case}");
        } else {
            // The reference refuses it.
            assert_eq!((found.ids.len(), found.ids.last()), (128, expected.last()), "{case}");
            assert_eq!(found.ids[..127], expected[..127], "{case}");
        }
    }
    assert_eq!(cases.len(), 16);
}

#[test]
fn every_vector_equals_the_reference_with_two_towers_and_with_one_graph() {
    let goldens = goldens();
    let (one, _copy) = combined();
    for (name, mut model, bound) in [
        ("towers", load(folder(), ""), 1e-5),
        ("one graph", one, 1e-5),
        ("half", load(folder(), "_fp16"), 5e-3),
    ] {
        let pictures: Vec<Picture> = texts(&goldens["images"]).iter().map(|name| sample(name)).collect();
        let found = model.embed_pictures(&pictures.iter().collect::<Vec<_>>()).unwrap();
        let images = farthest(&found, &goldens["image_embeds"]);
        let words = texts(&goldens["texts"]);
        let found = model.text().encode(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let words = farthest(&found, &goldens["text_embeds"]);
        println!("{name}: pictures {images:e}, texts {words:e}");
        assert!(images < bound && words < bound, "{name}: pictures {images:e}, texts {words:e}");
    }
}

#[test]
fn every_case_has_the_scores_of_the_pipeline() {
    let goldens = goldens();
    let scale = numbers(&goldens["logit_scale_exp"])[0];
    let cases = goldens["cases"].as_array().unwrap();
    let (one, _copy) = combined();
    for (name, mut model) in [("towers", load(folder(), "")), ("one graph", one)] {
        // They are in no file, and are derived by one run of the combined graph.
        let (logits, activation) = (model.logits(), model.activation());
        assert!((logits.scale - scale).abs() < 1e-3 && logits.bias == 0.0, "{name}: {logits:?}");
        assert_eq!(activation, Activation::Softmax);
        let mut worst = 0f32;
        for case in cases {
            let labels = texts(&case["candidate_labels"]);
            let set = label_set(case["hypothesis_template"].as_str().unwrap(), &labels).unwrap();
            let vectors = labels::encode(&[set], model.text(), &VectorCache::none()).unwrap().remove(0);
            let picture = sample(case["image"].as_str().unwrap());
            let picture = model.embed_pictures(&[&picture]).unwrap().remove(0);
            let scores = vectors.scores(&picture, logits, activation).labels;
            let (deviation, order) = score_deviation(&labels, &scores, &case["result"]);
            assert!(deviation < 1e-4 && order, "{name}: {deviation:e}, {case}");
            worst = worst.max(deviation);
        }
        println!("{name}: {worst:e}");
    }
    assert_eq!(cases.len(), 12);
}
