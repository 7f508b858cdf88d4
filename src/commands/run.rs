//! `stakeout run`: the service itself.

use std::{path::PathBuf, process::ExitCode};

use super::{BAD_CONFIGURATION, DEFAULT_CONFIG, DONE};
use crate::{config, daemon};

/// What `run` is told on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Watches until told to stop.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprint!("{problems}");
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    daemon::run(&loaded.config)?;
    Ok(ExitCode::from(DONE))
}
