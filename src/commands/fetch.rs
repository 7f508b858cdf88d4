//! Fetches pictures from web addresses, for commands that take addresses and files. Nothing is cached or retried.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::{
    https,
    picture::{self, ReadError},
    tls::Trust,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether `image` is a web address and not a file.
pub(super) fn is_address(image: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| image.starts_with(scheme))
}

/// The bytes of the picture at `address`. Of something else only the first bytes are fetched.
///
/// # Errors
/// No response in time, a status other than success, something that is no picture, or more than [`picture::MAX_BYTES`].
pub(super) fn get(address: &str) -> Result<Vec<u8>> {
    get_within(address, TIMEOUT, picture::MAX_BYTES)
}

fn get_within(address: &str, timeout: Duration, most: u64) -> Result<Vec<u8>> {
    let client = https::Client::new(https::options(timeout).build(), &Trust::System);
    let response = client.agent().get(address).call();
    // The library's text may hold the address, and that a key.
    let mut response =
        response.map_err(|error| anyhow!("it cannot be fetched: {}", https::explain(&error, "server")))?;
    let status = response.status();
    ensure!(status.is_success(), "it cannot be fetched: the server responds with {status}");
    // A few bytes more: the reader of pictures reports that there are too many.
    let mut body = response.body_mut().with_config().limit(most + 1 + picture::HEAD as u64).reader();
    picture::read(&mut body, most).map_err(|error| match error {
        ReadError::Io(error) => anyhow!("it cannot be fetched: {error}"),
        other => other.into(),
    })
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

    /// A server that responds with these bytes and keeps the connection open until the second value is dropped.
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

    fn fetched(answer: &'static [u8], timeout: Duration, most: u64) -> Result<Vec<u8>, String> {
        let (address, _open) = server(answer);
        get_within(&address, timeout, most).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn late_and_large_responses_are_errors() {
        let long = Duration::from_secs(60);
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nGIF89a";
        assert_eq!(fetched(whole, long, 6), Ok(b"GIF89a".to_vec()));
        let large = fetched(whole, long, 5).unwrap_err();
        assert_eq!(large, "it has more bytes than the limit of 5");
        // Without a length, the limit counts what arrives.
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nGIF89a\r\n\
            22\r\nabcdefghijklmnopqrstuvwxyz01234567\r\n";
        let large = fetched(chunks, long, 36).unwrap_err();
        assert_eq!(large, "it has more bytes than the limit of 36");
        // The rest of a page is not waited for.
        let page =
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n<!doctype html><html lang=\"en\"><head>";
        assert!(fetched(page, long, 1_000_000).unwrap_err().starts_with("it is not a picture"));
        let short = Duration::from_millis(50);
        for silent in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"] {
            let late = fetched(silent, short, 4).unwrap_err();
            assert!(
                late.starts_with("it cannot be fetched: ")
                    && (late.contains("no response in time") || late.contains("timeout")),
                "{late}"
            );
        }
    }
}
