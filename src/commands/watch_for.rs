//! `stakeout watch-for`: watches for words on one source until a time, without a change of any file.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;

use super::{ConfigArgs, DONE, report};
use crate::{
    api::{
        self, Client,
        watch_for::{self, Watched},
    },
    local_time, terminal,
    yaml::value,
};

/// The arguments of `stakeout watch-for`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// What to watch for, such as "a package by the door"
    #[arg(value_name = "TEXT", required_unless_present_any = ["list", "cancel"], requires_all = ["source", "duration"])]
    text: Option<String>,
    /// The source on which it is watched for, as in the configuration
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How long: `30m`, `2h`, `7d`
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration)]
    duration: Option<Duration>,
    /// End with the first alert
    #[arg(long)]
    once: bool,
    /// The threshold [default: 0.5]
    #[arg(long, value_name = "N")]
    threshold: Option<f32>,
    /// List what is watched for
    #[arg(long, conflicts_with_all = ["text", "cancel"])]
    list: bool,
    /// End the one with this number
    #[arg(long, value_name = "ID", conflicts_with = "text")]
    cancel: Option<u64>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Adds, lists or ends temporary labels through the running service.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let watched = match call(args, &Client::of(&path, &config)) {
            Ok(watched) => watched,
            Err(error) => return Ok(report(&error)),
        };
        for watched in watched {
            let line = if args.json { serde_json::to_string(&watched)? } else { line(&watched) };
            writeln!(terminal::output(), "{line}").context("standard output cannot be written")?;
        }
        Ok(ExitCode::from(DONE))
    })
}

fn call(args: &Args, client: &Client) -> Result<Vec<Watched>, api::Error> {
    match (&args.text, args.cancel) {
        (Some(text), _) => {
            let request = watch_for::Request {
                text: text.clone(),
                source: args.source.clone().unwrap_or_default(),
                seconds: args.duration.unwrap_or_default().as_secs(),
                once: args.once,
                threshold: args.threshold,
            };
            client.call(&watch_for::ADD, &request).map(|watched| vec![watched])
        }
        (None, Some(id)) => {
            client.call(&watch_for::CANCEL, &watch_for::CancelRequest { id }).map(|watched| vec![watched])
        }
        (None, None) => client.call(&watch_for::LIST, &watch_for::ListRequest {}).map(|list| list.watches),
    }
}

/// `3  a package by the door  on front-door  until 2026-11-27 12:15:30 +01:00, once`
fn line(watched: &Watched) -> String {
    let Watched { id, text, source, until, once, .. } = watched;
    let (text, source) = (terminal::one_line(text), terminal::one_line(source));
    let once = if *once { ", once" } else { "" };
    format!("{id}  {text}  on {source}  until {}{once}", local_time::local(until.0))
}
