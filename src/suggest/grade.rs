//! Grades trigger settings on recorded scores, with the same trigger code as the service.

use jiff::{SignedDuration, Timestamp};

use super::point::{Interval, Point};
use crate::trigger::{Transition, Trigger};

/// The points of a block, which is skipped as a whole where the trigger ignores its scores.
const BLOCK: usize = 64;

/// How alerts compare with what really happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grade {
    /// All alerts.
    pub alerts: usize,
    /// Events with an alert; further alerts for an event are wrong.
    pub right: usize,
    /// Events without an alert.
    pub missed: usize,
}

impl Grade {
    /// Alerts without an event, or for an event that already has one.
    #[must_use]
    pub fn wrong(self) -> usize {
        self.alerts - self.right
    }

    /// `2 right / (alerts + events)`, the harmonic mean of precision and recall; 1 without alerts and events.
    #[must_use]
    pub fn f1(self) -> f64 {
        let all = self.alerts + self.right + self.missed;
        if all == 0 { 1.0 } else { 2.0 * self.right as f64 / all as f64 }
    }
}

/// How well a threshold alone separates frames.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Frames {
    /// Of the frames at or above the threshold, the share that shows the label.
    pub precision: f64,
    /// Of the frames that show the label, the share at or above the threshold.
    pub recall: f64,
}

/// The recorded scores of a label, with what is computed once for all settings that are tried.
#[derive(Debug)]
pub struct Recording<'p> {
    points: &'p [Point],
    blocks: Vec<Block>,
    interval: SignedDuration,
    length: SignedDuration,
}

/// A few points that follow each other.
#[derive(Debug, Clone, Copy)]
struct Block {
    lowest: f32,
    highest: f32,
    /// Whether no point is earlier than the one before it.
    is_ordered: bool,
}

impl<'p> Recording<'p> {
    /// The recorded scores, in the order of their frames.
    #[must_use]
    pub fn new(points: &'p [Point]) -> Self {
        let mut before = Timestamp::MIN;
        let block = |points: &[Point]| {
            let mut block = Block { lowest: f32::INFINITY, highest: f32::NEG_INFINITY, is_ordered: true };
            for Point { time, score } in points {
                block.lowest = block.lowest.min(*score);
                block.highest = block.highest.max(*score);
                block.is_ordered &= *time >= before;
                before = *time;
            }
            block
        };
        let blocks = points.chunks(BLOCK).map(block).collect();
        let interval = interval(points);
        Self { points, blocks, interval, length: length(points, interval) }
    }

    /// The scores.
    #[must_use]
    pub fn points(&self) -> &'p [Point] {
        self.points
    }

    /// The usual time between two frames: how early or late an alert may be.
    #[must_use]
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }

    /// The recorded time. A long gap is between two recordings and does not count.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        self.length
    }

    /// The times at which `trigger` is raised; a span that is not cleared ends at the last frame.
    #[must_use]
    pub fn spans(&self, trigger: Trigger) -> Vec<Interval> {
        self.spans_while(trigger, |_| true).unwrap_or_default()
    }

    /// The same; `None` as soon as `is_possible` is false for the time at which it is raised.
    #[must_use]
    pub fn spans_while(
        &self,
        mut trigger: Trigger,
        is_possible: impl Fn(Timestamp) -> bool,
    ) -> Option<Vec<Interval>> {
        let mut spans: Vec<Interval> = vec![];
        for (block, points) in self.blocks.iter().zip(self.points.chunks(BLOCK)) {
            if block.is_ordered && trigger.ignores(block.lowest, block.highest) {
                continue;
            }
            for point in points {
                match trigger.update(point.score, point.time) {
                    Some(Transition::Raised) if !is_possible(point.time) => return None,
                    Some(Transition::Raised) => spans.push((point.time, Timestamp::MAX)),
                    Some(Transition::Cleared) => {
                        if let Some(span) = spans.last_mut() {
                            span.1 = point.time;
                        }
                    }
                    None => {}
                }
            }
        }
        if let (Some(span), Some(last)) = (spans.last_mut(), self.points.last()) {
            span.1 = span.1.min(last.time);
        }
        Some(spans)
    }
}

/// Compares alerts with events. An alert is right if it is raised during an event, or up to `slack` before or after it.
#[must_use]
pub fn grade(spans: &[Interval], events: &[Interval], slack: SignedDuration) -> Grade {
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
#[must_use]
pub fn shown(points: &[Point], events: &[Interval]) -> Vec<bool> {
    points.iter().map(|point| events.iter().any(|(from, to)| (*from..=*to).contains(&point.time))).collect()
}

/// Precision and recall of the threshold of `trigger` over frames.
#[must_use]
pub fn frames(mut trigger: Trigger, points: &[Point], shown: &[bool]) -> Frames {
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

fn interval(points: &[Point]) -> SignedDuration {
    let mut gaps =
        points.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time)).collect::<Vec<_>>();
    gaps.retain(SignedDuration::is_positive);
    gaps.sort();
    gaps.get(gaps.len() / 2).copied().unwrap_or(SignedDuration::from_secs(1))
}

fn length(points: &[Point], usual: SignedDuration) -> SignedDuration {
    let long = usual.saturating_mul(10);
    let gaps = points.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time));
    gaps.map(|gap| if gap > long || gap.is_negative() { usual } else { gap })
        .fold(usual, SignedDuration::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

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
        let points = points(&[0.1, 0.7, 0.5, 0.3, 0.9, 0.9]);
        let recording = Recording::new(&points);
        let expected = [(at(1), at(3)), (at(4), at(5))];
        assert_eq!(recording.spans(Trigger::new(settings)), expected);
        let until = |last: i64| recording.spans_while(Trigger::new(settings), |from| from < at(last));
        assert_eq!((until(4), until(5).as_deref()), (None, Some(&expected[..])));
    }

    /// The spans of a trigger that counts every frame.
    fn of_every_frame(mut trigger: Trigger, points: &[Point]) -> Vec<Interval> {
        let mut spans: Vec<Interval> = vec![];
        for point in points {
            match trigger.update(point.score, point.time) {
                Some(Transition::Raised) => spans.push((point.time, Timestamp::MAX)),
                Some(Transition::Cleared) => spans.last_mut().unwrap().1 = point.time,
                None => {}
            }
        }
        if let Some(span) = spans.last_mut() {
            span.1 = span.1.min(points.last().unwrap().time);
        }
        spans
    }

    proptest! {
        #[test]
        fn blocks_that_are_skipped_change_nothing(
            parts in prop::collection::vec((0.0f32..1.0, 0.0f32..0.3, 1usize..200, -20i64..400), 1..12),
            threshold in 0.1f32..0.9,
            gap in 0.0f32..0.3,
            (frames, more) in (1u8..4, 0u8..4),
            (lasting, cooldown) in (0u64..20, 0u64..300),
        ) {
            let mut points = vec![];
            let mut second = 0;
            for (level, noise, count, step) in parts {
                second += step;
                for number in 0..count {
                    let score = (level + noise * (number % 7) as f32 / 7.0).min(1.0);
                    points.push(Point { time: at(second), score });
                    second += 1;
                }
            }
            let settings = TriggerSettings {
                threshold,
                clear_below: (threshold - gap).max(0.01),
                rises: false,
                hold: Hold { frames, of: frames + more },
                lasting: Duration::from_secs(lasting),
                cooldown: Duration::from_secs(cooldown),
            };
            let expected = of_every_frame(Trigger::new(settings), &points);
            prop_assert_eq!(Recording::new(&points).spans(Trigger::new(settings)), expected);
        }
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
        let length = |points: &[Point]| Recording::new(points).length();
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
        assert_eq!(Recording::new(&all).spans(trigger()), [(at(200), at(209))]);
        let shown: Vec<bool> = (0..210).map(|second| second >= 205).collect();
        assert_eq!(frames(trigger(), &all, &shown), Frames { precision: 0.5, recall: 1.0 });
    }
}
