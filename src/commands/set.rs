//! `stakeout set`: another threshold of a label on one source, through the running service; or a list of what is set.

use std::process::ExitCode;

use super::controls::{self, CommonArgs};
use crate::{
    api::{control, set},
    policy::{SetBy, SettingKind},
};

/// The arguments of `stakeout set`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A threshold stays so through restarts, until the configuration changes it. Without arguments, what was set over MQTT, \
    in the console and by commands is listed.\n\n\
    stakeout set front-door --label person --threshold 0.7"
)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// The name of the source, as in the configuration
    #[arg(requires = "label", requires = "threshold")]
    source: Option<String>,
    /// The label, or SET/LABEL if several label sets have it
    #[arg(long, value_name = "NAME", requires = "source")]
    label: Option<String>,
    /// The threshold from 0 to 1; for a label with a `rise`, the rise
    #[arg(long, value_name = "N", requires = "source")]
    threshold: Option<f32>,
}

/// Sets the threshold, or lists what is set.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (Some(source), Some(label), Some(threshold)) = (&args.source, &args.label, args.threshold) else {
        return controls::list(&args.common, |client| {
            client.call(&control::LIST, &control::ListRequest {}).map(|list| list.controls)
        });
    };
    let request =
        set::Request { source: source.clone(), label: label.clone(), threshold, by: SetBy::Command };
    controls::change(
        &args.common,
        (source.as_str(), Some(label.as_str()), SettingKind::Threshold),
        |client| client.call(&set::VERB, &request),
    )
}
