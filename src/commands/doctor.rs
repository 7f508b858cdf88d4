//! `stakeout doctor`: checks everything that can be wrong, and prints what to do.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;

use super::{ConfigArgs, DONE, FAILED, Format};
use crate::{
    doctor::{self, Finding, State},
    terminal::{self, Style},
};

/// The arguments of `stakeout doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Check folders with the rights of this user, the service's; works only for root
    #[arg(long, value_name = "NAME", default_value = "stakeout")]
    user: String,
}

/// Prints each finding as soon as it is known. The exit code is 1 if a check failed.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut failed, mut notes, style) = (0, 0, Style::of_stdout());
    doctor::run(&args.config.path(), &args.user, |finding: Finding| {
        failed += u32::from(finding.state == State::Failed);
        notes += u32::from(finding.state == State::Note);
        let mut out = terminal::output();
        match args.format {
            Format::Table => out.write_coloured(&finding.lines(style)),
            Format::Json => out.write_all((serde_json::to_string(&finding)? + "\n").as_bytes()),
        }
        .context("standard output cannot be written")
    })?;
    if args.format == Format::Table {
        terminal::say(format_args!("{failed} failed, {notes} to know"));
    }
    Ok(ExitCode::from(if failed > 0 { FAILED } else { DONE }))
}
