//! Scores, token ids and embeddings of the pipeline, for every case and model.

use std::{collections::HashMap, fs, path::PathBuf};

use serde_json::Value;
use stakeout::{
    classify::labels::{self, LabelVectors, VectorCache},
    model::{Model, ModelFiles, Options, Runtime, preprocess::Backend},
    picture::{self, Picture},
    policy::{Label, LabelSet, TemplateError, TriggerSettings},
};

use super::{assert_none, json, numbers};
use crate::common::fixtures;

pub(super) const MODELS: [&str; 3] = ["tiny-clip", "tiny-siglip", "tiny-siglip2"];
const DEFAULT_TEMPLATE: &str = "This is a photo of {}.";

pub(super) fn folder(model: &str) -> Option<PathBuf> {
    Some(fixtures("hf-parity")?.join("models").join(model))
}

fn load(folder: PathBuf, options: &Options) -> Model {
    let runtime = Runtime::load(None).unwrap();
    Model::load(&runtime, &ModelFiles::Folder(folder), options).unwrap_or_else(|error| panic!("{error}"))
}

fn golden(file: &str) -> Option<Value> {
    Some(json(&fixtures("hf-parity")?.join("goldens").join(file)))
}

fn decoded(name: &str) -> Result<Picture, picture::PictureError> {
    let folder = fixtures("hf-parity/images").expect("the caller saw the fixtures");
    picture::decode(&fs::read(folder.join(name)).unwrap(), picture::Limits::of(10_000_000))
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The error of a template.
pub(super) fn label_set(template: &str, labels: &[String]) -> Result<LabelSet, String> {
    let rule = TriggerSettings::at(1.0);
    let label = |name: &String| Label::new(name, rule);
    let template = template.parse().map_err(|error: TemplateError| error.to_string())?;
    Ok(LabelSet::new("case", template, labels.iter().map(label).collect()))
}

/// A model that computes cases, with a cache of its vectors.
struct Pipeline {
    model: Model,
    pictures: HashMap<String, Result<Vec<f32>, String>>,
    sets: HashMap<(String, Vec<String>), Result<LabelVectors, String>>,
}

/// Scores and logits in the order of the labels.
type ScoresAndLogits = (Vec<f32>, Vec<f32>);

impl Pipeline {
    fn new(model: Model) -> Self {
        Self { model, pictures: HashMap::new(), sets: HashMap::new() }
    }

    /// The result of the pipeline for a case; an error if the pipeline raises one.
    fn answer(&mut self, image: &str, template: &str, labels: &[String]) -> Result<ScoresAndLogits, String> {
        let vector = self.vector(image)?;
        let vectors = self.vectors(template, labels)?;
        let logits = self.model.logits();
        let scores = vectors.scores(&vector, logits, self.model.activation()).labels;
        let logit = |text: &std::sync::Arc<[f32]>| {
            stakeout::classify::score::logit(&vector, text, logits.scale, logits.bias)
        };
        Ok((scores, vectors.labels.iter().map(logit).collect()))
    }

    fn vector(&mut self, image: &str) -> Result<Vec<f32>, String> {
        if !self.pictures.contains_key(image) {
            let vector = decoded(image)
                .map_err(|error| error.to_string())
                .map(|picture| self.model.embed_pictures(&[&picture]).unwrap().remove(0));
            self.pictures.insert(image.to_owned(), vector);
        }
        self.pictures[image].clone()
    }

    fn vectors(&mut self, template: &str, labels: &[String]) -> Result<LabelVectors, String> {
        let encode = || {
            let set = label_set(template, labels)?;
            if labels.is_empty() {
                return Err(labels::check(&set, self.model.activation()).unwrap_err().to_string());
            }
            let encoded = labels::encode(&[set], self.model.text(), &VectorCache::none());
            Ok(encoded.map_err(|error| error.to_string())?.remove(0))
        };
        let key = (template.to_owned(), labels.to_vec());
        self.sets.entry(key).or_insert_with(encode).clone()
    }

    /// Whether a text is longer than the context of the model: for CLIP the reference refuses it; stakeout truncates it and warns.
    fn over_long(&self, template: &str, labels: &[String]) -> bool {
        labels.iter().any(|label| {
            let tokens = self.model.text().tokens(&template.replace("{}", label)).unwrap();
            tokens.uncut > tokens.ids.len()
        })
    }
}

/// The greatest deviation of scores and logits over all cases of a file; `files` is the folder with the files of the model.
pub(super) fn check_cases(model: &str, files: PathBuf, file: &str, options: &Options) -> Option<(f32, f32)> {
    let golden = golden(file)?;
    let mut pipeline = Pipeline::new(load(files, options));
    let (mut worst_score, mut worst_logit) = (0f32, 0f32);
    let (mut scored, mut refused, mut deviations) = (0, 0, Vec::new());
    for case in golden["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let labels = strings(&case["candidate_labels"]);
        let template = case["hypothesis_template"].as_str().unwrap_or(DEFAULT_TEMPLATE);
        let answer = pipeline.answer(case["image"].as_str().unwrap(), template, &labels);
        if case.get("error").is_some() {
            refused += 1;
            let long = case["label_set"] == "long" && pipeline.over_long(template, &labels);
            if answer.is_ok() && !long {
                deviations.push(format!("{id}: an error is expected"));
            }
            continue;
        }
        scored += 1;
        match answer {
            Err(error) => deviations.push(format!("{id}: {error}")),
            Ok((scores, logits)) => {
                let (score, order) = score_deviation(&labels, &scores, &case["result"]);
                let logit = farthest(&logits, &numbers(&case["logits"]));
                (worst_score, worst_logit) = (worst_score.max(score), worst_logit.max(logit));
                if score > 1e-4 || logit > 1e-3 || !order {
                    deviations.push(format!("{id}: score {score:e}, logit {logit:e}, order {order}"));
                }
            }
        }
    }
    assert_none(&deviations);
    let clip = usize::from(model == "tiny-clip");
    assert_eq!((scored, refused), (85 - 2 * clip, 7 + 2 * clip));
    Some((worst_score, worst_logit))
}

/// The largest deviation of the scores, and whether the labels have the order of the reference (except for equal scores).
pub(super) fn score_deviation(labels: &[String], scores: &[f32], result: &Value) -> (f32, bool) {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let result = result.as_array().unwrap();
    assert_eq!(result.len(), labels.len());
    let (mut worst, mut same) = (0f32, true);
    for (position, expected) in order.iter().zip(result) {
        let expected_score = numbers(&expected["score"])[0];
        let deviation = (scores[*position] - expected_score).abs();
        worst = worst.max(deviation);
        // Labels whose scores differ by less than the rounding of float32 may be swapped.
        let close =
            result.iter().filter(|other| (numbers(&other["score"])[0] - expected_score).abs() < 1e-6).count()
                > 1;
        same &= labels[*position] == *expected["label"].as_str().unwrap() || close;
    }
    (worst, same)
}

pub(super) fn farthest(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

#[test]
fn every_case_has_the_scores_of_the_pipeline() {
    for model in MODELS {
        let Some(files) = folder(model) else { return };
        let file = format!("{model}.scores.json");
        let Some(worst) = check_cases(model, files, &file, &Options::default()) else { return };
        println!("{model}: score {:e}, logit {:e}", worst.0, worst.1);
    }
}

#[test]
fn every_case_has_the_scores_of_the_pipeline_with_the_pil_backend() {
    let options = Options { backend: Backend::Pil, ..Options::default() };
    for model in MODELS {
        let Some(files) = folder(model) else { return };
        let file = format!("{model}.scores_pil.json");
        let Some(worst) = check_cases(model, files, &file, &options) else { return };
        println!("{model}: score {:e}, logit {:e}", worst.0, worst.1);
    }
}

#[test]
fn scale_and_bias_follow_from_the_combined_graph() {
    for model in MODELS {
        let Some(golden) = golden(&format!("{model}.scores.json")) else { return };
        let logits = load(folder(model).unwrap(), &Options::default()).logits();
        let [scale, bias] = ["logit_scale_exp", "logit_bias"].map(|key| numbers(&golden[key])[0]);
        println!("{model}: {logits:?}");
        assert!(
            (logits.scale - scale).abs() < 1e-3 && (logits.bias - bias).abs() < 1e-3,
            "{model}: {logits:?}"
        );
    }
}

#[test]
fn every_text_has_the_tokens_of_the_pipeline() {
    for model in MODELS {
        let Some(golden) = golden(&format!("{model}.tokens.json")) else { return };
        let model_files = load(folder(model).unwrap(), &Options::default());
        let context = if model == "tiny-clip" { 77 } else { 64 };
        let mut deviations = Vec::new();
        let texts = golden["single"].as_array().unwrap();
        for case in texts {
            let ids = |key: &str| {
                case[key].as_array().map(|ids| ids.iter().map(|id| id.as_i64().unwrap()).collect::<Vec<_>>())
            };
            let text = case["text"].as_str().unwrap();
            let found = model_files.text().tokens(text).unwrap();
            let expected = ids("ids").unwrap();
            // Without truncation the reference keeps them all, and would refuse the text.
            let equal = if expected.len() > context {
                found.uncut == expected.len()
                    && found.ids.len() == context
                    && found.ids[..context - 1] == expected[..context - 1]
                    && found.ids.last() == expected.last()
            } else {
                found.ids == expected || ids("tokenizer_json_ids") == Some(found.ids.clone())
            };
            if !equal {
                deviations.push(format!("{model}: {text:?}: {:?} instead of {expected:?}", found.ids));
            }
        }
        assert_eq!(texts.len(), 258);
        assert_none(&deviations);
    }
}

#[test]
fn every_embedding_equals_the_reference() {
    for model in MODELS {
        let Some(golden) = golden(&format!("{model}.embeds.json")) else { return };
        let mut model_files = load(folder(model).unwrap(), &Options::default());
        let images: Vec<Picture> =
            strings(&golden["images"]).iter().map(|name| decoded(name).unwrap()).collect();
        let texts = strings(&golden["texts"]);
        // In one batch, and one at a time.
        let together = model_files.embed_pictures(&images.iter().collect::<Vec<_>>()).unwrap();
        let apart: Vec<_> =
            images.iter().map(|image| model_files.embed_pictures(&[image]).unwrap().remove(0)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let text_vectors = model_files.text().encode(&texts).unwrap();
        let check = |found: &[Vec<f32>], expected: &Value| {
            let expected = expected.as_array().unwrap();
            assert_eq!(found.len(), expected.len());
            let worst =
                found.iter().zip(expected).map(|(found, expected)| farthest(found, &numbers(expected)));
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 1e-5, "{model}: {worst:e}");
        };
        assert_eq!((images.len(), texts.len()), (3, 6));
        check(&together, &golden["image_embeds_normalised"]);
        check(&apart, &golden["image_embeds_normalised"]);
        check(&text_vectors, &golden["text_embeds_normalised"]);
    }
}

/// The largest deviation of other files of a model from the recorded full precision.
fn check_variant(model: &str, options: &Options, bound: f32) -> Option<f32> {
    let golden = golden(&format!("{model}.variants.json"))?;
    let mut pipeline = Pipeline::new(load(folder(model)?, options));
    let labels = strings(&golden["labels"]);
    let images = golden["variants"]["fp32"].as_object().unwrap();
    let mut worst = 0f32;
    for (image, expected) in images {
        let (scores, _) =
            pipeline.answer(image, golden["hypothesis_template"].as_str().unwrap(), &labels).unwrap();
        worst = worst.max(farthest(&scores, &numbers(&expected["scores"])));
    }
    assert_eq!(images.len(), 3);
    assert!(worst <= bound, "{model}{}: {worst:e}", options.variant);
    Some(worst)
}

#[test]
fn smaller_variants_stay_near_full_precision() {
    for model in MODELS {
        for (variant, bound) in [("", 1e-4), ("_fp16", 1e-2), ("_quantized", 0.15)] {
            let options = Options { variant: variant.to_owned(), ..Options::default() };
            let Some(worst) = check_variant(model, &options, bound) else { return };
            println!("{model}{variant}: {worst:e}");
        }
    }
}

#[test]
fn the_combined_graph_alone_scores_like_the_towers() {
    for model in MODELS {
        let Some(source) = folder(model) else { return };
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("onnx")).unwrap();
        for entry in fs::read_dir(&source).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        for file in ["onnx/model.onnx", "onnx/model.onnx_data"] {
            let _ = fs::copy(source.join(file), copy.path().join(file));
        }
        let golden = golden(&format!("{model}.scores.json")).unwrap();
        let mut combined = Pipeline::new(load(copy.path().to_owned(), &Options::default()));
        let (mut cases, mut worst) = (0, 0f32);
        for case in
            golden["cases"].as_array().unwrap().iter().filter(|case| case["label_set"] == "base").take(12)
        {
            let labels = strings(&case["candidate_labels"]);
            let (_, logits) =
                combined.answer(case["image"].as_str().unwrap(), DEFAULT_TEMPLATE, &labels).unwrap();
            worst = worst.max(farthest(&logits, &numbers(&case["logits"])));
            cases += 1;
        }
        println!("{model}: logit {worst:e}");
        assert!(worst < 1e-3, "{model}: {worst:e}");
        assert_eq!(cases, 12);
    }
}

/// The reference pads to 64, also for a model with more positions.
#[test]
fn siglip_prompts_are_padded_to_64_tokens() {
    let Some(source) = folder("tiny-siglip") else { return };
    let texts = ["a photo of a cat", "x", &"a red car ".repeat(60)];
    let encoded = |positions: Value| {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("onnx")).unwrap();
        for file in ["preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"]
        {
            fs::copy(source.join(file), copy.path().join(file)).unwrap();
        }
        let mut config = json(&source.join("config.json"));
        config["text_config"]["max_position_embeddings"] = positions;
        fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        load(copy.path().to_owned(), &Options::default()).text().encode(&texts).unwrap()
    };
    let expected = encoded(64.into());
    assert_eq!(encoded(96.into()), expected);
    assert_eq!(encoded(Value::Null), expected);
    // The reference fails for a model with fewer positions. The model gets as many tokens as it has positions.
    assert_ne!(encoded(16.into()), expected);
}
