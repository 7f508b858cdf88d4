//! Names: what a name becomes in a topic, and which known name somebody may have meant.

/// A name as one level of a topic: lower case, and every run of characters other than `a-z`, `0-9` and `-` is one `_`.
///
/// ```
/// use stakeout::config::topic_level;
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
pub(super) fn own_topic(name: &str) -> Option<(&'static str, &'static str)> {
    let level = topic_level(name);
    OWN_TOPICS.into_iter().find(|(own, _)| *own == level)
}

/// Whether the service itself uses the topics of this name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    own_topic(name).is_some()
}

/// The known name that looks most like `typed`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long names cost much to compare, and are no typing mistakes.
    const LONGEST: usize = 64;
    let folded = topic_level(typed);
    known
        .into_iter()
        .filter(|name| folded.len().max(name.len()) <= LONGEST)
        .map(|name| (strsim::damerau_levenshtein(&folded, &topic_level(name)), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(typed.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `a`?", or else all that is known.
pub(super) fn suggest(typed: &str, known: &[&str]) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", list(known, "and")),
    }
}

/// "`a`, `b` or `c`", of many only the first.
pub(super) fn list(names: &[&str], last_word: &str) -> String {
    const SHOWN: usize = 20;
    let quoted = |name: &&str| format!("`{}`", super::mask::shown(name));
    match names {
        [] => "nothing".to_owned(),
        [one] => quoted(one),
        _ if names.len() > SHOWN => {
            let first: Vec<_> = names[..SHOWN].iter().map(quoted).collect();
            format!("{} and {} more", first.join(", "), names.len() - SHOWN)
        }
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(quoted).collect();
            format!("{} {last_word} {}", most.join(", "), quoted(last))
        }
    }
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

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["threshold", "clear_below", "hold", "cooldown", "prompts"];
        let cases = [
            ("treshold", Some("threshold")),
            ("Threshold", Some("threshold")),
            ("clear-below", Some("clear_below")),
            ("clearbelow", Some("clear_below")),
            ("cool_down", Some("cooldown")),
            ("prompt", Some("prompts")),
            ("hodl", Some("hold")),
            ("colour", None),
            ("x", None),
            ("", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
