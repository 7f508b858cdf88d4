//! The MQTT source: pictures that are published to topics. They form one source, or one for each name that they give.
//!
//! **Its own connection.** Incoming pictures have a separate connection, so that they never delay an alert.
//!
//! **Live or shared.** A live source is for current pictures: only the newest picture of each topic waits, and the topics
//! take turns ([`waiting`]). A shared source (`share:`) is one of several machines that share the work: every picture
//! counts, the broker delivers each to one machine of the group, at most as many at a time as there are slots, and a
//! picture is acknowledged after it was scored ([`acks`]). The broker keeps the session of a shared source for an hour,
//! with the pictures that it has not delivered.
//!
//! **Time.** `captured_at` is when the message arrived, or the time in its JSON unless that is in the future.
//!
//! A message without a picture is counted, logged and skipped: any client may publish anything, and one bad message says nothing
//! about the next. Retained pictures are skipped by default, and the broker does not deliver packets beyond the limit. A new
//! name is requested from the service before the first frame is sent under it.

pub mod acks;
mod error;
#[cfg(fuzzing)]
mod fuzz;
mod names;
pub mod payload;
mod probe;
mod session;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod waiting;

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

#[cfg(fuzzing)]
pub use self::fuzz::fuzz;
use self::{
    acks::Acks,
    error::MqttError,
    names::Names,
    session::Session,
    settings::MqttSettings,
    waiting::{Keep, Waiting},
};
use crate::{
    config::Region,
    mqtt::{self, Options, connection},
    policy::Mqtt,
    source::{
        cause::{self, Cause, Causes},
        context::{Context, SLOTS},
        kind::{Failure, Kind, Probe, Surroundings},
    },
};

/// The number of packets of the largest size that may wait.
const PACKETS: usize = 4;
/// The number of packet identifiers, which limits the messages in flight. A broker may ignore our own limit: Mosquitto 2.0
/// sends this many for each acknowledgement of one.
const IN_FLIGHT: usize = 65_535;

/// An MQTT source, with the state that it keeps over its failures.
pub struct MqttSource {
    settings: MqttSettings,
    names: RefCell<Names>,
}

impl Kind for MqttSource {
    type Settings = MqttSettings;

    const CAUSES: Causes = Causes {
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

    fn new(settings: &MqttSettings, _: &[Region]) -> Self {
        Self { settings: settings.clone(), names: RefCell::default() }
    }

    async fn run_once(&mut self, context: &Context) -> Result<(), Failure> {
        Ok(self.listen(context).await?)
    }

    fn probe(settings: &MqttSettings, surroundings: &Surroundings<'_>) -> Probe {
        probe::probe(settings, surroundings.broker)
    }
}

impl MqttSource {
    /// Sends the frames of the configured broker until the stop signal.
    async fn listen(&self, context: &Context) -> Result<(), MqttError> {
        let usual = context.topics.as_ref().map(|topics| &topics.broker);
        let broker = self.settings.broker.as_ref().or(usual).ok_or(MqttError::NoBroker)?;
        let id = context.topics.as_ref().map_or("", |topics| &*topics.id);
        let options = self.options(broker, id)?;
        self.work(context, options, mqtt::url(broker), broker.username.as_deref()).await
    }

    /// Connects by `options` to the broker at `url`, and sends frames until the stop signal.
    async fn work(
        &self,
        context: &Context,
        options: Options,
        url: String,
        user: Option<&str>,
    ) -> Result<(), MqttError> {
        let (client, connection) = connection::open(options, 4 * SLOTS);
        let (acks, done) = Acks::new(IN_FLIGHT);
        let keep = if self.settings.is_shared() { Keep::All } else { Keep::Newest };
        let most_bytes = PACKETS * self.settings.max_packet as usize;
        let session = Session {
            settings: &self.settings,
            names: &self.names,
            context,
            client,
            broker: url,
            waiting: RefCell::new(Waiting::new(keep, most_bytes)),
            arrived: Notify::new(),
            taken: Notify::new(),
            acks: RefCell::new(acks),
            acknowledged: Notify::new(),
            request_at: Cell::new(None),
        };
        tokio::select! {
            ended = session.pump(connection, user) => ended,
            () = session.acknowledge(done) => Ok(()),
            () = session.work() => Ok(()),
        }
    }

    fn options(&self, broker: &Mqtt, id: &str) -> Result<Options, mqtt::Error> {
        let max_packet = self.settings.max_packet;
        if self.settings.is_shared() {
            mqtt::member(broker, id, max_packet, u16::try_from(SLOTS).unwrap_or(u16::MAX))
        } else {
            mqtt::source(broker, id, max_packet)
        }
    }
}
