//! Connects to a model server: TCP, and TLS as all other clients of this program have it ([`crate::tls`]).

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use super::failure::Failure;
use crate::{
    blocking,
    config::ServerAddress,
    tls::{self, Trust},
};

/// The protocol that gRPC needs, as TLS names it.
const HTTP_2: &str = "h2";

/// A connection to a server. If it breaks, the next request makes a new one.
pub(super) async fn connect(server: &ServerAddress, trust: &Trust) -> Result<Channel, Failure> {
    let scheme = if server.tls { "https" } else { "http" };
    let invalid = |error: tonic::transport::Error| Failure::Unsuitable(in_words(&error));
    let endpoint = Endpoint::from_shared(format!("{scheme}://{}", server.authority())).map_err(invalid)?;
    let endpoint = endpoint.user_agent(concat!("stakeout/", env!("CARGO_PKG_VERSION"))).map_err(invalid)?;
    let tls = match server.tls {
        true => Some(tls_config(trust.clone()).await?),
        false => None,
    };
    let connector = Connector { host: server.host.clone(), port: server.port, tls };
    endpoint.connect_with_connector(connector).await.map_err(|error| Failure::Away(in_words(&error)))
}

/// Reads certificates, which blocks for the disk.
async fn tls_config(trust: Trust) -> Result<Arc<ClientConfig>, Failure> {
    let made = blocking::run(move || tls::client_config(&trust, None, &[HTTP_2.to_owned()])).await;
    match made {
        Ok(Ok(config)) => Ok(Arc::new(config)),
        Ok(Err(error @ tls::Error::NotNow { .. })) => Err(Failure::Away(error.to_string())),
        Ok(Err(error)) => Err(Failure::Unsuitable(error.to_string())),
        Err(_) => Err(Failure::Away("the settings for TLS could not be made".to_owned())),
    }
}

/// Why a connection failed, for people: what TLS says, or else the first cause.
pub(super) fn in_words(error: &(dyn Error + 'static)) -> String {
    if let Some(words) = tls::explain(error, "server") {
        return words;
    }
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Without the number of the system's error.
    cause.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Makes the connections of a channel.
#[derive(Clone)]
struct Connector {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Stream>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = self.tls else { return Ok(TokioIo::new(Either::Left(stream))) };
        let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(TokioIo::new(Either::Right(Box::new(stream))))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_of_a_failure_is_shown() {
        let refused = io::Error::from_raw_os_error(111);
        let wrapped = tonic::ConnectError(Box::new(refused));
        assert_eq!(in_words(&wrapped), "Connection refused");
    }
}
