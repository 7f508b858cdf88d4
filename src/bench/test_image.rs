//! A picture to measure with where none is given, and labels for it.
//!
//! Pure, and the same every time. How long a picture takes to decode depends on how much there is to see in it, so it has
//! surfaces, edges and noise as a camera's picture has.

use crate::picture::Picture;

/// A picture of this size.
pub(crate) fn picture(width: u32, height: u32) -> Picture {
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

/// So many different labels.
pub(crate) fn labels(count: usize) -> Vec<String> {
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
    fn the_picture_is_no_easier_than_a_camera_s() {
        let picture = picture(1920, 1080);
        assert_eq!(picture.rgb().len(), 1920 * 1080 * 3);
        let bytes = picture.to_jpeg(90).unwrap().len();
        assert!((200_000..2_000_000).contains(&bytes), "{bytes} bytes");
    }
}
