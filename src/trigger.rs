//! What turns the scores of one label on one source into raised and cleared.
//!
//! Pure: a score and a time go in, at most one [`Transition`] comes out. It refuses to look at a clock, to know where
//! a score came from, or to tell anybody.
//!
//! Laws: a raise and a clear always take turns; nothing is raised while fewer frames than asked for agree, they have not
//! agreed for as long as asked for, or the cooldown runs; a score that is no number agrees with nobody; time that jumps back
//! delays a raise by one cooldown, or by the time that frames must agree, at most.

mod presence;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::presence::Presence;
use crate::config::Rule;

/// What happened to a label on a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The label is there now.
    Raised,
    /// The label is no longer there.
    Cleared,
}

/// The state of one label on one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    rule: Rule,
    raised: bool,
    /// The newest frames, one bit each, the newest lowest: at or above the threshold.
    high: u64,
    /// Likewise: below the clear level.
    low: u64,
    /// Since when enough frames are at or above the threshold.
    agreed_since: Option<Timestamp>,
    last_raised: Option<Timestamp>,
}

impl Trigger {
    /// A trigger that has seen nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, raised: false, high: 0, low: 0, agreed_since: None, last_raised: None }
    }

    /// Goes on after a restart: it was raised last at `last_raised`, and still is or not.
    #[must_use]
    pub fn recall(rule: Rule, raised: bool, last_raised: Timestamp) -> Self {
        Self { raised, last_raised: Some(last_raised), ..Self::new(rule) }
    }

    /// Goes on under another rule: whether the label is raised stays, and so does a cooldown that runs.
    #[must_use]
    pub fn under(self, rule: Rule) -> Self {
        let same_levels = rule.threshold == self.rule.threshold && rule.clear_below == self.rule.clear_below;
        let went_on = Self { rule, ..self };
        // Which frames agreed was decided by the old levels, and says nothing about new ones.
        if same_levels { went_on } else { went_on.anew() }
    }

    /// Goes on, but which frames agreed is forgotten: their scores were of something else.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { high: 0, low: 0, agreed_since: None, ..self }
    }

    /// Whether the label is there now.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised
    }

    /// Takes the newest score and the time of its frame.
    pub fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        self.high = self.high << 1 | u64::from(score >= self.rule.threshold);
        self.low = self.low << 1 | u64::from(score < self.rule.clear_below);
        self.last_raised = self.last_raised.map(|last| last.min(at));
        let since = self.agreed_since.map_or(at, |since| since.min(at));
        self.agreed_since = self.agree(self.high).then_some(since);

        if self.raised && self.agree(self.low) {
            self.raised = false;
            // Frames from before the change said nothing about what comes after it.
            self.high = 0;
            self.agreed_since = None;
            return Some(Transition::Cleared);
        }
        if !self.raised && self.lasted(at) && self.cooled_down(at) {
            self.raised = true;
            self.low = 0;
            self.last_raised = Some(at);
            return Some(Transition::Raised);
        }
        None
    }

    fn agree(&self, frames: u64) -> bool {
        let newest = u64::MAX >> (64 - u32::from(self.rule.hold.of.clamp(1, 64)));
        (frames & newest).count_ones() >= u32::from(self.rule.hold.frames)
    }

    /// Whether enough frames agreed for long enough, up to this one.
    fn lasted(&self, at: Timestamp) -> bool {
        self.agreed_since.is_some_and(|since| at.duration_since(since) >= signed(self.rule.lasting))
    }

    fn cooled_down(&self, at: Timestamp) -> bool {
        self.last_raised.is_none_or(|last| at.duration_since(last) >= signed(self.rule.cooldown))
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Hold;

    const PLAIN: Rule = Rule {
        threshold: 0.6,
        clear_below: 0.4,
        hold: Hold { frames: 1, of: 1 },
        lasting: Duration::ZERO,
        cooldown: Duration::ZERO,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// One character a frame: `R` raised, `C` cleared, `.` nothing.
    fn told(rule: Rule, frames: &[(i64, f32)]) -> String {
        let mut trigger = Trigger::new(rule);
        let letter = |(second, score)| match trigger.update(score, at(second)) {
            Some(Transition::Raised) => 'R',
            Some(Transition::Cleared) => 'C',
            None => '.',
        };
        frames.iter().copied().map(letter).collect()
    }

    fn every_second(scores: &[f32]) -> Vec<(i64, f32)> {
        (0..).zip(scores.iter().copied()).collect()
    }

    #[test]
    fn a_table_of_cases() {
        let hold = |frames, of| Rule { hold: Hold { frames, of }, ..PLAIN };
        let cases: &[(&str, Rule, &[f32], &str)] = &[
            ("nothing on empty", PLAIN, &[], ""),
            ("the threshold itself counts", PLAIN, &[0.59, 0.6], ".R"),
            ("raised once while it stays", PLAIN, &[0.7, 0.9, 0.8], "R.."),
            ("between the levels nothing changes", PLAIN, &[0.5, 0.7, 0.5, 0.4, 0.39, 0.5, 0.6], ".R..C.R"),
            ("no number agrees with nobody", PLAIN, &[f32::NAN, 0.7, f32::NAN, 0.1], ".R.C"),
            ("2 of 3: one frame is not enough", hold(2, 3), &[0.9, 0.1, 0.1, 0.9, 0.1], "....."),
            ("2 of 3: two of the newest three", hold(2, 3), &[0.9, 0.1, 0.9, 0.9], "..R."),
            (
                "2 of 3: a raise starts the count of low frames anew",
                hold(2, 3),
                &[0.1, 0.9, 0.9, 0.1, 0.1],
                "..R.C",
            ),
            (
                "2 of 3: a clear starts the count of high frames anew",
                hold(2, 3),
                &[0.9, 0.9, 0.1, 0.1, 0.9, 0.9],
                ".R.C.R",
            ),
            ("3 of 3", hold(3, 3), &[0.9, 0.9, 0.1, 0.9, 0.9, 0.9], ".....R"),
            ("64 of 64 is the longest memory", hold(64, 64), &[0.9; 65], &format!("{}R.", ".".repeat(63))),
        ];
        for (name, rule, scores, expected) in cases {
            assert_eq!(told(*rule, &every_second(scores)), *expected, "{name}");
        }
    }

    #[test]
    fn a_cooldown_delays_the_next_raise_but_never_a_clear() {
        let rule = Rule { cooldown: Duration::from_secs(10), ..PLAIN };
        assert_eq!(told(rule, &[(0, 0.9), (1, 0.1), (5, 0.9), (9, 0.9), (10, 0.9), (11, 0.1)]), "RC..RC");
    }

    #[test]
    fn frames_must_agree_for_as_long_as_asked_for() {
        let rule = Rule { lasting: Duration::from_secs(10), ..PLAIN };
        let year = -365 * 24 * 3600;
        type Case<'a> = (&'a str, &'a [(i64, f32)], &'a str);
        let cases: &[Case] = &[
            ("to the second", &[(0, 0.9), (9, 0.9), (10, 0.9)], "..R"),
            (
                "a frame that does not agree begins anew",
                &[(0, 0.9), (5, 0.5), (9, 0.9), (18, 0.9), (19, 0.9)],
                "....R",
            ),
            ("a clear takes no time", &[(0, 0.9), (10, 0.9), (11, 0.1)], ".RC"),
            (
                "after a clear anew",
                &[(0, 0.9), (10, 0.9), (11, 0.1), (12, 0.9), (21, 0.9), (22, 0.9)],
                ".RC..R",
            ),
            ("time that jumps back", &[(0, 0.9), (year, 0.9), (year + 9, 0.9), (year + 10, 0.9)], "...R"),
        ];
        for (name, frames, expected) in cases {
            assert_eq!(told(rule, frames), *expected, "{name}");
        }
    }

    #[test]
    fn time_that_jumps_back_delays_by_one_cooldown_at_most() {
        let rule = Rule { cooldown: Duration::from_secs(10), ..PLAIN };
        let year = -365 * 24 * 3600;
        assert_eq!(
            told(rule, &[(0, 0.9), (1, 0.1), (year, 0.9), (year + 9, 0.9), (year + 10, 0.9)]),
            "RC..R"
        );
    }

    #[test]
    fn a_restart_neither_raises_again_nor_ends_a_cooldown() {
        let rule = Rule { cooldown: Duration::from_secs(10), ..PLAIN };
        let mut raised = Trigger::recall(rule, true, at(0));
        assert_eq!(
            [raised.update(0.9, at(20)), raised.update(0.1, at(21))],
            [None, Some(Transition::Cleared)]
        );
        let mut cleared = Trigger::recall(rule, false, at(0));
        assert_eq!(
            [cleared.update(0.9, at(9)), cleared.update(0.9, at(10))],
            [None, Some(Transition::Raised)]
        );
    }

    /// Frames under one rule, then frames under another.
    fn told_under(first: Rule, frames: &[f32], second: Rule, more: &[f32]) -> String {
        let mut trigger = Trigger::new(first);
        let mut told = String::new();
        for (second_rule, frames) in [(first, frames), (second, more)] {
            trigger = trigger.under(second_rule);
            for score in frames {
                let before = trigger.is_raised();
                let transition = trigger.update(*score, at(told.len() as i64));
                assert_eq!(transition.is_some(), before != trigger.is_raised());
                told.push(transition.map_or('.', |to| if to == Transition::Raised { 'R' } else { 'C' }));
            }
        }
        told
    }

    #[test]
    fn another_rule_keeps_what_is_raised() {
        let hold = |frames, of| Rule { hold: Hold { frames, of }, ..PLAIN };
        let stricter = Rule { threshold: 0.8, clear_below: 0.7, ..PLAIN };
        let cooldown = |seconds| Rule { cooldown: Duration::from_secs(seconds), ..PLAIN };
        type Case<'a> = (&'a str, Rule, &'a [f32], Rule, &'a [f32], &'a str);
        let cases: &[Case] = &[
            ("raised stays raised", PLAIN, &[0.9], stricter, &[0.9, 0.75], "R.."),
            ("the new clear level counts", PLAIN, &[0.9], stricter, &[0.6], "RC"),
            ("the new threshold counts", PLAIN, &[0.1], stricter, &[0.7, 0.8], "..R"),
            (
                "agreement under other levels is forgotten",
                hold(2, 2),
                &[0.7],
                Rule { threshold: 0.65, ..hold(2, 2) },
                &[0.7, 0.7],
                "..R",
            ),
            ("agreement under the same levels is kept", hold(2, 2), &[0.7], hold(2, 3), &[0.7], ".R"),
            ("a cooldown that runs is kept", cooldown(9), &[0.9, 0.1], cooldown(3), &[0.9, 0.9], "RC.R"),
        ];
        for (name, first, frames, second, more, expected) in cases {
            assert_eq!(told_under(*first, frames, *second, more), *expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn raised_and_cleared_take_turns_and_conditions_hold(
            frames in prop::collection::vec((-20i64..20, 0.0f32..1.0), 0..200),
            (of, k) in (1u8..=8).prop_flat_map(|of| (Just(of), 1..=of)),
            cooldown in 0u64..30,
            lasting in 0u64..20,
        ) {
            let rule = Rule {
                hold: Hold { frames: k, of },
                lasting: Duration::from_secs(lasting),
                cooldown: Duration::from_secs(cooldown),
                ..PLAIN
            };
            let mut trigger = Trigger::new(rule);
            let (mut now, mut expected, mut raised_at) = (0, Transition::Raised, None);
            let mut times = vec![];
            for (seen, (step, score)) in frames.iter().copied().enumerate() {
                now += step;
                times.push(now);
                raised_at = raised_at.map(|raised: i64| raised.min(now));
                let Some(transition) = trigger.update(score, at(now)) else { continue };
                prop_assert_eq!(transition, expected);
                let agreed = |seen: usize| {
                    let newest = &frames[(seen + 1).saturating_sub(usize::from(of))..=seen];
                    let agreeing = newest.iter().filter(|(_, score)| match transition {
                        Transition::Raised => *score >= rule.threshold,
                        Transition::Cleared => *score < rule.clear_below,
                    });
                    agreeing.count() >= usize::from(k)
                };
                prop_assert!(agreed(seen));
                if transition == Transition::Raised {
                    let mut since = (0..=seen).rev().take_while(|seen| agreed(*seen)).map(|seen| times[seen]);
                    prop_assert!(since.any(|since| now - since >= i64::try_from(lasting).unwrap()));
                    prop_assert!(raised_at.is_none_or(|raised| now - raised >= i64::try_from(cooldown).unwrap()));
                    raised_at = Some(now);
                }
                expected = match transition {
                    Transition::Raised => Transition::Cleared,
                    Transition::Cleared => Transition::Raised,
                };
            }
        }

        /// A restart may come at any frame. Whoever goes on knows only whether the label is raised, and when it was raised last:
        /// raised and cleared take turns all the same, a cooldown is kept, and nothing is raised sooner than without the restart.
        #[test]
        fn a_restart_at_any_time_breaks_no_law(
            frames in prop::collection::vec((0i64..20, 0.0f32..1.0, prop::bool::weighted(0.2)), 0..200),
            (of, k) in (1u8..=4).prop_flat_map(|of| (Just(of), 1..=of)),
            cooldown in 0u64..30,
            lasting in 0u64..20,
        ) {
            let rule = Rule {
                hold: Hold { frames: k, of },
                lasting: Duration::from_secs(lasting),
                cooldown: Duration::from_secs(cooldown),
                ..PLAIN
            };
            let mut trigger = Trigger::new(rule);
            let (mut now, mut raised, mut last_raised, mut since_restart) = (0, false, None, vec![]);
            for (step, score, restart) in frames {
                now += step;
                if restart {
                    trigger = match last_raised {
                        Some(last) => Trigger::recall(rule, raised, at(last)),
                        // Nothing was told, so nothing is remembered.
                        None => Trigger::new(rule),
                    };
                    since_restart.clear();
                }
                prop_assert_eq!(trigger.is_raised(), raised);
                since_restart.push((now, score));
                let Some(transition) = trigger.update(score, at(now)) else { continue };
                prop_assert_eq!(transition == Transition::Raised, !raised);
                raised = !raised;
                let newest = since_restart.iter().rev().take(usize::from(of));
                let agreeing = newest.filter(|(_, score)| match transition {
                    Transition::Raised => *score >= rule.threshold,
                    Transition::Cleared => *score < rule.clear_below,
                });
                prop_assert!(agreeing.count() >= usize::from(k), "frames of before the restart do not count");
                if raised {
                    let cooled = |last: i64| now - last >= i64::try_from(cooldown).unwrap();
                    prop_assert!(last_raised.is_none_or(cooled));
                    let first = since_restart.iter().find(|(_, score)| *score >= rule.threshold);
                    prop_assert!(first.is_some_and(|(since, _)| now - since >= i64::try_from(lasting).unwrap()));
                    last_raised = Some(now);
                }
            }
        }
    }
}
