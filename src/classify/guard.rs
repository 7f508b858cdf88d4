//! Checks the device of the model with the canary while it scores frames, and moves the model to the processor when it fails.
//!
//! The model's thread calls this between two batches, and when the device fails on a batch. A frame that waits meanwhile keeps its
//! slot, and is scored on the processor.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::canary_status::CanaryStatus;
use crate::model::{
    Model, ModelError,
    canary::{Canary, Outcome, verdict::Fault},
};

/// A batch that fails is no reason for another check within this time: its pictures may be to blame.
const PAUSE: Duration = Duration::from_secs(10);

/// The start of the times of checks.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time since any fixed moment.
type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A model, with what checks it.
pub struct GuardedModel {
    pub(super) model: Model,
    pub(super) guard: Option<Guard>,
}

impl From<Model> for GuardedModel {
    /// Nothing checks it.
    fn from(model: Model) -> Self {
        Self { model, guard: None }
    }
}

impl GuardedModel {
    /// Checks the model now, and later after each interval. A model that is the reference needs no check. If the reference cannot be
    /// run, nothing is checked, which is logged.
    #[must_use]
    pub fn start(mut model: Model, every: Duration, status: &CanaryStatus) -> Self {
        match Canary::of(&model) {
            Ok(None) => model.into(),
            Ok(Some(canary)) => {
                status.checks(model.device());
                let mut guard = Guard::new(canary, every, Arc::new(|| EPOCH.elapsed()));
                guard.check(&mut model, status);
                Self { model, guard: Some(guard) }
            }
            Err(error) => {
                warn!(%error, "the device of the model is not checked, because the processor cannot run the model");
                model.into()
            }
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// The canary of a model, and when it runs.
pub(super) struct Guard {
    canary: Canary,
    every: Duration,
    /// When it runs next; `None`: never again, because the model runs on the processor.
    due: Option<Duration>,
    /// When a failed batch may be a reason for a check.
    patient_until: Duration,
    /// When the processor is tried again after it could not run the model.
    processor_after: Duration,
    now: Now,
}

impl Guard {
    pub(super) fn new(canary: Canary, every: Duration, now: Now) -> Self {
        let due = Some(now());
        let (patient_until, processor_after) = (Duration::ZERO, Duration::ZERO);
        Self { canary, every, due, patient_until, processor_after, now }
    }

    /// The time until the next check; `None`: there is none any more.
    pub(super) fn until_due(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub((self.now)()))
    }

    pub(super) fn is_due(&self) -> bool {
        self.until_due().is_some_and(|left| left.is_zero())
    }

    /// Runs the canary if it is due.
    pub(super) fn check_if_due(&mut self, model: &mut Model, status: &CanaryStatus) {
        if self.is_due() {
            self.check(model, status);
        }
    }

    /// The device has failed on a batch. Returns whether the device is to blame and the model was moved to the processor: the same
    /// pictures can be scored there.
    pub(super) fn suspects(&mut self, model: &mut Model, error: &ModelError, status: &CanaryStatus) -> bool {
        match error {
            _ if self.due.is_none() || (self.now)() < self.processor_after => false,
            ModelError::Lost(why) => self.fall_back(model, Fault::Lost(why.clone()), status),
            ModelError::NotANumber | ModelError::Run(_) if (self.now)() >= self.patient_until => {
                self.check(model, status)
            }
            _ => false,
        }
    }

    /// Runs the canary. Returns whether the model was moved to the processor.
    fn check(&mut self, model: &mut Model, status: &CanaryStatus) -> bool {
        let now = Arc::clone(&self.now);
        let outcome = self.canary.run(model, &*now);
        let after = now();
        (self.due, self.patient_until) = (Some(after + self.every), after + PAUSE);
        match outcome {
            Outcome::Passed(figures) => {
                let first = status.passed() == 0;
                status.has_passed(figures);
                if first {
                    let (cosine, difference) = (figures.cosine, figures.difference);
                    info!(device = %model.device(), cosine, difference, "the device computes as the processor does");
                }
                false
            }
            Outcome::Failed(fault) => self.fall_back(model, fault, status),
            Outcome::Away => false,
        }
    }

    fn fall_back(&mut self, model: &mut Model, fault: Fault, status: &CanaryStatus) -> bool {
        let device = model.device();
        match model.fall_back() {
            Ok(()) => {
                error!(
                    %device, reason = %fault,
                    "the device failed its check: the model continues on the processor. Update the driver or the plugin, and \
                     restart the service"
                );
                self.due = None;
                status.has_failed(fault, true);
                true
            }
            Err(error) => {
                error!(
                    %device, reason = %fault, %error,
                    "the device failed its check, and the model cannot run on the processor: set `device: cpu`"
                );
                // The next check may find that the device works again, or that the processor does.
                let now = (self.now)();
                (self.due, self.processor_after) = (Some(now + self.every), now + PAUSE);
                status.has_failed(fault, false);
                false
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("every", &self.every).field("due", &self.due).finish_non_exhaustive()
    }
}
