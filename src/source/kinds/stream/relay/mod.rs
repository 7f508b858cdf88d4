//! A port of this machine that leads to one camera, for FFmpeg.
//!
//! FFmpeg connects to this port, and the connection to the camera is made here, because FFmpeg's own client
//!
//! - sends the password to any server that asks for it: here `login` decides, and FFmpeg does not know user and password;
//! - follows redirects to any host: here they stay at the camera, unless the configuration says otherwise;
//! - checks no certificate by default, cannot pin one, ignores its options for RTSP and for the segments of HLS in the releases of
//!   Debian, and does not say what is wrong: here TLS is that of all other clients ([`crate::tls`]).
//!
//! Only FFmpeg knows the random name that it sends as its `User-Agent`: other programs of this machine that connect to the port are
//! turned away, so they cannot use the login. (RTMP has no such header. There FFmpeg has the login itself.)
//!
//! `rtsp` and `http` decide what is sent; this file has the connections.

mod camera;
mod http;
mod message;
mod rtsp;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split},
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::{
    either::Either,
    sync::{CancellationToken, DropGuard},
};
use uuid::Uuid;

pub(super) use self::camera::{Camera, Failure};
use crate::tls::{self, Trust};

/// The most connections at a time: HLS opens a few.
const MOST_CONNECTIONS: usize = 16;
/// A connection on which no request is sent within this time is not one of FFmpeg, which sends its request at once: even on a machine
/// that is very busy.
const SILENCE: Duration = Duration::from_secs(10);
/// How often the caller checks for the stop signal while the relay connects.
const CHECK: Duration = Duration::from_millis(20);
/// How long connections may take to end when the relay is closed: the camera is to receive FFmpeg's farewell.
const FAREWELL: Duration = Duration::from_secs(2);
const BUFFER: usize = 32 * 1024;

/// An open relay. It closes when it is dropped.
pub(super) struct Relay {
    address: SocketAddr,
    secret_name: String,
    failure: SharedFailure,
    _stop: DropGuard,
}

/// Why there is no relay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RelayError {
    /// The caller's stop signal.
    Stopped,
    /// The camera did not answer within the limit.
    NoAnswer,
    /// The camera cannot be reached; for people.
    Unreachable(String),
    /// Anything else, for people.
    Failed(String),
}

type SharedFailure = Arc<Mutex<Option<Failure>>>;
type Far = Either<TcpStream, TlsStream<TcpStream>>;

impl Relay {
    /// Connects to `camera` within `limit`, and opens a port that leads there. Blocks; `is_stopped` is called meanwhile.
    pub(super) fn open(
        camera: &Camera,
        trust: &Trust,
        limit: Duration,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Self, RelayError> {
        let failed = |error: &dyn ToString| RelayError::Failed(error.to_string());
        let tls = match camera.is_tls {
            false => None,
            true => {
                let name = ServerName::try_from(camera.host.clone()).map_err(|error| failed(&error))?;
                Some((name, Arc::new(tls::client_config(trust, None, &[]).map_err(|error| failed(&error))?)))
            }
        };
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let (stop, failure) = (CancellationToken::new(), SharedFailure::default());
        let (ready, is_ready) = sync_channel(1);
        let secret_name = Uuid::now_v7().simple().to_string();
        let far_end = FarEnd {
            camera: camera.clone(),
            secret_name: secret_name.clone(),
            tls,
            limit,
            failure: Arc::clone(&failure),
        };
        let stopped = stop.clone();
        let guard = stop.drop_guard();
        let run = move || {
            runtime.block_on(serve(far_end, ready, stopped));
            // A look-up of a name that hangs must not delay the end.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("relay".to_owned()).spawn(run).map_err(|error| failed(&error))?;
        let address = wait(&is_ready, is_stopped)?;
        Ok(Self { address, secret_name, failure, _stop: guard })
    }

    /// Host and port of this end.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// This end.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What FFmpeg must send as its `User-Agent`.
    pub(super) fn secret_name(&self) -> &str {
        &self.secret_name
    }

    /// Why the newest connection failed, if it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Ready = Result<SocketAddr, RelayError>;

/// Waits for the relay.
fn wait(is_ready: &Receiver<Ready>, is_stopped: impl Fn() -> bool) -> Ready {
    loop {
        match is_ready.recv_timeout(CHECK) {
            Ok(ready) => return ready,
            Err(RecvTimeoutError::Timeout) if is_stopped() => return Err(RelayError::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(RelayError::Failed("the connection ended in a panic".to_owned()));
            }
        }
    }
}

/// How to connect to the camera.
struct FarEnd {
    camera: Camera,
    /// What FFmpeg calls itself.
    secret_name: String,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    limit: Duration,
    failure: SharedFailure,
}

impl FarEnd {
    async fn connect(&self) -> io::Result<(Far, IpAddr)> {
        let stream = TcpStream::connect((&*self.camera.host, self.camera.port)).await?;
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?.ip();
        let far = match &self.tls {
            None => Either::Left(stream),
            Some((name, config)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Either::Right(connector.connect(name.clone(), stream).await?)
            }
        };
        Ok((far, address))
    }

    /// A connection within the limit; `None` after a failure, which is recorded.
    async fn connect_again(&self) -> Option<Far> {
        let failure = match timeout(self.limit, self.connect()).await {
            Ok(Ok((far, _))) => return Some(far),
            Ok(Err(error)) => in_words(&error),
            Err(_) => "the camera did not answer".to_owned(),
        };
        self.record(Failure::Connection(failure));
        None
    }

    fn record(&self, failure: Failure) {
        *lock(&self.failure) = Some(failure);
    }
}

/// Without the number of the system's error, as FFmpeg's own texts.
fn in_words(error: &io::Error) -> String {
    let text = || error.to_string();
    let plain = || text().split(" (os error").next().unwrap_or_default().to_owned();
    tls::explain_io(error, "camera").unwrap_or_else(plain)
}

/// Whether it says that the camera cannot be reached at all.
fn is_of_the_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
    };

    matches!(
        error.kind(),
        AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut
    )
}

/// Connects to the camera, reports the port, and forwards connections until the stop.
async fn serve(far_end: FarEnd, ready: SyncSender<Ready>, stop: CancellationToken) {
    let Some(opened) = stop.run_until_cancelled(open(&far_end)).await else { return };
    let (first, camera, listener, address) = match opened {
        Ok(opened) => opened,
        // The caller may have stopped waiting, here and below.
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(address));
    let far_end = Arc::new(far_end);
    let (first, mut connections) = (Arc::new(Mutex::new(Some(first))), JoinSet::new());
    let accept_all = async {
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((near, _)) => {
                        let ends = Ends { near, address, camera, first: Arc::clone(&first) };
                        connections.spawn(forward(ends, Arc::clone(&far_end)));
                    }
                    // The process has too many open files.
                    Err(_) => sleep(CHECK).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    };
    let _ = stop.run_until_cancelled(accept_all).await;
    drop(listener);
    // FFmpeg has closed its connections.
    let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
}

/// The first connection to the camera, the camera's address, and the port.
async fn open(far_end: &FarEnd) -> Result<(Far, IpAddr, TcpListener, SocketAddr), RelayError> {
    let (first, camera) = match timeout(far_end.limit, far_end.connect()).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) if is_of_the_network(&error) => return Err(RelayError::Unreachable(in_words(&error))),
        Ok(Err(error)) => return Err(RelayError::Failed(in_words(&error))),
        Err(_) => return Err(RelayError::NoAnswer),
    };
    let failed = |error: io::Error| RelayError::Failed(error.to_string());
    // FFmpeg's sockets for UDP are of the family of this address.
    let loopback = match camera.to_canonical() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let listener = TcpListener::bind((loopback, 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((first, camera, listener, address))
}

/// The two ends of a connection.
struct Ends {
    near: TcpStream,
    /// The port that FFmpeg has connected to.
    address: SocketAddr,
    camera: IpAddr,
    /// The connection to the camera that was made first, until one uses it.
    first: Arc<Mutex<Option<Far>>>,
}

/// Forwards one connection of FFmpeg until either side ends it.
async fn forward(ends: Ends, far_end: Arc<FarEnd>) {
    // FFmpeg waits for each request to be sent. Without the option it would only be slower.
    let _ = ends.near.set_nodelay(true);
    match &*far_end.camera.scheme {
        "rtsp" | "rtsps" => forward_rtsp(ends, &far_end).await,
        "http" | "https" => forward_http(ends, &far_end).await,
        _ => forward_bytes(ends, &far_end).await,
    }
}

/// A connection to the camera: the first one, or another.
async fn far(first: &Mutex<Option<Far>>, far_end: &FarEnd) -> Option<Far> {
    let first = lock(first).take();
    match first {
        Some(first) => Some(first),
        None => far_end.connect_again().await,
    }
}

async fn forward_rtsp(ends: Ends, far_end: &FarEnd) {
    let Ends { mut near, address, camera, first } = ends;
    let mut session = rtsp::Session::new(&far_end.camera, &far_end.secret_name, address, camera);
    let mut out = rtsp::Out::default();
    let mut buffer = vec![0; BUFFER];
    // No connection to the camera is used for another program of this machine.
    let is_known = async {
        while out.far.is_empty() {
            match near.read(&mut buffer).await {
                Ok(length) if length > 0 && session.take_near(&buffer[..length], &mut out).is_ok() => {}
                _ => return false,
            }
        }
        true
    };
    if timeout(SILENCE, is_known).await != Ok(true) {
        return;
    }
    let Some(far) = far(&first, far_end).await else { return };
    *lock(&far_end.failure) = None;
    let ((mut from_far, mut to_far), (mut from_near, mut to_near)) = (split(far), near.split());
    let mut far_buffer = vec![0; BUFFER];
    let ended = async {
        loop {
            // Before FFmpeg receives the refusal.
            if let Some(failure) = session.take_failure() {
                far_end.record(failure);
            }
            to_far.write_all(&out.far).await?;
            to_far.flush().await?;
            to_near.write_all(&out.near).await?;
            out.far.clear();
            out.near.clear();
            if session.is_over() {
                return Ok(());
            }
            tokio::select! {
                length = from_far.read(&mut far_buffer) => match length? {
                    0 => return Ok(()),
                    length => session.take_far(&far_buffer[..length], &mut out),
                },
                length = from_near.read(&mut buffer) => match length? {
                    0 => return to_far.shutdown().await,
                    length => session.take_near(&buffer[..length], &mut out).map_err(|_| io::ErrorKind::InvalidData)?,
                },
            }
        }
    };
    record_tls(ended.await, far_end);
    // FFmpeg reads what it has not read yet, and then the end.
    let _ = to_near.shutdown().await;
}

async fn forward_http(ends: Ends, far_end: &FarEnd) {
    let Ends { mut near, address, first, .. } = ends;
    let Ok(Some(request)) = timeout(SILENCE, request(&mut near, far_end)).await else { return };
    let (mut from_near, mut to_near) = near.split();
    let answered = async {
        let Some((mut from_far, response)) = exchange(&request, address, &first, far_end).await? else {
            return Ok(());
        };
        to_near.write_all(&response).await?;
        copy(&mut from_far, &mut to_near).await.map(drop)
    };
    // FFmpeg sends one request on each connection, and closes it when it wants no more of the response.
    let mut rest = [0; 1024];
    let closed = async { while matches!(from_near.read(&mut rest).await, Ok(length) if length > 0) {} };
    let ended = tokio::select! {
        ended = answered => ended,
        () = closed => Ok(()),
    };
    record_tls(ended, far_end);
    let _ = near.shutdown().await;
}

/// The request of FFmpeg; `None` if it is of another program.
async fn request(near: &mut TcpStream, far_end: &FarEnd) -> Option<http::Request> {
    let (mut head, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    loop {
        let length = near.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        let searched = head.len();
        head.extend_from_slice(&buffer[..length]);
        if let Some(request) = http::Request::parse(&head, searched, &far_end.secret_name).ok()? {
            return Some(request);
        }
    }
}

/// Sends a request, and once more with the login if the camera asks for it. Returns the rest of the connection and the head of the
/// response for FFmpeg; `None` if FFmpeg must not see the response.
async fn exchange(
    request: &http::Request,
    address: SocketAddr,
    first: &Mutex<Option<Far>>,
    far_end: &FarEnd,
) -> io::Result<Option<(Far, Vec<u8>)>> {
    let camera = &far_end.camera;
    let (mut is_repeated, mut buffer) = (false, vec![0; BUFFER]);
    loop {
        let Some(mut far) = far(first, far_end).await else { return Ok(None) };
        *lock(&far_end.failure) = None;
        far.write_all(&request.for_camera(camera)).await?;
        far.flush().await?;
        let mut received = Vec::new();
        let response = loop {
            let searched = received.len();
            match far.read(&mut buffer).await? {
                0 => return Ok(None),
                length => received.extend_from_slice(&buffer[..length]),
            }
            if let Some(response) = http::Response::parse(&received, searched) {
                break response;
            }
        };
        if response.status() == 401
            && let Some(accepted) = camera.accept(response.challenges())
        {
            match accepted {
                Ok(()) if !is_repeated => {
                    is_repeated = true;
                    continue;
                }
                Ok(()) => {}
                Err(refusal) => far_end.record(Failure::Login(refusal)),
            }
        }
        return match response.for_ffmpeg(camera, address) {
            Ok(response) => Ok(Some((far, response))),
            Err(http::Redirect(target)) => {
                far_end.record(Failure::Redirected(target));
                Ok(None)
            }
        };
    }
}

/// Forwards everything as it is.
async fn forward_bytes(ends: Ends, far_end: &FarEnd) {
    let Ends { mut near, first, .. } = ends;
    if !matches!(timeout(SILENCE, near.readable()).await, Ok(Ok(()))) {
        return;
    }
    let Some(mut far) = far(&first, far_end).await else { return };
    *lock(&far_end.failure) = None;
    record_tls(tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop), far_end);
}

/// Records how a connection ended, if TLS has failed. Many cameras end a connection without the farewell of TLS, which is no failure.
fn record_tls(ended: io::Result<()>, far_end: &FarEnd) {
    if let Err(error) = ended
        && let Some(words) = tls::explain_io(&error, "camera")
    {
        far_end.record(Failure::Connection(words));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net,
    };

    use super::*;
    use crate::source::kinds::camera::Redirects;

    const LIMIT: Duration = Duration::from_secs(600);

    /// A relay to a camera of this machine, and the camera.
    fn relay(scheme: &str) -> (Relay, net::TcpListener) {
        let listener = net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let camera = camera::sample(scheme, &listener.local_addr().unwrap().to_string(), Redirects::SameHost);
        (Relay::open(&camera, &Trust::System, LIMIT, || false).unwrap(), listener)
    }

    #[test]
    fn only_ffmpeg_reaches_the_camera() {
        for (scheme, request) in [("rtsp", "DESCRIBE rtsp://h/ RTSP/1.0"), ("http", "GET / HTTP/1.1")] {
            let (relay, camera) = relay(scheme);
            let (mut far, _) = camera.accept().unwrap();
            let send = |name: &str| {
                let mut near = net::TcpStream::connect(relay.address()).unwrap();
                near.write_all(format!("{request}\r\nCSeq: 1\r\nUser-Agent: {name}\r\n\r\n").as_bytes())
                    .unwrap();
                near
            };
            // The relay closes this connection.
            assert_eq!(send("curl").read_to_end(&mut vec![]).unwrap_or(0), 0, "{scheme}");
            let _near = send(relay.secret_name());
            let mut received = vec![0; 4096];
            let length = far.read(&mut received).unwrap();
            let received = String::from_utf8_lossy(&received[..length]).into_owned();
            assert!(received.contains("User-Agent: stakeout/") && !received.contains("curl"), "{received}");
            assert!(!received.contains(relay.secret_name()), "{received}");
        }
    }

    #[test]
    fn an_absent_camera_and_a_silent_one_are_different_errors() {
        let port = net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let camera = camera::sample("rtsp", &format!("127.0.0.1:{port}"), Redirects::SameHost);
        let error = Relay::open(&camera, &Trust::System, LIMIT, || false).err();
        assert_eq!(error, Some(RelayError::Unreachable("Connection refused".to_owned())));
        let silent = net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let camera = camera::sample("rtsps", &silent.local_addr().unwrap().to_string(), Redirects::SameHost);
        let stopped = Relay::open(&camera, &Trust::System, LIMIT, || true).err();
        assert_eq!(stopped, Some(RelayError::Stopped));
        let late = Relay::open(&camera, &Trust::System, Duration::from_millis(1), || false).err();
        assert_eq!(late, Some(RelayError::NoAnswer));
    }
}
