//! Names as levels of MQTT topics.

/// A name as one level of a topic: lower case, and every run of characters other than `a-z`, `0-9` and `-` is one `_`.
///
/// ```
/// use stakeout::topic::topic_level;
/// assert_eq!(topic_level("Front door (left)"), "front_door_left_");
/// ```
#[must_use]
pub fn topic_level(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter.to_ascii_lowercase() {
            kept @ ('a'..='z' | '0'..='9' | '-') => level.push(kept),
            _ if level.ends_with('_') => {}
            _ => level.push('_'),
        }
    }
    level
}

/// The topic levels that the service itself uses, and what it publishes there.
const OWN_TOPICS: [(&str, &str); 2] =
    [("config", "reports whether the configuration is valid"), ("outbox", "reports the state of the outbox")];

/// The service's own topic level that a source of this name would share, and what is published there.
pub(crate) fn own_topic(name: &str) -> Option<(&'static str, &'static str)> {
    let level = topic_level(name);
    OWN_TOPICS.into_iter().find(|(own, _)| *own == level)
}

/// Whether the service itself uses the topics of this name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    own_topic(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_topic_levels() {
        let cases = [
            ("porch", "porch"),
            ("Front-Door", "front-door"),
            ("a  b", "a_b"),
            ("a_b", "a_b"),
            ("a _ b", "a_b"),
            ("+/#", "_"),
            ("Größe 2", "gr_e_2"),
            ("猫", "_"),
            ("", ""),
        ];
        for (name, level) in cases {
            assert_eq!(topic_level(name), level, "{name}");
        }
    }
}
