//! A frame: one picture from one source, with the time it was captured, on its one way through the house.
//!
//! A frame refuses to be copied: it carries the [`Slot`] that its source lent it, and the source gets
//! the slot back when the frame has gone the whole way. That is all the back-pressure between a source and the model.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::picture::Picture;

/// One picture from one source.
#[derive(Debug)]
pub struct Frame {
    /// The name of the source, as typed in the configuration.
    pub source: Arc<str>,
    /// Where the picture came from, in words for people: a path, an address, a topic.
    pub origin: String,
    /// When the picture was captured, as exactly as the source knows it.
    pub captured_at: Timestamp,
    /// The decoded pixels, upright. A source that sees the same thing still sends the same picture again, and what was
    /// found in it once is not looked for again.
    pub picture: Arc<Picture>,
    /// What the source lent this frame.
    pub slot: Slot,
}

/// A source's permission for one frame to be under way.
///
/// Dropped, it only gives the permit back: the frame was lost on its way (at shutdown).
/// [`Slot::done`] also tells the source that the frame was scored and its alerts are on disk.
pub struct Slot {
    lent: Instant,
    permit: Option<OwnedSemaphorePermit>,
    on_done: Option<Box<dyn FnOnce() + Send>>,
}

impl Slot {
    /// A slot that holds `permit` until the frame is gone.
    #[must_use]
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { lent: Instant::now(), permit: Some(permit), on_done: None }
    }

    /// A slot that nobody waits for: `replay`, `classify` and tests.
    #[must_use]
    pub fn free() -> Self {
        Self { lent: Instant::now(), permit: None, on_done: None }
    }

    /// Calls `on_done` once the frame was scored and its alerts are on disk. It must not block.
    #[must_use]
    pub fn on_done(mut self, on_done: impl FnOnce() + Send + 'static) -> Self {
        self.on_done = Some(Box::new(on_done));
        self
    }

    /// How long the frame has been under way.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.lent.elapsed()
    }

    /// The frame has gone the whole way.
    pub fn done(self) {
        drop(self.permit);
        if let Some(on_done) = self.on_done {
            on_done();
        }
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
    fn a_slot_comes_back_whether_the_frame_arrived_or_was_lost() {
        let slots = Arc::new(Semaphore::new(2));
        let done = Arc::new(AtomicUsize::new(0));
        let lend = || {
            let done = Arc::clone(&done);
            let permit = Arc::clone(&slots).try_acquire_owned().unwrap();
            Slot::new(permit).on_done(move || {
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let (arrived, lost) = (lend(), lend());
        assert_eq!(slots.available_permits(), 0);

        arrived.done();
        assert_eq!((slots.available_permits(), done.load(Ordering::Relaxed)), (1, 1));
        drop(lost);
        assert_eq!((slots.available_permits(), done.load(Ordering::Relaxed)), (2, 1));
    }
}
