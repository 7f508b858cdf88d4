//! Names as levels of MQTT topics, and as identifiers of Home Assistant.
//!
//! A name is what was typed. Its level is how topics spell it, and different names may have the same spelling: [`names`] gives
//! each name a level of its own.

pub mod names;
mod slug;

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

pub use self::{names::Names, slug::slug};

/// A name as one level of a topic, in its composed form (NFC) and in lower case: letters and digits of every script, with their
/// marks, and `-` are kept, and every run of other characters is one `_`.
///
/// ```
/// use stakeout::topic::topic_level;
/// assert_eq!(topic_level("Front door (left)"), "front_door_left_");
/// assert_eq!(topic_level("Größe 2"), "größe_2");
/// ```
#[must_use]
pub fn topic_level(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    for letter in name.nfc().collect::<String>().to_lowercase().nfc() {
        let after_letter = level.chars().next_back().is_some_and(|last| last != '_' && last != '-');
        match letter {
            '-' => level.push('-'),
            kept if kept.is_alphanumeric() && !is_combining_mark(kept) => level.push(kept),
            mark if after_letter && is_mark_of_letter(mark) => level.push(mark),
            _ if level.ends_with('_') => {}
            _ => level.push('_'),
        }
    }
    level
}

/// Whether a character is a mark that belongs to the letter before it, such as a vowel sign or a tone mark. Marks that turn a digit
/// or a sign into an emoji are none.
fn is_mark_of_letter(letter: char) -> bool {
    let of_symbols =
        matches!(letter, '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    is_combining_mark(letter) && !of_symbols
}

/// The topic levels that the service itself uses, and what it publishes there.
const OWN_TOPICS: [(&str, &str); 2] =
    [("config", "reports whether the configuration is valid"), ("outbox", "reports the state of the outbox")];

/// The service's own topic level that a source of this name would share, and what is published there.
pub(crate) fn own_topic(name: &str) -> Option<(&'static str, &'static str)> {
    let level = topic_level(name);
    OWN_TOPICS.into_iter().find(|(own, _)| *own == level)
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
            ("a/b+c#d\u{0}e\u{85}f\u{a0}g", "a_b_c_d_e_f_g"),
            ("C++", "c_"),
            ("", ""),
            ("Größe 2", "größe_2"),
            ("GRO\u{308}SSE", "grösse"),
            ("Straße", "straße"),
            ("猫", "猫"),
            ("前门", "前门"),
            ("后门 2", "后门_2"),
            ("Двор № 1", "двор_1"),
            ("ΘΎΡΑ", "θύρα"),
            ("باب أمامي", "باب_أمامي"),
            ("प्रवेश द्वार", "प्रवेश_द्वार"),
            ("ประตูหน้า", "ประตูหน้า"),
            ("ძაღლი", "ძაღლი"),
            ("١٢", "١٢"),
            ("🐱", "_"),
            ("🐱 cat", "_cat"),
            ("1\u{fe0f}\u{20e3}", "1_"),
            ("\u{301}a", "_a"),
            ("a-\u{301}", "a-_"),
        ];
        for (name, level) in cases {
            assert_eq!(topic_level(name), level, "{name}");
            assert_eq!(topic_level(level), level, "{name}: a level is its own level");
        }
    }
}
