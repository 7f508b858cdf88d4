//! Accepts connections, over TCP or over a unix socket, and answers the one request of each. Every step of a connection is limited
//! in time, and [`places`] decides which connection is closed when there are too many.
//!
//! [`places`]: super::places

use std::{
    fs::File,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Request, http::Uri};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::places::{Peer, Places, Proxies};
use crate::{api::access::Session, shortage::Shortage, tls};

/// The time limit for the handshake of TLS, from the start of the connection.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The first byte of a connection with TLS.
const TLS: u8 = 0x16;
/// The answer to a client that does not speak TLS where it must.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 49\r\n\r\n\
    this address needs TLS: write https:// before it\n";
/// The time limit for the head of a request. It starts after the handshake of TLS, or with the connection if there is no TLS.
const HEAD: Duration = Duration::from_secs(1);
/// The time limit of a request and its answer, unless [`ConnectionHandle::allow`] gives it more.
const ANSWER: Duration = Duration::from_secs(5);
/// The time limit for a client to close the connection after its answer.
const CLOSE: Duration = Duration::from_secs(1);
/// A client that sends more than this after its request, in bytes, is not waited for.
const MOST_UNREAD: usize = 256 * 1024;
/// The longest request header, in bytes.
const MAX_HEADER: usize = 8 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 64;
/// The pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a connection ended without an answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no request arrived in time")]
    NoRequest,
    #[error("the client did not read the answer in time")]
    NotRead,
    #[error("closed for a newer connection")]
    MadeRoom,
    #[error("the session of the client has ended")]
    SignedOut,
    #[error("there is no TLS: {0}")]
    NoTls(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// One connection, as the request on it knows it.
#[derive(Debug, Clone)]
pub(super) struct ConnectionHandle {
    number: u64,
    open: Open,
    peer: Peer,
    /// The session of its request.
    session: Arc<OnceLock<Session>>,
    /// Cancelled when the head of the request is complete.
    asked: CancellationToken,
    /// When the answer must be complete.
    until: Arc<Mutex<Instant>>,
}

/// Where connections come from.
pub(super) enum Listener {
    /// From this machine and others, with TLS if there is a certificate.
    Tcp(TcpListener, Option<Arc<tls::Server>>),
    /// From programs of this machine that may open the socket.
    Unix(UnixListener),
}

/// What answers the requests.
#[derive(Clone)]
pub(super) struct Site {
    router: Router,
    /// What is removed from the beginning of each path.
    prefix: Arc<str>,
    /// Who forwards requests of many people.
    proxies: Proxies,
}

type Open = Arc<Mutex<Connections>>;

impl Site {
    /// The routes, and the prefix that a proxy may leave in their paths.
    pub(super) fn new(router: Router, prefix: &str) -> Self {
        Self { router, prefix: prefix.into(), proxies: Proxies::default() }
    }

    /// The same, behind these proxies.
    pub(super) fn behind(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }
}

/// The open connections.
#[derive(Debug)]
struct Connections {
    places: Places<CancellationToken>,
    /// A descriptor for the moment in which the process has no other one: then the health check is still answered.
    spare: Option<File>,
}

impl Connections {
    /// Reserves the spare descriptor, if the process has one left.
    fn reserve(&mut self) {
        if self.spare.is_none() {
            self.spare = File::open("/dev/null").ok();
        }
    }
}

impl ConnectionHandle {
    /// The head of the request is complete.
    pub(super) fn asked(&self) {
        self.allow(ANSWER);
        self.asked.cancel();
    }

    /// The answer may take this long, starting now, if that is longer than it has already.
    pub(super) fn allow(&self, time: Duration) {
        let mut until = lock(&self.until);
        *until = (*until).max(Instant::now() + time);
    }

    /// Waits until the time for the answer is over.
    async fn out_of_time(&self) {
        loop {
            let until = *lock(&self.until);
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// The other machine; `None`: the client is on this one.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        match self.peer {
            Peer::ThisMachine => None,
            Peer::Other(address) => Some(address),
        }
    }

    /// The connection is closed when this session ends. To be called before [`ConnectionHandle::asked`].
    pub(super) fn belongs_to(&self, session: &Session) {
        let _ = self.session.set(session.clone());
    }

    /// Waits until the session of the request ends.
    async fn signed_out(&self) {
        let Some(session) = self.session.get() else { return std::future::pending().await };
        let left = session.until.duration_since(Timestamp::now());
        tokio::select! {
            () = session.ended.cancelled() => {}
            () = sleep(left.try_into().unwrap_or_default()) => {}
        }
    }

    /// The client has shown who it is.
    pub(super) fn trusted(&self) {
        let closed = lock(&self.open).places.trust(self.number);
        if let Some(closed) = closed {
            closed.cancel();
        }
    }

    /// The answer has no end: it is a stream of events.
    pub(super) fn follows(&self) {
        lock(&self.open).places.follows(self.number);
    }

    fn answered(&self) {
        lock(&self.open).places.answered(self.number);
    }
}

/// Accepts connections until the future is dropped.
pub(super) async fn accept(listener: Listener, site: Site) {
    let mut connections = Connections { places: Places::new(site.proxies), spare: None };
    connections.reserve();
    let open: Open = Arc::new(Mutex::new(connections));
    loop {
        let Err(error) = accept_one(&listener, &site, &open).await else { continue };
        let is_shortage = Shortage::of_io(&error).is_some();
        if is_shortage && lock(&open).spare.take().is_some() {
            continue;
        }
        tracing::debug!(%error, "the system cannot accept a connection");
        let makes_room = if is_shortage { lock(&open).places.make_room() } else { None };
        if let Some(closer) = makes_room {
            closer.cancel();
        }
        sleep(PAUSE).await;
    }
}

/// Waits for the next connection, and starts to serve it.
async fn accept_one(listener: &Listener, site: &Site, open: &Open) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener, tls) => {
            let (stream, peer) = listener.accept().await?;
            let own = stream.local_addr().map_or(peer.ip(), |own| own.ip());
            let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
            let ready = secured(stream, acceptor);
            enter(ready, Peer::of(peer.ip(), own), peer.to_string(), site, open);
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let ready = std::future::ready(Ok(stream));
            enter(ready, Peer::ThisMachine, "the unix socket".to_owned(), site, open);
        }
    }
    Ok(())
}

/// The same connection, with TLS if there is a certificate.
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> Result<Either<TcpStream, TlsStream<TcpStream>>, Unanswered> {
    let Some(acceptor) = acceptor else { return Ok(Either::Left(stream)) };
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [TLS] {
            return Err(refuse_plain(stream).await);
        }
        Ok(Either::Right(acceptor.accept(stream).await?))
    };
    timeout(HANDSHAKE, handshake).await.unwrap_or(Err(Unanswered::NoRequest))
}

/// Says in plain text that the client must speak TLS.
async fn refuse_plain(mut stream: TcpStream) -> Unanswered {
    let refused = async {
        stream.write_all(NO_TLS).await?;
        stream.shutdown().await?;
        // The kernel resets a connection that is closed with unread bytes, and the client loses the answer.
        let _ = timeout(CLOSE, read_rest(&mut stream)).await;
        Ok(())
    };
    let refused: io::Result<()> = refused.await;
    Unanswered::NoTls(refused.err().unwrap_or_else(|| io::Error::other("the client has sent plain text")))
}

/// Starts to serve a connection that is `ready` soon, and closes the one that has to make room for it.
fn enter<S>(
    ready: impl Future<Output = Result<S, Unanswered>> + Send + 'static,
    from: Peer,
    peer: String,
    site: &Site,
    open: &Open,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let closer = CancellationToken::new();
    let (number, closed) = lock(open).places.enter(from, closer.clone());
    if let Some(closed) = closed {
        closed.cancel();
    }
    let (open, until) = (Arc::clone(open), Arc::new(Mutex::new(Instant::now())));
    let (asked, session) = (CancellationToken::new(), Arc::default());
    let handle = ConnectionHandle { number, open, peer: from, session, asked, until };
    let site = site.clone();
    tokio::spawn(async move {
        let serving = async { serve(ready.await?, site, handle.clone()).await };
        let served = tokio::select! {
            biased;
            served = serving => served,
            () = closer.cancelled() => Err(Unanswered::MadeRoom),
        };
        let mut connections = lock(&handle.open);
        connections.places.remove(handle.number);
        connections.reserve();
        drop(connections);
        if let Err(error) = served {
            tracing::debug!(peer, %error, "a request was not answered");
        }
    });
}

/// Answers the one request of a connection, and waits a little until the client closes it.
async fn serve<S>(mut stream: S, site: Site, handle: ConnectionHandle) -> Result<(), Unanswered>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answered = answer(&mut stream, site, handle.clone()).await;
    handle.answered();
    if !matches!(answered, Err(Unanswered::NoRequest | Unanswered::NotRead | Unanswered::SignedOut)) {
        // The kernel resets a connection that is closed with unread bytes, and the client loses the answer.
        let _ = timeout(CLOSE, read_rest(&mut stream)).await;
    }
    answered
}

async fn answer<S>(stream: &mut S, site: Site, handle: ConnectionHandle) -> Result<(), Unanswered>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (own, router) = (handle.clone(), TowerToHyperService::new(site.router));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(handle.clone());
        if let Some(rest) = without_prefix(request.uri(), &site.prefix) {
            *request.uri_mut() = rest;
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let too_late = async {
        match timeout(HEAD, own.asked.cancelled()).await {
            Ok(()) => tokio::select! {
                () = own.out_of_time() => Unanswered::NotRead,
                () = own.signed_out() => Unanswered::SignedOut,
            },
            Err(_) => Unanswered::NoRequest,
        }
    };
    tokio::select! {
        // What has arrived counts, also if this thread had no time until now.
        biased;
        answered = connection => Ok(answered?),
        unanswered = too_late => Err(unanswered),
    }
}

/// The address without the prefix; `None` if it is not below the prefix.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    if prefix.is_empty() {
        return None;
    }
    let rest = uri.path_and_query()?.as_str().strip_prefix(prefix)?;
    rest.starts_with('/').then(|| rest.parse().ok()).flatten()
}

/// Reads until the client closes the connection, or has sent too much.
async fn read_rest<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let (mut buffer, mut read) = ([0; 4096], 0);
    while read < MOST_UNREAD {
        match stream.read(&mut buffer).await? {
            0 => break,
            length => read += length,
        }
    }
    Ok(())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::LazyLock,
    };

    use axum::{Extension, body::Bytes, routing::get};
    use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Notify};

    use super::*;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(120);

    /// A server on a port of its own.
    async fn serving(router: Router) -> SocketAddr {
        serving_site(Site::new(router, "")).await
    }

    /// The same, with a prefix.
    pub(crate) async fn serving_site(site: Site) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(Listener::Tcp(listener, None), site));
        address
    }

    /// Sends these bytes, and reads until the server closes the connection.
    pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        // The server may close the connection before it has read everything.
        let _ = client.write_all(request).await;
        let mut answer = Vec::new();
        let _ = timeout(LONG, client.read_to_end(&mut answer)).await.expect("the connection is closed");
        String::from_utf8(answer).unwrap()
    }

    /// More bytes than the kernel takes for a client that reads nothing.
    static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 32 << 20].into());

    async fn health(Extension(handle): Extension<ConnectionHandle>) -> &'static str {
        handle.asked();
        "ok"
    }

    async fn large(Extension(handle): Extension<ConnectionHandle>) -> Bytes {
        handle.asked();
        LARGE.clone()
    }

    fn router() -> Router {
        Router::new().route("/healthz", get(health)).route("/large", get(large))
    }

    async fn is_healthy(address: SocketAddr) -> bool {
        let answer = exchange(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nok")
    }

    /// A connection on which these bytes were sent and nothing is read.
    async fn silent(address: SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream
    }

    #[test]
    fn a_prefix_is_removed_from_the_beginning_of_a_path() {
        for (uri, prefix, expected) in [
            ("/console/", "", None),
            ("/console/", "/eyes", None),
            ("/eyes/console/?a=/eyes", "/eyes", Some("/console/?a=/eyes")),
            ("/eyes/", "/eyes", Some("/")),
            ("/eyes", "/eyes", None),
            ("/eyesight/", "/eyes", None),
            ("/a/eyes/x", "/eyes", None),
            ("/a/b/x", "/a/b", Some("/x")),
        ] {
            let rest = without_prefix(&uri.parse().unwrap(), prefix);
            assert_eq!(rest.map(|rest| rest.to_string()).as_deref(), expected, "{uri} {prefix}");
        }
    }

    #[test]
    fn the_answer_in_plain_text_has_its_length() {
        let answer = std::str::from_utf8(NO_TLS).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[tokio::test]
    async fn no_kind_of_client_silences_the_health_check() {
        let huge = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 100_000]].concat();
        let cases: [(&str, &[u8]); 7] = [
            ("an idle client", b""),
            ("half a head", b"GET /healthz HTTP/1.1\r\nHost"),
            ("a body that never comes", b"POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"),
            ("an answer that is not read", b"GET /large HTTP/1.1\r\n\r\n"),
            ("many requests at once", b"GET /large HTTP/1.1\r\n\r\nGET /large HTTP/1.1\r\n\r\n"),
            ("a huge head", &huge),
            ("TLS", b"\x16\x03\x01\x02\x00\x01"),
        ];
        for (case, request) in cases {
            let address = serving(router()).await;
            let mut clients = Vec::new();
            for _ in 0..100 {
                // The server may close the connection while the rest of a huge head is sent.
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = stream.write_all(request).await;
                clients.push(stream);
            }
            assert!(is_healthy(address).await, "{case}");
        }
    }

    /// Whether the server closes a connection without an answer.
    async fn is_closed(mut client: TcpStream) -> bool {
        let mut answer = Vec::new();
        let read = timeout(LONG, client.read_to_end(&mut answer)).await;
        read.is_ok() && answer.is_empty()
    }

    #[tokio::test]
    async fn a_client_without_a_whole_head_is_disconnected_also_if_it_sends_byte_by_byte() {
        let address = serving(router()).await;
        assert!(is_closed(silent(address, b"GET").await).await);
        let (mut reader, mut writer) = silent(address, b"GET / HTTP/1.1\r\n").await.into_split();
        let sending = async {
            while writer.write_all(b"X: y\r\n").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let closed = async {
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer).await;
            answer.is_empty()
        };
        let both = async { tokio::join!(sending, closed).1 };
        assert!(timeout(LONG, both).await.expect("it is disconnected"));
    }

    #[tokio::test]
    async fn a_client_that_closes_its_half_gets_its_answer() {
        let address = serving(router()).await;
        let mut client = silent(address, b"GET /healthz HTTP/1.0\r\n\r\n").await;
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        // And one that closes it before its request gets none, and holds no place.
        let mut client = silent(address, b"").await;
        client.shutdown().await.unwrap();
        assert!(is_closed(client).await);
    }

    #[tokio::test]
    async fn silent_clients_close_no_connection_that_has_shown_who_it_is() {
        let (asked, ends) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asking, ending) = (Arc::clone(&asked), Arc::clone(&ends));
        let held = async move |Extension(handle): Extension<ConnectionHandle>| {
            handle.asked();
            handle.trusted();
            handle.allow(LONG);
            asking.notify_one();
            ending.notified().await;
            "held"
        };
        let address = serving(router().route("/held", get(held))).await;
        let mut known = silent(address, b"GET /held HTTP/1.1\r\n\r\n").await;
        asked.notified().await;
        let mut others = Vec::new();
        for _ in 0..100 {
            others.push(silent(address, b"").await);
        }
        assert!(is_healthy(address).await);
        ends.notify_one();
        let mut answer = String::new();
        known.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("held"), "{answer}");
    }

    /// Ends after a hang. Until then the runtime is never idle, so a paused clock does not move.
    async fn hang() {
        let began = std::time::Instant::now();
        while began.elapsed() < LONG {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_client_makes_room_at_once() {
        let began = Instant::now();
        let clients = async {
            let address = serving(router()).await;
            let oldest = silent(address, b"").await;
            let mut others = Vec::new();
            for _ in 0..40 {
                others.push(silent(address, b"").await);
            }
            assert!(is_closed(oldest).await);
            // The newest has its place.
            let mut newest = others.pop().unwrap();
            newest.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            newest.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("ok"), "{answer}");
        };
        tokio::select! {
            () = clients => {}
            () = hang() => panic!("the oldest client is still connected"),
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "no time limit has closed it");
    }
}
