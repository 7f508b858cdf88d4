//! Connections to brokers: how one is asked for, [`connection`] itself, and what it means when there is none
//! ([`trouble`]).
//!
//! It refuses to connect again and to keep anything: whoever connects owns that.

pub mod connection;
mod tls;
pub mod trouble;

use std::time::Duration;

pub use self::{connection::Options, tls::Error};
use crate::config::{Mqtt, MqttVersion};
use rumqttc::{NetworkOptions, Transport, v5};

/// TCP, TLS and the broker's answer together.
const CONNECT_SECONDS: u64 = 10;
/// Larger messages are not taken; the library's own limit of 10 KiB would break the connection at the first picture.
const MAX_INCOMING: u32 = 8 * 1024 * 1024;
/// So many unacknowledged messages at a time; the library would otherwise keep a table of 65,536.
pub const INFLIGHT: u16 = 16;
/// The broker keeps so long what it has for a member of a shared subscription that is away.
const SESSION: Duration = Duration::from_secs(3600);

/// How to connect to `broker`. If the connection breaks, the broker itself says `farewell` on `will_topic`.
///
/// The session starts clean each time: what must not be lost is in the outbox, not in the broker's memory of us.
pub fn options(broker: &Mqtt, will_topic: &str, farewell: &str) -> Result<Options, Error> {
    let mut options = connect(broker, &broker.client_id, MAX_INCOMING)?;
    match &mut options {
        Options::V5(options) => {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            options.set_last_will(v5::mqttbytes::v5::LastWill::new(will_topic, farewell, qos, true, None));
        }
        Options::V311(options) => {
            let qos = rumqttc::QoS::AtLeastOnce;
            options.set_last_will(rumqttc::LastWill::new(will_topic, farewell, qos, true));
        }
    }
    Ok(options)
}

/// How to look whether `broker` takes us in, beside a service that is connected under our own name: two clients of one
/// name throw each other out.
pub fn visit(broker: &Mqtt) -> Result<Options, Error> {
    connect(broker, &format!("{}-check", broker.client_id), MAX_INCOMING)
}

/// How to listen beside a service that is connected under our own name, and beside others who listen.
pub fn listener(broker: &Mqtt) -> Result<Options, Error> {
    connect(broker, &format!("{}-alerts-{}", broker.client_id, std::process::id()), MAX_INCOMING)
}

/// How the source at the topic level `source` listens beside everything else, and takes packets up to `max_packet` bytes.
pub fn source(broker: &Mqtt, source: &str, max_packet: u32) -> Result<Options, Error> {
    connect(broker, &format!("{}-from-{source}", broker.client_id), max_packet)
}

/// The same as a member of a shared subscription: the broker keeps its session for an hour, gives it no more than `slots`
/// messages at a time, and takes each as done when we say so. That is MQTT 5's; in MQTT 3.1.1, where the configuration
/// allows no sharing, it is [`source`].
pub fn member(broker: &Mqtt, source: &str, max_packet: u32, slots: u16) -> Result<Options, Error> {
    let mut options = self::source(broker, source, max_packet)?;
    if let Options::V5(options) = &mut options {
        options
            .set_clean_start(false)
            .set_session_expiry_interval(u32::try_from(SESSION.as_secs()).ok())
            .set_manual_acks(true)
            .set_receive_maximum(Some(slots));
    }
    Ok(options)
}

fn connect(broker: &Mqtt, client_id: &str, max_packet: u32) -> Result<Options, Error> {
    let host = match &broker.connection.websocket {
        // For WebSockets the library takes the whole address.
        Some(path) => format!("{}{path}", url(broker)),
        // An IPv6 address stands in brackets only in a URL.
        None => broker.host.trim_matches(['[', ']']).to_owned(),
    };
    let (keep_alive, transport) = (broker.connection.keep_alive, transport(broker)?);
    let password = broker.password.as_ref().map_or("", |password| password.reveal());
    let login = broker.username.as_ref().map(|username| (username, password));
    Ok(match broker.connection.version {
        MqttVersion::V5 => {
            let mut options = v5::MqttOptions::new(client_id, host, broker.port);
            options
                .set_clean_start(true)
                .set_keep_alive(keep_alive)
                .set_connection_timeout(CONNECT_SECONDS)
                .set_max_packet_size(Some(max_packet))
                .set_outgoing_inflight_upper_limit(INFLIGHT)
                .set_network_options(network())
                .set_transport(transport);
            if let Some((username, password)) = login {
                options.set_credentials(username, password);
            }
            Options::V5(Box::new(options))
        }
        MqttVersion::V311 => {
            let mut options = rumqttc::MqttOptions::new(client_id, host, broker.port);
            options
                .set_clean_session(true)
                .set_keep_alive(keep_alive)
                // How much the broker takes it does not say.
                .set_max_packet_size(max_packet as usize, usize::MAX)
                .set_inflight(INFLIGHT)
                .set_transport(transport);
            if let Some((username, password)) = login {
                options.set_credentials(username, password);
            }
            Options::V311(Box::new(options))
        }
    })
}

fn transport(broker: &Mqtt) -> Result<Transport, Error> {
    Ok(match (&broker.connection.websocket, broker.tls) {
        (None, false) => Transport::tcp(),
        (None, true) => Transport::tls_with_config(tls::config(broker)?.into()),
        (Some(_), false) => Transport::ws(),
        (Some(_), true) => Transport::wss_with_config(tls::config(broker)?.into()),
    })
}

/// Without Nagle's algorithm, which may hold back an alert for the 40 ms that the other side delays its acknowledgement.
fn network() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

/// The broker as people know it; never the password.
#[must_use]
pub fn url(broker: &Mqtt) -> String {
    broker.url()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MqttConnection, Secret};

    #[test]
    fn what_the_broker_is_asked_for() {
        let broker = Mqtt {
            host: "[::1]".to_owned(),
            port: 1884,
            tls: false,
            username: Some("stakeout".to_owned()),
            password: Some(Secret::new("hush".to_owned())),
            prefix: "stakeout".to_owned(),
            client_id: "stakeout-1".to_owned(),
            connection: MqttConnection::default(),
        };
        let Options::V5(options) = options(&broker, "stakeout/status", "offline").unwrap() else {
            panic!("MQTT 5 unless told otherwise")
        };
        assert_eq!(options.broker_address(), ("::1".to_owned(), 1884));
        assert_eq!((options.client_id().as_str(), options.clean_start()), ("stakeout-1", true));
        assert_eq!(options.max_packet_size(), Some(8 << 20));
        let will = options.last_will().unwrap();
        assert_eq!((&will.topic[..], &will.message[..]), (&b"stakeout/status"[..], &b"offline"[..]));
        assert!(will.retain && will.qos == v5::mqttbytes::QoS::AtLeastOnce);
        let login = options.credentials().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("stakeout", "hush"));

        let connection = MqttConnection { version: MqttVersion::V311, ..MqttConnection::default() };
        let broker = Mqtt { connection, ..broker };
        let Options::V311(options) = super::options(&broker, "stakeout/status", "offline").unwrap() else {
            panic!("MQTT 3.1.1 if told so")
        };
        assert_eq!(options.broker_address(), ("::1".to_owned(), 1884));
        assert_eq!((options.client_id().as_str(), options.clean_session()), ("stakeout-1", true));
        assert_eq!((options.max_packet_size(), options.inflight()), (8 << 20, INFLIGHT));
        let will = options.last_will().unwrap();
        assert_eq!((&*will.topic, &will.message[..]), ("stakeout/status", &b"offline"[..]));
        assert!(will.retain && will.qos == rumqttc::QoS::AtLeastOnce);
        let login = options.credentials().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("stakeout", "hush"));
        assert_eq!(url(&broker), "mqtt://[::1]:1884");
    }
}
