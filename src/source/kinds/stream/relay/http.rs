//! What is changed in a request of FFmpeg over HTTP and in the response of the camera. Pure.
//!
//! A request names the camera as its host, and has the login if the camera has asked for it. A redirect stays at this end of the
//! relay, or ends the connection.

// Only the types of addresses: `std::net` has connections, too.
use core::net::SocketAddr;

use url::{ParseError, Url};

use super::{
    camera::Camera,
    message::{Head, LONGEST_HEAD},
};
use crate::source::kinds::camera::Redirects;

/// A request of FFmpeg.
pub(super) struct Request(Head);

/// The connection is not FFmpeg's, or no HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// The response of a camera.
pub(super) struct Response {
    head: Head,
    /// What has arrived of the body.
    body: Vec<u8>,
}

/// A redirect to this place, which is not followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirect(pub(super) String);

impl Request {
    /// The request in `bytes`; `None` if its end is missing. No head ends within the first `searched` bytes.
    pub(super) fn parse(bytes: &[u8], searched: usize, secret_name: &str) -> Result<Option<Self>, Invalid> {
        match Head::parse_from(bytes, searched) {
            Some((head, _)) if head.get("User-Agent") == Some(secret_name) => Ok(Some(Self(head))),
            Some(_) => Err(Invalid),
            None if bytes.len() >= LONGEST_HEAD => Err(Invalid),
            None => Ok(None),
        }
    }

    /// The request as the camera receives it.
    pub(super) fn for_camera(&self, camera: &Camera) -> Vec<u8> {
        let mut head = self.0.clone();
        head.set("Host", host(camera));
        head.set("User-Agent", concat!("stakeout/", env!("CARGO_PKG_VERSION")));
        // One request on each connection: only the head of the first response is read here.
        head.set("Connection", "close");
        head.remove("Authorization");
        let mut words = head.first_line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let authorization = camera.authorization(method, path);
        head.bytes(authorization.as_deref())
    }
}

/// The host as the camera knows it, without the usual port.
fn host(camera: &Camera) -> &str {
    let usual = if camera.is_tls { ":443" } else { ":80" };
    camera.authority.strip_suffix(usual).unwrap_or(&camera.authority)
}

impl Response {
    /// The response in `bytes`; `None` if the end of its head is missing. No head ends within the first `searched` bytes. A head that is
    /// too long becomes a failure of this end.
    pub(super) fn parse(bytes: &[u8], searched: usize) -> Option<Self> {
        match Head::parse_from(bytes, searched) {
            Some((head, length)) => Some(Self { head, body: bytes[length..].to_vec() }),
            None if bytes.len() >= LONGEST_HEAD => {
                let head = Head { first_line: "HTTP/1.1 502 Bad Gateway".to_owned(), headers: vec![] };
                Some(Self { head, body: vec![] })
            }
            None => None,
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(super) fn challenges(&self) -> impl Iterator<Item = &str> {
        self.head.all("WWW-Authenticate")
    }

    /// The response as FFmpeg receives it from `near`.
    pub(super) fn for_ffmpeg(mut self, camera: &Camera, near: SocketAddr) -> Result<Vec<u8>, Redirect> {
        self.head.normalize_status();
        let location = self.head.take_location();
        if matches!(self.status(), 300..=399)
            && let Some(location) = location
        {
            self.head.set("Location", &redirect(&location, camera, near)?);
        }
        // FFmpeg must not take the rest of the connection for the response to another request.
        self.head.set("Connection", "close");
        Ok([self.head.bytes(None), self.body].concat())
    }
}

/// The address that FFmpeg is redirected to instead of `location`.
fn redirect(location: &str, camera: &Camera, near: SocketAddr) -> Result<String, Redirect> {
    let origin = format!("{}://{}/", camera.scheme, camera.authority);
    let invalid = || Redirect("an invalid address".to_owned());
    // FFmpeg resolves it at this end.
    if Url::parse(location) == Err(ParseError::RelativeUrlWithoutBase) && !location.starts_with("//") {
        return Ok(location.to_owned());
    }
    let camera_url = Url::parse(&origin).map_err(|_| invalid())?;
    let target = camera_url.join(location).map_err(|_| invalid())?;
    if target.origin() == camera_url.origin() {
        let query = target.query().map_or(String::new(), |query| format!("?{query}"));
        return Ok(format!("http://{near}{}{query}", target.path()));
    }
    let is_http = matches!(target.scheme(), "http" | "https");
    if camera.redirects == Redirects::AnyHost && is_http {
        return Ok(target.into());
    }
    Err(Redirect(target.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kinds::stream::relay::camera::sample as camera;

    const NEAR: &str = "127.0.0.1:5";

    #[test]
    fn requests_name_the_camera_as_their_host_and_have_the_login_that_it_asked_for() {
        for (authority, scheme, expected) in [
            ("cam.lan", "https", "cam.lan"),
            ("cam.lan:443", "https", "cam.lan"),
            ("cam.lan:8443", "https", "cam.lan:8443"),
            ("[fd00::1]:8443", "https", "[fd00::1]:8443"),
            ("cam.lan:80", "http", "cam.lan"),
        ] {
            let camera = camera(scheme, authority, Redirects::SameHost);
            let sent = format!(
                "GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nHost: {NEAR}\r\nConnection: keep-alive\r\n\r\n"
            );
            let request = Request::parse(sent.as_bytes(), 0, "x").unwrap().unwrap();
            let plain = String::from_utf8(request.for_camera(&camera)).unwrap();
            assert!(plain.contains(&format!("\r\nHost: {expected}\r\n")), "{plain}");
            assert!(plain.contains("Connection: close") && !plain.contains("Authorization"), "{plain}");
            let response =
                Response::parse(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=r, nonce=n\r\n\r\n", 0)
                    .unwrap();
            assert_eq!(camera.accept(response.challenges()), Some(Ok(())));
            let with_login = String::from_utf8(request.for_camera(&camera)).unwrap();
            assert!(
                with_login.contains("Authorization: Digest username=\"me\"")
                    && with_login.contains("uri=\"/a?b\"")
            );
        }
        let other = b"GET / HTTP/1.1\r\nUser-Agent: curl\r\n\r\n";
        assert!(Request::parse(other, 0, "x").is_err(), "another program of this machine");
        assert!(Request::parse(b"GET / HTTP/1.1\r\n", 0, "x").is_ok_and(|request| request.is_none()));
    }

    #[test]
    fn redirects_stay_at_the_relay() {
        let cases = [
            // The target, where FFmpeg goes by default, and where with `any_host`.
            ("/b?c", Some("/b?c"), "/b?c"),
            ("b", Some("b"), "b"),
            ("http://cam:8080/b?c", Some("http://127.0.0.1:5/b?c"), "http://127.0.0.1:5/b?c"),
            ("//cam:8080/b", Some("http://127.0.0.1:5/b"), "http://127.0.0.1:5/b"),
            ("http://cam/b", None, "http://cam/b"),
            ("http://other:8080/b", None, "http://other:8080/b"),
            ("//other/b", None, "http://other/b"),
            ("https://cam:8080/b", None, "https://cam:8080/b"),
        ];
        let near = NEAR.parse().unwrap();
        for (location, expected, anywhere) in cases {
            let at = |redirects| redirect(location, &camera("http", "cam:8080", redirects), near);
            assert_eq!(at(Redirects::SameHost).ok().as_deref(), expected, "{location}");
            assert_eq!(at(Redirects::AnyHost).as_deref(), Ok(anywhere), "{location}");
        }
        for location in ["file:///etc/passwd", "data:text/plain,a", "rtsp://cam/"] {
            let at = |redirects| redirect(location, &camera("http", "cam", redirects), near);
            assert!(at(Redirects::SameHost).is_err() && at(Redirects::AnyHost).is_err(), "{location}");
        }
        let response =
            Response::parse(b"HTTP/1.1 302 Found\r\nLocation: http://cam/b\r\n\r\nrest", 0).unwrap();
        let response = response.for_ffmpeg(&camera("http", "cam", Redirects::SameHost), near).unwrap();
        let expected =
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:5/b\r\nConnection: close\r\n\r\nrest";
        assert_eq!(response, expected);
    }

    #[test]
    fn ffmpeg_finds_no_redirect_that_was_not_checked() {
        let near = NEAR.parse().unwrap();
        for head in [
            "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: http://other/",
            "HTTP/1.1  302 Found\r\nLocation: http://other/",
            "HTTP/1.1\t302 Found\r\nlocation: http://other/",
            "HTTP/1.1 302x Found\r\nLocation: http://other/",
            "HTTP/1.1 302 F\u{e9}\u{7}\r\nLoca\rtion: http://other/",
            "HTTP/1.1 302 Found\r\n\u{1}Location\t: http://other/",
            "HTTP/1.1 302 Found\r\nLocation: /\t/other/",
            "HTTP/1.1 200 OK\r\nLocation: http://other/",
        ] {
            let response = Response::parse(format!("{head}\r\n\r\n").as_bytes(), 0).unwrap();
            if let Ok(response) = response.for_ffmpeg(&camera("http", "cam", Redirects::SameHost), near) {
                let response = String::from_utf8(response).unwrap();
                assert!(!response.contains("//other"), "{head:?}: {response:?}");
            }
        }
    }
}
