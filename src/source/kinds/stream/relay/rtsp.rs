//! What is changed in an RTSP connection between FFmpeg and a camera. Pure.
//!
//! FFmpeg's requests name the camera instead of this end, and have the login if the camera has asked for it. A refusal that can be
//! answered does not reach FFmpeg: its request is sent once more. Packets of media between the messages are passed on as they are.
//! Everything else that a camera sends is dropped: FFmpeg could find a redirect in it.

// Only the types of addresses: `std::net` has connections, too.
use core::net::{IpAddr, SocketAddr};
use std::{collections::VecDeque, ops::Range};

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
/// A longer body is no part of a message. Descriptions of streams are much shorter.
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
    from_near: Arriving,
    from_far: Arriving,
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

/// What has arrived from one end, and is not taken yet.
#[derive(Default)]
struct Arriving {
    bytes: Vec<u8>,
    /// Everything before it is taken.
    at: usize,
    /// The next part has at least this number of bytes.
    least: usize,
    /// No head ends within this number of bytes of the next part.
    searched: usize,
}

/// The next part of what has arrived.
enum Piece {
    /// A packet of media.
    Packet(Range<usize>),
    /// What is neither a message nor media.
    Junk,
    /// A message: its head, and the place of its body.
    Message(Head, Range<usize>),
}

/// What the bytes that have arrived start with.
enum Start {
    /// A packet of media with this number of bytes.
    Packet(usize),
    /// This number of bytes that are neither a message nor media.
    Junk(usize),
    /// A message with its body: its head, and the lengths of both.
    Message(Head, usize, usize),
    /// A part that is incomplete.
    Incomplete {
        /// It has at least this number of bytes, which have not arrived.
        least: usize,
        /// No head ends within this number of bytes.
        searched: usize,
    },
}

impl Arriving {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next part; `None` if more must arrive.
    fn next(&mut self) -> Option<Piece> {
        let rest = &self.bytes[self.at..];
        if rest.len() < self.least {
            return None;
        }
        let (piece, end) = match start(rest, self.searched) {
            Start::Packet(length) => (Piece::Packet(self.at..self.at + length), self.at + length),
            Start::Junk(length) => (Piece::Junk, self.at + length),
            Start::Message(head, length, body) => {
                let body = self.at + length..self.at + length + body;
                let end = body.end;
                (Piece::Message(head, body), end)
            }
            // Otherwise a camera that sends its bytes one at a time would cost time for all earlier ones each time.
            Start::Incomplete { least, searched } => {
                (self.least, self.searched) = (least, searched);
                return None;
            }
        };
        (self.at, self.least, self.searched) = (end, 0, 0);
        Some(piece)
    }
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
            from_near: Arriving::default(),
            from_far: Arriving::default(),
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
        let mut arriving = std::mem::take(&mut self.from_near);
        arriving.push(bytes);
        while let Some(piece) = arriving.next() {
            if let Piece::Message(head, _) = &piece {
                self.is_ffmpeg |= head.get("User-Agent") == Some(self.secret_name);
            }
            if !self.is_ffmpeg {
                return Err(Stranger);
            }
            match piece {
                Piece::Packet(packet) => out.far.extend_from_slice(&arriving.bytes[packet]),
                Piece::Message(head, body) => self.request(head, &arriving.bytes[body], out),
                Piece::Junk => {}
            }
        }
        self.from_near = arriving;
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
        let sent = self.repeated.wrapping_add(number);
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
        let mut arriving = std::mem::take(&mut self.from_far);
        arriving.push(bytes);
        while let Some(piece) = arriving.next() {
            match piece {
                Piece::Packet(packet) => out.near.extend_from_slice(&arriving.bytes[packet]),
                Piece::Message(head, body) => self.response(head, &arriving.bytes[body], out),
                Piece::Junk => {}
            }
        }
        self.from_far = arriving;
    }

    /// Passes a response on to FFmpeg, unless the request is sent once more.
    fn response(&mut self, mut head: Head, body: &[u8], out: &mut Out) {
        let location = head.take_location();
        // Cameras send requests, too.
        if head.first_line.starts_with("RTSP/") {
            let pending = self.answered(head.get("CSeq"));
            let status = head.status();
            if status == 401 && self.answers(&head, pending.as_ref()) {
                if let Some(mut pending) = pending {
                    self.repeated = self.repeated.wrapping_add(1);
                    pending.sent = pending.number.wrapping_add(self.repeated);
                    pending.is_repeated = true;
                    self.send(&mut pending, out);
                    self.unanswered.push_back(pending);
                }
                return;
            }
            head.normalize_status();
            if matches!(status, 300..=399) {
                // Without an address FFmpeg would connect to this machine.
                match redirect(&location.unwrap_or_default(), self.camera, self.near_address) {
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
        if head.get("Content-Length").is_some() {
            head.set("Content-Length", &body.len().to_string());
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

/// What `bytes` start with. No head ends within the first `searched` bytes.
fn start(bytes: &[u8], searched: usize) -> Start {
    let one_more = Start::Incomplete { least: bytes.len() + 1, searched: bytes.len() };
    let more = |least| Start::Incomplete { least, searched: 0 };
    let Some(first) = bytes.first() else { return one_more };
    if *first == b'$' {
        let [_, _, high, low, ..] = bytes else { return more(4) };
        let length = usize::from(u16::from_be_bytes([*high, *low])) + 4;
        return if bytes.len() < length { more(length) } else { Start::Packet(length) };
    }
    if !first.is_ascii_uppercase() {
        let is_start = |byte: &u8| *byte == b'$' || byte.is_ascii_uppercase();
        return Start::Junk(bytes.iter().position(is_start).unwrap_or(bytes.len()));
    }
    // Only the first line of a response has letters that are not ASCII.
    let is_response = bytes.starts_with(b"RTSP/");
    let is_text = |byte: &u8| is_response || matches!(byte, b'\r' | b'\t' | b' '..=b'~');
    let end = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n' || !is_text(byte));
    let begun = &bytes[..end.unwrap_or(bytes.len().min(LONGEST_LINE))];
    match end.map(|end| bytes[end]) {
        None if bytes.len() < LONGEST_LINE => return one_more,
        Some(b'\n') if begun.windows(5).any(|word| word == b"RTSP/") => {}
        Some(b'\n') => return Start::Junk(begun.len() + 1),
        // A letter between two packets.
        _ => {
            let packet = begun[1..].iter().position(|byte| *byte == b'$').map(|at| at + 1);
            return Start::Junk(packet.unwrap_or(begun.len()));
        }
    }
    match Head::parse_from(bytes, searched) {
        Some((head, length)) => match head.body_length() {
            body if body > LONGEST_BODY => Start::Junk(length),
            body if bytes.len() - length >= body => Start::Message(head, length, body),
            body => more(length + body),
        },
        None if bytes.len() >= LONGEST_HEAD => Start::Junk(LONGEST_HEAD),
        None => one_more,
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
        /// However the bytes are cut into pieces, the same arrives, and all of it except what is no part of RTSP.
        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec(1..200_usize, 1..40), junk in "[a-z\r\n$]{0,20}") {
            let camera = camera("rtsp", "cam", Redirects::SameHost);
            let media = [b"$\0\x01\x02", &[b'R'; 258][..]].concat();
            let answer = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc".to_vec();
            let junk = junk.replace('$', "");
            let stream = [&media[..], &answer, &media, junk.as_bytes(), &media, &answer, b"OK\n", &media].concat();
            let expected = [&media[..], &answer, &media, &media, &answer, &media].concat();
            let (mut session, mut out, mut at) = (session(&camera), Out::default(), 0);
            for piece in pieces.iter().cycle() {
                let end = (at + piece).min(stream.len());
                session.take_far(&stream[at..end], &mut out);
                at = end;
                if at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(text(&out.near), text(&expected));
        }

        /// Whatever a camera sends, and however it is cut into pieces.
        #[test]
        fn ffmpeg_finds_no_redirect_that_was_not_checked(
            parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..30),
            length in 1..40_usize,
        ) {
            let stream = parts.concat();
            prop_assert_eq!(redirects(&stream, length), Vec::<String>::new());
        }
    }

    /// Parts of the messages of a camera that tries to redirect FFmpeg to another host.
    const PARTS: &[&[u8]] = &[
        b"RTSP/1.0 302 Moved\r\n",
        b"RTSP/1.0 302 Moved\n",
        b"RTSP/1.0  302 M\xc3\xa9\n",
        b"RTSP/1.0",
        b"Location: rtsp://other/\r\n",
        b"Location: rtsp://cam/a\n",
        b"Location:rtsp://other/\n",
        b"Content-Length: 60\r\n",
        b"Content-Length: 0\n",
        b"Content-Length: 2000000\n",
        b"CSeq: 1\r\n",
        b"Loca",
        b"tion",
        b"302",
        b"x",
        b":",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"$",
        b"$\0\0\x08",
        b"$ab:",
        b"\0",
        b"\x07",
        b"\xe9",
    ];

    /// The places that FFmpeg would be redirected to by what it receives if a camera sends `stream`, this number of bytes at a time.
    fn redirects(stream: &[u8], length: usize) -> Vec<String> {
        let camera = camera("rtsp", "cam", Redirects::SameHost);
        let (mut session, mut out) = (session(&camera), Out::default());
        for piece in stream.chunks(length) {
            session.take_far(piece, &mut out);
            if session.is_over() {
                break;
            }
        }
        ffmpeg_redirects(&out.near)
            .into_iter()
            .filter(|place| !place.starts_with("rtsp://127.0.0.1:5/"))
            .collect()
    }

    /// The locations of all redirects that FFmpeg's `ff_rtsp_read_reply` reads.
    fn ffmpeg_redirects(mut bytes: &[u8]) -> Vec<String> {
        let mut found = vec![];
        let (mut line, mut is_redirect, mut lines, mut body) = (vec![], false, 0, 0);
        let mut location = String::new();
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            match byte {
                b'$' if line.is_empty() => {
                    let length =
                        bytes.get(1..3).map_or(0, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
                    bytes = bytes.get(3 + length..).unwrap_or_default();
                }
                b'\r' => {}
                b'\n' if line.is_empty() => {
                    if is_redirect {
                        found.push(std::mem::take(&mut location));
                    }
                    bytes = bytes.get(body..).unwrap_or_default();
                    (is_redirect, lines, body) = (false, 0, 0);
                }
                b'\n' => {
                    let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
                    let text = String::from_utf8_lossy(&line[..end]).into_owned();
                    let (name, value) = text.split_once(':').unwrap_or((&text, ""));
                    if lines == 0 {
                        let words: Vec<_> = text.split_ascii_whitespace().collect();
                        let status = words.get(1).map_or("", |status| status.trim_start_matches(['+', '0']));
                        is_redirect = text.trim_start().starts_with("RTSP/") && status.starts_with('3');
                    } else if name.eq_ignore_ascii_case("Location") {
                        location = value.trim_start().to_owned();
                    } else if name.eq_ignore_ascii_case("Content-Length") {
                        body = value.trim().parse().unwrap_or(0);
                    }
                    lines += 1;
                    line.clear();
                }
                byte => line.push(*byte),
            }
        }
        found
    }

    #[test]
    fn redirects_that_only_ffmpeg_would_see_do_not_reach_it() {
        let hidden = [
            &b"RTSP/1.0 302 Moved\r\nLocation: rtsp://cam/a\r\nLocation: rtsp://other/\r\n\r\n"[..],
            b"RTSP/1.0  302 Moved\r\nLocation: rtsp://other/\r\n\r\n",
            b"RTSP/1.0\t302 Moved\r\nLocation: rtsp://other/\r\n\r\n",
            b"RTSP/1.0 302 D\xe9plac\xe9\r\nLocation: rtsp://other/\r\n\r\n",
            b"R\rTSP/1.0 302 Moved\r\nLocation: rtsp://other/\r\n\r\n",
            b"RTSP/1.0 302 Moved\r\nLoca\rtion: rtsp://other/\r\n\r\n",
            b"RTSP/1.0 302 Moved\r\nLocation: rtsp://other/\r\nContent-Length: 2000000\r\n\r\n",
            b"RTSP/1.0 302 Moved\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 52\r\nContent-Length: 0\r\n\r\nRTSP/1.0 302 Moved\r\nLocation: rtsp://other/\r\n\r\n     ",
            b"RTSP/1.0 200 OK\r\n$\0\0\x05: 1\r\n\r\nRTSP/1.0 302 Moved\r\nLocation: rtsp://other/\r\n\r\n",
        ];
        for stream in hidden {
            let direct = ffmpeg_redirects(stream);
            assert!(
                matches!(&*direct, [place] if matches!(&**place, "rtsp://other/" | "")),
                "the control: {}",
                text(stream)
            );
            for length in [1, 7, 4096] {
                assert_eq!(redirects(stream, length), Vec::<String>::new(), "{}", text(stream));
            }
        }
        let long = [
            &b"RTSP/1.0 302 Moved\nLocation: rtsp://other/\n"[..],
            &b"X: a\n".repeat(LONGEST_HEAD / 5),
            b"\n",
        ]
        .concat();
        assert_eq!(ffmpeg_redirects(&long), ["rtsp://other/"], "the control");
        assert_eq!(redirects(&long, 32_768), Vec::<String>::new());
    }

    /// The whole would be read again for each byte otherwise: minutes.
    #[test]
    fn a_message_that_arrives_one_byte_at_a_time_is_read_once() {
        let head =
            [&b"RTSP/1.0 200 OK\r\nContent-Length: 1000000\r\n"[..], &b"X: a\r\n".repeat(9000), b"\r\n"]
                .concat();
        let mut arriving = Arriving::default();
        let mut read = 0;
        for byte in head.iter().chain(std::iter::repeat_n(&b'a', 1_000_000)) {
            arriving.push(&[*byte]);
            let (least, length) = (arriving.least, arriving.bytes.len());
            read += usize::from(length >= least && length > head.len());
            if let Some(piece) = arriving.next() {
                assert!(matches!(piece, Piece::Message(_, body) if body.len() == 1_000_000));
            }
            assert!(length >= head.len() || arriving.searched == length, "the head is searched once");
        }
        assert_eq!((arriving.at, read), (head.len() + 1_000_000, 1), "the end");
    }
}
