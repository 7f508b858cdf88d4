//! The client side of `/healthz`: asks the service at its own address, with its token and its certificate.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{
    config::{Listen, Secret},
    tcp::Exchange,
    tls::{self, Trust},
};

/// The time limit of the whole check. A container engine waits for 5 s.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Why a service is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// There is no answer.
    #[error("no service answers at {address}: {source}")]
    Silent {
        /// Where it should listen.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The answer is another one than 200.
    #[error("the service answers: {0}")]
    Answer(String),
}

/// Asks the service that listens as `settings` say whether every part of it makes progress. Its answer is `ok`.
///
/// # Errors
/// The service does not answer within 3 s, or its answer is not 200.
pub fn check(settings: &Listen) -> Result<String, HealthError> {
    let address = local(settings.address);
    let answer = ask(address, settings).map_err(|source| HealthError::Silent { address, source })?;
    parse(&answer)
}

/// The address at which this machine reaches a service that listens at `address`.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The whole answer. Proxies of the environment are not used: the service is on this machine.
fn ask(address: SocketAddr, settings: &Listen) -> io::Result<String> {
    let (host, port) = (address.ip().to_string(), address.port());
    match &settings.tls {
        None => exchange(Exchange::connect(&host, port, LIMIT)?, address, settings.any_token()),
        Some(files) => {
            // The certificate need not be valid for the address of this machine: it must be the one in the file.
            let trust = Trust::Pinned(files.fingerprint().map_err(io::Error::other)?);
            let stream = tls::connect(&host, port, &trust, LIMIT).map_err(io::Error::other)?;
            exchange(stream, address, settings.any_token())
        }
    }
}

/// Sends the request, and reads the whole answer.
fn exchange(
    mut stream: impl Read + Write,
    address: SocketAddr,
    token: Option<&Secret>,
) -> io::Result<String> {
    let authorization =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.reveal()));
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of a 200; of every other answer its status and its body.
fn parse(answer: &str) -> Result<String, HealthError> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    let body = body.trim();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(HealthError::Answer(format!("{status}, {body}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n").unwrap(), "ok");
        for (answer, expected) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nstuck: judge\n", "stuck: judge"),
            ("HTTP/1.1 401 Unauthorized\r\n\r\nthe token", "401"),
            ("HTTP/1.1 2000 X\r\n\r\n", "2000"),
            ("SSH-2.0-x", "SSH"),
            ("", "the service answers"),
        ] {
            let error = parse(answer).unwrap_err().to_string();
            assert!(error.contains(expected), "{answer}: {error}");
        }
    }

    #[test]
    fn every_address_of_this_machine_is_reached_at_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
        ] {
            assert_eq!(local(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
