//! Texts with placeholders in braces, as templates, messages and name patterns have them. `{{` and `}}` are plain braces.

/// A part of a text with placeholders of the type `P`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextPart<P> {
    /// Plain text.
    Text(String),
    /// A placeholder.
    Place(P),
}

/// A brace without its partner.
pub(super) struct SingleBrace(pub char);

impl From<SingleBrace> for String {
    fn from(SingleBrace(brace): SingleBrace) -> Self {
        format!("there is a single `{brace}`: write a plain brace twice")
    }
}

/// Plain text with its braces written twice, as it is typed.
pub(super) fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// Splits `text` at its placeholders; `place` reads the text between two braces.
pub(super) fn parse<P, E: From<SingleBrace>>(
    text: &str,
    mut place: impl FnMut(&str) -> Result<P, E>,
) -> Result<Vec<TextPart<P>>, E> {
    let (mut parts, mut plain, mut rest) = (vec![], String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let field = if brace == "{" { after.split_once('}') } else { None };
        let Some((field, after)) = field else {
            return Err(SingleBrace(if brace == "{" { '{' } else { '}' }).into());
        };
        if !plain.is_empty() {
            parts.push(TextPart::Text(std::mem::take(&mut plain)));
        }
        parts.push(TextPart::Place(place(field)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(TextPart::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_at_its_placeholders() {
        let split = |text: &str| {
            let parts = parse(text, |field| Ok::<_, String>(field.to_owned()))?;
            Ok(parts.into_iter().fold(String::new(), |all, part| match part {
                TextPart::Text(text) => format!("{all}[{text}]"),
                TextPart::Place(place) => format!("{all}<{place}>"),
            }))
        };
        for (text, expected) in [
            ("", Ok("")),
            ("plain", Ok("[plain]")),
            ("a {b} c{d}", Ok("[a ]<b>[ c]<d>")),
            ("{}{{{x}}}", Ok("<>[{]<x>[}]")),
            ("é{ß}", Ok("[é]<ß>")),
            ("a } b", Err("there is a single `}`: write a plain brace twice")),
            ("a {b", Err("there is a single `{`: write a plain brace twice")),
        ] {
            assert_eq!(split(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
