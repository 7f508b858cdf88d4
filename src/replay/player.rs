//! Plays recordings: decodes them on a thread of their own ahead of the model, so that neither waits while both have work.
//!
//! A video has its own clock: it starts at the time in the file, else at the time in its name, else where the previous recording
//! ended. A picture has the time in the file (EXIF), else in its name, else the time of its file's last change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::recordings::{Found, Recording, RecordingKind, find};
use crate::{
    classify::{self, LabelEncoder, LoadError, Scored, labels::VectorCache},
    config::{Config, Decode, Source},
    frame::{Frame, Slot},
    picture::{
        self, Limits,
        mask::{Masked, Polygon},
    },
    progress::{self, Playback},
    source, terminal, trial,
};

/// Decoded frames that may wait for the model.
const AHEAD: usize = 16;

/// How much was played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames that were scored.
    pub frames: u64,
    /// Frames, pictures and videos that could not be played or scored; each was reported on standard error.
    pub failed: u64,
}

/// Plays everything in `paths` as frames of `source`, and calls `each` for every scored frame, in order. `start` is when the
/// first video began, and overrides the times of the files.
///
/// # Errors
/// The model cannot be used ([`LoadError`] inside), a path does not exist, or `each` fails.
pub(super) fn play(
    config: &Config,
    source: &Source,
    paths: &[PathBuf],
    start: Option<Timestamp>,
    mut each: impl FnMut(&Scored, &Playback) -> Result<()>,
) -> Result<Played> {
    let Found { recordings, unreadable } = find(paths)?;
    // As the service runs it on this machine.
    let chosen = trial::chosen_before(config).apply(config);
    progress::find_or_pull(&chosen.model, classify::device(&chosen)?).map_err(LoadError::from)?;
    let model = classify::load_model_as(config, &chosen)?;
    let watchlist =
        LabelEncoder::new(&model, VectorCache::of_user()).watchlist(&config.label_sets, &config.sources);
    // It never changes; the sender only keeps the channel open.
    let (_watchlist, watched) = watch::channel(Arc::new(watchlist.map_err(LoadError::from)?));

    let (frames, to_model) = mpsc::channel(AHEAD);
    let (to_judge, mut scored_frames) = mpsc::channel(AHEAD);
    let model = classify::spawn_in_full_batches(model, watched, to_model, to_judge)
        .context("cannot start the model")?;
    let playback = Playback::new(recordings.iter().map(|recording| recording.bytes).sum());
    for (path, error) in &unreadable {
        playback.aside(|| say_of(path, format_args!("it cannot be read: {error}")));
    }
    let player = Player {
        source: source.name.as_str().into(),
        sampling: sampling(source),
        limits: config.limits(),
        mask: source.mask.as_slice().into(),
        clock: start,
        is_forced: start.is_some(),
        playback: playback.clone(),
        frames,
    };
    let player = thread::Builder::new()
        .name("player".to_owned())
        .spawn(move || player.play(&recordings))
        .context("cannot start the player")?;

    let mut outcome = Ok(());
    while let Some(scored) = scored_frames.blocking_recv() {
        outcome = each(&scored, &playback);
        if outcome.is_err() {
            break;
        }
    }
    // Closing the channel ends the model's thread, and then the player.
    drop(scored_frames);
    let failed = player.join().map_err(|_| anyhow!("the player panicked"))?;
    let counts = model.join().map_err(|_| anyhow!("the model panicked"))?;
    playback.end();
    outcome?;
    let counts = counts?;
    Ok(Played { frames: counts.scored, failed: failed + counts.failed + unreadable.len() as u64 })
}

/// How often `source` takes a frame of a video, and which frames it decodes. A source without a rate takes one per second.
fn sampling(source: &Source) -> (Duration, Decode) {
    source.kind.settings().sampling()
}

/// Prints an error about a file, whose name may have line breaks.
fn say_of(path: &Path, error: fmt::Arguments<'_>) {
    terminal::say(format_args!("error: {}: {error}", terminal::one_line(&path.to_string_lossy())));
}

/// The model takes no more frames: it has ended and reports why itself.
struct ModelEnded;

struct Player {
    source: Arc<str>,
    sampling: (Duration, Decode),
    limits: Limits,
    /// What the source hides.
    mask: Arc<[Polygon]>,
    /// The start of the next video that has no time of its own.
    clock: Option<Timestamp>,
    /// Whether the clock overrides the times of the videos.
    is_forced: bool,
    playback: Playback,
    frames: mpsc::Sender<Frame>,
}

impl Player {
    /// Plays everything, and returns how many recordings could not be played.
    fn play(mut self, recordings: &[Recording]) -> u64 {
        let (mut failed, mut done) = (0, 0);
        for recording in recordings {
            let played = match recording.kind {
                RecordingKind::Picture => self.picture(recording),
                RecordingKind::Video => self.video(recording, done),
            };
            match played {
                Ok(Ok(())) => {}
                Ok(Err(ModelEnded)) => break,
                Err(error) => {
                    self.playback.aside(|| say_of(&recording.path, format_args!("{error:#}")));
                    failed += 1;
                }
            }
            done += recording.bytes;
            self.playback.at(done, &recording.path);
        }
        failed
    }

    fn picture(&self, recording: &Recording) -> Result<Result<(), ModelEnded>> {
        let bytes = picture::read_file(&recording.path)?;
        let picture = Masked::new(picture::decode(&bytes, self.limits)?, &self.mask);
        let time = recording.time.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(self.send(picture, recording.path.display().to_string(), time))
    }

    fn video(&mut self, recording: &Recording, done: u64) -> Result<Result<(), ModelEnded>> {
        let (every, decode) = self.sampling;
        let mask = Arc::clone(&self.mask);
        let mut video = source::Recording::open(&recording.path, every, decode, self.limits, mask)?;
        let own = video.began().or(recording.time).filter(|_| !self.is_forced);
        let began = own.or(self.clock).unwrap_or_else(|| {
            self.playback.aside(|| {
                terminal::say(format_args!(
                    "note: {} does not say when it was recorded, so its clock begins at {}; `--start TIME` sets it",
                    terminal::one_line(&recording.path.to_string_lossy()),
                    Timestamp::UNIX_EPOCH
                ));
            });
            Timestamp::UNIX_EPOCH
        });
        let mut frames = 0_u64;
        while let Some((into, picture)) = video.next_frame()? {
            let time = later(began, into);
            self.clock = Some(later(time, every));
            let origin = format!("{}#t={:.3}", recording.path.display(), into.as_secs_f64());
            if let Err(ended) = self.send(picture, origin, time) {
                return Ok(Err(ended));
            }
            frames += 1;
            let part = video.length().map_or(0.0, |length| into.as_secs_f64() / length.as_secs_f64());
            self.playback.at(done + (recording.bytes as f64 * part.min(1.0)) as u64, &recording.path);
        }
        ensure!(frames > 0, "no whole frame in it: {}", video.counts());
        Ok(Ok(()))
    }

    fn send(&self, picture: Masked, origin: String, captured_at: Timestamp) -> Result<(), ModelEnded> {
        let (source, slot) = (Arc::clone(&self.source), Slot::free());
        let frame = Frame { source, origin, captured_at, picture, slot };
        self.frames.blocking_send(frame).map_err(|_| ModelEnded)
    }
}

/// `time` plus `by`; unchanged if the sum is out of range.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
    time.checked_add(by).unwrap_or(time)
}
