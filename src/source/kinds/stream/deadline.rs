//! When the current call of FFmpeg is interrupted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A deadline that is shared with FFmpeg's callback, which checks it thousands of times a minute.
#[derive(Clone)]
pub(crate) struct Deadline(Arc<Shared>);

struct Shared {
    epoch: Instant,
    /// Milliseconds since the epoch.
    at: AtomicU64,
    has_interrupted: AtomicBool,
}

impl Deadline {
    pub(crate) fn new(from_now: Duration) -> Self {
        let (at, has_interrupted) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        let deadline = Self(Arc::new(Shared { epoch: Instant::now(), at, has_interrupted }));
        deadline.set(from_now);
        deadline
    }

    pub(crate) fn set(&self, from_now: Duration) {
        self.0.at.store(milliseconds(self.0.epoch.elapsed().saturating_add(from_now)), Ordering::Relaxed);
    }

    /// Removes the deadline.
    pub(crate) fn clear(&self) {
        self.0.at.store(u64::MAX, Ordering::Relaxed);
    }

    pub(crate) fn has_passed(&self) -> bool {
        milliseconds(self.0.epoch.elapsed()) >= self.0.at.load(Ordering::Relaxed)
    }

    /// Whether the current call is to be interrupted, which is recorded.
    pub(crate) fn interrupts(&self) -> bool {
        let passed = self.has_passed();
        if passed {
            self.0.has_interrupted.store(true, Ordering::Relaxed);
        }
        passed
    }

    /// Whether a call was interrupted.
    pub(crate) fn has_interrupted(&self) -> bool {
        self.0.has_interrupted.load(Ordering::Relaxed)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_final() {
        let deadline = Deadline::new(Duration::MAX);
        assert!(!deadline.interrupts() && !deadline.has_interrupted());
        deadline.set(Duration::ZERO);
        assert!(deadline.has_passed() && !deadline.has_interrupted(), "no call was interrupted yet");
        assert!(deadline.interrupts());
        // What the interrupted call returned must not start the time again.
        deadline.set(Duration::MAX);
        assert!(!deadline.interrupts() && deadline.has_interrupted());
        deadline.clear();
        assert!(deadline.has_interrupted());
    }
}
