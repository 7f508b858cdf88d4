//! Sends one request to a camera and interprets the response. Addresses are shown without user and password.

use std::io::Read as _;

use ureq::{
    Body,
    http::{self, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
};
use url::Url;

use super::settings::Http;
use crate::{
    https::{self, Client},
    picture::{self, PictureError},
    source::{
        kind::Failure,
        kinds::{
            camera::Redirects,
            login::{self, Origin, Refusal, SharedLogin, lock},
        },
    },
    yaml::Address,
};

const LARGEST: u64 = 32 * 1024 * 1024;
const MOST_REDIRECTS: u32 = 4;

/// Why a camera gives no picture. The address in it is the one that may be shown.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, no response, or none that is HTTP.
    #[error("{address} cannot be reached: {cause}")]
    Unreachable {
        /// The camera.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// The camera requires other credentials.
    #[error("{address} answers {status}: {remedy}")]
    Denied {
        /// The camera.
        address: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        remedy: &'static str,
    },
    /// It redirects to another host.
    #[error(
        "{address} redirects to {target}, which is not followed: write that address, or set `redirects: any_host`"
    )]
    Redirected {
        /// The camera.
        address: String,
        /// Scheme, host and port.
        target: String,
    },
    /// There is nothing at this address.
    #[error("{0} answers {1}: there is no picture at this address")]
    Missing(String, u16),
    /// Any other response without a picture.
    #[error("{0} answers {1} without a picture")]
    Status(String, u16),
    /// The picture is too large to be one.
    #[error("{0} sends more than 32 MiB, which is no single picture: use the address of a snapshot")]
    TooLarge(String),
    /// The response never ends.
    #[error("{0} sends an endless series of pictures: use `video:` instead of `http:`")]
    Endless(String),
    /// The response is no usable picture.
    #[error("{0} sends no usable picture: {1}")]
    NoPicture(String, PictureError),
    /// The request failed because of a bug.
    #[error("the request ended in a panic")]
    Broken,
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let refused = matches!(
            error,
            HttpError::Denied { .. }
                | HttpError::Redirected { .. }
                | HttpError::Missing(..)
                | HttpError::Endless(_)
        );
        Self { refused, ..Self::offline(error) }
    }
}

/// Identifies the version of a picture, for conditional requests.
#[derive(Clone, Default)]
pub(crate) struct Validators {
    etag: Option<String>,
    modified: Option<String>,
}

/// The response of a camera.
pub(crate) enum Response {
    Unchanged,
    Picture { bytes: Vec<u8>, validators: Validators },
}

/// A camera, and how it is requested.
pub(crate) struct Camera {
    client: Client,
    /// Without user and password.
    address: Address,
    redirects: Redirects,
    login: Option<SharedLogin>,
}

/// The login for these settings, if they have one.
pub(crate) fn login_of(settings: &Http) -> Option<SharedLogin> {
    settings.address.login().map(login::shared)
}

impl Camera {
    pub(crate) fn new(settings: &Http, login: Option<SharedLogin>) -> Self {
        // Redirects are followed by `follow`, which knows the camera's host.
        let options = https::options(settings.timeout)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .build();
        let client = Client::new(options, &settings.tls);
        Self { client, address: settings.address.without_login(), redirects: settings.redirects, login }
    }

    /// Requests a picture. Blocks until there is a response or the time-out.
    pub(crate) fn request(&self, validators: &Validators) -> Result<Response, HttpError> {
        let (mut from, mut response) = self.follow(validators)?;
        let can_answer = |from: &Url, response: &http::Response<Body>| {
            response.status() == StatusCode::UNAUTHORIZED
                && self.accept(from, response.headers()).is_some_and(|accepted| accepted.is_ok())
        };
        // At first, and when the nonce of the digest has expired: once, then the password is wrong.
        if can_answer(&from, &response) {
            (from, response) = self.follow(validators)?;
        }
        match response.status() {
            StatusCode::OK => self.picture(response),
            StatusCode::NOT_MODIFIED => Ok(Response::Unchanged),
            status => Err(self.refused(&from, status, response.headers())),
        }
    }

    /// Sends a request and follows redirects. Returns the address that has answered, too.
    fn follow(&self, validators: &Validators) -> Result<(Url, http::Response<Body>), HttpError> {
        let unreachable =
            |cause: &str| HttpError::Unreachable { address: self.shown(), cause: cause.to_owned() };
        let camera = Url::parse(&self.address.reveal()).map_err(|_| unreachable("the address is invalid"))?;
        let (mut url, mut text) = (camera.clone(), self.address.reveal().into_owned());
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(&camera, &url, &text, validators)?;
            let Some(location) = location(&response) else { return Ok((url, response)) };
            let next = url.join(&location).map_err(|_| unreachable("it redirects to an invalid address"))?;
            if !may_follow(&camera, &next, self.redirects) {
                let target = next.origin().ascii_serialization();
                return Err(HttpError::Redirected { address: self.shown(), target });
            }
            text = next.to_string();
            url = next;
        }
        Err(unreachable("too many redirects"))
    }

    /// Sends one request to `url`, whose text is `text`. The login is sent to the camera only.
    fn send(
        &self,
        camera: &Url,
        url: &Url,
        text: &str,
        validators: &Validators,
    ) -> Result<http::Response<Body>, HttpError> {
        let response = self.client.send(|agent| {
            let header = |text: &Option<String>| HeaderValue::from_str(text.as_ref()?).ok();
            let login = self.login.as_ref().filter(|_| may_know_login(camera, url)).map(|login| {
                let path = text.parse::<Uri>().ok().and_then(|uri| Some(uri.path_and_query()?.to_string()));
                let path = path.unwrap_or_else(|| "/".to_owned());
                lock(login).authorization(&place(url), "GET", &path)
            });
            let headers = [
                (
                    header::AUTHORIZATION,
                    login.flatten().and_then(|login| HeaderValue::from_bytes(&login).ok()),
                ),
                (header::IF_NONE_MATCH, header(&validators.etag)),
                (header::IF_MODIFIED_SINCE, header(&validators.modified)),
            ];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
            headers.fold(agent.get(text), |request, (name, value)| request.header(name, value)).call()
        });
        response.map_err(|error| self.unreachable(&error))
    }

    /// Keeps the challenge of a response from `from`; `None` if there is no login for it.
    fn accept(&self, from: &Url, headers: &HeaderMap) -> Option<Result<(), Refusal>> {
        let camera = Url::parse(&self.address.reveal()).ok()?;
        let login = self.login.as_ref().filter(|_| may_know_login(&camera, from))?;
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        Some(lock(login).accept(&place(from), challenges))
    }

    /// The address for people.
    fn shown(&self) -> String {
        self.address.to_string()
    }

    fn picture(&self, mut response: http::Response<Body>) -> Result<Response, HttpError> {
        // An MJPEG stream, which many cameras offer beside their snapshots.
        if text(response.headers(), header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/")) {
            return Err(HttpError::Endless(self.shown()));
        }
        let validators = Validators {
            etag: text(response.headers(), header::ETAG),
            modified: text(response.headers(), header::LAST_MODIFIED),
        };
        if response.body().content_length().is_some_and(|length| length > LARGEST) {
            return Err(HttpError::TooLarge(self.shown()));
        }
        match picture_bytes(response.body_mut()) {
            Ok(bytes) => Ok(Response::Picture { bytes, validators }),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(HttpError::TooLarge(self.shown())),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn refused(&self, from: &Url, status: StatusCode, headers: &HeaderMap) -> HttpError {
        let address = self.shown();
        let remedy = match status {
            StatusCode::UNAUTHORIZED if self.login.is_none() => "set `username:` and `password:`",
            StatusCode::UNAUTHORIZED => match self.accept(from, headers) {
                None => "it redirects to another host, which wants a login: write the address of that host",
                Some(Err(refusal)) => refusal.remedy(),
                Some(Ok(())) => "the user or the password is wrong",
            },
            StatusCode::FORBIDDEN => "this user may not see the picture",
            StatusCode::NOT_FOUND | StatusCode::GONE => return HttpError::Missing(address, status.as_u16()),
            _ => return HttpError::Status(address, status.as_u16()),
        };
        HttpError::Denied { address, status: status.as_u16(), remedy }
    }

    fn unreachable(&self, error: &ureq::Error) -> HttpError {
        HttpError::Unreachable { address: self.shown(), cause: https::explain(error, "camera") }
    }
}

fn place(url: &Url) -> Origin {
    Origin { origin: url.origin().ascii_serialization(), is_tls: url.scheme() == "https" }
}

/// The address that a response redirects to.
fn location(response: &http::Response<Body>) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| text(response.headers(), header::LOCATION)).flatten()
}

/// Whether a redirect of `camera` to `next` is followed. On its host it may change the port, and to TLS, but not from TLS. Pure.
fn may_follow(camera: &Url, next: &Url, redirects: Redirects) -> bool {
    let is_http = matches!(next.scheme(), "http" | "https");
    let is_downgrade = camera.scheme() == "https" && next.scheme() != "https";
    is_http && (redirects == Redirects::AnyHost || camera.host() == next.host() && !is_downgrade)
}

/// Whether the login of `camera` may be sent to `url`: to the same port, or with TLS to the same host. Pure.
fn may_know_login(camera: &Url, url: &Url) -> bool {
    let is_upgrade = camera.scheme() == "http" && url.scheme() == "https";
    camera.host() == url.host() && (camera.origin() == url.origin() || is_upgrade)
}

/// The bytes of a picture. Of a page or a video only the first bytes are read, which are no picture either.
fn picture_bytes(body: &mut Body) -> Result<Vec<u8>, ureq::Error> {
    let (mut reader, mut bytes) = (body.with_config().limit(LARGEST).reader(), Vec::new());
    reader.by_ref().take(picture::HEAD as u64).read_to_end(&mut bytes)?;
    if picture::is_picture(&bytes) {
        reader.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_redirect_may_lead_and_where_the_login_may_be_sent() {
        let cases = [
            // The camera, the target, whether it is followed by default, whether the login is sent there.
            ("http://cam/a", "http://cam/b", true, true),
            ("http://cam/a", "http://CAM./b", false, false),
            ("http://cam/a", "http://cam:8080/b", true, false),
            ("http://cam/a", "https://cam/b", true, true),
            ("https://cam/a", "http://cam/b", false, false),
            ("https://cam/a", "https://cam:8443/b", true, false),
            ("http://cam/a", "http://other/b", false, false),
            ("http://cam/a", "http://cam.other/b", false, false),
            ("http://127.0.0.1/a", "http://127.0.0.2/b", false, false),
            ("http://cam/a", "http://localhost/b", false, false),
            ("http://cam/a", "http://cam@other/b", false, false),
            ("http://cam/a", "file:///etc/passwd", false, false),
            ("http://cam/a", "rtsp://cam/b", false, false),
        ];
        for (camera, next, followed, known) in cases {
            let (camera, next) = (Url::parse(camera).unwrap(), Url::parse(next).unwrap());
            assert_eq!(may_follow(&camera, &next, Redirects::SameHost), followed, "{camera} {next}");
            assert_eq!(may_know_login(&camera, &next), known, "{camera} {next}");
            let is_http = next.scheme().starts_with("http");
            assert_eq!(may_follow(&camera, &next, Redirects::AnyHost), is_http, "{camera} {next}");
        }
    }
}
