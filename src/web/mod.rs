//! The HTTP server: `/metrics`, `/healthz`, `/readyz` and the API (`api`). It answers where the configuration has a `listen` line,
//! and at a unix socket for the commands.
//!
//! The server has its own thread and runtime. It answers while the model loads and while another part is stuck. Each
//! connection carries one request and is limited in time and in the size of its header (`connections`).
//!
//! The unix socket needs no token: the permissions of its file decide who may connect. Over TCP, changes need the token.

mod api;
mod connections;
mod console;
mod files;
mod health;
mod places;
mod socket;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use self::connections::{Listener, Visit};
pub use self::{
    health::{HealthError, check as check_health},
    socket::SocketFile,
};
use crate::{
    api::{Error as Problem, Kind, Role, Service, socket::Place, verb::PREFIX},
    config::{Listen, Secret},
    metrics,
};

/// The most metrics pages that are in memory for clients that read slowly. Further requests share the newest page.
const MOST_PAGES: usize = 4;
/// The greatest age of a page that requests share. If the newest one is older, another page is written.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or does not belong to this machine.
    #[error(
        "cannot listen at {address}: set `listen` to a free port and an address of this machine, or remove it"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refuses a thread or a runtime.
    #[error("cannot start the HTTP endpoint")]
    Thread(#[source] io::Error),
}

/// The server.
pub struct Server {
    runtime: Handle,
    endpoint: Arc<Endpoint>,
}

/// What clients may do.
#[derive(Clone)]
enum Access {
    /// A client of the unix socket may do everything.
    Socket,
    /// A client with the token may do everything; other clients are rejected.
    Token(Secret),
    /// Every client may read, and none may change anything.
    Reading,
}

/// Serves on a separate thread until the process ends: at the address of `listen` if there is one, and at the sockets that
/// [`Server::open_socket`] opens.
///
/// # Errors
/// The address cannot be bound, or the thread cannot start.
pub fn start(listen: Option<&Listen>, service: Arc<Service>) -> Result<Server, Error> {
    let bound = listen.map(bind).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let endpoint = Arc::new(Endpoint { service, pages: Pages::default() });
    let server = Server { runtime: runtime.handle().clone(), endpoint: Arc::clone(&endpoint) };
    let serve = async move {
        if let Some((socket, access)) = bound {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => connections::accept(Listener::Tcp(socket), router(&endpoint, access)).await,
                Err(error) => tracing::error!(%error, "the HTTP endpoint cannot start"),
            }
        }
        // The unix socket has a task of its own.
        std::future::pending::<()>().await;
    };
    let thread = thread::Builder::new().name("web".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map_err(Error::Thread)?;
    if let Some(Listen { address, .. }) = listen {
        tracing::info!(%address, "listening: /metrics, /healthz, /readyz, {PREFIX}");
    }
    Ok(server)
}

fn bind(listen: &Listen) -> Result<(TcpListener, Access), Error> {
    let address = listen.address;
    let refused = |source| Error::Address { address, source };
    let socket = TcpListener::bind(address).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let access = listen.token.clone().map_or(Access::Reading, Access::Token);
    Ok((socket, access))
}

impl Server {
    /// Also answers at a unix socket in this place. The service works without it: what prevents it is logged. The caller makes sure
    /// that no other service uses the same state folder.
    #[must_use]
    pub fn open_socket(&self, place: &Place) -> Option<SocketFile> {
        let _runtime = self.runtime.enter();
        let opened = socket::bind(place)
            .and_then(|(listener, file)| Ok((tokio::net::UnixListener::from_std(listener)?, file)));
        let path = place.path.display();
        match opened {
            Ok((listener, file)) => {
                let router = router(&self.endpoint, Access::Socket);
                self.runtime.spawn(connections::accept(Listener::Unix(listener), router));
                tracing::debug!(%path, "answering commands");
                Some(file)
            }
            Err(error) => {
                tracing::warn!(
                    %path, %error,
                    "no command can ask the running service: see why this socket cannot be made"
                );
                None
            }
        }
    }
}

/// Every route. [`guard`] runs before each of them.
fn router(endpoint: &Arc<Endpoint>, access: Access) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(api::router())
        .merge(files::router())
        .merge(console::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(access, guard))
        .with_state(Arc::clone(endpoint))
}

/// What the routes answer from.
struct Endpoint {
    service: Arc<Service>,
    pages: Pages,
}

async fn metrics_page(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let page = endpoint.pages.page(Instant::now(), || endpoint.service.metrics.page());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

async fn healthz(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let metrics = &endpoint.service.metrics;
    match &metrics.stuck()[..] {
        [] => line(StatusCode::OK, "ok"),
        stuck => line(StatusCode::SERVICE_UNAVAILABLE, &format!("stuck: {}", stuck.join(", "))),
    }
}

async fn readyz(State(endpoint): State<Arc<Endpoint>>) -> Response {
    match endpoint.service.metrics.is_ready() {
        true => line(StatusCode::OK, "ready"),
        false => line(StatusCode::SERVICE_UNAVAILABLE, "not ready: the service is starting or stopping"),
    }
}

fn line(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with(PREFIX) {
        let error = Problem::new(Kind::NotFound, format!("there is no address {path}"));
        return api::problem(&error.remedy(format!("{PREFIX}openapi.json describes all addresses.")));
    }
    line(
        StatusCode::NOT_FOUND,
        &format!("the paths are /metrics, /healthz, /readyz and those below {PREFIX}"),
    )
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let error = Problem::new(Kind::Method, format!("{path} has no method {method}"));
    api::problem(&error.remedy(format!("{PREFIX}openapi.json describes all addresses.")))
}

/// Rejects what the client may not do, and adds the headers that every response has.
async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_authorized = is_authorized(&access, authorization);
    if let Some(visit) = request.extensions().get::<Visit>() {
        visit.asked();
        if matches!(access, Access::Token(_)) && is_authorized {
            visit.trusted();
        }
    }
    let mut response = if is_authorized {
        match refusal(&access, &request) {
            Some(refusal) => refusal,
            None => {
                request.extensions_mut().insert(role(&access));
                next.run(request).await
            }
        }
    } else {
        let refused = refused(
            &request,
            Problem::new(Kind::Unauthorized, "the token is missing or wrong")
                .remedy("Send `Authorization: Bearer TOKEN`."),
            "the token is missing or wrong: send `Authorization: Bearer TOKEN`",
        );
        ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a client that is authorized may do.
fn role(access: &Access) -> Role {
    match access {
        Access::Socket | Access::Token(_) => Role::Change,
        Access::Reading => Role::View,
    }
}

/// The response to a request that is refused, whatever its token.
fn refusal(access: &Access, request: &Request) -> Option<Response> {
    let is_api = request.uri().path().starts_with(PREFIX);
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !is_api && !reads {
        let text = "the methods are GET and HEAD";
        return Some(
            ([(header::ALLOW, "GET, HEAD")], line(StatusCode::METHOD_NOT_ALLOWED, text)).into_response(),
        );
    }
    if !matches!(access, Access::Reading) || !is_api {
        return None;
    }
    if !reads {
        let error = Problem::new(Kind::Forbidden, "changes over HTTP need a token, and `listen` has none");
        return Some(api::problem(
            &error.remedy("Set `listen.token`, or use the unix socket, as the commands do."),
        ));
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    (!host.is_none_or(is_this_machine)).then(|| {
        let error =
            Problem::new(Kind::Forbidden, "the name of the host is neither `localhost` nor an address");
        api::problem(&error.remedy("Use `localhost` or the address, or set `listen.token`."))
    })
}

/// Whether a `Host` names this machine in a way that no web page of someone else can use: a page whose name is made to lead to this
/// machine (DNS rebinding) must not read what the service remembers.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// A refusal in the form of the address: a problem document, or a line.
fn refused(request: &Request, error: Problem, text: &str) -> Response {
    match request.uri().path().starts_with(PREFIX) {
        true => api::problem(&error),
        false => line(StatusCode::UNAUTHORIZED, text),
    }
}

fn is_authorized(access: &Access, authorization: Option<&str>) -> bool {
    let Access::Token(token) = access else { return true };
    let Some((scheme, sent)) = authorization.and_then(|value| value.split_once(' ')) else { return false };
    // The duration of comparing hashes reveals nothing about the token.
    let same = Sha256::digest(sent.trim()) == Sha256::digest(token.reveal());
    scheme.eq_ignore_ascii_case("bearer") && same
}

/// The metrics pages that are in memory because clients are reading them. Without a limit, slow clients could fill the memory.
#[derive(Default)]
struct Pages(Mutex<Vec<(Instant, Weak<String>)>>);

/// A page, until the last client has read it.
struct SharedPage(Arc<String>);

impl AsRef<[u8]> for SharedPage {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Pages {
    /// A page that `render` writes `now`, or the newest one if too many are in memory.
    fn page(&self, now: Instant, render: impl FnOnce() -> String) -> Bytes {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|(_, page)| page.strong_count() > 0);
        let newest = pages.last().filter(|(written, _)| now.duration_since(*written) < SHARED_FOR);
        let shared = newest.filter(|_| pages.len() >= MOST_PAGES).and_then(|(_, page)| page.upgrade());
        let page = shared.unwrap_or_else(|| {
            let page = Arc::new(render());
            pages.push((now, Arc::downgrade(&page)));
            page
        });
        Bytes::from_owner(SharedPage(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observe::ServiceMetrics, samples};

    #[test]
    fn the_token_is_required_where_one_is_set() {
        for access in [Access::Reading, Access::Socket] {
            assert!(is_authorized(&access, None) && is_authorized(&access, Some("Bearer x")));
        }
        let access = Access::Token(Secret::new("hunter2".to_owned()));
        for (authorization, expected) in [
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
            assert_eq!(is_authorized(&access, authorization), expected, "{authorization:?}");
        }
    }

    /// The response to these bytes.
    async fn response(metrics: &Arc<ServiceMetrics>, request: &[u8]) -> String {
        response_with(Access::Reading, metrics, request).await
    }

    /// The response to these bytes of a client with this access.
    async fn response_with(access: Access, metrics: &Arc<ServiceMetrics>, request: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let service = Arc::new(Service::new(folder.path(), Arc::clone(metrics)));
        let endpoint = Arc::new(Endpoint { service, pages: Pages::default() });
        let address = connections::tests::serving(router(&endpoint, access)).await;
        connections::tests::exchange(address, request).await
    }

    #[tokio::test]
    async fn what_a_client_may_do() {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        let token = || Access::Token(Secret::new("0123456789abcdef".to_owned()));
        let (get, post) = ("GET /api/v1/openapi.json HTTP/1.1\r\n", "POST /api/v1/openapi.json HTTP/1.1\r\n");
        let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
        for (access, head, fields, status, body) in [
            (Access::Reading, get, "", "200 OK", "\"openapi\":\"3.1.0\""),
            (Access::Reading, get, "Host: localhost:9464\r\n", "200 OK", "openapi"),
            (Access::Reading, get, "Host: evil.example\r\n", "403 Forbidden", "listen.token"),
            (Access::Reading, post, "", "403 Forbidden", "need a token"),
            (token(), get, "", "401 Unauthorized", "\"title\":\"Unauthorized\""),
            (token(), get, bearer, "200 OK", "openapi"),
            (token(), post, bearer, "405 Method Not Allowed", "has no method POST"),
            (Access::Socket, get, "Host: evil.example\r\n", "200 OK", "openapi"),
            (Access::Socket, post, "", "405 Method Not Allowed", "has no method POST"),
            (
                Access::Socket,
                "GET /api/v1/openapi HTTP/1.1\r\n",
                "",
                "404 Not Found",
                "openapi.json describes",
            ),
            (
                Access::Socket,
                "GET /api/v1/ask?source=x&text=a&text=b HTTP/1.1\r\n",
                "",
                "503 Service",
                "model",
            ),
            (Access::Socket, "GET /api/v1/ask?sorce=x HTTP/1.1\r\n", "", "400 Bad", "Did you mean `source`?"),
            (Access::Socket, "GET /api/v1/events HTTP/1.1\r\n", "", "503 Service", "retry-after: 2"),
        ] {
            let request = format!("{head}{fields}\r\n");
            let response = response_with(access, &metrics, request.as_bytes()).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request}{response}");
            assert!(response.contains(body), "{request}{response}");
        }
    }

    #[test]
    fn hosts_that_no_web_page_can_have() {
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "192.0.2.7:80",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example:1",
            ":9464",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn slow_clients_share_pages_instead_of_filling_the_memory() {
        let (pages, start, mut written) = (Pages::default(), Instant::now(), 0);
        let mut page = |millisecond| {
            pages.page(start + Duration::from_millis(millisecond), || {
                written += 1;
                written.to_string()
            })
        };
        let slow: Vec<_> = (0..10).map(&mut page).collect();
        let texts: Vec<_> = slow.iter().map(|page| std::str::from_utf8(page).unwrap()).collect();
        assert_eq!(texts, ["1", "2", "3", "4", "4", "4", "4", "4", "4", "4"]);
        assert_eq!(&*page(1500), b"5", "a page is shared for a second only");
        drop(slow);
        assert_eq!(&*page(1501), b"6", "the clients have read theirs");
    }

    #[tokio::test]
    async fn each_route_and_each_limit() {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        let long = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 9000]].concat();
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
        let cases: &[(&[u8], &str)] = &[
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"),
            (b"GET /healthz?a=b HTTP/1.0\r\n\r\n", "200 OK"),
            (b"GET /readyz HTTP/1.1\r\n\r\n", "503 Service Unavailable"),
            (b"GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"POST /other HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "405 Method Not Allowed"),
            (b"\x16\x03\x01\x02\x00\x01", "400 Bad Request"),
            (&long, "431 Request Header Fields Too Large"),
            (many.as_bytes(), "431 Request Header Fields Too Large"),
        ];
        for (request, status) in cases {
            let response = response(&metrics, request).await;
            let version = if response.starts_with("HTTP/1.0") { "1.0" } else { "1.1" };
            assert!(response.starts_with(&format!("HTTP/{version} {status}\r\n")), "{response}");
        }
        metrics.set_ready(true);
        let ready = response(&metrics, b"GET /readyz HTTP/1.1\r\n\r\n").await;
        assert!(ready.ends_with("\r\n\r\nready\n") && ready.contains("no-store"), "{ready}");
        assert!(ready.to_lowercase().contains("connection: close"), "{ready}");
    }

    #[tokio::test]
    async fn a_response_to_head_has_the_length_and_no_body() {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        let response = response(&metrics, b"HEAD /healthz HTTP/1.1\r\n\r\n").await.to_lowercase();
        assert!(response.contains("content-length: 3\r\n") && response.ends_with("\r\n\r\n"), "{response}");
    }
}
