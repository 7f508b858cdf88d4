//! Announces devices to Home Assistant: all of them at the start of each session and when Home Assistant has started, and those
//! that change.
//!
//! Alerts and retained values are sent first; alerts that Home Assistant could not receive wait for it. What is announced is
//! defined in [`home_assistant`](crate::alert::home_assistant).
//! What the broker may still retain of earlier announcements is kept in a file in the state directory, so that it can be
//! withdrawn also if the configuration changed while the service did not run. (Reading it back from the broker would mean
//! reading all discovery messages, and would miss those under another prefix.) The file is written before the first message
//! and once more after the last: so it never lacks a device that may have been announced. Messages wait for the disk; alerts do
//! not.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    link::{HomeAssistantStatus, Interrupted, JSON, Link, Message},
    window::readiness::{Readiness, SETTLE},
};
use crate::{
    alert::home_assistant::{Announcement, BIRTH_TOPIC, Difference, memory::Memory},
    blocking,
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
    file: MemoryFile,
    /// The announcement of this round.
    current: Announcement,
    /// What the broker has accepted in this session, and since Home Assistant has started.
    accepted: Announcement,
    /// What [`Discovery::follow`] passed on last; `None`: everything is to be passed on.
    passed_on: Option<Announcement>,
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
            file: MemoryFile { file, memory, writing: None, changed: false },
            current: Announcement::default(),
            accepted: Announcement::default(),
            passed_on: None,
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
        (self.accepted, self.passed_on) = (Announcement::default(), None);
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
            () = self.file.written() => {}
        }
    }

    /// Passes on to `readiness` what Home Assistant published, and what is to be announced. To be called before alerts are sent.
    pub fn follow(&mut self, readiness: &mut Readiness) {
        let now = Instant::now().into_std();
        if let Some(status) = &self.home_assistant {
            let status = *status.borrow();
            if status.births != self.noticed.births {
                tracing::debug!("Home Assistant has started");
                (self.due, self.accepted) = (true, Announcement::default());
                readiness.born();
            }
            if status.gone && status != self.noticed {
                tracing::debug!("Home Assistant is offline; alerts wait for it for some seconds");
                readiness.gone(now);
            }
            self.noticed = status;
        }
        let wanted = self.wanted.borrow();
        match &self.passed_on {
            None => readiness.announcing(wanted.alert_topics(), now),
            Some(known) if *known == *wanted => return,
            Some(known) => {
                let Difference { added, removed } = wanted.difference(known);
                readiness.announcing_also(&added, &removed, now);
            }
        }
        let passed_on = wanted.clone();
        drop(wanted);
        self.passed_on = Some(passed_on);
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

    /// Sends the next discovery message, if there is one, and returns whether it did. One at a time: an alert never waits for more
    /// than one.
    pub async fn send_next(
        &mut self,
        link: &Link,
        broker: &str,
        readiness: &mut Readiness,
    ) -> Result<bool, Interrupted> {
        if self.due || self.wanted.has_changed().unwrap_or(false) {
            self.begin(link);
        }
        // The disk is first. [`Self::changed`] reports when it is done.
        if self.file.is_behind().await {
            return Ok(false);
        }
        let Some(message) = self.queue.pop_front() else { return Ok(false) };
        let announced = self.send(message, link, broker).await?;
        let now = Instant::now();
        match announced {
            Sent::Withdrawal => self.withdrawn_at = Some(now + SETTLE),
            Sent::Device(topic, true) => {
                self.accepted.take_over(&topic, &self.current);
                readiness.announced(self.current.alert_topics_of(&topic), now.into_std());
            }
            Sent::Device(topic, false) => {
                readiness.unannounced(self.current.alert_topics_of(&topic), now.into_std());
            }
        }
        if self.queue.is_empty() && !self.incomplete {
            // What was withdrawn may be forgotten.
            self.file.remember(Memory::of(&self.current));
        }
        // Alerts that waited for this device may be due earlier now.
        Ok(true)
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

    /// Begins a round: first what is withdrawn, then the devices that the broker has not accepted as they are now.
    fn begin(&mut self, link: &Link) {
        let wanted = self.wanted.borrow_and_update().clone();
        if !wanted.is_empty() && self.home_assistant.is_none() {
            self.subscribe(link);
        }
        if wanted != self.current {
            self.tries.clear();
        }
        let message = |withdraws| move |(topic, payload)| DiscoveryMessage { topic, payload, withdraws };
        let withdrawals = self.file.memory.withdrawals(&wanted);
        // A device is sent again after what it no longer has was withdrawn.
        withdrawals.iter().for_each(|(topic, _)| self.accepted.take_over(topic, &Announcement::default()));
        let devices = wanted.messages_besides(&self.accepted).into_iter().map(message(false));
        self.queue = withdrawals.into_iter().map(message(true)).chain(devices).collect();
        (self.due, self.incomplete) = (false, false);
        self.file.remember(self.file.memory.with(&wanted));
        self.current = wanted;
    }

    fn subscribe(&mut self, link: &Link) {
        self.home_assistant = Some(link.home_assistant(BIRTH_TOPIC));
        self.noticed = HomeAssistantStatus::default();
    }
}

/// The memory, and the file that has it. The file is written on another thread, one write at a time.
struct MemoryFile {
    file: StateFile,
    memory: Memory,
    writing: Option<JoinHandle<()>>,
    /// The memory has changed since the newest write began.
    changed: bool,
}

impl MemoryFile {
    /// Replaces the memory, and writes it unless it is the same.
    fn remember(&mut self, memory: Memory) {
        if memory != self.memory {
            (self.memory, self.changed) = (memory, true);
            self.write();
        }
    }

    /// Starts a write, if one is needed and none is in progress.
    fn write(&mut self) {
        if self.writing.is_none() && std::mem::take(&mut self.changed) {
            let (mut file, memory) = (self.file.clone(), self.memory.clone());
            self.writing = Some(blocking::spawn(move || file.save(&memory)));
        }
    }

    /// Waits until a write ends; for ever if none is in progress.
    async fn written(&mut self) {
        match &mut self.writing {
            Some(writing) => {
                // It panics only with the program.
                let _ = writing.await;
                self.writing = None;
                self.write();
            }
            None => std::future::pending().await,
        }
    }

    /// Whether the file does not have the memory yet.
    async fn is_behind(&mut self) -> bool {
        while self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.written().await;
        }
        self.writing.is_some()
    }
}
