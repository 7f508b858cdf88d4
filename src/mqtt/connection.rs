//! One connection to a broker, in the version of MQTT that the configuration names. Other modules do not see the version.
//!
//! What MQTT 3.1.1 lacks is left out there: content type and expiry of a message, the reason of a refusal, and the largest
//! packet. It never reconnects. Only [`Client::acknowledge`] waits for room to send.

use rumqttc::{
    Outgoing,
    v5::{
        self,
        mqttbytes::v5::{self as five, RetainForwardRule, SubscribeReasonCode},
    },
};

use super::failure::{self, ConnectionFailure};
#[cfg(test)]
use super::fake;

/// Seconds for TCP, TLS and the broker's answer together.
pub(super) const CONNECT_SECONDS: u64 = 10;

/// The broker's answer to a message. In MQTT 3.1.1 every acknowledgement is a `Success`.
pub use rumqttc::v5::mqttbytes::v5::PubAckReason;

/// How to connect.
#[derive(Debug, Clone)]
pub enum Options {
    /// With MQTT 5.
    V5(Box<v5::MqttOptions>),
    /// With MQTT 3.1.1.
    V311(Box<rumqttc::MqttOptions>),
    /// To a unit test.
    #[cfg(test)]
    Fake(fake::Address),
}

/// The sending side. Messages are sent when the connection is polled.
#[derive(Debug, Clone)]
pub struct Client(Sender);

#[derive(Debug, Clone)]
enum Sender {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
    #[cfg(test)]
    Fake(fake::Client),
}

/// The side that must be polled, by one task.
pub struct Connection {
    events: Events,
    /// The broker has accepted the connection.
    accepted: bool,
    lacks: Option<&'static str>,
    session: Session,
}

/// What the broker reported about the client's session when it accepted the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    /// It still had a session of this client.
    pub is_present: bool,
    /// Seconds for which it keeps the session after a disconnect, if it changed what the client asked for.
    pub expiry: Option<u32>,
}

enum Events {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
    #[cfg(test)]
    Fake(fake::Events),
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// The broker has accepted the connection.
    Connected {
        /// The largest packet that it accepts, in bytes, if it has a limit.
        max_packet: Option<u32>,
    },
    /// A message was sent with this identifier; 0 if it is not acknowledged. Messages are sent in the order of the calls.
    Sent(u16),
    /// The broker has answered the message with this identifier.
    Acknowledged(u16, PubAckReason),
    /// The broker has answered a subscription: for each filter the reason of its refusal, if it is refused.
    Subscribed(Vec<Option<String>>),
    /// A message was received.
    Received(Received),
    /// Our disconnect was sent.
    Disconnected,
    /// Anything else.
    Other,
}

/// A message that was received.
#[derive(Debug)]
pub struct Received {
    /// Should be UTF-8; brokers need not check that.
    pub topic: Vec<u8>,
    /// Its content.
    pub payload: Vec<u8>,
    /// Whether it was retained before the subscription.
    pub retain: bool,
    /// For [`Client::acknowledge`], if the broker waits for it.
    pub id: Option<u16>,
    /// Where its sender waits for an answer. With MQTT 3.1.1 a message cannot say that.
    pub reply_to: Option<ReplyTo>,
}

/// Where the sender of a message waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The response topic.
    pub topic: String,
    /// What the answer must repeat, if the sender wants that.
    pub correlation: Option<Vec<u8>>,
}

/// A message to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Its MIME type.
    pub kind: &'static str,
    /// Seconds after which the broker discards it.
    pub expiry: Option<u32>,
}

/// A subscription.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Topics, perhaps with wildcards.
    pub path: String,
    /// Whether the broker waits for our acknowledgements.
    pub at_least_once: bool,
    /// Whether retained messages are wanted. With MQTT 3.1.1 the broker sends them in any case.
    pub retained: bool,
}

/// A packet cannot be sent: there is no room, the connection is gone, or its topic is invalid.
#[derive(Debug, thiserror::Error)]
#[error("the packet cannot be sent")]
pub struct Unsent;

/// A connection that is not made yet. Up to `room` packets wait to be sent.
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
        #[cfg(test)]
        Options::Fake(address) => {
            let (client, events) = address.connect(room);
            (Sender::Fake(client), Events::Fake(events))
        }
    };
    (Client(client), Connection { events, accepted: false, lacks: None, session: Session::default() })
}

impl Client {
    /// Sends a message at least once: until it is acknowledged, it may be lost.
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
            #[cfg(test)]
            Sender::Fake(client) => client.publish(message, payload),
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
            #[cfg(test)]
            Sender::Fake(client) => client.request(fake::Request::Offer(topic.to_owned())),
        }
    }

    /// Answers a message at least once, as JSON that the broker discards after `expiry` seconds. With MQTT 3.1.1 neither the
    /// correlation nor the expiry is sent.
    ///
    /// # Errors
    /// It is not sent.
    pub fn reply(&self, to: &ReplyTo, payload: Vec<u8>, expiry: u32) -> Result<(), Unsent> {
        let kind = "application/json";
        match &self.0 {
            Sender::V5(client) => {
                let properties = five::PublishProperties {
                    content_type: Some(kind.to_owned()),
                    message_expiry_interval: Some(expiry),
                    correlation_data: to.correlation.clone().map(Into::into),
                    ..five::PublishProperties::default()
                };
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client
                    .try_publish_with_properties(&to.topic, qos, false, payload, properties)
                    .map_err(|_| Unsent)
            }
            _ => {
                let message = Message { topic: &to.topic, retain: false, kind, expiry: Some(expiry) };
                self.publish(message, payload)
            }
        }
    }

    /// Subscribes to these topics.
    ///
    /// # Errors
    /// The request is not sent.
    pub fn subscribe(&self, filters: &[Filter]) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => {
                client.try_subscribe_many(filters.iter().map(five_filter)).map_err(|_| Unsent)
            }
            Sender::V311(client) => {
                client.try_subscribe_many(filters.iter().map(three_filter)).map_err(|_| Unsent)
            }
            #[cfg(test)]
            Sender::Fake(client) => client.subscribe(filters),
        }
    }

    /// Acknowledges a received message. Waits for room, so the task that polls the connection must not call it.
    ///
    /// # Errors
    /// It is not sent: the connection is gone.
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
            #[cfg(test)]
            Sender::Fake(client) => client.request(fake::Request::Acknowledge(id)),
        }
    }

    /// Disconnects, so that the broker does not publish the last will.
    ///
    /// # Errors
    /// The request is not sent.
    pub fn disconnect(&self) -> Result<(), Unsent> {
        match &self.0 {
            Sender::V5(client) => client.try_disconnect().map_err(|_| Unsent),
            Sender::V311(client) => client.try_disconnect().map_err(|_| Unsent),
            #[cfg(test)]
            Sender::Fake(client) => client.request(fake::Request::Disconnect),
        }
    }
}

impl Connection {
    /// What the broker, which has accepted the connection, does not support although alerts need it; for people. With MQTT 3.1.1
    /// a broker does not say what it supports.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        self.lacks
    }

    /// What the broker, which has accepted the connection, reported about the client's session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Waits for the next event. Do not drop the future while it connects, and do not call it again after an
    /// error: the library would connect once more, and drop what the old connection had in flight.
    ///
    /// # Errors
    /// The connection could not be made, or broke.
    pub async fn poll(&mut self) -> Result<Event, ConnectionFailure> {
        let event = match &mut self.events {
            Events::V5(events) => {
                let event = events.poll().await.map_err(|e| ConnectionFailure::v5(e, self.accepted))?;
                if let v5::Event::Incoming(five::Packet::ConnAck(answer)) = &event {
                    let properties = answer.properties.as_ref();
                    self.lacks = properties.and_then(|it| missing(it.max_qos, it.retain_available));
                    self.session = Session {
                        is_present: answer.session_present,
                        expiry: properties.and_then(|it| it.session_expiry_interval),
                    };
                }
                five_event(event)
            }
            Events::V311(events) => {
                let event = events.poll().await.map_err(ConnectionFailure::v311)?;
                if let rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(answer)) = &event {
                    self.session = Session { is_present: answer.session_present, expiry: None };
                }
                three_event(event)
            }
            #[cfg(test)]
            Events::Fake(events) => events.poll().await?,
        };
        self.accepted |= matches!(event, Event::Connected { .. });
        Ok(event)
    }
}

/// What the broker does not support although alerts need it, and the remedy. Pure.
fn missing(max_qos: Option<u8>, retain_available: Option<u8>) -> Option<&'static str> {
    if max_qos == Some(0) {
        return Some(failure::NO_QOS);
    }
    (retain_available == Some(0)).then_some(failure::NO_RETAIN)
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
        // Copies: the library's buffer may be larger than the message, and would live as long.
        Packet::Publish(message) => Event::Received(Received {
            topic: message.topic.to_vec(),
            payload: message.payload.to_vec(),
            retain: message.retain,
            id: (message.qos != v5::mqttbytes::QoS::AtMostOnce).then_some(message.pkid),
            reply_to: message.properties.and_then(reply_to),
        }),
        _ => Event::Other,
    }
}

fn reply_to(properties: five::PublishProperties) -> Option<ReplyTo> {
    let correlation = properties.correlation_data.map(|data| data.to_vec());
    Some(ReplyTo { topic: properties.response_topic?, correlation })
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
            reply_to: None,
        }),
        _ => Event::Other,
    }
}

fn sent(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(id) => Event::Sent(*id),
        Outgoing::Disconnect => Event::Disconnected,
        _ => Event::Other,
    }
}

/// Disables Nagle's algorithm, which may delay an alert by the 40 ms for which the other side delays its acknowledgement.
pub(super) fn network() -> rumqttc::NetworkOptions {
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_must_support() {
        let cases = [
            ("nothing is said", None, None, None),
            ("everything", Some(2), Some(1), None),
            ("QoS 1", Some(1), None, None),
            ("QoS 0", Some(0), Some(1), Some("QoS 1")),
            ("no retained messages", None, Some(0), Some("retained messages")),
        ];
        for (name, max_qos, retain_available, expected) in cases {
            let lacks = missing(max_qos, retain_available);
            assert_eq!(lacks.is_some(), expected.is_some(), "{name}");
            assert!(lacks.unwrap_or_default().contains(expected.unwrap_or_default()), "{name}");
        }
    }
}
