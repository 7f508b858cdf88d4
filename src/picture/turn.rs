//! Turns and mirrors pictures by right angles, as their metadata, the container of a video or its encoder asks for.

use image::metadata::Orientation;

use super::{
    pixels::{Picture, Pixels},
    planes::{Colour, Planes},
};

/// How the stored pixels are turned to be upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Rows become columns.
    transposed: bool,
    /// After that, left and right are exchanged.
    mirrored: bool,
    /// After that, top and bottom are exchanged.
    upside_down: bool,
}

impl Turn {
    /// The turn of an EXIF orientation.
    pub(super) fn of_orientation(orientation: Orientation) -> Self {
        let (transposed, mirrored, upside_down) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Self { transposed, mirrored, upside_down }
    }

    /// The turn of a display matrix: nine numbers. The first, second, fourth and fifth rotate and mirror (source: ISO
    /// 14496-12, 6.2.2). An angle between two right angles is rounded to the nearer one.
    #[must_use]
    pub fn of_display_matrix(matrix: &[i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = *matrix;
        // A stored point (x, y) is shown at (a x + c y, b x + d y).
        if i64::from(a).abs() + i64::from(d).abs() >= i64::from(b).abs() + i64::from(c).abs() {
            Self { transposed: false, mirrored: a < 0, upside_down: d < 0 }
        } else {
            Self { transposed: true, mirrored: c < 0, upside_down: b < 0 }
        }
    }

    /// Whether the picture stays as it is.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The size of a turned picture.
    #[must_use]
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.transposed { (height, width) } else { (width, height) }
    }

    /// Turns a grid of `width * height` values, row by row.
    fn grid<T: Copy>(self, grid: &[T], (width, height): (usize, usize)) -> Vec<T> {
        let (columns, rows) = if self.transposed { (height, width) } else { (width, height) };
        let mut turned = Vec::with_capacity(grid.len());
        for y in 0..rows {
            let y = if self.upside_down { rows - 1 - y } else { y };
            let at = |x: usize| {
                let x = if self.mirrored { columns - 1 - x } else { x };
                if self.transposed { x * width + y } else { y * width + x }
            };
            turned.extend((0..columns).map(|x| grid[at(x)]));
        }
        turned
    }
}

impl Picture {
    /// The picture, turned.
    #[must_use]
    pub fn turned(self, turn: Turn) -> Self {
        if turn.is_none() {
            return self;
        }
        let (width, height) = turn.size((self.width, self.height));
        let size = (self.width as usize, self.height as usize);
        let pixels = match &self.pixels {
            Pixels::Planes(planes) => planes.turned(turn).map(Pixels::Planes),
            Pixels::Rgb(_) => None,
        };
        let pixels = pixels.unwrap_or_else(|| {
            let rgb = self.rgb();
            let turned = turn.grid(rgb.as_chunks::<3>().0, size);
            Pixels::Rgb(turned.into_flattened())
        });
        Self { width, height, pixels, transparent: self.transparent }
    }
}

impl Planes {
    /// The planes of a whole picture, turned; `None` for a part of one.
    fn turned(&self, turn: Turn) -> Option<Self> {
        let brightness = self.brightness();
        let colour = match self.colour() {
            None => None,
            Some([blue, red]) => {
                let turned = |plane: &[u8]| turn.grid(plane, blue.size);
                let (across, down) = blue.halved;
                let halved = if turn.transposed { (down, across) } else { (across, down) };
                Some(Colour { blue: turned(blue.levels), red: turned(red.levels), halved })
            }
        };
        let (width, height) = brightness.size;
        let size = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        let levels = turn.grid(brightness.levels, brightness.size);
        Self::new(turn.size(size), levels, colour, self.meaning()).filter(|_| brightness.start == (0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Matrix, Meaning};

    /// A display matrix with these four numbers, in 16.16 fixed point.
    fn matrix(a: f64, b: f64, c: f64, d: f64) -> [i32; 9] {
        let fixed = |number: f64| (number * 65536.0) as i32;
        [fixed(a), fixed(b), 0, fixed(c), fixed(d), 0, 0, 0, 1 << 30]
    }

    /// `abc` over `def`, shown by each of the eight matrices.
    #[test]
    fn pictures_are_turned_as_the_matrix_says() {
        let cases = [
            ("none", matrix(1.0, 0.0, 0.0, 1.0), ["abc", "def"].as_slice()),
            ("a quarter clockwise", matrix(0.0, 1.0, -1.0, 0.0), &["da", "eb", "fc"]),
            ("half", matrix(-1.0, 0.0, 0.0, -1.0), &["fed", "cba"]),
            ("a quarter counterclockwise", matrix(0.0, -1.0, 1.0, 0.0), &["cf", "be", "ad"]),
            ("mirrored", matrix(-1.0, 0.0, 0.0, 1.0), &["cba", "fed"]),
            ("upside down", matrix(1.0, 0.0, 0.0, -1.0), &["def", "abc"]),
            ("transposed", matrix(0.0, 1.0, 1.0, 0.0), &["ad", "be", "cf"]),
            ("transposed the other way", matrix(0.0, -1.0, -1.0, 0.0), &["fc", "eb", "da"]),
            ("nearly a quarter", matrix(0.1, 0.99, -0.99, 0.1), &["da", "eb", "fc"]),
            ("nothing", [0; 9], &["abc", "def"]),
        ];
        for (name, matrix, expected) in cases {
            let turn = Turn::of_display_matrix(&matrix);
            let turned = turn.grid(b"abcdef", (3, 2));
            assert_eq!(turned, expected.concat().as_bytes(), "{name}");
            assert_eq!(turn.size((3, 2)).0 as usize, expected[0].len(), "{name}");
        }
    }

    /// EXIF's orientations from 1 to 8.
    #[test]
    fn pictures_are_turned_as_exif_says() {
        let cases: [&[&str]; 8] = [
            &["abc", "def"],
            &["cba", "fed"],
            &["fed", "cba"],
            &["def", "abc"],
            &["ad", "be", "cf"],
            &["da", "eb", "fc"],
            &["fc", "eb", "da"],
            &["cf", "be", "ad"],
        ];
        for (number, expected) in (1..).zip(cases) {
            let turn = Turn::of_orientation(Orientation::from_exif(number).unwrap());
            assert_eq!(turn.grid(b"abcdef", (3, 2)), expected.concat().as_bytes(), "{number}");
        }
    }

    #[test]
    fn planes_turn_like_their_rgb() {
        let meaning = Meaning { matrix: Matrix::Bt601, full_range: true };
        let levels =
            |count: usize, step: usize| (0..count).map(|at| (at * step % 256) as u8).collect::<Vec<_>>();
        for halved in [(true, true), (true, false), (false, true), (false, false)] {
            let samples = |pixels: usize, halved: bool| if halved { pixels / 2 } else { pixels };
            let count = samples(8, halved.0) * samples(6, halved.1);
            let colour = Some(Colour { blue: levels(count, 7), red: levels(count, 11), halved });
            let planes = Planes::new((8, 6), levels(48, 5), colour, meaning).unwrap();
            let picture = Picture { width: 8, height: 6, pixels: Pixels::Planes(planes), transparent: None };
            let rgb = Picture::of_rgb(8, 6, picture.rgb().into_owned());
            for (a, b, c, d) in
                [(0.0, 1.0, -1.0, 0.0), (-1.0, 0.0, 0.0, -1.0), (0.0, -1.0, 1.0, 0.0), (-1.0, 0.0, 0.0, 1.0)]
            {
                let turn = Turn::of_display_matrix(&matrix(a, b, c, d));
                let (planes, rgb) = (picture.clone().turned(turn), rgb.clone().turned(turn));
                assert!(matches!(planes.pixels, Pixels::Planes(_)));
                assert_eq!(
                    (planes.width, planes.height, planes.rgb()),
                    (rgb.width, rgb.height, rgb.rgb()),
                    "{halved:?} {turn:?}"
                );
            }
        }
    }
}
