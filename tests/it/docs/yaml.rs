//! Checks blocks of YAML. The program checks a configuration, or a part of one that is completed here. Files for other programs must
//! be valid YAML.

use std::{collections::BTreeSet, fs};

use granit_parser::Parser;

use crate::common::stakeout;

/// Label sets that a part of a configuration may refer to.
const LABEL_SETS: &str = "
label_sets:
  porch: { background: [an empty porch], labels: [person, package, dog] }
  street: { background: [an empty street], labels: [car] }
";
/// Top-level keys of files for other programs, and the program.
const OF_OTHERS: &[(&str, &str)] = &[
    ("triggers", "an automation of Home Assistant"),
    ("scrape_configs", "Prometheus"),
    ("groups", "Prometheus"),
    ("services", "Compose"),
    ("apiVersion", "Kubernetes"),
];

/// The fault of a block, if there is one.
pub fn fault(text: &str) -> Option<String> {
    let mistakes = Parser::new_from_str(text).filter_map(Result::err).next();
    if let Some(mistake) = mistakes {
        return Some(mistake.to_string());
    }
    let keys = keys(text, "");
    if OF_OTHERS.iter().any(|(key, _)| keys.contains(*key)) {
        return None;
    }
    check(&framed(text, &keys), text)
}

/// The keys with this indentation.
fn keys<'t>(text: &'t str, indent: &str) -> BTreeSet<&'t str> {
    let key = |line: &'t str| {
        let (key, rest) = line.strip_prefix(indent)?.split_once(':')?;
        let is_key = !key.is_empty() && !key.starts_with([' ', '#', '-', '"']);
        (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
    };
    text.lines().filter_map(key).collect()
}

/// The block, completed to a whole configuration.
fn framed(text: &str, has: &BTreeSet<&str>) -> String {
    let mut whole = text.to_owned();
    if !has.contains("mqtt") {
        whole.push_str("\nmqtt: { url: mqtt://localhost }\n");
    }
    if !has.contains("label_sets") {
        whole.push_str(LABEL_SETS);
    }
    if !has.contains("sources") {
        let sets = text.split("label_sets:").nth(1).map_or(BTreeSet::new(), |sets| keys(sets, "  "));
        let watched = sets.first().copied().unwrap_or("porch");
        whole.push_str(&format!("\nsources: {{ front-door: {{ folder: ., watch: [{watched}] }} }}\n"));
    }
    whole
}

fn check(whole: &str, text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stakeout.yaml");
    fs::write(&file, whole).unwrap();
    let mut command = stakeout();
    command.args(["check", "--offline", "--config"]).arg(&file);
    for variable in text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next()) {
        command.env(variable, "value");
    }
    let output = command.output().unwrap();
    let reported = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code() != Some(0)).then(|| format!("{reported}\nin\n{whole}"))
}

#[test]
fn a_block_that_is_wrong_is_found() {
    for right in [
        "home_assistant: true",
        "model: org/name\ndevice: cpu",
        "label_sets:\n  yard:\n    labels: { fox: 0.5, cat: 0.5 }",
        "sources:\n  gate: { mqtt: a/b, watch: [porch] }",
        "mqtt: { url: mqtt://h, password: \"${env:X}\", username: me }",
        "triggers:\n  - trigger: state",
    ] {
        assert_eq!(fault(right), None, "{right}");
    }
    for wrong in [
        "home_asistant: true",
        "label_sets:\n  yard:\n    labels: { fox: 1.5, cat: 0.5 }",
        "sources:\n  gate: { mqtt: a/b, watch: [nothing] }",
        "triggers: [\n",
        "nothing_of_ours: 1",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
}
