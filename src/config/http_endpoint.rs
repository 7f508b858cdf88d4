//! The address of the HTTP endpoint for metrics, health, the API and the console, and who may use it: the section `listen`.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use serde_json::{Value, json};
use url::Url;

use crate::{
    policy::broker::set,
    tls::ServerFiles,
    yaml::{
        fields::{Field, Form, Table, explain, specs},
        mask::Secret,
        reader::{Reader, Section, Setting},
    },
};

/// A shorter token can be guessed.
const SHORTEST_TOKEN: usize = 16;
pub(super) const ADDRESS: Form = Form::like("an address and a port such as `127.0.0.1:9464`");

/// The HTTP endpoint, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Its address.
    pub address: SocketAddr,
    /// The bearer token of clients that may change something. If other machines can connect, there is one of the two, or `ingress`.
    pub token: Option<Secret>,
    /// The bearer token of clients that may only look.
    pub view_token: Option<Secret>,
    /// The certificate; without one the connections are not encrypted.
    pub tls: Option<ServerFiles>,
    /// The address that people use, if a proxy answers there.
    pub base_url: Option<BaseUrl>,
    /// Whether Home Assistant's supervisor shows the console.
    pub ingress: bool,
    /// Whether clients that may change something may change the configuration file, too.
    pub edit: bool,
}

/// The address of a proxy in front of the service: `https://home.example.org/stakeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    origin: String,
    prefix: String,
}

impl BaseUrl {
    /// Scheme, host and port, as a browser sends them in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path before the paths of the service: `/stakeout`, or nothing.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether browsers connect with TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https:")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

impl Listen {
    /// Listens at `address`, and everything else has its default.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            view_token: None,
            tls: None,
            base_url: None,
            ingress: false,
            edit: false,
        }
    }

    /// A token with which this machine can ask for the state of the service.
    #[must_use]
    pub fn any_token(&self) -> Option<&Secret> {
        self.token.as_ref().or(self.view_token.as_ref())
    }
}

/// The keys of `listen`.
pub(super) const FIELDS: &[Field<Listen>] = &[
    Field::new(
        "address",
        ADDRESS,
        "Where to listen. Other machines can connect to 0.0.0.0.",
        |it: &Listen| Some(json!(it.address.to_string())),
    )
    .required()
    .example("0.0.0.0:9464"),
    Field::new(
        "token",
        TOKEN,
        "What clients must send as `Authorization: Bearer TOKEN`, and what people can type in the console; required, or `view_token`, if \
         other machines can connect.",
        |it: &Listen| Some(set(&it.token)),
    )
    .example("${env:STAKEOUT_TOKEN}"),
    Field::new(
        "view_token",
        TOKEN,
        "The same for clients that may only look, such as Prometheus.",
        |it: &Listen| Some(set(&it.view_token)),
    )
    .example("${env:STAKEOUT_VIEW_TOKEN}"),
    Field::new(
        "tls",
        Form::Mapping(&TLS_TABLE),
        "The certificate of the service. Connections are encrypted then. The files are read again when they change.",
        |it: &Listen| Some(it.tls.as_ref().map_or(Value::Null, |it| explain(TLS_FIELDS, it).into())),
    ),
    Field::new(
        "base_url",
        Form::like("an address such as `https://home.example.org/stakeout`"),
        "The address that people use, if a proxy answers there. Its path is the prefix of all paths, whether the proxy removes it or not.",
        |it: &Listen| Some(json!(it.base_url.as_ref().map(ToString::to_string))),
    )
    .example("https://home.example.org/stakeout"),
    Field::new(
        "ingress",
        Form::Switch,
        "true: who may open the app's page in Home Assistant may look and change, without another sign-in. Only the address of \
         Home Assistant's supervisor (172.30.32.2) is believed. Without a token all other clients are refused.",
        |it: &Listen| Some(json!(it.ingress)),
    )
    .default("false"),
    Field::new(
        "edit",
        Form::Switch,
        "true: clients with the right to change something may also edit this file, in the console and over the API. They then learn \
         the secrets that are typed in it. The service must be able to write it.",
        |it: &Listen| Some(json!(it.edit)),
    )
    .default("false"),
];
pub(super) const TABLE: Table = Table { title: "listen", fields: || specs(FIELDS) };

const TOKEN: Form = Form::like("a text of letters, digits and signs");

const TLS_FIELDS: &[Field<ServerFiles>] = &[
    Field::new(
        "cert",
        Form::Path,
        "The PEM file with the certificate, followed by those of the authorities between, if there are any.",
        |it: &ServerFiles| Some(json!(it.certificate.display().to_string())),
    )
    .required()
    .example("/etc/stakeout/tls/cert.pem"),
    Field::new("key", Form::Path, "The PEM file with the key of the certificate.", |it: &ServerFiles| {
        Some(json!(it.key.display().to_string()))
    })
    .required()
    .example("/etc/stakeout/tls/key.pem"),
];
const TLS_TABLE: Table = Table { title: "listen.tls", fields: || specs(TLS_FIELDS) };

/// Reads an address, or a mapping.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Listen> {
    if !at.is_mapping() {
        let address = reader.parsed(at, address)?;
        return Some(Listen::at(checked(reader, at, address, false)?));
    }
    let section = reader.section(at, &TABLE)?;
    let token = section.optional(reader, "token", secret);
    let view_token = section.optional(reader, "view_token", secret);
    let tls = section.optional(reader, "tls", tls);
    let base_url = section.optional(reader, "base_url", |reader, at| reader.parsed(at, base_url));
    let ingress = section.read(reader, "ingress", Reader::switch);
    let edit = section.read(reader, "edit", Reader::switch);
    let has_token = !section.lacks("token") || !section.lacks("view_token");
    // With `ingress` alone, only the supervisor is answered: other clients have nothing to show who they are.
    let is_closed = has_token || ingress == Some(true);
    let address = section.read(reader, "address", |reader, at| {
        let address = reader.parsed(at, address)?;
        checked(reader, at, address, is_closed)
    });
    let (token, view_token) = (token?, view_token?);
    check_difference(reader, &section, token.as_ref(), view_token.as_ref())?;
    Some(Listen {
        address: address?,
        token,
        view_token,
        tls: tls?,
        base_url: base_url?,
        ingress: ingress?,
        edit: edit?,
    })
}

fn secret(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Secret> {
    reader.note_secret(at);
    reader.parsed(at, token)
}

fn tls(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<ServerFiles> {
    let section = reader.section(at, &TLS_TABLE)?;
    let cert = section.read(reader, "cert", Reader::path);
    let key = section.read(reader, "key", Reader::path);
    Some(ServerFiles { certificate: cert?, key: key? })
}

/// Reports tokens that are the same: who has the one for looking could change everything.
fn check_difference(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    token: Option<&Secret>,
    view_token: Option<&Secret>,
) -> Option<()> {
    match section.get("view_token") {
        Some(at) if token.is_some() && token == view_token => {
            let remedy = "choose another one; `openssl rand -hex 16` makes a good token";
            reader.problem(
                at.key,
                "`view_token` is the same as `token`, which may change everything",
                remedy,
            );
            None
        }
        _ => Some(()),
    }
}

/// Requires a token if other machines can connect, unless they are refused without one.
fn checked(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    address: SocketAddr,
    is_closed: bool,
) -> Option<SocketAddr> {
    if address.ip().is_loopback() || is_closed {
        return Some(address);
    }
    let message = format!("other machines can connect to {}, and there is no `token`", at.shown());
    let remedy = format!(
        "write `listen: {{ address: \"{address}\", token: \"${{env:STAKEOUT_TOKEN}}\" }}`, or an address of this machine only: \
         `127.0.0.1:{}`",
        address.port()
    );
    reader.problem(at.span(), message, remedy);
    None
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(port) = port(text) {
        return Err(format!("write `127.0.0.1:{port}`, or `0.0.0.0:{port}` with a token for other machines"));
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let address = text.parse::<SocketAddr>();
    address.ok().filter(|address| address.port() > 0).ok_or_else(|| {
        "an IPv6 address needs brackets: `[::1]:9464`; the port is a number from 1 to 65535".to_owned()
    })
}

fn base_url(text: &str) -> Result<BaseUrl, String> {
    let example = "write the address that people use, such as `https://home.example.org/stakeout`";
    let url = Url::parse(text).map_err(|error| format!("{example} ({error})"))?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() || !is_plain {
        return Err(example.to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("remove what follows `?` or `#`".to_owned());
    }
    let prefix = url.path().trim_end_matches('/');
    // The prefix becomes a part of a route and of a cookie, where some signs have a meaning.
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte))
        || prefix.contains("//")
    {
        return Err("use only letters, digits and `-`, `_`, `.`, `~` in its path".to_owned());
    }
    Ok(BaseUrl { origin: url.origin().ascii_serialization(), prefix: prefix.to_owned() })
}

fn token(text: &str) -> Result<Secret, String> {
    if text.len() < SHORTEST_TOKEN {
        return Err(format!(
            "use at least {SHORTEST_TOKEN} characters; `openssl rand -hex 16` makes a good token"
        ));
    }
    if !text.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err("use no spaces; `openssl rand -hex 16` makes a good token".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:9464", "[::1]:9464"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for bad in
            ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:0", "::1:9464", "host:9464", "http://127.0.0.1:1"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_machines_need_a_token_or_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        let token = "token: 0123456789abcdef";
        for (settings, is_accepted) in [
            ("127.0.0.1:9464", true),
            ("0.0.0.0:9464", false),
            ("{ address: \"0.0.0.0:9464\" }", false),
            (&*format!("{{ address: \"0.0.0.0:9464\", {token} }}"), true),
            ("{ address: \"0.0.0.0:8099\", ingress: true }", true),
            ("{ address: \"0.0.0.0:8099\", ingress: false }", false),
            ("{ address: \"0.0.0.0:8099\", edit: true }", false),
        ] {
            std::fs::write(&path, format!("listen: {settings}\n")).unwrap();
            assert_eq!(crate::config::listen(&path).is_ok(), is_accepted, "{settings}");
        }
    }

    #[test]
    fn base_urls() {
        for (text, origin, prefix) in [
            ("https://home.example.org", "https://home.example.org", ""),
            ("https://Home.example.org:443/", "https://home.example.org", ""),
            ("http://10.0.0.2:8080/a/b/", "http://10.0.0.2:8080", "/a/b"),
            ("http://[::1]:80/stakeout", "http://[::1]", "/stakeout"),
        ] {
            let url = base_url(text).unwrap();
            assert_eq!((url.origin(), url.prefix()), (origin, prefix), "{text}");
            assert_eq!(url.to_string(), format!("{origin}{prefix}"));
            assert_eq!(url.is_https(), text.starts_with("https"));
        }
        for bad in [
            "",
            "home.example.org",
            "ftp://h/",
            "https://",
            "https://me:secret@h/",
            "https://h/?a",
            "https://h/#a",
            "https://h/a;b",
            "https://h/{a}",
            "https://h//a",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens() {
        assert!(token("0123456789abcdef").is_ok());
        assert!(token("0123456789abcde").is_err() && token("0123456789 abcdef").is_err());
    }
}
