//! Embeds stored pictures that the present model has not embedded: after a change of `model:`, and those from before `search: true`.
//!
//! Pictures are embedded one by one, the newest day first, while the model has no frames ([`IdleModel`]). Their vectors go to the thread
//! of the history, which records them only if the picture still exists: what was forgotten stays forgotten. It commits them together with
//! what is observed meanwhile, and the next pictures are embedded in that time.
//!
//! A disk that does not work and an engine that is unavailable are tried again. A picture that cannot be decoded or embedded is counted,
//! and tried again at the next start. All of it ends at once when `search` is switched off.
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
use tokio::sync::{mpsc, watch};

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
    storage::is_damaged,
};

/// The pictures that are embedded until the next start at most.
const MOST: usize = 1_000_000;
/// The pictures whose vectors wait to be recorded together at most: those of ten seconds, even if the model is fast.
const TOGETHER: usize = 256;
/// A stored picture with more bytes is damaged.
const LONGEST_JPEG: u32 = 1 << 20;
/// How long to wait for a disk that does not work, and for an engine that is unavailable.
const RETRY: Duration = Duration::from_secs(30);
/// How often a picture is read if the disk does not work. A part of the disk may never work again.
const TRIES: usize = 3;
/// The source of stored pictures for the sandbox: all of them have one decoder process. No source has this name: names have no control
/// characters.
const DECODER: &str = "stored pictures\0";

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
    /// The configuration forbids it now.
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
        while self.config.wait_for(|config| searches(config)).await.is_ok() {
            if self.embed_while_on().await == Err(Ended::Stopping) {
                return;
            }
            // Once is enough.
            if self.config.wait_for(|config| !searches(config)).await.is_err() {
                return;
            }
        }
    }

    /// Embeds the pictures that lack vectors, until `search` is switched off.
    async fn embed_while_on(&self) -> Result<(), Ended> {
        let mut config = self.config.clone();
        let switched_off = async { config.wait_for(|config| !searches(config)).await.is_ok() };
        let ended = tokio::select! {
            biased;
            is_off = switched_off => Err(if is_off { Ended::SwitchedOff } else { Ended::Stopping }),
            done = self.embed_all() => done,
        };
        self.counts.to_embed.store(0, Ordering::Relaxed);
        ended
    }

    async fn embed_all(&self) -> Result<(), Ended> {
        let model = self.config.borrow().model.name().into_owned();
        let missing = self.list(&model).await;
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(
            pictures = missing.len(),
            model = &*model,
            "stored pictures that this model has not embedded are embedded while it is idle"
        );
        let Done { embedded, failed } = self.embed_each(&missing).await?;
        tracing::info!(embedded, failed, model = &*model, "the stored pictures are embedded");
        Ok(())
    }

    /// The pictures that lack vectors. Waits while the file cannot be read, which is logged once.
    async fn list(&self, model: &str) -> Vec<i64> {
        let mut is_logged = false;
        loop {
            match self.missing(model).await {
                Ok(missing) => return missing,
                Err(_) if is_logged => {}
                Err(error) => {
                    tracing::warn!(
                        error = %format!("{error:#}"), "stored pictures are not embedded until they can be listed"
                    );
                    is_logged = true;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
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
        let (sender, mut embedded) = mpsc::channel(TOGETHER);
        let embed = async {
            let mut failed = 0;
            for (at, id) in pictures.iter().enumerate() {
                self.counts.to_embed.store((pictures.len() - at) as u64, Ordering::Relaxed);
                match self.embed(*id).await? {
                    // The other half ends after this one.
                    Some(picture) => drop(sender.send(picture).await),
                    None => failed += 1,
                }
            }
            drop(sender);
            // What was recorded waits for no more pictures.
            let _ = self.history.flush(Duration::ZERO).await;
            Ok(failed)
        };
        let record = async {
            let (mut together, mut recorded) = (Vec::new(), 0);
            while embedded.recv_many(&mut together, TOGETHER).await > 0 {
                let is_last = embedded.is_closed();
                recorded += self.record(std::mem::take(&mut together), is_last).await?;
            }
            Ok(recorded)
        };
        let (failed, embedded) = tokio::try_join!(embed, record)?;
        Ok(Done { embedded, failed })
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
                Some(IdleError::Model(ModelError::Unavailable(_) | ModelError::Lost(_))) => {
                    tokio::time::sleep(RETRY).await;
                }
                Some(IdleError::Model(error)) => {
                    tracing::debug!(picture = id, %error, "a stored picture is not embedded");
                    return Ok(None);
                }
            }
        }
    }

    /// Reads, decodes and prepares a picture; `None` if that is impossible. Waits while the disk does not work.
    async fn read(&self, id: i64) -> Option<ReadyPicture> {
        for tried in 1.. {
            match self.try_to_read(id).await {
                Ok(ready) => return Some(ready),
                Err(error) if tried < TRIES && may_pass(&error) => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    tracing::debug!(picture = id, error = %format!("{error:#}"), "a stored picture is not embedded");
                    break;
                }
            }
        }
        None
    }

    /// Reads, decodes and prepares a picture on another thread.
    async fn try_to_read(&self, id: i64) -> anyhow::Result<ReadyPicture> {
        let (state_dir, decoders, model) =
            (self.state_dir.clone(), Arc::clone(&self.decoders), self.model.clone());
        let config = Arc::clone(&self.config.borrow());
        let ready = blocking::run(move || {
            let picture = stored(&state_dir, id)?.context("it was deleted")?;
            prepare(&picture, &config, decoders, &model)
        });
        ready.await.context("decoding failed")?
    }

    /// Records the vectors of some pictures, and returns the number of pictures that still exist. Waits while the disk does not work.
    async fn record(&self, pictures: Vec<EmbeddedPicture>, is_last: bool) -> Result<u64, Ended> {
        loop {
            match self.history.record_embedded(pictures.clone(), is_last).await {
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

/// Whether the error may be gone later: the disk does not work, or another program uses the file.
fn may_pass(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(Error::Folder { .. } | Error::Open { .. } | Error::InUse { .. }) => true,
        Some(Error::Statement(error)) => !is_damaged(error),
        _ => false,
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
    let decoder = PictureDecoder::of_stored(DECODER, decoders, u64::from(LONGEST).pow(2), mask);
    let decoded: Masked = decoder.decode(jpeg, &format!("a picture of {source}"))?.picture;
    let names = regions.iter().map(|region| Some(region.name.as_str().into())).chain(std::iter::repeat(None));
    let parts = parts(&decoded, regions);
    let parts = names.zip(&parts).map(|(name, part)| (name, model.prepare(part))).collect();
    Ok(ReadyPicture { source: source.as_str().into(), time: *time, parts })
}

#[cfg(test)]
mod tests;
