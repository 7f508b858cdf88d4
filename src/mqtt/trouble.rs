//! What the library's errors mean, in words for people: for everybody who is connected to a broker.
//!
//! Pure. It refuses to decide when to try again, and when to say it.

use std::io;

use rumqttc::{
    TlsError,
    v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode},
};

/// MQTT 5's reason code "packet too large".
const TOO_LARGE: u8 = 0x95;
/// What MQTT 3.1.1 answers to a version that the broker does not speak.
const OTHER_VERSION: u8 = 1;
/// For a broker that does not speak MQTT 5.
const OLDER: &str = "the broker does not speak MQTT 5: set `version: 3.1.1` below `mqtt:`";

/// Why there is no connection, in words for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it is about who we are: waiting does not help then.
    pub login: bool,
    /// What happened, and what to do if it is known.
    pub text: String,
}

/// Why a connection did not come about, or broke.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Broken {
    error: Cause,
    /// Whether the broker had taken us in.
    taken_in: bool,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    V5(Box<rumqttc::v5::ConnectionError>),
    #[error(transparent)]
    V311(Box<rumqttc::ConnectionError>),
}

impl Broken {
    pub(super) fn v5(error: rumqttc::v5::ConnectionError, taken_in: bool) -> Self {
        Self { error: Cause::V5(Box::new(error)), taken_in }
    }

    pub(super) fn v311(error: rumqttc::ConnectionError) -> Self {
        Self { error: Cause::V311(Box::new(error)), taken_in: true }
    }
}

/// What `broken` means for somebody who connects as `username`.
pub fn explain(broken: &Broken, username: Option<&str>) -> Trouble {
    let text = match &broken.error {
        Cause::V5(error) => five(error, broken.taken_in),
        Cause::V311(error) => three(error),
    };
    match text {
        Ok(text) => Trouble { login: false, text },
        Err(NotUs) => Trouble { login: true, text: login(username) },
    }
}

/// The broker does not take us in because of who we are.
struct NotUs;

fn five(error: &rumqttc::v5::ConnectionError, taken_in: bool) -> Result<String, NotUs> {
    use ConnectReturnCode::{
        BadClientId, BadUserNamePassword, ClientIdentifierNotValid, NotAuthorized, RefusedProtocolVersion,
        UnsupportedProtocolVersion,
    };
    use rumqttc::v5::{ConnectionError, StateError, mqttbytes::Error as Packet};

    Ok(match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => return Err(NotUs),
        ConnectionError::ConnectionRefused(BadClientId | ClientIdentifierNotValid) => client_id(),
        ConnectionError::ConnectionRefused(RefusedProtocolVersion | UnsupportedProtocolVersion)
        | ConnectionError::MqttState(StateError::Deserialization(Packet::InvalidConnectReturnCode(
            OTHER_VERSION,
        ))) => OLDER.to_owned(),
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        ConnectionError::Timeout(_) => silent(),
        // The library waits for more of an answer in MQTT 3.1.1, and the broker hangs up behind it.
        ConnectionError::MqttState(StateError::ConnectionAborted) if !taken_in => {
            format!("the broker closed the connection before it took us in; it may be that {}", OLDER)
        }
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(Packet::Io(error)),
        )
        | ConnectionError::Tls(TlsError::Io(error)) => input_output(error),
        ConnectionError::MqttState(StateError::ConnectionAborted) => closed(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => mute(),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            disconnected(*reason_code)
        }
        ConnectionError::MqttState(StateError::Deserialization(Packet::PayloadSizeLimitExceeded {
            pkt_size,
            max,
        })) => too_large(*pkt_size, Some(*max)),
        // The library does not know this answer to a message; mosquitto's message_size_limit gives it.
        ConnectionError::MqttState(StateError::Deserialization(Packet::InvalidConnectReturnCode(
            TOO_LARGE,
        ))) => "a message is too large for the broker".to_owned(),
        other => other.to_string(),
    })
}

fn three(error: &rumqttc::ConnectionError) -> Result<String, NotUs> {
    use rumqttc::{
        ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized, RefusedProtocolVersion},
        ConnectionError, StateError,
        mqttbytes::Error as Packet,
    };

    Ok(match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => return Err(NotUs),
        ConnectionError::ConnectionRefused(BadClientId) => client_id(),
        ConnectionError::ConnectionRefused(RefusedProtocolVersion) => {
            "the broker does not speak MQTT 3.1.1: set `version: 5` below `mqtt:`".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => silent(),
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(Packet::Io(error)),
        )
        | ConnectionError::Tls(TlsError::Io(error)) => input_output(error),
        ConnectionError::MqttState(StateError::ConnectionAborted) => closed(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => mute(),
        ConnectionError::MqttState(StateError::Deserialization(Packet::PayloadSizeLimitExceeded(size))) => {
            too_large(*size, None)
        }
        other => other.to_string(),
    })
}

fn client_id() -> String {
    "the broker does not accept our name: set mqtt.client_id to another".to_owned()
}

fn silent() -> String {
    "there is no answer".to_owned()
}

fn closed() -> String {
    "the broker closed the connection".to_owned()
}

fn mute() -> String {
    "the broker no longer answers".to_owned()
}

/// In MQTT 5 the broker knows our limit, and keeps such messages to itself.
fn too_large(size: usize, max: Option<u32>) -> String {
    let limit = max.map_or(String::new(), |max| format!(" ({max})"));
    format!(
        "a message of {size} bytes came, which is more than we take{limit}: see `max_packet` of the source"
    )
}

fn login(username: Option<&str>) -> String {
    match username {
        Some(username) => format!(
            "the broker does not accept the user `{username}` with this password: \
             check mqtt.username and mqtt.password"
        ),
        None => "the broker wants to know who connects: set mqtt.username and mqtt.password".to_owned(),
    }
}

fn input_output(error: &io::Error) -> String {
    let text = error.to_string();
    let known = [
        (
            "UnknownIssuer",
            "nobody who is trusted has signed the broker's certificate: name the PEM file of its CA in mqtt.tls.ca, \
             or add it to the system's certificates",
        ),
        ("NotValidForName", "the broker's certificate is for another name: use that name in mqtt.url"),
        ("Expired", "the broker's certificate, or the clock of this machine, is out of date"),
        (
            "CertificateRequired",
            "the broker wants a certificate from us: set mqtt.tls.certificate and mqtt.tls.key",
        ),
        ("UnknownCA", "the broker does not know who signed our certificate: see mqtt.tls.certificate"),
        (
            "InvalidContentType",
            "the broker does not speak TLS at this port: see the scheme and the port of mqtt.url",
        ),
    ];
    if let Some((_, words)) = known.iter().find(|(sign, _)| text.contains(sign)) {
        return (*words).to_owned();
    }
    text
}

fn disconnected(reason: DisconnectReasonCode) -> String {
    match reason {
        DisconnectReasonCode::SessionTakenOver => {
            "another client has connected under our name: give each its own mqtt.client_id".to_owned()
        }
        DisconnectReasonCode::ServerShuttingDown => "the broker is shutting down".to_owned(),
        reason => format!("the broker ended the connection: {reason:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: rumqttc::v5::ConnectionError, username: Option<&str>) -> Trouble {
        explain(&Broken::v5(error, true), username)
    }

    #[test]
    fn errors_in_words_for_people() {
        use rumqttc::v5::{ConnectionError, StateError, mqttbytes};

        let refused = words(ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized), Some("me"));
        assert!(refused.login && refused.text.contains("user `me`"), "{refused:?}");
        let nobody = words(ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword), None);
        assert!(nobody.login && nobody.text.contains("set mqtt.username"), "{nobody:?}");

        let answer = |code| {
            ConnectionError::MqttState(StateError::Deserialization(
                mqttbytes::Error::InvalidConnectReturnCode(code),
            ))
        };
        let cases = [
            (ConnectionError::Io(io::Error::other("no route")), "no route"),
            (ConnectionError::MqttState(StateError::Io(io::Error::other("no route"))), "no route"),
            (answer(149), "a message is too large for the broker"),
            (answer(1), OLDER),
            (ConnectionError::ConnectionRefused(ConnectReturnCode::UnsupportedProtocolVersion), OLDER),
            (ConnectionError::MqttState(StateError::ConnectionAborted), "the broker closed the connection"),
            (
                ConnectionError::MqttState(StateError::ServerDisconnect {
                    reason_code: DisconnectReasonCode::SessionTakenOver,
                    reason_string: None,
                }),
                "another client has connected under our name: give each its own mqtt.client_id",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(words(error, None), Trouble { login: false, text: expected.to_owned() });
        }
        let early = Broken::v5(ConnectionError::MqttState(StateError::ConnectionAborted), false);
        assert!(explain(&early, None).text.ends_with(OLDER));
    }

    #[test]
    fn the_same_in_the_older_version() {
        use rumqttc::{ConnectReturnCode, ConnectionError, StateError, mqttbytes};

        let words = |error| explain(&Broken::v311(error), Some("me"));
        let refused = words(ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword));
        assert!(refused.login && refused.text.contains("user `me`"), "{refused:?}");
        let large = mqttbytes::Error::PayloadSizeLimitExceeded(9);
        let cases = [
            (ConnectionError::Io(io::Error::other("no route")), "no route"),
            (ConnectionError::NetworkTimeout, "there is no answer"),
            (
                ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion),
                "the broker does not speak MQTT 3.1.1: set `version: 5` below `mqtt:`",
            ),
            (ConnectionError::MqttState(StateError::ConnectionAborted), "the broker closed the connection"),
            (
                ConnectionError::MqttState(StateError::Deserialization(large)),
                "a message of 9 bytes came, which is more than we take: see `max_packet` of the source",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(words(error), Trouble { login: false, text: expected.to_owned() });
        }
    }
}
