//! Finds a model by its name in the configuration (the bundled one, a folder, a name on the hub), and downloads what is
//! missing in the hub's cache on this machine.
//!
//! This module decides which graphs are used, where scale and bias come from and when the network is used. A model that is
//! in the cache is never updated automatically: only [`Hub::pull`] asks the hub for a newer one.

mod cache;
mod choice;
mod client;
mod digest;
mod download;
mod environment;
mod error;
mod event;
mod inventory;
mod known_models;
mod retry;
mod weights;

use std::path::PathBuf;

pub use error::HubError;
pub use event::Event;
pub use inventory::{Held, Verdict};

use self::{
    cache::Repository,
    client::{Client, Listing},
    environment::Environment,
    retry::retrying,
};
use super::{
    context::Options,
    family::Logits,
    files::{Graphs, ModelFiles},
};
use crate::config::{Device, HubModel, ModelRef, Variant};

/// A model that is on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its files.
    pub files: ModelFiles,
    /// The suffix of its graphs' names.
    pub suffix: String,
    /// Scale and bias, where they are known and the files may not hold them.
    pub logits: Option<Logits>,
}

impl Found {
    /// The hub's name of the variant.
    #[must_use]
    pub fn variant(&self) -> &str {
        Variant::of_suffix(&self.suffix)
    }

    /// The options for [`super::Model::load`].
    #[must_use]
    pub fn options(&self) -> Options {
        Options { variant: self.suffix.clone(), logits: self.logits, remember: true, ..Options::default() }
    }
}

/// The files of a model, without using the network. If several variants are allowed, the best one for `device`.
///
/// # Errors
/// A model with a name is not in the cache. A folder is not checked.
pub fn find(model: &ModelRef, device: Device) -> Result<Found, HubError> {
    match model {
        ModelRef::Bundled => Ok(unchecked(ModelFiles::bundled(), Variant::Auto, device)),
        ModelRef::Folder(path, variant) => Ok(unchecked(ModelFiles::Folder(path.clone()), *variant, device)),
        ModelRef::Hub(model) => Hub::for_model(&model.id)?.find(model, device),
    }
}

/// The files of a model. Missing ones are downloaded, unless `HF_HUB_OFFLINE` forbids it.
///
/// # Errors
/// Files are missing and cannot be downloaded.
pub fn find_or_pull(
    model: &ModelRef,
    device: Device,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Found, HubError> {
    let found = find(model, device);
    let incomplete = match &found {
        // Another program has downloaded the two split graphs, which lack scale and bias.
        Ok(found) => found.logits.is_none() && !found.files.holds_logits(&found.suffix),
        Err(error) => matches!(error, HubError::NotCached { .. }),
    };
    match model {
        ModelRef::Hub(model) if incomplete => {
            let hub = Hub::for_model(&model.id)?;
            if hub.environment.is_offline() { found } else { hub.pull(model, device, report) }
        }
        _ => found,
    }
}

/// A folder, or the binary itself: loading it reports what is missing.
fn unchecked(files: ModelFiles, variant: Variant, device: Device) -> Found {
    let mut suffixes = variant.choices(device).into_iter().map(Variant::suffix);
    let first = Variant::suffix(variant.name().unwrap_or("fp32"));
    let suffix = suffixes.find(|suffix| files.is_complete(suffix)).unwrap_or(first);
    Found { files, suffix, logits: None }
}

/// The hub and its cache on this machine, as the environment describes them.
pub struct Hub {
    environment: Environment,
    cache: PathBuf,
}

impl Hub {
    /// # Errors
    /// There is no folder for a cache; `id` is for the message.
    pub fn for_model(id: &str) -> Result<Self, HubError> {
        let environment = Environment::of_process();
        let cache = cache::folder(&environment).ok_or_else(|| HubError::NoCache(id.to_owned()))?;
        Ok(Self { environment, cache })
    }

    /// A model in the cache. If several variants are allowed, the best one for `device`.
    ///
    /// # Errors
    /// The model is not in the cache.
    pub fn find(&self, model: &HubModel, device: Device) -> Result<Found, HubError> {
        for id in candidates(model) {
            let repository = Repository::new(&self.cache, &id)?;
            if let Some((commit, files, suffix)) = repository.complete(revision(model), model.variant, device)
            {
                let kept = repository.logits(&commit);
                let logits =
                    kept.or_else(|| [&model.id, &id].into_iter().find_map(|id| known_models::logits(id)));
                return Ok(Found { files, suffix, logits });
            }
        }
        let (id, cache) = (model.id.clone(), self.cache.clone());
        Err(if self.environment.is_offline() {
            HubError::Offline { id, cache }
        } else {
            HubError::NotCached { id, cache }
        })
    }

    /// Downloads the newest files of a model's revision. `auto` is the best variant that the repository has, for `device`.
    ///
    /// # Errors
    /// One message with a remedy. Bytes that have arrived are kept, and the next pull continues after them.
    pub fn pull(
        &self,
        model: &HubModel,
        device: Device,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Found, HubError> {
        if self.environment.is_offline() {
            return Err(HubError::Offline { id: model.id.clone(), cache: self.cache.clone() });
        }
        // The name becomes a part of addresses, even if the files are in another repository.
        Repository::new(&self.cache, &model.id)?;
        let client = Client::new(&self.environment);
        // A known model has its files in the repository of its ONNX export only.
        let id = candidates(model).pop().unwrap_or_else(|| model.id.clone());
        let repository = Repository::new(&self.cache, &id)?;
        let listing = retrying(report, |_| client.listing(&id, revision(model)))?;
        let (variant, graphs) = choice::graphs(&id, &listing.files, model.variant, device)?;
        if model.variant == Variant::Auto {
            report(Event::Chosen { variant, device });
        }
        let graphs = self.graph_files(&client, model, &repository, &listing, graphs, report)?;
        for file in choice::files(&id, &listing.files, &graphs)? {
            download::fetch(&client, &repository, &listing.commit, &file, report)?;
        }
        // Last, so that an interrupted pull leaves the revision at the commit that is complete.
        repository.remember(revision(model), &listing.commit)?;
        self.find(model, device)
    }

    /// The two split graphs if scale and bias are available, which these graphs do not hold; else the combined graph, which
    /// does.
    fn graph_files(
        &self,
        client: &Client,
        model: &HubModel,
        repository: &Repository,
        listing: &Listing,
        graphs: Graphs,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<String>, HubError> {
        if graphs.is_combined() {
            return Ok(vec![graphs.vision]);
        }
        let Graphs { vision, text, combined } = graphs;
        let written = listing.files.iter().any(|file| file == "stakeout.json");
        if written || self.learn_logits(client, model, repository, listing, report)? {
            return Ok(vec![vision, text]);
        }
        let combined = combined.ok_or_else(|| HubError::NoScale { id: repository.id.clone() })?;
        Ok(vec![combined])
    }

    /// Whether scale and bias are known now: from an earlier pull, from the original's weights, or from the table of known
    /// models.
    fn learn_logits(
        &self,
        client: &Client,
        model: &HubModel,
        repository: &Repository,
        listing: &Listing,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, HubError> {
        let commit = &listing.commit;
        if repository.logits(commit).is_some() {
            return Ok(true);
        }
        let mut sources = vec![model.id.clone()];
        sources.extend(known_models::original(&model.id).into_iter().chain([repository.id.clone()]));
        sources.dedup();
        for source in &sources {
            let revision = if *source == repository.id { commit } else { "main" };
            if let Some(logits) = weights::logits(client, source, revision, report)? {
                repository.keep_logits(commit, logits, &format!("the weights of {source}"))?;
                return Ok(true);
            }
        }
        Ok(sources.iter().any(|id| known_models::logits(id).is_some()))
    }
}

/// The repositories that may hold the files: the one that is named, or the model's own and that of its ONNX export.
fn candidates(model: &HubModel) -> Vec<String> {
    match &model.onnx {
        Some(onnx) => vec![onnx.clone()],
        None => std::iter::once(model.id.clone()).chain(known_models::export(&model.id)).collect(),
    }
}

fn revision(model: &HubModel) -> &str {
    model.revision.as_deref().unwrap_or("main")
}

/// Parses what an untrusted hub could answer, for the fuzzer: the list of files, the header of a weight file, and the target
/// of a redirect.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let _ = Listing::from_json(data);
    let _ = weights::in_weights(|begin, length| -> Result<_, ()> {
        let begin = usize::try_from(begin).unwrap_or(usize::MAX).min(data.len());
        Ok(data[begin..].iter().take(usize::try_from(length).unwrap_or(usize::MAX)).copied().collect())
    });
    client::fuzz(&String::from_utf8_lossy(data));
}
