//! Arguments, logging, exit codes.

use std::process::ExitCode;

use clap::Parser;
use stakeout::commands;
use tracing_subscriber::EnvFilter;

/// Watches folders and cameras for the things you describe in words, and publishes MQTT alerts.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Score pictures against labels
    Classify(commands::classify::Args),
}

/// Wrong usage, as in sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // Nothing can be told where the terminal is gone.
            let _ = error.print();
            return code.into();
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match cli.command {
        Command::Classify(args) => commands::classify::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("stakeout: {error:#}");
        ExitCode::FAILURE
    })
}
