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

/// The state of what runs the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CanaryState {
    /// What the canary checks; `None`: nothing is checked.
    pub checked: Option<Checked>,
    /// The figures of the newest run that passed.
    pub figures: Option<Figures>,
    /// Why what runs the model is not used any more, or should not be.
    pub problem: Option<CanaryProblem>,
}

/// What runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// A device of this machine.
    Device(Device),
    /// A model server.
    Server,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct CanaryProblem {
    /// What is wrong.
    pub fault: Fault,
    /// What happens to frames since then.
    pub consequence: Consequence,
    /// When it was found.
    pub since: Timestamp,
}

/// What happens to frames after a check has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The processor of this machine runs the model.
    OnProcessor,
    /// The processor cannot run the model, so the device continues.
    NoProcessor,
    /// Frames wait for a model server that passes the check.
    Wait,
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

    /// The canary checks this.
    pub(super) fn checks(&self, checked: Checked) {
        self.state.send_modify(|state| state.checked = Some(checked));
    }

    pub(super) fn has_passed(&self, figures: Figures) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        self.state.send_modify(|state| (state.figures, state.problem) = (Some(figures), None));
    }

    pub(super) fn has_failed(&self, fault: Fault, consequence: Consequence) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(fault.word()).or_default() += 1;
        self.state.send_modify(|state| {
            let before = state.problem.as_ref().map(|problem| problem.since);
            let since = before.unwrap_or_else(Timestamp::now);
            state.problem = Some(CanaryProblem { fault, consequence, since });
        });
    }
}

impl CanaryState {
    /// A word for the state: `ok`, `fallback` (the model runs on the processor instead) or `failed`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.problem {
            None => "ok",
            Some(problem) if problem.consequence == Consequence::OnProcessor => "fallback",
            Some(_) => "failed",
        }
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let checked = match self.checked {
            Some(Checked::Device(device)) => format!("the device {device}"),
            Some(Checked::Server) => "the model server".to_owned(),
            None => "the device".to_owned(),
        };
        let then = match problem.consequence {
            Consequence::OnProcessor => "the model runs on the processor since then",
            Consequence::NoProcessor => "the model cannot run on the processor either",
            Consequence::Wait => "frames wait for a model server that passes",
        };
        Some(format!("{checked} failed its check: {}; {then}", problem.fault))
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
        status.checks(Checked::Device(Device::WebGpu(1)));
        let figures = Figures { cosine: 1.0, difference: 0.0, took: Duration::from_millis(5) };
        status.has_passed(figures);
        assert_eq!(
            (status.state().word(), status.state().figures, status.passed()),
            ("ok", Some(figures), 1)
        );
        status.has_failed(Fault::Constant, Consequence::NoProcessor);
        let first = status.state();
        assert_eq!(first.word(), "failed");
        status.has_failed(Fault::NotANumber, Consequence::OnProcessor);
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

    #[test]
    fn a_server_that_passes_again_is_well() {
        let status = CanaryStatus::default();
        status.checks(Checked::Server);
        status.has_failed(Fault::Constant, Consequence::Wait);
        let state = status.state();
        let expected = "the model server failed its check: its answer is the same for every picture; frames wait for a model server that passes";
        assert_eq!((state.word(), state.cause().as_deref()), ("failed", Some(expected)));
        status.has_passed(Figures { cosine: 1.0, difference: 0.0, took: Duration::ZERO });
        assert_eq!((status.state().word(), status.state().cause()), ("ok", None));
    }
}
