//! A model server that runs the graph for pictures: the addresses, and how requests are sent.
//!
//! The keys are part of the section `model`, whose table is in `model.rs`.

use std::{fmt, time::Duration};

use serde_json::{Value, json};
use url::{Host, Url};

use crate::{
    policy::tls,
    tls::Trust,
    yaml::{
        Secret,
        address::is_this_machine,
        fields::Form,
        reader::{Reader, Section, Setting},
    },
};

/// The servers that run the graph for pictures, and how requests are sent to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelServer {
    /// The addresses; an earlier one is preferred.
    pub servers: Vec<ServerAddress>,
    /// The name of the model at the servers.
    pub name: String,
    /// Sent as `Authorization: Bearer ...`.
    pub token: Option<Secret>,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// The most requests in flight.
    pub in_flight: usize,
    /// How the certificates of the servers are checked.
    pub tls: Trust,
}

/// The address of a model server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection uses TLS (`grpcs://`).
    pub tls: bool,
}

impl ModelServer {
    /// The addresses that the token is sent to without TLS over a network.
    pub fn readable_tokens(&self) -> impl Iterator<Item = &ServerAddress> {
        let exposed = |server: &&ServerAddress| !server.tls && !is_this_machine(&server.host);
        self.servers.iter().filter(move |server| self.token.is_some() && exposed(server))
    }

    /// The addresses in one line.
    #[must_use]
    pub fn addresses(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl ServerAddress {
    /// Host and port, as they are written in an address.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "grpcs" } else { "grpc" }, self.authority())
    }
}

pub(super) const ADDRESS: Form = Form::like("the gRPC address of a model server");
pub(super) const ADDRESSES: Form = Form::OneOrMore(&ADDRESS);
pub(super) const NAME: Form = Form::like("the name of a model at its server");
/// A request of the slowest server that is of use takes this long.
pub(super) const TIMEOUT: Form = Form::Duration(Duration::from_millis(100), Duration::from_secs(30));
/// More would only wait in the server.
pub(super) const IN_FLIGHT: Form = Form::Whole(1, 64);

/// The keys that have a meaning only beside `server`.
const ONLY_WITH_SERVER: [&str; 5] = ["name", "token", "timeout", "in_flight", "tls"];

/// The name of the vision graph of a model at a server, unless `name` says otherwise: `clip-vit-base-patch16-vision`.
#[must_use]
pub fn usual_name(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = last.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect();
    format!("{name}-vision")
}

/// Reads the keys of a section that are about a server; the inner `None`: there is no `server`. `model` is the name of the model.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    model: Option<&str>,
) -> Option<Option<ModelServer>> {
    let servers = section.optional(reader, "server", |reader, at| {
        let servers = reader.list(at, |reader, at| reader.parsed(at, address))?;
        without_repetition(reader, at, &servers).then_some(servers)
    });
    let name = section.optional(reader, "name", |reader, at| reader.parsed(at, name));
    let token = section.optional(reader, "token", token);
    let timeout = section.read(reader, "timeout", Reader::duration);
    let in_flight = section.read(reader, "in_flight", Reader::whole);
    let has_tls = servers.as_ref().map(|servers| servers.iter().flatten().any(|server| server.tls));
    // Without a server, the missing `server` is the mistake.
    let has_tls = has_tls.filter(|_| section.get("server").is_some());
    let tls = tls::read(reader, section, &tls::MODEL, has_tls, "grpcs");
    if section.lacks("server") {
        for at in ONLY_WITH_SERVER.into_iter().filter_map(|key| section.get(key)) {
            let message = format!("`{}` is about a model server, and there is no `server`", at.name);
            let remedy = format!("add `server: grpc://HOST:PORT`, or remove `{}`", at.name);
            reader.problem(at.key, message, remedy);
        }
    }
    let (servers, name, token, tls) = (servers?, name?, token?, tls?);
    let (timeout, in_flight) = (timeout?, in_flight?);
    let Some(servers) = servers else { return Some(None) };
    let name = match name {
        Some(name) => name,
        None => usual_name(model?),
    };
    Some(Some(ModelServer { servers, name, token, timeout, in_flight, tls }))
}

/// Reports a server that is listed twice. It would be tried again at once after it has failed.
fn without_repetition(reader: &mut Reader<'_>, at: &Setting<'_>, servers: &[ServerAddress]) -> bool {
    let repeated = servers.iter().enumerate().find(|(number, server)| servers[..*number].contains(server));
    if let Some((_, server)) = repeated {
        reader.problem(at.span(), format!("`{server}` is listed twice"), "list each server once");
    }
    repeated.is_none()
}

/// Reads an address; an error is the remedy.
fn address(text: &str) -> Result<ServerAddress, String> {
    const EXAMPLE: &str = "write `grpc://HOST:PORT`, or `grpcs://HOST:PORT` for TLS";
    const PORTS: &str = "8001 (Triton), 9000 (OpenVINO Model Server), 8081 (MLServer, KServe)";
    let wrong = |remedy: &str| Err(remedy.to_owned());
    let Some((scheme, rest)) = text.split_once("://") else { return wrong(EXAMPLE) };
    let tls = match scheme {
        "grpc" => false,
        "grpcs" => true,
        "http" | "https" => {
            return Err(format!("requests use gRPC: {EXAMPLE}, with the port of gRPC, usually {PORTS}"));
        }
        _ => return wrong(EXAMPLE),
    };
    if rest.contains('@') {
        return wrong("write the token into `token:`, which is never shown, and no user into the address");
    }
    if rest.trim_end_matches('/').contains(['/', '?', '#']) {
        return wrong("end the address after the port; `name:` is the name of the model at the server");
    }
    let Ok(url) = Url::parse(text) else { return wrong(EXAMPLE) };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Domain(name)) if !name.is_empty() && name.chars().all(is_name) => name.to_owned(),
        _ => return wrong(EXAMPLE),
    };
    match url.port() {
        Some(port) if port > 0 => Ok(ServerAddress { host, port, tls }),
        _ => Err(format!("write the port of gRPC after the host, usually {PORTS}")),
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) || text.len() > 200 {
        return Err("use at most 200 bytes, and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a token. It becomes a part of a header.
fn token(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Secret> {
    let token = reader.secret(at)?;
    if token.reveal().chars().all(|letter| letter.is_ascii_graphic()) {
        return Some(token);
    }
    let message = "the token has characters that cannot be sent";
    reader.problem(at.span(), message, "write the token alone: ASCII letters, digits and signs, no spaces");
    None
}

/// `tls` for `check --explain`; `None` without TLS.
pub(super) fn tls_shown(server: &ModelServer) -> Option<Value> {
    server.servers.iter().any(|server| server.tls).then(|| tls::shown(&server.tls).into())
}

/// `server` for `check --explain`.
pub(super) fn servers_shown(server: &ModelServer) -> Value {
    json!(server.servers.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_model_servers() {
        for (text, expected) in [
            ("grpc://gpu-1:8001", Ok("grpc://gpu-1:8001")),
            ("grpc://gpu-1:8001/", Ok("grpc://gpu-1:8001")),
            ("grpcs://10.0.0.5:443", Ok("grpcs://10.0.0.5:443")),
            ("grpc://[fd00::1]:9000", Ok("grpc://[fd00::1]:9000")),
            ("gpu-1:8001", Err("write `grpc://HOST:PORT`")),
            ("grpc://gpu-1", Err("write the port of gRPC after the host, usually 8001 (Triton)")),
            ("grpc://gpu-1:0", Err("write the port of gRPC")),
            ("grpc://:8001", Err("write `grpc://HOST:PORT`")),
            ("http://gpu-1:8000", Err("requests use gRPC")),
            ("mqtt://gpu-1:8000", Err("write `grpc://HOST:PORT`")),
            ("grpc://me:secret@gpu-1:8001", Err("write the token into `token:`")),
            ("grpc://gpu-1:8001/v2/models/clip", Err("end the address after the port")),
            ("grpc://gpu 1:8001", Err("write `grpc://HOST:PORT`")),
        ] {
            let found = address(text).map(|address| address.to_string());
            match expected {
                Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{text}"),
                Err(begin) => {
                    assert!(found.as_ref().is_err_and(|error| error.starts_with(begin)), "{text}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn the_usual_name_is_a_plain_word() {
        for (model, expected) in [
            ("openai/clip-vit-base-patch16", "clip-vit-base-patch16-vision"),
            ("bundled", "bundled-vision"),
            ("/models/My CLIP/", "My-CLIP-vision"),
        ] {
            assert_eq!(usual_name(model), expected);
        }
    }

    #[test]
    fn a_token_that_others_can_read_is_found() {
        let servers: Vec<_> = ["grpc://localhost:8001", "grpc://gpu-1:8001", "grpcs://gpu-2:8001"]
            .into_iter()
            .map(|text| address(text).unwrap())
            .collect();
        let server = |token: Option<&str>| ModelServer {
            servers: servers.clone(),
            name: "clip".to_owned(),
            token: token.map(|token| Secret::new(token.to_owned())),
            timeout: Duration::from_secs(10),
            in_flight: 4,
            tls: Trust::System,
        };
        let readable =
            |server: &ModelServer| server.readable_tokens().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(readable(&server(Some("abc"))), ["grpc://gpu-1:8001"]);
        assert_eq!(readable(&server(None)), [""; 0]);
    }
}
