//! Cleans texts as OpenCLIP does before it tokenizes them. Pure.
//!
//! OpenCLIP repairs a text with the library ftfy, decodes HTML character references, and then normalises blanks, case or
//! punctuation. All steps are followed but one: ftfy guesses whether a text was decoded with a wrong encoding (`Ã©` for `é`)
//! and repairs it. A prompt with such damage is tokenized as it is written.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The last step of the cleaning, `clean` in OpenCLIP's `tokenizer_kwargs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clean {
    /// One blank between words.
    Whitespace,
    /// One blank between words, lower case.
    Lower,
    /// One blank between words, lower case, no ASCII punctuation.
    Canonicalize,
}

impl Clean {
    /// By OpenCLIP's name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "whitespace" => Self::Whitespace,
            "lower" => Self::Lower,
            "canonicalize" => Self::Canonicalize,
            _ => return None,
        })
    }

    /// The cleaned text.
    pub(super) fn apply(self, text: &str) -> String {
        let text = repaired(text);
        let once = htmlize::unescape(&*text);
        let twice = htmlize::unescape(&*once);
        match self {
            Self::Whitespace => one_blank(&twice),
            Self::Lower => one_blank(&twice).to_lowercase(),
            Self::Canonicalize => {
                let is_kept = |c: &char| !c.is_ascii_punctuation();
                let plain: String = twice.replace('_', " ").chars().filter(is_kept).collect();
                one_blank(&plain.to_lowercase())
            }
        }
    }
}

fn one_blank(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What ftfy does to a text, without the repair of wrong encodings. The steps repeat until nothing changes.
fn repaired(text: &str) -> Cow<'_, str> {
    // A text that contains a tag is HTML, whose references are left to the caller.
    let decodes = !text.contains('<');
    let mut text = Cow::Borrowed(text);
    // Each round decodes one level of references; texts that need more rounds than this do not exist outside of attacks.
    for _ in 0..8 {
        let decoded = if decodes { references(&text) } else { Cow::Borrowed(&*text) };
        let plain: String = without_escapes(&decoded).nfc().collect();
        if plain == *text {
            break;
        }
        text = Cow::Owned(plain);
    }
    text
}

/// Decodes the references that end with a semicolon: without one, `this&not that` may be meant as it is written.
fn references(text: &str) -> Cow<'_, str> {
    /// The longest name that ftfy decodes.
    const LONGEST: usize = 24;
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        decoded += before;
        let name = reference[1..].trim_start_matches('#');
        let letters = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let hashes = reference.len() - 1 - name.len();
        let end = 1 + hashes + letters;
        let is_reference =
            hashes <= 1 && (1..=LONGEST).contains(&letters) && reference[end..].starts_with(';');
        let taken = if is_reference { end + 1 } else { 1 };
        match is_reference {
            true => decoded += &htmlize::unescape(&reference[..taken]),
            false => decoded.push('&'),
        }
        rest = &reference[taken..];
    }
    decoded += rest;
    Cow::Owned(decoded)
}

/// Removes terminal escapes and control characters, and replaces ligatures, wide characters, curled quotes and line breaks.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let after = escape(rest.as_str());
                rest = rest.as_str()[after..].chars();
            }
            '\r' => {
                let after = rest.as_str();
                rest = after.strip_prefix('\n').unwrap_or(after).chars();
                plain.push('\n');
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => plain.push('\n'),
            '\u{02bc}' | '\u{2018}'..='\u{201b}' => plain.push('\''),
            '\u{201c}'..='\u{201f}' => plain.push('"'),
            '\u{3000}' => plain.push(' '),
            c if is_control(c) => {}
            // Halfwidth and fullwidth forms.
            '\u{ff01}'..='\u{ffef}' => plain.extend(c.nfkc()),
            c => match ligature(c) {
                Some(letters) => plain += letters,
                None => plain.push(c),
            },
        }
    }
    plain
}

/// The length of a terminal escape after its first character; 0 if it is none, since the first character is a control
/// character and removed anyway.
fn escape(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('[') else { return 0 };
    let numbers = inner.find(|c: char| !(c.is_ascii_digit() || c == ';')).unwrap_or(inner.len());
    if inner[numbers..].starts_with(|c: char| c.is_ascii_alphabetic()) { numbers + 2 } else { 0 }
}

/// Control characters without a meaning in a text. Tabulators, line feeds and form feeds have one.
fn is_control(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
    )
}

/// The letters of a typographical ligature or a digraph.
fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected texts are ftfy's and OpenCLIP's own results.
    #[test]
    fn texts_are_cleaned_as_by_open_clip() {
        for (text, whitespace, lower, canonical) in [
            ("  A  Red\tCar\n ", "A Red Car", "a red car", "a red car"),
            ("don\u{2019}t \u{201c}stop\u{201d}", "don't \"stop\"", "don't \"stop\"", "dont stop"),
            ("cats &amp; dogs", "cats & dogs", "cats & dogs", "cats dogs"),
            ("cats &amp;amp;amp; dogs", "cats & dogs", "cats & dogs", "cats dogs"),
            // Without a semicolon only the second decoding knows it; within a tag's text the first is left out.
            ("cats &amp dogs", "cats & dogs", "cats & dogs", "cats dogs"),
            ("<b>&lt;</b>", "<b><</b>", "<b><</b>", "bb"),
            ("&#39;&#x41;&nbsp;b", "'A b", "'a b", "a b"),
            // The standard decodes `&not` without a semicolon.
            ("a & b; c &; &#; &nothing;", "a & b; c &; &#; ¬hing;", "a & b; c &; &#; ¬hing;", "a b c ¬hing"),
            ("ﬁre ĳs ＡＢＣ１\u{3000}ｶﾞ", "fire ijs ABC1 ガ", "fire ijs abc1 ガ", "fire ijs abc1 ガ"),
            ("e\u{301}", "é", "é", "é"),
            ("\u{feff}a\0b\u{1b}[31mc\u{1b}d", "abcd", "abcd", "abcd"),
            ("a\r\nb\rc\u{2028}d", "a b c d", "a b c d", "a b c d"),
            (
                "snake_case, punctuation!",
                "snake_case, punctuation!",
                "snake_case, punctuation!",
                "snake case punctuation",
            ),
            ("ΟΔΟΣ", "ΟΔΟΣ", "οδος", "οδος"),
            ("", "", "", ""),
        ] {
            assert_eq!(Clean::Whitespace.apply(text), whitespace, "{text:?}");
            assert_eq!(Clean::Lower.apply(text), lower, "{text:?}");
            assert_eq!(Clean::Canonicalize.apply(text), canonical, "{text:?}");
        }
    }

    #[test]
    fn names_are_those_of_open_clip() {
        let named = ["whitespace", "lower", "canonicalize", "upper"].map(Clean::named);
        assert_eq!(named, [Some(Clean::Whitespace), Some(Clean::Lower), Some(Clean::Canonicalize), None]);
    }
}
