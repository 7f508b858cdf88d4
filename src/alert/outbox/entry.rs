//! What the outbox keeps: an alert ready to be told, with its picture.

use jiff::Timestamp;
use uuid::Uuid;

use crate::alert::{Alert, State, Topics};

/// The place of an alert in the outbox: later ones have higher numbers, and none is used twice.
pub type Seq = i64;

/// An alert, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The alert's identifier.
    pub id: String,
    /// Where it is published.
    pub topic: String,
    /// Its JSON.
    pub payload: String,
    /// The picture that is published before it.
    pub snapshot: Option<Snapshot>,
    /// What is remembered of the label from then on, also when the alert has left.
    pub mark: Option<Mark>,
}

/// How it stands with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The topic of its state.
    pub topic: String,
    /// Whether it is raised.
    pub raised: bool,
}

/// A picture that goes before its alert.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is published.
    pub topic: String,
    /// The picture.
    pub jpeg: Vec<u8>,
}

/// Who is told of alerts; each at its own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sink {
    /// The broker.
    Mqtt,
    /// A web server.
    Webhook,
    /// A program.
    Command,
}

impl Entry {
    /// What is kept of `alert`: where it goes and what it says. The picture goes to the topic that the alert names.
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

    /// When the alert came to be, which its identifier says.
    #[must_use]
    pub fn raised(&self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = Uuid::parse_str(&self.id).ok()?.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    }

    /// What it takes without its snapshot, in bytes; about what SQLite needs beside the texts is counted, too.
    pub(super) fn size(&self) -> u64 {
        const BESIDES: usize = 64;
        (self.id.len() + self.topic.len() + self.payload.len() + BESIDES) as u64
    }

    /// What its snapshot takes, in bytes.
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
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Mqtt, Self::Webhook, Self::Command];

    /// Its place in a list of all.
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Its bit in the set of those who have yet to be told.
    pub(super) fn bit(self) -> u8 {
        1 << self.index()
    }
}
