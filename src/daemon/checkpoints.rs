//! Decides which observations carry a checkpoint of their source's triggers, with which the history can judge stored scores again.
//!
//! A checkpoint is needed where the state after the frame before is not known to an observer: at the first frame of a source, after
//! another configuration, after the clock was set, and after an observation that a subscriber lost. The judge's side of the queue
//! notices that loss, so nothing flows back. In addition there is one a minute, so that an observer that starts again finds one soon.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;

use crate::judge::{Checkpoint, Judge, Start};

/// The time between two checkpoints of a source.
const PERIOD: Duration = Duration::from_secs(60);
/// The most frames between two checkpoints of a source.
const FRAMES: u64 = 4096;

/// The frames of each source, counted.
#[derive(Default)]
pub(crate) struct Checkpoints {
    sources: HashMap<Arc<str>, Counter>,
    /// There was a configuration.
    has_started: bool,
    /// There was another one after it.
    is_running: bool,
}

#[derive(Default)]
struct Counter {
    /// The number of the next frame.
    next: u64,
    /// The number and the time of the last frame with a checkpoint; `None`: the next frame has one.
    last: Option<(u64, Instant)>,
    /// By how much the clock was set since then.
    clock_set_by: SignedDuration,
}

impl Checkpoints {
    /// The number of this frame of the source among all its frames, and its checkpoint if it has one. Called before the frame is judged.
    pub(crate) fn next(
        &mut self,
        source: &Arc<str>,
        judge: &Judge,
        now: Instant,
    ) -> (u64, Option<Checkpoint>) {
        let counter = self.sources.entry(Arc::clone(source)).or_default();
        let number = counter.next;
        counter.next += 1;
        let is_due = counter
            .last
            .is_none_or(|(last, at)| number - last >= FRAMES || now.saturating_duration_since(at) >= PERIOD);
        if !is_due {
            return (number, None);
        }
        let Some(checkpoint) = judge.checkpoint(source) else {
            // A frame that was in flight while its source was removed.
            self.sources.remove(source);
            return (number, None);
        };
        counter.last = Some((number, now));
        let clock_set_by = std::mem::take(&mut counter.clock_set_by);
        let start = match number {
            0 if self.is_running => Start::Added,
            0 => Start::Restarted,
            _ => Start::Continued,
        };
        (number, Some(Checkpoint { clock_set_by, start, ..checkpoint }))
    }

    /// A subscriber lost an observation of this source.
    pub(crate) fn lost(&mut self, source: &str) {
        if let Some(counter) = self.sources.get_mut(source) {
            counter.last = None;
        }
    }

    /// Another configuration is in force. Sources for which `is_watched` is false are forgotten.
    pub(crate) fn reloaded(&mut self, is_watched: impl Fn(&str) -> bool) {
        self.is_running = std::mem::replace(&mut self.has_started, true);
        self.sources.retain(|source, _| is_watched(source));
        self.sources.values_mut().for_each(|counter| counter.last = None);
    }

    /// One more source is watched, perhaps instead of the source `gone`.
    pub(crate) fn added(&mut self, source: &str, gone: Option<&str>) {
        self.is_running = true;
        for name in std::iter::once(source).chain(gone) {
            self.sources.remove(name);
        }
    }

    /// The clock was set by this much.
    pub(crate) fn clock_was_set(&mut self, by: SignedDuration) {
        for counter in self.sources.values_mut() {
            counter.last = None;
            counter.clock_set_by = counter.clock_set_by.saturating_add(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::{Start::*, *};
    use crate::samples;

    #[test]
    fn a_checkpoint_is_where_the_state_is_not_known() {
        let mut judge = Judge::new("home", "bundled");
        judge.reload(&samples::config(), Timestamp::UNIX_EPOCH, Uuid::nil);
        let (mut checkpoints, start) = (Checkpoints::default(), Instant::now());
        let (back, other): (Arc<str>, Arc<str>) = ("back".into(), "elsewhere".into());
        let next = |checkpoints: &mut Checkpoints, second: u64| {
            let (number, checkpoint) = checkpoints.next(&back, &judge, start + Duration::from_secs(second));
            (number, checkpoint.map(|it| (it.start, it.clock_set_by.as_secs(), it.states.len())))
        };
        assert_eq!(next(&mut checkpoints, 0), (0, Some((Restarted, 0, 2))), "the first frame");
        assert_eq!(next(&mut checkpoints, 1), (1, None));
        checkpoints.lost("Front Door");
        assert_eq!(next(&mut checkpoints, 2), (2, None), "of another source");
        checkpoints.lost("back");
        assert_eq!(next(&mut checkpoints, 3), (3, Some((Continued, 0, 2))), "after a loss");
        assert_eq!(next(&mut checkpoints, 62), (4, None));
        assert_eq!(next(&mut checkpoints, 63), (5, Some((Continued, 0, 2))), "after a minute");
        checkpoints.clock_was_set(SignedDuration::from_secs(-7));
        checkpoints.clock_was_set(SignedDuration::from_secs(2));
        assert_eq!(next(&mut checkpoints, 64), (6, Some((Continued, -5, 2))), "after the clock was set");
        checkpoints.reloaded(|_| true);
        checkpoints.reloaded(|_| true);
        assert_eq!(next(&mut checkpoints, 65), (7, Some((Continued, 0, 2))), "after a reload");
        assert_eq!(next(&mut checkpoints, 66), (8, None));
        checkpoints.reloaded(|source| source != "back");
        assert_eq!(next(&mut checkpoints, 67), (0, Some((Added, 0, 2))), "removed and added");
        assert_eq!(checkpoints.next(&other, &judge, start), (0, None), "not watched");
        for number in 1..FRAMES {
            assert_eq!(next(&mut checkpoints, 67), (number, None));
        }
        assert!(next(&mut checkpoints, 67).1.is_some(), "after many frames");
    }
}
