//! What a source is, once it is known to be valid. Refuses to know how it was typed.

use std::{path::PathBuf, time::Duration};

use super::{Address, Mqtt};
use crate::policy::{Label, NamePattern, TopicFilter};

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The name as typed.
    pub name: String,
    /// What kind of source, and its settings.
    pub kind: SourceKind,
    /// Named parts of the frame that are scored each by itself; the whole frame where there are none.
    pub regions: Vec<Region>,
    /// The names of the label sets to score.
    pub watch: Vec<String>,
    /// Labels and rules of these sets that have other settings here: the name of the set, and the label as it is here.
    pub adjusted: Vec<(String, Label)>,
    /// Whether every score is published, also of frames that raise nothing.
    pub scores: bool,
    /// The time over which each label's score on quiet frames is estimated; `None` where nobody does.
    pub baseline: Option<Duration>,
}

impl Source {
    /// A label of the label set `set`, or what a rule has in common with one, with the settings that it has on this source.
    #[must_use]
    pub fn label<'c>(&'c self, set: &str, label: &'c Label) -> &'c Label {
        let here = self.adjusted.iter().find(|(of, adjusted)| of == set && adjusted.name == label.name);
        here.map_or(label, |(_, adjusted)| adjusted)
    }
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are few sources, and they are made once")]
pub enum SourceKind {
    /// Pictures that appear in a folder.
    Folder(Folder),
    /// A camera's stream or a recording.
    Stream(Stream),
    /// A picture that is asked for again and again.
    Http(Http),
    /// Pictures that others publish to MQTT topics.
    Mqtt(MqttSource),
}

/// An `mqtt` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSource {
    /// What is listened to.
    pub filters: Vec<TopicFilter>,
    /// The topics have sources of their own, which are called like this; `None`: one source of them all.
    pub name: Option<NamePattern>,
    /// The payload is JSON, and the picture stands somewhere in it; `None`: the payload is the picture.
    pub json: Option<JsonPlaces>,
    /// Whether pictures count that the broker had kept from before.
    pub retained: bool,
    /// The group that shares the pictures with us.
    pub share: Option<String>,
    /// The broker keeps larger packets to itself, in bytes.
    pub max_packet: u32,
    /// So many sources at most come of `name`.
    pub max_sources: usize,
    /// The broker, where it is another one than that of the alerts.
    pub broker: Option<Mqtt>,
}

impl MqttSource {
    /// The name of the source that a picture at `topic` belongs to, which says `said` of its name; `None` where topics
    /// name no source, or this one does not.
    #[must_use]
    pub fn source_name(&self, topic: &str, said: Option<&str>) -> Option<String> {
        let captured = self.filters.iter().find_map(|filter| filter.captures(topic))?;
        self.name.as_ref()?.name(&captured, said)
    }
}

/// Where in a JSON payload something stands (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPlaces {
    /// The picture, base64 or a data URL.
    pub picture: String,
    /// When it was captured.
    pub time: Option<String>,
    /// What its source is called.
    pub name: Option<String>,
}

impl SourceKind {
    /// The host and the port that it connects to over TCP, where it does.
    #[must_use]
    pub fn door(&self) -> Option<(String, u16)> {
        match self {
            Self::Stream(Stream { input: Input::Rtsp(address) | Input::Url(address), .. })
            | Self::Http(Http { address, .. }) => address.door(),
            _ => None,
        }
    }

    /// Whether the source itself looks at the regions: for what did not change.
    #[must_use]
    pub fn looks_at_regions(&self) -> bool {
        let unchanged = match self {
            Self::Stream(stream) => stream.unchanged,
            Self::Http(http) => http.unchanged,
            _ => return false,
        };
        unchanged != Unchanged::Score
    }
}

/// An `rtsp` or `video` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// What is opened.
    pub input: Input,
    /// One frame is taken in each such interval.
    pub every: Duration,
    /// Which frames are decoded.
    pub decode: Decode,
    /// What decodes them.
    pub hwaccel: Hwaccel,
    /// How RTSP carries the pictures.
    pub transport: Transport,
    /// How fast a recording is played.
    pub pace: Pace,
    /// A stream that brings nothing for this long is left and opened again.
    pub stall_after: Duration,
    /// What becomes of a frame that looks like the one that was scored last.
    pub unchanged: Unchanged,
}

/// What becomes of a frame that looks like the one that was scored last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchanged {
    /// It is scored like any other.
    Score,
    /// Its scores are the last ones again.
    Repeat {
        /// So often one is scored all the same.
        at_least_every: Duration,
    },
}

/// What a stream is opened from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An RTSP camera.
    Rtsp(Address),
    /// Another address that FFmpeg knows.
    Url(Address),
    /// A file.
    File(PathBuf),
}

/// Which frames of a stream are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Only the key frames if they come often enough, otherwise all.
    Auto,
    /// Only the key frames.
    KeyFrames,
    /// All.
    All,
}

/// Which hardware decodes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hwaccel {
    /// The processor.
    None,
    /// Whatever there is.
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

impl Hwaccel {
    /// All of them; the first is the default.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Auto, Self::Cuda, Self::Vaapi, Self::Drm, Self::Vdpau, Self::Vulkan];

    /// The word that is typed, which is FFmpeg's, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Cuda => "cuda",
            Self::Vaapi => "vaapi",
            Self::Drm => "drm",
            Self::Vdpau => "vdpau",
            Self::Vulkan => "vulkan",
        }
    }
}

/// How RTSP carries the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In the connection itself.
    Tcp,
    /// In packets that may be lost.
    Udp,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it was recorded.
    Real,
    /// As fast as the frames are scored.
    Full,
}

/// An `http` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where the picture is.
    pub address: Address,
    /// How often it is asked for.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What becomes of a picture that looks like the one that was scored last. One of the same bytes is never scored again.
    pub unchanged: Unchanged,
}

/// A folder source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The folder; its sub-folders are watched too.
    pub path: PathBuf,
    /// What to do with files that are there at start.
    pub existing: Existing,
    /// What to do with a file once its frame was scored and its alerts are on disk.
    pub after: After,
    /// Look at the whole folder this often instead of asking the kernel (network file systems).
    pub poll: Option<Duration>,
}

/// What to do with files that are there at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave them.
    Skip,
    /// Treat them like new ones.
    Process,
}

/// What to do with a file afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Leave it.
    Keep,
    /// Delete it.
    Delete,
    /// Move it into this folder.
    Move(PathBuf),
}

/// A named part of the frame, in fractions of its width and height.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The name as typed.
    pub name: String,
    /// Left edge, 0 to 1.
    pub x: f64,
    /// Upper edge, 0 to 1.
    pub y: f64,
    /// Width, more than 0; `x + width` is at most 1.
    pub width: f64,
    /// Height, more than 0; `y + height` is at most 1.
    pub height: f64,
}
