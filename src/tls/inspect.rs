//! Connects to a server for `doctor`: reads its certificate, trusted or not, and checks whether it is trusted.

use std::{
    error::Error,
    io,
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, pki_types::ServerName};

use super::{
    client::{Trust, client_config},
    explain::explain,
    fingerprint::Fingerprint,
};

/// The fingerprint of the certificate that a server presents. Blocks, for some multiples of `limit` at most.
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

/// Checks whether a server is trusted. Blocks, for some multiples of `limit` at most.
///
/// # Errors
/// There is no connection, no TLS, or no trust; for people.
pub fn check(host: &str, port: u16, trust: &Trust, limit: Duration) -> Result<(), String> {
    handshake(host, port, trust, limit).map(drop)
}

fn handshake(host: &str, port: u16, trust: &Trust, limit: Duration) -> Result<ClientConnection, String> {
    let in_words =
        |error: &(dyn Error + 'static)| explain(error, "server").unwrap_or_else(|| error.to_string());
    let config = client_config(trust, None, &[]).map_err(|error| in_words(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| in_words(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| in_words(&error))?;
    let mut stream = connect(host, port, limit).map_err(|error| in_words(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| in_words(&error))?;
    }
    Ok(connection)
}

fn connect(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
