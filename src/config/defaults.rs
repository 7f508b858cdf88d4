//! Reads the section `defaults`: settings that the sources have unless they have their own. A setting holds for each source whose
//! kind has its key; one below the name of a kind (`rtsp: { transport: tcp }`) holds for sources of that kind, and takes precedence.
//!
//! A default becomes an entry of the source before the source is read. So it is checked as if it was typed there, and every problem
//! with it is shown where it is typed.

use crate::{
    source::kinds::settings::KindKey,
    yaml::{
        error::Span,
        fields::{Form, Spec},
        mask,
        reader::{Reader, Setting},
        tree::{Entry, Node, Value},
    },
};

/// The settings of the section.
#[derive(Default)]
pub(super) struct Defaults {
    /// For the sources of all kinds that have the key.
    all: Vec<Entry>,
    /// For the sources of one kind.
    of_kind: Vec<(&'static str, Vec<Entry>)>,
    /// The keys of the defaults that a source has taken.
    taken: Vec<Span>,
}

/// The keys of a section: of one kind of source, or of all.
type Keys = Vec<&'static Spec>;

impl Defaults {
    /// Reads the section. `keys` are those of the sources of all kinds and those of the kinds themselves; `of_kind` has the keys of
    /// the sources of a kind, and `foreign` the message and the remedy for a key that such sources do not have.
    pub fn read(
        reader: &mut Reader<'_>,
        at: &Setting<'_>,
        keys: Keys,
        kinds: impl IntoIterator<Item = (&'static KindKey, Keys)>,
        foreign: impl Fn(&KindKey, &str) -> Option<(String, String)>,
    ) -> Self {
        let Some(section) = reader.section_with(at, "", keys.clone(), |_| None) else {
            return Self::default();
        };
        let kinds: Vec<_> = kinds.into_iter().collect();
        let is_kind = |key: &str| kinds.iter().any(|(kind, _)| kind.key == key);
        let all: Vec<_> = known(at.node, &keys).into_iter().filter(|entry| !is_kind(&entry.key)).collect();
        reject_one_name(reader, &all);
        let mut of_kind = vec![];
        for (kind, own) in &kinds {
            let Some(at) = section.get(kind.key) else { continue };
            if reader.section_with(&at, "", own.clone(), |key| foreign(kind, key)).is_some() {
                let entries = known(at.node, own);
                reject_one_name(reader, &entries);
                of_kind.push((kind.key, entries));
            }
        }
        Self { all, of_kind, taken: vec![] }
    }

    /// The mapping of a source with the defaults that it takes, and the keys of these. `keys` are those that the source may have.
    pub fn applied(&mut self, source: &Node, kind: &str, keys: &[&'static Spec]) -> (Node, Vec<String>) {
        let Value::Mapping(own) = &source.value else { return (source.clone(), vec![]) };
        let of_kind = self.of_kind.iter().filter(|(of, _)| *of == kind).flat_map(|(_, entries)| entries);
        let (mut entries, mut inherited) = (own.clone(), Vec::<String>::new());
        for default in of_kind.chain(&self.all) {
            let is_allowed = keys.iter().any(|spec| spec.key == default.key);
            if !is_allowed || inherited.contains(&default.key) {
                continue;
            }
            if !own.iter().any(|entry| entry.key == default.key) {
                self.taken.push(default.key_span);
                inherited.push(default.key.clone());
                entries.push(default.clone());
            }
        }
        (Node { span: source.span, value: Value::Mapping(entries) }, inherited)
    }

    /// Checks the values of simple forms that no source has taken: a mistake in them would otherwise show with the first source that
    /// takes them.
    pub fn check_unused(&self, reader: &mut Reader<'_>, keys: &[&'static Spec]) {
        let entries = self.all.iter().chain(self.of_kind.iter().flat_map(|(_, entries)| entries));
        for entry in entries.filter(|entry| !self.taken.contains(&entry.key_span)) {
            let Some(spec) = keys.iter().find(|spec| spec.key == entry.key) else { continue };
            let at = Setting {
                path: format!("defaults.{}", entry.key),
                name: &entry.key,
                key: entry.key_span,
                node: &entry.value,
                in_list: false,
                form: spec.form,
            };
            check_value(reader, &at);
        }
    }
}

/// The entries of a mapping that have one of these keys.
fn known(node: &Node, keys: &[&'static Spec]) -> Vec<Entry> {
    let Value::Mapping(entries) = &node.value else { return vec![] };
    entries.iter().filter(|entry| keys.iter().any(|spec| spec.key == entry.key)).cloned().collect()
}

/// Reports a name in Home Assistant that all sources would have.
fn reject_one_name(reader: &mut Reader<'_>, entries: &[Entry]) {
    let looks = entries.iter().filter(|entry| entry.key == "home_assistant");
    let inside = looks.filter_map(|entry| match &entry.value.value {
        Value::Mapping(inside) => inside.iter().find(|entry| entry.key == "name"),
        _ => None,
    });
    for name in inside {
        let message = "all sources would have the same name in Home Assistant";
        reader.problem(name.key_span, message, "remove it here, and name the sources that need it");
    }
}

fn check_value(reader: &mut Reader<'_>, at: &Setting<'_>) {
    match at.form {
        Form::Duration(..) => _ = reader.duration(at),
        Form::Whole(..) => _ = reader.whole::<u64>(at),
        Form::Size(..) => _ = reader.size::<u64>(at),
        Form::Switch => _ = reader.switch(at),
        Form::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| (*word, ())).collect();
            _ = reader.word(at, &words);
        }
        Form::Text if mask::is_secret(at.name) => _ = reader.secret(at),
        Form::Text | Form::Path => _ = reader.text(at),
        // The others need their own readers, which the first source calls.
        _ => {}
    }
}
