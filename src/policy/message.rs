//! What an alert says to people: a sentence with places for what is only known then. Pure once it is read.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

use super::Severity;
use crate::yaml::names;

/// A sentence with places that are filled in when an alert is made.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertMessage {
    parts: Vec<Part>,
    /// Times are told in it.
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What a place of a message stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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

const PLACES: &[(&str, Place)] = &[
    ("label", Place::Label),
    ("label_set", Place::LabelSet),
    ("source", Place::Source),
    ("region", Place::Region),
    ("score", Place::Score),
    ("percent", Place::Percent),
    ("threshold", Place::Threshold),
    ("state", Place::State),
    ("time", Place::Time),
    ("severity", Place::Severity),
];

/// What is known when an alert is made.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name of the label.
    pub label: &'a str,
    /// The name of its label set.
    pub label_set: &'a str,
    /// The name of the source.
    pub source: &'a str,
    /// The region that the score stands in; `None` is the whole frame.
    pub region: Option<&'a str>,
    /// 0 to 1.
    pub score: f32,
    /// 0 to 1.
    pub threshold: f32,
    /// `raised` or `cleared`.
    pub state: &'a str,
    /// When the frame was captured.
    pub time: Timestamp,
    /// How grave it is.
    pub severity: Option<Severity>,
}

impl Place {
    fn name(self) -> &'static str {
        PLACES.iter().find(|(_, place)| *place == self).map_or("", |(name, _)| name)
    }
}

/// As it is typed.
impl fmt::Display for AlertMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Place(place) => write!(f, "{{{}}}", place.name()),
        })
    }
}

impl AlertMessage {
    /// Reads `{label} on {source}`. `{{` and `}}` are braces. The error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (vec![], String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = if brace == "{" { rest.find('}') } else { None };
            let Some(end) = end else {
                return Err(format!(
                    "there is a single `{brace}`: a brace that is meant as such is written twice"
                ));
            };
            let name = rest[..end].trim();
            let Some((_, place)) = PLACES.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = PLACES.iter().map(|(known, _)| *known).collect();
                let shown = crate::yaml::mask::shown(name);
                return Err(format!("`{{{shown}}}` is not known here: {}", names::suggest(name, &known)));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Place(*place));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts, zone: TimeZone::system() })
    }

    /// The first of its places that tells a number of the label.
    pub(crate) fn number(&self) -> Option<&'static str> {
        let number = |part: &Part| match part {
            Part::Place(place @ (Place::Score | Place::Percent | Place::Threshold)) => Some(place.name()),
            _ => None,
        };
        self.parts.iter().find_map(number)
    }

    /// The sentence about `facts`.
    #[must_use]
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(place) => self.value(*place, facts),
        };
        self.parts.iter().map(part).collect()
    }

    fn value(&self, place: Place, facts: &Facts<'_>) -> String {
        match place {
            Place::Label => facts.label.to_owned(),
            Place::LabelSet => facts.label_set.to_owned(),
            Place::Source => facts.source.to_owned(),
            Place::Region => facts.region.unwrap_or("whole frame").to_owned(),
            Place::Score => format!("{:.2}", facts.score),
            Place::Percent => format!("{:.0}", facts.score * 100.0),
            Place::Threshold => format!("{:.2}", facts.threshold),
            Place::State => facts.state.to_owned(),
            Place::Time => self.zone.to_datetime(facts.time).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Place::Severity => facts.severity.map_or("", Severity::word).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
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
            ("{lable}", Err("`{lable}` is not known here: did you mean `label`?")),
            ("50 {", Err("there is a single `{`: a brace that is meant as such is written twice")),
            ("a } b", Err("there is a single `}`: a brace that is meant as such is written twice")),
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
