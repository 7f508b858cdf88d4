//! Opens an input with FFmpeg.

use std::{
    ffi::CString,
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
    util::interrupt,
};

use super::{
    access_units::Assembler,
    challenge,
    deadline::Deadline,
    decoder, device,
    error::StreamError,
    input::{Opened, Packets, assembled},
    packet_loss,
    reader::Reader,
    settings::{Input, Stream, Transport},
    transport::Transports,
    tunnel::{Camera, Tunnel, TunnelError},
    upright::View,
};
use crate::{
    picture::{self, Limits},
    source::{context::Context, sampler::Played},
    tls::Trust,
    yaml::Address,
};

impl Opened {
    /// Opens the stream, over another transport if the camera refuses the first; `None` after the stop signal.
    pub(crate) fn open(
        settings: &Stream,
        origin: &str,
        context: &Context,
        transports: &mut Transports,
    ) -> Result<Option<Self>, StreamError> {
        prepare();
        limit_allocations(context.limits());
        if settings.input.is_tls() {
            // The only transport that leads through the tunnel.
            return open_over(settings, origin, context, Transport::Tcp);
        }
        let refused = match open_over(settings, origin, context, transports.next()) {
            Err(error) if matches!(settings.input, Input::Rtsp(_)) => error,
            opened => return opened,
        };
        let (first, outcome) = (transports.next(), refused.outcome());
        if !transports.record(outcome) {
            return Err(refused);
        }
        match open_over(settings, origin, context, transports.next()) {
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
    transport: Transport,
) -> Result<Option<Opened>, StreamError> {
    let no_answer =
        || StreamError::NoAnswer { address: origin.to_owned(), seconds: settings.open_timeout.as_secs_f64() };
    let tunnel = match tunnel(settings, context) {
        Ok(tunnel) => tunnel,
        Err(TunnelError::Stopped) => return Ok(None),
        Err(TunnelError::NoAnswer) => return Err(no_answer()),
        Err(TunnelError::Failed(cause)) => {
            return Err(StreamError::NotOpened { address: origin.to_owned(), cause });
        }
    };
    let url = url(settings, origin, tunnel.as_ref())?;
    packet_loss::reset();
    let (deadline, close) = (Deadline::new(settings.open_timeout), Arc::new(AtomicBool::new(false)));
    let interrupt = {
        let (deadline, close) = (deadline.clone(), Arc::clone(&close));
        move || {
            let (deadline, close, stop) = (deadline.clone(), Arc::clone(&close), context.stop.clone());
            let (counts, source) = (Arc::clone(&context.counts), thread::current().id());
            move || {
                // FFmpeg calls this often while it waits. A call on another thread does not show that the source makes progress.
                if thread::current().id() == source {
                    counts.pulse().beat();
                }
                stop.is_cancelled() || close.load(Ordering::Relaxed) || deadline.interrupts()
            }
        }
    };
    let mut opened = connect(&url.text, interrupt(), options(settings, transport));
    if matches!(opened, Err(ffmpeg::Error::HttpUnauthorized)) && needs_basic(settings, &url, tunnel.as_ref())
    {
        opened = connect(&url.plain, interrupt(), with_basic(settings, options(settings, transport)));
    } else if url.is_cut_off && matches!(opened, Err(ffmpeg::Error::HttpUnauthorized)) {
        return Err(long_login(settings, origin));
    }
    let opened = opened.and_then(|mut input| {
        // FFmpeg forgets the size of a video that it cannot decode, and one that is too large is not decoded.
        let declared = declared_size(&input);
        if !declares_its_video(settings, &input) {
            find_properties(&mut input, matches!(settings.input, Input::File(_)), context.limits())?;
        }
        Ok((input, declared))
    });
    let has_login = url.has_login;
    let (input, declared) = match opened {
        _ if context.stop.is_cancelled() => return Ok(None),
        // FFmpeg returns success for an interrupted search for properties, and then delivers nothing.
        _ if deadline.has_interrupted() => return Err(no_answer()),
        Ok(opened) => opened,
        Err(error) => {
            return Err(match tunnel.as_ref().and_then(Tunnel::failure) {
                Some(cause) => StreamError::NotOpened { address: origin.to_owned(), cause },
                None => StreamError::of_opening(error, origin, has_login),
            });
        }
    };
    let opened = opened_stream(settings, origin, context, (input, deadline, close), has_login)?;
    let size = if opened.size == (0, 0) { declared } else { opened.size };
    Ok(Some(Opened { tunnel, size, ..opened }))
}

/// What FFmpeg opens.
struct Url {
    /// With user and password, unless FFmpeg would cut them off.
    text: String,
    /// Without user and password.
    plain: String,
    /// There are a user and a password.
    has_login: bool,
    /// User and password are too long for FFmpeg.
    is_cut_off: bool,
}

/// FFmpeg's RTSP client keeps user and password in 128 bytes, and cuts off the rest without an error.
const LONGEST_LOGIN: usize = 127;

fn url(settings: &Stream, origin: &str, tunnel: Option<&Tunnel>) -> Result<Url, StreamError> {
    match &settings.input {
        Input::Rtsp(address) | Input::Url(address) => {
            let at = |address: &Address| {
                tunnel.map_or_else(|| address.url_with_login(), |tunnel| address.plain_url_at(&tunnel.host()))
            };
            let is_rtsp = matches!(settings.input, Input::Rtsp(_));
            let is_cut_off = is_rtsp && address.encoded_login_length() > LONGEST_LOGIN;
            let plain = at(&address.without_login());
            let text = if is_cut_off { plain.clone() } else { at(address) };
            Ok(Url { text, plain, has_login: address.login().is_some(), is_cut_off })
        }
        Input::File(path) => {
            if device::is_camera(path) {
                let not_opened = |cause| StreamError::NotOpened { address: origin.to_owned(), cause };
                device::register().map_err(not_opened)?;
            }
            let text = path.to_string_lossy().into_owned();
            Ok(Url { plain: text.clone(), text, has_login: false, is_cut_off: false })
        }
    }
}

/// Whether the camera accepts basic authentication, which FFmpeg did not use.
fn needs_basic(settings: &Stream, url: &Url, tunnel: Option<&Tunnel>) -> bool {
    let Input::Rtsp(address) = &settings.input else { return false };
    let door = match tunnel {
        Some(tunnel) => tunnel
            .host()
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))),
        None => address.door(),
    };
    let Some((host, port)) = door.filter(|_| url.has_login) else { return false };
    // An error says less than the refusal that FFmpeg received.
    challenge::offered((&host, port), &url.plain)
        .is_ok_and(|challenges| challenge::needs_basic(&challenges, !url.is_cut_off))
}

/// Adds user and password to every request. FFmpeg has no option for a header, so another one is continued on the next line.
fn with_basic(settings: &Stream, mut options: Dictionary<'static>) -> Dictionary<'static> {
    if let Input::Rtsp(address) = &settings.input
        && let Some(login) = address.login()
    {
        options.set("user_agent", &format!("stakeout\r\nAuthorization: {}", challenge::basic(login)));
    }
    options
}

fn long_login(settings: &Stream, origin: &str) -> StreamError {
    let length = match &settings.input {
        Input::Rtsp(address) => address.encoded_login_length(),
        _ => 0,
    };
    StreamError::LongLogin { address: origin.to_owned(), bytes: length, most: LONGEST_LOGIN }
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
        Input::Url(address) => address.url().starts_with("rtsp") && input.duration() <= 0,
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
        tunnel: None,
    })
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
    Tunnel::open(&camera, &settings.tls, settings.open_timeout, is_stopped).map(Some)
}

/// Options of FFmpeg's own TLS, for redirects to other servers. It cannot check a fingerprint.
fn own_tls(options: &mut Dictionary<'static>, trust: &Trust) {
    options.set("tls_verify", if *trust == Trust::Unverified { "0" } else { "1" });
    if let Trust::Ca(file) = trust {
        options.set("ca_file", &file.to_string_lossy());
    }
}

fn options(settings: &Stream, transport: Transport) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    match &settings.input {
        // AVFMT_FLAG_NONBLOCK, which has no name as an option. Otherwise a camera that hangs could not be interrupted.
        Input::File(path) if device::is_camera(path) => options.set("fflags", "+4"),
        Input::File(_) => {}
        Input::Url(address) => {
            own_tls(&mut options, &settings.tls);
            if let Some(path) = address.url().strip_prefix("rtmps://").and_then(|url| url.rsplit_once('/')) {
                options.set("rtmp_tcurl", &format!("rtmps://{}", path.0));
            }
            if settings.input.is_tls() && address.url().starts_with("rtsps") {
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
    options
}

/// Connects to `url`, without reading any frame. `interrupt` is called while FFmpeg waits, and ends the call if it is true.
fn connect(
    url: &str,
    interrupt: impl FnMut() -> bool + Send + 'static,
    options: Dictionary<'_>,
) -> Result<context::Input, ffmpeg::Error> {
    let url = CString::new(url).map_err(|_| ffmpeg::Error::InvalidData)?;
    let interrupt = interrupt::new(Box::new(interrupt));
    // SAFETY: the context is new and not null. `avformat_open_input` frees it if it fails. Otherwise the input takes it over
    // together with the callback, which so lives as long as FFmpeg may call it. The options are freed once, below.
    #[allow(unsafe_code)]
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Other { errno: libc::ENOMEM });
        }
        (*context).interrupt_callback = interrupt.interrupt;
        let mut options = options.disown();
        let result =
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), ptr::null_mut(), &raw mut options);
        drop(Dictionary::own(options));
        if result < 0 {
            return Err(ffmpeg::Error::from(result));
        }
        Ok(context::Input::wrap_with_interrupt(context, interrupt.guard))
    }
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
    // SAFETY: parameters always point to a valid structure of FFmpeg, of which these fields are read.
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
    // SAFETY: the input holds a valid context, of which no packet was read yet. The flags may be changed until then.
    #[allow(unsafe_code)]
    unsafe {
        (*input.as_mut_ptr()).flags |= (ffi::AVFMT_FLAG_NOPARSE | ffi::AVFMT_FLAG_NOFILLIN) as libc::c_int;
    }
}

/// Initialises FFmpeg's error texts and network, and silences its log, which may hold a password.
fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        packet_loss::install();
        format::network::init();
        picture::register_error_texts();
    });
}
