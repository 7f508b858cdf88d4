//! Grades trigger settings on recorded scores, with the same trigger code as the service. Pure.

use jiff::{SignedDuration, Timestamp};

use super::truth::Interval;
use crate::{
    replay::Point,
    trigger::{Transition, Trigger},
};

/// How alerts compare with what really happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Grade {
    /// All alerts.
    pub alerts: usize,
    /// Events with an alert; further alerts for an event are wrong.
    pub right: usize,
    /// Events without an alert.
    pub missed: usize,
}

impl Grade {
    /// Alerts without an event, or for an event that already has one.
    pub(super) fn wrong(self) -> usize {
        self.alerts - self.right
    }

    /// `2 right / (alerts + events)`, the harmonic mean of precision and recall; 1 without alerts and events.
    pub(super) fn f1(self) -> f64 {
        let all = self.alerts + self.right + self.missed;
        if all == 0 { 1.0 } else { 2.0 * self.right as f64 / all as f64 }
    }
}

/// How well a threshold alone separates frames.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Frames {
    /// Of the frames at or above the threshold, the share that shows the label.
    pub precision: f64,
    /// Of the frames that show the label, the share at or above the threshold.
    pub recall: f64,
}

/// The times at which `trigger` is raised; a span that is not cleared ends at the last frame.
pub(super) fn spans(mut trigger: Trigger, points: &[Point]) -> Vec<Interval> {
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

/// Compares alerts with events. An alert is right if it is raised during an event, or up to `slack` before or after it.
pub(super) fn grade(spans: &[Interval], events: &[Interval], slack: SignedDuration) -> Grade {
    let mut alerted = vec![false; events.len()];
    for (raised, _) in spans {
        let open = |(from, to): &Interval| {
            raised.duration_since(*from) >= -slack && to.duration_since(*raised) >= -slack
        };
        if let Some(event) = (0..events.len()).find(|event| !alerted[*event] && open(&events[*event])) {
            alerted[event] = true;
        }
    }
    let right = alerted.iter().filter(|alerted| **alerted).count();
    Grade { alerts: spans.len(), right, missed: events.len() - right }
}

/// Whether each frame shows the label.
pub(super) fn shown(points: &[Point], events: &[Interval]) -> Vec<bool> {
    points.iter().map(|point| events.iter().any(|(from, to)| (*from..=*to).contains(&point.time))).collect()
}

/// Precision and recall of the threshold of `trigger` over frames.
pub(super) fn frames(mut trigger: Trigger, points: &[Point], shown: &[bool]) -> Frames {
    let share = |of: usize, all: usize| if all == 0 { 1.0 } else { of as f64 / all as f64 };
    let (mut above, mut right) = (0, 0);
    for (point, shown) in points.iter().zip(shown) {
        // A moving threshold differs from frame to frame.
        if trigger.levels().is_some_and(|levels| point.score >= levels.threshold) {
            above += 1;
            right += usize::from(*shown);
        }
        trigger.update(point.score, point.time);
    }
    let all = shown.iter().filter(|shown| **shown).count();
    Frames { precision: share(right, above), recall: share(right, all) }
}

/// The usual time between two frames.
pub(super) fn interval(points: &[Point]) -> SignedDuration {
    let mut gaps =
        points.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time)).collect::<Vec<_>>();
    gaps.retain(SignedDuration::is_positive);
    gaps.sort();
    gaps.get(gaps.len() / 2).copied().unwrap_or(SignedDuration::from_secs(1))
}

/// The recorded time. A long gap is between two recordings and does not count.
pub(super) fn length(points: &[Point]) -> SignedDuration {
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
    fn spans_follow_the_trigger() {
        let settings = TriggerSettings {
            threshold: 0.6,
            clear_below: 0.4,
            rises: false,
            hold: Hold { frames: 1, of: 1 },
            lasting: Duration::ZERO,
            cooldown: Duration::ZERO,
        };
        let spans = spans(Trigger::new(settings), &points(&[0.1, 0.7, 0.5, 0.3, 0.9, 0.9]));
        assert_eq!(spans, [(at(1), at(3)), (at(4), at(5))]);
    }

    #[test]
    fn alerts_are_graded_against_events() {
        let second = SignedDuration::from_secs(1);
        type Case<'a> = (&'a str, &'a [i64], &'a [(i64, i64)], (usize, usize, usize), f64);
        let cases: &[Case<'_>] = &[
            ("no alert, no event", &[], &[], (0, 0, 0), 1.0),
            ("an alert in time", &[5], &[(4, 8)], (1, 1, 0), 1.0),
            ("a frame late", &[9], &[(4, 8)], (1, 1, 0), 1.0),
            ("too late", &[10], &[(4, 8)], (1, 0, 1), 0.0),
            ("two alerts for an event", &[5, 7], &[(4, 8)], (2, 1, 0), 2.0 / 3.0),
            ("one event of two", &[5], &[(4, 8), (20, 30)], (1, 1, 1), 2.0 / 3.0),
            ("an alert without an event", &[50], &[(4, 8)], (1, 0, 1), 0.0),
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
    fn gaps_between_recordings_do_not_count() {
        let mut all = points(&[0.1; 60]);
        assert_eq!(length(&all), SignedDuration::from_secs(60));
        all.push(Point { time: at(100_000), score: 0.1 });
        assert_eq!(length(&all), SignedDuration::from_secs(61));
        assert_eq!(length(&[]), SignedDuration::from_secs(1));
    }

    #[test]
    fn frames_are_compared_with_the_moving_threshold_at_their_time() {
        let settings = TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
        let mut scores = vec![0.1; 200];
        scores.extend([0.5; 10]);
        let all = points(&scores);
        let trigger = || Trigger::new(settings).with_baseline(Some(Duration::from_secs(600)), None);
        assert_eq!(spans(trigger(), &all), [(at(200), at(209))]);
        let shown: Vec<bool> = (0..210).map(|second| second >= 205).collect();
        assert_eq!(frames(trigger(), &all, &shown), Frames { precision: 0.5, recall: 1.0 });
    }
}
