//! Finds and reads the files of a configuration; the result is a valid configuration or all problems.

use std::{
    cell::Cell,
    ffi::OsStr,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    assemble::{self, Config, File, Included, assemble},
    http_endpoint::Listen,
    label_sets, sources,
};
use crate::{
    policy::broker,
    shortage::Shortage,
    text_file::{self, TextFileError},
    yaml::{
        Places,
        error::Problems,
        mask::Secret,
        reader::{Reader, Surroundings},
    },
};

/// The configuration of the working folder, and of the machine. The first one that exists is used, unless one is named.
pub const USUAL_PLACES: [&str; 2] = ["./stakeout.yaml", "/etc/stakeout/stakeout.yaml"];
/// The folder of files with more label sets, and the folder of files with more sources.
const RULES: Folder = Folder { name: "rules.d", content: "rules" };
const SOURCES: Folder = Folder { name: "sources.d", content: "sources" };
/// The longest file that is read.
const LONGEST: u64 = 256 * 1024;

/// A configuration, and the place of each setting.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The places, for problems that are found later.
    pub places: Places,
    /// Whether it has a systemd credential that this process may not read; only [`look`] accepts one.
    pub unseen: bool,
    /// The files in which a password is typed, and not a reference to one.
    pub secret_files: Vec<PathBuf>,
    /// The values of references; only [`load_with`] keeps them.
    pub referenced: Vec<Secret>,
}

/// A text in place of the content of a file.
#[derive(Debug, Clone, Copy)]
pub struct Replaced<'t> {
    /// The file: the main one, or one of `rules.d` or `sources.d`.
    pub file: &'t Path,
    /// What is read instead.
    pub text: &'t str,
}

/// A folder beside the main file, whose files are read as well.
#[derive(Debug, Clone, Copy)]
struct Folder {
    name: &'static str,
    /// What is in its files, for messages.
    content: &'static str,
}

/// Reads the configuration at `path`, and in `rules.d` and `sources.d` beside it.
///
/// # Errors
///
/// All problems.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_here(path, false)
}

/// Reads a configuration as [`load`] does, outside of the service. Credentials that only the service can read stay hidden.
///
/// # Errors
///
/// All other problems.
pub fn look(path: &Path) -> Result<Loaded, Problems> {
    load_here(path, true)
}

/// Reads the configuration at `path` with a text in place of one of its files, and everything else as it is on the disk. The problems
/// show no value that a reference provides: the person who wrote the text may not know it.
///
/// # Errors
///
/// All problems.
pub fn load_with(path: &Path, replaced: Replaced<'_>) -> Result<Loaded, Problems> {
    here(false, |surroundings| {
        let mut reader = Reader::new(surroundings, folder_of(path));
        reader.referenced = Some(Vec::new());
        load_by(reader, path, Some(replaced))
    })
}

/// Reads a configuration as [`look`] does, with a text in place of one of its files: for a file that is not written yet.
///
/// # Errors
///
/// All problems.
pub fn look_with(path: &Path, replaced: Replaced<'_>) -> Result<Loaded, Problems> {
    here(true, |surroundings| load_by(Reader::new(surroundings, folder_of(path)), path, Some(replaced)))
}

/// Reads only `listen` of the configuration at `path`, for a client of the HTTP endpoint. Other mistakes do not matter: the service
/// may run with the configuration from before them.
///
/// # Errors
///
/// All problems, if `listen` is invalid or the file cannot be read.
pub fn listen(path: &Path) -> Result<Option<Listen>, Problems> {
    here(false, |surroundings| {
        let mut reader = Reader::new(surroundings, folder_of(path));
        let main = read_file(&mut reader, path, None);
        let listen = main.and_then(|main| assemble::listen(&mut reader, &main));
        let Reader { problems, shortage, .. } = reader;
        listen.ok_or_else(|| Problems::new(problems).with_shortage(shortage.get()))
    })
}

/// Reads only `state_dir` of the configuration at `path`, for a command that only needs to find the running service. Other mistakes do
/// not matter: the command may be the way to correct them.
///
/// # Errors
///
/// All problems, if `state_dir` is invalid or the file cannot be read.
pub fn state_dir(path: &Path) -> Result<PathBuf, Problems> {
    here(true, |surroundings| {
        let mut reader = Reader::new(surroundings, folder_of(path));
        let main = read_file(&mut reader, path, None);
        let state_dir = main.and_then(|main| assemble::state_dir(&mut reader, &main));
        let Reader { problems, shortage, .. } = reader;
        state_dir.ok_or_else(|| Problems::new(problems).with_shortage(shortage.get()))
    })
}

fn load_here(path: &Path, unseen: bool) -> Result<Loaded, Problems> {
    here(unseen, |surroundings| load_in(path, surroundings))
}

/// Calls `read` with what this process has around a configuration.
fn here<T>(unseen: bool, read: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = Some(hostname.trim()).filter(|name| !name.is_empty()).unwrap_or("localhost");
    // The owner of the process's own folder is the user that it runs as.
    let superuser = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    read(&Surroundings { env: &|name| std::env::var_os(name), hostname, superuser, unseen })
}

/// The folder that paths in the configuration at `path` are relative to.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

pub(super) fn load_in(path: &Path, surroundings: &Surroundings<'_>) -> Result<Loaded, Problems> {
    load_by(Reader::new(surroundings, folder_of(path)), path, None)
}

fn load_by(mut reader: Reader<'_>, path: &Path, replaced: Option<Replaced<'_>>) -> Result<Loaded, Problems> {
    let main = read_file(&mut reader, path, replaced);
    let mut files = |folder| -> Vec<Option<File>> {
        let paths = files_to_read(&mut reader, path, folder);
        paths.iter().map(|path| read_file(&mut reader, path, replaced)).collect()
    };
    let included = Included { rules: files(RULES), sources: files(SOURCES) };
    let config = assemble(&mut reader, main.as_ref(), &included);

    let Reader { problems, places, unseen, shortage, secret_files, referenced, .. } = reader;
    let secret_files =
        secret_files.into_iter().filter_map(|file| Some(places.files.path(file)?.to_owned())).collect();
    let referenced = referenced.unwrap_or_default();
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Loaded { config, places, unseen, secret_files, referenced })
        }
        _ => Err(Problems::new(problems).with_shortage(shortage.get()).without(&referenced)),
    }
}

/// Reads a file; `None` if that fails, which is reported.
fn read_file(reader: &mut Reader<'_>, path: &Path, replaced: Option<Replaced<'_>>) -> Option<File> {
    let bytes = match replaced.filter(|replaced| replaced.file == path) {
        Some(Replaced { text, .. }) if text.len() as u64 > LONGEST => {
            Err(TextFileError::TooLong { limit: LONGEST })
        }
        Some(Replaced { text, .. }) => Ok(text.as_bytes().to_vec()),
        None => read_bytes(path),
    };
    let (text, failure) = match read_text(bytes, &reader.shortage) {
        Ok(text) => (text, None),
        Err(failure) => (String::new(), Some(failure)),
    };
    let number = reader.places.files.add(path, text);
    if let Some((message, remedy)) = failure {
        reader.lost_file(number, message, remedy);
        return None;
    }
    Some(File { number, root: reader.tree(number)? })
}

/// The content of a configuration file, as it is.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, TextFileError> {
    text_file::read_bytes(path, LONGEST)
}

fn read_text(
    bytes: Result<Vec<u8>, TextFileError>,
    shortage: &Cell<Option<Shortage>>,
) -> Result<String, (String, String)> {
    bytes.and_then(text_file::text).map_err(|error| {
        if let Some(found) = error.shortage() {
            shortage.set(Some(found));
            return (format!("the file cannot be read: {found}"), found.remedy().to_owned());
        }
        let remedy = match &error {
            TextFileError::Io(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let example = [broker::EXAMPLE, label_sets::EXAMPLE, sources::EXAMPLE].join("\n");
                let [here, machine] = USUAL_PLACES;
                let remedy = format!(
                    "name another one with `--config FILE`, or create it; without this option `{here}` is used if it exists, else \
                     `{machine}`. A small one is:\n{example}"
                );
                return ("there is no such file".to_owned(), remedy);
            }
            TextFileError::Io(_) => "make it readable for the user that the service runs as",
            TextFileError::TooLong { .. } => "name a configuration",
            TextFileError::Encoding(_) | TextFileError::NotUtf8 { .. } => error.remedy(),
        };
        (format!("the file {error}"), remedy.to_owned())
    })
}

impl Folder {
    /// Its path beside the main file.
    fn beside(self, main: &Path) -> PathBuf {
        main.parent().unwrap_or(Path::new("")).join(self.name)
    }
}

/// The folders beside the main file whose files are read as well.
pub(super) fn included_folders(main: &Path) -> [PathBuf; 2] {
    [RULES, SOURCES].map(|folder| folder.beside(main))
}

/// The files of `rules.d` and `sources.d` in the order of their names, those that end in `.yml` included.
pub(super) fn included(main: &Path) -> io::Result<Vec<PathBuf>> {
    let [rules, sources] = included_folders(main).map(|folder| files_in(&folder));
    Ok([rules?, sources?].concat())
}

/// The YAML files of a folder in the order of their names, those that end in `.yml` included; empty without the folder.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>();
    paths.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
    paths.sort();
    Ok(paths)
}

/// The files of a folder that are read.
fn files_to_read(reader: &mut Reader<'_>, main: &Path, folder: Folder) -> Vec<PathBuf> {
    let place = folder.beside(main);
    let mut paths = files_in(&place).unwrap_or_else(|error| {
        reader.shortage.set(reader.shortage.get().or(Shortage::of_io(&error)));
        let message = format!("the folder cannot be read: {error}");
        whole_file(reader, &place, message, "make it readable for the user that the service runs as");
        vec![]
    });
    for path in paths.iter().filter(|path| path.extension() == Some(OsStr::new("yml"))) {
        let message = format!("the name of a file of {} does not end in `.yaml`", folder.content);
        whole_file(reader, path, message, "rename it, or move it to another folder");
    }
    paths.retain(|path| path.extension() == Some(OsStr::new("yaml")));
    paths
}

fn whole_file(reader: &mut Reader<'_>, path: &Path, message: String, remedy: &str) {
    let number = reader.places.files.add(path, String::new());
    reader.problems.push(reader.places.files.problem_of_file(number, message, remedy.to_owned()));
}
