//! The gates between a score and a raised label: which of them let one frame through, and which held it.
//!
//! [`Trigger::check`] is asked before [`Trigger::update`] counts the same frame. A label that is not raised is raised by the update
//! exactly if no gate holds. Several gates can hold at once: each of them alone would keep the label from being raised.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Trigger, signed};
use crate::policy::Hold;

/// One of the conditions that a frame must meet before its label is raised. In the order in which they are named to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum GateKind {
    /// `enabled`: the label and its source are switched on.
    Enabled,
    /// `rise`: the baseline is known.
    Baseline,
    /// `regions`: the score is high in a region that counts for the label.
    Regions,
    /// `threshold` or `rise`: the score is high enough.
    Threshold,
    /// `when`: the condition of a rule is met.
    Condition,
    /// `active`: the frame is inside the hours of the label.
    Active,
    /// No person asked for silence.
    Snooze,
    /// `hold`: enough of the newest frames agree.
    Hold,
    /// `for`: they have agreed for long enough.
    For,
    /// `cooldown`: the last raise was long enough ago.
    Cooldown,
}

impl GateKind {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Enabled,
        Self::Baseline,
        Self::Regions,
        Self::Threshold,
        Self::Condition,
        Self::Active,
        Self::Snooze,
        Self::Hold,
        Self::For,
        Self::Cooldown,
    ];

    /// The word for people and in JSON; for most gates it is the key of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Baseline => "baseline",
            Self::Regions => "regions",
            Self::Threshold => "threshold",
            Self::Condition => "condition",
            Self::Active => "active",
            Self::Snooze => "snooze",
            Self::Hold => "hold",
            Self::For => "for",
            Self::Cooldown => "cooldown",
        }
    }
}

/// A set of gates. In JSON it is a list of their words, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Vec<GateKind>", into = "Vec<GateKind>")]
#[schemars(with = "Vec<GateKind>")]
pub struct Gates(u16);

impl Gates {
    /// Adds a gate if `is_in`.
    pub fn add_if(&mut self, gate: GateKind, is_in: bool) {
        self.0 |= u16::from(is_in) << gate as u8;
    }

    /// The same without this gate.
    #[must_use]
    pub fn without(self, gate: GateKind) -> Self {
        Self(self.0 & !(1 << gate as u8))
    }

    /// Whether the gate is in the set.
    #[must_use]
    pub fn contains(self, gate: GateKind) -> bool {
        self.0 & 1 << gate as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The gates of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = GateKind> {
        GateKind::ALL.into_iter().filter(move |gate| self.contains(*gate))
    }

    /// The first of them.
    #[must_use]
    pub fn first(self) -> Option<GateKind> {
        self.iter().next()
    }
}

impl FromIterator<GateKind> for Gates {
    fn from_iter<I: IntoIterator<Item = GateKind>>(gates: I) -> Self {
        let mut set = Self::default();
        gates.into_iter().for_each(|gate| set.add_if(gate, true));
        set
    }
}

impl From<Vec<GateKind>> for Gates {
    fn from(gates: Vec<GateKind>) -> Self {
        gates.into_iter().collect()
    }
}

impl From<Gates> for Vec<GateKind> {
    fn from(gates: Gates) -> Self {
        gates.iter().collect()
    }
}

/// What the gates of a trigger say to one frame. Gates that the settings do not use are in neither set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// The gates that hold: each of them alone would keep the label from being raised.
    pub held: Gates,
    /// The gates that let the frame through.
    pub passed: Gates,
    /// How many of the newest frames are at or above the threshold, this one included.
    pub agreeing: u8,
    /// How much longer they must agree.
    pub lasting_left: Duration,
    /// How much of the cooldown is left.
    pub cooldown_left: Duration,
}

/// What is missing until a baseline is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learning {
    /// At least this number of quiet frames ...
    pub frames: u32,
    /// ... that cover this time together.
    pub left: Duration,
}

impl Trigger {
    /// What the gates say to a frame that is not counted yet: with this score, captured at this time, inside the hours of the label
    /// or not. For a label that is raised, the answer is as if this frame cleared it.
    ///
    /// Earlier frames count as they were counted. A frame outside the hours is checked as if it were inside them otherwise.
    #[must_use]
    pub fn check(&self, score: f32, active: bool, at: Timestamp) -> Checks {
        let Hold { frames, of } = self.settings.hold;
        let (lasting, cooldown) = (self.settings.lasting, self.settings.cooldown);
        let levels = self.levels();
        let reaches = levels.is_some_and(|levels| score >= levels.threshold);
        // After a clear, earlier frames do not count.
        let (high, since) = if self.raised { (0, None) } else { (self.high, self.agreed_since) };
        let agreeing = self.newest(high << 1 | u64::from(reaches));
        let enough = agreeing >= frames;
        let left = |needed: Duration, since: Timestamp| {
            let left = signed(needed) - at.duration_since(since.min(at)).min(signed(needed));
            left.unsigned_abs()
        };
        let lasting_left = left(lasting, since.unwrap_or(at));
        let cooldown_left = self.last_raised.map_or(Duration::ZERO, |last| left(cooldown, last));
        let mut held = Gates::default();
        let mut passed = Gates::default();
        let mut gate = |gate: GateKind, in_use: bool, holds: bool| {
            held.add_if(gate, holds);
            passed.add_if(gate, in_use && !holds);
        };
        gate(GateKind::Baseline, self.settings.rises, levels.is_none());
        // Enough agreeing frames before this one are enough.
        gate(GateKind::Threshold, reaches, levels.is_some() && !enough && !reaches);
        gate(GateKind::Active, false, !active);
        gate(GateKind::Hold, of > 1 && enough, !enough && (reaches || agreeing.saturating_add(1) < frames));
        gate(GateKind::For, !lasting.is_zero() && enough, !lasting_left.is_zero());
        gate(GateKind::Cooldown, !cooldown.is_zero(), !cooldown_left.is_zero());
        Checks { held, passed, agreeing, lasting_left, cooldown_left }
    }

    /// What is missing until the baseline is known; zero once it is.
    #[must_use]
    pub fn learning(&self) -> Learning {
        let (frames, part) = super::baseline::missing(self.baseline);
        Learning { frames, left: self.over.unwrap_or_default().mul_f64(part) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        policy::TriggerSettings,
        trigger::{
            Baseline, Transition,
            tests::{PLAIN, at},
        },
    };

    fn words(gates: Gates) -> String {
        gates.iter().map(GateKind::word).collect::<Vec<_>>().join(" ")
    }

    /// What the gates say to the last of these frames, a second apart: `passed | held`.
    fn last(settings: TriggerSettings, scores: &[f32]) -> String {
        let mut trigger = Trigger::new(settings);
        let (last, before) = scores.split_last().unwrap();
        for (second, score) in (0..).zip(before) {
            trigger.update(*score, at(second));
        }
        let checks = trigger.check(*last, true, at(i64::try_from(before.len()).unwrap()));
        format!("{} | {}", words(checks.passed), words(checks.held))
    }

    #[test]
    fn a_table_of_cases() {
        let hold = |frames, of| TriggerSettings { hold: Hold { frames, of }, ..PLAIN };
        let long = TriggerSettings { lasting: Duration::from_secs(2), ..PLAIN };
        let cooling = TriggerSettings { cooldown: Duration::from_secs(60), ..PLAIN };
        let cooling_hold = TriggerSettings { cooldown: Duration::from_secs(60), ..hold(2, 3) };
        let cases: &[(&str, TriggerSettings, &[f32], &str)] = &[
            ("nothing holds", PLAIN, &[0.6], "threshold | "),
            ("below the threshold", PLAIN, &[0.59], " | threshold"),
            ("the first of two", hold(2, 2), &[0.9], "threshold | hold"),
            ("below, and one more would be enough", hold(2, 2), &[0.9, 0.1], " | threshold"),
            ("below, and one more would not be enough", hold(2, 2), &[0.1, 0.1], " | threshold hold"),
            ("two of two", hold(2, 2), &[0.9, 0.9], "threshold hold | "),
            ("agree for two seconds", long, &[0.9, 0.9], "threshold | for"),
            ("agreed for two seconds", long, &[0.9, 0.9, 0.9], "threshold for | "),
            ("the cooldown runs", cooling, &[0.9, 0.1, 0.9], "threshold | cooldown"),
            (
                "enough agree, though this one is below",
                cooling_hold,
                &[0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1],
                "hold | cooldown",
            ),
            (
                "frames from before a clear do not count",
                hold(2, 3),
                &[0.9, 0.9, 0.1, 0.1, 0.9],
                "threshold | hold",
            ),
        ];
        for (name, settings, scores, expected) in cases {
            assert_eq!(last(*settings, scores), *expected, "{name}");
        }
        let outside = Trigger::new(hold(2, 2)).check(0.9, false, at(0));
        assert_eq!((words(outside.passed), words(outside.held)), ("threshold".into(), "active hold".into()));
    }

    #[test]
    fn it_says_how_much_is_missing() {
        let settings = TriggerSettings {
            hold: Hold { frames: 2, of: 3 },
            lasting: Duration::from_secs(10),
            cooldown: Duration::from_secs(100),
            ..PLAIN
        };
        let mut trigger = Trigger::restore(settings, false, at(-30));
        for second in 0..4 {
            trigger.update(0.9, at(second));
        }
        let checks = trigger.check(0.9, true, at(4));
        assert_eq!(
            (checks.agreeing, checks.lasting_left, checks.cooldown_left),
            (3, Duration::from_secs(7), Duration::from_secs(66))
        );
        let back = trigger.check(0.9, true, at(-1000));
        assert_eq!(back.cooldown_left, settings.cooldown, "time that jumps back");
    }

    #[test]
    fn it_says_what_a_baseline_lacks() {
        let rises = TriggerSettings { threshold: 0.2, clear_below: 0.1, rises: true, ..PLAIN };
        let mut trigger = Trigger::new(rises).with_baseline(Some(Duration::from_secs(600)), None);
        let learning = |trigger: &Trigger| {
            let Learning { frames, left } = trigger.learning();
            (frames, left.as_secs_f64().round())
        };
        assert_eq!(learning(&trigger), (13, 120.0));
        assert_eq!(words(trigger.check(0.9, true, at(0)).held), "baseline");
        for second in 0..=100 {
            trigger.update(0.3, at(second));
        }
        assert_eq!(learning(&trigger), (2, 20.0));
        for second in 101..=120 {
            trigger.update(0.3, at(second));
        }
        assert_eq!(learning(&trigger), (0, 0.0));
        let checks = trigger.check(0.4, true, at(121));
        assert_eq!((words(checks.passed), words(checks.held)), ("baseline".into(), "threshold".into()));
    }

    #[test]
    fn a_set_is_a_list_of_words_in_json() {
        let gates: Gates = [GateKind::Cooldown, GateKind::Threshold].into_iter().collect();
        let json = serde_json::to_string(&gates).unwrap();
        assert_eq!(json, r#"["threshold","cooldown"]"#);
        assert_eq!(serde_json::from_str::<Gates>(&json).unwrap(), gates);
        for gate in GateKind::ALL {
            assert_eq!(serde_json::to_value(gate).unwrap(), gate.word());
            let only: Gates = [gate].into_iter().collect();
            assert_eq!((only.first(), only.without(gate).is_empty()), (Some(gate), true));
        }
    }

    /// The same trigger before the same frame, without these gates.
    fn without(trigger: &Trigger, gates: Gates) -> Trigger {
        let mut settings = trigger.settings;
        if gates.contains(GateKind::Threshold) || gates.contains(GateKind::Baseline) {
            (settings.rises, settings.threshold, settings.clear_below) = (false, -1.0, -1.0);
        }
        if gates.contains(GateKind::Hold) {
            settings.hold = Hold { frames: 1, of: 1 };
        }
        if gates.contains(GateKind::For) {
            settings.lasting = Duration::ZERO;
        }
        if gates.contains(GateKind::Cooldown) {
            settings.cooldown = Duration::ZERO;
        }
        Trigger { settings, ..trigger.clone() }
    }

    fn updated(trigger: &mut Trigger, score: f32, active: bool, now: i64) -> Option<Transition> {
        if active { trigger.update(score, at(now)) } else { trigger.update_inactive(score, at(now)) }
    }

    proptest! {
        /// The query and the update agree on every frame; without the gates that hold, the label is raised; and each of them alone
        /// keeps it from being raised.
        #[test]
        fn the_gates_that_hold_are_those_that_keep_a_label_from_being_raised(
            frames in prop::collection::vec((-3i64..15, 0.0f32..1.0, prop::bool::weighted(0.9)), 0..150),
            (of, k) in (1u8..=5).prop_flat_map(|of| (Just(of), 1..=of)),
            cooldown in 0u64..40,
            lasting in 0u64..12,
            rises: bool,
        ) {
            let levels = if rises { (0.2, 0.1) } else { (0.5, 0.4) };
            let settings = TriggerSettings {
                threshold: levels.0,
                clear_below: levels.1,
                rises,
                hold: Hold { frames: k, of },
                lasting: Duration::from_secs(lasting),
                cooldown: Duration::from_secs(cooldown),
            };
            let mut trigger = Trigger::new(settings).with_baseline(Some(Duration::from_secs(300)), None);
            let mut now = 0;
            for (step, score, active) in frames {
                now += step;
                let before = trigger.clone();
                let checks = before.check(score, active, at(now));
                let transition = updated(&mut trigger, score, active, now);
                for gate in checks.held.iter() {
                    prop_assert!(!checks.passed.contains(gate));
                }
                if before.is_raised() {
                    continue;
                }
                prop_assert_eq!(checks.held.is_empty(), transition == Some(Transition::Raised));
                let raised_without = |gates: Gates| {
                    let active = active || gates.contains(GateKind::Active);
                    updated(&mut without(&before, gates), score, active, now) == Some(Transition::Raised)
                };
                prop_assert!(raised_without(checks.held), "{:?}", checks);
                for gate in checks.held.iter() {
                    prop_assert!(!raised_without(checks.held.without(gate)), "{gate:?} of {checks:?}");
                }
                prop_assert_eq!(checks.held.contains(GateKind::Baseline), rises && before.baseline().and_then(Baseline::level).is_none());
            }
        }
    }
}
