//! Writes a drawing as SVG.

use std::fmt::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The width of every drawing.
pub(super) const WIDTH: f64 = 1000.0;

/// A drawing of the width [`WIDTH`]; later elements cover earlier ones.
pub(super) struct Drawing {
    pub height: f64,
    elements: String,
}

/// Which end of a text is at its position.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    pub(super) fn new(height: f64) -> Self {
        Self { height, elements: String::new() }
    }

    /// A complete SVG file.
    pub(super) fn file(&self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.element())
    }

    /// An element for an HTML page.
    pub(super) fn element(&self) -> String {
        let Self { height, elements } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{elements}</svg>\n"
        )
    }

    pub(super) fn area(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.elements,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    pub(super) fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64, dashed: bool) {
        let points = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        let dashes = if dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let _ = writeln!(
            self.elements,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>"
        );
    }

    /// A line of text; `y` is its base line.
    pub(super) fn words(&mut self, x: f64, y: f64, text: &str, colour: &str, anchor: Anchor, bold: bool) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (weight, text) = (if bold { " font-weight=\"bold\"" } else { "" }, escaped(text));
        let _ = writeln!(
            self.elements,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\"{weight}>{text}</text>"
        );
    }

    pub(super) fn image(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        jpeg: &[u8],
        about: &str,
    ) {
        let (data, about) = (data_uri(jpeg), escaped(about));
        let _ = writeln!(
            self.elements,
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" href=\"{data}\"><title>{about}</title></image>"
        );
    }
}

/// A JPEG as a URI for a page that needs no other file.
#[must_use]
pub fn data_uri(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

/// Text with the special characters of XML and HTML escaped.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML cannot represent control characters.
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
