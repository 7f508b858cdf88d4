//! Arguments, logging, exit codes.

use std::process::ExitCode;

use clap::Parser;
use stakeout::commands::check;

/// Watches folders and cameras for the things you describe in words
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    Check(check::Args),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Check(args) => check::run(&args, |_| vec![]),
    }
}
