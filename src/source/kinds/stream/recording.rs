//! A recording on its own clock, for those who do not wait for it: one frame in each `every`, as fast as it is decoded.
//!
//! The frames are those that a `video` source with `pace: full` would give. It refuses threads and a clock: time is how far
//! into the recording a frame stands.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    convert::Converter,
    decoder::{Decoder, Need},
    error::StreamError,
    input::{self, Next, Opened},
};
use crate::{
    config::{Decode, Hwaccel, Input, Pace, Stream, Transport, Unchanged},
    picture::Picture,
    source::{
        Cause, Context, Counts, Snapshot, Status,
        sampler::{Clock, Decoded, KeyFrames, Sampler, choose},
    },
};

/// A file that stands still so long is on a disk that does not answer.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// An open recording.
pub struct Recording {
    origin: String,
    wish: Decode,
    every: Duration,
    context: Context,
    opened: Opened,
    decoder: Decoder,
    converter: Converter,
    clock: Clock,
    sampler: Sampler,
    key_frames: KeyFrames,
    over: bool,
}

impl Recording {
    /// Opens the file at `path`, of which one frame is taken in each `every`.
    ///
    /// # Errors
    /// It is no recording, or holds no video that can be decoded.
    pub fn open(path: &Path, every: Duration, decode: Decode, max_pixels: u64) -> Result<Self, StreamError> {
        let settings = Stream {
            input: Input::File(path.to_owned()),
            every,
            decode,
            hwaccel: Hwaccel::None,
            transport: Transport::Tcp,
            pace: Pace::Full,
            stall_after: STALL_AFTER,
            unchanged: Unchanged::Score,
        };
        let origin = input::shown(&settings.input);
        let context = alone(&origin, max_pixels);
        let opened = Opened::open(&settings, &origin, &context)?
            .expect("nobody else has the token by which it is told to stop");
        Ok(Self {
            decoder: Decoder::new(&opened, Hwaccel::None, &origin)?,
            converter: Converter::default(),
            clock: Clock::new(opened.played, opened.frame_time()),
            sampler: Sampler::new(every),
            key_frames: KeyFrames::default(),
            wish: decode,
            every,
            context,
            opened,
            origin,
            over: false,
        })
    }

    /// When it was recorded, if it says so.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.opened.began()
    }

    /// How long it is, if it says so.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        self.opened.length()
    }

    /// What was left out, and why.
    #[must_use]
    pub fn counts(&self) -> Snapshot {
        self.context.counts.snapshot()
    }

    /// The next frame that is due, and how far into the recording it stands; `None` when it is over.
    ///
    /// # Errors
    /// It cannot be read any more, or its frames cannot be made pictures.
    pub fn next_frame(&mut self) -> Result<Option<(Duration, Picture)>, StreamError> {
        while !self.over {
            let (whole, now) = match self.opened.next(&self.origin, &self.context)? {
                Next::Packet(packet, _) => {
                    let now = self.clock.advance(self.opened.stamp(&packet), Duration::ZERO);
                    if packet.is_key() {
                        self.key_frames.record(now);
                    }
                    let interval = self.key_frames.interval(now);
                    let only_key_frames = choose(self.wish, interval, self.every) == Decoded::KeyFrames;
                    if only_key_frames && !(packet.is_key() && self.sampler.is_due(now)) {
                        self.context.counts.skipped(Cause::NotDecoded);
                        continue;
                    }
                    let need = match (only_key_frames, self.sampler.is_due(now)) {
                        (true, _) => Need::Alone,
                        (false, true) => Need::Frame,
                        (false, false) => Need::Others,
                    };
                    (self.decoder.feed(&packet, need, &self.context.counts), now)
                }
                Next::End | Next::Stopped => {
                    self.over = true;
                    let whole = self.decoder.drain(&self.context.counts);
                    (whole, self.clock.advance(None, Duration::ZERO))
                }
            };
            if !whole || !self.sampler.is_due(now) {
                continue;
            }
            self.sampler.take(now);
            let picture = self.converter.picture(self.decoder.frame(), self.context.max_pixels);
            return picture
                .map(|picture| Some((now, picture)))
                .map_err(|cause| StreamError::NotConverted { address: self.origin.clone(), cause });
        }
        Ok(None)
    }
}

/// What a source is given, where there is none: nobody else is told anything.
pub(crate) fn alone(origin: &str, max_pixels: u64) -> Context {
    Context {
        begun: CancellationToken::new(),
        name: origin.into(),
        frames: mpsc::channel(1).0,
        slots: Arc::new(Semaphore::new(0)),
        stop: CancellationToken::new(),
        status: watch::channel(Status::Online).0,
        counts: Arc::new(Counts::default()),
        max_pixels,
        topics: None,
    }
}
