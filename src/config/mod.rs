//! The configuration, valid: immutable, comparable, with its secrets masked.
//!
//! What was typed is `raw`; what is wrong with it is [`error`]. This module holds only what passed, so nobody
//! else ever checks a number or a name again. It refuses to know what a model or a broker is.
//!
//! The way of a file: `load` finds and reads it, `raw` makes a tree of it in which everything knows its place, and
//! `build` (with `label_sets`, `sources` and `broker`) makes values of the tree through `read`, which keeps every mistake.
//! [`watch`] says when to do so again.

mod active;
mod address;
mod broker;
mod build;
mod cameras;
mod condition;
mod delivery;
mod device;
pub mod edit;
pub mod error;
mod home_assistant;
mod interpolate;
mod label;
mod label_sets;
mod labels;
mod listen;
mod load;
mod mask;
mod message;
mod model;
mod mqtt_source;
mod names;
mod places;
mod raw;
mod read;
mod rules;
mod schema;
mod sources;
mod syntax;
mod template;
mod templates;
mod topic_filter;
mod value;
pub mod watch;
mod watched;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use self::load::Surroundings;
pub use self::{
    active::Active,
    address::Address,
    broker::{MqttConnection, MqttVersion, TlsFiles},
    condition::{Condition, LabelName},
    delivery::{Command, OutboxLimits, Webhook},
    device::{Device, Execution, OpenVino},
    labels::{Hold, Label, LabelRule, LabelSet, Levels, Look, Rule, Scoring, Severity},
    listen::Listen,
    load::{Loaded, load, look},
    message::{Facts, Message},
    model::{HubModel, ModelRef, Variant, is_plain_path},
    names::{is_reserved, topic_level},
    places::Places,
    schema::{markdown as schema_in_words, schema},
    template::{Template, TemplateError},
    topic_filter::{NamePattern, TopicFilter},
};

/// Everything the service needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The model that scores the frames.
    pub model: ModelRef,
    /// How the model is run.
    pub execution: Execution,
    /// The ONNX Runtime shared library, where it was named.
    pub onnxruntime: Option<PathBuf>,
    /// The broker.
    pub mqtt: Mqtt,
    /// A web server that is told of alerts, too.
    pub webhook: Option<Webhook>,
    /// A program that is told of alerts, too.
    pub command: Option<Command>,
    /// How much may wait in the outbox.
    pub outbox: OutboxLimits,
    /// How Home Assistant is told what there is; `None` where it is not.
    pub home_assistant: Option<HomeAssistant>,
    /// Where the service answers who asks how it is doing; `None` where it does not.
    pub listen: Option<Listen>,
    /// Where the outbox and other things that must survive live.
    pub state_dir: PathBuf,
    /// Pictures that would decode to more pixels are refused.
    pub max_pixels: u64,
    /// Label sets, in the order typed (the main file first, then `rules.d` by file name).
    pub label_sets: Vec<LabelSet>,
    /// Sources, in the order typed.
    pub sources: Vec<Source>,
}

impl Config {
    /// Every label set on every source that watches it.
    pub fn watches(&self) -> impl Iterator<Item = (&Source, &LabelSet)> {
        let watched = |name: &String| self.label_sets.iter().find(|label_set| label_set.name == *name);
        self.sources
            .iter()
            .flat_map(move |source| source.watch.iter().filter_map(watched).map(move |set| (source, set)))
    }
}

/// The broker and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts://`
    pub tls: bool,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// The first levels of every topic.
    pub prefix: String,
    /// The name under which the broker knows this connection.
    pub client_id: String,
    /// How the connection is made.
    pub connection: MqttConnection,
}

/// How Home Assistant is told what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// The first levels of the topics where it looks.
    pub discovery_prefix: String,
    /// What it calls the service.
    pub name: String,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

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
