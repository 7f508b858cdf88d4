//! The commands: each file declares the arguments of one command, calls the library once and prints the result. This file
//! has what they share: exit codes, common arguments, and loading the configuration.

pub mod alerts;
pub mod ask;
pub mod bench;
pub mod check;
pub mod classify;
pub mod completions;
pub mod console;
mod controls;
pub mod decoder;
pub mod devices;
pub mod doctor;
mod embed;
pub mod enable;
pub mod explain;
mod fetch;
pub mod health;
pub mod history;
pub mod import;
pub mod init;
pub mod logging;
pub mod mark;
pub mod models;
mod moment;
mod new_file;
mod pictures;
pub mod recordings;
pub mod replay;
pub mod run;
pub mod schema;
pub mod search;
pub mod set;
pub mod snooze;
pub mod support_bundle;
pub mod trial;
pub mod tune;
pub mod watch_for;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    api,
    classify::LoadError,
    config::{
        self, Config, Device, Execution, HubModel, Loaded, ModelRef, Precision, Variant, is_plain_path,
    },
    picture::MAX_PIXELS_RANGE,
    terminal,
    yaml::{
        Places,
        error::{Problem, Problems},
        value,
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

/// The model of new configurations with cameras: the bundled one knows drawings only.
const CAMERA_MODEL: &str = "openai/clip-vit-base-patch16";

/// Why there is nothing to read or to mark.
const HISTORY_IS_OFF: &str = "nothing is remembered, because the configuration has `history: off`: remove that line to remember alerts";

/// The configuration, for commands that need one.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file [default: ./stakeout.yaml if it exists, else /etc/stakeout/stakeout.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that `--config` names, or the first of [`config::USUAL_PLACES`] that exists. A note is printed if both exist.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if let Some(named) = &self.config {
            return named.clone();
        }
        let [here, machine] = config::USUAL_PLACES.map(Path::new);
        // A link to nothing counts: the error names it.
        let exists = |path: &Path| path.symlink_metadata().is_ok();
        if exists(here) && exists(machine) {
            let (here, machine) = (here.display(), machine.display());
            terminal::say(format_args!("note: {here} is used, and not {machine}; `--config FILE` names one"));
        }
        if exists(here) { here.to_owned() } else { machine.to_owned() }
    }
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs: JSON objects
    Json,
}

/// The model, for commands that need no configuration.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// A folder with the model's files, or the model's name on the hub, from which it is fetched if it is missing [default: the
    /// bundled model]
    #[arg(long, value_name = "ID|FOLDER")]
    model: Option<String>,
    /// auto, fp32, fp16, bf16, int8, quantized, uint8, q4, q4f16 or bnb4
    #[arg(long, value_parser = variant, default_value = "auto")]
    variant: Variant,
    /// The ONNX Runtime library [default: the first one in the usual places]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

impl ModelArgs {
    fn model(&self) -> ModelRef {
        self.model.as_deref().map_or(ModelRef::Bundled, |typed| model(typed, self.variant))
    }
}

/// How the model is run, for commands that need no configuration.
#[derive(Debug, clap::Args)]
struct ExecutionArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// The most pictures in one run of the model
    #[arg(long, value_name = "N", default_value_t = Execution::MAX_BATCH as u16,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_batch: u16,
}

/// The device, and its threads.
#[derive(Debug, clap::Args)]
struct DeviceArgs {
    /// auto, cpu, cuda, cuda:1, tensorrt, tensorrt-rtx, openvino, openvino:gpu, openvino:npu, webgpu, qnn, migraphx, rocm,
    /// coreml or directml
    #[arg(long, value_parser = Device::parse, default_value = "auto")]
    device: Device,
    /// The precision in which openvino computes graphs of full precision: auto, fp32, bf16 or fp16
    #[arg(long, value_parser = Precision::parse, default_value = "auto")]
    precision: Precision,
    /// Threads of the model on the CPU [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl ExecutionArgs {
    fn execution(&self) -> Execution {
        Execution { max_batch: usize::from(self.max_batch), ..self.device.execution() }
    }
}

impl DeviceArgs {
    fn execution(&self) -> Execution {
        let threads = self.threads.map(usize::from);
        Execution { device: self.device, precision: self.precision, threads, ..Execution::default() }
    }
}

/// The parser of `--max-pixels`, with the range of the key `max_pixels`.
fn max_pixels() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(MAX_PIXELS_RANGE.0..=MAX_PIXELS_RANGE.1)
}

/// Reads the value of `--memory`, a size as in the configuration.
fn memory(text: &str) -> Result<u64, String> {
    value::size(text)
}

/// Loads the configuration at `path` and calls `run` with it. If the configuration has problems, also ones that only the model
/// finds, they are printed and the exit code is [`BAD_CONFIGURATION`].
fn with_config(path: &Path, run: impl FnOnce(Config) -> Result<ExitCode>) -> Result<ExitCode> {
    let Loaded { config, places, .. } = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(print_problems(&problems)),
    };
    run(config).or_else(|error| match error.downcast_ref::<LoadError>() {
        Some(error) if error.is_bad_configuration() => {
            Ok(print_problems(&Problems::new(vec![problem(&places, error)])))
        }
        _ => Err(error),
    })
}

/// Prints the problems of the configuration, and returns the exit code for them. If a file could not be opened for now, nothing is
/// known about the configuration: systemd tries again after [`FAILED`], and not after [`BAD_CONFIGURATION`].
fn print_problems(problems: &Problems) -> ExitCode {
    terminal::say(format_args!("{problems}"));
    ExitCode::from(if problems.shortage().is_some() { FAILED } else { BAD_CONFIGURATION })
}

/// Prints why a request has no answer, and returns the exit code for it.
fn report(error: &api::Error) -> ExitCode {
    terminal::say(format_args!("error: {error}"));
    ExitCode::from(if error.kind == api::Kind::BadRequest { WRONG_USAGE } else { FAILED })
}

/// An error of the model as a problem at its place in the configuration.
fn problem(places: &Places, error: &LoadError) -> Problem {
    places.problem(&error.place(), error.to_string(), "")
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
