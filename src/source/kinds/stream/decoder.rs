//! Decodes packets into intact frames.
//!
//! A frame is dropped if it may show something that the camera never saw: before a key frame, concealed by the decoder, or
//! dependent on such a frame. After damage frames are dropped until the next intact key frame.
//!
//! **Recovery points.** Cameras with intra refresh send one key frame, and then refresh the picture part by part. Their packets
//! mark where a refresh begins (FFmpeg calls that a key, too), and only FFmpeg's decoder of H.264 knows where it ends. So
//! that decoder returns the frames in between as well, with a mark: a damaged one among them spoils the refresh.

use std::collections::VecDeque;

use ffmpeg_next::{Dictionary, Discard, Packet, Rational, codec, decoder, frame, picture};
use jiff::Timestamp;

use super::{
    error::StreamError,
    hardware,
    input::{Opened, check, most_pixels},
    schedule::Need,
    settings::Hwaccel,
};
use crate::{
    picture::{Limits, PictureError},
    source::{cause::Cause, counts::Counts},
};

/// The most packets that a decoder holds before it returns their frames.
const MOST_HELD: usize = 64;

/// A decoder, and whether its frames are intact.
pub(crate) struct Decoder {
    video: decoder::Video,
    /// The newest intact frame.
    newest: frame::Video,
    /// When the packet of the newest intact frame arrived.
    newest_at: Timestamp,
    /// It has received a key, and all packets since.
    fed: bool,
    /// It has returned an intact key frame or the end of a refresh, and only intact frames since.
    trusted: bool,
    /// It returned a damaged frame since it was reset.
    spoiled: bool,
    /// It marks the frames of a refresh that is not complete.
    marks_refresh: bool,
    /// A packet that is marked as a key did not contain a whole picture.
    has_partial_keys: bool,
    /// The packets whose frames were not returned yet.
    held: VecDeque<Held>,
    /// The number of the next packet.
    next: i64,
    /// The setting.
    hwaccel: Hwaccel,
    limits: Limits,
    hardware: Result<Option<Hwaccel>, String>,
}

/// A packet that was sent to the decoder.
struct Held {
    /// The decoder passes it to the frame as its time stamp.
    number: i64,
    is_key: bool,
    arrived: Timestamp,
}

impl Decoder {
    pub(crate) fn new(
        opened: &Opened,
        hwaccel: Hwaccel,
        origin: &str,
        limits: Limits,
    ) -> Result<Self, StreamError> {
        let open = || {
            let mut context = codec::Context::from_parameters(opened.parameters()).ok()?;
            let codec = decoder::find(context.id())?;
            let marks_refresh = context.id() == codec::Id::H264;
            if marks_refresh {
                context.set_flags(codec::Flags::OUTPUT_CORRUPT);
            }
            let hardware = hardware::attach(hwaccel, &mut context, codec);
            let decoder = context.decoder().open_as_with(codec, within(limits)).ok()?;
            Some((decoder.video().ok()?, hardware, marks_refresh))
        };
        let (video, hardware, marks_refresh) =
            open().ok_or_else(|| StreamError::NoVideo(origin.to_owned()))?;
        Ok(Self {
            video,
            newest: frame::Video::empty(),
            newest_at: Timestamp::UNIX_EPOCH,
            fed: false,
            trusted: false,
            spoiled: false,
            marks_refresh,
            has_partial_keys: false,
            held: VecDeque::new(),
            next: 0,
            hwaccel,
            limits,
            hardware,
        })
    }

    /// A new decoder for the same stream: this one keeps the memory of the most frames that it ever held at once.
    pub(crate) fn recreate(&self, opened: &Opened, origin: &str) -> Result<Self, StreamError> {
        Self::new(opened, self.hwaccel, origin, self.limits)
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

    /// When the packet of the newest intact frame arrived.
    pub(crate) fn arrived(&self) -> Timestamp {
        self.newest_at
    }

    /// Whether the stream has keys that contain no whole picture, so that decoding only those gives no frames.
    pub(crate) fn has_partial_keys(&self) -> bool {
        self.has_partial_keys
    }

    /// Why the decoder returns no frame, if its frames are larger than the limits allow.
    pub(crate) fn exceeded(&self) -> Option<PictureError> {
        check(self.video.width().into(), self.video.height().into(), self.limits).err()
    }

    /// Frames a second, if the encoded video declares it.
    pub(crate) fn rate(&self) -> Option<f64> {
        plausible_rate(self.video.frame_rate()?)
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

    /// Decodes a packet that `arrived` at this time. Whether there is a new intact frame.
    pub(crate) fn feed(
        &mut self,
        packet: &mut Packet,
        arrived: Timestamp,
        need: Need,
        counts: &Counts,
    ) -> bool {
        if packet.is_corrupt() {
            self.discard(Cause::DamagedPacket, counts);
            return false;
        }
        if !self.fed && !packet.is_key() {
            counts.skipped(Cause::BeforeKeyFrame);
            return false;
        }
        if self.spoiled && packet.is_key() {
            // Otherwise the decoder would count frames from before the damage to this refresh.
            self.reset();
        }
        self.fed = true;
        self.hold(packet, arrived);
        // A frame that no other depends on is not decoded unless it is needed itself.
        self.video.skip_frame(if need == Need::Others { Discard::NonReference } else { Discard::Default });
        if self.video.send_packet(packet).is_err() {
            self.discard(Cause::NotDecoded, counts);
            return false;
        }
        // Decoders delay frames until they have the next ones, which they never get here.
        if need == Need::Alone { self.drain(counts) } else { self.receive(counts) }
    }

    /// Numbers a packet, so that its frame is recognised.
    fn hold(&mut self, packet: &mut Packet, arrived: Timestamp) {
        packet.set_pts(Some(self.next));
        self.held.push_back(Held { number: self.next, is_key: packet.is_key(), arrived });
        self.next += 1;
        if self.held.len() > MOST_HELD {
            self.held.pop_front();
        }
    }

    /// Takes the frames that the decoder still holds, and resets it. Whether there is a new intact frame.
    pub(crate) fn drain(&mut self, counts: &Counts) -> bool {
        let intact = self.video.send_eof().is_ok() && self.receive(counts);
        self.reset();
        intact
    }

    fn receive(&mut self, counts: &Counts) -> bool {
        let (mut intact, mut frame) = (false, frame::Video::empty());
        while self.video.receive_frame(&mut frame).is_ok() {
            let is_whole = frame.is_key() || frame.kind() == picture::Type::I;
            let packet = self.held.iter().find(|held| Some(held.number) == frame.pts());
            self.has_partial_keys |= !is_whole && packet.is_some_and(|packet| packet.is_key);
            // Some decoders do not say which packet it was.
            let arrived = packet.or(self.held.back()).map_or(self.newest_at, |packet| packet.arrived);
            let is_damaged = frame.has_decode_errors();
            let is_incomplete = frame.is_corrupt();
            if is_damaged || is_incomplete && !self.marks_refresh {
                counts.failed(Cause::DamagedFrame);
                (self.trusted, self.spoiled) = (false, true);
                continue;
            }
            if is_incomplete {
                counts.skipped(Cause::BeforeKeyFrame);
                continue;
            }
            if frame.is_key() || self.marks_refresh && !self.spoiled {
                (self.trusted, self.spoiled) = (true, false);
            }
            if self.trusted {
                std::mem::swap(&mut self.newest, &mut frame);
                self.newest_at = arrived;
                intact = true;
            } else {
                counts.skipped(Cause::BeforeKeyFrame);
            }
        }
        intact
    }

    /// Resets the decoder before a key, after packets were skipped.
    pub(crate) fn reset(&mut self) {
        self.video.flush();
        (self.fed, self.trusted, self.spoiled) = (false, false, false);
        self.held.clear();
    }

    /// Resets the decoder after damage: the frames that it holds depend on missing data.
    pub(crate) fn discard(&mut self, cause: Cause, counts: &Counts) {
        counts.failed(cause);
        self.reset();
    }
}

/// The options of a decoder that allocates no frame beyond the limits.
pub(super) fn within(limits: Limits) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("max_pixels", &i64::try_from(most_pixels(limits)).unwrap_or(i64::MAX).to_string());
    options
}

/// The number of frames a second that a stream or its video declares; `None` if it cannot be true.
pub(super) fn plausible_rate(declared: Rational) -> Option<f64> {
    let rate = f64::from(declared);
    (0.01..=1000.0).contains(&rate).then_some(rate)
}
