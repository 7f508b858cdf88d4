//! The thread `config`: reads the configuration again when it is requested, and prepares what a change needs. It owns the encoder
//! of texts, so it also encodes the texts that people ask about.
//!
//! Everything slow happens here, beside the running service: reading, comparing, encoding the prompts of new labels. The
//! [`config_applier`](super::config_applier) receives the result and changes what runs.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::signals::{ConfigCheck, Reloads};
use crate::{
    backoff::{Backoff, jitter},
    classify::{LabelEncoder, LoadError, TextRequest, Watchlist, labels::LabelError},
    config::{
        self, Config, Loaded,
        controlled::Controlled,
        main_file,
        plan::Plan,
        state::ConfigState,
        watch::{ReadContent, Reader},
    },
    controls::ControlStore,
    observe::ServiceMetrics,
    watches::Watches,
    yaml::error::Problems,
};

/// The pauses between two checks while a file cannot be opened.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The result of a check of the files.
pub(super) enum CheckResult {
    /// The files are valid.
    Valid {
        /// What changes.
        plan: Box<Plan>,
        /// The new watchlist, if anything changes.
        watchlist: Option<Watchlist>,
    },
    /// The files are invalid, with the message for people. Nothing changes.
    Invalid(String),
    /// A temporary label was added or has ended, or something was set from outside. The files were not read.
    Outside {
        /// What changes.
        plan: Box<Plan>,
        /// The new watchlist, if anything changes.
        watchlist: Option<Watchlist>,
    },
}

/// The results of checks, in order; a change from outside answers no request to read the files.
pub(super) type Results = mpsc::Receiver<(Option<ConfigCheck>, CheckResult)>;

/// The files, and the configuration that is in force.
pub(super) struct ConfigReader {
    pub(super) path: PathBuf,
    pub(super) read: ReadContent,
    pub(super) in_force: Config,
    /// The newest valid content of the files, without temporary labels and controls.
    pub(super) files: Config,
    pub(super) watches: Watches,
    pub(super) controls: ControlStore,
    pub(super) encoder: LabelEncoder,
    pub(super) metrics: Arc<ServiceMetrics>,
    pub(super) reloads: Reloads,
    /// What people see of it.
    pub(super) state: watch::Sender<ConfigState>,
}

impl ConfigReader {
    /// Starts the thread. Each report to the returned reader requests a check, whose result arrives in the channel. The thread
    /// ends when either side closes. Between checks it encodes `texts`.
    pub(super) fn spawn(
        mut self,
        mut texts: mpsc::Receiver<TextRequest>,
    ) -> anyhow::Result<(Reader, Results)> {
        let (reports, mut requests) = mpsc::channel(1);
        let reader = Reader { reports, read: self.read.clone() };
        let (results, receive_results) = mpsc::channel(1);
        // A runtime for waiting on either channel; the work is done outside it.
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("no runtime")?;
        let mut changes = [self.watches.changes(), self.controls.changes()];
        let work = move || {
            while let Some(work) = runtime.block_on(next(&mut requests, &mut texts, &mut changes)) {
                let result = match work {
                    Work::Encode(request) => {
                        let _working = self.metrics.config.work();
                        request.answer(&self.encoder);
                        continue;
                    }
                    Work::Outside => self.follow_outside().map(|result| (None, result)),
                    Work::Check => {
                        let check = self.reloads.begin();
                        let Some(result) = self.check_until_known(|| results.is_closed()) else { return };
                        Some((Some(check), result))
                    }
                };
                if result.is_some_and(|result| results.blocking_send(result).is_err()) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("config".to_owned());
        thread.spawn(work).context("cannot start the reader of the configuration")?;
        Ok((reader, receive_results))
    }

    /// The result of a check. A file that cannot be opened for now is no mistake: the check is repeated. `None` if it is no longer
    /// needed.
    fn check_until_known(&mut self, is_over: impl Fn() -> bool) -> Option<CheckResult> {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            let metrics = Arc::clone(&self.metrics);
            let working = metrics.config.work();
            let (path, read) = (self.path.clone(), self.read.clone());
            let (tag, loaded) = read.of(&path, || (main_file::tag_now(&path), config::load(&path)));
            let problems = match loaded.and_then(|loaded| self.check(loaded)) {
                Ok(result) => {
                    self.state.send_modify(|state| state.valid(&self.files, tag));
                    return Some(result);
                }
                Err(problems) => problems,
            };
            drop(working);
            let Some(shortage) = problems.shortage() else {
                let text = problems.to_string();
                self.state.send_modify(|state| state.invalid(problems, tag));
                return Some(CheckResult::Invalid(text));
            };
            let remedy = shortage.remedy();
            tracing::warn!("the configuration is read again soon: {shortage}. {remedy}");
            thread::sleep(backoff.failed(jitter()));
            if is_over() {
                return None;
            }
        }
    }

    fn check(&mut self, loaded: Loaded) -> Result<CheckResult, Problems> {
        let files = self.watches.expand(&loaded.config);
        let Controlled { config, dropped } = self.controls.expand(&files, Timestamp::now());
        let plan = Plan::between(&self.in_force, &config);
        let watchlist = self.watchlist(&plan).map_err(|error| {
            // The model's error about a label set, at its place in the files.
            let error = LoadError::from(error);
            Problems::new(vec![loaded.places.problem(&error.place(), error.to_string(), "")])
        })?;
        self.files = loaded.config;
        self.controls.in_force(&files, &dropped);
        Ok(CheckResult::Valid { plan: Box::new(plan), watchlist })
    }

    /// What changed with the temporary labels and the controls; `None` if the model failed.
    fn follow_outside(&mut self) -> Option<CheckResult> {
        let metrics = Arc::clone(&self.metrics);
        let _working = metrics.config.work();
        let files = self.watches.expand(&self.files);
        let Controlled { config, dropped } = self.controls.expand(&files, Timestamp::now());
        // Keys of the files that wait for a restart were reported when the files changed.
        let plan = Plan { after_restart: Vec::new(), ..Plan::between(&self.in_force, &config) };
        match self.watchlist(&plan) {
            Ok(watchlist) => {
                self.controls.in_force(&files, &dropped);
                Some(CheckResult::Outside { plan: Box::new(plan), watchlist })
            }
            Err(error) => {
                tracing::error!(%error, "temporary labels are not watched; the configuration stays in force");
                None
            }
        }
    }

    /// The new watchlist, if the plan changes anything. The plan is in force then: the applier carries out every plan in order and
    /// cannot refuse one.
    fn watchlist(&mut self, plan: &Plan) -> Result<Option<Watchlist>, LabelError> {
        if !plan.changes {
            return Ok(None);
        }
        let watchlist = self.encoder.watchlist(&plan.in_force.label_sets, &plan.in_force.sources)?;
        self.in_force = plan.in_force.clone();
        Ok(Some(watchlist))
    }
}

/// What the thread does next.
enum Work {
    /// Check the files.
    Check,
    /// Encode texts.
    Encode(TextRequest),
    /// Temporary labels were added or have ended, or something was set.
    Outside,
}

/// Waits for work; `None` if no one can request a check any more.
async fn next(
    checks: &mut mpsc::Receiver<()>,
    texts: &mut mpsc::Receiver<TextRequest>,
    [watches, controls]: &mut [watch::Receiver<()>; 2],
) -> Option<Work> {
    tokio::select! {
        biased;
        check = checks.recv() => check.map(|()| Work::Check),
        Ok(()) = watches.changed() => Some(Work::Outside),
        Ok(()) = controls.changed() => Some(Work::Outside),
        Some(request) = texts.recv() => Some(Work::Encode(request)),
    }
}
