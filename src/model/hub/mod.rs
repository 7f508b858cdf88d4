//! Finds a model by its name in the configuration (the bundled one, a folder, a name on the hub), and downloads what is
//! missing in the hub's cache on this machine.
//!
//! This module decides which graphs are used, where scale and bias come from and when the network is used. A model that is
//! in the cache is never updated automatically: only [`Hub::pull`] asks the hub for a newer one.

mod cache;
mod choice;
mod client;
mod content;
mod download;
mod environment;
mod error;
mod event;
mod inventory;
mod known_models;
mod listing;
mod retry;
mod weights;

use std::{
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
};

pub use error::HubError;
pub use event::Event;
pub use inventory::Held;

pub use super::digest::Verdict;

use self::{
    cache::Repository,
    client::{Client, FilePath},
    download::Fetched,
    environment::Environment,
    listing::Listing,
    retry::retrying,
};
use super::{
    build::{self, Recipe, WeightSource},
    context::Options,
    error::ModelError,
    external_data,
    family::{self, Logits},
    files::{Graphs, ModelFiles},
    preprocess::Backend,
};
use crate::{
    config::{Device, HubModel, ModelRef, Variant},
    shortage::Shortage,
};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "config.json";

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
            if hub.environment.offline().is_some() { found } else { hub.pull(model, device, report) }
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

    /// A model in the cache. If several variants are allowed, the best one for `device`. ONNX files come before weights, from
    /// which graphs are built.
    ///
    /// # Errors
    /// The model is not in the cache, or a file of it is missing.
    pub fn find(&self, model: &HubModel, device: Device) -> Result<Found, HubError> {
        let mut lacks = String::new();
        let mut built = None;
        for id in candidates(model) {
            let repository = Repository::new(&self.cache, &id)?;
            match repository.complete(revision(model), model.variant, device) {
                Ok((commit, suffix)) => {
                    let logits = repository.logits(&commit, &scale_sources(model, &repository));
                    let known = || [&model.id, &id].into_iter().find_map(|id| known_models::logits(id));
                    let folder = repository.snapshot(&commit);
                    let files = ModelFiles::Cached { folder, pull: model.pull_command(Device::Auto) };
                    let found = Found { files, suffix, logits: logits.or_else(known) };
                    if !found.files.is_built(&found.suffix) {
                        return Ok(found);
                    }
                    built = built.or(Some(found));
                }
                Err(missing) if lacks.is_empty() => lacks = missing,
                Err(_) => {}
            }
        }
        if let Some(found) = built {
            return Ok(found);
        }
        // A file that cannot be opened for now is not a missing one.
        if let Some(shortage) = Shortage::now() {
            return Err(HubError::short_of(&self.cache, shortage));
        }
        Err(match self.environment.offline() {
            Some(variable) => HubError::offline(model, &self.cache, lacks, variable),
            None => HubError::not_cached(model, &self.cache, lacks),
        })
    }

    /// Downloads the newest files of a model's revision, and replaces damaged ones. `auto` is the best variant that the
    /// repository has, for `device`.
    ///
    /// # Errors
    /// One message with a remedy. Bytes that have arrived are kept, and the next pull continues after them.
    pub fn pull(
        &self,
        model: &HubModel,
        device: Device,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Found, HubError> {
        if let Some(variable) = self.environment.offline() {
            return Err(HubError::offline(model, &self.cache, String::new(), variable));
        }
        // The name becomes a part of addresses, even if the files are in another repository.
        Repository::new(&self.cache, &model.id)?;
        let client = Client::new(&self.environment);
        let (repository, listing, plan) = self.locate(&client, model, device, report)?;
        if model.variant == Variant::Auto {
            report(Event::Chosen { variant: plan.variant(), device });
        }
        let commit = &listing.commit;
        let settings = match choice::settings(&repository.id, &listing.files) {
            Ok(settings) => settings,
            Err(error) => {
                // Files of another type of model are other files.
                refuse_type(&client, &repository.id, &listing, report)?;
                return Err(error);
            }
        };
        for file in settings {
            download::fetch(&client, &repository, &listing, file, report)?;
        }
        // Before anything large.
        check_settings(&ModelFiles::Folder(repository.snapshot(commit)), &plan)
            .map_err(|reason| HubError::Unsupported { id: repository.id.clone(), reason })?;
        match plan {
            Plan::Files(_, graphs) => {
                let graphs = self.graph_files(&client, model, &repository, &listing, graphs, report)?;
                download::fetch(&client, &repository, &listing, TOKENIZER, report)?;
                for graph in graphs {
                    fetch_graph(&client, &repository, &listing, &graph, report)?;
                }
            }
            Plan::Weights(source) => {
                download::fetch(&client, &repository, &listing, TOKENIZER, report)?;
                fetch_weights(&client, &repository, &listing, source, report)?;
            }
        }
        // Last, so that an interrupted pull leaves the revision at the commit that is complete.
        repository.remember(revision(model), commit)?;
        self.find(model, device)
    }

    /// The first repository that has graphs of the variant, else the first that has weights; and what is fetched of it.
    fn locate(
        &self,
        client: &Client,
        model: &HubModel,
        device: Device,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Repository, Listing, Plan), HubError> {
        let mut errors = Vec::new();
        let mut without = Vec::new();
        let candidates = candidates(model);
        for id in &candidates {
            let repository = Repository::new(&self.cache, id)?;
            match retrying(report, |_| client.listing(id, revision(model))) {
                Err(error) if error.is_absence() => errors.push(error),
                Err(error) => return Err(error),
                Ok(listing) => match choice::graphs(id, &listing.files, model.variant, device) {
                    Ok((variant, graphs)) => {
                        return Ok((repository, listing, Plan::Files(variant, graphs)));
                    }
                    Err(error) => {
                        errors.push(error);
                        without.push((repository, listing));
                    }
                },
            }
        }
        let weights =
            |(_, listing): &(Repository, Listing)| choice::built(&listing.files, model.variant, device);
        if let Some(at) = without.iter().position(|it| weights(it).is_some())
            && let Some(source) = weights(&without[at])
        {
            let (repository, listing) = without.swap_remove(at);
            return Ok((repository, listing, Plan::Weights(source)));
        }
        for (repository, listing) in &without {
            refuse_type(client, &repository.id, listing, report)?;
        }
        let others =
            |error: &HubError| matches!(error, HubError::NoGraphs { there, .. } if !there.is_empty());
        let pickle = |(repository, listing): &(Repository, Listing)| {
            Some((repository.id.clone(), choice::pickle(&listing.files)?))
        };
        if let Some((id, file)) = without.iter().find_map(pickle) {
            return Err(HubError::Pickle { id, file });
        }
        // A repository with other variants is nearer to what was asked for than one without graphs.
        let at = errors.iter().position(others).unwrap_or(0);
        let mut error = errors.swap_remove(at);
        if let HubError::NoGraphs { searched, .. } = &mut error {
            *searched =
                candidates.into_iter().enumerate().filter(|(it, _)| *it != at).map(|(_, id)| id).collect();
        }
        Err(error)
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
        let sources = scale_sources(model, repository);
        if repository.logits(commit, &sources).is_some() {
            return Ok(true);
        }
        for source in &sources {
            let revision = if *source == repository.id { commit } else { "main" };
            if let Some(logits) = weights::logits(client, source, revision, report)? {
                repository.keep_logits(commit, logits, source)?;
                return Ok(true);
            }
        }
        Ok(sources.iter().any(|id| known_models::logits(id).is_some()))
    }
}

/// What is fetched for the graphs of a model.
enum Plan {
    /// ONNX files of a variant, which has this name.
    Files(&'static str, Graphs),
    /// Weights, from which the graphs are built.
    Weights(WeightSource),
}

impl Plan {
    /// The hub's name of the variant.
    fn variant(&self) -> &'static str {
        match self {
            Self::Files(variant, _) => variant,
            Self::Weights(_) => "fp32",
        }
    }
}

/// Checks what the small files of a model say. An error is the reason why the model is not supported.
fn check_settings(files: &ModelFiles, plan: &Plan) -> Result<(), String> {
    let text = |error: ModelError| error.to_string();
    files.settings(Backend::default()).map_err(text)?;
    if let Plan::Weights(source) = plan {
        let config = files.json(source.config()).map_err(text)?;
        Recipe::check(*source, config)
            .map_err(|error| format!("{} cannot be used: {}", error.file, error.problem))?;
    }
    Ok(())
}

/// An error if a repository without graphs has a model of a type that is known and not supported.
fn refuse_type(
    client: &Client,
    id: &str,
    listing: &Listing,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let path = FilePath { id, revision: &listing.commit, file: CONFIG };
    let Some(most) = choice::most_bytes(CONFIG).filter(|_| listing.files.iter().any(|file| file == CONFIG))
    else {
        return Ok(());
    };
    // The error is then that of the graphs.
    let Ok(json) = retrying(report, |_| client.small(path, most)) else { return Ok(()) };
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    let found = json["model_type"].as_str().unwrap_or_default();
    let Some(nearest) = family::nearest(found) else { return Ok(()) };
    let reason = format!("models of the type {found} are not supported. Use {nearest} instead");
    Err(HubError::Unsupported { id: id.to_owned(), reason })
}

/// Fetches weights. What names them is fetched last: a snapshot that has it is complete.
fn fetch_weights(
    client: &Client,
    repository: &Repository,
    listing: &Listing,
    source: WeightSource,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let fetched = Fetched::get(client, repository, listing, source.weights, report)?;
    if source.is_sharded() {
        let json = fs::read(&fetched.path).map_err(HubError::reading(&fetched.path))?;
        let shards = build::shards(source.weights, &json).map_err(|error| HubError::Unsupported {
            id: repository.id.clone(),
            reason: format!("{} cannot be used: {}", error.file, error.problem),
        })?;
        let missing: Vec<_> = shards.keys().filter(|shard| !listing.files.contains(shard)).cloned().collect();
        if !missing.is_empty() {
            return Err(HubError::Lacks { id: repository.id.clone(), missing: missing.join(", ") });
        }
        for shard in shards.keys() {
            download::fetch(client, repository, listing, shard, report)?;
        }
    }
    fetched.link(repository)
}

/// Fetches a graph and its weights. The graph gets its name last: a snapshot that has it is complete.
fn fetch_graph(
    client: &Client,
    repository: &Repository,
    listing: &Listing,
    graph: &str,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let fetched = Fetched::get(client, repository, listing, graph, report)?;
    let opened = File::open(&fetched.path).map_err(HubError::reading(&fetched.path))?;
    // What is no ONNX graph names no files; the engine reports it.
    let locations = external_data::locations(BufReader::new(opened)).unwrap_or_default();
    for weights in choice::weights(&repository.id, &listing.files, graph, locations)? {
        download::fetch(client, repository, listing, &weights.name, report)?;
    }
    fetched.link(repository)
}

/// The repositories whose weights may hold the scale of a model with its graphs in `repository`, the most specific first.
fn scale_sources(model: &HubModel, repository: &Repository) -> Vec<String> {
    let mut sources = vec![model.id.clone()];
    for source in known_models::original(&model.id).into_iter().chain([repository.id.clone()]) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

/// The repositories that may hold the files: the one that is named, or the model's own and those of known exports.
fn candidates(model: &HubModel) -> Vec<String> {
    match &model.onnx {
        Some(onnx) => vec![onnx.clone()],
        None => std::iter::once(model.id.clone()).chain(known_models::exports(&model.id)).collect(),
    }
}

fn revision(model: &HubModel) -> &str {
    model.revision.as_deref().unwrap_or("main")
}

/// Parses what an untrusted hub could answer, for the fuzzer: the list of files, the header of a weight file, and the target
/// of a redirect.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let _ = Listing::read(data);
    let _ = weights::in_weights(|begin, length| -> Result<_, ()> {
        let begin = usize::try_from(begin).unwrap_or(usize::MAX).min(data.len());
        Ok(data[begin..].iter().take(usize::try_from(length).unwrap_or(usize::MAX)).copied().collect())
    });
    client::fuzz(&String::from_utf8_lossy(data));
    let _ = external_data::locations(std::io::Cursor::new(data));
}
