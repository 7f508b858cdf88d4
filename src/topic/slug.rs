//! Transliterates names as Home Assistant does.

use unicode_normalization::UnicodeNormalization as _;

/// A name as Home Assistant's `slugify` writes it: in the letters `a-z`, digits and `_`, and `unknown` if nothing is left.
///
/// ```
/// use stakeout::topic::slug;
/// assert_eq!(slug("grüner Baum"), "gruner_baum");
/// assert_eq!(slug("前门"), "qian_men");
/// ```
#[must_use]
pub fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    let text = transliterated(name);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter.to_ascii_lowercase() {
            kept @ ('a'..='z' | '0'..='9') => slug.push(kept),
            // The transliteration writes signs of some scripts as quotes, inside of words.
            '\'' if !name.contains(letter) => {}
            // 1,000
            ',' if is_digit(slug.chars().next_back()) && is_digit(letters.peek().copied()) => {}
            _ if slug.is_empty() || slug.ends_with('_') => {}
            _ => slug.push('_'),
        }
    }
    let end = slug.trim_end_matches('_').len();
    slug.truncate(end);
    if slug.is_empty() { "unknown".to_owned() } else { slug }
}

fn is_digit(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| letter.is_ascii_digit())
}

/// The name in ASCII. Accents are dropped first, so that `ü` is `u` and a voiced kana its plain one; emoji are dropped, as Home
/// Assistant drops them.
fn transliterated(name: &str) -> String {
    let is_accent = |letter: char| matches!(letter, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}');
    // Composed again: Hangul is transliterated by syllables.
    let plain = name.nfkd().filter(|letter| !is_accent(*letter)).nfc();
    plain.filter(|letter| *letter < '\u{1f000}').map(ascii).collect()
}

fn ascii(letter: char) -> &'static str {
    deunicode::deunicode_char(letter).unwrap_or_default()
}
