//! Counts what ONNX Runtime is doing, so that the process ends only while it does nothing: when the process ends during a run, the
//! library crashes.
//!
//! Threads may be running a graph when a command returns: after the deadline of a stop, after the error of another part, or because
//! standard output was closed.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The longest time that the end of the process waits. A batch takes less on most machines. The usual time for a stop and this
/// time together are shorter than `TimeoutStopSec=` of the unit.
const PATIENCE: Duration = Duration::from_secs(5);

static WORK: Work = Work::new();

/// ONNX Runtime is at work until this is dropped.
pub(super) struct Working<'a>(&'a Work);

struct Work {
    state: Mutex<State>,
    less: Condvar,
}

struct State {
    running: usize,
    is_closed: bool,
}

/// ONNX Runtime is at work until the result is dropped. After [`finish`] this does not return, because the process ends.
///
/// A thread that is at work must not call it again: it would wait for itself.
pub(super) fn begin() -> Working<'static> {
    WORK.begin().unwrap_or_else(|| {
        loop {
            thread::park();
        }
    })
}

/// Waits until ONNX Runtime has finished what it is doing, and prevents that anything else begins. The caller then ends the process.
pub fn finish() {
    if !WORK.finish(PATIENCE) {
        let seconds = PATIENCE.as_secs();
        tracing::warn!(
            seconds,
            "the process ends while the model is at work, which may be reported as a crash"
        );
    }
}

impl Work {
    const fn new() -> Self {
        Self { state: Mutex::new(State { running: 0, is_closed: false }), less: Condvar::new() }
    }

    /// `None` after [`Self::finish`].
    fn begin(&self) -> Option<Working<'_>> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        state.running += 1;
        Some(Working(self))
    }

    /// Whether nothing is running any more.
    fn finish(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.is_closed = true;
        let waited = self.less.wait_timeout_while(state, patience, |state| state.running > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.running == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.less.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(120);

    #[test]
    fn the_end_waits_for_what_is_running_and_nothing_begins_after_it() {
        let work = Work::new();
        let (first, second) = (work.begin().unwrap(), work.begin().unwrap());
        drop(first);
        thread::scope(|scope| {
            let ended = scope.spawn(|| work.finish(LONG));
            while !work.lock().is_closed {
                thread::yield_now();
            }
            assert!(work.begin().is_none() && !ended.is_finished());
            drop(second);
            assert!(ended.join().unwrap());
        });
    }

    #[test]
    fn what_hangs_does_not_prevent_the_end() {
        let work = Work::new();
        let _hangs = work.begin();
        assert!(!work.finish(Duration::ZERO));
    }
}
