//! Where log lines go: readable lines on standard error, or structured fields straight into the journal.
//!
//! What is logged is chosen by `RUST_LOG` (`RUST_LOG=stakeout=debug`), and `limit` holds back what is said too often. It refuses to
//! write files, which is the journal's work.

mod limit;
mod repeats;

use std::{
    io::{IsTerminal, stderr},
    os::unix::fs::MetadataExt,
};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use self::limit::{Limit, Limited};

/// `ort` tells every allocation at `info`.
const DEFAULT_FILTER: &str = "info,ort=warn";

/// Logging is on. When it is dropped, what was held back until then is told.
pub struct Logging(Limit);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// Starts logging for the whole process. Called once, first.
#[must_use]
pub fn start() -> Logging {
    let filter = EnvFilter::builder().parse(std::env::var("RUST_LOG").unwrap_or_default());
    let (filter, wrong) = match filter {
        Ok(filter) if std::env::var_os("RUST_LOG").is_some() => (filter, None),
        Ok(_) => (EnvFilter::new(DEFAULT_FILTER), None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let output = match tracing_journald::layer() {
        Ok(journal) if stderr_is_the_journal() => journal.boxed(),
        _ => terminal().boxed(),
    };
    let limit = Limit::new();
    let output = Limited::new(output, limit.clone()).with_filter(filter);
    tracing_subscriber::registry().with(output).init();
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG is not understood and was left out; example: RUST_LOG=stakeout=debug");
    }
    Logging(limit)
}

fn terminal<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colours).with_target(false)
}

/// systemd sets `JOURNAL_STREAM` to device and inode of the stream it connected; a later redirection changes the stream
/// but not the variable.
fn stderr_is_the_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|actual| told == format!("{}:{}", actual.dev(), actual.ino()))
}
