//! What the system tells us, and what we tell it: signals one way, systemd's notices the other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::watch::Ask;

/// The words to stop, and the word to look at the configuration again.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: Some(listen(SignalKind::hangup())?),
        })
    }

    /// The next word to stop.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// From now on SIGHUP asks for a look; one that came before has waited.
    pub(super) fn hang_up_asks(&mut self, ask: Ask, reloads: Reloads) {
        if let Some(mut hang_up) = self.hang_up.take() {
            tokio::spawn(async move {
                while hang_up.recv().await.is_some() {
                    reloads.asked();
                    ask.look();
                }
            });
        }
    }
}

/// What systemd is told of looks at the configuration, so that `systemctl reload` returns when what stood in the files is in
/// force (or refused), and not before.
#[derive(Debug, Clone, Default)]
pub(super) struct Reloads {
    /// How often somebody asked for one.
    asked: Arc<AtomicU64>,
}

/// A look that has begun, by how often somebody had asked for one until then.
#[derive(Debug)]
pub(super) struct Look(u64);

impl Reloads {
    /// Told at once, before a look begins: systemd takes a service that is silent for one that has reloaded.
    fn asked(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
        tell_systemd_reloading();
    }

    /// The files are being read again.
    pub(super) fn begin(&self) -> Look {
        let look = Look(self.asked.load(Ordering::Acquire));
        tell_systemd_reloading();
        look
    }

    /// What that look showed is in force, or was refused. If somebody has asked since, another look is on its way, and it is
    /// the one that answers.
    pub(super) fn done(&self, look: &Look) {
        if self.answers(look) {
            tell_systemd_ready();
        }
    }

    fn answers(&self, look: &Look) -> bool {
        self.asked.load(Ordering::Acquire) == look.0
    }
}

/// Every source is started, or all that was asked for is done.
pub(super) fn tell_systemd_ready() {
    tell_systemd(&[NotifyState::Ready]);
}

fn tell_systemd_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd could not be told"),
    }
}

/// What the service does, in words; `systemctl status` shows them.
pub(super) fn tell_systemd_status(words: &str) {
    tell_systemd(&[NotifyState::Status(words)]);
}

/// Everything gets on with its work.
pub(super) fn feed_watchdog() {
    tell_systemd(&[NotifyState::Watchdog]);
}

pub(super) fn tell_systemd_stopping() {
    tell_systemd(&[NotifyState::Stopping]);
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_answers_those_who_asked_before_it_began() {
        let reloads = Reloads::default();
        let by_itself = reloads.begin();
        assert!(reloads.answers(&by_itself));
        reloads.asked();
        assert!(!reloads.answers(&by_itself), "what it read may be older than what was asked for");
        let asked_for = reloads.begin();
        assert!(reloads.answers(&asked_for));
        reloads.asked();
        reloads.asked();
        assert!(!reloads.answers(&asked_for));
        assert!(reloads.answers(&reloads.begin()), "one look answers several");
    }
}
