//! Prepares pictures for a model: resizes, crops and normalises them, channel by channel. Pure.
//!
//! The result is equal to the reference's to the last bit: the torchvision backend of Hugging Face's image processors, or
//! OpenCLIP's transforms for models in its format (`open_clip`). A setting that cannot be followed exactly is an error. Frames
//! of a video are resized as planes, which no reference does; the result is close to the reference's for the same frame as RGB
//! (`planes`). A model of free resolution takes patches (`patches`).

mod layout;
mod open_clip;
mod patches;
mod planes;
mod resize;
mod settings;

use std::borrow::Cow;

pub use layout::Layout;
pub use resize::Backend;
use serde_json::Value;
pub use settings::SettingError;

use self::{
    resize::Filter,
    settings::{Resize, Rounding, Settings},
};
use super::family::Family;
use crate::picture::{Picture, Pixels};

/// Prepares pictures as the settings of a model's image processor say.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    resize: Option<Resize>,
    filter: Filter,
    crop: Option<(u32, u32)>,
    /// Whether the transparent colour of a picture becomes white.
    convert_rgb: bool,
    backend: Backend,
    /// Where the crop is.
    rounding: Rounding,
    /// The level of the pixels around a picture that is smaller than the crop.
    fill: u8,
    /// The value of every byte, for each channel.
    table: [[f32; 256]; 3],
    layout: Layout,
}

impl Preprocessor {
    /// Reads the text of a `preprocessor_config.json`, in any of its forms.
    ///
    /// # Errors
    /// A key is missing, malformed or has a value that is not supported; the error names it.
    pub fn from_json(text: &[u8], backend: Backend) -> Result<Self, SettingError> {
        Self::of_settings(&Settings::from_json(text)?, backend)
    }

    /// From the settings of a model of this family, in any of their forms.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub(super) fn of_model(value: Value, family: &Family, backend: Backend) -> Result<Self, SettingError> {
        Self::of_settings(&Settings::read(value, Some(family))?, backend)
    }

    /// From the content of `open_clip_config.json`.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub(super) fn of_open_clip(config: &Value) -> Result<Self, SettingError> {
        // OpenCLIP resizes with Pillow, whatever else is installed.
        Self::of_settings(&open_clip::read(config)?, Backend::Pil)
    }

    fn of_settings(settings: &Settings, backend: Backend) -> Result<Self, SettingError> {
        Ok(Self {
            resize: settings.resize,
            filter: settings.filter,
            crop: settings.crop,
            convert_rgb: settings.convert_rgb,
            backend,
            rounding: settings.rounding,
            fill: settings.fill,
            table: settings.table(backend),
            layout: settings.output()?,
        })
    }

    /// The form of every result.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of values of one prepared picture.
    #[must_use]
    pub fn tensor_len(&self) -> usize {
        self.layout.values()
    }

    /// Appends the picture's values to `tensor`.
    pub fn append(&self, picture: &Picture, tensor: &mut Vec<f32>) {
        let bytes = self.bytes(picture);
        if let Layout::Patches { side, most } = self.layout {
            let size = self.resized(picture.width, picture.height);
            return patches::append(&bytes, size, &self.table, (side, most), tensor);
        }
        for (channel, table) in self.table.iter().enumerate() {
            tensor.extend(bytes.as_chunks::<3>().0.iter().map(|pixel| table[usize::from(pixel[channel])]));
        }
    }

    /// The picture resized and cropped, still as 8-bit RGB, row by row.
    #[must_use]
    pub fn bytes(&self, picture: &Picture) -> Vec<u8> {
        let from = (picture.width, picture.height);
        let to = self.resized(picture.width, picture.height);
        let window = |edge, crop| Window::centred(edge, crop, self.rounding, self.backend);
        let columns = window(to.0, self.crop.map(|crop| crop.0));
        let rows = window(to.1, self.crop.map(|crop| crop.1));
        let window = (columns.kept(), rows.kept());
        let part = match &picture.pixels {
            Pixels::Rgb(rgb) => {
                let rgb = self.without_transparent_colour(rgb, picture.transparent);
                resize::resize(&rgb, from, to, window, self.filter, self.backend)
            }
            Pixels::Planes(planes) => planes::resize(planes, from, to, window, self.filter),
        };
        padded(part, columns, rows, self.fill)
    }

    fn without_transparent_colour<'a>(&self, rgb: &'a [u8], transparent: Option<[u8; 3]>) -> Cow<'a, [u8]> {
        match transparent.filter(|_| self.convert_rgb) {
            None => Cow::Borrowed(rgb),
            Some(colour) => {
                let white = |pixel: &[u8; 3]| if *pixel == colour { [255; 3] } else { *pixel };
                Cow::Owned(rgb.as_chunks::<3>().0.iter().flat_map(white).collect())
            }
        }
    }

    /// Width and height before the crop.
    fn resized(&self, width: u32, height: u32) -> (u32, u32) {
        // `int(short * long / long_in)`: an exact product, then float64, then truncated; at least one pixel.
        let long_edge = |short: u32, long_in: u32, short_in: u32| {
            let long = ((u64::from(short) * u64::from(long_in)) as f64 / f64::from(short_in)) as u32;
            long.max(1)
        };
        match self.resize {
            None => (width, height),
            Some(Resize::Exact(width, height)) => (width, height),
            Some(Resize::Patches { side, most }) => patches::size((width, height), side, most),
            Some(Resize::ShortestEdge(short)) if width <= height => (short, long_edge(short, height, width)),
            Some(Resize::ShortestEdge(short)) => (long_edge(short, width, height), short),
            Some(Resize::Cover(to)) => scaled((width, height), to, f64::min),
            Some(Resize::Within(to)) => scaled((width, height), to, f64::max),
        }
    }
}

/// A size with its proportion kept: divided by the ratio of one of its edges to the same edge of `to`. In float64, rounded to the
/// nearest pixel, half to even; at least one pixel.
fn scaled(from: (u32, u32), to: (u32, u32), choose: impl Fn(f64, f64) -> f64) -> (u32, u32) {
    let ratio = |from: u32, to: u32| f64::from(from) / f64::from(to);
    let ratio = choose(ratio(from.0, to.0), ratio(from.1, to.1));
    let edge = |edge: u32| ((f64::from(edge) / ratio).round_ties_even() as u32).max(1);
    (edge(from.0), edge(from.1))
}

/// A copy of a picture for people, as RGB, whose longer side has at most `longest` pixels. A smaller picture keeps its size.
#[must_use]
pub fn thumbnail(picture: &Picture, longest: u32) -> Picture {
    let from = (picture.width, picture.height);
    let most = from.0.max(from.1);
    if most <= longest {
        return Picture::of_rgb(from.0, from.1, picture.rgb().into_owned());
    }
    // At most `longest`, because `side` is at most `most`.
    let scaled = |side: u32| {
        ((u64::from(side) * u64::from(longest) + u64::from(most) / 2) / u64::from(most)).max(1) as u32
    };
    let to = (scaled(from.0), scaled(from.1));
    let window = (0..to.0 as usize, 0..to.1 as usize);
    let rgb = match &picture.pixels {
        Pixels::Rgb(rgb) => resize::resize(rgb, from, to, window, Filter::Bilinear, Backend::Torchvision),
        Pixels::Planes(planes) => planes::resize(planes, from, to, window, Filter::Bilinear),
    };
    Picture::of_rgb(to.0, to.1, rgb)
}

/// The part of a resized edge that is in the result, and the zeros before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// The first pixel that is kept.
    start: u32,
    /// The number of pixels that are kept.
    len: u32,
    /// Zeros before the pixels.
    before: u32,
    /// Zeros after the pixels.
    after: u32,
}

impl Window {
    fn centred(edge: u32, crop: Option<u32>, rounding: Rounding, backend: Backend) -> Self {
        match crop {
            None => Self { start: 0, len: edge, before: 0, after: 0 },
            Some(crop) if crop <= edge => {
                let more = edge - crop;
                let start = match rounding {
                    Rounding::Down => more / 2,
                    // Of a half, the even neighbour.
                    Rounding::HalfToEven => more / 2 + u32::from(more % 4 == 3),
                };
                Self { start, len: crop, before: 0, after: 0 }
            }
            Some(crop) => {
                let missing = crop - edge;
                let before = match (rounding, backend) {
                    (Rounding::HalfToEven, _) | (_, Backend::Torchvision) => missing / 2,
                    (Rounding::Down, Backend::Pil) => missing.div_ceil(2),
                };
                Self { start: 0, len: edge, before, after: missing - before }
            }
        }
    }

    fn kept(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }
}

/// Adds pixels of one level around a picture that is smaller than the crop.
fn padded(part: Vec<u8>, columns: Window, rows: Window, fill: u8) -> Vec<u8> {
    if columns.before + columns.after + rows.before + rows.after == 0 {
        return part;
    }
    let width = (columns.before + columns.len + columns.after) as usize * 3;
    let height = (rows.before + rows.len + rows.after) as usize;
    let mut whole = vec![fill; width * height];
    for (row, pixels) in part.chunks_exact(columns.len as usize * 3).enumerate() {
        let start = (rows.before as usize + row) * width + columns.before as usize * 3;
        whole[start..start + pixels.len()].copy_from_slice(pixels);
    }
    whole
}

#[cfg(test)]
mod tests;
