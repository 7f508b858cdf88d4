//! `stakeout history forget|export`: deletes from the history, or copies it.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{ConfigArgs, DONE, WRONG_USAGE, moment};
use crate::{
    api::{Client, Time, forget},
    history::{Reader, export, store},
    terminal,
};

/// The arguments of `stakeout history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Delete what was seen on a source, so that no file of the history contains it any more
    Forget(ForgetArgs),
    /// Copy the history into a folder: JSON lines and pictures
    Export(ExportArgs),
}

/// The arguments of `stakeout history forget`.
#[derive(Debug, clap::Args)]
struct ForgetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The source, also one that is no longer configured
    #[arg(long, value_name = "NAME")]
    source: String,
    /// The first moment
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    from: Timestamp,
    /// The last moment [default: now]
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    to: Option<Timestamp>,
    /// Only what belongs to this label. Pictures and embeddings that show more than it stay
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
}

/// The arguments of `stakeout history export`.
#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The first moment [default: the beginning]
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    from: Option<Timestamp>,
    /// The last moment [default: now]
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    to: Option<Timestamp>,
    /// The folder, which must not exist yet or be empty
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Forgets or exports.
///
/// # Errors
/// The history cannot be used, or the folder of the export cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Forget(args) => forget(args),
        Action::Export(args) => export(args),
    }
}

fn forget(args: &ForgetArgs) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    let to = args.to.unwrap_or_else(Timestamp::now);
    if to < args.from {
        terminal::say(format_args!("error: `--to` is before `--from`"));
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    super::with_config(&path, |config| {
        let request = forget::Request {
            source: args.source.clone(),
            from: Time(args.from),
            to: Time(to),
            label: args.label.clone(),
        };
        let client = Client::of(&path, &config);
        if client.running()?.is_none() && !store::path(&config.state_dir).exists() {
            terminal::say(format_args!("there is no history in {}", config.state_dir.display()));
            return Ok(ExitCode::from(DONE));
        }
        let forget::Response { entries, damaged_files } = client.call(&forget::VERB, &request)?;
        let total: u64 = entries.values().sum();
        print(entries.iter().map(|(kind, count)| (kind.as_str(), *count)))?;
        if damaged_files > 0 {
            terminal::say(format_args!(
                "damaged files of the history were deleted, too: what they contained is unknown ({damaged_files})"
            ));
        }
        if total == 0 {
            terminal::say(format_args!(
                "nothing was found; `--source` and `--label` are names as in the configuration"
            ));
        }
        Ok(ExitCode::from(DONE))
    })
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let scope = export::Scope {
            source: args.source.clone(),
            from: args.from.unwrap_or(Timestamp::MIN),
            to: args.to.unwrap_or_else(Timestamp::now),
        };
        let reader = Reader::open(&config.state_dir)?;
        print(export::export(&reader, &scope, &args.folder)?.into_iter())?;
        Ok(ExitCode::from(DONE))
    })
}

/// Prints how many entries of each kind there are.
fn print<'k>(counts: impl Iterator<Item = (&'k str, u64)>) -> anyhow::Result<()> {
    let mut output = terminal::output();
    for (kind, count) in counts {
        writeln!(output, "{kind:12} {count}").context("cannot print")?;
    }
    Ok(())
}
