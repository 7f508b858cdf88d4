//! The listener: answers who asks how the service is doing, by HTTP, where the configuration asks for one.
//!
//! It has a thread of its own, so that it answers while the model is loaded and when another part stands still. A
//! connection is for one question, has a few seconds and a few kilobytes for it, and there are only so many at a time. It
//! refuses to know what is answered, to keep connections open, and to take a body.

mod request;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};

use self::request::{Head, Request};
use crate::config::{Listen, Secret};

/// So many are answered at a time; others wait in the system's queue.
const AT_ONCE: usize = 16;
/// One connection has so long, from the first byte to the last.
const DEADLINE: Duration = Duration::from_secs(5);
/// When the system has no connection to give it is asked again after this.
const PAUSE: Duration = Duration::from_millis(200);

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `200`, `503` and the like.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A line of text.
    #[must_use]
    pub fn text(status: u16, line: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }
}

/// Answers a path; `None` where there is nothing.
pub type Answers = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// Why nothing can be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not to be had.
    #[error(
        "cannot listen at {address}: choose a free port and an address of this machine for `listen`, or leave it out"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is no thread to answer on.
    #[error("cannot start the listener")]
    Thread(#[source] io::Error),
}

/// Listens as `settings` says, on a thread of its own, for as long as the process lives.
///
/// # Errors
/// The address is not to be had.
pub fn start(settings: &Listen, answers: Arc<Answers>) -> Result<(), Error> {
    let address = settings.address;
    let refused = |source| Error::Address { address, source };
    let socket = TcpListener::bind(address).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let token = settings.token.clone();
    let serve = async move {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => accept(socket, Arc::new(Door { answers, token })).await,
            Err(error) => tracing::error!(%error, "the listener cannot begin"),
        }
    };
    let thread = thread::Builder::new().name("listen".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map_err(Error::Thread)?;
    tracing::info!(%address, "listening: /metrics, /healthz, /readyz");
    Ok(())
}

/// What every connection needs.
struct Door {
    answers: Arc<Answers>,
    token: Option<Secret>,
}

async fn accept(socket: tokio::net::TcpListener, door: Arc<Door>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, peer)) => {
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    // Who is too slow, or goes away, is of no interest to anybody.
                    match timeout(DEADLINE, door.serve(stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a question was not answered"),
                        Err(_) => tracing::debug!(%peer, "a question took too long"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no connection to be had");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Door {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let head = request::read(&mut stream).await?;
        let (answer, with_body) = match head {
            Head::Gone => return Ok(()),
            Head::TooLarge => (Answer::text(431, "the question is too long"), true),
            Head::Garbage => (Answer::text(400, "this is no HTTP request"), true),
            Head::Whole(request) => (self.answer(&request), request.method != "HEAD"),
        };
        stream.write_all(&bytes(&answer, with_body)).await?;
        stream.shutdown().await?;
        // With something unread the system would cut the connection, and our answer with it.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        if !self.lets_in(request.authorization.as_deref()) {
            return Answer::text(401, "the token is missing or wrong: send `Authorization: Bearer TOKEN`");
        }
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return Answer::text(405, "there is only GET and HEAD");
        }
        let path = request.path.split('?').next().unwrap_or_default();
        (self.answers)(path).unwrap_or_else(|| Answer::text(404, "there is /metrics, /healthz and /readyz"))
    }

    fn lets_in(&self, authorization: Option<&str>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = authorization.and_then(|shown| shown.split_once(' '));
        let Some((scheme, shown)) = shown else { return false };
        // Of their hashes nobody can learn the token by measuring how long the comparison takes.
        let same = Sha256::digest(shown.trim()) == Sha256::digest(token.reveal());
        scheme.eq_ignore_ascii_case("bearer") && same
    }
}

fn bytes(answer: &Answer, with_body: bool) -> Vec<u8> {
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let more = match answer.status {
        401 => "WWW-Authenticate: Bearer\r\n",
        405 => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    let Answer { status, content_type, body } = answer;
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in() {
        let door = |token: Option<&str>| Door {
            answers: Arc::new(|_| None),
            token: token.map(|token| Secret::new(token.to_owned())),
        };
        assert!(door(None).lets_in(None) && door(None).lets_in(Some("Bearer x")));
        let locked = door(Some("hunter2"));
        for (shown, lets_in) in [
            (None, false),
            (Some(""), false),
            (Some("Bearer"), false),
            (Some("Bearer "), false),
            (Some("Bearer hunter"), false),
            (Some("Bearer hunter22"), false),
            (Some("Basic hunter2"), false),
            (Some("hunter2"), false),
            (Some("Bearer hunter2"), true),
            (Some("bearer  hunter2 "), true),
        ] {
            assert_eq!(locked.lets_in(shown), lets_in, "{shown:?}");
        }
    }

    #[test]
    fn an_answer_to_head_has_its_length_and_no_body() {
        let answer = Answer::text(200, "ok");
        let text = |with_body| String::from_utf8(bytes(&answer, with_body)).unwrap();
        assert!(text(true).starts_with("HTTP/1.1 200 OK\r\n") && text(true).ends_with("\r\n\r\nok\n"));
        assert!(text(false).contains("Content-Length: 3\r\n") && text(false).ends_with("\r\n\r\n"));
    }
}
