//! What the system tells us, and what we tell it: signals one way, systemd's notices the other.

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
    pub(super) fn hang_up_asks(&mut self, ask: Ask) {
        if let Some(mut hang_up) = self.hang_up.take() {
            tokio::spawn(async move {
                while hang_up.recv().await.is_some() {
                    ask.look();
                }
            });
        }
    }
}

/// Every source is started, or a change of the configuration is in force (or refused).
pub(super) fn tell_systemd_ready() {
    tell_systemd(&[NotifyState::Ready]);
}

/// The configuration is being read again, until the next [`tell_systemd_ready`].
pub(super) fn tell_systemd_reloading() {
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
