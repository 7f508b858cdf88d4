//! Notices that a host which could not be reached can be reached again, so that nobody waits out a long pause before a
//! camera that is back.
//!
//! While a source waits for its next try, this knocks at its host once a second: a bare TCP connection, which is closed at
//! once. It refuses to speak: a host that was reachable all the time gets one knock in a pause and no more, because then
//! something else is wrong and the pause has its reason.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// The first knock, soon after the source was lost.
const FIRST: Duration = Duration::from_millis(250);
/// The time between two, and how long one may take.
const KNOCK: Duration = Duration::from_secs(1);

/// What is known of a host.
pub(super) struct Return {
    /// Name or address, and port; `None` where there is no door to knock at.
    door: Option<(String, u16)>,
    /// It was shut the last time.
    shut: bool,
}

impl Return {
    pub(super) fn of(door: Option<(String, u16)>) -> Self {
        Self { door, shut: false }
    }

    /// The source was there meanwhile: what was seen before means nothing any more.
    pub(super) fn was_there(&mut self) {
        self.shut = false;
    }

    /// Ends when the host can be reached after it could not be. Dropped half-way it has lost nothing.
    pub(super) async fn wait(&mut self) {
        let Some((host, port)) = &self.door else { return std::future::pending().await };
        sleep(FIRST).await;
        loop {
            let reached = timeout(KNOCK, TcpStream::connect((&**host, *port))).await;
            match (reached.is_ok_and(|connected| connected.is_ok()), self.shut) {
                (true, true) => {
                    self.shut = false;
                    return;
                }
                (true, false) => return std::future::pending().await,
                (false, _) => self.shut = true,
            }
            sleep(KNOCK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_door_that_was_shut_and_opens_is_a_return_and_one_that_was_open_is_none() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut back = Return::of(Some(("127.0.0.1".to_owned(), port)));
        let soon = FIRST * 3;
        assert!(timeout(soon, back.wait()).await.is_err(), "it was open all the time");
        drop(listener);
        assert!(timeout(soon, back.wait()).await.is_err(), "it is shut");
        assert!(back.shut);
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        timeout(Duration::from_secs(20), back.wait()).await.unwrap();
        assert!(timeout(soon, back.wait()).await.is_err(), "it is told once");
        assert!(timeout(soon, Return::of(None).wait()).await.is_err());
    }
}
