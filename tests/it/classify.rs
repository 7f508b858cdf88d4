//! `stakeout classify`, as a user sees it.

use std::{fs, path::PathBuf, process::Output};

use serde_json::Value;

use crate::common::{fixtures, stakeout};

fn classify(arguments: &[&str]) -> Output {
    stakeout().arg("classify").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A small model, and a picture.
fn clip_and_images() -> Option<(String, PathBuf)> {
    let folder = fixtures("hf-parity")?;
    Some((folder.join("models/tiny-clip").display().to_string(), folder.join("images")))
}

#[test]
fn json_is_one_line_a_picture_in_the_order_given_and_a_failure_stops_nobody() {
    let Some((model, images)) = clip_and_images() else { return };
    let path = |name: &str| images.join(name).display().to_string();
    let pictures = [
        path("landscape_420.jpg"),
        path("bad_truncated.jpg"),
        path("nowhere.jpg"),
        "http://10.0.0.9/a.jpg".to_owned(),
        path("rgba_radial.png"),
    ];
    let mut arguments = vec!["--model", &model, "--format", "json"];
    for label in ["cat", "dog", "an astronaut", "a cup of coffee", "rocket", "flower"] {
        arguments.extend(["--label", label]);
    }
    arguments.extend(pictures.iter().map(String::as_str));
    let output = classify(&arguments);

    assert_eq!(output.status.code(), Some(1), "one picture failed: {}", text(&output.stderr));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert_eq!(names, pictures);
    for (line, part) in [(1, "cut off"), (2, "cannot be read"), (3, "not supported in this version")] {
        assert!(lines[line]["error"].as_str().unwrap().contains(part), "{}", lines[line]);
        assert!(lines[line].get("scores").is_none());
    }
    let scores = lines[0]["scores"].as_array().unwrap();
    let (label, score) = (scores[0]["label"].as_str().unwrap(), scores[0]["score"].as_f64().unwrap());
    // From the recorded full precision of the reference.
    assert_eq!((scores.len(), label), (6, "flower"));
    assert!((score - 0.385_304_1).abs() < 1e-4, "{score}");
    let sum: f64 = scores.iter().map(|score| score["score"].as_f64().unwrap()).sum();
    assert!(
        (sum - 1.0).abs() < 1e-5 && scores.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64())
    );
}

#[test]
fn the_table_is_for_people_and_failures_go_to_standard_error() {
    let Some((model, images)) = clip_and_images() else { return };
    let path = |name: &str| images.join(name).display().to_string();
    let (good, bad) = (path("landscape_420.jpg"), path("bad_empty.png"));
    let output = classify(&["--model", &model, "--label", "cat", "--label", "flower", &good, &bad]);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], good);
    assert!(lines[1].starts_with("  flower  █") && lines[1].ends_with(" %"), "{table}");
    assert!(lines[2].starts_with("  cat     "), "{table}");
    assert_eq!(lines.len(), 3);
    assert_eq!(text(&output.stderr), format!("error: {bad}: it is empty\n"));
}

#[test]
fn labels_come_from_a_file_too_and_a_template_around_them() {
    let Some(folder) = fixtures("mira-clip") else { return };
    let labels = tempfile::NamedTempFile::new().unwrap();
    fs::write(labels.path(), "# what is on offer\n\n  shoes \nwatches\n").unwrap();
    let picture = folder.join("samples/7724.png").display().to_string();
    let (model, labels) = (folder.display().to_string(), labels.path().display().to_string());
    let arguments = [
        "--model",
        &model,
        "--template",
        "{}",
        "--format",
        "json",
        "--label",
        "bags",
        "--labels-from",
        &labels,
        &picture,
    ];
    let output = classify(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    let found: Vec<&str> =
        line["scores"].as_array().unwrap().iter().map(|score| score["label"].as_str().unwrap()).collect();
    assert_eq!(found, ["shoes", "watches", "bags"]);
}

#[test]
fn one_label_alone_is_allowed_as_in_the_pipeline() {
    let Some((model, images)) = clip_and_images() else { return };
    let picture = images.join("landscape_420.jpg").display().to_string();
    let output = classify(&["--model", &model, "--label", "cat", "--format", "json", &picture]);
    let line: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(line["scores"], serde_json::json!([{"label": "cat", "score": 1.0}]));
}

#[test]
fn wrong_usage_exits_with_64_and_help_with_0() {
    assert_eq!(classify(&["picture.jpg"]).status.code(), Some(64), "no label");
    assert_eq!(classify(&["--label", "cat"]).status.code(), Some(64), "no picture");
    assert_eq!(classify(&["--label", "cat", "--format", "xml", "a.jpg"]).status.code(), Some(64));
    assert_eq!(classify(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_model_that_is_not_there_is_one_readable_error() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().display().to_string();
    let error = |model: &str| {
        let output = stakeout()
            .env("HF_HUB_CACHE", empty.path())
            .env("HF_HUB_OFFLINE", "1")
            .args(["classify", "--label", "cat", "--model", model, "a.jpg"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        text(&output.stderr).to_owned()
    };
    assert_eq!(
        error(&folder),
        format!(
            "error: the model in {folder} is incomplete; missing: config.json, preprocessor_config.json, \
             tokenizer.json, onnx/vision_model.onnx, onnx/text_model.onnx (or onnx/model.onnx). A model is a folder in \
             the hub's layout, with its ONNX export in `onnx/`\n"
        )
    );
    let hub = error("openai/clip-vit-base-patch16");
    assert!(hub.contains("openai/clip-vit-base-patch16 is not on this machine"), "{hub}");
    assert!(hub.contains("HF_HUB_OFFLINE forbids to fetch it"), "{hub}");
    assert!(error("no such/model").contains("organisation/name"));
}

#[test]
fn a_missing_onnx_runtime_is_one_readable_error() {
    let Some((model, _)) = clip_and_images() else { return };
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), "no library").unwrap();
    let named = stakeout()
        .env("ORT_DYLIB_PATH", wrong.path())
        .args(["classify", "--label", "cat", "--model", &model, "a.jpg"])
        .output()
        .unwrap();
    let error = text(&named.stderr);
    assert!(error.contains("(named by ORT_DYLIB_PATH) cannot be used: "), "{error}");
    assert_eq!((named.status.code(), error.lines().count()), (Some(1), 1));

    // Somewhere else than where `make setup` puts it; a system that has it installed cannot show this.
    let home = tempfile::tempdir().unwrap();
    let nowhere = stakeout()
        .env("HOME", home.path())
        .env_remove("XDG_DATA_HOME")
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH")
        .args(["classify", "--label", "cat", "--model", &model, "a.jpg"])
        .output()
        .unwrap();
    let error = text(&nowhere.stderr);
    if error.contains("ONNX Runtime") {
        let data = home.path().join(".local/share/stakeout/lib").display().to_string();
        for part in ["make setup", "/usr/lib/stakeout: none there", &data, "libonnxruntime.so.1 (by name): "]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
