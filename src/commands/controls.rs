//! What `enable`, `disable`, `set` and `snooze` share: their common arguments, and how they print what is set.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};

use super::{ConfigArgs, DONE, report};
use crate::{
    api::{
        self, Client,
        control::{Response, SetValue},
    },
    policy::{SettingKind, Target},
    terminal,
};

/// The arguments that all of them have.
#[derive(Debug, clap::Args)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Calls the running service, and prints what it changed: `setting` of `source` or of its `label`.
pub(super) fn change(
    common: &CommonArgs,
    (source, label, setting): (&str, Option<&str>, SettingKind),
    call: impl FnOnce(&Client) -> Result<Response, api::Error>,
) -> Result<ExitCode> {
    with_service(common, |client| {
        let response = call(client)?;
        let text = match &response.set {
            Some(set) => line(set),
            None => {
                let label = label.map_or(String::new(), |label| format!("/{label}"));
                format!("{source}{label}  {}", as_configured(setting))
            }
        };
        Ok(vec![(serde_json::to_string(&response), text)])
    })
}

/// Prints what is set.
pub(super) fn list(
    common: &CommonArgs,
    call: impl FnOnce(&Client) -> Result<Vec<SetValue>, api::Error>,
) -> Result<ExitCode> {
    with_service(common, |client| {
        let line = |set: &SetValue| (serde_json::to_string(set), line(set));
        Ok(call(client)?.iter().map(line).collect())
    })
}

/// A line as JSON and for people.
type Line = (serde_json::Result<String>, String);

fn with_service(
    common: &CommonArgs,
    call: impl FnOnce(&Client) -> Result<Vec<Line>, api::Error>,
) -> Result<ExitCode> {
    let path = common.config.path();
    super::with_config(&path, |config| {
        let lines = match call(&Client::of(&path, &config)) {
            Ok(lines) => lines,
            Err(error) => return Ok(report(&error)),
        };
        for (json, text) in lines {
            let line = if common.json { json? } else { terminal::one_line(&text).into_owned() };
            writeln!(terminal::output(), "{line}").context("standard output cannot be written")?;
        }
        Ok(ExitCode::from(DONE))
    })
}

/// `front-door/porch/person  threshold 0.7, set by a command at 2026-11-27 10:00; 0.6 in the file`
fn line(set: &SetValue) -> String {
    let target = match (&set.label_set, &set.label) {
        (Some(label_set), Some(label)) => Target::label(&set.source, label_set, label),
        _ => Target::source(&set.source),
    };
    format!("{target}  {}", set.sentence)
}

fn as_configured(setting: SettingKind) -> String {
    match setting {
        SettingKind::Snooze => "not snoozed".to_owned(),
        other => format!("{} as in the configuration", other.word()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::policy::{Control, SetBy, Setting};

    #[test]
    fn a_line_names_what_is_set() {
        let at = "2026-11-27T10:00:00Z".parse().unwrap();
        for (target, setting, expected) in [
            (
                Target::label("front-door", "porch", "person"),
                Setting::Threshold { value: 0.7, file: 0.6 },
                "front-door/porch/person  threshold 0.7, set by a command at 2026-11-27 10:00; 0.6 in the file",
            ),
            (
                Target::source("front-door"),
                Setting::Enabled { value: false, file: true },
                "front-door  enabled false, set by a command at 2026-11-27 10:00; true in the file",
            ),
        ] {
            let control = Control { target, setting, by: SetBy::Command, at };
            let set = SetValue { sentence: control.sentence(&TimeZone::UTC), ..SetValue::from(&control) };
            assert_eq!(line(&set), expected);
        }
        assert_eq!(as_configured(SettingKind::Snooze), "not snoozed");
        assert_eq!(as_configured(SettingKind::Threshold), "threshold as in the configuration");
    }
}
