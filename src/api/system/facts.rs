//! The answer of `system`: the facts about a running service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::time::Time;

/// The facts about a running service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// The version of the service.
    pub version: String,
    /// When the service was started.
    pub since: Time,
    /// How long it runs, in seconds. The clock may have been set since the start.
    pub up_s: u64,
    /// Whether every part is started and frames are watched.
    pub ready: bool,
    /// The machine.
    pub platform: Platform,
    /// The model.
    pub model: Model,
    /// The parts of the service, and the sources that make no progress.
    pub parts: Vec<ServicePart>,
    /// Whether the newest check of the configuration files found no errors. If it did, an earlier configuration is in force.
    pub config_valid: bool,
    /// What delivers alerts; `null` while the service starts.
    pub delivery: Option<Delivery>,
    /// What is remembered; `null` if nothing is, or while the service starts.
    pub history: Option<HistoryFacts>,
    /// The disk of the state folder.
    pub disk: Option<Disk>,
    /// The process.
    pub process: Process,
    /// What decodes pictures.
    pub decoders: Decoders,
    /// The number of sources, by their status.
    pub sources: Sources,
    /// The clock.
    pub clock: ClockFacts,
    /// The number of temporary labels; `null` while the service starts.
    pub watches: Option<usize>,
    /// The clients that receive events now, such as open consoles.
    pub clients: usize,
    /// What needs a person, the most urgent first.
    pub problems: Vec<Advice>,
    /// The newest warnings and errors of the log, the newest first.
    pub log: Vec<LogLine>,
    /// The files of a support bundle.
    pub bundle: Vec<BundleFile>,
}

/// The machine that the service runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Platform {
    /// The operating system, such as `Debian GNU/Linux 13 (trixie)`.
    pub system: String,
    /// The version of the kernel.
    pub kernel: String,
    /// The processor architecture, such as `x86_64`.
    pub architecture: String,
    /// The processors that the service may use.
    pub processors: usize,
}

/// The model that scores frames.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Its name in the configuration.
    pub name: String,
    /// How it runs; `null` while it is loaded.
    pub loaded: Option<LoadedModel>,
    /// What the canary found wrong with its device; `null` if nothing.
    pub problem: Option<String>,
    /// Frames that it scored since the start.
    pub scored: u64,
    /// Frames with a repeated picture, which received the scores of the earlier one.
    pub repeated: u64,
    /// Frames that it could not score.
    pub failed: u64,
    /// The figures of its newest batches; `null` before the first one.
    pub figures: Option<Figures>,
}

/// How the model runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedModel {
    /// Where its files are.
    pub files: String,
    /// The graph for pictures.
    pub graph: String,
    /// The size of the graph with its weights.
    pub bytes: u64,
    /// The library that runs it.
    pub engine: String,
    /// The device that runs it.
    pub device: String,
    /// Why it is this device.
    pub reason: String,
}

/// The figures of the newest batches of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// The number of these batches.
    pub batches: usize,
    /// The mean number of pictures in a batch.
    pub pictures: f64,
    /// The mean time of a batch, in milliseconds.
    pub batch_ms: f64,
    /// The mean time of a picture, in milliseconds.
    pub picture_ms: f64,
    /// Pictures that were scored in a second, since the first of these batches.
    pub per_second: f64,
}

/// A part of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServicePart {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: PartState,
}

/// What a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// It waits for work.
    Waiting,
    /// It works.
    Working,
    /// It has work and makes no progress.
    Stuck,
}

/// What delivers alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Whether the broker is connected.
    pub connected: bool,
    /// Alerts that the broker acknowledged since the start.
    pub published: u64,
    /// Times the broker refused an alert since the start.
    pub refused: u64,
    /// Messages with scores and near misses that were dropped since the start.
    pub scores_dropped: u64,
    /// The receivers of alerts, the broker (`mqtt`) first.
    pub sinks: Vec<Sink>,
    /// The outbox.
    pub outbox: Outbox,
}

/// A receiver of alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sink {
    /// `mqtt`, `webhook` or `command`.
    pub name: String,
    /// Alerts that wait for it.
    pub waiting: u64,
    /// The age of the oldest of them in seconds, if it is known.
    pub oldest_s: Option<u64>,
    /// Why it did not accept alerts last; `null` if it always has since the start.
    pub error: Option<SinkError>,
}

/// Why a receiver did not accept alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SinkError {
    /// The cause.
    pub cause: String,
    /// When it happened last.
    pub at: Time,
    /// Whether the receiver has accepted alerts since.
    pub is_over: bool,
}

/// The alerts that are not delivered yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outbox {
    /// Whether alerts are on disk, where they survive a restart.
    pub on_disk: bool,
    /// Why alerts are not, or may not be, on disk.
    pub why: Option<String>,
    /// Alerts that wait for a receiver.
    pub waiting: u64,
    /// Alerts that were dropped since the start, because too many waited or for too long.
    pub dropped: u64,
    /// Snapshots that were dropped since the start.
    pub snapshots_dropped: u64,
    /// Other state files that cannot be written.
    pub state_files_failing: u64,
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryFacts {
    /// Why nothing is remembered at the moment; `null` while it is.
    pub failing: Option<String>,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// The most bytes that they may have.
    pub max_bytes: u64,
    /// Seconds after which entries are deleted.
    pub keep_s: u64,
    /// Entries that were deleted before their time since the start.
    pub dropped: u64,
    /// What it holds; `null` if it cannot be read.
    pub entries: Option<Entries>,
}

/// What the history holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// Alerts: raised and cleared.
    pub alerts: u64,
    /// Near misses.
    pub near_misses: u64,
    /// Marks of people.
    pub marks: u64,
    /// Small pictures.
    pub pictures: u64,
    /// Embeddings of frames and regions.
    pub embeddings: u64,
    /// The oldest moment of which something is remembered.
    pub oldest: Option<Time>,
}

/// The disk of the state folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// The state folder.
    pub folder: String,
    /// All bytes.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
    /// Whether so little is free that the history deletes its oldest entries.
    pub almost_full: bool,
}

/// The process of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Resident memory in bytes.
    pub memory: Option<u64>,
    /// Open files, sockets included.
    pub open_files: Option<u64>,
    /// The most open files that are allowed.
    pub most_open_files: Option<u64>,
}

/// What decodes pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decoders {
    /// The bytes that decoders may use together.
    pub total: u64,
    /// The bytes that they use.
    pub used: u64,
    /// Pictures and clips that wait for memory.
    pub waiting: usize,
    /// Whether pictures are decoded in processes without rights.
    pub sandbox: SandboxState,
    /// Why there is no sandbox, if the configuration does not switch it off.
    pub why: Option<String>,
    /// The processes that decode now.
    pub processes: usize,
    /// Processes that ended instead of decoding a picture, since the start.
    pub crashes: u64,
}

/// Whether pictures are decoded in processes without rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// The service starts.
    #[default]
    Unknown,
    /// They are.
    On,
    /// The configuration switches it off.
    Off,
    /// The system does not allow it.
    Impossible,
}

/// The sources, by their status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sources {
    /// They deliver, or would if there were frames.
    pub online: usize,
    /// They do not deliver.
    pub offline: usize,
    /// They are connected and deliver nothing.
    pub stalled: usize,
    /// Those that do not deliver, and why.
    pub problems: Vec<FaultySource>,
}

/// A source that does not deliver, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultySource {
    /// The name of the source.
    pub source: String,
    /// The cause.
    pub cause: String,
    /// When it failed for the first time since it worked.
    pub since: Time,
    /// What to do.
    pub remedy: String,
}

/// The clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockFacts {
    /// The time of the service.
    pub now: Time,
    /// Whether a time server has set it.
    pub synchronised: bool,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// What it is about, such as `broker` or `source Front Door`.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When it was logged.
    pub at: Time,
    /// `error` or `warning`.
    pub level: LogLevel,
    /// The text.
    pub text: String,
}

/// How serious a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something may not work.
    Warning,
}

/// A file of a support bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleFile {
    /// Its name in the bundle.
    pub name: String,
    /// What is in it.
    pub what: String,
}
