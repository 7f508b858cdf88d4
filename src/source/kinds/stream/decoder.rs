//! Decodes packets into intact frames.
//!
//! A frame is dropped if it may show something that the camera never saw: before a key frame, concealed by the decoder, or
//! dependent on such a frame. After damage frames are dropped until the next intact key frame.

use ffmpeg_next::{Discard, Packet, codec, decoder, frame};

use super::{error::StreamError, hardware, input::Opened, schedule::Need, settings::Hwaccel};
use crate::source::{cause::Cause, counts::Counts};

/// A decoder, and whether its frames are intact.
pub(crate) struct Decoder {
    video: decoder::Video,
    /// The newest intact frame.
    newest: frame::Video,
    /// It has received a key frame, and all packets since.
    fed: bool,
    /// It has returned an intact key frame, and only intact frames since.
    trusted: bool,
    /// The setting.
    hwaccel: Hwaccel,
    hardware: Result<Option<Hwaccel>, String>,
}

impl Decoder {
    pub(crate) fn new(opened: &Opened, hwaccel: Hwaccel, origin: &str) -> Result<Self, StreamError> {
        let open = || {
            let mut context = codec::Context::from_parameters(opened.parameters()?).ok()?;
            let codec = decoder::find(context.id())?;
            let hardware = hardware::attach(hwaccel, &mut context, codec);
            Some((context.decoder().open_as(codec).ok()?.video().ok()?, hardware))
        };
        let (video, hardware) = open().ok_or_else(|| StreamError::NoVideo(origin.to_owned()))?;
        Ok(Self { video, newest: frame::Video::empty(), fed: false, trusted: false, hwaccel, hardware })
    }

    /// A new decoder for the same stream: this one keeps the memory of the most frames that it ever held at once.
    pub(crate) fn recreate(&self, opened: &Opened, origin: &str) -> Result<Self, StreamError> {
        Self::new(opened, self.hwaccel, origin)
    }

    /// The hardware that decodes, or why the processor decodes although hardware was requested.
    pub(crate) fn hardware(&self) -> Result<Option<Hwaccel>, &str> {
        match &self.hardware {
            // FFmpeg decides at the first frame.
            Ok(Some(_)) if self.trusted && !hardware::is_remote(&self.newest) => Ok(None),
            Ok(kind) => Ok(*kind),
            Err(why) => Err(why),
        }
    }

    /// The newest intact frame.
    pub(crate) fn frame(&self) -> &frame::Video {
        &self.newest
    }

    /// Copies the newest intact frame into ordinary memory; false if that fails.
    pub(crate) fn fetch(&mut self, counts: &Counts) -> bool {
        if !hardware::is_remote(&self.newest) {
            return true;
        }
        let fetched = hardware::fetch(&self.newest);
        match fetched {
            Ok(frame) => self.newest = frame,
            Err(_) => counts.failed(Cause::NotFetched),
        }
        !hardware::is_remote(&self.newest)
    }

    /// Decodes a packet. Whether there is a new intact frame.
    pub(crate) fn feed(&mut self, packet: &Packet, need: Need, counts: &Counts) -> bool {
        if packet.is_corrupt() {
            self.discard(Cause::DamagedPacket, counts);
            return false;
        }
        if !self.fed && !packet.is_key() {
            counts.skipped(Cause::BeforeKeyFrame);
            return false;
        }
        self.fed = true;
        // A frame that no other depends on is not decoded unless it is needed itself.
        self.video.skip_frame(if need == Need::Others { Discard::NonReference } else { Discard::Default });
        if self.video.send_packet(packet).is_err() {
            self.discard(Cause::NotDecoded, counts);
            return false;
        }
        // Decoders delay frames until they have the next ones, which they never get here.
        if need == Need::Alone { self.drain(counts) } else { self.receive(counts) }
    }

    /// Takes the frames that the decoder still holds, and resets it. Whether there is a new intact frame.
    pub(crate) fn drain(&mut self, counts: &Counts) -> bool {
        let intact = self.video.send_eof().is_ok() && self.receive(counts);
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
        intact
    }

    fn receive(&mut self, counts: &Counts) -> bool {
        let (mut intact, mut frame) = (false, frame::Video::empty());
        while self.video.receive_frame(&mut frame).is_ok() {
            if frame.is_corrupt() || frame.has_decode_errors() {
                counts.failed(Cause::DamagedFrame);
                self.trusted = false;
                continue;
            }
            self.trusted |= frame.is_key();
            if self.trusted {
                std::mem::swap(&mut self.newest, &mut frame);
                intact = true;
            } else {
                counts.skipped(Cause::BeforeKeyFrame);
            }
        }
        intact
    }

    /// Resets the decoder before a key frame, after packets were skipped.
    pub(crate) fn reset(&mut self) {
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
    }

    /// Resets the decoder after damage: the frames that it holds depend on missing data.
    pub(crate) fn discard(&mut self, cause: Cause, counts: &Counts) {
        counts.failed(cause);
        self.reset();
    }
}
