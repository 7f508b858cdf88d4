//! The addresses below `/api/v1/`: each verb of the API, the pictures, the events, and the document that describes them.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hyper::body::Frame;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};

use super::{Endpoint, connections::ConnectionHandle};
use crate::{
    api::{
        self, Error, Kind, Method, Role, Service, Time,
        events::EventStream,
        newest, openapi, pictures, query,
        service::known_source,
        verb::{self, LARGEST, PATIENCE, PREFIX, Route},
    },
    cache::hex,
};

/// When the frame of a picture was captured.
const CAPTURED_AT: HeaderName = HeaderName::from_static("stakeout-captured-at");
/// The part of a picture that is different from the one before: left edge, upper edge, width and height, as fractions.
const CHANGED: HeaderName = HeaderName::from_static("stakeout-changed");
/// The longest pause between two lines of a stream of events.
const BEAT: Duration = Duration::from_secs(15);
/// A client that has not read a line of a stream for this long is disconnected.
const UNREAD: Duration = Duration::from_secs(60);
/// A request that is not kept is received to its end, so that its client reads the answer. Not one that is this number of times as
/// large as its address allows.
const MOST_RECEIVED: usize = 4;

/// Every address of the API.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    let routes = api::routes::all();
    let document = Bytes::from(openapi::document(&routes).to_string());
    let address = |name: &str| format!("{PREFIX}{name}");
    let mut router = Router::new()
        .route(&address("openapi.json"), get(async move || json(document)))
        .route(&address("events"), get(events))
        .route(&address(newest::NAME), get(newest_picture))
        .route(&address("pictures/{id}"), get(picture));
    for route in routes {
        router = router.route(&address(route.name), handler(route));
    }
    router
}

fn handler(route: Route) -> MethodRouter<Arc<Endpoint>> {
    let (method, route) = (route.method, Arc::new(route));
    let handler = move |State(endpoint): State<Arc<Endpoint>>, request: Request| async move {
        match answer(&endpoint, &route, request).await {
            Ok(answer) => json(answer.into()),
            Err(error) => problem(&error),
        }
    };
    match method {
        Method::Get => get(handler),
        Method::Post | Method::Query => post(handler),
    }
}

async fn answer(endpoint: &Endpoint, route: &Route, request: Request) -> Result<String, Error> {
    allow(&request, PATIENCE);
    let handle = request.extensions().get::<ConnectionHandle>().cloned();
    let role = request.extensions().get::<Role>().copied().unwrap_or(Role::View);
    // Before the request is received, which takes memory. It is kept until the answer is complete.
    let place = place(&endpoint.service, route);
    let fields = match route.method {
        Method::Get => query::parse(&route.request, request.uri().query().unwrap_or_default()),
        Method::Post | Method::Query => body(request.into_body(), route.largest, place.is_ok()).await,
    };
    let (_place, fields) = (place?, fields?);
    // Not before the request is complete: its client may be slow.
    if let Some(handle) = handle {
        handle.allow(route.patience);
    }
    route.answer(Arc::clone(&endpoint.service), role, fields).await
}

/// The answer may take this long.
pub(super) fn allow(request: &Request, time: Duration) {
    if let Some(handle) = request.extensions().get::<ConnectionHandle>() {
        handle.allow(time);
    }
}

/// The place of a request that may be large; `None`: this verb has only small requests.
fn place(service: &Service, route: &Route) -> Result<Option<OwnedSemaphorePermit>, Error> {
    let is_large = route.largest > LARGEST;
    is_large.then(|| service.place_for(route.method.needs())).transpose()
}

/// The fields of a request that was sent as JSON; `null` unless it `is_wanted`.
async fn body(body: Body, largest: usize, is_wanted: bool) -> Result<Value, Error> {
    let bytes = receive(body, largest, is_wanted).await.ok_or_else(|| {
        Error::new(Kind::TooLarge, format!("the request is larger than {largest} bytes, or was cut off"))
    })?;
    if !is_wanted {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Kind::BadRequest, format!("the request is not JSON: {error}")))
}

/// The bytes of a request; none of them are kept unless it `is_wanted`. `None`: it is larger than `largest`, or was cut off.
async fn receive(mut body: Body, largest: usize, is_wanted: bool) -> Option<Vec<u8>> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        length += data.len();
        if length > largest.saturating_mul(MOST_RECEIVED) {
            break;
        }
        if length > largest || !is_wanted {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    (length <= largest).then_some(bytes)
}

async fn picture(
    State(endpoint): State<Arc<Endpoint>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    allow(&request, PATIENCE);
    match endpoint.service.read(move |reader| pictures::read(reader, &id)).await {
        Ok(picture) => tagged(picture, &headers),
        Err(error) => problem(&error),
    }
}

async fn newest_picture(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    allow(&request, PATIENCE);
    match newest::read(&endpoint.service, request.uri().query().unwrap_or_default()).await {
        Ok(picture) => {
            let mut response = tagged(picture.jpeg.clone(), &headers);
            let facts = response.headers_mut();
            let captured_at = String::from(Time(picture.captured_at));
            facts.extend(HeaderValue::try_from(captured_at).ok().map(|value| (CAPTURED_AT, value)));
            let changed = picture.changed.map(|edges| edges.map(|edge| format!("{edge:.4}")).join(" "));
            let changed = changed.and_then(|changed| HeaderValue::try_from(changed).ok());
            facts.extend(changed.map(|value| (CHANGED, value)));
            response
        }
        Err(error) => problem(&error),
    }
}

/// A picture with its ETag; without its bytes if the client has it already.
fn tagged(picture: Vec<u8>, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex(&Sha256::digest(&picture)[..16]));
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = sent
        .flat_map(|tags| tags.split(','))
        .any(|known| known.trim() == "*" || known.trim().trim_start_matches("W/") == tag);
    // The browser asks each time: a picture that was forgotten must not be shown any more.
    let cache = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if is_known {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, "image/jpeg")], picture).into_response()
}

async fn events(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let subscribed = subscribe(&endpoint, request.uri().query().unwrap_or_default());
    let stream = match subscribed {
        Ok(stream) => stream,
        Err(error) => return problem(&error),
    };
    let handle = request.extensions().get::<ConnectionHandle>().cloned();
    if let Some(handle) = &handle {
        handle.follows();
    }
    // A line at once, so that the client knows that it is connected.
    let body = EventBody { stream, beat: Box::pin(sleep(Duration::ZERO)), handle };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response()
}

fn subscribe(endpoint: &Endpoint, query: &str) -> Result<EventStream, Error> {
    let fields = query::parse(&query::schema::<api::events::Request>(), query)?;
    let mut wants: api::events::Request = verb::parse(fields)?;
    let config = endpoint.service.live()?.newest.config();
    for source in &mut wants.sources {
        *source = known_source(&config, "sources", source)?.to_string();
    }
    endpoint.service.events.subscribe(wants)
}

/// The body of a stream of events.
struct EventBody {
    stream: EventStream,
    beat: Pin<Box<Sleep>>,
    handle: Option<ConnectionHandle>,
}

impl EventBody {
    fn frame(&mut self, text: String) -> Frame<Bytes> {
        self.beat.as_mut().reset(Instant::now() + BEAT);
        // The client has read what was sent before.
        if let Some(handle) = &self.handle {
            handle.allow(UNREAD);
        }
        Frame::data(text.into())
    }
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match self.stream.poll_next(context) {
            Poll::Ready(Some(event)) => event,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                ready!(self.beat.as_mut().poll(context));
                self.stream.beat()
            }
        };
        Poll::Ready(Some(Ok(self.frame(text))))
    }
}

/// An answer in JSON.
pub(super) fn json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A problem document.
pub(super) fn problem(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    let mut response = (status, kind, error.to_json()).into_response();
    if error.kind == Kind::Unavailable {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::yield_now};

    use super::*;
    use crate::{
        api::service::tests::starting,
        web::{Pages, access, connections, site},
    };

    #[tokio::test]
    async fn a_request_is_received_up_to_its_limit_and_kept_only_if_it_is_wanted() {
        for (length, wanted, expected) in [
            (0, true, Some(0)),
            (100, true, Some(100)),
            (100, false, Some(0)),
            (101, true, None),
            (101, false, None),
            (1000, true, None),
        ] {
            let received = receive(Body::from(vec![7; length]), 100, wanted).await;
            assert_eq!(received.map(|bytes| bytes.len()), expected, "{length} {wanted}");
        }
    }

    #[test]
    fn every_verb_with_large_requests_takes_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for route in api::routes::all() {
            let place = place(&service, &route).unwrap();
            assert_eq!(place.is_some(), route.largest > 64 * 1024, "{}", route.name);
            assert!(route.method != Method::Get || place.is_none(), "{}: it has no body", route.name);
        }
    }

    /// A request to this verb, whose length is larger than its body if it is `slow`.
    fn request(name: &str, is_slow: bool) -> String {
        let body = r#"{"picture":"AAAA","text":["a","b"]}"#;
        let length = body.len() + usize::from(is_slow);
        format!("POST /api/v1/{name} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    /// A client that does not send the end of its request.
    async fn slow(address: SocketAddr, name: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request(name, true).as_bytes()).await.unwrap();
        client
    }

    /// Waits until there is a place for a request of this role, or none.
    async fn until_there_is(service: &Service, role: Role, a_place: bool) {
        while service.place_for(role).is_ok() != a_place {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn slow_clients_hold_the_places_others_are_answered_at_once_and_places_become_free() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let endpoint = Arc::new(Endpoint { service: Arc::clone(&service), pages: Pages::default() });
        let address = connections::tests::serving_site(site(&endpoint, access::Rules::owner())).await;
        let answer =
            async |name: &str| connections::tests::exchange(address, request(name, false).as_bytes()).await;
        for (name, role, most, busy, free, other) in [
            (
                "ask_picture",
                Role::View,
                2,
                "receives and decodes other pictures",
                "model is being loaded",
                "config_check",
            ),
            (
                "config_check",
                Role::Change,
                4,
                "receives and checks other texts",
                "400 Bad Request",
                "ask_picture",
            ),
        ] {
            let mut clients = Vec::new();
            for _ in 0..most {
                assert!(service.place_for(role).is_ok(), "{name}: {}", clients.len());
                clients.push(slow(address, name).await);
            }
            until_there_is(&service, role, false).await;
            let refused = answer(name).await;
            assert!(refused.starts_with("HTTP/1.1 503") && refused.contains(busy), "{refused}");
            assert!(refused.contains("retry-after: 2"), "{refused}");
            let others = answer(other).await;
            assert!(!others.contains("the service receives"), "{others}");
            clients.pop();
            until_there_is(&service, role, true).await;
            let answered = answer(name).await;
            assert!(answered.contains(free), "{answered}");
        }
    }

    #[test]
    fn a_picture_that_the_client_has_is_not_sent_again() {
        let response = tagged(b"jpeg".to_vec(), &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "image/jpeg");
        let tag = response.headers()[header::ETAG].clone();
        let listed = format!("\"other\", W/{}", tag.to_str().unwrap());
        for (known, status) in [
            (tag.to_str().unwrap(), StatusCode::NOT_MODIFIED),
            (&listed, StatusCode::NOT_MODIFIED),
            ("*", StatusCode::NOT_MODIFIED),
            ("\"other\"", StatusCode::OK),
            ("", StatusCode::OK),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            let response = tagged(b"jpeg".to_vec(), &headers);
            assert_eq!(response.status(), status, "{known}");
            assert_eq!(response.headers()[header::ETAG], tag);
        }
    }
}
