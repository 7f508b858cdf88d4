//! Prepares frames of a video without converting them to RGB in full size: each plane is resized separately, and only the
//! small result becomes RGB.
//!
//! Resizing, mixing colours and interpolating the colour samples are all sums, so their order makes no difference except for
//! rounding and for clamping, which happens at hard edges and for values that are no colour. The error, of 255 levels, is at
//! most half a level on average and three levels for 99 % of the values, also for parts of a frame. The tests check it.

use std::ops::Range;

use super::resize::{Filter, resize_plane};
use crate::picture::{Colours, Plane, Planes};

/// Resizes a part of `from` pixels (width, height) to `to` and returns the `window` (columns, rows) of the result as RGB.
pub(super) fn resize(
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

    /// A picture as a camera may see it: a sky, walls and coloured objects with hard edges, and noise. Every value is a
    /// colour, since others are clamped at another time than in the reference. `halved` says in which directions the colour
    /// planes are halved.
    fn test_image(width: u32, height: u32, halved: (bool, bool), meaning: Meaning) -> Picture {
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

    /// The error in levels: on average, and the largest among the best 99 %.
    fn error(preprocessor: &Preprocessor, picture: &Picture) -> (f64, u8) {
        let reference = Picture::of_rgb(picture.width, picture.height, picture.rgb().into_owned());
        let (found, expected) = (preprocessor.bytes(picture), preprocessor.bytes(&reference));
        assert_eq!(found.len(), expected.len());
        let mut errors: Vec<u8> = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
        errors.sort_unstable();
        let mean = errors.iter().map(|error| f64::from(*error)).sum::<f64>() / errors.len() as f64;
        (mean, errors[errors.len() * 99 / 100])
    }

    #[test]
    fn the_result_is_close_to_the_references() {
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
                    let whole = test_image(width, height, halved, meaning);
                    let parts = [
                        whole.clone(),
                        whole.crop((width / 5) | 1, (height / 7) | 1, width / 2, height / 2),
                        whole.crop(width / 2, height / 2, width, height),
                    ];
                    for part in &parts {
                        let (mean, most) = error(&preprocessor, part);
                        worst = (worst.0.max(mean), worst.1.max(most));
                    }
                }
            }
        }
        assert!(worst.0 <= 0.5 && worst.1 <= 3, "{worst:?}");
    }

    #[test]
    fn any_part_of_any_frame_gets_the_models_size() {
        let json = r#"{"size": {"height": 7, "width": 9}}"#;
        let preprocessor = Preprocessor::from_json(json.as_bytes(), Backend::Torchvision).unwrap();
        let meaning = Meaning { matrix: Matrix::Bt601, full_range: true };
        for size in [(1, 1), (2, 3), (5, 4), (9, 7)] {
            let whole = test_image(size.0, size.1, (true, true), meaning);
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
