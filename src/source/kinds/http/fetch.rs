//! Sends one request to a camera and interprets the response. Addresses are shown without user and password.

use std::{
    io::Read as _,
    sync::{Mutex, PoisonError},
};

use ureq::{
    Body,
    config::RedirectAuthHeaders,
    http::{self, HeaderMap, HeaderName, HeaderValue, StatusCode, header},
};

use super::{login::Login, settings::Http};
use crate::{
    https::{self, Client},
    picture::{self, PictureError},
    source::kind::Failure,
    tls,
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
        let refused =
            matches!(error, HttpError::Denied { .. } | HttpError::Missing(..) | HttpError::Endless(_));
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
    url: String,
    /// One request at a time uses it.
    login: Option<Mutex<Login>>,
    shown: String,
}

impl Camera {
    pub(crate) fn new(settings: &Http) -> Self {
        let url = settings.address.url().to_owned();
        let options = https::options(settings.timeout)
            .max_redirects(MOST_REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .proxy(None)
            .build();
        let client = Client::new(options, &settings.tls);
        let login = settings.address.login();
        let login = login.map(|(username, password)| Mutex::new(Login::new(username, password, &url)));
        Self { client, url, login, shown: settings.address.to_string() }
    }

    /// Requests a picture. Blocks until there is a response or the time-out.
    pub(crate) fn request(&self, validators: &Validators) -> Result<Response, HttpError> {
        let mut response = self.send(validators)?;
        let can_answer = |login: &Mutex<Login>| {
            login.lock().unwrap_or_else(PoisonError::into_inner).accept_challenge(response.headers())
        };
        // At first, and when the nonce of the digest has expired: once, then the password is wrong.
        if response.status() == StatusCode::UNAUTHORIZED && self.login.as_ref().is_some_and(can_answer) {
            response = self.send(validators)?;
        }
        match response.status() {
            StatusCode::OK => self.picture(response),
            StatusCode::NOT_MODIFIED => Ok(Response::Unchanged),
            status => Err(self.refused(status, response.headers())),
        }
    }

    fn send(&self, validators: &Validators) -> Result<http::Response<Body>, HttpError> {
        let response = self.client.send(|agent| {
            let header = |text: &Option<String>| HeaderValue::from_str(text.as_ref()?).ok();
            let login = self.login.as_ref().map(|login| login.lock().unwrap_or_else(PoisonError::into_inner));
            let headers = [
                (header::AUTHORIZATION, login.and_then(|mut login| login.authorization())),
                (header::IF_NONE_MATCH, header(&validators.etag)),
                (header::IF_MODIFIED_SINCE, header(&validators.modified)),
            ];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
            headers.fold(agent.get(&self.url), |request, (name, value)| request.header(name, value)).call()
        });
        response.map_err(|error| self.unreachable(&error))
    }

    fn picture(&self, mut response: http::Response<Body>) -> Result<Response, HttpError> {
        // An MJPEG stream, which many cameras offer beside their snapshots.
        if text(response.headers(), header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/")) {
            return Err(HttpError::Endless(self.shown.clone()));
        }
        let validators = Validators {
            etag: text(response.headers(), header::ETAG),
            modified: text(response.headers(), header::LAST_MODIFIED),
        };
        if response.body().content_length().is_some_and(|length| length > LARGEST) {
            return Err(HttpError::TooLarge(self.shown.clone()));
        }
        match picture_bytes(response.body_mut()) {
            Ok(bytes) => Ok(Response::Picture { bytes, validators }),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(HttpError::TooLarge(self.shown.clone())),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> HttpError {
        let address = self.shown.clone();
        let has_challenge = headers.contains_key(header::WWW_AUTHENTICATE);
        let can_answer = || {
            let login = self.login.as_ref().map(|login| login.lock().unwrap_or_else(PoisonError::into_inner));
            login.is_some_and(|login| login.has_challenge())
        };
        let remedy = match status {
            StatusCode::UNAUTHORIZED if self.login.is_none() => "set `username:` and `password:`",
            StatusCode::UNAUTHORIZED if !has_challenge => "it does not name a method of authentication",
            StatusCode::UNAUTHORIZED if !can_answer() => {
                "it supports neither basic nor digest authentication; set the camera to one of them"
            }
            StatusCode::UNAUTHORIZED => "the user or the password is wrong",
            StatusCode::FORBIDDEN => "this user may not see the picture",
            StatusCode::NOT_FOUND | StatusCode::GONE => return HttpError::Missing(address, status.as_u16()),
            _ => return HttpError::Status(address, status.as_u16()),
        };
        HttpError::Denied { address, status: status.as_u16(), remedy }
    }

    /// The library's texts may hold an address; they are used only where they cannot.
    fn unreachable(&self, error: &ureq::Error) -> HttpError {
        let cause = match error {
            ureq::Error::Io(error) => tls::explain_io(error, "camera").unwrap_or_else(|| error.to_string()),
            ureq::Error::Timeout(_) => "no response in time".to_owned(),
            ureq::Error::HostNotFound => "there is no host of this name".to_owned(),
            ureq::Error::TooManyRedirects => "too many redirects".to_owned(),
            ureq::Error::Rustls(error) => tls::explain(error, "camera").unwrap_or_else(|| error.to_string()),
            // From our own connector: the files for TLS, or a name that no certificate can have.
            ureq::Error::Other(error) => error.to_string(),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => "the response is not HTTP".to_owned(),
            _ => "the request failed".to_owned(),
        };
        HttpError::Unreachable { address: self.shown.clone(), cause }
    }
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
