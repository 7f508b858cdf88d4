//! Connections to MQTT brokers: options for each purpose, the [`connection`], and explanations of its failures ([`failure`]).
//!
//! Connecting again is up to the caller.

pub mod connection;
pub mod failure;
#[cfg(test)]
pub mod fake;

use std::time::Duration;

pub use self::connection::Options;
use self::{
    connection::{CONNECT_SECONDS, Event, Filter, Session, network},
    failure::Explanation,
};
pub use crate::tls::Error;
use crate::{
    config::{Mqtt, MqttVersion, TlsFiles},
    tls,
};
use rumqttc::{Transport, v5};

/// The largest packet that is accepted, in bytes; the library's default of 10 KiB would break the connection at the first picture.
const MAX_INCOMING: u32 = 8 * 1024 * 1024;
/// The largest packet with a request, in bytes.
const MAX_COMMAND: u32 = 64 * 1024;
/// How many messages are unacknowledged at a time; by default the library would keep a table of 65,536.
pub const INFLIGHT: u16 = 16;
/// How long the broker keeps the session of a disconnected member of a shared subscription.
const SESSION: Duration = Duration::from_secs(3600);
/// How long the broker is asked to keep the session with which [`check_sessions`] checks it.
const CHECKED_SESSION: Duration = Duration::from_secs(30 * 24 * 3600);
/// The time limit for each connection of [`check_sessions`]; the broker must accept it and answer a subscription.
const VISIT: Duration = Duration::from_secs(2 * CONNECT_SECONDS);

/// Options of the publisher. If the connection breaks, the broker publishes `will_payload` to `will_topic`.
///
/// The session starts clean each time: what must not be lost is in the outbox, not in the broker's session.
///
/// # Errors
/// The files for TLS cannot be used.
pub fn options(broker: &Mqtt, will_topic: &str, will_payload: &str) -> Result<Options, Error> {
    let mut options = connect(broker, &broker.client_id, MAX_INCOMING)?;
    match &mut options {
        Options::V5(options) => {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            options.set_last_will(v5::mqttbytes::v5::LastWill::new(
                will_topic,
                will_payload,
                qos,
                true,
                None,
            ));
        }
        Options::V311(options) => {
            let qos = rumqttc::QoS::AtLeastOnce;
            options.set_last_will(rumqttc::LastWill::new(will_topic, will_payload, qos, true));
        }
        #[cfg(test)]
        Options::Fake(_) => {}
    }
    Ok(options)
}

/// Options to check whether `broker` accepts a connection. The client ID is another one: a running service would be disconnected
/// by a client with its ID.
///
/// # Errors
/// The files for TLS cannot be used.
pub fn check(broker: &Mqtt) -> Result<Options, Error> {
    connect(broker, &format!("{}-check", broker.client_id), MAX_INCOMING)
}

/// Why a broker cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct NotUsable {
    /// What is wrong, and the remedy if it is known; for people.
    pub text: String,
    /// The configuration must be corrected. Otherwise the broker may only be unreachable at the moment.
    pub is_configuration: bool,
}

/// Connects to `broker` and disconnects again. The result is what the broker does not support although alerts need it, for people.
///
/// # Errors
/// The broker does not accept the connection.
pub async fn check_connection(broker: &Mqtt) -> Result<Option<&'static str>, NotUsable> {
    let options =
        check(broker).map_err(|error| NotUsable { text: error.to_string(), is_configuration: true })?;
    let (client, mut connection) = connection::open(options, 1);
    loop {
        let event = connection.poll().await.map_err(|error| {
            let Explanation { login, text } = failure::explain(&error, broker.username.as_deref());
            NotUsable { text, is_configuration: login }
        })?;
        match event {
            // The queue has room for this one packet.
            Event::Connected { .. } => drop(client.disconnect()),
            Event::Disconnected => return Ok(connection.lacks()),
            _ => {}
        }
    }
}

/// What a broker showed about the sessions of clients that disconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// It still had the session of an earlier check.
    pub had_earlier: bool,
    /// It kept the session between the two connections of this check.
    pub keeps: bool,
    /// How long it keeps a session; 30 days at most.
    pub lifetime: Duration,
}

/// Checks whether `broker` keeps the session of a client that disconnects. Connects twice, and leaves a session at the broker that
/// expires after 30 days and has one subscription, to a topic without messages: some brokers keep no session without one.
///
/// # Errors
/// The broker does not accept a connection or the subscription.
pub async fn check_sessions(broker: &Mqtt) -> Result<Sessions, NotUsable> {
    let topic = format!("{}/doctor", broker.prefix);
    let earlier = visit(broker, Some(topic)).await?;
    let again = visit(broker, None).await?;
    let granted = earlier.expiry.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(Sessions {
        had_earlier: earlier.is_present,
        keeps: again.is_present,
        lifetime: granted.unwrap_or(CHECKED_SESSION).min(CHECKED_SESSION),
    })
}

/// Connects with a session that the broker keeps, subscribes to `topic`, and disconnects.
async fn visit(broker: &Mqtt, topic: Option<String>) -> Result<Session, NotUsable> {
    let options =
        lasting(broker).map_err(|error| NotUsable { text: error.to_string(), is_configuration: true })?;
    let unusable = |text: String| NotUsable { text, is_configuration: false };
    let (client, mut connection) = connection::open(options, 1);
    let talk = async {
        loop {
            let event = connection.poll().await.map_err(|error| {
                let Explanation { login, text } = failure::explain(&error, broker.username.as_deref());
                NotUsable { text, is_configuration: login }
            })?;
            match (event, &topic) {
                // The queue has room for this one packet.
                (Event::Connected { .. }, Some(topic)) => {
                    let filter = Filter { path: topic.clone(), at_least_once: true, retained: false };
                    drop(client.subscribe(&[filter]));
                }
                (Event::Connected { .. }, None) => drop(client.disconnect()),
                (Event::Subscribed(answers), _) => match answers.into_iter().flatten().next() {
                    Some(refusal) => {
                        return Err(unusable(format!("the broker refuses a subscription ({refusal})")));
                    }
                    None => drop(client.disconnect()),
                },
                (Event::Disconnected, _) => return Ok(connection.session()),
                _ => {}
            }
        }
    };
    let limit = VISIT.as_secs();
    tokio::time::timeout(VISIT, talk)
        .await
        .unwrap_or_else(|_| Err(unusable(format!("the broker did not answer within {limit} s"))))
}

/// Options of a client whose session the broker is asked to keep.
fn lasting(broker: &Mqtt) -> Result<Options, Error> {
    let mut options = connect(broker, &format!("{}-doctor", broker.client_id), MAX_INCOMING)?;
    match &mut options {
        Options::V5(options) => {
            let seconds = u32::try_from(CHECKED_SESSION.as_secs()).ok();
            options.set_clean_start(false).set_session_expiry_interval(seconds);
        }
        Options::V311(options) => {
            options.set_clean_session(false);
        }
        #[cfg(test)]
        Options::Fake(_) => {}
    }
    Ok(options)
}

/// Options to receive alerts beside a running service and beside others that receive alerts.
///
/// # Errors
/// The files for TLS cannot be used.
pub fn subscriber(broker: &Mqtt) -> Result<Options, Error> {
    connect(broker, &format!("{}-alerts-{}", broker.client_id, std::process::id()), MAX_INCOMING)
}

/// Options to answer requests, beside the connection that publishes alerts.
///
/// # Errors
/// The files for TLS cannot be used.
pub fn commands(broker: &Mqtt) -> Result<Options, Error> {
    connect(broker, &format!("{}-commands", broker.client_id), MAX_COMMAND)
}

/// Options of the source with the identifier `source`, which accepts packets up to `max_packet` bytes.
///
/// # Errors
/// The files for TLS cannot be used.
pub fn source(broker: &Mqtt, source: &str, max_packet: u32) -> Result<Options, Error> {
    connect(broker, &format!("{}-from-{source}", broker.client_id), max_packet)
}

/// Options of a source in a shared subscription: the broker keeps its session for an hour, and sends no more than `slots` messages
/// that are not acknowledged. This needs MQTT 5; with MQTT 3.1.1, for which the configuration allows no sharing, it equals
/// [`source`].
///
/// # Errors
/// The files for TLS cannot be used.
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
        // For WebSockets the library needs the whole address.
        Some(path) => format!("{}{}", url(broker), path.reveal()),
        // An IPv6 address has brackets only in a URL.
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
                // The broker does not report its limit.
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
    let TlsFiles { trust, identity, alpn } = &broker.connection.tls;
    let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
    let tls = || tls::client_config(trust, identity, alpn).map(Into::into);
    Ok(match (&broker.connection.websocket, broker.tls) {
        (None, false) => Transport::tcp(),
        (None, true) => Transport::tls_with_config(tls()?),
        (Some(_), false) => Transport::ws(),
        (Some(_), true) => Transport::wss_with_config(tls()?),
    })
}

/// The address of the broker for people, without user and password.
#[must_use]
pub fn url(broker: &Mqtt) -> String {
    broker.url()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MqttConnection, Secret};

    #[test]
    fn options_hold_what_is_configured() {
        let broker = Mqtt {
            host: "[::1]".to_owned(),
            port: 1884,
            tls: false,
            username: Some("stakeout".to_owned()),
            password: Some(Secret::new("hush".to_owned())),
            prefix: "stakeout".to_owned(),
            client_id: "stakeout-1".to_owned(),
            connection: MqttConnection::default(),
            commands: false,
            near_misses: false,
        };
        let Options::V5(options) = options(&broker, "stakeout/status", "offline").unwrap() else {
            panic!("MQTT 5 by default")
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
            panic!("MQTT 3.1.1 if it is configured")
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
