//! The problems of a configuration, as people see them: file, line, column, the line itself with a caret below, and a remedy;
//! and the place of each setting, for problems that are found later.
//!
//! All problems are shown at once. A line is masked before it is stored, so that no problem can show a password.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::mask;
use crate::{shortage::Shortage, terminal};

/// The most problems that are reported.
pub(crate) const MOST_PROBLEMS: usize = 200;

/// All problems, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    problems: Vec<Problem>,
    /// Why a file could not be read for now. Then nothing is known about the configuration, and the problems may be none.
    shortage: Option<Shortage>,
}

/// The place of each setting by its path: `mqtt.url`, `label_sets.porch.labels.package`. Two configurations are equal wherever
/// their lines are, so this is not part of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub(crate) files: Files,
    pub(crate) spans: BTreeMap<String, Span>,
}

impl Places {
    /// A problem with the setting at `path`, or with the nearest setting above it that is in the file.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        match self.span(path) {
            Some(span) => self.files.problem(Mistake::new(span, message, remedy)),
            None => self.files.problem_of_file(0, message.into(), remedy.into()),
        }
    }

    /// `FILE:LINE:COLUMN` of the setting at `path`, if a file has it.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<String> {
        let span = self.spans.get(path)?;
        let text = self.files.text(span.file);
        let start = floor(text, span.start);
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Some(format!("{}:{}", self.files.name_line(*span), 1 + text[line..start].chars().count()))
    }

    /// The place of the setting at `path`, or of the nearest setting above it that is in a file.
    pub(super) fn span(&self, path: &str) -> Option<Span> {
        let mut prefix = path;
        loop {
            if let Some(span) = self.spans.get(prefix) {
                return Some(*span);
            }
            prefix = &prefix[..prefix.rfind('.')?];
        }
    }
}

impl Problems {
    /// Sorts problems; a problem that was found twice at one place (through a YAML alias) is kept once.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.order);
        problems.dedup();
        Self { problems, shortage: None }
    }

    /// The same problems, found while a file could not be read because of `shortage`, if there was one.
    #[must_use]
    pub fn with_shortage(self, shortage: Option<Shortage>) -> Self {
        Self { shortage, ..self }
    }

    /// Why a file could not be read for now: the same configuration may be valid at the next try.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }

    /// The problems in order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The same problems. The text of a problem that has a part of one of these values is replaced: the person who wrote the
    /// configuration may not know the values of its references.
    #[must_use]
    pub fn without(mut self, values: &[mask::Secret]) -> Self {
        for problem in &mut self.problems {
            let reveals = |value: &mask::Secret| {
                [&problem.message, &problem.remedy].iter().any(|text| mask::reveals(text, value))
            };
            if values.iter().any(reveals) {
                problem.message = "a value that a reference provides is not accepted here".to_owned();
                problem.remedy =
                    "check what the reference provides; `stakeout check` on the machine shows the whole message".to_owned();
            }
        }
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem found"),
            n if n >= MOST_PROBLEMS => write!(f, "{n} problems found; there may be more"),
            n => write!(f, "{n} problems found"),
        }
    }
}

impl std::error::Error for Problems {}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    /// How to correct it; may have several lines, or be empty.
    remedy: String,
    file: PathBuf,
    /// The place in the file; `None` for the file as a whole.
    excerpt: Option<Excerpt>,
    /// The number of the file and the offset in it.
    order: (usize, usize),
}

impl Problem {
    /// The problem in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How to correct it; may have several lines, or be empty.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The place in the file; `None` for the file as a whole.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let Excerpt { line, column, length, .. } = *self.excerpt.as_ref()?;
        Some(Place { line, column, length })
    }
}

/// Where a problem is in its file, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The first character in the line, from 1.
    pub column: usize,
    /// The number of characters in that line, at least 1.
    pub length: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.excerpt.as_ref().map(|excerpt| excerpt.line.to_string()).unwrap_or_default();
        let margin = " ".repeat(line.len().max(1));
        writeln!(f, "error: {}", self.message)?;
        write!(f, "{margin}--> {}", terminal::one_line(&self.file.to_string_lossy()))?;
        if let Some(Excerpt { column, text, caret, .. }) = &self.excerpt {
            writeln!(f, ":{line}:{column}")?;
            writeln!(f, "{margin} |")?;
            writeln!(f, "{line} | {text}")?;
            write!(f, "{margin} | {}{}", " ".repeat(caret.start), "^".repeat(caret.len()))?;
        }
        for (number, remedy) in self.remedy.lines().enumerate() {
            let start = if number == 0 { "= help: " } else { "        " };
            write!(f, "\n{margin} {}", format!("{start}{remedy}").trim_end())?;
        }
        Ok(())
    }
}

/// A line with its secrets masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: usize,
    column: usize,
    /// In characters.
    length: usize,
    text: String,
    /// In columns of a terminal.
    caret: Range<usize>,
}

/// A place in one of the files: bytes `start..end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

/// A problem at a place, without the text of the file.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub span: Span,
    pub message: String,
    pub remedy: String,
}

impl Mistake {
    pub(crate) fn new(span: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { span, message: message.into(), remedy: remedy.into() }
    }
}

/// The files of a configuration; a [`Span`] has the number of one. The main file is the first.
#[derive(Clone, Default)]
pub(crate) struct Files(Vec<(PathBuf, String)>);

/// The texts may hold passwords.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(path, _)| path)).finish()
    }
}

impl Files {
    /// Adds a file, and returns its number.
    pub(crate) fn add(&mut self, path: &Path, text: String) -> usize {
        self.0.push((path.to_owned(), text));
        self.0.len() - 1
    }

    pub(crate) fn path(&self, file: usize) -> Option<&Path> {
        self.0.get(file).map(|(path, _)| &**path)
    }

    pub(crate) fn text(&self, file: usize) -> &str {
        self.0.get(file).map_or("", |(_, text)| text)
    }

    pub(crate) fn problem(&self, mistake: Mistake) -> Problem {
        let Span { file, start, .. } = mistake.span;
        Problem {
            excerpt: Some(excerpt(self.text(file), mistake.span)),
            order: (file, start + 1),
            ..self.problem_of_file(file, mistake.message, mistake.remedy)
        }
    }

    /// A problem with a file as a whole: a key is missing, or the file cannot be read.
    pub(crate) fn problem_of_file(&self, file: usize, message: String, remedy: String) -> Problem {
        let path = self.0.get(file).map(|(path, _)| path.clone()).unwrap_or_default();
        Problem { message, remedy, file: path, excerpt: None, order: (file, 0) }
    }

    /// `FILE:LINE`, for a message that refers to another place.
    pub(crate) fn name_line(&self, span: Span) -> String {
        let path = self.path(span.file).map(Path::to_string_lossy).unwrap_or_default();
        let path = terminal::one_line(&path);
        format!("{path}:{}", self.line(span))
    }

    pub(crate) fn line(&self, span: Span) -> usize {
        line_number(self.text(span.file), span.start)
    }
}

/// The number of the line around `at`, from 1.
pub(crate) fn line_number(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// The line around `span`, without secrets and control characters; a very long line is cut to the part around the caret.
fn excerpt(text: &str, span: Span) -> Excerpt {
    let start = floor(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[line_start..line_end].trim_end_matches('\r');
    let from = (start - line_start).min(line.len());
    let to = floor(line, span.end.saturating_sub(line_start)).max(from);

    // A line may be as long as the file: only the part around the caret is processed.
    let window = floor(line, from.saturating_sub(1000))..floor(line, from + 1000);
    let hidden = mask::hidden(text, line_start..line_start + line.len()).unwrap_or(0..0);
    let marked = from..to.max(from + 1);
    let (mut shown, mut end, mut mask_start, mut caret) = (String::new(), 0, None, None::<Range<usize>>);
    for (at, letter) in line[window.clone()].char_indices().map(|(at, letter)| (at + window.start, letter)) {
        let start = if hidden.contains(&at) {
            // A hidden part of any length becomes one mask, and a caret on any of it marks all of the mask.
            *mask_start.get_or_insert_with(|| {
                shown.push_str(mask::HIDDEN);
                end += mask::HIDDEN.len();
                end - mask::HIDDEN.len()
            })
        } else {
            let letter = mask::printable(letter);
            shown.push(letter);
            end += letter.width().unwrap_or(0);
            end - letter.width().unwrap_or(0)
        };
        if marked.contains(&at) {
            caret = Some(caret.map_or(start, |caret| caret.start)..end.max(start + 1));
        }
    }
    let (shown, caret) = cut(&shown, caret.unwrap_or(end..end + 1));
    let column = 1 + line[..from].chars().count();
    let length = line[from..to].chars().count().max(1);
    Excerpt { line: line_number(text, start), column, length, text: shown, caret }
}

/// Keeps at most `WIDEST` columns around the caret.
fn cut(line: &str, caret: Range<usize>) -> (String, Range<usize>) {
    const WIDEST: usize = 140;
    if line.width() <= WIDEST {
        return (line.trim_end().to_owned(), caret);
    }
    let from = caret.start.saturating_sub(WIDEST / 2);
    let (mut kept, mut column) = (String::new(), 0);
    for letter in line.chars() {
        if (from..from + WIDEST).contains(&column) {
            kept.push(letter);
        }
        column += letter.width().unwrap_or(0);
    }
    let (start, mut left) = (caret.start - from, 0);
    if from > 0 {
        kept.insert_str(0, "... ");
        left = 4;
    }
    (kept, start + left..(caret.end - from).min(WIDEST) + left)
}

/// `at`, or the next smaller offset at the start of a character.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
