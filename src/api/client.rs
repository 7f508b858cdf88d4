//! What commands use: the running service if its socket answers, else the store in the state folder.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::{Error, Kind, Problem},
    pictures, query, socket,
    verb::{Answer, Method, PATIENCE, PREFIX, Verb},
};
use crate::{
    config::Config,
    descriptors::is_missing,
    history::{History, Reader},
};

/// The time that the service has less for its answer than the client waits for it.
const MARGIN: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Answers the requests of commands.
#[derive(Debug, Clone)]
pub struct Client {
    sockets: Vec<PathBuf>,
    state_dir: PathBuf,
}

/// A running service.
#[derive(Debug, Clone)]
pub struct Running {
    socket: PathBuf,
}

impl Client {
    /// For the service with the configuration file `path`, whose content is `config`.
    #[must_use]
    pub fn of(path: &Path, config: &Config) -> Self {
        Self::at(path, &config.state_dir)
    }

    /// For the service with the configuration file `path`, whose state is in `state_dir`.
    #[must_use]
    pub fn at(path: &Path, state_dir: &Path) -> Self {
        Self { sockets: socket::of_commands(path, state_dir), state_dir: state_dir.to_owned() }
    }

    /// The answer of the running service, else of the store.
    ///
    /// # Errors
    /// The request is wrong, its answer is an error, or nothing can answer it: neither a service nor a store.
    pub fn call<Request, Response>(
        &self,
        verb: &Verb<Request, Response>,
        request: &Request,
    ) -> Result<Response, Error>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        if let Some(service) = self.running()? {
            return service.call(verb, request);
        }
        match verb.answer {
            Answer::Read(answer) | Answer::Either { read: answer, .. } => answer(&self.reader()?, request),
            Answer::Write(answer) => answer(&mut History::open(&self.state_dir)?, request),
            Answer::Live(_) | Answer::ForRole(_) | Answer::Owner(_) => Err(self.not_running()),
        }
    }

    /// The running service; `None` if there is none.
    ///
    /// # Errors
    /// There is one, and this user may not connect to it.
    pub fn running(&self) -> Result<Option<Running>, Error> {
        for socket in &self.sockets {
            match UnixStream::connect(socket) {
                Ok(_) => return Ok(Some(Running { socket: socket.clone() })),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(forbidden(socket));
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(unreachable(socket, &error)),
            }
        }
        Ok(None)
    }

    /// The JPEG of the picture at an address of an answer, from the running service, else from the store.
    ///
    /// # Errors
    /// It does not exist any more, or cannot be read.
    pub fn picture(&self, address: &str) -> Result<Vec<u8>, Error> {
        if let Some(service) = self.running()? {
            return service.picture(address);
        }
        let id = pictures::id(address).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{address} is not the address of a picture"))
        })?;
        pictures::read(&self.reader()?, id)
    }

    /// What the service in the state folder remembers, read without the service.
    ///
    /// # Errors
    /// There is no store, or this user cannot read it.
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::open(&self.state_dir).map_err(Error::from)
    }

    /// The state folder.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The error for what only a running service can do.
    #[must_use]
    pub fn not_running(&self) -> Error {
        let sockets: Vec<_> = self.sockets.iter().map(|socket| socket.display().to_string()).collect();
        Error::new(Kind::Unavailable, format!("no service answers at {}", sockets.join(" or "))).remedy(
            "Start it (`stakeout run`, or `systemctl start stakeout`), and name its file with `--config`.",
        )
    }
}

impl Running {
    /// The socket to which browsers are forwarded.
    #[must_use]
    pub fn socket_for_browsers(&self) -> PathBuf {
        socket::for_browsers(&self.socket)
    }

    /// The answer of the service.
    ///
    /// # Errors
    /// The answer is an error, or does not arrive.
    pub fn call<Request, Response>(
        &self,
        verb: &Verb<Request, Response>,
        request: &Request,
    ) -> Result<Response, Error>
    where
        Request: Serialize,
        Response: DeserializeOwned,
    {
        let sent = serde_json::to_value(request)
            .map_err(|error| Error::new(Kind::BadRequest, format!("the request is no JSON: {error}")))?;
        let patience = verb.answer.patience();
        let body = match verb.method {
            Method::Get => {
                self.exchange(verb.method, &target(verb.name, &query::write(&sent)), b"", patience)
            }
            Method::Post | Method::Query => {
                self.exchange(verb.method, &target(verb.name, ""), sent.to_string().as_bytes(), patience)
            }
        }?;
        serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Failed, format!("the answer of the service is not understood: {error}"))
                .remedy("The service may be of another version: restart it.")
        })
    }

    /// The picture at this address, as JPEG.
    ///
    /// # Errors
    /// It does not exist, or does not arrive.
    pub fn picture(&self, address: &str) -> Result<Vec<u8>, Error> {
        self.exchange(Method::Get, address, b"", PATIENCE)
    }

    fn exchange(
        &self,
        method: Method,
        target: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, Error> {
        let answer = exchange(&self.socket, method, target, body, patience + MARGIN);
        parse(answer.map_err(|error| unreachable(&self.socket, &error))?)
    }
}

/// Whether no service listens there: the socket was left by a service that was killed, was never made, or has a path that no socket
/// can have.
fn is_absent(error: &io::Error) -> bool {
    is_missing(error)
        || matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput)
}

fn target(name: &str, query: &str) -> String {
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{PREFIX}{name}{separator}{query}")
}

/// The whole answer. HTTP/1.0, so that it arrives in one piece, until the end of the connection. `patience` is the time limit for the
/// answer to begin, and between two parts of it.
fn exchange(
    socket: &Path,
    method: Method,
    target: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let (method, length) = (method.name(), body.len());
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    // In one piece: the service may answer and close the connection before it has read the body.
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of an answer that is no error.
fn parse(mut answer: Vec<u8>) -> Result<Vec<u8>, Error> {
    let broken = || Error::new(Kind::Failed, "the service closed the connection without an answer");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(broken)?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.lines().next().unwrap_or_default();
    let code = status.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).ok_or_else(broken)?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.filter_map(|(_, length)| length.trim().parse::<usize>().ok()).next();
    if length.is_some_and(|length| length != body.len()) {
        return Err(Error::new(Kind::Failed, "the answer of the service is incomplete"));
    }
    match code {
        200 => Ok(body),
        _ => Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => problem.into(),
            Err(_) => Error::new(Kind::Failed, format!("the service answers: {status}")),
        }),
    }
}

fn forbidden(socket: &Path) -> Error {
    let socket = socket.display();
    Error::new(Kind::Forbidden, format!("this user may not connect to the service at {socket}")).remedy(
        "Use `sudo`, or add the user to the group of the service (`sudo usermod -aG stakeout USER`) and log in again.",
    )
}

fn unreachable(socket: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it did not answer in time".to_owned(),
        _ => error.to_string(),
    };
    Error::new(Kind::Unavailable, format!("cannot reach the service at {}: {kind}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()), Ok(b"{}".to_vec()));
        let problem = Error::parameter("limit", "`x` is not a whole number");
        let answer = format!("HTTP/1.1 400 Bad Request\r\n\r\n{}", problem.to_json());
        assert_eq!(parse(answer.into_bytes()), Err(problem));
        for (answer, what) in [
            (&b""[..], "without an answer"),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}", "incomplete"),
            (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "502 Bad Gateway"),
            (b"SSH-2.0\r\n\r\n", "without an answer"),
        ] {
            let error = parse(answer.to_vec()).unwrap_err();
            assert!(error.what.contains(what), "{error}");
        }
    }

    #[test]
    fn a_socket_without_a_listener_is_no_service() {
        let folder = tempfile::tempdir().unwrap();
        let client = |path: PathBuf| Client { sockets: vec![path], state_dir: folder.path().to_owned() };
        assert!(client(folder.path().join("none")).running().unwrap().is_none());
        let left = folder.path().join("left");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(left.exists() && client(left).running().unwrap().is_none());
        let long = client(folder.path().join("x".repeat(200)));
        assert!(long.running().unwrap().is_none(), "no socket can have this path");
    }
}
