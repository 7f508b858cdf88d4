//! `stakeout classify`: scores pictures against labels, as the `zero-shot-image-classification` pipeline does.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::{
    Format,
    embed::embed,
    pictures::{self, Item},
};
use crate::{
    classify::{Classifier, labels::VectorCache},
    model::{Model, Options, Runtime},
    picture::{Limits, MAX_PIXELS},
    policy::{LabelSet, Template},
    progress::{self, Counted},
    terminal, text_file,
};

/// The longest file of labels.
const LONGEST: u64 = 1024 * 1024;

/// The arguments of `stakeout classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A label; repeat the option for several
    #[arg(long = "label", value_name = "LABEL", required_unless_present = "labels_from")]
    labels: Vec<String>,
    /// A file with one label a line; blank lines and lines that start with # are skipped, and another # belongs to its
    /// label
    #[arg(long, value_name = "FILE")]
    labels_from: Option<PathBuf>,
    /// The sentence around each label
    #[arg(long, default_value = "This is a photo of {}.")]
    template: Template,
    #[command(flatten)]
    model: super::ModelArgs,
    #[command(flatten)]
    execution: super::ExecutionArgs,
    /// Pictures with more pixels are not decoded
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, value_parser = super::max_pixels())]
    max_pixels: u64,
    /// Pictures that need more memory while they are decoded are not decoded
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = super::memory)]
    memory: u64,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The pictures: files, folders (with their subfolders), patterns in quotes such as '**/*.jpg', or web addresses; - is
    /// standard input
    #[arg(value_name = "IMAGE|URL", required = true)]
    images: Vec<String>,
}

/// Scores every picture, in the order given. The exit code is 1 if any of them failed.
///
/// # Errors
/// The labels, the model or standard output cannot be used.
pub fn run(args: &Args) -> Result<ExitCode> {
    let labels = labels(&args.labels, args.labels_from.as_deref())?;
    // First, because a missing library should not be reported after a long download.
    let runtime = Runtime::load(args.model.onnxruntime.as_deref())?;
    let execution = args.execution.execution();
    let device = runtime.device(execution.device)?;
    let found = progress::find_or_pull(&args.model.model(), device)?;
    let model = Model::load(&runtime, &found.files, &Options { execution, ..found.options() })?;
    let set = LabelSet::untriggered("the command line", &args.template, &labels);
    let mut classifier = Classifier::as_the_pipeline(model, &[set], &VectorCache::of_user())?;

    let items: Arc<[Item]> = pictures::find(&args.images).into();
    let mut progress = Counted::new(items.len(), "pictures");
    let mut failed = false;
    let mut out = terminal::output();
    let limits = Limits { max_pixels: args.max_pixels, memory: args.memory };
    embed(&mut classifier, &items, limits, |classifier, number, vector| {
        let scores = vector.map(|vector| ordered(&labels, &classifier.scores(0, &vector).labels));
        failed |= scores.is_err();
        let image = &items[number];
        progress
            .aside(|| match args.format {
                Format::Json => print_json(&mut out, &image.name, &scores),
                Format::Table => print_table(&mut out, &image.shown(), &scores),
            })
            .context("standard output cannot be written")?;
        progress.one_more();
        Ok(())
    })?;
    progress.end();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The labels of the command line, and those of a file.
pub(super) fn labels(typed: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    let mut labels = typed.to_vec();
    if let Some(file) = file {
        let text = text_file::read(file, LONGEST).map_err(|error| anyhow!(error.about(file)))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        labels.extend(lines.map(str::to_owned));
        ensure!(!labels.is_empty(), "{} holds no labels", file.display());
    }
    Ok(labels)
}

/// The labels with their scores, highest first; equal scores keep the order of the labels.
fn ordered<'a>(labels: &'a [String], scores: &[f32]) -> Vec<(&'a str, f32)> {
    let mut scores: Vec<_> = labels.iter().map(String::as_str).zip(scores.iter().copied()).collect();
    scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    scores
}

fn print_json(out: &mut impl Write, image: &str, scores: &Result<Vec<(&str, f32)>>) -> io::Result<()> {
    let line = match scores {
        Ok(scores) => {
            let scores: Vec<_> =
                scores.iter().map(|(label, score)| json!({"label": label, "score": score})).collect();
            json!({"image": image, "scores": scores})
        }
        Err(error) => json!({"image": image, "error": format!("{error:#}")}),
    };
    writeln!(out, "{line}")
}

fn print_table(out: &mut impl Write, image: &str, scores: &Result<Vec<(&str, f32)>>) -> io::Result<()> {
    let scores = match scores {
        Ok(scores) => scores,
        Err(error) => {
            // Standard output holds only results.
            terminal::say(format_args!("error: {image}: {error:#}"));
            return Ok(());
        }
    };
    writeln!(out, "{image}")?;
    print_scores(out, scores)
}

/// A line with a bar for each label.
pub(in crate::commands) fn print_scores(out: &mut impl Write, scores: &[(&str, f32)]) -> io::Result<()> {
    const BAR: usize = 24;
    let width = |label: &str| terminal::one_line(label).chars().count();
    let width = scores.iter().map(|(label, _)| width(label)).max().unwrap_or(0);
    for (label, score) in scores {
        let full = (score * BAR as f32).round() as usize;
        let bar = "█".repeat(full) + &"·".repeat(BAR.saturating_sub(full));
        let label = terminal::one_line(label);
        writeln!(out, "  {label:width$}  {bar}  {:5.1} %", score * 100.0)?;
    }
    Ok(())
}
