//! Announces devices to Home Assistant: at the start of each session, when they change, and when Home Assistant has started.
//!
//! Alerts and retained values go first. What is announced is defined in [`home_assistant`](crate::alert::home_assistant).
//! What the broker may still retain of earlier announcements is kept in a file in the state directory, so that it can be
//! withdrawn also if the configuration changed while the service did not run. (Reading it back from the broker would mean
//! reading all discovery messages, and would miss those under another prefix.) The file is written before the first message
//! and once more after the last: so it never lacks a device that may have been announced.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::watch, task::spawn_blocking};

use super::link::{Interrupted, JSON, Link, Message};
use crate::{
    alert::home_assistant::{Announcement, BIRTH_TOPIC, memory::Memory},
    atomic_file,
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
    births: Option<watch::Receiver<u64>>,
    file: PathBuf,
    memory: Memory,
    /// The announcement of this round.
    current: Announcement,
    /// A round is to begin.
    due: bool,
    queue: VecDeque<(String, String)>,
    /// A message of this round was refused or left out.
    incomplete: bool,
    /// How often each message was sent and neither accepted nor refused.
    tries: HashMap<String, u32>,
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
        let file = state_dir.join(FILE);
        Self {
            wanted: announcer.wanted.subscribe(),
            _announcer: announcer.clone(),
            births: None,
            memory: recall(&file),
            current: Announcement::default(),
            file,
            due: true,
            queue: VecDeque::new(),
            incomplete: false,
            tries: HashMap::new(),
        }
    }

    /// A session starts: the broker may have lost its retained messages.
    pub fn start_over(&mut self) {
        self.births = None;
        self.due = true;
    }

    /// Waits until there is something to announce.
    pub async fn changed(&mut self) {
        let births = &mut self.births;
        let birth = async {
            let born = match births {
                Some(births) => births.changed().await.is_ok(),
                None => false,
            };
            if !born {
                // There is no subscription, or the session is over.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.wanted.changed() => {}
            () = birth => tracing::debug!("Home Assistant has started"),
        }
        self.due = true;
    }

    /// Sends the next discovery message, if there is one, and returns whether there are more. One at a time: an alert never
    /// waits for more than one.
    pub async fn send_next(&mut self, link: &Link, broker: &str) -> Result<bool, Interrupted> {
        if self.due || self.wanted.has_changed().unwrap_or(false) {
            self.begin(link).await;
        }
        let Some((topic, payload)) = self.queue.pop_front() else { return Ok(false) };
        let size = payload.len();
        let tries = self.tries.entry(topic.clone()).or_default();
        if *tries < TRIES {
            *tries += 1;
            let message = Message { topic: &topic, retain: true, kind: JSON, expiry: None };
            let answer = link.deliver(message, payload.into_bytes()).await?;
            self.tries.remove(&topic);
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
        if self.queue.is_empty() && !self.incomplete {
            // What was withdrawn may be forgotten.
            self.remember(Memory::of(&self.current)).await;
        }
        Ok(!self.queue.is_empty())
    }

    /// Begins a round: first what is withdrawn, then the whole announcement.
    async fn begin(&mut self, link: &Link) {
        let wanted = self.wanted.borrow_and_update().clone();
        if !wanted.is_empty() && self.births.is_none() {
            self.births = Some(link.births(BIRTH_TOPIC));
        }
        if let Some(births) = &mut self.births {
            births.mark_unchanged();
        }
        if wanted != self.current {
            self.tries.clear();
        }
        self.queue = self.memory.withdrawals(&wanted).into_iter().chain(wanted.messages()).collect();
        (self.due, self.incomplete) = (false, false);
        self.remember(self.memory.with(&wanted)).await;
        self.current = wanted;
    }

    async fn remember(&mut self, memory: Memory) {
        if memory == self.memory {
            return;
        }
        self.memory = memory;
        let (file, text) = (self.file.clone(), self.memory.to_json());
        // The disk blocks, and must not block the runtime.
        if let Ok(Err(error)) = spawn_blocking(move || atomic_file::write(&file, text)).await {
            let file = self.file.display();
            tracing::warn!(%file, %error, "what was announced to Home Assistant is not on disk: make the file writable, or what \
                you remove from the configuration may stay in Home Assistant");
        }
    }
}

/// Reads the file. If it is invalid, that is logged and nothing is known.
fn recall(file: &Path) -> Memory {
    let why = match fs::read_to_string(file) {
        Ok(text) => match Memory::from_json(&text) {
            Some(memory) => return memory,
            None => "it was not written by this program".to_owned(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Memory::default(),
        Err(error) => error.to_string(),
    };
    let file = file.display();
    tracing::warn!(%file, why, "what was announced to Home Assistant earlier is unknown: what you removed from the \
        configuration since may stay in Home Assistant");
    Memory::default()
}
