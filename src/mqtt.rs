//! Connection options.
//!
//! It refuses to connect, to retry and to keep anything: whoever connects owns that.

use std::{sync::Arc, time::Duration};

use rumqttc::{
    NetworkOptions, Transport,
    v5::{
        MqttOptions,
        mqttbytes::{QoS, v5::LastWill},
    },
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::config::Mqtt;

/// A dead link is noticed after one to two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// TCP, TLS and the broker's answer together.
const CONNECT_SECONDS: u64 = 10;
/// Larger messages are not taken; the library's own limit of 10 KiB would break the connection at the first picture.
const MAX_INCOMING: u32 = 8 * 1024 * 1024;
/// So many unacknowledged messages at a time; the library would otherwise keep a table of 65,536.
pub const INFLIGHT: u16 = 16;

/// What `mqtts://` cannot do without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no certificates to check the broker's against.
    #[error(
        "mqtts:// needs the system's root certificates and there are none{0}: \
         install them (Debian: ca-certificates), or name a PEM file in SSL_CERT_FILE"
    )]
    NoRoots(String),
    /// The TLS library does not take the defaults.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

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

fn connection(broker: &Mqtt, client_id: &str) -> Result<MqttOptions, Error> {
    // An IPv6 address stands in brackets only in a URL.
    let host = broker.host.trim_matches(['[', ']']);
    let mut options = MqttOptions::new(client_id, host, broker.port);
    options
        .set_clean_start(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_connection_timeout(CONNECT_SECONDS)
        .set_max_packet_size(Some(MAX_INCOMING))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_network_options(network());
    if let Some(username) = &broker.username {
        let password = broker.password.as_ref().map_or("", |password| password.reveal());
        options.set_credentials(username, password);
    }
    if broker.tls {
        options.set_transport(Transport::tls_with_config(tls()?.into()));
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
    let scheme = if broker.tls { "mqtts" } else { "mqtt" };
    format!("{scheme}://{}:{}", broker.host, broker.port)
}

fn tls() -> Result<ClientConfig, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
        return Err(Error::NoRoots(why));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

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
