//! Sources that fetch a picture over HTTP again and again.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use stakeout::source::{SLOTS, Status};

use super::start;
use crate::common::{
    camera::{Web, endless_pictures, response},
    service::sample,
    wait_until,
};

fn jpeg(name: &str) -> Vec<u8> {
    fs::read(sample(name)).unwrap()
}

#[test]
fn a_new_picture_is_a_new_frame_and_an_unchanged_picture_is_shared() {
    // The same bytes three times, then other bytes.
    let pictures = [jpeg("red-car.jpg"), jpeg("green-tree.jpg")];
    let camera = Web::start(move |_, number| response("200 OK", "", &pictures[usize::from(number >= 3)]));
    let address = format!("http://{}/a.jpg", camera.address);
    let mut source = start(&format!("http: '{address}?pwd=hunter2', every: 50ms, timeout: 5m"));
    let (first, again, once_more, second) = (source.next(), source.next(), source.next(), source.next());
    assert!([&again, &once_more].iter().all(|frame| Arc::ptr_eq(&frame.picture, &first.picture)));
    assert!(again.captured_at > first.captured_at);
    assert_eq!((&*first.origin, first.picture.width), (&*format!("{address}?***"), 400));
    assert_ne!(first.picture, second.picture);
    // The camera may have answered again since, with the second picture.
    assert!(source.skipped("unchanged") >= 2);
    assert_eq!(source.counts.snapshot().sent, 2);
    assert_eq!(*source.status.borrow(), Status::Online);
    source.stop();
}

#[test]
fn a_camera_that_answers_304_sends_the_picture_once() {
    let picture = jpeg("red-car.jpg");
    let camera = Web::start(move |request, _| {
        let asks = request.to_ascii_lowercase();
        if asks.contains("if-none-match: \"one\"") && asks.contains("if-modified-since: mon, 23 nov") {
            response("304 Not Modified", "", b"")
        } else {
            let headers = "ETag: \"one\"\r\nLast-Modified: Mon, 23 Nov 2026 08:00:00 GMT\r\n";
            response("200 OK", headers, &picture)
        }
    });
    let mut source = start(&format!("http: 'http://{}/', every: 50ms, timeout: 5m", camera.address));
    source.next();
    wait_until("three answers are 304", || source.skipped("unchanged") >= 3);
    assert_eq!(source.counts.snapshot().seen, 1);
    source.stop();
}

#[test]
fn the_login_is_sent_to_the_camera_and_not_to_a_redirect_target() {
    // `hostile` tests that such a redirect is not followed by default.
    let other = Web::start(|_, _| response("404 Not Found", "", b""));
    let elsewhere = format!("Location: http://localhost:{}/\r\n", other.address.port());
    let camera = Web::start(move |request, _| {
        let asks = "WWW-Authenticate: Basic realm=\"cam\"\r\n";
        let knows = request.to_ascii_lowercase().contains("authorization:");
        if knows { response("302 Found", &elsewhere, b"") } else { response("401 Unauthorized", asks, b"") }
    });
    let settings = format!(
        "http: 'http://{}/', username: me, password: 'p@ss:w/rd', redirects: any_host",
        camera.address
    );
    let source = start(&settings);
    assert!(
        !camera.request().to_ascii_lowercase().contains("authorization"),
        "the camera has not asked for it"
    );
    // `printf me:p@ss:w/rd | base64`
    assert!(camera.request().to_ascii_lowercase().contains("authorization: basic bwu6cebzczp3l3jk"));
    assert!(!other.request().to_ascii_lowercase().contains("authorization"));
    source.stop();
}

/// The MD5 of a text by coreutils.
fn md5(text: &str) -> String {
    let mut process =
        Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("md5sum");
    process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap()[..32].to_owned()
}

/// The value of `name=` in a header, without quotes.
fn part<'a>(header: &'a str, name: &str) -> &'a str {
    let parts = header.split([',', ' ']).filter_map(|part| part.split_once('='));
    parts.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).next().unwrap_or("")
}

/// RFC 7616, 3.4.1: the response that proves the password.
fn digest(header: &str, nonce: &str) -> String {
    let [nc, cnonce, uri] = ["nc", "cnonce", "uri"].map(|name| part(header, name));
    let (user, request) = (md5("me:cam:hunter2"), md5(&format!("GET:{uri}")));
    md5(&format!("{user}:{nonce}:{nc}:{cnonce}:auth:{request}"))
}

#[test]
fn a_camera_with_digest_authentication_never_receives_the_password() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let counts = Mutex::new(BTreeSet::new());
    // The first nonce is valid for six requests.
    let camera = Web::start(move |request, number| {
        let nonce = if number < 6 { "first" } else { "second" };
        let header =
            request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: digest"));
        let is_right = header.is_some_and(|header| part(header, "response") == digest(header, nonce));
        // Each count is valid once.
        let count = format!("{nonce} {}", header.map_or("", |header| part(header, "nc")));
        if is_right && counts.lock().unwrap().insert(count) {
            response("200 OK", "", &pictures[number % 2])
        } else {
            let asks = format!(
                "WWW-Authenticate: Basic realm=\"cam\"\r\n\
                 WWW-Authenticate: Digest realm=\"cam\", qop=\"auth\", nonce=\"{nonce}\"\r\n"
            );
            response("401 Unauthorized", &asks, b"")
        }
    });
    let address = format!("http://{}/a.jpg?size=2", camera.address);
    let mut source = start(&format!(
        "http: '{address}', username: me, password: hunter2, every: 50ms, timeout: 5m, unchanged: score"
    ));
    (0..8).for_each(|_| drop(source.next()));
    let requests: Vec<_> = (0..10).map(|_| camera.request().to_ascii_lowercase()).collect();
    let refused = [0, 6];
    for (number, request) in requests.iter().enumerate() {
        assert!(!request.contains("authorization: basic") && !request.contains("hunter2"), "{request}");
        assert_eq!(request.contains("nc=00000001"), [1, 7].contains(&number), "{number}: {request}");
        assert_eq!(request.contains("nonce=\"second\""), number > refused[1], "{number}: {request}");
    }
    assert!(!requests[refused[0]].contains("authorization"));
    assert_eq!(*source.status.borrow(), Status::Online);
    source.stop();
}

#[test]
fn a_source_continues_after_damaged_pictures() {
    let whole = [jpeg("red-car.jpg"), jpeg("green-tree.jpg")];
    let camera = Web::start(move |_, number| {
        let picture = &whole[number / 2 % 2];
        response("200 OK", "", if number % 2 == 0 { picture } else { &picture[..picture.len() / 2] })
    });
    let mut source = start(&format!("http: 'http://{}/', every: 50ms, timeout: 5m", camera.address));
    for _ in 0..4 {
        source.next();
    }
    assert!(source.counts.snapshot().failed.get("truncated") >= Some(&2));
    assert_eq!(*source.status.borrow(), Status::Online);
    source.stop();
}

#[test]
fn single_failures_of_any_cause_do_not_change_the_status() {
    let whole = [jpeg("red-car.jpg"), jpeg("green-tree.jpg")];
    let camera = Web::start(move |_, number| match number % 10 {
        2 => response("503 Service Unavailable", "", b"busy"),
        4 => response("200 OK", "", &whole[0][..1000]),
        6 => Vec::new(),
        8 => response("200 OK", "", b"<html>please log in</html>"),
        number => response("200 OK", "", &whole[number / 2 % 2]),
    });
    let mut source =
        start(&format!("http: 'http://{}/', every: 50ms, timeout: 5m, unchanged: score", camera.address));
    drop(source.next());
    source.wait_for(Status::Online);
    source.status.mark_unchanged();
    for _ in 0..20 {
        camera.request();
        source.discard_frames();
    }
    assert!(!source.status.has_changed().unwrap(), "{}", source.counts.snapshot());
    source.stop();
}

#[test]
fn failures_in_a_row_change_the_status_whatever_their_cause() {
    let failures =
        [response("503 Service Unavailable", "", b"busy"), response("200 OK", "", b"no picture"), Vec::new()];
    for failure in failures {
        let whole = jpeg("red-car.jpg");
        let camera = Web::start(move |_, number| match number {
            1..=3 => failure.clone(),
            _ => response("200 OK", "", &whole),
        });
        let mut source = start(&format!("http: 'http://{}/', every: 50ms, timeout: 5m", camera.address));
        drop(source.next());
        source.wait_for(Status::Offline);
        source.wait_for(Status::Online);
        source.stop();
    }
}

/// The challenges of real cameras, which curl answers, too.
#[test]
fn unusual_challenges_are_answered() {
    let picture = jpeg("red-car.jpg");
    let camera = Web::start(move |request, _| {
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        let asks = match path {
            "/basic" => "Basic",
            "/unquoted" => "Basic realm=My Camera",
            "/comma" => "basic, realm=",
            "/both" => "Digest realm=\"cam\", qop=\"auth,auth-int\", nonce=\"first\", opaque=\"528e\"",
            "/blanks" => "Digest realm=\"cam\" qop=\"auth\" nonce=\"first\"",
            _ => "DIGEST  REALM=cam; QOP=auth; NONCE=first",
        };
        let header = request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
        let is_right = header.is_some_and(|header| match asks.to_ascii_lowercase().starts_with("basic") {
            // `printf me:hunter2 | base64`
            true => header.ends_with("Basic bWU6aHVudGVyMg=="),
            false => part(header, "response") == digest(header, "first"),
        });
        let asks = format!("WWW-Authenticate: {asks}\r\n");
        if is_right { response("200 OK", "", &picture) } else { response("401 Unauthorized", &asks, b"") }
    });
    for path in ["basic", "unquoted", "comma", "both", "blanks", "semicolons"] {
        let address = format!("http://{}/{path}", camera.address);
        let mut source = start(&format!("http: '{address}', username: me, password: hunter2, timeout: 5m"));
        assert_eq!(source.next().origin, address);
        source.stop();
    }
}

/// `http:` refuses such a camera and recommends `video:`.
#[test]
fn an_endless_sequence_of_pictures_is_a_video() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let camera = Web::start(move |_, _| endless_pictures(&pictures));
    let mut source = start(&format!("video: 'http://{}/', every: 20ms", camera.address));
    let (first, second) = (source.next(), source.next());
    assert_eq!((first.picture.width, first.picture.height), (400, 300));
    assert_ne!(first.picture, second.picture);
    source.stop();
}

#[test]
fn a_source_without_a_free_slot_does_not_ask_the_camera() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let camera = Web::start(move |_, number| response("200 OK", "", &pictures[number % 2]));
    let mut source = start(&format!("http: 'http://{}/', every: 50ms, timeout: 5m", camera.address));
    let held: Vec<_> = (0..SLOTS).map(|_| source.next()).collect();
    wait_until("a frame is skipped", || source.skipped("no_free_slot") >= 2);
    for _ in 0..held.len() {
        camera.request();
    }
    assert_eq!(camera.waiting_request(), None);
    drop(held);
    source.next();
    source.stop();
}
