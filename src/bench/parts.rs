//! Measurements in processes of their own: loading the bare session, and a start of the service with its peak memory.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    path::pictures_per_second,
    setup::{Setup, watchlist},
};
use crate::{
    config::{ModelRef, Variant},
    model::{Model, Runtime},
};

/// What a process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// Loads the vision tower and nothing else
    Session,
    /// Starts like the service, and scores a few pictures
    Service,
}

/// The result of a process.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartResult {
    pub(super) seconds: f64,
    /// The peak memory in bytes; `None` if the system does not report it.
    pub(super) peak: Option<u64>,
}

/// Measures in this process; the result is meant for `run_part`.
///
/// # Errors
/// The model or the picture cannot be used.
pub fn measure_part(setup: &Setup, part: BenchPart) -> Result<PartResult> {
    let begin = Instant::now();
    let seconds;
    match part {
        BenchPart::Session => {
            let runtime = Runtime::load(setup.onnxruntime.as_deref())?;
            let found = setup.find(&runtime)?;
            let _session = Model::load_session(&runtime, &found.files, &setup.options(&found))?;
            seconds = begin.elapsed().as_secs_f64();
        }
        BenchPart::Service => {
            let (_, mut model, names, vectors) = setup.load()?;
            let watchlist = watchlist(&names, vectors);
            seconds = begin.elapsed().as_secs_f64();
            let jpeg: Arc<[u8]> = setup.jpeg()?.into();
            let batch = usize::from(setup.batches.first().copied().unwrap_or(1));
            pictures_per_second(
                &mut model,
                watchlist,
                (&jpeg, setup.limits()),
                batch,
                Duration::from_millis(500),
            )?;
        }
    }
    Ok(PartResult { seconds, peak: peak_memory() })
}

/// Measures in a process of its own, which runs this program with `--part`.
pub(super) fn run_part(setup: &Setup, part: BenchPart, batch: usize) -> Result<PartResult> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let (model, variant) = match &setup.model {
        ModelRef::Bundled => (None, Variant::Auto),
        // The parser of the arguments takes an absolute path for a folder.
        ModelRef::Folder(folder, variant) => {
            (Some(folder.canonicalize().unwrap_or_else(|_| folder.clone())), *variant)
        }
        ModelRef::Hub(model) => (Some(PathBuf::from(&model.id)), model.variant),
    };
    let options: [(&str, Option<OsString>); 10] = [
        ("--part", part.to_possible_value().map(|name| name.get_name().into())),
        ("--device", Some(setup.execution.device.to_string().into())),
        ("--batches", Some(batch.to_string().into())),
        ("--labels", Some(setup.labels.to_string().into())),
        ("--model", model.map(Into::into)),
        ("--variant", variant.name().map(Into::into)),
        ("--threads", setup.execution.threads.map(|threads| threads.to_string().into())),
        ("--picture", setup.picture.clone().map(Into::into)),
        ("--max-pixels", Some(setup.max_pixels.to_string().into())),
        ("--onnxruntime", setup.onnxruntime.clone().map(Into::into)),
    ];
    let mut command = Command::new(program);
    command.arg("bench");
    for (option, value) in options {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("this program cannot be started again")?;
    ensure!(output.status.success(), "a part of the measurement failed ({})", output.status);
    serde_json::from_slice(&output.stdout).context("a part of the measurement gave no result")
}

/// The most resident memory of this process in bytes (`VmHWM`); `None` if the system does not report it.
fn peak_memory() -> Option<u64> {
    parse_peak(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_read_from_proc() {
        let status = "Name:\tstakeout\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nThreads:\t2\n";
        assert_eq!(parse_peak(status), Some(512 * 1024));
        assert_eq!(parse_peak("Name:\tstakeout\n"), None);
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
