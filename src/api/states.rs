//! Sends changes of state to the clients of the events: whether each source delivers, and how the service is.
//!
//! Each part has its own way to say that its state changed. Twice a second all of them are compared with what was sent, which costs
//! microseconds, and nothing while no client wants it.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    error::Error,
    events::EventKind,
    explain::SourceProblem,
    service::Service,
    sources::{self, ServiceState},
};
use crate::{config::Config, observe::metrics::SourceState, source::Status};

/// How often states are compared.
const GLANCE: Duration = Duration::from_millis(500);

/// The data of `event: source`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStateEvent {
    /// The name of the source.
    pub source: String,
    /// Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off.
    pub status: String,
    /// Why the source delivers no frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SourceProblem>,
}

/// The states that clients know.
#[derive(Debug, Clone)]
struct States {
    /// Identifies the configuration in force.
    config: Arc<Config>,
    /// How many clients there were.
    clients: u64,
    service: ServiceState,
    sources: Vec<SourceStateEvent>,
}

/// A change that clients receive.
#[derive(Debug, PartialEq)]
enum Change<'s> {
    Service(&'s ServiceState),
    Source(&'s SourceStateEvent),
}

/// Sends changes until the service ends.
pub async fn follow(service: Arc<Service>) {
    let mut glance = interval(GLANCE);
    glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<States> = None;
    loop {
        glance.tick().await;
        let now = service.events.wanting_states().and_then(|clients| States::of(&service, clients).ok());
        if let Some(now) = &now {
            for change in now.changes(known.as_ref()) {
                send(&service, &change);
            }
        }
        known = now;
    }
}

fn send(service: &Service, change: &Change<'_>) {
    let (kind, source, data) = match change {
        Change::Service(state) => (EventKind::Service, "", serde_json::to_string(state)),
        Change::Source(state) => (EventKind::Source, &*state.source, serde_json::to_string(state)),
    };
    let data = data.expect("texts, numbers and switches are valid JSON");
    service.events.send_state(kind, source, &data);
}

impl States {
    fn of(service: &Service, clients: u64) -> Result<Self, Error> {
        let config = service.live()?.newest.config();
        let metrics = &service.metrics;
        let event = |source: &str, state: Option<SourceState>| {
            let status = state.as_ref().map_or(Status::Offline, |state| state.status);
            SourceStateEvent {
                source: source.to_owned(),
                status: status.as_str().to_owned(),
                problem: state.and_then(|state| state.problem.as_ref().map(SourceProblem::from)),
            }
        };
        let named = config.sources.iter().map(|source| event(&source.name, metrics.source_state(source)));
        let others = metrics.running_sources(|name, settings| !sources::is_among(&config, name, settings));
        let others = others.into_iter().map(|(name, _, state)| event(&name, Some(state)));
        let sources = named.chain(others).collect();
        Ok(Self { service: sources::state(service, &config), config, clients, sources })
    }

    /// What is different from what clients know. A new client knows nothing.
    fn changes<'s>(&'s self, known: Option<&'s Self>) -> Vec<Change<'s>> {
        let known = known.filter(|known| known.clients == self.clients);
        let same_config = known.is_some_and(|known| Arc::ptr_eq(&known.config, &self.config));
        let same_service = same_config && known.is_some_and(|known| known.service == self.service);
        let is_new = |source: &&SourceStateEvent| !known.is_some_and(|known| known.sources.contains(source));
        let service = (!same_service).then_some(Change::Service(&self.service));
        service.into_iter().chain(self.sources.iter().filter(is_new).map(Change::Source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn source(name: &str, status: &str) -> SourceStateEvent {
        SourceStateEvent { source: name.to_owned(), status: status.to_owned(), problem: None }
    }

    #[test]
    fn clients_receive_what_changed() {
        let service =
            ServiceState { sources: 2, online: 1, broker_connected: true, configuration_valid: true };
        let states = |config: &Arc<Config>, clients, service: &ServiceState, back: &str| States {
            config: Arc::clone(config),
            clients,
            service: service.clone(),
            sources: vec![source("Front Door", "online"), source("back", back)],
        };
        let lost = ServiceState { broker_connected: false, ..service };
        let (config, other) = (Arc::new(samples::config()), Arc::new(samples::config()));
        let known = states(&config, 1, &service, "offline");
        let changed = |now: &States| {
            let word = |change: Change<'_>| match change {
                Change::Service(_) => "service".to_owned(),
                Change::Source(source) => format!("{} {}", source.source, source.status),
            };
            now.changes(Some(&known)).into_iter().map(word).collect::<Vec<_>>()
        };
        let all = ["service", "Front Door online", "back offline"];
        for (what, now, expected) in [
            ("nothing", states(&config, 1, &service, "offline"), &[][..]),
            ("a source", states(&config, 1, &service, "stalled"), &["back stalled"]),
            ("the broker", states(&config, 1, &lost, "offline"), &["service"]),
            ("the configuration", states(&other, 1, &service, "offline"), &["service"]),
            ("a new client", states(&config, 2, &service, "offline"), &all),
        ] {
            assert_eq!(changed(&now), expected, "{what}");
        }
        assert_eq!(known.changes(None).len(), 3, "the first client");
    }
}
