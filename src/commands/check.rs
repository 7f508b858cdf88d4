//! `stakeout check`: everything that is wrong with the configuration, at once, before it is used.
//!
//! It refuses to change anything. Only `--explain` has a result beside the exit code: what is in force, on standard output.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;

use super::{BAD_CONFIGURATION, DONE, explain};
use crate::{
    alert::publisher,
    classify::Classifier,
    config::{self, Config, Loaded},
    model::hub::{self, HubError},
    mqtt,
    yaml::error::Problems,
};

/// Tells every problem of the configuration at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Look at the files only, not at the model and the broker
    #[arg(long)]
    pub offline: bool,
    /// Print what is in force: every source, label set and label, final prompts, thresholds, topics
    #[arg(long)]
    pub explain: bool,
    /// How that is printed
    #[arg(long, value_enum, default_value = "text", requires = "explain")]
    pub format: Format,
}

/// How an explanation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Checks the files and, unless offline, the model, the label sets against the model, and the broker.
///
/// # Errors
/// What hindered the look itself.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let found = match config::look(&args.config) {
        Ok(loaded) if args.offline => Ok(loaded),
        Ok(loaded) => examine(loaded)?,
        Err(problems) => Err(problems),
    };
    match found {
        Ok(loaded) => {
            if loaded.unseen {
                eprintln!(
                    "note: only the service itself can read its credentials, so what they hold was not looked at{}",
                    if args.offline { "" } else { ", nor was the broker" }
                );
            }
            if args.explain {
                print_explanation(&loaded.config, args.format)?;
            }
            eprintln!("ok: {}", summary(&loaded.config));
            Ok(ExitCode::from(DONE))
        }
        Err(problems) => {
            eprintln!("{problems}");
            Ok(ExitCode::from(BAD_CONFIGURATION))
        }
    }
}

fn print_explanation(config: &Config, format: Format) -> anyhow::Result<()> {
    let described = explain::describe(config);
    let text = match format {
        Format::Text => explain::in_lines(&described),
        Format::Json => format!("{described:#}\n"),
    };
    io::stdout().lock().write_all(text.as_bytes()).context("standard output cannot be written")
}

/// Looks at what the configuration names: the model, the broker.
fn examine(loaded: Loaded) -> anyhow::Result<Result<Loaded, Problems>> {
    let (config, places) = (&loaded.config, &loaded.places);
    let model = match hub::find(&config.model, config.execution.device) {
        Err(HubError::NotCached { id, .. }) => {
            eprintln!(
                "note: the model {id} is not on this machine yet, so it was not looked at: `stakeout run` fetches it when it \
                 starts, `stakeout models pull {id}` now"
            );
            None
        }
        _ => Classifier::load(config).err().map(|error| super::problem(places, &error)),
    };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let visit = || runtime.block_on(publisher::visit(&config.mqtt)).err();
    let broker = if loaded.unseen { None } else { visit() }.map(|why| {
        let message = format!("not connected to {}: {why}", mqtt::url(&config.mqtt));
        places.problem("mqtt.url", message, "`--offline` leaves the model and the broker out")
    });
    let problems = model.into_iter().chain(broker).collect::<Vec<_>>();
    Ok(if problems.is_empty() { Ok(loaded) } else { Err(Problems::new(problems)) })
}

/// What a configuration that is in order holds, in words.
pub(super) fn summary(config: &Config) -> String {
    let labels = config.label_sets.iter().map(|set| set.labels.len()).sum();
    let rules = config.label_sets.iter().map(|set| set.rules.len()).sum();
    let counts = [
        (config.sources.len(), "source"),
        (config.label_sets.len(), "label set"),
        (labels, "label"),
        (rules, "rule"),
    ];
    // Most people have none of the last.
    let told = if rules == 0 { &counts[..3] } else { &counts };
    let mut words = String::new();
    for (number, (count, thing)) in told.iter().copied().enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        let plural = if count == 1 { "" } else { "s" };
        // Writing to a string cannot fail.
        let _ = write!(words, "{separator}{count} {thing}{plural}");
    }
    words
}
