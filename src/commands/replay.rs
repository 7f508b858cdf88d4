//! `stakeout replay`: prints the alerts that recordings would have raised, or stored scores, and draws the scores.

use std::{io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use super::{DONE, FAILED, recordings::RecordingArgs};
use crate::{
    alert::Alert,
    api::{self, Client, Time, replay::LabelCount},
    config::Config,
    history::{
        Reader,
        rejudge::{self, Change},
    },
    plot,
    replay::{self, Judged, StoredTimeline, Timeline},
    terminal,
};

/// The arguments of `stakeout replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    played: RecordingArgs,
    /// With --history: judge with this setting instead of the one at that time, such as yard/person.threshold=0.55; may be repeated. KEY
    /// is threshold, clear_below, rise, clear_rise, hold, for, cooldown or active
    #[arg(long = "set", value_name = "LABEL.KEY=VALUE", requires = "history")]
    set: Vec<Change>,
    /// Draw scores, levels, raised spans and thumbnails over time into this file; its name ends in .svg or .html
    #[arg(long, value_name = "FILE")]
    plot: Option<plot::File>,
}

/// Prints every alert as a line of JSON. The exit code is 1 if anything could not be played.
///
/// # Errors
/// The model, the source, a path, the stored scores or standard output cannot be used.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = args.played.config.path();
    super::with_config(&path, |config| match args.played.history {
        true => replay_history(args, &path, &config),
        false => replay(args, &config),
    })
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
        if alerts.is_empty() { Ok(()) } else { playback.aside(|| print(alerts)) }
    })?;
    if let Some((plot, timeline)) = args.plot.as_ref().zip(timeline) {
        plot.write(&timeline)?;
    }
    terminal::say(format_args!("{} played, {} not", played.frames, played.failed));
    Ok(ExitCode::from(if played.failed == 0 { DONE } else { FAILED }))
}

fn print(alerts: &[Alert]) -> Result<()> {
    print_lines(alerts.iter().map(Alert::to_json))
}

fn print_lines(lines: impl Iterator<Item = String>) -> Result<()> {
    let mut out = terminal::output();
    for line in lines {
        writeln!(out, "{line}").context("standard output cannot be written")?;
    }
    Ok(())
}

fn replay_history(args: &Args, path: &Path, config: &Config) -> Result<ExitCode> {
    let (client, window) = (Client::of(path, config), args.played.window());
    let request = api::replay::Request {
        source: args.played.source.clone(),
        since: window.since.map(Time),
        until: window.until.map(Time),
        set: args.set.iter().map(ToString::to_string).collect(),
        counts_only: false,
    };
    // The running service writes its newest frames before it answers.
    let answer = match client.call(&api::replay::VERB, &request) {
        Ok(answer) => answer,
        Err(error) => return Ok(super::report(&error)),
    };
    let lines = answer.alerts.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    print_lines(lines.into_iter())?;
    if let Some(file) = &args.plot {
        plot_history(file, &client.reader()?, args)?;
    }
    let with_changes = !args.set.is_empty();
    for count in answer.counts.iter().filter(|count| with_changes || count.now > 0) {
        terminal::say(format_args!("{}", counted(count, with_changes)));
    }
    let api::replay::Response { frames, gaps, damaged, .. } = answer;
    terminal::say(format_args!("{frames} frames judged again"));
    if gaps > 0 {
        terminal::say(format_args!(
            "frames are missing in {gaps} places: the service lost them, or was ended without warning"
        ));
    }
    if damaged > 0 {
        terminal::say(format_args!("{damaged} parts of the history are damaged, and were left out"));
    }
    Ok(ExitCode::from(if damaged == 0 { DONE } else { FAILED }))
}

/// Draws the scores of a source.
fn plot_history(file: &plot::File, reader: &Reader, args: &Args) -> Result<()> {
    let window = args.played.window();
    let sources = rejudge::sources(reader, args.played.source.as_deref(), window)?;
    let [source] = &sources[..] else {
        bail!("a plot is about one source: name it with --source: {}", sources.join(", "))
    };
    let mut timeline = StoredTimeline::new(Timeline::empty(source), |_, _| true);
    rejudge::rejudge(reader, source, window, &args.set, |event| timeline.add(&event))?;
    file.write(&timeline.finish().0)
}

/// `gate: yard / person: 12 alerts now, 31 with these settings`.
fn counted(count: &LabelCount, with_changes: bool) -> String {
    let LabelCount { source, label_set: set, label, now, then } = count;
    let alerts = |count: u64| if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") };
    match with_changes {
        true => format!("{source}: {set} / {label}: {} now, {then} with these settings", alerts(*now)),
        false => format!("{source}: {set} / {label}: {}", alerts(*now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_compared_if_settings_are_changed() {
        let [source, label_set, label] = ["gate", "yard", "person"].map(str::to_owned);
        let count = LabelCount { source, label_set, label, now: 1, then: 1 };
        assert_eq!(counted(&count, false), "gate: yard / person: 1 alert");
        let count = LabelCount { now: 12, then: 31, ..count };
        assert_eq!(counted(&count, true), "gate: yard / person: 12 alerts now, 31 with these settings");
    }
}
