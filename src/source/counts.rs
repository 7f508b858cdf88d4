//! What a source has counted since it was started, and what it knows of its stream: for the summary line, and for whoever
//! asks why nothing arrives.
//!
//! Every place that drops something counts it here under one word. It refuses to log.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::info::StreamInfo;
use crate::{heartbeat::Pulse, metrics::Histogram};

/// The counters of one source, shared between its thread and whoever reads them.
#[derive(Debug, Default)]
pub struct Counts {
    seen: AtomicU64,
    sent: AtomicU64,
    /// When a frame was sent last, in milliseconds since 1970; 0 is never.
    last_sent: AtomicU64,
    pulse: Pulse,
    failed: Mutex<Causes>,
    skipped: Mutex<Causes>,
    decoding: Arc<Histogram>,
    /// What its stream is; `None` before the first frame, and where it has none.
    pub stream: watch::Sender<Option<StreamInfo>>,
}

/// How often for each cause.
type Causes = BTreeMap<&'static str, u64>;

impl Counts {
    /// Nothing yet. How long it takes to decode is told in `decoding`, which outlives the source.
    #[must_use]
    pub fn telling(decoding: Arc<Histogram>) -> Self {
        Self { decoding, ..Self::default() }
    }

    /// Does the work of decoding a picture, or a packet of a stream.
    pub fn decoding<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.decoding.observe(began.elapsed());
        done
    }

    /// A picture was found.
    pub fn seen(&self) {
        self.pulse.beat();
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was handed on.
    pub fn sent(&self) {
        self.pulse.beat();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        self.last_sent.store(now, Ordering::Relaxed);
    }

    /// Something failed; `cause` is one word.
    pub fn failed(&self, cause: &'static str) {
        self.pulse.beat();
        count(&self.failed, cause);
    }

    /// Something was left out on purpose; `cause` is one word.
    pub fn skipped(&self, cause: &'static str) {
        self.pulse.beat();
        count(&self.skipped, cause);
    }

    /// Whether the source gets on with its work.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The numbers of now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            seen: self.seen.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            last_sent: match self.last_sent.load(Ordering::Relaxed) {
                0 => None,
                last => i64::try_from(last).ok().and_then(|last| Timestamp::from_millisecond(last).ok()),
            },
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            skipped: self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn count(causes: &Mutex<Causes>, cause: &'static str) {
    *causes.lock().unwrap_or_else(PoisonError::into_inner).entry(cause).or_default() += 1;
}

/// The numbers of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Pictures found.
    pub seen: u64,
    /// Frames handed on.
    pub sent: u64,
    /// When the newest of them was.
    pub last_sent: Option<Timestamp>,
    /// Failures by cause.
    pub failed: BTreeMap<&'static str, u64>,
    /// What was left out on purpose, by cause.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seen, {} sent, ", self.seen, self.sent)?;
        list(f, "failed", &self.failed)?;
        if !self.skipped.is_empty() {
            f.write_str(", ")?;
            list(f, "skipped", &self.skipped)?;
        }
        Ok(())
    }
}

/// `3 failed (corrupt 1, empty 2)`
fn list(f: &mut fmt::Formatter<'_>, word: &str, causes: &Causes) -> fmt::Result {
    write!(f, "{} {word}", causes.values().sum::<u64>())?;
    for (place, (cause, count)) in causes.iter().enumerate() {
        write!(f, "{}{cause} {count}", if place == 0 { " (" } else { ", " })?;
    }
    f.write_str(if causes.is_empty() { "" } else { ")" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_line_names_the_causes() {
        let counts = Counts::default();
        assert_eq!(counts.snapshot().to_string(), "0 seen, 0 sent, 0 failed");
        for cause in ["empty", "corrupt", "empty"] {
            counts.seen();
            counts.failed(cause);
        }
        counts.seen();
        counts.sent();
        assert_eq!(counts.snapshot().to_string(), "4 seen, 1 sent, 3 failed (corrupt 1, empty 2)");
        counts.skipped("unchanged");
        let told = counts.snapshot().to_string();
        assert_eq!(told, "4 seen, 1 sent, 3 failed (corrupt 1, empty 2), 1 skipped (unchanged 1)");
    }
}
