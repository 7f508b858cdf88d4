//! Finds the known name that someone may have meant, and lists names in a message.

use super::mask;
use crate::topic::topic_level;

/// The known name that is most like `typed`, if it is similar enough to be meant.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long names are expensive to compare.
    const LONGEST: usize = 64;
    const MOST: usize = 3;
    let folded = topic_level(typed);
    known
        .into_iter()
        .filter(|name| folded.len().max(name.len()) <= LONGEST)
        .map(|name| (strsim::damerau_levenshtein(&folded, &topic_level(name)), name))
        // One mistake in three letters: of names with two letters every other one would be similar.
        .filter(|(distance, name)| {
            *distance <= (name.chars().count().max(typed.chars().count()) / 3).min(MOST)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `a`?", or else all known names.
pub(crate) fn suggest(typed: &str, known: &[&str]) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known: {}", list(known, "and")),
    }
}

/// "`a`, `b` or `c`"; of many, the first 30.
pub(crate) fn list(names: &[&str], last_word: &str) -> String {
    const SHOWN: usize = 30;
    let quoted = |name: &&str| format!("`{}`", mask::shown(name));
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
            ("fold", Some("hold")),
            ("tall tree", None),
            ("pompous", None),
            ("", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
