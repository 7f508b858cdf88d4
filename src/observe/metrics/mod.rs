//! What is known of how the service is doing, gathered in one place for everybody who asks: Prometheus, systemd, the
//! topic `stats`, and who watches over the parts.
//!
//! Parts count for themselves and are looked at here when somebody asks; only what belongs to no part is counted here.
//! It refuses to wait for anything: who asks is answered while a part stands still.

mod frames;
mod page;
mod short;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use self::frames::Frames;
pub(crate) use self::short::{Rate, Summary};
use crate::{
    alert::{
        Alert, State,
        outbox::{Outbox, Sink},
        publisher,
    },
    classify,
    config::{Config, SourceKind},
    heartbeat::Pulse,
    metrics::{self, Histogram},
    source::{self, Counts, Status},
    web::Answer,
};

/// A batch of a large model on a small machine takes this long, and so does a disk that is about to fail.
const PATIENCE: Duration = Duration::from_secs(120);
/// A camera or a file on the network may hold its source up, but not for ever.
const PATIENCE_WITH_SOURCES: Duration = Duration::from_secs(300);
/// The texts of many new labels take their time.
const PATIENCE_WITH_CONFIG: Duration = Duration::from_secs(900);

/// Everything that is known.
pub(crate) struct Figures {
    began: Timestamp,
    model_name: String,
    ready: AtomicBool,
    pub(crate) model: Arc<classify::Progress>,
    /// How long sources took to decode what they found.
    pub(crate) decoding: Arc<Histogram>,
    pub(crate) judge: Pulse,
    /// How long frames that were judged together took, until their alerts were on disk.
    pub(crate) judging: Histogram,
    /// How long frames took the whole way, from the source on.
    pub(crate) whole_way: Histogram,
    pub(crate) config: Pulse,
    reloads: [AtomicU64; 2],
    invalid: AtomicBool,
    delivery: OnceLock<Delivery>,
    alerts: Mutex<BTreeMap<Label, [u64; 2]>>,
    sources: Mutex<BTreeMap<String, Running>>,
    frames: Mutex<Frames>,
}

/// Source, label set, label.
type Label = [String; 3];

struct Delivery {
    publisher: Arc<publisher::Counts>,
    outbox: Arc<Outbox>,
    sinks: Vec<Told>,
}

/// Who is told of alerts.
struct Told {
    sink: Sink,
    name: &'static str,
    /// When the oldest alert that waits for it was raised, in milliseconds since 1970; 0 where none waits.
    oldest: AtomicI64,
}

/// A source that runs.
pub(crate) struct Running {
    pub(crate) kind: &'static str,
    pub(crate) counts: Arc<Counts>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) slots: Arc<Semaphore>,
}

impl Figures {
    /// Nothing has happened yet.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            began: Timestamp::now(),
            model_name: config.model.name().into_owned(),
            ready: AtomicBool::new(false),
            model: Arc::default(),
            decoding: Arc::default(),
            judge: Pulse::default(),
            judging: Histogram::default(),
            whole_way: Histogram::default(),
            config: Pulse::default(),
            reloads: Default::default(),
            invalid: AtomicBool::new(false),
            delivery: OnceLock::new(),
            alerts: Mutex::default(),
            sources: Mutex::default(),
            frames: Mutex::default(),
        }
    }

    /// Whether everything is started, and nothing ended yet.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Those who tell of alerts.
    pub(crate) fn delivers(&self, config: &Config, publisher: Arc<publisher::Counts>, outbox: Arc<Outbox>) {
        let sinks = [
            (Sink::Mqtt, "mqtt", true),
            (Sink::Webhook, "webhook", config.webhook.is_some()),
            (Sink::Command, "command", config.command.is_some()),
        ];
        let sinks = sinks.into_iter().filter(|(.., there)| *there);
        let sinks = sinks.map(|(sink, name, _)| Told { sink, name, oldest: AtomicI64::new(0) }).collect();
        // The house is built once.
        let _ = self.delivery.set(Delivery { publisher, outbox, sinks });
    }

    /// From now on these labels are watched. One that was watched before keeps its count.
    pub(crate) fn watch(&self, config: &Config) {
        let mut alerts = self.alerts();
        let mut before = std::mem::take(&mut *alerts);
        for (source, set) in config.watches() {
            for label in set.alerting() {
                let label = [source.name.clone(), set.name.clone(), label.name.clone()];
                let count = before.remove(&label).unwrap_or_default();
                alerts.insert(label, count);
            }
        }
    }

    /// One more alert.
    pub(crate) fn alert(&self, alert: &Alert) {
        let label = [&alert.source, &alert.label_set, &alert.label].map(ToString::to_string);
        // The last word of a label that is not watched any more is not counted: its figures are gone.
        if let Some(count) = self.alerts().get_mut(&label) {
            count[usize::from(alert.state == State::Cleared)] += 1;
        }
    }

    /// The configuration was read again.
    pub(crate) fn reloaded(&self, valid: bool) {
        self.reloads[usize::from(!valid)].fetch_add(1, Ordering::Relaxed);
        self.invalid.store(!valid, Ordering::Relaxed);
    }

    pub(crate) fn source_starts(&self, name: &str, source: Running) {
        self.sources().insert(name.to_owned(), source);
    }

    /// It was told to end; who asks is not told of it any more.
    pub(crate) fn source_ends(&self, name: &str) {
        self.sources().remove(name);
    }

    /// Of the frames of these sources [`Self::source_stats`] tells from now on; members of others are among them.
    pub(crate) fn follow<'n>(&self, sources: impl Iterator<Item = &'n str>) {
        self.frames().follow(sources);
    }

    /// One more frame of this source went the whole way.
    pub(crate) fn frame(&self, source: &str, captured_at: Timestamp) {
        self.frames().scored(source, captured_at);
    }

    /// What is to be told of which source: of each when a round is `due`, of one that had its first frame at once.
    pub(crate) fn source_stats(&self, now: Duration, due: bool) -> Vec<(String, String)> {
        self.frames().news(now, due)
    }

    /// Looks for the oldest alerts that wait; it may block for the disk, so this is no answer to anybody.
    pub(crate) fn look_at_outbox(&self) {
        let Some(Delivery { outbox, sinks, .. }) = self.delivery.get() else { return };
        for Told { sink, oldest, .. } in sinks {
            let found = outbox.peek(*sink, 0, 1).unwrap_or_else(|| outbox.read(*sink, 0, 1));
            let raised = found.first().and_then(|(_, entry)| entry.raised());
            oldest.store(raised.map_or(0, Timestamp::as_millisecond), Ordering::Relaxed);
        }
    }

    /// The parts that are at work and have not moved for too long.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let parts = [
            ("the model", self.model.pulse.read(), PATIENCE),
            ("who makes pictures ready for the model", self.model.prepare.read(), PATIENCE),
            ("the judge", self.judge.read(), PATIENCE),
            ("the reader of the configuration", self.config.read(), PATIENCE_WITH_CONFIG),
        ];
        let parts = parts.into_iter().filter(|(_, reading, patience)| reading.is_stuck(*patience));
        let sources = self.sources();
        let sources =
            sources.iter().filter(|(_, source)| source.counts.pulse().read().is_stuck(PATIENCE_WITH_SOURCES));
        parts
            .map(|(part, ..)| part.to_owned())
            .chain(sources.map(|(name, _)| format!("the source {name}")))
            .collect()
    }

    /// The answer to `path`.
    pub(crate) fn answer(&self, path: &str) -> Option<Answer> {
        match path {
            "/metrics" => {
                Some(Answer { status: 200, content_type: metrics::CONTENT_TYPE, body: page::page(self) })
            }
            "/healthz" => Some(match &self.stuck()[..] {
                [] => Answer::text(200, "ok"),
                stuck => Answer::text(503, &format!("stuck: {}", stuck.join(", "))),
            }),
            "/readyz" if self.ready.load(Ordering::Relaxed) => Some(Answer::text(200, "ready")),
            "/readyz" => Some(Answer::text(503, "not watching: the service starts or stops")),
            _ => None,
        }
    }

    /// The same, small.
    pub(crate) fn summary(&self) -> Summary {
        let classify::Counts { scored, repeated, failed, .. } = self.model.counts();
        let mut summary = Summary {
            up_s: Timestamp::now().duration_since(self.began).as_secs(),
            scored: scored + repeated,
            failed,
            raised: self.alerts().values().map(|count| count[0]).sum(),
            ..Summary::default()
        };
        for source in self.sources().values() {
            match *source.status.borrow() {
                Status::Online => summary.online += 1,
                Status::Offline => summary.offline += 1,
                Status::Stalled => summary.stalled += 1,
            }
            let counts = source.counts.snapshot();
            summary.seen += counts.seen;
            summary.skipped += counts.skipped.values().sum::<u64>();
            summary.failed += counts.failed.values().sum::<u64>();
        }
        if let Some(delivery) = self.delivery.get() {
            summary.connected = delivery.publisher.connected.load(Ordering::Relaxed);
            summary.published = delivery.publisher.published.load(Ordering::Relaxed);
            summary.waiting = delivery.outbox.waiting();
            summary.dropped = delivery.outbox.dropped();
        }
        summary
    }

    fn alerts(&self) -> MutexGuard<'_, BTreeMap<Label, [u64; 2]>> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What kind of source it is, as its key in the configuration.
pub(crate) fn kind(kind: &SourceKind) -> &'static str {
    match kind {
        SourceKind::Folder(_) => "folder",
        SourceKind::Stream(stream) => match stream.input {
            crate::config::Input::Rtsp(_) => "rtsp",
            crate::config::Input::Url(_) | crate::config::Input::File(_) => "video",
        },
        SourceKind::Http(_) => "http",
        SourceKind::Mqtt(_) => "mqtt",
    }
}

/// A source's slots that are under way.
fn under_way(slots: &Semaphore) -> u64 {
    source::SLOTS.saturating_sub(slots.available_permits()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn figures() -> Figures {
        let config = samples::config();
        let figures = Figures::new(&config);
        figures.watch(&config);
        for source in &config.sources {
            let counts = Arc::new(Counts::new(source::causes(&source.kind), Arc::default()));
            counts.seen();
            let running = Running {
                kind: kind(&source.kind),
                counts,
                status: watch::channel(Status::Online).1,
                slots: Arc::new(Semaphore::new(source::SLOTS - 1)),
            };
            figures.source_starts(&source.name, running);
        }
        figures
    }

    #[test]
    fn a_page_has_every_label_from_the_start_and_forgets_what_is_gone() {
        let figures = figures();
        let page = |figures: &Figures| figures.answer("/metrics").unwrap().body;
        let text = page(&figures);
        let raised = |label: &str, state: &str| {
            format!("stakeout_alerts_total{{source=\"Front Door\",label_set={label},state=\"{state}\"}} 0\n")
        };
        for line in [
            &raised("\"porch\",label=\"Person\"", "raised"),
            &raised("\"yard\",label=\"fox\"", "cleared"),
            "stakeout_source_up{source=\"back\",kind=\"folder\"} 1\n",
            "stakeout_frames_seen_total{source=\"back\"} 1\n",
            "stakeout_frames_under_way{source=\"back\"} 1\n",
            "stakeout_frames_skipped_total{source=\"back\",cause=\"no_free_slot\"} 0\n",
            "stakeout_ready 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let mut config = samples::config();
        config.sources.truncate(1);
        figures.source_ends("back");
        figures.watch(&config);
        assert!(!page(&figures).contains("\"back\""));
    }

    /// Every line is a comment, or a name, labels and a number; every name was described before, once.
    #[test]
    fn a_page_is_well_formed() {
        let text = figures().answer("/metrics").unwrap().body;
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let name = told.split(' ').next().unwrap().to_owned();
                assert!(!families.contains(&name), "{name} twice");
                let counter = told.ends_with(" counter");
                assert_eq!(counter, name.ends_with("_total"), "{told}");
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
    fn who_asks_whether_it_is_well_and_watches() {
        let figures = figures();
        let status = |path| figures.answer(path).map(|answer| answer.status);
        assert_eq!((status("/healthz"), status("/readyz"), status("/")), (Some(200), Some(503), None));
        figures.set_ready(true);
        assert_eq!(status("/readyz"), Some(200));
    }
}
