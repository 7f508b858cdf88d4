//! `stakeout snooze`: holds the alerts of a source or a label back for some time, through the running service.

use std::process::ExitCode;

use super::controls::{self, CommonArgs};
use crate::{
    api::snooze::{Request, VERB},
    policy::{SetBy, SettingKind},
};

/// The arguments of `stakeout snooze`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What would have been raised is a near miss meanwhile: `stakeout alerts --last 20 --near-misses`.\n\n\
    stakeout snooze front-door 1h\n\
    stakeout snooze front-door --label person until 07:00\n\
    stakeout snooze front-door off"
)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Only this label or rule, or SET/LABEL if several label sets have it
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// The name of the source, as in the configuration
    source: String,
    /// How long, such as 15m or 1h; `until 07:00`; or `off`
    #[arg(required = true, num_args = 1..=2, value_name = "TIME")]
    time: Vec<String>,
}

/// Snoozes the source or the label.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { common, label, source, time } = args;
    let (source, label) = (source.clone(), label.clone());
    let request = Request { source, label, length: time.join(" "), by: SetBy::Command };
    controls::change(common, (args.source.as_str(), args.label.as_deref(), SettingKind::Snooze), |client| {
        client.call(&VERB, &request)
    })
}
