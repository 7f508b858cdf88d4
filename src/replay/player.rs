//! The way of a recording through the model: decoded on a thread of its own ahead of the model, so that neither waits for
//! the other while both have something to do.

use std::{fs, path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::{Item, Kind, Sampling, find};
use crate::{
    classify::{self, LabelEncoder, LoadError, Scored, labels::VectorCache},
    commands::progress::{self, Playback},
    config::{Config, Source},
    frame::{Frame, Slot},
    picture::{self, Picture},
    source,
};

/// Decoded frames that may wait for the model.
const AHEAD: usize = 16;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames that were scored.
    pub frames: u64,
    /// Frames, pictures and videos that could not be; each was told on standard error.
    pub failed: u64,
}

/// Plays everything in `paths` as frames of `source`; `each` is given every scored frame, in order. `start` is when the first
/// video began, whatever it says itself.
///
/// # Errors
/// What concerns all of them: the model ([`LoadError`] inside), a path that is not there, and what `each` fails with.
pub fn play(
    config: &Config,
    source: &Source,
    paths: &[PathBuf],
    start: Option<Timestamp>,
    mut each: impl FnMut(&Scored, &Playback) -> Result<()>,
) -> Result<Played> {
    let items = find(paths)?;
    progress::find_or_pull(&config.model, classify::device(config)?).map_err(LoadError::from)?;
    let model = classify::load_model(config)?;
    let watchlist =
        LabelEncoder::new(&model, VectorCache::of_user()).watchlist(&config.label_sets, &config.sources);
    // Nobody writes it again.
    let (_watchlist, to_look_for) = watch::channel(Arc::new(watchlist.map_err(LoadError::from)?));

    let (frames, to_model) = mpsc::channel(AHEAD);
    let (scored, mut to_judge) = mpsc::channel(AHEAD);
    let model = classify::spawn_in_full_batches(model, to_look_for, to_model, scored)
        .context("cannot start the model")?;
    let playback = Playback::new(items.iter().map(|item| item.bytes).sum());
    let player = Player {
        source: source.name.as_str().into(),
        sampling: Sampling::of(source),
        max_pixels: config.max_pixels,
        clock: start,
        forced: start.is_some(),
        playback: playback.clone(),
        frames,
    };
    let player = thread::Builder::new()
        .name("player".to_owned())
        .spawn(move || player.play(&items))
        .context("cannot start the player")?;

    let mut outcome = Ok(());
    while let Some(scored) = to_judge.blocking_recv() {
        outcome = each(&scored, &playback);
        if outcome.is_err() {
            break;
        }
    }
    // Whoever still sends then finds nobody, and ends.
    drop(to_judge);
    let failed = player.join().map_err(|_| anyhow!("the player panicked"))?;
    let counts = model.join().map_err(|_| anyhow!("the model panicked"))?;
    playback.end();
    outcome?;
    let counts = counts?;
    Ok(Played { frames: counts.scored, failed: failed + counts.failed })
}

/// Nobody takes frames any more: the model has ended, and says why itself.
struct NobodyThere;

struct Player {
    source: Arc<str>,
    sampling: Sampling,
    max_pixels: u64,
    /// Where the next video begins that does not say so itself.
    clock: Option<Timestamp>,
    /// The clock is followed whatever the videos say.
    forced: bool,
    playback: Playback,
    frames: mpsc::Sender<Frame>,
}

impl Player {
    /// Plays everything; how much of it could not be.
    fn play(mut self, items: &[Item]) -> u64 {
        let (mut failed, mut done) = (0, 0);
        for item in items {
            let played = match item.kind {
                Kind::Picture => self.picture(item),
                Kind::Video => self.video(item, done),
            };
            match played {
                Ok(Ok(())) => {}
                Ok(Err(NobodyThere)) => break,
                Err(error) => {
                    self.playback.aside(|| eprintln!("error: {}: {error:#}", item.path.display()));
                    failed += 1;
                }
            }
            done += item.bytes;
            self.playback.at(done, &item.path);
        }
        failed
    }

    fn picture(&self, item: &Item) -> Result<Result<(), NobodyThere>> {
        let bytes = fs::read(&item.path).context("it cannot be read")?;
        let picture = picture::decode(&bytes, self.max_pixels)?;
        let time = item.time.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(self.send(picture, item.path.display().to_string(), time))
    }

    fn video(&mut self, item: &Item, done: u64) -> Result<Result<(), NobodyThere>> {
        let Sampling { every, decode } = self.sampling;
        let mut video = source::Recording::open(&item.path, every, decode, self.max_pixels)?;
        let said = video.began().or(item.time).filter(|_| !self.forced);
        let began = said.or(self.clock).unwrap_or_else(|| {
            self.playback.aside(|| {
                eprintln!(
                    "note: {} does not say when it was recorded, so its clock begins at {}; `--start TIME` sets it",
                    item.path.display(),
                    Timestamp::UNIX_EPOCH
                );
            });
            Timestamp::UNIX_EPOCH
        });
        let mut frames = 0_u64;
        while let Some((into, picture)) = video.next_frame()? {
            let time = later(began, into);
            self.clock = Some(later(time, every));
            let origin = format!("{}#t={:.3}", item.path.display(), into.as_secs_f64());
            if let Err(nobody) = self.send(picture, origin, time) {
                return Ok(Err(nobody));
            }
            frames += 1;
            let part = video.length().map_or(0.0, |length| into.as_secs_f64() / length.as_secs_f64());
            self.playback.at(done + (item.bytes as f64 * part.min(1.0)) as u64, &item.path);
        }
        anyhow::ensure!(frames > 0, "no whole frame in it: {}", video.counts());
        Ok(Ok(()))
    }

    fn send(&self, picture: Picture, origin: String, captured_at: Timestamp) -> Result<(), NobodyThere> {
        let source = Arc::clone(&self.source);
        let (picture, slot) = (picture.into(), Slot::free());
        let frame = Frame { source, origin, captured_at, picture, slot };
        self.frames.blocking_send(frame).map_err(|_| NobodyThere)
    }
}

/// `time` and then some; a clock that would leave its range stands still.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
    time.checked_add(by).unwrap_or(time)
}
