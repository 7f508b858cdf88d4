//! Code for one kind of processor has a twin in plain code, and a test that compares the two: the program does the same on arm64, where it
//! was not run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The files with code for one architecture, each with the call of its twin and with the test that compares them.
const TWINS: [(&str, &str, &str, &str); 4] = [
    (
        "src/model/preprocess/resize/mod.rs",
        "plain::horizontal(rgb, width, rows, axis, 0)",
        "src/model/preprocess/resize/tests.rs",
        "fn wide_registers_change_nothing(",
    ),
    (
        "src/model/preprocess/resize/wide.rs",
        "",
        "src/model/preprocess/resize/tests.rs",
        "fn a_camera_picture_is_the_same_with_wide_registers(",
    ),
    (
        "src/history/search/query.rs",
        "count(&self.planes, signs, sums);",
        "src/history/search/query.rs",
        "fn estimates_are_the_sums_over_signs(",
    ),
    // Which of two ranges of 8-bit weights is used; the code of both is plain.
    (
        "src/model/build/quantise.rs",
        "Self::Whole\n    }",
        "src/model/build/quantise.rs",
        "fn products_of_the_reduced_magnitude_do_not_overflow(",
    ),
];
/// What only code for one architecture says.
const MARKS: [&str; 5] = ["target_arch", "std::arch", "core::arch", "pulp::", "target_feature"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn code_for_one_processor_has_a_twin_that_a_test_compares() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let marked: BTreeSet<String> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            MARKS.iter().any(|mark| text.contains(mark))
        })
        .map(|file| file.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    let known: BTreeSet<String> = TWINS.iter().map(|(file, ..)| (*file).to_owned()).collect();
    assert_eq!(
        marked, known,
        "write a twin in plain code, a test that compares both, and a row in this table"
    );
    for (file, twin, test_file, test) in TWINS {
        let (text, tests) = (read(file), read(test_file));
        assert!(text.contains(twin), "{file}: the call {twin:?} is not there");
        let (before, _) = tests.split_once(test).unwrap_or_else(|| panic!("{test_file}: no {test}"));
        // The test is compiled on every architecture.
        let attributes = before.trim_end().lines().rev().take_while(|line| !line.trim().is_empty());
        assert!(!attributes.into_iter().any(|line| line.contains("cfg(")), "{test_file}: {test}");
        // The twin is outside of what is compiled for one architecture only.
        let lines: Vec<_> = text.lines().collect();
        if let Some(at) = lines.iter().position(|line| !twin.is_empty() && line.contains(twin)) {
            assert!(!lines[at - 1].contains("target_arch"), "{file}:{}", at + 1);
        }
    }
}

/// The crates that are compiled for one architecture only.
#[test]
fn no_crate_is_for_one_processor_only_but_those_of_the_twins() {
    let manifest = read("Cargo.toml");
    let (_, section) =
        manifest.split_once("[target.'cfg(target_arch = \"x86_64\")'.dependencies]\n").unwrap();
    let section = section.split("\n[").next().unwrap();
    let crates: Vec<_> =
        section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert_eq!(crates, ["pulp"]);
    assert_eq!(manifest.matches("[target.").count(), 1);
}

/// The wheel with ONNX Runtime, the package and the app of Home Assistant are for both processors.
#[test]
fn both_processors_are_packaged() {
    let setup = read("tools/setup.sh");
    for machine in ["x86_64", "aarch64"] {
        let hashes: Vec<_> =
            setup.lines().filter_map(|line| line.trim().strip_prefix(machine)?.strip_prefix(':')).collect();
        assert_eq!(hashes.len(), 2, "the newest and the oldest ONNX Runtime for {machine}");
        for hash in hashes {
            let hash = hash.trim_end_matches([' ', '\\']);
            assert!(
                hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{machine}: {hash}"
            );
        }
    }
    let app = read("packaging/home-assistant/stakeout/config.yaml");
    assert!(app.contains("\n  - aarch64\n  - amd64\n"));
    let image = read("packaging/home-assistant/stakeout/Dockerfile");
    assert!(image.contains("stakeout_*_$(dpkg --print-architecture).deb"));
}
