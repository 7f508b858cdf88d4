//! Logging: readable lines on standard error, or in the journal with each field for programs.
//!
//! `line` makes the text of a line, which is the same in both places.
//! `RUST_LOG` selects what is logged (`RUST_LOG=stakeout=debug`), and `rate_limit` suppresses similar lines that are too many.
//! Lines of other libraries may hold secrets: `libraries` lists those that are logged.
//! There are no log files: the journal keeps the lines, and `remember` the newest ones in memory.

mod allowance;
mod format;
mod journal;
mod libraries;
mod line;
mod rate_limit;
mod remember;

use std::{
    io::{IsTerminal, stderr},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use self::{
    format::LineFormat,
    journal::Journal,
    rate_limit::{Limited, RateLimit},
    remember::Remember,
};
use crate::{recent_lines::RecentLines, terminal::wants_colours};

/// What is logged unless `RUST_LOG` says otherwise. `ort` logs every allocation at `info`.
pub const DEFAULT_FILTER: &str = "info,ort=warn";

/// The running logging. Dropping it logs how many lines are still suppressed.
pub struct Logging {
    limit: RateLimit,
    lines: RecentLines,
}

impl Logging {
    /// The newest lines, also those that follow.
    #[must_use]
    pub fn lines(&self) -> RecentLines {
        self.lines.clone()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.limit.report();
    }
}

/// Starts logging for the whole process, with `default` as the filter unless `RUST_LOG` is set. Call it once, before anything
/// logs.
#[must_use]
pub fn start(default: &str) -> Logging {
    let filter = EnvFilter::builder().parse(std::env::var("RUST_LOG").unwrap_or_default());
    let (filter, wrong) = match filter {
        Ok(filter) if std::env::var_os("RUST_LOG").is_some() => (filter, None),
        Ok(_) => (EnvFilter::new(default), None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let journal =
        if stderr_is_the_journal() { Journal::connect(Path::new(journal::SOCKET)).ok() } else { None };
    let output = journal.map_or_else(|| terminal().boxed(), Layer::boxed);
    let (limit, lines) = (RateLimit::new(), RecentLines::default());
    let output = output.and_then(Remember(lines.clone()));
    let output = Limited::new(output, limit.clone()).with_filter(filter);
    tracing_subscriber::registry().with(output).init();
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG is invalid and was ignored; example: RUST_LOG=stakeout=debug");
    }
    Logging { limit, lines }
}

fn terminal<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let colours = stderr().is_terminal() && wants_colours();
    tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(colours)
        .event_format(LineFormat)
        // They would be written to standard error, which is what cannot be written.
        .log_internal_errors(false)
}

/// Whether standard error is still the stream that systemd connected to the journal. systemd sets `JOURNAL_STREAM` to device and
/// inode of that stream; a later redirection changes the stream, but not the variable.
fn stderr_is_the_journal() -> bool {
    let Ok(connected) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|actual| connected == format!("{}:{}", actual.dev(), actual.ino()))
}
