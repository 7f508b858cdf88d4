//! The arguments that `replay` and `tune` share: the configuration, the source, and the recordings.

use std::path::PathBuf;

use jiff::Timestamp;

use super::ConfigArgs;

/// What is played, and for which source.
#[derive(Debug, clap::Args)]
pub struct RecordingArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The source whose rules apply [default: the only one that is configured]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// When the first video began, such as 2026-11-23T08:00:00Z; the others follow it [default: the time in each file, else in
    /// its name]
    #[arg(long, value_name = "TIME")]
    pub(super) start: Option<Timestamp>,
    /// Videos, pictures, and folders of them, which are played in the order of their times
    #[arg(value_name = "VIDEO|FOLDER|IMAGE", required = true)]
    pub(super) recordings: Vec<PathBuf>,
}
