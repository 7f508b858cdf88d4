//! The state of a trigger as plain values, for the history: a trigger of the same settings continues from it exactly.

use jiff::Timestamp;

use super::{Baseline, Presence, Trigger, whole_milliseconds};

/// What a [`Trigger`] has counted. Times are whole milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TriggerState {
    /// Whether the label is raised.
    pub raised: bool,
    /// Which of the newest frames were at or above the threshold, the newest in the lowest bit.
    pub high: u64,
    /// Which of the newest frames were below the clear level, the newest in the lowest bit.
    pub low: u64,
    /// The time since which enough frames are at or above the threshold.
    pub agreed_since: Option<Timestamp>,
    /// When it was raised last.
    pub last_raised: Option<Timestamp>,
    /// The threshold when it was raised last.
    pub raised_at: f32,
    /// The baseline, where one is learnt.
    pub baseline: Option<Baseline>,
}

/// What a [`Presence`] has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PresenceState {
    /// Whether the label is present, if that was certain once.
    pub present: bool,
    /// Which of the newest frames were at or above the threshold, the newest in the lowest bit.
    pub high: u64,
    /// Which of the newest frames were below the clear level, the newest in the lowest bit.
    pub low: u64,
    /// The time since which enough frames are at or above the threshold.
    pub agreed_since: Option<Timestamp>,
    /// The number of frames, up to the number that the settings require.
    pub seen: u8,
    /// Whether the label is present was certain once.
    pub known: bool,
}

impl Trigger {
    /// The state without the frames that no longer count.
    #[must_use]
    pub fn state(&self) -> TriggerState {
        let counted = self.counted_frames();
        TriggerState {
            raised: self.raised,
            high: self.high & counted,
            low: self.low & counted,
            agreed_since: self.agreed_since.map(whole_milliseconds),
            last_raised: self.last_raised.map(whole_milliseconds),
            raised_at: self.raised_at,
            baseline: self.baseline,
        }
    }

    /// Continues from this state.
    pub fn resume(&mut self, state: &TriggerState) {
        let TriggerState { raised, high, low, agreed_since, last_raised, raised_at, baseline } = *state;
        let (settings, over) = (self.settings, self.over);
        let baseline = baseline.filter(|_| over.is_some());
        *self = Self { settings, raised, high, low, agreed_since, last_raised, raised_at, over, baseline };
    }

    /// After a restart of the service: only whether it is raised, its cooldown and its baseline are known.
    #[must_use]
    pub fn restarted(self) -> Self {
        let new = Self::new(self.settings);
        let (raised, last_raised) = (self.raised, self.last_raised);
        Self { raised, last_raised, over: self.over, baseline: self.baseline, ..new }
    }
}

impl Presence {
    /// The state without the frames that no longer count. It has no cooldown and no levels of its own.
    #[must_use]
    pub fn state(&self) -> PresenceState {
        let TriggerState { raised, high, low, agreed_since, .. } = self.trigger.state();
        PresenceState { present: raised, high, low, agreed_since, seen: self.seen, known: self.known }
    }

    /// Continues from this state.
    pub fn resume(&mut self, state: &PresenceState) {
        let PresenceState { present, high, low, agreed_since, seen, known } = *state;
        self.trigger.resume(&TriggerState {
            raised: present,
            high,
            low,
            agreed_since,
            ..TriggerState::default()
        });
        (self.seen, self.known) = (seen, known);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Hold, TriggerSettings};

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millisecond).unwrap()
    }

    proptest! {
        /// Whatever came before: a trigger that continues from the state decides as the trigger whose state it was.
        #[test]
        fn a_resumed_trigger_decides_the_same(
            frames in prop::collection::vec((-2000i64..60_000, 0.0f32..1.0), 1..200),
            cut in 0usize..200,
            (of, k) in (1u8..=64).prop_flat_map(|of| (Just(of), 1..=of)),
            (cooldown, lasting, rises) in (0u64..30, 0u64..20, any::<bool>()),
        ) {
            let settings = TriggerSettings {
                hold: Hold { frames: k, of },
                lasting: Duration::from_secs(lasting),
                cooldown: Duration::from_secs(cooldown),
                rises,
                threshold: 0.3,
                clear_below: 0.2,
            };
            let over = Some(Duration::from_secs(60));
            let mut trigger = Trigger::new(settings).with_baseline(over, None);
            let mut presence = Presence::new(settings);
            let mut resumed = (trigger.clone(), presence.clone());
            let mut now = 0;
            for (number, (step, score)) in frames.into_iter().enumerate() {
                now += step;
                if number == cut {
                    resumed = (Trigger::new(settings).with_baseline(over, None), Presence::new(settings));
                    resumed.0.resume(&trigger.state());
                    resumed.1.resume(&presence.state());
                }
                let levels = trigger.levels();
                prop_assert_eq!(resumed.0.levels(), levels);
                presence.update(score, levels, at(now));
                resumed.1.update(score, levels, at(now));
                prop_assert_eq!(presence.is_present(), resumed.1.is_present());
                prop_assert_eq!(trigger.update(score, at(now)), resumed.0.update(score, at(now)));
                prop_assert_eq!(trigger.state(), resumed.0.state());
            }
        }
    }
}
