//! Videos whose container or encoder declares that they are turned, mirrored or have pixels that are not square.

use std::{fs, path::Path, sync::Arc, time::Duration};

use stakeout::{
    config::Decode,
    picture::{Limits, Picture},
    source::{Recording, Status},
};

use super::start;
use crate::common::camera::{OddRtsp, clip};

/// A picture with a red corner at the top left and a blue one at the top right, on grey.
const CORNERS: &str = "-f lavfi -i color=c=gray:size=64x32:rate=5 -t 1 \
                       -vf drawbox=x=0:y=0:w=16:h=16:color=red:t=fill,drawbox=x=48:y=0:w=16:h=16:color=blue:t=fill";

/// Writes a display matrix into the track header of an MP4 file.
fn set_matrix(file: &Path, [a, b, c, d]: [i32; 4]) {
    let mut bytes = fs::read(file).unwrap();
    let header = bytes.windows(4).position(|name| name == b"tkhd").unwrap();
    // The name, version and flags, five numbers, and the fields before the matrix.
    let matrix = header + 4 + 4 + 20 + 16;
    for (place, number) in [(0, a), (1, b), (3, c), (4, d)] {
        bytes[matrix + place * 4..][..4].copy_from_slice(&(number << 16).to_be_bytes());
    }
    fs::write(file, bytes).unwrap();
}

/// The colours of the corners: top left, top right, bottom left, bottom right.
fn corners(picture: &Picture) -> String {
    let (rgb, width, height) = (picture.rgb(), picture.width as usize, picture.height as usize);
    let letter = |x: usize, y: usize| match rgb[(y * width + x) * 3..][..3] {
        [r, _, b] if r > b.saturating_add(60) => 'R',
        [r, _, b] if b > r.saturating_add(60) => 'B',
        _ => '.',
    };
    let (right, bottom) = (width - 4, height - 4);
    [(3, 3), (right, 3), (3, bottom), (right, bottom)].map(|(x, y)| letter(x, y)).iter().collect()
}

/// The first frame as a `video` source and as `replay` read it.
fn both(file: &Path) -> [Picture; 2] {
    let mut source = start(&format!("video: '{}', pace: full", file.display()));
    let streamed = source.next().picture;
    source.wait_for(Status::Offline);
    let info = source.counts.stream.borrow().clone().unwrap();
    assert_eq!(info.size, (streamed.width, streamed.height));
    source.stop();
    let mut recording =
        Recording::open(file, Duration::from_secs(1), Decode::Auto, Limits::of(10_000_000), Arc::default())
            .unwrap();
    [streamed, recording.next_frame().unwrap().unwrap().1].map(|picture| Picture::clone(&picture))
}

#[test]
fn turned_videos_are_upright_in_streams_and_replay() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ([1, 0, 0, 1], (64, 32), "RB.."),
        ([0, 1, -1, 0], (32, 64), ".R.B"),
        ([-1, 0, 0, -1], (64, 32), "..BR"),
        ([0, -1, 1, 0], (32, 64), "B.R."),
        ([-1, 0, 0, 1], (64, 32), "BR.."),
        ([1, 0, 0, -1], (64, 32), "..RB"),
    ];
    for (format, encoder) in [
        ("yuv420p", "libx264"),
        ("yuv422p", "libx264"),
        ("yuv420p10le", "libx265 -x265-params log-level=error"),
    ] {
        for (matrix, size, expected) in cases {
            let words = format!("{CORNERS},format={format} -c:v {encoder} -crf 10");
            let file = clip(&words, &folder.path().join("turned.mp4"));
            set_matrix(&file, matrix);
            for picture in both(&file) {
                let found = ((picture.width, picture.height), corners(&picture));
                assert_eq!(found, (size, expected.to_owned()), "{format} {matrix:?}");
            }
        }
    }
}

#[test]
fn pixels_become_square_in_streams_and_replay() {
    let folder = tempfile::tempdir().unwrap();
    for (ratio, size) in [("2/1", (128, 32)), ("1/2", (32, 32)), ("1/1", (64, 32))] {
        let words = format!("{CORNERS},format=yuv420p,setsar={ratio} -c:v libx264 -crf 10");
        for name in ["wide.mp4", "wide.ts"] {
            for picture in both(&clip(&words, &folder.path().join(name))) {
                let found = ((picture.width, picture.height), corners(&picture));
                assert_eq!(found, (size, "RB..".to_owned()), "{name} {ratio}");
            }
        }
    }
    // A camera declares it in the encoded video only.
    let words =
        format!("{CORNERS},format=yuv420p,setsar=2/1 -c:v libx264 -crf 10 -x264-params aud=1 -f h264");
    let camera = OddRtsp::start(&clip(&words, &folder.path().join("wide.h264")), &[]);
    let mut source = start(&format!("rtsp: '{}'", camera.url()));
    let picture = source.next().picture;
    assert_eq!((picture.width, picture.height), (128, 32));
    source.stop();
}
