//! Reads typed values from the YAML tree and collects every mistake, so that one does not hide the next.
//!
//! A function that cannot read its value reports why and returns `None`; its caller goes on with the next value, and gives up
//! only when it has read all of them.

use std::{
    cell::Cell,
    collections::BTreeSet,
    ffi::OsString,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    edits::Loss,
    elsewhere,
    error::{MOST_PROBLEMS, Mistake, Places, Problem, Span},
    fields::{Default, Form, Spec, Table},
    interpolate::{self, References, UNSEEN, interpolate},
    lines::{block, start_of_line},
    mask::{self, Secret},
    names,
    tree::{self, Entry, Node, Parsed, Value},
    value,
};
use crate::shortage::Shortage;

/// Keys that begin so are ignored: a place for anchors.
const IGNORED: &str = "x-";
/// The longest name in bytes: three of them and the prefix must fit into a topic.
const LONGEST_NAME: usize = 200;

/// What a configuration takes from the machine.
pub struct Surroundings<'a> {
    /// An environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The machine's name.
    pub hostname: &'a str,
    /// Whether the process runs as root.
    pub superuser: bool,
    /// Whether a credential that cannot be read is accepted.
    pub unseen: bool,
}

/// Collects the problems of a configuration, and the place of each setting.
pub struct Reader<'a> {
    /// Where each setting is.
    pub places: Places,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// What the machine provides.
    pub surroundings: &'a Surroundings<'a>,
    /// Relative paths start here: the folder of the main file.
    pub folder: PathBuf,
    /// Whether a credential could not be read.
    pub unseen: bool,
    /// Why a file could not be read for now, if one could not.
    pub shortage: Cell<Option<Shortage>>,
    /// The numbers of the files in which a password is typed, and not a reference to one.
    pub secret_files: BTreeSet<usize>,
    /// The values that references have provided, if they are needed.
    pub referenced: Option<Vec<Secret>>,
    /// The parts of files that are no YAML. What follows from one of them is no mistake of its own.
    losses: Vec<(usize, Loss)>,
}

/// One `name: value`.
#[derive(Clone)]
pub struct Setting<'n> {
    /// Its path from the root: `mqtt.url`.
    pub path: String,
    /// Its key, or that of the list that it is an item of.
    pub name: &'n str,
    /// The place of the key; of an item, its own.
    pub key: Span,
    /// Its value.
    pub node: &'n Node,
    /// Whether it is an item of a list.
    pub in_list: bool,
    /// What the value should look like.
    pub form: Form,
}

/// A mapping with keys of ours.
pub struct Section<'n> {
    path: String,
    entries: &'n [Entry],
    fields: Vec<&'static Spec>,
    /// The keys that unknown ones are taken for.
    meant: Vec<String>,
    /// The keys whose values come from defaults.
    inherited: Vec<String>,
}

/// The place of a text, and of its parts if it was typed exactly as it is read.
#[derive(Debug, Clone, Copy)]
pub struct TextPlace {
    span: Span,
    /// `None` if the text goes over several lines, or has references.
    begins: Option<usize>,
}

impl TextPlace {
    /// The place of a part of the text, or of all of it if the part cannot be located.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Span {
        let of = |begins| Span { start: begins + part.start, end: begins + part.end, ..self.span };
        self.begins.map_or(self.span, of)
    }
}

impl<'n> Section<'n> {
    /// A section of this table in which every key is absent.
    #[must_use]
    pub fn empty(table: &Table) -> Self {
        Self {
            path: table.title.to_owned(),
            entries: &[],
            fields: (table.fields)(),
            meant: vec![],
            inherited: vec![],
        }
    }

    /// The setting with this key, if it is there.
    ///
    /// # Panics
    /// The section has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Setting<'n>> {
        let form = self.spec(key).form;
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(setting(&self.path, entry, form))
    }

    /// The section, in which the values of these keys come from defaults.
    #[must_use]
    pub fn with_inherited(self, inherited: Vec<String>) -> Self {
        Self { inherited, ..self }
    }

    /// Whether the value of a key comes from defaults: then it was not meant for this section alone.
    #[must_use]
    pub fn inherits(&self, key: &str) -> bool {
        self.inherited.iter().any(|inherited| inherited == key)
    }

    /// The setting with this key, if it is there and does not come from defaults.
    #[must_use]
    pub fn own(&self, key: &str) -> Option<Setting<'n>> {
        self.get(key).filter(|_| !self.inherits(key))
    }

    /// Whether the key is absent, and no unknown key looks like it: that one is reported already.
    #[must_use]
    pub fn lacks(&self, key: &str) -> bool {
        !self.entries.iter().any(|entry| entry.key == key) && !self.meant.iter().any(|meant| meant == key)
    }

    /// The value of a key, or its default if it is absent.
    ///
    /// # Panics
    /// The field has no default, or one that `read` rejects.
    pub fn read<'r, T>(
        &self,
        reader: &mut Reader<'r>,
        key: &str,
        read: impl FnOnce(&mut Reader<'r>, &Setting<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(at) = self.get(key) {
            return read(reader, &at);
        }
        let spec = self.spec(key);
        let default = match spec.default {
            Default::Value(default) => Value::Text(default.to_owned()),
            // The section reported the missing key.
            Default::Required => return None,
            _ => panic!("`{key}` has no default"),
        };
        let node = Node { span: Span::default(), value: default };
        let at = Setting {
            path: String::new(),
            name: spec.key,
            key: node.span,
            node: &node,
            in_list: false,
            form: spec.form,
        };
        Some(read(reader, &at).unwrap_or_else(|| panic!("the default of `{key}` is invalid")))
    }

    /// The value of a key that may be absent: `None` if it is invalid, `Some(None)` if it is absent.
    pub fn optional<'r, T>(
        &self,
        reader: &mut Reader<'r>,
        key: &str,
        read: impl FnOnce(&mut Reader<'r>, &Setting<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.get(key).map_or(Some(None), |at| read(reader, &at).map(Some))
    }

    fn spec(&self, key: &str) -> &'static Spec {
        let spec = self.fields.iter().find(|spec| spec.key == key);
        spec.unwrap_or_else(|| panic!("`{key}` is not a key of `{}`", self.path))
    }
}

impl<'n> Setting<'n> {
    /// The root of a file.
    #[must_use]
    pub fn root(node: &'n Node) -> Self {
        Self { path: String::new(), name: "", key: node.span, node, in_list: false, form: Form::Nothing }
    }

    /// The value as it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.node.value {
            Value::Nothing => "nothing".to_owned(),
            Value::Text(_) if mask::is_secret(self.name) => mask::HIDDEN.to_owned(),
            Value::Text(text) => format!("`{}`", mask::shown_entry(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The text as it was typed, with its references; empty if the value is no text.
    #[must_use]
    pub fn typed(&self) -> &str {
        if let Value::Text(text) = &self.node.value { text } else { "" }
    }

    /// The value's place, or the key's if there is no value.
    #[must_use]
    pub fn span(&self) -> Span {
        if matches!(self.node.value, Value::Nothing) { self.key } else { self.node.span }
    }

    /// Whether the value is a mapping.
    #[must_use]
    pub fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    /// Whether the value is `{}`.
    #[must_use]
    pub fn is_empty_mapping(&self) -> bool {
        matches!(&self.node.value, Value::Mapping(entries) if entries.is_empty())
    }

    /// How a message names it.
    fn title(&self) -> String {
        let name = mask::shown(self.name);
        if self.in_list { format!("an item of `{name}`") } else { format!("`{name}`") }
    }
}

fn setting<'n>(path: &str, entry: &'n Entry, form: Form) -> Setting<'n> {
    let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
    Setting { path, name: &entry.key, key: entry.key_span, node: &entry.value, in_list: false, form }
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing yet.
    #[must_use]
    pub fn new(surroundings: &'a Surroundings<'a>, folder: PathBuf) -> Self {
        let places = Places::default();
        let (problems, losses, shortage) = (vec![], vec![], Cell::new(None));
        Self {
            places,
            problems,
            surroundings,
            folder,
            unseen: false,
            shortage,
            secret_files: BTreeSet::new(),
            referenced: None,
            losses,
        }
    }
}

impl Reader<'_> {
    /// The tree of file number `file`; `None` if nothing can be read of it. Its mistakes are reported.
    pub fn tree(&mut self, file: usize) -> Option<Node> {
        let Parsed { root, mistakes, losses } = tree::parse_all(file, self.places.files.text(file));
        for Mistake { span, message, remedy } in mistakes {
            self.problem(span, message, remedy);
        }
        let nothing = Node { span: Span { file, start: 0, end: 0 }, value: Value::Mapping(vec![]) };
        let all_lost = root.is_none() && !losses.is_empty();
        self.losses.extend(losses.into_iter().map(|loss| (file, loss)));
        let root = root.filter(|root| !matches!(root.value, Value::Nothing));
        (!all_lost).then(|| root.unwrap_or(nothing))
    }

    /// Reports that a file cannot be read at all.
    pub fn lost_file(&mut self, file: usize, message: String, remedy: String) {
        self.problems.push(self.places.files.problem_of_file(file, message, remedy));
        self.losses.push((file, Loss { range: 0..usize::MAX, names: true }));
    }

    /// Whether a mistake at this place is no mistake of its own.
    fn is_lost(&self, span: Span) -> bool {
        let covers = |loss: &Loss| loss.range.start <= span.start && span.start <= loss.range.end;
        self.losses.iter().any(|(file, loss)| *file == span.file && covers(loss))
    }

    /// Whether names may be missing because a part of a file is no YAML: a name that seems unknown may be one of them.
    #[must_use]
    pub fn lost_names(&self) -> bool {
        self.losses.iter().any(|(_, loss)| loss.names)
    }

    /// Whether keys of a mapping may be missing because a part of it is no YAML.
    #[must_use]
    pub fn lost_keys(&self, at: &Setting<'_>) -> bool {
        let Value::Mapping(entries) = &at.node.value else { return true };
        let span = at.node.span;
        let text = self.places.files.text(span.file);
        let column = |at: usize| at - start_of_line(text, at);
        let is_flow = text[span.start.min(text.len())..].starts_with('{');
        let inside = match (is_flow, at.path.is_empty()) {
            (true, _) => span.start..span.end,
            (false, true) => 0..text.len(),
            (false, false) => block(text, at.key.start).range,
        };
        let own = entries.first().map(|entry| column(entry.key_span.start)).filter(|_| !is_flow);
        self.losses.iter().any(|(file, loss)| {
            *file == span.file
                && loss.names
                && inside.contains(&loss.range.start)
                && own.is_none_or(|own| own == column(loss.range.start))
        })
    }

    /// Notes that a value from defaults is not used: the setting is then as if it was absent.
    pub fn unused(&mut self, at: &Setting<'_>) {
        self.places.spans.remove(&at.path);
    }

    /// Reports a problem at a place.
    pub fn problem(&mut self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS && !self.is_lost(span) {
            let problem = self.places.files.problem(Mistake::new(span, message, remedy));
            // A value that many sources take from defaults is read for each of them.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// Reports a problem with the setting at `path`.
    pub fn problem_at(&mut self, path: &str, message: impl Into<String>, remedy: impl Into<String>) {
        if !self.places.span(path).is_some_and(|span| self.is_lost(span)) {
            let problem = self.places.problem(path, message, remedy);
            self.problems.push(problem);
        }
    }

    /// Reports that a setting does not have its form.
    pub fn wrong(&mut self, at: &Setting<'_>, remedy: impl Into<String>) {
        if at.form.mapping().is_some_and(|table| self.lacks_colon(at, &(table.fields)())) {
            return;
        }
        self.must_be(at, &at.form.expected(), remedy);
    }

    /// Reports that a setting must be something else.
    pub fn must_be(&mut self, at: &Setting<'_>, expected: &str, remedy: impl Into<String>) {
        let typed = self.places.files.text(at.node.span.file).get(at.node.span.start..at.node.span.end);
        let message = match at.node.value {
            Value::Nothing if typed.is_some_and(|typed| typed.eq_ignore_ascii_case("null")) => {
                let message = format!("{} is `null`, which is no value, and must be {expected}", at.title());
                let remedy = "remove it, or put quotes around it if it is a text: `\"null\"`";
                return self.problem(at.node.span, message, remedy);
            }
            Value::Nothing => format!("{} has no value, and must be {expected}", at.title()),
            _ => format!("{} must be {expected}, not {}", at.title(), at.shown()),
        };
        self.problem(at.span(), message, remedy);
    }

    /// A mapping with the keys of `table`: unknown keys and missing ones are reported.
    pub fn section<'n>(&mut self, at: &Setting<'n>, table: &Table) -> Option<Section<'n>> {
        self.section_with(at, "", (table.fields)(), |_| None)
    }

    /// A mapping with the keys of `fields`. `noun` says what the mapping is if its key is a name that people chose; `refuse`
    /// has the message and the remedy for an unknown key about which more can be said.
    pub fn section_with<'n>(
        &mut self,
        at: &Setting<'n>,
        noun: &str,
        fields: Vec<&'static Spec>,
        refuse: impl Fn(&str) -> Option<(String, String)>,
    ) -> Option<Section<'n>> {
        let Value::Mapping(entries) = &at.node.value else {
            self.not_a_section(at, &fields);
            return None;
        };
        let mut meant = vec![];
        let known: Vec<_> = fields.iter().map(|spec| spec.key).collect();
        for entry in entries.iter().filter(|entry| !entry.key.starts_with(IGNORED)) {
            self.place(&setting(&at.path, entry, Form::Text));
            if known.contains(&&*entry.key) {
                continue;
            }
            let (message, remedy) = refuse(&entry.key).unwrap_or_else(|| {
                let message = format!("unknown key `{}`", mask::shown_entry(&entry.key));
                let (key, remedy) = elsewhere::key(&entry.key, &fields).unwrap_or_else(|| {
                    let near = names::nearest(&entry.key, known.iter().copied());
                    (near, names::suggest(&entry.key, &known))
                });
                meant.extend(key.map(str::to_owned));
                (message, remedy)
            });
            self.problem(entry.key_span, message, remedy);
        }
        let section = Section { path: at.path.clone(), entries, fields, meant, inherited: vec![] };
        let lost = self.lost_keys(at);
        for spec in section.fields.iter().filter(|spec| spec.default == Default::Required && !lost) {
            if section.lacks(spec.key) {
                let message = format!("{noun}{} has no `{}`", at.title(), spec.key);
                self.problem(at.key, message, format!("add `{}`", spec.line()));
            }
        }
        Some(section)
    }

    /// Reports a value that is no mapping. `url mqtt://host` and `url:mqtt://host` are texts, but are meant as keys.
    fn not_a_section(&mut self, at: &Setting<'_>, fields: &[&'static Spec]) {
        if self.lacks_colon(at, fields) {
            return;
        }
        let example =
            fields.iter().max_by_key(|spec| spec.default == Default::Required).map(|spec| spec.line());
        self.must_be(
            at,
            &at.form.expected(),
            format!("write its keys below it, such as `{}`", example.unwrap_or_default()),
        );
    }

    /// Whether a value is a text that is meant as a key and its value, which is reported.
    fn lacks_colon(&mut self, at: &Setting<'_>, fields: &[&'static Spec]) -> bool {
        let meant = match &at.node.value {
            Value::Text(text) => fields.iter().find_map(|spec| {
                let rest = text.strip_prefix(spec.key)?;
                Some((spec.key, rest.strip_prefix([' ', ':'])?, rest.starts_with(' ')))
            }),
            _ => None,
        };
        let Some((key, value, is_space)) = meant else { return false };
        let value = if mask::is_secret(key) { "..." } else { value.split('\n').next().unwrap_or_default() };
        let lack = if is_space { "no colon after" } else { "no space after the colon of" };
        let remedy = format!("write `{key}: {}`", mask::shown(value.trim()));
        self.problem(at.span(), format!("there is {lack} `{key}`"), remedy);
        true
    }

    /// A mapping whose keys are names that people choose; one at least.
    pub fn named<'n>(&mut self, at: &Setting<'n>, remedy: &str) -> Vec<Setting<'n>> {
        let form = at.form.named().copied().unwrap_or(Form::Text);
        match &at.node.value {
            Value::Mapping(entries) if entries.iter().any(|entry| !self.is_template(entry)) => {
                let entries = entries.iter().filter(|entry| !self.is_template(entry));
                let settings: Vec<_> = entries.map(|entry| setting(&at.path, entry, form)).collect();
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
                self.wrong(at, remedy);
                vec![]
            }
        }
    }

    /// Whether an entry among names of people's own is only a place for an anchor: `x-camera: &camera`. A label can be called
    /// `x-ray`, so the anchor is needed.
    fn is_template(&self, entry: &Entry) -> bool {
        let text = self.places.files.text(entry.key_span.file);
        let rest = text.get(entry.key_span.end..).unwrap_or_default();
        entry.key.starts_with(IGNORED)
            && rest.trim_start().strip_prefix(':').is_some_and(|rest| rest.trim_start().starts_with('&'))
    }

    /// Reports a name that cannot be part of a topic.
    pub fn check_name(&mut self, name: &str, span: Span) {
        if name.trim().is_empty() {
            self.problem(span, "a name is empty", "give it a name: it appears in topics and alerts");
        } else if name.len() > LONGEST_NAME {
            let message = format!("a name has {} bytes", name.len());
            self.problem(
                span,
                message,
                format!("use at most {LONGEST_NAME} bytes, and prompts for the rest"),
            );
        } else if name.chars().any(char::is_control) {
            let message = format!("the name `{}` has control characters", mask::shown(name));
            self.problem(span, message, "use letters, digits and spaces");
        }
    }

    /// A text that is not empty, with its references replaced.
    pub fn text(&mut self, at: &Setting<'_>) -> Option<String> {
        let Value::Text(typed) = &at.node.value else {
            let remedy = match at.node.value {
                Value::Nothing => "give it a value, or remove it",
                _ => "write a text, with quotes around it if it has special characters",
            };
            self.wrong(at, remedy);
            return None;
        };
        let Surroundings { env, unseen, .. } = *self.surroundings;
        let (folder, shortage) = (&*self.folder, &self.shortage);
        let references = References { env, folder, unseen, shortage };
        if let Some(referenced) = &mut self.referenced {
            referenced.extend(interpolate::values(typed, &references).into_iter().map(Secret::new));
        }
        match interpolate(typed, &references) {
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

    /// A text that is never shown.
    pub fn secret(&mut self, at: &Setting<'_>) -> Option<Secret> {
        self.note_secret(at);
        self.text(at).map(Secret::new)
    }

    /// Notes that a value is a password, or has one.
    pub fn note_secret(&mut self, at: &Setting<'_>) {
        if !at.typed().contains("${") {
            self.secret_files.insert(at.node.span.file);
        }
    }

    /// The place of a text that was read from `at`.
    #[must_use]
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

    /// A text that `parse` turns into a value; its error is the remedy.
    pub fn parsed<T>(
        &mut self,
        at: &Setting<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !matches!(at.node.value, Value::Text(_)) {
            self.wrong(at, "give it one value, or leave it out");
            return None;
        }
        let text = self.text(at)?;
        parse(&text).map_err(|remedy| self.wrong(at, remedy)).ok()
    }

    /// One of the words of a table.
    pub fn word<T: Clone>(&mut self, at: &Setting<'_>, words: &[(&str, T)]) -> Option<T> {
        self.parsed(at, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| value.clone()).ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let meant = names::nearest(text, known.iter().copied());
                let meant = meant.or_else(|| elsewhere::word(text, &known));
                let typed = |word: &&str| format!("`{}: {word}`", at.name);
                meant.map_or_else(
                    || match known.len() {
                        0..=4 => {
                            format!("write {}", known.iter().map(typed).collect::<Vec<_>>().join(" or "))
                        }
                        _ => format!("write {}", typed(&known[0])),
                    },
                    |word| format!("did you mean `{word}`?"),
                )
            })
        })
    }

    /// `true` or `false`.
    pub fn switch(&mut self, at: &Setting<'_>) -> Option<bool> {
        self.word(at, &[("true", true), ("false", false)])
    }

    /// A whole number in the range of its form.
    pub fn whole<N: TryFrom<u64>>(&mut self, at: &Setting<'_>) -> Option<N> {
        let Form::Whole(least, most) = at.form else { panic!("`{}` is no whole number", at.name) };
        let number = self.parsed(at, |text| {
            value::whole(text).filter(|number| (least..=most).contains(number)).ok_or_else(|| {
                let million = text.strip_suffix(['M', 'm']).and_then(value::whole);
                million.map_or_else(
                    || "write a number in this range, or leave it out".to_owned(),
                    |number| format!("did you mean `{number}_000_000`?"),
                )
            })
        })?;
        N::try_from(number).ok()
    }

    /// A number of bytes in the range of its form.
    pub fn size<N: TryFrom<u64>>(&mut self, at: &Setting<'_>) -> Option<N> {
        let Form::Size(least, most) = at.form else { panic!("`{}` is no size", at.name) };
        let bytes = self.parsed(at, |text| match value::size(text)? {
            bytes if (least..=most).contains(&bytes) => Ok(bytes),
            _ => {
                let [least, most] = [least, most].map(value::size_text);
                Err(format!("write a size with a unit, at least {least} and at most {most}"))
            }
        })?;
        N::try_from(bytes).ok()
    }

    /// A duration in the range of its form.
    pub fn duration(&mut self, at: &Setting<'_>) -> Option<Duration> {
        let Form::Duration(least, most) = at.form else { panic!("`{}` is no duration", at.name) };
        self.parsed(at, |text| match value::duration(text)? {
            duration if (least..=most).contains(&duration) => Ok(duration),
            _ => {
                let [least, most] = [least, most].map(value::duration_text);
                Err(format!("use at least {least} and at most {most}"))
            }
        })
    }

    /// A path: `~/` is the home folder, and a relative one starts at the folder of the main file.
    pub fn path(&mut self, at: &Setting<'_>) -> Option<PathBuf> {
        let text = self.text(at)?;
        self.resolve_path(at, &text)
    }

    /// The path in `text`, which was read from `at`; resolved as [`Reader::path`] does.
    pub fn resolve_path(&mut self, at: &Setting<'_>, text: &str) -> Option<PathBuf> {
        if text.contains('\0') {
            self.must_be(at, "a path", "remove the NUL");
            return None;
        }
        let path = match text.strip_prefix("~/").map(|rest| (rest, (self.surroundings.env)("HOME"))) {
            None => self.folder.join(text),
            Some((rest, Some(home))) => Path::new(&home).join(rest),
            Some((_, None)) => {
                self.problem(at.span(), "`~` has no meaning: HOME is not set", "write the whole path");
                return None;
            }
        };
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// A list of texts; one at least.
    pub fn texts(&mut self, at: &Setting<'_>) -> Option<Vec<String>> {
        self.list(at, Self::text)
    }

    /// A list of at least one; where the form allows it, also a single value.
    pub fn list<T>(
        &mut self,
        at: &Setting<'_>,
        mut read: impl FnMut(&mut Self, &Setting<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &at.node.value {
            Value::List(items) if items.is_empty() => {
                self.problem(
                    at.span(),
                    format!("{} is empty", at.title()),
                    "list at least one, or leave it out",
                );
                None
            }
            Value::List(items) => {
                // Every item is read before one that is invalid ends it.
                let values: Vec<_> = self.items(at, items).iter().map(|item| read(self, item)).collect();
                values.into_iter().collect()
            }
            _ if matches!(at.form, Form::OneOrMore(_)) => read(self, at).map(|value| vec![value]),
            Value::Text(text) if !mask::is_secret(at.name) => {
                self.wrong(at, format!("write `{}: [{}]`", at.name, mask::shown(text)));
                None
            }
            _ => {
                self.wrong(at, format!("write `{}: [one, another]`", at.name));
                None
            }
        }
    }

    /// The items of a list as settings of their own, each with its place: `watch.0`, `watch.1`.
    pub fn items<'n>(&mut self, at: &Setting<'n>, items: &'n [Node]) -> Vec<Setting<'n>> {
        let form = at.form.item().copied().unwrap_or(Form::Text);
        let settings: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(i, node)| {
                let path = format!("{}.{i}", at.path);
                Setting { path, name: at.name, key: node.span, node, in_list: true, form }
            })
            .collect();
        settings.iter().for_each(|setting| self.place(setting));
        settings
    }

    /// Remembers the place of a setting: its value's if that is a text, otherwise its key's.
    fn place(&mut self, setting: &Setting<'_>) {
        let span = if matches!(setting.node.value, Value::Text(_)) { setting.node.span } else { setting.key };
        self.places.spans.insert(setting.path.clone(), span);
    }
}
