//! The `mqtt` section: where the broker is and how to talk to it.

use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

use super::{Mqtt, Secret};
use crate::yaml::{
    reader::{Reader, Section, Setting},
    value,
};

pub(super) const KEYS: &[&str] =
    &["url", "version", "username", "password", "prefix", "client_id", "keep_alive", "message_expiry", "tls"];
pub(super) const TLS_KEYS: &[&str] = &["ca", "certificate", "key", "alpn"];
/// What is missing is shown with this.
pub(super) const EXAMPLE: &str = "mqtt:\n  url: mqtt://localhost:1883";

/// How the connection to the broker is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttConnection {
    /// What is spoken with the broker.
    pub version: MqttVersion,
    /// MQTT over WebSockets, at this path of the broker's.
    pub websocket: Option<String>,
    /// A dead connection is noticed after one to two of these.
    pub keep_alive: Duration,
    /// The broker gives an alert to nobody any more, and forgets a snapshot, after so long. Only in MQTT 5.
    pub message_expiry: Option<Duration>,
    /// What TLS is set up with.
    pub tls: TlsFiles,
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1, for brokers that speak nothing newer.
    V311,
}

impl MqttVersion {
    /// The word for it in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        }
    }
}

/// What TLS is set up with, where that is not the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// A PEM file with the certificates that may have signed the broker's; nobody else is trusted then.
    pub ca: Option<PathBuf>,
    /// PEM files with the certificate and the key that we show the broker.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The protocols that are offered (ALPN), for brokers that share a port with others.
    pub alpn: Vec<String>,
}

impl Default for MqttConnection {
    fn default() -> Self {
        Self {
            version: MqttVersion::default(),
            websocket: None,
            keep_alive: Duration::from_secs(15),
            message_expiry: None,
            tls: TlsFiles::default(),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Mqtt> {
    let section = reader.section(at, KEYS, &format!("name the broker:\n{EXAMPLE}"))?;
    let address = match section.get("url") {
        Some(url) => address(reader, &url),
        None => {
            if section.lacks("url") {
                reader.problem(
                    at.key,
                    format!("`{}` has no `url`", at.name),
                    format!("name the broker:\n{EXAMPLE}"),
                );
            }
            None
        }
    };
    let prefix = match section.get("prefix") {
        Some(at) => reader.parsed(&at, "levels of a topic like `home/stakeout`", prefix),
        None => Some("stakeout".to_owned()),
    };
    let username = section.get("username").and_then(|at| reader.text(&at));
    let password = section.get("password").and_then(|at| reader.text(&at)).map(Secret::new);
    let client_id =
        section.get("client_id").map(|at| reader.parsed(&at, "a name for this connection", client_id));
    let keep_alive = match section.get("keep_alive") {
        Some(at) => reader.parsed(&at, "a duration", |text| match value::duration(text)? {
            given if (5..=3600).contains(&given.as_secs()) => Ok(given),
            _ => Err("at least 5s and at most 1h".to_owned()),
        }),
        None => Some(MqttConnection::default().keep_alive),
    };
    let versions = [MqttVersion::V5, MqttVersion::V311].map(|version| (version.word(), version));
    let version = section.get("version").map_or(Some(MqttVersion::V5), |at| reader.word(&at, &versions));
    let message_expiry = match section.get("message_expiry") {
        Some(at) => message_expiry(reader, &at, version).map(Some),
        None => Some(None),
    };
    let files = match section.get("tls") {
        Some(at) => tls(reader, &at, address.as_ref()),
        None => Some(TlsFiles::default()),
    };
    let (Address { host, port, tls, websocket }, prefix) = (address?, prefix?);
    let connection = MqttConnection {
        version: version?,
        websocket,
        keep_alive: keep_alive?,
        message_expiry: message_expiry?,
        tls: files?,
    };
    // The broker ends the older of two connections of one name: two services on one machine differ in their prefix.
    let derived = || format!("{}-{}", prefix.replace('/', "-"), reader.surroundings.hostname);
    let client_id = client_id.flatten().unwrap_or_else(derived);
    Some(Mqtt { host, port, tls, username, password, prefix, client_id, connection })
}

fn message_expiry(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    version: Option<MqttVersion>,
) -> Option<Duration> {
    if version == Some(MqttVersion::V311) {
        let remedy = "remove it, or write `version: 5` if the broker speaks that";
        reader.problem(at.key, "messages do not expire in MQTT 3.1.1", remedy);
        return None;
    }
    reader.parsed(at, "a duration", |text| match value::duration(text)? {
        given if (1..=365 * 24 * 3600).contains(&given.as_secs()) => Ok(given),
        _ => Err("at least 1s and at most 365d".to_owned()),
    })
}

fn tls(reader: &mut Reader<'_>, at: &Setting<'_>, address: Option<&Address>) -> Option<TlsFiles> {
    let section = reader.section(at, TLS_KEYS, "write its keys below it: `ca: /etc/stakeout/ca.pem`")?;
    if address.is_some_and(|address| !address.tls) {
        // What was meant to be secret must not go out in plain text.
        let remedy = "write `mqtts://` or `wss://` in `url`, or remove `tls`";
        reader.problem(at.key, "there is `tls`, and the broker's address is one without it", remedy);
    }
    let path = |reader: &mut Reader<'_>, section: &Section<'_>, key| match section.get(key) {
        Some(at) => reader.path(&at).map(Some),
        None => Some(None),
    };
    let ca = path(reader, &section, "ca");
    let (certificate, key) = (path(reader, &section, "certificate"), path(reader, &section, "key"));
    let alpn = section.get("alpn").map_or(Some(Vec::new()), |at| reader.texts(&at));
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let remedy = "name both: the PEM file of the certificate, and the PEM file of its key";
            reader.problem(at.key, "`certificate` and `key` belong together", remedy);
            return None;
        }
    };
    Some(TlsFiles { ca: ca?, identity, alpn: alpn? })
}

#[derive(Debug, PartialEq)]
struct Address {
    host: String,
    port: u16,
    tls: bool,
    /// The path, for MQTT over WebSockets.
    websocket: Option<String>,
}

fn address(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Address> {
    let text = reader.text(at)?;
    match parse_address(&text) {
        Ok(address) => Some(address),
        Err((message, remedy)) => {
            // What a reference stood for may be secret: only what was typed is shown, and that by the excerpt.
            reader.problem(at.span(), message, remedy);
            None
        }
    }
}

fn parse_address(text: &str) -> Result<Address, (&'static str, String)> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let remedy = "write `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS";
        return Err(("the broker's address has no scheme", remedy.to_owned()));
    };
    let (tls, websocket) = match scheme {
        "mqtt" => (false, false),
        "mqtts" => (true, false),
        "ws" => (false, true),
        "wss" => (true, true),
        "tcp" => return Err(("the scheme of the broker's address is `tcp`", "write `mqtt://`".to_owned())),
        "ssl" | "tls" => {
            return Err(("the scheme of the broker's address is not known", "write `mqtts://`".to_owned()));
        }
        "http" | "https" => {
            let remedy =
                "write `ws://` or `wss://` for MQTT over WebSockets, otherwise `mqtt://` or `mqtts://`";
            return Err(("the broker's address is one of a web server", remedy.to_owned()));
        }
        _ => {
            return Err((
                "the scheme of the broker's address is not known",
                "it is `mqtt://`, `mqtts://`, `ws://` or `wss://`".to_owned(),
            ));
        }
    };
    if rest.contains('@') {
        let remedy = "put them into `username:` and `password:` below `mqtt:`, where they are never shown";
        return Err(("the broker's address holds a user name or password", remedy.to_owned()));
    }
    let (rest, path) = match rest.find(['/', '?', '#']).filter(|_| websocket) {
        Some(at) => rest.split_at(at),
        None => (rest.strip_suffix('/').unwrap_or(rest), "/"),
    };
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(("the path of the broker's address holds spaces", "write them as `%20`".to_owned()));
    }
    if rest.contains(['/', '?', '#']) {
        let remedy = "end it after the port; the first levels of the topics are `prefix:`";
        return Err(("the broker's address has a path", remedy.to_owned()));
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host =
        if rest.starts_with('[') { host.parse::<Ipv6Addr>().is_ok() } else { host.chars().all(is_name) };
    if host.is_empty() || !is_host {
        let remedy = "write a name or an address: `mqtt://broker.lan:1883`, `mqtt://[fd00::1]:1883`";
        return Err(("the broker's address has no usable host", remedy.to_owned()));
    }
    let port = match port.map(str::parse::<u16>) {
        None => match (websocket, tls) {
            (false, false) => 1883,
            (false, true) => 8883,
            (true, false) => 80,
            (true, true) => 443,
        },
        Some(Ok(port)) if port > 0 => port,
        _ => {
            return Err((
                "the broker's port is not a number from 1 to 65535",
                "usual are 1883, and 8883 with TLS".to_owned(),
            ));
        }
    };
    let websocket = websocket.then(|| path.to_owned());
    Ok(Address { host: host.to_owned(), port, tls, websocket })
}

/// The first levels of a topic.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    if text.contains(['+', '#']) {
        return Err("`+` and `#` are for those who subscribe".to_owned());
    }
    if text.split('/').any(|level| level.trim().is_empty()) {
        return Err("no level may be empty: no `/` at the start, at the end, or twice".to_owned());
    }
    if text.starts_with('$') {
        return Err("topics with `$` at the start belong to the broker".to_owned());
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
            let expected = Address { host: host.to_owned(), port, tls, websocket: Some(path.to_owned()) };
            assert_eq!(parse_address(text), Ok(expected), "{text}");
        }
        let bad = [
            ("localhost:1883", "the broker's address has no scheme"),
            ("me:pw@host", "the broker's address has no scheme"),
            ("tcp://host", "the scheme of the broker's address is `tcp`"),
            ("mqtt://me:pw@host", "the broker's address holds a user name or password"),
            ("https://host", "the broker's address is one of a web server"),
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
