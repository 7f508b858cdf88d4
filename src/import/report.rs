//! What was imported and what was left out.

use crate::config::draft::{Draft, DraftLabel, DraftSet};

/// What prevents that a picture without any of the labels scores high.
const BACKGROUND: [&str; 2] = ["an empty scene", "something else"];
/// What is watched for if nothing is said.
const USUAL: &str = "a person";

/// What the caller says in addition to the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The model; `None` is the bundled one.
    pub model: Option<String>,
    /// The broker, if the file has none.
    pub broker: Option<String>,
    /// What to watch for, in words, instead of what the file says.
    pub watch_for: Vec<String>,
}

/// The result of an import.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The configuration.
    pub draft: Draft,
    /// What was left out or changed, in the order of the lines.
    pub notes: Vec<Note>,
}

/// Something that was left out or changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The line in the file, from 1; `None` is the file as a whole.
    pub line: Option<usize>,
    /// What, and why.
    pub text: String,
}

/// The notes so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    notes: Vec<Note>,
}

impl Report {
    pub(super) fn note(&mut self, line: usize, text: impl Into<String>) {
        self.notes.push(Note { line: Some(line), text: text.into() });
    }

    pub(super) fn whole(&mut self, text: impl Into<String>) {
        self.notes.push(Note { line: None, text: text.into() });
    }

    /// The notes in the order of the lines, those about the whole file first.
    pub(super) fn into_notes(mut self) -> Vec<Note> {
        self.notes.sort();
        self.notes.dedup();
        self.notes
    }
}

/// A label set for these words.
pub(super) fn label_set(name: &str, words: &[String]) -> DraftSet {
    let usual = [USUAL.to_owned()];
    let words = if words.is_empty() { &usual[..] } else { words };
    let mut labels = Vec::<DraftLabel>::new();
    for label in words.iter().map(|words| DraftLabel::of(words)) {
        if !labels.iter().any(|known| known.name == label.name) {
            labels.push(label);
        }
    }
    DraftSet { name: name.to_owned(), background: BACKGROUND.map(str::to_owned).to_vec(), labels }
}
