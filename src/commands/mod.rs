//! The sub-commands: one file each, each thin. What they share stands here: the exit codes and where the configuration is.

pub mod alerts;
pub mod check;
pub mod classify;
mod fetch;
pub mod logging;
pub mod models;
pub mod progress;
pub mod replay;
pub mod run;

use std::{path::Path, process::ExitCode};

use crate::{
    classify::LoadError,
    config::{self, HubModel, Loaded, ModelRef, Places, Variant, error::Problem},
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

/// A folder if it is one or is written as one, else a name on the hub.
fn model(typed: &str, variant: Variant) -> ModelRef {
    if typed.starts_with(['.', '/']) || Path::new(typed).is_dir() {
        ModelRef::Folder(typed.into(), variant)
    } else {
        ModelRef::Hub(HubModel { variant, ..HubModel::named(typed) })
    }
}

fn variant(word: &str) -> Result<Variant, String> {
    Variant::parse(word).ok_or_else(|| format!("it is auto, or one of {}", Variant::NAMES.join(", ")))
}

/// The configuration at `path`; or, when its problems are told, the exit code for them.
fn load(path: &Path) -> Result<Loaded, ExitCode> {
    config::load(path).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(BAD_CONFIGURATION)
    })
}
