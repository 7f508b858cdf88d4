//! Where the model runs: what was asked for and is not there is an error that says what to do; `auto` falls back.
//!
//! The ONNX Runtime of the tests runs on the processor only.

use std::{fs, path::Path, process::Output};

use tempfile::TempDir;

use crate::common::stakeout;

fn sample() -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples");
    let mut pictures: Vec<_> = fs::read_dir(samples).unwrap().flatten().map(|entry| entry.path()).collect();
    pictures.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    pictures.sort();
    pictures[0].to_str().unwrap().to_owned()
}

fn classify(more: &[&str]) -> Output {
    let labels = ["classify", "--format", "json", "--label", "cat", "--label", "dog"];
    stakeout().args(labels).args(more).arg(sample()).output().unwrap()
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_a_remedy() {
    let cases = [
        ("cuda:1", &["onnxruntime-gpu", "provider libraries"][..]),
        ("tensorrt", &["onnxruntime-gpu"]),
        ("openvino:gpu", &["onnxruntime-openvino"]),
        ("migraphx", &["AMD"]),
        ("rocm", &["1.22", "migraphx"]),
        ("coreml", &["Apple"]),
        ("directml", &["Windows"]),
    ];
    for (device, expected) in cases {
        let output = classify(&["--device", device]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
        assert!(
            told.starts_with(&format!("error: the device {device} is not in the ONNX Runtime")),
            "{told}"
        );
        assert!(told.contains("libonnxruntime.so") && told.contains("which has cpu."), "{told}");
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        assert!(told.trim_end().ends_with("or write `device: cpu`"), "{told}");
    }
    let output = classify(&["--device", "gpu"]);
    assert_eq!(output.status.code(), Some(64), "wrong usage");
}

#[test]
fn auto_takes_the_processor_where_there_is_nothing_else_and_the_scores_are_the_same() {
    let auto = classify(&["--device", "auto"]);
    let cpu = classify(&["--device", "cpu", "--threads", "1", "--max-batch", "1"]);
    assert!(auto.status.success() && cpu.status.success(), "{auto:?} {cpu:?}");
    assert_eq!(auto.stdout, cpu.stdout);
    assert_eq!(String::from_utf8(auto.stderr).unwrap(), "", "there is nothing that failed");
}

#[test]
fn a_device_of_the_configuration_that_is_not_there_is_shown_where_it_was_typed() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    let config = folder.path().join("stakeout.yaml");
    // Nobody listens there, and nobody is asked.
    let text = "device: cuda\nmqtt: { url: mqtt://127.0.0.1:1 }\nstate_dir: state\n\
        label_sets: { porch: { labels: [cat, dog] } }\nsources: { inbox: { folder: inbox, watch: [porch] } }\n";
    fs::write(&config, text).unwrap();
    for command in ["run", "check"] {
        let output = stakeout().arg(command).arg("--config").arg(&config).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.contains("stakeout.yaml:1:9") && told.contains("1 | device: cuda"), "{told}");
        assert!(told.contains("error: the device cuda is not in the ONNX Runtime"), "{told}");
    }
}
