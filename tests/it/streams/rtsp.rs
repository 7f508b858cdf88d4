//! RTSP cameras that appear, hang, end and need a login.

use std::net::TcpListener;

use stakeout::source::{SLOTS, Status};

use super::start;
use crate::common::{
    accept,
    camera::{Rtsp, Silent, h264, h265},
    wait_until,
};

#[test]
fn frames_arrive_at_the_configured_rate_and_only_key_frames_are_decoded_when_they_suffice() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 500ms, stall_after: 1h", camera.url()));
    let first = source.next();
    assert_eq!((first.picture.width, first.picture.height, &*first.origin), (320, 240, &*camera.url()));
    assert_eq!(*source.status.borrow(), Status::Online);
    drop(first);
    (0..11).for_each(|_| drop(source.next()));
    // Ten frames a second, every fifth is a key frame: after the first frames, four of five packets are not decoded.
    let counts = source.counts.snapshot();
    assert!(counts.skipped["not_decoded"] >= 4 * (counts.seen - 6), "{counts}");

    // A reader that takes no frames misses frames instead of receiving old ones.
    let held: Vec<_> = (0..SLOTS).map(|_| source.next()).collect();
    wait_until("a frame is skipped", || source.skipped("no_free_slot") > 0);
    drop(held);
    source.stop();
}

#[test]
fn all_frames_of_h265_are_decoded_where_key_frames_are_rare_and_the_size_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (h265(folder.path(), "320x240", 40), h265(folder.path(), "480x320", 40));
    let camera = Rtsp::start(&[&small, &large]);
    let mut source = start(&format!("rtsp: '{}', every: 400ms, stall_after: 1h", camera.url()));
    let mut sizes = vec![source.next().picture.width];
    while sizes != [320, 480, 320] {
        let width = source.next().picture.width;
        if sizes.last() != Some(&width) {
            sizes.push(width);
        }
        assert!(sizes.len() <= 3, "{sizes:?}: {}", source.counts.snapshot());
    }
    let counts = source.counts.snapshot();
    assert!(counts.failed.is_empty() && source.skipped("not_decoded") == 0, "{counts}");
    // Until then the stream has had three key frames.
    assert!(counts.seen > 6, "{counts}");
    source.stop();
}

#[test]
fn a_camera_that_is_absent_dies_and_comes_back_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::absent(&[&h264(folder.path(), "320x240", 5)], &[]);
    let absent = TcpListener::bind(("127.0.0.1", camera.port)).unwrap();
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    // Two attempts to connect.
    (0..2).for_each(|_| drop(accept(&absent)));
    assert!(!source.has_frame());
    drop(absent);
    for _ in 0..2 {
        camera.appear();
        drop(source.next());
        source.wait_for(Status::Online);
        camera.kill();
        source.wait_for(Status::Offline);
        source.discard_frames();
    }
    source.stop();
}

#[test]
fn a_camera_that_hangs_is_stalled_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms, stall_after: 1s", camera.url()));
    drop(source.next());
    camera.signal("-STOP");
    source.wait_for(Status::Stalled);
    source.discard_frames();
    camera.signal("-CONT");
    drop(source.next());
    source.wait_for(Status::Online);
    source.stop();
}

#[test]
fn a_camera_that_hangs_while_it_is_opened_or_read_does_not_prevent_the_end() {
    for (scheme, limit) in [("rtsp", "stall_after: 1h"), ("http", "timeout: 5m")] {
        let server = Silent::start();
        let source = start(&format!("{scheme}: '{scheme}://{}/x', {limit}", server.address));
        let _connection = server.request();
        source.stop();
    }
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms, stall_after: 1h", camera.url()));
    drop(source.next());
    camera.signal("-STOP");
    source.stop();
    camera.signal("-CONT");
}

#[test]
fn passwords_with_special_characters_open_the_camera_over_tcp_and_udp() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::with_login(&[&h264(folder.path(), "320x240", 5)], "me", "p@ss/w%rd");
    let address = format!("rtsp://me:p%40ss%2Fw%25rd@127.0.0.1:{}/stream", camera.port);
    for settings in [
        format!("rtsp: '{address}'"),
        format!("rtsp: '{}', username: me, password: 'p@ss/w%rd', transport: udp", camera.url()),
    ] {
        let mut source = start(&settings);
        assert_eq!(source.next().origin, camera.url());
        source.stop();
    }
}
