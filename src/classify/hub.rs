//! Finds a model by what the configuration calls it: the bundled one, a folder, or a name in the hub's cache on this machine.
//!
//! It refuses to touch the network: a model comes onto this machine by a decision, not by a start of the service.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::model::ModelFiles;
use crate::config::ModelRef;

/// Why a model was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The name is no name of the hub.
    #[error(
        "{0:?} is not a model's name; it is written as `organisation/name`, or as a folder that starts with `./` or `/`"
    )]
    Name(String),
    /// The cache does not hold the model.
    #[error(
        "the model {id} is not on this machine (looked in {}). Fetch it first, for example with \
         `huggingface-cli download {id}`, or name a folder that holds its files. It must be an ONNX export, with \
         `onnx/vision_model.onnx` and `onnx/text_model.onnx`, or `onnx/model.onnx`",
        .cache.display()
    )]
    NotCached {
        /// The model's name.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// There is no home folder to look in.
    #[error(
        "the model {0} cannot be looked up: set HF_HOME to the folder of the hub's cache, since HOME is not set"
    )]
    NoCache(String),
}

/// Where the files of a model are.
///
/// # Errors
/// A name that is not in the cache; a folder is taken as it is.
pub fn files(model: &ModelRef) -> Result<ModelFiles, HubError> {
    match model {
        ModelRef::Bundled => Ok(ModelFiles::Embedded(super::bundled::FILES)),
        ModelRef::Folder(path) => Ok(ModelFiles::Folder(path.clone())),
        ModelRef::Hub(id) => {
            let cache = cache(|name| env::var_os(name).map(PathBuf::from));
            let cache = cache.ok_or_else(|| HubError::NoCache(id.clone()))?;
            Ok(ModelFiles::Folder(snapshot(&cache, id)?))
        }
    }
}

/// The cache that Hugging Face's own tools use.
fn cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// The newest revision of a model that the cache holds.
fn snapshot(cache: &Path, id: &str) -> Result<PathBuf, HubError> {
    let part = |part: &str| {
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    if id.split('/').count() > 2 || !id.split('/').all(part) {
        return Err(HubError::Name(id.to_owned()));
    }
    let model = cache.join(format!("models--{}", id.replace('/', "--")));
    fs::read_to_string(model.join("refs/main"))
        .ok()
        .map(|revision| model.join("snapshots").join(revision.trim()))
        .filter(|snapshot| snapshot.is_dir())
        .ok_or_else(|| HubError::NotCached { id: id.to_owned(), cache: cache.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_hubs_own_tools_have_it() {
        let found = |set: &[(&str, &str)]| {
            cache(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let home = ("HOME", "/home/me");
        assert_eq!(found(&[home]), Some("/home/me/.cache/huggingface/hub".into()));
        assert_eq!(found(&[home, ("XDG_CACHE_HOME", "/c")]), Some("/c/huggingface/hub".into()));
        assert_eq!(found(&[home, ("HF_HOME", "/hf")]), Some("/hf/hub".into()));
        assert_eq!(found(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/hub")]), Some("/hub".into()));
        assert_eq!(found(&[("HF_HOME", "")]), None);
    }

    #[test]
    fn a_model_is_found_by_its_main_revision() {
        let cache = tempfile::tempdir().unwrap();
        let model = cache.path().join("models--org--name");
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::create_dir_all(model.join("snapshots/abc")).unwrap();
        fs::write(model.join("refs/main"), "abc\n").unwrap();
        assert_eq!(snapshot(cache.path(), "org/name"), Ok(model.join("snapshots/abc")));

        let error = snapshot(cache.path(), "org/other").unwrap_err().to_string();
        assert!(error.contains("huggingface-cli download org/other"), "{error}");
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_cache() {
        for name in ["../etc", "a/../../b", "a/b/c", "", "/", "a/", "a b/c"] {
            assert_eq!(snapshot(Path::new("/cache"), name), Err(HubError::Name(name.to_owned())), "{name}");
        }
    }
}
