//! `stakeout run`: the service itself.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{DEFAULT_CONFIG, DONE, progress};
use crate::{
    classify::{self, LoadError},
    config::{self, Config},
    daemon,
};

/// What `run` is told on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Watches until told to stop.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config::Loaded { config, places, .. } = match super::load(&args.config) {
        Ok(loaded) => loaded,
        Err(told) => return Ok(told),
    };
    match fetch_and_run(&args.config, config) {
        Ok(()) => Ok(ExitCode::from(DONE)),
        Err(error) => super::refused(&places, error),
    }
}

/// A model that is missing is fetched before anything is started: a signal then simply ends the process, and what has
/// arrived is kept.
fn fetch_and_run(path: &Path, config: Config) -> anyhow::Result<()> {
    // Which variant is the best depends on the device.
    let device = classify::device(&config)?;
    progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
    daemon::run(path, config)
}
