//! `stakeout check`: the text that people see for each kind of mistake, word by word.
//!
//! `mistakes/NAME.yaml` (or `mistakes/NAME/stakeout.yaml`) is what somebody typed, `mistakes/NAME.txt` what they are told.
//! With `UPDATE_EXPECTED=1` the texts are written anew: read the difference before you commit it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use crate::common::stakeout;

fn check(folder: &Path, config: &str) -> Output {
    stakeout()
        .args(["check", "--offline", "--config", config])
        .current_dir(folder)
        .env_remove("STATE_DIRECTORY")
        .output()
        .expect("the binary runs")
}

fn mistakes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mistakes")
}

/// The name of each case, its folder, and its configuration in it.
fn cases() -> Vec<(String, PathBuf, String)> {
    let entries = fs::read_dir(mistakes()).expect("the folder of mistakes");
    let case = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            None => Some((name, path, "stakeout.yaml".to_owned())),
            Some("yaml") => Some((name.clone(), mistakes(), format!("{name}.yaml"))),
            Some(_) => None,
        }
    };
    let mut cases: Vec<_> = entries.filter_map(|entry| case(entry.ok()?.path())).collect();
    cases.sort();
    assert!(cases.len() > 100, "some cases are not found");
    cases
}

#[test]
fn every_mistake_is_told_in_the_expected_words() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut different = String::new();
    for (name, folder, config) in cases() {
        let output = check(&folder, &config);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{name}: {told}");
        assert!(output.stdout.is_empty(), "{name} writes to standard output");
        assert!(!told.contains("hunter2"), "{name} shows a password: {told}");

        let expected = mistakes().join(format!("{name}.txt"));
        if update {
            fs::write(&expected, &told).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != told {
            different += &format!("\n--- {name}: this is told now\n{told}");
        }
    }
    assert!(
        different.is_empty(),
        "{different}\nIf this is right: UPDATE_EXPECTED=1 cargo test --test it check"
    );
}

#[test]
fn one_file_shows_all_its_mistakes_at_once() {
    let told = String::from_utf8(check(&mistakes(), "many.yaml").stderr).unwrap();
    assert_eq!(told.matches("error: ").count(), 24, "{told}");
    assert!(told.ends_with("\n24 problems found\n"), "{told}");
}

#[test]
fn the_example_and_the_reference_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for (config, summary) in [
        ("stakeout.yaml", "ok: 1 source, 1 label set, 3 labels\n"),
        ("reference.yaml", "ok: 4 sources, 2 label sets, 5 labels\n"),
    ] {
        let output = check(&folder, config);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), summary);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
    }
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("latin1.yaml", b"mqtt:\n  prefix: T\xfcr\n");
    write("long.yaml", &b"# nothing\n".repeat(1_000_000));
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let cases = [
        (
            "none.yaml",
            "error: there is no such file\n --> none.yaml\n  = help: name another one with `--config FILE`",
        ),
        ("latin1.yaml", "error: the file is not UTF-8, from line 2 on\n --> latin1.yaml"),
        ("long.yaml", "error: the file is longer than 256 KB\n --> long.yaml"),
        ("folder.yaml", "error: the file cannot be read: Is a directory"),
    ];
    for (config, begin) in cases {
        let output = check(folder.path(), config);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.starts_with(begin), "{told}");
        assert!(told.ends_with("1 problem found\n"), "{told}");
    }
}
