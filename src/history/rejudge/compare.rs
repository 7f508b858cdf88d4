//! Compares the alerts of settings that are tried with those of the service, and with what people said about them. Pure.
//!
//! An alert is kept if it has a moment in common with an alert of the service that no earlier alert keeps, and new otherwise: a second
//! alert within one alert of the service is new. An alert of the service is lost if the label is raised at no time of it: if two of them
//! become one alert, that one is kept and nothing is lost.
//!
//! A verdict on a moment counts for the alert in whose time the moment is. An alert without one, kept or new, has that of the alerts of
//! the service with which it has a moment in common: the verdict on the last of them that has one.

use std::ops::Range;

use jiff::Timestamp;

use super::trial::RaisedSpan;
use crate::suggest::MarkedMoment;

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The service raised it, too.
    Kept,
    /// Only the settings that are tried raise it.
    New,
    /// Only the service raised it.
    Lost,
}

/// An alert, and how it compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// When it was raised, and until when.
    pub span: RaisedSpan,
    /// What became of it.
    pub difference: Difference,
    /// When the service raised it: its own time, or that of the alert which is kept. `None` if it is new, or was raised before the
    /// window.
    pub raised_at: Option<Timestamp>,
    /// What a person said about it.
    pub is_right: Option<bool>,
}

/// How many alerts there are, and what people said about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Marked as right.
    pub right: u64,
    /// Marked as wrong.
    pub wrong: u64,
    /// Without a mark.
    pub unmarked: u64,
}

impl Counted {
    /// Counts the alerts of the list for which `is_counted` is true.
    pub fn of(alerts: &[Compared], is_counted: impl Fn(&Compared) -> bool) -> Self {
        let mut counted = Self::default();
        for alert in alerts.iter().filter(|alert| is_counted(alert)) {
            *match alert.is_right {
                Some(true) => &mut counted.right,
                Some(false) => &mut counted.wrong,
                None => &mut counted.unmarked,
            } += 1;
        }
        counted
    }
}

/// The alerts of the settings that are tried (`then`), and those of the service (`now`), each in the order of time. The spans are in
/// the order of time, and so are the verdicts in the order in which they were given: of several, the newest counts.
#[must_use]
pub fn compare(
    now: &[RaisedSpan],
    then: &[RaisedSpan],
    marks: &[MarkedMoment],
) -> (Vec<Compared>, Vec<Compared>) {
    let marks = Marks::new(marks);
    let mut kept = vec![false; now.len()];
    let mut tried = Vec::with_capacity(then.len());
    for span in then {
        let same = overlapping(now, span);
        let counterpart = same.clone().find(|at| !kept[*at]);
        // A second alert for the same alert of the service is a new one.
        let difference = if counterpart.is_some() { Difference::Kept } else { Difference::New };
        if let Some(at) = counterpart {
            kept[at] = true;
        }
        let raised_at = counterpart.map(|at| now[at]).filter(|span| span.is_alert).map(|span| span.from);
        let of_counterparts = || now[same].iter().rev().find_map(|other| marks.verdict(other));
        let is_right = marks.verdict(span).or_else(of_counterparts);
        tried.push(Compared { span: *span, difference, raised_at, is_right });
    }
    let recorded = now.iter().map(|span| {
        let is_lost = overlapping(then, span).is_empty();
        let difference = if is_lost { Difference::Lost } else { Difference::Kept };
        let raised_at = span.is_alert.then_some(span.from);
        Compared { span: *span, difference, raised_at, is_right: marks.verdict(span) }
    });
    let recorded = recorded.collect::<Vec<_>>();
    let alerts = |all: Vec<Compared>| all.into_iter().filter(|alert| alert.span.is_alert).collect();
    (alerts(tried), alerts(recorded))
}

/// The places of the spans, which are in the order of time, that have a moment in common with `other`.
fn overlapping(spans: &[RaisedSpan], other: &RaisedSpan) -> Range<usize> {
    let first = spans.partition_point(|span| span.until < other.from);
    let count = spans[first..].partition_point(|span| span.from <= other.until);
    first..first + count
}

/// Verdicts in the order of their moments, with the order in which they were given.
struct Marks(Vec<(Timestamp, usize, bool)>);

impl Marks {
    fn new(marks: &[MarkedMoment]) -> Self {
        let numbered = marks.iter().enumerate().map(|(number, mark)| (mark.time, number, mark.is_right));
        let mut all: Vec<_> = numbered.collect();
        all.sort_unstable();
        Self(all)
    }

    /// The newest verdict on a moment of the span.
    fn verdict(&self, span: &RaisedSpan) -> Option<bool> {
        let first = self.0.partition_point(|(time, ..)| *time < span.from);
        let inside = self.0[first..].iter().take_while(|(time, ..)| *time <= span.until);
        inside.max_by_key(|(_, number, _)| *number).map(|(.., is_right)| *is_right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spans(times: &[(i64, i64)]) -> Vec<RaisedSpan> {
        let span = |(from, until): &(i64, i64)| RaisedSpan {
            from: at(*from),
            until: at(*until),
            is_cleared: true,
            is_alert: true,
            score: 0.9,
            threshold: 0.5,
        };
        times.iter().map(span).collect()
    }

    /// The alerts of both lists: `kept@10+` is kept, the service raised it at 10, and it is right.
    fn compared(now: &[(i64, i64)], then: &[(i64, i64)], marks: &[(i64, bool)]) -> [String; 2] {
        let marks: Vec<_> = marks
            .iter()
            .map(|(time, is_right)| MarkedMoment { time: at(*time), is_right: *is_right })
            .collect();
        let (tried, recorded) = compare(&spans(now), &spans(then), &marks);
        [tried, recorded].map(|alerts| {
            let words = alerts.iter().map(|alert| {
                let word = match alert.difference {
                    Difference::Kept => "kept",
                    Difference::New => "new",
                    Difference::Lost => "lost",
                };
                let time = alert.raised_at.map_or(String::new(), |time| format!("@{}", time.as_second()));
                let mark = alert.is_right.map_or("", |is_right| if is_right { "+" } else { "-" });
                format!("{word}{time}{mark}")
            });
            words.collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn a_table_of_cases() {
        type Case<'c> = (&'c str, &'c [(i64, i64)], &'c [(i64, i64)], &'c [(i64, bool)], [&'c str; 2]);
        let cases: &[Case<'_>] = &[
            ("nothing", &[], &[], &[(5, true)], ["", ""]),
            ("the same", &[(10, 20)], &[(10, 20)], &[(10, true)], ["kept@10+", "kept@10+"]),
            ("earlier and longer", &[(10, 20)], &[(8, 25)], &[(10, false)], ["kept@10-", "kept@10-"]),
            (
                "later, and marked before that",
                &[(10, 20)],
                &[(15, 20)],
                &[(10, true)],
                ["kept@10+", "kept@10+"],
            ),
            ("only now", &[(10, 20)], &[], &[(10, true)], ["", "lost@10+"]),
            ("only then, and marked", &[], &[(10, 20)], &[(12, false)], ["new-", ""]),
            ("they touch", &[(10, 20)], &[(20, 30)], &[], ["kept@10", "kept@10"]),
            (
                "one becomes two",
                &[(10, 40)],
                &[(10, 15), (30, 40)],
                &[(10, true)],
                ["kept@10+ new+", "kept@10+"],
            ),
            ("two become one", &[(10, 15), (30, 40)], &[(8, 50)], &[], ["kept@10", "kept@10 kept@30"]),
            (
                "the newest of several verdicts",
                &[(10, 20)],
                &[(10, 20)],
                &[(15, true), (12, false)],
                ["kept@10-", "kept@10-"],
            ),
            (
                "each its own",
                &[(10, 20), (50, 60), (90, 95)],
                &[(10, 20), (70, 80), (92, 93)],
                &[(50, true), (75, false)],
                ["kept@10 new- kept@90", "kept@10 lost@50+ kept@90"],
            ),
        ];
        for (name, now, then, marks, expected) in cases {
            assert_eq!(compared(now, then, marks), expected.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn what_was_raised_before_the_window_is_no_alert() {
        let mut now = spans(&[(10, 20)]);
        now[0].is_alert = false;
        let then = spans(&[(12, 15), (30, 31)]);
        let marks = [MarkedMoment { time: at(13), is_right: true }];
        let (tried, recorded) = compare(&now, &then, &marks);
        assert_eq!(recorded, []);
        let differences: Vec<_> = tried.iter().map(|alert| (alert.difference, alert.raised_at)).collect();
        assert_eq!(differences, [(Difference::Kept, None), (Difference::New, None)]);
        assert_eq!(Counted::of(&tried, |_| true), Counted { right: 1, wrong: 0, unmarked: 1 });
        let new = Counted::of(&tried, |alert| alert.difference == Difference::New);
        assert_eq!(new, Counted { unmarked: 1, ..Counted::default() });
    }
}
