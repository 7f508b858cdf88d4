//! The sub-commands: one file each, each thin. What they share stands here: the exit codes and where the configuration is.

pub mod alerts;
pub mod bench;
pub mod check;
pub mod classify;
pub mod doctor;
mod explain;
mod fetch;
pub mod logging;
pub mod models;
pub mod papers;
mod pictures;
pub mod progress;
pub mod replay;
pub mod run;
pub mod schema;
pub mod tune;

use std::{path::Path, process::ExitCode};

use crate::{
    classify::LoadError,
    config::{self, Device, Execution, HubModel, Loaded, ModelRef, Variant},
    yaml::{
        Places,
        error::{Problem, Problems},
    },
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

/// How the model is run, where no configuration says it.
#[derive(Debug, clap::Args)]
struct ExecutionArgs {
    /// auto, cpu, cuda, cuda:1, tensorrt, openvino, openvino:gpu, openvino:npu, migraphx, rocm, coreml or directml
    #[arg(long, value_parser = Device::parse, default_value = "auto")]
    device: Device,
    /// Threads of one run on the processor [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// At most so many pictures go through the model in one run
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

/// What the model says of the configuration, at the place in the configuration.
fn problem(places: &Places, error: &LoadError) -> Problem {
    places.problem(&error.place(), error.to_string(), "")
}

/// What remains to be done with `error`: nothing, if the configuration is to blame and that was told.
fn refused(places: &Places, error: anyhow::Error) -> anyhow::Result<ExitCode> {
    match error.downcast_ref::<LoadError>() {
        Some(error) if error.is_bad_configuration() => {
            eprintln!("{}", Problems::new(vec![problem(places, error)]));
            Ok(ExitCode::from(BAD_CONFIGURATION))
        }
        _ => Err(error),
    }
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
