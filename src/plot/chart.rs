//! Lays out a plot: turns a timeline into lines, areas, texts and images with their positions. Pure.

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

use super::svg::{Anchor, Drawing, WIDTH};
use crate::{
    policy::Levels,
    replay::{Span, Timeline, Track},
};

const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;
const TITLE: f64 = 26.0;
const GRAPH: f64 = 110.0;
const AXIS: f64 = 20.0;
const STRIP: f64 = 72.0;
const GAP: f64 = 14.0;
const HEAD: f64 = 40.0;
/// Width and height of a thumbnail.
const THUMBNAIL: (f64, f64) = (88.0, 66.0);
/// Columns of scores: each shows the range of the scores in it.
const COLUMNS: usize = 900;

const INK: &str = "#20242a";
const FAINT: &str = "#8a939e";
const GRID: &str = "#e2e6ea";
const LINE: &str = "#1f6fb4";
const RAISED: &str = "#ffe1a8";
const THRESHOLD: &str = "#c62828";
const CLEAR: &str = "#2e7d32";

/// The plots of all labels below each other, with a heading.
pub(super) fn whole(timeline: &Timeline) -> Drawing {
    let mut drawing = Drawing::new(HEAD);
    drawing.words(LEFT, 24.0, &heading(timeline), INK, Anchor::Start, true);
    if let Some(range) = timeline.range() {
        for track in &timeline.tracks {
            let top = drawing.height;
            drawing.track(track, range, top);
            drawing.thumbnails(track, range);
            drawing.height += GAP;
        }
    }
    drawing
}

/// The plot of one label, without pictures.
pub(super) fn of_track(track: &Track, range: (Timestamp, Timestamp)) -> Drawing {
    let mut drawing = Drawing::new(0.0);
    drawing.track(track, range, 0.0);
    drawing
}

/// The heading: source, range of time and model.
pub(super) fn heading(timeline: &Timeline) -> String {
    let Timeline { source, model, .. } = timeline;
    match timeline.range() {
        Some((from, to)) => format!("{source}: {} to {}{}, {model}", moment(from), moment(to), offset(to)),
        None => format!("{source}: no frames, {model}"),
    }
}

/// A date and a time in the local zone; only a time if the recording has no date (it starts in 1970).
pub(super) fn moment(time: Timestamp) -> String {
    zoned(time).strftime(if has_date(time) { "%Y-%m-%d %H:%M:%S" } else { "%H:%M:%S" }).to_string()
}

/// The zone of a moment: ` +01:00`; nothing without a date.
fn offset(time: Timestamp) -> String {
    if has_date(time) { zoned(time).strftime(" %:z").to_string() } else { String::new() }
}

pub(super) fn has_date(time: Timestamp) -> bool {
    time.as_second() > 365 * 86_400
}

fn zoned(time: Timestamp) -> ZonedDateTime {
    time.to_zoned_datetime(if has_date(time) { TimeZone::system() } else { TimeZone::UTC })
}

/// The horizontal position of a time.
fn x(time: Timestamp, (from, to): (Timestamp, Timestamp)) -> f64 {
    let seconds = |a: Timestamp, b: Timestamp| b.duration_since(a).as_secs_f64();
    let part = seconds(from, time) / seconds(from, to).max(1e-3);
    LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

/// The highest score on the axis: 1, or a smaller round number if every score and level is far below.
pub(super) fn top_score(track: &Track) -> f64 {
    let moving = track.moving.iter().map(|(_, levels)| levels.threshold);
    let scores = track.points.iter().map(|point| point.score);
    let highest = scores.chain(track.levels.map(|(level, _)| level)).chain(moving);
    let highest = f64::from(highest.fold(0.0, f32::max)) * 1.1;
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
        .into_iter()
        .find(|top| *top >= highest)
        .unwrap_or(1.0)
}

/// For each column with frames: its position, and the lowest and the highest score.
pub(super) fn columns(track: &Track, range: (Timestamp, Timestamp)) -> Vec<(f64, f32, f32)> {
    let width = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let mut columns: Vec<(f64, f32, f32)> = vec![];
    for point in &track.points {
        let x = x(point.time, range);
        match columns.last_mut().filter(|(last, ..)| (x - *last).abs() < width) {
            Some((_, low, high)) => (*low, *high) = (low.min(point.score), high.max(point.score)),
            None => columns.push((x, point.score, point.score)),
        }
    }
    columns
}

/// Moving levels: the first of each column.
fn moving(track: &Track, range: (Timestamp, Timestamp)) -> Vec<(f64, Levels)> {
    let width = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let mut shown: Vec<(f64, Levels)> = vec![];
    for (time, levels) in &track.moving {
        let x = x(*time, range);
        if shown.last().is_none_or(|(last, _)| (x - last).abs() >= width) {
            shown.push((x, *levels));
        }
    }
    shown
}

/// The area of one label's scores.
struct Graph {
    top: f64,
    end: f64,
    /// The highest score on the axis.
    highest: f64,
    range: (Timestamp, Timestamp),
}

impl Graph {
    fn y(&self, score: f64) -> f64 {
        self.end - (score / self.highest).clamp(0.0, 1.0) * GRAPH
    }
}

impl Drawing {
    fn track(&mut self, track: &Track, range: (Timestamp, Timestamp), top: f64) {
        let graph = Graph { top: top + TITLE, end: top + TITLE + GRAPH, highest: top_score(track), range };
        self.words(LEFT, top + 17.0, &title(track), INK, Anchor::Start, true);
        self.raised_spans(track, &graph);
        self.grid(&graph);
        self.scores(track, &graph);
        self.levels(track, &graph);
        self.height = graph.end + AXIS;
    }

    fn raised_spans(&mut self, track: &Track, graph: &Graph) {
        for span in &track.spans {
            let from = x(span.from, graph.range);
            let to = x(span.to.unwrap_or(graph.range.1), graph.range).max(from + 1.0);
            self.area((from, graph.top), (to - from, GRAPH), RAISED);
        }
    }

    fn grid(&mut self, graph: &Graph) {
        for score in [0.0, 0.5, 1.0].map(|part| part * graph.highest) {
            let y = graph.y(score);
            self.line(&[(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1.0, false);
            self.words(LEFT - 6.0, y + 4.0, &score.to_string(), FAINT, Anchor::End, false);
        }
        for (x, words) in ticks(graph.range) {
            self.line(&[(x, graph.top), (x, graph.end)], GRID, 1.0, false);
            self.words(x, graph.end + 14.0, &words, FAINT, Anchor::Middle, false);
        }
    }

    fn scores(&mut self, track: &Track, graph: &Graph) {
        let points = columns(track, graph.range).into_iter().flat_map(|(x, low, high)| {
            // One vertical stroke for all scores of a column.
            let both = [(x, graph.y(low.into())), (x, graph.y(high.into()))];
            both.into_iter().take(if low == high { 1 } else { 2 })
        });
        self.line(&points.collect::<Vec<_>>(), LINE, 1.4, false);
    }

    fn levels(&mut self, track: &Track, graph: &Graph) {
        if let Some((threshold, clear_below)) = track.levels {
            let across = |level: f32| [LEFT, WIDTH - RIGHT].map(|x| (x, graph.y(level.into())));
            if clear_below < threshold {
                self.line(&across(clear_below), CLEAR, 1.0, true);
            }
            self.line(&across(threshold), THRESHOLD, 1.0, true);
        }
        let moving = moving(track, graph.range);
        if !moving.is_empty() {
            let points = |level: fn(&Levels) -> f32| {
                moving.iter().map(|(x, levels)| (*x, graph.y(level(levels).into()))).collect::<Vec<_>>()
            };
            self.line(&points(|levels| levels.clear_below), CLEAR, 1.0, true);
            self.line(&points(|levels| levels.threshold), THRESHOLD, 1.0, true);
        }
    }

    /// Below the graph: thumbnails of the highest peaks, as many as have room beside each other.
    fn thumbnails(&mut self, track: &Track, range: (Timestamp, Timestamp)) {
        let mut shown: Vec<f64> = vec![];
        let mut spans = track.spans.iter().filter_map(|Span { peak, .. }| peak.as_ref()).collect::<Vec<_>>();
        spans.sort_by(|a, b| b.point.score.total_cmp(&a.point.score));
        let top = self.height + 4.0;
        for peak in spans.into_iter().chain(track.peaks()).filter(|peak| !peak.thumbnail.is_empty()) {
            let middle = x(peak.point.time, range);
            let left = (middle - THUMBNAIL.0 / 2.0).clamp(LEFT, WIDTH - RIGHT - THUMBNAIL.0);
            if shown.iter().any(|other| (other - left).abs() < THUMBNAIL.0 + 4.0) {
                continue;
            }
            shown.push(left);
            let about = format!("{:.2} at {}: {}", peak.point.score, moment(peak.point.time), peak.origin);
            self.line(&[(middle, top - 6.0), (middle, top)], FAINT, 1.0, false);
            self.image((left, top), THUMBNAIL, &peak.thumbnail, &about);
        }
        if !shown.is_empty() {
            self.height += STRIP;
        }
    }
}

fn title(track: &Track) -> String {
    let Track { label_set, label, .. } = track;
    let times = match track.spans.len() {
        1 => "raised once".to_owned(),
        times => format!("raised {times} times"),
    };
    match (track.levels, track.rise) {
        (Some((threshold, clear)), _) if clear < threshold => {
            format!("{label_set} / {label}: {times}; threshold {threshold}, clear below {clear}")
        }
        (Some((threshold, _)), _) => format!("{label_set} / {label}: {times}; threshold {threshold}"),
        (None, Some(rise)) => {
            format!("{label_set} / {label}: {times}; threshold {rise} above the baseline")
        }
        (None, None) => format!("{label_set} / {label}: {times}"),
    }
}

/// The positions and texts of about ten round times.
fn ticks((from, to): (Timestamp, Timestamp)) -> Vec<(f64, String)> {
    const STEPS: [i64; 17] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400];
    let length = to.as_second() - from.as_second();
    let step = STEPS.into_iter().find(|step| length / step <= 10).unwrap_or(length / 10);
    // Round in local time: a zone may be half an hour away from UTC.
    let zone = i64::from(zoned(from).offset().seconds());
    let first = (from.as_second() + zone).div_euclid(step) * step - zone;
    (0..=11)
        .filter_map(|number| Timestamp::from_second(first + number * step).ok())
        .filter(|time| *time >= from && *time <= to)
        .map(|time| {
            let format = if step >= 86_400 {
                "%m-%d"
            } else if step >= 60 {
                "%H:%M"
            } else {
                "%H:%M:%S"
            };
            (x(time, (from, to)), zoned(time).strftime(format).to_string())
        })
        .collect()
}
