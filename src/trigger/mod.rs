//! What turns the scores of one label on one source into raised and cleared.
//!
//! Pure: a score and a time go in, at most one [`Transition`] comes out. It refuses to look at a clock, to know where
//! a score came from, or to tell anybody.
//!
//! Laws: a raise and a clear always take turns; nothing is raised while fewer frames than asked for agree, they have not
//! agreed for as long as asked for, or the cooldown runs; a score that is no number agrees with nobody; time that jumps back
//! delays a raise by one cooldown, or by the time that frames must agree, at most.
//!
//! Where levels are rises over a [`Baseline`], that is learnt here, since only here it is known which frames are quiet: those
//! at which the label is not raised, and that do not agree to raise it. Nothing is raised before the baseline is known.

mod baseline;
mod presence;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::{baseline::Baseline, presence::Presence};
use crate::policy::{Levels, TriggerSettings};

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
    rule: TriggerSettings,
    raised: bool,
    /// The newest frames, one bit each, the newest lowest: at or above the threshold.
    high: u64,
    /// Likewise: below the clear level.
    low: u64,
    /// Since when enough frames are at or above the threshold.
    agreed_since: Option<Timestamp>,
    last_raised: Option<Timestamp>,
    /// The threshold that it was raised at last.
    raised_at: f32,
    /// The time over which the baseline is estimated, where one is kept.
    over: Option<Duration>,
    baseline: Option<Baseline>,
}

impl Trigger {
    /// A trigger that has seen nothing yet, and keeps no baseline.
    #[must_use]
    pub fn new(rule: TriggerSettings) -> Self {
        Self {
            rule,
            raised: false,
            high: 0,
            low: 0,
            agreed_since: None,
            last_raised: None,
            raised_at: rule.threshold,
            over: None,
            baseline: None,
        }
    }

    /// Goes on after a restart: it was raised last at `last_raised`, and still is or not.
    #[must_use]
    pub fn recall(rule: TriggerSettings, raised: bool, last_raised: Timestamp) -> Self {
        Self { raised, last_raised: Some(last_raised), ..Self::new(rule) }
    }

    /// Keeps a baseline that is estimated over this time, and goes on with `baseline` if that is known; with `None` it keeps
    /// none.
    #[must_use]
    pub fn keeping(self, over: Option<Duration>, baseline: Option<Baseline>) -> Self {
        Self { over, baseline: baseline.filter(|_| over.is_some()), ..self }
    }

    /// Goes on under another rule: whether the label is raised stays, and so do a cooldown that runs and the baseline.
    #[must_use]
    pub fn under(self, rule: TriggerSettings) -> Self {
        let levels = |rule: &TriggerSettings| (rule.rises, rule.threshold, rule.clear_below);
        let same_levels = levels(&rule) == levels(&self.rule);
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

    /// What is known of the score while nothing is to be seen, where that is kept.
    #[must_use]
    pub fn baseline(&self) -> Option<Baseline> {
        self.baseline
    }

    /// The scores that the next frame is held to; `None` while they are rises over a baseline that is not known yet.
    #[must_use]
    pub fn levels(&self) -> Option<Levels> {
        let known = self.baseline.and_then(Baseline::level);
        match known {
            _ if !self.rule.rises => Some(self.rule.levels()),
            Some(baseline) => Some(baseline::above(baseline, &self.rule)),
            // It was raised under another rule, or the estimate was lost: it is cleared where it would have been then.
            None if self.raised => {
                Some(baseline::above((self.raised_at - self.rule.threshold).max(0.0), &self.rule))
            }
            None => None,
        }
    }

    /// Takes the newest score and the time of its frame.
    pub fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        self.take(score, score, at)
    }

    /// Likewise outside the hours of the label: the frame does not help to raise it; one that is raised is cleared as ever.
    pub fn update_asleep(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        self.take(score, if self.raised { score } else { f32::NAN }, at)
    }

    /// `counts` is the score as far as it may change the trigger.
    fn take(&mut self, score: f32, counts: f32, at: Timestamp) -> Option<Transition> {
        let (levels, raised) = (self.levels(), self.raised);
        let transition =
            self.decide(counts, levels.unwrap_or(Levels { threshold: f32::NAN, clear_below: f32::NAN }), at);
        let quiet = levels.is_none_or(|levels| score < levels.threshold);
        if quiet && !raised && !self.raised {
            self.learn(score, at);
        }
        transition
    }

    fn learn(&mut self, score: f32, at: Timestamp) {
        let Some(over) = self.over.filter(|_| score.is_finite()) else { return };
        self.baseline = Some(match self.baseline {
            Some(baseline) => baseline.with(score, at, over),
            None => Baseline::new(score, at),
        });
    }

    fn decide(&mut self, score: f32, levels: Levels, at: Timestamp) -> Option<Transition> {
        self.high = self.high << 1 | u64::from(score >= levels.threshold);
        self.low = self.low << 1 | u64::from(score < levels.clear_below);
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
            self.raised_at = levels.threshold;
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
