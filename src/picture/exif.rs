//! The EXIF orientation: how the camera was held, and the pixels turned upright.

use image::{DynamicImage, RgbImage, metadata::Orientation};

use super::Picture;

/// Turns `picture` upright, by what its EXIF block (a small TIFF) says; without one it stays.
pub(super) fn upright(picture: Picture, exif: Option<&[u8]>) -> Picture {
    let Some(orientation) = exif.and_then(Orientation::from_exif_chunk) else { return picture };
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let Picture { width, height, rgb, transparent } = picture;
    let image = RgbImage::from_raw(width, height, rgb).expect("a picture holds width * height * 3 bytes");
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Picture { width: image.width(), height: image.height(), rgb: image.into_rgb8().into_raw(), transparent }
}

/// The EXIF block of a JPEG: the first APP1 segment that says so.
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
        // Pixels begin (SOS) or the picture ends (EOI): no EXIF comes after that.
        if marker == 0xDA || marker == 0xD9 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let segment = rest.get(4..2 + length)?;
        if let (0xE1, Some(exif)) = (marker, segment.strip_prefix(b"Exif\0\0")) {
            return Some(exif);
        }
        rest = &rest[2 + length..];
    }
}
