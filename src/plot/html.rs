//! Writes plots as one HTML file that works offline. It looks as the console does, and its charts are those of the console: they show
//! the time and the score under the pointer, and a drag zooms. Without scripts the drawing of `chart` is shown instead.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    chart,
    svg::{data_uri, escaped},
};
use crate::{
    policy::Levels,
    replay::{Peak, Timeline, Track},
    suggest::Point,
};

/// Built from `web/src/report.css` and `web/src/report.ts`.
const STYLE: &str = include_str!("../../web/dist/report.css");
const SCRIPT: &str = include_str!("../../web/dist/report.js");
/// The page loads nothing, wherever it is opened.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
/// The most scores of a chart. Of more frames the lowest and the highest of each short time are kept.
const MOST_POINTS: usize = 8000;
/// The most pictures of raised spans, and of other frames with high scores.
const MOST_RAISED: usize = 60;
const MOST_OTHERS: usize = 6;

pub(super) fn page(timeline: &Timeline) -> String {
    let mut body = String::new();
    if timeline.tracks.len() > 1 {
        let links = timeline.tracks.iter().enumerate().map(|(number, track)| {
            format!("<a class=\"chip\" href=\"#{}\">{}</a>\n", id(number), escaped(&summary(track)))
        });
        let _ = write!(
            body,
            "<nav class=\"chips\" aria-label=\"Labels\">\n{}</nav>\n",
            links.collect::<String>()
        );
    }
    for (number, track) in timeline.tracks.iter().enumerate() {
        let content = format!("{}{}", graph(timeline, track), others(track));
        body.push_str(&card(&id(number), &name(track), &content));
    }
    document(&chart::heading(timeline), &body)
}

/// The id of the part of a page about the label with this number, for links.
#[must_use]
pub fn id(number: usize) -> String {
    format!("label-{number}")
}

/// A page with this title; `body` is HTML.
#[must_use]
pub fn document(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main class=\"report\">\n<h1>{title}</h1>\n{body}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// A part of a page with a heading; `content` is HTML.
#[must_use]
pub fn card(id: &str, heading: &str, content: &str) -> String {
    format!(
        "<section class=\"card track\" id=\"{id}\">\n<h2>{}</h2>\n{content}</section>\n",
        escaped(heading)
    )
}

/// The plot of one label: legend, chart, and pictures of its raised spans. Empty without frames.
#[must_use]
pub fn graph(timeline: &Timeline, track: &Track) -> String {
    let Some(range) = timeline.range() else { return String::new() };
    let drawing = chart::of_track(track, range);
    // `<` is the only character that could end the script element.
    let data = data(track, range).to_string().replace('<', "\\u003c");
    format!(
        "{}<div class=\"timechart\"><div class=\"timechart-plot\">\n{}</div></div>\n\
         <script type=\"application/json\">{data}</script>\n{}",
        legend(track),
        drawing.element(),
        thumbnails(&raised(track), chart::top_score(track)),
    )
}

/// Pictures with their scores below each other; a click shows the moment in the chart.
#[must_use]
pub fn thumbnails(peaks: &[&Peak], top: f64) -> String {
    let figures = peaks.iter().map(|peak| {
        let Peak { point: Point { time, score }, origin, thumbnail } = peak;
        let (moment, origin) = (chart::moment(*time), escaped(origin));
        format!(
            "<figure><button type=\"button\" data-time=\"{}\"><span class=\"hidden\">Show {moment} in the chart</span><span class=\"picture\">\
             <img src=\"{}\" alt=\"\"><span class=\"picture-score\">{score:.*}</span></span></button>\
             <figcaption>{moment}<span title=\"{origin}\">{origin}</span></figcaption></figure>\n",
            time.as_millisecond(),
            data_uri(thumbnail),
            digits(top),
        )
    });
    if peaks.is_empty() {
        return String::new();
    }
    format!("<div class=\"thumbs\">\n{}</div>\n", figures.collect::<String>())
}

/// How many digits of a score are shown where the axis ends at `top`.
fn digits(top: f64) -> usize {
    if top >= 0.5 { 2 } else { 4 }
}

fn name(track: &Track) -> String {
    format!("{} / {}", track.label_set, track.label)
}

fn summary(track: &Track) -> String {
    let Track { label, spans, .. } = track;
    match spans.len() {
        0 => format!("{label}: not raised"),
        1 => format!("{label}: raised once"),
        times => format!("{label}: raised {times} times"),
    }
}

fn legend(track: &Track) -> String {
    let (threshold, clear) = match (track.levels, track.rise) {
        (Some((threshold, clear)), _) => {
            let clear = (clear < threshold).then(|| format!("clear below {clear}"));
            (Some(format!("threshold {threshold}")), clear)
        }
        (None, Some(rise)) => {
            (Some(format!("threshold, {rise} above the baseline")), Some("clear below".to_owned()))
        }
        // A rule over labels has no levels.
        (None, None) => (None, None),
    };
    let level = |class: &str, text: Option<String>| {
        text.map_or_else(String::new, |text| format!("<span class=\"legend-{class}\">{text}</span>"))
    };
    format!(
        "<p class=\"legend\"><span>score</span>{}{}<span class=\"legend-raised\">raised</span></p>\n",
        level("threshold", threshold),
        level("clear", clear)
    )
}

/// The pictures of raised spans in the order of time; of too many, those with the highest scores.
fn raised(track: &Track) -> Vec<&Peak> {
    let peaks = track.spans.iter().filter_map(|span| span.peak.as_ref());
    let mut peaks = peaks.filter(|peak| !peak.thumbnail.is_empty()).collect::<Vec<_>>();
    peaks.sort_by(|a, b| b.point.score.total_cmp(&a.point.score));
    peaks.truncate(MOST_RAISED);
    peaks.sort_by_key(|peak| peak.point.time);
    peaks
}

/// The frames with the highest scores that did not raise the label.
fn others(track: &Track) -> String {
    let is_raised = |peak: &Peak| {
        let time = peak.point.time;
        track.spans.iter().any(|span| span.from <= time && span.to.is_none_or(|to| time <= to))
    };
    let others = track.peaks().into_iter().filter(|peak| !is_raised(peak) && !peak.thumbnail.is_empty());
    let others = others.take(MOST_OTHERS).collect::<Vec<_>>();
    if others.is_empty() {
        return String::new();
    }
    format!("<h3>Highest scores that raised nothing</h3>\n{}", thumbnails(&others, chart::top_score(track)))
}

/// The chart for the script. Times are milliseconds.
fn data(track: &Track, range: (Timestamp, Timestamp)) -> Value {
    let points = thinned(&track.points, MOST_POINTS);
    let (threshold, clear_below) = match track.levels {
        Some((threshold, clear_below)) => (json!(rounded(threshold)), json!(rounded(clear_below))),
        None if track.moving.is_empty() => (Value::Null, Value::Null),
        None => (moving(track, &points, |it| it.threshold), moving(track, &points, |it| it.clear_below)),
    };
    let spans =
        track.spans.iter().map(|span| [span.from, span.to.unwrap_or(range.1)].map(Timestamp::as_millisecond));
    json!({
        "label": track.label,
        "dated": chart::has_date(range.0),
        "top": chart::top_score(track),
        "time": points.iter().map(|point| point.time.as_millisecond()).collect::<Vec<_>>(),
        "score": points.iter().map(|point| rounded(point.score)).collect::<Vec<_>>(),
        "threshold": threshold,
        "clear_below": clear_below,
        "spans": spans.collect::<Vec<_>>(),
    })
}

/// A level that moves, at each of these points; `null` before it is known.
fn moving(track: &Track, points: &[Point], level: fn(&Levels) -> f32) -> Value {
    let at = |point: &Point| {
        let later = track.moving.partition_point(|(time, _)| *time <= point.time);
        later.checked_sub(1).map(|newest| rounded(level(&track.moving[newest].1)))
    };
    points.iter().map(at).collect()
}

/// At most `most` points, in the order of time: of each short time the lowest and the highest score.
pub(super) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    let mut points = points.to_vec();
    points.sort_by_key(|point| point.time);
    if points.len() <= most {
        return points;
    }
    let together = points.len().div_ceil((most / 2).max(1));
    let extremes = |part: &[Point]| {
        let low = part.iter().enumerate().min_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let high = part.iter().enumerate().max_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let mut kept: Vec<usize> = low.into_iter().chain(high).map(|(number, _)| number).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|number| part[number]).collect::<Vec<_>>()
    };
    points.chunks(together).flat_map(extremes).collect()
}

/// A score with as many digits as a chart can show.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e5).round() / 1e5
}
