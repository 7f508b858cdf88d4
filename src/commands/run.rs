//! `stakeout run`: the service.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{DEFAULT_CONFIG, DONE};
use crate::{
    classify::{self, LoadError},
    config::{self, Config},
    daemon, progress,
};

/// The arguments of `stakeout run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Runs the service until a stop signal.
///
/// # Errors
/// The model cannot be used, or a part of the service ended.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config::Loaded { config, places, .. } = match super::load(&args.config) {
        Ok(loaded) => loaded,
        Err(exit_code) => return Ok(exit_code),
    };
    match fetch_and_run(&args.config, config) {
        Ok(()) => Ok(ExitCode::from(DONE)),
        Err(error) => super::exit_code(&places, error),
    }
}

/// Fetches a missing model before anything else starts: a signal then just ends the process, and the fetched part is kept.
fn fetch_and_run(path: &Path, config: Config) -> anyhow::Result<()> {
    // The best variant depends on the device.
    let device = classify::device(&config)?;
    progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
    daemon::run(path, config)
}
