//! Fills polygons of a picture with grey: what the `mask` of a source hides. Pure.
//!
//! A pixel is filled if a polygon covers any part of it. So two polygons with a common edge leave no gap, and a polygon that is
//! smaller than a pixel still fills one. An outline that crosses itself fills everything that it goes around, also more than
//! once.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

use super::pixels::{Picture, Pixels};

/// The level of red, green and blue of a filled pixel.
pub const GREY: u8 = 128;
/// The most corners of a polygon: each row of a picture is compared with each edge.
pub const MOST_CORNERS: usize = 64;
/// Corners are rounded to this part of a pixel, so that decimals such as 0.7 do not reach into the next pixel.
const PARTS: f64 = 256.0;

/// A part of a picture: its corners, each as fractions of the width from the left and of the height from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon(Vec<[f64; 2]>);

/// Why corners are no polygon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPolygon {
    /// There are fewer than three.
    TooFew,
    /// There are more than [`MOST_CORNERS`].
    TooMany,
    /// The one with this number, from 0, is outside the picture.
    Outside(usize),
    /// All are on one line.
    NoArea,
}

impl Polygon {
    /// The polygon with these corners, in the order of its outline.
    ///
    /// # Errors
    /// They are no polygon in the picture.
    pub fn new(corners: Vec<[f64; 2]>) -> Result<Self, NoPolygon> {
        let is_outside = |corner: &[f64; 2]| corner.iter().any(|number| !(0.0..=1.0).contains(number));
        if let Some(number) = corners.iter().position(is_outside) {
            return Err(NoPolygon::Outside(number));
        }
        match corners.len() {
            0..3 => Err(NoPolygon::TooFew),
            _ if corners.len() > MOST_CORNERS => Err(NoPolygon::TooMany),
            _ if is_line(&corners) => Err(NoPolygon::NoArea),
            _ => Ok(Self(corners)),
        }
    }

    /// Its corners.
    #[must_use]
    pub fn corners(&self) -> &[[f64; 2]] {
        &self.0
    }
}

impl fmt::Display for Polygon {
    /// As it is typed: `[[0, 0], [0.4, 0], [0.4, 0.3]]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let corners: Vec<_> = self.0.iter().map(|[x, y]| format!("[{x}, {y}]")).collect();
        write!(f, "[{}]", corners.join(", "))
    }
}

/// A picture without what the mask of its source covers. A frame takes no other picture, so no kind of source can forget the mask.
/// Clones share the pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Masked(Arc<Picture>);

impl Masked {
    /// Fills the polygons of `mask` with grey.
    #[must_use]
    pub fn new(mut picture: Picture, mask: &[Polygon]) -> Self {
        fill(&mut picture, mask);
        Self(Arc::new(picture))
    }
}

impl Deref for Masked {
    type Target = Arc<Picture>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<Masked> for Arc<Picture> {
    fn from(masked: Masked) -> Self {
        masked.0
    }
}

/// For tests of parts that have no source.
#[cfg(test)]
impl From<Picture> for Masked {
    fn from(picture: Picture) -> Self {
        Self::new(picture, &[])
    }
}

/// Whether all corners are on one line, or at one place.
fn is_line(corners: &[[f64; 2]]) -> bool {
    let from_first = |corner: &[f64; 2]| [corner[0] - corners[0][0], corner[1] - corners[0][1]];
    let length = |[x, y]: &[f64; 2]| x * x + y * y;
    let Some([x, y]) = corners.iter().map(from_first).max_by(|a, b| length(a).total_cmp(&length(b))) else {
        return true;
    };
    corners.iter().map(from_first).all(|[other_x, other_y]| (x * other_y - y * other_x).abs() < 1e-12)
}

/// Fills the polygons of a picture with grey. Pixels that are shared with another picture are copied before.
fn fill(picture: &mut Picture, polygons: &[Polygon]) {
    let size = (picture.width as usize, picture.height as usize);
    match &mut picture.pixels {
        Pixels::Rgb(rgb) => covered(polygons, size, |row, columns| {
            let start = row * size.0;
            rgb[(start + columns.start) * 3..(start + columns.end) * 3].fill(GREY);
        }),
        Pixels::Planes(planes) => covered(polygons, size, |row, columns| planes.make_grey(row, columns)),
    }
}

/// Fills the polygons of a plane of this width and height with `level`.
///
/// # Panics
/// The plane is smaller than that.
pub fn fill_plane(plane: &mut [u8], size: (usize, usize), level: u8, polygons: &[Polygon]) {
    covered(polygons, size, |row, columns| {
        plane[row * size.0 + columns.start..row * size.0 + columns.end].fill(level);
    });
}

/// Calls `cover` with the pixels that the polygons cover: ranges of columns with their row, which may overlap.
fn covered(polygons: &[Polygon], size: (usize, usize), mut cover: impl FnMut(usize, Range<usize>)) {
    for polygon in polygons {
        one_covered(polygon, size, &mut cover);
    }
}

/// A corner in pixels.
type Point = (f64, f64);

fn one_covered(
    polygon: &Polygon,
    (width, height): (usize, usize),
    cover: &mut impl FnMut(usize, Range<usize>),
) {
    let pixel = |fraction: f64, size: usize| (fraction * size as f64 * PARTS).round() / PARTS;
    let corners: Vec<Point> = polygon.0.iter().map(|[x, y]| (pixel(*x, width), pixel(*y, height))).collect();
    let edges: Vec<(Point, Point)> =
        corners.iter().copied().zip(corners.iter().copied().cycle().skip(1)).collect();
    let (top, bottom) =
        corners.iter().fold((height as f64, 0.0_f64), |(top, bottom), (_, y)| (top.min(*y), bottom.max(*y)));
    let mut is_empty = true;
    for row in top as usize..(bottom.ceil() as usize).min(height) {
        for columns in along_outline(&edges, row).chain(inside(&edges, row)) {
            let columns = columns.start..columns.end.min(width);
            if !columns.is_empty() {
                is_empty = false;
                cover(row, columns);
            }
        }
    }
    // It is smaller than the part of a pixel to which corners are rounded.
    if let (true, Some((x, y))) = (is_empty, corners.first()) {
        let (column, row) = ((*x as usize).min(width - 1), (*y as usize).min(height - 1));
        cover(row, column..column + 1);
    }
}

/// The pixels of a row that an edge passes through.
fn along_outline(edges: &[(Point, Point)], row: usize) -> impl Iterator<Item = Range<usize>> {
    let (low, high) = (row as f64, row as f64 + 1.0);
    edges.iter().filter_map(move |(a, b)| {
        let (upper, lower) = if a.1 <= b.1 { (a, b) } else { (b, a) };
        // An edge along the border of a row is in none of the two rows.
        if upper.1 >= high || lower.1 <= low {
            return None;
        }
        let at = |y: f64| upper.0 + (lower.0 - upper.0) * (y - upper.1) / (lower.1 - upper.1);
        let from = if upper.1 >= low { upper.0 } else { at(low) };
        let to = if lower.1 <= high { lower.0 } else { at(high) };
        Some(from.min(to).floor() as usize..from.max(to).ceil() as usize)
    })
}

/// The pixels of a row whose middle the outline goes around. Pixels without an edge are inside or outside as their middle is.
fn inside(edges: &[(Point, Point)], row: usize) -> impl Iterator<Item = Range<usize>> {
    let middle = row as f64 + 0.5;
    let crossing = |(a, b): &(Point, Point)| {
        let is_crossed = (a.1 <= middle) != (b.1 <= middle);
        is_crossed.then(|| (a.0 + (b.0 - a.0) * (middle - a.1) / (b.1 - a.1), if a.1 < b.1 { 1 } else { -1 }))
    };
    let mut crossings: Vec<(f64, i32)> = edges.iter().filter_map(crossing).collect();
    crossings.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut winding = 0;
    let mut spans = Vec::with_capacity(crossings.len() / 2);
    for pair in crossings.windows(2) {
        winding += pair[0].1;
        if winding != 0 {
            let column = |x: f64| (x - 0.5).ceil().max(0.0) as usize;
            spans.push(column(pair[0].0)..column(pair[1].0));
        }
    }
    spans.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Colour, Matrix, Meaning, Planes};

    fn polygon(corners: &[[f64; 2]]) -> Polygon {
        Polygon::new(corners.to_vec()).unwrap()
    }

    fn rectangle(left: f64, top: f64, right: f64, bottom: f64) -> Polygon {
        polygon(&[[left, top], [right, top], [right, bottom], [left, bottom]])
    }

    /// The rows of a picture of this size, `#` for a filled pixel.
    fn filled(size: (u32, u32), polygons: &[Polygon]) -> Vec<String> {
        let (width, height) = (size.0 as usize, size.1 as usize);
        let mut picture = Picture::of_rgb(size.0, size.1, vec![7; width * height * 3]);
        fill(&mut picture, polygons);
        let sign = |pixel: &[u8; 3]| match pixel {
            [GREY, GREY, GREY] => '#',
            [7, 7, 7] => '.',
            other => panic!("a colour that no one wrote: {other:?}"),
        };
        let rgb = picture.rgb();
        let pixels: String = rgb.as_chunks::<3>().0.iter().map(sign).collect();
        pixels.as_bytes().chunks(width).map(|row| String::from_utf8_lossy(row).into_owned()).collect()
    }

    #[test]
    fn what_is_filled() {
        let bow_tie = polygon(&[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]);
        let twice = polygon(&[
            [0.0, 0.0],
            [1.0, 0.0],
            [1.0, 1.0],
            [0.0, 1.0],
            [0.0, 0.0],
            [0.25, 0.25],
            [0.75, 0.25],
            [0.75, 0.75],
            [0.25, 0.75],
        ]);
        type Case<'a> = (&'a str, (u32, u32), Vec<Polygon>, &'a [&'a str]);
        let cases: [Case<'_>; 13] = [
            ("nothing", (3, 2), vec![], &["...", "..."]),
            ("the whole picture", (3, 2), vec![rectangle(0.0, 0.0, 1.0, 1.0)], &["###", "###"]),
            ("the left half", (4, 2), vec![rectangle(0.0, 0.0, 0.5, 1.0)], &["##..", "##.."]),
            (
                "the lower right",
                (4, 4),
                vec![rectangle(0.5, 0.5, 1.0, 1.0)],
                &["....", "....", "..##", "..##"],
            ),
            ("decimals that are not exact", (10, 1), vec![rectangle(0.1, 0.0, 0.7, 1.0)], &[".######..."]),
            (
                "parts of pixels",
                (4, 4),
                vec![rectangle(0.3, 0.3, 0.6, 0.6)],
                &["....", ".##.", ".##.", "...."],
            ),
            ("less than a pixel", (4, 3), vec![rectangle(0.55, 0.4, 0.56, 0.41)], &["....", "..#.", "...."]),
            (
                "almost nothing, in a corner",
                (3, 2),
                vec![rectangle(0.999_999, 0.999_999, 1.0, 1.0)],
                &["...", "..#"],
            ),
            (
                "a triangle",
                (4, 4),
                vec![polygon(&[[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])],
                &["#...", "##..", "###.", "####"],
            ),
            (
                "the same triangle, the other way round",
                (4, 4),
                vec![polygon(&[[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])],
                &["#...", "##..", "###.", "####"],
            ),
            ("an outline that crosses itself", (4, 4), vec![bow_tie], &["#..#", "####", "####", "#..#"]),
            ("an outline that goes around twice", (4, 4), vec![twice], &["####"; 4]),
            (
                "neighbours leave no gap",
                (5, 2),
                vec![rectangle(0.0, 0.0, 0.33, 1.0), rectangle(0.33, 0.0, 0.9, 1.0)],
                &["#####", "#####"],
            ),
        ];
        for (name, size, polygons, expected) in cases {
            assert_eq!(filled(size, &polygons), expected, "{name}");
        }
    }

    /// No pixel with a point in the polygon is left, for many triangles.
    #[test]
    fn every_point_of_a_polygon_is_filled() {
        let number =
            |seed: u64| (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1_u64 << 24) as f64;
        for seed in 0..200_u64 {
            let corners: Vec<_> =
                (0..3).map(|n| [number(seed * 6 + n * 2), number(seed * 6 + n * 2 + 1)]).collect();
            let Ok(triangle) = Polygon::new(corners.clone()) else { continue };
            let rows = filled((13, 7), &[triangle]);
            for (a, b) in (0..=20).flat_map(|a| (0..=20 - a).map(move |b| (f64::from(a), f64::from(b)))) {
                let weights = [a / 20.0, b / 20.0, (20.0 - a - b) / 20.0];
                let at = |axis: usize, size: f64| {
                    let sum: f64 =
                        weights.iter().zip(&corners).map(|(weight, corner)| weight * corner[axis]).sum();
                    sum * size
                };
                let (x, y) = (at(0, 13.0), at(1, 7.0));
                // Corners are rounded, so a point on the border of a pixel may be in its neighbour.
                let is_inner = |x: f64| (x.fract() - 0.5).abs() < 0.49;
                if is_inner(x) && is_inner(y) {
                    let sign = rows[y as usize].as_bytes()[x as usize];
                    assert_eq!(sign, b'#', "{corners:?} at {x}, {y}: {rows:#?}");
                }
            }
        }
    }

    #[test]
    fn planes_of_every_kind_are_filled() {
        let mask = [rectangle(0.25, 0.0, 0.75, 0.5)];
        for full_range in [true, false] {
            for halved in [(false, false), (true, false), (false, true), (true, true)] {
                let meaning = Meaning { matrix: Matrix::Bt601, full_range };
                let samples = |pixels: usize, halved: bool| if halved { pixels.div_ceil(2) } else { pixels };
                let count = samples(16, halved.0) * samples(8, halved.1);
                let colour = Colour { blue: vec![60; count], red: vec![200; count], halved };
                let planes = Planes::new((16, 8), vec![90; 128], Some(colour), meaning).unwrap();
                let before =
                    Picture { width: 16, height: 8, pixels: Pixels::Planes(planes), transparent: None };
                let mut picture = before.clone();
                fill(&mut picture, &mask);
                assert!(matches!(picture.pixels, Pixels::Planes(_)), "they stay planes");
                let (rgb, unmasked) = (picture.rgb(), before.rgb());
                let pixel = |rgb: &[u8], x: usize, y: usize| rgb[(y * 16 + x) * 3..][..3].to_vec();
                // One pixel from the edge colours are those of the samples alone.
                for (x, y) in [(5, 0), (8, 1), (10, 2)] {
                    let found = pixel(&rgb, x, y);
                    assert!(
                        found.iter().all(|level| level.abs_diff(GREY) <= 1),
                        "{halved:?} {full_range}: {found:?}"
                    );
                }
                for (x, y) in [(0, 0), (14, 3), (8, 6), (2, 7)] {
                    assert_eq!(pixel(&rgb, x, y), pixel(&unmasked, x, y), "{halved:?}: {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn a_grey_picture_and_an_odd_size_are_filled() {
        let grey = Meaning { matrix: Matrix::Bt601, full_range: true };
        let planes = Planes::new((3, 3), vec![9; 9], None, grey).unwrap();
        let mut picture = Picture { width: 3, height: 3, pixels: Pixels::Planes(planes), transparent: None };
        fill(&mut picture, &[rectangle(0.0, 0.0, 1.0, 0.3)]);
        assert_eq!(picture.rgb()[..12], [[GREY; 9].as_slice(), &[9; 3]].concat());

        let colour = Colour { blue: vec![1; 4], red: vec![1; 4], halved: (true, true) };
        let planes = Planes::new((3, 3), vec![9; 9], Some(colour), grey).unwrap();
        let mut picture = Picture { width: 3, height: 3, pixels: Pixels::Planes(planes), transparent: None };
        fill(&mut picture, &[rectangle(0.0, 0.0, 1.0, 1.0)]);
        assert!(picture.rgb().iter().all(|level| *level == GREY));
    }

    #[test]
    fn a_part_of_shared_planes_is_filled_alone() {
        let grey = Meaning { matrix: Matrix::Bt601, full_range: true };
        let planes = Planes::new((4, 2), vec![9; 8], None, grey).unwrap();
        let whole = Picture { width: 4, height: 2, pixels: Pixels::Planes(planes), transparent: None };
        let mut part = whole.crop(2, 1, 2, 1);
        fill(&mut part, &[rectangle(0.0, 0.0, 0.5, 1.0)]);
        assert_eq!(*part.rgb(), [[GREY; 3], [9; 3]].concat());
        assert!(whole.rgb().iter().all(|level| *level == 9), "the whole picture is another one");
    }

    #[test]
    fn a_plane_is_filled_as_a_picture_is() {
        let mask = [polygon(&[[0.1, 0.9], [0.5, 0.1], [0.9, 0.9]])];
        let mut plane = vec![7; 60];
        fill_plane(&mut plane, (10, 6), GREY, &mask);
        let rows = filled((10, 6), &mask).concat();
        let signs: String = plane.iter().map(|level| if *level == GREY { '#' } else { '.' }).collect();
        assert_eq!(signs, rows);
    }

    #[test]
    fn corners_that_are_no_polygon_are_rejected() {
        let cases: [(&[[f64; 2]], NoPolygon); 8] = [
            (&[], NoPolygon::TooFew),
            (&[[0.0, 0.0], [1.0, 1.0]], NoPolygon::TooFew),
            (&[[0.5, 0.5]; 65], NoPolygon::TooMany),
            (&[[0.0, 0.0], [1.01, 0.0], [0.0, 1.0]], NoPolygon::Outside(1)),
            (&[[-0.1, 0.0], [1.0, 0.0], [0.0, 1.0]], NoPolygon::Outside(0)),
            (&[[0.0, 0.0], [1.0, f64::NAN], [0.0, 1.0]], NoPolygon::Outside(1)),
            (&[[0.1, 0.1], [0.2, 0.2], [0.7, 0.7]], NoPolygon::NoArea),
            (&[[0.5, 0.5]; 4], NoPolygon::NoArea),
        ];
        for (corners, expected) in cases {
            assert_eq!(Polygon::new(corners.to_vec()), Err(expected), "{corners:?}");
        }
        assert_eq!(
            polygon(&[[0.0, 0.0], [0.4, 0.0], [0.4, 0.3]]).to_string(),
            "[[0, 0], [0.4, 0], [0.4, 0.3]]"
        );
    }
}
