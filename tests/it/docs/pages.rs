//! Checks pages that are generated from the program, quote its messages, or link to each other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
    process::Command,
};

use super::blocks::{anchor, documents, root};
use crate::common::stakeout;

#[test]
fn the_page_of_the_configuration_is_that_of_the_schema() {
    let output = stakeout().args(["schema", "--format", "markdown"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.len() > 5_000, "{printed}");
    let page = root().join("docs/configuration.md");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&page, &printed).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    let different = printed.lines().zip(written.lines()).find(|(printed, written)| printed != written);
    assert!(
        printed == written,
        "docs/configuration.md is out of date, first here: {different:#?}\n\
         Generate it with: UPDATE_EXPECTED=1 cargo test --test it docs::pages"
    );
}

/// The program's source, with continued lines of a text joined as they are printed.
pub fn source() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, text),
                false => text.push_str(&fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }
    let mut text = String::new();
    collect(&root().join("src"), &mut text);
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start()).replace("\\\"", "\"")
}

/// The messages that the tables with `it says` quote in their first cells, with their lines. `...` replaces variable parts.
fn quoted(document: &str) -> Vec<(usize, String)> {
    let mut says = false;
    let rows = document.lines().enumerate().filter_map(move |(number, line)| {
        says = line.starts_with("| it says |") || says && line.starts_with('|');
        let cell = line.strip_prefix("| `")?.split(" | ").next().filter(|_| says)?;
        Some((number + 1, cell))
    });
    rows.flat_map(|(number, cell)| {
        let code = cell.split('`').step_by(2);
        code.map(move |code| (number, code.to_owned())).collect::<Vec<_>>()
    })
    .filter(|(_, code)| !code.trim_matches([' ', ',']).is_empty() && code.trim() != "or")
    .collect()
}

#[test]
fn quoted_messages_are_in_the_program() {
    let (source, document) = (source(), fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap());
    let quoted = quoted(&document);
    assert!(quoted.len() > 30, "{quoted:?}");
    for (line, message) in quoted {
        for part in message.split("...").map(str::trim).filter(|part| !part.is_empty()) {
            assert!(
                source.contains(part),
                "docs/troubleshooting.md:{line}: the program has no message {part:?}"
            );
        }
    }
}

/// The automations use the entity names that are published for Home Assistant.
#[test]
fn the_automation_uses_published_entities() {
    let page = fs::read_to_string(root().join("docs/home-assistant.md")).unwrap();
    let published = fs::read_to_string(root().join("src/alert/home_assistant/tests/expected.json")).unwrap();
    let word = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
    let named: Vec<_> =
        page.split(|letter| !word(letter)).filter(|name| name.contains(".stakeout_")).collect();
    assert!(named.len() >= 3, "{named:?}");
    for name in named {
        assert!(published.contains(&format!("\"{name}\"")), "docs/home-assistant.md: {name}");
    }
}

#[test]
fn links_have_a_target() {
    let documents = documents();
    let headings: BTreeMap<_, Vec<_>> = documents
        .iter()
        .map(|document| {
            let headings = document.text.lines().filter(|line| line.starts_with('#'));
            (document.name.as_str(), headings.map(|line| anchor(line.trim_start_matches('#'))).collect())
        })
        .collect();
    let mut links = 0;
    for document in &documents {
        let folder = Path::new(&document.name).parent().unwrap();
        for link in document.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            links += 1;
            let (file, part) = link.split_once('#').map_or((link, None), |(file, part)| (file, Some(part)));
            let path =
                if file.is_empty() { root().join(&document.name) } else { root().join(folder).join(file) };
            assert!(path.exists(), "{}: {link} does not exist", document.name);
            if let Some(part) = part {
                let path = path.canonicalize().unwrap();
                let name = path.strip_prefix(root().canonicalize().unwrap()).unwrap().to_str().unwrap();
                let known = headings.get(name).is_some_and(|headings| headings.iter().any(|it| it == part));
                assert!(known, "{}: {link}: the page has no such heading", document.name);
            }
        }
    }
    assert!(links > 40, "{links}");
}

/// The README links to every page.
#[test]
fn the_readme_links_to_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for document in documents().iter().filter(|document| document.name.starts_with("docs/")) {
        assert!(
            readme.contains(&format!("]({})", document.name)),
            "README.md has no link to {}",
            document.name
        );
    }
}

/// The README is a front page; details belong into the other pages.
#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 130, "{} lines", readme.lines().count());
}

/// The drawings that do not depend on a run of the program are those of `tools/diagrams.py`.
#[test]
fn the_diagrams_are_those_of_the_script() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["frame-path", "trigger-states", "fleet"] {
        let mut draw = Command::new("python3");
        draw.arg(root().join("tools/diagrams.py")).args(["--only", name, "--out"]).arg(folder.path());
        let output = draw.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = format!("{name}.svg");
        let drawn = fs::read_to_string(folder.path().join(&file)).unwrap();
        let written = fs::read_to_string(root().join("docs/images").join(&file)).unwrap();
        assert!(drawn == written, "docs/images/{file} is out of date: run tools/diagrams.py --only {name}");
    }
}

/// The files of the Debian package: their paths below `/usr/share/doc/stakeout`, and in the repository.
fn packaged() -> BTreeMap<String, String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let assets = manifest.split("\nassets = [\n").nth(1).unwrap().split("\n]\n").next().unwrap();
    let mut files = BTreeMap::new();
    for line in assets.lines().map(str::trim).filter(|line| line.starts_with('[')) {
        let cells: Vec<_> = line.split('"').skip(1).step_by(2).collect();
        let Some(folder) = cells[1].strip_prefix("usr/share/doc/stakeout/") else { continue };
        let fixed = cells[0].split('*').next().unwrap();
        for path in glob::glob(root().join(cells[0]).to_str().unwrap())
            .unwrap()
            .flatten()
            .filter(|path| path.is_file())
        {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let inside =
                if fixed == cells[0] { name.rsplit('/').next().unwrap() } else { &name[fixed.len()..] };
            files.insert(format!("{folder}{inside}"), name);
        }
    }
    files
}

/// Pages of an installed package link to files that are installed, too.
#[test]
fn links_of_the_package_have_a_target() {
    let (files, mut links) = (packaged(), 0);
    for (page, name) in files.iter().filter(|(page, _)| page.ends_with(".md") && *page != "CHANGELOG.md") {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let folder = Path::new(page).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            links += 1;
            let target = folder.join(link).components().fold(Vec::new(), |mut path, part| {
                match part {
                    Component::ParentDir => drop(path.pop()),
                    part => path.push(part.as_os_str().to_str().unwrap().to_owned()),
                }
                path
            });
            let target = target.join("/");
            let is_there = files.contains_key(&target)
                || files.keys().any(|file| file.starts_with(&format!("{target}/")));
            assert!(is_there, "{page} links to {link}, which is not in the package");
        }
    }
    assert!(links > 40, "{links}");
}

/// The oldest supported ONNX Runtime is defined by a feature of `ort`; all pages and comments name the same version.
#[test]
fn the_oldest_onnx_runtime_is_the_same_everywhere() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let oldest = manifest.split("\"api-").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let text = stakeout::engine::onnx::RuntimeError::NotFound { tried: vec![] }.to_string();
    assert!(text.contains(&format!("1.{oldest} or newer")), "{text}");
    let named = fancy_regex::Regex::new(
        r"ONNX Runtime[^\n|.]{0,40}? 1\.(\d+)(?:\.\d+)?,? (?:or|and) (?:newer|later)",
    )
    .unwrap();
    let mut found = vec![];
    for folder in [".", "docs", "docs/measurements", "packaging", "src", "tools", "systemd", "models/bundled"]
    {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for version in named.captures_iter(&text).map(|found| found.unwrap()[1].to_owned()) {
                assert_eq!(version, oldest, "{}", path.display());
                found.push(path.clone());
            }
        }
    }
    for page in ["Cargo.toml", "docs/commands.md"] {
        assert!(found.contains(&root().join(page)), "{page} does not name the version");
    }
}
