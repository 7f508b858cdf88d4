//! What a trial is asked and what it answers: one line of JSON each.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::candidates::{Candidate, DeviceEntry, DeviceName};
use crate::{
    config::{Config, Execution, Precision, Variant},
    model::{
        Logits, ModelFiles, Options,
        canary::verdict::{Fault, Figures},
        hub::Found,
    },
};

/// Begins the line of the answer: a plugin may write lines of its own.
pub(super) const MARK: &str = "stakeout-trial: ";

/// What the process does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The ONNX Runtime library that the service uses, if one is named.
    pub onnxruntime: Option<PathBuf>,
    /// What it does.
    pub task: Task,
    /// It ends after this time, also if nothing waits for it any more.
    pub limit: Duration,
}

/// What the process does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Lists the devices of a plugin.
    Devices {
        /// The library of the plugin.
        plugin: PathBuf,
    },
    /// Loads a model on a device, and measures it.
    Measure(Box<Measure>),
}

/// A model and a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The model's folder; `None`: the bundled model.
    folder: Option<PathBuf>,
    /// The command that fetches it, if the folder is in the hub's cache.
    pull: Option<String>,
    /// The folder with the tokenizer, if that is in another repository.
    tokenizer: Option<PathBuf>,
    /// The suffix of the graphs.
    suffix: String,
    /// The suffix of the graphs that the canary compares with.
    reference: String,
    /// Scale and bias, where they are known.
    logits: Option<[f32; 2]>,
    device: DeviceName,
    precision: String,
    threads: Option<usize>,
    max_batch: usize,
    gpu_memory: Option<u64>,
}

/// What the process answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TrialAnswer {
    /// The devices of a plugin.
    Devices(Vec<DeviceEntry>),
    /// The figures of a device.
    Measured(Measurement),
    /// It cannot be done.
    Failed(String),
}

/// The figures of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The time to load the model.
    pub load: Duration,
    /// The time of one picture alone.
    pub one: Duration,
    /// The time of one picture of a batch.
    pub batched: Duration,
    /// What the canary found; `None`: it is the reference, which has none.
    pub canary: Option<Result<Figures, Fault>>,
    /// How many nodes each provider runs, if that is known.
    pub placement: BTreeMap<String, usize>,
}

impl Request {
    pub(super) fn new(onnxruntime: Option<&Path>, task: Task, limit: Duration) -> Self {
        Self { onnxruntime: onnxruntime.map(Path::to_owned), task, limit }
    }
}

impl Measure {
    /// The model of `config`, as `candidate` runs it.
    pub(super) fn new(config: &Config, found: &Found, candidate: &Candidate) -> Self {
        let (folder, pull, tokenizer) = match found.files.clone() {
            ModelFiles::Folder(folder) => (Some(folder), None, None),
            ModelFiles::Cached { folder, tokenizer, pull } => (Some(folder), Some(pull), tokenizer),
            ModelFiles::Embedded(_) => (None, None, None),
        };
        let suffix = Variant::suffix(candidate.variant);
        let Execution { threads, max_batch, gpu_memory, .. } = config.execution;
        Self {
            folder,
            pull,
            tokenizer,
            reference: found.reference_for(&suffix),
            suffix,
            logits: found.logits.map(|logits| [logits.scale, logits.bias]),
            device: DeviceName::of(candidate.device),
            precision: candidate.precision.word().to_owned(),
            threads,
            max_batch,
            gpu_memory,
        }
    }

    /// The model's files, and how it is loaded.
    pub(super) fn model(self) -> Result<(ModelFiles, Options), String> {
        let device = self.device.device()?;
        let precision = Precision::parse(&self.precision)?;
        let execution = Execution {
            device,
            precision,
            threads: self.threads,
            max_batch: self.max_batch,
            gpu_memory: self.gpu_memory,
        };
        let options = Options {
            execution,
            variant: self.suffix,
            logits: self.logits.and_then(|[scale, bias]| Logits::checked(scale, bias)),
            remember: true,
            reference: Some(self.reference),
            ..Options::default()
        };
        let files = match (self.folder, self.pull) {
            (None, _) => ModelFiles::bundled(),
            (Some(folder), None) => ModelFiles::Folder(folder),
            (Some(folder), Some(pull)) => ModelFiles::Cached { folder, tokenizer: self.tokenizer, pull },
        };
        Ok((files, options))
    }
}
