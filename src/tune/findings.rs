//! What was found out about each label. Pure.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    advice::{Advice, Measure, advise},
    grade::{self, Frames, Grade, grade, spans},
    rivals::{self, Rivals},
    truth::{Interval, Truth},
};
use crate::{
    config::{Config, Source, edit::LabelEdit},
    plot::{Peak, Point, Timeline, Track},
    policy::{TriggerSettings, Scoring},
    trigger::Trigger,
};

/// Columns of a histogram.
pub(crate) const BINS: usize = 20;
/// So many near misses are shown.
const NEAR: usize = 6;

/// One label.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The source, where the label has settings of its own on it.
    pub source: Option<String>,
    pub label_set: String,
    pub label: String,
    /// As configured.
    pub rule: TriggerSettings,
    pub measure: Measure,
    /// How often it alerts now, and what that is worth.
    pub now: (usize, Option<Grade>),
    /// When it was to be seen; `None` without truth.
    pub events: Option<Vec<Interval>>,
    /// The highest score.
    pub highest: f32,
    pub histogram: Histogram,
    pub table: Vec<Row>,
    pub advice: Option<Advice>,
    /// Frames just below the suggested threshold (or the configured one), where nothing was to be seen, the nearest first.
    pub near: Vec<Peak>,
    pub recorded: SignedDuration,
}

/// How many frames have which score, from 0 to `top`: those that show the label and those that do not (all, without truth).
#[derive(Debug)]
pub(crate) struct Histogram {
    pub top: f32,
    pub shown: [u32; BINS],
    pub others: [u32; BINS],
}

/// One threshold (or rise), with everything else as configured.
#[derive(Debug)]
pub(crate) struct Row {
    pub threshold: f32,
    pub alerts: usize,
    /// With truth.
    pub worth: Option<(Frames, Grade)>,
}

/// Every label of the source, in order.
pub(crate) fn of(
    config: &Config,
    source: &Source,
    timeline: &Timeline,
    truth: Option<&Truth>,
) -> Vec<Finding> {
    let sets = config.watches().filter(|(watching, _)| watching.name == source.name);
    let labels = sets.flat_map(|(_, set)| set.labels.iter().map(move |label| (set, label)));
    let finding = |(set, label): (&crate::policy::LabelSet, &crate::policy::Label)| {
        let track =
            timeline.tracks.iter().find(|track| track.label_set == set.name && track.label == label.name)?;
        let first = timeline.range()?.0;
        let events = truth.map(|truth| truth.intervals(&source.name, &set.name, &label.name, first));
        let here = source.label(&set.name, label);
        let adjusted = source.adjusted.iter().any(|(of, it)| *of == set.name && it.name == label.name);
        let over = source.baseline;
        let source = adjusted.then(|| source.name.clone());
        Some(Finding { source, ..find(track, here.trigger, over, events, Measure::of(set.scoring)) })
    };
    labels.filter_map(finding).collect()
}

/// Labels that take scores from each other, of every label set. Those of which each is scored by its cosine do not.
pub(crate) fn rivals(config: &Config, timeline: &Timeline) -> Vec<Rivals> {
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

/// `over`: the time over which the source keeps a baseline.
fn find(
    track: &Track,
    rule: TriggerSettings,
    over: Option<Duration>,
    events: Option<Vec<Interval>>,
    measure: Measure,
) -> Finding {
    let points = &track.points;
    let slack = grade::interval(points);
    let shown = grade::shown(points, events.as_deref().unwrap_or_default());
    let trigger = |rule: &TriggerSettings| Trigger::new(*rule).keeping(over, None);
    let judged = |rule: &TriggerSettings| {
        let spans = spans(trigger(rule), points);
        (spans.len(), events.as_ref().map(|events| grade(&spans, events, slack)))
    };
    let highest = points.iter().map(|point| point.score).fold(0.0, f32::max);
    let advice = advise(&rule, points, events.as_deref(), measure);
    let mut thresholds = thresholds(points, highest, if rule.rises { Measure::Odds } else { measure });
    thresholds.extend(advice.as_ref().map(|advice| advice.rule.threshold));
    thresholds.extend(rule.rises.then_some(rule.threshold));
    thresholds.sort_by(f32::total_cmp);
    thresholds.dedup();
    let rows = thresholds.into_iter().map(|threshold| {
        let suggested = advice.as_ref().map(|advice| advice.rule).filter(|rule| rule.threshold == threshold);
        let clear_below = if rule.rises {
            rule.clear_below / rule.threshold * threshold
        } else {
            rule.clear_below.min(threshold)
        };
        let rule = suggested.unwrap_or(TriggerSettings { threshold, clear_below, ..rule });
        let (alerts, grade) = judged(&rule);
        let worth = grade.map(|grade| (grade::frames(trigger(&rule), points, &shown), grade));
        Row { threshold, alerts, worth }
    });
    let table = rows.collect();
    let level = advice.as_ref().map_or(rule.threshold, |advice| advice.rule.threshold);
    let near = if rule.rises {
        // What is near a level that moves is not to be told by its score.
        Vec::new()
    } else {
        near(track, level, events.as_deref().unwrap_or_default(), slack)
    };
    Finding {
        source: None,
        label_set: track.label_set.clone(),
        label: track.label.clone(),
        now: judged(&rule),
        highest,
        histogram: histogram(track, &shown, top(highest, measure)),
        table,
        near,
        recorded: grade::length(points),
        rule,
        measure,
        events,
        advice,
    }
}

/// Round thresholds over the range of the scores. Cosines never come near 0 or 1.
fn thresholds(points: &[Point], highest: f32, measure: Measure) -> Vec<f32> {
    let lowest = points.iter().map(|point| point.score).fold(highest, f32::min);
    let low = f64::from(if measure == Measure::Cosine { lowest } else { 0.0 });
    let high = f64::from(top(highest, measure));
    (1..10).map(|part| measure.rounded(low + (high - low) * f64::from(part) / 10.0)).collect()
}

/// Where the axis of the scores ends.
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

fn near(track: &Track, threshold: f32, events: &[Interval], slack: SignedDuration) -> Vec<Peak> {
    let expected = |peak: &Peak| {
        let around = |(from, to): &Interval| {
            peak.point.time.duration_since(*from) >= -slack && to.duration_since(peak.point.time) >= -slack
        };
        events.iter().any(around)
    };
    let below = track
        .peaks()
        .into_iter()
        .filter(|peak| peak.point.score < threshold && peak.point.score > threshold / 4.0);
    below.filter(|peak| !expected(peak)).take(NEAR).cloned().collect()
}

impl Finding {
    /// `porch / dog`
    pub(crate) fn name(&self) -> String {
        format!("{} / {}", self.label_set, self.label)
    }

    /// What the numbers in its table are.
    pub(crate) fn level_word(&self) -> &'static str {
        if self.rule.rises { "rise" } else { "threshold" }
    }

    /// Alerts in a day of which what was recorded is an example.
    pub(crate) fn a_day(&self, alerts: usize) -> f64 {
        alerts as f64 * 86_400.0 / self.recorded.as_secs_f64().max(1.0)
    }

    /// The advice that is worth following: it separates, and says something else than what is configured.
    pub(crate) fn suggested(&self) -> Option<&Advice> {
        let changes = |rule: &TriggerSettings| {
            (rule.threshold, rule.clear_below, rule.hold)
                != (self.rule.threshold, self.rule.clear_below, self.rule.hold)
        };
        self.advice.as_ref().filter(|advice| advice.separates && changes(&advice.rule))
    }

    /// Why, in a sentence.
    pub(crate) fn reason(&self) -> String {
        if self.rule.rises {
            return format!(
                "its threshold is a rise of {} over the baseline, which is left as it is: {}{}. What other rises would do is in the table",
                self.rule.threshold,
                alerts(self.now.0),
                match self.now.1 {
                    Some(grade) => format!(", {} wrong, {} events missed", grade.wrong(), grade.missed),
                    None => String::new(),
                }
            );
        }
        let Some(advice) = &self.advice else {
            let highest = self.highest;
            return if self.now.0 == 0 {
                format!("it never occurs here, and never alerts: its highest score is {highest:.2}")
            } else {
                format!(
                    "it never occurs here and yet alerts {}: its highest score is {highest:.2}. Describe what is seen instead in `background`",
                    times(self.now.0)
                )
            };
        };
        let TriggerSettings { threshold, hold, .. } = advice.rule;
        let (low, high) = advice.range;
        let range = format!("any threshold from {low} to {high} does as well");
        match (advice.grade, advice.separates) {
            (Some(grade), true) => format!(
                "{} of {} events are told, with {}; {range}{}",
                grade.right,
                grade.right + grade.missed,
                match grade.wrong() {
                    0 => "no false alert".to_owned(),
                    1 => "1 false alert".to_owned(),
                    wrong => format!("{wrong} false alerts"),
                },
                if hold.frames > 1 { format!("; single frames above it are held off by `{} of {}`", hold.frames, hold.of) } else { String::new() }
            ),
            (Some(grade), false) => format!(
                "no threshold separates: at the best ({threshold}) {} of {} alerts are wrong and {} of {} events are missed. Try other \
                 prompts, a background that names what is there instead, or a region",
                grade.wrong(),
                grade.alerts,
                grade.missed,
                grade.right + grade.missed
            ),
            (None, true) => format!(
                "from {low} to {high} it makes no difference: there are {} in what was recorded, about {:.0} a day",
                alerts(advice.alerts),
                self.a_day(advice.alerts)
            ),
            (None, false) => {
                "no threshold separates: wherever it stands, moving it a little changes how often it alerts. If it occurs here at all, \
                 say when with `--truth FILE.csv`"
                    .to_owned()
            }
        }
    }

    /// What would be written into the configuration.
    pub(crate) fn edit(&self) -> Option<LabelEdit> {
        let settings = settings(&self.suggested()?.rule);
        Some(LabelEdit {
            source: self.source.clone(),
            label_set: self.label_set.clone(),
            label: self.label.clone(),
            settings,
        })
    }
}

/// The settings as they are typed.
pub(crate) fn settings(rule: &TriggerSettings) -> Vec<(&'static str, String)> {
    vec![
        ("threshold", rule.threshold.to_string()),
        ("clear_below", rule.clear_below.to_string()),
        ("hold", format!("{} of {}", rule.hold.frames, rule.hold.of)),
    ]
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(crate) fn alerts(count: usize) -> String {
    if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") }
}
