//! `stakeout support-bundle`: one file with everything that helps to find a fault, without secrets and pictures.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::{ConfigArgs, DONE};
use crate::{
    api::{
        Client, Error,
        support_bundle::{Parts, Request, Response, VERB, pack},
    },
    atomic_file, config, doctor, terminal,
};

/// The arguments of `stakeout support-bundle`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The file to write, a compressed tar file [default: a name with the time, in this folder]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes the bundle of the running service, or a smaller one if there is no service, and prints its path.
///
/// # Errors
/// The file exists or cannot be written, or the service does not answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let taken = |file: &Path| format!("{} exists already: name another file", file.display());
    if let Some(file) = args.file.as_ref().filter(|file| file.exists()) {
        bail!(taken(file));
    }
    let bundle = match of_service(&args.config.path()) {
        Ok(bundle) => bundle,
        Err(error) => return Ok(super::report(&error)),
    };
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(&bundle.name));
    if file.exists() {
        bail!(taken(&file));
    }
    // Only its owner reads it.
    let written = atomic_file::write_private(&file, bundle.bytes()?);
    written.with_context(|| format!("{} cannot be written", file.display()))?;
    describe(&bundle);
    writeln!(terminal::output(), "{}", file.display()).context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

/// The bundle of the service with the configuration at `path`.
fn of_service(path: &Path) -> Result<Response, Error> {
    // The service may run with the configuration from before a mistake.
    if let Ok(state_dir) = config::state_dir(path)
        && let Some(service) = Client::at(path, &state_dir).running()?
    {
        return service.call(&VERB, &Request {});
    }
    terminal::say("no service is running: the bundle has no metrics and no log");
    let config = config::look(path).ok().map(|loaded| Arc::new(loaded.config));
    let mut checks = Vec::new();
    let checked = doctor::run(path, USER, |finding| {
        checks.push(super::run::check(finding));
        Ok(())
    });
    let checks = checked.map(|()| checks).map_err(|error| format!("{error:#}"));
    pack(path, &Parts { config, checks, service: None }, Timestamp::now())
}

/// The user of the service, whose rights are checked if root runs this.
const USER: &str = "stakeout";

/// Says what is in the bundle.
fn describe(bundle: &Response) {
    for file in &bundle.files {
        terminal::say(format_args!("{:20}{:>8} bytes  {}", file.name, file.bytes, file.what));
    }
    terminal::say(
        "no pictures, scores, embeddings, alerts and passwords; read it before you give it to someone else",
    );
}
