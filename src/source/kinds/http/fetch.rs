//! One request to a camera, and what its answer means.
//!
//! It refuses to name anything of an address but what may be shown.

use std::sync::{Mutex, PoisonError};

use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{HeaderMap, HeaderName, Response, StatusCode, header},
};

use super::login::Login;
use crate::{config::Http, https, picture::PictureError};

const LARGEST: u64 = 32 * 1024 * 1024;
const MOST_REDIRECTS: u32 = 4;

/// Why a camera gives no picture. The address in it is the one that may be shown.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, no answer, or none that is HTTP.
    #[error("{address} cannot be reached: {cause}")]
    Unreachable {
        /// The camera.
        address: String,
        /// In words.
        cause: String,
    },
    /// The camera wants to know who asks, and does not like the answer.
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
    /// Any other answer that brings no picture.
    #[error("{0} answers {1} and no picture")]
    Status(String, u16),
    /// The picture is too large to be one.
    #[error("{0} sends more than 32 MiB, which is no single picture: give it the address of a snapshot")]
    TooLarge(String),
    /// It never ends.
    #[error("{0} sends pictures without end: use `video:` instead of `http:`")]
    Endless(String),
    /// What it sends, again and again, is no picture that can be used.
    #[error("what {0} sends is of no use: {1}")]
    NoPicture(String, PictureError),
    /// The request itself failed in a way that must not happen.
    #[error("the request ended in a panic")]
    Broken,
}

impl HttpError {
    /// Whether somebody has to put something right before it can work.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Missing(..) | Self::Endless(_))
    }
}

/// What a camera said about a picture, to ask later whether it changed.
#[derive(Clone, Default)]
pub(crate) struct Stamp {
    etag: Option<String>,
    modified: Option<String>,
}

/// What a camera answered.
pub(crate) enum Answer {
    Unchanged,
    Picture { bytes: Vec<u8>, stamp: Stamp },
}

/// Who is asked, and how.
pub(crate) struct Camera {
    agent: Agent,
    url: String,
    /// One request at a time uses it.
    login: Option<Mutex<Login>>,
    shown: String,
}

impl Camera {
    pub(crate) fn new(settings: &Http) -> Self {
        let url = settings.address.url().to_owned();
        let agent = https::options(settings.timeout)
            .max_redirects(MOST_REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .proxy(None)
            .build()
            .new_agent();
        let login = settings.address.login();
        let login = login.map(|(username, password)| Mutex::new(Login::new(username, password, &url)));
        Self { agent, url, login, shown: settings.address.to_string() }
    }

    /// Blocks until there is an answer or the time is up.
    pub(crate) fn ask(&self, stamp: &Stamp) -> Result<Answer, HttpError> {
        let mut response = self.request(stamp)?;
        let asked = |login: &Mutex<Login>| {
            login.lock().unwrap_or_else(PoisonError::into_inner).hears(response.headers())
        };
        // The first time, and when what it gave us for the digest is too old for it: once, then the password is wrong.
        if response.status() == StatusCode::UNAUTHORIZED && self.login.as_ref().is_some_and(asked) {
            response = self.request(stamp)?;
        }
        match response.status() {
            StatusCode::OK => self.picture(response),
            StatusCode::NOT_MODIFIED => Ok(Answer::Unchanged),
            status => Err(self.refused(status, response.headers())),
        }
    }

    fn request(&self, stamp: &Stamp) -> Result<Response<Body>, HttpError> {
        let login = self.login.as_ref().map(|login| login.lock().unwrap_or_else(PoisonError::into_inner));
        let headers = [
            (header::AUTHORIZATION, &login.and_then(|mut login| login.authorization())),
            (header::IF_NONE_MATCH, &stamp.etag),
            (header::IF_MODIFIED_SINCE, &stamp.modified),
        ];
        let mut request = self.agent.get(&self.url);
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.call().map_err(|error| self.unreachable(&error))
    }

    fn picture(&self, mut response: Response<Body>) -> Result<Answer, HttpError> {
        // An MJPEG stream, which many cameras have beside their snapshots.
        if text(response.headers(), header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/")) {
            return Err(HttpError::Endless(self.shown.clone()));
        }
        let stamp = Stamp {
            etag: text(response.headers(), header::ETAG),
            modified: text(response.headers(), header::LAST_MODIFIED),
        };
        match response.body_mut().with_config().limit(LARGEST).read_to_vec() {
            Ok(bytes) => Ok(Answer::Picture { bytes, stamp }),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(HttpError::TooLarge(self.shown.clone())),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> HttpError {
        let address = self.shown.clone();
        let asks = headers.contains_key(header::WWW_AUTHENTICATE);
        let answered = || {
            let login = self.login.as_ref().map(|login| login.lock().unwrap_or_else(PoisonError::into_inner));
            login.and_then(|mut login| login.authorization()).is_some()
        };
        let remedy = match status {
            StatusCode::UNAUTHORIZED if self.login.is_none() => "give it a `username:` and a `password:`",
            StatusCode::UNAUTHORIZED if !asks => "it does not say how it wants to hear user and password",
            StatusCode::UNAUTHORIZED if !answered() => {
                "it wants neither basic nor digest authentication; set the camera to one of them"
            }
            StatusCode::UNAUTHORIZED => "the user or the password is wrong",
            StatusCode::FORBIDDEN => "this user may not see the picture",
            StatusCode::NOT_FOUND | StatusCode::GONE => return HttpError::Missing(address, status.as_u16()),
            _ => return HttpError::Status(address, status.as_u16()),
        };
        HttpError::Denied { address, status: status.as_u16(), remedy }
    }

    /// The library's own words may hold an address, so they are only passed on where they cannot.
    fn unreachable(&self, error: &ureq::Error) -> HttpError {
        let cause = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::HostNotFound => "there is no host of this name".to_owned(),
            ureq::Error::TooManyRedirects => "it leads on and on to other addresses".to_owned(),
            ureq::Error::Rustls(error) => format!("TLS: {error}"),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => "what it says is not HTTP".to_owned(),
            _ => "the request failed".to_owned(),
        };
        HttpError::Unreachable { address: self.shown.clone(), cause }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
