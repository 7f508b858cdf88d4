//! Lists the usable models in the cache, checks their files, and removes them.

use std::{fs, path::PathBuf};

use super::{
    Hub,
    cache::{self, Repository},
    candidates,
    error::HubError,
};
use crate::{
    config::{Device, HubModel, Variant},
    model::{
        digest::{self, Verdict},
        files::ModelFiles,
        layout::Local,
    },
};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The repository.
    pub id: String,
    /// The commit.
    pub commit: String,
    /// Its complete variants.
    pub variants: Vec<&'static str>,
    /// Variants without the graph for pictures, for use with a model server.
    pub text_only: Vec<&'static str>,
    /// The size of all files of this commit in bytes.
    pub bytes: u64,
    /// The folder of the files.
    pub folder: PathBuf,
}

impl Hub {
    /// Every model in the cache that can be loaded, from ONNX files or from its weights. The cache may contain other repositories.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        cache::repositories(&self.cache).iter().flat_map(held).collect()
    }

    /// Each file of a model in the cache, compared with the hub's hash.
    ///
    /// # Errors
    /// The model is not in the cache, or a file cannot be read.
    pub fn check_files(&self, model: &HubModel) -> Result<Vec<(String, Verdict)>, HubError> {
        // All variants are in one folder, so the device does not matter.
        let found = self.find(model, Device::Auto)?;
        let Some(folder) = found.files.folder() else { return Ok(Vec::new()) };
        let check = |file: String| {
            let path = folder.join(&file);
            let verdict = digest::verdict(&path).map_err(HubError::reading(&path))?;
            Ok((file, verdict))
        };
        cache::files_below(folder).into_iter().map(check).collect()
    }

    /// Removes a model and the repository with its ONNX files from the cache, and returns the names of those that were there.
    ///
    /// # Errors
    /// The model is not in the cache, or it cannot be removed.
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
            return Err(HubError::not_cached(model, &self.cache, String::new()));
        }
        Ok(removed)
    }
}

fn held(repository: &Repository) -> Vec<Held> {
    let commits = fs::read_dir(repository.folder.join("snapshots")).into_iter().flatten().flatten();
    let of = |commit: String| {
        let folder = repository.snapshot(&commit);
        let files = ModelFiles::Folder(folder.clone());
        let has = |name: &str, local| files.has_graphs(&Variant::suffix(name), local);
        let with_text = Variant::NAMES.into_iter().filter(|name| has(name, Local::Text));
        let (variants, text_only): (Vec<_>, Vec<_>) = with_text.partition(|name| has(name, Local::Both));
        let size = |file: &String| fs::metadata(folder.join(file)).map_or(0, |metadata| metadata.len());
        let bytes = cache::files_below(&folder).iter().map(size).sum();
        let id = repository.id.clone();
        let is_usable = !variants.is_empty() || !text_only.is_empty();
        is_usable.then_some(Held { id, commit, variants, text_only, bytes, folder })
    };
    commits.filter_map(|entry| of(entry.file_name().into_string().ok()?)).collect()
}
