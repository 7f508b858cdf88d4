//! `stakeout tune`: suggests thresholds from recordings or from stored scores.
//!
//! Standard output holds only the suggestion as YAML. The tables for people go to standard error, or into the HTML file of
//! `--report`. The configuration changes only with `--write`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use super::{DONE, FAILED, recordings::RecordingArgs};
use crate::{
    config::{Config, Source, edit},
    history::{
        Filter, Reader,
        marks::{self, Mark, Verdict},
        scores::{self, Window},
    },
    progress::Counted,
    replay, terminal,
    tune::{Marked, Truth, Tuning},
};

/// The arguments of `stakeout tune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    played: RecordingArgs,
    /// What really happened: a CSV file with the columns label, start and end, in seconds from the first frame or as times
    #[arg(long, value_name = "FILE.csv")]
    truth: Option<PathBuf>,
    /// Write a report into this file: scores over time, histograms, tables and thumbnails of near misses
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the suggested settings into the configuration; comments and order stay as they are
    #[arg(long)]
    write: bool,
}

/// Prints suggested settings as YAML. The exit code is 1 if anything could not be played.
///
/// # Errors
/// The model, the source, a path or the truth cannot be used, or an output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = args.played.config.path();
    super::with_config(&path, |config| tune(args, &path, &config))
}

fn tune(args: &Args, path: &Path, config: &Config) -> Result<ExitCode> {
    let RecordingArgs { source, start, recordings, .. } = &args.played;
    let source = replay::source(config, source.as_deref())?;
    // Before the recordings, which may take hours.
    let truth = args.truth.as_deref().map(Truth::read).transpose()?;
    let mut tuning = match args.played.history {
        true => of_history(args, config, source, truth.as_ref())?,
        false => Tuning::new(config, source, recordings, *start, truth.as_ref())?,
    };
    terminal::say(tuning.text().strip_suffix('\n').unwrap_or_default());
    let rules = config.watches().filter(|(watching, _)| watching.name == source.name);
    for rule in rules.flat_map(|(_, set)| &set.rules) {
        terminal::say(format_args!(
            "`{}` is a rule over labels: it follows the settings of its labels",
            rule.settings.name
        ));
    }
    let played = tuning.played();
    terminal::say(format_args!("{} played, {} not", played.frames, played.failed));
    if let Some(path) = &args.report {
        fs::write(path, tuning.page()).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    terminal::output().write_all(tuning.patch().as_bytes()).context("standard output cannot be written")?;
    if args.write {
        write(path, &tuning.edits())?;
    }
    Ok(ExitCode::from(if played.failed == 0 { DONE } else { FAILED }))
}

fn of_history(args: &Args, config: &Config, source: &Source, truth: Option<&Truth>) -> Result<Tuning> {
    let (reader, window) = (Reader::open(&config.state_dir)?, args.played.window());
    let marks = marks(&reader, &source.name, window)?;
    let frames = scores::frames(reader.connection(), &source.name, window)?;
    let mut progress = Counted::new(usize::try_from(frames).unwrap_or(usize::MAX), "frames");
    let tuned = Tuning::of_history(config, source, (&reader, window), truth, &marks, || progress.one_more());
    progress.end();
    let (tuning, left_out) = tuned?;
    if left_out.frames > 0 {
        terminal::say(format_args!(
            "{} frames have scores of other prompts, regions or models, or of labels that are no longer watched: these were left out",
            left_out.frames
        ));
    }
    Ok(tuning)
}

/// The verdicts of people on moments in the window. Of several verdicts on one alert the newest is the last.
fn marks(reader: &Reader, source: &str, window: Window) -> Result<Vec<Marked>> {
    let filter = Filter {
        source: Some(source.to_owned()),
        since: window.since,
        until: window.until,
        ..Filter::default()
    };
    let mut marks = marks::newest(reader.connection(), &filter)?;
    marks.sort_by_key(|mark| mark.marked_at);
    let marked = |Mark { subject, verdict, .. }: Mark| Marked {
        label_set: subject.label_set,
        label: subject.label,
        time: subject.time,
        is_right: verdict == Verdict::Right,
    };
    Ok(marks.into_iter().map(marked).collect())
}

fn write(path: &Path, edits: &[edit::LabelEdit]) -> Result<()> {
    if edits.is_empty() {
        terminal::say(format_args!("nothing to write"));
        return Ok(());
    }
    for file in edit::edited(path, edits).context("nothing was written")? {
        file.write()?;
        terminal::say(format_args!("written: {}", file.path.display()));
    }
    Ok(())
}
