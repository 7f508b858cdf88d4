//! The settings of a connection to an MQTT broker: the section `mqtt`, and `broker` of a source.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use url::{Host, ParseError, Position, Url};

use super::tls;
use crate::{
    tls::Trust,
    yaml::{
        address::is_this_machine,
        fields::{Field, Form, Table, explain, specs, word_of, words},
        mask::Secret,
        reader::{Reader, Setting},
        value::duration_text,
    },
};

/// A broker, and how to connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection uses TLS (`mqtts://`, `wss://`).
    pub tls: bool,
    /// User name, if the broker requires one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// The first levels of every topic.
    pub prefix: String,
    /// The MQTT client identifier.
    pub client_id: String,
    /// How the connection is made.
    pub connection: MqttConnection,
    /// Whether clients of the broker may send requests: questions, verdicts, and what is set while the service runs.
    pub commands: bool,
    /// Whether near misses are published.
    pub near_misses: bool,
}

/// How the connection to the broker is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttConnection {
    /// The version of MQTT.
    pub version: MqttVersion,
    /// Path and query of MQTT over WebSockets, which may have a token; `None`: plain MQTT.
    pub websocket: Option<Secret>,
    /// A dead connection is noticed after one to two of these.
    pub keep_alive: Duration,
    /// The broker discards undelivered alerts and the retained snapshot after this time. Only in MQTT 5.
    pub message_expiry: Option<Duration>,
    /// The time between two heartbeats; `None`: there are none.
    pub heartbeat: Option<Duration>,
    /// Certificates and protocols of TLS.
    pub tls: TlsFiles,
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1, for brokers without MQTT 5.
    V311,
}

impl MqttVersion {
    const WORDS: [(&str, Self); 2] = [("5", Self::V5), ("3.1.1", Self::V311)];

    /// The word for it in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

/// Certificates and protocols of TLS, where they differ from the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// How the certificate of the broker is checked.
    pub trust: Trust,
    /// PEM files with the client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The protocols to offer (ALPN), for brokers that share a port with other services.
    pub alpn: Vec<String>,
}

impl Default for MqttConnection {
    fn default() -> Self {
        Self {
            version: MqttVersion::default(),
            websocket: None,
            keep_alive: Duration::from_secs(15),
            message_expiry: None,
            heartbeat: None,
            tls: TlsFiles::default(),
        }
    }
}

impl Mqtt {
    /// The broker's address without user, password and path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match (&self.connection.websocket, self.tls) {
            (None, false) => "mqtt",
            (None, true) => "mqtts",
            (Some(_), false) => "ws",
            (Some(_), true) => "wss",
        };
        let is_ipv6 = self.host.contains(':') && !self.host.starts_with('[');
        let host = if is_ipv6 { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{host}:{}", self.port)
    }

    /// The password and the query of the address.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let query = self.connection.websocket.as_ref().and_then(|path| path.reveal().split_once('?'));
        self.password.iter().map(Secret::reveal).chain(query.map(|(_, query)| query)).collect()
    }

    /// Whether a password, or the query of the address, is sent to another machine without TLS.
    #[must_use]
    pub fn sends_a_readable_secret(&self) -> bool {
        let has_query = |path: &Secret| path.reveal().contains('?');
        let has_secret = self.password.is_some() || self.connection.websocket.as_ref().is_some_and(has_query);
        has_secret && !self.tls && !is_this_machine(&self.host)
    }
}

/// The keys of `mqtt`.
pub(crate) const FIELDS: &[Field<Mqtt>] = &[
    Field::new(
        "url",
        Form::Text,
        "The broker's address. Ports: 1883 for mqtt://, 8883 for mqtts:// (TLS). ws://HOST:PORT/PATH and wss:// (TLS) are MQTT over WebSockets.",
        |it: &Mqtt| Some(json!(it.url())),
    )
    .required()
    .example("mqtt://localhost:1883"),
    Field::new(
        "version",
        Form::Words(&words(&MqttVersion::WORDS)),
        "The version of MQTT: 3.1.1 is for brokers without MQTT 5.",
        |it: &Mqtt| Some(json!(it.connection.version.word())),
    )
    .default("5"),
    Field::new("username", Form::Text, "The user name, if the broker requires one.", |it: &Mqtt| Some(json!(it.username)))
        .example("stakeout"),
    Field::new("password", Form::Text, "The password.", |it: &Mqtt| Some(set(&it.password)))
        .example("${env:MQTT_PASSWORD}"),
    Field::new("prefix", TOPIC_LEVELS, "The first levels of every topic.", |it: &Mqtt| Some(json!(it.prefix)))
        .default("stakeout"),
    Field::new(
        "client_id",
        Form::like("a name for this connection"),
        "The client identifier, which must be different for every connection to the broker.",
        |it: &Mqtt| Some(json!(it.client_id)),
    )
    .default_is("the prefix and the host's name: stakeout-HOST")
    .example("stakeout-example"),
    Field::new(
        "keep_alive",
        Form::Duration(Duration::from_secs(5), Duration::from_secs(3600)),
        "A dead connection is noticed after one to two of these.",
        |it: &Mqtt| Some(json!(duration_text(it.connection.keep_alive))),
    )
    .default("15s"),
    Field::new(
        "message_expiry",
        Form::Duration(Duration::from_secs(1), Duration::from_secs(365 * 86_400)),
        "The broker discards undelivered alerts and the retained snapshot after this time. Only in MQTT 5.",
        |it: &Mqtt| Some(json!(it.connection.message_expiry.map(duration_text))),
    )
    .example("1d"),
    Field::new(
        "heartbeat",
        Form::Duration(Duration::from_secs(5), Duration::from_secs(86_400)),
        "A message is published to PREFIX/heartbeat at this interval. It takes the path of the alerts: if it stops, alerts do not arrive. \
         In a source's `broker` it has no effect.",
        |it: &Mqtt| Some(json!(it.connection.heartbeat.map(duration_text))),
    )
    .example("1m"),
    Field::new(
        "commands",
        Form::Switch,
        "true: the service carries out requests of clients of the broker: questions (PREFIX/ask), verdicts (PREFIX/mark), and messages to \
         topics that end in /set and /get. Everyone who may publish there can ask what any source sees, and silence it. In a source's \
         `broker` it has no effect.",
        |it: &Mqtt| Some(json!(it.commands)),
    )
    .default("false"),
    Field::new(
        "near_misses",
        Form::Switch,
        "true: publish near misses, the moments that nearly raised a label, to PREFIX/SOURCE/SET/LABEL/near_miss. In a source's `broker` it \
         has no effect.",
        |it: &Mqtt| Some(json!(it.near_misses)),
    )
    .default("false"),
    Field::new(
        "tls",
        Form::Mapping(&TLS_TABLE),
        "Certificates and protocols for mqtts:// and wss://. One of `ca`, `fingerprint` and `verify` says how the certificate of the broker is checked.",
        |it: &Mqtt| Some(if it.tls { explain(TLS_FIELDS, &it.connection.tls).into() } else { Value::Null }),
    ),
];
/// An example for a missing section.
pub(crate) const EXAMPLE: &str = "mqtt:\n  url: mqtt://localhost:1883";
/// The section `mqtt`.
pub(crate) const TABLE: Table = Table { title: "mqtt", fields: || specs(FIELDS) };

const TLS_FIELDS: &[Field<TlsFiles>] = &[
    Field::new("ca", Form::Path, tls::CA, |it: &TlsFiles| tls::ca_shown(&it.trust))
        .default_is(tls::CA_DEFAULT)
        .example(tls::CA_EXAMPLE),
    Field::new("fingerprint", tls::FINGERPRINT_FORM, tls::FINGERPRINT, |it: &TlsFiles| {
        tls::fingerprint_shown(&it.trust)
    })
    .example(tls::FINGERPRINT_EXAMPLE),
    Field::new("verify", Form::Switch, tls::VERIFY, |it: &TlsFiles| tls::verify_shown(&it.trust))
        .default("true"),
    Field::new(
        "certificate",
        Form::Path,
        "A PEM file with our certificate, for a broker that requires one.",
        |it: &TlsFiles| {
            Some(json!(it.identity.as_ref().map(|(certificate, _)| certificate.display().to_string())))
        },
    )
    .example("/etc/stakeout/me.pem"),
    Field::new("key", Form::Path, "A PEM file with the key of that certificate.", |it: &TlsFiles| {
        Some(json!(it.identity.as_ref().map(|(_, key)| key.display().to_string())))
    })
    .example("/etc/stakeout/me.key"),
    Field::new(
        "alpn",
        Form::List(&Form::Text),
        "The protocols to offer, for a broker that shares a port with other services.",
        |it: &TlsFiles| Some(json!(it.alpn)),
    )
    .example("[mqtt]"),
];
const TLS_TABLE: Table = Table { title: "mqtt.tls", fields: || specs(TLS_FIELDS) };

/// The form of the first levels of a topic.
pub(crate) const TOPIC_LEVELS: Form = Form::like("levels of a topic such as `home/stakeout`");

/// Whether a secret is set, for `check --explain`.
#[must_use]
pub(crate) fn set(secret: &Option<Secret>) -> Value {
    json!(if secret.is_some() { "set" } else { "none" })
}

/// Reads a broker.
pub(crate) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Mqtt> {
    let section = reader.section(at, &TABLE)?;
    let address = section.read(reader, "url", address);
    let prefix = section.read(reader, "prefix", |reader, at| reader.parsed(at, prefix));
    let username = section.optional(reader, "username", Reader::text);
    let password = section.optional(reader, "password", Reader::secret);
    let client_id = section.optional(reader, "client_id", |reader, at| reader.parsed(at, client_id));
    let keep_alive = section.read(reader, "keep_alive", Reader::duration);
    let version = section.read(reader, "version", |reader, at| reader.word(at, &MqttVersion::WORDS));
    let message_expiry = section.optional(reader, "message_expiry", Reader::duration);
    let heartbeat = section.optional(reader, "heartbeat", Reader::duration);
    let commands = section.read(reader, "commands", Reader::switch);
    let near_misses = section.read(reader, "near_misses", Reader::switch);
    if let (Some(MqttVersion::V311), Some(at)) = (version, section.get("message_expiry")) {
        let remedy = "remove it, or write `version: 5` if the broker supports that";
        reader.problem(at.key, "messages do not expire in MQTT 3.1.1", remedy);
    }
    let files = section.optional(reader, "tls", |reader, at| tls_files(reader, at, address.as_ref()));
    let (Address { host, port, tls, websocket }, prefix) = (address?, prefix?);
    let connection = MqttConnection {
        version: version?,
        websocket,
        keep_alive: keep_alive?,
        message_expiry: message_expiry?,
        heartbeat: heartbeat?,
        tls: files?.unwrap_or_default(),
    };
    // A broker ends the older of two connections with one identifier: two services on a machine differ in their prefix.
    let derived = || format!("{}-{}", prefix.replace('/', "-"), reader.surroundings.hostname);
    let client_id = client_id?.unwrap_or_else(derived);
    let (username, password) = (username?, password?);
    let (commands, near_misses) = (commands?, near_misses?);
    Some(Mqtt { host, port, tls, username, password, prefix, client_id, connection, commands, near_misses })
}

fn tls_files(reader: &mut Reader<'_>, at: &Setting<'_>, address: Option<&Address>) -> Option<TlsFiles> {
    let section = reader.section(at, &TLS_TABLE)?;
    tls::require_tls(reader, at, address.map(|address| address.tls), "`mqtts://` or `wss://`");
    let trust = tls::trust(reader, at, &section);
    let certificate = section.optional(reader, "certificate", Reader::path);
    let key = section.optional(reader, "key", Reader::path);
    let alpn = section.optional(reader, "alpn", Reader::texts);
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let remedy = "add the other one: the PEM file of the certificate, and the PEM file of its key";
            reader.problem(at.key, "`certificate` and `key` must be there together", remedy);
            return None;
        }
    };
    Some(TlsFiles { trust: trust?, identity, alpn: alpn?.unwrap_or_default() })
}

#[derive(Debug, PartialEq)]
struct Address {
    host: String,
    port: u16,
    tls: bool,
    /// The path of MQTT over WebSockets.
    websocket: Option<Secret>,
}

fn address(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Address> {
    let text = reader.text(at)?;
    match parse_address(&text) {
        Ok(address) => Some(address),
        Err((message, remedy)) => {
            // The text of a reference may be secret: only the excerpt shows the value, as it was typed.
            reader.problem(at.span(), message, remedy);
            None
        }
    }
}

fn parse_address(text: &str) -> Result<Address, (&'static str, String)> {
    let wrong = |message, remedy: &str| Err((message, remedy.to_owned()));
    const HOST: (&str, &str) = (
        "the broker's address has no usable host",
        "write a name or an address: `mqtt://broker.lan:1883`, `mqtt://[fd00::1]:1883`",
    );
    const PORT: (&str, &str) =
        ("the broker's port is not a number from 1 to 65535", "usual ports are 1883, and 8883 with TLS");
    let Some((scheme, rest)) = text.split_once("://") else {
        let remedy = "write `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS";
        return wrong("the broker's address has no scheme", remedy);
    };
    let (tls, websocket, usual_port) = match scheme {
        "mqtt" => (false, false, 1883),
        "mqtts" => (true, false, 8883),
        "ws" => (false, true, 80),
        "wss" => (true, true, 443),
        "tcp" => return wrong("the scheme of the broker's address is `tcp`", "write `mqtt://`"),
        "http" | "https" => {
            let remedy =
                "write `ws://` or `wss://` for MQTT over WebSockets, otherwise `mqtt://` or `mqtts://`";
            return wrong("the broker's address is that of a web server", remedy);
        }
        _ => {
            let remedy = match scheme {
                "ssl" | "tls" => "write `mqtts://`",
                _ => "write `mqtt://`, `mqtts://`, `ws://` or `wss://`",
            };
            return wrong("the scheme of the broker's address is unknown", remedy);
        }
    };
    if rest.contains('@') {
        let remedy = "put them into `username:` and `password:` below `mqtt:`, which are never shown";
        return wrong("the broker's address has a user name or password", remedy);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if websocket && rest[authority.len()..].contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong("the path of the broker's address has spaces", "write them as `%20`");
    }
    let url = match Url::parse(text) {
        Ok(url) if authority.ends_with(':') || url.port() == Some(0) => return wrong(PORT.0, PORT.1),
        Ok(url) => url,
        Err(ParseError::InvalidPort) => return wrong(PORT.0, PORT.1),
        Err(_) => return wrong(HOST.0, HOST.1),
    };
    let path = &url[Position::BeforePath..];
    if !websocket && !["", "/"].contains(&path) {
        let remedy = "end it after the port; put the first levels of the topics into `prefix:`";
        return wrong("the broker's address has a path", remedy);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Domain(name)) if !name.is_empty() && name.chars().all(is_name) => name.to_owned(),
        _ => return wrong(HOST.0, HOST.1),
    };
    let websocket = websocket.then(|| Secret::new(path.to_owned()));
    Ok(Address { host, port: url.port().unwrap_or(usual_port), tls, websocket })
}

/// The first levels of a topic.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    if text.contains(['+', '#']) {
        return Err("`+` and `#` are only for subscriptions".to_owned());
    }
    if text.split('/').any(|level| level.trim().is_empty()) {
        return Err(
            "no level may be empty: remove the `/` at the start, at the end, or one of two".to_owned()
        );
    }
    if text.starts_with('$') {
        return Err("topics that start with `$` belong to the broker".to_owned());
    }
    if text.chars().any(char::is_control) || text.len() > 1000 {
        return Err("use at most 1000 bytes, and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn client_id(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) || text.len() > 1000 {
        return Err("use at most 1000 bytes, and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = [
            ("mqtt://localhost", ("localhost", 1883, false)),
            ("mqtt://localhost:1884/", ("localhost", 1884, false)),
            ("mqtts://broker.lan", ("broker.lan", 8883, true)),
            ("mqtt://10.0.0.2:99", ("10.0.0.2", 99, false)),
            ("mqtt://[fd00::1]", ("fd00::1", 1883, false)),
            ("mqtts://[::1]:8884", ("::1", 8884, true)),
        ];
        for (text, (host, port, tls)) in good {
            let expected = Address { host: host.to_owned(), port, tls, websocket: None };
            assert_eq!(parse_address(text), Ok(expected), "{text}");
        }
        let over_web_sockets = [
            ("ws://localhost", ("localhost", 80, false, "/")),
            ("ws://localhost:9001/mqtt?a=b", ("localhost", 9001, false, "/mqtt?a=b")),
            ("wss://[::1]/", ("::1", 443, true, "/")),
        ];
        for (text, (host, port, tls, path)) in over_web_sockets {
            let expected =
                Address { host: host.to_owned(), port, tls, websocket: Some(Secret::new(path.to_owned())) };
            assert_eq!(parse_address(text), Ok(expected), "{text}");
        }
        let bad = [
            ("localhost:1883", "the broker's address has no scheme"),
            ("me:pw@host", "the broker's address has no scheme"),
            ("tcp://host", "the scheme of the broker's address is `tcp`"),
            ("mqtt://me:pw@host", "the broker's address has a user name or password"),
            ("https://host", "the broker's address is that of a web server"),
            ("mqtt://host/topic", "the broker's address has a path"),
            ("mqtt://host?x", "the broker's address has a path"),
            ("mqtt://", "the broker's address has no usable host"),
            ("mqtt://:1883", "the broker's address has no usable host"),
            ("mqtt://a b", "the broker's address has no usable host"),
            ("mqtt://::1", "the broker's address has no usable host"),
            ("mqtt://[zz]", "the broker's address has no usable host"),
            ("mqtt://host:0", "the broker's port is not a number from 1 to 65535"),
            ("mqtt://host:70000", "the broker's port is not a number from 1 to 65535"),
            ("mqtt://host:", "the broker's port is not a number from 1 to 65535"),
        ];
        for (text, message) in bad {
            assert_eq!(parse_address(text).unwrap_err().0, message, "{text}");
        }
    }

    #[test]
    fn prefixes() {
        for good in ["stakeout", "home/stakeout", "Haus 1"] {
            assert_eq!(prefix(good).as_deref(), Ok(good));
        }
        for bad in ["a/+", "#", "/a", "a/", "a//b", "$SYS/a", "a\0b", " "] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
