//! Evaluates each label of a recording: its alerts now, other thresholds, the suggested settings and near misses. Pure.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    advice::{Advice, Measure, NoAdvice, advise},
    grade::{self, Frames, Grade, grade, spans},
    rivals::{self, Rivals},
    truth::{Interval, Truth},
};
use crate::{
    config::{Config, Source, edit::LabelEdit},
    policy::{Label, LabelSet, Scoring, TriggerSettings},
    replay::{Peak, Point, Timeline, Track},
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
    /// The configured settings.
    pub configured: TriggerSettings,
    pub measure: Measure,
    /// The number of alerts with the configured settings, and their grade.
    pub now: (usize, Option<Grade>),
    /// The times at which it was visible; `None` without truth.
    pub events: Option<Vec<Interval>>,
    /// The highest score.
    pub highest: f32,
    pub histogram: Histogram,
    pub table: Vec<Row>,
    /// The advice, or why there is none.
    pub advice: Result<Advice, NoAdvice>,
    /// The times at which the suggested settings raise it, or the configured ones if no others are suggested.
    pub spans: Vec<Interval>,
    /// Frames just below the suggested threshold (or the configured one) without an event, closest first.
    pub near: Vec<Peak>,
    /// The recorded time.
    pub recorded: SignedDuration,
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
        let evaluation = Evaluation {
            track,
            configured: source.label(&set.name, label).trigger,
            over: source.baseline,
            events: truth.and_then(|truth| truth.intervals(&source.name, &set.name, &label.name, first)),
            measure: Measure::of(set.scoring),
            slack: grade::interval(&track.points),
        };
        let is_own = source.adjusted.iter().any(|(of, it)| *of == set.name && it.name == label.name);
        Some(Finding { source: is_own.then(|| source.name.clone()), ..evaluation.finding() })
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
    configured: TriggerSettings,
    /// The time over which the source keeps a baseline.
    over: Option<Duration>,
    /// `None` without truth.
    events: Option<Vec<Interval>>,
    measure: Measure,
    /// How early or late an alert may be.
    slack: SignedDuration,
}

impl Evaluation<'_> {
    fn finding(self) -> Finding {
        let (points, configured) = (&self.track.points, self.configured);
        let shown = grade::shown(points, self.events());
        let highest = points.iter().map(|point| point.score).fold(0.0, f32::max);
        let advice = advise(&configured, points, self.events.as_deref(), self.measure);
        let table = self.table(advice.as_ref().ok(), highest, &shown);
        let suggested = advice.as_ref().ok().filter(|advice| advice.separates);
        let settings = suggested.map_or(configured, |advice| advice.settings);
        let threshold = settings.threshold;
        // Scores are not comparable with a threshold that moves.
        let near = if configured.rises { Vec::new() } else { self.near_misses(threshold) };
        Finding {
            source: None,
            spans: spans(self.trigger(&settings), points),
            label_set: self.track.label_set.clone(),
            label: self.track.label.clone(),
            now: self.alerts(&configured),
            highest,
            histogram: histogram(self.track, &shown, top(highest, self.measure)),
            table,
            near,
            recorded: grade::length(points),
            configured,
            measure: self.measure,
            events: self.events,
            advice,
        }
    }

    fn events(&self) -> &[Interval] {
        self.events.as_deref().unwrap_or_default()
    }

    fn trigger(&self, settings: &TriggerSettings) -> Trigger {
        Trigger::new(*settings).with_baseline(self.over, None)
    }

    /// The number of alerts with these settings, and their grade.
    fn alerts(&self, settings: &TriggerSettings) -> (usize, Option<Grade>) {
        let spans = spans(self.trigger(settings), &self.track.points);
        (spans.len(), self.events.as_ref().map(|events| grade(&spans, events, self.slack)))
    }

    /// Round thresholds, the suggested one, and the configured rise, with their alerts.
    fn table(&self, advice: Option<&Advice>, highest: f32, shown: &[bool]) -> Vec<Row> {
        let configured = self.configured;
        let measure = if configured.rises { Measure::Odds } else { self.measure };
        let mut thresholds = thresholds(&self.track.points, highest, measure);
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
            let settings = suggested.unwrap_or(TriggerSettings { threshold, clear_below, ..configured });
            let (alerts, grade) = self.alerts(&settings);
            let frames = |grade| (grade::frames(self.trigger(&settings), &self.track.points, shown), grade);
            Row { threshold, alerts, worth: grade.map(frames) }
        };
        thresholds.into_iter().map(row).collect()
    }

    /// Peaks below the threshold that are not part of an event.
    fn near_misses(&self, threshold: f32) -> Vec<Peak> {
        let is_expected = |peak: &Peak| {
            let slack = self.slack;
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

    /// The heading of the numbers in the table.
    pub(super) fn level_word(&self) -> &'static str {
        if self.configured.rises { "rise" } else { "threshold" }
    }

    /// The number of alerts per day, extrapolated from the recording.
    pub(super) fn a_day(&self, alerts: usize) -> f64 {
        alerts as f64 * 86_400.0 / self.recorded.as_secs_f64().max(1.0)
    }

    /// The advice, if it separates and differs from the configured settings.
    pub(super) fn suggested(&self) -> Option<&Advice> {
        let numbers = |it: &TriggerSettings| (it.threshold, it.clear_below, it.hold);
        let differs = |advice: &&Advice| numbers(&advice.settings) != numbers(&self.configured);
        self.advice.as_ref().ok().filter(|advice| advice.separates).filter(differs)
    }

    /// The reason for the suggestion, or for none, in a sentence.
    pub(super) fn reason(&self) -> String {
        match &self.advice {
            Ok(advice) => self.reason_for(advice),
            Err(NoAdvice::Rises) => self.reason_for_a_rise(),
            Err(other) => self.reason_for_nothing(*other),
        }
    }

    fn reason_for_a_rise(&self) -> String {
        let grade = self.now.1.map_or(String::new(), |grade| {
            format!(", {} wrong, {} events missed", grade.wrong(), grade.missed)
        });
        format!(
            "its threshold is a rise of {} over the baseline, which is kept: {}{grade}. What other rises would do is in the table",
            self.configured.threshold,
            alerts(self.now.0),
        )
    }

    fn reason_for_nothing(&self, reason: NoAdvice) -> String {
        let highest = self.measure.rounded(self.highest.into());
        let threshold = self.configured.threshold;
        match (reason, self.now.0) {
            (NoAdvice::NeverVisible, 0) => format!(
                "unchanged: it is never visible according to the truth, and never alerts. Its highest score is {highest}"
            ),
            (NoAdvice::NeverVisible, count) => format!(
                "unchanged: it is never visible according to the truth, and yet alerts {}. Its highest score is {highest}. Describe \
                 what is seen instead in `background`",
                times(count)
            ),
            (NoAdvice::NotSeen, _) if self.highest >= threshold => format!(
                "not seen here, unchanged: its highest score is {highest}, but it never stays above {threshold} for long enough \
                 (`hold`, `for`). If it is there, say when with `--truth FILE.csv`"
            ),
            (NoAdvice::SameScores, _) => format!(
                "unchanged: all frames have the same score, {highest}, so there is nothing to compare. Record it with and without \
                 what you mean"
            ),
            (NoAdvice::NothingSimilar, _) => {
                let raised: f64 =
                    self.spans.iter().map(|(from, to)| to.duration_since(*from).as_secs_f64()).sum();
                let share = 100.0 * (raised / self.recorded.as_secs_f64().max(1.0)).min(1.0);
                format!(
                    "unchanged: {}, raised for {share:.0} % of the recording, and no other threshold separates these times from the \
                     others. Record more without it, or say with `--truth FILE.csv` when it is visible",
                    alerts(self.now.0)
                )
            }
            _ => format!(
                "not seen here, unchanged: its highest score is {highest}, below {threshold}. If it is there, say when with \
                 `--truth FILE.csv`"
            ),
        }
    }

    fn reason_for(&self, advice: &Advice) -> String {
        let TriggerSettings { threshold, hold, .. } = advice.settings;
        let (low, high) = advice.range;
        match (advice.grade, advice.separates) {
            (Some(grade), true) => {
                let wrong = match grade.wrong() {
                    0 => "no false alert".to_owned(),
                    1 => "1 false alert".to_owned(),
                    wrong => format!("{wrong} false alerts"),
                };
                let held_off = match hold.frames {
                    1 => String::new(),
                    frames => format!("; single frames above it are held off by `{frames} of {}`", hold.of),
                };
                format!(
                    "{} of {} events are alerted, with {wrong}; any threshold from {low} to {high} does as well{held_off}",
                    grade.right,
                    grade.right + grade.missed,
                )
            }
            (Some(grade), false) => format!(
                "no threshold separates: at best ({threshold}) {} of {} alerts are wrong and {} of {} events are missed. Try other \
                 prompts, a background that names what is there instead, or a region",
                grade.wrong(),
                grade.alerts,
                grade.missed,
                grade.right + grade.missed
            ),
            (None, true) => format!(
                "from {low} to {high} it makes no difference: {} in the recording, about {:.0} a day",
                alerts(advice.alerts),
                self.a_day(advice.alerts)
            ),
            (None, false) => {
                "no threshold separates: moving it a little always changes the number of alerts. If it occurs here at all, say when \
                 with `--truth FILE.csv`"
                    .to_owned()
            }
        }
    }

    /// The suggested settings as a change of the configuration.
    pub(super) fn edit(&self) -> Option<LabelEdit> {
        let settings = settings(&self.suggested()?.settings);
        Some(LabelEdit {
            source: self.source.clone(),
            label_set: self.label_set.clone(),
            label: self.label.clone(),
            settings,
        })
    }
}

/// The keys and values of the settings in the configuration.
pub(super) fn settings(settings: &TriggerSettings) -> Vec<(&'static str, String)> {
    vec![
        ("threshold", settings.threshold.to_string()),
        ("clear_below", settings.clear_below.to_string()),
        ("hold", format!("{} of {}", settings.hold.frames, settings.hold.of)),
    ]
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(super) fn alerts(count: usize) -> String {
    if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") }
}
