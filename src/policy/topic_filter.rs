//! The topic filters of an `mqtt` source, and the source names that come from matched topics.
//!
//! Pure, by MQTT's rules for filters (MQTT 5, section 4.7).

use std::fmt;

use super::placeholders::{self, TextPart};
use crate::topic::topic_level;

/// The longest filter, pattern or name, in bytes.
const LONGEST: usize = 1000;
/// The longest name that a topic may give to a source, as for names in the configuration.
const LONGEST_NAME: usize = 200;

/// A topic filter: levels. Some may be `+` (any one level), and the last one may be `#` (all that follow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Reads a filter; the error is the remedy.
    ///
    /// # Errors
    /// A filter that MQTT forbids, or a shared subscription, which has a key of its own.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("$share/") {
            return Err("write the group into `share: GROUP`, and here only the text after it".to_owned());
        }
        if text.starts_with('$') {
            return Err("topics that start with `$` belong to the broker".to_owned());
        }
        if text.chars().any(char::is_control) || text.len() > LONGEST {
            return Err(format!("use at most {LONGEST} bytes, and no control characters"));
        }
        let levels = text.split('/').collect::<Vec<_>>();
        for (place, level) in levels.iter().enumerate() {
            if level.contains('#') && (*level != "#" || place + 1 < levels.len()) {
                return Err("`#` must be the whole last level: `cameras/#`".to_owned());
            }
            if level.contains('+') && *level != "+" {
                return Err("`+` must be a whole level: `cameras/+/snapshot`".to_owned());
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The filter as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of wildcards.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        self.0.split('/').filter(|level| matches!(*level, "+" | "#")).count()
    }

    /// The text of each wildcard in `topic`, in order; `None` if the topic does not match.
    #[must_use]
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Vec<&'t str>> {
        if topic.starts_with('$') {
            return None;
        }
        let (mut captured, mut rest) = (Vec::new(), Some(topic));
        for level in self.0.split('/') {
            if level == "#" {
                // It matches the level above, too: `a/#` matches `a`.
                captured.push(rest.unwrap_or(""));
                return Some(captured);
            }
            let text = rest?;
            let (first, others) =
                text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
            match level {
                "+" => captured.push(first),
                _ if level == first => {}
                _ => return None,
            }
            rest = others;
        }
        rest.is_none().then_some(captured)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the source of a matched topic: text with `{1}`, `{2}` for the texts of the first and second wildcard, and
/// `{name}` for the name in a JSON payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Vec<TextPart<Placeholder>>);

/// A placeholder of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Placeholder {
    /// The text of a wildcard, from 1.
    Wildcard(usize),
    /// The name in the JSON payload.
    Json,
}

impl NamePattern {
    /// Reads a pattern; the error is the remedy.
    ///
    /// # Errors
    /// A pattern without a placeholder, with an unknown one, or with a single brace.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "`{1}` is the text of the first `+` or `#`, `{name}` the name that `json: { name: ... }` points to";
        if text.chars().any(char::is_control) || text.len() > LONGEST_NAME {
            return Err(format!("use at most {LONGEST_NAME} bytes, and no control characters"));
        }
        let parts = placeholders::parse(text, |place| match (place, place.parse::<usize>()) {
            ("name", _) => Ok(Placeholder::Json),
            (_, Ok(number)) if number > 0 => Ok(Placeholder::Wildcard(number)),
            _ => Err(FORM.to_owned()),
        })?;
        if !parts.iter().any(|part| matches!(part, TextPart::Place(_))) {
            let remedy = "without a placeholder such as `{1}` every source would have this name: leave it out for one source \
                          of all topics";
            return Err(remedy.to_owned());
        }
        Ok(Self(parts))
    }

    /// The name in a JSON payload, without further text.
    #[must_use]
    pub fn of_json() -> Self {
        Self(vec![TextPart::Place(Placeholder::Json)])
    }

    /// The highest wildcard that it uses; 0 for none.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let number = |part: &TextPart<Placeholder>| match part {
            TextPart::Place(Placeholder::Wildcard(number)) => *number,
            _ => 0,
        };
        self.0.iter().map(number).max().unwrap_or(0)
    }

    /// Whether it uses the name in the payload.
    #[must_use]
    pub fn uses_json(&self) -> bool {
        self.0.contains(&TextPart::Place(Placeholder::Json))
    }

    /// Whether a name with the same topics as `name` can result: it contains the pattern's texts in this order, with something
    /// between them.
    #[must_use]
    pub fn may_give(&self, name: &str) -> bool {
        // Topic levels are compared, because a name is found by its topic. A text may share its last `_` with the text of a
        // placeholder beside it, so outer `_` are ignored.
        let level = topic_level(name);
        // The texts before, between and after the placeholders; some are empty.
        let mut texts = vec![String::new()];
        for part in &self.0 {
            match (part, texts.last_mut()) {
                (TextPart::Text(text), Some(last)) => topic_level(text).trim_matches('_').clone_into(last),
                _ => texts.push(String::new()),
            }
        }
        let [first, between @ .., last] = &*texts else { return true };
        let Some(mut rest) = level.trim_start_matches('_').strip_prefix(&**first) else { return false };
        for text in between {
            let Some(at) = rest.find(&**text) else { return false };
            rest = &rest[at + text.len()..];
        }
        let rest = rest.trim_end_matches('_');
        rest.len() > last.len() && rest.ends_with(&**last)
    }

    /// The name; `None` if the text of a placeholder is empty or missing, or if the result is no valid name.
    #[must_use]
    pub fn name(&self, captured: &[&str], json: Option<&str>) -> Option<String> {
        let mut name = String::new();
        for part in &self.0 {
            let place = match part {
                TextPart::Text(text) => {
                    name.push_str(text);
                    continue;
                }
                TextPart::Place(Placeholder::Wildcard(number)) => captured.get(number - 1).copied(),
                TextPart::Place(Placeholder::Json) => json,
            };
            name.push_str(place.filter(|place| !place.trim().is_empty())?);
        }
        let name = name.trim();
        let usable = name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
        (usable && !name.is_empty()).then(|| name.to_owned())
    }
}

/// As it was typed.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TextPart::Text(text) => f.write_str(&placeholders::escaped(text)),
            TextPart::Place(Placeholder::Wildcard(number)) => write!(f, "{{{number}}}"),
            TextPart::Place(Placeholder::Json) => f.write_str("{name}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap_or_else(|remedy| panic!("{text}: {remedy}"))
    }

    #[test]
    fn topics_match_filters_and_wildcards_capture() {
        let cases: &[(&str, &str, Option<&[&str]>)] = &[
            ("a/b", "a/b", Some(&[])),
            ("a/b", "a/b/c", None),
            ("a/b", "a", None),
            ("a/b", "A/b", None),
            ("frigate/+/person/snapshot", "frigate/yard/person/snapshot", Some(&["yard"])),
            ("frigate/+/person/snapshot", "frigate/yard/car/snapshot", None),
            ("+/+", "a/b", Some(&["a", "b"])),
            ("+/+", "/b", Some(&["", "b"])),
            ("+", "a/b", None),
            ("a/#", "a/b/c", Some(&["b/c"])),
            ("a/#", "a/", Some(&[""])),
            ("a/#", "a", Some(&[""])),
            ("a/#", "ab", None),
            ("+/x/#", "a/x/b/c", Some(&["a", "b/c"])),
            ("#", "a/b", Some(&["a/b"])),
            ("#", "$SYS/load", None),
            ("+/load", "$SYS/load", None),
        ];
        for (text, topic, expected) in cases {
            assert_eq!(filter(text).captures(topic).as_deref(), *expected, "{text} and {topic}");
        }
        assert_eq!(["a", "a/+/b/+", "+/#"].map(|text| filter(text).wildcards()), [0, 2, 2]);
    }

    #[test]
    fn invalid_filters() {
        for text in ["a/#/b", "a#", "a+/b", "$SYS/#", "$share/us/a", "a\0b", &"x".repeat(1001)] {
            assert!(TopicFilter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_come_from_topics() {
        type Case<'a> = (&'a str, &'a [&'a str], Option<&'a str>, Option<&'a str>);
        let cases: &[Case] = &[
            ("frigate-{1}", &["yard"], None, Some("frigate-yard")),
            ("{2} {1}", &["a", "b"], None, Some("b a")),
            ("{1}", &["b/c"], None, Some("b/c")),
            ("{name}", &[], Some("Yard"), Some("Yard")),
            ("{1}-{name}", &["a"], None, None),
            ("{1}", &[""], None, None),
            ("{1}", &[" "], None, None),
            ("{2}", &["a"], None, None),
            ("{1}", &["a\u{7}"], None, None),
        ];
        for (text, captured, json, expected) in cases {
            let pattern = NamePattern::parse(text).unwrap();
            assert_eq!(pattern.to_string(), *text);
            assert_eq!(pattern.name(captured, *json).as_deref(), *expected, "{text} {captured:?}");
        }
        assert_eq!(NamePattern::parse("{1}").unwrap().name(&[&"x".repeat(201)], None), None);
        for text in ["camera", "{0}", "{x}", "{1", "{}", "{-1}"] {
            assert!(NamePattern::parse(text).is_err(), "{text}");
        }
        let both = NamePattern::parse("{3}{name}{1}").unwrap();
        assert_eq!((both.wildcards(), both.uses_json()), (3, true));
    }

    #[test]
    fn names_that_can_result() {
        let cases = [
            ("frigate-{1}", "frigate-yard", true),
            ("frigate-{1}", "Frigate-Yard", true),
            ("frigate-{1}", "frigate-", false),
            ("frigate-{1}", "yard", false),
            ("Cam {1}", "cam_yard", true),
            ("Cam {1}", "Cam", false),
            ("{1} at {name} (left)", "cat at home (left)", true),
            ("{1} at {name} (left)", "dog in home (left)", false),
            ("{name}", "anything", true),
            ("{name}", "", false),
        ];
        for (pattern, name, may) in cases {
            assert_eq!(NamePattern::parse(pattern).unwrap().may_give(name), may, "{pattern} {name}");
        }
    }
}
