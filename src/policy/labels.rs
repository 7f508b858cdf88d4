//! Label sets, labels and rules over labels, with the settings of their triggers.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    condition::Condition,
    message::{AlertMessage, Severity},
    schedule::Schedule,
    template::Template,
};
use crate::yaml::{
    fields::{Form, Shape, word_of},
    value::whole,
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
    /// How Home Assistant shows it.
    pub look: Look,
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
