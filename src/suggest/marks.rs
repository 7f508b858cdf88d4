//! What people marked as truth: when a label was in view.

use jiff::{SignedDuration, Timestamp};

use super::point::Interval;

/// A person's verdict on a moment of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedMoment {
    /// When the frame was captured.
    pub time: Timestamp,
    /// Whether the label was in view.
    pub is_right: bool,
}

/// How long a label is in view before and after a moment that is marked as right and had no alert.
pub const AROUND: SignedDuration = SignedDuration::from_secs(30);

/// The times at which a label was in view: its alerts, which are right unless they are marked as wrong, and the moments that are marked
/// as right. The marks are in the order in which they were given: of several on one alert the newest counts.
#[must_use]
pub fn events_of_marks(alerts: &[Interval], marks: &[MarkedMoment]) -> Vec<Interval> {
    let is_in = |mark: &MarkedMoment, (from, to): &Interval| (*from..=*to).contains(&mark.time);
    let is_right = |alert: &&Interval| {
        marks.iter().rev().find(|mark| is_in(mark, alert)).is_none_or(|mark| mark.is_right)
    };
    let missed = marks.iter().filter(|mark| mark.is_right && !alerts.iter().any(|alert| is_in(mark, alert)));
    let around = missed.map(|mark| {
        let moved = |by| mark.time.checked_add(by).unwrap_or(mark.time);
        (moved(-AROUND), moved(AROUND))
    });
    alerts.iter().filter(is_right).copied().chain(around).collect()
}

/// The intervals in order; overlapping ones are joined.
#[must_use]
pub fn joined(mut all: Vec<Interval>) -> Vec<Interval> {
    all.sort();
    let mut joined: Vec<Interval> = vec![];
    for (from, to) in all {
        match joined.last_mut().filter(|(_, end)| from <= *end) {
            Some((_, end)) => *end = to.max(*end),
            None => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_cases() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let intervals =
            |all: &[(i64, i64)]| all.iter().map(|(from, to)| (at(*from), at(*to))).collect::<Vec<_>>();
        type Case<'c> = (&'c str, &'c [(i64, bool)], &'c [(i64, i64)]);
        let cases: &[Case<'_>] = &[
            ("alerts are right", &[], &[(100, 110), (200, 210)]),
            ("one is wrong", &[(105, false)], &[(200, 210)]),
            ("the newest verdict counts", &[(105, false), (100, true)], &[(100, 110), (200, 210)]),
            (
                "a moment without an alert",
                &[(500, true), (600, false)],
                &[(100, 110), (200, 210), (470, 530)],
            ),
            (
                "moments that are near each other",
                &[(500, true), (540, true)],
                &[(100, 110), (200, 210), (470, 570)],
            ),
        ];
        for (name, marks, expected) in cases {
            let marks: Vec<_> = marks
                .iter()
                .map(|(time, is_right)| MarkedMoment { time: at(*time), is_right: *is_right })
                .collect();
            let events = events_of_marks(&intervals(&[(100, 110), (200, 210)]), &marks);
            assert_eq!(joined(events), intervals(expected), "{name}");
        }
    }
}
