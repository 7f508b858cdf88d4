//! The sentence around a prompt, with the rules of Python's `str.format`, which the reference pipeline uses.
//!
//! Placeholders that make no sense for one prompt are errors: a second prompt (`{1}`), a name (`{label}`), an attribute, an index.

use std::{fmt, str::FromStr};

use super::placeholders::{self, SingleBrace, TextPart};

/// A sentence that prompts are put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    /// Its slots, each with its format.
    parts: Vec<TextPart<Format>>,
}

impl FromStr for Template {
    type Err = TemplateError;

    /// A sentence without a slot is valid: it is the same for every prompt.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (mut automatic, mut numbered) = (false, false);
        let parts = placeholders::parse(text, |field| {
            let wrong = || TemplateError::Field(field.to_owned());
            let (name, conversion, format) = split(field)?;
            match name {
                "" if automatic => return Err(TemplateError::Second),
                "" => automatic = true,
                name if name.bytes().all(|digit| digit == b'0') => numbered = true,
                _ => return Err(wrong()),
            }
            match conversion {
                _ if automatic && numbered => Err(TemplateError::Mixed),
                // Python would look for a nested slot, and there is no second value.
                _ if field.contains('{') => Err(wrong()),
                None | Some("s") => Format::parse(format),
                Some(_) => Err(wrong()),
            }
        })?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Template {
    /// The sentence with `prompt` in its slots.
    #[must_use]
    pub fn fill(&self, prompt: &str) -> String {
        let part = |part: &TextPart<Format>| match part {
            TextPart::Text(text) => text.clone(),
            TextPart::Place(format) => format.apply(prompt),
        };
        self.parts.iter().map(part).collect()
    }

    /// Whether a prompt makes a difference.
    #[must_use]
    pub fn has_slot(&self) -> bool {
        self.fill("a") != self.fill("b")
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("there is a single `{0}`: write a plain brace twice")]
    Brace(char),
    /// A second `{}`.
    #[error("there is one prompt, so `{{}}` may occur once; to repeat it write `{{0}}`")]
    Second,
    /// Something other than nothing or a 0 in the braces.
    #[error("`{{{0}}}` cannot be filled in; the prompt is `{{}}`")]
    Field(String),
    /// Both `{}` and `{0}`.
    #[error("`{{}}` and `{{0}}` cannot be mixed")]
    Mixed,
    /// A format that does not apply to text.
    #[error("`{0}` is not a format for text")]
    Spec(String),
}

impl From<SingleBrace> for TemplateError {
    fn from(SingleBrace(brace): SingleBrace) -> Self {
        Self::Brace(brace)
    }
}

/// `name!conversion:spec`.
fn split(field: &str) -> Result<(&str, Option<&str>, &str), TemplateError> {
    let (head, spec) = field.split_once(':').unwrap_or((field, ""));
    match head.split_once('!') {
        None => Ok((head, None, spec)),
        Some((_, "")) => Err(TemplateError::Field(field.to_owned())),
        Some((name, conversion)) => Ok((name, Some(conversion), spec)),
    }
}

/// `[[fill]align][0][width][.precision][s]`, counted in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    fill: char,
    /// `<`, `>` or `^`.
    align: char,
    width: usize,
    precision: usize,
}

impl Format {
    fn parse(spec: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError::Spec(spec.to_owned());
        let characters: Vec<char> = spec.chars().collect();
        let align = |at: usize| characters.get(at).copied().filter(|character| "<>^".contains(*character));
        let (mut fill, mut side, mut at) = match (align(1), align(0)) {
            (Some(side), _) => (characters[0], side, 2),
            (None, Some(side)) => (' ', side, 1),
            (None, None) => (' ', '<', 0),
        };
        if at == 0 && characters.first() == Some(&'0') {
            (fill, side, at) = ('0', '<', 1);
        }
        let number = |at: &mut usize| -> Result<Option<usize>, TemplateError> {
            let digits: String =
                characters[*at..].iter().take_while(|character| character.is_ascii_digit()).collect();
            *at += digits.len();
            // No sentence has more than a few thousand characters.
            let value = (!digits.is_empty()).then(|| digits.parse().ok().filter(|value| *value <= 10_000));
            value.map(|value| value.ok_or_else(wrong)).transpose()
        };
        let width = number(&mut at)?.unwrap_or(0);
        let mut precision = usize::MAX;
        if characters.get(at) == Some(&'.') {
            at += 1;
            precision = number(&mut at)?.ok_or_else(wrong)?;
        }
        if characters.get(at) == Some(&'s') {
            at += 1;
        }
        if at == characters.len() { Ok(Self { fill, align: side, width, precision }) } else { Err(wrong()) }
    }

    fn apply(&self, text: &str) -> String {
        let text: String = text.chars().take(self.precision).collect();
        let missing = self.width.saturating_sub(text.chars().count());
        let left = match self.align {
            '<' => 0,
            '>' => missing,
            _ => missing / 2,
        };
        let fill = |count: usize| std::iter::repeat_n(self.fill, count).collect::<String>();
        format!("{}{text}{}", fill(left), fill(missing - left))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(template: &str, prompt: &str) -> Result<String, TemplateError> {
        Ok(template.parse::<Template>()?.fill(prompt))
    }

    /// What Python 3.11 answers to `template.format("cat")`.
    #[test]
    fn templates_are_filled_in_as_python_does_it() {
        for (template, expected) in [
            ("This is a photo of {}.", "This is a photo of cat."),
            ("just a photo", "just a photo"),
            ("", ""),
            ("{0} next to a {0}", "cat next to a cat"),
            ("{{x}} {} {{}}", "{x} cat {}"),
            ("{{{}}}", "{cat}"),
            ("[{:>8}]", "[     cat]"),
            ("[{:<5}]", "[cat  ]"),
            ("[{:^6}]", "[ cat  ]"),
            ("[{:*^6}]", "[*cat**]"),
            ("[{:5}]", "[cat  ]"),
            ("[{:05}]", "[cat00]"),
            ("[{:.2}]", "[ca]"),
            ("[{:>4.2s}]", "[  ca]"),
            ("{!s}", "cat"),
            ("{!s:>4}", " cat"),
            ("{00}", "cat"),
        ] {
            assert_eq!(fill(template, "cat").as_deref(), Ok(expected), "{template}");
        }
        assert_eq!(fill("{:>3}", "é").as_deref(), Ok("  é"), "characters, not bytes");
        assert_eq!(fill("{} here", "{}").as_deref(), Ok("{} here"), "braces of a prompt stay");
    }

    #[test]
    fn templates_that_python_rejects_are_errors() {
        for template in [
            "{",
            "}",
            "a {",
            "{} and {}",
            "{label}",
            "{1}",
            "{} {0}",
            "{0} {}",
            "{.upper}",
            "{[0]}",
            "{:d}",
            "{:=5}",
            "{:{}}",
            "{!x}",
            "{!}",
            "{:,}",
            "{:5",
            "{:.}",
            "a } b",
        ] {
            assert!(fill(template, "cat").is_err(), "{template}: {:?}", fill(template, "cat"));
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(template in "[{}0:!<>^.s*a-c é]{0,12}", prompt in ".{0,5}") {
            if let Ok(parsed) = template.parse::<Template>() {
                prop_assert_eq!(parsed.to_string(), template);
                let _ = parsed.fill(&prompt);
            }
        }
    }
}
