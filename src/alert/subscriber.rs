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
    /// Every subscription was refused: the first one, and why.
    Refused(String, String),
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
    let wanted = [Filter { path: filter.to_owned(), at_least_once: true, retained: true }];
    // Only the subscription is ever sent.
    connect(broker, (mqtt::subscriber(broker)?, 1), &wanted, &words, |_, message| each(&message.payload))
        .await
}

/// Calls `each` with every new message that is published to one of these topics, and with what answers it; up to `room` answers wait to
/// be sent. Connects again when the connection breaks, and logs that.
///
/// # Errors
/// Trying again does not help.
pub async fn serve(
    broker: &Mqtt,
    topics: &[String],
    room: usize,
    mut each: impl FnMut(&Client, Received),
) -> Result<(), Error> {
    let words =
        Words { received: "requests", hint: "", missed: "requests that are published now are not answered" };
    let wanted = |topic: &String| Filter { path: topic.clone(), at_least_once: true, retained: false };
    let wanted: Vec<_> = topics.iter().map(wanted).collect();
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
    wanted: &[Filter],
    words: &Words,
    mut each: impl FnMut(&Client, Received) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (url, Words { received, hint, missed }) = (mqtt::url(broker), words);
    let filter = wanted.iter().map(|filter| &*filter.path).collect::<Vec<_>>().join(" ");
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
            Ended::Refused(filter, why) => return Err(Error::Refused { filter, why }),
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
    wanted: &[Filter],
    subscribed: &mut impl FnMut(),
    each: &mut impl FnMut(&Client, Received) -> ControlFlow<()>,
) -> Ended {
    let (client, mut connection) = connection::open(options, room);
    loop {
        match connection.poll().await {
            Ok(Event::Connected { .. }) => {
                // There is room, and the filter is valid: it is built from topic levels.
                let _ = client.subscribe(wanted);
            }
            Ok(Event::Subscribed(refusals)) => {
                let refused =
                    wanted.iter().zip(refusals).filter_map(|(filter, why)| Some((&filter.path, why?)));
                let refused: Vec<_> = refused.collect();
                if let (Some((filter, why)), true) = (refused.first(), refused.len() == wanted.len()) {
                    return Ended::Refused((*filter).clone(), why.clone());
                }
                for (filter, why) in refused {
                    tracing::error!(
                        filter,
                        why,
                        "the broker does not let us read a topic of requests: see its access rules for this user"
                    );
                }
                subscribed();
            }
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
