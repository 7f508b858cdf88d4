//! Checks a stream: what it sends, and which of its frames would be decoded.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use ffmpeg_next::codec;

use super::{
    convert::Converter,
    decoder::Decoder,
    error::StreamError,
    input::{Arrived, Next, Opened},
    open::Memory,
    schedule::Need,
    settings::{Hwaccel, Stream},
};
use crate::{
    picture::{Limits, mask::Masked},
    source::{
        context::Context,
        kind::Probe,
        kinds::camera::Decode,
        sampler::{Clock, Decoded, KeyFrames, choose},
    },
};

/// The longest time that a stream is read.
const PROBE_TIME: Duration = Duration::from_secs(15);
/// A recording is read as fast as the disk allows; this number of packets is enough.
const PACKETS: u32 = 2_000;

/// What a stream sends.
#[derive(Debug, Clone, PartialEq)]
struct Findings {
    /// How it is encoded: `h264`, `hevc`.
    codec: String,
    /// Width and height in pixels of the first intact frame; `None`: there was none.
    size: Option<(u32, u32)>,
    /// Frames a second.
    rate: f64,
    /// The longest time between two key frames; `None`: there were too few.
    key_frames: Option<Duration>,
    /// Only key frames would be decoded.
    only_key_frames: bool,
    /// Every frame would be decoded, only because key frames are too rare.
    lacks_key_frames: bool,
}

/// The FFmpeg that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    /// The version of libavcodec.
    pub codec: String,
    /// The version of libavformat.
    pub format: String,
    /// The formats of cameras that this build cannot decode.
    pub lacks: Vec<&'static str>,
}

/// Checks the libraries that are linked.
#[must_use]
pub fn ffmpeg() -> Ffmpeg {
    let version = |number: u32| format!("{}.{}.{}", number >> 16, (number >> 8) & 0xff, number & 0xff);
    let wanted = [(codec::Id::H264, "H.264"), (codec::Id::HEVC, "H.265"), (codec::Id::MJPEG, "MJPEG")];
    let lacks = wanted.into_iter().filter(|(id, _)| codec::decoder::find(*id).is_none());
    Ffmpeg {
        codec: version(codec::version()),
        format: version(ffmpeg_next::format::version()),
        lacks: lacks.map(|(_, name)| name).collect(),
    }
}

/// The first intact frame of a stream, for people who set it up.
pub(super) fn picture(settings: &Stream, limits: Limits) -> Result<Masked, StreamError> {
    let (origin, mut picture) = (settings.input.shown(), None);
    let found = read(settings, limits, |converter, decoder| {
        let converted = converter.picture(decoder.frame(), limits);
        let not_converted = |cause| StreamError::NotConverted { address: origin.clone(), cause };
        picture = Some(converted.map_err(not_converted)?);
        Ok(ControlFlow::Break(()))
    });
    found?;
    picture.ok_or(StreamError::NoIntactFrame(origin))
}

pub(super) fn probe(settings: &Stream, limits: Limits) -> Probe {
    let mut size = None;
    let found = read(settings, limits, |converter, decoder| {
        size.get_or_insert_with(|| converter.shown_size(decoder.frame()));
        Ok(ControlFlow::Continue(()))
    });
    match found.map(|found| Findings { size, ..found }) {
        Ok(found) => describe(settings, &found, limits.max_pixels),
        Err(StreamError::NotConverted { address, cause }) => Probe::failed(
            format!("the frames of {address} cannot be used: {cause}"),
            "raise `max_pixels` or `memory`, or use another stream of the camera",
        ),
        Err(error) => Probe::failed(error.to_string(), crate::source::kind::CAMERA_REMEDY),
    }
}

/// Reads the stream until it has two intervals between key frames, or for [`PROBE_TIME`], or until `each` breaks, which is called for
/// each packet with a new intact frame. The size that is returned is unknown.
fn read(
    settings: &Stream,
    limits: Limits,
    mut each: impl FnMut(&mut Converter, &Decoder) -> Result<ControlFlow<()>, StreamError>,
) -> Result<Findings, StreamError> {
    let origin = settings.input.shown();
    let context = Context::detached(&origin, limits);
    let mut opened = Opened::open(settings, &origin, &context, &mut Memory::new(settings))?
        .expect("only this function has the token of the stop signal");
    opened.memory(&origin, limits)?;
    let mut decoder = Decoder::new(&opened, Hwaccel::None, &origin, limits)?;
    let (codec, mut converter) = (opened.codec(), Converter::new(opened.view(), Arc::default()));
    let mut clock = Clock::new(opened.played, opened.frame_time());
    let (mut key_frames, mut packets, began) = (KeyFrames::default(), 0, Instant::now());
    let (mut first, mut now) = (None, Duration::ZERO);
    while began.elapsed() < PROBE_TIME && packets < PACKETS && key_frames.interval(now).is_none() {
        let Next::Packet(Arrived { mut packet, at, .. }) = opened.next(&origin, &context)? else { break };
        now = clock.advance(opened.stamp(&packet), began.elapsed());
        first.get_or_insert(now);
        packets += 1;
        if packet.is_key() {
            key_frames.record(now);
        }
        // Keys without a whole picture show themselves at the second key.
        if decoder.feed(&mut packet, at, Need::Frame, &context.counts)
            && each(&mut converter, &decoder)?.is_break()
        {
            break;
        }
        if let Some(cause) = decoder.exceeded() {
            return Err(StreamError::NotConverted { address: origin, cause });
        }
    }
    let seconds = now.saturating_sub(first.unwrap_or_default()).as_secs_f64();
    let interval = key_frames.interval(now);
    let suffice = choose(settings.decode, interval, settings.every) == Decoded::KeyFrames;
    let only_key_frames = suffice && !decoder.has_partial_keys();
    Ok(Findings {
        codec,
        size: None,
        rate: if seconds > 0.0 { f64::from(packets - 1) / seconds } else { 0.0 },
        key_frames: interval,
        only_key_frames,
        lacks_key_frames: settings.decode == Decode::Auto && !only_key_frames,
    })
}

/// What was found in a stream, for people.
fn describe(settings: &Stream, found: &Findings, max_pixels: u64) -> Probe {
    let Some((width, height)) = found.size else {
        let message =
            format!("it sends {}, and no intact frame within {} s", found.codec, PROBE_TIME.as_secs());
        return Probe::failed(message, "use `transport: tcp`, or a shorter key-frame interval in the camera");
    };
    let key_frames = match found.key_frames {
        Some(interval) => format!("a key frame every {:.1} s", interval.as_secs_f64()),
        None => "few key frames".to_owned(),
    };
    let decoded =
        if found.only_key_frames { "only key frames are decoded" } else { "every frame is decoded" };
    let message =
        format!("{} {width}x{height}, {:.0} frames/s, {key_frames}: {decoded}", found.codec, found.rate);
    if u64::from(width) * u64::from(height) > max_pixels {
        return Probe::failed(
            message,
            "its frames have more than `max_pixels`: raise it, or use another stream of the camera",
        );
    }
    if found.lacks_key_frames {
        let every = settings.every.as_secs_f64();
        let remedy =
            format!("a key-frame interval of {every} s or less in the camera would save most of the work");
        return Probe::note(message, remedy);
    }
    Probe::good(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{
        kind::Outcome,
        kinds::{
            camera::{Redirects, Unchanged},
            stream::settings::{Input, Pace},
        },
    };

    #[test]
    fn what_is_reported_about_a_camera() {
        let settings = Stream {
            input: Input::File("x".into()),
            every: Duration::from_secs(1),
            decode: Decode::Auto,
            hwaccel: Hwaccel::None,
            transport: None,
            redirects: Redirects::SameHost,
            tls: crate::tls::Trust::System,
            pace: Pace::Real,
            open_timeout: Duration::from_secs(30),
            stall_after: Duration::from_secs(20),
            unchanged: Unchanged::Score,
        };
        let good = Findings {
            codec: "h264".to_owned(),
            size: Some((1920, 1080)),
            rate: 24.9,
            key_frames: Some(Duration::from_secs(1)),
            only_key_frames: true,
            lacks_key_frames: false,
        };
        let report = |found: &Findings, max_pixels| describe(&settings, found, max_pixels);
        let probe = report(&good, 100_000_000);
        let expected = "h264 1920x1080, 25 frames/s, a key frame every 1.0 s: only key frames are decoded";
        assert_eq!((probe.outcome, &*probe.message), (Outcome::Good, expected));
        assert_eq!(report(&good, 1_000).outcome, Outcome::Failed);
        let slow = Findings { only_key_frames: false, lacks_key_frames: true, ..good.clone() };
        assert_eq!(report(&slow, 100_000_000).outcome, Outcome::Note);
        let blind = Findings { size: None, ..good };
        assert_eq!(report(&blind, 100_000_000).outcome, Outcome::Failed);
    }
}
