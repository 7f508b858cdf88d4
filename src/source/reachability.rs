//! Notices that an unreachable host is reachable again, so that a long pause ends as soon as a camera is back.
//!
//! While a source pauses, this opens a bare TCP connection to its host once a second and closes it at once. A host that
//! was reachable all the time gets one connection in a pause and no more: then something else is wrong, and the pause has
//! its reason.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// The first attempt, soon after the source was lost.
const FIRST: Duration = Duration::from_millis(250);
/// The time between two attempts, and the limit of one attempt.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether a host could be reached.
pub(super) struct Reachability {
    /// Host and port; `None` for a source that connects to none over TCP.
    address: Option<(String, u16)>,
    /// The last attempt failed.
    unreachable: bool,
}

impl Reachability {
    pub(super) fn of(address: Option<(String, u16)>) -> Self {
        Self { address, unreachable: false }
    }

    /// The source delivered in between: forget the earlier attempts.
    pub(super) fn reset(&mut self) {
        self.unreachable = false;
    }

    /// Ends when the host is reachable after it was not. May be dropped at any time without losing state.
    pub(super) async fn restored(&mut self) {
        let Some((host, port)) = self.address.clone() else { return std::future::pending().await };
        self.restored_by(|| TcpStream::connect((host.clone(), port))).await;
    }

    async fn restored_by<T, F: Future<Output = io::Result<T>>>(&mut self, connect: impl Fn() -> F) {
        sleep(FIRST).await;
        loop {
            let attempt = timeout(INTERVAL, connect()).await;
            let was_unreachable = self.unreachable;
            self.unreachable = !attempt.is_ok_and(|connected| connected.is_ok());
            match (was_unreachable, self.unreachable) {
                (true, false) => return,
                (false, false) => return std::future::pending().await,
                (_, true) => sleep(INTERVAL).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Runs with paused time: `timeout` passes at once when nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn only_a_host_that_was_unreachable_is_restored() {
        let minute = Duration::from_secs(60);
        let (is_up, attempts) = (Cell::new(true), Cell::new(0));
        let connect = || {
            attempts.set(attempts.get() + 1);
            let is_up = is_up.get();
            async move { if is_up { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) } }
        };
        let mut host = Reachability::of(None);
        assert!(timeout(minute, host.restored_by(connect)).await.is_err(), "it was reachable all the time");
        assert_eq!(attempts.replace(0), 1, "one connection in a pause");
        is_up.set(false);
        assert!(timeout(minute, host.restored_by(connect)).await.is_err(), "it is unreachable");
        assert!(attempts.get() > 50 && host.unreachable);
        is_up.set(true);
        timeout(minute, host.restored_by(connect)).await.unwrap();
        assert!(timeout(minute, host.restored_by(connect)).await.is_err(), "reported once");

        is_up.set(false);
        assert!(timeout(minute, host.restored_by(connect)).await.is_err());
        host.reset();
        is_up.set(true);
        assert!(timeout(minute, host.restored_by(connect)).await.is_err(), "the source delivered in between");
        assert!(timeout(minute, host.restored()).await.is_err(), "no address");
    }
}
