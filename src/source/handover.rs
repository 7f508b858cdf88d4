//! Sends the frames of live sources. A frame that finds no free slot is skipped: the next one is newer anyway.

use std::ops::ControlFlow;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc::error::TrySendError};

use super::{cause::Cause, context::Context};
use crate::{
    frame::{Frame, Slot},
    picture::mask::Masked,
};

/// Why a picture is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is to be scored.
    New,
    /// It is the picture that was sent last, once more: its scores are repeated.
    Repeated,
}

impl Context {
    /// A slot for the next frame. Without one the frame is to be skipped, which is counted here.
    pub(crate) fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = self.slots.clone().try_acquire_owned().ok();
        if slot.is_none() {
            self.counts.skipped(Cause::NoFreeSlot);
        }
        slot
    }

    /// Sends a frame and counts it. `Break` means that the receiver is gone.
    pub(crate) fn send(
        &self,
        content: Content,
        picture: Masked,
        origin: &str,
        captured_at: Timestamp,
        slot: Slot,
    ) -> ControlFlow<()> {
        let (source, origin) = (self.name.clone(), origin.to_owned());
        match (self.frames.try_send(Frame { source, origin, captured_at, picture, slot }), content) {
            (Ok(()), Content::New) => self.counts.sent(),
            (Ok(()), Content::Repeated) => self.counts.skipped(Cause::Unchanged),
            // The service's channel has room for every slot of every source; another caller's may be smaller.
            (Err(TrySendError::Full(_)), _) => self.counts.skipped(Cause::NoFreeSlot),
            (Err(TrySendError::Closed(_)), _) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}
