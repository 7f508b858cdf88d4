//! One connection to a broker, in the version of MQTT that the configuration names. Nobody else knows which it is.
//!
//! What MQTT 3.1.1 has no words for is left out there: what a message is and when it expires, why a message was not taken,
//! and how large one may be. It refuses to connect again, and nothing here but an acknowledgement waits
//! for room to send.

use rumqttc::{
    Outgoing,
    v5::{
        self,
        mqttbytes::v5::{self as five, RetainForwardRule, SubscribeReasonCode},
    },
};

use super::{CONNECT_SECONDS, network, trouble::Broken};

/// Why the broker did not take a message. A broker that speaks MQTT 3.1.1 says `Success` to everything that it
/// acknowledges.
pub use rumqttc::v5::mqttbytes::v5::PubAckReason;

/// How to connect.
#[derive(Debug, Clone)]
pub enum Options {
    /// In MQTT 5.
    V5(Box<v5::MqttOptions>),
    /// In MQTT 3.1.1.
    V311(Box<rumqttc::MqttOptions>),
}

/// The sending side. What it is given goes out when the connection is polled.
#[derive(Debug, Clone)]
pub struct Client(Sender);

#[derive(Debug, Clone)]
enum Sender {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// The side that must be polled, and by one alone.
pub struct Connection {
    events: Events,
    taken_in: bool,
}

enum Events {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// The broker has taken us in. It takes packets up to so many bytes, if it says so.
    Connected {
        /// Bytes of a packet.
        max_packet: Option<u32>,
    },
    /// A message went out under this identifier; 0 if nobody acknowledges it. They go in the order in which they were given.
    Sent(u16),
    /// The broker has answered to the message with this identifier.
    Acknowledged(u16, PubAckReason),
    /// The broker has answered to a subscription: for each filter why it is refused, if it is.
    Subscribed(Vec<Option<String>>),
    /// A message came.
    Received(Received),
    /// Our goodbye went out.
    Left,
    /// Nothing that anybody has to know.
    Other,
}

/// A message that came.
#[derive(Debug)]
pub struct Received {
    /// UTF-8, says MQTT; a broker may not look.
    pub topic: Vec<u8>,
    /// What it says.
    pub payload: Vec<u8>,
    /// Whether the broker had kept it.
    pub retain: bool,
    /// By which it is acknowledged, if the broker waits for that.
    pub id: Option<u16>,
}

/// A message to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
    /// Its MIME type.
    pub kind: &'static str,
    /// After so many seconds the broker gives it to nobody any more.
    pub expiry: Option<u32>,
}

/// What is to be heard.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Topics, perhaps with wildcards.
    pub path: String,
    /// Whether the broker waits for our acknowledgements.
    pub at_least_once: bool,
    /// Whether what it keeps is of interest. A broker that speaks MQTT 3.1.1 sends it in any case.
    pub retained: bool,
}

/// It cannot be sent: there is no room, the connection is gone, or its topic is none.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be sent")]
pub struct Unsent;

/// A connection that is not made yet; up to `room` messages wait to be sent.
#[must_use]
pub fn open(options: Options, room: usize) -> (Client, Connection) {
    let (client, events) = match options {
        Options::V5(options) => {
            let (client, events) = v5::AsyncClient::new(*options, room);
            (Sender::V5(client), Events::V5(Box::new(events)))
        }
        Options::V311(options) => {
            let (client, mut events) = rumqttc::AsyncClient::new(*options, room);
            let mut network = network();
            network.set_connection_timeout(CONNECT_SECONDS);
            events.set_network_options(network);
            (Sender::V311(client), Events::V311(Box::new(events)))
        }
    };
    (Client(client), Connection { events, taken_in: false })
}

impl Client {
    /// Sends a message at least once, which it is when it is acknowledged.
    ///
    /// # Errors
    /// It is not sent.
    pub fn publish(&self, message: Message<'_>, payload: Vec<u8>) -> Result<(), Unsent> {
        let Message { topic, retain, kind, expiry } = message;
        match &self.0 {
            Sender::V5(client) => {
                let properties = five::PublishProperties {
                    content_type: Some(kind.to_owned()),
                    message_expiry_interval: expiry,
                    ..five::PublishProperties::default()
                };
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client
                    .try_publish_with_properties(topic, qos, retain, payload, properties)
                    .map_err(|_| Unsent)
            }
            Sender::V311(client) => {
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload).map_err(|_| Unsent)
            }
        }
    }

    /// Sends a message at most once.
    ///
    /// # Errors
    /// It is not sent.
    pub fn offer(&self, topic: &str, payload: Vec<u8>) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => {
                client.try_publish(topic, v5::mqttbytes::QoS::AtMostOnce, false, payload).map_err(|_| Unsent)
            }
            Sender::V311(client) => {
                client.try_publish(topic, rumqttc::QoS::AtMostOnce, false, payload).map_err(|_| Unsent)
            }
        }
    }

    /// Asks for what is said at these topics.
    ///
    /// # Errors
    /// It is not asked for.
    pub fn subscribe(&self, filters: &[Filter]) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => {
                client.try_subscribe_many(filters.iter().map(five_filter)).map_err(|_| Unsent)
            }
            Sender::V311(client) => {
                client.try_subscribe_many(filters.iter().map(three_filter)).map_err(|_| Unsent)
            }
        }
    }

    /// Tells the broker that we are done with a message. Waits for room, so it is not for who polls the connection.
    ///
    /// # Errors
    /// It is not told: the connection is gone.
    pub async fn acknowledge(&self, id: u16) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => {
                let mut publish = five::Publish::new("", v5::mqttbytes::QoS::AtLeastOnce, Vec::new(), None);
                publish.pkid = id;
                client.ack(&publish).await.map_err(|_| Unsent)
            }
            Sender::V311(client) => {
                let mut publish = rumqttc::Publish::new("", rumqttc::QoS::AtLeastOnce, Vec::new());
                publish.pkid = id;
                client.ack(&publish).await.map_err(|_| Unsent)
            }
        }
    }

    /// Tells the broker that we leave by intention, so that it keeps the last will to itself.
    ///
    /// # Errors
    /// It is not told.
    pub fn leave(&self) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => client.try_disconnect().map_err(|_| Unsent),
            Sender::V311(client) => client.try_disconnect().map_err(|_| Unsent),
        }
    }
}

impl Connection {
    /// The next thing that happens. Not to be dropped half-way while it connects, and not to be called again after an
    /// error: the library would connect once more, and leave out what the old connection had under way.
    ///
    /// # Errors
    /// The connection did not come about, or broke.
    pub async fn poll(&mut self) -> Result<Event, Broken> {
        let event = match &mut self.events {
            Events::V5(events) => {
                events.poll().await.map(five_event).map_err(|e| Broken::v5(e, self.taken_in))?
            }
            Events::V311(events) => events.poll().await.map(three_event).map_err(Broken::v311)?,
        };
        self.taken_in |= matches!(event, Event::Connected { .. });
        Ok(event)
    }
}

fn five_filter(filter: &Filter) -> five::Filter {
    use v5::mqttbytes::QoS;

    let qos = if filter.at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let retain_forward_rule =
        if filter.retained { RetainForwardRule::OnEverySubscribe } else { RetainForwardRule::Never };
    five::Filter { retain_forward_rule, ..five::Filter::new(filter.path.clone(), qos) }
}

fn three_filter(filter: &Filter) -> rumqttc::SubscribeFilter {
    use rumqttc::QoS;

    let qos = if filter.at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    rumqttc::SubscribeFilter::new(filter.path.clone(), qos)
}

fn five_event(event: v5::Event) -> Event {
    use five::Packet;

    let packet = match event {
        v5::Event::Outgoing(outgoing) => return sent(&outgoing),
        v5::Event::Incoming(packet) => packet,
    };
    match packet {
        Packet::ConnAck(answer) => Event::Connected {
            max_packet: answer.properties.and_then(|properties| properties.max_packet_size),
        },
        Packet::PubAck(answer) => Event::Acknowledged(answer.pkid, answer.reason),
        Packet::SubAck(answer) => {
            let refusal = |code: SubscribeReasonCode| match code {
                SubscribeReasonCode::Success(_) => None,
                code => Some(format!("{code:?}")),
            };
            Event::Subscribed(answer.return_codes.into_iter().map(refusal).collect())
        }
        // Copies: the library's buffer may be larger than the message, and would stay as long.
        Packet::Publish(message) => Event::Received(Received {
            topic: message.topic.to_vec(),
            payload: message.payload.to_vec(),
            retain: message.retain,
            id: (message.qos != v5::mqttbytes::QoS::AtMostOnce).then_some(message.pkid),
        }),
        _ => Event::Other,
    }
}

fn three_event(event: rumqttc::Event) -> Event {
    use rumqttc::{Packet, SubscribeReasonCode};

    let packet = match event {
        rumqttc::Event::Outgoing(outgoing) => return sent(&outgoing),
        rumqttc::Event::Incoming(packet) => packet,
    };
    match packet {
        Packet::ConnAck(_) => Event::Connected { max_packet: None },
        Packet::PubAck(answer) => Event::Acknowledged(answer.pkid, PubAckReason::Success),
        Packet::SubAck(answer) => {
            let refusal = |code| match code {
                SubscribeReasonCode::Success(_) => None,
                SubscribeReasonCode::Failure => Some("Failure".to_owned()),
            };
            Event::Subscribed(answer.return_codes.into_iter().map(refusal).collect())
        }
        Packet::Publish(message) => Event::Received(Received {
            topic: message.topic.into_bytes(),
            payload: message.payload.to_vec(),
            retain: message.retain,
            id: (message.qos != rumqttc::QoS::AtMostOnce).then_some(message.pkid),
        }),
        _ => Event::Other,
    }
}

fn sent(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(id) => Event::Sent(*id),
        Outgoing::Disconnect => Event::Left,
        _ => Event::Other,
    }
}
