//! Pixels as a video decoder gives them (YCbCr): a plane of brightness and two planes of colour, which are often half as wide
//! and high.
//!
//! Most frames are only scored by a model, which needs them small: converting each of them to RGB in full size first would
//! take longer than everything else. Cutting out a part copies no pixels.
//!
//! Limits: 8 bits, and colour samples of at most two by two pixels. A colour sample is assumed to be in the middle of its
//! pixels, as FFmpeg does for a stream that does not specify it.

use std::{ops::Range, sync::Arc};

/// The pixels of a picture, or of a part that shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct Planes {
    whole: Arc<Whole>,
    left: u32,
    top: u32,
}

#[derive(Clone, PartialEq, Eq)]
struct Whole {
    width: u32,
    height: u32,
    brightness: Vec<u8>,
    colour: Option<Colour>,
    meaning: Meaning,
}

/// The two planes of colour; a grey picture has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colour {
    /// Blue difference (Cb), row by row.
    pub blue: Vec<u8>,
    /// Red difference (Cr), row by row.
    pub red: Vec<u8>,
    /// Whether one sample covers two pixels horizontally, and two vertically.
    pub halved: (bool, bool),
}

/// How levels are converted to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The weights of red and blue in brightness.
    pub matrix: Matrix,
    /// Whether black is 0 and white 255; otherwise they are 16 and 235.
    pub full_range: bool,
}

impl Meaning {
    /// The brightness of the middle between black and white.
    #[must_use]
    pub fn grey(self) -> u8 {
        if self.full_range { 128 } else { 126 }
    }
}

/// The standard that defines the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// Standard definition.
    Bt601,
    /// High definition.
    Bt709,
    /// Ultra high definition.
    Bt2020,
    /// The first US standard (FCC).
    Fcc,
    /// An early standard of high definition.
    Smpte240,
}

impl Matrix {
    /// The weights of red and blue in brightness.
    pub(super) fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
            Self::Fcc => (0.3, 0.11),
            Self::Smpte240 => (0.212, 0.087),
        }
    }
}

/// One plane of the whole picture, and where a part of it starts.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Row by row without padding.
    pub levels: &'a [u8],
    /// Width and height, in samples.
    pub size: (usize, usize),
    /// Where the part starts: pixels from the left and from the top.
    pub start: (usize, usize),
    /// Whether one sample covers two pixels horizontally, and two vertically.
    pub halved: (bool, bool),
}

impl Planes {
    /// The planes of a whole picture; `None` if a plane has the wrong size.
    #[must_use]
    pub fn new(
        (width, height): (u32, u32),
        brightness: Vec<u8>,
        colour: Option<Colour>,
        meaning: Meaning,
    ) -> Option<Self> {
        let whole = Whole { width, height, brightness, colour, meaning };
        let holds = |plane: &[u8], (width, height): (usize, usize)| plane.len() == width * height;
        let size = whole.colour_size();
        let is_right = width > 0
            && height > 0
            && holds(&whole.brightness, (width as usize, height as usize))
            && whole.colour.iter().all(|colour| holds(&colour.blue, size) && holds(&colour.red, size));
        is_right.then(|| Self { whole: Arc::new(whole), left: 0, top: 0 })
    }

    /// The part that starts `x` pixels to the right and `y` pixels down.
    pub(super) fn from(&self, x: u32, y: u32) -> Self {
        Self { whole: Arc::clone(&self.whole), left: self.left + x, top: self.top + y }
    }

    /// The bytes of all planes of the whole picture.
    pub(super) fn bytes(&self) -> u64 {
        let colour = self.whole.colour.as_ref().map_or(0, |colour| colour.blue.len() + colour.red.len());
        (self.whole.brightness.len() + colour) as u64
    }

    /// How levels are converted to colours.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.whole.meaning
    }

    /// The plane of brightness.
    #[must_use]
    pub fn brightness(&self) -> Plane<'_> {
        let size = (self.whole.width as usize, self.whole.height as usize);
        self.plane(&self.whole.brightness, size, (false, false))
    }

    /// The planes of blue difference and red difference.
    #[must_use]
    pub fn colour(&self) -> Option<[Plane<'_>; 2]> {
        let colour = self.whole.colour.as_ref()?;
        let plane = |levels| self.plane(levels, self.whole.colour_size(), colour.halved);
        Some([plane(&colour.blue), plane(&colour.red)])
    }

    fn plane<'a>(&self, levels: &'a [u8], size: (usize, usize), halved: (bool, bool)) -> Plane<'a> {
        Plane { levels, size, start: (self.left as usize, self.top as usize), halved }
    }

    /// Makes some columns of a row of the part grey. Planes that another picture shares are copied before.
    ///
    /// A sample of colour that covers one of these pixels loses its colour, so nothing of them remains.
    pub(super) fn make_grey(&mut self, row: usize, columns: Range<usize>) {
        let (row, left) = (row + self.top as usize, self.left as usize);
        let columns = columns.start + left..columns.end + left;
        let whole = Arc::make_mut(&mut self.whole);
        let (start, level) = (row * whole.width as usize, whole.meaning.grey());
        whole.brightness[start + columns.start..start + columns.end].fill(level);
        let (width, _) = whole.colour_size();
        if let Some(Colour { blue, red, halved: (across, down) }) = &mut whole.colour {
            let start = width * if *down { row / 2 } else { row };
            let samples = if *across { columns.start / 2..columns.end.div_ceil(2) } else { columns };
            for plane in [blue, red] {
                plane[start + samples.start..start + samples.end].fill(NO_COLOUR);
            }
        }
    }

    /// A part of `width` by `height` pixels as RGB; colour is interpolated where there are fewer samples.
    pub(super) fn rgb(&self, width: u32, height: u32) -> Vec<u8> {
        let (meaning, columns) = (Fixed::of(self.whole.meaning), self.left..self.left + width);
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in self.top..self.top + height {
            let start = y as usize * self.whole.width as usize + self.left as usize;
            let row = &self.whole.brightness[start..start + width as usize];
            match &self.whole.colour {
                None => rgb.extend(row.iter().flat_map(|level| meaning.rgb(*level, NEUTRAL, NEUTRAL))),
                Some(colour) => {
                    let blue = self.whole.between(&colour.blue, colour.halved, y);
                    let red = self.whole.between(&colour.red, colour.halved, y);
                    let pixel = |(level, x): (&u8, u32)| meaning.rgb(*level, blue.at(x), red.at(x));
                    rgb.extend(row.iter().zip(columns.clone()).flat_map(pixel));
                }
            }
        }
        rgb
    }
}

impl Plane<'_> {
    /// The two samples that make the colour of `pixel`, where each of `count` samples covers two pixels: its own sample, with a
    /// weight of three quarters, and the sample next to the pixel, with a quarter.
    #[must_use]
    pub fn between(pixel: usize, count: usize) -> (usize, usize) {
        let (near, is_left) = (pixel / 2, pixel.is_multiple_of(2));
        (near, if is_left { near.saturating_sub(1) } else { (near + 1).min(count - 1) })
    }
}

impl std::fmt::Debug for Planes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { whole, left, top } = self;
        write!(f, "Planes({} x {} from {left}, {top})", whole.width, whole.height)
    }
}

impl Whole {
    /// Width and height of the planes of colour.
    fn colour_size(&self) -> (usize, usize) {
        let samples = |pixels: u32, halved: bool| {
            if halved { pixels.div_ceil(2) as usize } else { pixels as usize }
        };
        let (across, down) = self.colour.as_ref().map_or((false, false), |colour| colour.halved);
        (samples(self.width, across), samples(self.height, down))
    }

    /// A row of colour for row `y` of the picture.
    fn between<'a>(&self, plane: &'a [u8], (across, down): (bool, bool), y: u32) -> Between<'a> {
        let (width, height) = self.colour_size();
        let y = y as usize;
        let (near, far) = if down { Plane::between(y, height) } else { (y, y) };
        let row = |number: usize| &plane[number * width..(number + 1) * width];
        Between { near: row(near), far: row(far), across }
    }
}

/// The colour of a row of pixels, interpolated between two rows of samples.
struct Between<'a> {
    /// The row with a weight of three quarters.
    near: &'a [u8],
    /// The row with a weight of a quarter.
    far: &'a [u8],
    across: bool,
}

impl Between<'_> {
    /// The colour at column `x`, in sixteenths of a level.
    fn at(&self, x: u32) -> i32 {
        let x = x as usize;
        let (near, far) = if self.across { Plane::between(x, self.near.len()) } else { (x, x) };
        let sample = |at: usize| 3 * i32::from(self.near[at]) + i32::from(self.far[at]);
        3 * sample(near) + sample(far)
    }
}

/// The level of both planes of colour where there is no colour.
const NO_COLOUR: u8 = 128;
/// No colour, in sixteenths of a level.
const NEUTRAL: i32 = NO_COLOUR as i32 * 16;

/// The factors from levels to RGB. Source: ITU-R BT.601 and its successors. Each of them defines the weights of red and blue in
/// brightness.
#[derive(Debug, Clone, Copy)]
struct Factors {
    black: f64,
    brightness: f64,
    red_of_red: f64,
    green_of_red: f64,
    green_of_blue: f64,
    blue_of_blue: f64,
}

impl Factors {
    fn of(Meaning { matrix, full_range }: Meaning) -> Self {
        let (red, blue) = matrix.weights();
        let green = 1.0 - red - blue;
        let (black, brightness, colour) =
            if full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        Self {
            black,
            brightness,
            red_of_red: 2.0 * (1.0 - red) * colour,
            green_of_red: -2.0 * red * (1.0 - red) / green * colour,
            green_of_blue: -2.0 * blue * (1.0 - blue) / green * colour,
            blue_of_blue: 2.0 * (1.0 - blue) * colour,
        }
    }
}

/// Converts fractional levels to RGB.
#[derive(Debug, Clone, Copy)]
pub struct Colours {
    black: f32,
    factors: [[f32; 3]; 3],
}

impl Colours {
    /// A converter for levels with this meaning.
    #[must_use]
    pub fn of(meaning: Meaning) -> Self {
        let factors = Factors::of(meaning);
        let rows = [
            [factors.brightness, 0.0, factors.red_of_red],
            [factors.brightness, factors.green_of_blue, factors.green_of_red],
            [factors.brightness, factors.blue_of_blue, 0.0],
        ];
        Self { black: factors.black as f32, factors: rows.map(|row| row.map(|factor| factor as f32)) }
    }

    /// Red, green and blue, from brightness, blue difference and red difference (128: no colour).
    #[must_use]
    pub fn rgb(&self, brightness: f32, blue: f32, red: f32) -> [u8; 3] {
        let levels = [brightness - self.black, blue - 128.0, red - 128.0];
        // `as` clamps to 0..=255.
        self.factors.map(|[a, b, c]| (a * levels[0] + b * levels[1] + c * levels[2]).round() as u8)
    }
}

/// [`Factors`] as integers, for colour in sixteenths of a level.
struct Fixed {
    black: i32,
    brightness: i32,
    red_of_red: i32,
    green_of_red: i32,
    green_of_blue: i32,
    blue_of_blue: i32,
}

impl Fixed {
    /// Fractional bits: a brightness of 255 in sixteenths still fits into 31 bits.
    const BITS: u32 = 14;

    fn of(meaning: Meaning) -> Self {
        let factors = Factors::of(meaning);
        let fixed = |factor: f64| (factor * f64::from(1 << Self::BITS)).round() as i32;
        Self {
            black: factors.black as i32,
            brightness: fixed(factors.brightness),
            red_of_red: fixed(factors.red_of_red),
            green_of_red: fixed(factors.green_of_red),
            green_of_blue: fixed(factors.green_of_blue),
            blue_of_blue: fixed(factors.blue_of_blue),
        }
    }

    fn rgb(&self, brightness: u8, blue: i32, red: i32) -> [u8; 3] {
        let level = (i32::from(brightness) - self.black) * 16 * self.brightness;
        let (blue, red) = (blue - NEUTRAL, red - NEUTRAL);
        let sums = [
            level + self.red_of_red * red,
            level + self.green_of_red * red + self.green_of_blue * blue,
            level + self.blue_of_blue * blue,
        ];
        let bits = Self::BITS + 4;
        sums.map(|sum| ((sum + (1 << (bits - 1))) >> bits).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Meaning = Meaning { matrix: Matrix::Bt601, full_range: false };

    fn halved(blue: Vec<u8>, red: Vec<u8>) -> Option<Colour> {
        Some(Colour { blue, red, halved: (true, true) })
    }

    #[test]
    fn planes_of_the_wrong_size_are_rejected() {
        let whole = |size, brightness: usize, colour: usize| {
            let colour = halved(vec![128; colour], vec![128; colour]);
            Planes::new(size, vec![0; brightness], colour, LIMITED).is_some()
        };
        assert!(whole((4, 2), 8, 2));
        assert!(whole((3, 3), 9, 4), "an odd edge rounds up");
        for (size, brightness, colour) in [((4, 2), 7, 2), ((4, 2), 8, 1), ((3, 3), 9, 3), ((0, 2), 0, 0)] {
            assert!(!whole(size, brightness, colour), "{size:?} {brightness} {colour}");
        }
    }

    /// BT.601 and BT.709 define the levels of red, green, blue and white.
    #[test]
    fn colours_are_those_of_the_standards() {
        let cases = [
            (Matrix::Bt601, false, [81, 90, 240], [255, 0, 0]),
            (Matrix::Bt601, false, [145, 54, 34], [0, 255, 0]),
            (Matrix::Bt601, false, [41, 240, 110], [0, 0, 255]),
            (Matrix::Bt709, false, [63, 102, 240], [255, 0, 0]),
            (Matrix::Bt709, false, [32, 240, 118], [0, 0, 255]),
            (Matrix::Bt2020, false, [74, 97, 240], [255, 0, 0]),
            (Matrix::Bt601, true, [76, 85, 255], [255, 0, 0]),
            (Matrix::Bt709, false, [235, 128, 128], [255; 3]),
            (Matrix::Bt709, false, [255, 128, 128], [255; 3]),
            (Matrix::Bt709, false, [0, 128, 128], [0; 3]),
            (Matrix::Smpte240, true, [128, 128, 128], [128; 3]),
            (Matrix::Fcc, true, [200, 128, 128], [200; 3]),
        ];
        for (matrix, full_range, [y, u, v], expected) in cases {
            let meaning = Meaning { matrix, full_range };
            let fixed = Fixed::of(meaning).rgb(y, i32::from(u) * 16, i32::from(v) * 16);
            let float = Colours::of(meaning).rgb(y.into(), u.into(), v.into());
            for (name, found) in [("fixed", fixed), ("float", float)] {
                let off = found.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
                assert!(off <= Some(2), "{matrix:?} {name}: {found:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn colours_are_interpolated_between_samples_and_constant_at_the_edge() {
        let grey = Meaning { matrix: Matrix::Bt601, full_range: true };
        let planes = Planes::new((4, 1), vec![100; 4], halved(vec![128; 2], vec![128, 192]), grey).unwrap();
        // From 128 to 192 by 0, 1/4, 3/4 and 1, times 1.402.
        let red: Vec<u8> = planes.rgb(4, 1).chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(red, [100, 122, 167, 190]);
    }

    #[test]
    fn a_part_has_the_pixels_of_the_whole() {
        let colour = halved((0..6).map(|n| n * 40).collect(), (0..6).map(|n| 250 - n * 40).collect());
        let planes = Planes::new((5, 4), (0..20).map(|n| n * 12).collect(), colour, LIMITED).unwrap();
        let (whole, part) = (planes.rgb(5, 4), planes.from(1, 1).from(2, 0).rgb(2, 3));
        for (row, pixels) in part.chunks(6).enumerate() {
            let start = ((row + 1) * 5 + 3) * 3;
            assert_eq!(pixels, &whole[start..start + 6]);
        }
    }
}
