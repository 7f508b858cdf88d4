//! Everything that tells of alerts: the outbox, the publisher, and the sinks besides the broker.
//!
//! It refuses to hold up anything: who is told of an alert late is told late, and nobody else notices.

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
        sinks::Teller,
    },
    config::Config,
};

/// So often the outbox is looked after.
const TEND: Duration = Duration::from_secs(1);

/// Those who tell of alerts.
pub(super) struct Delivery {
    publisher: JoinHandle<Farewell>,
    tellers: JoinSet<()>,
    stop: CancellationToken,
}

/// Opens the outbox for everybody who is to be told.
pub(super) fn open(config: &Config) -> Result<Outbox, outbox::Error> {
    let webhook = config.webhook.is_some().then_some(Sink::Webhook);
    let command = config.command.is_some().then_some(Sink::Command);
    let sinks = [Some(Sink::Mqtt), webhook, command].into_iter().flatten().collect::<Vec<_>>();
    Outbox::with(&config.state_dir, config.outbox, &sinks)
}

impl Delivery {
    /// Starts to tell; each may use `grace` at the end for what is left.
    pub(super) fn start(
        config: &Config,
        outbox: &Arc<Outbox>,
        publisher: Publisher,
        board: &Board,
        grace: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut tellers = JoinSet::new();
        let webhook = config.webhook.as_ref().map(Teller::webhook);
        let command = config.command.as_ref().map(Teller::command);
        for teller in [webhook, command].into_iter().flatten() {
            tellers.spawn(teller.run(Arc::clone(outbox), stop.clone(), grace));
        }
        let topic = Topics::new(&config.mqtt.prefix).outbox_status();
        // Known before the first connection, like everything else on the board.
        board.set(&topic, &outbox.status().borrow().to_json());
        tellers.spawn(look_after(Arc::clone(outbox), board.clone(), topic, stop.clone()));
        let publisher = tokio::spawn(publisher.run(stop.clone(), grace));
        Self { publisher, tellers, stop }
    }

    /// Which of them ended that should not have.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.publisher => "the publisher",
            Some(_) = self.tellers.join_next() => "the webhook, the command or who looks after the outbox",
        }
    }

    /// What is left is told, as far as that is possible. Nobody may write to the outbox any more.
    pub(super) async fn stop(mut self) -> anyhow::Result<Farewell> {
        self.stop.cancel();
        let farewell = self.publisher.await.context("the publisher panicked")?;
        while let Some(ended) = self.tellers.join_next().await {
            ended.context("a sink panicked")?;
        }
        tracing::info!(waiting = farewell.waiting, said_offline = farewell.said, "stopped");
        Ok(farewell)
    }
}

/// Lets the outbox take up the disk again, and tells how it is doing.
async fn look_after(outbox: Arc<Outbox>, board: Board, topic: String, stop: CancellationToken) {
    let mut status = outbox.status();
    loop {
        let news = status.borrow_and_update().to_json();
        board.set(&topic, &news);
        tokio::select! {
            _ = status.changed() => {}
            () = sleep(TEND) => {
                let outbox = Arc::clone(&outbox);
                // It panics only if the outbox does, which everybody notices.
                let _ = spawn_blocking(move || outbox.tend()).await;
            }
            () = stop.cancelled() => return,
        }
    }
}
