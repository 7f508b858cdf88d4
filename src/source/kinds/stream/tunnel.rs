//! A port of this machine that leads to a camera over TLS, for FFmpeg.
//!
//! FFmpeg's own TLS cannot be used: it checks no certificate by default, cannot pin one, ignores its options for RTSP and for the
//! segments of HLS in the releases of Debian, and does not say what is wrong. So FFmpeg connects to this port without TLS, and
//! the connection leaves the machine with the TLS of all other clients ([`crate::tls`]). What FFmpeg opens at other addresses
//! (a playlist or redirect that names another `https://` host) does not go through here.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split},
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
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tls::{self, Trust};

/// The most connections at a time: HLS opens a few.
const MOST_CONNECTIONS: usize = 16;
/// A connection on which nothing is sent for this time is not one of FFmpeg, which sends its request at once.
const SILENCE: Duration = Duration::from_secs(2);
/// How often the caller checks for the stop signal while the tunnel connects.
const CHECK: Duration = Duration::from_millis(20);
/// A request of HTTP with longer headers is passed on as it is.
const LONGEST_HEAD: usize = 64 * 1024;
const BUFFER: usize = 16 * 1024;

/// An open tunnel. It closes when it is dropped.
pub(super) struct Tunnel {
    address: SocketAddr,
    failure: Arc<Mutex<Option<String>>>,
    _stop: DropGuard,
}

/// Why there is no tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TunnelError {
    /// The caller's stop signal.
    Stopped,
    /// The camera did not answer within the limit.
    NoAnswer,
    /// Anything else, for people.
    Failed(String),
}

/// The camera at the far end of a tunnel.
#[derive(Clone)]
pub(super) struct Camera {
    pub(super) host: String,
    pub(super) port: u16,
    /// Requests are HTTP, and name the camera as their host.
    pub(super) is_http: bool,
}

impl Tunnel {
    /// Connects to `camera` within `limit`, and opens a port that leads there. Blocks; `is_stopped` is called meanwhile.
    pub(super) fn open(
        camera: &Camera,
        trust: &Trust,
        limit: Duration,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Self, TunnelError> {
        let failed = |error: &dyn ToString| TunnelError::Failed(error.to_string());
        let name = ServerName::try_from(camera.host.clone()).map_err(|error| failed(&error))?;
        let config = tls::client_config(trust, None, &[]).map_err(|error| failed(&error))?;
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let (stop, failure) = (CancellationToken::new(), Arc::default());
        let (ready, is_ready) = sync_channel(1);
        let far_end =
            FarEnd { camera: camera.clone(), name, config: Arc::new(config), failure: Arc::clone(&failure) };
        let stopped = stop.clone();
        let guard = stop.drop_guard();
        let run = move || {
            runtime.block_on(stopped.run_until_cancelled(serve(far_end, limit, ready)));
            // A look-up of a name that hangs must not delay the end.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("tls".to_owned()).spawn(run).map_err(|error| failed(&error))?;
        let address = wait(&is_ready, is_stopped)?;
        Ok(Self { address, failure, _stop: guard })
    }

    /// Host and port of this end.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Why the newest connection failed, if it did; for people.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Ready = Result<SocketAddr, TunnelError>;

/// Waits for the tunnel.
fn wait(is_ready: &Receiver<Ready>, is_stopped: impl Fn() -> bool) -> Ready {
    loop {
        match is_ready.recv_timeout(CHECK) {
            Ok(ready) => return ready,
            Err(RecvTimeoutError::Timeout) if is_stopped() => return Err(TunnelError::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(TunnelError::Failed("the TLS connection ended in a panic".to_owned()));
            }
        }
    }
}

/// How to connect to the camera.
struct FarEnd {
    camera: Camera,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    failure: Arc<Mutex<Option<String>>>,
}

impl FarEnd {
    async fn connect(&self) -> Result<TlsStream<TcpStream>, String> {
        let connected = async {
            let stream = TcpStream::connect((&*self.camera.host, self.camera.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
        };
        connected.await.map_err(|error: io::Error| in_words(&error))
    }

    fn report(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

fn in_words(error: &io::Error) -> String {
    tls::explain_io(error, "camera").unwrap_or_else(|| error.to_string())
}

/// Connects to the camera, reports the port, and forwards connections until the future is dropped.
async fn serve(far_end: FarEnd, limit: Duration, ready: SyncSender<Ready>) {
    let opened = async {
        let first = match timeout(limit, far_end.connect()).await {
            Ok(first) => first.map_err(TunnelError::Failed)?,
            Err(_) => return Err(TunnelError::NoAnswer),
        };
        let failed = |error: io::Error| TunnelError::Failed(error.to_string());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok((first, listener, address))
    };
    let (first, listener, address) = match opened.await {
        Ok(opened) => opened,
        // The caller may have stopped waiting, here and below.
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(address));
    let (first, mut connections) = (Arc::new(Mutex::new(Some(first))), JoinSet::new());
    let far_end = Arc::new(far_end);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((near, _)) => {
                    let (first, far_end) = (Arc::clone(&first), Arc::clone(&far_end));
                    connections.spawn(forward(near, first, far_end, limit, address));
                }
                // The process has too many open files.
                Err(_) => sleep(CHECK).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Forwards one connection to the camera until either side ends it.
async fn forward(
    near: TcpStream,
    first: Arc<Mutex<Option<TlsStream<TcpStream>>>>,
    far_end: Arc<FarEnd>,
    limit: Duration,
    address: SocketAddr,
) {
    // Another program of this machine may connect, too. It must not use up the connections.
    if !matches!(timeout(SILENCE, near.readable()).await, Ok(Ok(()))) {
        return;
    }
    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    let far = match first {
        Some(first) => Ok(first),
        None => match timeout(limit, far_end.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err("the camera did not answer".to_owned()),
        },
    };
    let far = match far {
        Ok(far) => far,
        Err(failure) => return far_end.report(Some(failure)),
    };
    far_end.report(None);
    // FFmpeg waits for each request to be sent. Without the option it would only be slower.
    let _ = near.set_nodelay(true);
    let (mut from_ffmpeg, mut to_ffmpeg) = near.into_split();
    let (mut from_camera, to_camera) = split(far);
    let host = far_end.camera.is_http.then(|| Host::new(&address.to_string(), &far_end.camera));
    let ended = tokio::select! {
        ended = copy(&mut from_camera, &mut to_ffmpeg) => ended.map(drop),
        ended = send(&mut from_ffmpeg, to_camera, host.as_ref()) => ended,
    };
    // Many cameras end a connection without the farewell of TLS, which is no failure.
    if let Err(error) = ended
        && let Some(words) = tls::explain_io(&error, "camera")
    {
        far_end.report(Some(words));
    }
    // FFmpeg reads what it has not read yet, and then the end.
    let _ = to_ffmpeg.shutdown().await;
}

/// Sends what FFmpeg writes. The head of a request of HTTP is collected first, because `host` is replaced in it.
async fn send(
    from: &mut (impl AsyncRead + Unpin),
    mut to: impl AsyncWrite + Unpin,
    host: Option<&Host>,
) -> io::Result<()> {
    let (mut buffer, mut pending) = (vec![0; BUFFER], Vec::new());
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            to.write_all(&pending).await?;
            return to.shutdown().await;
        }
        match host {
            None => to.write_all(&buffer[..length]).await?,
            Some(host) => {
                pending.extend(&buffer[..length]);
                if pending.ends_with(b"\r\n\r\n") || pending.len() > LONGEST_HEAD {
                    to.write_all(&host.replaced(&pending)).await?;
                    pending.clear();
                }
            }
        }
        to.flush().await?;
    }
}

/// Replaces the header `Host` of requests: FFmpeg names this end of the tunnel, and a server may have several names.
struct Host {
    near: Vec<u8>,
    far: Vec<u8>,
}

impl Host {
    fn new(near: &str, camera: &Camera) -> Self {
        const USUAL: u16 = 443;
        let host = if camera.host.contains(':') { format!("[{}]", camera.host) } else { camera.host.clone() };
        let far = if camera.port == USUAL { host } else { format!("{host}:{}", camera.port) };
        let header = |host: &str| format!("\r\nHost: {host}\r\n").into_bytes();
        Self { near: header(near), far: header(&far) }
    }

    fn replaced(&self, head: &[u8]) -> Vec<u8> {
        let at = head.windows(self.near.len()).position(|part| part == self.near);
        at.map_or_else(
            || head.to_vec(),
            |at| [&head[..at], &self.far, &head[at + self.near.len()..]].concat(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_name_the_camera_as_their_host() {
        let camera = |host: &str, port| Camera { host: host.to_owned(), port, is_http: true };
        let cases = [
            (camera("cam.lan", 443), "cam.lan"),
            (camera("cam.lan", 8443), "cam.lan:8443"),
            (camera("fd00::1", 8443), "[fd00::1]:8443"),
        ];
        for (camera, expected) in cases {
            let host = Host::new("127.0.0.1:5", &camera);
            let request = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
            let (sent, mut far) = (request("127.0.0.1:5"), Vec::new());
            send(&mut sent.as_bytes(), &mut far, Some(&host)).await.unwrap();
            assert_eq!(String::from_utf8(far).unwrap(), request(expected));
        }
        let mut far = Vec::new();
        send(&mut &b"OPTIONS rtsp://127.0.0.1:5/ RTSP/1.0\r\n"[..], &mut far, None).await.unwrap();
        assert_eq!(far, b"OPTIONS rtsp://127.0.0.1:5/ RTSP/1.0\r\n", "any other protocol is passed on");
    }
}
