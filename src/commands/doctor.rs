//! `stakeout doctor`: looks at everything that somebody can get wrong, and says of each thing how it is and what to do.
//!
//! It refuses to change anything (it writes one file into the state folder and takes it away again), and to stop at what
//! is wrong: one thing never hides the next.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::json;

use super::{DEFAULT_CONFIG, DONE, FAILED};
use crate::{
    alert::publisher,
    classify::Classifier,
    config::{self, Config, Loaded, SourceKind},
    doctor,
    doctor::rights::Rights,
    model::hub::{self, HubError},
    mqtt,
};

/// What `doctor` is told on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Lines for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Look at folders with the rights of this user, the service's; only root may
    #[arg(long, value_name = "NAME", default_value = "stakeout")]
    pub(crate) user: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    /// It works, and there is something to know.
    Note,
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) state: State,
    pub(crate) message: String,
    /// What to do; nothing where all is well.
    pub(crate) remedy: String,
}

impl Finding {
    pub(crate) fn ok(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, message: message.into(), remedy: String::new() }
    }

    pub(crate) fn note(
        what: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Note, remedy: remedy.into(), ..Self::ok(what, message) }
    }

    pub(crate) fn failed(
        what: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Failed, remedy: remedy.into(), ..Self::ok(what, message) }
    }

    pub(crate) fn lines(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Failed => "FAILED",
        };
        let mut message = self.message.lines();
        let mut lines = format!("{state:<7} {}: {}\n", self.what, message.next().unwrap_or_default());
        message.for_each(|line| lines.push_str(&format!("        {line}\n")));
        if !self.remedy.is_empty() {
            lines.push_str(&format!("        -> {}\n", self.remedy));
        }
        lines
    }

    pub(crate) fn to_json(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Failed => "failed",
        };
        let remedy = (!self.remedy.is_empty()).then_some(&self.remedy);
        json!({ "check": self.what, "state": state, "message": self.message, "remedy": remedy }).to_string()
            + "\n"
    }
}

/// Looks at everything; each finding is told as soon as it is known.
///
/// # Errors
/// Nobody listens on standard output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut failed, mut notes) = (0, 0);
    let mut tell = |finding: Finding| {
        failed += u32::from(finding.state == State::Failed);
        notes += u32::from(finding.state == State::Note);
        let text = if args.format == Format::Json { finding.to_json() } else { finding.lines() };
        stdout().write_all(text.as_bytes()).context("standard output")
    };
    let loaded = match config::look(&args.config) {
        Ok(loaded) => {
            tell(Finding::ok("configuration", super::check::summary(&loaded.config)))?;
            Some(loaded)
        }
        Err(problems) => {
            let remedy = "mend these first; what they hide is not looked at";
            tell(Finding::failed("configuration", problems.to_string(), remedy))?;
            None
        }
    };
    let rights = Rights::of(&args.user);
    doctor::machine::findings(&rights).into_iter().try_for_each(&mut tell)?;
    let libraries = doctor::device::findings(loaded.as_ref().map(|loaded| &loaded.config));
    let can_load = doctor::device::has_runtime(&libraries);
    libraries.into_iter().try_for_each(&mut tell)?;
    if let Some(Loaded { mut config, unseen, .. }) = loaded {
        if can_load {
            tell(model(&config))?;
        }
        tell(doctor::machine::state_dir(&config.state_dir, &rights))?;
        if unseen {
            tell(credentials())?;
            // A camera may lock out who tries with a wrong password.
            config.sources.retain(|source| matches!(source.kind, SourceKind::Folder(_)));
        } else {
            tell(broker(&config)?)?;
        }
        doctor::delivery_checks::findings(&config).into_iter().try_for_each(&mut tell)?;
        doctor::sources::findings(&config, &rights).into_iter().try_for_each(&mut tell)?;
    }
    if args.format == Format::Table {
        eprintln!("{failed} failed, {notes} to know");
    }
    Ok(ExitCode::from(if failed > 0 { FAILED } else { DONE }))
}

/// Their values are not known here, and whoever wants to know one is not asked.
fn credentials() -> Finding {
    Finding::note(
        "credentials",
        "only the service itself can read them, so neither the broker nor cameras were looked at",
        "as the service does: `systemd-run --pipe --wait -p User=stakeout -p StateDirectory=stakeout \
         -p CacheDirectory=stakeout -p LoadCredential=NAME:FILE stakeout doctor`",
    )
}

/// The model, and the label sets against it.
fn model(config: &Config) -> Finding {
    let what = format!("model {}", config.model.name());
    match hub::find(&config.model, config.execution.device) {
        Err(HubError::NotCached { id, .. }) => Finding::note(
            what,
            "not on this machine yet",
            format!("`stakeout run` fetches it when it starts, `stakeout models pull {id}` now"),
        ),
        _ => match Classifier::load(config) {
            Ok(_) => Finding::ok(what, "loaded, and the label sets suit it"),
            Err(error) => {
                let remedy = "`stakeout models verify` looks whether its files are whole; `stakeout check` shows the line";
                Finding::failed(what, error.to_string(), remedy)
            }
        },
    }
}

fn broker(config: &Config) -> anyhow::Result<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let what = format!("broker {}", mqtt::url(&config.mqtt));
    Ok(match runtime.block_on(publisher::visit(&config.mqtt)) {
        Ok(()) => Finding::ok(what, "takes us in"),
        Err(why) => {
            let remedy = "see that it runs at `mqtt.url`, that this machine may reach it, and `mqtt.username` and `mqtt.password`";
            Finding::failed(what, why, remedy)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(crate) fn a_finding_is_one_line_and_its_remedy() {
        let failed = Finding::failed("broker", "away\nsince noon", "start it");
        assert_eq!(failed.lines(), "FAILED  broker: away\n        since noon\n        -> start it\n");
        let expected = "{\"check\":\"broker\",\"state\":\"failed\",\"message\":\"away\\nsince noon\",\"remedy\":\"start it\"}\n";
        assert_eq!(failed.to_json(), expected);
        assert_eq!(Finding::ok("clock", "right").lines(), "ok      clock: right\n");
    }
}
