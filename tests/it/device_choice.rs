//! How the service chooses among what it can run: in real processes, and with processes whose answers a test writes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use stakeout::{
    config::{self, Config, Device, Loaded, ModelRef, Variant},
    trial::{self, Program, Record, TrialOutcome},
};
use tempfile::TempDir;

/// A configuration whose model has graphs of full precision and of 8 bits; these are copies of the others.
fn configuration(folder: &Path) -> Config {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled");
    let model = folder.join("model");
    fs::create_dir_all(model.join("onnx")).unwrap();
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json", "stakeout.json"] {
        fs::copy(bundled.join(name), model.join(name)).unwrap();
    }
    for name in ["vision_model", "text_model"] {
        for suffix in ["", "_int8"] {
            let copy = model.join(format!("onnx/{name}{suffix}.onnx"));
            fs::copy(bundled.join(format!("onnx/{name}.onnx")), copy).unwrap();
        }
    }
    fs::create_dir(folder.join("inbox")).unwrap();
    let path = folder.join("stakeout.yaml");
    let text = "model: ./model\nmqtt: { url: mqtt://127.0.0.1:1 }\nstate_dir: state\n\
        label_sets: { porch: { labels: [cat, dog] } }\nsources: { inbox: { folder: inbox, watch: [porch] } }\n";
    fs::write(&path, text).unwrap();
    let Ok(Loaded { config, .. }) = config::load(&path) else { panic!("a valid configuration") };
    config
}

/// A program that answers with `full` for full precision and with `reduced` for 8 bits.
fn program(folder: &Path, full: &str, reduced: &str) -> Program {
    let path = folder.join("program");
    let script = format!(
        "#!/bin/sh\nread -r request\necho started >>'{}'\ncase \"$request\" in\n*'\"suffix\":\"_int8\"'*) {reduced} ;;\n*) {full} ;;\nesac\n",
        starts_file(folder).display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Program::at(path)
}

fn starts_file(folder: &Path) -> PathBuf {
    folder.join("starts")
}

/// How often the program was started.
fn starts(folder: &Path) -> usize {
    fs::read_to_string(starts_file(folder)).unwrap_or_default().lines().count()
}

/// The command that prints a measurement.
fn measured(milliseconds: u32, canary: &str) -> String {
    let time = format!(r#"{{"secs":0,"nanos":{}}}"#, milliseconds * 1_000_000);
    let answer = format!(
        r#"{{"Measured":{{"load":{time},"one":{time},"batched":{time},"canary":{canary},"placement":{{}}}}}}"#
    );
    format!("echo 'stakeout-trial: {answer}'")
}

const RIGHT: &str = r#"{"Ok":{"cosine":0.9999,"difference":0.001,"took":{"secs":0,"nanos":1}}}"#;

fn variant(config: &Config) -> Variant {
    let ModelRef::Folder(_, variant) = &config.model else { panic!("{:?}", config.model) };
    *variant
}

#[test]
fn real_processes_measure_and_compare() {
    let folder = TempDir::new().unwrap();
    let config = configuration(folder.path());
    let program =
        Program::at(env!("CARGO_BIN_EXE_stakeout")).with("XDG_CACHE_HOME", folder.path().join("cache"));
    let choice = trial::choose(&config, &program).unwrap();
    let record = Record::read(&config.state_dir);
    // The machine may have plugins.
    let on_processor = record.trials.iter().filter(|trial| trial.candidate.device == Device::Cpu);
    let names: Vec<_> = on_processor.clone().map(|trial| trial.candidate.to_string()).collect();
    assert_eq!(names, ["cpu fp32", "cpu int8"], "{record:?}");
    let canaries = on_processor.map(|trial| match &trial.outcome {
        TrialOutcome::Measured(measurement) => measurement.canary.clone(),
        other => panic!("{other:?}"),
    });
    let [None, Some(Ok(figures))] = &canaries.collect::<Vec<_>>()[..] else { panic!("{record:?}") };
    assert!(figures.cosine > 0.9999 && figures.difference < 1e-5, "the same graph: {figures:?}");
    assert!(!choice.reason.is_empty(), "{choice:?}");
    assert_eq!(trial::chosen_before(&config), choice);
}

#[test]
fn the_fastest_that_computes_right_is_chosen_once() {
    for (reduced, expected) in [
        (measured(90, RIGHT), Variant::Named("int8")),
        (measured(190, RIGHT), Variant::Auto),
        (measured(90, r#"{"Err":"not_a_number"}"#), Variant::Auto),
        (r#"echo 'stakeout-trial: {"Failed":"no"}'"#.to_owned(), Variant::Auto),
        ("kill -SEGV $$".to_owned(), Variant::Auto),
    ] {
        let folder = TempDir::new().unwrap();
        let config = configuration(folder.path());
        let program = program(folder.path(), &measured(200, "null"), &reduced);
        let choose = || variant(&trial::choose(&config, &program).unwrap().apply(&config));
        assert_eq!(choose(), expected, "{reduced}");
        let first = starts(folder.path());
        assert!(first >= 2, "{reduced}: {first}");
        assert_eq!((choose(), starts(folder.path())), (expected, first), "{reduced}: also a crash is kept");
        assert_eq!(variant(&trial::chosen_before(&config).apply(&config)), expected, "{reduced}");
        assert_eq!(trial::forget(&config.state_dir).unwrap(), 2);
        assert_eq!(variant(&trial::chosen_before(&config).apply(&config)), Variant::Auto);
        choose();
        assert_eq!(starts(folder.path()), 2 * first, "{reduced}: everything is tried again");
    }
}

#[test]
fn nothing_is_tried_where_there_is_no_choice() {
    let folder = TempDir::new().unwrap();
    let config = configuration(folder.path());
    let program = program(folder.path(), "kill -SEGV $$", "kill -SEGV $$");
    let cpu = config::Execution { device: Device::Cpu, ..config.execution };
    let named = ModelRef::Folder(folder.path().join("model"), Variant::Named("fp32"));
    for config in [
        Config { execution: cpu, ..config.clone() },
        Config { model: named, ..config.clone() },
        Config { model: ModelRef::Bundled, ..config.clone() },
    ] {
        let choice = trial::choose(&config, &program).unwrap();
        assert_eq!(choice.apply(&config), config);
    }
    assert_eq!(starts(folder.path()), 0);
    assert!(!config.state_dir.join("devices.json").exists());
}
