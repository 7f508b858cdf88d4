//! RTSP cameras that come and go.

use std::time::{Duration, Instant};

use stakeout::source::Status;

use super::start;
use crate::common::camera::{Rtsp, h264, h265, silent};

#[test]
fn frames_flow_at_the_asked_rate_and_only_key_frames_are_decoded_when_they_suffice() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 500ms", camera.url()));
    let first = source.next();
    assert_eq!((first.picture.width, first.picture.height, &*first.origin), (320, 240, &*camera.url()));
    assert_eq!(*source.status.borrow(), Status::Online);
    drop(first);
    // What came while it was opened comes at once.
    for _ in 0..4 {
        source.next();
    }
    let mut at = Vec::new();
    for _ in 0..7 {
        at.push(source.next().captured_at);
    }
    let took = at[6].duration_since(at[0]).as_secs_f64();
    assert!((2.0..4.5).contains(&took), "six times half a second took {took} s");
    assert!(source.skipped("not_decoded") > 5, "{}", source.counts.snapshot());

    // Whoever does not take frames gets no older ones: they are skipped.
    let held: Vec<_> = (0..stakeout::source::SLOTS).map(|_| source.next()).collect();
    crate::common::broker::wait_until("a frame is skipped", || source.skipped("no_free_slot") > 0);
    drop(held);
    assert!(source.stop() < Duration::from_secs(2));
}

#[test]
fn all_frames_of_h265_are_decoded_where_key_frames_are_rare_and_the_size_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (h265(folder.path(), "320x240", 40), h265(folder.path(), "480x320", 40));
    let camera = Rtsp::start(&[&small, &large]);
    let mut source = start(&format!("rtsp: '{}', every: 400ms", camera.url()));
    let mut sizes = vec![source.next().picture.width];
    let end = Instant::now() + Duration::from_secs(15);
    while sizes != [320, 480, 320] {
        assert!(Instant::now() < end, "{sizes:?}: {}", source.counts.snapshot());
        let width = source.next().picture.width;
        if sizes.last() != Some(&width) {
            sizes.push(width);
        }
    }
    let counts = source.counts.snapshot();
    assert!(counts.failed.is_empty() && source.skipped("not_decoded") == 0, "{counts}");
    assert!(counts.sent >= 14, "{counts}");
    source.stop();
}

#[test]
fn a_camera_that_is_absent_dies_and_comes_back_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::absent(&[&h264(folder.path(), "320x240", 5)], &[]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    assert!(source.within(Duration::from_millis(1500)).is_none());
    for _ in 0..2 {
        camera.appear();
        drop(source.next());
        source.wait_for(Status::Online);
        camera.kill();
        source.wait_for(Status::Offline);
        while source.within(Duration::ZERO).is_some() {}
    }
    source.stop();
}

#[test]
fn a_camera_that_stands_still_is_stalled_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms, stall_after: 1s", camera.url()));
    drop(source.next());
    camera.signal("-STOP");
    source.wait_for(Status::Stalled);
    while source.within(Duration::ZERO).is_some() {}
    camera.signal("-CONT");
    drop(source.next());
    source.wait_for(Status::Online);

    camera.signal("-STOP");
    std::thread::sleep(Duration::from_millis(300));
    let took = source.stop();
    camera.signal("-CONT");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_camera_that_hangs_while_it_is_opened_does_not_hold_up_the_end() {
    for scheme in ["rtsp", "http"] {
        let source = start(&format!("{scheme}: '{scheme}://{}/x'", silent()));
        std::thread::sleep(Duration::from_millis(500));
        let took = source.stop();
        assert!(took < Duration::from_secs(2), "{scheme}: {took:?}");
    }
}

#[test]
fn passwords_with_special_characters_open_the_camera_over_tcp_and_udp() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::with_login(&[&h264(folder.path(), "320x240", 5)], "me", "p@ss/w%rd");
    let address = format!("rtsp://me:p%40ss%2Fw%25rd@127.0.0.1:{}/stream", camera.port);
    for described in [
        format!("rtsp: '{address}'"),
        format!("rtsp: '{}', username: me, password: 'p@ss/w%rd', transport: udp", camera.url()),
    ] {
        let mut source = start(&described);
        assert_eq!(source.next().origin, camera.url());
        source.stop();
    }
}
