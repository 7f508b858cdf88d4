//! What is measured in a process of its own: the bare session's load, and a start of the service with the memory it takes.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{measure, memory};
use crate::{
    commands::bench::Args,
    model::{Model, Runtime},
};

/// What such a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Loads the vision tower and nothing else
    Session,
    /// Starts as the service does, and scores a few pictures
    Service,
}

/// What it says.
pub(crate) struct Started {
    pub(crate) seconds: f64,
    pub(crate) peak: Option<u64>,
}

/// Measures in this process; the answer is for [`started`].
pub(crate) fn measure(args: &Args, part: Part) -> Result<Value> {
    let begin = Instant::now();
    match part {
        Part::Session => {
            let runtime = Runtime::load(args.onnxruntime.as_deref())?;
            let found = args.find(&runtime)?;
            let session = Model::load_session(&runtime, &found.files, &args.options(&found))?;
            let seconds = begin.elapsed().as_secs_f64();
            drop(session);
            Ok(json!({"seconds": seconds, "peak": memory::peak()}))
        }
        Part::Service => {
            let (mut model, watchlist) = measure::start(args)?;
            let seconds = begin.elapsed().as_secs_f64();
            let jpeg: Arc<[u8]> = args.jpeg()?.into();
            let batch = usize::from(args.batches.first().copied().unwrap_or(1));
            measure::whole(&mut model, watchlist, &jpeg, batch, Duration::from_millis(500))?;
            Ok(json!({"seconds": seconds, "peak": memory::peak()}))
        }
    }
}

/// Lets a process of its own measure.
pub(crate) fn started(args: &Args, part: Part, batch: usize) -> Result<Started> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let mut command = Command::new(program);
    command.args(["bench", "--part"]).arg(match part {
        Part::Session => "session",
        Part::Service => "service",
    });
    command.args(["--device", &args.device.to_string()]);
    command.args(["--batches", &batch.to_string(), "--labels", &args.labels.to_string()]);
    if let Some(model) = &args.model {
        command.args(["--model", model]);
    }
    if let Some(variant) = args.variant.name() {
        command.args(["--variant", variant]);
    }
    if let Some(threads) = args.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if let Some(picture) = &args.picture {
        command.arg("--picture").arg(picture);
    }
    if let Some(library) = &args.onnxruntime {
        command.arg("--onnxruntime").arg(library);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("this program cannot be started again")?;
    ensure!(output.status.success(), "a part of the measurement failed ({})", output.status);
    let answer: Value = serde_json::from_slice(&output.stdout).context("a part gave no answer")?;
    let seconds = answer["seconds"].as_f64().context("a part gave no time")?;
    Ok(Started { seconds, peak: answer["peak"].as_u64() })
}
