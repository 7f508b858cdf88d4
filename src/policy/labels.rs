//! Label sets, labels and their rules, as they are when everything about them is in order.

use std::time::Duration;

use super::{Schedule, Condition, AlertMessage, Template};
use crate::yaml::value;

/// Labels that are scored together.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSet {
    /// The name as typed.
    pub name: String,
    /// The sentences around every prompt, one at least: a prompt is the average of them all.
    pub templates: Vec<Template>,
    /// What makes scores of similarities.
    pub scoring: Scoring,
    /// Prompts that take part in the scoring and never alert.
    pub background: Vec<String>,
    /// The labels, in the order typed.
    pub labels: Vec<Label>,
    /// Rules over labels of this set and of others, in the order typed.
    pub rules: Vec<LabelRule>,
}

/// Alerts under a name of its own while a condition over labels is met.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelRule {
    /// Its name, and everything else that it has in common with a label. It has no prompts, and is judged by a score that is 1
    /// while the condition is met and else 0.
    pub settings: Label,
    /// What it is raised by.
    pub when: Condition,
}

/// What makes scores of how alike a picture and the texts of a label set are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scoring {
    /// As the model was trained.
    #[default]
    Auto,
    /// The labels and the background share a score of 1 among them.
    Softmax,
    /// Each label by itself, with the scale and the bias that the model has learnt for that.
    Sigmoid,
    /// Each label by itself: the cosine of the two vectors, 0 where it is negative.
    Cosine,
}

/// One thing to watch for.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name as typed.
    pub name: String,
    /// The texts that are put into the template; the name itself where none was typed.
    pub prompts: Vec<String>,
    /// What turns its scores into raised and cleared.
    pub trigger: TriggerSettings,
    /// How grave an alert is, where that was said.
    pub severity: Option<Severity>,
    /// What an alert says to people, where that was said.
    pub message: Option<AlertMessage>,
    /// When it may be raised; `None` is always.
    pub active: Option<Schedule>,
    /// Only these regions count; none is all.
    pub regions: Vec<String>,
    /// How Home Assistant shows it.
    pub look: Look,
}

/// How Home Assistant shows a label; what is `None` is left to us (the name) or to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// What it is called there.
    pub name: Option<String>,
    /// An icon as Home Assistant names them: `mdi:package-variant`.
    pub icon: Option<String>,
    /// The device class of its binary sensor, one of those that Home Assistant has.
    pub device_class: Option<&'static str>,
}

/// How grave an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

/// The numbers of a trigger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TriggerSettings {
    /// A frame counts for the label from this score on.
    pub threshold: f32,
    /// A frame counts against a raised label below this score; never above the threshold.
    pub clear_below: f32,
    /// These two are no scores, but how far above the source's baseline they lie (`rise` and `clear_rise` in the
    /// configuration).
    pub rises: bool,
    /// How many frames must agree.
    pub hold: Hold,
    /// For how long they must have agreed before it is raised (`for` in the configuration).
    pub lasting: Duration,
    /// How long after one raise the next may come.
    pub cooldown: Duration,
}

/// The scores that frames are held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// A frame counts for the label from this score on.
    pub threshold: f32,
    /// A frame counts against a raised label below this score; never above the threshold.
    pub clear_below: f32,
}

/// `frames of of`: 2 of 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// So many must agree...
    pub frames: u8,
    /// ...of the newest so many (at most 64).
    pub of: u8,
}

impl LabelSet {
    /// Labels in one sentence, scored as the model was trained, without background.
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

    /// Everything that alerts: the labels, and then the rules over labels.
    pub fn alerting(&self) -> impl Iterator<Item = &Label> {
        self.labels.iter().chain(self.rules.iter().map(|rule| &rule.settings))
    }
}

impl Scoring {
    /// The words in the configuration.
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("auto", Self::Auto),
        ("softmax", Self::Softmax),
        ("sigmoid", Self::Sigmoid),
        ("cosine", Self::Cosine),
    ];

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
            Self::Cosine => "cosine",
        }
    }
}

impl Label {
    /// A label with nothing but a rule, whose name is its prompt.
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
    /// A score that is enough by itself, and nothing else.
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

    /// Its levels, which are scores unless it [`rises`](Self::rises).
    #[must_use]
    pub fn levels(&self) -> Levels {
        Levels { threshold: self.threshold, clear_below: self.clear_below }
    }

    /// The clear level of a rule for which none is typed: the threshold itself, or half the rise.
    pub(crate) fn usual_clear_level(threshold: f32, rises: bool) -> f32 {
        if rises { threshold / 2.0 } else { threshold }
    }
}

impl Severity {
    /// The words in the configuration and in alerts.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("info", Self::Info), ("warning", Self::Warning), ("critical", Self::Critical)];

    /// The severity of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, severity)| severity)
    }

    /// The word in the configuration and in alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Hold {
    /// Reads `2 of 3`; the error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write how many of the newest frames must agree: `2 of 3`";
        let Some((frames, of)) = text.split_once(" of ") else {
            let meant = match text.split_once('/') {
                Some((frames, of)) => (value::whole(frames.trim()), value::whole(of.trim())),
                None => (value::whole(text), value::whole(text)),
            };
            return Err(match meant {
                (Some(frames), Some(of)) => format!("did you mean `{frames} of {of}`?"),
                _ => FORM.to_owned(),
            });
        };
        let (Some(frames), Some(of)) = (value::whole(frames.trim()), value::whole(of.trim())) else {
            return Err(FORM.to_owned());
        };
        match (u8::try_from(frames), u8::try_from(of)) {
            (Ok(0), _) => Err("at least 1 frame must agree".to_owned()),
            _ if frames > of => {
                Err(format!("{frames} of {of} frames can never agree: did you mean `{of} of {frames}`?"))
            }
            (Ok(frames), Ok(of)) if of <= 64 => Ok(Self { frames, of }),
            _ => Err("at most the newest 64 frames are remembered".to_owned()),
        }
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
            ("1 of 65", Err("at most the newest 64 frames are remembered")),
            ("1 of 300", Err("at most the newest 64 frames are remembered")),
            ("many", Err("write how many of the newest frames must agree: `2 of 3`")),
            ("two of three", Err("write how many of the newest frames must agree: `2 of 3`")),
        ];
        for (text, expected) in cases {
            assert_eq!(Hold::parse(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
