//! What the canary found, for other threads to read while the model runs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    config::Device,
    model::canary::verdict::{Fault, Figures},
};

/// What the canary found since the start of the service.
#[derive(Debug, Default)]
pub struct CanaryStatus {
    state: watch::Sender<CanaryState>,
    passed: AtomicU64,
    /// Failed runs by the word of their fault.
    failed: Mutex<BTreeMap<&'static str, u64>>,
}

/// The state of the device that runs the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CanaryState {
    /// The device that the canary checks; `None`: none is checked.
    pub device: Option<Device>,
    /// The figures of the newest run that passed.
    pub figures: Option<Figures>,
    /// Why the device is not used any more, or should not be.
    pub problem: Option<CanaryProblem>,
}

/// What is wrong with the device.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryProblem {
    /// What is wrong.
    pub fault: Fault,
    /// Whether the model runs on the processor now. Otherwise the processor cannot run it.
    pub fell_back: bool,
    /// When it was found.
    pub since: Timestamp,
}

impl CanaryStatus {
    /// The state, and its changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<CanaryState> {
        self.state.subscribe()
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> CanaryState {
        self.state.borrow().clone()
    }

    /// How many runs passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// How many runs failed, for each word of [`Fault::WORDS`].
    #[must_use]
    pub fn failed(&self) -> Vec<(&'static str, u64)> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        Fault::WORDS.iter().map(|word| (*word, failed.get(word).copied().unwrap_or(0))).collect()
    }

    /// The canary checks this device.
    pub(super) fn checks(&self, device: Device) {
        self.state.send_modify(|state| state.device = Some(device));
    }

    pub(super) fn has_passed(&self, figures: Figures) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        self.state.send_modify(|state| state.figures = Some(figures));
    }

    pub(super) fn has_failed(&self, fault: Fault, fell_back: bool) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(fault.word()).or_default() += 1;
        self.state.send_modify(|state| {
            let before = state.problem.as_ref().map(|problem| problem.since);
            let since = before.unwrap_or_else(Timestamp::now);
            state.problem = Some(CanaryProblem { fault, fell_back, since });
        });
    }
}

impl CanaryState {
    /// A word for the state: `ok`, `fallback` (the model runs on the processor instead) or `failed`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.problem {
            None => "ok",
            Some(problem) if problem.fell_back => "fallback",
            Some(_) => "failed",
        }
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let device = self.device.map_or("the device".to_owned(), |device| format!("the device {device}"));
        let then = match problem.fell_back {
            true => "the model runs on the processor since then",
            false => "the model cannot run on the processor either",
        };
        Some(format!("{device} failed its check: {}; {then}", problem.fault))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_state_after_each_run() {
        let status = CanaryStatus::default();
        assert_eq!((status.state().word(), status.state().cause()), ("ok", None));
        status.checks(Device::WebGpu(1));
        let figures = Figures { cosine: 1.0, difference: 0.0, took: Duration::from_millis(5) };
        status.has_passed(figures);
        assert_eq!(
            (status.state().word(), status.state().figures, status.passed()),
            ("ok", Some(figures), 1)
        );
        status.has_failed(Fault::Constant, false);
        let first = status.state();
        assert_eq!(first.word(), "failed");
        status.has_failed(Fault::NotANumber, true);
        let second = status.state();
        assert_eq!(second.word(), "fallback");
        let since = |state: &CanaryState| state.problem.as_ref().map(|problem| problem.since);
        assert_eq!(since(&first), since(&second), "since the first failure");
        let expected = "the device webgpu:1 failed its check: its answer is not a number; the model runs on the processor since then";
        assert_eq!(second.cause().as_deref(), Some(expected));
        let failed: Vec<_> = status.failed().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(failed, [("not_a_number", 1), ("constant", 1)]);
        assert_eq!(status.failed().len(), Fault::WORDS.len(), "every series exists from the start");
    }
}
