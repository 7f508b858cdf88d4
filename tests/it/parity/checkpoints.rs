//! Checkpoints without ONNX files: tiny ones of every family and format, made by `tools/checkpoints.py` with the answers of the reference.
//! Each has all of its texts, pictures, vectors and scores checked.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;
use stakeout::{
    classify::{
        labels::{self, VectorCache},
        score::Activation,
    },
    model::{
        Model, ModelFiles, Options, Runtime,
        preprocess::{Layout, Preprocessor},
    },
    picture::{self, Picture},
};

use super::{assert_none, json, numbers, scores::label_set, sha256};

/// What a score may differ by.
const SCORE: f32 = 1e-4;
/// What a number of a vector of length 1 may differ by.
const VECTOR: f32 = 2e-5;

macro_rules! checkpoints {
    ($($test:ident $name:literal)*) => {
        const NAMES: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

checkpoints! {
    clip_of_the_first_repositories "clip-legacy"
    clip_with_an_end_id "clip-eos"
    clip_fine_tuned "clip-tuned"
    siglip "siglip"
    siglip_of_many_languages "siglip-i18n"
    siglip2_of_fixed_resolution "siglip2-fixed"
    siglip2_with_a_wider_vision_tower "siglip2-giant"
    siglip2_of_free_resolution "siglip2-naflex"
    siglip2_of_free_resolution_with_other_patches "siglip2-naflex-large"
    chinese_clip_with_a_list_of_words "chinese-clip-vocab"
    chinese_clip_with_a_tokenizer_json "chinese-clip-json"
    metaclip2 "metaclip2"
    metaclip2_with_the_exact_gelu "metaclip2-gelu"
    altclip "altclip"
    altclip_with_new_keys "altclip-new"
    open_clip_with_quick_gelu "openclip-quickgelu"
    open_clip_with_the_exact_gelu "openclip-gelu"
    open_clip_without_a_first_norm "openclip-clipa"
    open_clip_of_many_languages "openclip-worldwide"
    open_clip_siglip "openclip-siglip"
    open_clip_siglip2 "openclip-siglip2"
    open_clip_siglip2_with_another_gelu "openclip-siglip2-giant"
    open_clip_perception_encoder "openclip-pe-tiny"
    open_clip_perception_encoder_without_a_class_token "openclip-pe-gigantic"
}

/// The folder of a checkpoint.
pub(super) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

fn load(name: &str) -> Model {
    let runtime = Runtime::load(None).unwrap();
    Model::load(&runtime, &ModelFiles::Folder(folder(name)), &Options::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The pictures of the goldens are beside the checkpoints, or samples of the bundled model.
fn decoded(name: &str) -> Picture {
    let own = folder("pictures").join(name);
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples").join(name);
    let path = if own.is_file() { own } else { sample };
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    picture::decode(&bytes, picture::Limits::of(10_000_000)).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn check(name: &str) {
    let goldens = json(&folder(name).join("goldens.json"));
    let mut model = load(name);
    let mut deviations = Vec::new();
    check_logits(&model, &goldens, &mut deviations);
    check_tokens(&model, &goldens, &mut deviations);
    let worst = [
        check_texts(&model, &goldens, &mut deviations),
        check_pictures(&mut model, &goldens, &mut deviations),
        check_scores(&mut model, &goldens, &mut deviations),
    ];
    println!("{name}: texts {:e}, pictures {:e}, scores {:e}", worst[0], worst[1], worst[2]);
    assert_none(&deviations);
}

fn check_logits(model: &Model, goldens: &Value, deviations: &mut Vec<String>) {
    let found = model.logits();
    for (key, found) in [("logit_scale", found.scale), ("logit_bias", found.bias)] {
        let expected = numbers(&goldens[key])[0];
        if (found - expected).abs() > 1e-5 * expected.abs().max(1.0) {
            deviations.push(format!("{key}: {found} instead of {expected}"));
        }
    }
    let expected = match goldens["activation"].as_str().unwrap() {
        "sigmoid" => Activation::Sigmoid,
        _ => Activation::Softmax,
    };
    if model.activation() != expected {
        deviations.push(format!("activation: {:?} instead of {expected:?}", model.activation()));
    }
}

fn check_tokens(model: &Model, goldens: &Value, deviations: &mut Vec<String>) {
    let cases = goldens["tokens"].as_array().unwrap();
    assert!(cases.len() > 40, "{}", cases.len());
    for case in cases {
        let text = case[0].as_str().unwrap();
        let expected: Vec<i64> = case[1].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        let found = model.text().tokens(text).unwrap();
        // Some references do not cut texts, and then refuse those that are too long.
        let equal = if expected.len() > found.ids.len() {
            let kept = found.ids.len() - 1;
            found.uncut == expected.len()
                && found.ids[..kept] == expected[..kept]
                && found.ids.last() == expected.last()
        } else {
            found.ids == expected
        };
        if !equal {
            deviations.push(format!("tokens of {text:?}: {:?} instead of {expected:?}", found.ids));
        }
    }
}

/// The largest deviation of the text vectors.
fn check_texts(model: &Model, goldens: &Value, deviations: &mut Vec<String>) -> f32 {
    let prompts: Vec<String> = goldens["label_sets"].as_array().unwrap().iter().flat_map(prompts).collect();
    let found = model.text().encode(&prompts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let expected = goldens["text_embeds"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    let mut worst = 0f32;
    for ((prompt, found), expected) in prompts.iter().zip(&found).zip(expected) {
        let deviation = vector_deviation(found, expected, goldens);
        worst = worst.max(deviation);
        if deviation > VECTOR {
            deviations.push(format!("vector of {prompt:?}: {deviation:e}"));
        }
    }
    worst
}

fn prompts(set: &Value) -> Vec<String> {
    let template = set["template"].as_str().unwrap();
    strings(&set["labels"]).iter().map(|label| template.replace("{}", label)).collect()
}

/// The largest deviation of the recorded numbers of a vector; infinite for a vector of another length.
fn vector_deviation(found: &[f32], expected: &Value, goldens: &Value) -> f32 {
    if Some(found.len() as u64) != goldens["embedding"].as_u64() {
        return f32::INFINITY;
    }
    let expected = numbers(expected);
    found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

/// The largest deviation of the vectors of pictures.
fn check_pictures(model: &mut Model, goldens: &Value, deviations: &mut Vec<String>) -> f32 {
    let pictures = goldens["pictures"].as_object().unwrap();
    assert_eq!(pictures.len(), 12);
    let mut worst = 0f32;
    for (name, golden) in pictures {
        let picture = decoded(name);
        let (size, hash) = prepared(model.preprocessor(), &picture);
        if serde_json::json!(size) != golden["size"] || hash[..16] != *golden["pixels"].as_str().unwrap() {
            deviations.push(format!(
                "pixels of {name}: {size:?} {}, expected {}",
                &hash[..16],
                golden["size"]
            ));
        }
        let vector = model.embed_pictures(&[&picture]).unwrap().remove(0);
        let deviation = vector_deviation(&vector, &golden["embed"], goldens);
        worst = worst.max(deviation);
        if deviation > VECTOR {
            deviations.push(format!("vector of {name}: {deviation:e}"));
        }
    }
    worst
}

/// Width and height of the prepared picture, and the hash of its numbers without what fills up free patches.
fn prepared(preprocessor: &Preprocessor, picture: &Picture) -> ([u32; 2], String) {
    let mut values = Vec::new();
    preprocessor.append(picture, &mut values);
    let size = match preprocessor.layout() {
        Layout::Planes { width, height } => [width, height],
        Layout::Patches { side, .. } => {
            // The last two numbers are those of rows and columns of patches.
            let columns = values.pop().unwrap() as u32;
            let rows = values.pop().unwrap() as u32;
            values.truncate((rows * columns * side * side * 3) as usize);
            [columns * side, rows * side]
        }
    };
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (size, sha256(&bytes))
}

/// The largest deviation of the scores, of all pictures in one batch.
fn check_scores(model: &mut Model, goldens: &Value, deviations: &mut Vec<String>) -> f32 {
    let pictures = goldens["pictures"].as_object().unwrap();
    let decoded: Vec<Picture> = pictures.keys().map(|name| decoded(name)).collect();
    let vectors = model.embed_pictures(&decoded.iter().collect::<Vec<_>>()).unwrap();
    let (mut worst, mut cases) = (0f32, 0);
    for (number, set) in goldens["label_sets"].as_array().unwrap().iter().enumerate() {
        let labelled = label_set(set["template"].as_str().unwrap(), &strings(&set["labels"])).unwrap();
        let encoded = labels::encode(&[labelled], model.text(), &VectorCache::none()).unwrap().remove(0);
        for ((name, golden), vector) in pictures.iter().zip(&vectors) {
            let found = encoded.scores(vector, model.logits(), model.activation()).labels;
            let expected = numbers(&golden["scores"][number]);
            assert_eq!(found.len(), expected.len());
            let differences = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
            let deviation = differences.fold(0.0, f32::max);
            worst = worst.max(deviation);
            cases += 1;
            if deviation > SCORE {
                deviations.push(format!("scores of {name} with {}: {deviation:e}", set["labels"]));
            }
        }
    }
    assert_eq!(cases, 12 * 4);
    worst
}

#[test]
fn every_checkpoint_of_the_folder_is_checked() {
    let entries = fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let found: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let checked = NAMES.iter().chain(&["pictures"]).map(|name| (*name).to_owned()).collect();
    assert_eq!(found, checked);
}
