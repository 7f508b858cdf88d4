//! The EXIF orientation: finds it in a file, and turns the pixels upright.

use image::{DynamicImage, RgbImage, metadata::Orientation};

use super::pixels::Picture;

const PREFIX: &[u8] = b"Exif\0\0";

/// The orientation in an EXIF block, which is a small TIFF; some writers put `Exif\0\0` before it. No block: not turned.
pub(super) fn orientation(block: Option<&[u8]>) -> Orientation {
    block
        .map(|block| block.strip_prefix(PREFIX).unwrap_or(block))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

/// Turns a picture upright.
pub(super) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let (width, height, transparent) = (picture.width, picture.height, picture.transparent);
    let image = RgbImage::from_raw(width, height, picture.into_rgb())
        .expect("a picture holds width * height * 3 bytes");
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Picture { transparent, ..Picture::of_rgb(image.width(), image.height(), image.into_rgb8().into_raw()) }
}

/// The EXIF block of a JPEG: the first APP1 segment that starts with [`PREFIX`].
pub(super) fn of_jpeg(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        // A marker may be preceded by any number of fill bytes.
        let marker = match rest {
            [0xFF, 0xFF, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xFF, marker, ..] => *marker,
            _ => return None,
        };
        // At the pixels (SOS) or the end (EOI): no EXIF follows.
        if marker == 0xDA || marker == 0xD9 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let segment = rest.get(4..2 + length)?;
        if marker == 0xE1 && segment.starts_with(PREFIX) {
            return Some(segment);
        }
        rest = &rest[2 + length..];
    }
}

/// The EXIF block of a WebP: one of the chunks of its RIFF container.
pub(super) fn of_webp(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let chunk = rest.get(8..)?.get(..length)?;
        if rest.starts_with(b"EXIF") {
            return Some(chunk);
        }
        // A chunk of odd length is followed by a padding byte.
        rest = rest.get(8..)?.get(length + length % 2..)?;
    }
}
