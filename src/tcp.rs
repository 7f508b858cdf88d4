//! Connects to a server for one short exchange, with one deadline for all of it: looking up the name, every address, and each
//! byte. A server that sends one byte at a time gets no more time.
//!
//! Blocks. For `doctor` and for single questions to a camera; connections that last have limits of their own.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// A connection with a deadline. After it, each call fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Exchange {
    stream: TcpStream,
    until: Instant,
}

impl Exchange {
    /// Connects to the first address of `host` that answers. Each address gets its share of the time that is left, so that one
    /// without an answer does not use up that of the others.
    ///
    /// # Errors
    /// The name is unknown, or no address answers in time: the error of the last one.
    pub fn connect(host: &str, port: u16, limit: Duration) -> io::Result<Self> {
        let until = Instant::now() + limit;
        Self::connect_to_any(&addresses(host, port, until)?, until)
    }

    /// The same connection with another deadline.
    #[cfg(test)]
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { until: Instant::now() + limit, ..self }
    }

    fn connect_to_any(addresses: &[SocketAddr], until: Instant) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for (tried, address) in addresses.iter().enumerate() {
            let rest = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(address, left(until)? / rest) {
                Ok(stream) => return Ok(Self { stream, until }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The addresses of a host. The system's look-up has no limit, so it runs on a thread of its own, which may outlast this call.
fn addresses(host: &str, port: u16, until: Instant) -> io::Result<Vec<SocketAddr>> {
    let (found, receive_found) = sync_channel(1);
    let host = host.to_owned();
    let look_up = move || {
        // The caller may have stopped waiting.
        let _ = found.send((&*host, port).to_socket_addrs().map(Iterator::collect));
    };
    thread::Builder::new().name("look-up".to_owned()).spawn(look_up)?;
    receive_found.recv_timeout(left(until)?).map_err(|error| match error {
        RecvTimeoutError::Timeout => io::Error::from(io::ErrorKind::TimedOut),
        RecvTimeoutError::Disconnected => io::Error::other("the look-up of the name ended in a panic"),
    })?
}

/// The time that is left; an error if none is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The system reports the end of the time as an operation that would block.
fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        in_time(self.stream.read(buffer))
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        in_time(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn every_address_of_a_host_is_tried() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = server.local_addr().unwrap();
        let closed = {
            let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            closed.local_addr().unwrap()
        };
        let until = Instant::now() + LONG;
        let connected = Exchange::connect_to_any(&[closed, open], until).unwrap();
        assert_eq!(connected.stream.peer_addr().unwrap(), open);
        let refused = Exchange::connect_to_any(&[closed], until).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(Exchange::connect_to_any(&[], until).is_err());
        assert_eq!(
            Exchange::connect_to_any(&[open], Instant::now()).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(Exchange::connect("127.0.0.1", open.port(), LONG).is_ok());
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_gets_no_more_time() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut exchange = Exchange::connect("127.0.0.1", port, LONG).unwrap();
        exchange.read_exact(&mut [0; 2]).unwrap();
        let mut exchange = exchange.within(Duration::from_millis(50));
        // All of it would take the whole patience of a test.
        let ended = exchange.read_exact(&mut vec![0; 1 << 20]).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert_eq!(exchange.write(b"x").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
