//! The score that a label has on a source while nothing is to be seen: a slow running estimate, and the levels above it.
//!
//! The estimate is a weighted mean of the scores that it was given, in which a score counts less the longer ago it was, by a
//! factor of e for each `over`. What cameras do to it:
//!
//! - At the start it is the mean of all that was seen, and no level is above it before quiet frames stand for a fifth of `over`.
//! - No frame stands for more than a sixtieth of `over`, however long nothing was seen before it: a single frame that is out of
//!   line moves an estimate that is known by a thirteenth of the way at most, and falling by four.
//! - After a gap what was seen before counts less, but not for nothing: the estimate is still known, and follows sooner.
//! - It falls four times as fast as it rises: what is less than usual is not what is looked for.
//! - Frames that are repeated because nothing changed are time in which nothing changed, no more: ten of them in ten seconds
//!   are as one.
//! - Time that jumps back is no time at all.
//!
//! It refuses to decide which frames are quiet.

use std::time::Duration;

use jiff::Timestamp;

use crate::policy::{Levels, TriggerSettings};

/// The part of `over` that one frame stands for at most.
const FRAME: f64 = 1.0 / 60.0;
/// The part of `over` that must have been seen before the estimate is one.
const KNOWN: f64 = 1.0 / 5.0;
/// So many times as fast it falls.
const FALL: f64 = 4.0;
/// A rise is never less than this, however little is left up to 1.
const LEAST_RISE: f32 = 0.005;

/// What is known of a label's score on quiet frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    level: f64,
    /// What was seen, as a part of `over`; at most 1.
    weight: f64,
    /// The newest frame.
    at: Timestamp,
}

impl Baseline {
    /// The first quiet frame.
    pub(super) fn new(score: f32, at: Timestamp) -> Self {
        Self { level: score.into(), weight: 0.0, at }
    }

    /// As [`Self::parts`] told it; `None` if it never did.
    #[must_use]
    pub fn of_parts(level: f64, weight: f64, at: Timestamp) -> Option<Self> {
        let can_be = (-1.0..=1.0).contains(&level) && (0.0..=1.0).contains(&weight);
        can_be.then_some(Self { level, weight, at })
    }

    /// The estimate, how much was seen as a part of the time that it is estimated over, and the time of the newest frame.
    #[must_use]
    pub fn parts(self) -> (f64, f64, Timestamp) {
        (self.level, self.weight, self.at)
    }

    /// The estimate, once enough was seen.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub fn level(self) -> Option<f32> {
        (self.weight >= KNOWN - 1e-9).then_some(self.level as f32)
    }

    /// With one more quiet frame.
    pub(super) fn with(self, score: f32, at: Timestamp, over: Duration) -> Self {
        let past = at.duration_since(self.at).as_secs_f64() / over.as_secs_f64().max(1e-3);
        let part = past.clamp(0.0, FRAME);
        // What was seen before the gap, if there was one.
        let faded = self.weight * (part - past).min(0.0).exp();
        let weight = (faded.max(self.weight.min(KNOWN)) + part).min(1.0);
        let away = f64::from(score) - self.level;
        let gain = if weight > 0.0 { part / weight } else { 0.0 };
        let gain = if away < 0.0 { (FALL * gain).min(1.0) } else { gain };
        Self { level: self.level + gain * away, weight, at }
    }
}

/// The levels of a rule of rises over this baseline. The threshold is never more than half of what is left up to 1 above it:
/// a label whose score is high all day can still be raised.
pub(super) fn above(baseline: f32, rule: &TriggerSettings) -> Levels {
    let room = ((1.0 - baseline) / 2.0).max(LEAST_RISE);
    let part = (room / rule.threshold).min(1.0);
    Levels { threshold: baseline + rule.threshold * part, clear_below: baseline + rule.clear_below * part }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OVER: Duration = Duration::from_secs(600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A frame in each of these seconds, all with the same score.
    fn seen(score: f32, seconds: impl IntoIterator<Item = i64>) -> Baseline {
        let mut seconds = seconds.into_iter();
        let first = Baseline::new(score, at(seconds.next().unwrap()));
        seconds.fold(first, |baseline, second| baseline.with(score, at(second), OVER))
    }

    fn near(baseline: Baseline, expected: f64) -> bool {
        (baseline.level - expected).abs() < 1e-6
    }

    #[test]
    fn it_is_known_after_a_fifth_of_its_time_or_twelve_frames() {
        assert_eq!(seen(0.2, 0..120).level(), None);
        assert_eq!(seen(0.2, 0..121).level(), Some(0.2));
        let hourly = |frames: i64| seen(0.2, (0..frames).map(|frame| frame * 3600)).level();
        assert_eq!((hourly(12), hourly(13)), (None, Some(0.2)));
    }

    #[test]
    fn it_follows_in_its_time_and_falls_four_times_as_fast() {
        let steady = seen(0.2, 0..2000);
        let after = |score: f32, seconds: i64| {
            (2000..2000 + seconds).fold(steady, |it, second| it.with(score, at(second), OVER)).level
        };
        let e = 1.0 - (-1.0_f64).exp();
        assert!((after(0.6, 600) - (0.2 + 0.4 * e)).abs() < 1e-3, "{}", after(0.6, 600));
        assert!((after(0.0, 150) - (0.2 - 0.2 * e)).abs() < 1e-3, "{}", after(0.0, 150));
    }

    #[test]
    fn a_frame_after_a_night_is_one_frame_and_the_estimate_is_still_known() {
        let evening = seen(0.2, 0..2000);
        let morning = evening.with(0.9, at(50_000), OVER);
        assert!(near(morning, 0.2 + 0.7 / 13.0), "{morning:?}");
        assert_eq!(evening.with(0.2, at(50_000), OVER).level(), Some(0.2));
        let later = (1..200).fold(morning, |it, second| it.with(0.5, at(50_000 + second), OVER));
        assert!(later.level > 0.35, "it follows sooner: {later:?}");
    }

    #[test]
    fn repeated_frames_are_time_and_nothing_else() {
        let (quiet, change) = (seen(0.2, 0..2000), 0.5);
        let once = quiet.with(change, at(2009), OVER);
        let often = (2000..2010).fold(quiet, |it, second| it.with(change, at(second), OVER));
        assert!((once.level - often.level).abs() < 1e-4, "{once:?} {often:?}");
        let at_once = (0..1000).fold(once, |it, _| it.with(0.9, at(2009), OVER));
        assert_eq!(at_once, once, "no time, no evidence");
    }

    #[test]
    fn levels_are_above_it_and_within_reach() {
        let rule = TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
        let told = |baseline| {
            let Levels { threshold, clear_below } = above(baseline, &rule);
            (threshold, clear_below)
        };
        assert_eq!(told(0.0), (0.2, 0.1));
        assert_eq!(told(0.5), (0.7, 0.6));
        assert_eq!(told(0.8), (0.9, 0.85), "half of what is left");
        let (threshold, clear_below) = told(1.0);
        assert!(threshold > 1.0 && clear_below > 1.0, "nothing is above all");
    }

    #[test]
    fn parts_are_taken_back_and_nonsense_is_not() {
        let baseline = seen(0.2, 0..100);
        let (level, weight, time) = baseline.parts();
        assert_eq!(Baseline::of_parts(level, weight, time), Some(baseline));
        for (level, weight) in [(f64::NAN, 0.5), (0.5, f64::NAN), (2.0, 0.5), (0.5, -0.1), (0.5, 1.1)] {
            assert_eq!(Baseline::of_parts(level, weight, time), None);
        }
    }

    proptest! {
        #[test]
        fn it_stays_among_what_it_was_given_and_no_frame_moves_it_far(
            frames in prop::collection::vec((-100_000i64..100_000, 0.0f32..1.0), 1..200),
            over in 1u64..100_000,
        ) {
            let over = Duration::from_secs(over);
            let mut now = 0;
            let mut baseline = Baseline::new(frames[0].1, at(0));
            let (mut low, mut high) = (frames[0].1, frames[0].1);
            for (step, score) in frames {
                now += step;
                let before = baseline;
                baseline = before.with(score, at(now), over);
                (low, high) = (low.min(score), high.max(score));
                prop_assert!((f64::from(low) - 1e-6..=f64::from(high) + 1e-6).contains(&baseline.level));
                prop_assert!((0.0..=1.0).contains(&baseline.weight));
                let (moved, away) = (baseline.level - before.level, f64::from(score) - before.level);
                prop_assert!(moved * away >= 0.0, "towards the score");
                if before.level().is_some() {
                    prop_assert!(baseline.level().is_some(), "what is known stays known");
                    let most = if away < 0.0 { 4.0 / 13.0 } else { 1.0 / 13.0 };
                    prop_assert!(moved.abs() <= away.abs() * most + 1e-9);
                }
                if step <= 0 {
                    prop_assert_eq!(moved, 0.0, "time that jumps back is no time");
                }
            }
        }

        #[test]
        fn the_threshold_is_above_the_clear_level_above_the_baseline(
            baseline in 0.0f32..=1.0,
            rise in 0.001f32..=1.0,
            part in 0.0f32..=1.0,
        ) {
            let rule = TriggerSettings { rises: true, clear_below: rise * part, ..TriggerSettings::at(rise) };
            let Levels { threshold, clear_below } = above(baseline, &rule);
            prop_assert!(threshold >= clear_below && clear_below >= baseline);
            prop_assert!(threshold > baseline);
            prop_assert!(threshold <= baseline + rise);
        }
    }
}
