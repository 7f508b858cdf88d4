//! Pictures: decodes bytes of any supported format into upright RGB pixels, with exactly the values of the reference (Pillow).
//! Video frames are pictures too; their pixels stay as the decoder gave them ([`Planes`]).
//!
//! Not here: reading files (the caller passes bytes), resizing (`classify` does it for the model), and alpha blending (the
//! reference drops alpha).

mod bmp_tiff_webp;
mod error;
mod exif;
mod gif;
mod jpeg;
mod limits;
mod pixels;
mod planes;
mod png;

use std::{
    hash::{DefaultHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use self::limits::TimedReader;
pub use self::{
    error::PictureError,
    jpeg::shrink as shrink_jpeg,
    limits::{LONGEST, MAX_PIXELS},
    pixels::{Picture, Pixels},
    planes::{Colour, Colours, Matrix, Meaning, Plane, Planes},
};

/// Decodes a picture. The format is detected from the content, never from a name.
///
/// Formats: JPEG, PNG, WebP, GIF, BMP and TIFF; of an animation, the first frame. The EXIF orientation is applied.
///
/// # Errors
/// The error describes the bytes without naming a file: the caller knows where they came from. The size is read from the
/// header first, so a picture of more than `max_pixels` is rejected before its pixels are allocated. A picture that takes
/// longer than [`LONGEST`] to decode is rejected too.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    decode_within(bytes, max_pixels, LONGEST)
}

fn decode_within(bytes: &[u8], max_pixels: u64, longest: Duration) -> Result<Picture, PictureError> {
    let format = Format::of(bytes)?;
    let began = Instant::now();
    let reader = || TimedReader::new(bytes, longest);
    let decode = || match format {
        Format::Jpeg => jpeg::decode(bytes, max_pixels),
        Format::Png => png::decode(bytes, reader(), max_pixels),
        Format::Gif => gif::decode(reader(), max_pixels),
        Format::WebP => bmp_tiff_webp::webp(bytes, reader(), max_pixels),
        Format::Bmp => bmp_tiff_webp::bmp(reader(), max_pixels),
        Format::Tiff => bmp_tiff_webp::tiff(reader(), max_pixels),
    };
    // The bytes may be hostile, and a decoder may panic on them: one bad picture must not end the service.
    let decoded = catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(PictureError::Corrupt { format: format.name(), reason: "the decoder panicked".to_owned() })
    });
    // After its time limit the reader returns errors, which decoders report in different ways.
    let late = began.elapsed() >= longest;
    decoded
        .map_err(|error| if late { PictureError::TooSlow { format: format.name(), longest } } else { error })
}

/// A hash of the bytes of a picture, to notice that they changed. It protects against accident, not against intention.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The number of leading bytes that [`is_picture`] needs.
pub const HEAD: usize = 32;

/// Whether a file that starts with `head` is of a format that [`decode`] supports.
#[must_use]
pub fn is_picture(head: &[u8]) -> bool {
    Format::of(head).is_ok()
}

/// The formats, by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Gif,
    WebP,
    Bmp,
    Tiff,
}

impl Format {
    fn of(bytes: &[u8]) -> Result<Self, PictureError> {
        match bytes {
            [] => Err(PictureError::Empty),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'B', b'M', ..] if bytes.len() >= 26 => Ok(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            _ => Err(PictureError::NotAPicture),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

#[cfg(test)]
mod tests;
