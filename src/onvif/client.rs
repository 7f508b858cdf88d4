//! Asks one camera over HTTP. Blocks; every request has a limit of time and of bytes.

use std::{io::Read as _, time::Duration};

use jiff::{SignedDuration, Timestamp};
use ureq::http::{
    HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use url::Url;
use uuid::Uuid;

use super::{
    answers::{self, Profile, Wrong},
    messages::{Request, Token},
};
use crate::{
    https,
    source::kinds::login::{self, Origin, SharedLogin, lock},
    tls::Trust,
    yaml::Secret,
};

/// The time limit of one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// The most profiles that are asked for their addresses.
const MOST_PROFILES: usize = 16;
/// The usual path of the device service.
const PATH: &str = "/onvif/device_service";

/// The user and the password of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Why a camera does not say what was asked for. Addresses are shown as host and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnvifError {
    /// The address is none.
    #[error(
        "this is no address of a camera: write for example 10.0.0.21 or http://10.0.0.21:8080/onvif/device_service"
    )]
    Address,
    /// No connection, or no answer in time.
    #[error("{camera} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        camera: String,
        /// Why, for people.
        cause: String,
    },
    /// It wants a login, and there is none.
    #[error("{0} wants a user and a password")]
    NoLogin(String),
    /// It does not accept the login.
    #[error("{0} does not accept this user and password; many cameras have users of their own for ONVIF")]
    Denied(String),
    /// It answers something else.
    #[error("{camera} does not speak ONVIF as expected: {cause}")]
    Unexpected {
        /// Host and port.
        camera: String,
        /// What was expected.
        cause: String,
    },
}

/// The profiles of the camera at `address`: a host, a host and a port, or the address of its device service. The addresses in them are
/// at the host of `address`, and have no login.
///
/// # Errors
/// The camera does not answer, wants another login, or does not speak ONVIF.
pub fn profiles(address: &str, login: Option<&Login>) -> Result<Vec<Profile>, OnvifError> {
    let device = device_service(address).ok_or(OnvifError::Address)?;
    let mut camera = Client::new(device, login);
    camera.learn_time()?;
    let device = camera.device.clone();
    let media = match camera.ask(&device, Request::Capabilities, answers::media) {
        Ok(media) => service(&media, &device).unwrap_or_else(|| device.clone()),
        // Old cameras have one address for everything.
        Err(OnvifError::Unexpected { .. }) => device.clone(),
        Err(error) => return Err(error),
    };
    let mut profiles = camera.ask(&media, Request::Profiles, answers::profiles)?;
    profiles.truncate(MOST_PROFILES);
    for profile in &mut profiles {
        let stream = camera.ask(&media, Request::Stream(&profile.token), answers::uri);
        let snapshot = camera.ask(&media, Request::Snapshot(&profile.token), answers::uri);
        profile.stream = given(stream)?.and_then(|address| at_host(&address, &device, &["rtsp", "rtsps"]));
        profile.snapshot =
            given(snapshot)?.and_then(|address| at_host(&address, &device, &["http", "https"]));
    }
    Ok(profiles)
}

/// What a camera said; `None` if it does not have that.
fn given(answer: Result<String, OnvifError>) -> Result<Option<String>, OnvifError> {
    match answer {
        Ok(address) => Ok(Some(address)),
        Err(OnvifError::Unexpected { .. } | OnvifError::Denied(_) | OnvifError::NoLogin(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The address of the device service. Pure.
fn device_service(typed: &str) -> Option<Url> {
    let typed = typed.trim();
    let with_scheme = if typed.contains("://") { typed.to_owned() } else { format!("http://{typed}") };
    let mut url = Url::parse(&with_scheme).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if url.path() == "/" {
        url.set_path(PATH);
    }
    // A login is given apart, and not to every service.
    (is_web && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// The address of a service of the camera at `device`. Behind a router a camera reports an address that only its own network knows: then
/// host and port are those of the device service. So a login is never sent elsewhere. Pure.
fn service(reported: &str, device: &Url) -> Option<Url> {
    let mut url = Url::parse(reported).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if url.host() != device.host() || device.scheme() == "https" && url.scheme() != "https" {
        let mut here = device.clone();
        here.set_path(url.path());
        here.set_query(url.query());
        url = here;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

/// An address of a stream or of pictures, at the host of `device`, without a login. Pure.
fn at_host(reported: &str, device: &Url, schemes: &[&str]) -> Option<String> {
    let mut url = Url::parse(reported).ok().filter(|url| schemes.contains(&url.scheme()))?;
    if url.host_str() != device.host_str() {
        url.set_host(device.host_str()).ok()?;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url.to_string())
}

/// The camera, as it is asked.
struct Client {
    http: https::Client,
    device: Url,
    login: Option<Login>,
    /// For cameras that want the login in HTTP.
    in_http: Option<SharedLogin>,
    /// By how much the camera's clock is ahead of the clock of this machine.
    ahead: SignedDuration,
}

impl Client {
    fn new(device: Url, login: Option<&Login>) -> Self {
        // A camera is on the local network: no proxy, and no redirects, which could lead elsewhere.
        let options =
            https::options(PATIENCE).max_redirects(0).max_redirects_will_error(false).proxy(None).build();
        Self {
            http: https::Client::new(options, &Trust::System),
            device,
            login: login.cloned(),
            in_http: login.map(|login| login::shared((&login.username, login.password.reveal()))),
            ahead: SignedDuration::ZERO,
        }
    }

    /// Learns the time of the camera. Cameras accept a digest only within some seconds of their own clock, which may be wrong.
    fn learn_time(&mut self) -> Result<(), OnvifError> {
        match self.ask_as(None, &self.device.clone(), Request::Time, answers::time) {
            Ok(time) => self.ahead = time.duration_since(Timestamp::now()),
            Err(error @ OnvifError::Unreachable { .. }) => return Err(error),
            // It has no such request: its clock may be right.
            Err(_) => {}
        }
        Ok(())
    }

    /// Asks with the login, if there is one.
    fn ask<T>(
        &self,
        to: &Url,
        request: Request<'_>,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<T, OnvifError> {
        self.ask_as(self.login.as_ref(), to, request, read)
    }

    fn ask_as<T>(
        &self,
        login: Option<&Login>,
        to: &Url,
        request: Request<'_>,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<T, OnvifError> {
        let token = login.map(|login| {
            let created = Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::UNIX_EPOCH);
            Token::new(&login.username, login.password.reveal(), Uuid::now_v7().into_bytes(), created)
        });
        let message = request.envelope(token.as_ref());
        let (status, text) = self.send(to, &message, &request.action())?;
        let camera = || shown(to);
        let denied = || match self.login {
            Some(_) => OnvifError::Denied(camera()),
            None => OnvifError::NoLogin(camera()),
        };
        match read(&text) {
            Ok(answer) => Ok(answer),
            Err(Wrong::Login) => Err(denied()),
            Err(_) if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(denied()),
            Err(Wrong::NotXml(_)) if !status.is_success() => {
                Err(OnvifError::Unexpected { camera: camera(), cause: format!("it answers {status}") })
            }
            Err(wrong) => Err(OnvifError::Unexpected { camera: camera(), cause: wrong.to_string() }),
        }
    }

    /// Sends a message, and once more with the login in HTTP if the camera wants it there. Returns the status and the text.
    fn send(&self, to: &Url, message: &str, action: &str) -> Result<(StatusCode, String), OnvifError> {
        let kind = format!("application/soap+xml; charset=utf-8; action=\"{action}\"");
        let place = Origin { origin: to.origin().ascii_serialization(), is_tls: to.scheme() == "https" };
        let path = &to[url::Position::BeforePath..url::Position::AfterQuery];
        let post = || {
            let sent = self.http.send(|agent| {
                let authorization =
                    self.in_http.as_ref().and_then(|login| lock(login).authorization(&place, "POST", path));
                let authorization = authorization.and_then(|value| HeaderValue::from_bytes(&value).ok());
                let request = agent.post(to.as_str()).header(CONTENT_TYPE, &kind);
                let request = match authorization {
                    Some(value) => request.header(AUTHORIZATION, value),
                    None => request,
                };
                request.send(message)
            });
            sent.map_err(|error| unreachable(to, &error))
        };
        let mut response = post()?;
        if response.status() == StatusCode::UNAUTHORIZED && self.accepts(&place, &response) {
            response = post()?;
        }
        let status = response.status();
        let mut bytes = Vec::new();
        let body = response.body_mut().with_config().limit(LARGEST).reader().read_to_end(&mut bytes);
        body.map_err(|error| unreachable(to, &ureq::Error::Io(error)))?;
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether the camera's challenge can be answered: with a digest. Whatever answers a search must not get the password itself.
    fn accepts(&self, place: &Origin, response: &Response<ureq::Body>) -> bool {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        let challenges = challenges.filter(|challenge| is_only_digest(challenge));
        self.in_http.as_ref().is_some_and(|login| lock(login).accept(place, challenges).is_ok())
    }
}

fn unreachable(to: &Url, error: &ureq::Error) -> OnvifError {
    OnvifError::Unreachable { camera: shown(to), cause: https::explain(error, "camera") }
}

/// Whether a challenge is for a digest, and offers no other method beside it. Pure.
fn is_only_digest(challenge: &[u8]) -> bool {
    let challenge = challenge.to_ascii_lowercase();
    challenge.starts_with(b"digest ") && !challenge.windows(6).any(|part| part == b"basic ")
}

/// Host and port, for people.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_or_a_service() {
        for (typed, expected) in [
            ("10.0.0.21", Some("http://10.0.0.21/onvif/device_service")),
            (" camera.lan:8080 ", Some("http://camera.lan:8080/onvif/device_service")),
            ("https://10.0.0.21", Some("https://10.0.0.21/onvif/device_service")),
            ("http://10.0.0.21/onvif/services", Some("http://10.0.0.21/onvif/services")),
            ("[fe80::1]", Some("http://[fe80::1]/onvif/device_service")),
            ("rtsp://10.0.0.21/", None),
            ("http://me:pw@10.0.0.21/", None),
            ("", None),
        ] {
            assert_eq!(device_service(typed).as_ref().map(Url::as_str), expected, "{typed}");
        }
    }

    #[test]
    fn a_password_is_only_sent_as_a_digest() {
        for (challenge, expected) in [
            (&b"Digest realm=\"a\", nonce=\"b\""[..], true),
            (b"DIGEST realm=\"a\"", true),
            (b"Basic realm=\"a\"", false),
            (b"Digest realm=\"a\", Basic realm=\"a\"", false),
            (b"", false),
        ] {
            assert_eq!(is_only_digest(challenge), expected);
        }
    }

    #[test]
    fn services_and_streams_stay_at_the_host_of_the_camera() {
        let device = Url::parse("http://198.51.100.7:8080/onvif/device_service").unwrap();
        for (reported, expected) in [
            ("http://198.51.100.7:8080/onvif/media", Some("http://198.51.100.7:8080/onvif/media")),
            ("http://198.51.100.7/onvif/media?a=b", Some("http://198.51.100.7/onvif/media?a=b")),
            ("http://10.0.0.21/onvif/media?a=b", Some("http://198.51.100.7:8080/onvif/media?a=b")),
            ("http://evil.example/x", Some("http://198.51.100.7:8080/x")),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(service(reported, &device).as_ref().map(Url::as_str), expected, "{reported}");
        }
        let secure = Url::parse("https://cam/onvif/device_service").unwrap();
        assert_eq!(service("http://cam/m", &secure).unwrap().as_str(), "https://cam/m");
        for (reported, expected) in [
            ("rtsp://10.0.0.21:554/s?x=1", Some("rtsp://198.51.100.7:554/s?x=1")),
            ("rtsp://me:pw@198.51.100.7/s", Some("rtsp://198.51.100.7/s")),
            ("http://198.51.100.7/s", None),
        ] {
            assert_eq!(at_host(reported, &device, &["rtsp", "rtsps"]).as_deref(), expected, "{reported}");
        }
    }
}
