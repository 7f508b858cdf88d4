//! The models of the reference data both ways: with their ONNX files, and with graphs that are built from the same weights. The weights are
//! taken from the ONNX files, which hold most of them under the names of the checkpoint.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use stakeout::{
    model::{Model, ModelFiles, Options, Runtime},
    picture::{self, Picture},
};
use tempfile::TempDir;

use super::{assert_none, json, numbers, scores};
use crate::common::{
    fixtures,
    onnx::{self, Weight},
    safetensors,
};

/// What a number of a vector of length 1 may differ by between files and built graphs.
const SAME: f32 = 1e-5;

/// The matrices of a transformer layer, in the order in which the exporter numbers them.
const MATRICES: [&str; 6] =
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"];

/// The checkpoint that the ONNX files of a model were exported from: its files without `onnx/`, and its weights.
fn checkpoint(model: &str) -> Option<TempDir> {
    let source = scores::folder(model)?;
    let goldens = json(&fixtures("hf-parity/goldens")?.join(format!("{model}.scores.json")));
    let folder = copy_without_graphs(&source);
    let config = json(&source.join("config.json"));
    let mut weights: Vec<Weight> =
        ["text", "vision"].iter().flat_map(|tower| tower_weights(&source, &config, tower)).collect();
    let is_clip = config["model_type"] == "clip";
    // The exporter has folded them into other numbers.
    let shape = if is_clip { vec![] } else { vec![1] };
    let scale = numbers(&goldens["logit_scale_exp"])[0].ln();
    weights.push(Weight { name: "logit_scale".to_owned(), shape: shape.clone(), values: vec![scale] });
    if !is_clip {
        let values = numbers(&goldens["logit_bias"]);
        weights.push(Weight { name: "logit_bias".to_owned(), shape, values });
    }
    fs::write(folder.path().join("model.safetensors"), safetensors::file(&weights)).unwrap();
    Some(folder)
}

/// A copy of the files beside the graphs.
fn copy_without_graphs(source: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(source).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let content = fs::read(entry.path()).unwrap();
        fs::write(folder.path().join(entry.file_name()), content).unwrap();
    }
    folder
}

/// The weights of one tower, with the names of the checkpoint.
fn tower_weights(source: &Path, config: &Value, tower: &str) -> Vec<Weight> {
    let graph = fs::read(source.join(format!("onnx/{tower}_model.onnx"))).unwrap();
    let (numbered, named): (Vec<_>, Vec<_>) =
        onnx::weights(&graph).into_iter().partition(|weight| number(&weight.name).is_some());
    let mut numbered: Vec<Weight> = numbered.into_iter().map(transposed).collect();
    numbered.sort_by_key(|weight| number(&weight.name));
    let names = matrix_names(config, tower);
    assert_eq!(numbered.len(), names.len(), "{tower}");
    let numbered = numbered.into_iter().zip(names).map(|(weight, name)| Weight { name, ..weight });
    numbered.chain(named.into_iter().filter_map(renamed)).collect()
}

/// The number of a matrix whose name the exporter has replaced.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("onnx::MatMul_")?.parse().ok()
}

/// The names of these matrices, by their numbers.
fn matrix_names(config: &Value, tower: &str) -> Vec<String> {
    let layers = config[format!("{tower}_config")]["num_hidden_layers"].as_u64().unwrap();
    let layer = |at: u64| MATRICES.map(|matrix| format!("{tower}_model.encoder.layers.{at}.{matrix}.weight"));
    let last: &[&str] = match (config["model_type"].as_str().unwrap(), tower) {
        ("clip", "text") => &["text_projection.weight"],
        ("clip", _) => &["visual_projection.weight"],
        // The last layer of SigLIP's texts keeps its name.
        (_, "text") => &[],
        _ => &["vision_model.head.mlp.fc1.weight", "vision_model.head.mlp.fc2.weight"],
    };
    (0..layers).flat_map(layer).chain(last.iter().map(|name| (*name).to_owned())).collect()
}

/// The exporter stores these matrices transposed.
fn transposed(weight: Weight) -> Weight {
    let [rows, columns] = weight.shape[..] else { panic!("{} is no matrix", weight.name) };
    let column = |at: usize| weight.values.iter().skip(at).step_by(columns).copied();
    let values = (0..columns).flat_map(column).collect();
    Weight { shape: vec![columns, rows], values, ..weight }
}

/// The weight under the name that it has in the checkpoint; `None` for a constant of the graph.
fn renamed(weight: Weight) -> Option<Weight> {
    if weight.name.ends_with("/position_embedding/Gather_output_0") {
        let name = "vision_model.embeddings.position_embedding.weight".to_owned();
        let shape = weight.shape[1..].to_vec();
        return Some(Weight { name, shape, ..weight });
    }
    if weight.name == "/vision_model/head/Expand_output_0" {
        return Some(Weight { name: "vision_model.head.probe".to_owned(), ..weight });
    }
    ["text_model.", "vision_model."].iter().any(|start| weight.name.starts_with(start)).then_some(weight)
}

#[test]
fn every_case_has_the_scores_of_the_pipeline_with_built_graphs() {
    for model in scores::MODELS {
        let Some(folder) = checkpoint(model) else { return };
        let file = format!("{model}.scores.json");
        let found = scores::check_cases(model, folder.path().to_owned(), &file, &Options::default());
        let Some(worst) = found else { return };
        println!("{model}: score {:e}, logit {:e}", worst.0, worst.1);
    }
}

#[test]
fn files_and_built_graphs_give_the_same_vectors() {
    for model in scores::MODELS {
        let Some(built) = checkpoint(model) else { return };
        let files = scores::folder(model).unwrap();
        let golden = json(&fixtures("hf-parity/goldens").unwrap().join(format!("{model}.embeds.json")));
        let tokens = json(&fixtures("hf-parity/goldens").unwrap().join(format!("{model}.tokens.json")));
        let texts = tokens["single"].as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap());
        let images = golden["images"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let images: Vec<Picture> =
            images.map(|name| decoded(&fixtures("hf-parity/images").unwrap().join(name))).collect();
        compare(model, &files, built.path(), &images, &texts.collect::<Vec<_>>());
    }
}

/// The weights are beside the graphs that were exported from them.
#[test]
fn files_and_built_graphs_of_chinese_clip_give_the_same_vectors() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let files = root.join("tests/fixtures/chinese-clip");
    let built = copy_without_graphs(&files);
    let goldens = json(&files.join("goldens.json"));
    let texts = goldens["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let images = goldens["images"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let images: Vec<Picture> =
        images.map(|name| decoded(&root.join("models/bundled/samples").join(name))).collect();
    compare("chinese-clip", &files, built.path(), &images, &texts.collect::<Vec<_>>());
}

fn decoded(path: &Path) -> Picture {
    picture::decode(&fs::read(path).unwrap(), picture::Limits::of(10_000_000)).unwrap()
}

/// Checks that two folders give the same vectors, scale and bias.
fn compare(model: &str, files: &Path, built: &Path, images: &[Picture], texts: &[&str]) {
    let load = |folder: &Path| {
        let (runtime, files) = (Runtime::load(None).unwrap(), ModelFiles::Folder(folder.to_owned()));
        Model::load(&runtime, &files, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
    };
    let (mut files, mut built) = (load(files), load(built));
    let images: Vec<&Picture> = images.iter().collect();
    let pairs = [
        ("picture", files.embed_pictures(&images).unwrap(), built.embed_pictures(&images).unwrap()),
        ("text", files.text().encode(texts).unwrap(), built.text().encode(texts).unwrap()),
    ];
    let mut deviations = Vec::new();
    for (kind, expected, found) in pairs {
        assert_eq!((expected.len(), expected.is_empty()), (found.len(), false));
        let each = expected.iter().zip(&found).map(|(expected, found)| scores::farthest(found, expected));
        let each: Vec<f32> = each.collect();
        println!("{model}: {kind} {:e}", each.iter().fold(0f32, |worst, it| worst.max(*it)));
        let wrong = each.iter().enumerate().filter(|(_, deviation)| **deviation >= SAME);
        deviations
            .extend(wrong.map(|(number, deviation)| format!("{model}, {kind} {number}: {deviation:e}")));
    }
    assert_none(&deviations);
    let (one, other) = (files.logits(), built.logits());
    // From the files they are measured.
    assert!(
        (one.scale - other.scale).abs() < 1e-3 && (one.bias - other.bias).abs() < 1e-3,
        "{model}: {one:?} {other:?}"
    );
}
