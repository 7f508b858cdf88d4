//! Reduces the scores of a source over any time to a few points for each label, for a chart. Each point keeps the lowest and the
//! highest score of its time, so no peak is lost. Pure.

use std::sync::Arc;

use crate::judge::{FrameScores, Setup};

/// A time without frames is a gap if it is longer than this, in milliseconds, and than the time of a point.
const SHORTEST_GAP: i64 = 120_000;
/// A source sends frames at a steady rate if at least this number of frames comes for each gap. Pictures that arrive now and then have
/// no gaps.
const FRAMES_BETWEEN_GAPS: u64 = 10;

/// The scores of one label in the time of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePoint {
    /// When the first of the frames was captured, in milliseconds since 1970.
    pub at: i64,
    /// The lowest score.
    pub lowest: f32,
    /// The highest score.
    pub highest: f32,
    /// The score of the last frame.
    pub last: f32,
}

impl ScorePoint {
    fn of(at: i64, score: f32) -> Self {
        Self { at, lowest: score, highest: score, last: score }
    }

    /// This point and one that follows it.
    fn and(self, next: Self) -> Self {
        Self {
            at: self.at,
            lowest: self.lowest.min(next.lowest),
            highest: self.highest.max(next.highest),
            last: next.last,
        }
    }
}

/// The points of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreLine {
    /// The label set.
    pub label_set: String,
    /// The label.
    pub label: String,
    /// The points, by time.
    pub points: Vec<ScorePoint>,
}

/// What is left of the scores.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reduced {
    /// A line for each label, in the order of the setups.
    pub lines: Vec<ScoreLine>,
    /// Times without frames, as the last frame before and the first frame after, in milliseconds since 1970.
    pub gaps: Vec<[i64; 2]>,
    /// The number of frames.
    pub frames: u64,
}

/// Collects frames in the order in which they were judged.
#[derive(Debug)]
pub struct Reducer {
    first: i64,
    /// The time of one point in milliseconds.
    width: i64,
    /// The points of each line, at most.
    count: usize,
    /// The points of all lines together, at most.
    most: usize,
    lines: Vec<Line>,
    /// The line of each score of a frame; `None`: the label is not wanted.
    places: Vec<Option<usize>>,
    entered: Option<Arc<Setup>>,
    gaps: Vec<[i64; 2]>,
    frames: u64,
    newest: Option<i64>,
}

#[derive(Debug)]
struct Line {
    label_set: String,
    label: String,
    points: Vec<Option<ScorePoint>>,
}

impl Reducer {
    /// For frames from `first` to `last` (milliseconds since 1970), with at most `count` points for each label, and at most `most` for
    /// all labels together.
    #[must_use]
    pub fn new((first, last): (i64, i64), count: usize, most: usize) -> Self {
        let count = count.max(1);
        let span = last.saturating_sub(first).saturating_add(1).max(1);
        let points = i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            first,
            width: span / points + i64::from(span % points != 0),
            count,
            most,
            lines: vec![],
            places: vec![],
            entered: None,
            gaps: vec![],
            frames: 0,
            newest: None,
        }
    }

    /// The frames that follow have the scores of this setup. `wants` selects labels by label set and label.
    pub fn enter(&mut self, setup: &Arc<Setup>, wants: impl Fn(&str, &str) -> bool) {
        if self.entered.as_ref().is_some_and(|entered| Arc::ptr_eq(entered, setup)) {
            return;
        }
        self.places.clear();
        for (set, label) in setup.labels() {
            let place = wants(&set.name, &label.name).then(|| self.line(&set.name, &label.name));
            self.places.push(place);
        }
        self.entered = Some(Arc::clone(setup));
    }

    fn line(&mut self, label_set: &str, label: &str) -> usize {
        let is_it = |line: &Line| line.label_set == label_set && line.label == label;
        if let Some(known) = self.lines.iter().position(is_it) {
            return known;
        }
        while self.count > 1 && (self.lines.len() + 1).saturating_mul(self.count) > self.most {
            self.halve();
        }
        self.lines.push(Line {
            label_set: label_set.to_owned(),
            label: label.to_owned(),
            points: vec![None; self.count],
        });
        self.lines.len() - 1
    }

    /// Joins each two points.
    fn halve(&mut self) {
        self.count = self.count.div_ceil(2);
        self.width = self.width.saturating_mul(2);
        for line in &mut self.lines {
            let joined =
                line.points.chunks(2).map(|pair| pair.iter().copied().flatten().reduce(ScorePoint::and));
            line.points = joined.collect();
        }
    }

    /// Adds a frame of the setup that was entered last.
    pub fn add(&mut self, frame: &FrameScores<'_>) {
        let at = frame.at.as_millisecond();
        let bucket = usize::try_from(at.saturating_sub(self.first) / self.width).unwrap_or(0);
        let bucket = bucket.min(self.count - 1);
        for (score, place) in frame.scores.iter().zip(&self.places) {
            // A score that is no number was never compared.
            let (Some(score), Some(place)) = (score.filter(|score| score.is_finite()), *place) else {
                continue;
            };
            let new = ScorePoint::of(at, score);
            let point = &mut self.lines[place].points[bucket];
            *point = Some(point.map_or(new, |before| before.and(new)));
        }
        self.note_gap(at);
        self.frames += 1;
    }

    fn note_gap(&mut self, at: i64) {
        let before = self.newest.unwrap_or(at);
        let missing = at.saturating_sub(before);
        // Each is longer than the time of a point, so there are not more of them than points.
        if missing > SHORTEST_GAP && missing > self.width {
            self.gaps.push([before, at]);
        }
        self.newest = Some(before.max(at));
    }

    /// The lines and gaps.
    #[must_use]
    pub fn finish(self) -> Reduced {
        let is_steady = self.frames >= (self.gaps.len() as u64).saturating_mul(FRAMES_BETWEEN_GAPS);
        let lines = self.lines.into_iter().map(|Line { label_set, label, points }| ScoreLine {
            label_set,
            label,
            points: points.into_iter().flatten().collect(),
        });
        Reduced {
            lines: lines.collect(),
            gaps: if is_steady { self.gaps } else { vec![] },
            frames: self.frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::history::scores::tests::setup;

    /// The labels of the setup of the tests that are wanted: `yard/l0` and `porch/l0`.
    fn wants(_: &str, label: &str) -> bool {
        label == "l0"
    }

    fn reducer(last: i64, count: usize, most: usize) -> Reducer {
        let mut reducer = Reducer::new((0, last), count, most);
        reducer.enter(&Arc::new(setup([2, 1])), wants);
        reducer
    }

    fn add(reducer: &mut Reducer, at: i64, scores: [Option<f32>; 3]) {
        let at = Timestamp::from_millisecond(at).unwrap();
        reducer.add(&FrameScores { at, scores: &scores, sets: &[true, true] });
    }

    fn point(at: i64, lowest: f32, highest: f32, last: f32) -> ScorePoint {
        ScorePoint { at, lowest, highest, last }
    }

    #[test]
    fn each_point_keeps_its_extremes() {
        let mut reducer = reducer(9_999, 10, 1000);
        // One frame in 10 ms, with one peak and one dip.
        for frame in 0..1000 {
            let score = match frame {
                123 => 0.97,
                124 => 0.01,
                _ => 0.5,
            };
            add(&mut reducer, frame * 10, [Some(score), Some(0.9), Some(0.25)]);
        }
        let Reduced { lines, gaps, frames } = reducer.finish();
        assert_eq!((lines.len(), frames, gaps), (2, 1000, vec![]), "l1 is not wanted");
        let [yard, porch] = [&lines[0], &lines[1]];
        assert_eq!((&*yard.label_set, &*yard.label, &*porch.label_set), ("yard", "l0", "porch"));
        assert_eq!((yard.points.len(), porch.points.len()), (10, 10));
        assert_eq!(yard.points[1], point(1000, 0.01, 0.97, 0.5));
        assert_eq!(yard.points[2], point(2000, 0.5, 0.5, 0.5));
        assert!(porch.points.iter().all(|point| (point.lowest, point.highest) == (0.25, 0.25)));
    }

    #[test]
    fn few_frames_keep_their_times_and_scores_that_are_missing_make_no_points() {
        let mut reducer = reducer(1_000_000, 500, 1000);
        add(&mut reducer, 0, [Some(0.1), None, Some(0.2)]);
        add(&mut reducer, 4_321, [None, None, Some(f32::NAN)]);
        add(&mut reducer, 8_765, [Some(0.3), None, None]);
        // The clock was set back, and a frame is later than the range.
        add(&mut reducer, -50, [Some(0.05), None, None]);
        add(&mut reducer, 2_000_000, [Some(0.9), None, None]);
        let lines = reducer.finish().lines;
        let expected =
            [point(0, 0.05, 0.1, 0.05), point(8_765, 0.3, 0.3, 0.3), point(2_000_000, 0.9, 0.9, 0.9)];
        assert_eq!(lines[0].points, expected);
        assert_eq!(lines[1].points, [point(0, 0.2, 0.2, 0.2)]);
    }

    #[test]
    fn many_labels_have_fewer_points_each() {
        let mut reducer = Reducer::new((0, 999), 100, 150);
        let few = Arc::new(setup([1, 0]));
        reducer.enter(&few, |_, _| true);
        for frame in 0..1000 {
            add(&mut reducer, frame, [Some(if frame == 777 { 0.9 } else { 0.1 }), None, None]);
        }
        reducer.enter(&Arc::new(setup([4, 1])), |_, _| true);
        reducer.enter(&few, |_, _| true);
        add(&mut reducer, 999, [Some(0.2), None, None]);
        let lines = reducer.finish().lines;
        assert_eq!(lines.len(), 5, "a label is the same in each setup");
        let points = &lines[0].points;
        assert!(points.len() * lines.len() <= 150 && points.len() >= 20, "{}", points.len());
        assert!(points.iter().any(|point| point.highest == 0.9), "the peak is kept");
        assert_eq!(points.last().map(|point| point.last), Some(0.2));
    }

    #[test]
    fn a_time_without_frames_is_a_gap_unless_the_source_has_few() {
        let hour = 3_600_000;
        let frames = |times: &[i64], last| {
            let mut reducer = reducer(last, 100, 1000);
            times.iter().for_each(|at| add(&mut reducer, *at, [Some(0.1), None, None]));
            reducer.finish().gaps
        };
        let steady: Vec<_> =
            (0..50).map(|frame| frame * 1000).chain((0..50).map(|at| hour + at * 1000)).collect();
        assert_eq!(frames(&steady, hour + 50_000), [[49_000, hour]]);
        let short: Vec<_> = (0..50).chain(60_000..60_050).collect();
        assert_eq!(frames(&short, 60_050), [[0; 2]; 0], "a minute is no gap");
        let sporadic: Vec<_> = (0..20).map(|picture| picture * hour).collect();
        assert_eq!(frames(&sporadic, 19 * hour), [[0; 2]; 0], "a picture an hour");
    }

    #[test]
    fn any_range_has_points() {
        for (first, last, count) in [(0, 0, 1), (5, 0, 0), (i64::MIN, i64::MAX, 7), (0, 3, 1000)] {
            let mut reducer = Reducer::new((first, last), count, 1000);
            reducer.enter(&Arc::new(setup([1, 0])), |_, _| true);
            add(&mut reducer, 2, [Some(0.5), None, None]);
            assert_eq!(reducer.finish().lines[0].points, [point(2, 0.5, 0.5, 0.5)], "{first} to {last}");
        }
    }
}
