//! Signing in and out of a browser: `POST /console/session` with the code of a link or with the token, and `DELETE`. The session is a
//! cookie that no script can read.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{AccessControl, Client, SESSION};
use crate::{
    api::{
        Error, Kind, Time,
        access::{Peer, Proof, SignedIn},
        me::{By, Me},
        verb::{PATIENCE, PREFIX},
    },
    config::{BaseUrl, Secret},
    web::{Endpoint, api, connections::ConnectionHandle},
};

/// The largest request to sign in, in bytes.
const LARGEST: usize = 4 * 1024;

/// What a browser sends to sign in: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    code: Option<String>,
    token: Option<String>,
}

/// The addresses for `control`.
pub(super) fn router(control: &Arc<AccessControl>) -> Router<Arc<Endpoint>> {
    let [signs_in, signs_out, asks] = [(); 3].map(|()| Arc::clone(control));
    let sign_in = move |request: Request| {
        let control = Arc::clone(&signs_in);
        async move { respond(sign_in(&control, request).await) }
    };
    let sign_out = move |request: Request| {
        let control = Arc::clone(&signs_out);
        async move { respond(sign_out(&control, request).await) }
    };
    let me = move |request: Request| {
        let answer = me(&asks, &request);
        async move { answer }
    };
    Router::new().route(SESSION, post(sign_in).delete(sign_out)).route(&format!("{PREFIX}me"), get(me))
}

fn respond(result: Result<Response, Error>) -> Response {
    result.unwrap_or_else(|error| api::problem(&error))
}

async fn sign_in(control: &Arc<AccessControl>, request: Request) -> Result<Response, Error> {
    let peer = patient(&request);
    let (parts, body) = request.into_parts();
    // No form of a page of someone else can send this type.
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Error::new(Kind::BadRequest, "the request is not `application/json`"));
    }
    let body = to_bytes(body, LARGEST)
        .await
        .map_err(|_| Error::new(Kind::TooLarge, format!("the request is larger than {LARGEST} bytes")))?;
    let proof = proof(&body)?;
    let (service, former) = (Arc::clone(&control.service), own_cookies(control, &parts.headers));
    let signing_in = move || {
        let signed_in = service.access.sign_in(&proof, peer)?;
        // The browser replaces its cookie.
        for cookie in &former {
            service.access.sign_out(cookie);
        }
        Ok(signed_in)
    };
    let signed_in = control.service.blocking(signing_in).await.inspect_err(|error| report(error, peer))?;
    let SignedIn { name, cookie: value, role, lasts } = signed_in;
    tracing::info!(role = role.word(), from = shown(peer), "a browser has signed in");
    let path = path(&parts.headers, control.rules.base_url.as_ref());
    let cookie = cookie(&name, value.reveal(), &path, lasts, control.rules.is_https);
    let mut response = api::json(json!({ "role": role }).to_string().into());
    append(&mut response, &cookie);
    Ok(response)
}

/// Reports that someone tries to sign in again and again.
fn report(error: &Error, peer: Peer) {
    if error.kind == Kind::TooMany {
        tracing::warn!(from = shown(peer), "someone tries to sign in to the console again and again");
    }
}

fn shown(peer: Peer) -> String {
    peer.map_or_else(|| "this machine".to_owned(), |address| address.to_string())
}

async fn sign_out(control: &Arc<AccessControl>, request: Request) -> Result<Response, Error> {
    patient(&request);
    let (service, cookies) = (Arc::clone(&control.service), own_cookies(control, request.headers()));
    let signing_out = move || {
        for cookie in &cookies {
            service.access.sign_out(cookie);
        }
        Ok(())
    };
    control.service.blocking(signing_out).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(name) = control.service.access.cookie_name() {
        let path = path(request.headers(), control.rules.base_url.as_ref());
        append(&mut response, &cookie(&name, "", &path, Duration::ZERO, control.rules.is_https));
    }
    Ok(response)
}

/// What the client may do.
fn me(control: &AccessControl, request: &Request) -> Response {
    let client = request.extensions().get::<Client>();
    let me = Me {
        role: client.and_then(|client| client.role),
        by: client.map_or(By::Nothing, |client| client.by),
        until: client.and_then(|client| client.session.as_ref()).map(|session| Time(session.until)),
        has_token: control.service.access.has_token(),
    };
    api::json(serde_json::to_string(&me).unwrap_or_default().into())
}

/// The answer may wait for the disk. Returns who the client is.
fn patient(request: &Request) -> Peer {
    let handle = request.extensions().get::<ConnectionHandle>()?;
    handle.allow(PATIENCE);
    handle.peer()
}

fn own_cookies(control: &AccessControl, headers: &HeaderMap) -> Vec<String> {
    control.cookies(headers).map(str::to_owned).collect()
}

/// What the body of a request proves.
fn proof(body: &[u8]) -> Result<Proof, Error> {
    let wrong =
        || Error::new(Kind::BadRequest, "the request is neither `{\"code\": ...}` nor `{\"token\": ...}`");
    // The error of the parser could show the token.
    let sent: Credentials = serde_json::from_slice(body).map_err(|_| wrong())?;
    let secret = |text: String| Secret::new(text.trim().to_owned());
    match (sent.code, sent.token) {
        (Some(code), None) => Ok(Proof::Code(secret(code))),
        (None, Some(token)) => Ok(Proof::Token(secret(token))),
        _ => Err(wrong()),
    }
}

/// The paths to which a browser sends the cookie: those below the prefix, if it uses the address with the prefix. Other programs at
/// that address do not receive it then.
fn path(headers: &HeaderMap, base_url: Option<&BaseUrl>) -> String {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let prefix = base_url.filter(|base_url| origin == Some(base_url.origin())).map_or("", BaseUrl::prefix);
    format!("{prefix}/")
}

/// A cookie that no script reads, and that is sent only from pages of this service.
fn cookie(name: &str, value: &str, path: &str, lasts: Duration, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    let seconds = lasts.as_secs();
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn append(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_proves_one_thing() {
        let read = |text: &str| match proof(text.as_bytes()) {
            Ok(Proof::Code(code)) => format!("code {}", code.reveal()),
            Ok(Proof::Token(token)) => format!("token {}", token.reveal()),
            Err(error) => error.to_string(),
        };
        assert_eq!(read(r#"{"code": "abc"}"#), "code abc");
        assert_eq!(read(r#"{"token": " hunter2 "}"#), "token hunter2");
        for wrong in [
            "",
            "hunter2",
            "{}",
            r#"{"token": 7}"#,
            r#"{"code": "hunter2", "token": "hunter2"}"#,
            r#"{"tokens": "hunter2"}"#,
            r#"{"token": "hunter2"#,
        ] {
            let error = read(wrong);
            assert!(
                error.starts_with("the request is neither") && !error.contains("hunter2"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn the_attributes_of_the_cookie() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            cookie("stakeout-1", "abc", "/", day, false),
            "stakeout-1=abc; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            cookie("stakeout-1", "", "/eyes/", Duration::ZERO, true),
            "stakeout-1=; Path=/eyes/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
