//! `stakeout check`: reports every problem of the configuration at once, and changes nothing.
//!
//! With `--explain` it prints the effective settings to standard output.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{DONE, FAILED};
use crate::{
    api::effective,
    classify::{Classifier, LoadError},
    config::{self, Loaded},
    controls,
    doctor::{self, Finding},
    model::{
        ModelError,
        hub::{self, HubError},
    },
    mqtt, terminal, trial,
    yaml::error::Problems,
};

/// The arguments of `stakeout check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: super::ConfigArgs,
    /// Check only the files, not the model and the broker
    #[arg(long)]
    pub offline: bool,
    /// Print the effective settings: every source, label set and label, with final prompts, thresholds and topics
    #[arg(long)]
    pub explain: bool,
    /// The format of the explanation
    #[arg(long, value_enum, default_value = "text", requires = "explain")]
    pub format: Format,
}

/// The format of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The result of the checks.
enum Checked {
    Valid(Box<Loaded>),
    /// The configuration must be corrected.
    Invalid(Problems),
    /// The configuration may be valid: the broker, or every model server, cannot be reached.
    Unreachable(Problems),
}

/// Checks the files and, unless offline, the model, the label sets against the model, and the broker.
///
/// # Errors
/// The checks cannot run, or standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let found = match config::look(&args.config.path()) {
        Ok(loaded) if args.offline => Checked::Valid(Box::new(loaded)),
        Ok(loaded) => examine(loaded)?,
        Err(problems) => Checked::Invalid(problems),
    };
    match found {
        Checked::Valid(loaded) => {
            if loaded.unseen {
                terminal::say(format_args!(
                    "note: only the service itself can read its credentials, so their values were not checked{}",
                    if args.offline { "" } else { ", nor was the broker" }
                ));
            }
            for Finding { what, message, remedy, .. } in doctor::exposed_secrets(&loaded) {
                let remedy = remedy.map_or(String::new(), |remedy| format!("; help: {remedy}"));
                terminal::say(format_args!("warning: {what}: {message}{remedy}"));
            }
            if args.explain {
                print_explanation(&loaded, args.format)?;
            }
            terminal::say(format_args!("ok: {}", doctor::summary(&loaded.config)));
            Ok(ExitCode::from(DONE))
        }
        Checked::Invalid(problems) => Ok(super::print_problems(&problems)),
        Checked::Unreachable(problems) => {
            terminal::say(problems);
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Prints the settings in force: those of the files, with their places, and what was set while the service ran.
fn print_explanation(loaded: &Loaded, format: Format) -> anyhow::Result<()> {
    let saved = controls::saved(&loaded.config.state_dir);
    let config = loaded.config.controlled(&saved, Timestamp::now()).config;
    let described = effective::describe_with_places(&config, &loaded.places);
    let text = match format {
        Format::Text => effective::in_lines(&described),
        Format::Json => format!("{described:#}\n"),
    };
    terminal::output().write_all(text.as_bytes()).context("standard output cannot be written")
}

/// Checks what the configuration names: the model, the certificate of `listen`, and the broker.
fn examine(loaded: Loaded) -> anyhow::Result<Checked> {
    let (config, places) = (&loaded.config, &loaded.places);
    let mut away = None;
    let model = match hub::find(&config.model, config.execution.device) {
        Err(HubError::NotCached { id, missing, .. }) => {
            let state = if missing.is_empty() { "yet" } else { "completely" };
            terminal::say(format_args!(
                "note: the model {id} is not on this machine {state}, so it was not checked: `stakeout run` fetches it when it \
                 starts, `{}` now",
                config.model.pull_command(config.execution.device)
            ));
            None
        }
        _ => match Classifier::load(&trial::without_plugin(config)) {
            // A server rejects the stand-in for a token.
            Err(LoadError::Model(ModelError::Server(_))) if loaded.unseen => None,
            Err(error) => Some(super::problem(places, &error)),
            Ok(_) if loaded.unseen => None,
            Ok(mut classifier) => {
                away = classifier.health().err().map(LoadError::from);
                None
            }
        },
    };
    let away = away.map(|error| places.problem("model.server", error.to_string(), ""));

    let certificate = config.listen.as_ref().and_then(|listen| listen.tls.as_ref()?.check().err());
    let certificate = certificate.map(|error| places.problem("listen.tls", error.to_string(), ""));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let visit = || runtime.block_on(mqtt::check_connection(&config.mqtt)).err();
    let broker = if loaded.unseen { None } else { visit() };
    let is_wrong =
        model.is_some() || certificate.is_some() || broker.as_ref().is_some_and(|why| why.is_configuration);
    let broker = broker.map(|why| {
        let message = format!("not connected to {}: {why}", mqtt::url(&config.mqtt));
        places.problem("mqtt.url", message, "use `--offline` to check neither the model nor the broker")
    });
    let problems = model.into_iter().chain(away).chain(certificate).chain(broker).collect::<Vec<_>>();
    Ok(match (problems.is_empty(), is_wrong) {
        (true, _) => Checked::Valid(Box::new(loaded)),
        (false, false) => Checked::Unreachable(Problems::new(problems)),
        (false, true) => Checked::Invalid(Problems::new(problems)),
    })
}
