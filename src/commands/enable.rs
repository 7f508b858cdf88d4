//! `stakeout enable` and `stakeout disable`: switch a source or a label on or off, through the running service.

use std::process::ExitCode;

use super::controls::{self, CommonArgs};
use crate::{
    api::enable::{DISABLE, ENABLE, Request},
    policy::{SetBy, SettingKind},
};

/// The arguments of `stakeout enable` and `stakeout disable`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It stays so through restarts, until the configuration changes the key `enabled` there."
)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Only this label or rule, or SET/LABEL if several label sets have it
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// The name of the source, as in the configuration
    source: String,
}

/// Switches the source or the label on or off.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args, enabled: bool) -> anyhow::Result<ExitCode> {
    let Args { common, label, source } = args;
    let request = Request { source: source.clone(), label: label.clone(), by: SetBy::Command };
    let verb = if enabled { &ENABLE } else { &DISABLE };
    controls::change(common, (source.as_str(), label.as_deref(), SettingKind::Enabled), |client| {
        client.call(verb, &request)
    })
}
