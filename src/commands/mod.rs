//! The sub-commands: one file each, each thin. What they share stands here: the exit codes and where the configuration is.

pub mod check;
pub mod classify;
mod fetch;
pub mod logging;
pub mod replay;
pub mod run;

use crate::{
    classify::LoadError,
    config::{Places, error::Problem},
};

/// Done.
pub const DONE: u8 = 0;
/// Failed.
pub const FAILED: u8 = 1;
/// Wrong usage (`EX_USAGE` of sysexits.h).
pub const WRONG_USAGE: u8 = 64;
/// Bad configuration (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/stakeout/stakeout.yaml";

/// What the model says of the configuration, at the place in the configuration.
fn problem(places: &Places, error: &LoadError) -> Problem {
    places.problem(&error.place(), error.to_string(), "")
}
