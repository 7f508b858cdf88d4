//! A drawing as PNG, twice as fine as it is large. Its font knows the letters of western Europe; of others the SVG and the
//! HTML file show all.

use std::convert::Infallible;

use anyhow::Result;
use embedded_graphics::{
    Drawable, Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point, Size},
    mono_font::{
        MonoFont, MonoTextStyle,
        iso_8859_1::{FONT_9X15, FONT_9X15_BOLD},
    },
    pixelcolor::{Rgb888, RgbColor},
    prelude::Primitive,
    primitives::{Line, PrimitiveStyle, Rectangle},
    text::{Alignment, Text},
};

use super::chart::{Anchor, Colour, Drawing, Mark, WIDTH};
use crate::picture::{self, Picture};

const FINE: f64 = 2.0;
/// A length of a dash, and of the gap behind it.
const DASH: f64 = 8.0;

pub(super) fn file(drawing: &Drawing) -> Result<Vec<u8>> {
    let (width, height) = ((WIDTH * FINE) as u32, (drawing.height * FINE).ceil() as u32);
    let mut canvas = Canvas { width, height, rgb: vec![255; width as usize * height as usize * 3] };
    drawing.marks.iter().for_each(|mark| canvas.draw(mark));
    Ok(Picture::of_rgb(width, height, canvas.rgb).to_png()?)
}

struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let place = (u32::try_from(at.x), u32::try_from(at.y));
            if let (Ok(x), Ok(y)) = place
                && x < self.width
                && y < self.height
            {
                let at = (y as usize * self.width as usize + x as usize) * 3;
                self.rgb[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

impl Canvas {
    fn draw(&mut self, mark: &Mark) {
        match mark {
            Mark::Area { x, y, width, height, colour } => {
                let size = Size::new((width * FINE) as u32, (height * FINE) as u32);
                let style = PrimitiveStyle::with_fill(rgb(*colour));
                let Ok(()) = Rectangle::new(point(*x, *y), size).into_styled(style).draw(self);
            }
            Mark::Line { points, colour, width, dashed } => {
                let style = PrimitiveStyle::with_stroke(rgb(*colour), (width * FINE).round() as u32);
                for ends in points.windows(2) {
                    for (from, to) in dashes(ends[0], ends[1], *dashed) {
                        let Ok(()) =
                            Line::new(point(from.0, from.1), point(to.0, to.1)).into_styled(style).draw(self);
                    }
                }
            }
            Mark::Words { x, y, text, colour, anchor, bold } => {
                let font: &MonoFont<'_> = if *bold { &FONT_9X15_BOLD } else { &FONT_9X15 };
                let alignment = match anchor {
                    Anchor::Start => Alignment::Left,
                    Anchor::Middle => Alignment::Center,
                    Anchor::End => Alignment::Right,
                };
                let style = MonoTextStyle::new(font, rgb(*colour));
                let Ok(_) = Text::with_alignment(text, point(*x, *y), style, alignment).draw(self);
            }
            Mark::Image { x, y, width, height, jpeg, .. } => self.image((*x, *y), (*width, *height), jpeg),
        }
    }

    /// As large as fits into its room, in the middle of it, as SVG does.
    fn image(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), jpeg: &[u8]) {
        // It was made by this program a moment ago; where it cannot be read, its room stays empty.
        let Ok(picture) = picture::decode(jpeg, 1 << 24) else { return };
        let (wide, high) = (f64::from(picture.width), f64::from(picture.height));
        let rgb = picture.rgb();
        let scale = (width / wide).min(height / high) * FINE;
        let (across, down) = ((wide * scale) as i32, (high * scale) as i32);
        let origin = point(x + (width - wide * scale / FINE) / 2.0, y + (height - high * scale / FINE) / 2.0);
        let nearest = |at: i32, most: u32| ((f64::from(at) / scale) as u32).min(most - 1) as usize;
        let pixels = (0..down).flat_map(|y| (0..across).map(move |x| (x, y))).map(|(x, y)| {
            let at = (nearest(y, picture.height) * picture.width as usize + nearest(x, picture.width)) * 3;
            let colour = Rgb888::new(rgb[at], rgb[at + 1], rgb[at + 2]);
            Pixel(Point::new(origin.x + x, origin.y + y), colour)
        });
        let Ok(()) = self.draw_iter(pixels);
    }
}

fn point(x: f64, y: f64) -> Point {
    Point::new((x * FINE).round() as i32, (y * FINE).round() as i32)
}

fn rgb(Colour(red, green, blue): Colour) -> Rgb888 {
    Rgb888::new(red, green, blue)
}

type Place = (f64, f64);

/// The pieces of a line.
fn dashes(from: Place, to: Place, dashed: bool) -> Vec<(Place, Place)> {
    if !dashed {
        return vec![(from, to)];
    }
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let along = |part: f64| {
        let part = (part / length.max(1e-9)).min(1.0);
        (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
    };
    let count = (length / (2.0 * DASH)).ceil() as u32;
    (0..count)
        .map(|number| f64::from(number) * 2.0 * DASH)
        .map(|start| (along(start), along(start + DASH)))
        .collect()
}
