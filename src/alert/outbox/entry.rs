//! An entry of the outbox: an alert that is ready to be sent, with its snapshot.

use jiff::Timestamp;
use uuid::Uuid;

use crate::alert::{Alert, State, Topics};

/// The number of an alert in the outbox. Later alerts have higher numbers, and no number is used twice.
pub type Seq = i64;

/// An alert that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The alert's identifier.
    pub id: String,
    /// The topic to which it is published.
    pub topic: String,
    /// Its JSON.
    pub payload: String,
    /// The snapshot that is published before it.
    pub snapshot: Option<Snapshot>,
    /// The state of its label, which is remembered also after the alert is deleted.
    pub mark: Option<Mark>,
}

/// The state of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The topic of the state.
    pub topic: String,
    /// Whether the label is raised.
    pub raised: bool,
}

/// A picture that is published before its alert.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The topic to which it is published.
    pub topic: String,
    /// The picture.
    pub jpeg: Vec<u8>,
}

/// What an alert is about, for log lines.
#[derive(Debug, Default, PartialEq)]
pub struct Subject {
    /// The label and what happened: "`person` raised".
    pub words: String,
    /// The name of the source.
    pub source: String,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or rule.
    pub label: String,
    /// The score; `None` for a rule.
    pub score: Option<f32>,
}

/// Where alerts are sent; each sink has its own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sink {
    /// The broker.
    Mqtt,
    /// The webhook.
    Webhook,
    /// The command.
    Command,
}

impl Entry {
    /// The entry of `alert`. `jpeg` is published to the topic that the alert names.
    #[must_use]
    pub fn new(alert: &Alert, topics: &Topics, jpeg: Option<Vec<u8>>) -> Self {
        let snapshot = alert.snapshot.clone().zip(jpeg).map(|(topic, jpeg)| Snapshot { topic, jpeg });
        Self {
            id: alert.id.to_string(),
            topic: topics.alert(&alert.source, &alert.label_set, &alert.label),
            payload: alert.to_json(),
            snapshot,
            mark: Some(Mark {
                topic: topics.state(&alert.source, &alert.label_set, &alert.label),
                raised: alert.state == State::Raised,
            }),
        }
    }

    /// What the alert is about, from its JSON.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let Some(alert) = Alert::from_json(&self.payload) else { return Subject::default() };
        Subject {
            words: format!("`{}` {}", alert.label, alert.state.word()),
            source: alert.source.to_string(),
            label_set: alert.label_set.to_string(),
            label: alert.label.to_string(),
            score: Some(alert.score).filter(|score| score.is_finite()),
        }
    }

    /// When the alert was raised, from its identifier.
    #[must_use]
    pub fn raised(&self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = Uuid::parse_str(&self.id).ok()?.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    }

    /// Its size without the snapshot, in bytes, with about what SQLite needs besides the texts.
    pub(super) fn size(&self) -> u64 {
        const BESIDES: usize = 64;
        (self.id.len() + self.topic.len() + self.payload.len() + BESIDES) as u64
    }

    /// The size of its snapshot, in bytes.
    pub(super) fn snapshot_size(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.jpeg.len() as u64)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({}, {} bytes)", self.topic, self.jpeg.len())
    }
}

impl Sink {
    /// All sinks.
    pub const ALL: [Self; 3] = [Self::Mqtt, Self::Webhook, Self::Command];

    /// Its index in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Its bit in a set of sinks.
    pub(super) fn bit(self) -> u8 {
        1 << self.index()
    }
}
