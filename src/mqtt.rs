//! Connection options, and what it means when there is no connection ([`trouble`]).
//!
//! It refuses to connect, to retry and to keep anything: whoever connects owns that.

mod tls;
pub mod trouble;

pub use self::tls::Error;
use crate::config::Mqtt;
use rumqttc::{
    NetworkOptions, Transport,
    v5::{
        MqttOptions,
        mqttbytes::{QoS, v5::LastWill},
    },
};

/// TCP, TLS and the broker's answer together.
const CONNECT_SECONDS: u64 = 10;
/// Larger messages are not taken; the library's own limit of 10 KiB would break the connection at the first picture.
const MAX_INCOMING: u32 = 8 * 1024 * 1024;
/// So many unacknowledged messages at a time; the library would otherwise keep a table of 65,536.
pub const INFLIGHT: u16 = 16;

/// How to connect to `broker`. If the connection breaks, the broker itself says `farewell` on `will_topic`.
///
/// The session starts clean each time: what must not be lost is in the outbox, not in the broker's memory of us.
pub fn options(broker: &Mqtt, will_topic: &str, farewell: &str) -> Result<MqttOptions, Error> {
    let mut options = connection(broker, &broker.client_id)?;
    options.set_last_will(LastWill::new(will_topic, farewell, QoS::AtLeastOnce, true, None));
    Ok(options)
}

/// How to look whether `broker` takes us in, beside a service that is connected under our own name: two clients of one
/// name throw each other out.
pub fn visit(broker: &Mqtt) -> Result<MqttOptions, Error> {
    connection(broker, &format!("{}-check", broker.client_id))
}

/// How to listen beside a service that is connected under our own name, and beside others who listen.
pub fn listener(broker: &Mqtt) -> Result<MqttOptions, Error> {
    connection(broker, &format!("{}-alerts-{}", broker.client_id, std::process::id()))
}

/// How the source at the topic level `source` listens beside everything else, and takes packets up to `max_packet` bytes.
pub fn source(broker: &Mqtt, source: &str, max_packet: u32) -> Result<MqttOptions, Error> {
    let mut options = connection(broker, &format!("{}-from-{source}", broker.client_id))?;
    options.set_max_packet_size(Some(max_packet));
    Ok(options)
}

fn connection(broker: &Mqtt, client_id: &str) -> Result<MqttOptions, Error> {
    let mut options = match &broker.connection.websocket {
        // For WebSockets the library takes the whole address.
        Some(path) => MqttOptions::new(client_id, format!("{}{path}", url(broker)), broker.port),
        // An IPv6 address stands in brackets only in a URL.
        None => MqttOptions::new(client_id, broker.host.trim_matches(['[', ']']), broker.port),
    };
    options
        .set_clean_start(true)
        .set_keep_alive(broker.connection.keep_alive)
        .set_connection_timeout(CONNECT_SECONDS)
        .set_max_packet_size(Some(MAX_INCOMING))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_network_options(network());
    if let Some(username) = &broker.username {
        let password = broker.password.as_ref().map_or("", |password| password.reveal());
        options.set_credentials(username, password);
    }
    match (&broker.connection.websocket, broker.tls) {
        (None, false) => {}
        (None, true) => {
            options.set_transport(Transport::tls_with_config(tls::config(broker)?.into()));
        }
        (Some(_), false) => {
            options.set_transport(Transport::ws());
        }
        (Some(_), true) => {
            options.set_transport(Transport::wss_with_config(tls::config(broker)?.into()));
        }
    }
    Ok(options)
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
    let scheme = match (&broker.connection.websocket, broker.tls) {
        (None, false) => "mqtt",
        (None, true) => "mqtts",
        (Some(_), false) => "ws",
        (Some(_), true) => "wss",
    };
    let host = if broker.host.contains(':') && !broker.host.starts_with('[') {
        format!("[{}]", broker.host)
    } else {
        broker.host.clone()
    };
    format!("{scheme}://{host}:{}", broker.port)
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
        let options = options(&broker, "stakeout/status", "offline").unwrap();
        assert_eq!(options.broker_address(), ("::1".to_owned(), 1884));
        assert_eq!((options.client_id().as_str(), options.clean_start()), ("stakeout-1", true));
        assert_eq!(options.max_packet_size(), Some(8 << 20));
        let will = options.last_will().unwrap();
        assert_eq!((&will.topic[..], &will.message[..]), (&b"stakeout/status"[..], &b"offline"[..]));
        assert!(will.retain && will.qos == QoS::AtLeastOnce);
        let login = options.credentials().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("stakeout", "hush"));
        assert_eq!(url(&broker), "mqtt://[::1]:1884");
    }
}
