//! Checks the device of the model with the canary while it scores frames, and moves the model to the processor when it fails.
//!
//! The model's thread calls this between two batches, and when the device fails on a batch. A frame that waits meanwhile keeps its
//! slot, and is scored on the processor.
//!
//! A model server is checked also before the first answer of each connection to it is used: it may have another graph after it was away. A
//! server that fails is as one that is away: another one is used, or frames wait.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::{
    canary_status::{Checked, Consequence},
    progress::Progress,
};
use crate::{
    engine::Connection,
    model::{
        Model, ModelError,
        canary::{
            Canary, Outcome,
            verdict::{Fault, Figures},
        },
    },
};

/// A batch that fails is no reason for another check within this time: its pictures may be to blame.
const PAUSE: Duration = Duration::from_secs(10);

/// The checks that are made at once of model servers of which each has failed the one before.
const CHECKS: usize = 4;

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
    pub fn start(mut model: Model, every: Duration, progress: &Progress) -> Self {
        match Canary::of(&model) {
            Ok(None) => model.into(),
            Ok(Some(canary)) => {
                progress.canary.checks(match model.connection() {
                    Connection::Here => Checked::Device(model.device()),
                    Connection::Open(_) | Connection::Away => Checked::Server,
                });
                let mut guard = Guard::new(canary, every, Arc::new(|| EPOCH.elapsed()));
                guard.check(&mut model, progress);
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
    /// The connection to a model server that has passed the newest check.
    passed: Option<u64>,
    now: Now,
}

impl Guard {
    pub(super) fn new(canary: Canary, every: Duration, now: Now) -> Self {
        let due = Some(now());
        let (patient_until, processor_after) = (Duration::ZERO, Duration::ZERO);
        Self { canary, every, due, patient_until, processor_after, passed: None, now }
    }

    /// The time until the next check; `None`: there is none any more.
    pub(super) fn until_due(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub((self.now)()))
    }

    /// Whether the canary runs before the next batch.
    pub(super) fn is_due(&self, model: &Model) -> bool {
        self.until_due().is_some_and(|left| left.is_zero() || self.is_new(model.connection()))
    }

    /// Runs the canary if it is due.
    pub(super) fn check_if_due(&mut self, model: &mut Model, progress: &Progress) {
        if self.is_due(model) {
            self.check(model, progress);
        }
    }

    /// Runs the canary before the first answer of a connection to a model server is used.
    ///
    /// # Errors
    /// [`ModelError::Unavailable`]: the answers must not be used yet.
    pub(super) fn admit(&mut self, model: &mut Model, progress: &Progress) -> Result<(), ModelError> {
        for _ in 0..CHECKS {
            if !self.is_new(model.connection()) {
                return Ok(());
            }
            self.check(model, progress);
            progress.pulse.beat();
        }
        match self.is_new(model.connection()) {
            true => Err(ModelError::Unavailable("no model server has passed its check yet".to_owned())),
            false => Ok(()),
        }
    }

    /// Whether a connection to a model server has not passed the check.
    fn is_new(&self, connection: Connection) -> bool {
        matches!(connection, Connection::Open(number) if self.passed != Some(number))
    }

    /// The device or the model server has failed on a batch. Returns whether it is to blame and is not used any more: the same pictures
    /// can be scored by the processor, or by another server.
    pub(super) fn suspects(&mut self, model: &mut Model, error: &ModelError, progress: &Progress) -> bool {
        match error {
            _ if self.due.is_none() || (self.now)() < self.processor_after => false,
            ModelError::Lost(why) => self.fall_back(model, Fault::Lost(why.clone()), progress),
            ModelError::NotANumber | ModelError::Run(_) if (self.now)() >= self.patient_until => {
                self.check(model, progress)
            }
            _ => false,
        }
    }

    /// Runs the canary. Returns whether the device or the model server is not used any more.
    fn check(&mut self, model: &mut Model, progress: &Progress) -> bool {
        let (now, connection) = (Arc::clone(&self.now), model.connection());
        let outcome = self.canary.run(model, &*now);
        let after = now();
        (self.due, self.patient_until) = (Some(after + self.every), after + PAUSE);
        match (outcome, connection) {
            (Outcome::Away, _) => false,
            // Several servers have answered, and the newest one is checked next.
            _ if connection != model.connection() => false,
            (Outcome::Passed(figures), _) => {
                self.passed = number_of(connection);
                let first = progress.canary.passed() == 0;
                progress.canary.has_passed(figures);
                if first {
                    log_passed(model, figures);
                }
                false
            }
            (Outcome::Failed(fault), Connection::Open(number)) => {
                error!(
                    reason = %fault,
                    "the model server failed its check and is not used: correct its graph, its precision or its driver"
                );
                model.distrust(number, &fault.to_string());
                progress.canary.has_failed(fault, Consequence::Wait);
                true
            }
            (Outcome::Failed(fault), _) => self.fall_back(model, fault, progress),
        }
    }

    fn fall_back(&mut self, model: &mut Model, fault: Fault, progress: &Progress) -> bool {
        let device = model.device();
        match model.fall_back() {
            Ok(()) => {
                error!(
                    %device, reason = %fault,
                    "the device failed its check: the model continues on the processor. Update the driver or the plugin, and \
                     restart the service"
                );
                self.due = None;
                progress.canary.has_failed(fault, Consequence::OnProcessor);
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
                progress.canary.has_failed(fault, Consequence::NoProcessor);
                false
            }
        }
    }
}

/// The number of a connection to a server.
fn number_of(connection: Connection) -> Option<u64> {
    match connection {
        Connection::Open(number) => Some(number),
        Connection::Here | Connection::Away => None,
    }
}

fn log_passed(model: &Model, Figures { cosine, difference, .. }: Figures) {
    match model.connection() {
        Connection::Here => {
            info!(device = %model.device(), cosine, difference, "the device computes as the processor does");
        }
        Connection::Open(_) | Connection::Away => {
            info!(cosine, difference, "the model server has passed its check")
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("every", &self.every).field("due", &self.due).finish_non_exhaustive()
    }
}
