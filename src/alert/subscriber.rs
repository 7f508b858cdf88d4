//! Receives alerts from the broker, for people who watch.
//!
//! Alerts that are published while there is no connection are missed. Nothing is kept, and nothing is published.

use std::ops::ControlFlow;

use tokio::time::{Instant, sleep};

use super::outage::{Connected, Outage};
use crate::{
    backoff::{Backoff, LONGEST_DELAY, jitter},
    config::Mqtt,
    mqtt::{
        self, Options,
        connection::{self, Event, Filter},
        failure::{ConnectionFailure, explain},
    },
};

/// Why alerts cannot be received. Trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Options(#[from] mqtt::Error),
    /// Its access rules forbid it.
    #[error("the broker does not let us read `{filter}` ({why}): see its access rules for this user")]
    Refused {
        /// The subscription.
        filter: String,
        /// The broker's reason.
        why: String,
    },
}

/// Why a session ended.
enum Ended {
    ConnectionLost(ConnectionFailure),
    Refused(String),
    Enough,
}

/// Calls `each` with every message whose topic matches `filter` until it breaks. Connects again when the connection breaks,
/// and logs that.
///
/// # Errors
/// Trying again does not help.
pub async fn receive(
    broker: &Mqtt,
    filter: &str,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (options, url) = (mqtt::subscriber(broker)?, mqtt::url(broker));
    let (mut backoff, mut outage) = (Backoff::default(), Outage::default());
    loop {
        let began = Instant::now();
        let mut subscribed = || match outage.over(Instant::now().into_std()) {
            Connected::First => tracing::info!(broker = url, filter, "receiving alerts; Ctrl-C ends it"),
            Connected::Back(away) => {
                tracing::info!(
                    broker = url,
                    away_s = away.as_secs(),
                    "the broker is back; receiving alerts again"
                );
            }
            Connected::Silent => {}
        };
        let error = match session(options.clone(), filter, &mut subscribed, &mut each).await {
            Ended::Enough => return Ok(()),
            Ended::Refused(why) => return Err(Error::Refused { filter: filter.to_owned(), why }),
            Ended::ConnectionLost(error) => error,
        };
        let explanation = explain(&error, broker.username.as_deref());
        if outage.failed(Instant::now().into_std(), &explanation).is_some() {
            tracing::warn!(
                broker = url,
                why = explanation.text,
                "not connected; alerts that are published now are missed"
            );
        }
        if began.elapsed() > LONGEST_DELAY {
            backoff.reset();
        }
        sleep(backoff.failed(jitter())).await;
    }
}

/// One connection. A new client each time: nothing is left over from an old one.
async fn session(
    options: Options,
    filter: &str,
    subscribed: &mut impl FnMut(),
    each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Ended {
    // Only the subscription is ever sent.
    let (client, mut connection) = connection::open(options, 1);
    loop {
        match connection.poll().await {
            Ok(Event::Connected { .. }) => {
                let filter = Filter { path: filter.to_owned(), at_least_once: true, retained: true };
                // There is room, and the filter is valid: it is built from topic levels.
                let _ = client.subscribe(&[filter]);
            }
            Ok(Event::Subscribed(refusals)) => match refusals.into_iter().flatten().next() {
                Some(why) => return Ended::Refused(why),
                None => subscribed(),
            },
            Ok(Event::Received(message)) => {
                if each(&message.payload).is_break() {
                    return Ended::Enough;
                }
            }
            Ok(_) => {}
            Err(broken) => return Ended::ConnectionLost(broken),
        }
    }
}
