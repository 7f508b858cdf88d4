//! Converts the samples of a TIFF to RGB, as Pillow's `convert("RGB")` does after it has read the file.

use super::layout::{Colours, Layout, SampleKind};
use crate::picture::jpeg;

/// A number of up to 4 bytes.
pub(super) fn number(bytes: &[u8], big_endian: bool) -> u32 {
    let join = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
    if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}

/// The samples of a row, as they are stored: a signed or floating-point sample by its bits.
pub(super) fn samples(row: &[u8], layout: &Layout<'_>, in_plane: usize) -> Vec<u32> {
    let count = layout.chunk_width * in_plane;
    match layout.bits {
        bits @ (8 | 16 | 32) => {
            let samples = row.chunks_exact(bits / 8).take(count);
            samples.map(|bytes| number(bytes, layout.big_endian)).collect()
        }
        bits => {
            let bit = |bit: usize| u32::from(row[bit / 8] >> (7 - bit % 8) & 1);
            let sample = |at: usize| (at * bits..(at + 1) * bits).fold(0, |sum, at| sum << 1 | bit(at));
            (0..count).map(sample).collect()
        }
    }
}

/// The samples of several planes, pixel by pixel.
pub(super) fn interleaved(planes: &[Vec<u32>]) -> Vec<u32> {
    let count = planes.iter().map(Vec::len).min().unwrap_or(0);
    (0..count).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect()
}

/// The pixels of samples.
pub(super) fn rgb(layout: &Layout<'_>, samples: &[u32]) -> Vec<u8> {
    let pixels = samples.chunks_exact(layout.samples);
    match layout.colours {
        Colours::Grey { inverted } => {
            pixels.flat_map(|pixel| [grey(layout, pixel[0], inverted); 3]).collect()
        }
        Colours::Palette => pixels.flat_map(|pixel| entry(&layout.palette, layout.bits, pixel[0])).collect(),
        Colours::Rgb => pixels.flat_map(|pixel| colour(layout, pixel)).collect(),
        Colours::Cmyk => {
            // The JPEG decoder's arithmetic is that for inverted inks.
            let inks = pixels.flat_map(|pixel| [0, 1, 2, 3].map(|ink| 255 - high(layout, pixel[ink])));
            jpeg::cmyk_to_rgb(&inks.collect::<Vec<_>>())
        }
        Colours::YCbCr if layout.samples == 1 => pixels.flat_map(|pixel| [pixel[0] as u8; 3]).collect(),
        Colours::YCbCr => pixels.flat_map(|pixel| ycbcr(pixel[0], pixel[1], pixel[2])).collect(),
        Colours::Lab => pixels.flat_map(|pixel| lab(pixel[0], pixel[1], pixel[2])).collect(),
    }
}

/// A level of grey: small samples are spread, and large ones are cut off at 255.
fn grey(layout: &Layout<'_>, sample: u32, inverted: bool) -> u8 {
    let clipped = |level: i64| level.clamp(0, 255) as u8;
    match (layout.kind, layout.bits) {
        (SampleKind::Float, _) => f32::from_bits(sample) as u8,
        // The reference reads these as unsigned.
        (_, 8) if inverted => 255 - sample as u8,
        (_, 8) => sample as u8,
        (SampleKind::Signed, 16) => clipped(i64::from(sample as u16 as i16)),
        (_, 32) => clipped(i64::from(sample as i32)),
        (_, 12 | 16) => clipped(i64::from(sample)),
        (_, bits) => {
            let steps = (1 << bits) - 1;
            let level = if inverted { steps - sample } else { sample };
            (level * 255 / steps) as u8
        }
    }
}

/// The highest 8 bits of a sample.
fn high(layout: &Layout<'_>, sample: u32) -> u8 {
    (sample >> (layout.bits - 8)) as u8
}

/// An entry of a palette, whose reds come first; black if the palette is too short.
fn entry(palette: &[u64], bits: usize, index: u32) -> [u8; 3] {
    let (entries, index) = (1 << bits, index as usize);
    [0, 1, 2].map(|part| palette.get(part * entries + index).map_or(0, |level| (level >> 8) as u8))
}

/// Red, green and blue, divided by alpha if they were multiplied with it.
fn colour(layout: &Layout<'_>, pixel: &[u32]) -> [u8; 3] {
    let colours = [0, 1, 2].map(|part| high(layout, pixel[part]));
    match pixel.get(3).map(|alpha| high(layout, *alpha)).filter(|_| layout.premultiplied) {
        None | Some(255) => colours,
        Some(0) => [0; 3],
        Some(alpha) => colours.map(|level| (255 * u32::from(level) / u32::from(alpha)).min(255) as u8),
    }
}

/// Pillow's conversion of plain YCbCr, with 6 fractional bits.
fn ycbcr(brightness: u32, blue: u32, red: u32) -> [u8; 3] {
    let difference = |sample: u32| f64::from(sample) - 128.0;
    let fixed = |factor: f64, sample: u32| (factor * 64.0 * difference(sample) + 0.5) as i32;
    let sums = [
        fixed(1.402, red) >> 6,
        (fixed(-0.34414, blue) + fixed(-0.71414, red)) >> 6,
        fixed(1.772, blue) >> 6,
    ];
    sums.map(|sum| (brightness as i32 + sum).clamp(0, 255) as u8)
}

/// Packed YCbCr, whose blocks share a colour: the brightnesses of a block, then its two colours. Converted as libtiff does.
pub(super) struct Subsampled<'p> {
    packed: &'p [u8],
    /// The bytes of a row of blocks.
    bytes: usize,
    width: usize,
    subsampling: (usize, usize),
    tables: LibtiffColours,
}

impl<'p> Subsampled<'p> {
    /// Rows of blocks of `bytes` bytes each.
    pub(super) fn new(layout: &Layout<'_>, packed: &'p [u8], bytes: usize) -> Self {
        let tables = LibtiffColours::of(layout);
        Self { packed, bytes, width: layout.chunk_width, subsampling: layout.subsampling, tables }
    }

    /// A row of pixels as RGB.
    pub(super) fn row(&self, y: usize) -> Vec<u8> {
        let (across, down) = self.subsampling;
        let length = across * down + 2;
        let blocks = &self.packed[y / down * self.bytes..];
        let pixel = |x: usize| {
            let block = &blocks[x / across * length..][..length];
            let level = block[y % down * across + x % across];
            self.tables.rgb(level, block[length - 2], block[length - 1])
        };
        (0..self.width).flat_map(pixel).collect()
    }
}

/// The tables of libtiff's `TIFFYCbCrToRGBInit`.
struct LibtiffColours {
    brightness: [i32; 256],
    red_of_red: [i32; 256],
    blue_of_blue: [i32; 256],
    green_of_red: [i32; 256],
    green_of_blue: [i32; 256],
}

impl LibtiffColours {
    fn of(layout: &Layout<'_>) -> Self {
        const HALF: i32 = 1 << 15;
        let [red, green, blue] = layout.weights;
        let fixed = |factor: f64| (factor * 65_536.0 + 0.5) as i32;
        let (of_red, of_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let green = if green == 0.0 { 1.0 } else { green };
        let factors = [of_red, red * of_red / green, of_blue, blue * of_blue / green].map(fixed);
        let [black, white, blue_black, blue_white, red_black, red_white] = layout.levels;
        let level = |code: i32, black: f64, white: f64, range: f64| {
            let (black, span) = (black.trunc(), white - black);
            let level = (f64::from(code) - black) * range / if span == 0.0 { 1.0 } else { span };
            level.clamp(-4096.0, 4096.0) as i32
        };
        let table = |of: &dyn Fn(i32) -> i32| std::array::from_fn(|code| of(code as i32 - 128));
        let reds = |code| level(code, red_black - 128.0, red_white - 128.0, 127.0);
        let blues = |code| level(code, blue_black - 128.0, blue_white - 128.0, 127.0);
        Self {
            brightness: table(&|code| level(code + 128, black, white, 255.0)),
            red_of_red: table(&|code| (factors[0].wrapping_mul(reds(code)).wrapping_add(HALF)) >> 16),
            green_of_red: table(&|code| factors[1].wrapping_mul(reds(code)).wrapping_neg()),
            blue_of_blue: table(&|code| (factors[2].wrapping_mul(blues(code)).wrapping_add(HALF)) >> 16),
            green_of_blue: table(&|code| {
                factors[3].wrapping_mul(blues(code)).wrapping_neg().wrapping_add(HALF)
            }),
        }
    }

    fn rgb(&self, level: u8, blue: u8, red: u8) -> [u8; 3] {
        let (level, blue, red) = (self.brightness[usize::from(level)], usize::from(blue), usize::from(red));
        let sums = [
            self.red_of_red[red],
            self.green_of_blue[blue].wrapping_add(self.green_of_red[red]) >> 16,
            self.blue_of_blue[blue],
        ];
        sums.map(|sum| (level + sum).clamp(0, 255) as u8)
    }
}

/// CIE Lab (D50) to sRGB. The reference interpolates between entries of a table, and differs where a colour is not in sRGB.
fn lab(lightness: u32, green_red: u32, blue_yellow: u32) -> [u8; 3] {
    let signed = |sample: u32| f64::from(sample as u8 as i8);
    let height = (f64::from(lightness) * 100.0 / 255.0 + 16.0) / 116.0;
    let inverse = |part: f64| {
        if part > 6.0 / 29.0 { part.powi(3) } else { 3.0 * (6.0_f64 / 29.0).powi(2) * (part - 4.0 / 29.0) }
    };
    let x = 0.9642 * inverse(height + signed(green_red) / 500.0);
    let y = inverse(height);
    let z = 0.8249 * inverse(height - signed(blue_yellow) / 200.0);
    // sRGB's primaries, adapted from D65 to D50.
    let linear = [
        3.133_856_1 * x - 1.616_866_7 * y - 0.490_614_6 * z,
        -0.978_768_4 * x + 1.916_141_5 * y + 0.033_454_0 * z,
        0.071_945_3 * x - 0.228_991_4 * y + 1.405_242_7 * z,
    ];
    linear.map(|part| {
        let part = part.clamp(0.0, 1.0);
        let level = if part <= 0.003_130_8 { 12.92 * part } else { 1.055 * part.powf(1.0 / 2.4) - 0.055 };
        (level * 255.0 + 0.5).floor() as u8
    })
}
