//! Whether a label is present, for the conditions of rules.
//!
//! Decided by the levels, frames and duration that raise the label. Its cooldown and its hours do not count: they limit when
//! the label alerts, and a dog is present at noon, too.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Trigger;
use crate::policy::{Levels, TriggerSettings};

/// Whether one label is present on one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    pub(super) trigger: Trigger,
    /// The number of frames, up to the number that the settings require.
    pub(super) seen: u8,
    /// Whether the label is present was certain once. After that, uncertain means absent.
    pub(super) known: bool,
}

impl Presence {
    /// Before the first frame.
    #[must_use]
    pub fn new(settings: TriggerSettings) -> Self {
        Self { trigger: Trigger::new(without_cooldown(settings)), seen: 0, known: false }
    }

    /// After a restart. A label that was raised was present; one that was not raised may have been present.
    #[must_use]
    pub fn restore(settings: TriggerSettings, raised: bool) -> Self {
        let trigger = Trigger { raised, ..Trigger::new(without_cooldown(settings)) };
        Self { trigger, seen: 0, known: raised }
    }

    /// With other settings.
    #[must_use]
    pub fn with_settings(self, settings: TriggerSettings) -> Self {
        Self { trigger: self.trigger.with_settings(without_cooldown(settings)), ..self }
    }

    /// See [`Trigger::clock_was_set`].
    pub fn clock_was_set(&mut self, by: SignedDuration) {
        self.trigger.clock_was_set(by);
    }

    /// Counts the newest score with the levels of the label's trigger and the time of its frame. Without levels, because the
    /// baseline is not known yet, nothing changes.
    pub fn update(&mut self, score: f32, levels: Option<Levels>, at: Timestamp) {
        let Some(levels) = levels else { return };
        self.trigger.decide(score, levels, true, at);
        let enough = self.trigger.settings.hold.of;
        self.seen = self.seen.saturating_add(1).min(enough);
        // Frames above the threshold, but not for long enough yet: it may have been present before.
        let absent = self.seen == enough && self.trigger.agreed_since.is_none();
        self.known |= self.trigger.raised || absent;
    }

    /// `None` until there were enough frames.
    #[must_use]
    pub fn is_present(&self) -> Option<bool> {
        self.known.then_some(self.trigger.raised)
    }
}

fn without_cooldown(settings: TriggerSettings) -> TriggerSettings {
    TriggerSettings { cooldown: Duration::ZERO, ..settings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Hold, trigger::tests::at};

    /// One character for each frame, a second apart: `+` present, `-` absent, `?` unknown.
    fn states(mut presence: Presence, scores: &[f32]) -> String {
        let letter = |(second, score): (i64, &f32)| {
            let levels = presence.trigger.levels();
            presence.update(*score, levels, at(second));
            match presence.is_present() {
                Some(true) => '+',
                Some(false) => '-',
                None => '?',
            }
        };
        (0..).zip(scores).map(letter).collect()
    }

    #[test]
    fn a_label_is_present_by_its_levels_frames_and_duration() {
        let plain = TriggerSettings { clear_below: 0.4, ..TriggerSettings::at(0.6) };
        let hold = TriggerSettings { hold: Hold { frames: 2, of: 3 }, ..plain };
        let lasting = TriggerSettings { lasting: Duration::from_secs(2), ..plain };
        let cooldown = TriggerSettings { cooldown: Duration::from_secs(60), ..plain };
        let cases: &[(&str, Presence, &[f32], &str)] = &[
            ("between the levels nothing changes", Presence::new(plain), &[0.5, 0.6, 0.5, 0.3, 0.5], "-++--"),
            ("the cooldown does not count", Presence::new(cooldown), &[0.9, 0.1, 0.9], "+-+"),
            ("its frames count", Presence::new(hold), &[0.1, 0.9, 0.1, 0.9, 0.1, 0.1], "??-++-"),
            ("the rest of its frames need not agree", Presence::new(hold), &[0.9, 0.9, 0.1, 0.1], "?++-"),
            ("its duration counts", Presence::new(lasting), &[0.9, 0.9, 0.9, 0.1, 0.9], "??+--"),
            ("raised before a restart", Presence::restore(hold, true), &[0.9, 0.1, 0.1], "++-"),
            ("not raised before a restart", Presence::restore(hold, false), &[0.9, 0.9], "?+"),
            (
                "other settings",
                Presence::restore(plain, true).with_settings(TriggerSettings::at(0.8)),
                &[0.9, 0.7],
                "+-",
            ),
        ];
        for (name, presence, scores, expected) in cases {
            assert_eq!(states(presence.clone(), scores), *expected, "{name}");
        }
    }
}
