//! Writes plots as one HTML file that works offline: the pointer shows time and score, and the nearest thumbnail.

use serde_json::json;

use super::{
    chart,
    svg::{WIDTH, escaped},
};
use crate::replay::{Timeline, Track};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(timeline: &Timeline) -> String {
    let sections = timeline.tracks.iter().map(|track| section(timeline, track)).collect::<String>();
    document(&chart::heading(timeline), &sections)
}

/// A page with this title; `body` is HTML.
#[must_use]
pub fn document(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\
         <div id=\"tip\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// The plot of one label: its drawing, and its scores for the script.
#[must_use]
pub fn section(timeline: &Timeline, track: &Track) -> String {
    let Some(range) = timeline.range() else { return String::new() };
    let drawing = chart::of_track(track, range);
    let mut shown: Vec<(f64, f32, i64)> = vec![];
    for point in &track.points {
        let x = chart::x(point.time, range);
        // Of the scores within half a pixel only the highest is kept.
        match shown.last_mut().filter(|(last, ..)| (x - *last).abs() < 0.5) {
            Some(last) if point.score > last.1 => *last = (last.0, point.score, point.time.as_millisecond()),
            Some(_) => {}
            None => shown.push((x, point.score, point.time.as_millisecond())),
        }
    }
    let round = |number: f64, digits: i32| (number * 10_f64.powi(digits)).round() / 10_f64.powi(digits);
    let data = json!({
        "label": track.label,
        "width": WIDTH,
        "x": shown.iter().map(|(x, ..)| round(*x, 1)).collect::<Vec<_>>(),
        "score": shown.iter().map(|(_, score, _)| round((*score).into(), 4)).collect::<Vec<_>>(),
        "time": shown.iter().map(|(.., time)| *time).collect::<Vec<_>>(),
    });
    // `<` is the only character that could end the script element.
    let data = data.to_string().replace('<', "\\u003c");
    format!(
        "<section class=\"track\">\n{}<script type=\"application/json\">{data}</script>\n</section>\n",
        drawing.element()
    )
}
