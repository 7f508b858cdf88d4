//! The HTTP endpoint: `/metrics`, `/healthz` and `/readyz`, where the configuration has a `listen` line.
//!
//! The server has its own thread and runtime. It answers while the model loads and while another part is stuck. Each
//! connection carries one request and is limited in time and in the size of its header (`connections`). Request bodies are
//! never read.

mod connections;
mod health;
mod places;

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
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use self::connections::Visit;
pub use self::health::{HealthError, check as check_health};
use crate::{
    config::{Listen, Secret},
    metrics,
    observe::ServiceMetrics,
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

/// Serves at the address of `settings` on a separate thread until the process ends.
///
/// # Errors
/// The address cannot be bound, or the thread cannot start.
pub fn start(settings: &Listen, metrics: Arc<ServiceMetrics>) -> Result<(), Error> {
    let address = settings.address;
    let refused = |source| Error::Address { address, source };
    let socket = TcpListener::bind(address).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let router = router(metrics, settings.token.clone());
    let serve = async move {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => connections::accept(socket, router).await,
            Err(error) => tracing::error!(%error, "the HTTP endpoint cannot start"),
        }
    };
    let thread = thread::Builder::new().name("web".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map_err(Error::Thread)?;
    tracing::info!(%address, "listening: /metrics, /healthz, /readyz");
    Ok(())
}

/// Every route. [`guard`] runs before each of them.
fn router(metrics: Arc<ServiceMetrics>, token: Option<Secret>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || line(StatusCode::NOT_FOUND, "the paths are /metrics, /healthz and /readyz"))
        .layer(from_fn_with_state(token, guard))
        .with_state(Arc::new(Endpoint { metrics, pages: Pages::default() }))
}

/// What the routes answer from.
struct Endpoint {
    metrics: Arc<ServiceMetrics>,
    pages: Pages,
}

async fn metrics_page(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let page = endpoint.pages.page(Instant::now(), || endpoint.metrics.page());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

async fn healthz(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let metrics = &endpoint.metrics;
    match &metrics.stuck()[..] {
        [] => line(StatusCode::OK, "ok"),
        stuck => line(StatusCode::SERVICE_UNAVAILABLE, &format!("stuck: {}", stuck.join(", "))),
    }
}

async fn readyz(State(endpoint): State<Arc<Endpoint>>) -> Response {
    match endpoint.metrics.is_ready() {
        true => line(StatusCode::OK, "ready"),
        false => line(StatusCode::SERVICE_UNAVAILABLE, "not ready: the service is starting or stopping"),
    }
}

fn line(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

/// Rejects requests without the token and methods other than GET and HEAD, and adds the headers that every response has.
async fn guard(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_authorized = is_authorized(token.as_ref(), authorization);
    if let Some(visit) = request.extensions().get::<Visit>() {
        visit.asked();
        if token.is_some() && is_authorized {
            visit.trusted();
        }
    }
    let mut response = if !is_authorized {
        let text = "the token is missing or wrong: send `Authorization: Bearer TOKEN`";
        ([(header::WWW_AUTHENTICATE, "Bearer")], line(StatusCode::UNAUTHORIZED, text)).into_response()
    } else if ![Method::GET, Method::HEAD].contains(request.method()) {
        let text = "the methods are GET and HEAD";
        ([(header::ALLOW, "GET, HEAD")], line(StatusCode::METHOD_NOT_ALLOWED, text)).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_authorized(token: Option<&Secret>, authorization: Option<&str>) -> bool {
    let Some(token) = token else { return true };
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
    use crate::samples;

    #[test]
    fn the_token_is_required_where_one_is_set() {
        assert!(is_authorized(None, None) && is_authorized(None, Some("Bearer x")));
        let token = Secret::new("hunter2".to_owned());
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
            assert_eq!(is_authorized(Some(&token), authorization), expected, "{authorization:?}");
        }
    }

    /// The response to these bytes.
    async fn response(metrics: &Arc<ServiceMetrics>, request: &[u8]) -> String {
        let address = connections::tests::serving(router(Arc::clone(metrics), None)).await;
        connections::tests::exchange(address, request).await
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
