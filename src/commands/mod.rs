//! The commands: each file declares the arguments of one command, calls the library once and prints the result. This file
//! has what they share: exit codes, common arguments, and loading the configuration.

pub mod alerts;
pub mod bench;
pub mod check;
pub mod classify;
pub mod completions;
pub mod doctor;
mod embed;
mod explain;
mod fetch;
pub mod logging;
pub mod models;
mod pictures;
pub mod replay;
pub mod run;
pub mod schema;
pub mod tune;

use std::{path::Path, process::ExitCode};

use crate::{
    classify::LoadError,
    config::{self, Device, Execution, HubModel, Loaded, ModelRef, Variant, is_plain_path},
    yaml::{
        Places,
        error::{Problem, Problems},
    },
};

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: failed.
pub const FAILED: u8 = 1;
/// Exit code: wrong usage (`EX_USAGE` of sysexits.h).
pub const WRONG_USAGE: u8 = 64;
/// Exit code: bad configuration (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;

/// The configuration file, unless `--config` names another.
pub const DEFAULT_CONFIG: &str = "/etc/stakeout/stakeout.yaml";

/// How the model is run, for commands that need no configuration.
#[derive(Debug, clap::Args)]
struct ExecutionArgs {
    /// auto, cpu, cuda, cuda:1, tensorrt, openvino, openvino:gpu, openvino:npu, migraphx, rocm, coreml or directml
    #[arg(long, value_parser = Device::parse, default_value = "auto")]
    device: Device,
    /// Threads of the model on the CPU [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The most pictures in one run of the model
    #[arg(long, value_name = "N", default_value_t = Execution::MAX_BATCH as u16,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_batch: u16,
}

impl ExecutionArgs {
    fn execution(&self) -> Execution {
        Execution {
            device: self.device,
            threads: self.threads.map(usize::from),
            max_batch: usize::from(self.max_batch),
            gpu_memory: None,
        }
    }
}

/// An error of the model as a problem at its place in the configuration.
fn problem(places: &Places, error: &LoadError) -> Problem {
    places.problem(&error.place(), error.to_string(), "")
}

/// Prints `error` and returns the exit code if the configuration causes it; otherwise returns the error.
fn exit_code(places: &Places, error: anyhow::Error) -> anyhow::Result<ExitCode> {
    match error.downcast_ref::<LoadError>() {
        Some(error) if error.is_bad_configuration() => {
            eprintln!("{}", Problems::new(vec![problem(places, error)]));
            Ok(ExitCode::from(BAD_CONFIGURATION))
        }
        _ => Err(error),
    }
}

/// The model that was typed: a folder if it is one or looks like a path, otherwise a name on the hub.
fn model(typed: &str, variant: Variant) -> ModelRef {
    if typed.starts_with(['.', '/']) || Path::new(typed).is_dir() {
        ModelRef::Folder(typed.into(), variant)
    } else {
        ModelRef::Hub(HubModel { variant, ..HubModel::named(typed) })
    }
}

fn variant(word: &str) -> Result<Variant, String> {
    Variant::parse(word).ok_or_else(|| format!("write auto or one of {}", Variant::NAMES.join(", ")))
}

fn revision(text: &str) -> Result<String, String> {
    if is_plain_path(text) { Ok(text.to_owned()) } else { Err("write a branch, tag or commit".to_owned()) }
}

/// Loads the configuration at `path`; on problems, prints them and returns the exit code.
fn load(path: &Path) -> Result<Loaded, ExitCode> {
    config::load(path).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(BAD_CONFIGURATION)
    })
}
