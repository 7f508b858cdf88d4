//! Label sets, labels and rules over labels, with the settings of their triggers.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    condition::Condition,
    message::{AlertMessage, Severity},
    schedule::Schedule,
    template::Template,
};
use crate::yaml::{
    fields::{Form, Shape, word_of},
    value::{number, whole},
};

/// Labels that are scored together.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSet {
    /// The name as it was typed.
    pub name: String,
    /// The sentences around every prompt, at least one: a prompt's vector is the average over all of them.
    pub templates: Vec<Template>,
    /// How similarities become scores.
    pub scoring: Scoring,
    /// Prompts that are scored and never alert.
    pub background: Vec<String>,
    /// The labels, in the order typed.
    pub labels: Vec<Label>,
    /// Rules over labels of this set and of others, in the order typed.
    pub rules: Vec<LabelRule>,
}

/// A rule over labels: alerts of its own while a condition is met.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelRule {
    /// Its name, and everything else that it has in common with a label. It has no prompts; its score is 1 while the condition
    /// is met, otherwise 0.
    pub settings: Label,
    /// Its condition.
    pub when: Condition,
}

/// How the similarities of a picture and the prompts of a label set become scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scoring {
    /// As the model was trained.
    #[default]
    Auto,
    /// The labels and the background share a total score of 1.
    Softmax,
    /// Each label on its own, with the model's scale and bias.
    Sigmoid,
    /// Each label on its own: the cosine of the two vectors, at least 0.
    Cosine,
}

/// One thing to watch for.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name as it was typed.
    pub name: String,
    /// The texts that are put into the template; the name if there are none.
    pub prompts: Vec<String>,
    /// What turns its scores into raised and cleared.
    pub trigger: TriggerSettings,
    /// The severity of its alerts.
    pub severity: Option<Severity>,
    /// The message of its alerts.
    pub message: Option<AlertMessage>,
    /// When it may be raised; `None`: always.
    pub active: Option<Schedule>,
    /// The regions that count; empty: all.
    pub regions: Vec<String>,
    /// Whether it may be raised at all, and until when it is snoozed.
    pub silence: Silence,
    /// How Home Assistant shows it.
    pub look: Look,
}

/// What keeps a label from being raised, whatever its score is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Silence {
    /// It is switched off: a raised label is cleared, and frames do not count for it.
    pub disabled: bool,
    /// It is not raised by frames from before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Timestamp>,
}

impl Silence {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The end of the snooze, for a frame that was captured before it.
    #[must_use]
    pub fn snoozed(&self, at: Timestamp) -> Option<Timestamp> {
        self.snoozed_until.filter(|until| at < *until)
    }

    /// It is snoozed until this time, if it is not snoozed for longer.
    pub fn snooze(&mut self, until: Timestamp) {
        self.snoozed_until = self.snoozed_until.max(Some(until));
    }
}

/// How Home Assistant shows a label; `None` is our default (the name) or Home Assistant's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its name there.
    pub name: Option<String>,
    /// An icon: `mdi:package-variant`.
    pub icon: Option<String>,
    /// The device class of its binary sensor.
    pub device_class: Option<&'static str>,
}

/// The settings of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TriggerSettings {
    /// A frame with at least this score counts for the label.
    pub threshold: f32,
    /// A frame below this score counts against a raised label; never above the threshold.
    pub clear_below: f32,
    /// Whether the two levels are rises above the source's baseline (`rise` and `clear_rise`) instead of scores.
    pub rises: bool,
    /// The frames that must agree.
    pub hold: Hold,
    /// How long they must agree before it is raised (`for` in the configuration).
    pub lasting: Duration,
    /// The time after a raise in which it is not raised again.
    pub cooldown: Duration,
}

/// The scores that frames are compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// A frame with at least this score counts for the label.
    pub threshold: f32,
    /// A frame below this score counts against a raised label; never above the threshold.
    pub clear_below: f32,
}

/// How many of the newest frames must agree: `2 of 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// This many must agree ...
    pub frames: u8,
    /// ... of this many newest frames (at most 64).
    pub of: u8,
}

impl LabelSet {
    /// A label set with one template, scored as the model was trained, without background.
    #[must_use]
    pub fn new(name: &str, template: Template, labels: Vec<Label>) -> Self {
        Self {
            name: name.to_owned(),
            templates: vec![template],
            scoring: Scoring::Auto,
            background: Vec::new(),
            labels,
            rules: Vec::new(),
        }
    }

    /// Labels whose names are their prompts, for commands that score and never trigger.
    #[must_use]
    pub fn untriggered(name: &str, template: &Template, labels: &[String]) -> Self {
        let label = |name: &String| Label::new(name, TriggerSettings::at(1.0));
        Self::new(name, template.clone(), labels.iter().map(label).collect())
    }

    /// Everything that alerts: first the labels, then the rules over labels.
    pub fn alerting(&self) -> impl Iterator<Item = &Label> {
        self.labels.iter().chain(self.rules.iter().map(|rule| &rule.settings))
    }
}

impl Scoring {
    /// The words in the configuration.
    pub const WORDS: [(&str, Self); 4] = [
        ("auto", Self::Auto),
        ("softmax", Self::Softmax),
        ("sigmoid", Self::Sigmoid),
        ("cosine", Self::Cosine),
    ];

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

impl Label {
    /// A label with a trigger, whose name is its prompt.
    #[must_use]
    pub fn new(name: &str, trigger: TriggerSettings) -> Self {
        Self {
            name: name.to_owned(),
            prompts: vec![name.to_owned()],
            trigger,
            severity: None,
            message: None,
            active: None,
            regions: Vec::new(),
            silence: Silence::default(),
            look: Look::default(),
        }
    }
}

impl TriggerSettings {
    /// A threshold and nothing else.
    #[must_use]
    pub fn at(threshold: f32) -> Self {
        Self {
            threshold,
            clear_below: threshold,
            rises: false,
            hold: Hold { frames: 1, of: 1 },
            lasting: Duration::ZERO,
            cooldown: Duration::ZERO,
        }
    }

    /// Its levels, which are scores unless [`rises`](Self::rises) is set.
    #[must_use]
    pub fn levels(&self) -> Levels {
        Levels { threshold: self.threshold, clear_below: self.clear_below }
    }

    /// A threshold or a rise; `None` if the text is none. 0 is invalid: every frame would reach it, and no frame would be below it.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    #[must_use]
    pub fn level_of(text: &str) -> Option<f32> {
        number(text).filter(|level| *level <= 1.0).map(|level| level as f32).filter(|level| *level > 0.0)
    }

    /// These settings with another threshold or rise. A clear level that follows it follows the new one.
    ///
    /// # Errors
    /// The clear level has its own value, which is above the new threshold. It is returned.
    pub fn with_level(self, level: f32) -> Result<Self, f32> {
        let clear_below = match self.clear_follows() {
            true => Self::usual_clear_level(level, self.rises),
            false => self.clear_below,
        };
        if clear_below > level {
            Err(clear_below)
        } else {
            Ok(Self { threshold: level, clear_below, ..self })
        }
    }

    /// Whether the clear level is the default one.
    pub(crate) fn clear_follows(&self) -> bool {
        self.clear_below == Self::usual_clear_level(self.threshold, self.rises)
    }

    /// The default clear level: the threshold itself, or half the rise.
    pub(crate) fn usual_clear_level(threshold: f32, rises: bool) -> f32 {
        if rises { threshold / 2.0 } else { threshold }
    }
}

impl Hold {
    /// The form in the configuration.
    pub(crate) const FORM: Form = Form::Shaped(Shape {
        expected: "frames out of frames such as `2 of 3`",
        name: "`K of N`",
        pattern: "^ *[0-9]+ +of +[0-9]+ *$",
    });

    /// Reads `2 of 3`; the error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const USAGE: &str = "write how many of the newest frames must agree: `2 of 3`";
        let Some((frames, of)) = text.split_once(" of ") else {
            let meant = match text.split_once('/') {
                Some((frames, of)) => (whole(frames.trim()), whole(of.trim())),
                None => (whole(text), whole(text)),
            };
            return Err(match meant {
                (Some(frames), Some(of)) => format!("did you mean `{frames} of {of}`?"),
                _ => USAGE.to_owned(),
            });
        };
        let (Some(frames), Some(of)) = (whole(frames.trim()), whole(of.trim())) else {
            return Err(USAGE.to_owned());
        };
        match (u8::try_from(frames), u8::try_from(of)) {
            (Ok(0), _) => Err("at least 1 frame must agree".to_owned()),
            _ if frames > of => {
                Err(format!("{frames} of {of} frames can never agree: did you mean `{of} of {frames}`?"))
            }
            (Ok(frames), Ok(of)) if of <= 64 => Ok(Self { frames, of }),
            _ => Err("at most 64 frames".to_owned()),
        }
    }
}

/// As it is typed.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.frames, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_above_0_and_up_to_1() {
        for (text, level) in [
            ("0.6", Some(0.6)),
            ("1", Some(1.0)),
            ("1.0001", None),
            ("0", None),
            ("-0.1", None),
            ("1e-50", None),
            ("70 %", None),
            ("0,7", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(TriggerSettings::level_of(text), level, "{text}");
        }
    }

    #[test]
    fn a_clear_level_follows_the_threshold_unless_it_has_its_own_value() {
        let plain = TriggerSettings::at(0.6);
        let own = TriggerSettings { clear_below: 0.4, ..plain };
        let rise = TriggerSettings { threshold: 0.2, clear_below: 0.1, rises: true, ..plain };
        for (settings, level, expected) in [
            (plain, 0.8, Ok((0.8, 0.8))),
            (plain, 0.1, Ok((0.1, 0.1))),
            (own, 0.8, Ok((0.8, 0.4))),
            (own, 0.4, Ok((0.4, 0.4))),
            (own, 0.3, Err(0.4)),
            (rise, 0.5, Ok((0.5, 0.25))),
        ] {
            let levels = settings.with_level(level).map(|it| (it.threshold, it.clear_below));
            assert_eq!(levels, expected, "{settings:?} {level}");
        }
    }

    #[test]
    fn the_longest_snooze_counts_until_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut silence = Silence::default();
        assert!(silence.is_none() && silence.snoozed(at(0)).is_none());
        silence.snooze(at(20));
        silence.snooze(at(10));
        assert_eq!((silence.snoozed(at(19)), silence.snoozed(at(20))), (Some(at(20)), None));
        assert!(!silence.is_none());
    }

    #[test]
    fn holds() {
        let cases = [
            ("2 of 3", Ok(Hold { frames: 2, of: 3 })),
            ("64 of 64", Ok(Hold { frames: 64, of: 64 })),
            ("3", Err("did you mean `3 of 3`?")),
            ("2/3", Err("did you mean `2 of 3`?")),
            ("5 of 3", Err("5 of 3 frames can never agree: did you mean `3 of 5`?")),
            ("0 of 3", Err("at least 1 frame must agree")),
            ("1 of 65", Err("at most 64 frames")),
            ("1 of 300", Err("at most 64 frames")),
            ("many", Err("write how many of the newest frames must agree: `2 of 3`")),
            ("two of three", Err("write how many of the newest frames must agree: `2 of 3`")),
        ];
        for (text, expected) in cases {
            assert_eq!(Hold::parse(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
