//! The arguments that `replay` and `tune` share: the configuration, the source, and the recordings or the stored scores.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::{ConfigArgs, moment};
use crate::history::scores::Window;

/// What is played, and for which source.
#[derive(Debug, clap::Args)]
pub struct RecordingArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The source whose rules apply [default: the only one that is configured; with --history, every source with stored scores]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// When the first video began, such as 2026-11-23T08:00:00Z; the others follow it [default: the time in each file, else in
    /// its name]
    #[arg(long, value_name = "TIME")]
    pub(super) start: Option<Timestamp>,
    /// Use the scores that the service has stored instead of recordings: no model is needed
    #[arg(long, conflicts_with_all = ["recordings", "start"])]
    pub(super) history: bool,
    /// With --history: the first moment, or how long ago, such as 12h [default: 7d]
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse, requires = "history")]
    since: Option<Timestamp>,
    /// With --history: the last moment, or how long ago [default: now]
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse, requires = "history")]
    until: Option<Timestamp>,
    /// Videos, pictures, and folders of them, which are played in the order of their times
    #[arg(value_name = "VIDEO|FOLDER|IMAGE", required_unless_present = "history")]
    pub(super) recordings: Vec<PathBuf>,
}

impl RecordingArgs {
    /// The time in which stored scores are used.
    pub(super) fn window(&self) -> Window {
        const USUAL: SignedDuration = SignedDuration::from_hours(7 * 24);
        let since = self.since.or_else(|| Timestamp::now().checked_sub(USUAL).ok());
        Window { since, until: self.until }
    }
}
