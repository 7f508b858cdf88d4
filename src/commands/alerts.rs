//! `stakeout alerts`: prints alerts as they are published, one line each, until Ctrl-C or `--count`; with `--last`, `--since` or `--until`
//! the alerts that the history has (`stored`), because the broker does not keep them.

mod stored;

use std::{io::Write as _, ops::ControlFlow, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::{ConfigArgs, DONE, WRONG_USAGE, moment};
use crate::{
    alert::{Topics, subscriber},
    api::Client,
    config::Config,
    local_time,
    policy::LabelSet,
    terminal,
    topic::topic_level,
    yaml::names,
};

/// The arguments of `stakeout alerts`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("stored").multiple(true)))]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only alerts of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only alerts of this label
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Continue until Ctrl-C, which is the default without --last, --since and --until
    #[arg(long, short, conflicts_with = "count")]
    follow: bool,
    /// End after this number of alerts
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print each alert as published: one JSON object per line. Alerts of the history have more fields
    #[arg(long)]
    json: bool,
    /// Print this number of newest alerts of the history, and end
    #[arg(long, value_name = "N", group = "stored", conflicts_with_all = ["follow", "count"],
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: Option<u32>,
    /// Print the alerts of the history since this time, such as 7d (ago), 08:15 or "2026-11-23 08:15"
    #[arg(long, value_name = "TIME", group = "stored", conflicts_with_all = ["follow", "count"], value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Print the alerts of the history until this time
    #[arg(long, value_name = "TIME", group = "stored", conflicts_with_all = ["follow", "count"], value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Also print near misses: moments that nearly raised a label, and what held it back
    #[arg(long, requires = "stored")]
    near_misses: bool,
    /// Write the small pictures of what is printed into this folder
    #[arg(long, value_name = "FOLDER", requires = "stored")]
    pictures: Option<PathBuf>,
}

/// Prints alerts until Ctrl-C, until `--count` is reached, or until standard output is closed; or those of the history.
///
/// # Errors
/// A failure that repeating does not repair, such as credentials that the broker rejects.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let unknown = unknown_name(args, &config);
        if args.last.is_some() || args.since.is_some() || args.until.is_some() {
            return stored::run(args, &Client::of(&path, &config), unknown, config.history.is_some());
        }
        if let Some(unknown) = unknown {
            terminal::say(format_args!("error: {unknown}"));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        runtime.block_on(follow(args, &config))?;
        Ok(ExitCode::from(DONE))
    })
}

async fn follow(args: &Args, config: &Config) -> anyhow::Result<()> {
    // Names are compared as typed, and only the payload has them so.
    let filter = Topics::new(&config.mqtt.prefix).all_alerts();
    let wanted = Wanted::of(args, config);
    let columns = Columns::of(config);
    let (mut failure, mut left) = (None, args.count.filter(|_| !args.follow));
    let print = |payload: &[u8]| {
        if !wanted.is(payload) {
            return ControlFlow::Continue(());
        }
        let Some(line) = line(payload, args.json, &columns) else {
            tracing::warn!(bytes = payload.len(), "ignored a message that is not an alert");
            return ControlFlow::Continue(());
        };
        match writeln!(terminal::output(), "{line}") {
            Ok(()) => {
                left = left.map(|left| left - 1);
                if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    tokio::select! {
        listened = subscriber::receive(&config.mqtt, &filter, print) => listened?,
        stopped = tokio::signal::ctrl_c() => stopped.context("cannot listen for Ctrl-C")?,
    }
    failure.map_or(Ok(()), |error| Err(error).context("cannot print"))
}

/// The error for a source or label that the configuration does not have, whose alerts would never come.
fn unknown_name(args: &Args, config: &Config) -> Option<String> {
    let sources: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
    // Sources that are named by topics are not in the configuration, but the pattern of their names is.
    let named_by_topics = |typed: &str| {
        let patterns = config.sources.iter().filter_map(|source| source.kind.settings().name_pattern());
        patterns.into_iter().any(|pattern| pattern.may_give(typed))
    };
    let labels = config.label_sets.iter().flat_map(LabelSet::alerting);
    let labels: Vec<_> = labels.map(|label| &*label.name).collect();
    let unknown = |what, typed: &Option<String>, known: &[&str]| {
        let typed = typed.as_deref()?;
        (!known.iter().any(|name| is_spelt(name, typed)))
            .then(|| format!("there is no {what} `{typed}`; {}", names::suggest(typed, known)))
    };
    let source = unknown("source", &args.source, &sources);
    let source = source.filter(|_| !args.source.as_deref().is_some_and(named_by_topics));
    source.or_else(|| unknown("label", &args.label, &labels))
}

/// Whether two names are the same but for spelling: `Front Door` and `front-door` are not, `front door` is.
fn is_spelt(name: &str, typed: &str) -> bool {
    topic_level(name) == topic_level(typed)
}

/// The alerts to print.
struct Wanted<'a> {
    source: Option<NameFilter<'a>>,
    label: Option<NameFilter<'a>>,
}

/// A name as it was typed, or every name that is spelt alike if no name is exactly this one.
struct NameFilter<'a> {
    typed: &'a str,
    exact: bool,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a Args, config: &Config) -> Self {
        let filter = |typed: &'a Option<String>, known: Vec<&String>| {
            let typed = typed.as_deref()?;
            Some(NameFilter { typed, exact: known.iter().any(|name| *name == typed) })
        };
        let labels = config.label_sets.iter().flat_map(LabelSet::alerting).map(|label| &label.name);
        Self {
            source: filter(&args.source, config.sources.iter().map(|source| &source.name).collect()),
            label: filter(&args.label, labels.collect()),
        }
    }

    /// Whether an alert is to be printed. What is not an alert is not decided here.
    fn is(&self, payload: &[u8]) -> bool {
        let Ok(alert) = serde_json::from_slice::<Value>(payload) else { return true };
        let fits = |filter: &Option<NameFilter<'_>>, key: &str| match (filter, alert[key].as_str()) {
            (Some(filter), Some(name)) if filter.exact => name == filter.typed,
            (Some(filter), Some(name)) => is_spelt(name, filter.typed),
            _ => true,
        };
        fits(&self.source, "source") && fits(&self.label, "label")
    }
}

/// The widths of the columns.
struct Columns {
    source: usize,
    label: usize,
    time_zone: TimeZone,
}

impl Columns {
    fn of(config: &Config) -> Self {
        let widest =
            |names: &mut dyn Iterator<Item = &String>| names.map(|name| width(name)).max().unwrap_or(0);
        let mut labels = config.label_sets.iter().flat_map(LabelSet::alerting).map(|label| &label.name);
        Self {
            source: widest(&mut config.sources.iter().map(|source| &source.name)),
            label: widest(&mut labels),
            time_zone: TimeZone::system(),
        }
    }
}

/// The output line of an alert; `None` if the payload is not an alert.
fn line(payload: &[u8], json: bool, columns: &Columns) -> Option<String> {
    let alert: Value = serde_json::from_slice(payload).ok()?;
    // Other clients may publish there, and must not add lines.
    let text = |key: &str| alert[key].as_str().map(terminal::one_line);
    let (time, source, label, state) = (text("time")?, text("source")?, text("label")?, text("state")?);
    let time: Timestamp = time.parse().ok()?;
    if json {
        // Serialized again: on one line, whatever its layout was.
        return Some(alert.to_string());
    }
    let time = local_time::in_zone(time, &columns.time_zone);
    let score = alert["score"].as_f64().map_or("-".to_owned(), |score| format!("{score:.2}"));
    let region = text("region").map_or(String::new(), |region| format!("  in {region}"));
    let (source, label) = (padded(&source, columns.source), padded(&label, columns.label));
    Some(format!("{time}  {source}  {label}  {state:<7}  {score}{region}"))
}

/// The text, filled with spaces to this width.
pub(super) fn padded(text: &str, wanted: usize) -> String {
    format!("{text}{}", " ".repeat(wanted.saturating_sub(width(text))))
}

/// The columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns { source: 10, label: 7, time_zone: TimeZone::UTC }
    }

    #[test]
    fn an_alert_is_one_aligned_line() {
        let alert = r#"{"version":1,"id":"x","state":"raised","time":"2026-11-23T08:15:30.125Z",
            "source":"front-door","region":null,"label":"package","score":0.834}"#;
        let cleared =
            alert.replace("raised", "cleared").replace("front-door", "猫").replace("null", "\"step\"");
        let lines = [alert, &cleared].map(|alert| line(alert.as_bytes(), false, &columns()).unwrap());
        let expected = [
            "2026-11-23 08:15:30 +00:00  front-door  package  raised   0.83",
            "2026-11-23 08:15:30 +00:00  猫          package  cleared  0.83  in step",
        ];
        assert_eq!(lines, expected);
        let json = line(alert.as_bytes(), true, &columns()).unwrap();
        assert!(json.starts_with(r#"{"version":1,"id":"x","#) && !json.contains('\n'), "{json}");
    }

    #[test]
    fn names_are_compared_as_typed_and_by_spelling_only_without_an_equal_name() {
        let wanted =
            |typed: &'static str, exact| Wanted { source: Some(NameFilter { typed, exact }), label: None };
        let alert = |source: &str| format!(r#"{{"source":"{source}","label":"cat"}}"#).into_bytes();
        let cases = [
            ("前门", true, "前门", true),
            ("前门", true, "后门", false),
            ("Front Door", true, "front door", false),
            ("front door", false, "Front Door", true),
            ("front door", false, "back", false),
        ];
        for (typed, exact, source, expected) in cases {
            assert_eq!(wanted(typed, exact).is(&alert(source)), expected, "{typed} {source}");
        }
        assert!(wanted("a", true).is(b"ON"), "that it is no alert is reported");
    }

    #[test]
    fn other_messages_are_ignored_and_control_characters_escaped() {
        for other in
            ["", "ON", "{}", "[1]", r#"{"time":"now","source":"a","label":"b","state":"c"}"#, "\u{ff}"]
        {
            assert_eq!(line(other.as_bytes(), false, &columns()), None, "{other}");
        }
        let hostile =
            r#"{"state":"raised","time":"2026-11-23T08:15:30Z","source":"\u001b[2J","label":"\n","score":1}"#;
        let line = line(hostile.as_bytes(), false, &columns()).unwrap();
        assert!(!line.contains(terminal::is_active), "{line:?}");
        let expected = "2026-11-23 08:15:30 +00:00  \\u001b[2J   \\n       raised   1.00";
        assert_eq!(line, expected);
    }
}
