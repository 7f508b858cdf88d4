//! Zones and masks: polygons in fractions of the frame or in pixels. Pure.

use serde_json::{Value, json};

/// A polygon in fractions of the frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Polygon(Vec<[f64; 2]>);

/// Why coordinates are no polygon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// They are no numbers, or too few.
    Numbers,
    /// They are pixels, and the size of the frame is not known.
    Pixels,
}

impl Wrong {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Numbers => "its coordinates are not three or more pairs of numbers",
            Self::Pixels => {
                "its coordinates are pixels, and the file has no `detect` with `width` and `height`"
            }
        }
    }
}

impl Polygon {
    /// The polygon of `x,y,x,y,...`, or of a list of `x,y`. Numbers above 1 are pixels of a frame of this size.
    pub(super) fn parse(coordinates: &[&str], size: Option<(f64, f64)>) -> Result<Self, Wrong> {
        let numbers =
            coordinates.iter().flat_map(|part| part.split(',')).map(|number| number.trim().parse::<f64>());
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().map_err(|_| Wrong::Numbers)?;
        let is_usable = numbers.iter().all(|number| number.is_finite() && *number >= 0.0);
        if numbers.len() < 6 || !numbers.len().is_multiple_of(2) || !is_usable {
            return Err(Wrong::Numbers);
        }
        let is_pixels = numbers.iter().any(|number| *number > 1.0);
        let (width, height) = if is_pixels { size.ok_or(Wrong::Pixels)? } else { (1.0, 1.0) };
        // A corner at the edge may be a pixel outside.
        let corner =
            |pair: &[f64]| [rounded((pair[0] / width).min(1.0)), rounded((pair[1] / height).min(1.0))];
        Ok(Self(numbers.chunks_exact(2).map(corner).collect()))
    }

    /// As `mask` in a configuration.
    pub(super) fn corners(&self) -> Value {
        json!(self.0)
    }

    /// The rectangle around it: x, y, width and height. `None` if it has no area.
    pub(super) fn bounds(&self) -> Option<Value> {
        let along = |axis: usize| {
            let numbers = self.0.iter().map(|corner| corner[axis]);
            let (least, most) = numbers
                .fold((1.0_f64, 0.0_f64), |(least, most), number| (least.min(number), most.max(number)));
            (least, rounded(most - least))
        };
        let ((x, width), (y, height)) = (along(0), along(1));
        (width > 0.0 && height > 0.0).then(|| json!([x, y, width, height]))
    }

    /// Whether it is such a rectangle.
    pub(super) fn is_rectangle(&self) -> bool {
        let mut corners = self.0.clone();
        corners.dedup();
        if corners.first() == corners.last() && corners.len() > 1 {
            corners.pop();
        }
        let aligned = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).abs() < 1e-6 || (a[1] - b[1]).abs() < 1e-6;
        corners.len() == 4 && (0..4).all(|at| aligned(&corners[at], &corners[(at + 1) % 4]))
    }
}

/// Three decimals: a pixel of a frame that is a thousand pixels wide.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_fractions_or_pixels() {
        let size = Some((1280.0, 720.0));
        for (coordinates, size, expected) in [
            (&["0.1,0.2,0.3,0.2,0.3,0.5"][..], None, Ok(json!([[0.1, 0.2], [0.3, 0.2], [0.3, 0.5]]))),
            (&["0,0", "640,0", "1281,720"], size, Ok(json!([[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]]))),
            (&["0,0,640,0,1280,720"], None, Err(Wrong::Pixels)),
            (&["0,0,1,1"], None, Err(Wrong::Numbers)),
            (&["0,0,1,1,0"], None, Err(Wrong::Numbers)),
            (&["a,0,1,1,0,1"], None, Err(Wrong::Numbers)),
            (&["-1,0,1,1,0,1"], None, Err(Wrong::Numbers)),
            (&[], None, Err(Wrong::Numbers)),
        ] {
            let found = Polygon::parse(coordinates, size).map(|polygon| polygon.corners());
            assert_eq!(found, expected, "{coordinates:?}");
        }
    }

    #[test]
    fn a_zone_has_a_rectangle_around_it() {
        let of = |coordinates: &str| Polygon::parse(&[coordinates], None).unwrap();
        let zone = of("0.033,0.306,0.324,0.138,0.439,0.185,0.042,0.428");
        assert_eq!((zone.bounds(), zone.is_rectangle()), (Some(json!([0.033, 0.138, 0.406, 0.29])), false));
        let box_ = of("0.2,0.5,0.8,0.5,0.8,1,0.2,1");
        assert_eq!((box_.bounds(), box_.is_rectangle()), (Some(json!([0.2, 0.5, 0.6, 0.5])), true));
        assert_eq!(of("0.2,0.5,0.8,0.5,0.4,0.5").bounds(), None);
    }
}
