//! The scores of one frame of each camera, so that a person sees at once what the model makes of it.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result};

use super::dialog::Dialog;
use crate::{
    classify::Classifier,
    commands::classify::print_scores,
    config::{Config, Source},
    model::Runtime,
    picture::Picture,
    progress, remedy,
    sandbox::Sandbox,
    source::{self, Access, Surroundings},
    terminal,
};

/// Prints the scores of a frame of each camera. Nothing here prevents that the configuration is written.
pub(super) fn show<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, config: &Config) -> Result<()> {
    let sandbox = Sandbox::configured(config.sandbox, config.limits());
    let access = Access::Own;
    let surroundings =
        Surroundings { limits: config.limits(), sandbox: &sandbox, broker: &config.mqtt, access: &access };
    let mut frames = vec![];
    for source in &config.sources {
        match source::picture(&source.kind, &surroundings) {
            // Folders have pictures when someone puts them there.
            None => {}
            Some(Ok(picture)) => frames.push((source, picture)),
            Some(Err(error)) => {
                let otherwise = "check that the camera is on, and its address, user and password";
                let (what, remedy) = remedy::of_error(&error, otherwise);
                dialog.say(format_args!("{} gives no picture yet: {what}: {remedy}", source.name))?;
            }
        }
    }
    if frames.is_empty() {
        return Ok(());
    }
    let mut classifier = match load(config) {
        Ok(classifier) => classifier,
        Err(error) => return dialog.say(format_args!("No scores yet: {error:#}")),
    };
    for (source, picture) in frames {
        if let Err(error) = print(&mut classifier, config, source, &picture) {
            dialog.say(format_args!("{}: no scores yet: {error:#}", source.name))?;
        }
    }
    Ok(())
}

/// The model with the label sets, fetched if it is missing.
fn load(config: &Config) -> Result<Classifier> {
    let runtime = Runtime::load(config.onnxruntime.as_deref())?;
    let device = runtime.device(config.execution.device)?;
    progress::find_or_pull(&config.model, device)?;
    Ok(Classifier::load(config)?)
}

fn print(classifier: &mut Classifier, config: &Config, source: &Source, picture: &Picture) -> Result<()> {
    let vectors = classifier.embed(&[picture])?;
    let vector = vectors.first().context("the model gave no answer")?;
    let mut out = terminal::output();
    writeln!(out, "{} ({}x{})", source.name, picture.width, picture.height).context(OUTPUT)?;
    for (at, set) in config.label_sets.iter().enumerate().filter(|(_, set)| source.watch.contains(&set.name))
    {
        let scores = classifier.scores(at, vector);
        let labels = set.labels.iter().map(|label| &*label.name).zip(scores.labels.iter().copied());
        let background = scores.background.map(|score| ("(none of these)", score));
        print_scores(&mut out, &labels.chain(background).collect::<Vec<_>>()).context(OUTPUT)?;
    }
    Ok(())
}

const OUTPUT: &str = "standard output cannot be written";
