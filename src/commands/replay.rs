//! `stakeout replay`: what would have been told of these recordings. The same model, label sets and triggers as `run`, on the
//! recordings' own clock, as fast as the machine allows.
//!
//! It publishes nothing and keeps nothing; identical input gives identical output.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::SystemTime,
};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use uuid::{Builder, Uuid};

use super::{DEFAULT_CONFIG, DONE, FAILED, progress};
use crate::{
    classify::{self, LabelEncoder, LoadError, labels::VectorCache},
    config::Config,
    daemon::Judge,
    frame::{Frame, Slot},
    picture,
};

/// Decoded frames that may wait for the model.
const AHEAD: usize = 16;

/// What is typed after `stakeout replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The source that the recordings are taken for [default: the only one that is configured]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Pictures, and folders of pictures, which are played in the order of their times
    #[arg(value_name = "FOLDER|IMAGE", required = true)]
    recordings: Vec<PathBuf>,
}

/// Prints every alert as a line of JSON; exits with 1 if any picture could not be played.
///
/// # Errors
/// What concerns all of them: the model, the source, standard output.
pub fn run(args: &Args) -> Result<ExitCode> {
    let config = match super::load(&args.config) {
        Ok(loaded) => loaded.config,
        Err(told) => return Ok(told),
    };
    let source: Arc<str> = source(&config, args.source.as_deref())?.into();
    let recordings = pictures(&args.recordings)?;
    progress::find_or_pull(&config.model)?;
    let model = classify::load_model(&config)?;
    let watchlist =
        LabelEncoder::new(&model, VectorCache::of_user()).watchlist(&config.label_sets, &config.sources);
    // Nobody writes it again.
    let (_watchlist, to_look_for) = watch::channel(Arc::new(watchlist.map_err(LoadError::from)?));

    let (frames, to_model) = mpsc::channel(AHEAD);
    let (scored, mut to_judge) = mpsc::channel(AHEAD);
    let model = classify::spawn(model, to_look_for, to_model, scored).context("cannot start the model")?;
    let max_pixels = config.max_pixels;
    let player = thread::spawn(move || play(&recordings, &source, max_pixels, &frames));

    let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
    // The first labels: there is nothing to tell of others.
    judge.reload(&config, Timestamp::UNIX_EPOCH, Uuid::nil);
    let mut ids = Ids::default();
    let mut out = io::stdout().lock();
    while let Some(scored) = to_judge.blocking_recv() {
        let time = scored.frame.captured_at;
        for alert in judge.judge(&scored, time, || ids.next(time)) {
            writeln!(out, "{}", alert.to_json()).context("standard output cannot be written")?;
        }
    }
    let unplayable = player.join().map_err(|_| anyhow!("the player panicked"))?;
    let counts = model.join().map_err(|_| anyhow!("the model panicked"))??;
    eprintln!("{} played, {} not", counts.scored, unplayable + counts.failed);
    Ok(ExitCode::from(if unplayable + counts.failed == 0 { DONE } else { FAILED }))
}

fn source(config: &Config, typed: Option<&str>) -> Result<String> {
    let names = config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>();
    match (typed, &names[..]) {
        (Some(name), names) if names.contains(&name) => Ok(name.to_owned()),
        (None, [name]) => Ok((*name).to_owned()),
        (Some(name), _) => bail!("there is no source {name}; there are: {}", names.join(", ")),
        (None, _) => {
            bail!("say with --source which of these the recordings are taken for: {}", names.join(", "))
        }
    }
}

/// A picture and when it was captured, as far as its file knows.
type Recorded = (Timestamp, PathBuf);

/// Every picture of `recordings`: those of a folder by time and name, folders and pictures in the order typed.
fn pictures(recordings: &[PathBuf]) -> Result<Vec<Recorded>> {
    let mut all = Vec::new();
    for path in recordings {
        let cannot = || format!("cannot read {}", path.display());
        if fs::metadata(path).with_context(cannot)?.is_dir() {
            let mut folder = Vec::new();
            collect(path, &mut folder).with_context(cannot)?;
            folder.sort();
            all.append(&mut folder);
        } else {
            all.push((captured_at(path).with_context(cannot)?, path.clone()));
        }
    }
    Ok(all)
}

fn collect(folder: &Path, found: &mut Vec<Recorded>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, hidden) =
            entry.map(|entry| (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b".")))?;
        // A link to a folder is not followed: a recording has no cycles.
        let kind = fs::symlink_metadata(&entry)?.file_type();
        match (hidden, kind.is_dir()) {
            (true, _) => {}
            (false, true) => collect(&entry, found)?,
            (false, false) => found.push((captured_at(&entry)?, entry)),
        }
    }
    Ok(())
}

fn captured_at(path: &Path) -> io::Result<Timestamp> {
    let modified = fs::metadata(path)?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Sends every picture that is one; returns how many are not, each told on standard error.
fn play(recordings: &[Recorded], source: &Arc<str>, max_pixels: u64, frames: &mpsc::Sender<Frame>) -> u64 {
    let mut unplayable = 0;
    for (captured_at, path) in recordings {
        let picture = fs::read(path).context("it cannot be read");
        match picture.and_then(|bytes| Ok(picture::decode(&bytes, max_pixels)?)) {
            Ok(picture) => {
                let (source, origin) = (Arc::clone(source), path.display().to_string());
                let frame = Frame { source, origin, captured_at: *captured_at, picture, slot: Slot::free() };
                if frames.blocking_send(frame).is_err() {
                    // The model has ended, and says why itself.
                    break;
                }
            }
            Err(error) => {
                eprintln!("error: {}: {error:#}", path.display());
                unplayable += 1;
            }
        }
    }
    unplayable
}

/// Identifiers that are the same each time: the alert's own time, and its number.
#[derive(Default)]
struct Ids {
    told: u64,
}

impl Ids {
    fn next(&mut self, time: Timestamp) -> Uuid {
        self.told += 1;
        let mut number = [0; 10];
        number[2..].copy_from_slice(&self.told.to_be_bytes());
        let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(milliseconds, &number).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_the_same_each_time() {
        let time: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let (mut once, mut again) = (Ids::default(), Ids::default());
        let [first, second] = [once.next(time), once.next(time)];
        assert_ne!(first, second);
        assert_eq!([again.next(time), again.next(time)], [first, second]);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(once.next("1960-01-01T00:00:00Z".parse().unwrap()).get_version_num(), 7);
    }
}
