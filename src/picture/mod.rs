//! Pictures: decodes bytes of any supported format into upright RGB pixels, with exactly the values of the reference (Pillow).
//! Video frames are pictures too; their pixels stay as the decoder gave them ([`Planes`]). [`mask`] hides parts of a picture.
//!
//! [`decode`] takes bytes; [`read`] reads them, and checks their head first. Not here: resizing (`classify` does it for the
//! model), and alpha blending (the reference drops alpha).

mod bmp_webp;
mod coded;
mod containers;
mod error;
mod files;
mod gif;
mod heif;
mod ifd;
mod jp2;
mod jpeg;
mod limits;
pub mod mask;
mod memory;
mod metadata;
mod pixels;
mod planes;
mod png;
mod tiff;
mod turn;

use std::{
    hash::{DefaultHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};

pub use self::{
    coded::{declared, register_error_texts},
    error::PictureError,
    files::{MAX_BYTES, ReadError, captured_at_of_file, check_head, head, is_picture_file, read, read_file},
    jpeg::shrink as shrink_jpeg,
    limits::{LONGEST, Limits, MAX_PIXELS, MAX_PIXELS_RANGE, MEMORY},
    memory::{Memory, Share, Usage, Use},
    pixels::{Picture, Pixels},
    planes::{Colour, Colours, Matrix, Meaning, Plane, Planes},
    turn::Turn,
};
use self::{limits::TimedReader, metadata::Metadata};

/// Decodes a picture. The format is detected from the content, never from a name.
///
/// Formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC and JPEG 2000; of an animation, the first frame. The orientation that
/// EXIF, XMP or the container declares is applied.
///
/// # Errors
/// The error describes the bytes without naming a file: the caller knows where they came from. The size and everything else
/// that decides about memory is read from the header first. So a picture of more than `max_pixels`, or one that needs more
/// than `memory`, is rejected before anything is allocated for its pixels. A picture that takes longer than [`LONGEST`] to decode
/// is rejected too.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    decode_within(bytes, limits, LONGEST)
}

fn decode_within(bytes: &[u8], limits: Limits, longest: Duration) -> Result<Picture, PictureError> {
    let format = Format::of(bytes)?;
    let began = Instant::now();
    let reader = || TimedReader::new(bytes, longest);
    let decode = || match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => png::decode(bytes, longest, limits),
        Format::Gif => gif::decode(reader(), limits),
        Format::WebP => bmp_webp::webp(bytes, reader(), limits),
        Format::Bmp => bmp_webp::bmp(bytes, reader(), limits),
        Format::Tiff => tiff::decode(bytes, longest, limits),
        Format::Heif(name) => heif::decode(bytes, name, longest, limits),
        Format::Jpeg2000 => jp2::decode(bytes, limits),
    };
    let decoded = caught(decode).unwrap_or_else(|| Err(format.panicked()));
    // After its time limit the reader returns errors, which decoders report in different ways.
    let late = began.elapsed() >= longest;
    decoded
        .map_err(|error| if late { PictureError::TooSlow { format: format.name(), longest } } else { error })
}

/// The most bytes of memory that [`decode`] takes for this picture, the decoded one included. Only its headers are read, which
/// takes microseconds.
///
/// # Errors
/// As [`decode`], as far as the headers decide: among others that the picture exceeds a limit.
pub fn needed(bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    let format = Format::of(bytes)?;
    let reader = || TimedReader::new(bytes, LONGEST);
    let needed = || match format {
        Format::Jpeg => jpeg::needed(bytes, limits),
        Format::Png => png::needed(bytes, limits),
        Format::Gif => gif::needed(reader(), limits),
        Format::WebP => bmp_webp::webp_needed(bytes, reader(), limits),
        Format::Bmp => bmp_webp::bmp_needed(bytes, reader(), limits),
        Format::Tiff => tiff::needed(bytes, limits),
        Format::Heif(name) => heif::needed(bytes, name, limits),
        Format::Jpeg2000 => jp2::needed(bytes, limits),
    };
    caught(needed).unwrap_or_else(|| Err(format.panicked()))
}

/// When a picture was captured: EXIF `DateTimeOriginal` with its fraction and offset. Without an offset it is local time in
/// `zone`. `None` if the picture does not say so. The bytes may be the first ones of a file.
#[must_use]
pub fn captured_at(bytes: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    let format = Format::of(bytes).ok()?;
    let metadata = || match format {
        Format::Jpeg => containers::jpeg(bytes),
        Format::Png => containers::png(bytes),
        Format::WebP => containers::webp(bytes),
        Format::Tiff => Metadata::of_tiff(bytes),
        Format::Heif(_) => heif::metadata(bytes),
        Format::Gif | Format::Bmp | Format::Jpeg2000 => Metadata::default(),
    };
    caught(|| metadata().captured_at(zone))?
}

/// The result of `read`; `None` if it panics. The bytes of a picture may be made to cause a panic, and one bad picture must not
/// end the service.
fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
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
    /// AVIF or HEIC.
    Heif(&'static str),
    Jpeg2000,
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
            _ if bytes.starts_with(&jp2::SIGNATURE) || bytes.starts_with(&jp2::CODESTREAM) => {
                Ok(Self::Jpeg2000)
            }
            _ => heif::format(bytes).map(Self::Heif).ok_or(PictureError::NotAPicture),
        }
    }

    fn panicked(self) -> PictureError {
        PictureError::Corrupt { format: self.name(), reason: "the decoder panicked".to_owned() }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Heif(name) => name,
            Self::Jpeg2000 => "JPEG 2000",
        }
    }
}

#[cfg(test)]
mod tests;
