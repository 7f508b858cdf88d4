//! The program: parses the arguments, starts logging, and runs one command.

use std::{env, ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use stakeout::{
    commands::{self, DONE, FAILED, WRONG_USAGE},
    engine, terminal,
};

/// Watches folders and cameras for the things you describe in words, and publishes MQTT alerts.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the sources and publish alerts until stopped
    Run(commands::run::Args),
    /// Write a first configuration: finds a broker and cameras, asks what to watch for, and shows the scores of a frame
    Init(commands::init::Args),
    /// Write a configuration from one of Frigate or go2rtc
    Import(commands::import::Args),
    /// Print every problem of the configuration
    Check(commands::check::Args),
    /// Say for each label why it is raised, or which gate holds it
    Explain(commands::explain::Args),
    /// Open the console of a running service in a browser
    Console(commands::console::Args),
    /// Check everything that can be wrong, and print what to do
    Doctor(commands::doctor::Args),
    /// Write a file for someone who helps: configuration without secrets, checks, metrics and log
    SupportBundle(commands::support_bundle::Args),
    /// Ask a running service whether every part of it makes progress
    Health(commands::health::Args),
    /// Print alerts as they are published, or those of the past
    Alerts(commands::alerts::Args),
    /// Say that an alert was right or wrong
    Mark(commands::mark::Args),
    /// Score the newest frame of a source against words, through the running service
    Ask(commands::ask::Args),
    /// Find stored frames by words or by a picture
    Search(commands::search::Args),
    /// Watch for words on one source until a time
    WatchFor(commands::watch_for::Args),
    /// Hold the alerts of a source or a label back for some time
    Snooze(commands::snooze::Args),
    /// Read a source again, or judge a label again
    Enable(commands::enable::Args),
    /// Do not read a source, or do not judge a label
    Disable(commands::enable::Args),
    /// Set the threshold of a label on one source, or list what is set
    Set(commands::set::Args),
    /// Fetch, list, verify, serve and remove models of the hub
    Models(commands::models::Args),
    /// List devices that can run a model, and add or remove plugins for them
    Devices(commands::devices::Args),
    /// Score pictures against labels, as zero-shot-image-classification does
    Classify(commands::classify::Args),
    /// Measure how many cameras this machine can watch
    Bench(commands::bench::Args),
    /// Delete from what the service remembers, or copy it
    History(commands::history::Args),
    /// Print the alerts that recordings would have raised
    Replay(commands::replay::Args),
    /// Print the completions of commands and options for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Decode pictures for the service, in a process without rights
    #[command(hide = true)]
    Decoder(commands::decoder::DecoderArgs),
    /// Write the man pages into a folder, for packages
    #[command(hide = true)]
    Man(commands::completions::ManArgs),
    /// Try a device for the service, in a process of its own
    #[command(hide = true)]
    Trial,
    /// Suggest thresholds from recordings
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
    let logging = match arguments.command {
        // It gives up its rights while it has one thread, and the service reports how it ended.
        Command::Decoder(_) => None,
        // The service logs the outcome.
        Command::Trial => Some(commands::logging::start("off")),
        // Its findings say what is wrong; lines of the log between them would repeat that.
        Command::Doctor(_) | Command::SupportBundle(_) => Some(commands::logging::start("off")),
        _ => Some(commands::logging::start(commands::logging::DEFAULT_FILTER)),
    };
    let exit_code = match arguments.command {
        Command::Run(args) => {
            let lines = logging.as_ref().map(commands::logging::Logging::lines);
            commands::run::run(&args, lines.unwrap_or_default())
        }
        Command::Decoder(args) => Ok(commands::decoder::run(&args)),
        Command::Init(args) => commands::init::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Console(args) => commands::console::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::SupportBundle(args) => commands::support_bundle::run(&args),
        Command::Health(args) => commands::health::run(&args),
        Command::Alerts(args) => commands::alerts::run(&args),
        Command::Mark(args) => commands::mark::run(&args),
        Command::Ask(args) => commands::ask::run(&args),
        Command::Search(args) => commands::search::run(&args),
        Command::WatchFor(args) => commands::watch_for::run(&args),
        Command::Snooze(args) => commands::snooze::run(&args),
        Command::Enable(args) => commands::enable::run(&args, true),
        Command::Disable(args) => commands::enable::run(&args, false),
        Command::Set(args) => commands::set::run(&args),
        Command::Models(args) => commands::models::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Trial => Ok(commands::trial::run()),
        Command::Classify(args) => commands::classify::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::History(args) => commands::history::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Completions(args) => commands::completions::completions(&args, Arguments::command()),
        Command::Man(args) => commands::completions::man(&args, Arguments::command()),
        Command::Tune(args) => commands::tune::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
    };
    engine::onnx::finish();
    exit_code.unwrap_or_else(|error| {
        if terminal::is_closed_output(&error) {
            return ExitCode::from(DONE);
        }
        terminal::say(format_args!("error: {error:#}"));
        ExitCode::from(FAILED)
    })
}

/// Prints help and version to standard output and errors to standard error, and returns the exit code.
fn usage(error: &clap::Error) -> ExitCode {
    let is_harmless = |argument: OsString| !argument.to_string_lossy().contains(terminal::is_active);
    if env::args_os().all(is_harmless) {
        // There is no other place to report that this cannot be written.
        let _ = error.print();
    } else {
        // A pattern of a shell may have become the name of a file of someone else: without colours, it cannot command the terminal.
        terminal::say(error.render());
    }
    ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { DONE })
}

/// Switches the telemetry of ONNX Runtime off. The published builds collect usage data and send it to their vendor as soon as
/// the library is loaded, before the API could disable that.
#[allow(unsafe_code)]
fn forbid_telemetry() {
    // SAFETY: `main` calls this first, so no other thread can read the environment.
    unsafe { env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
