//! Searches trigger settings that suit recorded scores.
//!
//! The trigger itself tries every combination of threshold, clear level and hold in a grid. With truth the best combinations have
//! the highest F1 of alerts. Without truth they are those with the same number of alerts over the widest range of thresholds: if
//! moving the threshold changes nothing, what happens and what does not are far apart. The suggested threshold is well inside
//! such a range (the configured one if it is), because later recordings differ a little. Widths are measured in logits
//! ([`Measure`]), in which steps are even.
//!
//! Without truth only the configured settings say what the label looks like here: settings that raise it at any other time are
//! never suggested, and a label that the configured settings never raise keeps them.

use jiff::Timestamp;

use super::{
    grade::{Grade, Recording, grade},
    point::{Interval, Point},
};
use crate::{
    policy::{Hold, Scoring, TriggerSettings},
    trigger::Trigger,
};

/// The least F1 of settings that separate.
const GOOD: f64 = 0.95;
/// Without truth, the least width in logits of a range of thresholds that separates.
const WIDE: f64 = 0.8;
/// The least distance in logits of the configured threshold from the ends of a range; otherwise another one is suggested.
const INSIDE: f64 = 0.8;
/// The loss of F1 that is accepted for a wider range.
const TOLERANCE: f64 = 0.005;
/// The number of thresholds in the grid.
const THRESHOLDS: u32 = 64;
/// The holds in the grid, quickest first.
const HOLDS: [(u8, u8); 5] = [(1, 1), (2, 2), (2, 3), (3, 4), (4, 6)];
/// The distances in logits of the clear level below the threshold in the grid, preferred first.
const GAPS: [f64; 4] = [1.0, 0.5, 2.0, 0.0];
/// Logits are clamped to this distance from 0: scores closer to 0 or 1 count as equal.
const FURTHEST: f64 = 7.0;

/// How the distance of two scores is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// `ln(p / (1 - p))`: steps of softmax and sigmoid are even in it.
    Odds,
    /// A cosine times 100, which is about the scale of CLIP's and SigLIP's logits.
    Cosine,
}

impl Measure {
    /// How the scores of labels with this scoring are measured.
    #[must_use]
    pub fn of(scoring: Scoring) -> Self {
        if scoring == Scoring::Cosine { Self::Cosine } else { Self::Odds }
    }

    fn logit(self, score: f64) -> f64 {
        match self {
            Self::Odds => (score / (1.0 - score)).ln().clamp(-FURTHEST, FURTHEST),
            Self::Cosine => score * 100.0,
        }
    }

    fn score(self, logit: f64) -> f64 {
        match self {
            Self::Odds => 1.0 / (1.0 + (-logit).exp()),
            Self::Cosine => logit / 100.0,
        }
    }

    /// Rounds a score as people type it: two digits, or more where two would be too coarse. Never 0.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    #[must_use]
    pub fn rounded(self, score: f64) -> f32 {
        let digits = match self {
            Self::Cosine => 1000.0,
            Self::Odds if score.min(1.0 - score) >= 0.02 => 100.0,
            Self::Odds => 10_000.0,
        };
        ((score * digits).round() / digits).clamp(0.0001, 1.0) as f32
    }
}

/// Suggested settings, and what they do on the recorded scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The settings; everything except threshold, clear level and hold is as configured.
    pub settings: TriggerSettings,
    /// Whether they separate what happens from what does not.
    pub separates: bool,
    /// The grade of the alerts; `None` without truth.
    pub grade: Option<Grade>,
    /// The lowest and the highest threshold that do as well.
    pub range: (f32, f32),
    /// The number of alerts.
    pub alerts: usize,
}

/// Why the settings of a label are left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAdvice {
    /// The threshold is a rise over a baseline.
    Rises,
    /// According to the truth, the label is never visible.
    NeverVisible,
    /// Without truth: the configured settings never raise it, so nothing is known about what it looks like.
    NotSeen,
    /// All frames have the same score.
    SameScores,
    /// Without truth: no other settings raise it at the same times, and for less than half of the recording.
    NothingSimilar,
}

/// The best settings for these scores; everything except threshold, clear level and hold is as in `configured`. `events` is
/// `None` without truth.
///
/// # Errors
/// There is nothing to learn, and why.
pub fn advise(
    configured: &TriggerSettings,
    recording: &Recording<'_>,
    events: Option<&[Interval]>,
    measure: Measure,
) -> Result<Advice, NoAdvice> {
    if configured.rises {
        return Err(NoAdvice::Rises);
    }
    if events.is_some_and(<[_]>::is_empty) {
        return Err(NoAdvice::NeverVisible);
    }
    let mut now = recording.spans(Trigger::new(*configured));
    now.sort_unstable(); // the time of one recording may be before that of the last one
    if events.is_none() && now.is_empty() {
        return Err(NoAdvice::NotSeen);
    }
    let recorded = Recorded { recording, events, now };
    let logits = grid(recording.points(), measure).ok_or(NoAdvice::SameScores)?;
    let combinations = combinations(&recorded, configured, measure, &logits);
    let range = match events {
        Some(_) => best_by_truth(&combinations, &logits),
        None => best_by_steadiness(&combinations, &logits),
    };
    let Range { combination, from, to } = range.ok_or(NoAdvice::NothingSimilar)?;
    let (low, high) = (logits[from], logits[to]);
    let mut settings =
        settings(configured, measure, middle(measure, low, high), combination.hold, combination.gap);
    let mut outcome = recorded.outcome(settings);
    // Rounding may have moved the levels out of the range.
    if events.is_none() && outcome.useful_alerts() == 0 {
        return Err(NoAdvice::NothingSimilar);
    }

    let own = measure.logit(configured.threshold.into());
    let as_configured = Outcome { alerts: recorded.now.len(), ..recorded.outcome(*configured) };
    let is_as_good = match events {
        Some(_) => as_configured.f1() >= outcome.f1() - TOLERANCE,
        None => as_configured.alerts == outcome.alerts,
    };
    if is_as_good && own - low >= INSIDE && high - own >= INSIDE {
        (settings, outcome) = (*configured, as_configured);
    }
    let separates = outcome.grade.map_or(high - low >= WIDE, |grade| grade.f1() >= GOOD);
    let range = (measure.rounded(measure.score(low)), measure.rounded(measure.score(high)));
    Ok(Advice { settings, separates, grade: outcome.grade, range, alerts: outcome.alerts })
}

/// The recorded scores of a label, and its events if there is truth.
struct Recorded<'a> {
    recording: &'a Recording<'a>,
    events: Option<&'a [Interval]>,
    /// The times at which the configured settings raise it, in order.
    now: Vec<Interval>,
}

/// What settings do on the recorded scores.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    alerts: usize,
    /// Whether the label is raised for at most half of the time, and without truth only at times at which the configured
    /// settings raise it; otherwise its alerts are useless.
    is_useful: bool,
    /// `None` without truth.
    grade: Option<Grade>,
}

impl Outcome {
    /// Of settings that raise the label at times at which the configured settings do not.
    const USELESS: Self = Self { alerts: 0, is_useful: false, grade: None };

    fn f1(self) -> f64 {
        self.grade.map_or(0.0, Grade::f1)
    }

    fn useful_alerts(self) -> usize {
        if self.is_useful { self.alerts } else { 0 }
    }
}

impl Recorded<'_> {
    fn outcome(&self, settings: TriggerSettings) -> Outcome {
        // Without truth, one alert at another time is enough: most settings of the grid end early.
        let is_possible = |from: Timestamp| self.events.is_some() || self.is_raised_now(from);
        let trigger = Trigger::new(settings);
        let Some(spans) = self.recording.spans_while(trigger, is_possible) else { return Outcome::USELESS };
        let raised: f64 = spans.iter().map(|(from, to)| to.duration_since(*from).as_secs_f64()).sum();
        Outcome {
            alerts: spans.len(),
            is_useful: raised <= 0.5 * self.recording.length().as_secs_f64(),
            grade: self.events.map(|events| grade(&spans, events, self.recording.interval())),
        }
    }

    /// Whether the configured settings raise the label at `time`, or a few frames later: lower levels are reached earlier.
    fn is_raised_now(&self, time: Timestamp) -> bool {
        /// The frames of a slow arrival.
        const EARLIER: i32 = 5;
        let earlier = self.recording.interval().saturating_mul(EARLIER);
        let next = self.now.partition_point(|(_, to)| *to < time);
        self.now.get(next).is_some_and(|(from, _)| from.duration_since(time) <= earlier)
    }
}

/// The thresholds of the grid, in logits: evenly between the lowest and the highest score. `None`: all scores are the same.
fn grid(points: &[Point], measure: Measure) -> Option<Vec<f64>> {
    let scores = || points.iter().map(|point| measure.logit(point.score.into()));
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    let step = (high - low) / f64::from(THRESHOLDS);
    (step > 1e-9).then(|| (1..THRESHOLDS).map(|number| low + step * f64::from(number)).collect())
}

/// A hold and a gap of the grid, and what they do at each threshold, lowest first.
struct Combination {
    hold: Hold,
    /// An index into [`GAPS`].
    gap: usize,
    outcomes: Vec<Outcome>,
}

fn combinations(
    recorded: &Recorded<'_>,
    configured: &TriggerSettings,
    measure: Measure,
    logits: &[f64],
) -> Vec<Combination> {
    let pairs = HOLDS.into_iter().flat_map(|hold| (0..GAPS.len()).map(move |gap| (hold, gap)));
    pairs
        .map(|((frames, of), gap)| {
            let hold = Hold { frames, of };
            let outcome = |logit: &f64| recorded.outcome(settings(configured, measure, *logit, hold, gap));
            Combination { hold, gap, outcomes: logits.iter().map(outcome).collect() }
        })
        .collect()
}

fn settings(
    configured: &TriggerSettings,
    measure: Measure,
    logit: f64,
    hold: Hold,
    gap: usize,
) -> TriggerSettings {
    let threshold = measure.rounded(measure.score(logit));
    let clear_below = measure.rounded(measure.score(logit - GAPS[gap])).min(threshold);
    TriggerSettings { threshold, clear_below, hold, ..*configured }
}

/// A threshold well inside a range, in logits: between the middle of the logits, which suits scores near 0, and the middle of the
/// scores, where people expect it.
fn middle(measure: Measure, low: f64, high: f64) -> f64 {
    let of_logits = measure.score(f64::midpoint(low, high));
    let of_scores = f64::midpoint(measure.score(low), measure.score(high));
    measure.logit(f64::midpoint(of_logits, of_scores))
}

/// A combination, and the first and the last threshold of a range in which it does well.
struct Range<'c> {
    combination: &'c Combination,
    from: usize,
    to: usize,
}

impl Range<'_> {
    /// What the range is worth, in logits: its width, less a penalty for slow holds and for gaps that are not preferred.
    fn worth(&self, logits: &[f64]) -> f64 {
        /// A wider range is worth no more.
        const ENOUGH: f64 = 4.0;
        /// The penalty of each further frame of the hold.
        const FRAME: f64 = 0.6;
        /// The penalty of each further gap.
        const GAP: f64 = 0.1;
        let frames = f64::from(self.combination.hold.frames - 1);
        (logits[self.to] - logits[self.from]).min(ENOUGH) - FRAME * frames - GAP * self.combination.gap as f64
    }
}

fn best_by_truth<'c>(combinations: &'c [Combination], logits: &[f64]) -> Option<Range<'c>> {
    let outcomes = combinations.iter().flat_map(|combination| &combination.outcomes);
    let best = outcomes.map(|outcome| outcome.f1()).fold(0.0, f64::max);
    best_range(combinations, logits, |outcome, _| outcome.f1() >= best - TOLERANCE)
}

fn best_by_steadiness<'c>(combinations: &'c [Combination], logits: &[f64]) -> Option<Range<'c>> {
    best_range(combinations, logits, |outcome, first| {
        outcome.useful_alerts() > 0 && outcome.useful_alerts() == first.useful_alerts()
    })
}

/// The range of thresholds that is worth most; the first one of equals. In a range, each outcome `belongs` with the first one.
fn best_range<'c>(
    combinations: &'c [Combination],
    logits: &[f64],
    belongs: impl Fn(Outcome, Outcome) -> bool,
) -> Option<Range<'c>> {
    let ranges = combinations.iter().flat_map(|combination| {
        let runs = runs(&combination.outcomes, &belongs);
        runs.into_iter().map(move |(from, to)| Range { combination, from, to })
    });
    ranges.reduce(|best, range| if range.worth(logits) > best.worth(logits) { range } else { best })
}

/// The longest runs of outcomes. In a run, each outcome `belongs` with the first one.
fn runs(outcomes: &[Outcome], belongs: impl Fn(Outcome, Outcome) -> bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = vec![];
    for (at, outcome) in outcomes.iter().enumerate() {
        match runs.last_mut() {
            Some((from, to)) if *to + 1 == at && belongs(*outcome, outcomes[*from]) => *to = at,
            _ if belongs(*outcome, *outcome) => runs.push((at, at)),
            _ => {}
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIGURED: TriggerSettings = TriggerSettings {
        threshold: 0.5,
        clear_below: 0.5,
        rises: false,
        hold: Hold { frames: 1, of: 1 },
        lasting: Duration::ZERO,
        cooldown: Duration::ZERO,
    };

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(second as i64).unwrap()
    }

    /// Ten times a minute of `quiet` scores and ten seconds of `event` scores, with some noise.
    fn recorded(quiet: f32, event: f32, noise: f32) -> (Vec<Point>, Vec<Interval>) {
        let mut points = vec![];
        for second in 0..700_usize {
            let wave = (second * 37 % 101) as f32 / 50.0 - 1.0;
            let base = if second % 70 >= 60 { event } else { quiet };
            points.push(Point { time: at(second), score: (base + wave * noise).clamp(0.0, 1.0) });
        }
        let events = (0..10).map(|number| (at(number * 70 + 60), at(number * 70 + 69))).collect();
        (points, events)
    }

    #[test]
    fn a_wide_gap_is_found_with_and_without_truth() {
        let (points, events) = recorded(0.1, 0.8, 0.05);
        for events in [Some(&events[..]), None] {
            let advice = advise(&CONFIGURED, &Recording::new(&points), events, Measure::Odds).unwrap();
            assert!(advice.separates, "{advice:?}");
            assert_eq!((advice.alerts, advice.settings.hold), (10, Hold { frames: 1, of: 1 }), "{advice:?}");
            assert!((0.3..0.6).contains(&advice.settings.threshold), "{advice:?}");
            assert!(advice.settings.clear_below <= advice.settings.threshold, "{advice:?}");
        }
        assert_eq!(
            advise(&CONFIGURED, &Recording::new(&points), Some(&events), Measure::Odds)
                .unwrap()
                .grade
                .unwrap()
                .f1(),
            1.0
        );
    }

    #[test]
    fn good_settings_are_kept() {
        let (points, events) = recorded(0.05, 0.9, 0.02);
        let configured = TriggerSettings { threshold: 0.4, clear_below: 0.4, ..CONFIGURED };
        assert_eq!(
            advise(&configured, &Recording::new(&points), Some(&events), Measure::Odds).unwrap().settings,
            configured
        );
        assert_eq!(
            advise(&configured, &Recording::new(&points), None, Measure::Odds).unwrap().settings,
            configured
        );
        let near = TriggerSettings { threshold: 0.1, clear_below: 0.1, ..CONFIGURED };
        assert_ne!(
            advise(&near, &Recording::new(&points), Some(&events), Measure::Odds).unwrap().settings,
            near,
            "too close to the quiet scores"
        );
    }

    #[test]
    fn small_scores_are_separated_too() {
        let (mut points, events) = recorded(0.1, 0.8, 0.05);
        points.iter_mut().for_each(|point| point.score *= 0.01);
        let advice = advise(&CONFIGURED, &Recording::new(&points), Some(&events), Measure::Odds).unwrap();
        assert!(advice.separates && (0.002..0.007).contains(&advice.settings.threshold), "{advice:?}");
    }

    #[test]
    fn cosines_that_differ_little_are_separated() {
        let (mut points, events) = recorded(0.1, 0.8, 0.05);
        points.iter_mut().for_each(|point| point.score = 0.2 + point.score * 0.1);
        let configured = TriggerSettings { threshold: 0.278, clear_below: 0.26, ..CONFIGURED };
        for events in [Some(&events[..]), None] {
            let advice = advise(&configured, &Recording::new(&points), events, Measure::Cosine).unwrap();
            assert!(advice.separates && (0.23..0.27).contains(&advice.settings.threshold), "{advice:?}");
            assert!(advice.settings.clear_below > 0.21 && advice.alerts == 10, "{advice:?}");
        }
        assert_eq!(Measure::Cosine.rounded(0.243_6), 0.244);
    }

    #[test]
    fn single_outliers_need_a_hold() {
        let (mut points, events) = recorded(0.1, 0.7, 0.05);
        for second in [5, 100, 155, 300, 420] {
            points[second].score = 0.95;
        }
        let advice = advise(&CONFIGURED, &Recording::new(&points), Some(&events), Measure::Odds).unwrap();
        assert!(advice.separates && advice.settings.hold.frames > 1, "{advice:?}");
    }

    #[test]
    fn scores_that_no_threshold_separates_are_reported() {
        let (points, events) = recorded(0.5, 0.5, 0.3);
        let advice = advise(&CONFIGURED, &Recording::new(&points), Some(&events), Measure::Odds).unwrap();
        assert!(!advice.separates, "{advice:?}");
    }

    #[test]
    fn without_anything_to_learn_the_reason_is_given() {
        /// A name, the scores, the truth, and the reason.
        type Case<'c> = (&'c str, &'c [Point], Option<&'c [Interval]>, NoAdvice);
        let (points, events) = recorded(0.1, 0.1, 0.05);
        let scored = |score| points.iter().map(|point| Point { score, ..*point }).collect::<Vec<_>>();
        let (flat, high) = (scored(0.2), scored(1.0));
        // Visible most of the time, with scores that differ.
        let wave = |(second, point): (usize, &Point)| Point {
            score: if second % 10 < 7 { 0.9 } else { 0.8 },
            ..*point
        };
        let always = points.iter().enumerate().map(wave).collect::<Vec<_>>();
        let cases: [Case; 8] = [
            ("never visible", &points, Some(&[]), NoAdvice::NeverVisible),
            ("never raised", &points, None, NoAdvice::NotSeen),
            ("no frames", &[], None, NoAdvice::NotSeen),
            ("the same low score", &flat, None, NoAdvice::NotSeen),
            ("the same high score", &high, None, NoAdvice::SameScores),
            ("one frame", &high[..1], None, NoAdvice::SameScores),
            ("the same score, with truth", &high, Some(&events), NoAdvice::SameScores),
            ("always raised", &always, None, NoAdvice::NothingSimilar),
        ];
        for (name, points, events, expected) in cases {
            assert_eq!(
                advise(&CONFIGURED, &Recording::new(points), events, Measure::Odds),
                Err(expected),
                "{name}"
            );
        }
        let rises = TriggerSettings { rises: true, ..CONFIGURED };
        assert_eq!(advise(&rises, &Recording::new(&points), None, Measure::Odds), Err(NoAdvice::Rises));
    }

    /// Scores near 0 have wide gaps in logits, and a label that is not there has scores near 0.
    #[test]
    fn without_truth_nothing_is_raised_that_is_not_raised_now() {
        let (mut points, _) = recorded(0.004, 0.018, 0.001);
        assert_eq!(
            advise(&CONFIGURED, &Recording::new(&points), None, Measure::Odds),
            Err(NoAdvice::NotSeen)
        );
        // One real event among ten weak ones: only the real one is raised with any suggestion.
        points[65..68].iter_mut().for_each(|point| point.score = 0.9);
        let raised = |settings| Recording::new(&points).spans(Trigger::new(settings));
        assert_eq!(raised(CONFIGURED), [(at(65), at(68))]);
        let advice = advise(&CONFIGURED, &Recording::new(&points), None, Measure::Odds).unwrap();
        assert!(advice.separates && advice.settings.threshold > 0.02, "{advice:?}");
        assert_eq!(raised(advice.settings).len(), 1, "{advice:?}");
    }

    #[test]
    fn without_truth_a_threshold_that_is_always_exceeded_is_raised() {
        let (points, _) = recorded(0.1, 0.8, 0.05);
        let configured = TriggerSettings { threshold: 0.04, clear_below: 0.04, ..CONFIGURED };
        let advice = advise(&configured, &Recording::new(&points), None, Measure::Odds).unwrap();
        assert!(advice.separates && advice.alerts == 10 && advice.settings.threshold > 0.15, "{advice:?}");
    }

    #[test]
    fn scores_are_rounded_as_people_type_them() {
        for (score, expected) in
            [(0.613_7, 0.61), (0.0123, 0.0123), (0.000_001, 0.0001), (0.99, 0.99), (0.9951, 0.9951)]
        {
            assert_eq!(Measure::Odds.rounded(score), expected);
        }
    }
}
