//! The `listen` setting: where the service answers who asks how it is doing.

use std::net::{Ipv4Addr, SocketAddr};

use super::Secret;
use crate::yaml::{
    reader::{Reader, Setting},
    tree::Value,
};

pub(super) const KEYS: &[&str] = &["address", "token"];
/// A shorter token can be guessed.
const SHORTEST_TOKEN: usize = 16;
const EXPECTED: &str = "an address and a port like `127.0.0.1:9464`";

/// Where the service answers who asks how it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens.
    pub address: SocketAddr,
    /// What who asks has to show as bearer token; there is one wherever other machines can ask.
    pub token: Option<Secret>,
}

/// An address, or a mapping.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Listen> {
    if !matches!(at.node.value, Value::Mapping(_)) {
        let address = reader.parsed(at, EXPECTED, address)?;
        return Some(Listen { address: checked(reader, at, address, false)?, token: None });
    }
    let section = reader.section(at, KEYS, "")?;
    let token =
        section.get("token").map(|at| reader.parsed(&at, "a text of letters, digits and signs", token));
    let Some(place) = section.get("address") else {
        if section.lacks("address") {
            reader.problem(at.key, "`listen` has no `address`", "say where: `address: 127.0.0.1:9464`");
        }
        return None;
    };
    let address = reader.parsed(&place, EXPECTED, address)?;
    let address = checked(reader, &place, address, token.is_some() || !section.lacks("token"))?;
    let token = match token {
        Some(token) => Some(token?),
        None => None,
    };
    Some(Listen { address, token })
}

/// Whoever can reach the machine could read along.
fn checked(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    address: SocketAddr,
    has_token: bool,
) -> Option<SocketAddr> {
    if address.ip().is_loopback() || has_token {
        return Some(address);
    }
    let message = format!("other machines can ask at {}, and there is no `token`", at.shown());
    let remedy = format!(
        "write `listen: {{ address: \"{address}\", token: \"${{env:STAKEOUT_TOKEN}}\" }}`, or an address of this machine alone: \
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
        "an IPv6 address stands in brackets: `[::1]:9464`; the port is a number from 1 to 65535".to_owned()
    })
}

fn token(text: &str) -> Result<Secret, String> {
    if text.len() < SHORTEST_TOKEN {
        return Err(format!("at least {SHORTEST_TOKEN} characters; `openssl rand -hex 16` makes a good one"));
    }
    if !text.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err("without spaces; `openssl rand -hex 16` makes a good one".to_owned());
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
