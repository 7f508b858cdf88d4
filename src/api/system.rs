//! `system`: the facts about the running service, and what of them needs a person.
//!
//! Every figure is read where the metrics page and `/healthz` read it. It answers while the model is loaded, too.

mod advice;
mod facts;
mod platform;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::Level;

pub use self::facts::{
    Advice, BundleFile, ClockFacts, Decoders, Delivery, Disk, Entries, Facts, FaultySource, Figures,
    HistoryFacts, LoadedModel, LogLevel, LogLine, Model, Outbox, PartState, Platform, Process, SandboxState,
    ServicePart, Sink, SinkError, Sources,
};
use super::{
    bundle,
    service::Service,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::{
    clock::Clock,
    heartbeat,
    history::{Inventory, Space},
    observe::metrics::{self, HistoryCounts, ServiceMetrics, process},
    policy::HistorySettings,
    recent_lines::RecentLine,
    sandbox,
    source::Status,
};

/// The verb.
pub const VERB: Verb<Request, Facts> = Verb {
    name: "system",
    method: Method::Get,
    summary: "The state of the service: model, delivery, history, disk, sources, and what needs a person.",
    answer: Answer::Live(|service, _| Box::pin(async move { Ok(answer(&service).await) })),
};

/// How long the facts of the disk are waited for.
const PATIENCE_WITH_DISK: Duration = Duration::from_secs(3);
/// The lines of the log in an answer, at most.
const LINES: usize = 20;
/// The problems of sources in an answer, at most.
const MOST_SOURCES: usize = 100;

/// There is nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// The facts now.
pub async fn answer(service: &Arc<Service>) -> Facts {
    // A disk that hangs is what people look for here: the other facts must not wait for it.
    let entries = async {
        service.metrics.history()?;
        timeout(PATIENCE_WITH_DISK, service.inventory()).await.ok()?.ok().map(Entries::from)
    };
    let disk = async {
        let folder = service.state_dir().to_owned();
        let read = service.blocking(move || Ok(Space::of(&folder)));
        timeout(PATIENCE_WITH_DISK, read).await.ok()?.ok()?
    };
    let (entries, disk) = tokio::join!(entries, disk);
    facts(service, entries, disk)
}

fn facts(service: &Service, entries: Option<Entries>, disk: Option<Space>) -> Facts {
    let metrics = &service.metrics;
    let config = service.live().ok().map(|live| live.newest.config());
    let settings = config.and_then(|config| config.history);
    let mut facts = Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: Time(metrics.began()),
        up_s: metrics.up().as_secs(),
        ready: metrics.is_ready(),
        platform: platform::read(),
        model: model(metrics),
        parts: parts(metrics),
        config_valid: !metrics.is_invalid(),
        delivery: metrics.delivery().map(Delivery::from),
        history: metrics.history().map(|counts| history_facts(counts, settings, entries)),
        disk: disk.map(|space| Disk {
            folder: service.state_dir().display().to_string(),
            total: space.total,
            free: space.free,
            almost_full: space.is_almost_full(),
        }),
        process: process_facts(),
        decoders: decoders(metrics),
        sources: sources(metrics),
        clock: ClockFacts { now: Time(Timestamp::now()), synchronised: Clock::system().read().synchronised },
        watches: service.live().ok().map(|live| live.watches.list().len()),
        clients: service.events.clients(),
        problems: Vec::new(),
        log: log(service),
        bundle: bundle::contents(),
    };
    facts.problems = advice::advice(&facts);
    facts
}

fn model(metrics: &ServiceMetrics) -> Model {
    let counts = metrics.model.counts();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    Model {
        name: metrics.model_name().to_owned(),
        loaded: metrics.model_facts().map(|facts| LoadedModel {
            files: facts.place.clone(),
            graph: facts.graph.clone(),
            bytes: facts.bytes,
            engine: facts.engine.clone(),
            device: facts.device.to_string(),
            reason: facts.reason.clone(),
        }),
        problem: metrics.model.canary.state().cause(),
        scored: counts.scored,
        repeated: counts.repeated,
        failed: counts.failed,
        figures: metrics.model.figures().map(|figures| Figures {
            batches: figures.batches,
            pictures: figures.frames,
            batch_ms: milliseconds(figures.batch),
            picture_ms: milliseconds(figures.frame),
            per_second: figures.per_second,
        }),
    }
}

/// The parts of the service. A source counts only while it is stuck: there may be many.
fn parts(metrics: &ServiceMetrics) -> Vec<ServicePart> {
    let parts = metrics.parts().into_iter();
    let shown = parts.filter(|part| !part.is_source || part.state == heartbeat::PartState::Stuck);
    shown.take(MOST_SOURCES).map(|part| ServicePart { name: part.name, state: part.state.into() }).collect()
}

fn history_facts(
    counts: &HistoryCounts,
    settings: Option<HistorySettings>,
    entries: Option<Entries>,
) -> HistoryFacts {
    HistoryFacts {
        failing: counts.why_failing(),
        bytes: counts.size.load(Ordering::Relaxed),
        max_bytes: settings.map_or(0, |settings| settings.max_size),
        keep_s: settings.map_or(0, |settings| settings.keep.as_secs()),
        dropped: counts.dropped.load(Ordering::Relaxed),
        entries,
    }
}

fn process_facts() -> Process {
    let files = process::open_files();
    Process {
        memory: process::resident_memory(),
        open_files: files.map(|(open, _)| open),
        most_open_files: files.map(|(_, most)| most).filter(|most| *most < u64::MAX),
    }
}

fn decoders(metrics: &ServiceMetrics) -> Decoders {
    let usage = metrics.decoder_memory.usage();
    let (sandbox, why) = match metrics.sandbox().map(|sandbox| sandbox.state()) {
        None => (SandboxState::Unknown, None),
        Some(sandbox::State::On(_)) => (SandboxState::On, None),
        Some(sandbox::State::Off) => (SandboxState::Off, None),
        Some(sandbox::State::Impossible(why)) => (SandboxState::Impossible, Some(why.clone())),
    };
    let processes = metrics.sandbox().map_or((0, 0), |sandbox| sandbox.processes());
    Decoders {
        total: usage.total,
        used: usage.used,
        waiting: usage.waiting,
        sandbox,
        why,
        processes: processes.0 + processes.1,
        crashes: metrics.sandbox().map_or(0, |sandbox| sandbox.ended()),
    }
}

fn sources(metrics: &ServiceMetrics) -> Sources {
    let mut sources = Sources::default();
    for (source, _, state) in metrics.running_sources(|_, _| true) {
        match state.status {
            Status::Online => sources.online += 1,
            Status::Offline => sources.offline += 1,
            Status::Stalled => sources.stalled += 1,
            // It does not run.
            Status::Disabled => {}
        }
        if let Some(problem) = state.problem.filter(|_| sources.problems.len() < MOST_SOURCES) {
            let (cause, since, remedy) = (problem.cause, Time(problem.since), problem.remedy.to_owned());
            sources.problems.push(FaultySource { source, cause, since, remedy });
        }
    }
    sources
}

fn log(service: &Service) -> Vec<LogLine> {
    let lines = service.tools().map(|tools| tools.lines.problems(LINES)).unwrap_or_default();
    let line = |line: RecentLine| LogLine {
        at: Time(line.at),
        level: if line.level == Level::ERROR { LogLevel::Error } else { LogLevel::Warning },
        text: line.text,
    };
    lines.into_iter().map(line).collect()
}

impl From<heartbeat::PartState> for PartState {
    fn from(state: heartbeat::PartState) -> Self {
        match state {
            heartbeat::PartState::Waiting => Self::Waiting,
            heartbeat::PartState::Working => Self::Working,
            heartbeat::PartState::Stuck => Self::Stuck,
        }
    }
}

impl From<metrics::DeliveryState> for Delivery {
    fn from(state: metrics::DeliveryState) -> Self {
        let on_disk = state.outbox.is_on_disk();
        let sink = |sink: metrics::SinkState| Sink {
            name: sink.name.to_owned(),
            waiting: sink.waiting,
            oldest_s: sink.oldest.map(|oldest| oldest.as_secs()),
            error: sink.failure.map(|failure| SinkError {
                cause: failure.cause,
                at: Time(failure.at),
                is_over: failure.is_over,
            }),
        };
        Self {
            connected: state.connected,
            published: state.published,
            refused: state.refused,
            scores_dropped: state.scores_dropped,
            sinks: state.sinks.into_iter().map(sink).collect(),
            outbox: Outbox {
                on_disk,
                why: state.outbox.in_memory.or(state.outbox.unchecked),
                waiting: state.waiting,
                dropped: state.outbox.dropped,
                snapshots_dropped: state.outbox.snapshots_dropped,
                state_files_failing: state.outbox.state_files,
            },
        }
    }
}

impl From<Inventory> for Entries {
    fn from(inventory: Inventory) -> Self {
        let Inventory { alerts, near_misses, marks, pictures, embeddings, oldest } = inventory;
        Self { alerts, near_misses, marks, pictures, embeddings, oldest: oldest.map(Time) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, watch};

    use super::*;
    use crate::{
        api::service::tests::starting,
        observe::metrics::RunningSource,
        samples,
        source::{self, Counts, Problem},
    };

    #[tokio::test]
    async fn a_service_that_starts_has_facts() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let facts = answer(&service).await;
        assert!(!facts.ready && facts.delivery.is_none() && facts.history.is_none());
        assert_eq!((facts.model.name.as_str(), facts.model.loaded), ("bundled", None));
        assert_eq!(facts.version, env!("CARGO_PKG_VERSION"));
        assert!(facts.disk.is_some_and(|disk| disk.free <= disk.total));
        assert!(facts.parts.iter().any(|part| part.name == "the judge" && part.state == PartState::Waiting));
        assert_eq!(facts.watches, None);
        assert!(facts.bundle.iter().any(|file| file.name == "log.txt"));
    }

    #[tokio::test]
    async fn sources_are_counted_and_say_why_they_do_not_deliver() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let problem = Problem {
            cause: "no answer".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            remedy: "check the camera",
        };
        let states = [
            ("gate", Status::Offline, Some(problem)),
            ("door", Status::Online, None),
            ("yard", Status::Stalled, None),
        ];
        for (name, status, problem) in states {
            let kind = samples::config().sources[0].kind.clone();
            let counts = Arc::new(Counts::new(source::causes(&kind), Arc::default()));
            let (status, problem) = (watch::channel(status).1, watch::channel(problem).1);
            let slots = Arc::new(Semaphore::new(source::SLOTS));
            let running = RunningSource { kind: "folder", settings: kind, counts, status, problem, slots };
            service.metrics.add_source(name, running);
        }
        let facts = answer(&service).await;
        let Sources { online, offline, stalled, problems } = &facts.sources;
        assert_eq!((*online, *offline, *stalled), (1, 1, 1));
        assert_eq!((&*problems[0].source, problems.len()), ("gate", 1));
        assert!(facts.problems.iter().any(|advice| advice.about == "source gate"));
    }
}
