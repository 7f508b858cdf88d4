//! The head of a request, read within limits.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head, in bytes.
const LONGEST: usize = 8 * 1024;
/// The most header fields.
const FIELDS: usize = 64;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A question.
    Whole(Request),
    /// It does not end.
    TooLarge,
    /// Something else.
    Garbage,
    /// Nothing, or half of it.
    Gone,
}

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
}

/// Reads one head and nothing behind it is looked at.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(head) = parse(&bytes) {
            return Ok(head);
        }
        if bytes.len() >= LONGEST {
            return Ok(Head::TooLarge);
        }
        let room = (LONGEST - bytes.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut bytes).await? == 0 {
            return Ok(Head::Gone);
        }
    }
}

/// `None`: there is more to come.
fn parse(bytes: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => Some(Head::TooLarge),
        Err(_) => Some(Head::Garbage),
        Ok(httparse::Status::Complete(_)) => {
            let authorization =
                request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("authorization"));
            Some(Head::Whole(Request {
                method: request.method.unwrap_or_default().to_owned(),
                path: request.path.unwrap_or_default().to_owned(),
                authorization: authorization.and_then(|field| String::from_utf8(field.value.to_vec()).ok()),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn head(bytes: &[u8]) -> Head {
        let mut bytes = bytes;
        read(&mut bytes).await.unwrap()
    }

    #[tokio::test]
    async fn a_table_of_heads() {
        let whole = |method: &str, path: &str, authorization: Option<&str>| {
            let authorization = authorization.map(str::to_owned);
            Head::Whole(Request { method: method.to_owned(), path: path.to_owned(), authorization })
        };
        let get = whole("GET", "/metrics", None);
        assert_eq!(head(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await, get);
        assert_eq!(head(b"GET /metrics HTTP/1.0\n\nmore").await, get);
        let post = whole("POST", "/", Some("Bearer x"));
        assert_eq!(head(b"POST / HTTP/1.1\r\nAUTHORIZATION: Bearer x\r\n\r\n").await, post);
        assert_eq!(head(b"").await, Head::Gone);
        assert_eq!(head(b"GET / HTTP/1.1\r\nHost:").await, Head::Gone);
        assert_eq!(head(b"\x16\x03\x01\x02\x00\x01").await, Head::Garbage);
        assert_eq!(head(&[b"GET /".to_vec(), vec![b'a'; 100_000]].concat()).await, Head::TooLarge);
        let fields = "A: b\r\n".repeat(100);
        assert_eq!(head(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).await, Head::TooLarge);
    }
}
