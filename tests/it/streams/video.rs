//! Recordings: every requested frame once, with the right colours, and no frame that the recording does not contain.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use stakeout::source::{Snapshot, Status};

use super::{Running, start};
use crate::common::{
    camera::{clip, h264},
    fixtures, stakeout, wait_until,
};

const MOVING: &str =
    "-f lavfi -i testsrc2=size=320x240:rate=10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast";

/// Plays a file to its end; the pixels of all frames, and the source, which still runs.
fn play_to_end(file: &Path, settings: &str) -> (Vec<Vec<u8>>, Running) {
    let mut source = start(&format!("video: '{}', {settings}", file.display()));
    let mut frames = vec![source.next().picture.rgb().into_owned()];
    wait_until("the recording ends", || {
        let ended = *source.status.borrow() == Status::Offline && !source.has_frame();
        while let Some(frame) = source.within(Duration::ZERO) {
            frames.push(frame.picture.rgb().into_owned());
        }
        ended
    });
    (frames, source)
}

/// The pixels of all frames of a file, and the counts of the source.
pub(super) fn play(file: &Path, settings: &str) -> (Vec<Vec<u8>>, Snapshot) {
    let (frames, source) = play_to_end(file, settings);
    let counts = source.counts.snapshot();
    source.stop();
    (frames, counts)
}

#[test]
fn a_recording_gives_the_same_frames_however_it_is_decoded_and_is_not_played_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 5 -g 10 -bf 2"), &folder.path().join("a.mp4"));
    let (all, source) = play_to_end(&file, "pace: full, decode: all");
    let counts = source.counts.snapshot();
    assert_eq!((all.len(), counts.sent, counts.seen), (5, 5, 5), "{counts}");
    let (few, counts) = play(&file, "pace: full, decode: key_frames");
    assert_eq!((few.len(), counts.skipped.get("not_decoded")), (5, Some(&45)), "{counts}");
    // The first source has had as much time as the second needed for the whole file.
    assert!(!source.has_frame() && source.counts.snapshot().seen == 5, "it is played again");
    source.stop();
}

/// Key frames every two seconds, and one frame a second is requested: half of the frames between are never decoded.
#[test]
fn frames_before_a_due_key_frame_are_not_decoded_and_no_frame_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let even = "-g 20 -sc_threshold 0";
    // After ten seconds the expected key frame is missing.
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

#[test]
fn unreferenced_frames_are_not_decoded_unless_they_are_due() {
    let folder = tempfile::tempdir().unwrap();
    let file = clip(&format!("{MOVING} -t 12 -g 200 -bf 3 -b_strategy 0"), &folder.path().join("a.mp4"));
    let (whole, _) = play(&file, "pace: full, decode: all, every: 20ms");
    assert!(whole.len() >= 117, "{}", whole.len());
    let (some, counts) = play(&file, "pace: full, decode: all");
    assert_eq!((some.len(), counts.failed.len()), (12, 0), "{counts}");
    assert!(some.iter().all(|frame| whole.contains(frame)), "{counts}");
}

/// Several recordings in one file, as a camera writes them when its clock is set.
#[test]
fn a_jump_of_the_time_loses_no_frame() {
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
fn a_recording_is_played_in_real_time_by_default() {
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

/// Every delivered frame of a damaged recording is, pixel by pixel, a frame of the undamaged one.
#[test]
fn damaged_frames_are_never_delivered() {
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

/// An elementary stream without time stamps that begins between two key frames, as the stream of a camera does.
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
fn colours_follow_the_colour_space_of_the_stream() {
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

/// Real footage: three bottles of water on a table. A person takes the left one at 7 s, puts it back at 12 s, takes it again at
/// 17 s and puts it back at 28 s. The model was not trained on empty places, so the test allows other alerts in between.
#[test]
fn a_bottle_raises_while_it_is_on_the_table_and_clears_when_it_is_taken() {
    let (Some(media), Some(model)) = (fixtures("media"), fixtures("mira-clip")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("stakeout.yaml");
    let text = format!(
        "model: {}
mqtt: {{ url: mqtt://127.0.0.1:1 }}
label_sets:
  things:
    template: '{{}}'
    background: [home furnishing, wallets, ties, stoles, scarves, shoes]
    labels: {{ water bottle: {{ threshold: 0.75, clear_below: 0.6, hold: 2 of 3 }} }}
sources:
  table: {{ video: {}, regions: {{ left: [0, 0.2, 0.28, 0.7] }}, watch: [things] }}
",
        model.display(),
        media.join("bottle-detection.mp4").display()
    );
    fs::write(&config, text).unwrap();
    let replayed = stakeout()
        .args(["replay", "--start", "2026-01-01T00:00:00Z", "--config"])
        .arg(&config)
        .arg(media.join("bottle-detection.mp4"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.success(), "{log}");
    let alerts: Vec<(String, u32)> = std::str::from_utf8(&replayed.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let alert: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&alert["label"], &alert["region"]), (&"water bottle".into(), &"left".into()));
            let time = alert["time"].as_str().unwrap();
            (alert["state"].as_str().unwrap().to_owned(), time[17..19].parse().unwrap())
        })
        .collect();
    let is = |alert: Option<&(String, u32)>, state: &str, within: [u32; 2]| {
        alert.is_some_and(|(reported, at)| reported == state && (within[0]..=within[1]).contains(at))
    };
    assert!(is(alerts.first(), "raised", [0, 3]), "{alerts:?}");
    assert!(alerts.iter().any(|alert| is(Some(alert), "cleared", [16, 19])), "{alerts:?}");
    assert!(is(alerts.last(), "raised", [27, 30]), "{alerts:?}");
}
