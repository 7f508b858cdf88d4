//! What a source works with: where its frames go, its slots, its stop signal, and where it reports its status.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    counts::Counts,
    crash_record::Entry,
    decoders::{Decoders, NotDecoded, PictureDecoder},
    problem::Problem,
};
use crate::{
    frame::Frame,
    picture::{Limits, Share, mask::Polygon},
    policy::Mqtt,
};

/// The number of frames of one source that may be in flight.
pub const SLOTS: usize = 4;

/// Whether a source delivers frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The source delivers frames, or is ready to.
    Online,
    /// The source cannot deliver frames and keeps trying. Every source starts with this status.
    Offline,
    /// The source is connected and receives nothing.
    Stalled,
    /// The source is switched off, and has no thread.
    Disabled,
}

impl Status {
    /// The word that is published.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Stalled => "stalled",
            Self::Disabled => "disabled",
        }
    }
}

/// What a source works with.
#[derive(Debug)]
pub struct Context {
    /// The name of the source, as typed.
    pub name: Arc<str>,
    /// Receives the frames.
    pub frames: mpsc::Sender<Frame>,
    /// The slots of this source: [`SLOTS`] permits that no other source uses.
    pub slots: Arc<Semaphore>,
    /// The stop signal.
    pub stop: CancellationToken,
    /// Cancelled by the source with its first status: then a folder is watched, or does not exist yet.
    pub begun: CancellationToken,
    /// Receives the status.
    pub status: watch::Sender<Status>,
    /// Receives why the source delivers no frames; `None`: it is well.
    pub problem: watch::Sender<Option<Problem>>,
    /// What to do when it fails.
    pub remedy: &'static str,
    /// The counters of the source.
    pub counts: Arc<Counts>,
    /// Pictures with more pixels are rejected.
    pub max_pixels: u64,
    /// What is hidden in every picture of this source, before anything else reads its pixels.
    pub mask: Arc<[Polygon]>,
    /// What all sources share to decode pictures.
    pub decoders: Arc<Decoders>,
    /// Where a source remembers what it handled; `None`: it forgets everything when it ends.
    pub state_dir: Option<PathBuf>,
    /// What only sources of MQTT topics need; `None` where there are none.
    pub topics: Option<ForTopics>,
}

impl Context {
    /// A context without a service: frames and status are sent to no one.
    pub(crate) fn detached(name: &str, limits: Limits) -> Self {
        Self {
            name: name.into(),
            frames: mpsc::channel(1).0,
            slots: Arc::new(Semaphore::new(0)),
            stop: CancellationToken::new(),
            begun: CancellationToken::new(),
            status: watch::channel(Status::Offline).0,
            problem: watch::channel(None).0,
            remedy: "",
            counts: Arc::default(),
            max_pixels: limits.max_pixels,
            mask: Arc::default(),
            decoders: Decoders::unrecorded(limits.memory),
            state_dir: None,
            topics: None,
        }
    }

    /// The limits of one picture or of one frame of a stream.
    pub(crate) fn limits(&self) -> Limits {
        Limits { max_pixels: self.max_pixels, memory: self.decoders.memory().total() }
    }

    /// What decodes the pictures of this source.
    pub(crate) fn picture_decoder(&self) -> PictureDecoder {
        PictureDecoder {
            source: Arc::clone(&self.name),
            decoders: Arc::clone(&self.decoders),
            counts: Arc::clone(&self.counts),
            stop: self.stop.clone(),
            max_pixels: self.max_pixels,
            mask: Arc::clone(&self.mask),
        }
    }

    /// A share of the memory for a clip that is opened; `None` after the stop signal. While it waits, the source that has these
    /// `counts` signals progress.
    pub(crate) fn clip_share(&self, bytes: u64, counts: &Counts) -> Option<Share> {
        self.decoders.clip_share(bytes, || {
            counts.pulse().beat();
            !self.stop.is_cancelled()
        })
    }

    /// Records that the clip at `path` is opened: `hash` is one of parts of it.
    pub(crate) fn record_clip(&self, hash: u64, length: u64, path: &Path) -> Result<Entry<'_>, NotDecoded> {
        self.decoders.record_clip(hash, length, &format!("{} ({})", path.display(), self.name))
    }

    /// Publishes the status if it changed. The first call also ends the start of the source. A source that is online is well.
    pub(crate) fn report(&self, status: Status) {
        if status == Status::Online {
            self.counts.good();
            if self.problem.send_if_modified(|problem| problem.take().is_some()) {
                tracing::info!(source = &*self.name, "the source works again");
            }
        }
        self.status.send_if_modified(|old| std::mem::replace(old, status) != status);
        self.begun.cancel();
    }

    /// Publishes why the source delivers no frames.
    pub(crate) fn fail(&self, cause: &str) {
        self.problem.send_if_modified(|problem| {
            let new = Problem::after(problem.as_ref(), cause, self.remedy, Timestamp::now());
            problem.replace(new.clone()) != Some(new)
        });
    }
}

/// What sources of MQTT topics need besides.
#[derive(Debug)]
pub struct ForTopics {
    /// The broker of sources without a broker of their own.
    pub broker: Mqtt,
    /// Distinguishes the connections of sources at the broker: different for each source, and ASCII.
    pub id: String,
    /// Receives the names that pictures give for the first time.
    pub appeared: mpsc::Sender<Appeared>,
}

/// The request of a source with a name pattern to send frames under a new name.
#[derive(Debug)]
pub struct Appeared {
    /// The name of the source with the pattern.
    pub source: Arc<str>,
    /// The new name.
    pub name: String,
    /// The topic that gave the name.
    pub topic: String,
    /// Receives the answer, after everything is ready for the first frame of this name.
    pub answer: oneshot::Sender<Admission>,
}

/// The answer to [`Appeared`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Frames are sent under this name.
    Admitted(Arc<str>),
    /// The name is rejected, with the reason.
    Refused(String),
    /// Too many names are new at the same time: the name may be requested again later.
    Later,
}
