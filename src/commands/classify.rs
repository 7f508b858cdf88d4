//! `stakeout classify`: what the `zero-shot-image-classification` pipeline does, on the command line.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::fetch;
use crate::{
    classify::{
        Classifier, hub,
        model::{Model, Options, Runtime},
    },
    config::{Hold, Label, LabelSet, ModelRef, Rule},
    picture,
};

/// Larger pictures are refused; the memory for one of this size is 300 MB.
const MAX_PIXELS: u64 = 100_000_000;

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
    template: String,
    /// A folder with the model's files, or its name in the hub's cache [default: the bundled model]
    #[arg(long, value_name = "ID|FOLDER")]
    model: Option<String>,
    /// The ONNX Runtime library [default: looked for in the usual places]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// How the scores are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The pictures: files or web addresses; - is standard input
    #[arg(value_name = "IMAGE|URL", required = true)]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
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
    let labels = labels(args)?;
    let files = hub::files(&model(args.model.as_deref()))?;
    let runtime = Runtime::load(args.onnxruntime.as_deref())?;
    let model = Model::load(&runtime, &files, &Options::default())?;
    let mut classifier = Classifier::as_the_pipeline(model, &[label_set(&args.template, &labels)])?;

    let mut failed = false;
    let mut out = io::stdout().lock();
    for image in &args.images {
        let scores = scores(&mut classifier, image, &labels);
        failed |= scores.is_err();
        match args.format {
            Format::Json => print_json(&mut out, image, &scores),
            Format::Table => print_table(&mut out, image, &scores),
        }
        .context("standard output cannot be written")?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn labels(args: &Args) -> Result<Vec<String>> {
    let mut labels = args.labels.clone();
    if let Some(file) = &args.labels_from {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        labels.extend(lines.map(str::to_owned));
        ensure!(!labels.is_empty(), "{} holds no labels", file.display());
    }
    Ok(labels)
}

/// A folder if it is one or is written as one, else a name on the hub.
fn model(typed: Option<&str>) -> ModelRef {
    match typed {
        None => ModelRef::Bundled,
        Some(name) if name.starts_with(['.', '/']) || Path::new(name).is_dir() => {
            ModelRef::Folder(name.into())
        }
        Some(name) => ModelRef::Hub(name.to_owned()),
    }
}

fn label_set(template: &str, labels: &[String]) -> LabelSet {
    // Nothing is triggered here, so any rule will do.
    let rule =
        Rule { threshold: 1.0, clear_below: 1.0, hold: Hold { frames: 1, of: 1 }, cooldown: Duration::ZERO };
    LabelSet {
        name: "the command line".to_owned(),
        template: template.to_owned(),
        background: Vec::new(),
        labels: labels
            .iter()
            .map(|name| Label { name: name.clone(), prompts: vec![name.clone()], rule })
            .collect(),
    }
}

/// A picture's labels and scores, the highest first, in the order given among equals.
fn scores<'a>(classifier: &mut Classifier, image: &str, labels: &'a [String]) -> Result<Vec<(&'a str, f32)>> {
    let picture = picture::decode(&read(image)?, MAX_PIXELS)?;
    let vector = classifier.embed(&[&picture])?.pop().context("the model gave no answer")?;
    let scores = classifier.scores(0, &vector).labels;
    let mut scores: Vec<_> = labels.iter().map(String::as_str).zip(scores).collect();
    scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(scores)
}

fn read(image: &str) -> Result<Vec<u8>> {
    if fetch::is_address(image) {
        return fetch::get(image);
    }
    if image == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(bytes);
    }
    fs::read(image).context("it cannot be read")
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
