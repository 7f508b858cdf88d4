//! `stakeout trial`: the process in which the service tries a device. Hidden, because only the service calls it.

use std::process::ExitCode;

use super::{DONE, FAILED, WRONG_USAGE};
use crate::{terminal, trial};

/// Carries out one request.
#[must_use]
pub fn run() -> ExitCode {
    match trial::serve() {
        Ok(()) => ExitCode::from(DONE),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            terminal::say(format_args!("error: {error}"));
            ExitCode::from(WRONG_USAGE)
        }
        // The service is gone, or it reports this end.
        Err(_) => ExitCode::from(FAILED),
    }
}
