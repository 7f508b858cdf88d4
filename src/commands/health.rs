//! `stakeout health`: asks a running service whether every part of it makes progress, or whether it is ready, for the checks of a container.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, anyhow};

use super::{ConfigArgs, DONE, print_problems};
use crate::{api, config, terminal, web};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask whether the service has started and is not stopping, instead
    #[arg(long)]
    ready: bool,
}

/// Prints the answer of the service at the configuration's `listen`, or at its unix socket while someone guesses the token there. A
/// mistake elsewhere in the configuration does not matter.
///
/// # Errors
/// There is no `listen`, or the service does not answer, is stuck or is not ready.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
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
    let question = if args.ready { web::HealthQuestion::Ready } else { web::HealthQuestion::Healthy };
    let answer = web::check_health(question, &listen, &sockets.unwrap_or_default())?;
    writeln!(terminal::output(), "{answer}").context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}
