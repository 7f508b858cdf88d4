//! Explains broken YAML: the parser's own message is correct, but it often names a late consequence instead of the cause.
//!
//! An explanation also says how the line could be read. The rest of the file can then be read, and all mistakes are reported at
//! once.

use granit_parser::ErrorKind;

use super::{
    edits::{Edit, Loss},
    error::{Mistake, Span, floor, line_number},
    lines::{indentation, key, key_without_colon, line, lines_above, start_of_line, without_comment},
    mask,
};

/// A place where a text is no YAML.
#[derive(Debug)]
pub struct Fault {
    /// What to report.
    pub mistake: Mistake,
    /// Ways to read the text at this place, the best first; there may be none.
    pub repairs: Vec<Vec<Edit>>,
}

/// A fault that no small change repairs.
impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        Self { mistake, repairs: vec![] }
    }
}

/// What the parser reported.
#[derive(Clone, Copy)]
pub struct Report<'e> {
    /// The number of the file.
    pub file: usize,
    /// Where, in the text as typed.
    pub at: usize,
    /// What.
    pub kind: &'e ErrorKind,
    /// The innermost bracket that is open there.
    pub bracket: Option<usize>,
}

/// The cause of what the parser reported about `text`.
pub fn explain(text: &str, report: Report<'_>) -> Fault {
    let report = Report { at: floor(text, report.at), ..report };
    let causes: [fn(&str, Report<'_>) -> Option<Fault>; 8] = [
        tab,
        no_space_after_colon,
        special_kind,
        unclosed_bracket,
        unclosed_quote,
        missing_colon,
        wrong_indentation,
        colon_in_text,
    ];
    causes.iter().find_map(|cause| cause(text, report)).unwrap_or_else(|| {
        let words = line(text, start_of_line(text, report.at));
        Fault::from(report.mistake(
            text,
            &format!("this is not YAML: {}", report.kind),
            remedy(report.kind, words),
        ))
    })
}

impl Report<'_> {
    /// A mistake at the reported place.
    fn mistake(&self, text: &str, message: &str, remedy: &str) -> Mistake {
        self.mistake_at(text, self.at, message, remedy)
    }

    fn mistake_at(&self, text: &str, at: usize, message: &str, remedy: &str) -> Mistake {
        let letter = text[at..].chars().next().filter(|letter| *letter != '\n').map_or(0, char::len_utf8);
        Mistake::new(Span { file: self.file, start: at, end: at + letter }, message, remedy)
    }
}

/// A tab in the indentation. All of them are read as two spaces, so that they are reported once.
fn tab(text: &str, report: Report<'_>) -> Option<Fault> {
    let start = start_of_line(text, report.at);
    let tab = start + line(text, start)[..indentation(line(text, start))].find('\t')?;
    let mistake =
        report.mistake_at(text, tab, "a tab in the indentation", "YAML is indented with spaces only");
    let mut edits = vec![];
    let mut next = 0;
    for words in text.split_inclusive('\n') {
        let tabs = words[..indentation(words)].match_indices('\t');
        let edit = |at: usize| Edit { range: at..at + 1, with: "  ".to_owned(), loss: None };
        edits.extend(tabs.map(|(at, _)| edit(next + at)));
        next += words.len();
    }
    Some(Fault { mistake, repairs: vec![edits] })
}

/// A `key:value`, in this line or in the line above: without a space the colon is a part of the text.
fn no_space_after_colon(text: &str, report: Report<'_>) -> Option<Fault> {
    let start = start_of_line(text, report.at);
    let colon = std::iter::once(start).chain(lines_above(text, start).take(1)).find_map(|start| {
        let words = line(text, start);
        let indent = indentation(words);
        let end = indent + words[indent..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')?;
        let rest = &words[end..];
        let lacking =
            rest.len() > 1 && rest.starts_with(':') && !rest.starts_with(": ") && !rest.starts_with("://");
        (lacking && end > indent).then_some(start + end)
    })?;
    let mistake = report.mistake_at(text, colon, "no space after a colon", "write `key: value`");
    Some(Fault { mistake, repairs: vec![vec![Edit::insert(colon + 1, " ")]] })
}

fn special_kind(text: &str, report: Report<'_>) -> Option<Fault> {
    let (message, remedy) = match report.kind {
        ErrorKind::RecursionLimitExceeded => {
            ("this is nested too deeply", "a configuration needs only a few levels")
        }
        ErrorKind::UnknownAnchor => {
            ("an alias to an anchor that is not defined before it", "text that begins with `*` needs quotes")
        }
        _ => return None,
    };
    Some(Fault::from(report.mistake(text, message, remedy)))
}

/// A bracket of an earlier line that is still open.
fn unclosed_bracket(text: &str, report: Report<'_>) -> Option<Fault> {
    let bracket = report.bracket?;
    let breaks_off = line_number(text, report.at);
    if line_number(text, bracket) >= breaks_off {
        return None;
    }
    let message = format!("a bracket is not closed: the YAML breaks off in line {breaks_off}");
    let mistake = report.mistake_at(text, bracket, &message, "every `[` needs a `]`, and every `{` a `}`");
    let start = start_of_line(text, bracket);
    let end = start + without_comment(line(text, start)).len();
    let closing = if text[bracket..].starts_with('[') { "]" } else { "}" };
    let insert =
        Edit { loss: Some(Loss { range: bracket..end, names: false }), ..Edit::insert(end, closing) };
    Some(Fault { mistake, repairs: vec![vec![insert]] })
}

/// A quote in this line or above that is not closed in its line, so that it ends at the next quote or never.
fn unclosed_quote(text: &str, report: Report<'_>) -> Option<Fault> {
    let own = start_of_line(text, report.at);
    let mut ends = 0;
    let quote = std::iter::once(own).chain(lines_above(text, own)).find_map(|start| {
        match open_quote(without_comment(line(text, start))) {
            // A text over several lines is closed below its first line.
            Some(_) if ends > 0 => {
                ends -= 1;
                None
            }
            Some(at) => Some(start + at),
            None => {
                let words = line(text, start).trim();
                ends += usize::from(
                    start != own
                        && words.ends_with(['"', '\''])
                        && key(words).is_none()
                        && !words.starts_with('-'),
                );
                None
            }
        }
    })?;
    let start = start_of_line(text, quote);
    let end = start + line(text, start).trim_end().len();
    let mistake = report.mistake_at(
        text,
        quote,
        "a quote is not closed in its line",
        "write the same quote at the end of the text",
    );
    let loss = Some(Loss { range: quote..end, names: false });
    let insert = Edit { loss, ..Edit::insert(end, &text[quote..=quote]) };
    Some(Fault { mistake, repairs: vec![vec![insert]] })
}

/// Whether `letter` and the next one are one escaped letter in a text between these quotes.
fn is_escape(quote: char, letter: char, next: Option<char>) -> bool {
    if quote == '"' { letter == '\\' } else { letter == '\'' && next == Some('\'') }
}

/// The quote that begins a value of a line and is not closed in it.
fn open_quote(words: &str) -> Option<usize> {
    let mut open: Option<(usize, char)> = None;
    let mut letters = words.char_indices().peekable();
    // The last letter that is no space: a quote within a text is a letter like any other.
    let mut before = ':';
    while let Some((at, letter)) = letters.next() {
        match open {
            None if matches!(letter, '"' | '\'') && matches!(before, ':' | '-' | '[' | '{' | ',') => {
                open = Some((at, letter))
            }
            Some((_, quote)) if is_escape(quote, letter, letters.peek().map(|(_, next)| *next)) => {
                letters.next();
            }
            Some((_, quote)) if letter == quote => open = None,
            _ => {}
        }
        if !letter.is_whitespace() {
            before = letter;
        }
    }
    open.map(|(at, _)| at)
}

/// A line without the colon after its key: this one, or the one above, which then seems to go on here.
fn missing_colon(text: &str, report: Report<'_>) -> Option<Fault> {
    if report.bracket.is_some() {
        return None;
    }
    let own = start_of_line(text, report.at);
    let (start, words, name, value) =
        std::iter::once(own).chain(lines_above(text, own).take(1)).find_map(|start| {
            let words = line(text, start);
            let indent = indentation(words);
            let (name, value) = key_without_colon(&words[indent..])?;
            let in_block_text = lines_above(text, start)
                .find(|above| indentation(line(text, *above)) < indent)
                .is_some_and(|above| {
                    without_comment(line(text, above)).ends_with(['|', '>', '-', '+'])
                        && line(text, above).contains(['|', '>'])
                });
            (!in_block_text).then_some((start, words, name, value))
        })?;
    let begins = start + indentation(words);
    let ends = begins + name.len();
    let shown = mask::shown(name);
    let value = if mask::is_secret(name) { "..." } else { value };
    let remedy = format!("write `{}`", format!("{shown}: {}", mask::shown(value)).trim_end());
    let span = Span { file: report.file, start: begins, end: ends };
    let mistake = Mistake::new(span, format!("there is no colon after `{shown}`"), remedy);
    Some(Fault { mistake, repairs: vec![vec![Edit::insert(ends, ":")]] })
}

/// A line whose indentation fits no line above.
fn wrong_indentation(text: &str, report: Report<'_>) -> Option<Fault> {
    let start = start_of_line(text, report.at);
    let words = line(text, start);
    let depth = indentation(words);
    if report.bracket.is_some() || depth == words.len() {
        return None;
    }
    let above = lines_above(text, start).next()?;
    let of = |start: usize| indentation(line(text, start));
    let value_above = key(line(text, above).trim_start())
        .is_some_and(|key| line(text, above).trim_start().len() > key.len() + 1);
    let mut fits = vec![of(above)];
    for start in lines_above(text, above) {
        if fits.last().is_some_and(|last| of(start) < *last) {
            fits.push(of(start));
        }
    }
    let deeper = depth > fits[0];
    let message = if deeper && value_above && key(&words[depth..]).is_some() {
        "this line is indented deeper than the line above, which has a value already".to_owned()
    } else if !deeper && !fits.contains(&depth) {
        format!("the indentation of this line, {depth} spaces, is that of no line above")
    } else {
        return None;
    };
    let remedy =
        format!("indent it like its neighbours: by {} spaces if it belongs to the line above", fits[0]);
    let mistake = report.mistake_at(text, start + depth, &message, &remedy);
    let aligned = |&depth_above: &usize| {
        vec![Edit { range: start..start + depth, with: " ".repeat(depth_above), loss: None }]
    };
    Some(Fault { mistake, repairs: fits.iter().map(aligned).collect() })
}

/// `template: a photo: {}`.
fn colon_in_text(text: &str, report: Report<'_>) -> Option<Fault> {
    let is_colon =
        matches!(report.kind, ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement);
    let before = text[..report.at].trim_end().len();
    is_colon.then(|| {
        let at = if text[report.at..].starts_with(':') { report.at } else { before };
        Fault::from(report.mistake_at(
            text,
            at,
            "a colon in a text without quotes",
            "text with a colon followed by a space needs quotes",
        ))
    })
}

fn remedy(kind: &ErrorKind, words: &str) -> &'static str {
    match kind {
        ErrorKind::UnclosedQuotedScalar => "a quote was opened here and never closed",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::MisplacedFlowCollectionEnd => "every `[` needs a `]`, and every `{` a `}`",
        _ if words.contains("{}") => "inside `{...}` and `[...]` a value with `{}` needs quotes",
        _ if words.contains("${") => "inside `{...}` and `[...]` a value with `${...}` needs quotes",
        ErrorKind::UnexpectedCharacter { .. } => {
            "put quotes around text that begins with a special character"
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            "put the quotes around the whole text"
        }
        _ => "check the indentation here and in the line above, and quotes and brackets",
    }
}
