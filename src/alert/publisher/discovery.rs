//! Tells Home Assistant what there is: at the start of each session, when it changes, and when Home Assistant says that
//! it has started.
//!
//! It refuses to come before alerts or the board, and to decide what is told ([`home_assistant`](crate::alert::home_assistant)).
//! What the broker may still hold of earlier times stands in a file in the state directory, so that it can be taken back
//! also if the configuration changed while nobody ran. (Reading it back from the broker would mean everybody's
//! discovery messages, and would not find those under another prefix.) The file is written before the first message and
//! once more after the last: whenever it ends, nothing that may have been told is forgotten.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::watch, task::spawn_blocking};

use super::{
    Interrupted, Publisher,
    link::{Link, Message},
};
use crate::{
    alert::home_assistant::{Announcement, BIRTH_TOPIC, memory::Memory},
    atomic_file,
};

const FILE: &str = "home_assistant.json";
/// A message during which the session broke so often is left out: some brokers hang up on what is too large for them.
const TRIES: u32 = 3;

/// Where what Home Assistant should know is put. A clone writes to the same place.
#[derive(Debug, Clone)]
pub struct Announcer {
    wanted: Arc<watch::Sender<Announcement>>,
}

/// What Home Assistant should know, what it may know, and what is on the way.
pub(super) struct Discovery {
    wanted: watch::Receiver<Announcement>,
    /// Never written; as long as it is here the news do not end.
    _announcer: Announcer,
    births: Option<watch::Receiver<u64>>,
    file: PathBuf,
    memory: Memory,
    /// What this round tells.
    telling: Announcement,
    /// The whole round is to be told from the beginning.
    due: bool,
    queue: VecDeque<(String, String)>,
    /// Of this round something was refused or left out.
    incomplete: bool,
    /// How often each message was sent and neither taken nor refused.
    tries: HashMap<String, u32>,
}

impl Announcer {
    /// Begins with `announcement`.
    #[must_use]
    pub fn new(announcement: Announcement) -> Self {
        Self { wanted: Arc::new(watch::Sender::new(announcement)) }
    }

    /// From now on this is told; what it lacks is taken back.
    pub fn announce(&self, announcement: Announcement) {
        self.wanted.send_if_modified(|wanted| {
            let news = *wanted != announcement;
            *wanted = announcement;
            news
        });
    }
}

impl Discovery {
    pub(super) fn new(announcer: &Announcer, state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        Self {
            wanted: announcer.wanted.subscribe(),
            _announcer: announcer.clone(),
            births: None,
            memory: recall(&file),
            telling: Announcement::default(),
            file,
            due: true,
            queue: VecDeque::new(),
            incomplete: false,
            tries: HashMap::new(),
        }
    }

    /// A new session: the broker may have lost what it had.
    pub(super) fn start_over(&mut self) {
        self.births = None;
        self.due = true;
    }

    /// Waits until there is something to tell.
    pub(super) async fn news(&mut self) {
        let births = &mut self.births;
        let birth = async {
            let heard = match births {
                Some(births) => births.changed().await.is_ok(),
                None => false,
            };
            if !heard {
                // Nobody listens to Home Assistant, or the session is over.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = self.wanted.changed() => {}
            () = birth => tracing::debug!("Home Assistant has started"),
        }
        self.due = true;
    }

    /// Begins a round: first what is taken back, then all there is.
    async fn begin(&mut self, link: &Link) {
        let wanted = self.wanted.borrow_and_update().clone();
        if !wanted.is_empty() && self.births.is_none() {
            self.births = Some(link.births(BIRTH_TOPIC));
        }
        if let Some(births) = &mut self.births {
            births.mark_unchanged();
        }
        if wanted != self.telling {
            self.tries.clear();
        }
        self.queue = self.memory.farewells(&wanted).into_iter().chain(wanted.messages()).collect();
        (self.due, self.incomplete) = (false, false);
        self.remember(self.memory.with(&wanted)).await;
        self.telling = wanted;
    }

    /// Ends a round: what was taken back may be forgotten, if all of it was.
    async fn end(&mut self) {
        if !self.incomplete {
            let told = Memory::of(&self.telling);
            self.remember(told).await;
        }
    }

    async fn remember(&mut self, memory: Memory) {
        if memory == self.memory {
            return;
        }
        self.memory = memory;
        let (file, text) = (self.file.clone(), self.memory.to_json());
        // The disk blocks, and the runtime has other things to do.
        if let Ok(Err(error)) = spawn_blocking(move || atomic_file::write(&file, &text)).await {
            let file = self.file.display();
            tracing::warn!(%file, %error, "what Home Assistant was told is not on disk: make the file writable, or what you \
                remove from the configuration may stay in Home Assistant");
        }
    }
}

impl Publisher {
    /// Sends the next discovery message, if there is one. One at a time: an alert never waits for more than that.
    pub(super) async fn announce_next(&mut self, link: &Link) -> Result<bool, Interrupted> {
        let Some(discovery) = &mut self.discovery else { return Ok(false) };
        if discovery.wanted.has_changed().unwrap_or(false) || discovery.due {
            discovery.begin(link).await;
        }
        let Some((topic, payload)) = discovery.queue.pop_front() else { return Ok(false) };
        let size = payload.len();
        let tries = discovery.tries.entry(topic.clone()).or_default();
        if *tries < TRIES {
            *tries += 1;
            let answer = link
                .deliver(
                    Message { topic: &topic, retain: true, kind: super::JSON, expiry: None },
                    payload.into_bytes(),
                )
                .await?;
            discovery.tries.remove(&topic);
            if let Err(refusal) = answer {
                discovery.incomplete = true;
                tracing::warn!(broker = self.url, topic, size, why = %refusal, "Home Assistant cannot be told: the broker refuses it");
            }
        } else {
            // The one place where a discovery message is dropped: alerts must not wait for ever behind what the broker
            // hangs up on. It is tried again when something else is to be told.
            discovery.incomplete = true;
            tracing::warn!(
                broker = self.url,
                topic,
                size,
                "Home Assistant is not told of this: the connection broke {TRIES} times while it was sent"
            );
        }
        if discovery.queue.is_empty() {
            discovery.end().await;
        }
        Ok(!discovery.queue.is_empty())
    }
}

/// What is known from before; nothing, and that said, if the file cannot be understood.
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
    tracing::warn!(%file, why, "what Home Assistant was told earlier is not known: what you removed from the configuration \
        since may stay in Home Assistant");
    Memory::default()
}
