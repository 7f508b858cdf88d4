//! `stakeout classify`: what the `zero-shot-image-classification` pipeline does, on the command line.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{
    pictures::{self, Item},
    progress::{self, Counted},
};
use crate::{
    classify::{Classifier, labels::VectorCache},
    config::{ModelRef, Variant},
    model::{Model, Options, Runtime},
    policy::{Label, LabelSet, TriggerSettings, Template},
};

/// What is typed after `stakeout classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A label; give several
    #[arg(long = "label", value_name = "LABEL", required_unless_present = "labels_from")]
    labels: Vec<String>,
    /// A file with one label a line; blank lines and lines that start with # are skipped
    #[arg(long, value_name = "FILE")]
    labels_from: Option<PathBuf>,
    /// The sentence around each label
    #[arg(long, default_value = "This is a photo of {}.")]
    template: Template,
    /// A folder with the model's files, or its name on the hub, which is fetched if it is not here [default: the bundled model]
    #[arg(long, value_name = "ID|FOLDER")]
    model: Option<String>,
    /// auto, fp32, fp16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = super::variant, default_value = "auto")]
    variant: Variant,
    #[command(flatten)]
    execution: super::ExecutionArgs,
    /// The ONNX Runtime library [default: looked for in the usual places]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// How the scores are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The pictures: files, folders (with what is below them), patterns in quotes such as '**/*.jpg', or web addresses; - is
    /// standard input
    #[arg(value_name = "IMAGE|URL", required = true)]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs: one object a line
    Json,
}

/// Scores every picture, in the order given; exits with 1 if any of them failed.
///
/// # Errors
/// What concerns all pictures: the labels, the model, standard output.
pub fn run(args: &Args) -> Result<ExitCode> {
    let labels = labels(&args.labels, args.labels_from.as_deref())?;
    let model = args.model.as_deref().map_or(ModelRef::Bundled, |typed| super::model(typed, args.variant));
    // Before a download, since that takes longer.
    let runtime = Runtime::load(args.onnxruntime.as_deref())?;
    let execution = args.execution.execution();
    let device = runtime.device(execution.device)?;
    let found = progress::find_or_pull(&model, device)?;
    let model = Model::load(&runtime, &found.files, &Options { execution, ..found.options() })?;
    let set = label_set(&args.template, &labels);
    let mut classifier = Classifier::as_the_pipeline(model, &[set], &VectorCache::of_user())?;

    let items: Arc<[Item]> = pictures::find(&args.images).into();
    let mut progress = Counted::new(items.len(), "pictures");
    let mut failed = false;
    let mut out = io::stdout().lock();
    pictures::embed(&mut classifier, &items, |classifier, number, vector| {
        let scores = vector.map(|vector| ordered(&labels, &classifier.scores(0, &vector).labels));
        failed |= scores.is_err();
        let image = &items[number].name;
        progress
            .aside(|| match args.format {
                Format::Json => print_json(&mut out, image, &scores),
                Format::Table => print_table(&mut out, image, &scores),
            })
            .context("standard output cannot be written")?;
        progress.one_more();
        Ok(())
    })?;
    progress.end();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Those that were typed, and those of a file.
pub(super) fn labels(typed: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    let mut labels = typed.to_vec();
    if let Some(file) = file {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        labels.extend(lines.map(str::to_owned));
        ensure!(!labels.is_empty(), "{} holds no labels", file.display());
    }
    Ok(labels)
}

pub(crate) fn label_set(template: &Template, labels: &[String]) -> LabelSet {
    // Nothing is triggered here, so any rule will do.
    let rule = TriggerSettings::at(1.0);
    let labels = labels.iter().map(|name| Label::new(name, rule)).collect();
    LabelSet::new("the command line", template.clone(), labels)
}

/// Labels with their scores, the highest first, in the order given among equals.
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
    const BAR: usize = 24;
    let scores = match scores {
        Ok(scores) => scores,
        Err(error) => {
            // Standard output holds only results.
            eprintln!("error: {image}: {error:#}");
            return Ok(());
        }
    };
    let width = scores.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    writeln!(out, "{image}")?;
    for (label, score) in scores {
        let full = (score * BAR as f32).round() as usize;
        let bar = "█".repeat(full) + &"·".repeat(BAR.saturating_sub(full));
        writeln!(out, "  {label:width$}  {bar}  {:5.1} %", score * 100.0)?;
    }
    Ok(())
}
