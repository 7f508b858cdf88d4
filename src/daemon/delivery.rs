//! The delivery of alerts: the outbox, the publisher, and the sinks besides the broker.
//!
//! Each runs as a task of its own. A slow one delays neither the others nor the judge.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
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
    config::Config,
    tls::Trust,
};

/// The time between two runs of the outbox's maintenance.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// The tasks that deliver alerts.
pub(super) struct Delivery {
    publisher: JoinHandle<Farewell>,
    /// The sinks and the maintenance of the outbox.
    tasks: JoinSet<()>,
    stop: CancellationToken,
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
        let topic = Topics::new(&config.mqtt.prefix).outbox_status();
        // Like everything else on the board it is there before the first connection.
        board.set(&topic, &outbox.status().borrow().to_json());
        tasks.spawn(maintain(Arc::clone(outbox), board.clone(), topic, stop.clone()));
        let publisher = tokio::spawn(publisher.run(stop.clone(), grace));
        Self { publisher, tasks, stop }
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
}

/// The warning about a server whose certificate is not checked.
pub(super) fn unverified(what: &str) -> String {
    format!(
        "the certificate of {what} is not checked (`tls: {{ verify: false }}`), so that anyone on the network can pretend to be \
         it: `stakeout doctor` prints the fingerprint to pin instead"
    )
}

/// Lets the outbox use the disk again after a failure, and publishes its status.
async fn maintain(outbox: Arc<Outbox>, board: Board, topic: String, stop: CancellationToken) {
    let mut status = outbox.status();
    loop {
        let json = status.borrow_and_update().to_json();
        board.set(&topic, &json);
        tokio::select! {
            biased;
            _ = status.changed() => {}
            () = sleep(MAINTENANCE) => {
                let outbox = Arc::clone(&outbox);
                // It panics only if the outbox does, which ends the judge, too.
                let _ = spawn_blocking(move || outbox.tend()).await;
            }
            () = stop.cancelled() => return,
        }
    }
}
