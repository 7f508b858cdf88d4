//! Finds and loads the ONNX Runtime library.
//!
//! The program starts without the library, so that a missing one is a readable error. A library that the configuration or
//! the environment names is used, or loading fails; no other one is tried instead.

use std::{
    cmp::Reverse,
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    LoadDynamicError,
    environment::{Environment, EnvironmentBuilder},
};

use super::{
    device_error::DeviceError,
    plugin::{LoadedPlugins, PluginDevice},
    plugin_api, work,
};
use crate::config::Device;

/// The loaded library. A process has one, however often it is loaded.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(super) environment: Environment,
    /// Where the library was found.
    library: Arc<str>,
    /// The devices that were tried in this process, and the result.
    pub(super) tried: Arc<Mutex<HashMap<Device, Result<Device, DeviceError>>>>,
    pub(super) plugins: LoadedPlugins,
}

/// Why ONNX Runtime is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The library that was named cannot be used.
    #[error(
        "the ONNX Runtime library {} ({by}) cannot be used: {reason}. Name another one, or none and run `make setup`",
        .path.display()
    )]
    Named {
        /// The library.
        path: PathBuf,
        /// What named it.
        by: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// No library was named, and none was found.
    #[error(
        "ONNX Runtime (libonnxruntime.so, 1.{} or newer) was not found: run `make setup`, or install it and name it \
         with `onnxruntime:` in the configuration or ORT_DYLIB_PATH. Searched:{}",
        ort::MINOR_VERSION,
        .tried.iter().map(|(place, reason)| format!("\n  {place}: {reason}")).collect::<String>()
    )]
    NotFound {
        /// Every place that was searched, and the reason why no library there can be used.
        tried: Vec<(String, String)>,
    },
    /// The library was loaded and does not start.
    #[error("ONNX Runtime does not start: {0}")]
    Start(String),
}

/// ONNX Runtime allows one environment in a process, even after the first is dropped.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The name that the dynamic linker resolves.
const BY_NAME: &str = "libonnxruntime.so.1";

impl Runtime {
    /// Loads the library: `explicit` if given, else `ORT_DYLIB_PATH`, else the first usable one beside the executable, in
    /// its `../lib` and `../lib/stakeout`, in `/usr/lib/stakeout`, in the user's data folder, and last the one that the
    /// dynamic linker finds.
    ///
    /// A library that is already loaded is kept, whatever is named.
    ///
    /// # Errors
    /// One error that lists every place that was searched and says what to do.
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
            None => find(&folders())?,
        };
        let environment = builder
            .with_name("stakeout")
            .with_telemetry(false)
            .build()
            .map_err(|error| RuntimeError::Start(error.to_string()))?;
        let library = path.display().to_string().into();
        let (tried, plugins) = (Arc::default(), LoadedPlugins::default());
        Ok(loaded.insert(Self { environment, library, tried, plugins }).clone())
    }

    /// The path of the library.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.library
    }

    /// The version of the library, as the library itself describes it.
    #[must_use]
    pub fn build(&self) -> &'static str {
        // A `Runtime` exists, so the library is loaded.
        ort::info()
    }

    /// The version of the library, such as `1.31.1`; empty if the library does not say it.
    #[must_use]
    pub fn version(&self) -> &'static str {
        plugin_api::version().unwrap_or_default()
    }

    /// Whether the library can load plugins.
    #[must_use]
    pub fn has_plugins(&self) -> bool {
        plugin_api::has_plugins()
    }

    /// Loads a plugin into this process, which the plugin may end, and returns its devices.
    ///
    /// # Errors
    /// The library of the plugin cannot be loaded, in ONNX Runtime's words.
    pub fn plugin_devices(&self, library: &Path) -> Result<Vec<PluginDevice>, String> {
        let _working = work::begin();
        self.plugins.devices(&self.environment, library)
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

/// The first usable library, searching `folders` in order.
fn find(folders: &[PathBuf]) -> Result<(EnvironmentBuilder, PathBuf), RuntimeError> {
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

/// In our words: the crate's text names its own version and not what to do.
fn reason(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => {
            // The linker's own text is the source of the wrapper's error.
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
        LoadDynamicError::MissingApi { .. } => "it is not ONNX Runtime".to_owned(),
        LoadDynamicError::InvalidVersionString => "its version cannot be read".to_owned(),
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
            text.contains("make setup") && text.ends_with("Searched:\n  /a: none there\n  /b/lib.so: bad"),
            "{text}"
        );
    }
}
