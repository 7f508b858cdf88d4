//! Announces devices to Home Assistant: at the start of each session, when they change, and when Home Assistant has started.
//!
//! Alerts and retained values are sent first; alerts that Home Assistant could not receive wait for it. What is announced is
//! defined in [`home_assistant`](crate::alert::home_assistant).
//! What the broker may still retain of earlier announcements is kept in a file in the state directory, so that it can be
//! withdrawn also if the configuration changed while the service did not run. (Reading it back from the broker would mean
//! reading all discovery messages, and would miss those under another prefix.) The file is written before the first message
//! and once more after the last: so it never lacks a device that may have been announced.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use super::{
    link::{HomeAssistantStatus, Interrupted, JSON, Link, Message},
    window::readiness::{Readiness, SETTLE},
};
use crate::{
    alert::home_assistant::{Announcement, BIRTH_TOPIC, memory::Memory},
    state_file::StateFile,
};

const FILE: &str = "home_assistant.json";
/// A message is left out after the connection broke this often while it was sent: some brokers hang up on a packet that is too
/// large for them.
const TRIES: u32 = 3;

/// Sets what is announced to Home Assistant. A clone sets the same.
#[derive(Debug, Clone)]
pub struct Announcer {
    wanted: Arc<watch::Sender<Announcement>>,
}

/// What Home Assistant should know, what it may know, and what is being sent.
pub(super) struct Discovery {
    wanted: watch::Receiver<Announcement>,
    /// Keeps `wanted` open.
    _announcer: Announcer,
    /// The status that Home Assistant publishes, once we have subscribed to it.
    home_assistant: Option<watch::Receiver<HomeAssistantStatus>>,
    /// The last status that was passed on.
    noticed: HomeAssistantStatus,
    file: StateFile,
    memory: Memory,
    /// The announcement of this round.
    current: Announcement,
    /// A round is to begin.
    due: bool,
    queue: VecDeque<DiscoveryMessage>,
    /// Home Assistant has removed what was withdrawn at this time.
    withdrawn_at: Option<Instant>,
    /// A message of this round was refused or left out.
    incomplete: bool,
    /// How often each message was sent and neither accepted nor refused.
    tries: HashMap<String, u32>,
}

/// A message to be sent.
struct DiscoveryMessage {
    topic: String,
    payload: String,
    /// It removes a device or an entity.
    withdraws: bool,
}

/// What was sent, or left out.
enum Sent {
    /// Something is withdrawn.
    Withdrawal,
    /// The device with this topic, and whether the broker has it.
    Device(String, bool),
}

/// When the retained topics of what was withdrawn may be cleared. Before that Home Assistant would report errors about entities
/// whose payloads are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clears {
    /// Now.
    Now,
    /// At this time.
    At(Instant),
    /// After more messages were sent.
    Later,
}

impl Announcer {
    /// Announces `announcement` first.
    #[must_use]
    pub fn new(announcement: Announcement) -> Self {
        Self { wanted: Arc::new(watch::Sender::new(announcement)) }
    }

    /// Replaces the announcement; what the new one lacks is withdrawn.
    pub fn announce(&self, announcement: Announcement) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != announcement;
            *wanted = announcement;
            changed
        });
    }
}

impl Discovery {
    pub fn new(announcer: &Announcer, state_dir: &Path) -> Self {
        let (file, memory) = StateFile::load(
            state_dir,
            FILE,
            "what you remove from the configuration may stay in Home Assistant",
        );
        Self {
            wanted: announcer.wanted.subscribe(),
            _announcer: announcer.clone(),
            home_assistant: None,
            noticed: HomeAssistantStatus::default(),
            memory,
            current: Announcement::default(),
            file,
            due: true,
            queue: VecDeque::new(),
            withdrawn_at: None,
            incomplete: false,
            tries: HashMap::new(),
        }
    }

    /// A session starts: the broker may have lost its retained messages. Nothing may be unacknowledged.
    pub fn start_over(&mut self, link: &Link, readiness: &mut Readiness) {
        (self.home_assistant, self.due, self.withdrawn_at) = (None, true, None);
        let wanted = !self.wanted.borrow().is_empty();
        if wanted {
            // Before anything else is published, so that a birth message is missed as rarely as possible.
            self.subscribe(link);
        }
        readiness.connected(wanted, Instant::now().into_std());
    }

    /// Waits until there is something to announce, or Home Assistant has published a status.
    pub async fn changed(&mut self) {
        let home_assistant = &mut self.home_assistant;
        let published = async {
            let published = match home_assistant {
                Some(status) => status.changed().await.is_ok(),
                None => false,
            };
            if !published {
                // There is no subscription, or the session is over.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            _ = self.wanted.changed() => self.due = true,
            () = published => {}
        }
    }

    /// Passes on to `readiness` what Home Assistant published, and what is to be announced. To be called before alerts are sent.
    pub fn follow(&mut self, readiness: &mut Readiness) {
        let now = Instant::now().into_std();
        if let Some(status) = &self.home_assistant {
            let status = *status.borrow();
            if status.births != self.noticed.births {
                tracing::debug!("Home Assistant has started");
                self.due = true;
                readiness.born();
            }
            if status.gone && status != self.noticed {
                tracing::debug!("Home Assistant is offline; alerts wait for it for some seconds");
                readiness.gone(now);
            }
            self.noticed = status;
        }
        if self.due || self.wanted.has_changed().unwrap_or(false) {
            readiness.announcing(self.wanted.borrow().alert_topics(), now);
        }
    }

    /// When the topics of removed sources and labels may be cleared.
    pub fn clears(&self) -> Clears {
        if self.due || self.wanted.has_changed().unwrap_or(false) || self.queue.iter().any(|it| it.withdraws)
        {
            return Clears::Later;
        }
        match self.withdrawn_at {
            Some(at) if at > Instant::now() => Clears::At(at),
            _ => Clears::Now,
        }
    }

    /// Sends the next discovery message, if there is one, and returns whether there are more. One at a time: an alert never
    /// waits for more than one.
    pub async fn send_next(
        &mut self,
        link: &Link,
        broker: &str,
        readiness: &mut Readiness,
    ) -> Result<bool, Interrupted> {
        if self.due || self.wanted.has_changed().unwrap_or(false) {
            self.begin(link).await;
        }
        let Some(message) = self.queue.pop_front() else { return Ok(false) };
        let announced = self.send(message, link, broker).await?;
        let now = Instant::now();
        match announced {
            Sent::Withdrawal => self.withdrawn_at = Some(now + SETTLE),
            Sent::Device(topic, true) => {
                readiness.announced(self.current.alert_topics_of(&topic), now.into_std());
            }
            Sent::Device(topic, false) => {
                readiness.unannounced(self.current.alert_topics_of(&topic), now.into_std());
            }
        }
        if self.queue.is_empty() && !self.incomplete {
            // What was withdrawn may be forgotten.
            self.remember(Memory::of(&self.current)).await;
        }
        Ok(!self.queue.is_empty())
    }

    /// Sends `message`, or leaves it out.
    async fn send(
        &mut self,
        message: DiscoveryMessage,
        link: &Link,
        broker: &str,
    ) -> Result<Sent, Interrupted> {
        let DiscoveryMessage { topic, payload, withdraws } = message;
        let (size, mut accepted) = (payload.len(), false);
        let tries = self.tries.entry(topic.clone()).or_default();
        if *tries < TRIES {
            *tries += 1;
            let message = Message { topic: &topic, retain: true, kind: JSON, expiry: None };
            let answer = link.deliver(message, payload.into_bytes()).await?;
            self.tries.remove(&topic);
            accepted = answer.is_ok();
            if let Err(refusal) = answer {
                self.incomplete = true;
                tracing::warn!(broker, topic, size, why = %refusal, "the broker refuses an announcement to Home Assistant");
            }
        } else {
            // The one place where a discovery message is dropped: alerts must not wait for ever behind a message on which
            // the broker hangs up. It is sent again when the announcement changes.
            self.incomplete = true;
            tracing::warn!(
                broker,
                topic,
                size,
                "a device is not announced to Home Assistant: the connection broke {TRIES} times while it was sent"
            );
        }
        Ok(if withdraws { Sent::Withdrawal } else { Sent::Device(topic, accepted) })
    }

    /// Begins a round: first what is withdrawn, then the whole announcement.
    async fn begin(&mut self, link: &Link) {
        let wanted = self.wanted.borrow_and_update().clone();
        if !wanted.is_empty() && self.home_assistant.is_none() {
            self.subscribe(link);
        }
        if wanted != self.current {
            self.tries.clear();
        }
        let message = |withdraws| move |(topic, payload)| DiscoveryMessage { topic, payload, withdraws };
        let withdrawals = self.memory.withdrawals(&wanted).into_iter().map(message(true));
        self.queue = withdrawals.chain(wanted.messages().map(message(false))).collect();
        (self.due, self.incomplete) = (false, false);
        self.remember(self.memory.with(&wanted)).await;
        self.current = wanted;
    }

    fn subscribe(&mut self, link: &Link) {
        self.home_assistant = Some(link.home_assistant(BIRTH_TOPIC));
        self.noticed = HomeAssistantStatus::default();
    }

    async fn remember(&mut self, memory: Memory) {
        if memory == self.memory {
            return;
        }
        self.memory = memory;
        let (mut file, memory) = (self.file.clone(), self.memory.clone());
        // The disk blocks, and must not block the runtime. It panics only with the program.
        let _ = spawn_blocking(move || file.save(&memory)).await;
    }
}
