//! `stakeout explain`: says for each label why it is raised, or which gate holds it.
//!
//! The running service is asked about the newest frame. Without one, and for a moment in the past, the history is read. With
//! `--picture`, a file is scored and judged as a frame of the source.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use jiff::{Timestamp, tz::TimeZone};

use super::{ConfigArgs, DONE, FAILED, WRONG_USAGE, moment, report};
use crate::{
    api::{
        Client, Time,
        explain::{ExplainedFrame, Origin, Request, Response, VERB},
    },
    config::{Config, Source},
    daemon,
    replay::{self, JudgedPicture},
    terminal,
};

mod target;
mod text;

/// The arguments of `stakeout explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The source, and the label set and the label if only they are asked for
    #[arg(value_name = "SOURCE[/SET[/LABEL]]", required_unless_present = "picture")]
    target: Option<String>,
    /// A moment in the past, instead of the newest frame
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    at: Option<Timestamp>,
    /// Score this picture, and judge it as a frame of the source
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The source of the picture, if there are several
    #[arg(long, value_name = "NAME", requires = "picture", conflicts_with = "target")]
    source: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the answer. The exit code is 1 if nothing is known.
///
/// # Errors
/// The configuration, the model, the service, the history or standard output cannot be used.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let request = match request(args, &config) {
            Ok(request) => request,
            Err(unknown) => {
                terminal::say(format_args!("error: {unknown}"));
                return Ok(ExitCode::from(WRONG_USAGE));
            }
        };
        let response = match &args.picture {
            Some(picture) => of_picture(&config, &request, picture)?,
            None => match Client::of(&path, &config).call(&VERB, &request) {
                Ok(response) => response,
                Err(error) => return Ok(report(&error)),
            },
        };
        if response.labels.is_empty() && response.from == Origin::History {
            terminal::say(format_args!("error: {}", text::nothing_known(&response, &request)));
            return Ok(ExitCode::from(FAILED));
        }
        let answer = if args.json {
            serde_json::to_string(&response).context("the answer cannot be written as JSON")? + "\n"
        } else {
            text::in_lines(&response, Timestamp::now(), &TimeZone::system())
        };
        write!(terminal::output(), "{answer}").context("standard output cannot be written")?;
        Ok(ExitCode::from(DONE))
    })
}

/// What is asked. The error names what the configuration does not have.
fn request(args: &Args, config: &Config) -> Result<Request, String> {
    let target = match (&args.target, &args.source) {
        (Some(target), _) => target,
        (None, Some(source)) => source,
        (None, None) => match &config.sources[..] {
            [only] => &only.name,
            _ => return Err(format!("name the source of the picture: {}", target::sources(config))),
        },
    };
    target::resolve(target, config).map(|request| Request { at: args.at.map(Time), ..request })
}

/// The answer for a picture, with the baselines that the service has learnt.
fn of_picture(config: &Config, request: &Request, path: &Path) -> Result<Response> {
    let source = target::configured(&request.source, config)
        .with_context(|| format!("the source {} is not in the configuration", request.source))?;
    // A dynamic source has the settings of the source that names it.
    let source = Source { name: request.source.clone(), ..source.clone() };
    let mut config = config.clone();
    if config.sources.iter().all(|known| known.name != source.name) {
        config.sources.push(source.clone());
    }
    let baselines = daemon::saved_baselines(&config.state_dir);
    let judged = replay::judge_picture(&config, &source, path, request.at.map(|at| at.0), baselines)?;
    let JudgedPicture { captured_at, assessments } = judged;
    Ok(Response {
        source: request.source.clone(),
        from: Origin::Picture,
        status: None,
        problem: None,
        set: Vec::new(),
        frame: Some(ExplainedFrame { captured_at: Time(captured_at), scored_at: Time(captured_at) }),
        labels: request.labels(&assessments),
    })
}
