//! What live sources have in common: a frame that finds no free slot is skipped, because the next one is newer anyway.
//!
//! It refuses to wait: whoever waits with a camera at his hand only gets older pictures.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc::error::TrySendError};

use super::{Context, Counts};
use crate::{
    frame::{Frame, Slot},
    picture::Picture,
};

/// A frame went, or is missed by nobody.
pub(super) enum Handed {
    /// On its way, or skipped and counted.
    On,
    /// Nobody takes frames any more.
    NobodyListens,
}

impl Context {
    /// A slot for the next frame; without one the frame is to be skipped, which is counted here.
    pub(super) fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = self.slots.clone().try_acquire_owned().ok();
        if slot.is_none() {
            self.counts.skipped("no_free_slot");
        }
        slot
    }

    /// Hands a frame on that is to be scored.
    pub(super) fn hand_on(
        &self,
        picture: Arc<Picture>,
        origin: &str,
        captured_at: Timestamp,
        slot: OwnedSemaphorePermit,
    ) -> Handed {
        self.hand(picture, origin, captured_at, slot, Counts::sent)
    }

    /// Hands on the picture that was handed on last, once more: what was found in it is found again, in its turn.
    pub(super) fn hand_on_again(
        &self,
        picture: Arc<Picture>,
        origin: &str,
        captured_at: Timestamp,
        slot: OwnedSemaphorePermit,
    ) -> Handed {
        self.hand(picture, origin, captured_at, slot, |counts| counts.skipped("unchanged"))
    }

    fn hand(
        &self,
        picture: Arc<Picture>,
        origin: &str,
        captured_at: Timestamp,
        slot: OwnedSemaphorePermit,
        count: impl FnOnce(&Counts),
    ) -> Handed {
        let frame = Frame {
            source: self.name.clone(),
            origin: origin.to_owned(),
            captured_at,
            picture,
            slot: Slot::new(slot),
        };
        match self.frames.try_send(frame) {
            Ok(()) => count(&self.counts),
            // The channel has a place for every slot of every source, so this is somebody else's smaller channel.
            Err(TrySendError::Full(_)) => self.counts.skipped("no_free_slot"),
            Err(TrySendError::Closed(_)) => return Handed::NobodyListens,
        }
        Handed::On
    }
}
