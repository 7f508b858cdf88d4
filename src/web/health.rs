//! The client side of `/healthz` and `/readyz`: asks the service at its own address, with its token and its certificate; and at its unix
//! socket, which needs no token, while that address reads none because someone guesses tokens.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::{Listen, Secret},
    tcp::Exchange,
    tls::{self, Trust},
};

/// The time limit of the whole check. A container engine waits for 5 s.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 16 * 1024;
/// The status of an answer to a peer that has sent too many wrong tokens.
const TOO_MANY: &str = "429";

/// A question about the state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether every part of it makes progress.
    Healthy,
    /// Whether it has started, and is not stopping.
    Ready,
}

impl Question {
    /// Its address.
    fn path(self) -> &'static str {
        match self {
            Self::Healthy => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}

/// Why a service is not healthy, or not ready.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// There is no answer.
    #[error("no service answers at {address}: {source}")]
    Silent {
        /// Where it should listen.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The answer is another one than 200.
    #[error("the service answers: {0}")]
    Answer(String),
}

/// Asks the service that listens as `settings` say. Its answer is `ok` or `ready`. `sockets` are the paths where its unix socket may
/// be.
///
/// # Errors
/// The service does not answer within 3 s, or its answer is not 200.
pub fn check(question: Question, settings: &Listen, sockets: &[PathBuf]) -> Result<String, HealthError> {
    check_within(LIMIT, question, settings, sockets)
}

fn check_within(
    limit: Duration,
    question: Question,
    settings: &Listen,
    sockets: &[PathBuf],
) -> Result<String, HealthError> {
    let until = Instant::now() + limit;
    let address = local(settings.address);
    let mut answer =
        ask(question, address, settings, limit).map_err(|source| HealthError::Silent { address, source })?;
    if status(&answer) == Some(TOO_MANY) {
        let left = until.saturating_duration_since(Instant::now());
        answer = ask_socket(question, sockets, left).unwrap_or(answer);
    }
    parse(&answer)
}

/// The address at which this machine reaches a service that listens at `address`.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The whole answer. Proxies of the environment are not used: the service is on this machine.
fn ask(question: Question, address: SocketAddr, settings: &Listen, limit: Duration) -> io::Result<String> {
    let (host, port) = (address.ip().to_string(), address.port());
    let (name, token) = (address.to_string(), settings.any_token());
    match &settings.tls {
        None => exchange(question, Exchange::connect(&host, port, limit)?, &name, token),
        Some(files) => {
            // The certificate need not be valid for the address of this machine: it must be the one in the file.
            let trust = Trust::Pinned(files.fingerprint().map_err(io::Error::other)?);
            let stream = tls::connect(&host, port, &trust, limit).map_err(io::Error::other)?;
            exchange(question, stream, &name, token)
        }
    }
}

/// The whole answer at the first of these unix sockets where a service answers; `None` if there is none within `limit`.
fn ask_socket(question: Question, sockets: &[PathBuf], limit: Duration) -> Option<String> {
    let (found, receive_found) = sync_channel(1);
    let sockets = sockets.to_vec();
    // The system has no limit for a connection to a unix socket, so the thread may outlast this call.
    let asking = move || {
        let ask = |socket: &PathBuf| exchange(question, connect(socket, limit)?, "localhost", None);
        let answer = sockets.iter().find_map(|socket| ask(socket).ok());
        // The caller may have stopped waiting.
        let _ = found.send(answer);
    };
    thread::Builder::new().name("health".to_owned()).spawn(asking).ok()?;
    receive_found.recv_timeout(limit).ok().flatten()
}

fn connect(socket: &Path, limit: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// Sends the request, and reads the whole answer.
fn exchange(
    question: Question,
    mut stream: impl Read + Write,
    host: &str,
    token: Option<&Secret>,
) -> io::Result<String> {
    let authorization =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.reveal()));
    let path = question.path();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The number of the status of an answer.
fn status(answer: &str) -> Option<&str> {
    answer.lines().next()?.split(' ').nth(1)
}

/// The body of a 200; of every other answer its status and its body.
fn parse(answer: &str) -> Result<String, HealthError> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let body = body.trim();
    match status(answer) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(HealthError::Answer(format!("{}, {body}", head.lines().next().unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener};

    use super::*;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(600);

    /// Answers the one request on a connection, and returns the request.
    fn answer(mut stream: impl Read + Write, answer: &str) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    }

    #[test]
    fn guesses_of_others_do_not_keep_the_check_out() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, left, path] = ["missing", "left", "api.sock"].map(|name| folder.path().join(name));
        drop(UnixListener::bind(&left).unwrap());
        let socket = UnixListener::bind(&path).unwrap();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let token = Some(Secret::new("0123456789abcdef".to_owned()));
        let settings = Listen { token, ..Listen::at(server.local_addr().unwrap()) };
        let (ok, stuck) =
            ("HTTP/1.1 200 OK\r\n\r\nok\n", "HTTP/1.1 503 Service Unavailable\r\n\r\nstuck: judge\n");
        let too_many = "HTTP/1.1 429 Too Many Requests\r\n\r\nwait\n";
        let (all, none) = ([missing.clone(), left, path], [missing]);
        let (healthy, ready) = (Question::Healthy, Question::Ready);
        for (question, over_http, sockets, at_socket, expected) in [
            (healthy, too_many, &all[..], Some(ok), Ok("ok")),
            (ready, too_many, &all, Some(stuck), Err("stuck: judge")),
            (healthy, too_many, &none, None, Err("429")),
            (healthy, too_many, &[], None, Err("429")),
            (ready, ok, &all, None, Ok("ok")),
            (healthy, stuck, &all, None, Err("stuck: judge")),
        ] {
            let asked = format!("GET {} HTTP/1.1\r\n", question.path());
            let found = thread::scope(|scope| {
                scope.spawn(|| {
                    let request = answer(server.accept().unwrap().0, over_http);
                    assert!(request.starts_with(&asked), "{request}");
                    assert!(request.contains("Bearer 0123456789abcdef"), "{request}");
                });
                scope.spawn(|| {
                    if let Some(at_socket) = at_socket {
                        let request = answer(socket.accept().unwrap().0, at_socket);
                        assert!(request.starts_with(&asked), "{request}");
                        assert!(!request.contains("Bearer"), "the socket needs no token: {request}");
                    }
                });
                check_within(LONG, question, &settings, sockets).map_err(|error| error.to_string())
            });
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                _ => panic!("{over_http} {at_socket:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn answers() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n").unwrap(), "ok");
        for (answer, expected) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nstuck: judge\n", "stuck: judge"),
            ("HTTP/1.1 401 Unauthorized\r\n\r\nthe token", "401"),
            ("HTTP/1.1 2000 X\r\n\r\n", "2000"),
            ("SSH-2.0-x", "SSH"),
            ("", "the service answers"),
        ] {
            let error = parse(answer).unwrap_err().to_string();
            assert!(error.contains(expected), "{answer}: {error}");
        }
    }

    #[test]
    fn every_address_of_this_machine_is_reached_at_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
        ] {
            assert_eq!(local(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
