//! The delivery of alerts: the outbox, the publisher, and the sinks besides the broker. What is wrong with the state folder and with the
//! engine of the model is published from here, too.
//!
//! Each runs as a task of its own. A slow one delays neither the others nor the judge.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    alert::{
        Topics,
        board::Board,
        outbox::{self, Outbox, Sink},
        publisher::{Farewell, Publisher},
        sinks::SinkWorker,
    },
    blocking,
    classify::Away,
    config::Config,
    observe::metrics::problem_of_engine,
    source::Problem,
    state_file::{self, Report},
    tls::Trust,
};

/// The time between two runs of the maintenance of the outbox and the other state files.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// What to do when the state folder cannot be used.
const REMEDY: &str = "make state_dir and the files in it writable for the user who runs stakeout, free some space, and check the disk";

/// The tasks that deliver alerts.
pub(super) struct Delivery {
    publisher: JoinHandle<Farewell>,
    /// The sinks and the maintenance of the outbox.
    tasks: JoinSet<()>,
    stop: CancellationToken,
    outbox: Arc<Outbox>,
    state_dir: PathBuf,
}

/// Opens the outbox for the sinks of `config`.
pub(super) fn open_outbox(config: &Config) -> Result<Outbox, outbox::Error> {
    let webhook = config.webhook.is_some().then_some(Sink::Webhook);
    let command = config.command.is_some().then_some(Sink::Command);
    let sinks = [Some(Sink::Mqtt), webhook, command].into_iter().flatten().collect::<Vec<_>>();
    Outbox::with(&config.state_dir, config.outbox, &sinks)
}

impl Delivery {
    /// Starts the tasks. At the stop each has `grace` for what is left.
    pub(super) fn start(
        config: &Config,
        outbox: &Arc<Outbox>,
        publisher: Publisher,
        board: &Board,
        engine: watch::Receiver<Option<Away>>,
        grace: Duration,
    ) -> Self {
        warn_unverified(config);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let webhook = config.webhook.as_ref().map(SinkWorker::webhook);
        let command = config.command.as_ref().map(SinkWorker::command);
        for sink in [webhook, command].into_iter().flatten() {
            tasks.spawn(sink.run(Arc::clone(outbox), stop.clone(), grace));
        }
        let topics = Topics::new(&config.mqtt.prefix);
        let mut status = ServiceStatus { topics, board: board.clone(), engine, storage: None };
        // Like everything else on the board it is there before the first connection.
        status.publish(&outbox.status().borrow(), &Report::default());
        tasks.spawn(maintain(Arc::clone(outbox), status, config.state_dir.clone(), stop.clone()));
        let publisher = tokio::spawn(publisher.run(stop.clone(), grace));
        let (outbox, state_dir) = (Arc::clone(outbox), config.state_dir.clone());
        Self { publisher, tasks, stop, outbox, state_dir }
    }

    /// Waits until a task ends before the stop, and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = &mut self.publisher => "the publisher",
            Some(_) = self.tasks.join_next() => "the webhook, the command or the maintenance of the outbox",
        }
    }

    /// Delivers what is left, as far as possible. The outbox must not be appended to any more.
    pub(super) async fn stop(mut self) -> anyhow::Result<Farewell> {
        self.stop.cancel();
        let farewell = self.publisher.await.context("the publisher panicked")?;
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a sink panicked")?;
        }
        // The state folder may have vanished since the last maintenance, with the alerts that wait for the next start.
        let (outbox, state_dir) = (self.outbox, self.state_dir);
        blocking::run(move || tend(&outbox, &state_dir)).await.context("the outbox panicked")?;
        tracing::info!(waiting = farewell.waiting, said_offline = farewell.said, "stopped");
        Ok(farewell)
    }
}

/// Warns if alerts are sent to servers that may be anyone.
fn warn_unverified(config: &Config) {
    let (broker, webhook) = (&config.mqtt, config.webhook.as_ref());
    if broker.tls && broker.connection.tls.trust == Trust::Unverified {
        tracing::warn!("{}", unverified(&format!("the broker {}", broker.url())));
    }
    if webhook.is_some_and(|webhook| webhook.address.is_tls() && webhook.tls == Trust::Unverified) {
        tracing::warn!("{}", unverified("the webhook"));
    }
    if let Some(server) = &config.model_server
        && server.tls == Trust::Unverified
        && server.servers.iter().any(|server| server.tls)
    {
        tracing::warn!("{}", unverified("the model server"));
    }
}

/// The warning about a server whose certificate is not checked.
pub(super) fn unverified(what: &str) -> String {
    format!(
        "the certificate of {what} is not checked (`tls: {{ verify: false }}`), so that anyone on the network can pretend to be \
         it: `stakeout doctor` prints the fingerprint to pin instead"
    )
}

/// Lets the outbox and the other state files use the disk again after a failure, and publishes their status.
async fn maintain(
    outbox: Arc<Outbox>,
    mut published: ServiceStatus,
    state_dir: PathBuf,
    stop: CancellationToken,
) {
    let (mut status, mut files) = (outbox.status(), Report::default());
    loop {
        published.publish(&status.borrow_and_update(), &files);
        tokio::select! {
            biased;
            _ = status.changed() => {}
            Ok(()) = published.engine.changed() => {}
            () = sleep(MAINTENANCE) => {
                let (outbox, state_dir) = (Arc::clone(&outbox), state_dir.clone());
                // It panics only if the outbox does, which ends the judge, too.
                files = blocking::run(move || tend(&outbox, &state_dir)).await.unwrap_or_default();
            }
            () = stop.cancelled() => return,
        }
    }
}

/// Checks that everything in the state folder is in its place, and tries again what failed. Blocks for the disk.
fn tend(outbox: &Outbox, state_dir: &Path) -> Report {
    outbox.tend();
    let report = state_file::tend(state_dir);
    outbox.report_state_files(report.failing.len() as u64, report.restored);
    report
}

/// Publishes what is wrong with the service: whether alerts and other state are on disk, and whether the model can be used.
struct ServiceStatus {
    topics: Topics,
    board: Board,
    engine: watch::Receiver<Option<Away>>,
    /// What is wrong with the state folder.
    storage: Option<Problem>,
}

impl ServiceStatus {
    fn publish(&mut self, status: &outbox::Status, files: &Report) {
        let cause = cause(status, files);
        self.storage =
            cause.map(|cause| Problem::after(self.storage.as_ref(), &cause, REMEDY, jiff::Timestamp::now()));
        let engine = self.engine.borrow_and_update().as_ref().map(problem_of_engine);
        let problem = together(self.storage.clone(), engine);
        let problem = problem.as_ref().map_or(String::new(), Problem::to_json);
        self.board.set(&self.topics.service_problem(), &problem);
        self.board.set(&self.topics.outbox_status(), &status.to_json());
    }
}

/// Both problems as one, which has the remedy of the first: alerts that are lost with the disk are worse than frames that wait.
fn together(storage: Option<Problem>, engine: Option<Problem>) -> Option<Problem> {
    match (storage, engine) {
        (Some(storage), Some(engine)) => Some(Problem {
            cause: format!("{}; {}", storage.cause, engine.cause),
            since: storage.since.min(engine.since),
            remedy: storage.remedy,
        }),
        (storage, engine) => storage.or(engine),
    }
}

/// What is wrong with the state folder, for people.
fn cause(status: &outbox::Status, files: &Report) -> Option<String> {
    let alerts = match (&status.in_memory, &status.unchecked) {
        (Some(why), _) => Some(format!("alerts are in memory only: {why}")),
        (None, Some(why)) => Some(format!("it is unknown whether alerts are on disk: {why}")),
        (None, None) => None,
    };
    let files =
        files.failing.iter().map(|(path, why)| format!("{} cannot be written: {why}", path.display()));
    let causes: Vec<_> = alerts.into_iter().chain(files).collect();
    (!causes.is_empty()).then(|| causes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_names_everything_that_is_not_on_disk() {
        let (fine, none) = (outbox::Status::default(), Report::default());
        assert_eq!(cause(&fine, &none), None);
        let memory = outbox::Status { in_memory: Some("disk full".to_owned()), ..fine.clone() };
        assert_eq!(cause(&memory, &none).unwrap(), "alerts are in memory only: disk full");
        let unknown = outbox::Status { unchecked: Some("denied".to_owned()), ..fine };
        let files = Report { failing: vec![("/state/names.json".into(), "denied".to_owned())], restored: 0 };
        assert_eq!(
            cause(&unknown, &files).unwrap(),
            "it is unknown whether alerts are on disk: denied; /state/names.json cannot be written: denied"
        );
    }

    #[test]
    fn two_problems_are_published_as_one() {
        let problem = |cause: &str, second, remedy| Problem {
            cause: cause.to_owned(),
            since: jiff::Timestamp::from_second(second).unwrap(),
            remedy,
        };
        let (disk, server) = (problem("disk full", 9, "free space"), problem("refused", 7, "start it"));
        assert_eq!(together(None, None), None);
        assert_eq!(together(Some(disk.clone()), None), Some(disk.clone()));
        assert_eq!(together(None, Some(server.clone())), Some(server.clone()));
        let both = together(Some(disk), Some(server)).unwrap();
        assert_eq!(both, problem("disk full; refused", 7, "free space"));
    }
}
