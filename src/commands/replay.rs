//! `stakeout replay`: prints the alerts that recordings would have raised, or stored scores, and draws the scores.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use super::{DONE, FAILED, recordings::RecordingArgs};
use crate::{
    alert::Alert,
    config::Config,
    history::Reader,
    plot,
    replay::{
        self, Change, Ids, Judged, StoredTimeline, Timeline,
        history::{self, Count, Rejudged, Replayed},
    },
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
    super::with_config(&args.played.config.path(), |config| match args.played.history {
        true => replay_history(args, &config),
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
    let mut out = terminal::output();
    alerts
        .iter()
        .try_for_each(|alert| writeln!(out, "{}", alert.to_json()))
        .context("standard output cannot be written")
}

fn replay_history(args: &Args, config: &Config) -> Result<ExitCode> {
    let (reader, window) = (Reader::open(&config.state_dir)?, args.played.window());
    let sources = history::sources(&reader, args.played.source.as_deref(), window)?;
    let unknown = history::unknown_labels(&reader, &sources, window, &args.set)?;
    if !unknown.is_empty() {
        bail!("no scores of a label `{}` are stored for this time", unknown.join("`, `"));
    }
    ensure!(
        args.plot.is_none() || sources.len() == 1,
        "a plot is about one source: name it with --source: {}",
        sources.join(", ")
    );
    let mut timeline =
        args.plot.as_ref().map(|_| StoredTimeline::new(Timeline::empty(&sources[0]), |_, _| true));
    let (mut ids, mut alerts, mut all, mut counts) = (Ids::default(), vec![], Rejudged::default(), vec![]);
    for source in &sources {
        let replayed = history::replay(&reader, source, window, &args.set, &mut ids, |event| {
            if let Some(timeline) = &mut timeline {
                timeline.add(event);
            }
        })?;
        let Replayed { alerts: own, judged, counts: own_counts } = replayed;
        alerts.extend(own);
        all = all.and(judged);
        counts.extend(own_counts.into_iter().map(|count| (source, count)));
    }
    // The alerts of each source are sorted already.
    alerts.sort_by_key(|alert| alert.time);
    print(&alerts)?;
    if let Some((plot, timeline)) = args.plot.as_ref().zip(timeline) {
        plot.write(&timeline.finish().0)?;
    }
    let with_changes = !args.set.is_empty();
    for (source, count) in counts.iter().filter(|(_, count)| with_changes || count.now > 0) {
        terminal::say(format_args!("{}", counted(source, count, with_changes)));
    }
    let Rejudged { frames, gaps, damaged } = all;
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

/// `gate: yard / person: 12 alerts now, 31 with these settings`.
fn counted(source: &str, count: &Count, with_changes: bool) -> String {
    let Count { label: (set, label), now, then } = count;
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
        let count = |now, then| Count { label: ("yard".to_owned(), "person".to_owned()), now, then };
        assert_eq!(counted("gate", &count(1, 1), false), "gate: yard / person: 1 alert");
        assert_eq!(
            counted("gate", &count(12, 31), true),
            "gate: yard / person: 12 alerts now, 31 with these settings"
        );
    }
}
