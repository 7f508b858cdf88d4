//! The settings of `rtsp` and `video` sources.
//!
//! Whether a camera can be reached is not checked: it may be off while its configuration is checked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    policy::tls,
    source::kinds::{
        camera::{self, AT_LEAST_EVERY, DAY, Decode, REDIRECTS, Redirects, UNCHANGED, Unchanged},
        settings::{CAMERA_REMEDY, KindKey, Settings},
    },
    tls::Trust,
    yaml::{
        Address,
        fields::{Field, Form, Spec, explain, specs, word_of, words},
        reader::{Reader, Section, Setting},
        value::duration_text,
    },
};

/// An `rtsp` or `video` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// What is opened.
    pub input: Input,
    /// One frame is scored in each such interval.
    pub every: Duration,
    /// Which frames are decoded.
    pub decode: Decode,
    /// What decodes them.
    pub hwaccel: Hwaccel,
    /// The transport of RTSP; `None`: whichever the camera supports.
    pub transport: Option<Transport>,
    /// Which redirects are followed, and whether a playlist may name other hosts.
    pub redirects: Redirects,
    /// How the certificate of the camera is checked.
    pub tls: Trust,
    /// The speed of a recording.
    pub pace: Pace,
    /// The limit to connect and to read the properties of the stream.
    pub open_timeout: Duration,
    /// A stream without data for this time is closed and opened again.
    pub stall_after: Duration,
    /// What happens to a frame that looks like the last scored one.
    pub unchanged: Unchanged,
}

/// The input of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An RTSP camera.
    Rtsp(Address),
    /// Another address that FFmpeg supports.
    Url(Address),
    /// A file.
    File(PathBuf),
}

/// The hardware that decodes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hwaccel {
    /// The processor.
    None,
    /// Any available hardware.
    Auto,
    /// NVIDIA.
    Cuda,
    /// Intel and AMD.
    Vaapi,
    /// Small boards.
    Drm,
    /// Older NVIDIA.
    Vdpau,
    /// Newer drivers of all makers.
    Vulkan,
}

/// The transport of RTSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In the RTSP connection.
    Tcp,
    /// In packets that may be lost.
    Udp,
}

/// The speed of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it was recorded.
    Real,
    /// As fast as the frames are scored.
    Full,
}

impl Hwaccel {
    const WORDS: [(&str, Self); 7] = [
        ("none", Self::None),
        ("auto", Self::Auto),
        ("cuda", Self::Cuda),
        ("vaapi", Self::Vaapi),
        ("drm", Self::Drm),
        ("vdpau", Self::Vdpau),
        ("vulkan", Self::Vulkan),
    ];

    /// The word in the configuration, which is FFmpeg's, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

impl Transport {
    const WORDS: [(&str, Option<Self>); 3] =
        [("auto", None), ("tcp", Some(Self::Tcp)), ("udp", Some(Self::Udp))];

    /// The word in the configuration, which is FFmpeg's, too.
    pub(crate) fn as_str(self) -> &'static str {
        word_of(&Self::WORDS, &Some(self))
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Tcp => Self::Udp,
            Self::Udp => Self::Tcp,
        }
    }
}

impl Pace {
    const WORDS: [(&str, Self); 2] = [("real", Self::Real), ("full", Self::Full)];
}

impl Input {
    /// Whether it is an address with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Rtsp(address) | Self::Url(address) if address.is_tls())
    }

    /// The input as it may be shown, without user and password.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Rtsp(address) | Self::Url(address) => address.to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// The keys that name this kind.
pub(crate) const KEYS: &[KindKey] = &[
    KindKey { key: "rtsp", fields: rtsp_fields, foreign: |_| None },
    KindKey { key: "video", fields: video_fields, foreign: |_| None },
];

impl Settings for Stream {
    fn key(&self) -> &'static str {
        if matches!(self.input, Input::Rtsp(_)) { "rtsp" } else { "video" }
    }

    fn explain(&self) -> Map<String, Value> {
        let is_rtsp = matches!(self.input, Input::Rtsp(_));
        let tables =
            if is_rtsp { [RTSP, COMMON, RTSP_ONLY, LAST] } else { [VIDEO, COMMON, VIDEO_ONLY, LAST] };
        tables.into_iter().flat_map(|table| explain(table, self)).collect()
    }

    fn tcp_address(&self) -> Option<(String, u16)> {
        self.address()?.door()
    }

    fn tls(&self) -> Option<(String, u16, &Trust)> {
        let (host, port) = self.address().filter(|address| address.is_tls())?.door()?;
        Some((host, port, &self.tls))
    }

    fn paths(&self) -> Vec<(&'static str, &Path)> {
        if let Input::File(path) = &self.input { vec![("video", path)] } else { vec![] }
    }

    fn sends_readable_secret_to(&self) -> Option<String> {
        let address = self.address().filter(|address| address.sends_a_readable_secret())?;
        Some(address.to_string())
    }

    fn secrets(&self) -> Vec<&str> {
        self.address().and_then(Address::login).map(|(_, password)| password).into_iter().collect()
    }

    fn remedy(&self) -> &'static str {
        match self.input {
            Input::Rtsp(_) | Input::Url(_) => CAMERA_REMEDY,
            _ => "check that the file or device exists, and that the user who runs the service may read it",
        }
    }

    fn unchanged(&self) -> Unchanged {
        self.unchanged
    }

    fn sampling(&self) -> (Duration, Decode) {
        (self.every, self.decode)
    }
}

impl Stream {
    /// A camera that is tried before it is configured: it has to answer soon.
    #[must_use]
    pub fn tried(address: Address) -> Self {
        const PATIENCE: Duration = Duration::from_secs(10);
        Self {
            input: Input::Rtsp(address),
            every: Duration::from_secs(1),
            decode: Decode::Auto,
            hwaccel: Hwaccel::None,
            transport: None,
            redirects: Redirects::SameHost,
            tls: Trust::System,
            pace: Pace::Real,
            open_timeout: PATIENCE,
            stall_after: PATIENCE,
            unchanged: Unchanged::Score,
        }
    }

    fn input(&self) -> Option<Value> {
        Some(json!(self.input.shown()))
    }

    fn address(&self) -> Option<&Address> {
        match &self.input {
            Input::Rtsp(address) | Input::Url(address) => Some(address),
            Input::File(_) => None,
        }
    }
}

const RTSP: &[Field<Stream>] = &[Field::new(
    "rtsp",
    Form::Text,
    "The rtsp:// or rtsps:// address of a camera. rtsps:// is encrypted, and the camera's certificate is checked (see `tls`).",
    Stream::input,
)
.example("rtsp://10.0.0.21/stream2")];

const VIDEO: &[Field<Stream>] = &[Field::new(
    "video",
    Form::Text,
    "Anything that FFmpeg opens: a file, an address (HLS, RTMP), or /dev/video0. At the end of a file its source becomes offline.",
    Stream::input,
)
.example("/srv/videos/day.mp4")];

const COMMON: &[Field<Stream>] = &[
    Field::new(
        "every",
        Form::Duration(Duration::from_millis(20), DAY),
        "One frame is scored in each such interval.",
        |it: &Stream| Some(json!(duration_text(it.every))),
    )
    .default("1s"),
    Field::new(
        "decode",
        Form::Words(&words(&Decode::WORDS)),
        "The frames that are decoded. key_frames costs little and sees only those. auto: key_frames if they are frequent enough, \
         otherwise all.",
        |it: &Stream| Some(json!(word_of(&Decode::WORDS, &it.decode))),
    )
    .default("auto"),
    Field::new(
        "hwaccel",
        Form::Words(&words(&Hwaccel::WORDS)),
        "The video hardware that decodes. none: the processor. auto: any available hardware.",
        |it: &Stream| Some(json!(it.hwaccel.as_str())),
    )
    .default("none"),
    Field::new(
        "open_timeout",
        Form::Duration(Duration::from_secs(1), DAY),
        "The longest time to connect and to receive a description of the stream.",
        |it: &Stream| Some(json!(duration_text(it.open_timeout))),
    )
    .default("30s"),
    Field::new(
        "stall_after",
        Form::Duration(Duration::from_secs(1), DAY),
        "A stream without data for this time is closed and opened again.",
        |it: &Stream| Some(json!(duration_text(it.stall_after))),
    )
    .default("20s"),
    Field::new(
        "unchanged",
        UNCHANGED,
        "repeat: a frame that looks like the last scored one repeats its scores. score: every frame is scored.",
        |it: &Stream| it.unchanged.shown(),
    )
    .default_is("repeat; for a recording: score")
    .example("repeat"),
    Field::new("at_least_every", AT_LEAST_EVERY, "With `unchanged: repeat`, a frame is scored at least this often.", |it: &Stream| {
        it.unchanged.interval_shown()
    })
    .default("30s"),
];

const RTSP_ONLY: &[Field<Stream>] = &[Field::new(
    "transport",
    Form::Words(&words(&Transport::WORDS)),
    "The transport of the stream. auto: tcp, or udp if the camera refuses tcp or sends nothing over it. A frame that lost a packet is \
     not scored.",
    |it: &Stream| Some(json!(word_of(&Transport::WORDS, &it.transport))),
)
.default("auto")];

const VIDEO_ONLY: &[Field<Stream>] = &[Field::new(
    "pace",
    Form::Words(&words(&Pace::WORDS)),
    "The speed of a recording. real: as it was recorded. full: as fast as its frames are scored.",
    |it: &Stream| Some(json!(word_of(&Pace::WORDS, &it.pace))),
)
.default("real")];

const STREAM_REDIRECTS_DOC: &str = "same_host: a redirect to another host or port is an error, and a playlist (HLS) may name only its own \
                                    server. any_host: both are followed. User and password are never sent to another host.";

const LAST: &[Field<Stream>] = &[
    Field::new("username", Form::Text, camera::USERNAME, |it: &Stream| Some(json!(it.address()?.login()?.0)))
        .example("viewer"),
    Field::new("password", Form::Text, camera::PASSWORD, |it: &Stream| {
        it.address()?.login().map(|_| json!("set"))
    })
    .example("${env:CAM_PASSWORD}"),
    Field::new("redirects", REDIRECTS, STREAM_REDIRECTS_DOC, |it: &Stream| {
        it.address().and(it.redirects.shown())
    })
    .default("same_host"),
    Field::new("tls", Form::Mapping(&tls::SOURCE), tls::DOC, |it: &Stream| {
        it.address().filter(|address| address.is_tls()).map(|_| tls::shown(&it.tls).into())
    }),
];

/// The keys of an `rtsp` source.
fn rtsp_fields() -> Vec<&'static Spec> {
    [RTSP, COMMON, RTSP_ONLY, LAST].map(specs).concat()
}

/// The keys of a `video` source.
fn video_fields() -> Vec<&'static Spec> {
    [VIDEO, COMMON, VIDEO_ONLY, LAST].map(specs).concat()
}

/// Reads the settings of the kind that `at` names.
pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Stream> {
    if at.name == "rtsp" { rtsp(reader, at, section) } else { video(reader, at, section) }
}

fn rtsp(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Stream> {
    let address = camera::address(reader, at, section, &["rtsp", "rtsps"]);
    let transport = section.read(reader, "transport", |reader, at| reader.word(at, &Transport::WORDS));
    stream(reader, section, address.map(Input::Rtsp), transport, Some(Pace::Real))
}

/// Reads a path, or an address that FFmpeg supports.
fn video(reader: &mut Reader<'_>, at: &Setting<'_>, section: &Section<'_>) -> Option<Stream> {
    const SCHEMES: &[&str] =
        &["http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "tcp", "udp", "rtp", "srt", "mmsh"];
    let text = reader.text(at);
    let input = text.and_then(|text| {
        if text.contains("://") {
            return camera::address(reader, at, section, SCHEMES).map(Input::Url);
        }
        for at in ["username", "password", "redirects"].iter().filter_map(|key| section.own(key)) {
            let remedy = "remove it, or name an address: `video: https://HOST/PATH`";
            reader.problem(at.key, format!("a file has no `{}`", at.name), remedy);
        }
        reader.resolve_path(at, &text).map(Input::File)
    });
    let pace = section.read(reader, "pace", |reader, at| reader.word(at, &Pace::WORDS));
    stream(reader, section, input, Some(None), pace)
}

fn stream(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    input: Option<Input>,
    transport: Option<Option<Transport>>,
    pace: Option<Pace>,
) -> Option<Stream> {
    let every = section.read(reader, "every", Reader::duration);
    let decode = section.read(reader, "decode", |reader, at| reader.word(at, &Decode::WORDS));
    let hwaccel = section.read(reader, "hwaccel", |reader, at| reader.word(at, &Hwaccel::WORDS));
    let open_timeout = section.read(reader, "open_timeout", Reader::duration);
    let stall_after = section.read(reader, "stall_after", Reader::duration);
    // Every frame of a recording is scored: it is not played to save time.
    let is_recording = matches!(&input, Some(Input::File(path)) if !path.starts_with("/dev"));
    let unchanged = camera::unchanged(reader, section, !is_recording);
    let is_tls = input.as_ref().map(Input::is_tls);
    let with_tls = if matches!(input, Some(Input::Rtsp(_))) { "rtsps" } else { "https" };
    let redirects = section.read(reader, "redirects", camera::redirects);
    let tls = tls::read(reader, section, &tls::SOURCE, is_tls, with_tls);
    Some(Stream {
        input: input?,
        every: every?,
        decode: decode?,
        hwaccel: hwaccel?,
        transport: transport?,
        redirects: redirects?,
        tls: tls?,
        pace: pace?,
        open_timeout: open_timeout?,
        stall_after: stall_after?,
        unchanged: unchanged?,
    })
}
