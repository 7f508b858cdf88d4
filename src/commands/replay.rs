//! `stakeout replay`: what would have been told of these recordings. The same model, label sets and triggers as `run`, on the
//! recordings' own clock, as fast as the machine allows.
//!
//! It publishes nothing and keeps nothing; identical input gives identical output, identifiers too.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use uuid::{Builder, Uuid};

use super::{DEFAULT_CONFIG, DONE, FAILED};
use crate::{
    config::{Config, Loaded},
    judge::Judge,
    plot::{self, Timeline},
    replay,
};

/// What is typed after `stakeout replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The source that the recordings are taken for [default: the only one that is configured]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// When the first video began, such as 2026-11-23T08:00:00Z; the next ones follow it [default: what each file says, else its name]
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Draws scores, levels, raised spans and thumbnails over time into this file, by its name an SVG or HTML file
    #[arg(long, value_name = "FILE")]
    plot: Option<plot::File>,
    /// Videos, pictures, and folders of them, which are played in the order of their times
    #[arg(value_name = "VIDEO|FOLDER|IMAGE", required = true)]
    recordings: Vec<PathBuf>,
}

/// Prints every alert as a line of JSON; exits with 1 if anything could not be played.
///
/// # Errors
/// What concerns all of them: the model, the source, standard output.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Loaded { config, places, .. } = match super::load(&args.config) {
        Ok(loaded) => loaded,
        Err(told) => return Ok(told),
    };
    replay(args, &config).or_else(|error| super::refused(&places, error))
}

fn replay(args: &Args, config: &Config) -> Result<ExitCode> {
    let source = replay::source(config, args.source.as_deref())?;
    let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
    // The first labels: there is nothing to tell of others.
    judge.reload(config, Timestamp::UNIX_EPOCH, Uuid::nil);
    let mut ids = Ids::default();
    let mut timeline = args.plot.as_ref().map(|_| Timeline::new(config, source));
    let played = replay::play(config, source, &args.recordings, args.start, |scored, playback| {
        let time = scored.frame.captured_at;
        let alerts = judge.judge(scored, time, || ids.next(time));
        if let Some(timeline) = &mut timeline {
            timeline.take(scored, &alerts, judge.moving_levels(&source.name));
            for (set, rule, met) in judge.rules(&source.name) {
                timeline.take_rule(set, rule, met, scored);
            }
        }
        let mut out = io::stdout().lock();
        let mut print = || alerts.iter().try_for_each(|alert| writeln!(out, "{}", alert.to_json()));
        if alerts.is_empty() { Ok(()) } else { playback.aside(&mut print) }
            .context("standard output cannot be written")
    })?;
    if let Some((plot, timeline)) = args.plot.as_ref().zip(timeline) {
        plot.write(&timeline)?;
    }
    eprintln!("{} played, {} not", played.frames, played.failed);
    Ok(ExitCode::from(if played.failed == 0 { DONE } else { FAILED }))
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
