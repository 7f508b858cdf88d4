//! Who may do what: runs before every route, decides whether the client may do what its request needs, and adds the header fields that
//! every answer has.
//!
//! | client | role |
//! |---|---|
//! | of the unix socket | change |
//! | with `listen.token` | change |
//! | with `listen.view_token` | view |
//! | a browser that has signed in | that of its link or token |
//! | Home Assistant's supervisor, with `ingress: true` | change |
//! | any other | none |
//!
//! A client without a role can load the files of the console and sign in. Where the service has no token and only this machine can
//! connect, programs can also read what they could before there was a console (`rules`).

mod origin;
mod rules;
mod session;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

pub(super) use self::rules::Rules;
use self::{
    origin::{ForeignOrigin, OwnAddress, foreign_origin, is_this_machine},
    rules::{SESSION, Verbs, need, refusal},
};
use super::{Endpoint, api, connections::ConnectionHandle, line, places::Proxies};
use crate::api::{
    Error, Kind, Role, Service,
    access::{Peer, Refused, Session},
    me::By,
    routes,
    verb::PREFIX,
};

/// The address of Home Assistant's supervisor in the network of its apps.
const SUPERVISOR: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 32, 2));
/// The field with which the supervisor shows the page of an app.
const INGRESS_PATH: HeaderName = HeaderName::from_static("x-ingress-path");
/// What each answer says about frames, unless the supervisor shows the page in one.
const NO_FRAME: &str = "frame-ancestors 'none'";
const OWN_FRAME: &str = "frame-ancestors 'self'";
/// The most cookies of our name that are tried: a browser sends one for each path.
const MOST_COOKIES: usize = 4;

/// One of the places where the service listens.
pub(super) struct AccessControl {
    service: Arc<Service>,
    rules: Rules,
    verbs: Verbs,
}

/// Who sent a request.
#[derive(Debug, Clone)]
struct Client {
    /// What it may do.
    role: Option<Role>,
    /// How it has shown that.
    by: By,
    /// Its session.
    session: Option<Session>,
    /// It has sent too many wrong tokens, and has to wait this long.
    must_wait: Option<Duration>,
}

impl Client {
    fn of(role: Option<Role>, by: By) -> Self {
        Self { role, by, session: None, must_wait: None }
    }
}

impl AccessControl {
    /// A place where clients come in by these rules.
    pub(super) fn new(service: Arc<Service>, rules: Rules) -> Self {
        Self { service, rules, verbs: Verbs::of(&routes::all()) }
    }

    /// The prefix of the paths, if a proxy has one.
    pub(super) fn prefix(&self) -> &str {
        self.rules.base_url.as_ref().map_or("", |base_url| base_url.prefix())
    }

    /// Who forwards requests of many people.
    pub(super) fn proxies(&self) -> Proxies {
        let supervisor = self.rules.ingress.then_some(SUPERVISOR);
        Proxies { any: self.rules.base_url.is_some(), supervisor }
    }

    /// Who sent a request with these header fields.
    fn client(&self, headers: &HeaderMap, peer: Peer) -> Client {
        if self.rules.is_owner {
            return Client::of(Some(Role::Change), By::Socket);
        }
        if self.rules.ingress && peer == Some(SUPERVISOR) && headers.contains_key(INGRESS_PATH) {
            return Client::of(Some(Role::Change), By::HomeAssistant);
        }
        let access = &self.service.access;
        if let Some(token) = bearer(headers).filter(|_| access.has_token()) {
            return match access.role_of_token(token, peer) {
                Ok(role) => Client::of(Some(role), By::Token),
                Err(Refused::Wrong) => Client::of(None, By::Nothing),
                Err(Refused::TooMany(wait)) => {
                    Client { must_wait: Some(wait), ..Client::of(None, By::Nothing) }
                }
            };
        }
        match self.cookies(headers).find_map(|cookie| access.session(cookie)) {
            Some(session) => {
                Client { session: Some(session.clone()), ..Client::of(Some(session.role), By::Session) }
            }
            None => Client::of(None, By::Nothing),
        }
    }

    /// The cookies of this service in a request.
    fn cookies<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> + use<'h> {
        let name = self.service.access.cookie_name();
        let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs
            .filter(move |(sent, _)| name.as_deref() == Some(*sent))
            .map(|(_, value)| value)
            .take(MOST_COOKIES)
    }

    /// Why the request is refused.
    fn refusal(&self, request: &Request, client: &Client) -> Option<Error> {
        let (method, headers) = (request.method(), request.headers());
        let need = need(method, request.uri().path(), &self.verbs);
        if let Some(wait) = client.must_wait {
            let error = Error::new(Kind::TooMany, "there were too many requests with a wrong token");
            return Some(error.remedy(format!("Send the right token, after {} s.", wait.as_secs() + 1)));
        }
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        let refused = refusal(need, client.role, &self.rules, host.is_none_or(is_this_machine));
        let is_change = ![Method::GET, Method::HEAD].contains(method) && !self.rules.is_owner;
        refused.or_else(|| {
            let own = OwnAddress {
                base_url: self.rules.base_url.as_ref(),
                is_https: self.rules.is_https,
                is_forwarded: client.by == By::HomeAssistant,
            };
            let found =
                is_change.then(|| foreign_origin(headers, own, client.session.is_some())).flatten()?;
            Some(refusal_of(found))
        })
    }
}

/// The token in `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refusal_of(found: ForeignOrigin) -> Error {
    let (what, remedy) = match found {
        ForeignOrigin::Page => {
            ("this request comes from a page of someone else", "Use the pages of the console.")
        }
        ForeignOrigin::Host => (
            "the page of this request has another address than the service",
            "If a proxy is between them, set `listen.base_url` to the address that the browser shows.",
        ),
        ForeignOrigin::Unknown => (
            "a change with a cookie must say where it comes from",
            "Programs send `Authorization: Bearer TOKEN` instead of a cookie.",
        ),
    };
    Error::new(Kind::Forbidden, what).remedy(remedy)
}

/// The addresses where browsers sign in and out and ask what they may do.
pub(super) fn router(control: &Arc<AccessControl>) -> Router<Arc<Endpoint>> {
    session::router(control)
}

/// Runs before every route.
pub(super) async fn guard(
    State(control): State<Arc<AccessControl>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectionHandle>().and_then(ConnectionHandle::peer);
    guard_from(peer, &control, request, next).await
}

/// The same for a request of this peer.
async fn guard_from(peer: Peer, control: &AccessControl, mut request: Request, next: Next) -> Response {
    let handle = request.extensions().get::<ConnectionHandle>().cloned();
    let client = control.client(request.headers(), peer);
    let path = request.uri().path();
    if let Some(handle) = &handle {
        // The answer to the sign-out must still be sent.
        if let Some(session) = client.session.as_ref().filter(|_| path != SESSION) {
            handle.belongs_to(session);
        }
        handle.asked();
        if client.by != By::Nothing {
            handle.trusted();
        }
    }
    let is_framed = client.by == By::HomeAssistant;
    let mut response = if path == control.prefix() && !path.is_empty() {
        // Relative addresses of the page need the slash.
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{path}/console/"))]).into_response()
    } else if let Some(error) = control.refusal(&request, &client) {
        refused(path, &error)
    } else {
        // What a verb may answer. Programs that may read without a token see no more than a client that may only look.
        request.extensions_mut().insert(client.role.unwrap_or(Role::View));
        request.extensions_mut().insert(client);
        next.run(request).await
    };
    add_fields(response.headers_mut(), is_framed);
    response
}

/// A refusal in the form of the address: a problem document, or a line.
fn refused(path: &str, error: &Error) -> Response {
    let mut response = match path.starts_with(PREFIX) || path == SESSION {
        true => api::problem(error),
        false => {
            let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::FORBIDDEN);
            line(status, &error.to_string())
        }
    };
    let field = match error.kind {
        Kind::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer")),
        Kind::Method => Some((header::ALLOW, "GET, HEAD")),
        _ => None,
    };
    if let Some((name, value)) = field {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Adds the fields that every answer has. Only the supervisor of Home Assistant shows pages in a frame.
fn add_fields(headers: &mut HeaderMap, is_framed: bool) {
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let resources = HeaderName::from_static("cross-origin-resource-policy");
    headers.entry(resources).or_insert(HeaderValue::from_static("same-origin"));
    let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let policy = match policy {
        Some(policy) if is_framed => HeaderValue::try_from(policy.replace(NO_FRAME, OWN_FRAME)).ok(),
        Some(_) => None,
        None => Some(HeaderValue::from_static(if is_framed { OWN_FRAME } else { NO_FRAME })),
    };
    if let Some(policy) = policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn;

    use super::*;
    use crate::{
        api::{access::Proof, service::tests::starting},
        config::{Listen, Secret},
        history::History,
        web::{
            Pages,
            connections::{
                Site,
                tests::{exchange, serving_site},
            },
            console,
        },
    };

    const TOKEN: &str = "0123456789abcdef";
    const VIEW: &str = "abcdef0123456789";
    const ELSEWHERE: Peer = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

    fn listen() -> Listen {
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let address = "0.0.0.0:9464".parse().unwrap();
        Listen { token: secret(TOKEN), view_token: secret(VIEW), ingress: true, ..Listen::at(address) }
    }

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_a_client_is() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        service.access.configure(Some(&listen()));
        let (code, _) = service.access.code(Role::View).unwrap();
        let signed_in = service.access.sign_in(&Proof::Code(Secret::new(code)), None).unwrap();
        let cookie = format!("{}={}", signed_in.name, signed_in.cookie.reveal());
        let others = format!("a=b; {}=wrong; {cookie}; c", signed_in.name);
        let bearers = [TOKEN, VIEW, "wrong"].map(|token| format!("Bearer {token}"));
        let [change, view, wrong] = [0, 1, 2].map(|at: usize| &*bearers[at]);
        let (cookie, others) = (&*cookie, &*others);
        let (token, ingress) = (header::AUTHORIZATION, INGRESS_PATH);
        let (nothing, by_token) = ((None, By::Nothing), |role| (Some(role), By::Token));
        let by_session = (Some(Role::View), By::Session);
        let control = AccessControl::new(Arc::clone(&service), Rules::of(&listen()));
        for (what, fields, peer, expected) in [
            ("the token", &[(token.clone(), change)][..], ELSEWHERE, by_token(Role::Change)),
            ("the token for looking", &[(token.clone(), view)], None, by_token(Role::View)),
            ("anyone", &[], ELSEWHERE, nothing),
            ("another token", &[(token.clone(), wrong)], ELSEWHERE, nothing),
            ("no scheme", &[(token.clone(), TOKEN)], ELSEWHERE, nothing),
            ("another scheme", &[(token.clone(), "Basic 0123456789abcdef")], ELSEWHERE, nothing),
            (
                "small letters and blanks",
                &[(token.clone(), "bearer  0123456789abcdef ")],
                ELSEWHERE,
                by_token(Role::Change),
            ),
            ("a session", &[(header::COOKIE, cookie)], ELSEWHERE, by_session),
            ("a session among others", &[(header::COOKIE, others)], None, by_session),
            (
                "a session, and the login of a proxy",
                &[(token.clone(), "Basic x"), (header::COOKIE, cookie)],
                None,
                by_session,
            ),
            (
                "a wrong token, and a session",
                &[(token.clone(), wrong), (header::COOKIE, cookie)],
                None,
                nothing,
            ),
            (
                "the supervisor",
                &[(ingress.clone(), "/x")],
                Some(SUPERVISOR),
                (Some(Role::Change), By::HomeAssistant),
            ),
            ("the supervisor, without a page", &[], Some(SUPERVISOR), nothing),
            ("someone who pretends", &[(ingress.clone(), "/x")], ELSEWHERE, nothing),
            ("a program that pretends", &[(ingress.clone(), "/x")], None, nothing),
        ] {
            let client = control.client(&headers(fields), peer);
            assert_eq!((client.role, client.by), expected, "{what}");
        }
        let without =
            AccessControl::new(Arc::clone(&service), Rules::of(&Listen { ingress: false, ..listen() }));
        let client = without.client(&headers(&[(ingress, "/x")]), Some(SUPERVISOR));
        assert_eq!((client.role, client.by), nothing, "it is off");
        let owner = AccessControl::new(service, Rules::owner()).client(&headers(&[(token, wrong)]), None);
        assert_eq!((owner.role, owner.by), (Some(Role::Change), By::Socket));
    }

    /// The answer to a request that this peer sends over a connection of its own.
    async fn answer(service: &Arc<Service>, rules: Rules, peer: Peer, request: &str) -> String {
        let control = Arc::new(AccessControl::new(Arc::clone(service), rules));
        let endpoint = Arc::new(Endpoint { service: Arc::clone(service), pages: Pages::default() });
        let own = Arc::clone(&control);
        let layer = move |request: Request, next: Next| {
            let control = Arc::clone(&own);
            async move { guard_from(peer, &control, request, next).await }
        };
        let routes = api::router().merge(console::router()).merge(router(&control));
        let routes = routes.layer(from_fn(layer)).with_state(endpoint);
        let address = serving_site(Site::new(routes, control.prefix())).await;
        exchange(address, request.as_bytes()).await
    }

    #[tokio::test]
    async fn requests_of_the_supervisor_are_answered_and_those_of_no_one_else() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        drop(History::open(folder.path()).unwrap());
        let home_assistant = || Listen { ingress: true, ..Listen::at("0.0.0.0:8099".parse().unwrap()) };
        service.access.configure(Some(&home_assistant()));
        // What the supervisor forwards for a browser that shows the page of the app.
        let (path, browser) = (
            "X-Ingress-Path: /api/hassio_ingress/abc\r\n",
            "Host: 172.30.33.4:8099\r\nX-Forwarded-Host: homeassistant.local:8123\r\nX-Forwarded-Proto: http\r\n",
        );
        let own = "Origin: http://homeassistant.local:8123\r\n";
        let evil = "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n";
        let body = r#"{"source":"Inbox","from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:00:01Z"}"#;
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let get = |target: &str, fields: &[&str]| {
            format!("GET {target} HTTP/1.1\r\n{browser}{}\r\n", fields.concat())
        };
        let post = |fields: &[&str]| {
            format!("POST /api/v1/forget HTTP/1.1\r\n{browser}{length}{}\r\n{body}", fields.concat())
        };
        let (me, page, marks) = ("/api/v1/me", "/console/", "/api/v1/marks");
        let (supervisor, on) = (Some(SUPERVISOR), true);
        let [framed, unframed] = [OWN_FRAME, NO_FRAME];
        for (what, request, peer, ingress, status, part, frame) in [
            ("the page", get(page, &[path]), supervisor, on, 200, "<script", framed),
            ("who it is", get(me, &[path]), supervisor, on, 200, r#""by":"home_assistant""#, framed),
            ("what is read", get(marks, &[path]), supervisor, on, 200, "", framed),
            ("a change", post(&[path, own]), supervisor, on, 200, "damaged_files", framed),
            ("a page of someone else", post(&[path, evil]), supervisor, on, 403, "someone else", framed),
            ("no page of the app", get(marks, &[]), supervisor, on, 401, "token", unframed),
            ("a change without one", post(&[own]), supervisor, on, 401, "token", unframed),
            ("the page, of another machine", get(page, &[path]), ELSEWHERE, on, 200, "<script", unframed),
            ("another machine", get(me, &[path]), ELSEWHERE, on, 200, r#""role":null"#, unframed),
            ("what another machine reads", get(marks, &[path]), ELSEWHERE, on, 401, "token", unframed),
            ("a change of another machine", post(&[path, own]), ELSEWHERE, on, 401, "token", unframed),
            ("a program of this machine", get(marks, &[path]), None, on, 401, "token", unframed),
            ("its change", post(&[path, own]), None, on, 401, "token", unframed),
            ("ingress is off", get(marks, &[path]), supervisor, false, 401, "token", unframed),
            ("a change while ingress is off", post(&[path, own]), supervisor, false, 401, "token", unframed),
        ] {
            let rules = Rules::of(&Listen { ingress, ..home_assistant() });
            let answer = answer(&service, rules, peer, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
            assert!(answer.contains(part) && answer.contains(frame), "{what}: {answer}");
        }
    }

    #[tokio::test]
    async fn guesses_through_a_proxy_of_this_machine_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let ask = |token: &str| format!("GET /api/v1/me HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n");
        let base_url = "listen: { address: \"127.0.0.1:1\", base_url: \"https://home.example.org\" }\n";
        let path = folder.path().join("stakeout.yaml");
        std::fs::write(&path, base_url).unwrap();
        let Listen { base_url, .. } = crate::config::listen(&path).unwrap().unwrap();
        assert!(base_url.is_some());
        // The last one is a proxy that the service does not know.
        for (what, base_url, ingress) in
            [("a proxy", base_url, false), ("ingress", None, true), ("neither", None, false)]
        {
            let listen = Listen { base_url, ingress, ..listen() };
            let service = starting(folder.path());
            service.access.configure(Some(&listen));
            let mut is_limited = false;
            for _ in 0..10 * 3600 {
                let answer = answer(&service, Rules::of(&listen), None, &ask("guess-0123456789a")).await;
                let is_read = answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""role":null"#);
                is_limited = answer.starts_with("HTTP/1.1 429 ");
                assert!(is_read || is_limited, "{what}: {answer}");
                if is_limited {
                    break;
                }
            }
            assert!(is_limited, "{what}");
            let elsewhere = answer(&service, Rules::of(&listen), ELSEWHERE, &ask(TOKEN)).await;
            assert!(elsewhere.contains(r#""role":"change""#), "{what}: {elsewhere}");
            let owner = answer(&service, Rules::owner(), None, &ask("guess-0123456789a")).await;
            assert!(owner.contains(r#""by":"socket""#), "{what}: {owner}");
        }
    }

    #[test]
    fn only_the_supervisor_shows_pages_in_a_frame() {
        let page = "default-src 'none'; frame-ancestors 'none'";
        for (policy, is_framed, expected) in [
            (None, false, NO_FRAME),
            (None, true, OWN_FRAME),
            (Some(page), false, page),
            (Some(page), true, "default-src 'none'; frame-ancestors 'self'"),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(policy) = policy {
                fields.insert(header::CONTENT_SECURITY_POLICY, policy.parse().unwrap());
            }
            add_fields(&mut fields, is_framed);
            assert_eq!(fields[header::CONTENT_SECURITY_POLICY], expected, "{policy:?} {is_framed}");
            assert_eq!(fields[header::CACHE_CONTROL], "no-store");
        }
        assert!(console::POLICY.contains(NO_FRAME), "the page has the words that are replaced");
    }
}
