//! Reads typed values out of the raw tree and keeps every mistake, so that one never hides the next.
//!
//! A reading that fails returns `None` and has said why; the builders then go on with whatever stands in.

use std::{
    ffi::OsString,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    error::{MOST_PROBLEMS, Mistake, Problem, Span},
    interpolate::{References, UNSEEN, interpolate},
    mask,
    places::Places,
    tree::{Entry, Node, Value},
};
use crate::yaml::names;

/// The longest name: three of them and the prefix must fit into a topic.
const LONGEST_NAME: usize = 200;

/// What a configuration takes from the machine.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The name of this machine.
    pub hostname: &'a str,
    /// Whether the process runs as root.
    pub superuser: bool,
    /// Whether credentials that cannot be read are put up with.
    pub unseen: bool,
}

/// The accumulator: what was found where, and what is wrong.
pub(crate) struct Reader<'a> {
    pub places: Places,
    pub problems: Vec<Problem>,
    pub surroundings: &'a Surroundings<'a>,
    /// Relative paths begin here: the folder of the main file.
    pub folder: PathBuf,
    /// Some credential could not be seen.
    pub unseen: bool,
}

/// One `name: value` and its path from the root.
#[derive(Clone)]
pub(crate) struct Setting<'n> {
    pub path: String,
    pub name: &'n str,
    pub key: Span,
    pub node: &'n Node,
    /// It has no key of its own: it is one of the values of a list of this name.
    pub in_list: bool,
}

/// Where a text stands, and from where on it is there letter by letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextPlace {
    span: Span,
    /// `None` where it was typed in another way than it is read: over several lines, or with references.
    begins: Option<usize>,
}

impl TextPlace {
    /// The place of a part of the text; of the whole where that cannot be told.
    pub fn part(&self, part: Range<usize>) -> Span {
        let of = |begins| Span { start: begins + part.start, end: begins + part.end, ..self.span };
        self.begins.map_or(self.span, of)
    }
}

/// A mapping whose keys are ours.
pub(crate) struct Section<'n> {
    path: String,
    entries: &'n [Entry],
    /// The keys that unknown ones seem to mean.
    meant: Vec<String>,
}

impl<'n> Section<'n> {
    /// The setting of this name, if it was typed.
    pub fn get(&self, name: &str) -> Option<Setting<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(setting(&self.path, entry))
    }

    /// Whether this setting was not even attempted: if it was misspelt, that is said already.
    pub fn lacks(&self, name: &str) -> bool {
        self.get(name).is_none() && !self.meant.iter().any(|meant| meant == name)
    }
}

impl<'n> Setting<'n> {
    /// The value as it may be shown.
    pub fn shown(&self) -> String {
        match &self.node.value {
            Value::Nothing => "nothing".to_owned(),
            Value::Text(_) if mask::is_secret(self.name) => mask::HIDDEN.to_owned(),
            Value::Text(text) => format!("`{}`", mask::shown(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// What it is called in a message.
    fn title(&self) -> String {
        let name = mask::shown(self.name);
        if self.in_list { format!("one of `{name}`") } else { format!("`{name}`") }
    }

    /// The value's place, or the key's where there is no value.
    pub fn span(&self) -> Span {
        if matches!(self.node.value, Value::Nothing) { self.key } else { self.node.span }
    }
}

fn setting<'n>(path: &str, entry: &'n Entry) -> Setting<'n> {
    let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
    Setting { path, name: &entry.key, key: entry.key_span, node: &entry.value, in_list: false }
}

impl Reader<'_> {
    pub fn problem(&mut self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(self.places.files.problem(Mistake::new(span, message, remedy)));
        }
    }

    /// The setting must be something else than it is.
    pub fn must_be(&mut self, setting: &Setting<'_>, expected: &str, remedy: impl Into<String>) {
        let message = match setting.node.value {
            Value::Nothing => format!("{} has no value, and must be {expected}", setting.title()),
            _ => format!("{} must be {expected}, not {}", setting.title(), setting.shown()),
        };
        self.problem(setting.span(), message, remedy);
    }

    /// A mapping with keys that are all among `known`.
    pub fn section<'n>(&mut self, at: &Setting<'n>, known: &[&str], remedy: &str) -> Option<Section<'n>> {
        self.section_with(at, known, &[], remedy)
    }

    /// A mapping with keys among `known`, or among `refused`: those the caller knows, and has more to say about.
    pub fn section_with<'n>(
        &mut self,
        at: &Setting<'n>,
        known: &[&str],
        refused: &[&str],
        remedy: &str,
    ) -> Option<Section<'n>> {
        let Value::Mapping(entries) = &at.node.value else {
            self.must_be(at, "a mapping", remedy);
            return None;
        };
        let mut meant = vec![];
        for entry in entries {
            self.place(&setting(&at.path, entry));
            if !known.contains(&&*entry.key) && !refused.contains(&&*entry.key) {
                let message = format!("unknown key `{}`", mask::shown(&entry.key));
                self.problem(entry.key_span, message, names::suggest(&entry.key, known));
                meant.extend(names::nearest(&entry.key, known.iter().copied()).map(str::to_owned));
            }
        }
        Some(Section { path: at.path.clone(), entries, meant })
    }

    /// A mapping whose keys are names that people choose, of which there must be one at least.
    pub fn named<'n>(&mut self, at: &Setting<'n>, remedy: &str) -> Vec<Setting<'n>> {
        match &at.node.value {
            Value::Mapping(entries) if !entries.is_empty() => {
                let settings: Vec<_> = entries.iter().map(|entry| setting(&at.path, entry)).collect();
                for setting in &settings {
                    self.check_name(setting.name, setting.key);
                    self.places.spans.insert(setting.path.clone(), setting.key);
                }
                settings
            }
            Value::Mapping(_) => {
                self.problem(at.span(), format!("`{}` is empty", at.name), remedy);
                vec![]
            }
            _ => {
                self.must_be(at, "a mapping from names", remedy);
                vec![]
            }
        }
    }

    pub fn check_name(&mut self, name: &str, span: Span) {
        if name.trim().is_empty() {
            self.problem(span, "a name is empty", "give it a name: it appears in topics and alerts");
        } else if name.len() > LONGEST_NAME {
            let message = format!("a name has {} bytes", name.len());
            self.problem(span, message, format!("at most {LONGEST_NAME} bytes; the prompts say the rest"));
        } else if name.chars().any(char::is_control) {
            let message = format!("the name `{}` holds control characters", mask::shown(name));
            self.problem(span, message, "use letters, digits and spaces");
        }
    }

    /// A text, its references replaced, not empty.
    pub fn text(&mut self, at: &Setting<'_>) -> Option<String> {
        let Value::Text(typed) = &at.node.value else {
            let remedy = match at.node.value {
                Value::Nothing => "give it a text, or leave it out",
                _ => "write a text, with quotes around it if it has special characters",
            };
            self.must_be(at, "a text", remedy);
            return None;
        };
        let Surroundings { env, unseen, .. } = *self.surroundings;
        match interpolate(typed, &References { env, folder: &self.folder, unseen }) {
            Ok(text) if text.trim().is_empty() => {
                self.problem(
                    at.span(),
                    format!("{} is empty", at.title()),
                    "give it a text, or leave it out",
                );
                None
            }
            Ok(text) => {
                self.unseen |= unseen && typed.contains("${credential:") && text.contains(UNSEEN);
                Some(text)
            }
            Err((message, remedy)) => {
                self.problem(at.span(), message, remedy);
                None
            }
        }
    }

    /// The place of a text that was read from `at`.
    pub fn text_place(&self, at: &Setting<'_>, text: &str) -> TextPlace {
        let span = at.node.span;
        let typed = self.places.files.text(span.file).get(span.start..span.end).unwrap_or_default();
        let quoted = typed.strip_prefix(['"', '\'']).and_then(|typed| typed.strip_suffix(['"', '\'']));
        let begins = match quoted {
            Some(quoted) if quoted == text => Some(span.start + 1),
            _ if typed == text => Some(span.start),
            _ => None,
        };
        TextPlace { span, begins }
    }

    /// A list of texts, one at least.
    pub fn texts(&mut self, at: &Setting<'_>) -> Option<Vec<String>> {
        let example = match &at.node.value {
            Value::Text(text) if !mask::is_secret(at.name) => {
                format!("write `{}: [{}]`", at.name, mask::shown(text))
            }
            _ => format!("write `{}: [one, another]`", at.name),
        };
        match &at.node.value {
            Value::List(items) if items.is_empty() => {
                self.problem(at.span(), format!("{} is empty", at.title()), "list one at least");
                None
            }
            Value::List(items) => {
                // All of them first: one that is wrong must not hide the next.
                let texts: Vec<_> = self.items(at, items).iter().map(|item| self.text(item)).collect();
                texts.into_iter().collect()
            }
            _ => {
                self.must_be(at, "a list", example);
                None
            }
        }
    }

    /// The items of a list as settings of their own, each with its place: `watch.0`, `watch.1`.
    pub fn items<'n>(&mut self, at: &Setting<'n>, items: &'n [Node]) -> Vec<Setting<'n>> {
        let settings: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(i, node)| {
                let path = format!("{}.{i}", at.path);
                Setting { path, name: at.name, key: node.span, node, in_list: true }
            })
            .collect();
        settings.iter().for_each(|setting| self.place(setting));
        settings
    }

    /// A text that `parse` makes a value of; its `Err` is the remedy.
    pub fn parsed<T>(
        &mut self,
        at: &Setting<'_>,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !matches!(at.node.value, Value::Text(_)) {
            self.must_be(at, expected, "give it one value, or leave it out");
            return None;
        }
        let text = self.text(at)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.must_be(at, expected, remedy);
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Clone>(&mut self, at: &Setting<'_>, words: &[(&str, T)]) -> Option<T> {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.parsed(at, &names::list(&known, "or"), |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| value.clone()).ok_or_else(|| {
                names::nearest(text, known.iter().copied()).map_or_else(
                    || format!("write `{}: {}`", at.name, known[0]),
                    |word| format!("did you mean `{word}`?"),
                )
            })
        })
    }

    /// A path: `~/` is the home folder, and a relative one begins beside the main file.
    pub fn path(&mut self, at: &Setting<'_>) -> Option<PathBuf> {
        let text = self.text(at)?;
        self.resolve_path(at, &text)
    }

    pub fn resolve_path(&mut self, at: &Setting<'_>, text: &str) -> Option<PathBuf> {
        if text.contains('\0') {
            self.must_be(at, "a path", "a path cannot hold a NUL");
            return None;
        }
        let path = match text.strip_prefix("~/").map(|rest| (rest, (self.surroundings.env)("HOME"))) {
            None => self.folder.join(text),
            Some((rest, Some(home))) => Path::new(&home).join(rest),
            Some((_, None)) => {
                self.problem(at.span(), "`~` has no meaning here: there is no HOME", "write the whole path");
                return None;
            }
        };
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// Remembers where a setting stands: its value if that is one text, otherwise its key.
    fn place(&mut self, setting: &Setting<'_>) {
        let span = if matches!(setting.node.value, Value::Text(_)) { setting.node.span } else { setting.key };
        self.places.spans.insert(setting.path.clone(), span);
    }
}
