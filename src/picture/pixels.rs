//! A decoded picture: its size, its pixels, and parts cut out of it.

use std::{borrow::Cow, fmt};

use super::planes::Planes;

/// A decoded, upright picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixels.
    pub pixels: Pixels,
    /// The one colour that the file declares transparent; the reference turns it white for models that convert to RGB.
    pub transparent: Option<[u8; 3]>,
}

/// The pixels of a picture.
#[derive(Clone, PartialEq, Eq)]
pub enum Pixels {
    /// Red, green and blue, 8 bits each, row by row without padding: `width * height * 3` bytes.
    Rgb(Vec<u8>),
    /// As a video decoder gave them.
    Planes(Planes),
}

impl Picture {
    /// A picture of `width * height * 3` bytes of red, green and blue, row by row, without a transparent colour.
    #[must_use]
    pub fn of_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Self {
        Self { width, height, pixels: Pixels::Rgb(rgb), transparent: None }
    }

    /// The bytes of the pixels in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.pixels {
            Pixels::Rgb(rgb) => rgb.len() as u64,
            Pixels::Planes(planes) => planes.bytes(),
        }
    }

    /// Red, green and blue, row by row without padding: `width * height * 3` bytes. Converted on every call if the pixels
    /// are [`Planes`].
    #[must_use]
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        match &self.pixels {
            Pixels::Rgb(rgb) => Cow::Borrowed(rgb),
            Pixels::Planes(planes) => Cow::Owned(planes.rgb(self.width, self.height)),
        }
    }

    /// Like [`Self::rgb`], without a copy of RGB pixels.
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        match self.pixels {
            Pixels::Rgb(rgb) => rgb,
            Pixels::Planes(planes) => planes.rgb(self.width, self.height),
        }
    }

    /// The part of the picture that starts at `x`, `y`, cut off at the picture's edge.
    ///
    /// An empty part (outside the picture, or without width or height) becomes one pixel, so that a crop is always a picture.
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
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}
