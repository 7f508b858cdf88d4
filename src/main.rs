//! Arguments, logging, exit codes: a table of contents.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use stakeout::commands::{self, DONE, FAILED, WRONG_USAGE};

/// Watches folders and cameras for the things you describe in words, and publishes MQTT alerts.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the sources and publish alerts, until told to stop
    Run(commands::run::Args),
    /// Print every problem of the configuration
    Check(commands::check::Args),
    /// Look at everything that can be wrong, and say what to do
    Doctor(commands::doctor::Args),
    /// Print alerts as they go by
    Alerts(commands::alerts::Args),
    /// Fetch, list, verify and remove models of the hub
    Models(commands::models::Args),
    /// Score pictures against labels, as zero-shot-image-classification does
    Classify(commands::classify::Args),
    /// Measure what this machine can hold
    Bench(commands::bench::Args),
    /// Print the alerts that recordings would have raised
    Replay(commands::replay::Args),
    /// Print what makes a shell complete commands and options
    Completions(commands::papers::CompletionsArgs),
    /// Write the man pages into a folder, for packages
    #[command(hide = true)]
    Man(commands::papers::ManArgs),
    /// Suggest thresholds, from recordings
    Tune(commands::tune::Args),
    /// Print the configuration's JSON Schema, for editors
    Schema(commands::schema::Args),
}

fn main() -> ExitCode {
    forbid_telemetry();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let _logging = commands::logging::start();
    let exit_code = match arguments.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Alerts(args) => commands::alerts::run(&args),
        Command::Models(args) => commands::models::run(&args),
        Command::Classify(args) => commands::classify::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Completions(args) => commands::papers::completions(&args, Arguments::command()),
        Command::Man(args) => commands::papers::man(&args, Arguments::command()),
        Command::Tune(args) => commands::tune::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
    };
    exit_code.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(FAILED)
    })
}

/// Help and version are results and go to standard output; the rest is for people.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when even this cannot be written.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { DONE })
}

/// The published builds of ONNX Runtime keep a database of what they did and send it to their maker as soon as they are
/// loaded, before anybody can switch that off through the API. What runs beside somebody's cameras does not.
#[allow(unsafe_code)]
fn forbid_telemetry() {
    // SAFETY: this is the first thing that happens; no other thread is there to read the environment.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
