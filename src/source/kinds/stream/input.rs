//! An open stream, read with FFmpeg.
//!
//! A call of FFmpeg that was interrupted leaves its objects in an unknown state, whatever it returned: the stream is closed. So
//! the stop signal and the deadline are checked before the result of a call.

use std::time::{Duration, Instant};

use ffmpeg_next::{
    self as ffmpeg, Packet, Rational, Rescale, codec, error::EAGAIN, format::context, packet, rescale,
};
use jiff::{Timestamp, tz::TimeZone};

use super::{
    access_units::{Arrival, Assembler, Encoding, Unit},
    connect::Gate,
    deadline::Deadline,
    error::StreamError,
    packet_loss,
    reader::{Found, Reader},
    relay::{Failure, Relay},
    upright::View,
};
use crate::{
    picture::{Limits, PictureError},
    source::{context::Context, sampler::Played},
};

/// How often a stream is checked while no packet arrives.
const GLANCE: Duration = Duration::from_millis(50);
/// A stream whose payloads make no frame for this time beyond `stall_after` is closed.
const WITHOUT_FRAME: Duration = Duration::from_secs(60);

/// The memory of a decoder and of what is made of its frames, for a pixel: a few frames that later ones depend on, the newest one,
/// and its picture. Cameras use fewer than the standards allow.
const BYTES_A_PIXEL: u64 = 12;

/// An open stream.
pub(crate) struct Opened {
    pub(super) packets: Packets,
    pub(super) codec: codec::Id,
    pub(super) parameters: codec::Parameters,
    /// Width and height as the stream declares them; 0 if it does not.
    pub(super) size: (u64, u64),
    pub(super) time_base: Rational,
    pub(super) rate: Option<f64>,
    pub(super) view: View,
    pub(crate) played: Played,
    pub(super) has_login: bool,
    pub(super) stall_after: Duration,
    /// A packet of the video has arrived.
    pub(super) has_delivered: bool,
    /// What the input may open. It outlives the input, like the relay: both are after `packets`.
    pub(super) _gate: Option<Box<Gate>>,
    /// The way to the camera.
    pub(super) relay: Option<Relay>,
}

/// Where the packets come from.
pub(super) enum Packets {
    /// FFmpeg returns whole packets.
    Whole {
        /// The open input.
        input: context::Input,
        /// The number of the video's stream.
        video: usize,
        /// When the current call is interrupted.
        deadline: Deadline,
    },
    /// The payloads of RTP packets are assembled here.
    Payloads {
        /// Reads the payloads.
        reader: Reader,
        /// Assembles them.
        assembler: Assembler,
        /// When the newest payload was received.
        newest: Instant,
    },
}

/// A packet of the video.
pub(crate) struct Arrived {
    pub(crate) packet: Packet,
    /// A part of it may be lost.
    pub(crate) is_damaged: bool,
    /// When its last part arrived.
    pub(crate) at: Timestamp,
}

/// The result of reading.
pub(crate) enum Next {
    /// A packet of the video.
    Packet(Arrived),
    /// The recording is over; whether its rest is damaged.
    End(bool),
    /// The stop signal.
    Stopped,
}

impl Opened {
    pub(crate) fn is_recording(&self) -> bool {
        self.played == Played::Recorded
    }

    /// The time between two frames, as far as the stream declares it.
    pub(crate) fn frame_time(&self) -> Duration {
        const USUAL: f64 = 25.0;
        Duration::from_secs_f64(1.0 / self.rate().unwrap_or(USUAL))
    }

    /// Frames a second, if the stream declares it.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// How its frames are shown.
    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// Whether a packet of the video has arrived.
    pub(crate) fn has_delivered(&self) -> bool {
        self.has_delivered
    }

    /// When it was recorded, if the file says so. Devices without the time write the first second of their calendar.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        const PLAUSIBLE: i16 = 1990;
        let Packets::Whole { input, .. } = &self.packets else { return None };
        let metadata = input.metadata();
        let keys = ["com.apple.quicktime.creationdate", "creation_time", "date"];
        let began = keys.iter().find_map(|key| metadata.get(key)?.parse::<Timestamp>().ok())?;
        (TimeZone::UTC.to_datetime(began).year() >= PLAUSIBLE).then_some(began)
    }

    /// Its duration, if the file says so.
    pub(crate) fn length(&self) -> Option<Duration> {
        let Packets::Whole { input, .. } = &self.packets else { return None };
        u64::try_from(input.duration()).ok().filter(|length| *length > 0).map(Duration::from_micros)
    }

    /// FFmpeg's name of the video's encoding.
    pub(crate) fn codec(&self) -> String {
        self.codec.name().to_owned()
    }

    /// The parameters for a decoder.
    pub(crate) fn parameters(&self) -> codec::Parameters {
        self.parameters.clone()
    }

    /// The memory that decoding needs, by the size that the stream declares; 0 if it declares none.
    ///
    /// # Errors
    /// The size exceeds a limit.
    pub(crate) fn memory(&self, origin: &str, limits: Limits) -> Result<u64, StreamError> {
        let not_converted = |cause| StreamError::NotConverted { address: origin.to_owned(), cause };
        check(self.size.0, self.size.1, limits).map_err(not_converted)
    }

    /// The next packet of the video.
    pub(crate) fn next(&mut self, origin: &str, context: &Context) -> Result<Next, StreamError> {
        let next = match self.packets {
            Packets::Whole { .. } => self.next_whole(origin, context),
            Packets::Payloads { .. } => self.next_assembled(origin, context),
        };
        self.has_delivered |= matches!(next, Ok(Next::Packet(_)));
        next
    }

    fn next_whole(&mut self, origin: &str, context: &Context) -> Result<Next, StreamError> {
        let Packets::Whole { input, video, deadline } = &mut self.packets else {
            return Ok(Next::End(false));
        };
        if self.played == Played::Recorded {
            // Between two packets of a recording the source may have waited for a slot.
            deadline.set(self.stall_after);
        }
        loop {
            let mut packet = Packet::empty();
            let read = packet.read(input);
            let at = Timestamp::now();
            if context.stop.is_cancelled() {
                return Ok(Next::Stopped);
            }
            // After an interruption FFmpeg may still return a packet, which its parser held.
            if deadline.has_interrupted() || read.is_err() && deadline.has_passed() {
                return Err(stalled(origin, self.stall_after));
            }
            let is_changed =
                || input.stream(*video).is_some_and(|stream| stream.parameters().id() != self.codec);
            match read {
                // Audio does not count as progress.
                Ok(()) if packet.stream() != *video || packet.size() == 0 => {}
                // No decoder can follow a change of the encoding; the stream is opened again.
                Ok(()) if is_changed() => return self.lost("its encoding changed", context, origin),
                Ok(()) => {
                    deadline.set(self.stall_after);
                    let is_damaged = packet_loss::is_damaged();
                    return Ok(Next::Packet(Arrived { packet, is_damaged, at }));
                }
                Err(ffmpeg::Error::Other { errno: EAGAIN }) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return self.ended(error, origin, context),
            }
            if deadline.has_passed() {
                return Err(stalled(origin, self.stall_after));
            }
        }
    }

    fn next_assembled(&mut self, origin: &str, context: &Context) -> Result<Next, StreamError> {
        let Packets::Payloads { reader, assembler, newest } = &mut self.packets else {
            return Ok(Next::End(false));
        };
        let began = Instant::now();
        loop {
            let found = reader.next(GLANCE);
            context.counts.pulse().beat();
            if context.stop.is_cancelled() {
                return Ok(Next::Stopped);
            }
            let unit = match found {
                Found::Payload(payload) => {
                    *newest = Instant::now();
                    let (stamp, at) = (payload.packet.pts(), payload.arrived);
                    let arrival = Arrival { stamp, is_after_gap: payload.is_after_gap, at };
                    assembler.payload(payload.packet.data().unwrap_or_default(), arrival)
                }
                Found::Nothing if newest.elapsed() >= self.stall_after => {
                    return Err(stalled(origin, self.stall_after));
                }
                Found::Nothing => assembler.quiet(newest.elapsed()),
                Found::Ended(error) => return self.ended(error, origin, context),
            };
            if let Some(unit) = unit {
                return Ok(Next::Packet(arrived(unit)));
            }
            // For example a camera that repeats its parameters, and whose encoder hangs.
            if began.elapsed() >= self.stall_after.saturating_add(WITHOUT_FRAME) {
                return Err(StreamError::NoFrame(origin.to_owned()));
            }
        }
    }

    fn ended(&self, error: ffmpeg::Error, origin: &str, context: &Context) -> Result<Next, StreamError> {
        match error {
            ffmpeg::Error::Eof if self.is_recording() => Ok(Next::End(false)),
            ffmpeg::Error::Eof => self.lost("it ended", context, origin),
            ffmpeg::Error::HttpUnauthorized => Err(StreamError::of_opening(error, origin, self.has_login)),
            other => self.lost(&other.to_string(), context, origin),
        }
    }

    fn lost(&self, cause: &str, context: &Context, origin: &str) -> Result<Next, StreamError> {
        if self.is_recording() {
            tracing::warn!(source = &*context.name, cause, "the recording is damaged: the rest is skipped");
            return Ok(Next::End(true));
        }
        Err(match self.relay.as_ref().and_then(Relay::failure) {
            Some(Failure::Connection(cause)) => StreamError::Lost { address: origin.to_owned(), cause },
            Some(failure) => StreamError::of_relay(failure, origin),
            None => StreamError::Lost { address: origin.to_owned(), cause: cause.to_owned() },
        })
    }

    /// The time stamp of a packet in microseconds, in the order of decoding, which is that of the packets.
    pub(crate) fn stamp(&self, packet: &Packet) -> Option<i64> {
        let stamp = packet.dts().or_else(|| packet.pts())?;
        Some(stamp.rescale(self.time_base, rescale::TIME_BASE))
    }
}

/// The memory that frames of this size need.
///
/// # Errors
/// The size exceeds a limit.
pub(super) fn check(width: u64, height: u64, limits: Limits) -> Result<u64, PictureError> {
    let Limits { max_pixels, memory } = limits;
    let pixels = width.saturating_mul(height);
    if pixels > max_pixels {
        return Err(PictureError::TooLarge { width, height, max_pixels });
    }
    let needed = pixels.saturating_mul(BYTES_A_PIXEL);
    if needed > memory {
        return Err(PictureError::NeedsMemory { needed, memory });
    }
    Ok(needed)
}

/// The most pixels of a frame that FFmpeg may decode.
pub(super) fn most_pixels(limits: Limits) -> u64 {
    limits.max_pixels.min(limits.memory / BYTES_A_PIXEL).max(1)
}

/// The packet of an assembled frame.
fn arrived(unit: Unit) -> Arrived {
    let mut packet = Packet::copy(&unit.bytes);
    packet.set_pts(unit.stamp);
    if unit.is_key {
        packet.set_flags(packet::Flags::KEY);
    }
    Arrived { packet, is_damaged: unit.is_damaged, at: unit.arrived }
}

fn stalled(origin: &str, stall_after: Duration) -> StreamError {
    StreamError::Stalled { address: origin.to_owned(), seconds: stall_after.as_secs_f64() }
}

/// The encoding, if its frames are assembled here.
pub(super) fn assembled(codec: codec::Id) -> Option<Encoding> {
    match codec {
        codec::Id::H264 => Some(Encoding::H264),
        codec::Id::HEVC => Some(Encoding::H265),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_a_stream_declares_is_checked() {
        let limits = Limits { max_pixels: 40_000_000, memory: 240_000_000 };
        for (size, expected) in [
            ((0, 0), Ok(0)),
            ((5000, 4000), Ok(240_000_000)),
            (
                (5000, 4001),
                Err("it needs 241 MB of memory to be decoded, more than the 240 MB that memory allows"),
            ),
            (
                (16_000, 16_000),
                Err("it has 16000 x 16000 pixels, more than the 40000000 that max_pixels allows"),
            ),
        ] {
            let checked = check(size.0, size.1, limits).map_err(|error| error.to_string());
            assert_eq!(checked, expected.map_err(str::to_owned), "{size:?}");
        }
        assert_eq!(most_pixels(limits), 20_000_000);
        assert_eq!(most_pixels(Limits { memory: u64::MAX, ..limits }), 40_000_000);
    }
}
