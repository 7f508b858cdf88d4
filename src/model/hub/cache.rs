//! The hub's cache on this machine, in the layout of Hugging Face's own tools, so that both use each other's downloads:
//!
//! ```text
//! models--org--name/blobs/HASH                    the contents, by the hash that the hub names
//! models--org--name/snapshots/COMMIT/onnx/...     links to them, by the names in the repository
//! models--org--name/refs/main                     the commit of a branch or tag when it was downloaded
//! models--org--name/stakeout/COMMIT.json          ours: scale and bias, where no file of the model holds them
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{environment::Environment, error::HubError};
use crate::{
    atomic_file,
    config::{Device, Variant, is_plain_path},
    model::{family::Logits, files::ModelFiles},
};

/// The folder of the cache that Hugging Face's own tools use, or the service's own cache folder.
pub(super) fn folder(environment: &Environment) -> Option<PathBuf> {
    let set = |name| environment.path(name);
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("CACHE_DIRECTORY").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// A repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub id: String,
    pub folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    /// # Errors
    /// The name is invalid, or would lead out of the cache.
    pub fn new(cache: &Path, id: &str) -> Result<Self, HubError> {
        if id.split('/').count() > 2 || !is_plain_path(id) {
            return Err(HubError::Name(id.to_owned()));
        }
        let name = format!("models--{}", id.replace('/', "--"));
        let locks = cache.join(".locks").join(&name);
        Ok(Self { id: id.to_owned(), folder: cache.join(name), locks })
    }

    /// The commit of a branch or tag, as it was downloaded; a commit is returned as it is.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        // It becomes a part of a path.
        Some(text.trim().to_owned()).filter(|commit| is_plain_path(commit))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub fn blob(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(hash)
    }

    /// The lock file of a blob, which Hugging Face's own tools use, too.
    pub fn lock(&self, hash: &str) -> PathBuf {
        self.locks.join(format!("{hash}.lock"))
    }

    /// The commit and files of a revision and the suffix of its graphs, if a variant is complete. Of several, the best for a
    /// device.
    pub fn complete(
        &self,
        revision: &str,
        variant: Variant,
        device: Device,
    ) -> Option<(String, ModelFiles, String)> {
        let commit = self.commit(revision)?;
        let files = ModelFiles::Folder(self.snapshot(&commit));
        let mut suffixes = variant.choices(device).into_iter().map(Variant::suffix);
        let suffix = suffixes.find(|suffix| files.is_complete(suffix))?;
        Some((commit, files, suffix))
    }

    /// Gives a blob its name in a snapshot: by a link, or by renaming it on a file system without links.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn link(&self, commit: &str, file: &str, hash: &str) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        make_parent(&pointer)?;
        let up = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{hash}"));
        if fs::read_link(&pointer).is_ok_and(|old| old == target) {
            return Ok(());
        }
        // A link cannot be changed, so a new one is made beside it and renamed.
        let fresh = pointer.with_extension(format!("{}.stakeout", std::process::id()));
        let linked = match std::os::unix::fs::symlink(&target, &fresh) {
            Ok(()) => fs::rename(&fresh, &pointer),
            Err(_) => fs::rename(self.blob(hash), &pointer),
        };
        linked.map_err(HubError::writing(&pointer))
    }

    /// Records the commit of a branch or tag.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        write(&self.folder.join("refs").join(revision), commit)
    }

    /// Scale and bias that were read from the network.
    pub fn logits(&self, commit: &str) -> Option<Logits> {
        Logits::from_json(&fs::read(self.logits_file(commit)).ok()?)
    }

    /// # Errors
    /// The cache cannot be written.
    pub fn keep_logits(&self, commit: &str, logits: Logits, from: &str) -> Result<(), HubError> {
        let mut json = logits.to_json();
        json["from"] = from.into();
        write(&self.logits_file(commit), &json.to_string())
    }

    fn logits_file(&self, commit: &str) -> PathBuf {
        self.folder.join("stakeout").join(format!("{commit}.json"))
    }

    /// # Errors
    /// The cache cannot be written.
    pub fn remove(&self) -> Result<(), HubError> {
        fs::remove_dir_all(&self.folder).map_err(HubError::writing(&self.folder))?;
        match fs::remove_dir_all(&self.locks) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(HubError::writing(&self.locks)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Every repository of the cache, sorted by name.
pub(super) fn repositories(cache: &Path) -> Vec<Repository> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let id = |name: &str| Some(name.strip_prefix("models--")?.replacen("--", "/", 1));
    let mut found: Vec<_> = entries
        .filter_map(|entry| id(entry.file_name().to_str()?))
        .filter_map(|id| Repository::new(cache, &id).ok())
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

/// Every file below a folder, relative to that folder, sorted by name.
pub(super) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for path in fs::read_dir(next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found
}

pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn make_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(HubError::writing(parent))
}

fn write(path: &Path, content: &str) -> Result<(), HubError> {
    make_parent(path)?;
    atomic_file::write(path, content).map_err(HubError::writing(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_one_of_the_hubs_own_tools() {
        let found = |set: &[(&str, &str)]| folder(&Environment::of(set));
        let home = ("HOME", "/home/me");
        assert_eq!(found(&[home]), Some("/home/me/.cache/huggingface/hub".into()));
        assert_eq!(found(&[home, ("XDG_CACHE_HOME", "/c")]), Some("/c/huggingface/hub".into()));
        assert_eq!(
            found(&[home, ("CACHE_DIRECTORY", "/var/cache/s")]),
            Some("/var/cache/s/huggingface/hub".into())
        );
        assert_eq!(found(&[home, ("HF_HOME", "/hf")]), Some("/hf/hub".into()));
        assert_eq!(found(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/hub")]), Some("/hub".into()));
        assert_eq!(found(&[("HF_HOME", "")]), None);
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_cache() {
        for name in ["../etc", "a/../../b", "a/b/c", "", "/", "a/", "a b/c"] {
            let found = Repository::new(Path::new("/cache"), name);
            assert_eq!(found, Err(HubError::Name(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn a_revision_is_a_commit_or_the_commit_that_was_recorded() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "org/name").unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(repository.commit("main"), None);
        repository.remember("main", commit).unwrap();
        assert_eq!(repository.commit("main").as_deref(), Some(commit));
        assert_eq!(repository.commit(commit).as_deref(), Some(commit));
        fs::write(repository.folder.join("refs/main"), "../../etc").unwrap();
        assert_eq!(repository.commit("main"), None, "it would lead out of the cache");
    }

    #[test]
    fn links_are_relative_as_the_hubs_own_tools_make_them() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "org/name").unwrap();
        fs::create_dir_all(repository.folder.join("blobs")).unwrap();
        for (hash, file, target) in
            [("aa", "config.json", "../../blobs/aa"), ("bb", "onnx/model.onnx", "../../../blobs/bb")]
        {
            fs::write(repository.blob(hash), file).unwrap();
            // Twice: the second time the link exists.
            for _ in 0..2 {
                repository.link("c0", file, hash).unwrap();
            }
            let pointer = repository.snapshot("c0").join(file);
            assert_eq!(fs::read_link(&pointer).unwrap(), PathBuf::from(target));
            assert_eq!(fs::read_to_string(pointer).unwrap(), file);
        }
        assert_eq!(files_below(&repository.snapshot("c0")), ["config.json", "onnx/model.onnx"]);
    }
}
