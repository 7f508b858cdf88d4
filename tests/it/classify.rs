//! The output of `stakeout classify`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use crate::common::{fixtures, service::sample, stakeout};

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
fn the_limit_of_pixels_can_be_set() {
    let Some((model, images)) = clip_and_images() else { return };
    let picture = images.join("landscape_420.jpg").display().to_string();
    let limited = |pixels: &str| {
        classify(&["--model", &model, "--format", "json", "--label", "cat", "--max-pixels", pixels, &picture])
    };
    let refused = limited("100");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stdout).contains("more than the 100 that max_pixels allows"),
        "{}",
        text(&refused.stdout)
    );
    assert_eq!(limited("10000000000").status.code(), Some(0));
}

#[test]
fn json_has_a_line_for_each_picture_in_order_also_after_a_failure() {
    let Some((model, images)) = clip_and_images() else { return };
    let path = |name: &str| images.join(name).display().to_string();
    let pictures = [
        path("landscape_420.jpg"),
        path("bad_truncated.jpg"),
        path("nowhere.jpg"),
        "http://127.0.0.1:1/a.jpg".to_owned(), // no server
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
    for (line, part) in [(1, "cut off"), (2, "cannot be read"), (3, "cannot be fetched")] {
        assert!(lines[line]["error"].as_str().unwrap().contains(part), "{}", lines[line]);
        assert!(lines[line].get("scores").is_none());
    }
    let scores = lines[0]["scores"].as_array().unwrap();
    let (label, score) = (scores[0]["label"].as_str().unwrap(), scores[0]["score"].as_f64().unwrap());
    // The recorded score of the reference in full precision.
    assert_eq!((scores.len(), label), (6, "flower"));
    assert!((score - 0.385_304_1).abs() < 1e-4, "{score}");
    let sum: f64 = scores.iter().map(|score| score["score"].as_f64().unwrap()).sum();
    assert!(
        (sum - 1.0).abs() < 1e-5 && scores.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64())
    );
}

#[test]
fn the_table_is_printed_and_failures_go_to_standard_error() {
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
fn labels_may_come_from_a_file_and_have_a_template() {
    let Some(folder) = fixtures("mira-clip") else { return };
    let labels = tempfile::NamedTempFile::new().unwrap();
    fs::write(labels.path(), "\u{feff}# what is on offer\n\n  shoes \nwatches\n").unwrap();
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
fn a_file_of_labels_is_read_as_every_text_file() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.txt");
    let picture = sample("red-car.jpg").display().to_string();
    let classified = |content: &[u8]| {
        fs::write(&labels, content).unwrap();
        classify(&["--format", "json", "--labels-from", labels.to_str().unwrap(), &picture])
    };
    let scored = |content: &[u8]| {
        let output = classified(content);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert_eq!(scored(b"\xef\xbb\xbfred car\r\ngreen tree\r\n"), scored(b"red car\ngreen tree\n"));
    for (content, expected) in [
        (&b"\xff\xfec\0a\0t\0"[..], "labels.txt is UTF-16, not UTF-8: save it as UTF-8"),
        (b"cat\nK\xfcche\n", "labels.txt is not UTF-8, starting at line 2 (byte 5): save it as UTF-8"),
        (b"\xef\xbb\xbf# only this\n", "labels.txt holds no labels"),
    ] {
        let output = classified(content);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn a_prompt_too_long_for_the_model_is_scored_and_reported() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chinese-clip");
    let (cut, long) = ("红".repeat(130), "红".repeat(60));
    let labels = ["--label", &cut, "--label", &long, "--label", "红色的车"];
    let picture = sample("red-car.jpg").display().to_string();
    let output = classify(&[&["--model", model], &labels[..], &[&picture]].concat());
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    for part in [
        "this prompt has 138 tokens, and the model sees 128: the end of the prompt is ignored",
        "this prompt has 68 tokens, and the model was trained on at most 52",
    ] {
        assert!(log.contains(part), "{part:?} is missing in {log}");
    }
    assert_eq!(log.matches("this prompt has").count(), 2, "{log}");
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
fn a_missing_model_is_one_readable_error() {
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
             the hub's layout, with its weights in `model.safetensors`, or with its ONNX export in `onnx/`\n"
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

    // With another data folder than that of `make setup`. A system-wide installation would still be found.
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

#[test]
fn a_library_that_is_too_old_is_one_readable_error() {
    const OLD: &str = r#"
        struct base { const void *(*api)(unsigned); const char *(*version)(void); };
        static const void *api(unsigned wanted) { (void)wanted; return 0; }
        static const char *version(void) { return "1.10.0"; }
        static struct base base = { api, version };
        struct base *OrtGetApiBase(void) { return &base; }
    "#;
    let folder = tempfile::tempdir().unwrap();
    let [source, library] = ["old.c", "libonnxruntime.so"].map(|name| folder.path().join(name));
    fs::write(&source, OLD).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("the build needs a C compiler anyway").success());

    let picture = sample("red-car.jpg").display().to_string();
    let arguments = ["classify", "--label", "a car", "--onnxruntime", library.to_str().unwrap(), &picture];
    let output = stakeout().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    for part in [library.to_str().unwrap(), "1.10.0", "1.21 is needed", "make setup"] {
        assert!(log.contains(part), "{part:?} is missing in {log}");
    }
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn pictures_may_come_from_web_addresses() {
    let picture = fs::read(sample("red-car.jpg")).unwrap();
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let mut request = String::new();
            BufReader::new(&connection).read_line(&mut request).unwrap();
            let (status, body) = if request.contains("/red-car") {
                ("200 OK", &picture[..])
            } else {
                ("404 Not Found", &b"none"[..])
            };
            let length = body.len();
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .unwrap();
            connection.write_all(body).unwrap();
        }
    });

    let (here, gone) = (format!("{address}/red-car.jpg"), format!("{address}/gone.jpg"));
    let output =
        classify(&["--label", "a red car", "--label", "an empty scene", "--format", "json", &gone, &here]);
    assert_eq!(output.status.code(), Some(1), "one of them failed");
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap());
    let [first, second] = &lines.collect::<Vec<Value>>()[..] else { panic!("two lines") };
    assert_eq!(first["image"], gone.as_str());
    assert!(first["error"].as_str().unwrap().contains("404"), "{first}");
    assert_eq!((&second["image"], &second["scores"][0]["label"]), (&here.into(), &"a red car".into()));
}

/// The scores of every line with its picture.
fn scored(output: &Output) -> Vec<(String, Value)> {
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["image"].as_str().unwrap().to_owned(), line["scores"].clone())).collect()
}

fn assert_alike(a: &Value, b: &Value) {
    let (a, b) = (a.as_array().unwrap(), b.as_array().unwrap());
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a["label"], b["label"]);
        assert!((a["score"].as_f64().unwrap() - b["score"].as_f64().unwrap()).abs() < 1e-4, "{a} and {b}");
    }
}

#[test]
fn folders_and_patterns_are_expanded_and_a_batch_changes_no_score() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir_all(folder.path().join("day/night")).unwrap();
    for (from, to) in [
        ("red-car.jpg", "day/b.jpg"),
        ("blue-car.jpg", "day/a.jpg"),
        ("blue-umbrella.jpg", "day/night/no-ending"),
        ("black-key.jpg", "z.jpg"),
    ] {
        fs::copy(sample(from), folder.path().join(to)).unwrap();
    }
    fs::write(folder.path().join("day/damaged.jpg"), "nothing of the kind").unwrap();
    fs::write(folder.path().join("day/notes.txt"), "no picture").unwrap();
    let run = |more: &[&str]| {
        let labels =
            ["--format", "json", "--label", "a red car", "--label", "a blue umbrella", "--label", "a key"];
        classify(&[&labels[..], more].concat())
    };

    let (day, pattern) = (at("day"), at("*.jpg"));
    let together = run(&["--max-batch", "3", &pattern, &day]);
    assert_eq!(together.status.code(), Some(1), "one is damaged: {}", text(&together.stderr));
    let together = scored(&together);
    let names: Vec<_> = together.iter().map(|(name, _)| name.clone()).collect();
    let expected = ["z.jpg", "day/a.jpg", "day/b.jpg", "day/damaged.jpg", "day/night/no-ending"].map(at);
    assert_eq!(names, expected);
    assert!(together[3].1.is_null());
    assert_eq!(together[2].1[0]["label"], "a red car");

    let one_by_one = scored(&run(&["--max-batch", "1", &pattern, &day]));
    for ((name, scores), (other, alone)) in together.iter().zip(&one_by_one) {
        assert_eq!(name, other);
        if !scores.is_null() {
            assert_alike(scores, alone);
        }
    }

    fs::create_dir(folder.path().join("empty")).unwrap();
    let output = run(&[&at("empty"), &at("*.png"), &at("z.jpg")]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["error"], "there is no picture in this folder");
    assert_eq!(lines[1]["error"], "there is no picture that this pattern matches");
    assert_eq!(lines[2]["scores"].as_array().unwrap().len(), 3, "the others are scored");
}

#[test]
fn a_picture_may_come_from_standard_input() {
    let mut child = stakeout()
        .args(["classify", "--format", "json", "--label", "a red car", "--label", "a key", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(sample("red-car.jpg")).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [(name, scores)] = &scored(&output)[..] else { panic!("one line") };
    assert_eq!((&**name, &scores[0]["label"]), ("-", &"a red car".into()));
}

#[test]
fn a_graph_with_a_fixed_batch_size_accepts_fewer_pictures_and_texts() {
    let Some((model, images)) = clip_and_images() else { return };
    let fixed = tempfile::tempdir().unwrap();
    fs::create_dir(fixed.path().join("onnx")).unwrap();
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json"] {
        fs::write(fixed.path().join(name), fs::read(PathBuf::from(&model).join(name)).unwrap()).unwrap();
    }
    // As in the combined graph.
    fs::write(fixed.path().join("stakeout.json"), r#"{"logit_scale": 8.0}"#).unwrap();
    // The free dimension `batch_size` becomes 3; the remaining bytes of the name become a denotation.
    let (free, three) = (b"\x12\x0abatch_size", b"\x08\x03\x1a\x08ignored_");
    for name in ["onnx/vision_model.onnx", "onnx/text_model.onnx"] {
        let graph = fs::read(PathBuf::from(&model).join(name)).unwrap();
        let mut patched = graph.clone();
        for at in 0..graph.len() - free.len() {
            if graph[at..].starts_with(free) {
                patched[at..at + free.len()].copy_from_slice(three);
            }
        }
        assert!(patched != graph, "{name}");
        fs::write(fixed.path().join(name), &patched).unwrap();
    }

    let names = ["landscape_420.jpg", "portrait_444.jpg", "rgba_radial.png", "exact_224.png"];
    let pictures = names.map(|name| images.join(name).display().to_string());
    let run = |model: &str| {
        let mut arguments = vec!["--model", model, "--format", "json", "--label", "cat", "--label", "flower"];
        arguments.extend(pictures.iter().map(String::as_str));
        let output = classify(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        scored(&output)
    };
    let (free, fixed) = (run(&model), run(&fixed.path().display().to_string()));
    for ((_, free), (_, fixed)) in free.iter().zip(&fixed) {
        assert_alike(free, fixed);
    }
}
