//! The hub's cache on this machine, in the layout of Hugging Face's own tools, so that both use each other's downloads:
//!
//! ```text
//! models--org--name/blobs/HASH                    the contents, by the hash that the hub names
//! models--org--name/snapshots/COMMIT/onnx/...     links to them, by the names in the repository
//! models--org--name/refs/main                     the commit of a branch or tag when it was downloaded
//! models--org--name/stakeout/COMMIT.ORG--NAME.json  ours: scale and bias, which no file of the model holds, from that repository
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{environment::Environment, error::HubError, known_models};
use crate::{
    atomic_file,
    config::{Device, Variant, is_plain_path},
    model::{
        error::ModelError,
        family::Logits,
        files::ModelFiles,
        layout::{self, Choice, Local, Vocabulary},
        tokenizer::open_clip::tokenizer_repository,
    },
};

/// The folder of the cache that Hugging Face's own tools use, or the service's own cache folder.
pub(super) fn folder(environment: &Environment) -> Option<PathBuf> {
    let set = |name| environment.path(name);
    set("HF_HUB_CACHE")
        // Its former name.
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| environment.home().map(|home| home.join("hub")))
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

/// A revision in the cache that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complete {
    pub commit: String,
    /// The suffix of the names of its graphs.
    pub suffix: String,
    /// The folder with its tokenizer, if that is in another repository.
    pub tokenizer: Option<PathBuf>,
    /// Whether its graphs are built from weights.
    pub is_built: bool,
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

    /// What is complete of a revision, if a variant has all that this machine runs. Of several variants, the best for a device.
    /// Otherwise the files that are missing for the best one; empty if nothing of the revision is there.
    pub fn complete(
        &self,
        revision: &str,
        variant: Variant,
        device: Device,
        local: Local,
    ) -> Result<Complete, String> {
        let commit = self.commit(revision).filter(|commit| self.snapshot(commit).is_dir());
        let commit = commit.ok_or_else(String::new)?;
        let folder = self.snapshot(&commit);
        let tokenizer = self.tokenizer_of_another(&folder);
        let files = ModelFiles::Cached { folder, tokenizer: tokenizer.clone(), pull: String::new() };
        let mut first = String::new();
        for suffix in variant.choices(device).into_iter().map(Variant::suffix) {
            match files.choice(&suffix, local) {
                Ok(choice) => {
                    let is_built = matches!(choice, Choice::Weights(_));
                    return Ok(Complete { commit, suffix, tokenizer, is_built });
                }
                Err(ModelError::Incomplete { missing, .. }) if first.is_empty() => first = missing.join(", "),
                Err(_) => {}
            }
        }
        Err(first)
    }

    /// The folder with the tokenizer of a model in OpenCLIP's format that uses the tokenizer of another repository.
    fn tokenizer_of_another(&self, snapshot: &Path) -> Option<PathBuf> {
        if Vocabulary::among(|name| snapshot.join(name).is_file()).is_some() {
            return None;
        }
        let files = ModelFiles::Folder(snapshot.to_owned());
        let config = files.json(layout::OPEN_CLIP_CONFIG).ok()?;
        let named = known_models::full_name(tokenizer_repository(&config)?);
        let other = Self::new(self.folder.parent()?, named).ok()?;
        other.commit("main").map(|commit| other.snapshot(&commit))
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

    /// Scale and bias that were read from the weights of one of these repositories. Several models may have their graphs in this
    /// repository, so another model's numbers are not used, unless the model has no other repository than this one.
    pub fn logits(&self, commit: &str, sources: &[String]) -> Option<Logits> {
        let read = |path: PathBuf| {
            let json = fs::read(path).ok()?;
            let from: Value = serde_json::from_slice(&json).ok()?;
            Some((from["from"].as_str().unwrap_or_default().to_owned(), Logits::from_json(&json)?))
        };
        // Version 0.1 had one file for all sources.
        let shared = self.folder.join("stakeout").join(format!("{commit}.json"));
        let (own, of_all) = (sources.iter().map(|source| self.logits_file(commit, source)), [shared]);
        let known: Vec<_> = own.chain(of_all).filter_map(read).collect();
        let is_own = |(from, _): &&(String, Logits)| sources.iter().any(|id| *from == weights_of(id));
        let found = known.iter().find(is_own).map(|(_, logits)| *logits);
        found.or_else(|| if sources == [self.id.clone()] { self.only_logits(commit) } else { None })
    }

    /// Scale and bias of this commit's graphs if all models that use them have the same.
    fn only_logits(&self, commit: &str) -> Option<Logits> {
        let entries = fs::read_dir(self.folder.join("stakeout")).ok()?.flatten();
        let is_commits = |name: &str| name.starts_with(&format!("{commit}."));
        let files = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_commits));
        let known: Vec<_> =
            files.filter_map(|entry| Logits::from_json(&fs::read(entry.path()).ok()?)).collect();
        known.first().copied().filter(|first| known.iter().all(|other| other == first))
    }

    /// Keeps scale and bias that were read from the weights of `source`.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn keep_logits(&self, commit: &str, logits: Logits, source: &str) -> Result<(), HubError> {
        let mut json = logits.to_json();
        json["from"] = weights_of(source).into();
        write(&self.logits_file(commit, source), &json.to_string())
    }

    fn logits_file(&self, commit: &str, source: &str) -> PathBuf {
        let source = source.replace('/', "--");
        self.folder.join("stakeout").join(format!("{commit}.{source}.json"))
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

fn weights_of(id: &str) -> String {
    format!("the weights of {id}")
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
        assert_eq!(found(&[home, ("HF_HOME", "~/hf")]), Some("/home/me/hf/hub".into()));
        let former = ("HUGGINGFACE_HUB_CACHE", "~/former");
        assert_eq!(found(&[home, former, ("HF_HOME", "/hf")]), Some("/home/me/former".into()));
        assert_eq!(found(&[home, former, ("HF_HUB_CACHE", "$HOME/hub")]), Some("/home/me/hub".into()));
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
    fn models_that_share_graphs_have_their_own_scale() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "org/towers").unwrap();
        let logits = |scale| Logits { scale, bias: 0.0 };
        let of = |ids: &[&str]| {
            let sources: Vec<_> = ids.iter().map(ToString::to_string).collect();
            repository.logits("c0", &sources)
        };
        assert_eq!(of(&["a/one", "org/towers"]), None);
        repository.keep_logits("c0", logits(10.0), "a/one").unwrap();
        assert_eq!(of(&["org/towers"]), Some(logits(10.0)), "the only one");
        assert_eq!(of(&["b/two", "org/towers"]), None, "it is that of another model");
        repository.keep_logits("c0", logits(20.0), "b/two").unwrap();
        assert_eq!((of(&["a/one"]), of(&["b/two"])), (Some(logits(10.0)), Some(logits(20.0))));
        assert_eq!(of(&["org/towers"]), None, "nothing says which");

        // As version 0.1 wrote it.
        let old = r#"{"logit_scale": 30.0, "logit_bias": 0.0, "from": "the weights of c/three"}"#;
        write(&repository.folder.join("stakeout/c1.json"), old).unwrap();
        let found = |id: &str| repository.logits("c1", &[id.to_owned(), "org/towers".to_owned()]);
        assert_eq!((found("c/three"), found("a/one")), (Some(logits(30.0)), None));
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
