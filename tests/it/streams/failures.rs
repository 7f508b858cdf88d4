//! Failures of cameras and networks: every source recovers, and delivers no frame that the camera did not send.

use std::{net::UdpSocket, time::Instant};

use stakeout::source::Status;

use super::{start, stop_all, video::play};
use crate::common::camera::{Rtsp, Silent, Udp, h264, h265, mjpeg};

#[test]
fn h265_and_mjpeg_cameras_are_supported() {
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

/// Prints how long each reconnection takes; a busy machine may need longer than the figures of docs/performance-streams.md.
#[test]
fn a_camera_that_was_killed_is_opened_each_time() {
    // `STAKEOUT_RECONNECTS=20` takes a minute.
    let times = std::env::var("STAKEOUT_RECONNECTS").map_or(4, |times| times.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::absent(&[&h264(folder.path(), "320x240", 5)], &[]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    let mut took = Vec::new();
    for _ in 0..times {
        camera.appear();
        let appeared = Instant::now();
        drop(source.next());
        took.push(appeared.elapsed());
        source.wait_for(Status::Online);
        camera.kill();
        source.wait_for(Status::Offline);
        source.discard_frames();
    }
    took.sort();
    println!("frames again after {:?} at the median, {:?} at most", took[times / 2], took[times - 1]);
    source.stop();
}

#[test]
fn a_camera_that_comes_back_with_another_codec_and_size_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut source = start(&format!("rtsp: '{}', every: 200ms", camera.url()));
    assert_eq!(source.next().picture.width, 320);
    camera.kill();
    source.wait_for(Status::Offline);
    source.discard_frames();
    camera.becomes(&[&h265(folder.path(), "480x320", 5)]);
    camera.appear();
    assert_eq!(source.next().picture.width, 480);
    assert_eq!(source.counts.stream.borrow().as_ref().unwrap().codec, "hevc");
    source.stop();
}

/// No connection ends in this case, and FFmpeg continues with its first decoder.
#[test]
fn a_stream_that_changes_its_codec_without_a_new_connection_is_decoded() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = Udp::send(port, "libx264", "320x240");
    let mut source =
        start(&format!("video: 'udp://127.0.0.1:{port}', every: 200ms, stall_after: 2s, unchanged: score"));
    // Ten frames are enough to measure the distance of key frames.
    while source.next().picture.width != 320 || source.counts.snapshot().seen < 10 {}
    drop(first);
    let _second = Udp::send(port, "libx265", "480x320");
    let changed = Instant::now();
    while source.next().picture.width != 480 {}
    println!("frames of the other codec after {:?}", changed.elapsed());
    assert_eq!(source.counts.stream.borrow().as_ref().unwrap().codec, "hevc");
    source.stop();
}

/// Three of a hundred packets are lost, and a picture has several packets.
#[test]
fn frames_with_lost_udp_packets_are_never_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let file = h264(folder.path(), "480x320", 5);
    let (whole, counts) = play(&file, "pace: full, decode: all, every: 20ms");
    assert_eq!(whole.len(), 40, "{counts}");
    let camera = Rtsp::lossy(&[&file], "0.03");
    let mut source =
        start(&format!("rtsp: '{}', transport: udp, every: 100ms, unchanged: score", camera.url()));
    let mut frames = 0;
    while frames < 40 || !source.counts.snapshot().failed.contains_key("lost_packet") {
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
fn one_dead_camera_of_eight_does_not_affect_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut sources: Vec<_> =
        (0..7).map(|_| start(&format!("rtsp: '{}', every: 500ms", camera.url()))).collect();
    let dead = Silent::start();
    sources.push(start(&format!("rtsp: 'rtsp://{}/x', every: 500ms", dead.address)));
    for source in &mut sources[..7] {
        (0..3).for_each(|_| drop(source.next()));
    }
    assert!(!sources[7].has_frame());
    stop_all(sources);
}

#[test]
fn cameras_that_all_hang_do_not_prevent_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&h264(folder.path(), "320x240", 5)]);
    let mut sources: Vec<_> =
        (0..4).map(|_| start(&format!("rtsp: '{}', stall_after: 1h", camera.url()))).collect();
    sources.iter_mut().for_each(|source| drop(source.next()));
    camera.signal("-STOP");
    let (stream, picture) = ("stall_after: 1h", "timeout: 5m");
    let kinds = [
        ("rtsp", "rtsp", stream),
        ("rtsp", "rtsps", stream),
        ("http", "http", picture),
        ("http", "https", picture),
    ];
    let silent = kinds.map(|(kind, scheme, limit)| {
        let server = Silent::start();
        sources.push(start(&format!("{kind}: '{scheme}://{}/x', {limit}", server.address)));
        server
    });
    // Each of these sources waits for an answer now.
    let _connections = silent.each_ref().map(Silent::request);
    stop_all(sources);
    camera.signal("-CONT");
}
