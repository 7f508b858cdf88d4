//! What a pull takes of the repositories of well-known models: their lists of files are served by the imitation of the hub.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::common::hub::{COMMIT, Hub};

/// A model of the list.
struct Listed {
    id: String,
    /// `model_type`, and for OpenCLIP's format the name of the tokenizer.
    config: Value,
    /// The files of each repository, with their sizes on the hub.
    repositories: BTreeMap<String, BTreeMap<String, u64>>,
    /// The repository and the name of each graph or weight file.
    takes: Vec<(String, String)>,
    /// A part of the message, if the model cannot be used.
    refused: Option<String>,
}

fn models() -> Vec<Listed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hub_listings.json");
    let list: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    list["models"].as_array().unwrap().iter().map(listed).collect()
}

fn listed(model: &Value) -> Listed {
    let id = model["id"].as_str().unwrap();
    let takes = model["takes"].as_array().into_iter().flatten().map(|file| {
        let file = file.as_str().unwrap();
        let (repository, name) = file.split_once(':').unwrap_or((id, file));
        (repository.to_owned(), name.to_owned())
    });
    Listed {
        id: id.to_owned(),
        takes: takes.collect(),
        config: model["config"].clone(),
        repositories: serde_json::from_value(model["repositories"].clone()).unwrap(),
        refused: model["refused"].as_str().map(str::to_owned),
    }
}

impl Listed {
    /// Whether its graphs are built from the weights.
    fn is_built(&self) -> bool {
        self.takes.iter().any(|(_, name)| name.contains("safetensors"))
    }

    /// A small file that says as much as a pull reads of the real one.
    fn content(&self, repository: &str, name: &str) -> Vec<u8> {
        let json = match name {
            "config.json" => json!({"model_type": self.config["model_type"], "text_config": {}}),
            "open_clip_config.json" => {
                let text = json!({"hf_tokenizer_name": self.config["hf_tokenizer_name"]});
                let vision = json!({"image_size": 224, "layers": 12, "width": 768, "patch_size": 16});
                let model = json!({"embed_dim": 512, "vision_cfg": vision, "text_cfg": text});
                json!({"model_cfg": model, "preprocess_cfg": {}})
            }
            "model.safetensors.index.json" => {
                let names = self.repositories[repository].keys();
                let shards = names.filter(|name| name.contains("-of-") && name.ends_with(".safetensors"));
                let places = shards.enumerate().map(|(at, shard)| (format!("tensor.{at}"), json!(shard)));
                json!({"metadata": {}, "weight_map": Value::Object(places.collect())})
            }
            _ if name.ends_with(".safetensors") => {
                // One number: the scale.
                let header = r#"{"logit_scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
                let length = (header.len() as u64).to_le_bytes();
                return [&length[..], header.as_bytes(), &4.6052_f32.to_le_bytes(), name.as_bytes()].concat();
            }
            _ if name.ends_with(".json") => json!({}),
            // It is read when the model is loaded, which does not happen here.
            _ => return format!("{repository} {name}").into_bytes(),
        };
        json.to_string().into_bytes()
    }
}

/// The names of the files of a repository that were downloaded.
fn downloaded(hub: &Hub, repository: &str) -> Vec<String> {
    let name = format!("hub/models--{}/snapshots/{COMMIT}", repository.replace('/', "--"));
    let folder = hub.home.path().join(name);
    let of = |below: &str| -> Vec<String> {
        let entries = fs::read_dir(folder.join(below)).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| format!("{below}{}", entry.file_name().to_str().unwrap())).collect()
    };
    [of(""), of("onnx/")].concat()
}

fn is_large(name: &str) -> bool {
    [".onnx", ".safetensors", ".safetensors.index.json"].iter().any(|end| name.ends_with(end))
}

#[test]
fn a_pull_takes_the_expected_files_of_each_well_known_model() {
    let models = models();
    assert_eq!(models.len(), 30);
    for model in &models {
        let hub = Hub::start();
        for (repository, files) in &model.repositories {
            for name in files.keys() {
                hub.add_file(repository, name, model.content(repository, name));
            }
        }
        let output = hub.run(&["models", "pull", &model.id, "--device", "cpu"]);
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(refused) = &model.refused {
            assert!(!output.status.success() && said.contains(refused), "{}: {said}", model.id);
            continue;
        }
        assert!(output.status.success(), "{}: {said}", model.id);
        let mut found: Vec<(String, String)> = Vec::new();
        for repository in model.repositories.keys() {
            let names = downloaded(&hub, repository);
            assert!(names.iter().all(|name| !name.ends_with(".bin") && !name.ends_with(".pt")), "{names:?}");
            let large = names.into_iter().filter(|name| is_large(name));
            found.extend(large.map(|name| (repository.clone(), name)));
        }
        found.sort();
        let mut expected = model.takes.clone();
        expected.sort();
        assert_eq!(found, expected, "{}: {said}", model.id);
        let says_so = said.contains("the graphs are built from the weights");
        assert_eq!(says_so, model.is_built(), "{}: {said}", model.id);
    }
}

/// The page names the models of the list, and how each is loaded.
#[test]
fn the_page_has_a_row_for_each_well_known_model() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let page = fs::read_to_string(page).unwrap();
    // Some of the models are in another table, too: that of sizes and memory.
    let (_, listed) = page.split_once("\n## Well-known models\n").unwrap();
    let (listed, _) = listed.split_once("\n## ").unwrap();
    for model in models() {
        let begin = format!("| `{}` |", model.id);
        let row = listed.lines().find(|line| line.starts_with(&begin));
        let row = row
            .unwrap_or_else(|| panic!("\"Well-known models\" of docs/models.md has no row for {}", model.id));
        let how = match (&model.refused, model.is_built()) {
            (Some(_), _) => "| not as it is |",
            (None, true) => "| weights |",
            (None, false) => "| ONNX files |",
        };
        assert!(row.contains(how), "{row}: expected {how}");
    }
}
