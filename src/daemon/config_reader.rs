//! The thread `config`: reads the configuration again when it is requested, and prepares what a change needs. It owns the encoder
//! of texts, so it also encodes the texts that people ask about.
//!
//! Everything slow happens here, beside the running service: reading, comparing, encoding the prompts of new labels. The
//! [`config_applier`](super::config_applier) receives the result and changes what runs.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{
    plan::Plan,
    signals::{ConfigCheck, Reloads},
};
use crate::{
    backoff::{Backoff, jitter},
    classify::{LabelEncoder, LoadError, TextRequest, Watchlist},
    config::{
        self, Config,
        watch::{ReadContent, Reader},
    },
    observe::ServiceMetrics,
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
}

/// The results of checks, in order.
pub(super) type Results = mpsc::Receiver<(ConfigCheck, CheckResult)>;

/// The files, and the configuration that is in force.
pub(super) struct ConfigReader {
    pub(super) path: PathBuf,
    pub(super) read: ReadContent,
    pub(super) in_force: Config,
    pub(super) encoder: LabelEncoder,
    pub(super) metrics: Arc<ServiceMetrics>,
    pub(super) reloads: Reloads,
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
        let work = move || {
            while let Some(work) = runtime.block_on(next(&mut requests, &mut texts)) {
                if let Work::Encode(request) = work {
                    let _working = self.metrics.config.work();
                    request.answer(&self.encoder);
                    continue;
                }
                let check = self.reloads.begin();
                let Some(result) = self.check_until_known(|| results.is_closed()) else { return };
                if results.blocking_send((check, result)).is_err() {
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
            let problems = match self.check() {
                Ok(result) => return Some(result),
                Err(problems) => problems,
            };
            drop(working);
            let Some(shortage) = problems.shortage() else {
                return Some(CheckResult::Invalid(problems.to_string()));
            };
            let remedy = shortage.remedy();
            tracing::warn!("the configuration is read again soon: {shortage}. {remedy}");
            thread::sleep(backoff.failed(jitter()));
            if is_over() {
                return None;
            }
        }
    }

    fn check(&mut self) -> Result<CheckResult, Problems> {
        let loaded = self.read.of(&self.path, || config::load(&self.path))?;
        let plan = Plan::between(&self.in_force, &loaded.config);
        let mut watchlist = None;
        if plan.changes {
            let encoded = self.encoder.watchlist(&plan.in_force.label_sets, &plan.in_force.sources);
            watchlist = Some(encoded.map_err(|error| {
                // The model's error about a label set, at its place in the files.
                let error = LoadError::from(error);
                Problems::new(vec![loaded.places.problem(&error.place(), error.to_string(), "")])
            })?);
            // The applier carries out every plan in order and cannot refuse one.
            self.in_force = plan.in_force.clone();
        }
        Ok(CheckResult::Valid { plan: Box::new(plan), watchlist })
    }
}

/// What the thread does next.
enum Work {
    /// Check the files.
    Check,
    /// Encode texts.
    Encode(TextRequest),
}

/// Waits for work; `None` if no one can request a check any more.
async fn next(checks: &mut mpsc::Receiver<()>, texts: &mut mpsc::Receiver<TextRequest>) -> Option<Work> {
    tokio::select! {
        biased;
        check = checks.recv() => check.map(|()| Work::Check),
        Some(request) = texts.recv() => Some(Work::Encode(request)),
    }
}
