//! The severity of an alert, and its message: a sentence with placeholders that are filled in when the alert is made. Pure once it is parsed.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::placeholders::{self, TextPart};
use crate::yaml::{fields::word_of, mask, names};

/// The severity of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Info,
    /// Needs attention.
    Warning,
    /// Needs attention at once.
    Critical,
}

/// A sentence with placeholders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertMessage {
    parts: Vec<TextPart<Placeholder>>,
    /// The time zone of `{time}`.
    zone: TimeZone,
}

/// A placeholder of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Label,
    LabelSet,
    Source,
    Region,
    Score,
    Percent,
    Threshold,
    State,
    Time,
    Severity,
}

const PLACES: &[(&str, Placeholder)] = &[
    ("label", Placeholder::Label),
    ("label_set", Placeholder::LabelSet),
    ("source", Placeholder::Source),
    ("region", Placeholder::Region),
    ("score", Placeholder::Score),
    ("percent", Placeholder::Percent),
    ("threshold", Placeholder::Threshold),
    ("state", Placeholder::State),
    ("time", Placeholder::Time),
    ("severity", Placeholder::Severity),
];

/// The facts that placeholders are replaced by.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name of the label.
    pub label: &'a str,
    /// The name of its label set.
    pub label_set: &'a str,
    /// The name of the source.
    pub source: &'a str,
    /// The region of the score; `None` is the whole frame.
    pub region: Option<&'a str>,
    /// 0 to 1.
    pub score: f32,
    /// 0 to 1.
    pub threshold: f32,
    /// `raised` or `cleared`.
    pub state: &'a str,
    /// When the frame was captured.
    pub time: Timestamp,
    /// Its severity, if it has one.
    pub severity: Option<Severity>,
}

impl Severity {
    /// The words in the configuration and in alerts.
    pub const WORDS: [(&str, Self); 3] =
        [("info", Self::Info), ("warning", Self::Warning), ("critical", Self::Critical)];

    /// The severity of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, severity)| severity)
    }

    /// The word in the configuration and in alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, &self)
    }
}

/// As it was typed.
impl fmt::Display for AlertMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            TextPart::Text(text) => f.write_str(&placeholders::escaped(text)),
            TextPart::Place(place) => write!(f, "{{{}}}", word_of(PLACES, place)),
        })
    }
}

impl From<AlertMessage> for String {
    fn from(message: AlertMessage) -> Self {
        message.to_string()
    }
}

impl TryFrom<String> for AlertMessage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl AlertMessage {
    /// Reads `{label} on {source}`. The error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let place = |name: &str| {
            let name = name.trim();
            PLACES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place).ok_or_else(|| {
                let known: Vec<_> = PLACES.iter().map(|(known, _)| *known).collect();
                format!("`{{{}}}` is no placeholder: {}", mask::shown(name), names::suggest(name, &known))
            })
        };
        Ok(Self { parts: placeholders::parse(text, place)?, zone: TimeZone::system() })
    }

    /// The name of its first placeholder for a number that only a label has.
    pub(crate) fn number(&self) -> Option<&'static str> {
        let number = |part: &TextPart<Placeholder>| match part {
            TextPart::Place(place @ (Placeholder::Score | Placeholder::Percent | Placeholder::Threshold)) => {
                Some(word_of(PLACES, place))
            }
            _ => None,
        };
        self.parts.iter().find_map(number)
    }

    /// The sentence about `facts`.
    #[must_use]
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        let part = |part: &TextPart<Placeholder>| match part {
            TextPart::Text(text) => text.clone(),
            TextPart::Place(place) => self.value(*place, facts),
        };
        self.parts.iter().map(part).collect()
    }

    fn value(&self, place: Placeholder, facts: &Facts<'_>) -> String {
        match place {
            Placeholder::Label => facts.label.to_owned(),
            Placeholder::LabelSet => facts.label_set.to_owned(),
            Placeholder::Source => facts.source.to_owned(),
            Placeholder::Region => facts.region.unwrap_or("whole frame").to_owned(),
            Placeholder::Score => format!("{:.2}", facts.score),
            Placeholder::Percent => format!("{:.0}", facts.score * 100.0),
            Placeholder::Threshold => format!("{:.2}", facts.threshold),
            Placeholder::State => facts.state.to_owned(),
            Placeholder::Time => self.zone.to_datetime(facts.time).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Placeholder::Severity => facts.severity.map_or("", Severity::word).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_filled_in() {
        let facts = Facts {
            label: "a dog",
            label_set: "yard",
            source: "gate",
            region: None,
            score: 0.876,
            threshold: 0.6,
            state: "raised",
            time: "2026-11-23T08:15:29.9Z".parse().unwrap(),
            severity: Some(Severity::Warning),
        };
        let cases = [
            ("Somebody at the door", Ok("Somebody at the door")),
            ("{label} on { source }!", Ok("a dog on gate!")),
            ("{{{percent}}} %}}", Ok("{88} %}")),
            (
                "{severity}: {label_set} {region} {score}/{threshold} {state} {time}",
                Ok("warning: yard whole frame 0.88/0.60 raised 2026-11-23 09:15:29"),
            ),
            ("{lable}", Err("`{lable}` is no placeholder: did you mean `label`?")),
            ("50 {", Err("there is a single `{`: write a plain brace twice")),
            ("a } b", Err("there is a single `}`: write a plain brace twice")),
        ];
        for (text, expected) in cases {
            let filled = AlertMessage::parse(text).map(|message| {
                let zone = TimeZone::fixed(jiff::tz::offset(1));
                AlertMessage { zone, ..message }.fill(&facts)
            });
            assert_eq!(filled, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
            let shown = AlertMessage::parse(text).map(|message| message.to_string());
            assert!(shown.is_err() || shown == Ok(text.replace("{ source }", "{source}")), "{shown:?}");
        }
    }
}
