//! Explains the errors of a connection for people, with the remedy if it is known. Pure.

use std::io;

use rumqttc::{
    TlsError,
    v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode},
};

use crate::tls;

/// MQTT 5's reason code "packet too large".
const TOO_LARGE: u8 = 0x95;
/// The return code for a version of MQTT that the broker does not support.
const OTHER_VERSION: u8 = 1;
/// For a broker without MQTT 5.
const OLDER: &str = "the broker does not speak MQTT 5: set `version: 3.1.1` below `mqtt:`";

/// For a broker without retained messages, and for one without QoS 1.
pub(super) const NO_RETAIN: &str = "the broker keeps no retained messages, which status topics, snapshots and Home Assistant need: \
                                    allow them in the broker, or use another one";
pub(super) const NO_QOS: &str = "the broker supports only QoS 0, and may lose alerts without notice: allow QoS 1 in the broker, or use \
                                 another one";
/// The other side, in explanations of TLS.
const BROKER: &str = "broker";

/// Why there is no connection, for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the broker rejects the user: trying again does not help.
    pub login: bool,
    /// What happened, and the remedy if it is known.
    pub text: String,
}

/// A connection could not be made, or broke.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ConnectionFailure {
    error: Cause,
    /// Whether the broker had accepted the connection.
    accepted: bool,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    V5(Box<rumqttc::v5::ConnectionError>),
    #[error(transparent)]
    V311(Box<rumqttc::ConnectionError>),
}

impl ConnectionFailure {
    pub(super) fn v5(error: rumqttc::v5::ConnectionError, accepted: bool) -> Self {
        Self { error: Cause::V5(Box::new(error)), accepted }
    }

    pub(super) fn v311(error: rumqttc::ConnectionError) -> Self {
        Self { error: Cause::V311(Box::new(error)), accepted: true }
    }
}

/// Explains `error` to people. `username` is the configured user.
pub fn explain(error: &ConnectionFailure, username: Option<&str>) -> Explanation {
    let tls = match &error.error {
        Cause::V5(cause) => tls::explain(&**cause, BROKER),
        Cause::V311(cause) => tls::explain(&**cause, BROKER),
    };
    let text = match (tls, &error.error) {
        (Some(text), _) => Ok(text),
        (None, Cause::V5(cause)) => five(cause, error.accepted),
        (None, Cause::V311(cause)) => three(cause),
    };
    match text {
        Ok(text) => Explanation { login: false, text },
        Err(WrongUser) => Explanation { login: true, text: login(username) },
    }
}

/// The broker rejects the user.
struct WrongUser;

fn five(error: &rumqttc::v5::ConnectionError, accepted: bool) -> Result<String, WrongUser> {
    use ConnectReturnCode::{
        BadClientId, BadUserNamePassword, ClientIdentifierNotValid, NotAuthorized, QoSNotSupported,
        RefusedProtocolVersion, RetainNotSupported, UnsupportedProtocolVersion,
    };
    use rumqttc::v5::{ConnectionError, StateError, mqttbytes::Error as Packet};

    Ok(match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => return Err(WrongUser),
        ConnectionError::ConnectionRefused(BadClientId | ClientIdentifierNotValid) => client_id(),
        ConnectionError::ConnectionRefused(RefusedProtocolVersion | UnsupportedProtocolVersion)
        | ConnectionError::MqttState(StateError::Deserialization(Packet::InvalidConnectReturnCode(
            OTHER_VERSION,
        ))) => OLDER.to_owned(),
        ConnectionError::ConnectionRefused(RetainNotSupported) => NO_RETAIN.to_owned(),
        ConnectionError::ConnectionRefused(QoSNotSupported) => NO_QOS.to_owned(),
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        // A broker without MQTT 5 may ignore our first packet.
        ConnectionError::Timeout(_) if !accepted => {
            format!("{}; if other MQTT clients reach the broker, perhaps {OLDER}", silent())
        }
        ConnectionError::Timeout(_) => silent(),
        // The library waits for the rest of an MQTT 5 answer, and the broker closes the connection.
        ConnectionError::MqttState(StateError::ConnectionAborted) if !accepted => {
            format!("the broker closed the connection before it accepted it; perhaps {}", OLDER)
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

fn three(error: &rumqttc::ConnectionError) -> Result<String, WrongUser> {
    use rumqttc::{
        ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized, RefusedProtocolVersion},
        ConnectionError, StateError,
        mqttbytes::Error as Packet,
    };

    Ok(match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => return Err(WrongUser),
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

/// With MQTT 5 the broker knows our limit, and does not send such messages.
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

/// The library hides some of these from [`tls::explain`].
fn input_output(error: &io::Error) -> String {
    tls::explain_io(error, BROKER).unwrap_or_else(|| error.to_string())
}

fn disconnected(reason: DisconnectReasonCode) -> String {
    match reason {
        DisconnectReasonCode::SessionTakenOver => {
            "another client has connected under our name: give each its own mqtt.client_id".to_owned()
        }
        DisconnectReasonCode::ServerShuttingDown => "the broker is shutting down".to_owned(),
        DisconnectReasonCode::RetainNotSupported => NO_RETAIN.to_owned(),
        DisconnectReasonCode::QoSNotSupported => NO_QOS.to_owned(),
        reason => format!("the broker ended the connection: {reason:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: rumqttc::v5::ConnectionError, username: Option<&str>) -> Explanation {
        explain(&ConnectionFailure::v5(error, true), username)
    }

    #[test]
    fn errors_are_explained() {
        use rumqttc::v5::{ConnectionError, StateError, mqttbytes};

        let refused = words(ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized), Some("me"));
        assert!(refused.login && refused.text.contains("user `me`"), "{refused:?}");
        let anonymous =
            words(ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword), None);
        assert!(anonymous.login && anonymous.text.contains("set mqtt.username"), "{anonymous:?}");

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
            assert_eq!(words(error, None), Explanation { login: false, text: expected.to_owned() });
        }
        let early = ConnectionFailure::v5(ConnectionError::MqttState(StateError::ConnectionAborted), false);
        assert!(explain(&early, None).text.ends_with(OLDER));
    }

    /// Such as amqtt, which ignores our first packet.
    #[tokio::test]
    async fn a_broker_that_never_answers_may_not_speak_mqtt_5() {
        let silence = tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>());
        let error = rumqttc::v5::ConnectionError::Timeout(silence.await.unwrap_err());
        let text = explain(&ConnectionFailure::v5(error, false), None).text;
        assert!(text.starts_with("there is no answer") && text.ends_with(OLDER), "{text}");
    }

    #[test]
    fn errors_of_mqtt_3_1_1_are_explained() {
        use rumqttc::{ConnectReturnCode, ConnectionError, StateError, mqttbytes};

        let words = |error| explain(&ConnectionFailure::v311(error), Some("me"));
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
            assert_eq!(words(error), Explanation { login: false, text: expected.to_owned() });
        }
    }
}
