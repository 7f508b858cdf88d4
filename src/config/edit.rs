//! Changes settings of labels in the configuration's files, for `tune --write` and the API: comments, order and spacing stay.
//! [`super::additions`] adds labels, label sets and sources.
//!
//! The bytes of values are replaced. Nothing is written unless the new text, read again, has exactly the new settings and no
//! other change.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::load::{included, read_bytes};
use crate::{
    atomic_file,
    text_file::{self, TextFileError},
    yaml::{
        lines,
        tree::{self, Entry, Node, Value},
    },
};

/// New settings of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEdit {
    /// The source whose settings of the label change; `None`: those of its label set change.
    pub source: Option<String>,
    /// The label set's name.
    pub label_set: String,
    /// The label's name.
    pub label: String,
    /// Keys and their values as YAML in one line: words, numbers, lists in brackets.
    pub settings: Vec<(&'static str, String)>,
}

impl LabelEdit {
    /// The keys from the root to the label.
    fn path(&self) -> Vec<&str> {
        match &self.source {
            Some(source) => vec!["sources", source, "watch", &self.label_set, &self.label],
            None => vec!["label_sets", &self.label_set, "labels", &self.label],
        }
    }
}

/// A file and its new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The file.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
}

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No file has the label.
    #[error("there is no label `{label}` in the label set `{label_set}`")]
    Missing {
        /// The label set.
        label_set: String,
        /// The label.
        label: String,
    },
    /// Its form in the file cannot be changed in place.
    #[error("{}: the label `{label}` cannot be changed in place ({why}): change it with an editor", .file.display())]
    Unusual {
        /// The file.
        file: PathBuf,
        /// The label.
        label: String,
        /// What makes it impossible.
        why: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The files of the configuration at `path` that change, with their new texts; nothing is written.
///
/// # Errors
/// A label is missing, or cannot be changed in place.
pub fn edited(path: &Path, edits: &[LabelEdit]) -> Result<Vec<Edited>, EditError> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |error| EditError::Io { file, error }
    };
    let mut files = vec![path.to_owned()];
    files.extend(included(path).map_err(failed(path))?);
    let (mut changed, mut done) = (vec![], vec![false; edits.len()]);
    for file in files {
        let bytes = read_bytes(&file).map_err(|error| match error {
            TextFileError::Io(error) => failed(&file)(error),
            other => failed(&file)(io::Error::other(other.to_string())),
        })?;
        // A file that is not UTF-8 is reported when the configuration is loaded.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let Ok(body) = std::str::from_utf8(text_file::without_mark(text.as_bytes())) else { continue };
        let (Some(root), _) = tree::parse(0, body) else { continue };
        let here = (0..edits.len()).filter(|edit| {
            labels(&root, &edits[*edit]).is_some_and(|labels| has(labels, &edits[*edit].label))
        });
        let here = here.collect::<Vec<_>>();
        if here.is_empty() {
            continue;
        }
        here.iter().for_each(|edit| done[*edit] = true);
        let own = here.iter().map(|edit| &edits[*edit]).collect::<Vec<_>>();
        let new = edit_text(body, &root, &own).map_err(|(label, why)| EditError::Unusual {
            file: file.clone(),
            label,
            why,
        })?;
        let mark = &text[..text.len() - body.len()];
        changed.push(Edited { path: file, text: format!("{mark}{new}") });
    }
    match done.iter().position(|done| !done) {
        None => Ok(changed),
        Some(missing) => {
            let LabelEdit { label_set, label, .. } = edits[missing].clone();
            Err(EditError::Missing { label_set, label })
        }
    }
}

/// `text` with the settings of one label changed; `None` if it has no such label.
///
/// # Errors
/// The label cannot be changed in place; this says why.
pub fn changed(text: &str, edit: &LabelEdit) -> Option<Result<String, &'static str>> {
    let (Some(root), _) = tree::parse(0, text) else { return None };
    labels(&root, edit).is_some_and(|labels| has(labels, &edit.label)).then_some(())?;
    Some(edit_text(text, &root, &[edit]).map_err(|(_, why)| why))
}

impl Edited {
    /// Replaces the file in one step. A link stays a link; permissions, owner and group stay.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self) -> Result<(), EditError> {
        let written =
            fs::canonicalize(&self.path).and_then(|target| atomic_file::write_for_owner(&target, &self.text));
        written.map_err(|error| EditError::Io { file: self.path.clone(), error })
    }
}

/// A label, and why it cannot be changed.
type Refused = (String, &'static str);

fn edit_text(text: &str, root: &Node, edits: &[&LabelEdit]) -> Result<String, Refused> {
    let mut changes: Vec<(Range<usize>, String)> = vec![];
    let mut lists: Vec<&str> = vec![];
    for edit in edits {
        let refuse = |why| (edit.label.clone(), why);
        match labels(root, edit).map(|node| (&node.value, node)) {
            Some((Value::Mapping(entries), _)) => {
                let entry = entries
                    .iter()
                    .find(|entry| entry.key == edit.label)
                    .ok_or_else(|| refuse("it is missing"))?;
                changes.extend(change_label(text, entry, edit).map_err(refuse)?);
            }
            Some((Value::List(items), node)) if !lists.contains(&&*edit.label_set) => {
                lists.push(&edit.label_set);
                let own = edits
                    .iter()
                    .copied()
                    .filter(|other| other.source.is_none() && other.label_set == edit.label_set)
                    .collect::<Vec<_>>();
                changes.extend(change_list(text, node, items, &own).map_err(refuse)?);
            }
            _ => {}
        }
    }
    let new = spliced(text, changes)
        .ok_or_else(|| (edits[0].label.clone(), "two labels share the text that would change"))?;
    check(root, &new, edits)?;
    Ok(new)
}

/// `text` with these parts replaced; `None` if two of them overlap.
pub(super) fn spliced(text: &str, mut changes: Vec<(Range<usize>, String)>) -> Option<String> {
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    if changes.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return None;
    }
    let (mut new, mut at) = (String::with_capacity(text.len() + 256), 0);
    for (range, replacement) in changes {
        new.push_str(&text[at..range.start]);
        new.push_str(&replacement);
        at = range.end;
    }
    new.push_str(&text[at..]);
    Some(new)
}

/// The mapping or list with the label.
fn labels<'n>(root: &'n Node, edit: &LabelEdit) -> Option<&'n Node> {
    let path = edit.path();
    path[..path.len() - 1].iter().try_fold(root, |node, key| child(node, key))
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        _ => None,
    }
}

fn has(labels: &Node, label: &str) -> bool {
    match &labels.value {
        Value::Mapping(entries) => entries.iter().any(|entry| entry.key == label),
        Value::List(items) => {
            items.iter().any(|item| matches!(&item.value, Value::Text(name) if name == label))
        }
        _ => false,
    }
}

/// The changes for a label in a mapping: its short form becomes the long one; in its long form values are replaced and added.
fn change_label(
    text: &str,
    entry: &Entry,
    edit: &LabelEdit,
) -> Result<Vec<(Range<usize>, String)>, &'static str> {
    let span = entry.value.span;
    let typed = &text[span.start..span.end];
    if span.start < entry.key_span.start {
        return Err("its value is an alias");
    }
    match &entry.value.value {
        // The short form is the threshold, which stays unless the label gets another one.
        Value::Text(_) if !sets_a_level(edit) => {
            Ok(vec![(span.start..span.end, format!("{{ threshold: {typed}, {}", &flow(edit)[2..]))])
        }
        Value::Text(_) => Ok(vec![(span.start..span.end, flow(edit))]),
        Value::Nothing if !typed.trim().is_empty() => Ok(vec![(span.start..span.end, flow(edit))]),
        Value::Nothing => {
            let after = &text[entry.key_span.end..];
            let colon =
                after.find(|letter: char| !letter.is_whitespace()).filter(|at| after[*at..].starts_with(':'));
            let (at, colon) =
                colon.map_or((entry.key_span.end, ":"), |colon| (entry.key_span.end + colon + 1, ""));
            Ok(vec![(at..at, format!("{colon} {}", flow(edit)))])
        }
        Value::List(_) => Err("its value is a list"),
        Value::Mapping(entries) => change_settings(text, &entry.value, entries, edit),
    }
}

fn change_settings(
    text: &str,
    node: &Node,
    entries: &[Entry],
    edit: &LabelEdit,
) -> Result<Vec<(Range<usize>, String)>, &'static str> {
    // The entries of `<<` are in another place.
    let own = entries.iter().filter(|entry| entry.key_span.start >= node.span.start).collect::<Vec<_>>();
    let (mut changes, mut new) = (vec![], vec![]);
    for (key, value) in &edit.settings {
        match own.iter().find(|entry| entry.key == *key) {
            Some(entry) => changes.push(change_value(text, entry, value)?),
            None => new.push(format!("{key}: {value}")),
        }
    }
    if new.is_empty() {
        return Ok(changes);
    }
    if text[node.span.start..].starts_with('{') {
        let comma = if own.is_empty() { " " } else { "," };
        changes.push((node.span.start + 1..node.span.start + 1, format!(" {}{comma}", new.join(", "))));
        return Ok(changes);
    }
    let first = own.first().ok_or("it has no settings of its own")?;
    let line_start = text[..first.key_span.start].rfind('\n').map_or(0, |at| at + 1);
    let indent = &text[line_start..first.key_span.start];
    if !indent.chars().all(|letter| letter == ' ') {
        return Err("its first setting is not on a line of its own");
    }
    // Lines are inserted after a value on one line, so that no comment is separated from its setting.
    let plain = |entry: &&&Entry| {
        let span = entry.value.span;
        matches!(entry.value.value, Value::Text(_))
            && span.start > entry.key_span.end
            && !text[entry.key_span.start..span.end].contains('\n')
            && !text[span.start..].starts_with(['|', '>'])
    };
    let at = own.iter().rev().find(plain).map_or(first.key_span.start, |entry| {
        let end = entry.value.span.end;
        text[end..].find('\n').map_or(text.len(), |line| end + line + 1)
    });
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines = new.join(&format!("{newline}{indent}"));
    let inserted = if at == first.key_span.start {
        format!("{lines}{newline}{indent}")
    } else if text[..at].ends_with('\n') {
        format!("{indent}{lines}{newline}")
    } else {
        format!("{newline}{indent}{lines}{newline}")
    };
    changes.push((at..at, inserted));
    Ok(changes)
}

/// The change of the value of a setting.
fn change_value(text: &str, entry: &Entry, value: &str) -> Result<(Range<usize>, String), &'static str> {
    let span = entry.value.span;
    if span.start < entry.key_span.start {
        return Err("one of its values is an alias, or not a plain value");
    }
    match entry.value.value {
        Value::Text(_) => Ok((span.start..span.end, value.to_owned())),
        Value::List(_) if text[span.start..].starts_with('[') => Ok((span.start..span.end, value.to_owned())),
        Value::List(_) => {
            // The items have lines of their own: they become one line.
            let end = lines::block(text, entry.key_span.start).range.end;
            let colon = text[entry.key_span.end..end].find(':').ok_or("one of its values is not plain")?;
            let start = entry.key_span.end + colon + 1;
            if text[start..end].contains('#') {
                return Err("one of its lists has comments");
            }
            Ok((start..end, format!(" {value}")))
        }
        _ => Err("one of its values is an alias, or not a plain value"),
    }
}

/// Whether an edit sets the level at which the label counts.
fn sets_a_level(edit: &LabelEdit) -> bool {
    edit.settings.iter().any(|(key, _)| matches!(*key, "threshold" | "rise"))
}

/// The changes that turn a list of labels into a mapping.
pub(super) fn change_list(
    text: &str,
    node: &Node,
    items: &[Node],
    edits: &[&LabelEdit],
) -> Result<Vec<(Range<usize>, String)>, &'static str> {
    let is_flow = text[node.span.start..].starts_with('[');
    let mut changes = vec![];
    if is_flow {
        changes.push((node.span.start..node.span.start + 1, "{".to_owned()));
        changes.push((node.span.end - 1..node.span.end, "}".to_owned()));
    }
    for item in items {
        let Value::Text(name) = &item.value else { return Err("the list has more than names") };
        if item.span.start < node.span.start {
            return Err("the list has an alias");
        }
        if !is_flow {
            let dash = text[..item.span.start].rfind('-').ok_or("the list is not plain")?;
            if !text[dash + 1..item.span.start].chars().all(|letter| letter == ' ') {
                return Err("the list is not plain");
            }
            changes.push((dash..dash + 1, " ".to_owned()));
        }
        let edit = edits.iter().find(|edit| edit.label == *name);
        let value = match (edit, is_flow) {
            (Some(edit), _) => format!(": {}", flow(edit)),
            (None, true) => ": ~".to_owned(),
            (None, false) => ":".to_owned(),
        };
        changes.push((item.span.end..item.span.end, value));
    }
    Ok(changes)
}

fn flow(edit: &LabelEdit) -> String {
    let settings = edit.settings.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>();
    format!("{{ {} }}", settings.join(", "))
}

/// Checks that the new text has the new settings and no other change.
fn check(old: &Node, new: &str, edits: &[&LabelEdit]) -> Result<(), Refused> {
    const WHY: &str = "the result would have another meaning";
    let refused = |edit: &LabelEdit| (edit.label.clone(), WHY);
    let (Some(root), mistakes) = tree::parse(0, new) else { return Err(refused(edits[0])) };
    if !mistakes.is_empty() || plain(old, &mut vec![], edits) != plain(&root, &mut vec![], edits) {
        return Err(refused(edits[0]));
    }
    for edit in edits {
        let label = labels(&root, edit).and_then(|labels| child(labels, &edit.label));
        let is_set = |(key, value): &(&str, String)| {
            let found = label.and_then(|label| child(label, key));
            let wanted = tree::parse(0, value).0;
            found.zip(wanted).is_some_and(|(found, wanted)| shape(found) == shape(&wanted))
        };
        if !edit.settings.iter().all(is_set) {
            return Err(refused(edit));
        }
    }
    Ok(())
}

/// A tree without places. The order of keys has no meaning.
pub(super) fn shape(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Nothing => serde_json::Value::Null,
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(shape).collect(),
        Value::Mapping(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), shape(&entry.value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// The tree without the settings that change and without places. A list of labels counts as a mapping to nothing, and a threshold
/// alone as a label with that threshold.
fn plain(node: &Node, path: &mut Vec<String>, edits: &[&LabelEdit]) -> String {
    let is_here = |edit: &&&LabelEdit| edit.path().into_iter().eq(path.iter().map(String::as_str));
    let edit = edits.iter().find(is_here);
    let is_labels = matches!(&path[..], [top, _, labels] if top == "label_sets" && labels == "labels");
    match &node.value {
        Value::Mapping(entries) => {
            let kept = entries.iter().filter(|entry| {
                edit.is_none_or(|edit| !edit.settings.iter().any(|(key, _)| *key == entry.key))
            });
            let mut kept = kept
                .map(|entry| {
                    path.push(entry.key.clone());
                    let value = plain(&entry.value, path, edits);
                    path.pop();
                    format!("{:?}: {value}", entry.key)
                })
                .collect::<Vec<_>>();
            // Merged keys are last, and new ones come before them; their order has no meaning.
            kept.sort();
            format!("{{{}}}", kept.join(", "))
        }
        Value::List(items) if is_labels => {
            let nothing = |item: &Node| match &item.value {
                Value::Text(name) => {
                    let edited = edits.iter().any(|edit| {
                        edit.source.is_none() && edit.label == *name && edit.label_set == path[1]
                    });
                    format!("{name:?}: {}", if edited { "{}" } else { "~" })
                }
                _ => "?".to_owned(),
            };
            let mut names = items.iter().map(nothing).collect::<Vec<_>>();
            names.sort();
            format!("{{{}}}", names.join(", "))
        }
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| plain(item, path, edits)).collect::<Vec<_>>().join(", "))
        }
        Value::Text(level) if edit.is_some_and(|edit| !sets_a_level(edit)) => {
            format!("{{\"threshold\": {level:?}}}")
        }
        Value::Text(_) | Value::Nothing if edit.is_some() => "{}".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Nothing => "~".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(label: &str) -> LabelEdit {
        let settings = vec![("threshold", "0.61".to_owned()), ("hold", "2 of 3".to_owned())];
        LabelEdit { source: None, label_set: "porch".to_owned(), label: label.to_owned(), settings }
    }

    fn changed(text: &str, labels: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, text).unwrap();
        let edits = labels.iter().map(|label| tuned(label)).collect::<Vec<_>>();
        let files = edited(&path, &edits).map_err(|error| error.to_string())?;
        files.iter().try_for_each(Edited::write).map_err(|error| error.to_string())?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_table_of_forms() {
        let long = "{ threshold: 0.61, hold: 2 of 3 }";
        let cases = [
            ("short", "dog: 0.5   # barks", format!("dog: {long}   # barks")),
            ("quoted", "\"dog\": \"0.5\"", format!("\"dog\": {long}")),
            ("nothing", "dog:   # barks", format!("dog: {long}   # barks")),
            ("null", "dog: ~", format!("dog: {long}")),
            ("flow", "dog: { threshold: 0.5 } # b", "dog: { hold: 2 of 3, threshold: 0.61 } # b".to_owned()),
            ("empty", "dog: {}", "dog: { threshold: 0.61, hold: 2 of 3 }".to_owned()),
            (
                "block",
                "dog:\n        # how it barks\n        prompts: [a dog, a hound]  # both\n        threshold: 0.5  # high\n        # and so on\n        cooldown: 5m",
                "dog:\n        # how it barks\n        prompts: [a dog, a hound]  # both\n        threshold: 0.61  # high\n        # and so on\n        cooldown: 5m\n        hold: 2 of 3".to_owned(),
            ),
            (
                "block without a plain value",
                "dog:\n        prompts:\n          - a dog",
                "dog:\n        threshold: 0.61\n        hold: 2 of 3\n        prompts:\n          - a dog".to_owned(),
            ),
        ];
        let around = |label: &str| {
            format!(
                "# mine\nmqtt: {{ url: mqtt://h }}\nlabel_sets:\n  porch:\n    labels:\n      cat: 0.3 # soft\n      {label}\n      猫: 0.2\n"
            )
        };
        for (name, typed, expected) in cases {
            assert_eq!(changed(&around(typed), &["dog"]).unwrap(), around(&expected), "{name}");
        }
    }

    #[test]
    fn lists_become_mappings() {
        let set = |labels: &str| format!("label_sets:\n  porch:\n    labels:{labels}\n");
        let long = "{ threshold: 0.61, hold: 2 of 3 }";
        assert_eq!(
            changed(&set(" [dog, cat] # two"), &["dog"]).unwrap(),
            set(&format!(" {{dog: {long}, cat: ~}} # two"))
        );
        assert_eq!(
            changed(&set("\n    - dog # b\n    - cat"), &["dog", "cat"]).unwrap(),
            set(&format!("\n      dog: {long} # b\n      cat: {long}")),
        );
        assert!(
            changed(&set("\n    - dog\n    -   cat"), &["dog"]).is_err(),
            "the names would not be aligned"
        );
    }

    #[test]
    fn settings_on_a_source_are_changed_there() {
        let text = |dog: &str| {
            format!(
                "label_sets:\n  porch:\n    labels: [dog, cat]\nsources:\n  door: {{ folder: a, watch: {{ porch: {{ dog: {dog} }} }} }} # front\n"
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        fs::write(&path, text("0.8")).unwrap();
        let here = LabelEdit { source: Some("door".to_owned()), ..tuned("dog") };
        let files = edited(&path, std::slice::from_ref(&here)).unwrap();
        assert_eq!(files[0].text, text("{ threshold: 0.61, hold: 2 of 3 }"));
        let files = edited(&path, &[here, tuned("cat")]).unwrap();
        assert!(
            files[0].text.contains("labels: {dog: ~, cat: { threshold: 0.61, hold: 2 of 3 }}"),
            "{}",
            files[0].text
        );
        let other = LabelEdit { source: Some("back".to_owned()), ..tuned("dog") };
        assert!(edited(&path, &[other]).is_err());
    }

    #[test]
    fn prompts_are_lists() {
        let text = |dog: &str| {
            format!("label_sets:\n  porch:\n    labels:\n      dog:{dog}\n      cat: 0.2 # soft\n")
        };
        let prompts =
            LabelEdit { settings: vec![("prompts", "[a dog, \"a: b\"]".to_owned())], ..tuned("dog") };
        let changed = |dog: &str| super::changed(&text(dog), &prompts).unwrap();
        for (typed, expected) in [
            (" 0.5 # barks", " { threshold: 0.5, prompts: [a dog, \"a: b\"] } # barks"),
            ("", " { prompts: [a dog, \"a: b\"] }"),
            (" { prompts: [x, y], rise: 0.1 }", " { prompts: [a dog, \"a: b\"], rise: 0.1 }"),
            (
                "\n        prompts:\n          - x\n          - y\n        rise: 0.1",
                "\n        prompts: [a dog, \"a: b\"]\n        rise: 0.1",
            ),
            (
                "\n        prompts:\n        - x\n        # more\n        threshold: 0.7 # high",
                "\n        prompts: [a dog, \"a: b\"]\n        # more\n        threshold: 0.7 # high",
            ),
        ] {
            assert_eq!(changed(typed), Ok(text(expected)), "{typed}");
        }
        let commented = "\n        prompts:\n          - x # why\n          - y";
        assert_eq!(changed(commented), Err("one of its lists has comments"));
        assert_eq!(super::changed("a: 1", &prompts), None);
    }

    #[test]
    fn an_alias_is_never_changed_and_nothing_is_written() {
        let text =
            "label_sets:\n  porch:\n    labels:\n      cat: &strict { threshold: 0.5 }\n      dog: *strict\n";
        assert!(changed(text, &["dog"]).unwrap_err().contains("its value is an alias"));
        assert!(changed(text, &["cow"]).unwrap_err().contains("there is no label `cow`"));
        let merged = "label_sets:\n  porch:\n    labels:\n      cat: &strict\n        threshold: 0.5\n      dog:\n        <<: *strict\n        cooldown: 5m\n";
        let new = changed(merged, &["dog"]).unwrap();
        assert_eq!(new, format!("{merged}        threshold: 0.61\n        hold: 2 of 3\n"));
        assert!(changed(merged, &["cat"]).is_err(), "the dog would change, too");
    }

    #[test]
    fn line_ends_byte_order_marks_links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.yaml"), folder.path().join("stakeout.yaml"));
        fs::write(
            &real,
            "\u{feff}label_sets:\r\n  porch:\r\n    labels:\r\n      dog:\r\n        threshold: 0.5\r\n",
        )
        .unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        for edited in edited(&link, &[tuned("dog")]).unwrap() {
            edited.write().unwrap();
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        let text = fs::read_to_string(&real).unwrap();
        assert!(
            text.starts_with('\u{feff}') && text.ends_with("threshold: 0.61\r\n        hold: 2 of 3\r\n"),
            "{text:?}"
        );
    }
}
