//! Broken YAML, told in words that help: what the parser says is right, but seldom what the typist needs to hear.

use granit_parser::{ErrorKind, ScanError};

use super::error::{Mistake, Span, floor};

/// The first place where the text stops being YAML.
pub(super) fn explain(file: usize, text: &str, error: &ScanError) -> Mistake {
    let at = floor(text, error.marker().byte_offset().unwrap_or(0));
    let line = line_around(text, at);
    let message = match error.kind() {
        ErrorKind::RecursionLimitExceeded => "this is nested too deeply".to_owned(),
        ErrorKind::UnknownAnchor => "an alias to an anchor that is not defined before it".to_owned(),
        _ if starts_with_tab(line) => "a tab in the indentation".to_owned(),
        kind => format!("this is not YAML: {kind}"),
    };
    let end = text[at..]
        .chars()
        .next()
        .filter(|letter| *letter != '\n')
        .map_or(at, |letter| at + letter.len_utf8());
    Mistake::new(Span { file, start: at, end }, message, remedy(error.kind(), line))
}

fn remedy(kind: &ErrorKind, line: &str) -> &'static str {
    let content = line.trim_start();
    match kind {
        ErrorKind::RecursionLimitExceeded => "a configuration needs a few levels only",
        ErrorKind::UnknownAnchor => "text that begins with `*` needs quotes",
        _ if starts_with_tab(line) => "YAML is indented with spaces only",
        ErrorKind::UnclosedQuotedScalar => "a quote was opened here and never closed",
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "every `[` needs its `]`, and every `{` its `}`"
        }
        _ if line.contains("${") => "inside `{...}` and `[...]` a value with `${...}` needs quotes",
        ErrorKind::UnexpectedCharacter { .. } => {
            "put quotes around text that begins with a special character"
        }
        _ if lacks_space_after_colon(content) => "put a space behind the colon: `key: value`",
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "text with a colon followed by a space needs quotes"
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            "put the quotes around the whole text"
        }
        _ => "look at the indentation here and in the line above, and at quotes and brackets",
    }
}

fn starts_with_tab(line: &str) -> bool {
    line[..line.len() - line.trim_start().len()].contains('\t')
}

/// `key:value`, but not `mqtt://host`.
fn lacks_space_after_colon(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
    let rest = &line[word.len()..];
    !word.is_empty()
        && rest.starts_with(':')
        && !rest.starts_with(": ")
        && !rest.starts_with("://")
        && rest.len() > 1
}

fn line_around(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    &text[start..end]
}
