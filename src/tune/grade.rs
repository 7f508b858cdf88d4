//! How good settings of a trigger are on scores that were recorded. Pure: it runs the very trigger that the service runs.

use jiff::{SignedDuration, Timestamp};

use super::truth::Interval;
use crate::{
    plot::Point,
    trigger::{Transition, Trigger},
};

/// What alerts were worth, held to what really happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Grade {
    /// Alerts in all.
    pub alerts: usize,
    /// Events that were told, each by its first alert.
    pub right: usize,
    /// Events that were not.
    pub missed: usize,
}

impl Grade {
    /// Alerts that told nothing new: of nothing, or of an event that had been told.
    pub(crate) fn wrong(self) -> usize {
        self.alerts - self.right
    }

    /// `2 right / (alerts + events)`, the harmonic mean of precision and recall; 1 where there is nothing to tell.
    pub(crate) fn f1(self) -> f64 {
        let all = self.alerts + self.right + self.missed;
        if all == 0 { 1.0 } else { 2.0 * self.right as f64 / all as f64 }
    }
}

/// How frames are told apart by a threshold alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Frames {
    /// Of the frames at or above it, the part that shows the label.
    pub precision: f64,
    /// Of the frames that show the label, the part that is at or above it.
    pub recall: f64,
}

/// When a label would have been raised by `trigger`: from, and to (the last frame where it was not cleared).
pub(crate) fn spans(mut trigger: Trigger, points: &[Point]) -> Vec<Interval> {
    let mut spans: Vec<Interval> = vec![];
    for point in points {
        match trigger.update(point.score, point.time) {
            Some(Transition::Raised) => spans.push((point.time, Timestamp::MAX)),
            Some(Transition::Cleared) => {
                if let Some(span) = spans.last_mut() {
                    span.1 = point.time;
                }
            }
            None => {}
        }
    }
    if let (Some(span), Some(last)) = (spans.last_mut(), points.last()) {
        span.1 = span.1.min(last.time);
    }
    spans
}

/// Holds alerts to events. An alert is right if it came while its event lasted, or up to `slack` before or after it.
pub(crate) fn grade(spans: &[Interval], events: &[Interval], slack: SignedDuration) -> Grade {
    let mut told = vec![false; events.len()];
    for (raised, _) in spans {
        let open = |(from, to): &Interval| {
            raised.duration_since(*from) >= -slack && to.duration_since(*raised) >= -slack
        };
        if let Some(event) = (0..events.len()).find(|event| !told[*event] && open(&events[*event])) {
            told[event] = true;
        }
    }
    let right = told.iter().filter(|told| **told).count();
    Grade { alerts: spans.len(), right, missed: events.len() - right }
}

/// Whether each frame shows the label.
pub(crate) fn shown(points: &[Point], events: &[Interval]) -> Vec<bool> {
    points.iter().map(|point| events.iter().any(|(from, to)| (*from..=*to).contains(&point.time))).collect()
}

/// Precision and recall of the threshold of `trigger` over frames.
pub(crate) fn frames(mut trigger: Trigger, points: &[Point], shown: &[bool]) -> Frames {
    let part = |of: usize, all: usize| if all == 0 { 1.0 } else { of as f64 / all as f64 };
    let (mut above, mut right) = (0, 0);
    for (point, shown) in points.iter().zip(shown) {
        // A threshold that moves stands somewhere else at each frame.
        if trigger.levels().is_some_and(|levels| point.score >= levels.threshold) {
            above += 1;
            right += usize::from(*shown);
        }
        trigger.update(point.score, point.time);
    }
    let all = shown.iter().filter(|shown| **shown).count();
    Frames { precision: part(right, above), recall: part(right, all) }
}

/// The usual time between two frames.
pub(crate) fn interval(points: &[Point]) -> SignedDuration {
    let mut gaps =
        points.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time)).collect::<Vec<_>>();
    gaps.retain(SignedDuration::is_positive);
    gaps.sort();
    gaps.get(gaps.len() / 2).copied().unwrap_or(SignedDuration::from_secs(1))
}

/// How long was recorded: a long gap lies between two recordings and is none of either.
pub(crate) fn length(points: &[Point]) -> SignedDuration {
    let usual = interval(points);
    let long = usual.saturating_mul(10);
    let gaps = points.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time));
    gaps.map(|gap| if gap > long || gap.is_negative() { usual } else { gap })
        .fold(usual, SignedDuration::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Hold, TriggerSettings};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn points(scores: &[f32]) -> Vec<Point> {
        (0..).zip(scores).map(|(second, score)| Point { time: at(second), score: *score }).collect()
    }

    #[test]
    fn spans_are_those_of_the_trigger() {
        let rule = TriggerSettings {
            threshold: 0.6,
            clear_below: 0.4,
            rises: false,
            hold: Hold { frames: 1, of: 1 },
            lasting: Duration::ZERO,
            cooldown: Duration::ZERO,
        };
        let told = spans(Trigger::new(rule), &points(&[0.1, 0.7, 0.5, 0.3, 0.9, 0.9]));
        assert_eq!(told, [(at(1), at(3)), (at(4), at(5))]);
    }

    #[test]
    fn a_table_of_grades() {
        let second = SignedDuration::from_secs(1);
        type Case<'a> = (&'a str, &'a [i64], &'a [(i64, i64)], (usize, usize, usize), f64);
        let cases: &[Case<'_>] = &[
            ("nothing of nothing", &[], &[], (0, 0, 0), 1.0),
            ("told", &[5], &[(4, 8)], (1, 1, 0), 1.0),
            ("told a frame late", &[9], &[(4, 8)], (1, 1, 0), 1.0),
            ("told too late", &[10], &[(4, 8)], (1, 0, 1), 0.0),
            ("told twice", &[5, 7], &[(4, 8)], (2, 1, 0), 2.0 / 3.0),
            ("one of two", &[5], &[(4, 8), (20, 30)], (1, 1, 1), 2.0 / 3.0),
            ("of nothing", &[50], &[(4, 8)], (1, 0, 1), 0.0),
        ];
        for (name, raised, events, (alerts, right, missed), f1) in cases {
            let spans = raised.iter().map(|raised| (at(*raised), at(*raised))).collect::<Vec<_>>();
            let events = events.iter().map(|(from, to)| (at(*from), at(*to))).collect::<Vec<_>>();
            let grade = grade(&spans, &events, second);
            assert_eq!(grade, Grade { alerts: *alerts, right: *right, missed: *missed }, "{name}");
            assert!((grade.f1() - f1).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn gaps_between_recordings_are_not_recorded_time() {
        let mut all = points(&[0.1; 60]);
        assert_eq!(length(&all), SignedDuration::from_secs(60));
        all.push(Point { time: at(100_000), score: 0.1 });
        assert_eq!(length(&all), SignedDuration::from_secs(61));
        assert_eq!(length(&[]), SignedDuration::from_secs(1));
    }

    #[test]
    fn a_threshold_that_moves_is_held_to_each_frame_where_it_stands() {
        let rule = TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
        let mut scores = vec![0.1; 200];
        scores.extend([0.5; 10]);
        let all = points(&scores);
        let trigger = || Trigger::new(rule).keeping(Some(Duration::from_secs(600)), None);
        assert_eq!(spans(trigger(), &all), [(at(200), at(209))]);
        let shown: Vec<bool> = (0..210).map(|second| second >= 205).collect();
        assert_eq!(frames(trigger(), &all, &shown), Frames { precision: 0.5, recall: 1.0 });
    }
}
