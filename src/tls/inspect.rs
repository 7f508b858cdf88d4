//! Connects to a server for `doctor` and `health`: reads its certificate, trusted or not, and checks whether it is trusted.

use std::{
    error::Error,
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::{
    client::{Trust, client_config},
    explain::explain,
    fingerprint::Fingerprint,
};
use crate::tcp::Exchange;

/// The fingerprint of the certificate that a server presents. Blocks for `limit` at most.
///
/// # Errors
/// There is no connection, or no TLS; for people.
pub fn inspect(host: &str, port: u16, limit: Duration) -> Result<Fingerprint, String> {
    let connection = handshake(host, port, &Trust::Unverified, limit)?;
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    certificate
        .map(|certificate| Fingerprint::of(certificate))
        .ok_or_else(|| "there is no certificate".to_owned())
}

/// Checks whether a server is trusted. Blocks for `limit` at most.
///
/// # Errors
/// There is no connection, no TLS, or no trust; for people.
pub fn check(host: &str, port: u16, trust: &Trust, limit: Duration) -> Result<(), String> {
    handshake(host, port, trust, limit).map(drop)
}

/// A connection to a trusted server, for one exchange that takes `limit` at most.
///
/// # Errors
/// There is no connection, no TLS, or no trust; for people.
pub fn connect(
    host: &str,
    port: u16,
    trust: &Trust,
    limit: Duration,
) -> Result<impl Read + Write + use<>, String> {
    let (connection, stream) = establish(host, port, trust, limit)?;
    Ok(StreamOwned::new(connection, stream))
}

fn handshake(host: &str, port: u16, trust: &Trust, limit: Duration) -> Result<ClientConnection, String> {
    establish(host, port, trust, limit).map(|(connection, _)| connection)
}

fn establish(
    host: &str,
    port: u16,
    trust: &Trust,
    limit: Duration,
) -> Result<(ClientConnection, Exchange), String> {
    let in_words =
        |error: &(dyn Error + 'static)| explain(error, "server").unwrap_or_else(|| error.to_string());
    let config = client_config(trust, None, &[]).map_err(|error| in_words(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| in_words(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| in_words(&error))?;
    let mut stream = Exchange::connect(host, port, limit).map_err(|error| in_words(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| in_words(&error))?;
    }
    Ok((connection, stream))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;

    #[test]
    fn a_server_that_never_finishes_the_handshake_ends_at_the_limit() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            // The head of a record of 16 KB, and then its bytes, one at a time: five minutes in all.
            let mut sent = stream.write_all(&[22, 3, 3, 0x40, 0]);
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(20));
                sent = stream.write_all(&[0]);
            }
        });
        let ended = inspect("127.0.0.1", port, Duration::from_millis(300)).unwrap_err();
        assert!(ended.contains("timed out"), "{ended}");
    }
}
