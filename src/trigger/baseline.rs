//! The baseline: the usual score of a label on a source while the label is absent, as a slow running estimate.
//!
//! The estimate is a weighted mean of scores on quiet frames. The weight of a score decays by a factor of e for each period
//! (`over`). These rules cope with what cameras do:
//!
//! - At the start the estimate is the mean of all scores. It counts as known once its frames cover a fifth of the period.
//! - A frame covers the time since the frame before it, but at most a sixtieth of the period. A single outlier therefore moves
//!   a known estimate by at most a thirteenth of the difference, or four times that downwards.
//! - After a gap, earlier scores have less weight, but not none: the estimate is still known, and adapts sooner.
//! - The estimate falls four times as fast as it rises, because a score below the usual is not what a label looks for.
//! - Repeated frames add only the time that they cover: ten in ten seconds equal one.
//! - Time that jumps back counts as no time.
//!
//! Which frames are quiet is decided by the trigger.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::policy::{Levels, TriggerSettings};

/// The part of the period that one frame covers at most.
const FRAME: f64 = 1.0 / 60.0;
/// The part of the period that must be covered before the estimate is known.
const KNOWN: f64 = 1.0 / 5.0;
/// The factor by which the estimate falls faster than it rises.
const FALL: f64 = 4.0;
/// The least rise, however little is left up to 1.
const LEAST_RISE: f32 = 0.005;

/// The usual score of a label on quiet frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Baseline {
    level: f64,
    /// The part of the period that is covered; at most 1.
    weight: f64,
    /// The time of the newest frame.
    at: Timestamp,
}

/// A baseline as it is stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    level: f64,
    weight: f64,
    at: Timestamp,
}

impl TryFrom<Stored> for Baseline {
    type Error = &'static str;

    fn try_from(Stored { level, weight, at }: Stored) -> Result<Self, Self::Error> {
        Self::of_parts(level, weight, whole_milliseconds(at)).ok_or("a baseline is out of range")
    }
}

impl Baseline {
    /// From the first quiet frame.
    pub(super) fn new(score: f32, at: Timestamp) -> Self {
        Self { level: score.into(), weight: 0.0, at }
    }

    /// The estimate, the part of the period that is covered, and the time of the newest frame.
    #[must_use]
    pub fn parts(self) -> (f64, f64, Timestamp) {
        (self.level, self.weight, self.at)
    }

    /// A baseline of its [`parts`](Self::parts); `None` if one of them is out of range.
    #[must_use]
    pub fn of_parts(level: f64, weight: f64, at: Timestamp) -> Option<Self> {
        let valid = (-1.0..=1.0).contains(&level) && (0.0..=1.0).contains(&weight);
        valid.then_some(Self { level, weight, at })
    }

    /// The estimate, once it is known.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub fn level(self) -> Option<f32> {
        (self.weight >= KNOWN - 1e-9).then_some(self.level as f32)
    }

    /// After the clock was set by this much.
    pub(super) fn moved(self, by: SignedDuration) -> Self {
        Self { at: moved(self.at, by), ..self }
    }

    /// After one more quiet frame; `over` is the period.
    pub(super) fn with(self, score: f32, at: Timestamp, over: Duration) -> Self {
        let past = at.duration_since(self.at).as_secs_f64() / over.as_secs_f64().max(1e-3);
        let part = past.clamp(0.0, FRAME);
        // The weight of earlier scores after the gap, if there was one.
        let faded = self.weight * (part - past).min(0.0).exp();
        let weight = (faded.max(self.weight.min(KNOWN)) + part).min(1.0);
        let away = f64::from(score) - self.level;
        let gain = if weight > 0.0 { part / weight } else { 0.0 };
        let gain = if away < 0.0 { (FALL * gain).min(1.0) } else { gain };
        Self { level: self.level + gain * away, weight, at }
    }
}

/// The time without what is less than a millisecond. The triggers of the service count in whole milliseconds, which is how times
/// are stored: with stored times the same triggers decide the same.
#[must_use]
pub fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// `time` after the clock was set by this much.
pub(super) fn moved(time: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    time.checked_add(by).unwrap_or(end)
}

/// What is missing until the baseline is known: at least this number of frames, and this part of the period.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 12")]
pub(super) fn missing(baseline: Option<Baseline>) -> (u32, f64) {
    let part = KNOWN - baseline.map_or(0.0, |baseline| baseline.weight);
    if part < 1e-9 {
        return (0, 0.0);
    }
    // The first frame covers no time.
    let frames = (part / FRAME - 1e-9).ceil() as u32 + u32::from(baseline.is_none());
    (frames, part)
}

/// The levels over this baseline, where those of `settings` are rises. The threshold is at most half of what is left up to 1 above
/// the baseline, so that a label with a high usual score can still be raised.
pub(super) fn above(baseline: f32, settings: &TriggerSettings) -> Levels {
    let room = ((1.0 - baseline) / 2.0).max(LEAST_RISE);
    let part = (room / settings.threshold).min(1.0);
    Levels {
        threshold: baseline + settings.threshold * part,
        clear_below: baseline + settings.clear_below * part,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::tests::at;

    const OVER: Duration = Duration::from_secs(600);

    /// The baseline after a frame in each of these seconds, all with the same score.
    fn seen(score: f32, seconds: impl IntoIterator<Item = i64>) -> Baseline {
        let mut seconds = seconds.into_iter();
        let first = Baseline::new(score, at(seconds.next().unwrap()));
        seconds.fold(first, |baseline, second| baseline.with(score, at(second), OVER))
    }

    fn near(baseline: Baseline, expected: f64) -> bool {
        (baseline.level - expected).abs() < 1e-6
    }

    #[test]
    fn it_is_known_after_a_fifth_of_the_period_or_twelve_frames() {
        assert_eq!(seen(0.2, 0..120).level(), None);
        assert_eq!(seen(0.2, 0..121).level(), Some(0.2));
        let hourly = |frames: i64| seen(0.2, (0..frames).map(|frame| frame * 3600)).level();
        assert_eq!((hourly(12), hourly(13)), (None, Some(0.2)));
    }

    #[test]
    fn it_adapts_within_the_period_and_falls_four_times_as_fast() {
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
        assert!(later.level > 0.35, "it adapts sooner: {later:?}");
    }

    #[test]
    fn repeated_frames_count_only_the_time_that_they_cover() {
        let (quiet, change) = (seen(0.2, 0..2000), 0.5);
        let once = quiet.with(change, at(2009), OVER);
        let often = (2000..2010).fold(quiet, |it, second| it.with(change, at(second), OVER));
        assert!((once.level - often.level).abs() < 1e-4, "{once:?} {often:?}");
        let at_once = (0..1000).fold(once, |it, _| it.with(0.9, at(2009), OVER));
        assert_eq!(at_once, once, "no time passed");
    }

    #[test]
    fn levels_are_above_it_and_within_reach() {
        let settings = TriggerSettings { rises: true, clear_below: 0.1, ..TriggerSettings::at(0.2) };
        let levels = |baseline| {
            let Levels { threshold, clear_below } = above(baseline, &settings);
            (threshold, clear_below)
        };
        assert_eq!(levels(0.0), (0.2, 0.1));
        assert_eq!(levels(0.5), (0.7, 0.6));
        assert_eq!(levels(0.8), (0.9, 0.85), "half of what is left");
        let (threshold, clear_below) = levels(1.0);
        assert!(threshold > 1.0 && clear_below > 1.0, "no score is above both");
    }

    #[test]
    fn a_stored_baseline_is_restored_exactly_and_a_damaged_one_is_rejected() {
        let baseline = seen(0.2, 0..100);
        let json = serde_json::to_string(&baseline).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&json).unwrap(), baseline);
        let stored = |level, weight, at: &str| {
            serde_json::from_str::<Baseline>(&format!(r#"{{"level":{level},"weight":{weight},"at":"{at}"}}"#))
        };
        let time = "2026-11-23T08:00:00.125Z";
        assert_eq!(
            serde_json::to_string(&stored("0.25", "0.5", time).unwrap()).unwrap(),
            format!(r#"{{"level":0.25,"weight":0.5,"at":"{time}"}}"#)
        );
        for (level, weight, at) in [
            ("null", "0.5", time),
            ("2.0", "0.5", time),
            ("0.5", "-0.1", time),
            ("0.5", "1.1", time),
            ("0.5", "0.5", "x"),
        ] {
            assert!(stored(level, weight, at).is_err(), "{level} {weight} {at}");
        }
    }

    proptest! {
        #[test]
        fn it_stays_between_the_scores_and_no_frame_moves_it_far(
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
                    prop_assert!(baseline.level().is_some(), "a known estimate stays known");
                    let most = if away < 0.0 { 4.0 / 13.0 } else { 1.0 / 13.0 };
                    prop_assert!(moved.abs() <= away.abs() * most + 1e-9);
                }
                if step <= 0 {
                    prop_assert_eq!(moved, 0.0, "time that jumps back counts as no time");
                }
            }
        }

        #[test]
        fn the_threshold_is_above_the_clear_level_above_the_baseline(
            baseline in 0.0f32..=1.0,
            rise in 0.001f32..=1.0,
            part in 0.0f32..=1.0,
        ) {
            let settings = TriggerSettings { rises: true, clear_below: rise * part, ..TriggerSettings::at(rise) };
            let Levels { threshold, clear_below } = above(baseline, &settings);
            prop_assert!(threshold >= clear_below && clear_below >= baseline);
            prop_assert!(threshold > baseline);
            prop_assert!(threshold <= baseline + rise);
        }
    }
}
