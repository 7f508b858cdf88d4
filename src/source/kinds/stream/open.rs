//! Opens an input with FFmpeg.

use std::{
    path::Path,
    ptr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use ffmpeg_next::{
    self as ffmpeg, Dictionary, codec, ffi,
    format::{self, context},
    media,
};

use super::{
    access_units::Assembler,
    allowed::Allowed,
    connect::connect,
    deadline::Deadline,
    decoder, device,
    error::StreamError,
    input::{Opened, Packets, assembled},
    packet_loss,
    reader::Reader,
    relay::{Camera, Relay, RelayError},
    settings::{Input, Stream, Transport},
    transport::Transports,
    upright::View,
};
use crate::{
    picture::{self, Limits},
    source::{
        context::Context,
        kinds::login::{self, SharedLogin},
        sampler::Played,
    },
    tls::Trust,
};

/// What is remembered about a camera while its source exists.
pub(crate) struct Memory {
    pub(crate) transports: Transports,
    /// The login, with what the camera has asked for.
    login: Option<SharedLogin>,
}

impl Memory {
    /// Of a camera that was not opened yet.
    pub(crate) fn new(settings: &Stream) -> Self {
        let login = match &settings.input {
            Input::Rtsp(address) | Input::Url(address) => address.login().map(login::shared),
            Input::File(_) => None,
        };
        Self { transports: Transports::new(settings.transport), login }
    }
}

impl Opened {
    /// Opens the stream, over another transport if the camera refuses the first; `None` after the stop signal.
    pub(crate) fn open(
        settings: &Stream,
        origin: &str,
        context: &Context,
        memory: &mut Memory,
    ) -> Result<Option<Self>, StreamError> {
        prepare();
        limit_allocations(context.limits());
        let Memory { transports, login } = memory;
        let over = |transport| open_over(settings, origin, context, login.as_ref(), transport);
        if settings.input.is_tls() {
            // The only transport that leads through TLS.
            return over(Transport::Tcp);
        }
        let refused = match over(transports.next()) {
            Err(error) if matches!(settings.input, Input::Rtsp(_)) => error,
            opened => return opened,
        };
        let (first, outcome) = (transports.next(), refused.outcome());
        if !transports.record(outcome) {
            return Err(refused);
        }
        match over(transports.next()) {
            Ok(opened) => {
                tracing::info!(
                    source = &*context.name,
                    "{origin} refuses {}, so {} is used: {refused}",
                    first.as_str(),
                    transports.next().as_str()
                );
                Ok(opened)
            }
            // Unless it is the transport itself, the cause of the usual one is to be corrected.
            Err(error) => {
                transports.record(error.outcome());
                Err(if matches!(refused, StreamError::Transport(_)) { error } else { refused })
            }
        }
    }
}

fn open_over(
    settings: &Stream,
    origin: &str,
    context: &Context,
    login: Option<&SharedLogin>,
    transport: Transport,
) -> Result<Option<Opened>, StreamError> {
    let address = || origin.to_owned();
    let no_answer =
        || StreamError::NoAnswer { address: address(), seconds: settings.open_timeout.as_secs_f64() };
    let relay = match relay(settings, login, context) {
        Ok(relay) => relay,
        Err(RelayError::Stopped) => return Ok(None),
        Err(RelayError::NoAnswer) => return Err(no_answer()),
        Err(RelayError::Unreachable(cause)) => {
            return Err(StreamError::Unreachable { address: address(), cause });
        }
        Err(RelayError::Failed(cause)) => return Err(StreamError::NotOpened { address: address(), cause }),
    };
    let url = url(settings, origin, relay.as_ref())?;
    packet_loss::reset();
    let (deadline, close) = (Deadline::new(settings.open_timeout), Arc::new(AtomicBool::new(false)));
    let interrupt = {
        let (deadline, close, stop) = (deadline.clone(), Arc::clone(&close), context.stop.clone());
        let (counts, source) = (Arc::clone(&context.counts), thread::current().id());
        move || {
            // FFmpeg calls this often while it waits. A call on another thread does not show that the source makes progress.
            if thread::current().id() == source {
                counts.pulse().beat();
            }
            stop.is_cancelled() || close.load(Ordering::Relaxed) || deadline.interrupts()
        }
    };
    let (allowed, options) = options(settings, transport, relay.as_ref());
    let opened = connect(&url, interrupt, options, allowed.nested).and_then(|(mut input, gate)| {
        // FFmpeg forgets the size of a video that it cannot decode, and one that is too large is not decoded.
        let declared = declared_size(&input);
        if !declares_its_video(settings, &input) {
            find_properties(&mut input, matches!(settings.input, Input::File(_)), context.limits())?;
        }
        Ok((input, gate, declared))
    });
    let (input, gate, declared) = match opened {
        _ if context.stop.is_cancelled() => return Ok(None),
        // FFmpeg returns success for an interrupted search for properties, and then delivers nothing.
        _ if deadline.has_interrupted() => return Err(no_answer()),
        Ok(opened) => opened,
        Err(error) => {
            return Err(match relay.as_ref().and_then(Relay::failure) {
                Some(failure) => StreamError::of_relay(failure, origin),
                None => StreamError::of_opening(error, origin, login.is_some()),
            });
        }
    };
    let opened = opened_stream(settings, origin, context, (input, deadline, close), login.is_some())?;
    let size = if opened.size == (0, 0) { declared } else { opened.size };
    Ok(Some(Opened { _gate: Some(gate), relay, size, ..opened }))
}

/// What FFmpeg opens.
fn url(settings: &Stream, origin: &str, relay: Option<&Relay>) -> Result<String, StreamError> {
    Ok(match (&settings.input, relay) {
        // The relay has the login. Only RTMP has it in its own messages.
        (Input::Rtsp(address) | Input::Url(address), Some(relay)) => {
            let address = address.plain_at(&relay.host());
            let has_own = address.scheme() == "rtmp";
            (if has_own { address } else { address.without_login() }).reveal().into_owned()
        }
        (Input::Rtsp(address) | Input::Url(address), None) => address.reveal().into_owned(),
        (Input::File(path), _) if device::is_camera(path) => {
            let not_opened = |cause| StreamError::NotOpened { address: origin.to_owned(), cause };
            device::register().map_err(not_opened)?;
            path.to_string_lossy().into_owned()
        }
        (Input::File(path), _) => file_url(path),
    })
}

/// A file as FFmpeg names it. Without the scheme, the name of a file could be taken for one: `concat:...`.
fn file_url(path: &Path) -> String {
    format!("file:{}", path.to_string_lossy())
}

/// Whether the stream is described well enough to decode it: RTSP cameras do so before they start. The search for properties
/// reads some frames, which takes a slow camera minutes.
fn declares_its_video(settings: &Stream, input: &context::Input) -> bool {
    let video = || input.streams().best(media::Type::Video);
    is_live_rtsp(settings, input) && video().is_some_and(|stream| stream.parameters().id() != codec::Id::None)
}

/// Whether it is an RTSP camera. A recording that is played over RTSP declares its duration.
fn is_live_rtsp(settings: &Stream, input: &context::Input) -> bool {
    match &settings.input {
        Input::Rtsp(_) => true,
        Input::Url(address) => address.scheme().starts_with("rtsp") && input.duration() <= 0,
        Input::File(_) => false,
    }
}

/// The properties of a connected input, and how it is read.
fn opened_stream(
    settings: &Stream,
    origin: &str,
    context: &Context,
    (mut input, deadline, close): (context::Input, Deadline, Arc<AtomicBool>),
    has_login: bool,
) -> Result<Opened, StreamError> {
    let stream = input.streams().best(media::Type::Video);
    let stream = stream.ok_or_else(|| StreamError::NoVideo(origin.to_owned()))?;
    let (video, time_base) = (stream.index(), stream.time_base());
    // A copy of its own: the stream's parameters share the input, which another thread may read.
    let mut parameters = codec::Parameters::new();
    parameters.clone_from(&stream.parameters());
    let size = size_of(&parameters);
    let (codec, rate, view) =
        (parameters.id(), decoder::plausible_rate(stream.avg_frame_rate()), View::of_stream(&stream));
    let is_file = matches!(&settings.input, Input::File(path) if path.is_file());
    let is_rtsp = matches!(settings.input, Input::Rtsp(_));
    let played = if is_file || !is_rtsp && input.duration() > 0 { Played::Recorded } else { Played::Live };
    let packets = match assembled(codec).filter(|_| is_live_rtsp(settings, &input)) {
        Some(encoding) => {
            // The thread that reads is only interrupted to end it.
            deadline.clear();
            without_parser(&mut input);
            let reader = Reader::start(input, video, close, &context.name);
            let not_started = |cause: std::io::Error| StreamError::NotOpened {
                address: origin.to_owned(),
                cause: format!("no thread can be started: {cause}"),
            };
            let (reader, assembler) = (reader.map_err(not_started)?, Assembler::new(encoding));
            Packets::Payloads { reader, assembler, newest: Instant::now() }
        }
        None => {
            deadline.set(settings.stall_after);
            Packets::Whole { input, video, deadline }
        }
    };
    let stall_after = settings.stall_after;
    Ok(Opened {
        packets,
        codec,
        parameters,
        size,
        time_base,
        rate,
        view,
        played,
        has_login,
        stall_after,
        has_delivered: false,
        _gate: None,
        relay: None,
    })
}

/// The way to a camera, for all that FFmpeg's own client must not do; `None` for any other input.
fn relay(
    settings: &Stream,
    login: Option<&SharedLogin>,
    context: &Context,
) -> Result<Option<Relay>, RelayError> {
    let (Input::Rtsp(address) | Input::Url(address)) = &settings.input else { return Ok(None) };
    let needs_relay = ["rtsp", "rtsps", "http", "https", "rtmps"].contains(&address.scheme());
    let Some((host, port)) = address.door().filter(|_| needs_relay) else { return Ok(None) };
    let camera = Camera {
        host,
        port,
        authority: address.authority().to_owned(),
        scheme: address.scheme().to_owned(),
        is_tls: address.is_tls(),
        redirects: settings.redirects,
        login: login.cloned(),
    };
    let is_stopped = || {
        context.counts.pulse().beat();
        context.stop.is_cancelled()
    };
    Relay::open(&camera, &settings.tls, settings.open_timeout, is_stopped).map(Some)
}

/// Options of FFmpeg's own TLS, for other servers that `redirects: any_host` allows. It cannot check a fingerprint.
fn own_tls(options: &mut Dictionary<'static>, trust: &Trust) {
    options.set("tls_verify", if *trust == Trust::Unverified { "0" } else { "1" });
    if let Trust::Ca(file) = trust {
        options.set("ca_file", &file.to_string_lossy());
    }
}

fn options(settings: &Stream, transport: Transport, relay: Option<&Relay>) -> (Allowed, Dictionary<'static>) {
    let is_device = matches!(&settings.input, Input::File(path) if device::is_camera(path));
    let allowed = Allowed::of(&settings.input, settings.redirects, is_device, relay.map(Relay::address));
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", allowed.protocols);
    options.set("format_whitelist", &allowed.formats);
    if let Some(relay) = relay {
        options.set("user_agent", relay.secret_name());
    }
    match &settings.input {
        // AVFMT_FLAG_NONBLOCK, which has no name as an option. Otherwise a camera that hangs could not be interrupted.
        Input::File(_) if is_device => options.set("fflags", "+4"),
        Input::File(_) => {}
        Input::Url(address) => {
            if address.scheme().starts_with("http") {
                own_tls(&mut options, &settings.tls);
                // A proxy of the environment cannot reach the relay.
                options.set("http_proxy", "");
                // The relay reads one request on each connection.
                options.set("http_persistent", "0");
                options.set("multiple_requests", "0");
            }
            if address.scheme() == "rtmps" {
                let address = address.without_login();
                if let Some((place, _)) = address.reveal().rsplit_once('/') {
                    options.set("rtmp_tcurl", place);
                }
            }
            if address.scheme() == "rtsps" {
                options.set("rtsp_transport", transport.as_str());
            }
            // Measuring the rate takes the first frames, which are minutes with a slow camera.
            options.set("fpsprobesize", "0");
        }
        Input::Rtsp(_) => {
            options.set("rtsp_transport", transport.as_str());
            options.set("allowed_media_types", "video");
            options.set("analyzeduration", "1000000");
            options.set("fpsprobesize", "0");
        }
    }
    (allowed, options)
}

/// Reads as much of the input as FFmpeg needs to know its properties. What it reads is delivered afterwards.
///
/// FFmpeg decodes some frames for that, of every stream. Of a file, which strangers may have made, it decodes only the video that
/// will be used. If streams appear later, which FFmpeg then decodes without limits, it decodes none.
fn find_properties(input: &mut context::Input, is_file: bool, limits: Limits) -> Result<(), ffmpeg::Error> {
    let video = input.streams().best(media::Type::Video).map(|stream| stream.index());
    // SAFETY: the input holds a valid context, which this function has for itself. There is a dictionary for each stream that it
    // has now; FFmpeg may replace each of them, and all are freed once, below.
    #[allow(unsafe_code)]
    let result = unsafe {
        let context = input.as_mut_ptr();
        if is_file && (*context).ctx_flags & ffi::AVFMTCTX_NOHEADER != 0 {
            ffi::av_opt_set(context.cast(), c"codec_whitelist".as_ptr(), c"none".as_ptr(), 0);
        }
        let options = |stream: usize| match is_file && Some(stream) != video {
            true => no_decoder().disown(),
            false => decoder::within(limits).disown(),
        };
        let mut options: Vec<_> = (0..(*context).nb_streams as usize).map(options).collect();
        let first = if options.is_empty() { ptr::null_mut() } else { options.as_mut_ptr() };
        let result = ffi::avformat_find_stream_info(context, first);
        options.into_iter().for_each(|options| drop(Dictionary::own(options)));
        result
    };
    if result < 0 { Err(ffmpeg::Error::from(result)) } else { Ok(()) }
}

/// Width and height of the video, as its container declares them; 0 if it does not.
fn declared_size(input: &context::Input) -> (u64, u64) {
    input.streams().best(media::Type::Video).map_or((0, 0), |stream| size_of(&stream.parameters()))
}

fn size_of(parameters: &codec::Parameters) -> (u64, u64) {
    // SAFETY: parameters always point to a valid structure of FFmpeg. Two of its fields are read.
    #[allow(unsafe_code)]
    let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
    (u64::try_from(width).unwrap_or(0), u64::try_from(height).unwrap_or(0))
}

/// Options with which FFmpeg opens no decoder: a list of the allowed ones that contains none.
fn no_decoder() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("codec_whitelist", "none");
    options
}

/// Limits each single allocation of FFmpeg, such as the index of a recording: a small file can declare millions of frames. The
/// process has one such limit, so it is never below the default of `memory`.
fn limit_allocations(limits: Limits) {
    let most = limits.memory.clamp(picture::MEMORY, i32::MAX as u64);
    // SAFETY: this sets a number. Larger allocations fail afterwards.
    #[allow(unsafe_code)]
    unsafe {
        ffi::av_max_alloc(usize::try_from(most).unwrap_or(usize::MAX));
    }
}

/// Makes FFmpeg return the payload of each RTP packet as it is.
fn without_parser(input: &mut context::Input) {
    // SAFETY: the input holds a valid context. The flags may be changed until the first packet is read, and none was read yet.
    #[allow(unsafe_code)]
    unsafe {
        (*input.as_mut_ptr()).flags |= (ffi::AVFMT_FLAG_NOPARSE | ffi::AVFMT_FLAG_NOFILLIN) as libc::c_int;
    }
}

/// Initialises FFmpeg's error texts and network, and silences its log, which may hold an address with its query.
fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        packet_loss::install();
        format::network::init();
        picture::register_error_texts();
    });
}
