//! Tries devices in a process of their own before the service uses them, and chooses the fastest one that computes right.
//!
//! A plugin is code of others that was made for hardware of others. In a process of its own it can crash or hang, and the service
//! only learns that it did. The outcomes are kept in the state folder: a device that failed is not tried again until its plugin,
//! the library, the processor or the model changes, or someone asks for it.

mod candidates;
mod decision;
mod process;
mod protocol;
mod record;
mod serve;

use std::{
    borrow::Cow,
    io,
    path::Path,
    time::{Duration, Instant},
};

use tracing::{info, warn};

pub use candidates::{Candidate, DeviceEntry};
pub use decision::{Decision, Trial, TrialOutcome, decide};
pub use process::Program;
pub use protocol::Measurement;
pub use record::Record;
pub use serve::serve;

use self::{
    process::Ended,
    protocol::{Measure, Request, Task, TrialAnswer},
    record::RecordFile,
};
use crate::{
    config::{Config, Device, Execution, Precision, Variant},
    engine::{
        onnx::{DeviceError, Runtime},
        plugins::{self, Installed},
        processor::Processor,
    },
    model::{
        ModelError,
        hub::{self, Found},
    },
};

/// The time for all trials of one start.
const BUDGET: Duration = Duration::from_secs(10);
/// The time for the trial of a device that the configuration names: some plugins compile a model for minutes.
const BUDGET_OF_NAMED: Duration = Duration::from_secs(300);
/// The time in which a plugin lists its devices.
const BUDGET_OF_LIST: Duration = Duration::from_secs(20);

/// How the model of a configuration runs on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The device, its precision and the variant of the graphs. `None`: as the configuration says.
    pub candidate: Option<Candidate>,
    /// Why, for people; empty if nothing was chosen.
    pub reason: String,
}

impl Choice {
    /// What the configuration says.
    fn none() -> Self {
        Self { candidate: None, reason: String::new() }
    }

    /// `config` with the choice.
    #[must_use]
    pub fn apply(&self, config: &Config) -> Config {
        let mut config = config.clone();
        if let Some(Candidate { device, precision, variant }) = self.candidate {
            (config.execution.device, config.execution.precision) = (device, precision);
            config.model = config.model.with_variant(variant);
        }
        config
    }
}

/// Chooses how the model of `config` runs, and tries what was not tried yet. `program` is started for each trial.
///
/// # Errors
/// ONNX Runtime is missing, or a device that the configuration names does not work.
pub fn choose(config: &Config, program: &Program) -> Result<Choice, ModelError> {
    let device = config.execution.device;
    match device {
        // The device of the server is its own choice.
        _ if config.model_server.is_some() => Ok(Choice::none()),
        Device::Auto if config.model.variant() == Variant::Auto => {
            Ok(choose_fastest(config, &load_runtime(config)?, program))
        }
        Device::Plugin(_)
        | Device::OpenVino(_)
        | Device::TensorRtRtx(_)
        | Device::WebGpu(_)
        | Device::Qnn => {
            let runtime = load_runtime(config)?;
            match runtime.needs_plugin(device) {
                true => check_named(config, device, &runtime, program),
                false => Ok(Choice::none()),
            }
        }
        _ => Ok(Choice::none()),
    }
}

fn load_runtime(config: &Config) -> Result<Runtime, ModelError> {
    Ok(Runtime::load(config.onnxruntime.as_deref())?)
}

/// What was chosen for `config` at the last start of the service. Nothing is tried.
#[must_use]
pub fn chosen_before(config: &Config) -> Choice {
    let is_auto = config.execution.device == Device::Auto && config.model.variant() == Variant::Auto;
    if !is_auto || config.model_server.is_some() {
        return Choice::none();
    }
    let record = Record::read(&config.state_dir);
    if record.trials.is_empty() {
        return Choice::none();
    }
    let Ok(runtime) = load_runtime(config) else { return Choice::none() };
    let Some(found) = found(config) else { return Choice::none() };
    match record.key == key(config, &runtime, &found) {
        true => choice(&decide(&record.trials)),
        false => Choice::none(),
    }
}

/// The service is about to use a device of a plugin in its own process. If the process ends before [`loaded`] is called, twice,
/// the device counts as crashed.
pub fn loading(config: &Config, device: Device) {
    if device.is_accelerator() {
        RecordFile::load(&config.state_dir).note_loading(&device.to_string());
    }
}

/// The device that [`loading`] was called for works in this process.
pub fn loaded(config: &Config, device: Device) {
    if device.is_accelerator() {
        RecordFile::load(&config.state_dir).note_loaded();
    }
}

/// Forgets every outcome in the state folder, so that the next start tries everything again. Returns the number of outcomes.
///
/// # Errors
/// The file cannot be deleted.
pub fn forget(state_dir: &Path) -> io::Result<usize> {
    Record::forget(state_dir)
}

/// The devices of a plugin on this machine that the configuration can name, each with what the plugin says about it. The plugin is
/// loaded in another process.
///
/// # Errors
/// What the plugin or its process did instead, for people.
pub fn devices_of(
    installed: &Installed,
    onnxruntime: Option<&Path>,
    program: &Program,
) -> Result<Vec<(Device, DeviceEntry)>, String> {
    let listed = devices(&installed.library, onnxruntime, program)?;
    Ok(candidates::of_plugin(installed.plugin, &listed))
}

/// The precisions in which a device can compute, the fastest first.
#[must_use]
pub fn precisions(device: Device, processor: &Processor) -> Vec<Precision> {
    candidates::precisions(device, processor)
}

/// The devices of a plugin, or why it cannot be used. The plugin is loaded in another process.
///
/// # Errors
/// What the plugin or its process did instead, for people.
pub fn devices(
    plugin: &Path,
    onnxruntime: Option<&Path>,
    program: &Program,
) -> Result<Vec<DeviceEntry>, String> {
    let task = Task::Devices { plugin: plugin.to_owned() };
    let request = Request::new(onnxruntime, task, BUDGET_OF_LIST);
    match process::ask(program, &request, BUDGET_OF_LIST) {
        Ended::Answered(TrialAnswer::Devices(devices)) => Ok(devices),
        Ended::Answered(TrialAnswer::Failed(why)) => Err(why),
        Ended::Answered(TrialAnswer::Measured(_)) => Err("another version of the program answers".to_owned()),
        Ended::Crashed(how) | Ended::Hung(how) | Ended::NotStarted(how) => Err(how),
    }
}

/// `config` on the processor if its device needs a plugin, for commands that check a configuration and must not end with a plugin.
#[must_use]
pub fn without_plugin(config: &Config) -> Cow<'_, Config> {
    let loaded = Runtime::load(config.onnxruntime.as_deref());
    if !loaded.is_ok_and(|runtime| runtime.needs_plugin(config.execution.device)) {
        return Cow::Borrowed(config);
    }
    let execution = Execution { device: Device::Cpu, ..config.execution };
    Cow::Owned(Config { execution, ..config.clone() })
}

/// Tries every candidate that has no outcome yet, and decides.
fn choose_fastest(config: &Config, runtime: &Runtime, program: &Program) -> Choice {
    // A library that was built for a GPU is there because someone wants that.
    if runtime.device(Device::Auto).is_ok_and(Device::is_accelerator) {
        return Choice::none();
    }
    let Some(found) = found(config) else { return Choice::none() };
    let variants = candidates::variants(&found.files);
    let installed = if runtime.has_plugins() { plugins::installed() } else { Vec::new() };
    // The usual case: there is no choice, and the start costs nothing.
    if installed.is_empty() && variants.len() <= 1 {
        return Choice::none();
    }
    let mut file = RecordFile::load(&config.state_dir);
    file.begin(key(config, runtime, &found));
    let began = Instant::now();
    let listed = |it: &Installed| {
        let listed = devices(&it.library, config.onnxruntime.as_deref(), program);
        let found = listed.inspect_err(|why| {
            warn!(
                plugin = it.plugin.name,
                version = it.version,
                "`device: auto` continues without a plugin: {why}"
            );
        });
        (it.plugin, found.unwrap_or_default())
    };
    // Listed only if something is left to try: a plugin may take seconds to find its devices.
    let all = match file.candidates() {
        Some(known) => known,
        None => {
            let devices: Vec<_> = installed.iter().map(listed).collect();
            let all = candidates::candidates(&variants, &devices, &Processor::of_machine());
            file.set_candidates(all.clone());
            all
        }
    };
    for candidate in all {
        let left = BUDGET.saturating_sub(began.elapsed());
        if file.has_outcome(&candidate) || left.is_zero() {
            continue;
        }
        let has_time = left >= BUDGET - BUDGET / 5;
        let outcome = attempt(config, &found, &candidate, program, left);
        // A part of the time proves nothing: the next start tries it again.
        if !matches!(outcome, TrialOutcome::Hung(_)) || has_time {
            file.add(Trial { candidate, outcome });
        }
    }
    let decision = decide(file.trials());
    info!("{}", decision.summary());
    choice(&decision)
}

fn choice(decision: &Decision) -> Choice {
    Choice { candidate: decision.chosen, reason: decision.reason() }
}

/// Tries a device that the configuration names, once for each version of its plugin and each model.
fn check_named(
    config: &Config,
    device: Device,
    runtime: &Runtime,
    program: &Program,
) -> Result<Choice, ModelError> {
    let Ok(found) = hub::find(&config.model, device) else { return Ok(Choice::none()) };
    let variant = candidates::variant_name(&found.suffix);
    let candidate = Candidate { device, precision: config.execution.precision, variant };
    let mut file = RecordFile::load(&config.state_dir);
    file.begin(key(config, runtime, &found));
    if !file.has_outcome(&candidate) {
        info!(%device, "trying the device in another process");
        let outcome = attempt(config, &found, &candidate, program, BUDGET_OF_NAMED);
        file.add(Trial { candidate, outcome });
    }
    let outcome = file.trials().iter().find(|trial| trial.candidate == candidate).map(|trial| &trial.outcome);
    match outcome {
        Some(TrialOutcome::Crashed(how) | TrialOutcome::Hung(how)) => {
            Err(DeviceError::Crashed { device, how: how.clone() }.into())
        }
        // Other errors are reported by the attempt to load it here, in full.
        _ => Ok(Choice::none()),
    }
}

/// The outcome of one trial.
fn attempt(
    config: &Config,
    found: &Found,
    candidate: &Candidate,
    program: &Program,
    limit: Duration,
) -> TrialOutcome {
    let measure = Measure::new(config, found, candidate);
    let request = Request::new(config.onnxruntime.as_deref(), Task::Measure(Box::new(measure)), limit);
    match process::ask(program, &request, limit) {
        Ended::Answered(TrialAnswer::Measured(measurement)) => TrialOutcome::Measured(measurement),
        Ended::Answered(TrialAnswer::Failed(why)) => TrialOutcome::Failed(why),
        Ended::Answered(TrialAnswer::Devices(_)) => {
            TrialOutcome::Failed("another version of the program answers".to_owned())
        }
        Ended::Crashed(how) => TrialOutcome::Crashed(how),
        Ended::Hung(how) => TrialOutcome::Hung(how),
        Ended::NotStarted(how) => TrialOutcome::Failed(how),
    }
}

/// The files of the model, if they are on this machine.
fn found(config: &Config) -> Option<Found> {
    hub::find(&config.model, Device::Cpu).ok()
}

/// A text that changes with everything that an outcome depends on, besides the candidate.
fn key(config: &Config, runtime: &Runtime, found: &Found) -> String {
    let Processor { name, extensions } = Processor::of_machine();
    let plugins = plugins::installed().into_iter().map(|it| format!("{} {}", it.plugin.name, it.version));
    let custom = match config.execution.device {
        // A file that is replaced is another plugin.
        Device::Plugin(custom) => std::fs::metadata(&custom.library)
            .ok()
            .and_then(|file| Some(format!("{:?} {}", file.modified().ok()?, file.len()))),
        _ => None,
    };
    let graphs = Variant::NAMES.map(|name| found.files.identity(&Variant::suffix(name)).unwrap_or_default());
    [
        env!("CARGO_PKG_VERSION").to_owned(),
        name,
        extensions.join(","),
        format!("{:?} threads, batches of {}", config.execution.threads, config.execution.max_batch),
        runtime.build().to_owned(),
        plugins.chain(custom).collect::<Vec<_>>().join(","),
        graphs.join(","),
    ]
    .join("; ")
}
