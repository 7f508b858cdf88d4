//! Receives messages from the broker: alerts for people who watch, and requests.
//!
//! What is published while there is no connection is missed. Nothing is kept.

use std::ops::ControlFlow;

use tokio::time::{Instant, sleep};

use super::outage::{Connected, Outage};
use crate::{
    backoff::{Backoff, LONGEST_DELAY, jitter},
    config::Mqtt,
    mqtt::{
        self, Options,
        connection::{self, Client, Event, Filter, Received},
        failure::{ConnectionFailure, explain},
    },
};

/// Why messages cannot be received. Trying again does not help.
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

/// What is received, in the lines of the log.
struct Words {
    received: &'static str,
    hint: &'static str,
    missed: &'static str,
}

/// Calls `each` with every alert whose topic matches `filter` until it breaks. Connects again when the connection breaks,
/// and logs that.
///
/// # Errors
/// Trying again does not help.
pub async fn receive(
    broker: &Mqtt,
    filter: &str,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Error> {
    let words = Words {
        received: "alerts",
        hint: "; Ctrl-C ends it",
        missed: "alerts that are published now are missed",
    };
    let wanted = Filter { path: filter.to_owned(), at_least_once: true, retained: true };
    // Only the subscription is ever sent.
    connect(broker, (mqtt::subscriber(broker)?, 1), &wanted, &words, |_, message| each(&message.payload))
        .await
}

/// Calls `each` with every new message that is published to `topic`, and with what answers it; up to `room` answers wait to be
/// sent. Connects again when the connection breaks, and logs that.
///
/// # Errors
/// Trying again does not help.
pub async fn serve(
    broker: &Mqtt,
    topic: &str,
    room: usize,
    mut each: impl FnMut(&Client, Received),
) -> Result<(), Error> {
    let words =
        Words { received: "requests", hint: "", missed: "requests that are published now are not answered" };
    let wanted = Filter { path: topic.to_owned(), at_least_once: false, retained: false };
    connect(broker, (mqtt::commands(broker)?, room + 1), &wanted, &words, |client, message| {
        // A retained request is an old one; a broker with MQTT 3.1.1 sends it all the same.
        if !message.retain {
            each(client, message);
        }
        ControlFlow::Continue(())
    })
    .await
}

async fn connect(
    broker: &Mqtt,
    (options, room): (Options, usize),
    wanted: &Filter,
    words: &Words,
    mut each: impl FnMut(&Client, Received) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (filter, url, Words { received, hint, missed }) = (&wanted.path, mqtt::url(broker), words);
    let (mut backoff, mut outage) = (Backoff::default(), Outage::default());
    loop {
        let began = Instant::now();
        let mut subscribed = || match outage.over(Instant::now().into_std()) {
            Connected::First => tracing::info!(broker = url, filter, "receiving {received}{hint}"),
            Connected::Back(away) => {
                tracing::info!(
                    broker = url,
                    away_s = away.as_secs(),
                    "the broker is back; receiving {received} again"
                );
            }
            Connected::Silent => {}
        };
        let error = match session(options.clone(), room, wanted, &mut subscribed, &mut each).await {
            Ended::Enough => return Ok(()),
            Ended::Refused(why) => return Err(Error::Refused { filter: filter.clone(), why }),
            Ended::ConnectionLost(error) => error,
        };
        let explanation = explain(&error, broker.username.as_deref());
        if outage.failed(Instant::now().into_std(), &explanation).is_some() {
            tracing::warn!(broker = url, why = explanation.text, "not connected; {missed}");
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
    room: usize,
    wanted: &Filter,
    subscribed: &mut impl FnMut(),
    each: &mut impl FnMut(&Client, Received) -> ControlFlow<()>,
) -> Ended {
    let (client, mut connection) = connection::open(options, room);
    loop {
        match connection.poll().await {
            Ok(Event::Connected { .. }) => {
                // There is room, and the filter is valid: it is built from topic levels.
                let _ = client.subscribe(std::slice::from_ref(wanted));
            }
            Ok(Event::Subscribed(refusals)) => match refusals.into_iter().flatten().next() {
                Some(why) => return Ended::Refused(why),
                None => subscribed(),
            },
            Ok(Event::Received(message)) => {
                if each(&client, message).is_break() {
                    return Ended::Enough;
                }
            }
            Ok(_) => {}
            Err(broken) => return Ended::ConnectionLost(broken),
        }
    }
}
