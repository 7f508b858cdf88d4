//! The state of the service, gathered for the metrics page, `/healthz`, systemd, and the topics `stats`.
//!
//! Parts count their own work and are read here when a client asks. Only what belongs to no part is counted here. Reading
//! never waits for a part: a stuck part does not delay the answer.

mod history;
mod page;
pub mod process;
mod source_stats;
mod state;
mod summary;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};

use self::source_stats::SourceStats;
pub use self::{
    history::HistoryCounts,
    state::{DeliveryState, ServicePart, SinkState, problem_of_engine},
    summary::{Summary, Throughput},
};
use crate::{
    alert::{
        Alert, State,
        outbox::{Outbox, Sink},
        publisher,
    },
    classify,
    config::{Config, Source, SourceKind},
    heartbeat::{Heartbeat, PartState},
    metrics::Histogram,
    model::ModelFacts,
    picture::Memory,
    sandbox::Sandbox,
    source::{Counts, Problem, Status, StreamInfo},
};

/// A batch of a large model on a small machine takes this long, and so does a disk that is about to fail.
const PATIENCE: Duration = Duration::from_secs(120);
/// A camera or a file on the network may block its source for this long.
const PATIENCE_WITH_SOURCES: Duration = Duration::from_secs(300);
/// Encoding the prompts of many new labels takes this long.
const PATIENCE_WITH_CONFIG: Duration = Duration::from_secs(900);

/// The state of the service.
pub struct ServiceMetrics {
    began: Timestamp,
    began_up: Instant,
    model_name: String,
    model_facts: OnceLock<ModelFacts>,
    ready: AtomicBool,
    /// Written by the model's threads.
    pub model: Arc<classify::Progress>,
    /// The time that sources take to decode a picture or a packet.
    pub decoding: Arc<Histogram>,
    /// The memory that all decoders share.
    pub decoder_memory: Arc<Memory>,
    /// Of the judge thread.
    pub judge: Heartbeat,
    /// The time to judge a batch of frames, until their alerts are on disk.
    pub judging: Histogram,
    /// The time of a frame from its source until its alerts are on disk.
    pub whole_way: Histogram,
    /// Of the thread that reads the configuration.
    pub config: Heartbeat,
    /// Checks of the configuration: valid, invalid.
    reloads: [AtomicU64; 2],
    invalid: AtomicBool,
    config_changed: Notify,
    delivery: OnceLock<Delivery>,
    sandbox: OnceLock<Arc<Sandbox>>,
    history: OnceLock<Arc<HistoryCounts>>,
    alerts: Mutex<BTreeMap<Label, [u64; 2]>>,
    /// The area and the location of each source; empty where it has none.
    places: Mutex<BTreeMap<String, [String; 2]>>,
    sources: Mutex<BTreeMap<String, RunningSource>>,
    source_stats: Mutex<SourceStats>,
    lost_observations: Mutex<BTreeMap<&'static str, u64>>,
}

/// Source, label set, label.
type Label = [String; 3];

struct Delivery {
    publisher: Arc<publisher::Counts>,
    outbox: Arc<Outbox>,
    sinks: Vec<DeliverySink>,
}

struct DeliverySink {
    sink: Sink,
    name: &'static str,
    /// The oldest alert that waits for this sink.
    oldest: Mutex<Option<Oldest>>,
}

/// An alert that waits, measured without the clock, which may be wrong.
#[derive(Debug, Clone, Copy)]
struct Oldest {
    /// Its age when it was checked.
    age: Duration,
    checked: Instant,
}

impl Oldest {
    fn age(self) -> Duration {
        self.age + self.checked.elapsed()
    }
}

/// A running source, as far as its state is reported.
pub struct RunningSource {
    /// The kind, as its key in the configuration.
    pub kind: &'static str,
    /// Its settings, which its dynamic sources have, too.
    pub settings: SourceKind,
    /// What the source counts.
    pub counts: Arc<Counts>,
    /// Whether the source delivers.
    pub status: watch::Receiver<Status>,
    /// Why the source delivers no frames; `None`: it is well.
    pub problem: watch::Receiver<Option<Problem>>,
    /// The slots of the source, [`SLOTS`](crate::source::SLOTS) of them.
    pub slots: Arc<Semaphore>,
}

/// The state of a running source at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceState {
    /// Whether it delivers.
    pub status: Status,
    /// Why it delivers no frames, or why they are not scored; `None`: it is well.
    pub problem: Option<Problem>,
    /// The properties of its stream; `None` before the first frame, and without a stream.
    pub stream: Option<StreamInfo>,
}

impl RunningSource {
    /// The state while `engine` is what is wrong with the model's engine. The source's own problem comes first.
    fn state(&self, engine: Option<&Problem>) -> SourceState {
        SourceState {
            status: *self.status.borrow(),
            problem: self.problem.borrow().clone().or_else(|| engine.cloned()),
            stream: self.counts.stream.borrow().clone(),
        }
    }
}

impl ServiceMetrics {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            began: Timestamp::now(),
            began_up: Instant::now(),
            model_name: config.model.name().into_owned(),
            model_facts: OnceLock::new(),
            ready: AtomicBool::new(false),
            model: Arc::default(),
            decoding: Arc::default(),
            decoder_memory: Memory::new(config.memory),
            judge: Heartbeat::default(),
            judging: Histogram::default(),
            whole_way: Histogram::default(),
            config: Heartbeat::default(),
            reloads: Default::default(),
            invalid: AtomicBool::new(false),
            config_changed: Notify::new(),
            delivery: OnceLock::new(),
            sandbox: OnceLock::new(),
            history: OnceLock::new(),
            alerts: Mutex::default(),
            places: Mutex::default(),
            sources: Mutex::default(),
            source_stats: Mutex::default(),
            lost_observations: Mutex::default(),
        }
    }

    /// Every part is started, or the service is stopping.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether every part is started and the service is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// What delivers alerts. Later calls have no effect.
    pub fn set_delivery(&self, config: &Config, publisher: Arc<publisher::Counts>, outbox: Arc<Outbox>) {
        let sinks = [
            (Sink::Mqtt, "mqtt", true),
            (Sink::Webhook, "webhook", config.webhook.is_some()),
            (Sink::Command, "command", config.command.is_some()),
        ];
        let sinks = sinks.into_iter().filter(|(.., configured)| *configured);
        let sinks = sinks.map(|(sink, name, _)| DeliverySink { sink, name, oldest: Mutex::default() });
        let _ = self.delivery.set(Delivery { publisher, outbox, sinks: sinks.collect() });
    }

    /// What decodes pictures. Later calls have no effect.
    pub fn set_sandbox(&self, sandbox: Arc<Sandbox>) {
        let _ = self.sandbox.set(sandbox);
    }

    /// Makes the counts of the history, which begins now.
    pub fn add_history(&self) -> Arc<HistoryCounts> {
        Arc::clone(self.history.get_or_init(Arc::default))
    }

    /// The counts of the history, if there is one.
    #[must_use]
    pub fn history(&self) -> Option<&HistoryCounts> {
        self.history.get().map(|counts| &**counts)
    }

    /// Counts the alerts of the labels that `config` watches, and reports where its sources are. A label that was watched before keeps
    /// its counts.
    pub fn set_labels(&self, config: &Config) {
        *lock(&self.places) =
            config.sources.iter().map(|source| (source.name.clone(), place(source))).collect();
        let mut alerts = lock(&self.alerts);
        let mut before = std::mem::take(&mut *alerts);
        for (source, set) in config.watches() {
            for label in set.alerting() {
                let label = [source.name.clone(), set.name.clone(), label.name.clone()];
                let count = before.remove(&label).unwrap_or_default();
                alerts.insert(label, count);
            }
        }
    }

    /// Counts the alerts of the labels of `source`, which `config` has in addition, and no longer those of the source `gone`.
    pub fn add_labels(&self, config: &Config, source: &Source, gone: Option<&str>) {
        let mut places = lock(&self.places);
        if let Some(gone) = gone {
            places.remove(gone);
        }
        places.insert(source.name.clone(), place(source));
        drop(places);
        let mut alerts = lock(&self.alerts);
        if let Some(gone) = gone {
            alerts.retain(|[name, ..], _| name != gone);
        }
        for set in config.watched_by(source) {
            for label in set.alerting() {
                alerts.entry([source.name.clone(), set.name.clone(), label.name.clone()]).or_default();
            }
        }
    }

    /// An alert is on disk.
    pub fn count_alert(&self, alert: &Alert) {
        let label = [&alert.source, &alert.label_set, &alert.label].map(ToString::to_string);
        // The last `cleared` of a removed label is not counted: its series are gone.
        if let Some(count) = lock(&self.alerts).get_mut(&label) {
            count[usize::from(alert.state == State::Cleared)] += 1;
        }
    }

    /// The configuration was read again.
    pub fn config_checked(&self, valid: bool) {
        self.reloads[usize::from(!valid)].fetch_add(1, Ordering::Relaxed);
        if self.invalid.swap(!valid, Ordering::Relaxed) == valid {
            self.config_changed.notify_one();
        }
    }

    /// Waits until the broker is connected or away, the engine of the model too, or the configuration valid or invalid, other than
    /// before. For one caller.
    pub async fn state_changed(&self) {
        let connection = async {
            match self.delivery.get() {
                Some(delivery) => delivery.publisher.connection_changed.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = connection => {}
            () = self.config_changed.notified() => {}
            () = self.model.engine.changed() => {}
        }
    }

    /// A source starts.
    pub fn add_source(&self, name: &str, source: RunningSource) {
        lock(&self.sources).insert(name.to_owned(), source);
    }

    /// A source received the stop signal and is no longer reported.
    pub fn remove_source(&self, name: &str) {
        lock(&self.sources).remove(name);
    }

    /// The state of a source; `None` if it does not run. A dynamic source has the state of the source that made its name.
    #[must_use]
    pub fn source_state(&self, source: &Source) -> Option<SourceState> {
        if !source.enabled {
            return Some(SourceState { status: Status::Disabled, problem: None, stream: None });
        }
        let sources = lock(&self.sources);
        let own = sources.get(&source.name);
        let running = own.or_else(|| {
            source.kind.settings().name_pattern()?;
            sources.values().find(|running| running.settings == source.kind)
        });
        let engine = self.engine_problem();
        running.map(|running| running.state(engine.as_ref()))
    }

    /// The name, the kind and the state of each running source for which `wants` is true; it receives the name and the settings.
    #[must_use]
    pub fn running_sources(
        &self,
        wants: impl Fn(&str, &SourceKind) -> bool,
    ) -> Vec<(String, &'static str, SourceState)> {
        let engine = self.engine_problem();
        let sources = lock(&self.sources);
        let wanted = sources.iter().filter(|(name, running)| wants(name, &running.settings));
        wanted.map(|(name, running)| (name.clone(), running.kind, running.state(engine.as_ref()))).collect()
    }

    /// What decodes pictures, once it is started.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Arc<Sandbox>> {
        self.sandbox.get()
    }

    /// Whether the broker is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.delivery.get().is_some_and(|delivery| delivery.publisher.connected.load(Ordering::Relaxed))
    }

    /// Whether the newest configuration files are invalid. The configuration in force is an earlier one then.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.invalid.load(Ordering::Relaxed)
    }

    /// Sets the sources that [`Self::source_stats`] reports, dynamic sources included.
    pub fn report_sources<'n>(&self, sources: impl Iterator<Item = &'n str>) {
        lock(&self.source_stats).report(sources);
    }

    /// Reports one more source in [`Self::source_stats`], and no longer the source `gone`.
    pub fn report_source(&self, name: &str, gone: Option<&str>) {
        lock(&self.source_stats).add(name, gone);
    }

    /// A frame was judged, and its alerts are on disk.
    pub fn count_frame(&self, source: &str, captured_at: Timestamp, duration: Duration) {
        self.whole_way.observe(duration);
        lock(&self.source_stats).scored(source, captured_at, Timestamp::now());
    }

    /// A subscriber of observations lost `count` of them; 0 creates its series.
    pub fn lost_observations(&self, subscriber: &'static str, count: u64) {
        *lock(&self.lost_observations).entry(subscriber).or_default() += count;
    }

    /// The messages for the topics `<source>/stats`, by source: of each source when a round is `due`, and at once of a source
    /// that had its first frame. `now` counts from any fixed moment.
    #[must_use]
    pub fn source_stats(&self, now: Duration, due: bool) -> Vec<(String, String)> {
        lock(&self.source_stats).messages(now, due)
    }

    /// Looks up the oldest alerts that wait. Blocks for the disk.
    pub fn check_outbox(&self) {
        let Some(Delivery { outbox, sinks, .. }) = self.delivery.get() else { return };
        for DeliverySink { sink, oldest, .. } in sinks {
            let age = outbox.oldest(*sink);
            *lock(oldest) = age.map(|age| Oldest { age, checked: Instant::now() });
        }
    }

    /// The parts that have work and have made no progress for too long.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let stuck = self.parts().into_iter().filter(|part| part.state == PartState::Stuck);
        stuck.map(|part| part.name).collect()
    }

    /// The metrics page.
    #[must_use]
    pub fn page(self: &Arc<Self>) -> String {
        page::page(self)
    }

    /// The totals of the service.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let classify::Counts { scored, repeated, failed, .. } = self.model.counts();
        // Not by the clock, which may have been set since.
        let up_s = i64::try_from(self.began_up.elapsed().as_secs()).unwrap_or(i64::MAX);
        let mut summary = Summary { up_s, invalid: self.is_invalid(), on_disk: true, ..Summary::default() };
        summary.frames.scored = scored + repeated;
        summary.frames.failed = failed;
        summary.alerts.raised = lock(&self.alerts).values().map(|count| count[0]).sum();
        for source in lock(&self.sources).values() {
            match *source.status.borrow() {
                Status::Online => summary.sources.online += 1,
                Status::Offline => summary.sources.offline += 1,
                Status::Stalled => summary.sources.stalled += 1,
                // It does not run.
                Status::Disabled => {}
            }
            let counts = source.counts.snapshot();
            summary.frames.seen += counts.seen;
            summary.frames.skipped += counts.skipped.values().sum::<u64>();
            summary.frames.failed += counts.failed.values().sum::<u64>();
        }
        summary.engine_away = self.model.engine.away().is_some();
        summary.connected = self.is_connected();
        if let Some(delivery) = self.delivery.get() {
            summary.alerts.published = delivery.publisher.published.load(Ordering::Relaxed);
            summary.alerts.waiting = delivery.outbox.waiting();
            summary.alerts.dropped = delivery.outbox.dropped();
            summary.on_disk = delivery.outbox.status().borrow().is_on_disk();
        }
        summary
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The area and the location of a source; empty where it has none.
fn place(source: &Source) -> [String; 2] {
    [&source.area, &source.location].map(|text| text.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples, source};

    fn metrics() -> Arc<ServiceMetrics> {
        let mut config = samples::config();
        config.sources[1].area = Some("Yard".to_owned());
        let metrics = Arc::new(ServiceMetrics::new(&config));
        metrics.set_labels(&config);
        for source in &config.sources {
            let counts = Arc::new(Counts::new(source::causes(&source.kind), Arc::default()));
            counts.seen();
            let running = RunningSource {
                kind: source.kind.settings().key(),
                settings: source.kind.clone(),
                counts,
                status: watch::channel(Status::Online).1,
                problem: watch::channel(None).1,
                slots: Arc::new(Semaphore::new(source::SLOTS - 1)),
            };
            metrics.add_source(&source.name, running);
        }
        metrics
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_state_is_noticed_once_and_at_once() {
        let metrics = metrics();
        let changed =
            || async { tokio::time::timeout(Duration::from_secs(1), metrics.state_changed()).await.is_ok() };
        assert!(!changed().await, "nothing has changed");
        metrics.config_checked(true);
        assert!(!changed().await, "it was valid before");
        metrics.config_checked(false);
        assert!(changed().await && metrics.summary().status_line(0.0).contains("invalid"));
        assert!(!changed().await, "it is invalid still");
        metrics.config_checked(true);
        assert!(changed().await && !metrics.summary().status_line(0.0).contains("invalid"));
    }

    #[test]
    fn dynamic_sources_have_the_state_of_the_source_that_made_their_names() {
        let metrics = metrics();
        let (status, statuses) = watch::channel(Status::Offline);
        let named = |name: &str, topics: &str| Source {
            kind: SourceKind::Mqtt(samples::topics(topics, Some("cam-{1}"))),
            ..samples::source(name, &[])
        };
        let made = named("cams", "cams/+");
        let running = RunningSource {
            kind: "mqtt",
            settings: made.kind.clone(),
            counts: Arc::default(),
            status: statuses,
            problem: watch::channel(None).1,
            slots: Arc::new(Semaphore::new(source::SLOTS)),
        };
        metrics.add_source("cams", running);
        let state = |source: &Source| metrics.source_state(source).map(|state| state.status);
        assert_eq!(state(&named("cam-1", "cams/+")), Some(Status::Offline));
        status.send_replace(Status::Online);
        assert_eq!(state(&named("cam-1", "cams/+")), Some(Status::Online));
        assert_eq!(state(&named("cam-1", "other/+")), None, "another one made it");
        assert_eq!(state(&samples::source("back", &[])), Some(Status::Online));
        let off = Source { enabled: false, ..samples::source("back", &[]) };
        assert_eq!(state(&off), Some(Status::Disabled));
        let folder = samples::source("cam-2", &[]);
        assert_eq!(state(&folder), None);
        let others = metrics.running_sources(|_, kind| *kind == made.kind);
        assert_eq!(
            others.iter().map(|(name, kind, _)| (&**name, *kind)).collect::<Vec<_>>(),
            [("cams", "mqtt")]
        );
    }

    #[test]
    fn a_page_has_every_series_from_the_start_and_none_of_what_is_removed() {
        let metrics = metrics();
        let text = metrics.page();
        let alerts = |label: &str, state: &str| {
            format!("stakeout_alerts_total{{source=\"Front Door\",label_set={label},state=\"{state}\"}} 0\n")
        };
        for line in [
            &alerts("\"porch\",label=\"Person\"", "raised"),
            &alerts("\"yard\",label=\"fox\"", "cleared"),
            "stakeout_source_up{source=\"back\",kind=\"folder\"} 1\n",
            "stakeout_source_info{source=\"back\",area=\"Yard\",location=\"\"} 1\n",
            "stakeout_frames_seen_total{source=\"back\"} 1\n",
            "stakeout_frames_under_way{source=\"back\"} 1\n",
            "stakeout_frames_skipped_total{source=\"back\",cause=\"no_free_slot\"} 0\n",
            "stakeout_ready 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let mut config = samples::config();
        config.sources.truncate(1);
        metrics.remove_source("back");
        metrics.set_labels(&config);
        assert!(!metrics.page().contains("\"back\""));
    }

    /// Every line is a comment, or a name, labels and a number. Every name is described once, before its samples.
    #[test]
    fn a_page_is_well_formed() {
        let text = metrics().page();
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let name = described.split(' ').next().unwrap().to_owned();
                assert!(!families.contains(&name), "{name} twice");
                let counter = described.ends_with(" counter");
                assert_eq!(counter, name.ends_with("_total"), "{described}");
                families.push(name);
            } else if !line.starts_with('#') {
                let (series, number) = line.rsplit_once(' ').unwrap();
                assert!(number.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().unwrap();
                let family = families.last().unwrap();
                assert!(name.starts_with(&**family), "{line} below {family}");
            }
        }
        assert!(families.len() > 20, "{families:?}");
    }

    #[test]
    fn a_part_with_work_and_without_progress_is_stuck() {
        let metrics = metrics();
        assert_eq!(metrics.stuck(), [""; 0]);
        let _working = metrics.judge.work();
        metrics.judge.age(PATIENCE * 2);
        assert_eq!(metrics.stuck(), ["the judge"]);
    }
}
