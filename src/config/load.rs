//! Finds the files of a configuration and reads them, or tells everything that is wrong with them.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Config, broker, build::build, read_label_sets, read_sources};
use crate::yaml::{
    Places, Surroundings,
    error::{Problems, Span},
    reader::Reader,
    tree,
};

const RULES: &str = "rules.d";
/// The longest file that is read: a configuration is typed by hand.
const LONGEST: u64 = 256 * 1024;

/// A configuration, and where each part of it was typed.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// For problems that only show later.
    pub places: Places,
    /// Whether a credential of systemd's stands in it that this process may not see; only [`look`] puts up with one.
    pub unseen: bool,
}

/// Reads the configuration at `path` and in `rules.d` beside it.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_here(path, false)
}

/// Likewise, by somebody who looks at it from outside of the service, which alone can read its credentials.
///
/// # Errors
///
/// Everything else that is wrong with it, at once.
pub fn look(path: &Path) -> Result<Loaded, Problems> {
    load_here(path, true)
}

fn load_here(path: &Path, unseen: bool) -> Result<Loaded, Problems> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = Some(hostname.trim()).filter(|name| !name.is_empty()).unwrap_or("localhost");
    // The folder of our own process belongs to whom it runs as.
    let superuser = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    load_in(path, &Surroundings { env: &|name| std::env::var_os(name), hostname, superuser, unseen })
}

pub(super) fn load_in(path: &Path, surroundings: &Surroundings<'_>) -> Result<Loaded, Problems> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut reader =
        Reader { places: Places::default(), problems: vec![], surroundings, folder, unseen: false };
    let main = read_file(&mut reader, path);
    let rules: Vec<_> =
        rules_files(&mut reader, path).iter().map(|path| read_file(&mut reader, path)).collect();
    let config = build(&mut reader, main.as_ref(), &rules);

    let Reader { problems, places, unseen, .. } = reader;
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, places, unseen }),
        _ => Err(Problems::new(problems)),
    }
}

/// A file and its tree.
pub(super) struct File {
    pub number: usize,
    pub root: tree::Node,
}

/// `None`: it cannot be read, and that is said already.
fn read_file(reader: &mut Reader<'_>, path: &Path) -> Option<File> {
    let (text, failure) = match read_text(path) {
        Ok(text) => (text, None),
        Err(failure) => (String::new(), Some(failure)),
    };
    let number = reader.places.files.add(path, text);
    if let Some((message, remedy)) = failure {
        reader.problems.push(reader.places.files.problem_of_file(number, message, remedy));
        return None;
    }
    let (root, mistakes) = tree::parse(number, reader.places.files.text(number));
    let broken = root.is_none() && !mistakes.is_empty();
    for mistake in mistakes {
        reader.problem(mistake.span, mistake.message, mistake.remedy);
    }
    let nothing =
        tree::Node { span: Span { file: number, start: 0, end: 0 }, value: tree::Value::Mapping(vec![]) };
    match root {
        _ if broken => None,
        Some(root) if !matches!(root.value, tree::Value::Nothing) => Some(File { number, root }),
        _ => Some(File { number, root: nothing }),
    }
}

/// What a file holds, as far as it is read: one byte more than a configuration may have shows that it is longer.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, (String, String)> {
    let bytes = match read_bytes(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let example = [broker::EXAMPLE, read_label_sets::EXAMPLE, read_sources::EXAMPLE].join("\n");
            let remedy =
                format!("name another one with `--config FILE`, or make it; a small one is:\n{example}");
            return Err(("there is no such file".to_owned(), remedy));
        }
        Err(error) => {
            let remedy = "let the user that the service runs as read it".to_owned();
            return Err((format!("the file cannot be read: {error}"), remedy));
        }
        Ok(bytes) if bytes.len() as u64 > LONGEST => {
            let message = format!("the file is longer than {} KB", LONGEST / 1024);
            return Err((message, "is it a configuration?".to_owned()));
        }
        Ok(bytes) => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        (format!("the file is not UTF-8, from line {line} on"), "save it as UTF-8".to_owned())
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The folder of rules beside the main file.
pub(super) fn rules_folder(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join(RULES)
}

/// What is meant as a file of rules, in the order of names, also by its name a wrong one. None where there is no folder.
pub(super) fn rules(main: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(rules_folder(main)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>();
    paths.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
    paths.sort();
    Ok(paths)
}

/// The files of `rules.d` that are read.
fn rules_files(reader: &mut Reader<'_>, main: &Path) -> Vec<PathBuf> {
    let mut paths = rules(main).unwrap_or_else(|error| {
        let message = format!("the folder cannot be read: {error}");
        whole_file(reader, &rules_folder(main), message, "let the user that the service runs as read it");
        vec![]
    });
    for path in paths.iter().filter(|path| path.extension() == Some(OsStr::new("yml"))) {
        whole_file(
            reader,
            path,
            "a file of rules whose name does not end in `.yaml`".to_owned(),
            "rename it, or move it away",
        );
    }
    paths.retain(|path| path.extension() == Some(OsStr::new("yaml")));
    paths
}

fn whole_file(reader: &mut Reader<'_>, path: &Path, message: String, remedy: &str) {
    let number = reader.places.files.add(path, String::new());
    reader.problems.push(reader.places.files.problem_of_file(number, message, remedy.to_owned()));
}
