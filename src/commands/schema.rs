//! `stakeout schema`: the configuration as JSON Schema, for editors.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;

use super::DONE;
use crate::config;

/// What is typed after `stakeout schema`: nothing.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout().lock(), "{:#}", config::schema()).context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}
