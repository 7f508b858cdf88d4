//! What is changed in an RTSP connection between FFmpeg and a camera. Pure.
//!
//! FFmpeg's requests name the camera instead of this end, and have the login if the camera has asked for it. A refusal that can be
//! answered does not reach FFmpeg: its request is sent once more. Media between the messages is passed on as it is.

// Only the types of addresses: `std::net` has connections, too.
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use url::Url;

use super::{
    camera::{Camera, Failure},
    message::{Head, LONGEST_HEAD},
};
use crate::source::kinds::camera::Redirects;

/// The requests that may wait for a response: FFmpeg sends one after another, and keeps the connection alive meanwhile.
const MOST_UNANSWERED: usize = 16;
/// A longer first line is none.
const LONGEST_LINE: usize = 4096;
/// A longer body is passed on as it arrives. Descriptions of streams are much shorter.
const LONGEST_BODY: usize = 1 << 20;

/// The state of a connection.
pub(super) struct Session<'c> {
    camera: &'c Camera,
    secret_name: &'c str,
    /// This end, as FFmpeg names it in its requests.
    near: String,
    near_address: SocketAddr,
    /// The camera's address, for media over UDP.
    address: IpAddr,
    /// The first request had the secret name.
    is_ffmpeg: bool,
    from_near: Vec<u8>,
    from_far: Vec<u8>,
    unanswered: VecDeque<Pending>,
    /// How many more requests the camera has received than FFmpeg has sent.
    repeated: u32,
    failure: Option<Failure>,
    is_over: bool,
}

/// What is to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) near: Vec<u8>,
    pub(super) far: Vec<u8>,
}

/// The connection is not FFmpeg's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stranger;

/// A request that the camera has not answered.
struct Pending {
    head: Head,
    body: Vec<u8>,
    /// Its number for FFmpeg, and for the camera.
    number: u32,
    sent: u32,
    is_repeated: bool,
}

/// The next part of what has arrived.
enum Piece {
    /// Media, or what is no message: this number of bytes.
    Bytes(usize),
    /// A message with its body: its head, and the lengths of both.
    Message(Head, usize, usize),
}

impl<'c> Session<'c> {
    /// A connection of FFmpeg to `near`.
    pub(super) fn new(
        camera: &'c Camera,
        secret_name: &'c str,
        near_address: SocketAddr,
        address: IpAddr,
    ) -> Self {
        Self {
            camera,
            secret_name,
            near: format!("rtsp://{near_address}"),
            near_address,
            address: address.to_canonical(),
            is_ffmpeg: false,
            from_near: vec![],
            from_far: vec![],
            unanswered: VecDeque::new(),
            repeated: 0,
            failure: None,
            is_over: false,
        }
    }

    /// Why FFmpeg will see a failure, if this is not in the camera's response.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Whether the connection is to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes what FFmpeg has sent.
    pub(super) fn take_near(&mut self, bytes: &[u8], out: &mut Out) -> Result<(), Stranger> {
        let mut buffer = std::mem::take(&mut self.from_near);
        buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(part) = next(&buffer[at..]) {
            match part {
                Piece::Bytes(_) if !self.is_ffmpeg => return Err(Stranger),
                Piece::Bytes(length) => {
                    out.far.extend_from_slice(&buffer[at..at + length]);
                    at += length;
                }
                Piece::Message(head, length, body) => {
                    let rest = at + length..at + length + body;
                    at = rest.end;
                    self.is_ffmpeg |= head.get("User-Agent") == Some(self.secret_name);
                    if !self.is_ffmpeg {
                        return Err(Stranger);
                    }
                    self.request(head, &buffer[rest], out);
                }
            }
        }
        buffer.drain(..at);
        self.from_near = buffer;
        Ok(())
    }

    /// Sends a request of FFmpeg to the camera.
    fn request(&mut self, mut head: Head, body: &[u8], out: &mut Out) {
        if head.first_line.starts_with("RTSP/") {
            // The response to a request of the camera.
            out.far.extend([head.bytes(None), body.to_vec()].concat());
            return;
        }
        let camera = format!("{}://{}", self.camera.scheme, self.camera.authority);
        head.first_line = head.first_line.replacen(&self.near, &camera, 1);
        head.set("User-Agent", concat!("stakeout/", env!("CARGO_PKG_VERSION")));
        head.remove("Authorization");
        let number = head.get("CSeq").and_then(|number| number.parse().ok()).unwrap_or(0);
        let sent = number + self.repeated;
        let mut pending = Pending { head, body: body.to_vec(), number, sent, is_repeated: false };
        self.send(&mut pending, out);
        if self.unanswered.len() >= MOST_UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(pending);
    }

    fn send(&self, pending: &mut Pending, out: &mut Out) {
        pending.head.set("CSeq", &pending.sent.to_string());
        let mut words = pending.head.first_line.split(' ');
        let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let authorization = self.camera.authorization(method, uri);
        out.far.extend(pending.head.bytes(authorization.as_deref()));
        out.far.extend_from_slice(&pending.body);
    }

    /// Takes what the camera has sent.
    pub(super) fn take_far(&mut self, bytes: &[u8], out: &mut Out) {
        let mut buffer = std::mem::take(&mut self.from_far);
        buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(part) = next(&buffer[at..]) {
            match part {
                Piece::Bytes(length) => {
                    out.near.extend_from_slice(&buffer[at..at + length]);
                    at += length;
                }
                Piece::Message(head, length, body) => {
                    let rest = at + length..at + length + body;
                    at = rest.end;
                    self.response(head, &buffer[rest], out);
                }
            }
        }
        buffer.drain(..at);
        self.from_far = buffer;
    }

    /// Passes a response on to FFmpeg, unless the request is sent once more.
    fn response(&mut self, mut head: Head, body: &[u8], out: &mut Out) {
        // Cameras send requests, too.
        if head.first_line.starts_with("RTSP/") {
            let pending = self.answered(head.get("CSeq"));
            let status = head.status();
            if status == 401 && self.answers(&head, pending.as_ref()) {
                if let Some(mut pending) = pending {
                    self.repeated += 1;
                    pending.sent = pending.number + self.repeated;
                    pending.is_repeated = true;
                    self.send(&mut pending, out);
                    self.unanswered.push_back(pending);
                }
                return;
            }
            if matches!(status, 300..=399)
                && let Some(location) = head.get("Location")
            {
                match redirect(location, self.camera, self.near_address) {
                    Ok(location) => head.set("Location", &location),
                    Err(target) => {
                        self.failure = Some(Failure::Redirected(target));
                        self.is_over = true;
                        return;
                    }
                }
            }
            if let Some(pending) = pending {
                head.set("CSeq", &pending.number.to_string());
            }
            if let Some(transport) = head.get("Transport").and_then(|text| with_source(text, self.address)) {
                head.set("Transport", &transport);
            }
        }
        out.near.extend(head.bytes(None));
        out.near.extend_from_slice(body);
    }

    /// The request that a response belongs to. Some cameras leave its number out.
    fn answered(&mut self, number: Option<&str>) -> Option<Pending> {
        let number: Option<u32> = number.and_then(|number| number.trim().parse().ok());
        let at = self.unanswered.iter().position(|pending| Some(pending.sent) == number).unwrap_or(0);
        self.unanswered.remove(at)
    }

    /// Whether a refusal is answered with the login.
    fn answers(&mut self, head: &Head, pending: Option<&Pending>) -> bool {
        match self.camera.accept(head.all("WWW-Authenticate")) {
            None => false,
            Some(Ok(())) => pending.is_some_and(|pending| !pending.is_repeated),
            Some(Err(refusal)) => {
                self.failure = Some(Failure::Login(refusal));
                false
            }
        }
    }
}

/// The next part; `None` if more must arrive.
fn next(bytes: &[u8]) -> Option<Piece> {
    let first = bytes.first()?;
    if *first == b'$' {
        let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])) + 4;
        return (bytes.len() >= length).then_some(Piece::Bytes(length));
    }
    if !first.is_ascii_uppercase() {
        let is_start = |byte: &u8| *byte == b'$' || byte.is_ascii_uppercase();
        return Some(Piece::Bytes(bytes.iter().position(is_start).unwrap_or(bytes.len())));
    }
    let line = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n');
    let start = &bytes[..line.unwrap_or(bytes.len().min(LONGEST_LINE))];
    let is_text = start.iter().all(|byte| matches!(byte, b'\r' | b'\t' | b' '..=b'~'));
    if !is_text || line.is_none() && bytes.len() >= LONGEST_LINE {
        // A letter between two packets.
        let packet = start[1..].iter().position(|byte| *byte == b'$').map(|at| at + 1);
        return Some(Piece::Bytes(packet.unwrap_or(start.len())));
    }
    match Head::parse(bytes) {
        Some((head, length)) if head.first_line.contains("RTSP/") => match head.body_length() {
            body if body > LONGEST_BODY => Some(Piece::Bytes(length)),
            body if bytes.len() - length >= body => Some(Piece::Message(head, length, body)),
            _ => None,
        },
        Some((_, length)) => Some(Piece::Bytes(length)),
        None if bytes.len() >= LONGEST_HEAD => Some(Piece::Bytes(LONGEST_HEAD)),
        None => None,
    }
}

/// The address that FFmpeg is redirected to instead of `location`; an error is the place that is not followed.
fn redirect(location: &str, camera: &Camera, near: SocketAddr) -> Result<String, String> {
    let target = Url::parse(location).map_err(|_| "an invalid address".to_owned())?;
    let usual = |scheme: &str| match scheme {
        "rtsp" => Some(554),
        "rtsps" => Some(322),
        _ => None,
    };
    let port = target.port().or_else(|| usual(target.scheme()));
    let host = target.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if target.scheme() == camera.scheme && host == camera.host && port == Some(camera.port) {
        let query = target.query().map_or(String::new(), |query| format!("?{query}"));
        return Ok(format!("rtsp://{near}{}{query}", target.path()));
    }
    if camera.redirects == Redirects::AnyHost && usual(target.scheme()).is_some() {
        return Ok(location.to_owned());
    }
    let port = target.port().map_or(String::new(), |port| format!(":{port}"));
    Err(format!("{}://{}{port}", target.scheme(), target.host_str().unwrap_or_default()))
}

/// The header `Transport` of a camera that sends over UDP, with the camera's address: FFmpeg would send its reports to this end.
fn with_source(transport: &str, address: IpAddr) -> Option<String> {
    let is_udp = transport.contains("client_port") && !transport.contains("source=");
    is_udp.then(|| format!("{transport};source={address}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::kinds::stream::relay::camera::sample as camera;

    fn session(camera: &Camera) -> Session<'_> {
        Session::new(camera, "x", "127.0.0.1:5".parse().unwrap(), "10.0.0.21".parse().unwrap())
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// What FFmpeg sends.
    fn request(method: &str, number: u32) -> Vec<u8> {
        format!("{method} rtsp://127.0.0.1:5/a?b RTSP/1.0\r\nCSeq: {number}\r\nUser-Agent: x\r\n\r\n")
            .into_bytes()
    }

    #[test]
    fn a_request_reaches_the_camera_and_a_refusal_is_answered_here() {
        let camera = camera("rtsp", "cam:8554", Redirects::SameHost);
        let (mut session, mut out) = (session(&camera), Out::default());
        session.take_near(&request("DESCRIBE", 2), &mut out).unwrap();
        let sent = text(&std::mem::take(&mut out.far));
        assert!(sent.starts_with("DESCRIBE rtsp://cam:8554/a?b RTSP/1.0\r\nCSeq: 2\r\n"), "{sent}");
        assert!(!sent.contains("Authorization") && !sent.contains("User-Agent: x"), "{sent}");

        let refusal = "RTSP/1.0 401 No\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm=r, nonce=n\r\nContent-Length: 2\r\n\r\nno";
        session.take_far(refusal.as_bytes(), &mut out);
        let again = text(&std::mem::take(&mut out.far));
        assert!(again.contains("CSeq: 3\r\n") && again.contains("uri=\"rtsp://cam:8554/a?b\""), "{again}");
        assert_eq!(out, Out::default(), "FFmpeg does not know of it");
        let media = b"$\0\0\x03abc";
        session.take_far(
            &[&media[..], b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 4\r\n\r\nv=0\n", media].concat(),
            &mut out,
        );
        let expected =
            [&media[..], b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\nv=0\n", media].concat();
        assert_eq!(text(&out.near), text(&expected));

        let mut out = Out::default();
        session.take_near(&request("PLAY", 3), &mut out).unwrap();
        let play = text(&out.far);
        assert!(
            play.contains("CSeq: 4\r\n") && play.contains("Authorization: Digest username=\"me\""),
            "{play}"
        );
        // A wrong password is reported.
        let mut out = Out::default();
        session.take_far(refusal.replace("CSeq: 2", "CSeq: 4").as_bytes(), &mut out);
        let again = Out { far: std::mem::take(&mut out.far), near: vec![] };
        assert!(text(&again.far).contains("CSeq: 5") && out.near.is_empty());
        session.take_far(refusal.replace("CSeq: 2", "CSeq: 5").as_bytes(), &mut out);
        assert!(
            out.far.is_empty() && text(&out.near).starts_with("RTSP/1.0 401 No\r\nCSeq: 3\r\n"),
            "{}",
            text(&out.near)
        );
    }

    #[test]
    fn a_camera_that_asked_for_digest_never_receives_the_password() {
        let camera = camera("rtsp", "cam", Redirects::SameHost);
        let refusal =
            |challenge: &str| format!("RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: {challenge}\r\n\r\n");
        for (number, challenge) in
            ["Digest realm=r, nonce=n", "Basic realm=r", "Basic"].into_iter().enumerate()
        {
            // Each time a new connection.
            let (mut session, mut out) = (session(&camera), Out::default());
            session.take_near(&request("DESCRIBE", 1), &mut out).unwrap();
            session.take_far(refusal(challenge).as_bytes(), &mut out);
            let sent = text(&out.far);
            assert!(!sent.contains("Basic"), "{sent}");
            let failure = session.take_failure();
            assert_eq!(matches!(failure, Some(Failure::Login(_))), number > 0, "{challenge}");
            assert_eq!(text(&out.near).contains("401"), number > 0, "{challenge}");
        }
    }

    #[test]
    fn strangers_are_turned_away() {
        let camera = camera("rtsp", "cam", Redirects::SameHost);
        for strange in [
            &b"DESCRIBE rtsp://127.0.0.1:5/ RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: y\r\n\r\n"[..],
            b"$\0\0\x01a",
            b"\r\n",
        ] {
            let (mut session, mut out) = (session(&camera), Out::default());
            assert_eq!(session.take_near(strange, &mut out), Err(Stranger));
            assert_eq!(out, Out::default());
        }
    }

    #[test]
    fn redirects_stay_at_the_camera() {
        let cases = [
            ("rtsp://cam:8554/b?c", Some("rtsp://127.0.0.1:5/b?c")),
            ("rtsp://cam/b", None),
            ("rtsp://other:8554/b", None),
            ("rtsps://cam:8554/b", None),
            ("http://cam:8554/b", None),
            ("file:///etc/passwd", None),
            ("b", None),
        ];
        for (location, expected) in cases {
            let near = "127.0.0.1:5".parse().unwrap();
            let camera = camera("rtsp", "cam:8554", Redirects::SameHost);
            assert_eq!(redirect(location, &camera, near).ok().as_deref(), expected, "{location}");
            let (mut session, mut out) = (session(&camera), Out::default());
            let response = format!("RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: {location}\r\n\r\n");
            session.take_far(response.as_bytes(), &mut out);
            assert_eq!(session.is_over(), expected.is_none(), "{location}");
            assert_eq!(out.near.is_empty(), expected.is_none(), "{location}");
        }
        let anywhere = camera("rtsp", "cam:8554", Redirects::AnyHost);
        assert!(redirect("rtsp://other/b", &anywhere, "127.0.0.1:5".parse().unwrap()).is_ok());
        assert!(redirect("http://other/b", &anywhere, "127.0.0.1:5".parse().unwrap()).is_err());
    }

    #[test]
    fn media_over_udp_comes_from_the_camera() {
        let address = "10.0.0.21".parse().unwrap();
        let udp = "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001";
        assert_eq!(with_source(udp, address), Some(format!("{udp};source=10.0.0.21")));
        assert_eq!(with_source(&format!("{udp};source=10.0.0.9"), address), None);
        assert_eq!(with_source("RTP/AVP/TCP;unicast;interleaved=0-1", address), None);
    }

    proptest! {
        /// However the bytes are cut into pieces, the same arrives, and all of it.
        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec(1..200_usize, 1..40), junk in "[a-z\r\n$]{0,20}") {
            let camera = camera("rtsp", "cam", Redirects::SameHost);
            let media = [b"$\0\x01\x02", &[b'R'; 258][..]].concat();
            let answer = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc".to_vec();
            let junk = junk.replace('$', "");
            let stream = [&media[..], &answer, &media, junk.as_bytes(), &media, &answer, &media].concat();
            let (mut session, mut out, mut at) = (session(&camera), Out::default(), 0);
            for piece in pieces.iter().cycle() {
                let end = (at + piece).min(stream.len());
                session.take_far(&stream[at..end], &mut out);
                at = end;
                if at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(text(&out.near), text(&stream));
        }
    }
}
