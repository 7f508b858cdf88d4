//! Explains broken YAML: the parser's own message is correct, but it often names a late consequence instead of the cause.

use granit_parser::{ErrorKind, ScanError};

use super::error::{Mistake, Span, floor, line_number};

/// The first place where the text is no YAML. `bracket` is the innermost bracket that is open there.
pub fn explain(file: usize, text: &str, error: &ScanError, bracket: Option<usize>) -> Mistake {
    let at = floor(text, error.marker().byte_offset().unwrap_or(0));
    let kind = error.kind();
    let mistake = |at: usize, message: &str, remedy: &str| {
        let letter = text[at..].chars().next().filter(|letter| *letter != '\n').map_or(0, char::len_utf8);
        Mistake::new(Span { file, start: at, end: at + letter }, message, remedy)
    };

    let (line_start, line) = line_around(text, at);
    if let Some(tab) = line[..line.len() - line.trim_start().len()].find('\t') {
        return mistake(line_start + tab, "a tab in the indentation", "YAML is indented with spaces only");
    }
    if let Some(colon) = colon_without_space(text, line_start) {
        return mistake(colon, "no space after a colon", "write `key: value`");
    }
    match (kind, bracket) {
        (ErrorKind::RecursionLimitExceeded, _) => {
            mistake(at, "this is nested too deeply", "a configuration needs only a few levels")
        }
        (ErrorKind::UnknownAnchor, _) => mistake(
            at,
            "an alias to an anchor that is not defined before it",
            "text that begins with `*` needs quotes",
        ),
        (_, Some(bracket)) if line_number(text, bracket) < line_number(text, at) => {
            let message =
                format!("a bracket is not closed: the YAML breaks off in line {}", line_number(text, at));
            mistake(bracket, &message, "every `[` needs a `]`, and every `{` a `}`")
        }
        _ => mistake(at, &format!("this is not YAML: {kind}"), remedy(kind, line)),
    }
}

fn remedy(kind: &ErrorKind, line: &str) -> &'static str {
    match kind {
        ErrorKind::UnclosedQuotedScalar => "a quote was opened here and never closed",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::MisplacedFlowCollectionEnd => "every `[` needs a `]`, and every `{` a `}`",
        _ if line.contains("${") => "inside `{...}` and `[...]` a value with `${...}` needs quotes",
        ErrorKind::UnexpectedCharacter { .. } => {
            "put quotes around text that begins with a special character"
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "text with a colon followed by a space needs quotes"
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            "put the quotes around the whole text"
        }
        _ => "check the indentation here and in the line above, and quotes and brackets",
    }
}

/// The colon of a `key:value` in the line at `line_start` or in the line above: without a space it joins the two lines.
fn colon_without_space(text: &str, line_start: usize) -> Option<usize> {
    let previous = text[..line_start].trim_end().len();
    [line_start, line_around(text, previous).0].into_iter().find_map(|start| {
        let (_, line) = line_around(text, start);
        let indent = line.len() - line.trim_start().len();
        let key = line[indent..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')?;
        let rest = &line[indent + key..];
        let lacking =
            rest.len() > 1 && rest.starts_with(':') && !rest.starts_with(": ") && !rest.starts_with("://");
        (lacking && key > 0).then_some(start + indent + key)
    })
}

/// The start of the line around `at`, and the line.
fn line_around(text: &str, at: usize) -> (usize, &str) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    (start, text[start..end].trim_end_matches('\r'))
}
