//! Cameras and files that try to get the password, files of this machine, or requests to other hosts.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use stakeout::source::Outcome;

use super::{start, tls::probed};
use crate::common::{
    PATIENCE,
    camera::{Web, clip, response},
    service::sample,
};

/// `printf me:hunter2 | base64`
const BASIC: &str = "bwu6ahvudgvymg==";
const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"\r\n";
const ASKS_BASIC: &str = "WWW-Authenticate: Basic realm=\"cam\"\r\n";

/// An RTSP server with answers of the test.
struct FakeRtsp {
    address: SocketAddr,
    events: Receiver<Event>,
}

enum Event {
    /// A request in lower case.
    Request(String),
    /// The client has closed its connection, or the server has.
    Closed,
}

impl FakeRtsp {
    /// `answer` receives the head of each request, and the numbers of earlier connections and of earlier requests on this one. It
    /// returns the status and the headers; `None` closes the connection.
    fn start(answer: impl Fn(&str, usize, usize) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (send, events) = mpsc::channel();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (answer, send) = (Arc::clone(&answer), send.clone());
                thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    for number in 0.. {
                        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                        let Some(first) = head.first() else { break };
                        let _ = send.send(Event::Request(head.join("\n").to_lowercase()));
                        let sequence = head.iter().find(|line| line.starts_with("CSeq:")).cloned();
                        let Some(answer) = answer(first, connection, number) else { break };
                        let (status, headers) = answer.split_once("\r\n").unwrap_or((&answer, ""));
                        let answer =
                            format!("RTSP/1.0 {status}\r\n{}\r\n{headers}\r\n", sequence.unwrap_or_default());
                        let _ = (&stream).write_all(answer.as_bytes());
                    }
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    let _ = send.send(Event::Closed);
                });
            }
        });
        Self { address, events }
    }

    /// All requests until this number of connections is closed.
    fn requests(&self, closed: usize) -> Vec<String> {
        let (mut requests, mut left) = (vec![], closed);
        while left > 0 {
            match self.events.recv_timeout(PATIENCE).expect("a connection") {
                Event::Request(request) => requests.push(request),
                Event::Closed => left -= 1,
            }
        }
        requests
    }
}

#[test]
fn a_camera_that_asked_for_digest_never_receives_the_password_over_rtsp() {
    // The first connection is lost after its digest was answered. The next one has someone else at its end.
    let camera = FakeRtsp::start(|request, connection, number| {
        Some(match (request.starts_with("DESCRIBE"), connection, number) {
            (false, ..) => "200 OK\r\nPublic: OPTIONS, DESCRIBE\r\n".to_owned(),
            (true, 0, 0..=1) => format!("401 Unauthorized\r\n{DIGEST}"),
            (true, 0, _) => return None,
            (true, ..) => format!("401 Unauthorized\r\n{ASKS_BASIC}"),
        })
    });
    let source = start(&format!("rtsp: 'rtsp://{}/a', username: me, password: hunter2", camera.address));
    let requests = camera.requests(2);
    source.stop();
    let with_login = |word: &str| requests.iter().filter(|request| request.contains(word)).count();
    assert!(with_login("authorization: digest username=\"me\"") > 0, "{requests:#?}");
    assert!(requests.iter().filter(|request| request.starts_with("describe")).count() >= 3, "{requests:#?}");
    for secret in [BASIC, "authorization: basic", "hunter2"] {
        assert_eq!(with_login(secret), 0, "{requests:#?}");
    }
}

/// Takes up to a minute: a camera that refuses the login is not asked again at once.
#[test]
fn a_camera_that_asked_for_digest_never_receives_the_password_over_http() {
    let cameras = [("http", "a.jpg"), ("video", "a.mjpeg")].map(|(kind, path)| {
        // The connection is lost after the digest was answered. The next one has someone else at its end.
        let camera = Web::start(|_, number| match number {
            0 => response("401 Unauthorized", DIGEST, b""),
            1 => vec![],
            _ => response("401 Unauthorized", ASKS_BASIC, b""),
        });
        let address = format!("http://{}/{path}", camera.address);
        (kind, start(&format!("{kind}: '{address}', username: me, password: hunter2")), camera)
    });
    for (kind, source, camera) in cameras {
        // An answer to basic would be the fourth request.
        let requests: Vec<_> = (0..4).map(|_| camera.request().to_lowercase()).collect();
        source.stop();
        assert!(requests[1].contains("authorization: digest"), "{kind}: {requests:#?}");
        for request in requests {
            assert!(!request.contains("basic") && !request.contains(BASIC), "{kind}: {request}");
        }
    }
}

#[test]
fn a_redirect_stays_on_its_host_unless_it_is_configured() {
    let other = Web::start(|_, _| response("200 OK", "", &fs::read(sample("red-car.jpg")).unwrap()));
    let elsewhere = format!("Location: http://localhost:{}/b.jpg\r\n", other.address.port());
    let camera = Web::start(move |_, _| response("302 Found", &elsewhere, b""));
    for kind in ["http", "video"] {
        let refused = probed(&format!("{kind}: 'http://{}/a.jpg'", camera.address));
        assert_eq!(refused.outcome, Outcome::Failed, "{kind}: {refused:?}");
        let expected = format!("redirects to http://localhost:{}", other.address.port());
        assert!(refused.message.contains(&expected), "{kind}: {refused:?}");
        assert_eq!(other.waiting_request(), None, "{kind}");
    }
    let followed = probed(&format!("http: 'http://{}/a.jpg', redirects: any_host", camera.address));
    assert_eq!(followed.outcome, Outcome::Good, "{followed:?}");
    assert!(other.waiting_request().is_some());
}

#[test]
fn a_redirect_to_the_same_camera_is_followed() {
    let picture = fs::read(sample("red-car.jpg")).unwrap();
    let camera = Web::start(move |request, _| match request.split(' ').nth(1) {
        Some("/a.jpg") => response("302 Found", "Location: /b.jpg?c=d\r\n", b""),
        Some("/b.jpg?c=d") => response("200 OK", "", &picture),
        other => panic!("{other:?}"),
    });
    let found = probed(&format!("http: 'http://{}/a.jpg'", camera.address));
    assert_eq!(found.outcome, Outcome::Good, "{found:?}");
}

#[test]
fn an_rtsp_camera_does_not_redirect_to_another_host() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    other.set_nonblocking(true).unwrap();
    let location = format!("rtsp://{}/b", other.local_addr().unwrap());
    let camera = FakeRtsp::start(move |request, _, _| {
        Some(match request.starts_with("DESCRIBE") {
            true => format!("302 Found\r\nLocation: {location}\r\n"),
            false => "200 OK\r\n".to_owned(),
        })
    });
    let refused = probed(&format!("rtsp: 'rtsp://{}/a'", camera.address));
    assert_eq!(refused.outcome, Outcome::Failed, "{refused:?}");
    assert!(refused.message.contains("redirects to rtsp://127.0.0.1:"), "{refused:?}");
    assert!(other.accept().is_err(), "no client has connected");
}

/// A segment of HLS.
fn segment(folder: &Path) -> Vec<u8> {
    let words = "-f lavfi -i testsrc2=size=320x240:rate=10 -t 3 -c:v libx264 -preset ultrafast -g 5 -pix_fmt yuv420p -f mpegts";
    fs::read(clip(words, &folder.join("a.ts"))).unwrap()
}

fn playlist(segment: &str) -> String {
    format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n{segment}\n#EXT-X-ENDLIST\n")
}

#[test]
fn a_playlist_names_only_its_own_server() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = segment(folder.path());
    let other = {
        let bytes = bytes.clone();
        Web::start(move |_, _| response("200 OK", "", &bytes))
    };
    let (port, local) = (other.address.port(), folder.path().join("a.ts"));
    let wrong = [
        format!("http://localhost:{port}/a.ts"),
        format!("http://127.0.0.2:{port}/a.ts"),
        format!("http://{}/a.ts", other.address),
        format!("file://{}", local.display()),
        format!("{}", local.display()),
        format!("file:{}", local.display()),
        format!("concat:{}", local.display()),
        format!("subfile,,start,0,end,0,,:{}", local.display()),
        "data:video/mp2t;base64,AAAA".to_owned(),
    ];
    let camera = Web::start(move |request, _| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path.strip_prefix("/live/").and_then(|name| name.strip_suffix(".m3u8")) {
            Some("right") => response("200 OK", "", playlist("a.ts").as_bytes()),
            Some("from-root") => response("200 OK", "", playlist("/live/a.ts").as_bytes()),
            Some(number) => {
                response("200 OK", "", playlist(&wrong[number.parse::<usize>().unwrap()]).as_bytes())
            }
            None if path == "/live/a.ts" => response("200 OK", "", &bytes),
            None => response("404 Not Found", "", b""),
        }
    });
    let probe = |name: &str, more: &str| {
        probed(&format!("video: 'http://{}/live/{name}.m3u8'{more}", camera.address))
    };
    for right in ["right", "from-root"] {
        let found = probe(right, "");
        assert_eq!(found.outcome, Outcome::Good, "{right}: {found:?}");
    }
    for number in 0..9 {
        for more in ["", ", redirects: any_host"] {
            let is_web = number < 3 && !more.is_empty();
            let found = probe(&number.to_string(), more);
            assert_eq!(found.outcome == Outcome::Good, is_web && number != 1, "{number}{more}: {found:?}");
            assert_eq!(other.waiting_request().is_some(), is_web && number != 1, "{number}{more}");
            while other.waiting_request().is_some() {}
        }
    }
}

#[test]
fn a_file_that_only_names_others_is_no_recording() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.mp4");
    clip("-f lavfi -i testsrc2=size=320x240:rate=10 -t 2 -c:v libx264 -g 5 -pix_fmt yuv420p", &secret);
    segment(folder.path());
    let other = Web::start(|_, _| response("200 OK", "", b"x"));
    let files = [
        ("concat.mp4", "ffconcat version 1.0\nfile secret.mp4\n".to_owned()),
        ("list.mkv", "ffconcat version 1.0\nfile 'secret.mp4'\n".to_owned()),
        ("local.m3u8", playlist("a.ts")),
        ("disguised.mp4", playlist("a.ts")),
        ("remote.mp4", playlist(&format!("http://{}/a.ts", other.address))),
        ("session.mp4", "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n".to_owned()),
        ("dash.mp4", format!("<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT2S\"><Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\"><BaseURL>http://{}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>\n", other.address)),
        ("titles.avi", "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n".to_owned()),
        ("words.mov", "1\n00:00:00,000 --> 00:00:02,000\nhello\n".to_owned()),
        ("reference.mov", "rtsptext\nrtsp://127.0.0.1:1/a\n".to_owned()),
    ];
    let probe = |name: &str| probed(&format!("video: '{}'", folder.path().join(name).display()));
    assert_eq!(probe("secret.mp4").outcome, Outcome::Good, "the control");
    for (name, text) in &files {
        fs::write(folder.path().join(name), text).unwrap();
        let found = probe(name);
        assert_eq!(found.outcome, Outcome::Failed, "{name}: {found:?}");
    }
    // The name of a file is no address of FFmpeg.
    for name in ["concat:none.mp4", "subfile,,start,0,end,0,,:none.mp4", "data:video,a.mp4"] {
        fs::copy(&secret, folder.path().join(name)).unwrap();
        assert_eq!(probe(name).outcome, Outcome::Good, "{name}");
    }
    assert_eq!(other.waiting_request(), None);
}
