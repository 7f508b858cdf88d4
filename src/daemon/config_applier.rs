//! Applies configuration changes while everything else runs, and publishes the status of the configuration.
//!
//! The order is defined only here: the files of the state folder are written first, on another thread; the watchlist changes
//! before the triggers, and both before the sources. Only the disk and the end of a source are waited for, and alerts do not
//! wait meanwhile; the [`config_reader`](super::config_reader) has prepared everything else.

use std::{sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};

use super::{
    broker_state::{BrokerState, ConfigStatus},
    config_reader::{CheckResult, Results},
    dynamic_sources::{Decision, DynamicSources},
    judge_thread::Watching,
    signals::Reloads,
    sources::Sources,
};
use crate::{
    blocking,
    classify::Watchlist,
    config::{Config, plan::Plan},
    observe::ServiceMetrics,
    source::{Admission, Appeared},
};

/// The parts that a change must reach.
pub(super) struct ConfigApplier {
    pub(super) results: Results,
    pub(super) watchlist: watch::Sender<Arc<Watchlist>>,
    pub(super) judge: mpsc::Sender<Watching>,
    pub(super) sources: Sources,
    pub(super) broker: BrokerState,
    /// Names of dynamic sources.
    pub(super) appeared: mpsc::Receiver<Appeared>,
    pub(super) dynamic_sources: DynamicSources,
    pub(super) metrics: Arc<ServiceMetrics>,
    /// Without dynamic sources.
    pub(super) in_force: Config,
    /// With dynamic sources.
    pub(super) watched: Arc<Config>,
    /// Whether the newest check found errors.
    pub(super) invalid: bool,
    pub(super) reloads: Reloads,
}

impl ConfigApplier {
    /// Applies one change after the other. Ends only with the error that prevents the next one.
    pub(super) async fn run(&mut self) -> anyhow::Error {
        loop {
            let applied = tokio::select! {
                result = self.results.recv() => match result {
                    Some((check, result)) => {
                        let handled = self.handle(result).await;
                        handled.map(|()| check.iter().for_each(|check| self.reloads.done(check)))
                    }
                    None => return anyhow::anyhow!("the reader of the configuration ended; its last message is above"),
                },
                Some(appeared) = self.appeared.recv() => {
                    self.admit(appeared).await;
                    Ok(())
                }
            };
            if let Err(error) = applied {
                return error;
            }
        }
    }

    async fn handle(&mut self, result: CheckResult) -> anyhow::Result<()> {
        match result {
            CheckResult::Valid { plan, watchlist } => {
                self.metrics.config_checked(true);
                self.apply(&plan, watchlist).await?;
                self.publish_status(&ConfigStatus::ok(&plan.after_restart));
                if std::mem::take(&mut self.invalid) {
                    tracing::info!("the configuration is valid again");
                }
            }
            CheckResult::Outside { plan, watchlist } => self.apply(&plan, watchlist).await?,
            CheckResult::Invalid(problems) => {
                self.metrics.config_checked(false);
                tracing::error!("the configuration is invalid; the previous one stays in force\n{problems}");
                self.publish_status(&ConfigStatus::Invalid { problems: &problems });
                self.invalid = true;
            }
        }
        Ok(())
    }

    async fn apply(&mut self, plan: &Plan, watchlist: Option<Watchlist>) -> anyhow::Result<()> {
        if !plan.after_restart.is_empty() {
            let keys = plan.after_restart.join(", ");
            tracing::warn!(keys, "changed, and takes effect after a restart");
        }
        let Some(watchlist) = watchlist else {
            tracing::debug!("the configuration is unchanged");
            return Ok(());
        };
        self.in_force = plan.in_force.clone();
        let watched = Arc::new(self.dynamic_sources.expand(&self.in_force));
        self.watched = Arc::clone(&watched);
        self.broker.follow(&watched, &self.in_force);
        self.watch(watchlist.on(&watched.sources), Watching::All(watched)).await;
        self.sources.apply(plan).await?;
        self.sources.publish(&self.in_force, &self.dynamic_sources);
        tracing::info!(
            started = names(plan.start.iter().map(|source| &source.name)),
            stopped = names(&plan.stop),
            label_sets = plan.in_force.label_sets.len(),
            sources = plan.in_force.sources.len(),
            "the configuration has changed and is in force"
        );
        Ok(())
    }

    /// Admits a dynamic source, if its name is free. The answer is sent when everything is ready for its first frame.
    async fn admit(&mut self, appeared: Appeared) {
        let admission = match self.dynamic_sources.admit(&self.in_force, &appeared, Instant::now()) {
            Decision::Known(name) => Admission::Admitted(name),
            Decision::Refused(why) => Admission::Refused(why),
            Decision::Later => Admission::Later,
            Decision::New { name, gone } => {
                self.add(&appeared.source, &name, gone).await;
                let (of, topic) = (&*appeared.source, appeared.topic);
                tracing::info!(source = &*name, of, topic, "a source has appeared");
                Admission::Admitted(name)
            }
        };
        // A source that is stopping does not wait for the answer.
        let _ = appeared.answer.send(admission);
    }

    /// Adds the dynamic source `name` of the source `of`, instead of `gone`, to what is watched.
    async fn add(&mut self, of: &str, name: &str, gone: Option<String>) {
        let extended =
            self.dynamic_sources.extend(&self.in_force, &self.watched, (of, name), gone.as_deref());
        // The name was admitted because the configuration has its source.
        let Some((watched, source)) = extended else { return };
        let (watched, source) = (Arc::new(watched), Arc::new(source));
        self.watched = Arc::clone(&watched);
        self.broker.follow_one_more(&watched, &source, gone.as_deref());
        let watchlist = self.watchlist.borrow().with(&source, gone.as_deref());
        let watching = Watching::OneMore { config: watched, source, gone: gone.clone() };
        self.watch(watchlist, watching).await;
        self.sources.publish_one_more(of, name, gone.as_deref());
    }

    /// Scores, judges and announces what is watched now, which [`BrokerState`] follows already.
    async fn watch(&mut self, watchlist: Watchlist, watching: Watching) {
        // Before anything is published under a new name.
        let (names, topics) = (self.dynamic_sources.save(), self.broker.save());
        write(move || {
            names();
            topics();
        })
        .await;
        // The watchlist is first: a source that starts is on it before its first frame. Frames in flight may meet old triggers
        // with new scores, or new triggers with old scores; labels are matched by name.
        self.watchlist.send_replace(Arc::new(watchlist));
        self.broker.announce();
        self.sources.topics = self.broker.topics();
        // The channel closes only when the judge ends, which ends the service.
        let _ = self.judge.send(watching).await;
    }

    fn publish_status(&self, status: &ConfigStatus<'_>) {
        self.broker.board.set(&self.broker.topics().config_status(), &status.to_json());
    }
}

/// Writes files on another thread, and waits for it. A slow disk does not hold up what delivers alerts.
pub(super) async fn write(files: impl FnOnce() + Send + 'static) {
    // It fails only if the writer panics; the files are then as they were.
    let _ = blocking::run(files).await;
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
