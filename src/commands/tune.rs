//! `stakeout tune`: which threshold? Recordings are scored as `replay` scores them, and settings are suggested for each label, with
//! their reason.
//!
//! Standard output holds the suggestion as YAML, and nothing else; all else is for people and goes to standard error, or into
//! the HTML file that was asked for. Nothing is written to the configuration unless `--write` says so.

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use uuid::Uuid;

use super::{DEFAULT_CONFIG, DONE, FAILED};
use crate::{
    config::{Config, Loaded, edit},
    judge::Judge,
    plot::Timeline,
    replay,
    tune::{self, findings::Finding, truth::Truth},
};

/// What is typed after `stakeout tune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The source that the recordings are taken for [default: the only one that is configured]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// When the first video began, such as 2026-11-23T08:00:00Z [default: what each file says, else its name]
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// What really happened: a CSV file with the columns label, start and end, in seconds from the first frame or as times
    #[arg(long, value_name = "FILE.csv")]
    truth: Option<PathBuf>,
    /// Write what was found into this file: scores over time, histograms, tables and thumbnails of near misses
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the suggested settings into the configuration, whose comments and order stay as they are
    #[arg(long)]
    write: bool,
    /// Videos, pictures, and folders of them
    #[arg(value_name = "VIDEO|FOLDER|IMAGE", required = true)]
    recordings: Vec<PathBuf>,
}

/// Prints suggested settings as YAML; exits with 1 if anything could not be played.
///
/// # Errors
/// What concerns all of them: the model, the source, the truth, a file that cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Loaded { config, places, .. } = match super::load(&args.config) {
        Ok(loaded) => loaded,
        Err(told) => return Ok(told),
    };
    tune(args, &config).or_else(|error| super::refused(&places, error))
}

fn tune(args: &Args, config: &Config) -> Result<ExitCode> {
    let source = replay::source(config, args.source.as_deref())?;
    // Before hours of scoring.
    let truth = args.truth.as_ref().map(read_truth).transpose()?;
    let mut timeline = Timeline::new(config, source);
    // For levels that move: where they are is known only while the frames come.
    let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
    judge.reload(config, Timestamp::UNIX_EPOCH, Uuid::nil);
    let played = replay::play(config, source, &args.recordings, args.start, |scored, _| {
        judge.judge(scored, scored.frame.captured_at, Uuid::nil);
        timeline.take(scored, &[], judge.moving_levels(&source.name));
        Ok(())
    })?;
    let Some((first, _)) = timeline.range() else {
        bail!("nothing was played, so there is nothing to learn")
    };
    if let (Some(truth), Some(path)) = (&truth, &args.truth) {
        let labels =
            timeline.tracks.iter().map(|track| (&*track.label_set, &*track.label)).collect::<Vec<_>>();
        told(path, truth.problems(&source.name, &labels, first))?;
    }

    let findings = tune::findings::of(config, source, &timeline, truth.as_ref());
    let rivals = tune::findings::rivals(config, &timeline);
    eprint!("{}", tune::report::text(&findings, &rivals));
    let rules = config.watches().filter(|(watching, _)| watching.name == source.name);
    for rule in rules.flat_map(|(_, set)| &set.rules) {
        eprintln!("`{}` is a rule over labels: it follows what is set for them", rule.settings.name);
    }
    eprintln!("{} played, {} not", played.frames, played.failed);
    if let Some(path) = &args.report {
        let page = tune::page::page(&mut timeline, &findings, &rivals);
        fs::write(path, page).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let patch = tune::report::patch(&findings);
    std::io::stdout().lock().write_all(patch.as_bytes()).context("standard output cannot be written")?;
    if args.write {
        write(args, &findings)?;
    }
    Ok(ExitCode::from(if played.failed == 0 { DONE } else { FAILED }))
}

fn read_truth(path: &PathBuf) -> Result<Truth> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match Truth::parse(&text) {
        Ok(truth) => Ok(truth),
        Err(problems) => told(path, problems).map(|()| unreachable!("there is a problem at least")),
    }
}

/// Ends it if there are problems with this file.
fn told(path: &std::path::Path, problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines = problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
    bail!("{}:{lines}", path.display())
}

fn write(args: &Args, findings: &[Finding]) -> Result<()> {
    let edits = findings.iter().filter_map(Finding::edit).collect::<Vec<_>>();
    if edits.is_empty() {
        eprintln!("nothing to write");
        return Ok(());
    }
    let files = edit::edited(&args.config, &edits).context("nothing was written")?;
    for file in &files {
        file.write()?;
        eprintln!("written: {}", file.path.display());
    }
    Ok(())
}
