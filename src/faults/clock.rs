//! The clocks of a simulated machine: they follow tokio's paused time; the time of day can be wrong, and jumps.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::{self, Reading};

/// The clocks of one machine.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// The right time of day at `since`: milliseconds since 1970.
    right: i64,
    /// Since when it runs; `None`: it does not run between two runtimes.
    since: Option<Instant>,
    /// By how much the time of day is ahead of the right one.
    ahead: i64,
    /// A time server has set the time of day, and nothing else since.
    synchronised: bool,
    /// Counts starts of the machine.
    boot: u64,
    /// The right time of day at that start.
    booted: i64,
}

impl Clock {
    /// The clocks of a machine that was started a minute before this time, in milliseconds since 1970. They do not run yet.
    pub(crate) fn new(milliseconds: i64) -> Arc<Self> {
        let booted = milliseconds - 60_000;
        let state = State { right: milliseconds, since: None, ahead: 0, synchronised: true, boot: 1, booted };
        Arc::new(Self(Mutex::new(state)))
    }

    /// They follow the time of this runtime.
    pub(crate) fn start(&self) {
        self.change(|state| state.since = Some(Instant::now()));
    }

    /// They do not run any more: the runtime ends.
    pub(crate) fn stop(&self) {
        self.change(|state| state.since = None);
    }

    /// Someone sets the time of day forward, or back.
    pub(crate) fn jump(&self, milliseconds: i64) {
        self.change(|state| {
            state.ahead = state.ahead.saturating_add(milliseconds);
            state.synchronised = false;
        });
    }

    /// A time server sets the time of day.
    pub(crate) fn synchronise(&self) {
        self.change(|state| (state.ahead, state.synchronised) = (0, true));
    }

    /// The machine starts again after it was off for this time. No time server has answered yet.
    pub(crate) fn reboot(&self, off: i64) {
        self.change(|state| {
            state.right += off;
            (state.booted, state.synchronised) = (state.right, false);
            state.boot += 1;
        });
    }

    /// What they show.
    pub(crate) fn read(&self) -> Reading {
        let State { right, ahead, synchronised, boot, booted, .. } = self.change(|_| {});
        let boot = Uuid::from_u128(boot.into());
        Reading { boot, up: right - booted, wall: right.saturating_add(ahead), synchronised }
    }

    /// These clocks, for the service.
    pub(crate) fn of_service(self: &Arc<Self>) -> clock::Clock {
        let clocks = Arc::clone(self);
        clock::Clock::of(move || clocks.read())
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = &mut state.since {
            let now = Instant::now();
            let passed = i64::try_from((now - *since).as_millis()).unwrap_or(i64::MAX);
            *since = now;
            state.right += passed;
        }
        change(&mut state);
        *state
    }
}
