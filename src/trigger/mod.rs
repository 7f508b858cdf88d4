//! The trigger: turns the scores of one label on one source into raised and cleared.
//!
//! Pure: a score and a time go in, at most one [`Transition`] comes out.
//!
//! The rules: raised and cleared alternate. A label is raised only when enough frames are at or above the threshold, for long
//! enough, and after the cooldown. [`Trigger::check`] says which of these gates holds. NaN is on neither side of any level. Times of
//! frames that jump back delay a raise by at most one cooldown, or by the required duration. Where the clock was set, the caller says
//! by how much.
//!
//! Where levels are rises over a [`Baseline`], the trigger learns the baseline from quiet frames: those on which the label is
//! not raised and whose score is below the threshold. Nothing is raised before the baseline is known. Baselines are learnt from
//! [rounded](rounding) scores, as the history stores them: judged again later, the same baselines result.

mod baseline;
mod gates;
mod presence;
pub mod rounding;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::{
    baseline::{Baseline, whole_milliseconds},
    gates::{Checks, GateKind, Gates, Learning},
    presence::Presence,
    state::{PresenceState, TriggerState},
};
use crate::policy::{Levels, TriggerSettings};

/// A change of a label's state on a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The label is present now.
    Raised,
    /// The label is no longer present.
    Cleared,
}

/// The state of one label on one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    settings: TriggerSettings,
    raised: bool,
    /// The newest frames, one bit each, the newest in the lowest: at or above the threshold.
    high: u64,
    /// The newest frames, one bit each, the newest in the lowest: below the clear level.
    low: u64,
    /// The time since which enough frames are at or above the threshold.
    agreed_since: Option<Timestamp>,
    last_raised: Option<Timestamp>,
    /// The threshold when it was raised last.
    raised_at: f32,
    /// The period of the baseline, where one is learnt.
    over: Option<Duration>,
    baseline: Option<Baseline>,
}

impl Trigger {
    /// A trigger without frames and without a baseline.
    #[must_use]
    pub fn new(settings: TriggerSettings) -> Self {
        Self {
            settings,
            raised: false,
            high: 0,
            low: 0,
            agreed_since: None,
            last_raised: None,
            raised_at: settings.threshold,
            over: None,
            baseline: None,
        }
    }

    /// The state from before a restart: when it was raised last, and whether it still is.
    #[must_use]
    pub fn restore(settings: TriggerSettings, raised: bool, last_raised: Timestamp) -> Self {
        Self { raised, last_raised: Some(last_raised), ..Self::new(settings) }
    }

    /// Learns a baseline over this period, starting with `baseline` if there is one. `None` learns none.
    #[must_use]
    pub fn with_baseline(self, over: Option<Duration>, baseline: Option<Baseline>) -> Self {
        Self { over, baseline: baseline.filter(|_| over.is_some()), ..self }
    }

    /// With other settings. The state stays: whether the label is raised, a running cooldown, and the baseline.
    #[must_use]
    pub fn with_settings(self, settings: TriggerSettings) -> Self {
        let levels = |settings: &TriggerSettings| (settings.rises, settings.threshold, settings.clear_below);
        let same_levels = levels(&settings) == levels(&self.settings);
        let changed = Self { settings, ..self };
        // The frames were compared with the old levels.
        if same_levels { changed } else { changed.without_frames() }
    }

    /// Without the frames that were counted: their scores mean something else now.
    #[must_use]
    pub fn without_frames(self) -> Self {
        Self { high: 0, low: 0, agreed_since: None, ..self }
    }

    /// Without being raised: the label was switched off. A running cooldown and the baseline stay.
    #[must_use]
    pub fn released(self) -> Self {
        Self { raised: false, ..self.without_frames() }
    }

    /// After the clock was set by this much: the times of earlier frames are moved with it, so that only time that has passed counts.
    pub fn clock_was_set(&mut self, by: SignedDuration) {
        for time in [&mut self.agreed_since, &mut self.last_raised].into_iter().flatten() {
            *time = baseline::moved(*time, by);
        }
        self.baseline = self.baseline.map(|baseline| baseline.moved(by));
    }

    /// Whether the label is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised
    }

    /// The time of the frame that raised it, while it is raised.
    #[must_use]
    pub fn raised_since(&self) -> Option<Timestamp> {
        self.last_raised.filter(|_| self.raised)
    }

    /// The period over which a baseline is learnt; `None` if none is.
    #[must_use]
    pub fn over(&self) -> Option<Duration> {
        self.over
    }

    /// The baseline, where one is learnt.
    #[must_use]
    pub fn baseline(&self) -> Option<Baseline> {
        self.baseline
    }

    /// The levels for the next frame; `None` while they are rises over a baseline that is not known yet.
    #[must_use]
    pub fn levels(&self) -> Option<Levels> {
        match self.baseline.and_then(Baseline::level) {
            _ if !self.settings.rises => Some(self.settings.levels()),
            Some(baseline) => Some(baseline::above(baseline, &self.settings)),
            // It was raised with other settings, or the baseline was lost: it is cleared at the level of that time.
            None if self.raised => {
                Some(baseline::above((self.raised_at - self.settings.threshold).max(0.0), &self.settings))
            }
            None => None,
        }
    }

    /// Whether frames with scores in this range, none of which was captured before the newest one, change nothing: neither whether the
    /// label is raised, nor what later frames do. They need not be counted.
    #[must_use]
    pub fn ignores(&self, lowest: f32, highest: f32) -> bool {
        // Where a baseline is learnt, each frame counts.
        let levels = self.levels().filter(|_| self.over.is_none());
        levels.is_some_and(|levels| match self.raised {
            true => lowest >= levels.clear_below && self.newest(self.low) == 0,
            false => highest < levels.threshold && self.newest(self.high) == 0,
        })
    }

    /// Counts the newest score and the time of its frame.
    pub fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        self.take(score, true, at)
    }

    /// Like [`Self::update`], outside the hours of the label: it is not raised, and is cleared as usual.
    pub fn update_inactive(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        self.take(score, false, at)
    }

    /// `may_raise`: outside its hours a label is not raised, and the frame does not count for it.
    fn take(&mut self, score: f32, may_raise: bool, at: Timestamp) -> Option<Transition> {
        let (levels, raised) = (self.levels(), self.raised);
        let counted = if may_raise || raised { score } else { f32::NAN };
        let unknown = Levels { threshold: f32::NAN, clear_below: f32::NAN };
        let transition = self.decide(counted, levels.unwrap_or(unknown), may_raise, at);
        let quiet = levels.is_none_or(|levels| score < levels.threshold);
        if quiet && !raised && !self.raised {
            self.learn(score, at);
        }
        transition
    }

    fn learn(&mut self, score: f32, at: Timestamp) {
        let Some(over) = self.over.filter(|_| score.is_finite()) else { return };
        let score = rounding::rounded(score);
        self.baseline = Some(match self.baseline {
            Some(baseline) => baseline.with(score, at, over),
            None => Baseline::new(score, at),
        });
    }

    fn decide(&mut self, score: f32, levels: Levels, may_raise: bool, at: Timestamp) -> Option<Transition> {
        self.high = self.high << 1 | u64::from(score >= levels.threshold);
        self.low = self.low << 1 | u64::from(score < levels.clear_below);
        self.last_raised = self.last_raised.map(|last| last.min(at));
        let since = self.agreed_since.map_or(at, |since| since.min(at));
        self.agreed_since = self.agree(self.high).then_some(since);

        if self.raised && self.agree(self.low) {
            self.raised = false;
            // Frames from before the change do not count for the next one.
            self.high = 0;
            self.agreed_since = None;
            return Some(Transition::Cleared);
        }
        if !self.raised && may_raise && self.lasted(at) && self.cooled_down(at) {
            self.raised = true;
            self.low = 0;
            self.last_raised = Some(at);
            self.raised_at = levels.threshold;
            return Some(Transition::Raised);
        }
        None
    }

    /// A bit for each of the newest frames that count.
    fn counted_frames(&self) -> u64 {
        u64::MAX >> (64 - u32::from(self.settings.hold.of.clamp(1, 64)))
    }

    fn agree(&self, frames: u64) -> bool {
        self.newest(frames) >= self.settings.hold.frames
    }

    /// How many of the newest frames have their bit set.
    fn newest(&self, frames: u64) -> u8 {
        u8::try_from((frames & self.counted_frames()).count_ones()).expect("64 bits")
    }

    /// Whether enough frames were at or above the threshold for long enough, up to this one.
    fn lasted(&self, at: Timestamp) -> bool {
        self.agreed_since.is_some_and(|since| at.duration_since(since) >= signed(self.settings.lasting))
    }

    fn cooled_down(&self, at: Timestamp) -> bool {
        self.last_raised.is_none_or(|last| at.duration_since(last) >= signed(self.settings.cooldown))
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
