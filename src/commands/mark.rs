//! `stakeout mark`: stores a person's verdict on an alert, a near miss, or a moment of a label.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use jiff::Timestamp;

use super::{ConfigArgs, DONE, FAILED, HISTORY_IS_OFF, WRONG_USAGE, moment, report};
use crate::{
    api::{
        Client, Time, filter,
        mark::{self, Choice, Count, Marked},
    },
    config::Config,
    local_time,
    policy::LabelSet,
    terminal,
    topic::topic_level,
};

/// The arguments of `stakeout mark`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "`right` says that the label was in view, and `wrong` that it was not: an alert that is wrong was a false one, and a \
    near miss that is right was a missed one. Without a verdict, the number of marks of each label is printed.\n\n\
    stakeout mark 9f3c01ab wrong\n\
    stakeout mark --source front-door --label package --at 08:15 right"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Instead of an ID: the source of a moment
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Instead of an ID: the label of a moment, or SET/LABEL if several label sets have it
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Instead of an ID: the moment, such as 08:15, "2026-11-23 08:15:30" or 90m (ago)
    #[arg(long, value_name = "TIME", value_parser = moment::parse, requires = "source", requires = "label")]
    at: Option<Timestamp>,
    /// Print what is marked as one JSON object
    #[arg(long)]
    json: bool,
    /// The id of an alert or a near miss, or the end of it, as `stakeout alerts --last 20` prints it
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// right, wrong or undo
    #[arg(value_name = "VERDICT")]
    verdict: Option<Choice>,
}

/// Stores or removes a mark, or counts marks.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        if config.history.is_none() {
            terminal::say(format_args!("error: {HISTORY_IS_OFF}"));
            return Ok(ExitCode::from(FAILED));
        }
        let client = Client::of(&path, &config);
        match request(args, &config) {
            Ok(Some(request)) => store(args, &client, &request),
            Ok(None) => count(args, &client),
            Err(wrong) => {
                terminal::say(format_args!("error: {wrong}"));
                Ok(ExitCode::from(WRONG_USAGE))
            }
        }
    })
}

/// The request; `None` if marks are to be counted.
fn request(args: &Args, config: &Config) -> Result<Option<mark::Request>, String> {
    const FORMS: &str = "write `stakeout mark ID right`, or `stakeout mark --source NAME --label NAME --at TIME right`; \
                         the verdicts are `right`, `wrong` and `undo`";
    let Some(at) = args.at else {
        return match (&args.id, args.verdict) {
            (Some(id), Some(verdict)) if args.source.is_none() && args.label.is_none() => {
                let request =
                    mark::Request { id: Some(id.clone()), source: None, label: None, at: None, verdict };
                Ok(Some(request))
            }
            (None, None) => Ok(None),
            _ => Err(FORMS.to_owned()),
        };
    };
    // A moment has no id, so the verdict is the first argument.
    let typed = args.id.as_deref().filter(|_| args.verdict.is_none()).ok_or(FORMS)?;
    let verdict = Choice::from_str(typed, false).map_err(|_| FORMS)?;
    let (source, label) =
        (args.source.as_deref().unwrap_or_default(), args.label.as_deref().unwrap_or_default());
    Ok(Some(mark::Request {
        id: None,
        source: Some(spelt(source, config.sources.iter().map(|source| &*source.name))),
        label: Some(in_set(label, &config.label_sets)?),
        at: Some(Time(at)),
        verdict,
    }))
}

/// The name that was typed, as it is in the configuration: exactly, or spelt alike. A name that is not there may be of the past.
fn spelt<'n>(typed: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let exact = names.clone().find(|name| *name == typed);
    let alike = || names.clone().find(|name| topic_level(name) == topic_level(typed));
    exact.or_else(alike).unwrap_or(typed).to_owned()
}

/// `set/label` for a label of the configuration; what was typed, if it has none of this name.
fn in_set(typed: &str, sets: &[LabelSet]) -> Result<String, String> {
    let labels = sets.iter().flat_map(|set| set.alerting().map(move |label| (&*set.name, &*label.name)));
    let all: Vec<_> = labels.map(|(set, label)| (format!("{set}/{label}"), label)).collect();
    let is = |name: &str| name == typed;
    let is_alike = |name: &str| topic_level(name) == topic_level(typed);
    let found = |is: &dyn Fn(&str) -> bool| {
        all.iter().filter(|(whole, label)| is(whole) || is(label)).map(|(whole, _)| whole).collect::<Vec<_>>()
    };
    let exact = found(&is);
    match &(if exact.is_empty() { found(&is_alike) } else { exact })[..] {
        [] => Ok(typed.to_owned()),
        [whole] => Ok((*whole).clone()),
        [first, ..] => Err(format!(
            "several label sets have the label `{typed}`: write it with its set, such as `{first}`"
        )),
    }
}

fn store(args: &Args, client: &Client, request: &mark::Request) -> Result<ExitCode> {
    let marked = match client.call(&mark::VERB, request) {
        Ok(response) => response.marked,
        Err(error) => return Ok(report(&error)),
    };
    let line = if args.json { serde_json::to_string(&marked)? } else { sentence(&marked) };
    writeln!(terminal::output(), "{line}").context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

/// What is marked, for people.
fn sentence(marked: &Marked) -> String {
    let verdict = marked.mark.as_deref().unwrap_or("mark removed");
    let what = match &*marked.kind {
        "near_miss" => "near miss",
        kind => kind,
    };
    let (source, label) = (terminal::one_line(&marked.source), terminal::one_line(&marked.label));
    format!("{verdict}: {what} of {label} on {source} at {}", local_time::local(marked.captured_at.0))
}

fn count(args: &Args, client: &Client) -> Result<ExitCode> {
    let request = filter::Request {
        source: args.source.clone(),
        label: args.label.clone(),
        ..filter::Request::default()
    };
    let answer = match client.call(&mark::LIST, &request) {
        Ok(answer) => answer,
        Err(error) => return Ok(report(&error)),
    };
    let mut out = terminal::output();
    let printed = if args.json {
        writeln!(out, "{}", serde_json::to_string(&answer)?)
    } else if answer.counts.is_empty() {
        terminal::say("there are no marks: `stakeout alerts --last 20` lists what can be marked");
        Ok(())
    } else {
        answer.counts.iter().try_for_each(|count| writeln!(out, "{}", counted(count)))
    };
    printed.context("standard output cannot be written")?;
    Ok(ExitCode::from(DONE))
}

fn counted(count: &Count) -> String {
    let (set, label) = (terminal::one_line(&count.label_set), terminal::one_line(&count.label));
    format!("{set}/{label}: {} right, {} wrong", count.right, count.wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn labels_are_written_with_their_set() {
        let mut config = samples::config();
        config.label_sets[1].labels.push(samples::label("package", 0.5));
        let sets = &config.label_sets;
        let cases = [
            ("fox", "yard/fox"),
            ("person", "porch/Person"),
            ("Person", "porch/Person"),
            ("yard/package", "yard/package"),
            ("gone", "gone"),
            ("old set/gone", "old set/gone"),
        ];
        for (typed, expected) in cases {
            assert_eq!(in_set(typed, sets).as_deref(), Ok(expected), "{typed}");
        }
        let error = in_set("package", sets).unwrap_err();
        assert!(error.contains("`porch/package`"), "{error}");
        let names = || config.sources.iter().map(|source| &*source.name);
        assert_eq!([spelt("front door", names()), spelt("gone", names())], ["Front Door", "gone"]);
    }
}
