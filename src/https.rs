//! The HTTP client of everything that uses HTTP or HTTPS.
//!
//! TLS is that of [`crate::tls`]. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`). A status is no error: the
//! caller knows what a 404 means. The client repeats a request in one case only: the server had closed the kept-alive
//! connection that the request was sent on.

use std::{
    fmt,
    io::{ErrorKind, Read as _, Write as _},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use ureq::{
    Agent,
    config::{Config, ConfigBuilder},
    typestate::AgentScope,
    unversioned::{
        resolver::DefaultResolver,
        transport::{
            Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
            TcpConnector, Transport, TransportAdapter,
        },
    },
};

use crate::tls::{self, Trust};

/// Options of a client that gives up after `timeout`, measured from the look-up of the name to the last byte.
#[must_use]
pub fn options(timeout: Duration) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .user_agent(concat!("stakeout/", env!("CARGO_PKG_VERSION")))
}

/// The value of the header `Authorization` for basic authentication (RFC 7617).
#[must_use]
pub fn basic_authorization((username, password): (&str, &str)) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

/// Why a request has failed, for people. The library's texts may hold an address with its secrets, so they are used only where they
/// cannot. `who` is the other side: `camera`, `server`.
#[must_use]
pub fn explain(error: &ureq::Error, who: &str) -> String {
    match error {
        ureq::Error::Io(error) => tls::explain_io(error, who).unwrap_or_else(|| error.to_string()),
        ureq::Error::Timeout(_) => "no response in time".to_owned(),
        ureq::Error::HostNotFound => "there is no host of this name".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::TooManyRedirects => "too many redirects".to_owned(),
        ureq::Error::BadUri(_) => "the address is invalid".to_owned(),
        ureq::Error::InvalidProxyUrl => "the address of the proxy is invalid".to_owned(),
        ureq::Error::ConnectProxyFailed(_) => "the proxy refuses the connection".to_owned(),
        ureq::Error::BodyExceedsLimit(limit) => format!("the response has more than {limit} bytes"),
        ureq::Error::Rustls(error) => tls::explain(error, who).unwrap_or_else(|| error.to_string()),
        // From our own connector: the files for TLS, or a name that no certificate can have.
        ureq::Error::Other(error) => tls::explain(&**error, who).unwrap_or_else(|| error.to_string()),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            "the response is not HTTP".to_owned()
        }
        _ => "the request failed".to_owned(),
    }
}

/// A client. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    /// The number of connections that were made.
    connections: Arc<AtomicU64>,
}

impl Client {
    /// A client with these options that checks servers by `trust`.
    #[must_use]
    pub fn new(options: Config, trust: &Trust) -> Self {
        let connections = Arc::new(AtomicU64::new(0));
        let tls = TlsConnector {
            trust: trust.clone(),
            config: OnceLock::new(),
            connections: Arc::clone(&connections),
        };
        let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
        Self { agent: Agent::with_parts(options, connector, DefaultResolver::default()), connections }
    }

    /// The library's client, which repeats nothing.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Sends a request, and once more on a new connection if the server had closed the kept-alive one. Other threads must not
    /// send with this client meanwhile.
    ///
    /// # Errors
    /// Those of the request.
    pub fn send<T>(&self, request: impl Fn(&Agent) -> Result<T, ureq::Error>) -> Result<T, ureq::Error> {
        let before = self.connections.load(Ordering::Relaxed);
        match request(&self.agent) {
            Err(error) if is_closed(&error) && self.connections.load(Ordering::Relaxed) == before => {
                request(&self.agent)
            }
            sent => sent,
        }
    }
}

/// Whether the server closed the connection.
fn is_closed(error: &ureq::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};

    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// Counts connections, and adds TLS to those that need it.
struct TlsConnector {
    trust: Trust,
    /// Made for the first connection with TLS: most cameras need no certificates of the system.
    config: OnceLock<Arc<ClientConfig>>,
    connections: Arc<AtomicU64>,
}

impl TlsConnector {
    fn config(&self) -> Result<Arc<ClientConfig>, tls::Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls::client_config(&self.trust, None, &[])?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let other = |error: tls::Error| ureq::Error::Other(Box::new(error));
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut connection = ClientConnection::new(self.config().map_err(other)?, name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = StreamOwned { conn: connection, sock: socket };
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// A connection with TLS.
struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("socket", self.stream.sock.inner()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;

    /// Reads the head of a request; false at the end of the connection.
    fn has_request(stream: &TcpStream) -> bool {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).count() > 0
    }

    /// A server that answers `answered` requests on each connection and closes it at the next one, and its connections.
    fn server(answered: usize) -> (String, Arc<AtomicU64>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut left = answered;
                while has_request(&stream) && left > 0 {
                    left -= 1;
                    let answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
                    (&stream).write_all(answer).unwrap();
                }
            }
        });
        (url, connections)
    }

    #[test]
    fn a_request_on_a_kept_alive_connection_that_was_closed_is_repeated_once() {
        let client = Client::new(options(Duration::from_secs(600)).proxy(None).build(), &Trust::System);
        let get = |url: &str| client.send(|agent| agent.get(url).call()?.body_mut().read_to_string());
        let (url, connections) = server(1);
        for expected in 1..4 {
            assert_eq!(get(&url).unwrap(), "ok");
            assert_eq!(connections.load(Ordering::SeqCst), expected);
        }
        let (url, connections) = server(0);
        assert!(get(&url).is_err());
        assert_eq!(connections.load(Ordering::SeqCst), 1, "a new connection that is closed is a failure");
    }
}
