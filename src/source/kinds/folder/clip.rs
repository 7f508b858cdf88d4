//! A clip that is played, and the rule when it is finished.
//!
//! A clip is handled like a picture with many frames: it is deleted or moved when it was played to its end and all of its frames
//! are scored.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    after::{self, Taken},
    pending::Candidate,
};
use crate::{
    frame::Slot,
    source::{context::Context, file_times, kinds::stream::recording::Recording},
};

/// A clip that is played.
pub(crate) struct Clip {
    pub(super) candidate: Candidate,
    pub(super) taken: Taken,
    pub(super) recording: Recording,
    /// When its first frame was captured.
    began: Timestamp,
    /// The frames that were sent.
    pub(super) frames: u64,
    unscored: Arc<Unscored>,
}

/// Counts the frames of a clip that are not scored yet, and the clip itself until it was played to its end.
struct Unscored(AtomicU64);

impl Unscored {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// One less; whether nothing is left.
    fn is_last(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Clip {
    pub(super) fn new(candidate: Candidate, taken: Taken, recording: Recording, path: &Path) -> Self {
        let began = began(&recording, path, candidate, SystemTime::now());
        let unscored = Arc::new(Unscored(AtomicU64::new(1)));
        Self { candidate, taken, recording, began, frames: 0, unscored }
    }

    /// When the frame at this position was captured.
    pub(super) fn captured_at(&self, position: Duration) -> Timestamp {
        shifted(self.began, position, false)
    }

    /// Records that the clip was played to its end. Whether all of its frames are scored already.
    pub(super) fn is_finished(&self) -> bool {
        self.unscored.is_last()
    }

    /// The slot of a frame. The last frame of a clip that was played to its end reports the clip to the source, which then
    /// applies `after`.
    pub(super) fn slot(
        &self,
        permit: OwnedSemaphorePermit,
        done: mpsc::Sender<Taken>,
        context: &Context,
    ) -> Slot {
        self.unscored.add();
        let (unscored, taken) = (Arc::clone(&self.unscored), self.taken.clone());
        let (name, counts) = (context.name.clone(), context.counts.clone());
        Slot::new(permit).on_done(move || {
            if unscored.is_last() {
                after::request(&done, taken, &name, &counts);
            }
        })
    }
}

/// When the first frame of a clip was captured: by the file, by its name, or by the time of its last change, which is when the
/// recording ended. No frame is captured after `now`.
fn began(recording: &Recording, path: &Path, candidate: Candidate, now: SystemTime) -> Timestamp {
    let length = recording.length().unwrap_or_default();
    let named = || file_times::in_name(&path.file_name()?.to_string_lossy(), &TimeZone::system());
    let ended = candidate.version.modified.captured_at(now);
    let latest = shifted(Timestamp::try_from(now).unwrap_or(Timestamp::MAX), length, true);
    recording.began().or_else(named).unwrap_or_else(|| shifted(ended, length, true)).min(latest)
}

/// `time` plus or minus `by`; unchanged if the result is out of range.
fn shifted(time: Timestamp, by: Duration, back: bool) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
    let shifted = if back { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}

/// The most clips that wait. A scan finds the others when there is room.
pub(super) const MOST_CLIPS: usize = 64;

/// The clips that wait, in the order in which they are played.
pub(crate) type WaitingClips = std::collections::VecDeque<(PathBuf, Candidate)>;
