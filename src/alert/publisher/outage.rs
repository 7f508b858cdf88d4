//! What people are told while the broker is away: the first failure at once, then a line a minute, then the end.
//!
//! Pure: the caller brings the clock and writes the lines. It refuses to decide when to try again.

use std::{io, time::Duration};

use rumqttc::v5::{
    ConnectionError, StateError, TlsError,
    mqttbytes::{
        self,
        v5::{ConnectReturnCode, DisconnectReasonCode},
    },
};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// MQTT 5's reason code "packet too large".
const TOO_LARGE: u8 = 0x95;

/// Says a lasting thing once a minute.
#[derive(Debug, Default)]
pub struct Reminder {
    last: Option<Instant>,
}

impl Reminder {
    /// Whether it is time to say it (again).
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= MINUTE);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Since when the broker is away, and what was said about it.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    login: bool,
    told: bool,
    /// Outlives an outage: a connection that breaks every second is told of once a minute too.
    reminder: Reminder,
    connected_before: bool,
}

/// What is to be said when there is a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// The first one.
    First,
    /// There was none for so long, and people know.
    Back(Duration),
    /// Nobody knows that there was none.
    Nothing,
}

/// Why there is no connection, in words for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it is about who we are: waiting does not help then.
    pub login: bool,
    /// What happened, and what to do if it is known.
    pub text: String,
}

impl Outage {
    /// One more failure. Says for how long the broker is away by now if that is to be told.
    pub fn failed(&mut self, now: Instant, trouble: &Trouble) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if self.login != trouble.login {
            // Something else is wrong now.
            self.reminder = Reminder::default();
            self.login = trouble.login;
        }
        let due = self.reminder.due(now);
        self.told |= due;
        due.then(|| now.duration_since(since))
    }

    /// There is a connection.
    pub fn over(&mut self, now: Instant) -> Word {
        let (since, told) = (self.since.take(), std::mem::take(&mut self.told));
        let first = !std::mem::replace(&mut self.connected_before, true);
        match since {
            Some(since) if told => Word::Back(now.duration_since(since)),
            _ if first => Word::First,
            _ => Word::Nothing,
        }
    }

    /// Whether the broker is known to be away.
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }
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
    if text.contains("UnknownIssuer") {
        return "nobody this system trusts has signed the broker's certificate: add its CA to the system's \
                certificates, or name the PEM file in SSL_CERT_FILE"
            .to_owned();
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
    fn the_first_failure_at_once_then_a_line_a_minute_then_the_end() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let trouble = |login| Trouble { login, text: String::new() };
        let mut outage = Outage::default();
        assert_eq!(outage.over(at(0)), Word::First, "the first connection ends no outage");

        let told = [0, 1, 30, 59, 60, 61, 119, 121].map(|second| outage.failed(at(second), &trouble(false)));
        let seconds = told.map(|told| told.map(|away| away.as_secs()));
        assert_eq!(seconds, [Some(0), None, None, None, Some(60), None, None, Some(121)]);

        let told = [122, 123].map(|second| outage.failed(at(second), &trouble(true)).is_some());
        assert_eq!(told, [true, false], "a wrong password is news");

        assert!(outage.is_on());
        assert_eq!(outage.over(at(130)), Word::Back(Duration::from_secs(130)));
        assert!(!outage.is_on());
        for second in 131..181 {
            assert_eq!(
                outage.failed(at(second), &trouble(true)),
                None,
                "once a minute also if it comes and goes"
            );
            assert_eq!(outage.over(at(second)), Word::Nothing);
        }
        assert_eq!(outage.failed(at(182), &trouble(true)), Some(Duration::ZERO), "a new outage");
        assert_eq!(outage.over(at(192)), Word::Back(Duration::from_secs(10)));
    }

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
