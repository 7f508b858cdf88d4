//! Sinks besides the broker: a webhook and a command. Each gets every alert, in order, at its own pace.
//!
//! What a sink has accepted is deleted from the outbox for it; what it has not is sent again, however long that takes.

mod command;
mod schedule;
#[cfg(test)]
mod tests;
mod webhook;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::{
    command::Program,
    schedule::{Failure, Next, REFUSALS, Retry, Schedule},
    webhook::Endpoint,
};
use super::{
    outage::Reminder,
    outbox::{Entry, Outbox, Seq, Sink},
};
use crate::{
    backoff::jitter,
    blocking,
    config::{Command, Webhook},
};

/// Returns whether it accepts an alert.
#[cfg(test)]
pub(crate) type Receiver = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// Sends alerts to one sink.
pub struct SinkWorker {
    sink: Sink,
    target: Target,
    /// For the log.
    name: String,
    schedule: Schedule,
    reminder: Reminder,
    failing: bool,
}

enum Target {
    Webhook(Endpoint),
    Command(Program),
    #[cfg(test)]
    Script(tests::Script),
    #[cfg(test)]
    Receiver(Receiver),
}

impl SinkWorker {
    /// Posts alerts to a web server.
    #[must_use]
    pub fn webhook(settings: &Webhook) -> Self {
        let name = format!("the webhook {}", settings.address);
        Self::new(Sink::Webhook, Target::Webhook(Endpoint::new(settings)), name)
    }

    /// Starts a program for each alert.
    #[must_use]
    pub fn command(settings: &Command) -> Self {
        let name = format!("the command {}", settings.program.display());
        Self::new(Sink::Command, Target::Command(Program::new(settings)), name)
    }

    /// Passes alerts to a test instead of a webhook.
    #[cfg(test)]
    pub(crate) fn receiver(receiver: Receiver) -> Self {
        Self::new(Sink::Webhook, Target::Receiver(receiver), "the test".to_owned())
    }

    fn new(sink: Sink, target: Target, name: String) -> Self {
        let schedule = Schedule::new(jitter);
        Self { sink, target, name, schedule, reminder: Reminder::default(), failing: false }
    }

    /// Sends alerts until `stop`; then what is left, within `grace`, as long as the sink accepts it.
    pub async fn run(mut self, outbox: Arc<Outbox>, stop: CancellationToken, grace: Duration) {
        tokio::select! {
            biased;
            () = self.send_all(&outbox, &stop) => {}
            () = async { stop.cancelled().await; sleep(grace).await } => {}
        }
        let waiting = outbox.waiting_for(self.sink);
        if waiting > 0 && outbox.status().borrow().is_on_disk() {
            tracing::warn!(waiting, "alerts for {} wait on disk and are sent at the next start", self.name);
        }
    }

    /// The one loop that tries again.
    async fn send_all(&mut self, outbox: &Arc<Outbox>, stop: &CancellationToken) {
        loop {
            // Before the outbox is read: so everything that was appended before `stop` is seen.
            let stopping = stop.is_cancelled();
            let pause = match self.send_next(outbox).await {
                Ok(true) => continue,
                Ok(false) => None,
                Err(pause) => Some(pause),
            };
            if stopping {
                return;
            }
            let wait = async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => outbox.appended(self.sink, self.schedule.due().map(Instant::from_std)).await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = wait => {}
            }
        }
    }

    /// Sends the next alert. `Ok(false)`: there is none. `Err`: the sink does not have it; wait this long.
    async fn send_next(&mut self, outbox: &Arc<Outbox>) -> Result<bool, Duration> {
        let next = self.schedule.next(Instant::now().into_std(), outbox.rewound());
        let Some((seq, entry)) = read(outbox, self.sink, next).await else {
            // The outbox dropped the one that was held; there may be others.
            return Ok(matches!(next, Next::Held(_)));
        };
        if let Err(failure) = self.target.send(&entry).await {
            return Err(self.failed(outbox, next, seq, &entry, &failure));
        }
        let subject = entry.subject();
        tracing::info!(
            source = subject.source,
            label_set = subject.label_set,
            label = subject.label,
            score = subject.score,
            id = entry.id,
            "alert sent to {}: {}",
            self.name,
            subject.words
        );
        if std::mem::take(&mut self.failing) {
            outbox.works(self.sink);
            tracing::info!(waiting = outbox.waiting_for(self.sink), "{} accepts alerts again", self.name);
        }
        self.schedule.accepted(seq);
        let (outbox, sink) = (Arc::clone(outbox), self.sink);
        let _ = blocking::run(move || outbox.remove(sink, &[seq])).await;
        Ok(true)
    }

    fn failed(
        &mut self,
        outbox: &Outbox,
        next: Next,
        seq: Seq,
        entry: &Entry,
        failure: &Failure,
    ) -> Duration {
        let (Failure::Unavailable(why) | Failure::Refused(why)) = failure;
        let now = Instant::now().into_std();
        self.failing = true;
        outbox.failed(self.sink, why);
        if self.reminder.due(now) {
            let waiting = outbox.waiting_for(self.sink);
            tracing::warn!(
                id = entry.id,
                why,
                waiting,
                "{} does not accept an alert; it is sent again",
                self.name
            );
        }
        let refused = matches!(failure, Failure::Refused(_));
        let Retry { pause, holds } = self.schedule.failed(next, seq, refused, now);
        if holds {
            tracing::error!(
                id = entry.id,
                why,
                "{} refused an alert {REFUSALS} times: others go first",
                self.name
            );
        }
        pause
    }
}

/// The alert that is next; from the disk, which blocks, if it is not in memory.
async fn read(outbox: &Arc<Outbox>, sink: Sink, next: Next) -> Option<(Seq, Arc<Entry>)> {
    if let Next::After(seq) = next
        && let Some(found) = outbox.peek(sink, seq, 1)
    {
        return found.into_iter().next();
    }
    let outbox = Arc::clone(outbox);
    let read = move || match next {
        Next::Held(seq) => outbox.get(sink, seq).map(|entry| (seq, entry)),
        Next::After(seq) => outbox.read(sink, seq, 1).into_iter().next(),
    };
    blocking::run(read).await.unwrap_or_default()
}

impl Target {
    async fn send(&self, entry: &Entry) -> Result<(), Failure> {
        match self {
            Self::Webhook(endpoint) => endpoint.post(entry).await,
            Self::Command(program) => program.run(entry).await,
            #[cfg(test)]
            Self::Script(script) => script.send(entry),
            #[cfg(test)]
            Self::Receiver(accepts) if accepts(entry) => Ok(()),
            #[cfg(test)]
            Self::Receiver(_) => Err(Failure::Unavailable("it does not accept".to_owned())),
        }
    }
}
