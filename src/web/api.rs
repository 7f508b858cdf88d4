//! The addresses below `/api/v1/`: each verb of the API, the pictures, the events, and the document that describes them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hyper::body::Frame;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, Sleep, sleep};

use super::{Endpoint, connections::Visit};
use crate::{
    api::{
        self, Error, Kind, Method, Role, Time,
        events::EventStream,
        newest, openapi, pictures, query,
        service::known_source,
        verb::{self, PATIENCE, PREFIX, Route},
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
    let visit = request.extensions().get::<Visit>().cloned();
    let role = request.extensions().get::<Role>().copied().unwrap_or(Role::View);
    let fields = match route.method {
        Method::Get => query::parse(&route.request, request.uri().query().unwrap_or_default())?,
        Method::Post | Method::Query => body(request.into_body(), route.largest).await?,
    };
    // Not before the request is complete: its client may be slow.
    if let Some(visit) = visit {
        visit.allow(route.patience);
    }
    route.answer(Arc::clone(&endpoint.service), role, fields).await
}

/// The answer may take this long.
pub(super) fn allow(request: &Request, time: Duration) {
    if let Some(visit) = request.extensions().get::<Visit>() {
        visit.allow(time);
    }
}

/// The fields of a request that was sent as JSON.
async fn body(body: Body, largest: usize) -> Result<Value, Error> {
    let bytes = to_bytes(body, largest).await.map_err(|_| {
        Error::new(Kind::TooLarge, format!("the request is larger than {largest} bytes, or was cut off"))
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Kind::BadRequest, format!("the request is not JSON: {error}")))
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
    let visit = request.extensions().get::<Visit>().cloned();
    if let Some(visit) = &visit {
        visit.follows();
    }
    // A line at once, so that the client knows that it is connected.
    let body = EventBody { stream, beat: Box::pin(sleep(Duration::ZERO)), visit };
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
    visit: Option<Visit>,
}

impl EventBody {
    fn frame(&mut self, text: String) -> Frame<Bytes> {
        self.beat.as_mut().reset(Instant::now() + BEAT);
        // The client has read what was sent before.
        if let Some(visit) = &self.visit {
            visit.allow(UNREAD);
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
                EventStream::comment().to_owned()
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
    use super::*;

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
