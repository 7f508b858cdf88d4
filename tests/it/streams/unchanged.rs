//! What did not change is not scored again, with real streams and real footage.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Running, start};
use crate::common::{
    camera::{Rtsp, clip},
    fixtures,
};

/// Frames of a recording that is played like a camera, one letter each: `X` one to be scored, `.` the one before again.
fn letters(source: &mut Running, count: usize) -> String {
    let (mut last, mut letters) = (None, String::new());
    let end = Instant::now() + Duration::from_secs(40);
    while letters.len() < count && Instant::now() < end {
        let Some(frame) = source.within(Duration::from_millis(500)) else {
            if *source.status.borrow() == stakeout::source::Status::Offline && !letters.is_empty() {
                break;
            }
            continue;
        };
        let picture = Arc::clone(&frame.picture);
        letters.push(if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &picture)) { '.' } else { 'X' });
        last = Some(picture);
    }
    letters
}

/// A yard with noise; from 2 s to 3 s of each 4 somebody of half a percent of the picture stands in it.
fn yard(folder: &Path) -> std::path::PathBuf {
    clip(
        "-f lavfi -i color=0x607060:size=640x480:rate=10 -t 4 \
         -vf drawbox=x=0:y=0:w=640:h=160:color=0x90a0c0:t=fill,\
         drawbox=x=300:y=240:w=28:h=56:color=0x303040:t=fill:enable='between(t,2,3)',noise=alls=8:allf=t \
         -c:v libx264 -preset ultrafast -g 5 -bf 0 -pix_fmt yuv420p -x264-params aud=1:scenecut=0 -f h264",
        &folder.join("yard.h264"),
    )
}

#[test]
fn only_who_comes_and_goes_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Rtsp::start(&[&yard(folder.path())]);
    let mut source = start(&format!("rtsp: '{}', every: 500ms", camera.url()));
    let seen = letters(&mut source, 24);
    let counts = source.counts.snapshot();
    assert_eq!(seen.len(), 24, "{seen} {counts}");
    // Twelve seconds are three visits: one to come and one to go, each, and the first frame.
    let scored = seen.matches('X').count();
    assert!((5..=8).contains(&scored), "{seen} {counts}");
    assert_eq!(seen.find('.'), Some(1), "{seen}");
    assert!(counts.sent + counts.skipped["unchanged"] >= 24, "{counts}");
    source.stop();

    let mut all = start(&format!("rtsp: '{}', every: 500ms, unchanged: score", camera.url()));
    assert_eq!(letters(&mut all, 6), "XXXXXX");
    all.stop();
    let mut often = start(&format!("rtsp: '{}', every: 200ms, at_least_every: 1s", camera.url()));
    let seen = letters(&mut often, 20);
    assert!(!seen.contains("......"), "{seen}");
    often.stop();
}

/// Real footage: an empty room, and one person after the other who crosses it.
#[test]
fn in_a_real_room_people_are_scored_and_the_empty_room_is_not() {
    let Some(media) = fixtures("media") else { return };
    let file = media.join("one-by-one-person-detection.mp4");
    // As a camera would be treated, as fast as it can be read.
    let settings = "pace: full, unchanged: repeat, at_least_every: 1h";
    let mut source = start(&format!("video: '{}', {settings}", file.display()));
    let seen = letters(&mut source, 139);
    assert!(seen.len() >= 139, "{seen}");
    // Nobody is there at first; then somebody walks in.
    assert!(seen.starts_with("X...."), "{seen}");
    assert!(seen[5..9].matches('X').count() >= 3, "{seen}");
    let scored = seen.matches('X').count();
    assert!((20..100).contains(&scored), "{scored} of {}: {seen}", seen.len());
    source.stop();
}
