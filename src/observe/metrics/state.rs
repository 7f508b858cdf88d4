//! The state of the parts for people, from the same sources as the metrics page.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;

use super::{Delivery, PATIENCE, PATIENCE_WITH_CONFIG, PATIENCE_WITH_SOURCES, ServiceMetrics, lock};
use crate::{
    alert::{
        outbox::{self, Failure},
        publisher,
    },
    classify::Away,
    heartbeat::PartState,
    model::ModelFacts,
    source::Problem,
};

/// What to do when the engine cannot be used.
const ENGINE_REMEDY: &str =
    "start the model server, or correct `server` of `model`; `stakeout doctor` checks each server";

/// An engine that cannot be used, as a problem of the service and of each source.
#[must_use]
pub fn problem_of_engine(away: &Away) -> Problem {
    let cause = format!("no frame can be scored: {}", away.cause);
    Problem::after(None, &cause, ENGINE_REMEDY, away.since)
}

/// A part of the service that has a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePart {
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub state: PartState,
    /// It is the thread of a source.
    pub is_source: bool,
}

/// What delivers alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryState {
    /// Whether the broker is connected.
    pub connected: bool,
    /// Alerts that the broker acknowledged since the start.
    pub published: u64,
    /// Times the broker refused an alert since the start.
    pub refused: u64,
    /// Messages with scores and near misses that were dropped since the start.
    pub scores_dropped: u64,
    /// Alerts that wait, each once.
    pub waiting: u64,
    /// The broker first.
    pub sinks: Vec<SinkState>,
    /// Whether alerts are on disk, and what was dropped.
    pub outbox: outbox::Status,
}

/// A receiver of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkState {
    /// `mqtt`, `webhook` or `command`.
    pub name: &'static str,
    /// Alerts that wait for it.
    pub waiting: u64,
    /// The age of the oldest of them, when it was checked last.
    pub oldest: Option<Duration>,
    /// Why it did not accept alerts last.
    pub failure: Option<Failure>,
}

impl Delivery {
    /// The configured receivers of alerts.
    pub(super) fn states(&self) -> impl Iterator<Item = SinkState> {
        self.sinks.iter().map(|it| SinkState {
            name: it.name,
            waiting: self.outbox.waiting_for(it.sink),
            oldest: lock(&it.oldest).map(super::Oldest::age),
            failure: self.outbox.failure(it.sink),
        })
    }
}

impl ServiceMetrics {
    /// When the service was started, by the clock then.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// How long the service runs. Not by the clock, which may have been set since.
    #[must_use]
    pub fn up(&self) -> Duration {
        self.began_up.elapsed()
    }

    /// The model is loaded. Later calls have no effect.
    pub fn set_model(&self, facts: ModelFacts) {
        let _ = self.model_facts.set(facts);
    }

    /// Which model is loaded, once it is.
    #[must_use]
    pub fn model_facts(&self) -> Option<&ModelFacts> {
        self.model_facts.get()
    }

    /// What is wrong with the engine of the model; `None`: it can be used.
    #[must_use]
    pub fn engine_problem(&self) -> Option<Problem> {
        self.model.engine.away().as_ref().map(problem_of_engine)
    }

    /// The name of the model in the configuration.
    #[must_use]
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// Every part that has a heartbeat.
    #[must_use]
    pub fn parts(&self) -> Vec<ServicePart> {
        let own = [
            ("the model", &self.model.pulse, PATIENCE),
            ("the preparation of pictures for the model", &self.model.prepare, PATIENCE),
            ("the judge", &self.judge, PATIENCE),
            ("the reader of the configuration", &self.config, PATIENCE_WITH_CONFIG),
        ];
        let own = own.into_iter().map(|(name, heartbeat, patience)| ServicePart {
            name: name.to_owned(),
            state: heartbeat.state(patience),
            is_source: false,
        });
        let sources = lock(&self.sources);
        let sources = sources.iter().map(|(name, source)| ServicePart {
            name: format!("the source {name}"),
            state: source.counts.pulse().state(PATIENCE_WITH_SOURCES),
            is_source: true,
        });
        own.chain(sources).collect()
    }

    /// The state of what delivers alerts, once it is started.
    #[must_use]
    pub fn delivery(&self) -> Option<DeliveryState> {
        let delivery = self.delivery.get()?;
        let publisher::Counts { connected, published, refused, scores_dropped, .. } = &*delivery.publisher;
        Some(DeliveryState {
            connected: connected.load(Ordering::Relaxed),
            published: published.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            scores_dropped: scores_dropped.load(Ordering::Relaxed),
            waiting: delivery.outbox.waiting(),
            sinks: delivery.states().collect(),
            outbox: delivery.outbox.status().borrow().clone(),
        })
    }
}
