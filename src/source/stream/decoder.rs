//! From packets to frames that are whole.
//!
//! It refuses every frame that may show something that never was: before a key frame, mended by the decoder, or built on
//! such a frame. After any damage only a whole key frame makes it trust the stream again.

use ffmpeg_next::{Packet, codec, decoder, frame};

use super::{error::StreamError, input::Opened};
use crate::source::Counts;

/// A decoder, and how far its frames are to be trusted.
pub(super) struct Decoder {
    video: decoder::Video,
    /// The newest whole frame.
    newest: frame::Video,
    /// It has been given a key frame, and all packets since.
    fed: bool,
    /// A whole key frame came out, and nothing but whole frames since.
    trusted: bool,
}

impl Decoder {
    pub(super) fn new(opened: &Opened, origin: &str) -> Result<Self, StreamError> {
        let open = || {
            let context = codec::Context::from_parameters(opened.parameters()?).ok()?;
            context.decoder().video().ok()
        };
        let video = open().ok_or_else(|| StreamError::NoVideo(origin.to_owned()))?;
        Ok(Self { video, newest: frame::Video::empty(), fed: false, trusted: false })
    }

    /// The newest whole frame.
    pub(super) fn frame(&self) -> &frame::Video {
        &self.newest
    }

    /// Decodes a packet; `alone` if none that belongs to it follows. Whether there is a new whole frame.
    pub(super) fn feed(&mut self, packet: &Packet, alone: bool, counts: &Counts) -> bool {
        if packet.is_corrupt() {
            self.start_over("damaged_packet", counts);
            return false;
        }
        if !self.fed && !packet.is_key() {
            counts.skipped("before_key_frame");
            return false;
        }
        self.fed = true;
        if self.video.send_packet(packet).is_err() {
            self.start_over("not_decoded", counts);
            return false;
        }
        // Decoders hold frames back until they know the next ones, which do not come here.
        if alone { self.drain(counts) } else { self.receive(counts) }
    }

    /// What the decoder still holds; it begins anew afterwards.
    pub(super) fn drain(&mut self, counts: &Counts) -> bool {
        let whole = self.video.send_eof().is_ok() && self.receive(counts);
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
        whole
    }

    fn receive(&mut self, counts: &Counts) -> bool {
        let (mut whole, mut frame) = (false, frame::Video::empty());
        while self.video.receive_frame(&mut frame).is_ok() {
            if frame.is_corrupt() || frame.has_decode_errors() {
                counts.failed("damaged_frame");
                self.trusted = false;
                continue;
            }
            self.trusted |= frame.is_key();
            if self.trusted {
                std::mem::swap(&mut self.newest, &mut frame);
                whole = true;
            } else {
                counts.skipped("before_key_frame");
            }
        }
        whole
    }

    /// What the decoder holds builds on something that is missing.
    fn start_over(&mut self, cause: &'static str, counts: &Counts) {
        counts.failed(cause);
        self.video.flush();
        (self.fed, self.trusted) = (false, false);
    }
}
