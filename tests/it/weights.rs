//! Models without ONNX files: the program builds their graphs from the weights, in a folder and from an imitation of the hub.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use stakeout::model::{Model, ModelFiles, Options, Runtime};

use crate::common::{
    fixtures,
    hub::{COMMIT, Hub},
};

/// A tensor: its name and its shape.
type Tensor = (String, Vec<usize>);

/// The tensors of a CLIP with two layers, by the sizes of a `config.json`.
fn clip_tensors(config: &Value) -> Vec<Tensor> {
    let size = |tower: &str, key: &str| config[tower][key].as_u64().unwrap() as usize;
    let outputs = config["projection_dim"].as_u64().unwrap() as usize;
    let mut tensors = vec![("logit_scale".to_owned(), vec![])];
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    for (tower, prefix, last) in [
        ("text_config", "text_model", "text_model.final_layer_norm"),
        ("vision_config", "vision_model", "vision_model.post_layernorm"),
    ] {
        let (width, hidden) = (size(tower, "hidden_size"), size(tower, "intermediate_size"));
        for layer in 0..size(tower, "num_hidden_layers") {
            let layer = format!("{prefix}.encoder.layers.{layer}");
            let shapes = ["q", "k", "v", "out"].map(|name| (format!("self_attn.{name}_proj"), width, width));
            let inner = [("mlp.fc1".to_owned(), hidden, width), ("mlp.fc2".to_owned(), width, hidden)];
            for (name, outputs, inputs) in shapes.into_iter().chain(inner) {
                add(format!("{layer}.{name}.weight"), &[outputs, inputs]);
                add(format!("{layer}.{name}.bias"), &[outputs]);
            }
            for norm in ["layer_norm1", "layer_norm2"] {
                add(format!("{layer}.{norm}.weight"), &[width]);
                add(format!("{layer}.{norm}.bias"), &[width]);
            }
        }
        add(format!("{last}.weight"), &[width]);
        add(format!("{last}.bias"), &[width]);
    }
    let (text, vision) = (size("text_config", "hidden_size"), size("vision_config", "hidden_size"));
    let (vocabulary, positions) =
        (size("text_config", "vocab_size"), size("text_config", "max_position_embeddings"));
    let (image, patch) = (size("vision_config", "image_size"), size("vision_config", "patch_size"));
    for (name, shape) in [
        ("text_model.embeddings.token_embedding.weight", vec![vocabulary, text]),
        ("text_model.embeddings.position_embedding.weight", vec![positions, text]),
        ("text_projection.weight", vec![outputs, text]),
        ("vision_model.embeddings.class_embedding", vec![vision]),
        ("vision_model.embeddings.patch_embedding.weight", vec![vision, 3, patch, patch]),
        ("vision_model.embeddings.position_embedding.weight", vec![(image / patch).pow(2) + 1, vision]),
        ("vision_model.pre_layrnorm.weight", vec![vision]),
        ("vision_model.pre_layrnorm.bias", vec![vision]),
        ("visual_projection.weight", vec![outputs, vision]),
    ] {
        add(name.to_owned(), &shape);
    }
    tensors
}

/// A weight file with fixed random numbers. Each tensor's numbers depend on its name only.
fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    seeded(tensors, 7)
}

fn seeded(tensors: &[Tensor], seed: u32) -> Vec<u8> {
    let (mut header, mut data) = (json!({}), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        let mut state =
            name.bytes().fold(seed, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from((state >> 16) as u16) / 32_768.0 - 1.0;
            let is_scale = shape.len() == 1 && name.ends_with("weight");
            let number = if is_scale { 1.0 + 0.2 * number } else { 0.4 * number };
            data.extend(number.to_le_bytes());
        }
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The folder of a small model with its settings and tokenizer, and its configuration.
fn source() -> Option<(PathBuf, Value)> {
    let folder = fixtures("hf-parity")?.join("models/tiny-clip");
    let config = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    Some((folder, config))
}

fn is_no_graph(name: &str) -> bool {
    !name.contains("onnx")
}

/// A folder with the weights, in one file.
fn folder_of(source: &Path, weights: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(source).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    folder
}

/// The scores of two labels on a picture, as one line.
fn scores(hub: &Hub, model: &str) -> String {
    let picture = fixtures("hf-parity").unwrap().join("images/landscape_420.jpg").display().to_string();
    let arguments =
        ["classify", "--format", "json", "--model", model, "--label", "cat", "--label", "dog", &picture];
    let output = hub.run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    line["scores"].to_string()
}

fn error(hub: &Hub, arguments: &[&str]) -> String {
    let output = hub.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_checkpoint_of_the_hub_is_loaded_without_onnx_files() {
    let Some((source, config)) = source() else { return };
    let hub = Hub::start();
    let tensors = clip_tensors(&config);
    let folder = folder_of(&source, &safetensors(&tensors));
    let expected = scores(&hub, folder.path().to_str().unwrap());

    hub.add_folder("org/one", &source, is_no_graph);
    hub.add_file("org/one", "model.safetensors", safetensors(&tensors));
    assert_eq!(scores(&hub, "org/one"), expected);
    let verified = hub.run(&["models", "verify", "org/one"]);
    let verified = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.contains("model.safetensors  whole") && verified.contains("ok: "), "{verified}");
    let listed = String::from_utf8(hub.run(&["models", "list"]).stdout).unwrap();
    assert!(listed.contains("org/one") && listed.contains("fp32"), "{listed}");

    // In two files.
    hub.add_folder("org/two", &source, is_no_graph);
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = json!({});
    for (file, part) in
        [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)]
    {
        hub.add_file("org/two", file, safetensors(part));
        part.iter().for_each(|(name, _)| map[name] = file.into());
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    hub.add_file("org/two", "model.safetensors.index.json", index.into_bytes());
    assert_eq!(scores(&hub, "org/two"), expected);

    // Other numbers in a file of the same size: nothing of the old ones is used.
    fs::write(folder.path().join("model.safetensors"), seeded(&tensors, 8)).unwrap();
    assert_ne!(scores(&hub, folder.path().to_str().unwrap()), expected);

    // ONNX files come first.
    hub.add_folder("org/both", &source, |_| true);
    hub.add_file("org/both", "model.safetensors", safetensors(&tensors));
    assert_ne!(scores(&hub, "org/both"), expected);
    let snapshot = hub.home.path().join("hub/models--org--both/snapshots").join(COMMIT);
    assert!(!snapshot.join("model.safetensors").exists());
}

#[test]
fn what_cannot_be_built_is_one_error_of_the_hub() {
    let Some((source, config)) = source() else { return };
    let hub = Hub::start();
    let tensors = clip_tensors(&config);
    let pull = |id: &str| error(&hub, &["models", "pull", id]);

    hub.add_folder("org/pickle", &source, is_no_graph);
    hub.add_file("org/pickle", "pytorch_model.bin", vec![0; 100]);
    let text = pull("org/pickle");
    assert!(
        text.contains("pytorch_model.bin of org/pickle on the hub cannot be used: it is never read"),
        "{text}"
    );
    assert!(text.contains("https://huggingface.co/spaces/safetensors/convert"), "{text}");

    for (id, file) in [("org/blip", "pytorch_model.bin"), ("org/blip2", "model.safetensors")] {
        hub.add_folder(id, &source, |name| name == "tokenizer.json");
        hub.add_file(id, "config.json", br#"{"model_type": "blip"}"#.to_vec());
        hub.add_file(id, file, vec![0; 100]);
        hub.asked();
        let text = pull(id);
        assert!(text.contains("Use google/siglip2-base-patch16-384 instead"), "{id}: {text}");
        assert!(hub.asked().iter().all(|asked| !asked.by_cdn), "{id}: nothing large is fetched");
    }

    hub.add_folder("org/shard", &source, is_no_graph);
    let index = json!({"weight_map": {"logit_scale": "model-00001-of-00002.safetensors"}}).to_string();
    hub.add_file("org/shard", "model.safetensors.index.json", index.into_bytes());
    let text = pull("org/shard");
    assert!(text.contains("org/shard on the hub lacks model-00001-of-00002.safetensors"), "{text}");

    hub.add_folder("org/half", &source, is_no_graph);
    hub.add_file("org/half", "model.safetensors", safetensors(&tensors));
    let text = error(&hub, &["models", "pull", "org/half", "--variant", "q4"]);
    assert!(text.contains("has no ONNX files"), "{text}");
}

#[test]
fn false_weights_are_one_error_that_names_file_and_tensor() {
    let Some((source, config)) = source() else { return };
    let tensors = clip_tensors(&config);
    let load = |change: &dyn Fn(&Path)| {
        let folder = folder_of(&source, &safetensors(&tensors));
        change(folder.path());
        let files = ModelFiles::Folder(folder.path().to_owned());
        match Model::load(&Runtime::load(None).unwrap(), &files, &Options::default()) {
            Ok(model) => format!("loaded, scale {}", model.logits().scale),
            Err(error) => error.to_string().replace(&folder.path().display().to_string(), "FOLDER"),
        }
    };
    assert!(load(&|_| {}).starts_with("loaded, scale "));
    let without: Vec<_> =
        tensors.iter().filter(|(name, _)| name != "visual_projection.weight").cloned().collect();
    let weights = "model.safetensors";
    let write = |content: &[u8]| {
        let content = content.to_vec();
        move |folder: &Path| fs::write(folder.join(weights), &content).unwrap()
    };
    let whole = safetensors(&tensors);
    assert_eq!(
        load(&write(&safetensors(&without))),
        "model.safetensors of the model in FOLDER cannot be used: the tensor `visual_projection.weight` is missing"
    );
    let text = load(&write(&whole[..whole.len() - 1]));
    assert!(text.contains("cannot be used: its header describes "), "{text}");
    let text = load(&write(b"version https://git-lfs.github.com/spec/v1"));
    assert!(
        text.contains("model.safetensors of the model in FOLDER cannot be used: it is no safetensors file"),
        "{text}"
    );
    let text = load(&|folder| {
        let mut config = config.clone();
        config["vision_config"]["patch_size"] = 16.into();
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    });
    assert!(
        text.contains("`vision_model.embeddings.patch_embedding.weight` has the shape [32, 3, 8, 8], and config.json asks for [32, 3, 16, 16]"),
        "{text}"
    );
    let text = load(&|folder| {
        fs::rename(folder.join(weights), folder.join("pytorch_model.bin")).unwrap();
    });
    assert!(
        text.contains("pytorch_model.bin of the model in FOLDER cannot be used: it is never read"),
        "{text}"
    );
}
