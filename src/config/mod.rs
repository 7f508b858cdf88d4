//! The configuration, valid: immutable, comparable, with its secrets masked.
//!
//! What was typed is `raw`; what is wrong with it is [`error`]. This module holds only what passed, so nobody
//! else ever checks a number or a name again. It refuses to know what a model or a broker is.
//!
//! The way of a file: `load` finds and reads it, `raw` makes a tree of it in which everything knows its place, and
//! `build` (with `label_sets`, `sources` and `broker`) makes values of the tree through `read`, which keeps every mistake.
//! [`watch`] says when to do so again.

mod address;
mod broker;
mod build;
mod cameras;
pub mod error;
mod home_assistant;
mod interpolate;
mod label_sets;
mod load;
mod mask;
mod model;
mod names;
mod places;
mod raw;
mod read;
mod sources;
mod syntax;
mod value;
pub mod watch;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use self::load::Surroundings;
pub use self::{
    address::Address,
    load::{Loaded, load},
    model::{HubModel, ModelRef, Variant, is_plain_path},
    names::topic_level,
    places::Places,
};

/// Everything the service needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The model that scores the frames.
    pub model: ModelRef,
    /// Where the model runs.
    pub device: Device,
    /// Threads of the model; `None` is one for each processor.
    pub threads: Option<usize>,
    /// The ONNX Runtime shared library, where it was named.
    pub onnxruntime: Option<PathBuf>,
    /// The broker.
    pub mqtt: Mqtt,
    /// How Home Assistant is told what there is; `None` where it is not.
    pub home_assistant: Option<HomeAssistant>,
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

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The best that is there.
    Auto,
    /// The processor.
    Cpu,
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

/// Labels that are scored together.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSet {
    /// The name as typed.
    pub name: String,
    /// The sentence around a prompt, with one or more `{}`.
    pub template: String,
    /// Prompts that take part in the scoring and never alert.
    pub background: Vec<String>,
    /// The labels, in the order typed.
    pub labels: Vec<Label>,
}

/// One thing to watch for.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name as typed.
    pub name: String,
    /// The texts that are put into the template; the name itself where none was typed.
    pub prompts: Vec<String>,
    /// What turns its scores into raised and cleared.
    pub rule: Rule,
}

/// The numbers of a trigger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// A frame counts for the label from this score on.
    pub threshold: f32,
    /// A frame counts against a raised label below this score; never above the threshold.
    pub clear_below: f32,
    /// How many frames must agree.
    pub hold: Hold,
    /// How long after one raise the next may come.
    pub cooldown: Duration,
}

/// `frames of of`: 2 of 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// So many must agree...
    pub frames: u8,
    /// ...of the newest so many (at most 64).
    pub of: u8,
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
    /// Whether every score is published, also of frames that raise nothing.
    pub scores: bool,
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Pictures that appear in a folder.
    Folder(Folder),
    /// A camera's stream or a recording.
    Stream(Stream),
    /// A picture that is asked for again and again.
    Http(Http),
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
    /// How RTSP carries the pictures.
    pub transport: Transport,
    /// How fast a recording is played.
    pub pace: Pace,
    /// A stream that brings nothing for this long is left and opened again.
    pub stall_after: Duration,
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
