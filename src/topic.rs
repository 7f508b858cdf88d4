//! What a name becomes in an MQTT topic.

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

/// The levels of topics that the service itself uses, and what is told there.
const OWN_TOPICS: [(&str, &str); 2] =
    [("config", "says how the configuration is"), ("outbox", "says how the outbox is doing")];

/// The level that the service itself uses which this name would have, and what is told there.
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
