//! `stakeout models verify` with pictures: the distance of a variant from full precision.

use std::{fs, path::PathBuf, process::Output};

use serde_json::Value;

use crate::common::{fixtures, service::sample, stakeout};

fn verify(arguments: &[&str]) -> Output {
    stakeout().args(["models", "verify"]).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A small model with variants, and a folder with three pictures and a broken one.
fn clip_and_pictures() -> Option<(String, tempfile::TempDir)> {
    let parity = fixtures("hf-parity")?;
    let folder = tempfile::tempdir().unwrap();
    for name in ["landscape_420.jpg", "portrait_444.jpg", "rgba_radial.png", "bad_truncated.jpg"] {
        fs::write(folder.path().join(name), fs::read(parity.join("images").join(name)).unwrap()).unwrap();
    }
    Some((parity.join("models/tiny-clip").display().to_string(), folder))
}

#[test]
fn a_variant_is_compared_with_full_precision_on_given_pictures() {
    let Some((model, folder)) = clip_and_pictures() else { return };
    let pictures = folder.path().display().to_string();
    let labels = ["cat", "dog", "an astronaut", "a cup of coffee", "rocket", "flower"];
    let labels: Vec<&str> = labels.into_iter().flat_map(|label| ["--label", label]).collect();
    let run = |more: &[&str]| {
        let output = verify(&[&[model.as_str(), &pictures, "--format", "json"], &labels[..], more].concat());
        assert!(text(&output.stderr).contains("bad_truncated.jpg: "), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    };

    let (code, half) = run(&["--variant", "fp16"]);
    assert_eq!((code, &half["agrees"]), (Some(0), &true.into()), "{half}");
    assert_eq!((&half["pictures"], &half["failed"]), (&3.into(), &1.into()), "{half}");
    assert_eq!((&half["tried"]["variant"], &half["against"]["variant"]), (&"fp16".into(), &"fp32".into()));
    assert_eq!((&half["tried"]["device"], &half["against"]["device"]), (&"cpu".into(), &"cpu".into()));
    let number = |report: &Value, path: &str| report.pointer(path).unwrap().as_f64().unwrap();
    assert!(number(&half, "/cosine/min") > 0.999 && number(&half, "/cosine/median") > 0.999, "{half}");
    // The limits of the reference data for the other variants: 1e-2 and 0.15.
    let apart = number(&half, "/score_difference/max");
    assert!(apart > 0.0 && apart < 1e-2, "{half}");
    assert!(number(&half, "/tried/pictures_a_second") > 0.0, "{half}");

    let (_, coarse) = run(&["--variant", "quantized", "--min-agreement", "0"]);
    let (least, apart) = (number(&coarse, "/cosine/min"), number(&coarse, "/score_difference/max"));
    assert!(least < number(&half, "/cosine/min") && apart < 0.15, "{coarse}");

    let (code, strict) = run(&["--variant", "quantized", "--min-cosine", "0.99999"]);
    assert_eq!((code, &strict["agrees"]), (Some(1), &false.into()), "{strict}");
    let (code, same) = run(&["--variant", "fp16", "--against", "fp16", "--min-cosine", "0.99999"]);
    assert_eq!((code, number(&same, "/score_difference/max")), (Some(0), 0.0), "{same}");
}

#[test]
fn the_table_output() {
    let Some((model, folder)) = clip_and_pictures() else { return };
    let pictures = folder.path().display().to_string();
    let output = verify(&["--model", &model, "--variant", "fp16", "--min-agreement", "0", &pictures]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let first = format!("{model}: fp16 on cpu against fp32 on cpu, 3 pictures (1 could not be scored)");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (6, &*first), "{table}");
    for (line, start) in
        [(1, "  cosine"), (2, "  same best label"), (3, "  largest score"), (4, "  speed"), (5, "agrees: ")]
    {
        assert!(lines[line].starts_with(start), "{table}");
    }
}

#[test]
fn the_model_is_the_bundled_one_or_the_one_of_the_configuration() {
    let pictures = sample("red-car.jpg").parent().unwrap().display().to_string();
    let output = verify(&["--against", "fp32", &pictures]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("bundled: fp32 on cpu against fp32 on cpu, "));

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("stakeout.yaml");
    // No broker listens there, and the command does not connect.
    let yaml = "mqtt: { url: mqtt://127.0.0.1:1 }\nstate_dir: state\nlabel_sets:\n  cars:\n    background: [an empty scene]\n\
        \x20   labels: { red car: 0.5, blue car: 0.5 }\nsources: { inbox: { folder: ., watch: [cars] } }\n";
    fs::write(&config, yaml).unwrap();
    let config = config.display().to_string();
    let output = verify(&["--config", &config, "--format", "json", &pictures]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["score_difference"]["label_set"], &report["agreement"]),
        (&"cars".into(), &1.0.into())
    );
}

#[test]
fn errors_are_reported() {
    let Some((model, folder)) = clip_and_pictures() else { return };
    let pictures = folder.path().display().to_string();
    let error = |arguments: &[&str], code: i32| {
        let output = verify(arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(error(&[&model, &pictures, "--variant", "int8"], 1).contains("onnx/vision_model_int8.onnx"));
    assert!(error(&[&pictures, "--variant", "int8"], 1).contains("the bundled model has no other variant"));
    let broken = PathBuf::from(&pictures).join("bad_truncated.jpg").display().to_string();
    assert!(error(&[&model, &broken], 1).contains("none of the pictures could be scored"));
    assert!(error(&[&model, &pictures, "--min-agreement", "95"], 64).contains("from 0 to 1"));
    assert_eq!(verify(&[]).status.code(), Some(64), "no model is named");
}
