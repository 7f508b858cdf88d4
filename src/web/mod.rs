//! The HTTP server: `/metrics`, `/healthz`, `/readyz`, the API (`api`), the console (`console`) and the documentation (`docs`). It answers where the configuration has a
//! `listen` line, and at two unix sockets: one for the commands, and one for browsers that `stakeout console` forwards.
//!
//! The server has its own thread and runtime. It answers while the model loads and while another part is stuck. Each
//! connection carries one request and is limited in time and in the size of its header (`connections`).
//!
//! The unix socket of the commands needs no token: the permissions of its file decide who may connect. Everywhere else `access` decides
//! what a client may do.

mod access;
mod api;
mod connections;
mod console;
mod docs;
mod embedded;
mod files;
pub mod forward;
mod health;
mod places;
mod socket;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::runtime::Handle;

use self::connections::{Listener, Site};
pub use self::{
    health::{HealthError, Question as HealthQuestion, check as check_health},
    socket::SocketFile,
};
use crate::{
    api::{Error as Problem, Kind, Service, socket::SocketLocation, verb::PREFIX},
    config::Listen,
    metrics, tls,
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
    /// The certificate cannot be used.
    #[error("`listen` cannot be used without its certificate")]
    Certificate(#[from] tls::Error),
    /// The system refuses a thread or a runtime.
    #[error("cannot start the HTTP endpoint")]
    Thread(#[source] io::Error),
}

/// The server.
pub struct Server {
    runtime: Handle,
    endpoint: Arc<Endpoint>,
}

/// Serves on a separate thread until the process ends: at the address of `listen` if there is one, and at the sockets that
/// [`Server::open_sockets`] opens.
///
/// # Errors
/// The address cannot be bound, or the thread cannot start.
pub fn start(listen: Option<&Listen>, service: Arc<Service>) -> Result<Server, Error> {
    let bound = listen.map(bind).transpose()?;
    service.access.configure(listen);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let endpoint = Arc::new(Endpoint { service, pages: Pages::default() });
    let server = Server { runtime: runtime.handle().clone(), endpoint: Arc::clone(&endpoint) };
    let serve = async move {
        if let Some(Bound { socket, tls, rules }) = bound {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => connections::accept(Listener::Tcp(socket, tls), site(&endpoint, rules)).await,
                Err(error) => tracing::error!(%error, "the HTTP endpoint cannot start"),
            }
        }
        // The unix sockets have tasks of their own.
        std::future::pending::<()>().await;
    };
    let thread = thread::Builder::new().name("web".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map_err(Error::Thread)?;
    if let Some(Listen { address, .. }) = listen {
        tracing::info!(%address, "listening: /console/, /metrics, /healthz, /readyz, {PREFIX}");
    }
    Ok(server)
}

/// A socket on which nothing is accepted yet.
struct Bound {
    socket: TcpListener,
    tls: Option<Arc<tls::Server>>,
    rules: access::Rules,
}

fn bind(listen: &Listen) -> Result<Bound, Error> {
    let address = listen.address;
    let refused = |source| Error::Address { address, source };
    let tls = listen.tls.clone().map(tls::Server::load).transpose()?.map(Arc::new);
    let socket = TcpListener::bind(address).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    Ok(Bound { socket, tls, rules: access::Rules::of(listen) })
}

impl Server {
    /// Also answers at unix sockets: in this place for the commands, and beside it for browsers that `stakeout console` forwards. The
    /// service works without them: what prevents one is logged. The caller makes sure that no other service uses the same state
    /// folder.
    #[must_use]
    pub fn open_sockets(&self, place: &SocketLocation) -> Vec<SocketFile> {
        let commands = self.open_socket(place, access::Rules::owner());
        let browsers = self.open_socket(&place.for_browsers(), access::Rules::forwarded());
        commands.into_iter().chain(browsers).collect()
    }

    fn open_socket(&self, place: &SocketLocation, rules: access::Rules) -> Option<SocketFile> {
        let _runtime = self.runtime.enter();
        let opened = socket::bind(place)
            .and_then(|(listener, file)| Ok((tokio::net::UnixListener::from_std(listener)?, file)));
        let path = place.path.display();
        match opened {
            Ok((listener, file)) => {
                let site = site(&self.endpoint, rules);
                self.runtime.spawn(connections::accept(Listener::Unix(listener), site));
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

/// Every route. [`access::guard`] runs before each of them.
fn site(endpoint: &Arc<Endpoint>, rules: access::Rules) -> Site {
    let control = Arc::new(access::AccessControl::new(Arc::clone(&endpoint.service), rules));
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(api::router())
        .merge(files::router())
        .merge(console::router())
        .merge(docs::router())
        .merge(access::router(&control))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&control), access::guard))
        .with_state(Arc::clone(endpoint));
    Site::new(router, control.prefix()).behind(control.proxies())
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
        &format!("the paths are /console/, /docs/, /metrics, /healthz, /readyz and those below {PREFIX}"),
    )
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let error = Problem::new(Kind::Method, format!("{path} has no method {method}"));
    api::problem(&error.remedy(format!("{PREFIX}openapi.json describes all addresses.")))
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
    use crate::{config::Secret, observe::ServiceMetrics, samples};

    const TOKEN: &str = "0123456789abcdef";

    /// This machine alone, or every machine with a token.
    fn listen(token: Option<&str>) -> Listen {
        let token = token.map(|token| Secret::new(token.to_owned()));
        Listen { token, ..Listen::at("127.0.0.1:9464".parse().unwrap()) }
    }

    #[tokio::test]
    async fn the_token_is_required_where_one_is_set() {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        for (path, fields, status) in [
            ("/metrics", "", 401),
            ("/healthz", "Authorization: Bearer 0123456789abcde\r\n", 401),
            ("/healthz", "Authorization: Bearer 0123456789abcdef\r\n", 200),
            ("/other", "", 401),
            ("/console/other", "", 404),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\n{fields}\r\n");
            let response = response_with(Some(&listen(Some(TOKEN))), &metrics, request.as_bytes()).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request}{response}");
            assert_eq!(response.contains("www-authenticate: Bearer"), status == 401, "{response}");
        }
    }

    /// The response to these bytes.
    async fn response(metrics: &Arc<ServiceMetrics>, request: &[u8]) -> String {
        response_with(Some(&listen(None)), metrics, request).await
    }

    /// The response to these bytes of a client at `listen`, or else at the unix socket of the commands.
    async fn response_with(listen: Option<&Listen>, metrics: &Arc<ServiceMetrics>, request: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let service = Arc::new(Service::new(folder.path(), Arc::clone(metrics)));
        service.access.configure(listen);
        let endpoint = Arc::new(Endpoint { service, pages: Pages::default() });
        let rules = listen.map_or_else(access::Rules::owner, access::Rules::of);
        let address = connections::tests::serving_site(site(&endpoint, rules)).await;
        connections::tests::exchange(address, request).await
    }

    #[tokio::test]
    async fn what_a_client_may_do() {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        let (open, token) = (listen(None), listen(Some(TOKEN)));
        let (open, token, socket) = (Some(&open), Some(&token), None);
        let (get, post) = ("GET /api/v1/openapi.json HTTP/1.1\r\n", "POST /api/v1/openapi.json HTTP/1.1\r\n");
        let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
        for (listen, head, fields, status, body) in [
            (open, get, "", "200 OK", "\"openapi\":\"3.1.0\""),
            (open, get, "Host: localhost:9464\r\n", "200 OK", "openapi"),
            (open, get, "Host: evil.example\r\n", "403 Forbidden", "listen.token"),
            (open, post, "", "403 Forbidden", "need a token"),
            (open, "GET /api/v1/me HTTP/1.1\r\n", "", "200 OK", "\"role\":null"),
            (socket, "GET /api/v1/me HTTP/1.1\r\n", "", "200 OK", "\"by\":\"socket\""),
            (token, "POST /api/v1/sign-in HTTP/1.1\r\n", bearer, "403 Forbidden", "unix socket"),
            (token, get, "", "401 Unauthorized", "\"title\":\"Unauthorized\""),
            (token, get, bearer, "200 OK", "openapi"),
            (token, post, bearer, "405 Method Not Allowed", "has no method POST"),
            (socket, get, "Host: evil.example\r\n", "200 OK", "openapi"),
            (socket, post, "", "405 Method Not Allowed", "has no method POST"),
            (socket, "GET /api/v1/openapi HTTP/1.1\r\n", "", "404 Not Found", "openapi.json describes"),
            (socket, "GET /api/v1/ask?source=x&text=a&text=b HTTP/1.1\r\n", "", "503 Service", "model"),
            (socket, "GET /api/v1/ask?sorce=x HTTP/1.1\r\n", "", "400 Bad", "Did you mean `source`?"),
            (socket, "GET /api/v1/events HTTP/1.1\r\n", "", "503 Service", "retry-after: 2"),
        ] {
            let request = format!("{head}{fields}\r\n");
            let response = response_with(listen, &metrics, request.as_bytes()).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request}{response}");
            assert!(response.contains(body), "{request}{response}");
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
