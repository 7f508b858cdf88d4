//! Addresses below `/api/v1/` whose request or answer is a file instead of JSON: `truth.csv` is one, and `search_picture` receives one.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    Endpoint,
    api::{allow, json, problem},
    connections::ConnectionHandle,
};
use crate::api::{
    Error, filter, query, search,
    search_picture::{self, LARGEST, too_large},
    truth,
    verb::{self, PATIENCE, PREFIX},
};

/// A picture that is too large is received to its end, so that its client reads the answer. Not one that is larger than this, in bytes.
const MOST_RECEIVED: usize = 4 * LARGEST;

/// The addresses.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    let address = |name: &str| format!("{PREFIX}{name}");
    Router::new()
        .route(&address(truth::NAME), get(truth_file))
        .route(&address(search_picture::NAME), post(search_by_picture))
}

async fn truth_file(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    allow(&request, PATIENCE);
    let asked: filter::Request = match parameters(&request) {
        Ok(asked) => asked,
        Err(error) => return problem(&error),
    };
    let name = truth::file_name(&asked);
    match endpoint.service.read(move |reader| truth::answer(reader, &asked)).await {
        Ok(text) => {
            let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned());
            let place = (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
            ([kind, place], text).into_response()
        }
        Err(error) => problem(&error),
    }
}

async fn search_by_picture(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    match found(&endpoint, request).await {
        Ok(answer) => json(answer.into()),
        Err(error) => problem(&error),
    }
}

async fn found(endpoint: &Endpoint, request: Request) -> Result<String, Error> {
    allow(&request, PATIENCE);
    let handle = request.extensions().get::<ConnectionHandle>().cloned();
    let asked: Result<search::Request, Error> = parameters(&request);
    // Before the picture is received, which takes memory.
    let place = endpoint.service.picture_place();
    let picture = receive(request.into_body(), place.is_ok() && asked.is_ok()).await;
    let (asked, _place, picture) = (asked?, place?, picture?);
    // Not before the picture is complete: its client may be slow.
    if let Some(handle) = handle {
        handle.allow(PATIENCE);
    }
    verb::json(&search_picture::answer(&endpoint.service, asked, picture).await?)
}

/// The request in the parameters of the address.
fn parameters<R: serde::de::DeserializeOwned + schemars::JsonSchema>(request: &Request) -> Result<R, Error> {
    let fields = query::parse(&query::schema::<R>(), request.uri().query().unwrap_or_default())?;
    verb::parse(fields)
}

/// The bytes of a picture; none of them are kept unless `is_wanted`.
async fn receive(mut body: Body, is_wanted: bool) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| too_large())?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MOST_RECEIVED {
            break;
        }
        if length > LARGEST || !is_wanted {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if length > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_picture_is_received_up_to_its_limit() {
        for (length, wanted, expected) in [
            (0, true, Some(0)),
            (LARGEST, true, Some(LARGEST)),
            (LARGEST, false, Some(0)),
            (LARGEST + 1, true, None),
        ] {
            let received = receive(Body::from(vec![7; length]), wanted).await;
            assert_eq!(received.ok().map(|bytes| bytes.len()), expected, "{length}");
        }
    }
}
