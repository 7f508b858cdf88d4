//! What a package brings beside the program: completions for shells, and man pages. Both are drawn from the declarations
//! that `--help` is drawn from; nothing is written by hand here.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::DONE;

/// `stakeout completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that they are for
    shell: Shell,
}

/// `stakeout man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder that the pages are written into
    folder: PathBuf,
}

/// Prints the completions of `command` for a shell.
///
/// # Errors
/// Standard output cannot be written to.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    // Made in memory first: the generator panics when nobody reads any longer.
    let mut text = vec![];
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    match io::Write::write_all(&mut io::stdout(), &text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(ExitCode::from(DONE)),
    }
}

/// Writes `stakeout.1` and a page for each sub-command (`stakeout-run.1`) into a folder, which is made if it is not there.
///
/// # Errors
/// The folder cannot be written to.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("{folder} cannot be made"))?;
    clap_mangen::generate_to(command, &args.folder)
        .with_context(|| format!("{folder} cannot be written to"))?;
    Ok(ExitCode::from(DONE))
}
