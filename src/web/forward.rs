//! Forwards browsers on a port of this machine to the socket that a running service has for them, while `stakeout console` runs.
//!
//! It reads nothing of what it forwards: the service decides what each request may do, and limits it in time. A program that opens
//! many connections keeps out no more than the same number of others.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// The most connections. Further ones wait.
const MOST: usize = 32;
/// A client that does not read for this long is disconnected.
const UNREAD: Duration = Duration::from_secs(60);
/// The time limit of each step of a refusal.
const FAREWELL: Duration = Duration::from_secs(1);
/// The pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(200);
const BUFFER: usize = 16 * 1024;
/// The answer while no service is there.
const GONE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 2\r\nConnection: close\r\n\r\n\
    the service does not run: start it, then load this page again\n";

/// Forwards connections until the future is dropped.
pub async fn run(listener: TcpListener, socket: Arc<Path>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    let _place = place;
                    // One of the two has closed the connection: the other one notices.
                    let _ = forward(client, &socket).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the system cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn forward(client: TcpStream, socket: &Path) -> io::Result<()> {
    let Ok(service) = UnixStream::connect(socket).await else {
        return refuse(client).await;
    };
    let ((from_client, to_client), (from_service, to_service)) = (client.into_split(), service.into_split());
    let request = async {
        let _ = copy(from_client, to_service).await;
        // The answer may still be in flight.
        std::future::pending::<()>().await
    };
    tokio::select! {
        answered = copy(from_service, to_client) => answered,
        () = request => Ok(()),
    }
}

/// Says that there is no service.
async fn refuse(mut client: TcpStream) -> io::Result<()> {
    // The kernel resets a connection that is closed with unread bytes, and the client loses the answer.
    let _ = timeout(FAREWELL, client.read(&mut vec![0; BUFFER])).await;
    timeout(FAREWELL, client.write_all(GONE)).await??;
    client.shutdown().await?;
    let _ = timeout(FAREWELL, client.read(&mut vec![0; BUFFER])).await;
    Ok(())
}

/// Copies until the end of `from`.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        timeout(UNREAD, to.write_all(&buffer[..length])).await??;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::net::UnixListener;

    use super::*;

    async fn started(socket: &Path) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(run(listener, socket.into()));
        address
    }

    /// What is received for a request whose sender then closes its half.
    async fn asked(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn bytes_are_forwarded_both_ways_and_a_missing_service_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("console.sock");
        let address = started(&socket).await;
        assert!(asked(address, b"GET /").await.contains("503 Service Unavailable"));

        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut service, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                service.read_to_end(&mut request).await.unwrap();
                service.write_all(&[b"answer to ", &request[..]].concat()).await.unwrap();
            }
        });
        for _ in 0..2 * MOST {
            assert_eq!(asked(address, b"a request").await, "answer to a request", "each place is free again");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_service_ends_the_connection_of_a_silent_client() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("console.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let address = started(&socket).await;
        let mut clients = Vec::new();
        for _ in 0..2 * MOST {
            // More clients than places: the first ones have to go.
            let mut client = TcpStream::connect(address).await.unwrap();
            let (service, _) = listener.accept().await.unwrap();
            drop(service);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            clients.push(client);
        }
    }
}
