//! Reads the `mask` of a source: polygons of the frame that are hidden before anything else reads their pixels.

use serde_json::{Value, json};

use crate::{
    picture::mask::{MOST_CORNERS, NoPolygon, Polygon},
    yaml::{
        fields::Form,
        reader::{Reader, Setting},
        tree::{Node, Value as Typed},
        value,
    },
};

/// The most polygons of a mask.
const MOST: usize = 64;
/// A polygon, or a list of polygons.
pub(super) const FORM: Form = Form::OneOrMore(&Form::Polygon);
pub(super) const EXAMPLE: &str = "[[0, 0], [0.4, 0], [0.4, 0.3], [0, 0.3]]";

/// Reads one polygon, or a list of polygons. `None` if one of them is invalid.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Vec<Polygon>> {
    match &at.node.value {
        Typed::List(items) if items.is_empty() => {
            reader.problem(
                at.span(),
                format!("`{}` is empty", at.name),
                "list at least one, or leave it out",
            );
            None
        }
        Typed::List(items) if items.iter().any(is_polygon) => {
            if items.len() > MOST {
                let message = format!("`{}` has {} polygons", at.name, items.len());
                reader.problem(at.span(), message, format!("use at most {MOST}"));
                return None;
            }
            // Every polygon is read before one that is invalid ends it.
            let items: Vec<_> = reader.items(at, items).iter().map(|item| polygon(reader, item)).collect();
            items.into_iter().collect()
        }
        _ => polygon(reader, at).map(|polygon| vec![polygon]),
    }
}

/// The polygons for `check --explain`.
pub(super) fn shown(polygons: &[Polygon]) -> Value {
    if polygons.is_empty() { json!("none") } else { polygons.iter().map(|it| json!(it.corners())).collect() }
}

/// Whether a value is a list of lists.
fn is_polygon(node: &Node) -> bool {
    matches!(&node.value, Typed::List(items) if items.iter().any(|item| matches!(item.value, Typed::List(_))))
}

/// Reads `[[x, y], [x, y], [x, y]]`.
fn polygon(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Polygon> {
    let items = match &at.node.value {
        Typed::List(items) if is_polygon(at.node) => items,
        _ => {
            let remedy = meant(at.node).map_or_else(
                || format!("write its corners as fractions of the frame's width and height: `{EXAMPLE}`"),
                |meant| format!("write its corners one by one: `{meant}`"),
            );
            reader.wrong(at, remedy);
            return None;
        }
    };
    let corners: Vec<_> = items.iter().map(|item| corner(reader, at, item)).collect();
    let corners: Vec<[f64; 2]> = corners.into_iter().collect::<Option<_>>()?;
    let count = corners.len();
    Polygon::new(corners).map_err(|why| refuse(reader, at, items, count, why)).ok()
}

/// Reads `[x, y]`.
fn corner(reader: &mut Reader<'_>, of: &Setting<'_>, node: &Node) -> Option<[f64; 2]> {
    let numbers = numbers(node);
    let Some(&[x, y]) = numbers.as_deref() else {
        let message = format!("a corner in `{}` must be two numbers, x and y", of.name);
        let remedy = "write fractions of the frame's width and height: `[0.4, 0.3]`";
        reader.problem(node.span, message, remedy);
        return None;
    };
    Some([x, y])
}

fn refuse(reader: &mut Reader<'_>, at: &Setting<'_>, items: &[Node], count: usize, why: NoPolygon) {
    let name = at.name;
    let (span, message, remedy) = match why {
        NoPolygon::Outside(number) => (
            items.get(number).map_or(at.node.span, |item| item.span),
            format!("a corner in `{name}` is outside the frame"),
            format!("write fractions of the frame's width and height from 0 to 1, not pixels: `{EXAMPLE}`"),
        ),
        NoPolygon::TooFew => (
            at.node.span,
            format!("a polygon in `{name}` has {count} corners"),
            format!("write three or more: `{EXAMPLE}`"),
        ),
        NoPolygon::TooMany => (
            at.node.span,
            format!("a polygon in `{name}` has {count} corners"),
            format!("use at most {MOST_CORNERS}, or several polygons"),
        ),
        NoPolygon::NoArea => (
            at.node.span,
            format!("a polygon in `{name}` has no area"),
            format!("its corners are on one line: move one of them, as in `{EXAMPLE}`"),
        ),
    };
    reader.problem(span, message, remedy);
}

/// The numbers of a list, or of a text such as `0.1,0.2,0.3` (Frigate).
fn numbers(node: &Node) -> Option<Vec<f64>> {
    match &node.value {
        Typed::List(items) => items
            .iter()
            .map(|item| match &item.value {
                Typed::Text(text) => value::number(text),
                _ => None,
            })
            .collect(),
        Typed::Text(text) => text.split(',').map(|text| value::number(text.trim())).collect(),
        _ => None,
    }
}

/// The polygon that a flat list of numbers probably means: x, y, width and height as those of a region, or x and y of each corner.
fn meant(node: &Node) -> Option<Polygon> {
    let numbers = numbers(node)?;
    let corners = match numbers[..] {
        [x, y, width, height] => {
            // Sums of decimals are not exact.
            let sum = |a: f64, b: f64| (((a + b) * 1e6).round() / 1e6).min(1.0);
            let (right, bottom) = (sum(x, width), sum(y, height));
            vec![[x, y], [right, y], [right, bottom], [x, bottom]]
        }
        _ => {
            let (corners, []) = numbers.as_chunks::<2>() else { return None };
            corners.to_vec()
        }
    };
    Polygon::new(corners).ok()
}
