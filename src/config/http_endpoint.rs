//! The address of the HTTP endpoint for metrics and health: the section `listen`.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use crate::{
    policy::broker::set,
    yaml::{
        fields::{Field, Form, Table, specs},
        mask::Secret,
        reader::{Reader, Setting},
    },
};

/// A shorter token can be guessed.
const SHORTEST_TOKEN: usize = 16;
pub(super) const ADDRESS: Form = Form::like("an address and a port such as `127.0.0.1:9464`");

/// The HTTP endpoint for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Its address.
    pub address: SocketAddr,
    /// The bearer token that a client must send; there is one if other machines can connect.
    pub token: Option<Secret>,
    /// Whether clients that may change something may change the configuration file, too.
    pub edit: bool,
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
        Form::like("a text of letters, digits and signs"),
        "What clients must send as `Authorization: Bearer TOKEN`; required if other machines can connect.",
        |it: &Listen| Some(set(&it.token)),
    )
    .example("${env:STAKEOUT_TOKEN}"),
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

/// Reads an address, or a mapping.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Listen> {
    if !at.is_mapping() {
        let address = reader.parsed(at, address)?;
        return Some(Listen { address: checked(reader, at, address, false)?, token: None, edit: false });
    }
    let section = reader.section(at, &TABLE)?;
    let token = section.optional(reader, "token", |reader, at| {
        reader.note_secret(at);
        reader.parsed(at, token)
    });
    let edit = section.read(reader, "edit", Reader::switch);
    let has_token = !section.lacks("token");
    let address = section.read(reader, "address", |reader, at| {
        let address = reader.parsed(at, address)?;
        checked(reader, at, address, has_token)
    });
    Some(Listen { address: address?, token: token?, edit: edit? })
}

/// Requires a token if other machines can connect.
fn checked(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    address: SocketAddr,
    has_token: bool,
) -> Option<SocketAddr> {
    if address.ip().is_loopback() || has_token {
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
    fn tokens() {
        assert!(token("0123456789abcdef").is_ok());
        assert!(token("0123456789abcde").is_err() && token("0123456789 abcdef").is_err());
    }
}
