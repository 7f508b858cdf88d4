//! `stakeout ask`: scores the newest frame of a source against words, through the running service.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{ConfigArgs, DONE, classify, report};
use crate::{
    api::{
        Client,
        ask::{self, Response},
    },
    local_time, terminal,
    yaml::value,
};

/// The arguments of `stakeout ask`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The sentence around each text
    #[arg(long, default_value = ask::TEMPLATE)]
    template: String,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
    /// The name of the source, as in the configuration
    source: String,
    /// What may be in view, such as "the gate is open" "the gate is closed"
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

/// Prints the scores of the newest frame, highest first.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let request = ask::Request {
            source: args.source.clone(),
            text: args.texts.clone(),
            template: Some(args.template.clone()),
        };
        let answer = match Client::of(&path, &config).call(&ask::VERB, &request) {
            Ok(answer) => answer,
            Err(error) => return Ok(report(&error)),
        };
        print(&answer, args.json, Timestamp::now())?;
        Ok(ExitCode::from(DONE))
    })
}

fn print(answer: &Response, json: bool, now: Timestamp) -> anyhow::Result<()> {
    const CONTEXT: &str = "standard output cannot be written";
    let mut out = terminal::output();
    if json {
        return writeln!(out, "{}", serde_json::to_string(answer)?).context(CONTEXT);
    }
    writeln!(out, "{}", heading(answer, now)).context(CONTEXT)?;
    let named: Vec<_> = answer.scores.iter().map(|score| (labelled(score), score.score)).collect();
    let scores: Vec<_> = named.iter().map(|(name, score)| (&**name, *score)).collect();
    classify::print_scores(&mut out, &scores).context(CONTEXT)
}

/// The source, the time of the frame, and its age.
fn heading(answer: &Response, now: Timestamp) -> String {
    let captured = answer.captured_at.0;
    let seconds = now.duration_since(captured).as_secs().max(0).unsigned_abs();
    let age = value::duration_text(std::time::Duration::from_secs(seconds));
    format!("{}  {}  ({age} ago)", terminal::one_line(&answer.source), local_time::local(captured))
}

/// A text, with the region that has its score.
fn labelled(score: &ask::TextScore) -> String {
    match &score.region {
        Some(region) => format!("{} (in {region})", score.text),
        None => score.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Time;

    #[test]
    fn the_heading_says_how_old_the_frame_is() {
        let captured: Timestamp = "2026-11-23T08:15:30Z".parse().unwrap();
        let answer = Response {
            source: "Front Door".to_owned(),
            captured_at: Time(captured),
            origin: "1.jpg".to_owned(),
            model: "bundled".to_owned(),
            scores: vec![],
        };
        for (now, age) in [
            ("2026-11-23T08:15:30.9Z", "(0s ago)"),
            ("2026-11-23T08:16:42Z", "(1m12s ago)"),
            // The clock was set back.
            ("2026-11-23T08:15:00Z", "(0s ago)"),
        ] {
            let heading = heading(&answer, now.parse().unwrap());
            assert!(heading.starts_with("Front Door  2026-11-23 ") && heading.ends_with(age), "{heading}");
        }
    }
}
