//! Finds a model by what the configuration calls it (the bundled one, a folder, a name on the hub), and fetches from the
//! hub what is not in its cache on this machine.
//!
//! Which graphs are taken, where scale and bias come from and when the network is used is decided here. It refuses to
//! use the network for a model that is here: what was fetched stays as it is until [`Hub::pull`] is asked for a newer one.

mod cache;
mod choice;
mod client;
mod digest;
mod download;
mod environment;
mod error;
mod inventory;
pub mod known_models;
mod retry;
mod safetensors;

use std::{path::PathBuf, time::Duration};

pub use error::HubError;
pub use inventory::{Held, Verdict};

use self::{
    cache::Repository,
    client::{Client, Listing},
    environment::Environment,
    retry::patiently,
};
use super::{Logits, ModelFiles, Options};
use crate::config::{Device, HubModel, ModelRef, Variant};

/// A model that is here.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its files.
    pub files: ModelFiles,
    /// The suffix of its graphs' names.
    pub suffix: String,
    /// Scale and bias, where they are known and no file of the model may hold them.
    pub logits: Option<Logits>,
}

impl Found {
    /// The hub's name of the variant.
    #[must_use]
    pub fn variant(&self) -> &str {
        Variant::of_suffix(&self.suffix)
    }

    /// What [`super::Model::load`] must be told of it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { variant: self.suffix.clone(), logits: self.logits, remember: true, ..Options::default() }
    }
}

/// What happens during a download.
#[derive(Debug)]
pub enum Event<'a> {
    /// `auto` stands for this variant, of those that the repository has.
    Chosen {
        /// The hub's name of it.
        variant: &'static str,
        /// The device that it was chosen for.
        device: Device,
    },
    /// A file is fetched, of which so much is here already.
    Begins {
        /// Its name in the repository.
        file: &'a str,
        /// Bytes from an earlier time.
        have: u64,
        /// Bytes in all, where the hub says so.
        size: Option<u64>,
    },
    /// So many bytes of it are here.
    At(u64),
    /// It is whole.
    Ends {
        /// Its name in the repository.
        file: &'a str,
    },
    /// Another process fetches the same file, and is waited for.
    OtherProcess {
        /// Its name in the repository.
        file: &'a str,
    },
    /// It failed, and is tried again.
    Again {
        /// Why, in short.
        why: String,
        /// When.
        wait: Duration,
    },
}

/// Where the files of a model are, without any look at the network; of several variants that will do, the best for `device`.
///
/// # Errors
/// A name that is not in the cache; a folder is taken as it is.
pub fn find(model: &ModelRef, device: Device) -> Result<Found, HubError> {
    match model {
        ModelRef::Bundled => Ok(taken(ModelFiles::Embedded(super::bundled::FILES), Variant::Auto, device)),
        ModelRef::Folder(path, variant) => Ok(taken(ModelFiles::Folder(path.clone()), *variant, device)),
        ModelRef::Hub(model) => Hub::for_model(&model.id)?.find(model, device),
    }
}

/// Likewise, and what is not here is fetched, unless `HF_HUB_OFFLINE` forbids it.
///
/// # Errors
/// It is not here and cannot be fetched.
pub fn find_or_pull(
    model: &ModelRef,
    device: Device,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Found, HubError> {
    let found = find(model, device);
    let wanting = match &found {
        // Another program has fetched the two towers, which are not all that is needed.
        Ok(found) => found.logits.is_none() && !found.files.holds_logits(&found.suffix),
        Err(error) => matches!(error, HubError::NotCached { .. }),
    };
    match model {
        ModelRef::Hub(model) if wanting => {
            let hub = Hub::for_model(&model.id)?;
            if hub.environment.is_offline() { found } else { hub.pull(model, device, tell) }
        }
        _ => found,
    }
}

/// A folder, or the binary itself: what is not there is said when it is loaded.
fn taken(files: ModelFiles, variant: Variant, device: Device) -> Found {
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

    /// A model that is in the cache; of several variants that will do, the best for `device`.
    ///
    /// # Errors
    /// It is not.
    pub fn find(&self, model: &HubModel, device: Device) -> Result<Found, HubError> {
        for id in candidates(model) {
            let repository = Repository::new(&self.cache, &id)?;
            if let Some((commit, files, suffix)) = repository.complete(revision(model), model.variant, device)
            {
                let known = repository.logits(&commit).or_else(|| known_models::logits(&model.id));
                return Ok(Found { files, suffix, logits: known.or_else(|| known_models::logits(&id)) });
            }
        }
        let (id, cache) = (model.id.clone(), self.cache.clone());
        Err(if self.environment.is_offline() {
            HubError::Offline { id, cache }
        } else {
            HubError::NotCached { id, cache }
        })
    }

    /// Fetches the newest files of a model's revision, and says which they are. `auto` is the best of the variants that the
    /// repository has, for `device`.
    ///
    /// # Errors
    /// One clear message with a remedy; what has arrived is kept, and the next pull goes on from there.
    pub fn pull(
        &self,
        model: &HubModel,
        device: Device,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Found, HubError> {
        if self.environment.is_offline() {
            return Err(HubError::Offline { id: model.id.clone(), cache: self.cache.clone() });
        }
        // It becomes a part of addresses, also where the files are in another repository.
        Repository::new(&self.cache, &model.id)?;
        let client = Client::new(&self.environment);
        // A model of the table has its files in the sister repository, and nowhere else.
        let id = candidates(model).pop().unwrap_or_else(|| model.id.clone());
        let repository = Repository::new(&self.cache, &id)?;
        let listing = patiently(tell, |_| client.listing(&id, revision(model)))?;
        let (variant, graphs) = choice::graphs(&id, &listing.files, model.variant, device)?;
        if model.variant == Variant::Auto {
            tell(Event::Chosen { variant, device });
        }
        let graphs = self.decide(&client, model, &repository, &listing, graphs, tell)?;
        for file in choice::files(&id, &listing.files, &graphs)? {
            download::fetch(&client, &repository, &listing.commit, &file, tell)?;
        }
        // Last: until now the revision stood for what was whole before.
        repository.remember(revision(model), &listing.commit)?;
        self.find(model, device)
    }

    /// The two towers, if scale and bias are to be had, which these do not hold; else the combined graph, which does.
    fn decide(
        &self,
        client: &Client,
        model: &HubModel,
        repository: &Repository,
        listing: &Listing,
        graphs: choice::Graphs,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<String>, HubError> {
        match (graphs.split, graphs.combined) {
            (Some(split), combined) => {
                let written = listing.files.iter().any(|file| file == "stakeout.json");
                if written || self.learn_logits(client, model, repository, listing, tell)? {
                    return Ok(split.into());
                }
                combined
                    .map(|combined| vec![combined])
                    .ok_or_else(|| HubError::NoScale { id: repository.id.clone() })
            }
            (None, combined) => Ok(combined.into_iter().collect()),
        }
    }

    /// Whether scale and bias are known now: kept from an earlier time, read from the original's weights, or in the table.
    fn learn_logits(
        &self,
        client: &Client,
        model: &HubModel,
        repository: &Repository,
        listing: &Listing,
        tell: &mut dyn FnMut(Event<'_>),
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
            if let Some(logits) = safetensors::logits(client, source, revision, tell)? {
                repository.keep_logits(commit, logits, &format!("the weights of {source}"))?;
                return Ok(true);
            }
        }
        Ok(sources.iter().any(|id| known_models::logits(id).is_some()))
    }
}

/// The repositories that may hold the files: what was named, or the model's own and its sister.
fn candidates(model: &HubModel) -> Vec<String> {
    match &model.onnx {
        Some(onnx) => vec![onnx.clone()],
        None => std::iter::once(model.id.clone()).chain(known_models::sister(&model.id)).collect(),
    }
}

fn revision(model: &HubModel) -> &str {
    model.revision.as_deref().unwrap_or("main")
}

/// What strangers could answer in the hub's place, for the fuzzer: the list of files, the header of a weight file,
/// and where a redirect leads.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let _ = Listing::from_json(data);
    let _ = safetensors::in_weights(|begin, length| -> Result<_, ()> {
        let begin = usize::try_from(begin).unwrap_or(usize::MAX).min(data.len());
        Ok(data[begin..].iter().take(usize::try_from(length).unwrap_or(usize::MAX)).copied().collect())
    });
    client::fuzz(&String::from_utf8_lossy(data));
}
