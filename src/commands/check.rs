//! `stakeout check`: everything that is wrong with the configuration, at once, before it is used.
//!
//! It refuses to change anything, and to write to standard output: there is no result but the exit code.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use crate::config::{
    self, Config, Loaded,
    error::{Problem, Problems},
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
}

/// Checks the files and, unless offline, whatever `examine` looks at: the model, the broker.
pub fn run(args: &Args, examine: impl FnOnce(&Loaded) -> Vec<Problem>) -> ExitCode {
    let problems = match config::load(&args.config) {
        Ok(loaded) => {
            let found = if args.offline { vec![] } else { examine(&loaded) };
            if found.is_empty() {
                eprintln!("ok: {}", summary(&loaded.config));
                return ExitCode::SUCCESS;
            }
            Problems::new(found)
        }
        Err(problems) => problems,
    };
    eprintln!("{problems}");
    ExitCode::from(super::BAD_CONFIGURATION)
}

fn summary(config: &Config) -> String {
    let labels = config.label_sets.iter().map(|set| set.labels.len()).sum();
    let counts =
        [(config.sources.len(), "source"), (config.label_sets.len(), "label set"), (labels, "label")];
    let mut words = String::new();
    for (number, (count, thing)) in counts.into_iter().enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        let plural = if count == 1 { "" } else { "s" };
        // Writing to a string cannot fail.
        let _ = write!(words, "{separator}{count} {thing}{plural}");
    }
    words
}
