//! The MQTT source: pictures that others publish, one source of all its topics or one for each name that they give.
//!
//! **Its own connection.** What comes in has a connection of its own, so that it can never delay an alert.
//!
//! **Live or shared.** A live source wants to see what is there now: of each topic only the newest picture waits, and
//! the topics take turns ([`waiting`]). A shared one (`share:`) is one of several machines that split the work: every
//! picture counts, the broker gives each to one of the group, no more at a time than there are slots, and it is
//! acknowledged when it was scored ([`acks`]). The broker keeps the session of a shared one for an hour, and with it
//! what it had meant for us.
//!
//! **Time.** `captured_at` is when the message arrived, or what its JSON says unless that is in the future.
//!
//! What is no picture is counted and passed over: who may publish may send anything, and one bad message says nothing
//! about the next. It refuses retained pictures unless asked for them, packets beyond its limit (the broker keeps them to
//! itself), and to name a source by itself: a name that it meets for the first time is told, and whoever wires it
//! answers.

mod acks;
mod error;
#[cfg(fuzzing)]
mod fuzz;
mod payload;
mod session;
pub mod settings;
mod waiting;

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

pub use self::error::MqttError;
#[cfg(fuzzing)]
pub use self::fuzz::fuzz;
use self::{
    acks::Acks,
    session::Session,
    waiting::{Keep, Waiting},
};
use crate::{
    config,
    mqtt::{
        self, Options,
        connection::{self, Filter},
    },
    source::{Cause, Causes, Context, SLOTS, cause},
    topic::topic_level,
};

pub(crate) const CAUSES: Causes = Causes {
    skipped: &[Cause::NewerCame, Cause::NoRoom, Cause::NotAdmitted, Cause::Retained],
    failed: &[
        cause::PICTURE,
        &[
            Cause::DecoderPanic,
            Cause::NoName,
            Cause::NoPicture,
            Cause::NotBase64,
            Cause::NotJson,
            Cause::NotUtf8,
        ],
    ],
};

/// So many packets of the largest size may wait.
const PACKETS: usize = 4;
/// At the end what is under way may take so long to be scored, and the goodbye so long to be sent.
const SETTLE: Duration = Duration::from_secs(3);
const GOODBYE: Duration = Duration::from_secs(1);
/// More messages than have identifiers cannot be under way. A broker may not keep to our own limit: Mosquitto 2.0 sends so
/// many for each acknowledgement of one.
const UNDER_WAY: usize = 65_535;
/// So many names are remembered as refused; beyond that the answer is asked for again.
const REFUSED: usize = 1000;

/// An MQTT source, with what it remembers over its failures.
pub struct MqttSource {
    settings: config::MqttSource,
    /// What became of the names that were met.
    names: RefCell<HashMap<String, Option<Arc<str>>>>,
}

impl MqttSource {
    /// A source that did not connect yet.
    #[must_use]
    pub fn new(settings: &config::MqttSource) -> Self {
        Self { settings: settings.clone(), names: RefCell::default() }
    }

    /// Delivers frames until it is told to stop.
    ///
    /// # Errors
    /// When there is no connection, or when the broker does not let us read.
    pub async fn run_once(&mut self, context: &Context) -> Result<(), MqttError> {
        let usual = context.topics.as_ref().map(|topics| &topics.broker);
        let broker = self.settings.broker.as_ref().or(usual).ok_or(MqttError::NoBroker)?;
        let url = mqtt::url(broker);
        let (client, connection) = connection::open(self.options(broker, &context.name)?, 4 * SLOTS);
        let (acks, done) = Acks::new(UNDER_WAY);
        let keep = if self.is_shared() { Keep::All } else { Keep::Newest };
        let most_bytes = PACKETS * self.settings.max_packet as usize;
        let session = Session {
            source: self,
            context,
            client,
            broker: url.clone(),
            waiting: RefCell::new(Waiting::new(keep, most_bytes)),
            arrived: Notify::new(),
            taken: Notify::new(),
            acks: RefCell::new(acks),
            acknowledged: Notify::new(),
        };
        let user = broker.username.as_deref();
        tokio::select! {
            ended = session.pump(connection, user) => ended,
            () = session.acknowledge(done) => Ok(()),
            () = session.work() => Ok(()),
        }
    }

    fn is_shared(&self) -> bool {
        self.settings.share.is_some()
    }

    fn options(&self, broker: &config::Mqtt, name: &str) -> Result<Options, mqtt::Error> {
        let (level, max_packet) = (topic_level(name), self.settings.max_packet);
        if self.is_shared() {
            mqtt::member(broker, &level, max_packet, u16::try_from(SLOTS).unwrap_or(u16::MAX))
        } else {
            mqtt::source(broker, &level, max_packet)
        }
    }

    fn subscriptions(&self) -> Vec<Filter> {
        let filter = |filter: &crate::policy::TopicFilter| {
            let path = match &self.settings.share {
                Some(group) => format!("$share/{group}/{filter}"),
                None => filter.to_string(),
            };
            // What is not seen at once is soon older than what comes next; but of what is shared every picture counts.
            Filter { path, at_least_once: self.is_shared(), retained: self.settings.retained }
        };
        self.settings.filters.iter().map(filter).collect()
    }
}
