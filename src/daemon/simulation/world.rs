//! Everything that outlives the service in a simulation: disk, clock, broker and book.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use uuid::Builder;

use super::{Ledger, Profile, broker::BrokerState, schedule::LABELS};
use crate::{
    alert::{Alert, FrameInfo, Place, State, Topics, outbox::Entry},
    config::{Config, HomeAssistant},
    faults::{Clock, Condition, Disk, OPERATIONS, Random},
    samples,
};

/// The source, label set and label of each label that raises alerts.
const NAMES: [[&str; 3]; LABELS as usize] = [
    ["Front Door", "porch", "Person"],
    ["Front Door", "porch", "package"],
    ["back", "porch", "Person"],
    ["Front Door", "yard", "fox"],
];
/// 2026-11-27, in milliseconds.
const TODAY: i64 = 1_795_737_600_000;
/// The largest snapshot.
const PICTURE: u64 = 3_000;

/// What a service finds when it starts.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    pub(super) disk: Arc<Disk>,
    pub(super) clock: Arc<Clock>,
    pub(super) config: Config,
    pub(super) webhook_works: AtomicBool,
    /// Changes when the broker breaks its connection.
    pub(super) breaks: watch::Sender<u64>,
    topics: Topics,
    inner: Mutex<Inner>,
    broker: Mutex<BrokerState>,
    ledger: Mutex<Ledger>,
}

struct Inner {
    random: Random,
    /// Whether each label is raised.
    raised: [bool; LABELS as usize],
    trace: Vec<String>,
    /// The duration of all lives until now.
    passed: Duration,
    /// When this life began.
    began: Option<Instant>,
    /// What the service had done when everything worked again.
    done: Done,
}

/// How often the service asked for each operation of the disk, and for a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) operations: [u64; OPERATIONS.len()],
    pub(super) connects: u64,
}

impl World {
    pub(super) fn new(seed: u64, profile: &Profile) -> Arc<Self> {
        let disk = Disk::new(Random::new(seed, 2));
        let mut config = Config { state_dir: disk.path().join("state"), ..samples::config() };
        if profile.small {
            (config.outbox.size, config.outbox.snapshots) = (20_000, 5_000);
        }
        config.home_assistant = profile.home_assistant.then(|| HomeAssistant {
            discovery_prefix: "homeassistant".to_owned(),
            name: "stakeout".to_owned(),
            suggested_area: None,
            configuration_url: None,
        });
        let inner = Inner {
            random: Random::new(seed, 3),
            raised: [false; LABELS as usize],
            trace: Vec::new(),
            passed: Duration::ZERO,
            began: None,
            done: Done::default(),
        };
        Arc::new(Self {
            seed,
            profile: *profile,
            disk,
            clock: Clock::new(TODAY),
            webhook_works: AtomicBool::new(true),
            breaks: watch::Sender::new(0),
            topics: Topics::of(&config),
            config,
            inner: Mutex::new(inner),
            broker: Mutex::new(BrokerState::new(seed)),
            ledger: Mutex::default(),
        })
    }

    /// A life of the service begins, in a runtime of its own.
    pub(super) fn begin(&self) {
        self.inner().began = Some(Instant::now());
        self.clock.start();
    }

    /// The life ends.
    pub(super) fn end(&self) {
        self.clock.stop();
        let mut inner = self.inner();
        if let Some(began) = inner.began.take() {
            inner.passed += began.elapsed();
        }
    }

    /// Everything works again.
    pub(super) fn heal(&self) {
        let operations = OPERATIONS.map(|operation| self.disk.count(operation));
        self.disk.set(Condition::Works);
        self.disk.set_death(None);
        self.disk.set_fault(None);
        self.clock.synchronise();
        self.webhook_works.store(true, Ordering::Relaxed);
        let connects = self.broker().heal();
        self.inner().done = Done { operations, connects };
    }

    /// What the service had done when everything worked again.
    pub(super) fn done(&self) -> Done {
        self.inner().done
    }

    /// Adds a line to what happened.
    pub(super) fn trace(&self, line: impl AsRef<str>) {
        let mut inner = self.inner();
        let passed = inner.passed + inner.began.map_or(Duration::ZERO, |began| began.elapsed());
        inner.trace.push(format!("{:>9.3} s  {}", passed.as_secs_f64(), line.as_ref()));
    }

    /// Something is wrong.
    pub(super) fn wrong(&self, wrong: String) {
        self.trace(format!("WRONG: {wrong}"));
        self.ledger().note(wrong);
    }

    /// What is wrong after the run, and what happened.
    pub(super) fn outcome(&self) -> (Vec<String>, Vec<String>) {
        let wrong = self.ledger().check(self.profile.small);
        (wrong, std::mem::take(&mut self.inner().trace))
    }

    /// The alerts of labels that change.
    pub(super) fn alerts(&self, count: u64) -> Vec<Entry> {
        let mut inner = self.inner();
        (0..count).map(|_| self.entry(&mut inner)).collect()
    }

    /// The labels are as the outbox remembers them, by the topics of their states.
    pub(super) fn restore(&self, marks: &BTreeMap<String, bool>) {
        let raised = |[source, set, label]: [&str; 3]| {
            marks.get(&self.topics.state(source, set, label)).copied().unwrap_or(false)
        };
        self.inner().raised = NAMES.map(raised);
    }

    /// The topic of the alerts of a label.
    pub(super) fn alert_topic(&self, label: u64) -> String {
        let [source, set, label] = NAMES[usize::try_from(label).expect("there are few labels")];
        self.topics.alert(source, set, label)
    }

    pub(super) fn status_topic(&self) -> String {
        self.topics.status()
    }

    /// True in this many of a hundred cases.
    pub(super) fn percent(&self, of_hundred: u64) -> bool {
        self.inner().random.percent(of_hundred)
    }

    pub(super) fn webhook_works(&self) -> bool {
        self.webhook_works.load(Ordering::Relaxed)
    }

    pub(super) fn broker(&self) -> MutexGuard<'_, BrokerState> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, inner: &mut Inner) -> Entry {
        let at = usize::try_from(inner.random.below(LABELS)).expect("there are few labels");
        let [source, label_set, label] = NAMES[at];
        inner.raised[at] = !inner.raised[at];
        let state = if inner.raised[at] { State::Raised } else { State::Cleared };
        let milliseconds = self.clock.read().wall;
        let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&inner.random.draw().to_le_bytes());
        let jpeg = (state == State::Raised && inner.random.percent(50)).then(|| {
            let size = inner.random.below(PICTURE);
            vec![0xd8; usize::try_from(size).expect("it is small")]
        });
        let alert = Alert {
            id: Builder::from_unix_timestamp_millis(milliseconds.unsigned_abs(), &random).into_uuid(),
            state,
            time,
            source: source.into(),
            region: None,
            label_set: label_set.into(),
            label: label.into(),
            when: None,
            score: 0.9,
            threshold: 0.6,
            baseline: None,
            severity: None,
            message: None,
            reason: None,
            scores: vec![(label.into(), 0.9)],
            background: None,
            model: "bundled".into(),
            frame: FrameInfo { origin: "1.jpg".to_owned(), captured_at: time, width: 2, height: 1 },
            snapshot: jpeg.as_ref().map(|_| self.topics.snapshot(source)),
            place: Place::default(),
        };
        Entry::new(&alert, &self.topics, jpeg)
    }
}
