//! The process of a trial itself: reads one request from standard input, and writes one answer to standard output.

use std::{
    io::{self, BufRead as _, Write as _},
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use super::{
    candidates::DeviceEntry,
    protocol::{MARK, Measure, Measurement, Request, Task, TrialAnswer},
};
use crate::{
    engine::onnx::{PluginDevice, Runtime},
    model::{
        Model,
        canary::{Canary, Outcome, pictures, verdict::Fault},
    },
};

/// The pictures of a batch that is measured, at most.
const BATCH: usize = 4;
/// How often each size is measured; the least time counts.
const TIMES: usize = 2;
/// The process ends this time after its limit, if the service that waits for it has ended.
const GRACE: Duration = Duration::from_secs(5);

/// Carries out the request on standard input.
///
/// # Errors
/// There is no request: someone typed this command.
pub fn serve() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line).map_err(|_| {
        let why = "this command is for the service itself: it tries a device in a process of its own";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    let limit = request.limit + GRACE;
    thread::Builder::new().name("limit".to_owned()).spawn(move || {
        thread::sleep(limit);
        process::exit(1);
    })?;
    let answer = match carry_out(request) {
        Ok(answer) => answer,
        Err(why) => TrialAnswer::Failed(why),
    };
    let text = serde_json::to_string(&answer).map_err(io::Error::other)?;
    let mut stdout = io::stdout().lock();
    // A library may have left a line without its end.
    write!(stdout, "\n{MARK}{text}\n")?;
    stdout.flush()
}

fn carry_out(request: Request) -> Result<TrialAnswer, String> {
    let runtime = Runtime::load(request.onnxruntime.as_deref()).map_err(|error| error.to_string())?;
    match request.task {
        Task::Devices { plugin } => devices(&runtime, &plugin).map(TrialAnswer::Devices),
        Task::Measure(measure) => measured(&runtime, *measure).map(TrialAnswer::Measured),
    }
}

fn devices(runtime: &Runtime, plugin: &Path) -> Result<Vec<DeviceEntry>, String> {
    let entry = |device: PluginDevice| DeviceEntry {
        provider: device.provider,
        kind: device.kind.name().to_owned(),
        title: device.title,
        openvino: device.openvino,
        version: device.version,
    };
    Ok(runtime.plugin_devices(plugin)?.into_iter().map(entry).collect())
}

fn measured(runtime: &Runtime, measure: Measure) -> Result<Measurement, String> {
    let (files, options) = measure.model()?;
    let began = Instant::now();
    let mut model = Model::load(runtime, &files, &options).map_err(|error| error.to_string())?;
    let load = began.elapsed();
    let canary = Canary::of(&model).map_err(|error| error.to_string())?;
    let canary = canary.map(|mut canary| match canary.run(&mut model, || began.elapsed()) {
        Outcome::Passed(figures) => Ok(figures),
        Outcome::Failed(fault) => Err(fault),
        Outcome::Away => Err(Fault::Failed("the engine is away".to_owned())),
    });
    // Its times mean nothing.
    let (one, batched) = match &canary {
        Some(Err(_)) => (Duration::ZERO, Duration::ZERO),
        _ => (time(&mut model, 1)?, time(&mut model, options.execution.max_batch.min(BATCH))?),
    };
    let placement = model.placement().into_iter().map(|share| (share.provider, share.nodes)).collect();
    Ok(Measurement { load, one, batched, canary, placement })
}

/// The least time of one picture in batches of this size.
fn time(model: &mut Model, count: usize) -> Result<Duration, String> {
    let count = count.max(1);
    let pictures = pictures::pictures();
    let mut values = Vec::with_capacity(model.preprocessor().tensor_len() * count);
    let repeated = pictures.iter().cycle().take(count);
    repeated.for_each(|picture| model.preprocessor().append(picture, &mut values));
    let mut least = Duration::MAX;
    for _ in 0..TIMES {
        let began = Instant::now();
        model.embed_prepared(&values).map_err(|error| error.to_string())?;
        least = least.min(began.elapsed());
    }
    Ok(least / u32::try_from(count).unwrap_or(u32::MAX))
}
