//! The limits of the outbox, and the receivers of alerts besides the broker: the sections `outbox`, `webhook` and `command`.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use crate::{
    policy::{broker::set, tls},
    tls::Trust,
    yaml::{
        address::{self, Address},
        fields::{Field, Form, Table, specs},
        mask::{self, Secret},
        reader::{Reader, Setting},
        value::duration_text,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MB: u64 = 1_000_000;
const TB: u64 = 1_000_000_000_000;

/// How much the outbox may hold. When it is full, the oldest alerts are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of alerts, without their snapshots.
    pub size: u64,
    /// Bytes of snapshots.
    pub snapshots: u64,
    /// The age at which an alert is dropped.
    pub age: Duration,
}

/// A web server that receives alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where alerts are posted.
    pub address: Address,
    /// The key of their signature.
    pub secret: Option<Secret>,
    /// The bearer token.
    pub token: Option<Secret>,
    /// How the certificate of the server is checked.
    pub tls: Trust,
    /// The longest that one request may take.
    pub timeout: Duration,
}

/// A program that receives alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<Secret>,
    /// The arguments as they may be shown: as they were typed, without passwords.
    pub shown_arguments: Vec<String>,
    /// More variables of the environment that it receives.
    pub environment: Vec<String>,
    /// The longest that it may take for one alert.
    pub timeout: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { size: 100 * MB, snapshots: 500 * MB, age: 7 * DAY }
    }
}

/// The keys of `outbox`.
pub(super) const OUTBOX_FIELDS: &[Field<OutboxLimits>] = &[
    Field::new(
        "max_size",
        Form::Size(MB, TB),
        "The most bytes of alerts; 100MB are about 100,000 alerts. The oldest are dropped, which is counted and published.",
        |it: &OutboxLimits| Some(json!(it.size)),
    )
    .default("100MB"),
    Field::new(
        "max_snapshots",
        Form::Size(0, TB),
        "The most bytes of snapshots; an alert whose snapshot was dropped is published without it.",
        |it: &OutboxLimits| Some(json!(it.snapshots)),
    )
    .default("500MB"),
    Field::new("max_age", Form::Duration(Duration::from_secs(60), Duration::from_secs(365 * 86_400)), "Older alerts are dropped.", |it: &OutboxLimits| {
        Some(json!(duration_text(it.age)))
    })
    .default("7d"),
];
pub(super) const OUTBOX: Table = Table { title: "outbox", fields: || specs(OUTBOX_FIELDS) };

/// The keys of `webhook`.
pub(super) const WEBHOOK_FIELDS: &[Field<Webhook>] = &[
    Field::new(
        "url",
        Form::Text,
        "The http:// or https:// address that alerts are posted to. An answer of 200 to 299 confirms an alert.",
        |it: &Webhook| Some(json!(it.address.to_string())),
    )
    .required()
    .example("https://example.org/alerts"),
    Field::new(
        "secret",
        Form::Text,
        "The key of the signature: X-Stakeout-Signature-256 is `sha256=` and the HMAC-SHA256 of the body.",
        |it: &Webhook| Some(set(&it.secret)),
    )
    .example("${env:WEBHOOK_SECRET}"),
    Field::new("token", Form::Text, "Sent as `Authorization: Bearer ...`.", |it: &Webhook| Some(set(&it.token)))
        .example("${env:WEBHOOK_TOKEN}"),
    Field::new("timeout", Form::Duration(SECOND, Duration::from_secs(300)), "The longest that one request may take.", |it: &Webhook| {
        Some(json!(duration_text(it.timeout)))
    })
    .default("10s"),
    Field::new("tls", Form::Mapping(&tls::WEBHOOK), tls::DOC, |it: &Webhook| {
        it.address.is_tls().then(|| tls::shown(&it.tls).into())
    }),
];
pub(super) const WEBHOOK: Table = Table { title: "webhook", fields: || specs(WEBHOOK_FIELDS) };

/// The form of an item of `command.environment`.
const VARIABLE: Form = Form::like("the name of an environment variable");

/// The keys of `command`.
pub(super) const COMMAND_FIELDS: &[Field<Command>] = &[
    Field::new(
        "run",
        Form::List(&Form::Text),
        "The program and its arguments; there is no shell. It reads the alert from standard input, and exit code 0 confirms it.",
        |it: &Command| {
            let program = it.program.display().to_string();
            Some(json!(std::iter::once(&program).chain(&it.shown_arguments).collect::<Vec<_>>()))
        },
    )
    .required()
    .example("[/usr/local/bin/on-alert, --loud]"),
    Field::new(
        "environment",
        Form::List(&VARIABLE),
        "More variables of the service's environment that the program receives. It always receives PATH, HOME, USER, LANG, LC_ALL, TZ, \
         TMPDIR and those that begin with STAKEOUT_ALERT_, and no others, so that it does not learn the service's secrets.",
        |it: &Command| Some(json!(it.environment)),
    )
    .default_is("no others")
    .example("[NOTIFY_TOKEN]"),
    Field::new("timeout", Form::Duration(SECOND, Duration::from_secs(3600)), "The program is ended after this time, together with all processes that it started.", |it: &Command| {
        Some(json!(duration_text(it.timeout)))
    })
    .default("30s"),
];
pub(super) const COMMAND: Table = Table { title: "command", fields: || specs(COMMAND_FIELDS) };

pub(super) fn outbox(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<OutboxLimits> {
    let section = reader.section(at, &OUTBOX)?;
    let size = section.read(reader, "max_size", Reader::size);
    let snapshots = section.read(reader, "max_snapshots", Reader::size);
    let age = section.read(reader, "max_age", Reader::duration);
    Some(OutboxLimits { size: size?, snapshots: snapshots?, age: age? })
}

pub(super) fn webhook(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Webhook> {
    let section = reader.section(at, &WEBHOOK)?;
    let address = section.read(reader, "url", address);
    let secret = section.optional(reader, "secret", Reader::secret);
    let token = section.optional(reader, "token", Reader::secret);
    let timeout = section.read(reader, "timeout", Reader::duration);
    let is_tls = address.as_ref().map(Address::is_tls);
    let tls = tls::read(reader, &section, &tls::WEBHOOK, is_tls, "https");
    Some(Webhook { address: address?, secret: secret?, token: token?, tls: tls?, timeout: timeout? })
}

fn address(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Address> {
    let text = reader.text(at)?;
    let address = match text.split_once("://") {
        Some(("http" | "https", _)) => {
            address::parse(&text, &["https", "http"]).map(Address::with_secret_path)
        }
        _ => Err((
            "a webhook needs an HTTP address".to_owned(),
            "write `https://HOST/PATH` or `http://HOST/PATH`".to_owned(),
        )),
    };
    // The text of a reference may be secret: only the excerpt shows the value, as it was typed.
    let address = address.map_err(|(message, remedy)| reader.problem(at.span(), message, remedy)).ok()?;
    if address.has_secret() {
        reader.note_secret(at);
    }
    Some(address)
}

pub(super) fn command(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Command> {
    let section = reader.section(at, &COMMAND)?;
    let run = section.read(reader, "run", |reader, at| {
        reader.list(at, |reader, at| Some((at.typed().to_owned(), reader.text(at)?)))
    });
    let environment = section.optional(reader, "environment", |reader, at| {
        reader.list(at, |reader, at| reader.parsed(at, variable))
    });
    let timeout = section.read(reader, "timeout", Reader::duration);
    let (typed, run): (Vec<_>, Vec<_>) = run?.into_iter().unzip();
    let shown_arguments = mask::arguments(&typed[1..]);
    if let (true, Some(at)) = (shown_arguments != typed[1..], section.get("run")) {
        reader.note_secret(&at);
    }
    let (program, arguments) = run.split_first()?;
    // A name without `/` is searched for in PATH.
    let program = if program.contains('/') {
        reader.resolve_path(&section.get("run")?, program)?
    } else {
        PathBuf::from(program)
    };
    Some(Command {
        program,
        arguments: arguments.iter().cloned().map(Secret::new).collect(),
        shown_arguments,
        environment: environment?.unwrap_or_default(),
        timeout: timeout?,
    })
}

/// The name of an environment variable.
fn variable(text: &str) -> Result<String, String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if text.chars().all(is_name) && !text.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("write only its name, without `$` and without a value: `NOTIFY_TOKEN`".to_owned())
}
