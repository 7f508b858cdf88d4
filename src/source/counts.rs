//! The counters of one source, and the state of its stream: for the summary in the log, metrics and the status topics.
//!
//! Every place that drops a frame counts it here under its [`Cause`].

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    cause::{self, Cause, Causes},
    info::StreamInfo,
};
use crate::{heartbeat::Heartbeat, metrics::Histogram};

/// The counters of one source, shared between its thread and the readers of metrics.
#[derive(Debug, Default)]
pub struct Counts {
    seen: AtomicU64,
    sent: AtomicU64,
    /// When the newest frame was sent, in milliseconds since 1970; 0 is never.
    last_sent: AtomicU64,
    pulse: Heartbeat,
    /// Whether the source has worked since this was last asked for.
    good: AtomicBool,
    /// Whether the causes of the kind of source are known. By default every cause is counted.
    has_causes: bool,
    failed: Mutex<ByCause>,
    skipped: Mutex<ByCause>,
    decoding: Arc<Histogram>,
    /// The properties of the stream; `None` before the first frame, and for sources without a stream.
    pub stream: watch::Sender<Option<StreamInfo>>,
}

type ByCause = BTreeMap<Cause, u64>;

impl Counts {
    /// Counters at 0 for the `causes` of a kind of source. `decoding` records how long each picture takes to decode; it
    /// outlives the source.
    #[must_use]
    pub fn new(causes: Causes, decoding: Arc<Histogram>) -> Self {
        let zeros =
            |causes: &[&[Cause]]| Mutex::new(causes.concat().into_iter().map(|cause| (cause, 0)).collect());
        let (failed, skipped) = (zeros(causes.failed), zeros(&[cause::SKIPPED, causes.skipped]));
        Self { decoding, has_causes: true, failed, skipped, ..Self::default() }
    }

    /// Runs `work`, which decodes a picture or a packet of a stream, and records how long it takes.
    pub fn decoding<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.decoded(began.elapsed());
        done
    }

    /// Records how long it took to decode a picture.
    pub fn decoded(&self, duration: Duration) {
        self.decoding.observe(duration);
    }

    /// Counts a picture that the source found.
    pub fn seen(&self) {
        self.pulse.beat();
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a frame that was sent to be scored.
    pub fn sent(&self) {
        self.pulse.beat();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        self.last_sent.store(now, Ordering::Relaxed);
    }

    /// Records that the source works: it has received something usable, or there is nothing to receive.
    pub(crate) fn good(&self) {
        self.good.store(true, Ordering::Relaxed);
    }

    /// Whether the source has worked since the last call.
    pub(crate) fn take_good(&self) -> bool {
        self.good.swap(false, Ordering::Relaxed)
    }

    /// Counts a failure.
    pub fn failed(&self, cause: Cause) {
        self.count(&self.failed, cause);
    }

    /// Counts a frame that was skipped on purpose.
    pub fn skipped(&self, cause: Cause) {
        self.count(&self.skipped, cause);
    }

    /// Shows whether the source makes progress.
    #[must_use]
    pub fn pulse(&self) -> &Heartbeat {
        &self.pulse
    }

    /// The counters as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let by_cause = |counts: &Mutex<ByCause>| {
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.iter().map(|(cause, count)| (cause.as_str(), *count)).collect()
        };
        Snapshot {
            seen: self.seen.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            last_sent: match self.last_sent.load(Ordering::Relaxed) {
                0 => None,
                last => i64::try_from(last).ok().and_then(|last| Timestamp::from_millisecond(last).ok()),
            },
            failed: by_cause(&self.failed),
            skipped: by_cause(&self.skipped),
        }
    }

    fn count(&self, counts: &Mutex<ByCause>, cause: Cause) {
        self.pulse.beat();
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(
            !self.has_causes || counts.contains_key(&cause),
            "{cause:?} is not among the causes of this kind of source"
        );
        *counts.entry(cause).or_default() += 1;
    }
}

/// The counters of a source at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Pictures found.
    pub seen: u64,
    /// Frames sent to be scored.
    pub sent: u64,
    /// When the newest frame was sent.
    pub last_sent: Option<Timestamp>,
    /// Failures by the word of their [`Cause`]; 0 for those that the kind of source may still report.
    pub failed: BTreeMap<&'static str, u64>,
    /// Frames skipped on purpose, by the word of their [`Cause`].
    pub skipped: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seen, {} sent, ", self.seen, self.sent)?;
        list(f, "failed", &self.failed)?;
        if self.skipped.values().any(|count| *count > 0) {
            f.write_str(", ")?;
            list(f, "skipped", &self.skipped)?;
        }
        Ok(())
    }
}

/// `3 failed (corrupt 1, empty 2)`
fn list(f: &mut fmt::Formatter<'_>, word: &str, causes: &BTreeMap<&str, u64>) -> fmt::Result {
    write!(f, "{} {word}", causes.values().sum::<u64>())?;
    let causes = causes.iter().filter(|(_, count)| **count > 0);
    let causes: Vec<_> = causes.map(|(cause, count)| format!("{cause} {count}")).collect();
    if causes.is_empty() { Ok(()) } else { write!(f, " ({})", causes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_line_names_the_causes() {
        let causes = Causes { skipped: &[], failed: &[&[Cause::Empty, Cause::Corrupt, Cause::NotJson]] };
        let counts = Counts::new(causes, Arc::default());
        assert_eq!(counts.snapshot().to_string(), "0 seen, 0 sent, 0 failed");
        assert_eq!(counts.snapshot().failed.len(), 3, "every cause has a counter before it occurs");
        for cause in [Cause::Empty, Cause::Corrupt, Cause::Empty] {
            counts.seen();
            counts.failed(cause);
        }
        counts.seen();
        counts.sent();
        assert_eq!(counts.snapshot().to_string(), "4 seen, 1 sent, 3 failed (corrupt 1, empty 2)");
        counts.skipped(Cause::Unchanged);
        let summary = counts.snapshot().to_string();
        assert_eq!(summary, "4 seen, 1 sent, 3 failed (corrupt 1, empty 2), 1 skipped (unchanged 1)");
    }
}
