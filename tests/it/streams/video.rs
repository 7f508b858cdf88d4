//! Recordings: every asked frame once, with the right colours, and none that shows what never was.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use stakeout::source::Status;

use super::start;
use crate::common::camera::{clip, h264};

const MOVING: &str =
    "-f lavfi -i testsrc2=size=320x240:rate=10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast";

/// The pixels of all frames of a file that is played to its end, and what was counted.
pub(super) fn play(file: &Path, settings: &str) -> (Vec<Vec<u8>>, stakeout::source::Snapshot) {
    let mut source = start(&format!("video: '{}', {settings}", file.display()));
    let mut frames = vec![source.next().picture.rgb().into_owned()];
    let end = Instant::now() + Duration::from_secs(15);
    while *source.status.borrow() != Status::Offline || !source.frames.is_empty() {
        assert!(Instant::now() < end);
        frames.extend(source.within(Duration::from_millis(20)).map(|frame| frame.picture.rgb().into_owned()));
    }
    assert!(source.within(Duration::from_millis(1200)).is_none(), "it is played again");
    let counts = source.counts.snapshot();
    assert!(source.stop() < Duration::from_secs(2));
    (frames, counts)
}

#[test]
fn a_recording_gives_the_same_frames_however_it_is_decoded_and_is_not_played_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 5 -g 10 -bf 2"), &folder.path().join("a.mp4"));
    let (all, counts) = play(&file, "pace: full, decode: all");
    assert_eq!((all.len(), counts.sent, counts.seen), (5, 5, 5), "{counts}");
    let (few, counts) = play(&file, "pace: full, decode: key_frames");
    assert_eq!((few.len(), counts.skipped.get("not_decoded")), (5, Some(&45)), "{counts}");
}

/// Key frames every two seconds, of which one a second is wanted: half of what lies between is never decoded.
#[test]
fn what_stands_before_a_key_frame_that_is_due_is_not_decoded_and_no_frame_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let even = "-g 20 -sc_threshold 0";
    // After ten seconds the key frame that is waited for does not come.
    let late = "-g 1000 -sc_threshold 0 -force_key_frames 0,2,4,6,8,14,16";
    for (name, keys, late_frames) in [("even.mp4", even, 0), ("late.mp4", late, 1)] {
        let file = clip(&format!("{MOVING} -t 18 {keys} -bf 0"), &folder.path().join(name));
        let (all, counts) = play(&file, "pace: full, decode: all");
        assert_eq!((all.len(), counts.skipped.get("not_decoded")), (18, None), "{counts}");
        let (some, counts) = play(&file, "pace: full");
        assert!(some.len() == 18 && counts.skipped["not_decoded"] >= 9, "{name}: {}, {counts}", some.len());
        let other = some.iter().zip(&all).filter(|(some, all)| some != all).count();
        assert_eq!(other, late_frames, "{name}: {counts}");
    }
}

/// With frames that no other builds on: they are left out, and what is delivered is whole.
#[test]
fn frames_that_no_other_builds_on_are_left_out_unless_they_are_due() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 12 -g 200 -bf 3 -b_strategy 0"), &folder.path().join("a.mp4"));
    let (whole, _) = play(&file, "pace: full, decode: all, every: 20ms");
    assert!(whole.len() >= 117, "{}", whole.len());
    let (some, counts) = play(&file, "pace: full, decode: all");
    assert_eq!((some.len(), counts.failed.len()), (12, 0), "{counts}");
    assert!(some.iter().all(|frame| whole.contains(frame)), "{counts}");
}

/// Two recordings behind each other in one file, as cameras write them whose clock was set meanwhile.
#[test]
fn a_time_that_jumps_loses_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let both: Vec<u8> = ["0", "95440", "3"]
        .iter()
        .flat_map(|offset| {
            let words = format!("{MOVING} -t 4 -g 10 -bf 0 -output_ts_offset {offset} -f mpegts");
            fs::read(clip(&words, &folder.path().join("part.ts"))).unwrap()
        })
        .collect();
    let file = folder.path().join("both.ts");
    fs::write(&file, both).unwrap();
    let (frames, counts) = play(&file, "pace: full, decode: all");
    assert!((11..=13).contains(&frames.len()), "{}: {counts}", frames.len());
}

#[test]
fn a_recording_is_played_as_it_was_recorded_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 2 -g 10"), &folder.path().join("a.mp4"));
    let began = Instant::now();
    let mut source = start(&format!("video: '{}', every: 500ms", file.display()));
    for _ in 0..4 {
        source.next();
    }
    assert!(began.elapsed() > Duration::from_millis(1400), "{:?}", began.elapsed());
    source.wait_for(Status::Offline);
    source.stop();
}

/// Whatever is delivered of a damaged recording is, pixel by pixel, a frame of the whole one.
#[test]
fn no_frame_is_delivered_that_shows_what_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 6 -g 10 -bf 0 -f mpegts"), &folder.path().join("a.ts"));
    let settings = "pace: full, decode: all, every: 100ms";
    let (whole, counts) = play(&file, settings);
    assert!(whole.len() >= 58, "{counts}");
    let whole = whole.into_iter().collect::<BTreeSet<_>>();

    let mut bytes = fs::read(&file).unwrap();
    let (from, to) = (bytes.len() / 4, bytes.len() * 3 / 4);
    // Inside the payload of every 20th packet of the transport stream.
    for packet in (from / 188..to / 188).step_by(20) {
        bytes[packet * 188 + 60..packet * 188 + 120].fill(0x5a);
    }
    let damaged = folder.path().join("damaged.ts");
    fs::write(&damaged, bytes).unwrap();
    let (frames, counts) = play(&damaged, settings);
    assert!((10..55).contains(&frames.len()), "{counts}");
    assert!(!counts.failed.is_empty(), "{counts}");
    let wrong = frames.iter().filter(|frame| !whole.contains(*frame)).count();
    assert_eq!(wrong, 0, "of {} frames; {counts}", frames.len());
}

/// A bare stream that begins between two key frames, as a camera's does, and has no time stamps.
#[test]
fn nothing_is_delivered_before_the_first_key_frame() {
    let folder = tempfile::tempdir().unwrap();
    let file = h264(folder.path(), "320x240", 10);
    let settings = "pace: full, decode: all, every: 20ms";
    let (whole, counts) = play(&file, settings);
    assert_eq!(whole.len(), 40, "{counts}");

    let bytes = fs::read(&file).unwrap();
    let delimiter = [0, 0, 0, 1, 9];
    let starts = bytes.windows(5).enumerate().filter(|(_, bytes)| *bytes == delimiter).map(|(at, _)| at);
    let sixth = starts.collect::<Vec<_>>()[5];
    let cut = folder.path().join("cut.h264");
    fs::write(&cut, &bytes[sixth..]).unwrap();
    let (frames, counts) = play(&cut, settings);
    assert!(frames == whole[10..], "{} frames; {counts}", frames.len());
    assert_eq!(counts.skipped.get("before_key_frame"), Some(&5), "{counts}");
}

#[test]
fn colours_are_what_the_stream_means() {
    let folder = tempfile::tempdir().unwrap();
    let colour =
        |size: &str, rest: &str| format!("-f lavfi -i color=c=0xC83214:size={size}:rate=5 -t 1 {rest}");
    let cases = [
        (
            "sd.mp4",
            colour("320x240", "-vf scale=out_color_matrix=bt601:out_range=tv,format=yuv420p -c:v libx264"),
        ),
        (
            "hd.mp4",
            colour("1280x720", "-vf scale=out_color_matrix=bt709:out_range=tv,format=yuv420p -c:v libx264"),
        ),
        (
            "tagged.mp4",
            colour(
                "320x240",
                "-vf scale=out_color_matrix=bt709:out_range=tv,format=yuv420p -colorspace bt709 -c:v libx264",
            ),
        ),
        (
            "full.mp4",
            colour(
                "320x240",
                "-vf scale=out_color_matrix=bt601:out_range=pc,format=yuv420p -color_range pc -c:v libx264",
            ),
        ),
        (
            "motion.avi",
            colour(
                "320x240",
                "-vf scale=out_color_matrix=bt601:out_range=pc,format=yuvj420p -c:v mjpeg -q:v 2",
            ),
        ),
    ];
    for (name, words) in cases {
        let file = clip(&words, &folder.path().join(name));
        let (frames, counts) = play(&file, "pace: full");
        assert_eq!(frames.len(), 1, "{counts}");
        let middle = frames[0].len() / 6 * 3;
        let off =
            frames[0][middle..middle + 3].iter().zip([0xC8, 0x32, 0x14]).map(|(a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(4), "{name}: {:?}", &frames[0][middle..middle + 3]);
    }
}
