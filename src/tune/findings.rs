//! Evaluates each label of a recording: its alerts now, other thresholds, the suggested settings and near misses. Pure.

use std::time::Duration;

use super::{
    rivals::{self, Rivals},
    truth::Truth,
};
use crate::{
    config::{Config, Source, edit::LabelEdit},
    policy::{Label, LabelSet, Scoring, TriggerSettings},
    replay::{Peak, Timeline, Track},
    suggest::{self, Frames, Grade, Measure, Point, Recording, Suggestion, TruthBy},
    trigger::Trigger,
};

/// Columns of a histogram.
pub(super) const BINS: usize = 20;
/// The most near misses.
const NEAR: usize = 6;
/// A near miss has at least this part of the threshold.
const NEAR_PART: f32 = 0.75;

/// The evaluation of one label.
#[derive(Debug)]
pub(super) struct Finding {
    /// The source, if the label has settings of its own there.
    pub source: Option<String>,
    pub label_set: String,
    pub label: String,
    /// What is suggested, and why.
    pub suggestion: Suggestion,
    pub histogram: Histogram,
    pub table: Vec<Row>,
    /// Frames just below the suggested threshold (or the configured one) without an event, closest first.
    pub near: Vec<Peak>,
}

/// The number of frames by score, from 0 to `top`: frames that show the label, and others (without truth: all).
#[derive(Debug)]
pub(super) struct Histogram {
    pub top: f32,
    pub shown: [u32; BINS],
    pub others: [u32; BINS],
}

/// A threshold (or rise), with everything else as configured.
#[derive(Debug)]
pub(super) struct Row {
    pub threshold: f32,
    pub alerts: usize,
    /// The grades of frames and alerts; `None` without truth.
    pub worth: Option<(Frames, Grade)>,
}

/// Evaluates every label of the source, in order.
pub(super) fn of(
    config: &Config,
    source: &Source,
    timeline: &Timeline,
    truth: Option<&Truth>,
) -> Vec<Finding> {
    let sets = config.watches().filter(|(watching, _)| watching.name == source.name);
    let labels = sets.flat_map(|(_, set)| set.labels.iter().map(move |label| (set, label)));
    let finding = |(set, label): (&LabelSet, &Label)| {
        let track =
            timeline.tracks.iter().find(|track| track.label_set == set.name && track.label == label.name)?;
        let first = timeline.range()?.0;
        let events = truth.and_then(|truth| truth.intervals(&source.name, &set.name, &label.name, first));
        let recording = Recording::new(&track.points);
        let (configured, over) = (source.label(&set.name, label).trigger, source.baseline);
        let suggestion = Suggestion::of(&recording, configured, over, events, Measure::of(set.scoring));
        let is_own = source.adjusted.iter().any(|(of, it)| *of == set.name && it.name == label.name);
        let finding = Evaluation { track, recording, over, suggestion: &suggestion }.finding();
        let (histogram, table, near) = finding;
        Some(Finding {
            source: is_own.then(|| source.name.clone()),
            label_set: set.name.clone(),
            label: label.name.clone(),
            suggestion,
            histogram,
            table,
            near,
        })
    };
    labels.filter_map(finding).collect()
}

/// The labels that take scores from each other, of every label set. Cosines are independent.
pub(super) fn rivals(config: &Config, timeline: &Timeline) -> Vec<Rivals> {
    let by_cosine =
        |name: &str| config.label_sets.iter().any(|set| set.name == *name && set.scoring == Scoring::Cosine);
    let mut sets = timeline.tracks.iter().map(|track| &track.label_set).collect::<Vec<_>>();
    sets.dedup();
    sets.iter()
        .filter(|set| !by_cosine(set))
        .flat_map(|set| {
            let tracks = timeline.tracks.iter().filter(|track| track.label_set == **set).collect::<Vec<_>>();
            rivals::rivals(&tracks)
        })
        .collect()
}

/// A label that is evaluated.
struct Evaluation<'t> {
    track: &'t Track,
    recording: Recording<'t>,
    /// The time over which the source keeps a baseline.
    over: Option<Duration>,
    suggestion: &'t Suggestion,
}

impl Evaluation<'_> {
    /// The histogram, the table and the near misses.
    fn finding(&self) -> (Histogram, Vec<Row>, Vec<Peak>) {
        let Suggestion { configured, measure, highest, advice, .. } = self.suggestion;
        let shown = suggest::shown(&self.track.points, self.events());
        let suggested = advice.as_ref().ok().filter(|advice| advice.separates);
        let threshold = suggested.map_or(*configured, |advice| advice.settings).threshold;
        // Scores are not comparable with a threshold that moves.
        let near = if configured.rises { Vec::new() } else { self.near_misses(threshold) };
        (histogram(self.track, &shown, top(*highest, *measure)), self.table(&shown), near)
    }

    fn events(&self) -> &[suggest::Interval] {
        self.suggestion.events.as_deref().unwrap_or_default()
    }

    fn trigger(&self, settings: &TriggerSettings) -> Trigger {
        Trigger::new(*settings).with_baseline(self.over, None)
    }

    /// The number of alerts with these settings, and their grade.
    fn alerts(&self, settings: &TriggerSettings) -> (usize, Option<Grade>) {
        let spans = self.recording.spans(self.trigger(settings));
        let grade = |events: &Vec<_>| suggest::grade(&spans, events, self.recording.interval());
        (spans.len(), self.suggestion.events.as_ref().map(grade))
    }

    /// Round thresholds, the suggested one, and the configured rise, with their alerts.
    fn table(&self, shown: &[bool]) -> Vec<Row> {
        let Suggestion { configured, measure, highest, advice, .. } = self.suggestion;
        let advice = advice.as_ref().ok();
        let measure = if configured.rises { Measure::Odds } else { *measure };
        let mut thresholds = thresholds(&self.track.points, *highest, measure);
        thresholds.extend(advice.map(|advice| advice.settings.threshold));
        thresholds.extend(configured.rises.then_some(configured.threshold));
        thresholds.sort_by(f32::total_cmp);
        thresholds.dedup();
        let row = |threshold: f32| {
            let suggested = advice.map(|advice| advice.settings).filter(|it| it.threshold == threshold);
            let clear_below = if configured.rises {
                configured.clear_below / configured.threshold * threshold
            } else {
                configured.clear_below.min(threshold)
            };
            let settings = suggested.unwrap_or(TriggerSettings { threshold, clear_below, ..*configured });
            let (alerts, grade) = self.alerts(&settings);
            let frames = |grade| (suggest::frames(self.trigger(&settings), &self.track.points, shown), grade);
            Row { threshold, alerts, worth: grade.map(frames) }
        };
        thresholds.into_iter().map(row).collect()
    }

    /// Peaks below the threshold that are not part of an event.
    fn near_misses(&self, threshold: f32) -> Vec<Peak> {
        let is_expected = |peak: &Peak| {
            let slack = self.recording.interval();
            self.events().iter().any(|(from, to)| {
                let time = peak.point.time;
                time.duration_since(*from) >= -slack && to.duration_since(time) >= -slack
            })
        };
        let is_near = |peak: &&Peak| peak.point.score < threshold && peak.point.score > threshold * NEAR_PART;
        let peaks = self.track.peaks().into_iter().filter(is_near);
        peaks.filter(|peak| !is_expected(peak)).take(NEAR).cloned().collect()
    }
}

/// Round thresholds over the range of the scores. The range of cosines is narrow.
fn thresholds(points: &[Point], highest: f32, measure: Measure) -> Vec<f32> {
    let lowest = points.iter().map(|point| point.score).fold(highest, f32::min);
    let low = f64::from(if measure == Measure::Cosine { lowest } else { 0.0 });
    let high = f64::from(top(highest, measure));
    (1..10).map(|part| measure.rounded(low + (high - low) * f64::from(part) / 10.0)).collect()
}

/// The highest score on the axis.
fn top(highest: f32, measure: Measure) -> f32 {
    if measure == Measure::Odds && highest > 0.25 { 1.0 } else { highest.max(1e-4) }
}

fn histogram(track: &Track, shown: &[bool], top: f32) -> Histogram {
    let mut histogram = Histogram { top, shown: [0; BINS], others: [0; BINS] };
    for (point, shown) in track.points.iter().zip(shown) {
        let bin = ((point.score / top * BINS as f32) as usize).min(BINS - 1);
        let bins = if *shown { &mut histogram.shown } else { &mut histogram.others };
        bins[bin] += 1;
    }
    histogram
}

impl Finding {
    /// `porch / dog`
    pub(super) fn name(&self) -> String {
        format!("{} / {}", self.label_set, self.label)
    }

    /// The reason for the suggestion, or for none, in a sentence.
    pub(super) fn reason(&self) -> String {
        self.suggestion.reason(TruthBy::File)
    }

    /// The heading of the numbers in the table.
    pub(super) fn level_word(&self) -> &'static str {
        if self.suggestion.configured.rises { "rise" } else { "threshold" }
    }

    /// The suggested settings as a change of the configuration.
    pub(super) fn edit(&self) -> Option<LabelEdit> {
        let settings = suggest::settings(&self.suggestion.suggested()?.settings);
        Some(LabelEdit {
            source: self.source.clone(),
            label_set: self.label_set.clone(),
            label: self.label.clone(),
            settings,
        })
    }
}
