//! Reads a recording frame by frame, for callers that do not wait: one frame in each `every`, as fast as it is decoded.
//!
//! The frames are those of a `video` source with `pace: full`. Time is the position in the recording.

use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    convert::Converter,
    decoder::Decoder,
    error::StreamError,
    input::{Arrived, Next, Opened},
    schedule::{PacketState, Schedule, Step},
    settings::{Hwaccel, Input, Pace, Stream},
    transport::Transports,
};
use crate::{
    picture::Picture,
    source::{
        cause::Cause,
        context::Context,
        counts::Snapshot,
        kinds::camera::{Decode, Unchanged},
        sampler::Clock,
    },
    tls::Trust,
};

/// A file that cannot be read for this time is on a disk that does not answer.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// An open recording.
pub struct Recording {
    origin: String,
    context: Context,
    opened: Opened,
    decoder: Decoder,
    converter: Converter,
    clock: Clock,
    schedule: Schedule,
    over: bool,
}

impl Recording {
    /// Opens the file at `path`, of which one frame is taken in each `every`.
    ///
    /// # Errors
    /// It is no recording, or has no video that can be decoded.
    pub fn open(path: &Path, every: Duration, decode: Decode, max_pixels: u64) -> Result<Self, StreamError> {
        let settings = Stream {
            input: Input::File(path.to_owned()),
            every,
            decode,
            hwaccel: Hwaccel::None,
            transport: None,
            tls: Trust::System,
            pace: Pace::Full,
            open_timeout: STALL_AFTER,
            stall_after: STALL_AFTER,
            unchanged: Unchanged::Score,
        };
        let origin = settings.input.shown();
        let context = Context::detached(&origin, max_pixels);
        let opened = Opened::open(&settings, &origin, &context, &mut Transports::new(None))?
            .expect("only this function has the token of the stop signal");
        Ok(Self {
            decoder: Decoder::new(&opened, Hwaccel::None, &origin)?,
            converter: Converter::new(opened.view()),
            clock: Clock::new(opened.played, opened.frame_time()),
            schedule: Schedule::new(&settings, true),
            context,
            opened,
            origin,
            over: false,
        })
    }

    /// When it was recorded, if the file says so.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.opened.began()
    }

    /// Its duration, if the file says so.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        self.opened.length()
    }

    /// The frames that were skipped or failed, by cause.
    #[must_use]
    pub fn counts(&self) -> Snapshot {
        self.context.counts.snapshot()
    }

    /// The next frame that is due, and its position in the recording; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read any further, or its frames cannot be converted to pictures.
    pub fn next_frame(&mut self) -> Result<Option<(Duration, Picture)>, StreamError> {
        while !self.over {
            let (intact, now) = match self.opened.next(&self.origin, &self.context)? {
                Next::Packet(Arrived { mut packet, at, .. }) => {
                    let now = self.clock.advance(self.opened.stamp(&packet), Duration::ZERO);
                    let is_key = packet.is_key();
                    let state = PacketState { is_key, is_damaged: false, can_be_deferred: false };
                    let Step::Decode(need) = self.schedule.packet(state, now, Duration::ZERO) else {
                        self.context.counts.skipped(Cause::NotDecoded);
                        continue;
                    };
                    let intact = self.decoder.feed(&mut packet, at, need, &self.context.counts);
                    let has_partial_keys = self.decoder.has_partial_keys();
                    self.schedule.decoded_packet(need, intact, has_partial_keys, now);
                    (intact, now)
                }
                Next::End(_) | Next::Stopped => {
                    self.over = true;
                    let intact = self.decoder.drain(&self.context.counts);
                    (intact, self.clock.advance(None, Duration::ZERO))
                }
            };
            if !intact || !self.schedule.intact_frame(now, Duration::ZERO) {
                continue;
            }
            let picture = self.converter.picture(self.decoder.frame(), self.context.max_pixels);
            return picture
                .map(|picture| Some((now, picture)))
                .map_err(|cause| StreamError::NotConverted { address: self.origin.clone(), cause });
        }
        Ok(None)
    }
}
