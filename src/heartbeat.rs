//! Whether a part of the service still gets on with its work, for who watches over it.
//!
//! A part that waits for work is well however long that takes; one that is at work, or that lets work lie, must show signs of
//! life. It refuses to decide what becomes of a part that does not.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What times are counted from.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The signs of life of one part, shared between its thread and who watches over it.
#[derive(Debug, Default)]
pub struct Pulse {
    at_work: AtomicBool,
    /// How many pieces of work lie ready and were not taken yet.
    waiting: AtomicU64,
    /// Of the newest sign, in milliseconds.
    newest: AtomicU64,
}

/// While it lives, the part is at work.
#[derive(Debug)]
pub struct AtWork<'a>(&'a Pulse);

/// What a pulse shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whether there is something to do.
    pub at_work: bool,
    /// How long ago the newest sign was.
    pub quiet: Duration,
}

impl Pulse {
    /// A sign of life.
    pub fn beat(&self) {
        self.newest.store(milliseconds(), Ordering::Relaxed);
    }

    /// From now on there is something to do, until the answer is dropped.
    #[must_use]
    pub fn work(&self) -> AtWork<'_> {
        self.beat();
        self.at_work.store(true, Ordering::Relaxed);
        AtWork(self)
    }

    /// A piece of work is laid ready for the part, by the only one who does that. Said before the part can take it.
    pub fn lay_ready(&self) {
        // Until now it had nothing to do, however long ago its newest sign was.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.beat();
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The part took a piece of work that lay ready.
    pub fn took(&self) {
        self.beat();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// What it shows now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let quiet = milliseconds().saturating_sub(self.newest.load(Ordering::Relaxed));
        let at_work = self.at_work.load(Ordering::Relaxed) || self.waiting.load(Ordering::Relaxed) > 0;
        Reading { at_work, quiet: Duration::from_millis(quiet) }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.store(false, Ordering::Relaxed);
    }
}

impl Reading {
    /// Whether it shows a part that is at work and has given no sign for longer than `patience`.
    #[must_use]
    pub fn is_stuck(self, patience: Duration) -> bool {
        self.at_work && self.quiet > patience
    }
}

fn milliseconds() -> u64 {
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_cases() {
        let patience = Duration::from_secs(10);
        for (at_work, quiet, stuck) in
            [(false, 0, false), (false, 11, false), (true, 0, false), (true, 10, false), (true, 11, true)]
        {
            let reading = Reading { at_work, quiet: Duration::from_secs(quiet) };
            assert_eq!(reading.is_stuck(patience), stuck, "{reading:?}");
        }
    }

    #[test]
    fn who_waits_for_work_is_not_at_work() {
        let pulse = Pulse::default();
        assert!(!pulse.read().at_work);
        let work = pulse.work();
        assert!(pulse.read().at_work);
        drop(work);
        assert!(!pulse.read().at_work);
    }

    #[test]
    fn who_lets_work_lie_is_at_work() {
        let pulse = Pulse::default();
        std::thread::sleep(Duration::from_millis(30));
        let before = Instant::now();
        pulse.lay_ready();
        let begun = pulse.read();
        // Milliseconds are rounded down twice.
        let longest = before.elapsed() + Duration::from_millis(2);
        assert!(begun.at_work && begun.quiet <= longest, "it had nothing to do: {begun:?}");
        std::thread::sleep(Duration::from_millis(30));
        pulse.lay_ready();
        assert!(pulse.read().quiet >= Duration::from_millis(30), "more work is no sign of life");
        pulse.took();
        assert!(pulse.read().at_work);
        pulse.took();
        assert!(!pulse.read().at_work);
    }
}
