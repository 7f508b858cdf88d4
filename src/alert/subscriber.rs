//! Listens to alerts, for people who want to see them go by.
//!
//! It refuses to promise anything: what is told while the connection is away is not heard. Nothing is kept, and nothing
//! is sent.

use std::ops::ControlFlow;

use tokio::time::{Instant, sleep};

use super::publisher::{
    FIRST_DELAY, LONGEST_DELAY, jitter,
    outage::{self, Outage, Word},
};
use crate::{
    backoff::Backoff,
    config::Mqtt,
    mqtt::{
        self, Options,
        connection::{self, Event, Filter},
        trouble::Broken,
    },
};

/// Why there is nothing to hear, now or later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to connect.
    #[error(transparent)]
    Options(#[from] mqtt::Error),
    /// Its access rules forbid it.
    #[error("the broker does not let us read `{filter}` ({why}): see its access rules for this user")]
    Refused {
        /// What was to be heard.
        filter: String,
        /// The broker's reason.
        why: String,
    },
}

/// Why a session ended.
enum Ended {
    Broken(Broken),
    Refused(String),
    Enough,
}

/// Calls `each` with every message whose topic matches `filter` until it has enough. Connects again when the connection
/// breaks, and says so in the log.
///
/// # Errors
/// What trying again does not help with.
pub async fn listen(
    broker: &Mqtt,
    filter: &str,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (options, url) = (mqtt::listener(broker)?, mqtt::url(broker));
    let (mut backoff, mut outage) = (Backoff::new(FIRST_DELAY, LONGEST_DELAY), Outage::default());
    loop {
        let began = Instant::now();
        let mut heard = || match outage.over(Instant::now()) {
            Word::First => tracing::info!(broker = url, filter, "listening; Ctrl-C ends it"),
            Word::Back(away) => {
                tracing::info!(broker = url, away_s = away.as_secs(), "the broker is back; listening again");
            }
            Word::Nothing => {}
        };
        let error = match session(options.clone(), filter, &mut heard, &mut each).await {
            Ended::Enough => return Ok(()),
            Ended::Refused(why) => return Err(Error::Refused { filter: filter.to_owned(), why }),
            Ended::Broken(error) => error,
        };
        let trouble = outage::explain(&error, broker.username.as_deref());
        if outage.failed(Instant::now(), &trouble).is_some() {
            tracing::warn!(broker = url, why = trouble.text, "not connected; what is told now is not heard");
        }
        if began.elapsed() > LONGEST_DELAY {
            backoff.reset();
        }
        sleep(backoff.failed(jitter())).await;
    }
}

/// One connection. A new client each time: nothing of an old one can get in the way.
async fn session(
    options: Options,
    filter: &str,
    listening: &mut impl FnMut(),
    each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Ended {
    // The subscription is all that is ever sent.
    let (client, mut connection) = connection::open(options, 1);
    loop {
        match connection.poll().await {
            Ok(Event::Connected { .. }) => {
                let filter = Filter { path: filter.to_owned(), at_least_once: true, retained: true };
                // There is room, and the filter is made of levels that names become.
                let _ = client.subscribe(&[filter]);
            }
            Ok(Event::Subscribed(refusals)) => match refusals.into_iter().flatten().next() {
                Some(why) => return Ended::Refused(why),
                None => listening(),
            },
            Ok(Event::Received(message)) => {
                if each(&message.payload).is_break() {
                    return Ended::Enough;
                }
            }
            Ok(_) => {}
            Err(broken) => return Ended::Broken(broken),
        }
    }
}
