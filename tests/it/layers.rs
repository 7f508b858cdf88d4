//! Holds the house to its plan: who may name whom, where each heavy crate lives, and what a pure module may not touch.
//!
//! It reads the source text down to the tests of a file: what a test names is the test's own business.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A module at the top of the crate, and which others of ours it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("atomic_file", &[]),
    ("backoff", &[]),
    ("config", &["atomic_file"]),
    ("https", &[]),
    ("metrics", &[]),
    ("picture", &[]),
    ("pulse", &[]),
    ("frame", &["config", "picture"]),
    ("trigger", &["config"]),
    ("mqtt", &["config"]),
    ("listen", &["config"]),
    ("source", &["backoff", "config", "frame", "https", "metrics", "mqtt", "picture", "pulse"]),
    ("classify", &["atomic_file", "backoff", "config", "frame", "https", "metrics", "picture", "pulse"]),
    ("alert", &["atomic_file", "backoff", "config", "frame", "https", "metrics", "mqtt", "picture"]),
    (
        "daemon",
        &[
            "alert",
            "atomic_file",
            "backoff",
            "classify",
            "config",
            "frame",
            "listen",
            "metrics",
            "mqtt",
            "picture",
            "pulse",
            "source",
            "trigger",
        ],
    ),
    (
        "commands",
        &[
            "alert", "backoff", "classify", "config", "daemon", "frame", "https", "mqtt", "picture",
            "source", "trigger",
        ],
    ),
];

/// A heavy crate, and the only places that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("ffmpeg_next", &["source/stream"]),
    ("gif", &["picture"]),
    ("granit_parser", &["config"]),
    ("image", &["picture"]),
    ("indicatif", &["commands/progress"]),
    ("notify", &["source/folder", "config/watch"]),
    ("ort", &["classify/model"]),
    ("png", &["picture"]),
    ("rumqttc", &["mqtt"]),
    ("rusqlite", &["alert/outbox"]),
    ("tokenizers", &["classify/model"]),
    ("turbojpeg", &["picture"]),
    ("http_auth", &["source/http"]),
    ("ureq", &["alert/sinks/webhook", "classify/hub", "commands/fetch", "https", "source/http"]),
];

/// Decisions: they are given what they need, time too.
const PURE: &[&str] = &[
    "alert/home_assistant",
    "alert/mod",
    "alert/scores",
    "alert/topics",
    "backoff",
    "classify/preprocess",
    "classify/score",
    "daemon/judge",
    "daemon/plan",
    "source/mqtt/payload",
    "source/mqtt/waiting",
    "source/sampler",
    "source/unchanged",
    "trigger",
];
const IMPURE: &[&str] =
    &["tokio", "std::fs", "std::net", "std::thread", "Instant", "SystemTime", "Timestamp::now", "tracing"];

#[test]
fn nobody_names_a_module_that_the_plan_does_not_allow() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == file.module) else {
            assert!(["lib", "main"].contains(&file.module.as_str()), "{} is not in the plan", file.name);
            continue;
        };
        for named in names_after(&file.text, "crate::") {
            if named != file.module && !allowed.contains(&named.as_str()) {
                wrong.push(format!("src/{}.rs names crate::{named}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "against the plan in src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn each_heavy_crate_has_one_home() {
    let mut seen = BTreeSet::new();
    for file in source_files() {
        for (heavy, homes) in HOMES {
            if !names_crate(&file.text, heavy) {
                continue;
            }
            seen.insert(*heavy);
            let at_home = homes.iter().any(|home| is_in(&file.name, home));
            assert!(at_home, "src/{}.rs names {heavy}, which lives in {homes:?}", file.name);
        }
    }
    let expected = HOMES.iter().map(|(heavy, _)| *heavy).collect();
    assert_eq!(seen, expected, "a crate that nobody names any more should leave this table");
}

#[test]
fn decisions_are_pure() {
    let files = source_files();
    for pure in PURE {
        let homes = files.iter().filter(|file| is_in(&file.name, pure)).collect::<Vec<_>>();
        assert!(!homes.is_empty(), "src/{pure}.rs is gone");
        for file in homes {
            let touched = IMPURE.iter().find(|impure| names_path(&file.text, impure));
            assert_eq!(touched, None, "src/{}.rs is meant to be pure", file.name);
        }
    }
}

struct SourceFile {
    /// `alert/outbox`
    name: String,
    /// `alert`
    module: String,
    /// Without comments and without the file's tests.
    text: String,
}

fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap().with_extension("").to_str().unwrap().to_owned();
        let module = name.split('/').next().unwrap().to_owned();
        SourceFile { name, module, text: without_tests_and_comments(&fs::read_to_string(path).unwrap()) }
    };
    paths.iter().map(read).filter(|file| !file.name.ends_with("tests")).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The first path segments that follow `prefix`, also those inside `prefix{...}`.
fn names_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

/// `a::{x, y}, b::c, d}` has the heads `a`, `b` and `d`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut at_head) = (Vec::new(), 1, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_head = true,
            _ if at_head && !character.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let name = text
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect::<String>();
    (!name.is_empty()).then_some(name)
}

fn names_crate(text: &str, name: &str) -> bool {
    [format!("{name}::"), format!("use {name};")].iter().any(|path| names_path(text, path))
}

/// Whether `path` stands in `text` from the start of a word on, and not behind another segment.
fn names_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "_:.".contains(character))
    })
}

fn is_in(name: &str, home: &str) -> bool {
    name == home || name.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn the_reader_of_use_lines_sees_what_is_there() {
    let text = "use crate::{alert::{Alert, topics}, config, frame::Frame};\nlet x = crate::mqtt::options();";
    let expected = ["alert", "config", "frame", "mqtt"].map(String::from);
    assert_eq!(names_after(text, "crate::"), BTreeSet::from(expected));
    assert!(names_crate("use ort::session::Session;", "ort"));
    assert!(!names_crate("use report::Line; support::run()", "ort"));
    assert!(is_in("source/folder/scan", "source/folder") && !is_in("source/folder2", "source/folder"));
}
