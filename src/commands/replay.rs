//! `stakeout replay`: prints the alerts that recordings would have raised, and draws the scores.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context, Result};

use super::{DONE, FAILED, recordings::RecordingArgs};
use crate::{
    config::Config,
    plot,
    replay::{self, Judged, Timeline},
    terminal,
};

/// The arguments of `stakeout replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    played: RecordingArgs,
    /// Draw scores, levels, raised spans and thumbnails over time into this file; its name ends in .svg or .html
    #[arg(long, value_name = "FILE")]
    plot: Option<plot::File>,
}

/// Prints every alert as a line of JSON. The exit code is 1 if anything could not be played.
///
/// # Errors
/// The model, the source, a path or standard output cannot be used.
pub fn run(args: &Args) -> Result<ExitCode> {
    super::with_config(&args.played.config.path(), |config| replay(args, &config))
}

fn replay(args: &Args, config: &Config) -> Result<ExitCode> {
    let RecordingArgs { source, start, recordings, .. } = &args.played;
    let source = replay::source(config, source.as_deref())?;
    let mut timeline = args.plot.as_ref().map(|_| Timeline::new(config, source));
    let played = replay::play(config, source, recordings, *start, |judged| {
        if let Some(timeline) = &mut timeline {
            timeline.add(judged.scored, judged.alerts, judged.judge);
        }
        let Judged { alerts, playback, .. } = judged;
        let mut out = terminal::output();
        let mut print = || alerts.iter().try_for_each(|alert| writeln!(out, "{}", alert.to_json()));
        if alerts.is_empty() { Ok(()) } else { playback.aside(&mut print) }
            .context("standard output cannot be written")
    })?;
    if let Some((plot, timeline)) = args.plot.as_ref().zip(timeline) {
        plot.write(&timeline)?;
    }
    terminal::say(format_args!("{} played, {} not", played.frames, played.failed));
    Ok(ExitCode::from(if played.failed == 0 { DONE } else { FAILED }))
}
