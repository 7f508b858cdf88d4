//! A picture that is asked for again and again.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use stakeout::source::Status;

use super::start;
use crate::common::{
    broker::wait_until,
    camera::{Web, response},
    service::sample,
};

fn jpeg(name: &str) -> Vec<u8> {
    fs::read(sample(name)).unwrap()
}

#[test]
fn each_new_picture_is_a_frame_and_an_unchanged_one_is_the_same_again() {
    // The same picture three times, then another one: by its bytes.
    let pictures = [jpeg("red-car.jpg"), jpeg("green-tree.jpg")];
    let camera = Web::start(move |_, number| response("200 OK", "", &pictures[usize::from(number >= 3)]));
    let address = format!("http://{}/a.jpg", camera.address);
    let mut source = start(&format!("http: '{address}?pwd=hunter2', every: 50ms"));
    let (first, again, once_more, second) = (source.next(), source.next(), source.next(), source.next());
    assert!([&again, &once_more].iter().all(|frame| Arc::ptr_eq(&frame.picture, &first.picture)));
    assert!(again.captured_at > first.captured_at);
    assert_eq!((&*first.origin, first.picture.width), (&*format!("{address}?***"), 400));
    assert_ne!(first.picture, second.picture);
    assert_eq!((source.skipped("unchanged"), source.counts.snapshot().sent), (2, 2));
    assert_eq!(*source.status.borrow(), Status::Online);
    source.stop();
}

#[test]
fn a_camera_that_says_itself_that_nothing_changed_sends_the_picture_once() {
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
    let mut source = start(&format!("http: 'http://{}/', every: 50ms", camera.address));
    source.next();
    wait_until("it is asked again", || source.skipped("unchanged") >= 3);
    assert_eq!(source.counts.snapshot().seen, 1);
    source.stop();
}

#[test]
fn user_and_password_go_to_the_camera_and_to_nobody_else() {
    let other = Web::start(|_, _| response("404 Not Found", "", b""));
    let elsewhere = format!("Location: http://localhost:{}/\r\n", other.address.port());
    let camera = Web::start(move |request, _| {
        let asks = "WWW-Authenticate: Basic realm=\"cam\"\r\n";
        let knows = request.to_ascii_lowercase().contains("authorization:");
        if knows { response("302 Found", &elsewhere, b"") } else { response("401 Unauthorized", asks, b"") }
    });
    let described = format!("http: 'http://{}/', username: me, password: 'p@ss:w/rd'", camera.address);
    let source = start(&described);
    assert!(!camera.request().to_ascii_lowercase().contains("authorization"), "nobody asked");
    // `printf me:p@ss:w/rd | base64`
    assert!(camera.request().to_ascii_lowercase().contains("authorization: basic bwu6cebzczp3l3jk"));
    assert!(!other.request().to_ascii_lowercase().contains("authorization"));
    source.stop();
}

/// What coreutils say is the MD5 of a text.
fn md5(text: &str) -> String {
    let mut process =
        Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("md5sum");
    process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap()[..32].to_owned()
}

/// What stands behind `name=` in a header, without quotes.
fn part<'a>(header: &'a str, name: &str) -> &'a str {
    let parts = header.split([',', ' ']).filter_map(|part| part.split_once('='));
    parts.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).next().unwrap_or("")
}

/// RFC 7616, 3.4.1: what a camera must hear of somebody who knows the password.
fn digest(said: &str, nonce: &str) -> String {
    let [nc, cnonce, uri] = ["nc", "cnonce", "uri"].map(|name| part(said, name));
    let (who, what) = (md5("me:cam:hunter2"), md5(&format!("GET:{uri}")));
    md5(&format!("{who}:{nonce}:{nc}:{cnonce}:auth:{what}"))
}

#[test]
fn a_camera_that_wants_digests_gets_them_and_never_the_password() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let counts = Mutex::new(BTreeSet::new());
    // What it gave out is good for the first six requests, then something else is.
    let camera = Web::start(move |request, number| {
        let nonce = if number < 6 { "first" } else { "second" };
        let said =
            request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: digest"));
        let is_right = said.is_some_and(|said| part(said, "response") == digest(said, nonce));
        // Nobody may say the same twice.
        let count = format!("{nonce} {}", said.map_or("", |said| part(said, "nc")));
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
    let mut source =
        start(&format!("http: '{address}', username: me, password: hunter2, every: 50ms, unchanged: score"));
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
fn a_damaged_picture_now_and_then_stops_nothing() {
    let whole = [jpeg("red-car.jpg"), jpeg("green-tree.jpg")];
    let camera = Web::start(move |_, number| {
        let picture = &whole[number / 2 % 2];
        response("200 OK", "", if number % 2 == 0 { picture } else { &picture[..picture.len() / 2] })
    });
    let mut source = start(&format!("http: 'http://{}/', every: 50ms", camera.address));
    for _ in 0..4 {
        source.next();
    }
    assert!(source.counts.snapshot().failed.get("truncated") >= Some(&2));
    assert_eq!(*source.status.borrow(), Status::Online);
    source.stop();
}

/// What `http:` refuses with this advice.
#[test]
fn pictures_without_end_are_a_video() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let camera = Web::start(move |_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        for picture in pictures.iter().cycle().take(20) {
            let length = picture.len();
            bytes.extend(
                format!("--next\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n")
                    .into_bytes(),
            );
            bytes.extend(picture);
            bytes.extend(b"\r\n");
        }
        bytes
    });
    let mut source = start(&format!("video: 'http://{}/', every: 20ms", camera.address));
    let (first, second) = (source.next(), source.next());
    assert_eq!((first.picture.width, first.picture.height), (400, 300));
    assert_ne!(first.picture, second.picture);
    source.stop();
}

#[test]
fn while_no_slot_is_free_the_camera_is_not_asked() {
    let pictures = ["red-car.jpg", "green-tree.jpg"].map(jpeg);
    let camera = Web::start(move |_, number| response("200 OK", "", &pictures[number % 2]));
    let mut source = start(&format!("http: 'http://{}/', every: 50ms", camera.address));
    let held: Vec<_> = (0..stakeout::source::SLOTS).map(|_| source.next()).collect();
    wait_until("a frame is skipped", || source.skipped("no_free_slot") >= 2);
    for _ in 0..held.len() {
        camera.request();
    }
    drop(held);
    source.next();
    assert!(source.stop() < Duration::from_secs(2));
}
