//! How alerts are kept until they are told, and who is told besides the broker: the sections `outbox`, `webhook` and
//! `command`.

use std::{path::PathBuf, time::Duration};

use super::{
    Secret,
    address::{self, Address},
};
use crate::yaml::{
    reader::{Reader, Section, Setting},
    value,
};

pub(super) const OUTBOX_KEYS: &[&str] = &["max_size", "max_snapshots", "max_age"];
pub(super) const WEBHOOK_KEYS: &[&str] = &["url", "secret", "token", "timeout"];
pub(super) const COMMAND_KEYS: &[&str] = &["run", "timeout"];

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MB: u64 = 1_000_000;
const TB: u64 = 1_000_000_000_000;

/// How much may wait in the outbox. What is dropped is the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of alerts, without their snapshots.
    pub size: u64,
    /// Bytes of snapshots.
    pub snapshots: u64,
    /// An alert that waits for longer is of no use to anybody.
    pub age: Duration,
}

/// A web server that is told of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where alerts are posted.
    pub address: Address,
    /// What they are signed with.
    pub secret: Option<Secret>,
    /// What is shown as bearer token.
    pub token: Option<Secret>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A program that is told of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take for one alert.
    pub timeout: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { size: 100 * MB, snapshots: 500 * MB, age: 7 * DAY }
    }
}

pub(super) fn outbox(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<OutboxLimits> {
    let section = reader.section(at, OUTBOX_KEYS, "write its limits below it: `max_size: 100MB`")?;
    let default = OutboxLimits::default();
    let size = size(reader, &section, "max_size", default.size, MB);
    let snapshots = self::size(reader, &section, "max_snapshots", default.snapshots, 0);
    let age = duration(reader, &section, "max_age", default.age, 60 * SECOND, 365 * DAY);
    Some(OutboxLimits { size: size?, snapshots: snapshots?, age: age? })
}

pub(super) fn webhook(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Webhook> {
    const EXAMPLE: &str = "say where alerts are posted: `url: https://HOST/PATH`";
    let section = reader.section(at, WEBHOOK_KEYS, EXAMPLE)?;
    let address = match section.get("url") {
        Some(at) => address(reader, &at),
        None => {
            if section.lacks("url") {
                reader.problem(at.key, "`webhook` has no `url`", EXAMPLE);
            }
            None
        }
    };
    let secret = secret(reader, &section, "secret");
    let token = self::secret(reader, &section, "token");
    let timeout = duration(reader, &section, "timeout", 10 * SECOND, SECOND, 300 * SECOND);
    Some(Webhook { address: address?, secret: secret?, token: token?, timeout: timeout? })
}

fn address(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Address> {
    let text = reader.text(at)?;
    let address = match text.split_once("://") {
        Some(("http" | "https", _)) => address::parse(&text, &["https", "http"]),
        _ => Err((
            "a webhook is called by HTTP".to_owned(),
            "write `https://HOST/PATH` or `http://HOST/PATH`".to_owned(),
        )),
    };
    // What a reference stood for may be secret: only what was typed is shown, and that by the excerpt.
    address.map_err(|(message, remedy)| reader.problem(at.span(), message, remedy)).ok()
}

pub(super) fn command(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Command> {
    const EXAMPLE: &str = "name the program and its arguments: `run: [/usr/local/bin/on-alert, --loud]`";
    let section = reader.section(at, COMMAND_KEYS, EXAMPLE)?;
    let run = match section.get("run") {
        Some(at) => reader.texts(&at),
        None => {
            if section.lacks("run") {
                reader.problem(at.key, "`command` has no `run`", EXAMPLE);
            }
            None
        }
    };
    let timeout = duration(reader, &section, "timeout", 30 * SECOND, SECOND, 3600 * SECOND);
    let (program, arguments) = run?.split_first().map(|(program, rest)| (program.clone(), rest.to_vec()))?;
    // A bare name is looked for where programs are.
    let program = if program.contains('/') {
        reader.resolve_path(&section.get("run")?, &program)?
    } else {
        PathBuf::from(program)
    };
    Some(Command { program, arguments, timeout: timeout? })
}

fn secret(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<Option<Secret>> {
    match section.get(key) {
        Some(at) => reader.text(&at).map(|text| Some(Secret::new(text))),
        None => Some(None),
    }
}

fn size(reader: &mut Reader<'_>, section: &Section<'_>, key: &str, default: u64, least: u64) -> Option<u64> {
    let Some(at) = section.get(key) else { return Some(default) };
    reader.parsed(&at, "a size", |text| match value::size(text)? {
        size if size < least => Err(format!("at least {}MB", least / MB)),
        size if size > TB => Err("at most 1000GB".to_owned()),
        size => Ok(size),
    })
}

fn duration(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Option<Duration> {
    let Some(at) = section.get(key) else { return Some(default) };
    reader.parsed(&at, "a duration", |text| match value::duration(text)? {
        given if (least..=most).contains(&given) => Ok(given),
        _ => Err(format!("at least {} and at most {}", words(least), words(most))),
    })
}

fn words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds.is_multiple_of(DAY.as_secs()) => format!("{}d", seconds / DAY.as_secs()),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
