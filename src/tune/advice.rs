//! Which settings suit recorded scores. Pure.
//!
//! Every combination of threshold, clear level and hold in a grid is tried with the trigger itself. With truth the best are
//! those with the highest F1 of alerts; without it those among which the number of alerts stays the same over the widest range
//! of thresholds: where nothing changes however the threshold is moved, what happens and what does not lie far apart. Of such a
//! range a threshold well inside is taken (the configured one if it is), since recordings of tomorrow are a little different. Widths are measured in logits
//! ([`Measure`]), in which steps are even.

use super::{
    grade::{self, Grade, grade, spans},
    truth::Interval,
};
use crate::{
    plot::Point,
    policy::{Hold, TriggerSettings, Scoring},
    trigger::Trigger,
};

/// Below it no threshold is said to separate.
pub(crate) const GOOD: f64 = 0.95;
/// Without truth a range of thresholds must be so wide, in logits.
const WIDE: f64 = 0.8;
/// So far from the ends of a range, in logits, what is configured may stay.
const INSIDE: f64 = 0.8;
/// What may be lost for settings that bear more.
const TOLERANCE: f64 = 0.005;
/// Thresholds that are tried.
const THRESHOLDS: u32 = 64;
/// Holds that are tried, the quickest first.
const HOLDS: [(u8, u8); 5] = [(1, 1), (2, 2), (2, 3), (3, 4), (4, 6)];
/// How far below the threshold the clear level is tried, in logits, the preferred first.
const GAPS: [f64; 4] = [1.0, 0.5, 2.0, 0.0];
/// Scores nearer to 0 or 1 than this are alike.
const FURTHEST: f64 = 7.0;

/// How far apart two scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// `ln(p / (1 - p))`: softmax and sigmoid are even in it.
    Odds,
    /// A cosine, 0.01 being 1: about what CLIP and SigLIP models multiply it by for their logits.
    Cosine,
}

impl Measure {
    pub(crate) fn of(scoring: Scoring) -> Self {
        if scoring == Scoring::Cosine { Self::Cosine } else { Self::Odds }
    }

    fn logit(self, score: f64) -> f64 {
        match self {
            Self::Odds => (score / (1.0 - score)).ln().clamp(-FURTHEST, FURTHEST),
            Self::Cosine => score * 100.0,
        }
    }

    fn level(self, logit: f64) -> f64 {
        match self {
            Self::Odds => 1.0 / (1.0 + (-logit).exp()),
            Self::Cosine => logit / 100.0,
        }
    }

    /// As people type it: two digits, more only where two would be too coarse. Never 0.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub(crate) fn rounded(self, score: f64) -> f32 {
        let digits = match self {
            Self::Cosine => 1000.0,
            Self::Odds if score.min(1.0 - score) >= 0.02 => 100.0,
            Self::Odds => 10_000.0,
        };
        ((score * digits).round() / digits).clamp(0.0001, 1.0) as f32
    }
}

/// What to set, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Advice {
    /// The settings; everything else of the rule is as it was.
    pub rule: TriggerSettings,
    /// Whether they tell apart what happens from what does not.
    pub separates: bool,
    /// What the alerts are worth; `None` without truth.
    pub grade: Option<Grade>,
    /// The lowest and the highest threshold that do as well.
    pub range: (f32, f32),
    /// How many alerts there are.
    pub alerts: usize,
}

struct Tried {
    hold: usize,
    gap: usize,
    /// For each threshold, from the lowest: alerts, and their worth.
    results: Vec<(usize, Option<Grade>)>,
}

/// The best settings for these scores, with everything but threshold, clear level and hold as in `rule`; `events` are known only
/// where there is truth. `None`: there is nothing to learn, the label never occurs.
pub(crate) fn advise(
    rule: &TriggerSettings,
    points: &[Point],
    events: Option<&[Interval]>,
    measure: Measure,
) -> Option<Advice> {
    if rule.rises || points.len() < 2 || events.is_some_and(<[_]>::is_empty) {
        return None;
    }
    let levels = levels(points, measure)?;
    let slack = grade::interval(points);
    let tried = HOLDS.iter().enumerate().flat_map(|(hold, _)| (0..GAPS.len()).map(move |gap| (hold, gap)));
    let tried = tried.map(|(hold, gap)| {
        let result = |level: &f64| {
            let spans = spans(Trigger::new(settings(rule, measure, *level, (hold, gap))), points);
            (usable(&spans, points), events.map(|events| grade(&spans, events, slack)))
        };
        Tried { hold, gap, results: levels.iter().map(result).collect() }
    });
    let tried = tried.collect::<Vec<_>>();
    let best = match events {
        Some(_) => by_truth(&tried, &levels),
        None => by_steadiness(&tried, &levels),
    }?;
    let (tried, from, to) = best;
    // The middle of the logits suits scores near 0, that of the scores themselves is where people look for it.
    let (low, high) = (levels[from], levels[to]);
    let level = |logit| measure.level(logit);
    let middle = f64::midpoint(level(f64::midpoint(low, high)), f64::midpoint(level(low), level(high)));
    let mut rule_of = settings(rule, measure, measure.logit(middle), (tried.hold, tried.gap));
    let own = measure.logit(rule.threshold.into());
    let as_it_is = spans(Trigger::new(*rule), points);
    let as_good = match events.map(|events| {
        (grade(&as_it_is, events, slack), grade(&spans(Trigger::new(rule_of), points), events, slack))
    }) {
        Some((own, suggested)) => own.f1() >= suggested.f1() - TOLERANCE,
        None => as_it_is.len() == spans(Trigger::new(rule_of), points).len(),
    };
    if as_good && own - low >= INSIDE && high - own >= INSIDE {
        rule_of = *rule;
    }
    let rule = rule_of;
    let spans = spans(Trigger::new(rule), points);
    let grade = events.map(|events| grade(&spans, events, slack));
    let separates = grade.map_or(levels[to] - levels[from] >= WIDE, |grade| grade.f1() >= GOOD);
    let range = (measure.rounded(level(low)), measure.rounded(level(high)));
    Some(Advice { rule, separates, grade, range, alerts: spans.len() })
}

/// How many alerts; none of use where the label is raised most of the time.
fn usable(spans: &[Interval], points: &[Point]) -> usize {
    let raised: f64 = spans.iter().map(|(from, to)| to.duration_since(*from).as_secs_f64()).sum();
    if raised > 0.5 * grade::length(points).as_secs_f64() { 0 } else { spans.len() }
}

/// A combination, and the first and the last threshold of a range in which it does well.
type Range<'t> = (&'t Tried, usize, usize);

fn by_truth<'t>(tried: &'t [Tried], levels: &[f64]) -> Option<Range<'t>> {
    let f1 = |(_, grade): &(usize, Option<Grade>)| grade.map_or(0.0, Grade::f1);
    let best = tried.iter().flat_map(|tried| tried.results.iter().map(f1)).fold(0.0, f64::max);
    widest(tried, levels, |result, _| f1(result) >= best - TOLERANCE)
}

fn by_steadiness<'t>(tried: &'t [Tried], levels: &[f64]) -> Option<Range<'t>> {
    widest(tried, levels, |(alerts, _), (first, _)| *alerts > 0 && alerts == first)
}

/// The combination and the range of thresholds that bear most: a wide range, a quick hold, and the preferred gap. A range is where
/// each result `belongs` with the range's first.
fn widest<'t>(
    tried: &'t [Tried],
    levels: &[f64],
    belongs: impl Fn(&(usize, Option<Grade>), &(usize, Option<Grade>)) -> bool,
) -> Option<Range<'t>> {
    /// Wider than this is wide enough.
    const ENOUGH: f64 = 4.0;
    /// What each further frame must be worth in logits, and a gap that is not the preferred one.
    const FRAME: f64 = 0.6;
    const GAP: f64 = 0.1;
    let mut best: Option<(f64, Range<'t>)> = None;
    for combination in tried {
        let mut from = 0;
        while from < levels.len() {
            let first = &combination.results[from];
            if !belongs(first, first) {
                from += 1;
                continue;
            }
            let mut to = from;
            while to + 1 < levels.len() && belongs(&combination.results[to + 1], first) {
                to += 1;
            }
            let frames = f64::from(HOLDS[combination.hold].0 - 1);
            let worth =
                (levels[to] - levels[from]).min(ENOUGH) - FRAME * frames - GAP * combination.gap as f64;
            if best.as_ref().is_none_or(|(most, _)| worth > *most) {
                best = Some((worth, (combination, from, to)));
            }
            from = to + 1;
        }
    }
    best.map(|(_, range)| range)
}

/// Thresholds to try, as logits: evenly between the lowest and the highest score. `None`: all scores are the same.
fn levels(points: &[Point], measure: Measure) -> Option<Vec<f64>> {
    let scores = || points.iter().map(|point| measure.logit(point.score.into()));
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    let step = (high - low) / f64::from(THRESHOLDS);
    (step > 1e-9).then(|| (1..THRESHOLDS).map(|number| low + step * f64::from(number)).collect())
}

fn settings(rule: &TriggerSettings, measure: Measure, at: f64, (hold, gap): (usize, usize)) -> TriggerSettings {
    let threshold = measure.rounded(measure.level(at));
    let clear_below = measure.rounded(measure.level(at - GAPS[gap])).min(threshold);
    let (frames, of) = HOLDS[hold];
    TriggerSettings { threshold, clear_below, hold: Hold { frames, of }, ..*rule }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    const RULE: TriggerSettings = TriggerSettings {
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

    /// A minute of `quiet` after each ten seconds of `event`, ten times, with some noise.
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
    fn far_apart_is_found_with_and_without_truth() {
        let (points, events) = recorded(0.1, 0.8, 0.05);
        for events in [Some(&events[..]), None] {
            let advice = advise(&RULE, &points, events, Measure::Odds).unwrap();
            assert!(advice.separates, "{advice:?}");
            assert_eq!((advice.alerts, advice.rule.hold), (10, Hold { frames: 1, of: 1 }), "{advice:?}");
            assert!((0.3..0.6).contains(&advice.rule.threshold), "{advice:?}");
            assert!(advice.rule.clear_below <= advice.rule.threshold, "{advice:?}");
        }
        assert_eq!(advise(&RULE, &points, Some(&events), Measure::Odds).unwrap().grade.unwrap().f1(), 1.0);
    }

    #[test]
    fn what_is_good_stays_as_it_is() {
        let (points, events) = recorded(0.05, 0.9, 0.02);
        let rule = TriggerSettings { threshold: 0.4, clear_below: 0.4, ..RULE };
        assert_eq!(advise(&rule, &points, Some(&events), Measure::Odds).unwrap().rule, rule);
        assert_eq!(advise(&rule, &points, None, Measure::Odds).unwrap().rule, rule);
        let near = TriggerSettings { threshold: 0.1, clear_below: 0.1, ..RULE };
        assert_ne!(
            advise(&near, &points, Some(&events), Measure::Odds).unwrap().rule,
            near,
            "too near to what does not happen"
        );
    }

    #[test]
    fn scores_that_are_all_small_are_no_hindrance() {
        let (mut points, events) = recorded(0.1, 0.8, 0.05);
        points.iter_mut().for_each(|point| point.score *= 0.01);
        let advice = advise(&RULE, &points, Some(&events), Measure::Odds).unwrap();
        assert!(advice.separates && (0.002..0.007).contains(&advice.rule.threshold), "{advice:?}");
    }

    #[test]
    fn cosines_that_differ_by_little_are_told_apart() {
        let (mut points, events) = recorded(0.1, 0.8, 0.05);
        points.iter_mut().for_each(|point| point.score = 0.2 + point.score * 0.1);
        for events in [Some(&events[..]), None] {
            let advice = advise(&RULE, &points, events, Measure::Cosine).unwrap();
            assert!(advice.separates && (0.23..0.27).contains(&advice.rule.threshold), "{advice:?}");
            assert!(advice.rule.clear_below > 0.21 && advice.alerts == 10, "{advice:?}");
        }
        assert_eq!(Measure::Cosine.rounded(0.243_6), 0.244);
    }

    #[test]
    fn single_outliers_are_held_off() {
        let (mut points, events) = recorded(0.1, 0.7, 0.05);
        for second in [5, 100, 155, 300, 420] {
            points[second].score = 0.95;
        }
        let advice = advise(&RULE, &points, Some(&events), Measure::Odds).unwrap();
        assert!(advice.separates && advice.rule.hold.frames > 1, "{advice:?}");
    }

    #[test]
    fn where_nothing_separates_it_is_said() {
        let (points, events) = recorded(0.5, 0.5, 0.3);
        let advice = advise(&RULE, &points, Some(&events), Measure::Odds).unwrap();
        assert!(!advice.separates, "{advice:?}");
    }

    #[test]
    fn a_label_that_never_occurs_teaches_nothing() {
        let (points, _) = recorded(0.1, 0.1, 0.05);
        assert_eq!(advise(&RULE, &points, Some(&[]), Measure::Odds), None);
        assert_eq!(advise(&RULE, &[], None, Measure::Odds), None);
        let flat = points.iter().map(|point| Point { score: 0.2, ..*point }).collect::<Vec<_>>();
        assert_eq!(advise(&RULE, &flat, None, Measure::Odds), None);
    }

    #[test]
    fn levels_are_rounded_as_people_type_them() {
        for (score, expected) in
            [(0.613_7, 0.61), (0.0123, 0.0123), (0.000_001, 0.0001), (0.99, 0.99), (0.9951, 0.9951)]
        {
            assert_eq!(Measure::Odds.rounded(score), expected);
        }
    }
}
