//! `stakeout run`: the service.

use std::process::ExitCode;

pub use super::ConfigArgs as Args;
use super::DONE;
use crate::{
    classify::{self, LoadError},
    daemon, progress,
};

/// Runs the service until a stop signal.
///
/// # Errors
/// The model cannot be used, or a part of the service ended.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.path();
    super::with_config(&path, |config| {
        // The best variant depends on the device.
        let device = classify::device(&config)?;
        // Before anything else starts: a signal then just ends the process, and the fetched part is kept.
        progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
        daemon::run(&path, config)?;
        Ok(ExitCode::from(DONE))
    })
}
