//! The file of the state folder with the outcomes of trials.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    candidates::Candidate,
    decision::{Trial, TrialOutcome},
};
use crate::{atomic_file, state_file::StateFile};

/// The name of the file.
const NAME: &str = "devices.json";
/// What it means if the file is lost.
const CONSEQUENCE: &str = "devices are tried again";
/// A device counts as crashed when the service has ended this number of times while it loaded the device. Once proves nothing: someone
/// may have stopped the service.
const CRASHED_AFTER: u32 = 2;

/// The outcomes of trials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Changes with everything that an outcome depends on. Outcomes for another key are not used.
    #[serde(default)]
    pub key: String,
    /// Everything that can be tried; `None`: plugins were not asked yet.
    #[serde(default)]
    pub candidates: Option<Vec<Candidate>>,
    /// What was tried.
    #[serde(default)]
    pub trials: Vec<Trial>,
    /// The device that the service is loading, and how often it has ended while it loaded it.
    #[serde(default)]
    pub loading: Option<Loading>,
}

/// A device that the service is loading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    device: String,
    times: u32,
}

impl Record {
    /// The record in a state folder, without a word if there is none.
    #[must_use]
    pub fn read(state_dir: &Path) -> Self {
        let text = atomic_file::read_to_string(&state_dir.join(NAME)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Deletes the record in a state folder, and returns the number of its outcomes. It is deleted and not emptied: root, who may
    /// call this, would own the new file.
    pub(super) fn forget(state_dir: &Path) -> io::Result<usize> {
        let count = Self::read(state_dir).trials.len();
        match fs::remove_file(state_dir.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(count),
        }
    }
}

/// The record, with the file that it is written to.
pub(super) struct RecordFile {
    file: StateFile,
    record: Record,
}

impl RecordFile {
    pub(super) fn load(state_dir: &Path) -> Self {
        let (file, record) = StateFile::load(state_dir, NAME, CONSEQUENCE);
        Self { file, record }
    }

    /// Uses the outcomes for this key. Those for another one are deleted.
    pub(super) fn begin(&mut self, key: String) {
        if self.record.key != key {
            self.record = Record { key, ..Record::default() };
            self.save();
        }
        self.count_crashes();
    }

    /// A device that the service was loading when it ended too often is not used any more.
    fn count_crashes(&mut self) {
        let Some(Loading { device, times }) = self.record.loading.clone() else { return };
        if times < CRASHED_AFTER {
            return;
        }
        let how = "the service ended while it loaded this device".to_owned();
        for trial in
            self.record.trials.iter_mut().filter(|trial| trial.candidate.device.to_string() == device)
        {
            trial.outcome = TrialOutcome::Crashed(how.clone());
        }
        self.record.loading = None;
        self.save();
    }

    pub(super) fn candidates(&self) -> Option<Vec<Candidate>> {
        self.record.candidates.clone()
    }

    pub(super) fn set_candidates(&mut self, candidates: Vec<Candidate>) {
        self.record.candidates = Some(candidates);
        self.save();
    }

    pub(super) fn trials(&self) -> &[Trial] {
        &self.record.trials
    }

    pub(super) fn has_outcome(&self, candidate: &Candidate) -> bool {
        self.record.trials.iter().any(|trial| trial.candidate == *candidate)
    }

    pub(super) fn add(&mut self, trial: Trial) {
        self.record.trials.push(trial);
        self.save();
    }

    /// The service begins to load a device.
    pub(super) fn note_loading(&mut self, device: &str) {
        let before = self.record.loading.take().filter(|loading| loading.device == device);
        let times = before.map_or(0, |loading| loading.times) + 1;
        self.record.loading = Some(Loading { device: device.to_owned(), times });
        self.save();
    }

    /// The service has loaded the device.
    pub(super) fn note_loaded(&mut self) {
        self.record.loading = None;
        self.save();
    }

    fn save(&mut self) {
        self.file.save(&self.record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Device, Precision};

    #[test]
    fn outcomes_are_kept_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let webgpu = Candidate { device: Device::WebGpu(0), precision: Precision::Auto, variant: "fp32" };
        let failed = Trial { candidate: webgpu, outcome: TrialOutcome::Failed("no".to_owned()) };
        assert_eq!(Record::read(folder.path()), Record::default());
        let mut file = RecordFile::load(folder.path());
        file.begin("one".to_owned());
        file.set_candidates(vec![webgpu]);
        file.add(failed.clone());
        let mut file = RecordFile::load(folder.path());
        file.begin("one".to_owned());
        assert!(file.has_outcome(&webgpu) && file.candidates() == Some(vec![webgpu]));
        assert_eq!(Record::read(folder.path()).trials, [failed]);
        file.begin("two".to_owned());
        assert!(!file.has_outcome(&webgpu) && file.candidates().is_none());
        file.add(Trial { candidate: webgpu, outcome: TrialOutcome::Hung("late".to_owned()) });
        assert_eq!(Record::forget(folder.path()).unwrap(), 1);
        assert_eq!(Record::forget(folder.path()).unwrap(), 0);
    }

    #[test]
    fn a_device_that_ends_the_service_twice_counts_as_crashed() {
        let folder = tempfile::tempdir().unwrap();
        let webgpu = Candidate { device: Device::WebGpu(0), precision: Precision::Auto, variant: "fp32" };
        let start = || {
            let mut file = RecordFile::load(folder.path());
            file.begin("key".to_owned());
            file
        };
        start().add(Trial { candidate: webgpu, outcome: TrialOutcome::Failed("no".to_owned()) });
        let is_crashed = |file: &RecordFile| matches!(file.trials()[0].outcome, TrialOutcome::Crashed(_));
        for (ends_in, expected) in
            [("loading", false), ("work", false), ("loading", false), ("loading", true)]
        {
            let mut file = start();
            file.note_loading("webgpu");
            if ends_in == "work" {
                file.note_loaded();
            }
            assert_eq!(is_crashed(&start()), expected);
        }
    }
}
