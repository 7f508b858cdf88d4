//! Frames: one picture from one source, with the time it was captured.
//!
//! A frame cannot be cloned: it carries a [`Slot`] of its source, and the source gets the slot back when the frame has been
//! processed. That is the only back-pressure between a source and the model.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::picture::{Share, mask::Masked};

/// One picture from one source.
#[derive(Debug)]
pub struct Frame {
    /// The name of the source, as typed in the configuration.
    pub source: Arc<str>,
    /// Where the picture came from, for people: a path, an address or a topic.
    pub origin: String,
    /// When the picture was captured, as exactly as the source knows it.
    pub captured_at: Timestamp,
    /// The decoded pixels, upright, without what the source hides. A source whose picture has not changed sends a clone of it
    /// again, and its scores are reused.
    pub picture: Masked,
    /// The slot of the source that this frame occupies.
    pub slot: Slot,
}

/// The permit of one frame between its source and the outbox.
///
/// Dropping a slot only returns the permit: the frame was lost (at shutdown). [`Slot::done`] and [`Slot::give_up`] also notify the
/// source.
pub struct Slot {
    since: Instant,
    permit: Option<OwnedSemaphorePermit>,
    /// The memory of the picture.
    share: Option<Share>,
    on_end: Option<Box<dyn FnOnce(End) + Send>>,
}

/// How the processing of a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The frame was scored, and its alerts are on disk.
    Done,
    /// The frame is not scored, and would not be if it were sent again.
    GivenUp,
}

impl Slot {
    /// A slot that holds `permit` until the frame is processed or dropped.
    #[must_use]
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { permit: Some(permit), ..Self::free() }
    }

    /// A slot without a permit: for `replay`, `bench` and tests.
    #[must_use]
    pub fn free() -> Self {
        Self { since: Instant::now(), permit: None, share: None, on_end: None }
    }

    /// Holds the memory of the picture until the frame is processed or dropped.
    #[must_use]
    pub fn with_memory(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    /// Calls `on_done` once the frame was scored and its alerts are on disk. It must not block.
    #[must_use]
    pub fn on_done(self, on_done: impl FnOnce() + Send + 'static) -> Self {
        self.on_end(move |end| {
            if end == End::Done {
                on_done();
            }
        })
    }

    /// Calls `on_end` once the frame was processed or given up, but not if it is lost. It must not block.
    #[must_use]
    pub fn on_end(mut self, on_end: impl FnOnce(End) + Send + 'static) -> Self {
        self.on_end = Some(Box::new(on_end));
        self
    }

    /// The time since the slot was taken.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The frame was processed: notifies the source and returns the permit.
    pub fn done(self) {
        self.end(End::Done);
    }

    /// The frame cannot be scored: notifies the source and returns the permit.
    pub fn give_up(self) {
        self.end(End::GivenUp);
    }

    fn end(self, end: End) {
        // Before the permit is returned: a source that has all of its permits has been notified of every frame.
        if let Some(on_end) = self.on_end {
            on_end(end);
        }
        drop((self.permit, self.share));
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("permit", &self.permit.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn the_permit_returns_when_the_frame_is_processed_or_lost() {
        let slots = Arc::new(Semaphore::new(3));
        let done = Arc::new(AtomicUsize::new(0));
        let lend = || {
            let done = Arc::clone(&done);
            let permit = Arc::clone(&slots).try_acquire_owned().unwrap();
            Slot::new(permit).on_done(move || {
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let (arrived, lost, given_up) = (lend(), lend(), lend());
        assert_eq!(slots.available_permits(), 0);

        arrived.done();
        assert_eq!((slots.available_permits(), done.load(Ordering::Relaxed)), (1, 1));
        drop(lost);
        assert_eq!((slots.available_permits(), done.load(Ordering::Relaxed)), (2, 1));
        given_up.give_up();
        assert_eq!((slots.available_permits(), done.load(Ordering::Relaxed)), (3, 1));
    }

    #[test]
    fn a_source_is_notified_of_each_end_but_not_of_a_lost_frame() {
        let (sender, ends) = std::sync::mpsc::channel();
        let slot = || {
            let sender = sender.clone();
            Slot::free().on_end(move |end| sender.send(end).unwrap())
        };
        slot().done();
        slot().give_up();
        drop(slot());
        assert_eq!(ends.try_iter().collect::<Vec<_>>(), [End::Done, End::GivenUp]);
    }
}
