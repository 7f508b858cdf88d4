//! Cameras that are slow, refresh their picture in parts, or support one transport only.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use stakeout::source::Status;

use super::{start, video::play};
use crate::common::camera::{OddRtsp, Rtsp, clip, h264, h265};

/// Each camera sends one frame and then nothing.
#[test]
fn a_frame_is_delivered_before_the_next_one_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    for clip in [h264(folder.path(), "320x240", 5), h265(folder.path(), "320x240", 5)] {
        for transport in ["tcp", "udp"] {
            let mut camera = OddRtsp::start(&clip, &["frames=1"]);
            let mut source =
                start(&format!("rtsp: '{}', transport: {transport}, stall_after: 1h", camera.url()));
            let frame = source.next();
            let late = frame.captured_at.as_microsecond() as f64 / 1e6 - camera.sent();
            assert!(late >= 0.0, "{late}");
            assert_eq!((frame.picture.width, frame.picture.height), (320, 240));
            drop(frame);
            assert_eq!(*source.status.borrow(), Status::Online);
            source.stop();
        }
    }
}

/// The camera sends each frame after the one before it has arrived.
#[test]
fn every_frame_of_a_slow_camera_is_delivered_before_the_next_one_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = OddRtsp::start(&h264(folder.path(), "320x240", 2), &["fps=0.1", "waits=yes"]);
    let mut source =
        start(&format!("rtsp: '{}', every: 20ms, unchanged: score, stall_after: 1h", camera.url()));
    for number in 0..4 {
        camera.send();
        let (frame, sent) = (source.next(), camera.sent());
        let captured = frame.captured_at.as_microsecond() as f64 / 1e6;
        assert!(captured >= sent, "{number}: {captured} {sent}");
    }
    source.stop();
}

#[test]
fn a_camera_may_take_long_to_describe_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let clip = h264(folder.path(), "320x240", 5);
    let slow = OddRtsp::start(&clip, &["delay=11"]);
    let mut patient = start(&format!("rtsp: '{}'", slow.url()));
    let mut hasty = start(&format!("rtsp: '{}', open_timeout: 1s", slow.url()));
    drop(patient.next());
    patient.stop();
    assert!(hasty.within(Duration::ZERO).is_none(), "11 s are more than 1 s");
    hasty.stop();
}

/// FFmpeg returned the frame that its parser held after the interruption, and the time began again. That an interruption ends
/// the stream whatever is returned after it is tested beside `Deadline`.
#[test]
fn every_frame_arrives_before_a_stall_is_reported_and_none_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let camera = OddRtsp::start(&h264(folder.path(), "320x240", 5), &["frames=3"]);
    let mut source =
        start(&format!("rtsp: '{}', every: 20ms, unchanged: score, stall_after: 15s", camera.url()));
    (0..3).for_each(|_| drop(source.next()));
    source.wait_for(Status::Stalled);
    assert!(source.within(Duration::ZERO).is_none(), "the camera sent three frames");
    source.stop();
}

#[test]
fn the_other_transport_is_used_where_one_is_refused_or_delivers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clip = h264(folder.path(), "320x240", 5);
    for oddity in ["refuses=tcp", "refuses=udp", "silent=tcp"] {
        let camera = OddRtsp::start(&clip, &[oddity]);
        let mut source = start(&format!("rtsp: '{}', stall_after: 2s", camera.url()));
        drop(source.next());
        source.stop();
    }
}

#[test]
fn a_password_may_be_as_long_as_the_client_can_take() {
    let folder = tempfile::tempdir().unwrap();
    // 100 bytes. In percent-encoding they would be 300.
    let password = "&+:;=!$'(),*".repeat(8) + "äü";
    let words = [format!("password={password}"), "user=me".to_owned()];
    let camera = OddRtsp::start(&h264(folder.path(), "320x240", 5), &words.each_ref().map(|word| &**word));
    let quoted = password.replace('\'', "''");
    let mut source = start(&format!("rtsp: '{}', username: me, password: '{quoted}'", camera.url()));
    drop(source.next());
    source.stop();
}

/// FFmpeg's client can do neither.
#[test]
fn basic_authentication_works_without_parameters_and_with_long_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let clip = h264(folder.path(), "320x240", 5);
    let long = "0123456789".repeat(20);
    for (challenge, password) in [("Basic", "hunter2"), ("Basic realm=x", &*long), ("basic", &*long)] {
        let words = [format!("challenge={challenge}"), "user=me".to_owned(), format!("password={password}")];
        let camera = OddRtsp::start(&clip, &words.each_ref().map(|word| &**word));
        let mut source = start(&format!("rtsp: '{}', username: me, password: '{password}'", camera.url()));
        drop(source.next());
        source.stop();
    }
}

/// A stream with one key frame, whose picture is refreshed by a column that moves across it within ten frames.
fn refreshed(folder: &Path) -> PathBuf {
    let words = "-f lavfi -i testsrc2=size=320x240:rate=10 -t 6 -c:v libx264 -preset fast -bf 0 -refs 1 -g 10 -pix_fmt yuv420p \
                 -x264-params aud=1:scenecut=0:intra-refresh=1:keyint=10 -f h264";
    clip(words, &folder.join("refreshed.h264"))
}

/// Where each frame of an elementary stream begins.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let delimiter = [0, 0, 0, 1, 9];
    bytes.windows(5).enumerate().filter(|(_, bytes)| *bytes == delimiter).map(|(at, _)| at).collect()
}

#[test]
fn a_stream_without_key_frames_is_decoded_whatever_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let file = refreshed(folder.path());
    let (whole, counts) = play(&file, "pace: full, decode: all, every: 100ms");
    assert_eq!(whole.len(), 60, "{counts}");
    let (some, counts) = play(&file, "pace: full");
    assert_eq!(some.len(), 6, "{counts}");
    assert!(some.iter().all(|frame| whole.contains(frame)), "{counts}");
    let (some, counts) = play(&file, "pace: full, decode: key_frames");
    assert!(some.len() >= 4 && some.iter().all(|frame| whole.contains(frame)), "{}: {counts}", some.len());

    let camera = Rtsp::start(&[&file]);
    let mut source = start(&format!("rtsp: '{}', every: 1s, unchanged: score", camera.url()));
    for _ in 0..8 {
        let frame = source.next();
        assert!(whole.contains(&frame.picture.rgb().into_owned()), "{}", source.counts.snapshot());
    }
    source.stop();
}

/// Joined between two key frames, and with damaged frames while the picture is refreshed for the first time.
#[test]
fn a_refresh_is_scored_when_it_is_complete_and_intact() {
    let folder = tempfile::tempdir().unwrap();
    let file = refreshed(folder.path());
    let settings = "pace: full, decode: all, every: 20ms";
    let (whole, counts) = play(&file, settings);
    assert_eq!(whole.len(), 60, "{counts}");
    let bytes = fs::read(&file).unwrap();
    let starts = starts(&bytes);
    let cut = folder.path().join("cut.h264");
    fs::write(&cut, &bytes[starts[5]..]).unwrap();
    let (joined, counts) = play(&cut, settings);
    assert!((35..55).contains(&joined.len()), "{}: {counts}", joined.len());
    assert!(joined == whole[whole.len() - joined.len()..], "{counts}");

    let mut damaged = bytes[starts[5]..].to_vec();
    // The decoder does not notice each damage of its data, but one of these.
    for number in 12..15 {
        let (from, to) = (starts[number] - starts[5], starts[number + 1] - starts[5]);
        damaged[from + (to - from) * 3 / 10..from + (to - from) * 9 / 10].fill(0x5a);
    }
    fs::write(&cut, damaged).unwrap();
    let (intact, counts) = play(&cut, settings);
    assert!(!intact.is_empty() && intact.len() < joined.len(), "{}: {counts}", intact.len());
    assert!(intact == whole[whole.len() - intact.len()..], "{counts}");
}
