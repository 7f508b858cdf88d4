//! From packets to frames that are whole.
//!
//! It refuses every frame that may show something that never was: before a key frame, mended by the decoder, or built on
//! such a frame. After any damage only a whole key frame makes it trust the stream again.

use ffmpeg_next::{Discard, Packet, codec, decoder, frame};

use super::{error::StreamError, hardware, input::Opened};
use crate::{
    config::Hwaccel,
    source::{Cause, Counts},
};

/// What a packet is decoded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Its frame is wanted, and none that belongs to it follows.
    Alone,
    /// Its frame is wanted.
    Frame,
    /// Others may build on it.
    Others,
}

/// A decoder, and how far its frames are to be trusted.
pub(crate) struct Decoder {
    video: decoder::Video,
    /// The newest whole frame.
    newest: frame::Video,
    /// It has been given a key frame, and all packets since.
    fed: bool,
    /// A whole key frame came out, and nothing but whole frames since.
    trusted: bool,
    /// What was asked for.
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

    /// Another one for the same stream: this one keeps the memory of all frames that it ever held at once.
    pub(crate) fn afresh(&self, opened: &Opened, origin: &str) -> Result<Self, StreamError> {
        Self::new(opened, self.hwaccel, origin)
    }

    /// The hardware that decodes, or why the processor does although it was asked for otherwise.
    pub(crate) fn hardware(&self) -> Result<Option<Hwaccel>, &str> {
        match &self.hardware {
            // FFmpeg decides with the first frame.
            Ok(Some(_)) if self.trusted && !hardware::is_there(&self.newest) => Ok(None),
            Ok(kind) => Ok(*kind),
            Err(why) => Err(why),
        }
    }

    /// The newest whole frame.
    pub(crate) fn frame(&self) -> &frame::Video {
        &self.newest
    }

    /// Fetches the newest whole frame to where it can be looked at; false if that cannot be done.
    pub(crate) fn fetch(&mut self, counts: &Counts) -> bool {
        if !hardware::is_there(&self.newest) {
            return true;
        }
        let fetched = hardware::fetch(&self.newest);
        match fetched {
            Ok(frame) => self.newest = frame,
            Err(_) => counts.failed(Cause::NotFetched),
        }
        !hardware::is_there(&self.newest)
    }

    /// Decodes a packet. Whether there is a new whole frame.
    pub(crate) fn feed(&mut self, packet: &Packet, need: Need, counts: &Counts) -> bool {
        if packet.is_corrupt() {
            self.start_over(Cause::DamagedPacket, counts);
            return false;
        }
        if !self.fed && !packet.is_key() {
            counts.skipped(Cause::BeforeKeyFrame);
            return false;
        }
        self.fed = true;
        // What no other frame builds on is left out where it is not wanted itself.
        self.video.skip_frame(if need == Need::Others { Discard::NonReference } else { Discard::Default });
        if self.video.send_packet(packet).is_err() {
            self.start_over(Cause::NotDecoded, counts);
            return false;
        }
        // Decoders hold frames back until they know the next ones, which do not come here.
        if need == Need::Alone { self.drain(counts) } else { self.receive(counts) }
    }

    /// What the decoder still holds; it begins anew afterwards.
    pub(crate) fn drain(&mut self, counts: &Counts) -> bool {
        let whole = self.video.send_eof().is_ok() && self.receive(counts);
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
        whole
    }

    fn receive(&mut self, counts: &Counts) -> bool {
        let (mut whole, mut frame) = (false, frame::Video::empty());
        while self.video.receive_frame(&mut frame).is_ok() {
            if frame.is_corrupt() || frame.has_decode_errors() {
                counts.failed(Cause::DamagedFrame);
                self.trusted = false;
                continue;
            }
            self.trusted |= frame.is_key();
            if self.trusted {
                std::mem::swap(&mut self.newest, &mut frame);
                whole = true;
            } else {
                counts.skipped(Cause::BeforeKeyFrame);
            }
        }
        whole
    }

    /// The packets since the last one are left out: the next key frame is a beginning.
    pub(crate) fn begin_anew(&mut self) {
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
    }

    /// What the decoder holds builds on something that is missing.
    pub(crate) fn start_over(&mut self, cause: Cause, counts: &Counts) {
        counts.failed(cause);
        self.begin_anew();
    }
}
