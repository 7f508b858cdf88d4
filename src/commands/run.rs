//! `stakeout run`: the service.

use std::{path::Path, process::ExitCode};

pub use super::ConfigArgs as Args;
use super::DONE;
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
};

/// Runs the service until a stop signal. `lines` are the newest lines of the log.
///
/// # Errors
/// The model cannot be used, or a part of the service ended.
pub fn run(args: &Args, lines: RecentLines) -> anyhow::Result<ExitCode> {
    let path = args.path();
    super::with_config(&path, |config| {
        // The best variant depends on the device.
        let device = classify::device(&config)?;
        // Before anything else starts: a signal then just ends the process, and the fetched part is kept.
        progress::find_or_pull(&config.model, device).map_err(LoadError::from)?;
        daemon::run(&path, config, tools(&path, lines))?;
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
