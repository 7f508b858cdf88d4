//! What the cache holds of models that can be used, whether it is as the hub said, and how it goes away again.

use std::{fs, path::PathBuf};

use super::{
    Hub, HubError,
    cache::{self, Repository},
    candidates,
    digest::{self, Kind},
};
use crate::{
    config::{Device, HubModel, Variant},
    model::ModelFiles,
};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The repository.
    pub id: String,
    /// The commit.
    pub commit: String,
    /// Its variants that are complete.
    pub variants: Vec<&'static str>,
    /// Bytes of all files of this commit.
    pub bytes: u64,
    /// Where they are.
    pub folder: PathBuf,
}

/// What a file of the cache is compared with the hub's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As the hub said.
    Whole,
    /// Something else.
    Damaged,
    /// The link leads nowhere.
    Missing,
    /// It has no hash to be held to.
    Unchecked,
}

impl Hub {
    /// Every model in the cache that has ONNX files; the cache may hold much else.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        cache::repositories(&self.cache).iter().flat_map(held).collect()
    }

    /// Each file of a model in the cache, held to the hash by which the hub named it.
    ///
    /// # Errors
    /// The model is not in the cache, or a file cannot be read.
    pub fn check_files(&self, model: &HubModel) -> Result<Vec<(String, Verdict)>, HubError> {
        // They lie in one folder, whichever is the best for a device.
        let ModelFiles::Folder(folder) = self.find(model, Device::Auto)?.files else { return Ok(Vec::new()) };
        let check = |file: String| {
            let path = folder.join(&file);
            let Ok(blob) = fs::canonicalize(&path) else { return Ok((file, Verdict::Missing)) };
            let hash = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let verdict = match Kind::of(hash) {
                None => Verdict::Unchecked,
                Some(kind) if digest::of_file(&blob, kind).map_err(HubError::reading(&blob))? == hash => {
                    Verdict::Whole
                }
                Some(_) => Verdict::Damaged,
            };
            Ok((file, verdict))
        };
        cache::files_below(&folder).into_iter().map(check).collect()
    }

    /// Removes what the cache holds of a model and of the repository with its ONNX files, and says which those were.
    ///
    /// # Errors
    /// There is nothing, or it cannot be removed.
    pub fn remove(&self, model: &HubModel) -> Result<Vec<String>, HubError> {
        let mut removed = Vec::new();
        for id in candidates(model) {
            let repository = Repository::new(&self.cache, &id)?;
            if repository.folder.is_dir() {
                repository.remove()?;
                removed.push(id);
            }
        }
        if removed.is_empty() {
            return Err(HubError::NotCached { id: model.id.clone(), cache: self.cache.clone() });
        }
        Ok(removed)
    }
}

fn held(repository: &Repository) -> Vec<Held> {
    let commits = fs::read_dir(repository.folder.join("snapshots")).into_iter().flatten().flatten();
    let of = |commit: String| {
        let folder = repository.snapshot(&commit);
        let files = ModelFiles::Folder(folder.clone());
        let complete = |name: &&'static str| files.is_complete(&Variant::suffix(name));
        let variants: Vec<_> = Variant::NAMES.into_iter().filter(complete).collect();
        let size = |file: &String| fs::metadata(folder.join(file)).map_or(0, |metadata| metadata.len());
        let bytes = cache::files_below(&folder).iter().map(size).sum();
        (!variants.is_empty()).then(|| Held { id: repository.id.clone(), commit, variants, bytes, folder })
    };
    commits.filter_map(|entry| of(entry.file_name().into_string().ok()?)).collect()
}
