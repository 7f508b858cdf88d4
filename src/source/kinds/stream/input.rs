//! Opens and reads an input with FFmpeg, with a deadline for each call.
//!
//! FFmpeg's error codes are not reliable for a call that was interrupted, so the stop signal and the deadline are checked
//! first.

use std::{
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ffmpeg_next::{
    self as ffmpeg, Dictionary, Packet, Rational, Rescale, codec,
    error::EAGAIN,
    format::{self, context},
    media, rescale,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    device,
    error::StreamError,
    packet_loss,
    settings::{Input, Stream, Transport},
    tunnel::{Camera, Tunnel, TunnelError},
};
use crate::{
    source::{context::Context, sampler::Played},
    tls::Trust,
};

/// The limit to connect and to read the properties of the stream.
const OPEN: Duration = Duration::from_secs(10);

/// An open stream.
pub(crate) struct Opened {
    input: context::Input,
    video: usize,
    codec: codec::Id,
    time_base: Rational,
    pub(crate) played: Played,
    has_login: bool,
    deadline: Arc<Deadline>,
    stall_after: Duration,
    /// The last field: it outlives the input that reads from it.
    tunnel: Option<Tunnel>,
}

/// The result of reading.
pub(crate) enum Next {
    /// A packet of the video, and whether a part of it may be lost.
    Packet(Packet, bool),
    /// The recording is over.
    End,
    /// The stop signal.
    Stopped,
}

impl Opened {
    /// Opens the stream; `None` after the stop signal.
    pub(crate) fn open(
        settings: &Stream,
        origin: &str,
        context: &Context,
    ) -> Result<Option<Self>, StreamError> {
        prepare();
        let tunnel = match tunnel(settings, context) {
            Ok(tunnel) => tunnel,
            Err(TunnelError::Stopped) => return Ok(None),
            Err(TunnelError::NoAnswer) => {
                return Err(StreamError::NoAnswer { address: origin.to_owned(), seconds: OPEN.as_secs() });
            }
            Err(TunnelError::Failed(cause)) => {
                return Err(StreamError::NotOpened { address: origin.to_owned(), cause });
            }
        };
        let (url, has_login) = match (&settings.input, &tunnel) {
            (Input::Rtsp(address) | Input::Url(address), Some(tunnel)) => {
                (address.plain_url_at(&tunnel.host()), address.login().is_some())
            }
            (Input::Rtsp(address) | Input::Url(address), None) => {
                (address.url_with_login(), address.login().is_some())
            }
            (Input::File(path), _) => {
                if device::is_camera(path) {
                    let not_opened = |cause| StreamError::NotOpened { address: origin.to_owned(), cause };
                    device::register().map_err(not_opened)?;
                }
                (path.to_string_lossy().into_owned(), false)
            }
        };
        packet_loss::reset();
        let deadline = Arc::new(Deadline::new());
        deadline.set(OPEN);
        let (watched, stop, counts) =
            (Arc::clone(&deadline), context.stop.clone(), Arc::clone(&context.counts));
        let interrupt = move || {
            // FFmpeg calls this often while it waits.
            counts.pulse().beat();
            stop.is_cancelled() || watched.passed()
        };
        let opened =
            format::input_with_interrupt_and_dictionary(&url, interrupt, options(settings, tunnel.is_some()));
        let input = match opened {
            Ok(input) => input,
            Err(_) if context.stop.is_cancelled() => return Ok(None),
            Err(_) if deadline.passed() => {
                return Err(StreamError::NoAnswer { address: origin.to_owned(), seconds: OPEN.as_secs() });
            }
            Err(error) => {
                return Err(match tunnel.as_ref().and_then(Tunnel::failure) {
                    Some(cause) => StreamError::NotOpened { address: origin.to_owned(), cause },
                    None => not_opened(error, origin, has_login),
                });
            }
        };
        let video =
            input.streams().best(media::Type::Video).map(|stream| (stream.index(), stream.time_base()));
        let (video, time_base) = video.ok_or_else(|| StreamError::NoVideo(origin.to_owned()))?;
        let is_file = matches!(&settings.input, Input::File(path) if path.is_file());
        let has_length = input.duration() > 0 && !matches!(settings.input, Input::Rtsp(_));
        let played = if is_file || has_length { Played::Recorded } else { Played::Live };
        let stall_after = settings.stall_after;
        deadline.set(stall_after);
        let codec = input.stream(video).map_or(codec::Id::None, |stream| stream.parameters().id());
        Ok(Some(Self { input, video, codec, time_base, played, has_login, deadline, stall_after, tunnel }))
    }

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
        let rate = f64::from(self.input.stream(self.video)?.avg_frame_rate());
        (0.1..=1000.0).contains(&rate).then_some(rate)
    }

    /// When it was recorded, if the file says so. Devices without the time write the first second of their calendar.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        const PLAUSIBLE: i16 = 1990;
        let metadata = self.input.metadata();
        let keys = ["com.apple.quicktime.creationdate", "creation_time", "date"];
        let began = keys.iter().find_map(|key| metadata.get(key)?.parse::<Timestamp>().ok())?;
        (TimeZone::UTC.to_datetime(began).year() >= PLAUSIBLE).then_some(began)
    }

    /// Its duration, if the file says so.
    pub(crate) fn length(&self) -> Option<Duration> {
        u64::try_from(self.input.duration()).ok().filter(|length| *length > 0).map(Duration::from_micros)
    }

    /// FFmpeg's name of the video's encoding.
    pub(crate) fn codec(&self) -> String {
        self.parameters().map_or("unknown", |parameters| parameters.id().name()).to_owned()
    }

    /// The parameters for a decoder.
    pub(crate) fn parameters(&self) -> Option<codec::Parameters> {
        Some(self.input.stream(self.video)?.parameters())
    }

    /// The next packet of the video.
    pub(crate) fn next(&mut self, origin: &str, context: &Context) -> Result<Next, StreamError> {
        if self.is_recording() {
            // Between two packets of a recording the source may have waited for a slot.
            self.deadline.set(self.stall_after);
        }
        loop {
            let mut packet = Packet::empty();
            let read = packet.read(&mut self.input);
            if context.stop.is_cancelled() {
                return Ok(Next::Stopped);
            }
            match read {
                // Audio does not count as progress.
                Ok(()) if packet.stream() != self.video || packet.size() == 0 => {}
                // No decoder can follow a change of the encoding; the stream is opened again.
                Ok(()) if self.has_changed() => {
                    return self.lost("its encoding changed", context, origin);
                }
                Ok(()) => {
                    self.deadline.set(self.stall_after);
                    return Ok(Next::Packet(packet, packet_loss::is_damaged()));
                }
                Err(_) if self.deadline.passed() => {}
                Err(ffmpeg::Error::Other { errno: EAGAIN }) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return self.ended(error, origin, context),
            }
            if self.deadline.passed() {
                let seconds = self.stall_after.as_secs_f64();
                return Err(StreamError::Stalled { address: origin.to_owned(), seconds });
            }
        }
    }

    fn ended(&self, error: ffmpeg::Error, origin: &str, context: &Context) -> Result<Next, StreamError> {
        match error {
            ffmpeg::Error::Eof if self.is_recording() => Ok(Next::End),
            ffmpeg::Error::Eof => self.lost("it ended", context, origin),
            ffmpeg::Error::HttpUnauthorized => Err(not_opened(error, origin, self.has_login)),
            other => self.lost(&other.to_string(), context, origin),
        }
    }

    /// Whether the encoding differs from the one when the stream was opened.
    fn has_changed(&self) -> bool {
        self.input.stream(self.video).is_some_and(|stream| stream.parameters().id() != self.codec)
    }

    fn lost(&self, cause: &str, context: &Context, origin: &str) -> Result<Next, StreamError> {
        if self.is_recording() {
            tracing::warn!(source = &*context.name, cause, "the recording is damaged: the rest is skipped");
            return Ok(Next::End);
        }
        let cause = self.tunnel.as_ref().and_then(Tunnel::failure).unwrap_or_else(|| cause.to_owned());
        Err(StreamError::Lost { address: origin.to_owned(), cause })
    }

    /// The time stamp of a packet in microseconds, in the order of decoding, which is that of the packets.
    pub(crate) fn stamp(&self, packet: &Packet) -> Option<i64> {
        let stamp = packet.dts().or_else(|| packet.pts())?;
        Some(stamp.rescale(self.time_base, rescale::TIME_BASE))
    }
}

/// The way to an address with TLS; `None` for any other input.
fn tunnel(settings: &Stream, context: &Context) -> Result<Option<Tunnel>, TunnelError> {
    let (Input::Rtsp(address) | Input::Url(address)) = &settings.input else { return Ok(None) };
    let Some((host, port)) = address.door().filter(|_| address.is_tls()) else { return Ok(None) };
    let camera = Camera { host, port, is_http: address.url().starts_with("http") };
    let is_stopped = || {
        context.counts.pulse().beat();
        context.stop.is_cancelled()
    };
    Tunnel::open(&camera, &settings.tls, OPEN, is_stopped).map(Some)
}

/// Options of FFmpeg's own TLS, for redirects to other servers. It cannot check a fingerprint.
fn own_tls(options: &mut Dictionary<'static>, trust: &Trust) {
    options.set("tls_verify", if *trust == Trust::Unverified { "0" } else { "1" });
    if let Trust::Ca(file) = trust {
        options.set("ca_file", &file.to_string_lossy());
    }
}

fn options(settings: &Stream, has_tunnel: bool) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    if let Input::Url(address) = &settings.input {
        own_tls(&mut options, &settings.tls);
        if let Some(path) = address.url().strip_prefix("rtmps://").and_then(|url| url.rsplit_once('/')) {
            options.set("rtmp_tcurl", &format!("rtmps://{}", path.0));
        }
    }
    if matches!(&settings.input, Input::File(path) if device::is_camera(path)) {
        // AVFMT_FLAG_NONBLOCK, which has no name as an option. Otherwise a camera that hangs could not be interrupted.
        options.set("fflags", "+4");
    }
    if let Input::Rtsp(_) = settings.input {
        let transport = match settings.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        options.set("rtsp_transport", transport);
        options.set("allowed_media_types", "video");
        // A camera declares its stream before it starts; measuring the rate would take the first seconds.
        options.set("analyzeduration", "1000000");
        options.set("fpsprobesize", "0");
    }
    if has_tunnel && settings.input.shown().starts_with("rtsps") {
        // The only connection that leads through the tunnel.
        options.set("rtsp_transport", "tcp");
    }
    options
}

fn not_opened(error: ffmpeg::Error, origin: &str, has_login: bool) -> StreamError {
    let address = origin.to_owned();
    let remedy = match error {
        ffmpeg::Error::HttpUnauthorized if has_login => "the user or the password is wrong",
        ffmpeg::Error::HttpUnauthorized => "give it a `username:` and a `password:`",
        ffmpeg::Error::HttpForbidden => "this user may not see the stream",
        ffmpeg::Error::HttpNotFound => return StreamError::Missing(address),
        other => return StreamError::NotOpened { address, cause: other.to_string() },
    };
    StreamError::Denied { address, remedy }
}

/// Initialises FFmpeg's error texts and network, and silences its log, which may hold a password.
fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        packet_loss::install();
        format::network::init();
        // This registers texts and devices, and cannot fail.
        let _ = ffmpeg::init();
    });
}

/// When the current call is interrupted. FFmpeg checks it thousands of times a minute.
struct Deadline {
    epoch: Instant,
    at: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        Self { epoch: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    fn set(&self, from_now: Duration) {
        self.at.store(milliseconds(self.epoch.elapsed() + from_now), Ordering::Relaxed);
    }

    fn passed(&self) -> bool {
        milliseconds(self.epoch.elapsed()) >= self.at.load(Ordering::Relaxed)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
