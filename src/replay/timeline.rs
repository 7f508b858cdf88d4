//! The scores of a recording over time, by label, with thumbnails of the frames with high scores. The number of thumbnails is
//! bounded, whatever the length of the recording.

use std::{cell::OnceCell, rc::Rc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    alert::{Alert, State},
    classify::{Scored, SetScores},
    config::{Config, Source},
    judge::Judge,
    model::preprocess,
    picture::Picture,
    policy::Levels,
    suggest::Point,
};

/// The longer side of a thumbnail in pixels.
const THUMBNAIL: u32 = 160;
/// The least time between two peaks. If they are closer, only one of them is kept.
const APART: SignedDuration = SignedDuration::from_secs(10);
/// Peaks are kept by their score, so that some are near any level: the number of steps from 0 to 1...
const STEPS: usize = 20;
/// ...and the most peaks in each step.
const IN_A_STEP: usize = 12;
/// Later spans have no thumbnail.
const PICTURED_SPANS: usize = 400;

/// All scores of one source's recordings.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The source that the recordings were played for.
    pub source: String,
    /// The model's name.
    pub model: String,
    /// A track for each label of each label set that the source watches, in order.
    pub tracks: Vec<Track>,
}

/// One label's scores.
#[derive(Debug, Clone)]
pub struct Track {
    /// The label set's name.
    pub label_set: String,
    /// The label's name.
    pub label: String,
    /// Its threshold and its clear level; `None` for a rule over labels and for a label whose levels move.
    pub levels: Option<(f32, f32)>,
    /// Its threshold as a rise over the baseline, if it is one.
    pub rise: Option<f32>,
    /// The levels after each frame, if they are rises and the baseline is known.
    pub moving: Vec<(Timestamp, Levels)>,
    /// The score of every frame, in the order played.
    pub points: Vec<Point>,
    /// The times at which it was raised.
    pub spans: Vec<Span>,
    /// The regions that count; empty: all.
    regions: Vec<String>,
    steps: Vec<Vec<Peak>>,
    open: Option<Peak>,
}

/// The time from a raise to its clear.
#[derive(Debug, Clone)]
pub struct Span {
    /// When it was raised.
    pub from: Timestamp,
    /// When it was cleared; `None` if it is still raised.
    pub to: Option<Timestamp>,
    /// The frame with the highest score in the span.
    pub peak: Option<Peak>,
}

/// A frame with a high score.
#[derive(Debug, Clone)]
pub struct Peak {
    /// Its time and score.
    pub point: Point,
    /// Where the frame came from.
    pub origin: String,
    /// The thumbnail as JPEG; empty if it could not be made.
    pub thumbnail: Rc<[u8]>,
}

impl Timeline {
    /// A timeline without frames, for the labels that `source` watches.
    #[must_use]
    pub fn new(config: &Config, source: &Source) -> Self {
        let watched = config.watches().filter(|(watching, _)| watching.name == source.name);
        let tracks = watched.flat_map(|(_, set)| {
            set.labels.iter().map(|label| {
                let label = source.label(&set.name, label);
                let rule = label.trigger;
                let levels = (!rule.rises).then_some((rule.threshold, rule.clear_below));
                let rise = rule.rises.then_some(rule.threshold);
                Track { rise, regions: label.regions.clone(), ..Track::new(&set.name, &label.name, levels) }
            })
        });
        Self {
            source: source.name.clone(),
            model: config.model.name().into_owned(),
            tracks: tracks.collect(),
        }
    }

    /// A timeline without frames and labels.
    #[must_use]
    pub fn empty(source: &str) -> Self {
        Self { source: source.to_owned(), model: String::new(), tracks: vec![] }
    }

    /// Adds a frame: its scores, the levels that move, its alerts, and the conditions of rules over labels.
    pub fn add(&mut self, scored: &Scored, alerts: &[Alert], judge: &Judge) {
        for alert in alerts {
            self.track(&alert.label_set, &alert.label).turn(alert.state, scored.frame.captured_at);
        }
        self.add_scores(scored, judge);
        let frame = Seen { scored, thumbnail: OnceCell::new() };
        for (label_set, rule, met) in judge.rules(&scored.frame.source) {
            self.track(label_set, rule).add(f32::from(u8::from(met)), &frame);
        }
    }

    /// Adds only the scores of a frame and the levels that move.
    pub fn add_scores(&mut self, scored: &Scored, judge: &Judge) {
        for (label_set, label, levels) in judge.moving_levels(&scored.frame.source) {
            self.track(label_set, label).moving.push((scored.frame.captured_at, levels));
        }
        let frame = Seen { scored, thumbnail: OnceCell::new() };
        for set in &scored.sets {
            for (number, label) in set.labels.iter().enumerate() {
                let track = self.track(&set.label_set, label);
                if let Some(score) = score(set, number, &track.regions) {
                    track.add(score, &frame);
                }
            }
        }
    }

    /// The times of the first and the last frame.
    #[must_use]
    pub fn range(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.tracks.iter().flat_map(|track| track.points.iter().map(|point| point.time));
        Some((times().min()?, times().max()?))
    }

    fn track(&mut self, label_set: &str, label: &str) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.label == label && track.label_set == label_set);
        let at = at.unwrap_or_else(|| {
            self.tracks.push(Track::new(label_set, label, None));
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

fn score(set: &SetScores, label: usize, regions: &[String]) -> Option<f32> {
    set.best_in(label, regions).map(|(score, _)| score).filter(|score| score.is_finite())
}

impl Track {
    /// A track without frames.
    #[must_use]
    pub fn new(label_set: &str, label: &str, levels: Option<(f32, f32)>) -> Self {
        Self {
            label_set: label_set.to_owned(),
            label: label.to_owned(),
            levels,
            rise: None,
            moving: vec![],
            points: vec![],
            spans: vec![],
            regions: vec![],
            steps: vec![vec![]; STEPS],
            open: None,
        }
    }

    /// The frames with high scores, including those of spans, highest score first.
    #[must_use]
    pub fn peaks(&self) -> Vec<&Peak> {
        let spans = self.spans.iter().filter_map(|span| span.peak.as_ref());
        let mut peaks = self.steps.iter().flatten().chain(&self.open).chain(spans).collect::<Vec<_>>();
        peaks.sort_by(|a, b| b.point.score.total_cmp(&a.point.score).then(a.point.time.cmp(&b.point.time)));
        peaks.dedup_by_key(|peak| peak.point.time);
        peaks
    }

    /// The label was raised or cleared at this time.
    pub(super) fn turn(&mut self, to: State, time: Timestamp) {
        self.close(time);
        if to == State::Raised {
            self.spans.push(Span { from: time, to: None, peak: None });
        }
    }

    /// Ends the newest span, if it has no end. With missing frames, a raise may follow a raise, and a clear a clear.
    pub(super) fn close(&mut self, time: Timestamp) {
        if let Some(span) = self.spans.last_mut() {
            span.to.get_or_insert(time);
        }
    }

    fn add(&mut self, score: f32, frame: &Seen<'_>) {
        let point = Point { time: frame.scored.frame.captured_at, score };
        self.points.push(point);
        let pictured = self.spans.len() <= PICTURED_SPANS;
        if let Some(span) = self.spans.last_mut().filter(|span| span.to.is_none() && pictured) {
            if span.peak.as_ref().is_none_or(|peak| score > peak.point.score) {
                span.peak = Some(frame.peak(point));
            }
            return;
        }
        match &self.open {
            Some(open) if point.time.duration_since(open.point.time).abs() <= APART => {
                if score > open.point.score {
                    self.open = self.has_room(score).then(|| frame.peak(point)).or(self.open.take());
                }
            }
            _ => {
                if let Some(done) = self.open.take() {
                    self.steps[step(done.point.score)].push(done);
                }
                self.open = self.has_room(score).then(|| frame.peak(point));
            }
        }
    }

    fn has_room(&self, score: f32) -> bool {
        self.steps[step(score)].len() < IN_A_STEP
    }
}

fn step(score: f32) -> usize {
    ((score * STEPS as f32) as usize).min(STEPS - 1)
}

/// A frame whose thumbnail is made at most once, and only if it is kept.
struct Seen<'s> {
    scored: &'s Scored,
    thumbnail: OnceCell<Rc<[u8]>>,
}

impl Seen<'_> {
    fn peak(&self, point: Point) -> Peak {
        let frame = &self.scored.frame;
        let thumbnail = self.thumbnail.get_or_init(|| thumbnail(&frame.picture).into());
        Peak { point, origin: frame.origin.clone(), thumbnail: Rc::clone(thumbnail) }
    }
}

/// A small copy of the picture as JPEG; empty if that fails, and the plot then has no such thumbnail.
fn thumbnail(picture: &Picture) -> Vec<u8> {
    const QUALITY: u8 = 75;
    preprocess::thumbnail(picture, THUMBNAIL).to_jpeg(QUALITY).unwrap_or_default()
}

/// For tests: a track with these scores, a second apart, and these spans.
#[cfg(test)]
pub(crate) fn sample(label: &str, scores: &[f32], spans: &[(usize, Option<usize>)]) -> Track {
    let time = |second: usize| Timestamp::from_second(1_800_000_000 + second as i64).unwrap();
    let picture = Picture::of_rgb(4, 3, vec![120; 36]);
    let mut track = Track::new("porch", label, Some((0.6, 0.4)));
    track.points =
        (0..).zip(scores).map(|(second, score)| Point { time: time(second), score: *score }).collect();
    track.spans = spans
        .iter()
        .map(|(from, to)| Span {
            from: time(*from),
            to: to.map(time),
            peak: Some(Peak {
                point: track.points[*from],
                origin: "day.mp4".to_owned(),
                thumbnail: thumbnail(&picture).into(),
            }),
        })
        .collect();
    track
}
