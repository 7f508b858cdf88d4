//! Finds and loads the ONNX Runtime library. The binary starts without it, so that whoever lacks it is told in words.
//!
//! It refuses to load one at random: what the configuration or the environment names is taken or it is an error.

use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    LoadDynamicError,
    environment::{Environment, EnvironmentBuilder},
};

use super::device::Tried;

/// ONNX Runtime, loaded. There is one in a process, however often it is asked for.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    /// Where the library was found.
    library: Arc<str>,
    pub(crate) tried: Tried,
}

/// Why there is no ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The library that was named cannot be used.
    #[error(
        "the ONNX Runtime library {} ({by}) cannot be used: {reason}. Name another one, or none and run `make setup`",
        .path.display()
    )]
    Named {
        /// What was named.
        path: PathBuf,
        /// Who named it.
        by: &'static str,
        /// Why not.
        reason: String,
    },
    /// No library was named, and none was found.
    #[error(
        "ONNX Runtime (libonnxruntime.so, 1.{} or newer) was not found: run `make setup`, or install it and name it \
         with `onnxruntime:` in the configuration or ORT_DYLIB_PATH. Looked at:{}",
        ort::MINOR_VERSION,
        .tried.iter().map(|(place, reason)| format!("\n  {place}: {reason}")).collect::<String>()
    )]
    NotFound {
        /// Every place, and what was wrong there.
        tried: Vec<(String, String)>,
    },
    /// The library is there and refuses to start.
    #[error("ONNX Runtime does not start: {0}")]
    Start(String),
}

/// ONNX Runtime allows one environment in a process, even after the first is gone.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// What the dynamic linker finds by itself.
const BY_NAME: &str = "libonnxruntime.so.1";

impl Runtime {
    /// Loads the library: `explicit` if given, else `ORT_DYLIB_PATH`, else the first usable one beside the executable, in
    /// its `../lib` and `../lib/stakeout`, in `/usr/lib/stakeout`, in the user's data folder, and last what the dynamic
    /// linker knows.
    ///
    /// A library that is loaded already stays, whatever is named.
    ///
    /// # Errors
    /// One error that lists every place that was looked at and says what to do.
    pub fn load(explicit: Option<&Path>) -> Result<Self, RuntimeError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let (builder, path) = match named(explicit) {
            Some((path, by)) => match ort::init_from(&path) {
                Ok(builder) => (builder, path),
                Err(error) => return Err(RuntimeError::Named { path, by, reason: reason(&error) }),
            },
            None => found(&folders())?,
        };
        let environment = builder
            .with_name("stakeout")
            .with_telemetry(false)
            .build()
            .map_err(|error| RuntimeError::Start(error.to_string()))?;
        let library = path.display().to_string().into();
        Ok(loaded.insert(Self { environment, library, tried: Tried::default() }).clone())
    }

    /// The library: where it is.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.library
    }

    /// What tells one build of the library from another.
    #[must_use]
    pub fn build(&self) -> &'static str {
        ort::info()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn named(explicit: Option<&Path>) -> Option<(PathBuf, &'static str)> {
    let environment = || env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    explicit
        .map(|path| (path.to_owned(), "named by `onnxruntime`"))
        .or_else(|| environment().map(|path| (path.into(), "named by ORT_DYLIB_PATH")))
}

fn folders() -> Vec<PathBuf> {
    let executable = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let beside = executable.iter().flat_map(|folder| {
        let lib = folder.parent().unwrap_or(folder).join("lib");
        [folder.clone(), lib.clone(), lib.join("stakeout")]
    });
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    beside
        .chain([PathBuf::from("/usr/lib/stakeout")])
        .chain(data.map(|data| data.join("stakeout/lib")))
        .collect()
}

/// The first library that can be used, of `folders` in order.
fn found(folders: &[PathBuf]) -> Result<(EnvironmentBuilder, PathBuf), RuntimeError> {
    let mut tried = Vec::new();
    for folder in folders {
        let libraries = libraries(folder);
        if libraries.is_empty() {
            tried.push((folder.display().to_string(), "none there".to_owned()));
        }
        for path in libraries {
            match ort::init_from(&path) {
                Ok(builder) => return Ok((builder, path)),
                Err(error) => tried.push((path.display().to_string(), reason(&error))),
            }
        }
    }
    match ort::init_from(BY_NAME) {
        Ok(builder) => Ok((builder, BY_NAME.into())),
        Err(error) => {
            tried.push((format!("{BY_NAME} (by name)"), reason(&error)));
            Err(RuntimeError::NotFound { tried })
        }
    }
}

/// Every `libonnxruntime.so*` of a folder, the newest version first.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let version = |path: &Path| -> Option<Vec<u32>> {
        let name = path.file_name()?.to_str()?.strip_prefix("libonnxruntime.so")?;
        Some(name.split('.').skip(1).map(|part| part.parse().unwrap_or(0)).collect())
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut libraries: Vec<_> =
        entries.filter_map(|entry| version(&entry.path()).map(|version| (version, entry.path()))).collect();
    libraries.sort_by(|a, b| Reverse(&a.0).cmp(&Reverse(&b.0)).then(a.1.cmp(&b.1)));
    libraries.into_iter().map(|(_, path)| path).collect()
}

/// In our words: the crate's own name its version, not what to do.
fn reason(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => {
            // The linker's own words stand behind the wrapper's.
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
        LoadDynamicError::MissingApi { .. } => "it is not ONNX Runtime".to_owned(),
        LoadDynamicError::InvalidVersionString => "it does not tell its version".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => {
            format!("it is too old: {version_str}, and 1.{} is needed", ort::MINOR_VERSION)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_a_folder_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_shared.so",
            "libz.so.1",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = libraries(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0", "libonnxruntime.so"]);
        assert!(libraries(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn the_error_lists_every_place_and_says_what_to_do() {
        let tried =
            vec![("/a".to_owned(), "none there".to_owned()), ("/b/lib.so".to_owned(), "bad".to_owned())];
        let text = RuntimeError::NotFound { tried }.to_string();
        assert!(
            text.contains("make setup") && text.ends_with("Looked at:\n  /a: none there\n  /b/lib.so: bad"),
            "{text}"
        );
    }
}
