//! A short look at a stream: what it sends, and what would be decoded of it.
//!
//! It refuses to go on for longer than it is told to: two intervals between key frames are enough to know.

use std::time::{Duration, Instant};

use ffmpeg_next::codec;

use super::{
    decoder::{Decoder, Need},
    error::StreamError,
    input::{self, Next, Opened},
    recording::alone,
};
use crate::{
    config::{Decode, Hwaccel, Stream},
    source::sampler::{Clock, Decoded, KeyFrames, choose},
};

/// Of a recording, which is read as fast as the disk allows, so many packets are enough.
const PACKETS: u32 = 2_000;

/// What a stream sends.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamProbe {
    /// How it is encoded: `h264`, `hevc`.
    pub codec: String,
    /// Pixels from left to right and from top to bottom, of the first whole frame; `None`: there was none.
    pub size: Option<(u32, u32)>,
    /// Pictures in a second.
    pub rate: f64,
    /// The longest time between two key frames; `None`: they do not come often enough to tell.
    pub key_frames: Option<Duration>,
    /// Whether only key frames would be decoded.
    pub only_key_frames: bool,
    /// Whether every frame would be decoded although only key frames were asked for where they suffice.
    pub all_for_want_of_key_frames: bool,
}

/// The FFmpeg that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    /// The version of libavcodec.
    pub codec: String,
    /// The version of libavformat.
    pub format: String,
    /// What cameras send and this build cannot decode.
    pub lacks: Vec<&'static str>,
}

/// Looks at the libraries that are linked.
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

/// Looks at the stream of `settings` for at most `longest`.
///
/// # Errors
/// It cannot be opened, ends, or holds no video that can be decoded.
pub fn probe(settings: &Stream, max_pixels: u64, longest: Duration) -> Result<StreamProbe, StreamError> {
    let origin = input::shown(&settings.input);
    let context = alone(&origin, max_pixels);
    let mut opened = Opened::open(settings, &origin, &context)?
        .expect("nobody else has the token by which it is told to stop");
    let mut decoder = Decoder::new(&opened, Hwaccel::None, &origin)?;
    let codec = opened.codec();
    let mut clock = Clock::new(opened.played, opened.frame_time());
    let (mut key_frames, mut size, mut packets, began) = (KeyFrames::default(), None, 0, Instant::now());
    let (mut first, mut now) = (None, Duration::ZERO);
    while began.elapsed() < longest && packets < PACKETS && key_frames.interval(now).is_none() {
        let Next::Packet(packet, _) = opened.next(&origin, &context)? else { break };
        now = clock.advance(opened.stamp(&packet), began.elapsed());
        first.get_or_insert(now);
        packets += 1;
        if packet.is_key() {
            key_frames.record(now);
        }
        if size.is_none() && decoder.feed(&packet, Need::Frame, &context.counts) {
            size = Some((decoder.frame().width(), decoder.frame().height()));
        }
    }
    let seconds = now.saturating_sub(first.unwrap_or_default()).as_secs_f64();
    let interval = key_frames.interval(now);
    let only_key_frames = choose(settings.decode, interval, settings.every) == Decoded::KeyFrames;
    Ok(StreamProbe {
        codec,
        size,
        rate: if seconds > 0.0 { f64::from(packets - 1) / seconds } else { 0.0 },
        key_frames: interval,
        only_key_frames,
        all_for_want_of_key_frames: settings.decode == Decode::Auto && !only_key_frames,
    })
}
