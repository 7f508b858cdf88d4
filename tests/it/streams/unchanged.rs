//! Unchanged frames share the picture of the frame before and are not scored again: with real streams and real footage.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stakeout::source::Status;

use super::{Running, start};
use crate::common::{
    camera::{Rtsp, clip},
    fixtures, wait_until,
};

/// One letter for each frame until `enough` is true or the recording ends: `X` has a new picture, `.` shares the one before.
fn letters(source: &mut Running, enough: impl Fn(&str) -> bool) -> String {
    let (mut last, mut letters) = (None, String::new());
    wait_until("enough frames have arrived", || {
        let ended = *source.status.borrow() == Status::Offline && !source.has_frame() && !letters.is_empty();
        while let Some(frame) = (!enough(&letters)).then(|| source.within(Duration::ZERO)).flatten() {
            let picture = Arc::clone(&frame.picture);
            let same = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &picture));
            letters.push(if same { '.' } else { 'X' });
            last = Some(picture);
        }
        ended || enough(&letters)
    });
    letters
}

/// A yard with image noise. From 2 s to 3 s of each 4 s there is a figure, half a percent of the picture in size.
fn yard(file: &Path, seconds: u32) -> PathBuf {
    let words = format!(
        "-f lavfi -i color=0x607060:size=640x480:rate=10 -t {seconds} \
         -vf drawbox=x=0:y=0:w=640:h=160:color=0x90a0c0:t=fill,\
         drawbox=x=300:y=240:w=28:h=56:color=0x303040:t=fill:enable='between(mod(t,4),2,3)',noise=alls=8:allf=t \
         -c:v libx264 -preset ultrafast -g 5 -bf 0 -pix_fmt yuv420p -x264-params aud=1:scenecut=0"
    );
    clip(&words, file)
}

#[test]
fn only_frames_on_which_a_figure_comes_or_goes_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let three_visits = yard(&folder.path().join("yard.mp4"), 12);
    let settings = "pace: full, unchanged: repeat, at_least_every: 1h, every: 500ms";
    let mut recording = start(&format!("video: '{}', {settings}", three_visits.display()));
    let seen = letters(&mut recording, |_| false);
    let counts = recording.counts.snapshot();
    assert!(seen.len() >= 23, "{seen} {counts}");
    // The first frame, and for each visit one frame with the figure and one without it again.
    let scored = seen.matches('X').count();
    assert!((5..=8).contains(&scored), "{seen} {counts}");
    assert_eq!(seen.find('.'), Some(1), "{seen}");
    assert_eq!(counts.sent + counts.skipped["unchanged"], seen.len() as u64, "{counts}");
    recording.stop();

    let camera = Rtsp::start(&[&yard(&folder.path().join("yard.h264"), 4)]);
    let mut source = start(&format!("rtsp: '{}', every: 500ms, at_least_every: 1h", camera.url()));
    let seen = letters(&mut source, |seen| seen.matches('X').count() >= 3);
    assert!(seen.contains("X."), "{seen}");
    source.stop();
    let mut all = start(&format!("rtsp: '{}', every: 500ms, unchanged: score", camera.url()));
    assert_eq!(letters(&mut all, |seen| seen.len() == 6), "XXXXXX");
    all.stop();
    let mut often = start(&format!("rtsp: '{}', every: 200ms, at_least_every: 1s", camera.url()));
    let seen = letters(&mut often, |seen| seen.len() == 20);
    assert!(!seen.contains("......"), "{seen}");
    often.stop();
}

/// Real footage: an empty room that people cross, one after the other.
#[test]
fn people_in_a_real_room_are_scored_and_the_empty_room_is_not() {
    let Some(media) = fixtures("media") else { return };
    let file = media.join("one-by-one-person-detection.mp4");
    // The settings of a camera, but as fast as the file can be read.
    let settings = "pace: full, unchanged: repeat, at_least_every: 1h";
    let mut source = start(&format!("video: '{}', {settings}", file.display()));
    let seen = letters(&mut source, |seen| seen.len() == 139);
    assert!(seen.len() >= 139, "{seen}");
    // The room is empty at first; then a person walks in.
    assert!(seen.starts_with("X...."), "{seen}");
    assert!(seen[5..9].matches('X').count() >= 3, "{seen}");
    let scored = seen.matches('X').count();
    assert!((20..100).contains(&scored), "{scored} of {}: {seen}", seen.len());
    source.stop();
}
