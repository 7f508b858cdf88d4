//! Notices that the clock of the machine was set, so that what is measured with the times of frames is not wrong by that much.
//!
//! A machine without a battery starts in the past, and a time server moves it by years in one step. Without this a label whose `for`
//! is ten minutes would be raised at once, and a cooldown would end early.

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, Reading};

/// After a step, frames that were captured before it arrive for this long at most, in milliseconds.
const IN_FLIGHT: i64 = 60_000;

/// The clock, and when it was set last.
pub(super) struct ClockSteps {
    clock: Clock,
    last: Reading,
    step: Option<Step>,
}

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    by: SignedDuration,
    /// When this was noticed: [`Reading::up`].
    noticed: i64,
}

impl ClockSteps {
    pub(super) fn new(clock: Clock) -> Self {
        let last = clock.read();
        Self { clock, last, step: None }
    }

    /// By how much the clock was set since the last call, if it was set.
    pub(super) fn notice(&mut self) -> Option<SignedDuration> {
        let now = self.clock.read();
        let by = now.step_since(&self.last).filter(|by| *by != 0).map(SignedDuration::from_millis);
        self.last = now;
        if let Some(by) = by {
            self.step = Some(Step { by, noticed: now.up });
            let seconds = by.as_secs();
            tracing::warn!(
                seconds,
                "the clock of this machine was set: running durations and cooldowns are moved with it"
            );
        }
        by
    }

    /// The time of a frame by the clock as it is now: frames in flight may have been captured before it was set.
    pub(super) fn corrected(&self, captured_at: Timestamp) -> Timestamp {
        match self.step.filter(|step| self.last.up.saturating_sub(step.noticed) < IN_FLIGHT) {
            Some(step) => nearer(captured_at, step.by, self.last.wall),
            None => captured_at,
        }
    }
}

/// `captured_at`, or the same time moved by the step if that is nearer to `now`, in milliseconds since 1970.
fn nearer(captured_at: Timestamp, by: SignedDuration, now: i64) -> Timestamp {
    let away = |time: Timestamp| time.as_millisecond().abs_diff(now);
    match captured_at.checked_add(by) {
        Ok(moved) if away(moved) < away(captured_at) => moved,
        _ => captured_at,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use uuid::Uuid;

    use super::*;

    const YEAR: i64 = 365 * 24 * 3_600_000;
    const NOON: i64 = 1_800_000_000_000;

    #[test]
    fn a_step_is_noticed_once_and_frames_from_before_it_are_moved() {
        let boot = Uuid::from_u128(1);
        let now = Arc::new(Mutex::new(Reading { boot, up: 1000, wall: NOON, synchronised: false }));
        let set = |up, wall| *now.lock().unwrap() = Reading { boot, up, wall, synchronised: false };
        let read = Arc::clone(&now);
        let mut steps = ClockSteps::new(Clock::of(move || *read.lock().unwrap()));
        let at = |wall| Timestamp::from_millisecond(wall).unwrap();
        let before = |steps: &ClockSteps| steps.corrected(at(NOON + 800));

        set(2000, NOON + 1000);
        assert_eq!((steps.notice(), before(&steps)), (None, at(NOON + 800)));
        set(3000, NOON + 2000 + YEAR);
        assert_eq!(steps.notice(), Some(SignedDuration::from_millis(YEAR)));
        assert_eq!(steps.notice(), None, "once");
        assert_eq!(before(&steps), at(NOON + 800 + YEAR), "captured before the step");
        assert_eq!(steps.corrected(at(NOON + 1900 + YEAR)), at(NOON + 1900 + YEAR), "captured after it");
        set(3000 + IN_FLIGHT, NOON + 2000 + YEAR + IN_FLIGHT);
        assert_eq!((steps.notice(), before(&steps)), (None, at(NOON + 800)), "an old file");
    }

    #[test]
    fn a_table_of_frames_in_flight() {
        for (what, captured_at, by, expected) in [
            ("before a step forward", -YEAR - 1000, YEAR, -1000),
            ("after a step forward", -1000, YEAR, -1000),
            ("before a step back", YEAR - 1000, -YEAR, -1000),
            ("after a step back", -1000, -YEAR, -1000),
            ("before a small step", -4000, 3000, -1000),
            ("after a small step", -1000, 3000, -1000),
        ] {
            let at = |offset| Timestamp::from_millisecond(NOON + offset).unwrap();
            assert_eq!(
                nearer(at(captured_at), SignedDuration::from_millis(by), NOON),
                at(expected),
                "{what}"
            );
        }
    }
}
