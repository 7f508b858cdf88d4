//! The sentence around a prompt, with the rules of Python's `str.format`: the reference fills templates in with it.
//!
//! Refuses what makes no sense for one text: a second text (`{1}`), a name (`{label}`), an attribute or an index.

use std::{fmt, iter::Peekable, str::Chars, str::FromStr};

/// A sentence that prompts are put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl FromStr for Template {
    type Err = TemplateError;

    /// Without any slot it is a sentence as well, and every prompt the same one.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        fill(text, "")?;
        Ok(Self(text.to_owned()))
    }
}

impl Template {
    /// The sentence with `prompt` filled in.
    #[must_use]
    pub fn fill(&self, prompt: &str) -> String {
        fill(&self.0, prompt)
            .expect("it was filled in when it was read, and the prompt makes no difference to that")
    }

    /// Whether a prompt makes a difference.
    #[must_use]
    pub fn has_slot(&self) -> bool {
        self.fill("a") != self.fill("b")
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("a single `{0}`; a brace that is meant as such is written twice")]
    Brace(char),
    /// A second `{}`.
    #[error("there is one prompt to fill in, so `{{}}` may stand once; to repeat it write `{{0}}`")]
    Second,
    /// Something else than nothing or a 0 in the braces.
    #[error("`{{{0}}}` cannot be filled in; the prompt is `{{}}`")]
    Field(String),
    /// Both `{}` and `{0}`.
    #[error("`{{}}` and `{{0}}` cannot be mixed")]
    Mixed,
    /// What stands after the colon does not apply to text.
    #[error("`{0}` is not a format for text")]
    Spec(String),
}

/// The template with `prompt` filled in. Without any slot it stays as it is.
///
/// # Errors
/// Where Python raises one.
fn fill(template: &str, prompt: &str) -> Result<String, TemplateError> {
    let mut result = String::with_capacity(template.len() + prompt.len());
    let mut rest = template.chars().peekable();
    let (mut automatic, mut numbered) = (false, false);
    while let Some(character) = rest.next() {
        match character {
            '{' | '}' if rest.next_if_eq(&character).is_some() => result.push(character),
            '}' => return Err(TemplateError::Brace('}')),
            '{' => {
                let field = field(&mut rest)?;
                let (name, conversion, spec) = parts(&field)?;
                match name {
                    "" if automatic => return Err(TemplateError::Second),
                    "" => automatic = true,
                    name if name.bytes().all(|digit| digit == b'0') => numbered = true,
                    _ => return Err(TemplateError::Field(field)),
                }
                if automatic && numbered {
                    return Err(TemplateError::Mixed);
                }
                if !matches!(conversion, None | Some("s")) {
                    return Err(TemplateError::Field(field));
                }
                result.push_str(&formatted(prompt, spec)?);
            }
            character => result.push(character),
        }
    }
    Ok(result)
}

/// What stands between the braces.
fn field(rest: &mut Peekable<Chars<'_>>) -> Result<String, TemplateError> {
    let mut field = String::new();
    for character in rest {
        match character {
            '}' => return Ok(field),
            // Python would look for a nested slot, and there is no second value.
            '{' => return Err(TemplateError::Field(field + "{")),
            character => field.push(character),
        }
    }
    Err(TemplateError::Brace('{'))
}

/// `name!conversion:spec`.
fn parts(field: &str) -> Result<(&str, Option<&str>, &str), TemplateError> {
    let (head, spec) = field.split_once(':').unwrap_or((field, ""));
    match head.split_once('!') {
        None => Ok((head, None, spec)),
        Some((_, "")) => Err(TemplateError::Field(field.to_owned())),
        Some((name, conversion)) => Ok((name, Some(conversion), spec)),
    }
}

/// `[[fill]align][0][width][.precision][s]`, counted in characters.
fn formatted(text: &str, spec: &str) -> Result<String, TemplateError> {
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
        // Nobody means a sentence of more than a few thousand characters.
        let value = (!digits.is_empty()).then(|| digits.parse().ok().filter(|value| *value <= 10_000));
        value.map(|value| value.ok_or_else(wrong)).transpose()
    };
    let width = number(&mut at)?.unwrap_or(0);
    let mut precision = None;
    if characters.get(at) == Some(&'.') {
        at += 1;
        precision = Some(number(&mut at)?.ok_or_else(wrong)?);
    }
    if characters.get(at) == Some(&'s') {
        at += 1;
    }
    if at != characters.len() {
        return Err(wrong());
    }
    let text: String = text.chars().take(precision.unwrap_or(usize::MAX)).collect();
    let missing = width.saturating_sub(text.chars().count());
    let left = match side {
        '<' => 0,
        '>' => missing,
        _ => missing / 2,
    };
    let fill = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(format!("{}{text}{}", fill(left), fill(missing - left)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn templates_that_python_refuses_are_errors() {
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
        fn no_template_is_too_odd(template in "[{}0:!<>^.s*a-c é]{0,12}", prompt in ".{0,5}") {
            let parsed = template.parse::<Template>().map(|template| template.fill(&prompt));
            prop_assert_eq!(parsed, fill(&template, &prompt));
        }
    }
}
