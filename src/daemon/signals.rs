//! Signals from the system, and notifications to systemd.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{config::watch::Ask, terminal};

/// The signals that stop the service, and the one that reloads its configuration.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Registers for the signals. A signal that arrives later waits until it is awaited.
    pub(super) fn new() -> anyhow::Result<Self> {
        let register = |kind| signal(kind).context("cannot register for signals");
        Ok(Self {
            terminate: register(SignalKind::terminate())?,
            interrupt: register(SignalKind::interrupt())?,
            hang_up: Some(register(SignalKind::hangup())?),
        })
    }

    /// Waits for a stop signal and returns its name.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Each SIGHUP requests a check of the configuration, including one that arrived before this call.
    pub(super) fn reload_on_hang_up(&mut self, ask: Ask, reloads: Reloads) {
        if let Some(mut hang_up) = self.hang_up.take() {
            tokio::spawn(async move {
                while hang_up.recv().await.is_some() {
                    reloads.requested();
                    ask.look();
                }
            });
        }
    }
}

/// Reports reloads to systemd, so that `systemctl reload` returns when the configuration is in force or rejected, and not before.
#[derive(Debug, Clone, Default)]
pub(super) struct Reloads {
    /// The number of requests.
    requested: Arc<AtomicU64>,
}

/// A check of the configuration that has begun, with the number of requests before it.
#[derive(Debug)]
pub(super) struct ConfigCheck(u64);

impl Reloads {
    /// A check was requested. Reported at once: systemd counts a service that reports nothing as reloaded.
    fn requested(&self) {
        self.requested.fetch_add(1, Ordering::AcqRel);
        notify_reloading();
    }

    /// The files are read again.
    pub(super) fn begin(&self) -> ConfigCheck {
        let check = ConfigCheck(self.requested.load(Ordering::Acquire));
        notify_reloading();
        check
    }

    /// The result of `check` is in force, or was rejected. If there was another request since, another check follows and
    /// answers it.
    pub(super) fn done(&self, check: &ConfigCheck) {
        if self.answers(check) {
            notify_ready();
        }
    }

    fn answers(&self, check: &ConfigCheck) -> bool {
        self.requested.load(Ordering::Acquire) == check.0
    }
}

/// Every source is started, or every requested reload is done.
pub(super) fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot notify systemd"),
    }
}

/// Sets the line that `systemctl status` shows.
pub(super) fn notify_status(line: &str) {
    notify(&[NotifyState::Status(&terminal::one_line(line))]);
}

/// Every part makes progress.
pub(super) fn feed_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// The service is stopping.
pub(super) fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_answers_the_requests_before_it() {
        let reloads = Reloads::default();
        let unrequested = reloads.begin();
        assert!(reloads.answers(&unrequested));
        reloads.requested();
        assert!(!reloads.answers(&unrequested), "it may have read the files before the request");
        let requested = reloads.begin();
        assert!(reloads.answers(&requested));
        reloads.requested();
        reloads.requested();
        assert!(!reloads.answers(&requested));
        assert!(reloads.answers(&reloads.begin()), "one check answers several requests");
    }
}
