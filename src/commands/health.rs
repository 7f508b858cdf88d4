//! `stakeout health`: asks a running service whether every part of it makes progress, for the health check of a container.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, anyhow};

pub use super::ConfigArgs as Args;
use super::{DONE, print_problems};
use crate::{api, config, terminal, web};

/// Prints the answer of the service at the configuration's `listen`, or at its unix socket while someone guesses the token there. A
/// mistake elsewhere in the configuration does not matter.
///
/// # Errors
/// There is no `listen`, or the service does not answer or is stuck.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.path();
    let listen = match config::listen(&path) {
        Ok(listen) => listen,
        Err(problems) => return Ok(print_problems(&problems)),
    };
    let listen = listen.ok_or_else(|| {
        anyhow!(
            "{} has no `listen`: add `listen: 127.0.0.1:9464` and start the service again",
            path.display()
        )
    })?;
    // Without a valid `state_dir` there is no socket to ask.
    let sockets = config::state_dir(&path).map(|state_dir| api::socket::of_commands(&path, &state_dir));
    let answer = web::check_health(&listen, &sockets.unwrap_or_default())?;
    writeln!(terminal::output(), "{answer}").context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}
