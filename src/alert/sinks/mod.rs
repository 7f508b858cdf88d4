//! Sinks besides the broker: a web server and a program, each told of every alert, in order, at its own pace.
//!
//! What they have leaves the outbox; what could not be told is told later, however long that takes. One alert that is
//! refused again and again is held, and the others go past it. It refuses to know what an alert says.

mod command;
mod webhook;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{command::Program, webhook::Server};
use super::{
    outbox::{Entry, Outbox, Seq, Sink},
    publisher::{jitter, outage::Reminder},
};
use crate::{
    backoff::Backoff,
    config::{Command, Webhook},
};

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// An alert that was refused so often is held, and those behind it go first.
const REFUSALS: u32 = 5;
/// A held alert is told again after so long.
const HELD: Duration = Duration::from_secs(10 * 60);
/// So many alerts are read at a time.
const BATCH: usize = 16;

/// Tells one sink.
pub struct Teller {
    sink: Sink,
    target: Target,
    /// Who it is, for people.
    name: String,
    cursor: Seq,
    rewound: u64,
    backoff: Backoff,
    refusals: u32,
    held: VecDeque<(Instant, Seq)>,
    reminder: Reminder,
    failing: bool,
}

enum Target {
    Server(Server),
    Program(Program),
}

/// Why an alert was not taken.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// It could be that nobody was there: the next alert would not be taken either.
    Away(String),
    /// This alert was looked at and not taken.
    Refused(String),
}

impl Teller {
    /// Posts alerts to a web server.
    #[must_use]
    pub fn webhook(settings: &Webhook) -> Self {
        let name = format!("the webhook {}", settings.address);
        Self::new(Sink::Webhook, Target::Server(Server::new(settings)), name)
    }

    /// Starts a program for each alert.
    #[must_use]
    pub fn command(settings: &Command) -> Self {
        let name = format!("the command {}", settings.program.display());
        Self::new(Sink::Command, Target::Program(Program::new(settings)), name)
    }

    fn new(sink: Sink, target: Target, name: String) -> Self {
        Self {
            sink,
            target,
            name,
            cursor: 0,
            rewound: 0,
            backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY),
            refusals: 0,
            held: VecDeque::new(),
            reminder: Reminder::default(),
            failing: false,
        }
    }

    /// Tells until `stop`; then what is left, within `grace`, as long as it is taken.
    pub async fn run(mut self, outbox: Arc<Outbox>, stop: CancellationToken, grace: Duration) {
        tokio::select! {
            () = self.tell_all(&outbox, &stop) => {}
            () = async { stop.cancelled().await; sleep(grace).await } => {}
        }
        let waiting = outbox.waiting_for(self.sink);
        if waiting > 0 {
            tracing::warn!(waiting, "alerts for {} wait on disk and are told at the next start", self.name);
        }
    }

    /// The one loop that tries again.
    async fn tell_all(&mut self, outbox: &Arc<Outbox>, stop: &CancellationToken) {
        loop {
            // Asked first: what was there before `stop` is seen below.
            let leaving = stop.is_cancelled();
            match self.tell_next(outbox).await {
                Ok(true) => {}
                Ok(false) if leaving => return,
                Ok(false) => {
                    let held = self.held.front().map(|(due, _)| *due);
                    tokio::select! {
                        () = outbox.appended(self.sink) => {}
                        () = until(held) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(_) if leaving => return,
                Err(pause) => tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.cancelled() => {}
                },
            }
        }
    }

    /// Tells the next alert. `Ok(false)`: there is none. `Err`: it was not taken; so long to wait.
    async fn tell_next(&mut self, outbox: &Arc<Outbox>) -> Result<bool, Duration> {
        let (sink, rewound) = (self.sink, outbox.rewound());
        if self.rewound != rewound {
            (self.rewound, self.cursor) = (rewound, 0);
            self.held.clear();
        }
        let (after, held) = (self.cursor, self.held.front().copied());
        let held = held.filter(|(due, _)| *due <= Instant::now()).map(|(_, seq)| seq);
        let found = match (held, outbox.peek(sink, after, BATCH)) {
            (None, Some(found)) => found.into_iter().next(),
            _ => {
                let outbox = Arc::clone(outbox);
                let read = move || match held {
                    Some(seq) => outbox.get(sink, seq).map(|entry| (seq, entry)),
                    None => outbox.read(sink, after, 1).into_iter().next(),
                };
                spawn_blocking(read).await.unwrap_or_default()
            }
        };
        if held.is_some() {
            self.held.pop_front();
        }
        let Some((seq, entry)) = found else { return Ok(held.is_some()) };
        match self.target.tell(&entry).await {
            Ok(()) => {
                tracing::info!(id = entry.id, "{} was told of an alert", self.name);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(waiting = outbox.waiting_for(sink), "{} takes alerts again", self.name);
                }
                self.cursor = self.cursor.max(seq);
                (self.refusals, self.backoff) = (0, Backoff::new(FIRST_DELAY, LONGEST_DELAY));
                let outbox = Arc::clone(outbox);
                let _ = spawn_blocking(move || outbox.remove(sink, &[seq])).await;
                Ok(true)
            }
            Err(failure) => Err(self.failed(outbox, seq, &entry, held.is_some(), &failure)),
        }
    }

    fn failed(
        &mut self,
        outbox: &Outbox,
        seq: Seq,
        entry: &Entry,
        held: bool,
        failure: &Failure,
    ) -> Duration {
        let (Failure::Away(why) | Failure::Refused(why)) = failure;
        self.failing = true;
        if self.reminder.due(Instant::now()) {
            let waiting = outbox.waiting_for(self.sink);
            tracing::warn!(
                id = entry.id,
                why,
                waiting,
                "{} does not take an alert; it is told again later",
                self.name
            );
        }
        let refused = matches!(failure, Failure::Refused(_));
        if held {
            self.held.push_back((Instant::now() + HELD, seq));
        } else if refused {
            self.refusals += 1;
            if self.refusals >= REFUSALS {
                tracing::error!(
                    id = entry.id,
                    why,
                    "{} refused an alert {REFUSALS} times: others go first",
                    self.name
                );
                self.refusals = 0;
                self.cursor = seq;
                self.backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
                self.held.push_back((Instant::now() + HELD, seq));
                return Duration::ZERO;
            }
        }
        self.backoff.failed(jitter())
    }
}

impl Target {
    async fn tell(&self, entry: &Entry) -> Result<(), Failure> {
        match self {
            Self::Server(server) => server.post(entry).await,
            Self::Program(program) => program.start(entry).await,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
