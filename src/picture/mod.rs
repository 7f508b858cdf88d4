//! A picture: bytes of any supported format in, upright RGB pixels out, exactly as the reference (Pillow) decodes them. A
//! frame of a video is a picture, too, whose pixels stay as its decoder gave them ([`Planes`]).
//!
//! Refuses: files (the caller brings bytes), resizing (that belongs to the model), blending of transparency (the
//! reference drops it), anything that would decode to more pixels than the caller allows, and what takes too long to decode.

mod error;
mod exif;
mod gif;
mod jpeg;
mod others;
mod patience;
mod planes;
mod png;

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

pub use error::PictureError;
use patience::Patience;
pub use planes::{Colour, Colours, Matrix, Meaning, Plane, Planes};

/// Decoded pixels, upright.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// What stands there.
    pub pixels: Pixels,
    /// The one colour that the file declared transparent; the reference turns it white for models that convert to RGB.
    pub transparent: Option<[u8; 3]>,
}

/// The pixels of a picture.
#[derive(Clone, PartialEq, Eq)]
pub enum Pixels {
    /// Red, green and blue, 8 bits each, row by row without padding: `width * height * 3` bytes.
    Rgb(Vec<u8>),
    /// As a video's decoder gave them.
    Planes(Planes),
}

/// Decodes a picture. The format is known by its content, never by a name.
///
/// JPEG, PNG, WebP, GIF, BMP and TIFF; of an animation the first frame. The EXIF orientation is applied.
///
/// # Errors
/// Says what is wrong with the bytes, without a name: the caller knows where they came from. The size is read from the
/// header first, so a picture of more than `max_pixels` is refused before its pixels cost any memory; and one that keeps
/// its decoder busy for longer than [`LONGEST`] is left.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    decode_within(bytes, max_pixels, LONGEST)
}

/// No picture of a camera takes a tenth of it, on the smallest machine. (A JPEG is held to the same by its scans: see
/// `jpeg`.)
pub const LONGEST: Duration = Duration::from_secs(20);

fn decode_within(bytes: &[u8], max_pixels: u64, longest: Duration) -> Result<Picture, PictureError> {
    let format = Format::of(bytes)?;
    let began = Instant::now();
    let reader = || Patience::new(bytes, longest);
    let decode = || match format {
        Format::Jpeg => jpeg::decode(bytes, max_pixels),
        Format::Png => png::decode(bytes, reader(), max_pixels),
        Format::Gif => gif::decode(reader(), max_pixels),
        Format::WebP => others::webp(bytes, reader(), max_pixels),
        Format::Bmp => others::bmp(reader(), max_pixels),
        Format::Tiff => others::tiff(reader(), max_pixels),
    };
    // Decoders are other people's code, and the bytes may be hostile: one that panics has met a picture it did not expect.
    let decoded = catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(PictureError::Corrupt { format: format.name(), reason: "the decoder gave up on it".to_owned() })
    });
    // The reader refused to go on, whatever the decoder made of that.
    let late = began.elapsed() >= longest;
    decoded
        .map_err(|error| if late { PictureError::TooSlow { format: format.name(), longest } } else { error })
}

/// How many of a file's first bytes [`is_picture`] looks at.
pub const HEAD: usize = 32;

/// Whether a file that begins like this is of a format that [`decode`] knows.
#[must_use]
pub fn is_picture(head: &[u8]) -> bool {
    Format::of(head).is_ok()
}

/// The JPEG made smaller, so that it takes at most `most` bytes: first in quality, then in size. `None` if that is not
/// possible, or if it cannot be read.
#[must_use]
pub fn shrink_jpeg(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    jpeg::shrink(bytes, most)
}

impl Picture {
    /// A picture of `width * height * 3` bytes of red, green and blue, row by row, none of them transparent.
    #[must_use]
    pub fn of_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Self {
        Self { width, height, pixels: Pixels::Rgb(rgb), transparent: None }
    }

    /// Red, green and blue, row by row without padding: `width * height * 3` bytes. Made anew each time where the pixels are
    /// those of a video.
    #[must_use]
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        match &self.pixels {
            Pixels::Rgb(rgb) => Cow::Borrowed(rgb),
            Pixels::Planes(planes) => Cow::Owned(planes.rgb(self.width, self.height)),
        }
    }

    /// Likewise, of a picture that is not needed any more.
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        match self.pixels {
            Pixels::Rgb(rgb) => rgb,
            Pixels::Planes(planes) => planes.rgb(self.width, self.height),
        }
    }

    /// The part of the picture that starts at `x`, `y`; what stands out beyond the picture is cut off.
    ///
    /// An empty part (nothing left, or no width or height) becomes one pixel, so that a crop always is a picture.
    #[must_use]
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        let (x, y) = (x.min(self.width - 1), y.min(self.height - 1));
        let width = width.clamp(1, self.width - x);
        let height = height.clamp(1, self.height - y);
        let pixels = match &self.pixels {
            Pixels::Planes(planes) => Pixels::Planes(planes.from(x, y)),
            Pixels::Rgb(rgb) => {
                let row = |y: u32| {
                    let start = (y as usize * self.width as usize + x as usize) * 3;
                    &rgb[start..start + width as usize * 3]
                };
                Pixels::Rgb((y..y + height).flat_map(row).copied().collect())
            }
        };
        Self { width, height, pixels, transparent: self.transparent }
    }

    /// The picture as JPEG, 4:2:0, `quality` 1 to 100.
    ///
    /// # Errors
    /// JPEG holds at most 65 500 pixels a side.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, PictureError> {
        jpeg::encode(self, quality)
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// What the encoder says; none is known.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        png::encode(self)
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

/// The formats, by the bytes they start with.
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

/// What JPEG can hold, so what any camera makes. A line of millions of pixels is no picture, and resizing it would cost
/// more memory than its pixels do.
const LONGEST_EDGE: u64 = 65_535;

/// Holds a picture's header to the limit, before anything is allocated for its pixels.
fn check_size(format: &'static str, width: u64, height: u64, max_pixels: u64) -> Result<(), PictureError> {
    if width == 0 || height == 0 {
        return Err(PictureError::Corrupt { format, reason: format!("its size is {width} x {height}") });
    }
    if width.max(height) > LONGEST_EDGE {
        let reason = format!("its size is {width} x {height}, and no edge may be longer than {LONGEST_EDGE}");
        return Err(PictureError::Unsupported { format, reason });
    }
    if width.checked_mul(height).is_none_or(|pixels| pixels > max_pixels) {
        return Err(PictureError::TooLarge { width, height, max_pixels });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
