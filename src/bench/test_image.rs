//! A test image and labels for measurements without a picture. Pure, and the same every time.
//!
//! The time to decode a picture depends on its detail, so the test image has surfaces, edges and noise like a camera picture.

use crate::picture::Picture;

/// A test image of this size.
pub(super) fn picture(width: u32, height: u32) -> Picture {
    let mut noise = 0x2545_F491_u32;
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            // xorshift (Marsaglia, 2003): a camera's noise is a few steps of 256.
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let grain = (noise >> 29) as i32 - 4;
            let wall = if (x / 97 + y / 61) % 5 == 0 { 60 } else { 0 };
            let sky = (y * 160 / height.max(1)) as i32;
            for channel in [200 - sky + wall, 190 - sky / 2, 120 + sky / 3 - wall] {
                rgb.push((channel + grain).clamp(0, 255) as u8);
            }
        }
    }
    Picture::of_rgb(width, height, rgb)
}

/// Different labels, `count` of them.
pub(super) fn labels(count: usize) -> Vec<String> {
    const THINGS: [&str; 10] = [
        "a person",
        "a parcel",
        "a car",
        "a dog",
        "a cat",
        "a bicycle",
        "an open gate",
        "a fire",
        "an empty street",
        "a bird",
    ];
    let name = |number: usize| match (THINGS[number % THINGS.len()], number / THINGS.len()) {
        (thing, 0) => thing.to_owned(),
        (thing, more) => format!("{thing} beside {} others", more),
    };
    (0..count).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_differ() {
        let mut labels = labels(1000);
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), 1000);
    }

    #[test]
    fn the_test_image_is_as_detailed_as_a_camera_picture() {
        let picture = picture(1920, 1080);
        assert_eq!(picture.rgb().len(), 1920 * 1080 * 3);
        let bytes = picture.to_jpeg(90).unwrap().len();
        assert!((200_000..2_000_000).contains(&bytes), "{bytes} bytes");
    }
}
