//! What an `mqtt` source listens to, and the name that a matched topic gives to a source.
//!
//! Pure text work, by MQTT's rules for filters (MQTT 5, section 4.7). It refuses to know a broker.

use std::fmt;

use crate::topic::topic_level;

/// The longest filter, pattern or name, in bytes.
const LONGEST: usize = 1000;
/// The longest name that a topic may give to a source; as for names that are typed.
const LONGEST_NAME: usize = 200;

/// A topic filter: levels, of which some may be `+` (any one level) and the last `#` (all that follow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Reads a filter; the error is the remedy.
    ///
    /// # Errors
    /// What MQTT does not allow in a filter, and shared subscriptions, which have a key of their own.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("$share/") {
            return Err("name the group in `share: GROUP`, and here only what follows it".to_owned());
        }
        if text.starts_with('$') {
            return Err("topics with `$` at the start belong to the broker".to_owned());
        }
        if text.chars().any(char::is_control) || text.len() > LONGEST {
            return Err(format!("use at most {LONGEST} bytes, and no control characters"));
        }
        let levels = text.split('/').collect::<Vec<_>>();
        for (place, level) in levels.iter().enumerate() {
            if level.contains('#') && (*level != "#" || place + 1 < levels.len()) {
                return Err("`#` stands alone as the last level: `cameras/#`".to_owned());
            }
            if level.contains('+') && *level != "+" {
                return Err("`+` stands for one whole level: `cameras/+/snapshot`".to_owned());
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The filter as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many wildcards it has.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        self.0.split('/').filter(|level| matches!(*level, "+" | "#")).count()
    }

    /// What each wildcard stands for in `topic`, in their order; `None` if the topic does not match.
    #[must_use]
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Vec<&'t str>> {
        if topic.starts_with('$') {
            return None;
        }
        let (mut captured, mut rest) = (Vec::new(), Some(topic));
        for level in self.0.split('/') {
            if level == "#" {
                // It stands for what is above it, too: `a/#` matches `a`.
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

/// How a matched topic names its source: text with `{1}`, `{2}` for what the first and second wildcard stand for, and
/// `{name}` for the name that a JSON payload gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// From 1.
    Wildcard(usize),
    Json,
}

impl NamePattern {
    /// Reads a pattern; the error is the remedy.
    ///
    /// # Errors
    /// A pattern without a place, with another place than those above, or with an open brace.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "`{1}` is what the first `+` or `#` stands for, `{name}` what `json: { name: ... }` leads to";
        if text.chars().any(char::is_control) || text.len() > LONGEST_NAME {
            return Err(format!("use at most {LONGEST_NAME} bytes, and no control characters"));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((place, behind)) = after.split_once('}') else { return Err(FORM.to_owned()) };
            parts.push(Part::Text(before.to_owned()));
            parts.push(match (place, place.parse::<usize>()) {
                ("name", _) => Part::Json,
                (_, Ok(number)) if number > 0 => Part::Wildcard(number),
                _ => return Err(FORM.to_owned()),
            });
            rest = behind;
        }
        if parts.is_empty() {
            let remedy = "without a place such as `{1}` all would have this name: leave it out for one source of all topics";
            return Err(remedy.to_owned());
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The name that a JSON payload gives, and nothing else.
    #[must_use]
    pub fn of_json() -> Self {
        Self(vec![Part::Json])
    }

    /// The highest wildcard that it asks for; 0 for none.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let number = |part: &Part| if let Part::Wildcard(number) = part { *number } else { 0 };
        self.0.iter().map(number).max().unwrap_or(0)
    }

    /// Whether it asks for the name in the payload.
    #[must_use]
    pub fn asks_json(&self) -> bool {
        self.0.contains(&Part::Json)
    }

    /// Whether a name that has the topics of `name` can come out of it: its texts are there, in this order, with something
    /// between them.
    #[must_use]
    pub fn may_give(&self, name: &str) -> bool {
        // Levels and not names, because what is typed is looked for by its topic. A text may share its last `_` with what
        // stands beside it, so these do not count.
        let level = topic_level(name);
        let texts = self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(topic_level(text).trim_matches('_').to_owned()),
            Part::Wildcard(_) | Part::Json => None,
        });
        let texts: Vec<_> = texts.collect();
        let [first, between @ .., last] = &*texts else { return true };
        let Some(mut rest) = level.trim_start_matches('_').strip_prefix(&**first) else { return false };
        for text in between {
            let Some(at) = rest.find(&**text) else { return false };
            rest = &rest[at + text.len()..];
        }
        let rest = rest.trim_end_matches('_');
        rest.len() > last.len() && rest.ends_with(&**last)
    }

    /// The name; `None` if one of its places stands for nothing, or if what comes out can be no name.
    #[must_use]
    pub fn name(&self, captured: &[&str], json: Option<&str>) -> Option<String> {
        let mut name = String::new();
        for part in &self.0 {
            let place = match part {
                Part::Text(text) => {
                    name.push_str(text);
                    continue;
                }
                Part::Wildcard(number) => captured.get(number - 1).copied(),
                Part::Json => json,
            };
            name.push_str(place.filter(|place| !place.trim().is_empty())?);
        }
        let name = name.trim();
        let usable = name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
        (usable && !name.is_empty()).then(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap_or_else(|remedy| panic!("{text}: {remedy}"))
    }

    #[test]
    fn what_matches_and_what_wildcards_stand_for() {
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
    fn what_is_no_filter() {
        for text in ["a/#/b", "a#", "a+/b", "$SYS/#", "$share/us/a", "a\0b", &"x".repeat(1001)] {
            assert!(TopicFilter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_topics() {
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
            assert_eq!(pattern.name(captured, *json).as_deref(), *expected, "{text} {captured:?}");
        }
        assert_eq!(NamePattern::parse("{1}").unwrap().name(&[&"x".repeat(201)], None), None);
        for text in ["camera", "{0}", "{x}", "{1", "{}", "{-1}"] {
            assert!(NamePattern::parse(text).is_err(), "{text}");
        }
        let both = NamePattern::parse("{3}{name}{1}").unwrap();
        assert_eq!((both.wildcards(), both.asks_json()), (3, true));
    }

    #[test]
    fn names_that_may_come_out() {
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
