//! What the library's errors mean, in words for people: for everybody who is connected to a broker.
//!
//! Pure. It refuses to decide when to try again, and when to say it.

use std::io;

use rumqttc::v5::{
    ConnectionError, StateError, TlsError,
    mqttbytes::{
        self,
        v5::{ConnectReturnCode, DisconnectReasonCode},
    },
};

/// MQTT 5's reason code "packet too large".
const TOO_LARGE: u8 = 0x95;

/// Why there is no connection, in words for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it is about who we are: waiting does not help then.
    pub login: bool,
    /// What happened, and what to do if it is known.
    pub text: String,
}

/// What `error` means for somebody who connects as `username`.
pub fn explain(error: &ConnectionError, username: Option<&str>) -> Trouble {
    use ConnectReturnCode::{BadClientId, BadUserNamePassword, ClientIdentifierNotValid, NotAuthorized};
    use mqttbytes::Error as Packet;

    let text = match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => {
            return Trouble { login: true, text: login(username) };
        }
        ConnectionError::ConnectionRefused(BadClientId | ClientIdentifierNotValid) => {
            "the broker does not accept our name: set mqtt.client_id to another".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses the connection: {code:?}"),
        ConnectionError::Timeout(_) => "there is no answer".to_owned(),
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(Packet::Io(error)),
        ) => input_output(error),
        ConnectionError::Tls(TlsError::Io(error)) => input_output(error),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection".to_owned()
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker no longer answers".to_owned(),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            disconnected(*reason_code)
        }
        // The library does not know this answer to a message; mosquitto's message_size_limit gives it.
        ConnectionError::MqttState(StateError::Deserialization(Packet::InvalidConnectReturnCode(
            TOO_LARGE,
        ))) => "a message is too large for the broker".to_owned(),
        other => other.to_string(),
    };
    Trouble { login: false, text }
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

    #[test]
    fn errors_in_words_for_people() {
        let words = |error: ConnectionError| explain(&error, Some("stakeout"));
        let refused = words(ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized));
        assert!(refused.login && refused.text.contains("user `stakeout`"), "{refused:?}");
        let nobody =
            explain(&ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword), None);
        assert!(nobody.login && nobody.text.contains("set mqtt.username"), "{nobody:?}");

        let cases = [
            (ConnectionError::Io(io::Error::other("no route")), "no route"),
            (ConnectionError::MqttState(StateError::Io(io::Error::other("no route"))), "no route"),
            (
                ConnectionError::MqttState(StateError::Deserialization(
                    mqttbytes::Error::InvalidConnectReturnCode(149),
                )),
                "a message is too large for the broker",
            ),
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
            assert_eq!(words(error), Trouble { login: false, text: expected.to_owned() });
        }
    }
}
