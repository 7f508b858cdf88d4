//! Whether a label is there, for rules over labels.
//!
//! By the same levels, frames and time as it is raised by. It refuses to know of cooldowns and of hours: those say when the label
//! alerts, and a dog is there at noon, too.

use std::time::Duration;

use jiff::Timestamp;

use super::Trigger;
use crate::policy::{Levels, TriggerSettings};

/// Whether one label is there on one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    trigger: Trigger,
    /// Frames, up to those that are asked for.
    seen: u8,
    /// It has turned out once; from then on a label that is not there yet is not there.
    known: bool,
}

impl Presence {
    /// Of a label that no frame was seen of yet.
    #[must_use]
    pub fn new(rule: TriggerSettings) -> Self {
        Self { trigger: Trigger::new(at_once(rule)), seen: 0, known: false }
    }

    /// Goes on after a restart. A label that was raised was there; what was not raised may have been.
    #[must_use]
    pub fn recall(rule: TriggerSettings, raised: bool) -> Self {
        let trigger = Trigger { raised, ..Trigger::new(at_once(rule)) };
        Self { trigger, seen: 0, known: raised }
    }

    /// Goes on under another rule.
    #[must_use]
    pub fn under(self, rule: TriggerSettings) -> Self {
        Self { trigger: self.trigger.under(at_once(rule)), ..self }
    }

    /// Takes the newest score, the levels that the trigger of the label holds it to, and the time of its frame. While there are
    /// none, since they are rises over a baseline that is not known yet, nobody can say.
    pub fn update(&mut self, score: f32, levels: Option<Levels>, at: Timestamp) {
        let Some(levels) = levels else { return };
        self.trigger.decide(score, levels, at);
        let enough = self.trigger.rule.hold.of;
        self.seen = self.seen.saturating_add(1).min(enough);
        // While frames agree that it is there, but not for long enough, it may have been there before.
        let is_not = self.seen == enough && self.trigger.agreed_since.is_none();
        self.known |= self.trigger.raised || is_not;
    }

    /// `None` until enough frames were seen to tell.
    #[must_use]
    pub fn is_there(&self) -> Option<bool> {
        self.known.then_some(self.trigger.raised)
    }
}

fn at_once(rule: TriggerSettings) -> TriggerSettings {
    TriggerSettings { cooldown: Duration::ZERO, ..rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Hold;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// One character a frame, a second apart: `+` there, `-` not there, `?` not known.
    fn told(mut presence: Presence, scores: &[f32]) -> String {
        let letter = |(second, score): (i64, &f32)| {
            let levels = presence.trigger.levels();
            presence.update(*score, levels, at(second));
            match presence.is_there() {
                Some(true) => '+',
                Some(false) => '-',
                None => '?',
            }
        };
        (0..).zip(scores).map(letter).collect()
    }

    #[test]
    fn a_table_of_cases() {
        let plain = TriggerSettings { clear_below: 0.4, ..TriggerSettings::at(0.6) };
        let hold = TriggerSettings { hold: Hold { frames: 2, of: 3 }, ..plain };
        let lasting = TriggerSettings { lasting: Duration::from_secs(2), ..plain };
        let cooldown = TriggerSettings { cooldown: Duration::from_secs(60), ..plain };
        let cases: &[(&str, Presence, &[f32], &str)] = &[
            (
                "from the threshold to the clear level",
                Presence::new(plain),
                &[0.5, 0.6, 0.5, 0.3, 0.5],
                "-++--",
            ),
            ("a cooldown makes no difference", Presence::new(cooldown), &[0.9, 0.1, 0.9], "+-+"),
            ("its hold counts", Presence::new(hold), &[0.1, 0.9, 0.1, 0.9, 0.1, 0.1], "??-++-"),
            ("enough of them are enough", Presence::new(hold), &[0.9, 0.9, 0.1, 0.1], "?++-"),
            ("its time counts", Presence::new(lasting), &[0.9, 0.9, 0.9, 0.1, 0.9], "??+--"),
            ("raised before a restart", Presence::recall(hold, true), &[0.9, 0.1, 0.1], "++-"),
            ("not raised before a restart", Presence::recall(hold, false), &[0.9, 0.9], "?+"),
            ("another rule", Presence::recall(plain, true).under(TriggerSettings::at(0.8)), &[0.9, 0.7], "+-"),
        ];
        for (name, presence, scores, expected) in cases {
            assert_eq!(told(presence.clone(), scores), *expected, "{name}");
        }
    }
}
