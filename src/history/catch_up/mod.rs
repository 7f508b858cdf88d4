//! Embeds stored pictures that the present model has not embedded: after a change of `model:`, and those from before `search: true`.
//!
//! Pictures are embedded one by one, the newest day first, while the model has no frames ([`IdleModel`]). Their vectors go to the thread
//! of the history, which records them only if the picture still exists: what was forgotten stays forgotten. A picture that cannot be
//! decoded or embedded is counted, and tried again at the next start.
//!
//! The pictures are our own, but the file may be damaged: they are decoded like pictures of sources, with what the mask of their source
//! hides now.

mod missing;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::watch;

use super::{
    Error, Handle, Reader,
    embedded::EmbeddedPicture,
    pictures::{self, LONGEST, WithBytes},
};
use crate::{
    blocking,
    classify::{IdleError, IdleModel, PreparedPicture, parts},
    config::Config,
    model::ModelError,
    observe::HistoryCounts,
    picture::mask::Masked,
    source::decoders::{Decoders, PictureDecoder},
};

/// The pictures that are embedded until the next start at most.
const MOST: usize = 1_000_000;
/// The pictures whose vectors are recorded together.
const TOGETHER: usize = 16;
/// A stored picture with more bytes is damaged.
const LONGEST_JPEG: u32 = 1 << 20;
/// How long to wait for a disk that does not work, and for an engine that is unavailable.
const RETRY: Duration = Duration::from_secs(30);

/// Embeds stored pictures.
#[derive(Debug)]
pub struct CatchUp {
    /// The folder with the history.
    pub state_dir: PathBuf,
    /// Embeds pictures while it is idle.
    pub model: IdleModel,
    /// Records their vectors.
    pub history: Handle,
    /// Decode them.
    pub decoders: Arc<Decoders>,
    /// The configuration in force, dynamic sources included.
    pub config: watch::Receiver<Arc<Config>>,
    /// Counts them.
    pub counts: Arc<HistoryCounts>,
}

/// Why not all pictures were embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The service stops.
    Stopping,
    /// The configuration says so now.
    SwitchedOff,
}

/// A picture that is ready for the model.
struct ReadyPicture {
    source: Arc<str>,
    time: i64,
    /// Its regions with their names, or the whole picture.
    parts: Vec<(Option<Arc<str>>, PreparedPicture)>,
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    embedded: u64,
    failed: u64,
}

impl CatchUp {
    /// Embeds the pictures that lack vectors, each time that `search` is switched on. Ends when the service stops.
    pub async fn run(mut self) {
        let mut was_on = false;
        loop {
            let is_on = searches(&self.config.borrow_and_update());
            if is_on && !was_on && self.embed_all().await == Err(Ended::Stopping) {
                return;
            }
            was_on = is_on;
            if self.config.changed().await.is_err() {
                return;
            }
        }
    }

    async fn embed_all(&self) -> Result<(), Ended> {
        let model = self.config.borrow().model.name().into_owned();
        let missing = match self.missing(&model).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "stored pictures are not embedded: they cannot be listed");
                return Ok(());
            }
        };
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(
            pictures = missing.len(),
            model = &*model,
            "stored pictures that this model has not embedded are embedded while it is idle"
        );
        let ended = self.embed_each(&missing).await;
        self.counts.to_embed.store(0, Ordering::Relaxed);
        let Done { embedded, failed } = ended?;
        tracing::info!(embedded, failed, model = &*model, "the stored pictures are embedded");
        Ok(())
    }

    async fn missing(&self, model: &str) -> anyhow::Result<Vec<i64>> {
        let (state_dir, model) = (self.state_dir.clone(), model.to_owned());
        let missing = blocking::run(move || {
            let reader = Reader::open(&state_dir)?;
            Ok::<_, Error>(missing::missing(reader.connection(), &model, MOST)?)
        });
        Ok(missing.await.context("the list of pictures failed")??)
    }

    async fn embed_each(&self, pictures: &[i64]) -> Result<Done, Ended> {
        let mut done = Done::default();
        for (number, together) in pictures.chunks(TOGETHER).enumerate() {
            let mut embedded = Vec::with_capacity(together.len());
            for (at, id) in together.iter().enumerate() {
                let left = pictures.len() - number * TOGETHER - at;
                self.counts.to_embed.store(left as u64, Ordering::Relaxed);
                if !searches(&self.config.borrow()) {
                    return Err(Ended::SwitchedOff);
                }
                match self.embed(*id).await? {
                    Some(picture) => embedded.push(picture),
                    None => done.failed += 1,
                }
            }
            done.embedded += self.record(embedded).await?;
        }
        Ok(done)
    }

    /// The vectors of a picture; `None` if it was deleted meanwhile, or cannot be embedded.
    async fn embed(&self, id: i64) -> Result<Option<EmbeddedPicture>, Ended> {
        loop {
            let Some(ReadyPicture { source, time, parts }) = self.read(id).await else { return Ok(None) };
            let mut views = Vec::with_capacity(parts.len());
            let mut failed = None;
            for (region, part) in parts {
                match self.model.embed(part).await {
                    Ok(vector) => views.push((region, vector)),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            match failed {
                None => return Ok(Some(EmbeddedPicture { id, source, time, views })),
                Some(IdleError::Stopping) => return Err(Ended::Stopping),
                Some(IdleError::Model(ModelError::Unavailable(_))) => tokio::time::sleep(RETRY).await,
                Some(IdleError::Model(error)) => {
                    tracing::debug!(picture = id, %error, "a stored picture is not embedded");
                    return Ok(None);
                }
            }
        }
    }

    /// Reads, decodes and prepares a picture on another thread.
    async fn read(&self, id: i64) -> Option<ReadyPicture> {
        let (state_dir, decoders, model) =
            (self.state_dir.clone(), Arc::clone(&self.decoders), self.model.clone());
        let config = Arc::clone(&self.config.borrow());
        let ready = blocking::run(move || {
            let picture = stored(&state_dir, id)?.context("it was deleted")?;
            prepare(&picture, &config, decoders, &model)
        });
        let ready = ready.await.context("decoding failed").and_then(|ready| ready);
        ready
            .inspect_err(|error| {
                tracing::debug!(picture = id, error = %format!("{error:#}"), "a stored picture is not embedded");
            })
            .ok()
    }

    /// Records the vectors of some pictures, and returns the number of pictures that still exist. Waits while the disk does not work.
    async fn record(&self, pictures: Vec<EmbeddedPicture>) -> Result<u64, Ended> {
        loop {
            match self.history.record_embedded(pictures.clone()).await {
                Ok(recorded) => {
                    self.counts.embedded.fetch_add(recorded, Ordering::Relaxed);
                    return Ok(recorded);
                }
                Err(_) if self.model.has_ended() => return Err(Ended::Stopping),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

fn searches(config: &Config) -> bool {
    config.history.as_ref().is_some_and(|history| history.search)
}

fn stored(state_dir: &Path, id: i64) -> Result<Option<WithBytes>, Error> {
    let reader = Reader::open(state_dir)?;
    Ok(pictures::with_bytes(reader.connection(), id, LONGEST_JPEG)?)
}

/// Decodes a picture, and prepares the parts of it that are scored now: the regions of its source, if it has some.
fn prepare(
    picture: &WithBytes,
    config: &Config,
    decoders: Arc<Decoders>,
    model: &IdleModel,
) -> anyhow::Result<ReadyPicture> {
    let WithBytes { source, time, jpeg } = picture;
    let configured = config.sources.iter().find(|it| it.name == *source);
    let mask = configured.map(|source| source.mask.as_slice()).unwrap_or_default();
    let regions = configured.map(|source| source.regions.as_slice()).unwrap_or_default();
    // Each source has a decoder process of its own, and these pictures have others.
    let name = format!("{source}, stored pictures");
    let decoder = PictureDecoder::of_stored(&name, decoders, u64::from(LONGEST).pow(2), mask);
    let decoded: Masked = decoder.decode(jpeg, "a stored picture")?.picture;
    let names = regions.iter().map(|region| Some(region.name.as_str().into())).chain(std::iter::repeat(None));
    let parts = parts(&decoded, regions);
    let parts = names.zip(&parts).map(|(name, part)| (name, model.prepare(part))).collect();
    Ok(ReadyPicture { source: source.as_str().into(), time: *time, parts })
}

#[cfg(test)]
mod tests;
