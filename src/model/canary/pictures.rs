//! The pictures of the canary: drawn by a rule, so that every machine has the same ones, and different enough to have different
//! vectors. Pure.

use crate::picture::Picture;

/// Width and height in pixels.
const SIZE: (u32, u32) = (320, 240);

/// The pictures.
#[must_use]
pub fn pictures() -> Vec<Picture> {
    [landscape, tiles, blocks, page].into_iter().map(draw).collect()
}

/// The texts that the pictures are scored against.
pub const TEXTS: [&str; 4] = [
    "a photo of a landscape with a red sun",
    "a photo of a tiled floor",
    "a colourful abstract painting",
    "a scanned page of text",
];

fn draw(colour: fn(u32, u32) -> [u8; 3]) -> Picture {
    let (width, height) = SIZE;
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y)));
    Picture::of_rgb(width, height, pixels.collect())
}

/// A sky that becomes lighter, a red disc, and green ground.
fn landscape(x: u32, y: u32) -> [u8; 3] {
    let (dx, dy) = (x.abs_diff(210), y.abs_diff(90));
    if dx * dx + dy * dy < 45 * 45 {
        return [220, 40, 30];
    }
    match y {
        0..150 => [90 + part(y), 140 + part(y), 230],
        _ => [40, 150 - part(y - 150), 50],
    }
}

/// Squares of two colours, one of which changes from left to right.
fn tiles(x: u32, y: u32) -> [u8; 3] {
    match (x / 40 + y / 40) % 2 {
        0 => [235, 230, 215],
        _ => [60 + part(x / 4), 60, 90],
    }
}

/// Blocks of colours that a generator of random numbers chose.
fn blocks(x: u32, y: u32) -> [u8; 3] {
    let number = (x / 20 + 31 * (y / 20) + 1).wrapping_mul(2_654_435_761);
    let [red, green, blue, _] = (number ^ (number >> 15)).wrapping_mul(2_246_822_519).to_be_bytes();
    [red, green, blue]
}

/// Dark words in lines on white paper.
fn page(x: u32, y: u32) -> [u8; 3] {
    let (line, word) = (y / 14, x / 9);
    let is_margin = !(24..296).contains(&x) || !(16..224).contains(&y);
    let is_gap = y % 14 < 6 || (word + line * 5).is_multiple_of(7) || x.is_multiple_of(9);
    if is_margin || is_gap { [250, 249, 245] } else { [35, 35, 40] }
}

/// A number below 100 as a part of a colour.
fn part(number: u32) -> u8 {
    u8::try_from(number.min(99)).unwrap_or(99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_differ_and_never_change() {
        let pictures = pictures();
        assert_eq!(pictures.len(), TEXTS.len());
        for (number, picture) in pictures.iter().enumerate() {
            assert_eq!((picture.width, picture.height), SIZE);
            assert!(pictures[..number].iter().all(|other| other.rgb() != picture.rgb()), "{number}");
        }
        // The stored vectors of every machine belong to these pixels.
        let first = |picture: &Picture| picture.rgb()[..3].to_vec();
        let corners: Vec<_> = pictures.iter().map(first).collect();
        assert_eq!(corners[0], [90, 140, 230]);
        assert_eq!((&corners[1][..], &corners[3][..]), (&[235, 230, 215][..], &[250, 249, 245][..]));
    }
}
