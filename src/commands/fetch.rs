//! Pictures from web addresses, for commands that take them beside files. It refuses to keep anything, and to try again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ureq::Agent;

use crate::https;

const TIMEOUT: Duration = Duration::from_secs(30);
/// As large as a file may be in a watched folder; a server that sends for ever is left here.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Whether `image` is a web address and not a file.
pub(super) fn is_address(image: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| image.starts_with(scheme))
}

/// The bytes at `address`.
///
/// # Errors
/// No answer in time, another status than success, or more than [`MAX_BYTES`].
pub(super) fn get(address: &str) -> Result<Vec<u8>> {
    get_within(address, TIMEOUT, MAX_BYTES)
}

fn get_within(address: &str, timeout: Duration, most: u64) -> Result<Vec<u8>> {
    let agent: Agent = https::options(timeout).build().into();
    let mut response = agent.get(address).call().context("it cannot be fetched")?;
    let status = response.status();
    ensure!(status.is_success(), "it cannot be fetched: the server answers {status}");
    let body = response.body_mut().with_config().limit(most);
    body.read_to_vec().context("it cannot be fetched")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        sync::mpsc,
        thread,
    };

    use super::*;

    /// A server that answers with these bytes, and then keeps the connection open for as long as the second value lives.
    fn server(answer: &'static [u8]) -> (String, mpsc::Sender<()>) {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}/a.jpg", server.local_addr().unwrap());
        let (open, over) = mpsc::channel::<()>();
        thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let head = BufReader::new(&connection).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            connection.write_all(answer).unwrap();
            let _ = over.recv();
        });
        (address, open)
    }

    fn told(answer: &'static [u8], timeout: Duration, most: u64) -> Result<Vec<u8>, String> {
        let (address, _open) = server(answer);
        get_within(&address, timeout, most).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_too_late_or_too_large_is_left() {
        let long = Duration::from_secs(60);
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
        assert_eq!(told(whole, long, 4), Ok(b"abcd".to_vec()));
        let large = told(whole, long, 3).unwrap_err();
        assert!(large.starts_with("it cannot be fetched: ") && large.contains("limit"), "{large}");
        // It does not say how much comes, and more and more does.
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n4\r\nabcd\r\n";
        let large = told(chunks, long, 6).unwrap_err();
        assert!(large.contains("limit"), "{large}");
        let short = Duration::from_millis(50);
        for silent in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"] {
            let late = told(silent, short, 4).unwrap_err();
            assert!(late.starts_with("it cannot be fetched: ") && late.contains("timeout"), "{late}");
        }
    }
}
