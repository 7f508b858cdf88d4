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

use std::{fs::File, io::BufReader, path::PathBuf};

pub use error::HubError;
pub use event::Event;
pub use inventory::Held;

pub use super::digest::Verdict;

use self::{
    cache::{Complete, Repository},
    client::{Client, FilePath},
    download::Fetched,
    environment::Environment,
    listing::Listing,
    retry::retrying,
};
use super::{
    build::{Format, Recipe, WeightSource, shards},
    context::Options,
    error::ModelError,
    external_data,
    family::{self, Logits},
    files::ModelFiles,
    layout::{self, Choice, Graphs, Local},
    preprocess::Backend,
    tokenizer::open_clip::{OpenClipText, tokenizer_repository},
};
use crate::{
    config::{Device, HubModel, ModelRef, Variant},
    shortage::Shortage,
};

/// The longest index of weight files, in bytes. An index of ten thousand tensors is a tenth of this.
const LONGEST_INDEX: u64 = 16 << 20;

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

    /// The suffix of the graphs that the canary compares graphs of this suffix with: those of full precision, if they are on this
    /// machine.
    #[must_use]
    pub fn reference_for(&self, suffix: &str) -> String {
        if self.files.is_complete("") { String::new() } else { suffix.to_owned() }
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
    let suffixes: Vec<_> = variant.choices(device).into_iter().map(Variant::suffix).collect();
    let first = Variant::suffix(variant.name().unwrap_or("fp32"));
    let with = |local| suffixes.iter().find(|suffix| files.has_graphs(suffix, local)).cloned();
    // A folder beside a model server may lack the graph for pictures.
    let suffix = with(Local::Both).or_else(|| with(Local::Text)).unwrap_or(first);
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
            match repository.complete(revision(model), model.variant, device, local(model)) {
                Ok(Complete { commit, suffix, tokenizer, is_built }) => {
                    let logits = repository.logits(&commit, &scale_sources(model, &repository));
                    let known = || [&model.id, &id].into_iter().find_map(|id| known_models::logits(id));
                    let folder = repository.snapshot(&commit);
                    let pull = model.pull_command(Device::Auto);
                    let files = ModelFiles::Cached { folder, tokenizer, pull };
                    let found = Found { files, suffix, logits: logits.or_else(known) };
                    if !is_built {
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
        let Located { repository, listing, variant, files: chosen } =
            self.locate(&client, model, device, report)?;
        if model.variant == Variant::Auto {
            report(Event::Chosen { variant, device });
        }
        let format = chosen.format(choice::lists(&listing.files));
        if matches!(chosen, Choice::Weights(_)) {
            report(Event::FromWeights { id: &repository.id, variant });
        }
        let commit = &listing.commit;
        let settings = match choice::settings(&repository.id, &listing.files, format) {
            Ok(settings) => settings,
            Err(error) => {
                // A model of another type has other files.
                refuse_type(&client, &repository.id, &listing, report)?;
                return Err(error);
            }
        };
        for file in settings {
            download::fetch(&client, &repository, &listing, file, report)?;
        }
        // Before anything large.
        let files = ModelFiles::Folder(repository.snapshot(commit));
        check_settings(&files, format, &chosen)
            .map_err(|reason| HubError::Unsupported { id: repository.id.clone(), reason })?;
        let graphs = match &chosen {
            Choice::Files(graphs) => {
                self.graph_files(&client, model, &repository, &listing, graphs, report)?
            }
            // The weights hold scale and bias.
            Choice::Weights(_) => Vec::new(),
        };
        self.fetch_tokenizer(&client, &repository, &listing, &files, format, report)?;
        for graph in graphs {
            fetch_graph(&client, &repository, &listing, &graph, report)?;
        }
        if let Choice::Weights(weights) = chosen {
            fetch_weights(&client, &repository, &listing, weights, report)?;
        }
        // Last, so that an interrupted pull leaves the revision at the commit that is complete.
        repository.remember(revision(model), commit)?;
        self.find(model, device)
    }

    /// The repository that has graphs of the variant, or weights that they can be built from.
    fn locate(
        &self,
        client: &Client,
        model: &HubModel,
        device: Device,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Located, HubError> {
        let choices = model.variant.choices(device);
        let candidates = candidates(model);
        let mut outcomes: Vec<Result<(Repository, Listing), HubError>> = Vec::new();
        for id in &candidates {
            let repository = Repository::new(&self.cache, id)?;
            match retrying(report, |_| client.listing(id, revision(model))) {
                Ok(listing) => {
                    let has_best =
                        choices.first().is_some_and(|best| choice::has_graphs(&listing.files, best));
                    outcomes.push(Ok((repository, listing)));
                    // Another repository cannot have anything better.
                    if has_best {
                        break;
                    }
                }
                Err(error) if error.is_absence() => outcomes.push(Err(error)),
                Err(error) => return Err(error),
            }
        }
        let files = |outcome: &Result<(Repository, Listing), HubError>| match outcome {
            Ok((_, listing)) => listing.files.clone(),
            Err(_) => Vec::new(),
        };
        let files: Vec<Vec<String>> = outcomes.iter().map(files).collect();
        let chosen = choice::choose(&files.iter().map(Vec::as_slice).collect::<Vec<_>>(), &choices);
        if let Some((at, variant, files)) = chosen
            && let Ok((repository, listing)) = outcomes.swap_remove(at)
        {
            return Ok(Located { repository, listing, variant, files });
        }
        for (repository, listing) in outcomes.iter().flatten() {
            refuse_type(client, &repository.id, listing, report)?;
        }
        let nothing = |outcome: Result<(Repository, Listing), HubError>| match outcome {
            Ok((repository, listing)) => choice::nothing(&repository.id, &listing.files, model.variant),
            Err(error) => error,
        };
        let errors: Vec<HubError> = outcomes.into_iter().map(nothing).collect();
        Err(nearest(errors, &candidates))
    }

    /// Fetches the tokenizer: that of the repository, that of the repository which OpenCLIP's settings name, or nothing, if this
    /// program has it.
    fn fetch_tokenizer(
        &self,
        client: &Client,
        repository: &Repository,
        listing: &Listing,
        files: &ModelFiles,
        format: Format,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), HubError> {
        let unsupported = |reason: String| HubError::Unsupported { id: repository.id.clone(), reason };
        let own = choice::vocabulary(&repository.id, &listing.files);
        if format == Format::OpenClip {
            let config =
                files.json(layout::OPEN_CLIP_CONFIG).map_err(|error| unsupported(error.to_string()))?;
            if OpenClipText::read(&config).map_err(unsupported)?.own_vocabulary {
                return Ok(());
            }
            if let (Err(_), Some(named)) = (&own, tokenizer_repository(&config)) {
                return self.fetch_tokenizer_of(client, known_models::full_name(named), report);
            }
        }
        for file in own? {
            download::fetch(client, repository, listing, file, report)?;
        }
        Ok(())
    }

    /// Fetches the tokenizer of another repository, with the settings that it needs.
    fn fetch_tokenizer_of(
        &self,
        client: &Client,
        id: &str,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), HubError> {
        let repository = Repository::new(&self.cache, id)?;
        let listing = retrying(report, |_| client.listing(id, "main"))?;
        let has = choice::lists(&listing.files);
        let settings = layout::TOKENIZER_SETTINGS.into_iter().filter(|name| has(name));
        for file in settings.chain(choice::vocabulary(id, &listing.files)?.iter().copied()) {
            download::fetch(client, &repository, &listing, file, report)?;
        }
        repository.remember("main", &listing.commit)
    }

    /// The split graphs that this machine runs, if scale and bias are available, which these graphs do not hold; else the combined
    /// graph, which does.
    fn graph_files(
        &self,
        client: &Client,
        model: &HubModel,
        repository: &Repository,
        listing: &Listing,
        graphs: &Graphs,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<String>, HubError> {
        if graphs.is_combined() {
            return Ok(vec![graphs.vision.clone()]);
        }
        let Graphs { vision, text, combined } = graphs.clone();
        let written = listing.files.iter().any(|file| file == layout::SCALE);
        if written || self.learn_logits(client, model, repository, listing, report)? {
            let vision = (!model.text_only).then_some(vision);
            return Ok(vision.into_iter().chain([text]).collect());
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

/// Checks what the small files of a model say. An error is the reason why the model is not supported.
fn check_settings(files: &ModelFiles, format: Format, chosen: &Choice) -> Result<(), String> {
    let text = |error: ModelError| error.to_string();
    files.settings(format, Backend::default()).map_err(text)?;
    if let Choice::Weights(source) = chosen {
        let config = files.json(source.config()).map_err(text)?;
        Recipe::check(*source, config)
            .map_err(|error| format!("{} cannot be used: {}", error.file, error.problem))?;
    }
    Ok(())
}

/// An error if a repository that has nothing to load is that of a model of a type that is known and not supported.
fn refuse_type(
    client: &Client,
    id: &str,
    listing: &Listing,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let file = layout::CONFIG;
    let Some(most) = choice::most_bytes(file).filter(|_| choice::lists(&listing.files)(file)) else {
        return Ok(());
    };
    let path = FilePath { id, revision: &listing.commit, file };
    // The error is then that of the graphs.
    let Ok(json) = retrying(report, |_| client.small(path, most)) else { return Ok(()) };
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    let found = json["model_type"].as_str().unwrap_or_default();
    let Some(nearest) = family::nearest(found) else { return Ok(()) };
    let reason = format!("models of the type {found} are not supported. Use {nearest} instead");
    Err(HubError::Unsupported { id: id.to_owned(), reason })
}

/// What a pull fetches.
struct Located {
    repository: Repository,
    listing: Listing,
    variant: &'static str,
    files: Choice,
}

/// Of the errors of several repositories the one that helps most, with the names of the others.
fn nearest(mut errors: Vec<HubError>, candidates: &[String]) -> HubError {
    let rank = |error: &HubError| match error {
        // A repository with other variants is nearer to what was asked for than one without graphs.
        HubError::NoGraphs { there, .. } if !there.is_empty() => 0,
        HubError::NoGraphs { made: true, .. } => 1,
        HubError::Pickle { .. } => 2,
        _ => 3,
    };
    let any_made = errors.iter().any(|error| matches!(error, HubError::NoGraphs { made: true, .. }));
    errors.sort_by_key(rank);
    let mut error = errors.swap_remove(0);
    if let HubError::NoGraphs { id, searched, made, .. } = &mut error {
        *made = any_made;
        *searched = candidates.iter().filter(|candidate| *candidate != id).cloned().collect();
    }
    error
}

/// Fetches weights that graphs are built from. The file that names them all comes last: a snapshot that has it is complete.
fn fetch_weights(
    client: &Client,
    repository: &Repository,
    listing: &Listing,
    weights: WeightSource,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<(), HubError> {
    let (id, file) = (&*repository.id, weights.weights);
    if weights.is_sharded() {
        let path = FilePath { id, revision: &listing.commit, file };
        let index = retrying(report, |_| client.small(path, LONGEST_INDEX))?;
        let named = shards(file, &index)
            .map_err(|error| format!("{} cannot be used: {}", error.file, error.problem))
            .map_err(|reason| HubError::Unsupported { id: id.to_owned(), reason })?;
        for shard in choice::shards(id, &listing.files, named.into_keys().collect())? {
            download::fetch(client, repository, listing, &shard, report)?;
        }
    }
    download::fetch(client, repository, listing, file, report)
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

fn local(model: &HubModel) -> Local {
    if model.text_only { Local::Text } else { Local::Both }
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
