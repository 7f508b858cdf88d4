//! Frames of a video as a model needs them, without making RGB of them in full size first: each plane is resized by itself,
//! and only the small result becomes RGB.
//!
//! Resizing, mixing colours and putting colours between the samples of colour are all sums, so their order makes no
//! difference but for roundings, and for what is clamped on the way: beside hard edges, and colours that are none. The bound,
//! of 255 levels: half a level on average, and at most three for 99 values in a hundred, also of parts of a frame. The tests
//! hold it to that.

use std::ops::Range;

use super::resize::{Filter, resize_plane};
use crate::picture::{Colours, Plane, Planes};

/// Resizes a part of `from` pixels (width, height) to `to` and returns the `window` (columns, rows) of the result as RGB.
pub(crate) fn resize(
    planes: &Planes,
    from: (u32, u32),
    to: (u32, u32),
    window: (Range<usize>, Range<usize>),
    filter: Filter,
) -> Vec<u8> {
    let levels = |plane: Plane<'_>| resize_plane(&plane, from, to, window.clone(), filter);
    let colours = Colours::of(planes.meaning());
    let brightness = levels(planes.brightness());
    match planes.colour() {
        None => brightness.iter().flat_map(|level| colours.rgb(*level, 128.0, 128.0)).collect(),
        Some([blue, red]) => {
            let (blue, red) = (levels(blue), levels(red));
            let pixels = brightness.iter().zip(&blue).zip(&red);
            pixels.flat_map(|((level, blue), red)| colours.rgb(*level, *blue, *red)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::preprocess::{Backend, Preprocessor},
        picture::{Colour, Matrix, Meaning, Picture, Pixels, Planes},
    };

    /// What a camera may see, in planes of which those of colour are halved or not: a sky, walls and coloured things with hard
    /// edges, and noise. All of it is a colour: what is none is clamped here at another time than there.
    fn scene(width: u32, height: u32, halved: (bool, bool), meaning: Meaning) -> Picture {
        let mut state = 7_u32;
        let mut noise = |most: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 24) * most / 256) as i32 - most as i32 / 2
        };
        let thing = |x: u32, y: u32| (x / 150 + y / 90) % 3;
        let brightness = |x: u32, y: u32| match thing(x, y) {
            0 => 200 - (y * 90 / height) as i32,
            1 => 60 + (x * 40 / width) as i32,
            _ => 130,
        };
        let colour = |x: u32, y: u32, which: i32| match thing(x, y) {
            0 => 128 + which * (y * 20 / height) as i32,
            1 => 128 - which * 20,
            _ => 128 + 30,
        };
        let mut plane = |halved: (bool, bool), most, level: &dyn Fn(u32, u32) -> i32| {
            let step = |halved: bool| if halved { 2 } else { 1 };
            let mut levels = Vec::new();
            for y in (0..height).step_by(step(halved.1)) {
                for x in (0..width).step_by(step(halved.0)) {
                    levels.push((level(x, y) + noise(most)).clamp(16, 235) as u8);
                }
            }
            levels
        };
        let brightness = plane((false, false), 12, &brightness);
        let blue = plane(halved, 4, &|x, y| colour(x, y, 1));
        let red = plane(halved, 4, &|x, y| colour(x, y, -1));
        let planes = Planes::new((width, height), brightness, Some(Colour { blue, red, halved }), meaning);
        Picture { width, height, pixels: Pixels::Planes(planes.unwrap()), transparent: None }
    }

    /// By how many levels the model sees something else than the reference would show it: on average, and at most for 99 in
    /// a hundred.
    fn off(preprocessor: &Preprocessor, picture: &Picture) -> (f64, u8) {
        let reference = Picture::of_rgb(picture.width, picture.height, picture.rgb().into_owned());
        let (found, expected) = (preprocessor.bytes(picture), preprocessor.bytes(&reference));
        assert_eq!(found.len(), expected.len());
        let mut off: Vec<u8> = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
        off.sort_unstable();
        (off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64, off[off.len() * 99 / 100])
    }

    #[test]
    fn the_model_sees_what_the_reference_would_show_it() {
        let clip = r#"{"image_processor_type": "CLIPImageProcessor"}"#;
        let siglip = r#"{"image_processor_type": "SiglipImageProcessor"}"#;
        let small = r#"{"image_processor_type": "CLIPImageProcessor", "size": 80, "crop_size": 80}"#;
        let full = Meaning { matrix: Matrix::Bt601, full_range: true };
        let limited = Meaning { matrix: Matrix::Bt709, full_range: false };
        let mut worst = (0.0_f64, 0);
        for json in [clip, siglip, small] {
            let preprocessor = Preprocessor::from_json(json.as_bytes(), Backend::Torchvision).unwrap();
            for ((width, height), meaning) in
                [((1920, 1080), limited), ((641, 481), full), ((320, 240), full)]
            {
                for halved in [(true, true), (true, false), (false, false)] {
                    let whole = scene(width, height, halved, meaning);
                    let parts = [
                        whole.clone(),
                        whole.crop((width / 5) | 1, (height / 7) | 1, width / 2, height / 2),
                        whole.crop(width / 2, height / 2, width, height),
                    ];
                    for part in &parts {
                        let (mean, most) = off(&preprocessor, part);
                        worst = (worst.0.max(mean), worst.1.max(most));
                    }
                }
            }
        }
        assert!(worst.0 <= 0.5 && worst.1 <= 3, "{worst:?}");
    }

    #[test]
    fn any_part_of_any_frame_becomes_as_large_as_asked_for() {
        let json = r#"{"size": {"height": 7, "width": 9}}"#;
        let preprocessor = Preprocessor::from_json(json.as_bytes(), Backend::Torchvision).unwrap();
        let meaning = Meaning { matrix: Matrix::Bt601, full_range: true };
        for size in [(1, 1), (2, 3), (5, 4), (9, 7)] {
            let whole = scene(size.0, size.1, (true, true), meaning);
            for (x, y) in [(0, 0), (size.0 - 1, size.1 - 1), (size.0 / 2, size.1 / 3)] {
                for (width, height) in [(1, 1), (2, 1), (size.0, size.1)] {
                    let part = whole.crop(x, y, width, height);
                    assert_eq!(
                        preprocessor.bytes(&part).len(),
                        7 * 9 * 3,
                        "{size:?} {x} {y} {width} {height}"
                    );
                }
            }
        }
    }
}
