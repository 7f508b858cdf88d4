//! `stakeout decoder`: the process that decodes pictures for the service. Hidden, because only the service calls it.

use std::process::ExitCode;

use super::{DONE, FAILED, WRONG_USAGE};
use crate::{sandbox, terminal};

/// The arguments of `stakeout decoder`.
#[derive(Debug, clap::Args)]
pub struct DecoderArgs {
    /// The most memory for pictures, in bytes
    #[arg(long, value_name = "BYTES")]
    memory: u64,
}

/// Decodes pictures until the service ends.
#[must_use]
pub fn run(args: &DecoderArgs) -> ExitCode {
    match sandbox::serve(args.memory) {
        Ok(()) => ExitCode::from(DONE),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            terminal::say(format_args!("error: {error}"));
            ExitCode::from(WRONG_USAGE)
        }
        // The service is gone, or it reports this end.
        Err(_) => ExitCode::from(FAILED),
    }
}
