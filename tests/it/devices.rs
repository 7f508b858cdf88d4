//! Devices: a missing device is an error with a remedy; `auto` falls back to the CPU.
//!
//! The ONNX Runtime of the tests supports only the CPU.

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
fn a_missing_device_is_an_error_with_a_remedy() {
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
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{log}");
        assert!(log.starts_with(&format!("error: the device {device} is not in the ONNX Runtime")), "{log}");
        assert!(log.contains("libonnxruntime.so") && log.contains("which has cpu."), "{log}");
        assert!(expected.iter().all(|part| log.contains(part)), "{log}");
        assert!(log.trim_end().ends_with("or set `device: cpu`"), "{log}");
    }
    let output = classify(&["--device", "gpu"]);
    assert_eq!(output.status.code(), Some(64), "wrong usage");
}

#[test]
fn auto_uses_the_cpu_if_there_is_nothing_else_with_the_same_scores() {
    let auto = classify(&["--device", "auto"]);
    let cpu = classify(&["--device", "cpu", "--threads", "1", "--max-batch", "1"]);
    assert!(auto.status.success() && cpu.status.success(), "{auto:?} {cpu:?}");
    assert_eq!(auto.stdout, cpu.stdout);
    assert_eq!(String::from_utf8(auto.stderr).unwrap(), "", "the fallback is no error");
}

#[test]
fn a_missing_device_is_reported_at_its_place_in_the_configuration() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    let config = folder.path().join("stakeout.yaml");
    // No broker listens there, and neither command connects.
    let text = "device: cuda\nmqtt: { url: mqtt://127.0.0.1:1 }\nstate_dir: state\n\
        label_sets: { porch: { labels: [cat, dog] } }\nsources: { inbox: { folder: inbox, watch: [porch] } }\n";
    fs::write(&config, text).unwrap();
    for command in ["run", "check"] {
        let output = stakeout().arg(command).arg("--config").arg(&config).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{log}");
        assert!(log.contains("stakeout.yaml:1:9") && log.contains("1 | device: cuda"), "{log}");
        assert!(log.contains("error: the device cuda is not in the ONNX Runtime"), "{log}");
    }
}
