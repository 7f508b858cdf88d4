//! `stakeout completions` and `stakeout man`: shell completions and man pages for packages, generated from the same
//! declarations as `--help`.

use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::DONE;
use crate::terminal;

/// `stakeout completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// `stakeout man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder for the pages
    folder: PathBuf,
}

/// Prints the completions of `command` for a shell.
///
/// # Errors
/// Standard output cannot be written to.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    // In memory first: the generator panics if standard output is closed.
    let mut text = vec![];
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    terminal::output().write_all(&text).context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

/// Writes `stakeout.1` and a page for each command (`stakeout-run.1`) into a folder, which is created if it is missing.
///
/// # Errors
/// The folder cannot be written to.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("{folder} cannot be created"))?;
    clap_mangen::generate_to(command, &args.folder)
        .with_context(|| format!("{folder} cannot be written to"))?;
    Ok(ExitCode::from(DONE))
}
