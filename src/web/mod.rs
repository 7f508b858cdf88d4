//! The HTTP endpoint: `/metrics`, `/healthz` and `/readyz`, where the configuration has a `listen` line.
//!
//! The server has its own thread and runtime. It answers while the model loads and while another part is stuck. Each
//! connection carries one request and is limited in time and in the size of its header. Request bodies are never read.

mod health;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use sha2::{Digest, Sha256};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};

pub use self::health::{HealthError, check as check_health};
use crate::{
    config::{Listen, Secret},
    metrics,
    observe::ServiceMetrics,
};

/// The number of connections that are served at once. Further connections wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16;
/// The time limit of one connection, from its first byte to its last.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest request header, in bytes.
const MAX_HEADER: usize = 8 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 64;
/// The pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(200);

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
            Ok(socket) => accept(socket, router).await,
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
        .with_state(metrics)
}

async fn metrics_page(State(metrics): State<Arc<ServiceMetrics>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.page()).into_response()
}

async fn healthz(State(metrics): State<Arc<ServiceMetrics>>) -> Response {
    match &metrics.stuck()[..] {
        [] => line(StatusCode::OK, "ok"),
        stuck => line(StatusCode::SERVICE_UNAVAILABLE, &format!("stuck: {}", stuck.join(", "))),
    }
}

async fn readyz(State(metrics): State<Arc<ServiceMetrics>>) -> Response {
    match metrics.is_ready() {
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
    let mut response = if !is_authorized(token.as_ref(), authorization) {
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

async fn accept(socket: tokio::net::TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    match timeout(DEADLINE, serve(stream, router)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a request was not answered"),
                        Err(_) => tracing::debug!(%peer, "a request exceeded the time limit"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the system cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn serve(mut stream: TcpStream, router: Router) -> hyper::Result<()> {
    let answered = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(&mut stream), TowerToHyperService::new(router))
        .await;
    // The kernel resets a connection that is closed with unread bytes, and the client loses the response.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    answered
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

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
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, _) = socket.accept().await.unwrap();
        let server = tokio::spawn(serve(stream, router(Arc::clone(metrics), None)));
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        let _ = server.await.unwrap();
        response
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
