//! `stakeout run`: the service.

use std::{path::Path, process::ExitCode, time::Duration};

use super::{ConfigArgs, DONE};
use crate::{
    api::{
        Tools,
        checks::{Check, CheckState},
    },
    classify::{self, LoadError},
    daemon,
    doctor::{self, Finding, State},
    progress,
    recent_lines::RecentLines,
    yaml::value,
};

/// The shortest and the longest stop: the publisher has half of it, and the history all but a second.
const STOP_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The time from the stop signal to the end, for the alerts that wait; the service manager must allow more
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = stop_timeout)]
    stop_timeout: Duration,
}

/// Runs the service until a stop signal. `lines` are the newest lines of the log.
///
/// # Errors
/// The model cannot be used, or a part of the service ended.
pub fn run(args: &Args, lines: RecentLines) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        // The best variant depends on the device.
        let device = classify::device(&config)?;
        // Before anything else starts: a signal then just ends the process, and the fetched part is kept.
        progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
        daemon::run(&path, config, tools(&path, lines), args.stop_timeout)?;
        Ok(ExitCode::from(DONE))
    })
}

/// What the API of the service uses of rooms above it.
fn tools(path: &Path, lines: RecentLines) -> Tools {
    let file = path.to_owned();
    Tools {
        lines,
        checks: Box::new(move |config| {
            doctor::run_in_service(&file, config).into_iter().map(check).collect()
        }),
    }
}

/// A finding as the API answers it.
pub(super) fn check(finding: Finding) -> Check {
    let Finding { what: check, state, message: what, remedy } = finding;
    let state = match state {
        State::Ok => CheckState::Ok,
        State::Note => CheckState::Warning,
        State::Failed => CheckState::Problem,
    };
    Check { check, state, what, remedy }
}

fn stop_timeout(text: &str) -> Result<Duration, String> {
    let duration = value::duration(text)?;
    if !STOP_TIMEOUTS.contains(&duration) {
        let [least, most] =
            [STOP_TIMEOUTS.start(), STOP_TIMEOUTS.end()].map(|limit| value::duration_text(*limit));
        return Err(format!("it is from {least} to {most}"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_has_from_two_seconds_to_an_hour() {
        for (text, expected) in [
            ("2s", Ok(2)),
            ("10s", Ok(10)),
            ("1h", Ok(3600)),
            ("1s", Err("it is from 2s to 1h")),
            ("61m", Err("it is from 2s to 1h")),
        ] {
            let read = stop_timeout(text).map(|duration| duration.as_secs());
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
        assert!(stop_timeout("soon").is_err());
    }
}
