//! `stakeout run`: the service.

use std::{path::PathBuf, process::ExitCode};

use super::{DEFAULT_CONFIG, DONE};
use crate::{
    classify::{self, LoadError},
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
    super::with_config(&args.config, |config| {
        // The best variant depends on the device.
        let device = classify::device(&config)?;
        // Before anything else starts: a signal then just ends the process, and the fetched part is kept.
        progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
        daemon::run(&args.config, config)?;
        Ok(ExitCode::from(DONE))
    })
}
