//! Heartbeats: whether a part of the service makes progress, for the watchdog and `/healthz`.
//!
//! A part that waits for work is healthy, however long it waits. A part that is working, or has queued work, must beat.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The start of all times below.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The heartbeat of one part, shared between its thread and the watchdog.
#[derive(Debug, Default)]
pub struct Heartbeat {
    working: AtomicBool,
    /// Pieces of work that are queued for the part.
    queued: AtomicU64,
    /// The time of the newest beat, in milliseconds since [`EPOCH`].
    newest: AtomicI64,
}

/// What a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// It waits for work.
    Waiting,
    /// It works.
    Working,
    /// It has work and makes no progress.
    Stuck,
}

/// The part is working until this is dropped.
#[derive(Debug)]
pub struct Working<'a>(&'a Heartbeat);

impl Heartbeat {
    /// The part makes progress.
    pub fn beat(&self) {
        self.newest.store(milliseconds(), Ordering::Relaxed);
    }

    /// The part works until the result is dropped.
    #[must_use]
    pub fn work(&self) -> Working<'_> {
        self.beat();
        self.working.store(true, Ordering::Relaxed);
        Working(self)
    }

    /// Whether the part works on something.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// The one producer of work calls this before it queues a piece.
    pub fn queued(&self) {
        // The part had no work until now, so the age of its newest beat means nothing.
        if self.queued.load(Ordering::Relaxed) == 0 {
            self.beat();
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// The part took a piece of work from its queue.
    pub fn taken(&self) {
        self.beat();
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the part has work and has not beaten for longer than `patience`.
    #[must_use]
    pub fn is_stuck(&self, patience: Duration) -> bool {
        self.state(patience) == PartState::Stuck
    }

    /// What the part does, if it may be silent for as long as `patience` while it has work.
    #[must_use]
    pub fn state(&self, patience: Duration) -> PartState {
        self.read().state(patience)
    }

    fn read(&self) -> Reading {
        let silent = milliseconds().saturating_sub(self.newest.load(Ordering::Relaxed));
        let has_work = self.working.load(Ordering::Relaxed) || self.queued.load(Ordering::Relaxed) > 0;
        Reading { has_work, silent: Duration::from_millis(u64::try_from(silent).unwrap_or(0)) }
    }

    /// Moves the newest beat into the past.
    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        self.newest.fetch_sub(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.working.store(false, Ordering::Relaxed);
    }
}

/// A heartbeat at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    has_work: bool,
    /// Since the newest beat.
    silent: Duration,
}

impl Reading {
    fn state(self, patience: Duration) -> PartState {
        match self.has_work {
            false => PartState::Waiting,
            true if self.silent > patience => PartState::Stuck,
            true => PartState::Working,
        }
    }
}

fn milliseconds() -> i64 {
    i64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_with_work_can_be_stuck() {
        let patience = Duration::from_secs(10);
        for (has_work, silent, state) in [
            (false, 0, PartState::Waiting),
            (false, 11, PartState::Waiting),
            (true, 0, PartState::Working),
            (true, 10, PartState::Working),
            (true, 11, PartState::Stuck),
        ] {
            let reading = Reading { has_work, silent: Duration::from_secs(silent) };
            assert_eq!(reading.state(patience), state, "{reading:?}");
        }
    }

    #[test]
    fn a_part_works_until_the_guard_is_dropped() {
        let heartbeat = Heartbeat::default();
        assert!(!heartbeat.read().has_work);
        let working = heartbeat.work();
        assert!(heartbeat.read().has_work);
        drop(working);
        assert!(!heartbeat.read().has_work);
    }

    #[test]
    fn queued_work_must_be_taken() {
        let (heartbeat, hour) = (Heartbeat::default(), Duration::from_secs(3600));
        let half = hour / 2;
        heartbeat.age(hour);
        heartbeat.queued();
        assert!(heartbeat.read().has_work && !heartbeat.is_stuck(half), "it had no work in that hour");
        heartbeat.age(hour);
        heartbeat.queued();
        assert!(heartbeat.is_stuck(half), "more work is no progress");
        heartbeat.taken();
        assert!(heartbeat.read().has_work && !heartbeat.is_stuck(half));
        heartbeat.age(hour);
        heartbeat.taken();
        assert!(!heartbeat.read().has_work);
    }
}
