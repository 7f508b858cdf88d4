//! What happens to cameras and to the way to them, and that no source ever stays down or delivers what never was.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use stakeout::source::Status;

use super::{Running, start, video::play};
use crate::common::camera::{Rtsp, Udp, h264, h265, mjpeg, silent};

/// Tells all of them to end, and only then waits; how long that took.
fn stop_all(sources: Vec<Running>) -> Duration {
    let told = Instant::now();
    sources.iter().for_each(|source| source.stop.cancel());
    sources.into_iter().for_each(|source| source.thread.join().unwrap());
    told.elapsed()
}

#[test]
fn h265_and_mjpeg_cameras_are_cameras() {
    let folder = tempfile::tempdir().unwrap();
    for clip in [h265(folder.path(), "320x240", 5), mjpeg(folder.path(), "320x240")] {
        let camera = Rtsp::start(&[&clip]);
        let mut source = start(&format!("rtsp: '{}', every: 500ms", camera.url()));
        let (first, second) = (source.next(), source.next());
        assert_eq!((first.picture.width, first.picture.height), (320, 240), "{}", clip.display());
        assert_ne!(first.picture, second.picture);
        assert!(source.counts.snapshot().failed.is_empty(), "{}", source.counts.snapshot());
        source.stop();
    }
}

/// Each time within a few seconds, whatever the pause between two tries has grown to: the median is held to that, because
/// a machine that does something else may be slow once.
#[test]
fn a_camera_that_was_killed_is_back_as_soon_as_it_is_there_again() {
    // All 20 that the promise is about take a minute.
    let times = std::env::var("STAKEOUT_RECONNECTS").map_or(4, |times| times.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::absent(&[&h264(folder.path(), "320x240", 5)], &[]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    let mut took = Vec::new();
    for _ in 0..times {
        camera.appear();
        let there = Instant::now();
        drop(source.next());
        took.push(there.elapsed());
        source.wait_for(Status::Online);
        camera.kill();
        source.wait_for(Status::Offline);
        while source.within(Duration::ZERO).is_some() {}
    }
    took.sort();
    println!("frames again {:?} at the median, {:?} at most", took[times / 2], took[times - 1]);
    assert!(took[times / 2] < Duration::from_secs(5), "{took:?}");
    source.stop();
}

#[test]
fn a_camera_that_comes_back_with_another_codec_and_size_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    assert_eq!(source.next().picture.width, 320);
    camera.kill();
    source.wait_for(Status::Offline);
    while source.within(Duration::ZERO).is_some() {}
    camera.becomes(&[&h265(folder.path(), "480x320", 5)]);
    camera.appear();
    assert_eq!(source.next().picture.width, 480);
    assert_eq!(source.counts.stream.borrow().as_ref().unwrap().codec, "hevc");
    source.stop();
}

/// Nobody says so: there is no connection that ends, and FFmpeg goes on with the decoder that it began with.
#[test]
fn a_stream_that_becomes_another_in_one_connection_is_followed() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = Udp::send(port, "libx264", "320x240");
    let mut source =
        start(&format!("video: 'udp://127.0.0.1:{port}', every: 200ms, stall_after: 2s, unchanged: score"));
    // Long enough to know how often a key frame comes.
    while source.next().picture.width != 320 || source.counts.snapshot().seen < 10 {}
    drop(first);
    let _second = Udp::send(port, "libx265", "480x320");
    let changed = Instant::now();
    while source.next().picture.width != 480 {}
    println!("frames of the other codec after {:?}", changed.elapsed());
    assert_eq!(source.counts.stream.borrow().as_ref().unwrap().codec, "hevc");
    source.stop();
}

/// Of each hundred packets three are lost, and a picture has a few of them.
#[test]
fn what_udp_loses_is_never_part_of_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let file = h264(folder.path(), "480x320", 5);
    let (whole, counts) = play(&file, "pace: full, decode: all, every: 20ms");
    assert_eq!(whole.len(), 40, "{counts}");
    let camera = Rtsp::lossy(&[&file], "0.03");
    let mut source =
        start(&format!("rtsp: '{}', transport: udp, every: 100ms, unchanged: score", camera.url()));
    let (end, mut frames) = (Instant::now() + Duration::from_secs(30), 0);
    while frames < 40 || !source.counts.snapshot().failed.contains_key("lost_packet") {
        assert!(Instant::now() < end, "{frames} frames; {}", source.counts.snapshot());
        let frame = source.next();
        assert!(
            whole.contains(&frame.picture.rgb().into_owned()),
            "number {frames}; {}",
            source.counts.snapshot()
        );
        frames += 1;
    }
    source.stop();
}

#[test]
fn one_dead_camera_of_eight_keeps_no_other_from_delivering() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut sources: Vec<_> =
        (0..7).map(|_| start(&format!("rtsp: '{}', every: 500ms", camera.url()))).collect();
    sources.push(start(&format!("rtsp: 'rtsp://{}/x', every: 500ms", silent())));
    for source in &mut sources[..7] {
        (0..3).for_each(|_| drop(source.next()));
    }
    assert!(sources[7].within(Duration::ZERO).is_none());
    assert!(stop_all(sources) < Duration::from_secs(2));
}

#[test]
fn cameras_that_all_hang_do_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut sources: Vec<_> = (0..4).map(|_| start(&format!("rtsp: '{}'", camera.url()))).collect();
    sources.iter_mut().for_each(|source| drop(source.next()));
    camera.signal("-STOP");
    for (kind, scheme) in [("rtsp", "rtsp"), ("rtsp", "rtsps"), ("http", "http"), ("http", "https")] {
        sources.push(start(&format!("{kind}: '{scheme}://{}/x'", silent())));
    }
    // Into the middle of reading and opening.
    std::thread::sleep(Duration::from_millis(300));
    let took = stop_all(sources);
    camera.signal("-CONT");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
