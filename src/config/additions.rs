//! Adds labels, label sets and sources to the text of a configuration file: comments, order and spacing of everything else stay.
//!
//! Nothing is returned unless the new text, read again, has exactly what was added and no other change. [`super::edit`] changes
//! settings of labels that exist.

use std::ops::Range;

use serde_json::{Map, Value};

use super::edit::{change_list, shape, spliced};
use crate::yaml::{
    lines,
    tree::{self, Entry, Node, Value as Tree},
};

/// A value in one line that is longer than this gets lines of its own.
const WIDEST: usize = 90;

/// Why nothing is added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The file is not YAML, or has something else where the new entry would be.
    #[error("the file cannot be changed in place ({0}): change it with an editor")]
    Unusual(&'static str),
    /// There is an entry of this name.
    #[error("`{0}` exists already")]
    Exists(String),
    /// What the entry would be added to does not exist.
    #[error("there is no `{0}`")]
    Missing(String),
}

/// `text` with a new entry `key: value` in the mapping at `path`. Mappings that are missing are added.
///
/// # Errors
/// The entry exists, or the file cannot be changed in place.
pub fn entry(text: &str, path: &[&str], key: &str, value: &Value) -> Result<String, AddError> {
    let old = root(text)?;
    let (depth, parent) = deepest(&old, path);
    // What is missing on the path is a part of the value.
    let (key, value) = path[depth..].iter().rev().fold((key, value.clone()), |(key, value), above| {
        (*above, Value::Object(Map::from_iter([(key.to_owned(), value)])))
    });
    let new = match parent {
        None => spliced(text, vec![(text.len()..text.len(), at_the_end(text, key, &value))]),
        Some(InsertionPoint { node, entry }) => {
            let change = insertion(text, node, entry, key, &value)?;
            spliced(text, vec![change])
        }
    };
    let new = new.ok_or(AddError::Unusual("two changes overlap"))?;
    let mut expected = shape(&old);
    let inside = path[..depth].iter().try_fold(&mut expected, |value, key| value.get_mut(key));
    let inside = inside.ok_or(AddError::Unusual("a part of the path is missing"))?;
    if inside.is_null() {
        *inside = Value::Object(Map::new());
    }
    inside.as_object_mut().ok_or(AddError::Unusual(FORM))?.insert(key.to_owned(), as_read(&value));
    checked(new, &expected)
}

/// `text` with a label in a label set. A label with no settings, or with a threshold only, is written in its short form.
///
/// # Errors
/// As for [`entry`]; also if there is no such label set.
pub fn label(text: &str, set: &str, label: &str, settings: &Map<String, Value>) -> Result<String, AddError> {
    let old = root(text)?;
    if find(&old, &["label_sets", set]).is_none() {
        return Err(AddError::Missing(set.to_owned()));
    }
    let path = ["label_sets", set, "labels"];
    let list = find(&old, &path).is_some_and(|labels| matches!(labels.value, Tree::List(_)));
    if list && settings.is_empty() {
        return item(text, &path, label);
    }
    let text = if list { names_as_mapping(text, &path)? } else { text.to_owned() };
    entry(&text, &path, label, &short(settings))
}

/// `text` with settings of a label that hold on one source only. The source must watch the label set.
///
/// # Errors
/// As for [`entry`]; also if the source does not watch the label set.
pub fn adjustment(
    text: &str,
    source: &str,
    set: &str,
    label: &str,
    settings: &Map<String, Value>,
) -> Result<String, AddError> {
    let old = root(text)?;
    let watch = ["sources", source, "watch"];
    let watched = find(&old, &watch).ok_or_else(|| AddError::Missing(source.to_owned()))?;
    let text = match &watched.value {
        Tree::List(_) => names_as_mapping(text, &watch)?,
        _ => text.to_owned(),
    };
    let new = root(&text)?;
    let path = ["sources", source, "watch", set];
    if find(&new, &path).is_none() {
        return Err(AddError::Missing(set.to_owned()));
    }
    entry(&text, &path, label, &short(settings))
}

/// `text` with one more label set that a source watches.
///
/// # Errors
/// As for [`entry`]; also if there is no such source.
pub fn watch(text: &str, source: &str, set: &str) -> Result<String, AddError> {
    let old = root(text)?;
    if find(&old, &["sources", source]).is_none() {
        return Err(AddError::Missing(source.to_owned()));
    }
    let path = ["sources", source, "watch"];
    match find(&old, &path).map(|watched| &watched.value) {
        Some(Tree::Mapping(_)) => entry(text, &path, set, &Value::Null),
        Some(Tree::List(_)) => item(text, &path, set),
        Some(_) => Err(AddError::Unusual(FORM)),
        None => entry(text, &["sources", source], "watch", &Value::Array(vec![set.into()])),
    }
}

/// `text` in which a source that takes its `watch` from the `defaults` of the main file has the same `watch` of its own; otherwise as it
/// is.
///
/// # Errors
/// As for [`entry`].
pub fn with_own_watch(text: &str, main: &str, source: &str) -> Result<String, AddError> {
    let (old, main) = (root(text)?, root(main)?);
    let entries = match find(&old, &["sources", source]).map(|source| &source.value) {
        Some(Tree::Mapping(entries)) if !entries.iter().any(|own| own.key == "watch") => entries,
        _ => return Ok(text.to_owned()),
    };
    let of_kind = entries.iter().find_map(|own| find(&main, &["defaults", own.key.as_str(), "watch"]));
    match of_kind.or_else(|| find(&main, &["defaults", "watch"])) {
        Some(default) => entry(text, &["sources", source], "watch", &shape(default)),
        None => Ok(text.to_owned()),
    }
}

/// Whether `text` has an entry at this path.
#[must_use]
pub fn has(text: &str, path: &[&str]) -> bool {
    root(text).is_ok_and(|root| find(&root, path).is_some())
}

const FORM: &str = "something else is in its place";

/// A value as YAML in one line.
#[must_use]
pub fn in_one_line(value: &Value) -> String {
    match value {
        Value::Null => "~".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(in_one_line).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries =
                entries.iter().map(|(key, value)| format!("{}: {}", scalar(key), in_one_line(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn root(text: &str) -> Result<Node, AddError> {
    let (root, mistakes) = tree::parse(0, text);
    if !mistakes.is_empty() {
        return Err(AddError::Unusual("it is not valid YAML"));
    }
    let empty = Node { span: crate::yaml::error::Span::default(), value: Tree::Nothing };
    Ok(root.unwrap_or(empty))
}

fn find<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, key| child(node, key).map(|entry| &entry.value))
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    match &node.value {
        Tree::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}

/// The node that an entry is added to, and its own entry in the mapping around it.
struct InsertionPoint<'n> {
    node: &'n Node,
    entry: Option<&'n Entry>,
}

/// How much of the path exists, and its last node; `None` if the whole file has nothing.
fn deepest<'n>(root: &'n Node, path: &[&str]) -> (usize, Option<InsertionPoint<'n>>) {
    if matches!(root.value, Tree::Nothing) {
        return (0, None);
    }
    let (mut place, mut depth) = (InsertionPoint { node: root, entry: None }, 0);
    while let Some(entry) = path.get(depth).and_then(|key| child(place.node, key)) {
        place = InsertionPoint { node: &entry.value, entry: Some(entry) };
        depth += 1;
    }
    (depth, Some(place))
}

/// The change that adds an entry to a mapping.
fn insertion(
    text: &str,
    node: &Node,
    around: Option<&Entry>,
    key: &str,
    value: &Value,
) -> Result<(Range<usize>, String), AddError> {
    let in_line = format!("{}: {}", scalar(key), in_one_line(value));
    if around.is_some_and(|entry| node.span.start < entry.key_span.start) {
        return Err(AddError::Unusual("its value is an alias"));
    }
    match &node.value {
        Tree::Nothing => {
            let entry = around.ok_or(AddError::Unusual(FORM))?;
            let typed = text.get(node.span.start..node.span.end).unwrap_or_default();
            if !typed.trim().is_empty() {
                return Ok((node.span.start..node.span.end, format!("{{ {in_line} }}")));
            }
            let after = &text[entry.key_span.end..];
            let colon = after.find(|letter: char| !letter.is_whitespace());
            let colon = colon.filter(|at| after[*at..].starts_with(':'));
            let (at, colon) =
                colon.map_or((entry.key_span.end, ":"), |colon| (entry.key_span.end + colon + 1, ""));
            Ok((at..at, format!("{colon} {{ {in_line} }}")))
        }
        Tree::Text(_) | Tree::List(_) => Err(AddError::Unusual(FORM)),
        Tree::Mapping(entries) => {
            // The entries of `<<` are in another place.
            let own: Vec<_> = entries.iter().filter(|it| it.key_span.start >= node.span.start).collect();
            if entries.iter().any(|it| it.key == key) {
                return Err(AddError::Exists(key.to_owned()));
            }
            if text[node.span.start..].starts_with('{') {
                let after = if own.is_empty() { " " } else { "," };
                let at = node.span.start + 1;
                return Ok((at..at, format!(" {in_line}{after}")));
            }
            let (Some(first), Some(last)) = (own.first(), own.last()) else {
                return Err(AddError::Unusual("it has no entries of its own"));
            };
            let start = lines::start_of_line(text, first.key_span.start);
            let indent = &text[start..first.key_span.start];
            if !indent.chars().all(|letter| letter == ' ') {
                return Err(AddError::Unusual("its first entry is not on a line of its own"));
            }
            let at = end_of_entry(text, last);
            Ok((at..at, format!("{}{}", newline(text), in_lines(text, key, value, indent))))
        }
    }
}

/// The end of the last line of an entry in a block, including comments that are indented deeper.
fn end_of_entry(text: &str, entry: &Entry) -> usize {
    let block = lines::block(text, entry.key_span.start);
    let mut end = block.range.end;
    while let Some(next) = text[end..].find('\n').map(|newline| end + newline + 1) {
        let line = lines::line(text, next);
        let indentation = lines::indentation(line);
        if indentation <= block.column || !line[indentation..].starts_with('#') {
            break;
        }
        end = next + line.trim_end().len();
    }
    end
}

/// `text` with one more name in the list at `path`.
fn item(text: &str, path: &[&str], name: &str) -> Result<String, AddError> {
    let old = root(text)?;
    let list = find(&old, path).ok_or(AddError::Unusual(FORM))?;
    let Tree::List(items) = &list.value else { return Err(AddError::Unusual(FORM)) };
    if items.iter().any(|item| matches!(&item.value, Tree::Text(known) if known == name)) {
        return Err(AddError::Exists(name.to_owned()));
    }
    let change = match items.last() {
        _ if text[list.span.start..].starts_with('[') => {
            let at = list.span.start + 1;
            (at..at, if items.is_empty() { scalar(name) } else { format!("{}, ", scalar(name)) })
        }
        Some(last) => {
            let start = lines::start_of_line(text, last.span.start);
            let (before, _) = text[start..last.span.start]
                .split_once('-')
                .filter(|(before, after)| [before, after].iter().all(|it| it.trim().is_empty()))
                .ok_or(AddError::Unusual("the list is not plain"))?;
            let line = lines::line(text, start);
            let at = start + line.trim_end().len();
            (at..at, format!("{}{before}- {}", newline(text), scalar(name)))
        }
        None => return Err(AddError::Unusual(FORM)),
    };
    let new = spliced(text, vec![change]).ok_or(AddError::Unusual("two changes overlap"))?;
    let mut expected = shape(&old);
    let inside = path.iter().try_fold(&mut expected, |value, key| value.get_mut(key));
    let names = inside.and_then(Value::as_array_mut).ok_or(AddError::Unusual(FORM))?;
    if text[list.span.start..].starts_with('[') {
        names.insert(0, name.into());
    } else {
        names.push(name.into());
    }
    checked(new, &expected)
}

/// `text` with the list of names at `path` as a mapping from these names to nothing.
fn names_as_mapping(text: &str, path: &[&str]) -> Result<String, AddError> {
    let old = root(text)?;
    let list = find(&old, path).ok_or(AddError::Unusual(FORM))?;
    let Tree::List(items) = &list.value else { return Err(AddError::Unusual(FORM)) };
    let changes = change_list(text, list, items, &[]).map_err(AddError::Unusual)?;
    let new = spliced(text, changes).ok_or(AddError::Unusual("two changes overlap"))?;
    let mut expected = shape(&old);
    let inside = path.iter().try_fold(&mut expected, |value, key| value.get_mut(key));
    let inside = inside.ok_or(AddError::Unusual(FORM))?;
    let names = inside.as_array().into_iter().flatten().filter_map(Value::as_str);
    *inside = Value::Object(names.map(|name| (name.to_owned(), Value::Null)).collect());
    checked(new, &expected)
}

/// The new text, if it says what is expected.
fn checked(new: String, expected: &Value) -> Result<String, AddError> {
    let found = root(&new).map(|root| shape(&root));
    match found {
        Ok(found) if found == *expected => Ok(new),
        _ => Err(AddError::Unusual("the result would have another meaning")),
    }
}

/// The settings of a label in their shortest form.
fn short(settings: &Map<String, Value>) -> Value {
    match settings.get("threshold") {
        _ if settings.is_empty() => Value::Null,
        Some(threshold @ Value::Number(_)) if settings.len() == 1 => threshold.clone(),
        _ => Value::Object(settings.clone()),
    }
}

/// A value as the reader sees it: numbers and switches are texts.
fn as_read(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(value) => value.to_string().into(),
        Value::Number(value) => value.to_string().into(),
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().map(as_read).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), as_read(value))).collect())
        }
    }
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// An entry at the end of a file that has none, and perhaps comments.
fn at_the_end(text: &str, key: &str, value: &Value) -> String {
    let newline = newline(text);
    let before = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
    format!("{before}{}{newline}", in_lines(text, key, value, ""))
}

/// An entry in lines of its own, without an end of the last line. Mappings that are short enough are in one line.
fn in_lines(text: &str, key: &str, value: &Value, indent: &str) -> String {
    let in_line = in_one_line(value);
    match value {
        Value::Null => format!("{indent}{}:", scalar(key)),
        Value::Object(entries)
            if !entries.is_empty() && (in_line.len() > WIDEST || entries.values().any(Value::is_object)) =>
        {
            let deeper = format!("{indent}  ");
            let below = entries.iter().map(|(key, value)| in_lines(text, key, value, &deeper));
            let below = below.collect::<Vec<_>>().join(newline(text));
            format!("{indent}{}:{}{below}", scalar(key), newline(text))
        }
        _ => format!("{indent}{}: {in_line}", scalar(key)),
    }
}

/// A text as it is typed: with quotes where YAML needs them.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || " _-./+%@()".contains(letter);
    let begins = text.chars().next().is_some_and(|first| first.is_alphanumeric() || "/._".contains(first));
    let means_nothing = text.eq_ignore_ascii_case("null");
    if begins && text.chars().all(is_plain) && !text.ends_with(' ') && !means_nothing {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if letter.is_control() || matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(letter)));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FILE: &str = "# mine\nmqtt: { url: mqtt://h }  # broker\nlabel_sets:\n  porch: # front\n    background: [an empty porch]\n    labels:\n      cat: 0.3 # soft\n        # and quiet\n  # more sets\nsources:\n  door:\n    folder: a # left\n    watch:\n      - porch # all\n  gate: { folder: b, watch: [porch] }\n# end\n";

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => panic!("an object"),
        }
    }

    #[test]
    fn labels_sets_and_sources_are_added_where_they_belong() {
        let replaced = |from: &str, to: &str| Ok(FILE.replacen(from, to, 1));
        let label = |name: &str, settings: Value| label(FILE, "porch", name, &object(settings));
        assert_eq!(label("dog", json!({})), replaced("# and quiet\n", "# and quiet\n      dog:\n"));
        assert_eq!(
            label("a: dog", json!({ "threshold": 0.61 })),
            replaced("# and quiet\n", "# and quiet\n      \"a: dog\": 0.61\n")
        );
        assert_eq!(
            label("dog", json!({ "threshold": 0.5, "hold": "2 of 3", "prompts": ["a dog", "a hound"] })),
            replaced(
                "# and quiet\n",
                "# and quiet\n      dog: { threshold: 0.5, hold: 2 of 3, prompts: [a dog, a hound] }\n"
            )
        );
        assert_eq!(label("cat", json!({})), Err(AddError::Exists("cat".to_owned())));
        assert_eq!(super::label(FILE, "yard", "x", &Map::new()), Err(AddError::Missing("yard".to_owned())));

        let yard = json!({ "background": ["an empty yard"], "labels": { "fox": 0.5 } });
        assert_eq!(
            entry(FILE, &["label_sets"], "yard", &yard),
            replaced(
                "# and quiet\n",
                "# and quiet\n  yard:\n    background: [an empty yard]\n    labels: { fox: 0.5 }\n"
            )
        );
        let back = json!({ "rtsp": "rtsp://me:pw@h/s?a=b", "watch": ["porch"] });
        assert_eq!(
            entry(FILE, &["sources"], "back", &back),
            replaced(
                "watch: [porch] }\n",
                "watch: [porch] }\n  back: { rtsp: \"rtsp://me:pw@h/s?a=b\", watch: [porch] }\n"
            )
        );
        assert_eq!(watch(FILE, "door", "yard"), replaced("- porch # all\n", "- porch # all\n      - yard\n"));
        assert_eq!(watch(FILE, "gate", "yard"), replaced("watch: [porch]", "watch: [yard, porch]"));
        assert_eq!(watch(FILE, "gate", "porch"), Err(AddError::Exists("porch".to_owned())));
        assert_eq!(watch(FILE, "roof", "porch"), Err(AddError::Missing("roof".to_owned())));
    }

    #[test]
    fn a_label_can_be_different_on_one_source() {
        let settings = object(json!({ "threshold": 0.8 }));
        let changed = |source: &str| adjustment(FILE, source, "porch", "cat", &settings);
        assert_eq!(changed("gate"), Ok(FILE.replacen("watch: [porch]", "watch: {porch: { cat: 0.8 }}", 1)));
        assert_eq!(changed("door"), Ok(FILE.replacen("  - porch # all", "    porch: { cat: 0.8 } # all", 1)));
        let twice = adjustment(&changed("gate").unwrap(), "gate", "porch", "dog", &settings).unwrap();
        assert!(twice.contains("{porch: { dog: 0.8, cat: 0.8 }}"), "{twice}");
        assert_eq!(
            adjustment(FILE, "gate", "yard", "x", &settings),
            Err(AddError::Missing("yard".to_owned()))
        );
    }

    #[test]
    fn a_source_gets_a_copy_of_the_default_before_its_watch_changes() {
        let file = "defaults:\n  watch: [porch]\n  http: { watch: { yard: { cat: 0.8 }, porch: } }\nsources:\n  \
                    door: { folder: a }\n  gate: { http: 'http://h/' }\n  back: { folder: b, watch: [yard] }\n";
        let own = |source: &str| with_own_watch(file, file, source).unwrap();
        let door = own("door");
        assert!(door.contains("door: { watch: [porch], folder: a }"), "{door}");
        assert!(watch(&door, "door", "yard").unwrap().contains("watch: [yard, porch]"));
        assert!(
            own("gate").contains("gate: { watch: { yard: { cat: 0.8 }, porch: ~ }, http:"),
            "{}",
            own("gate")
        );
        assert_eq!((own("back"), own("none")), (file.to_owned(), file.to_owned()));
        assert_eq!(with_own_watch(file, "mqtt: {}\n", "door"), Ok(file.to_owned()));
    }

    #[test]
    fn what_is_missing_is_added_too() {
        let source = json!({ "folder": "inbox", "watch": ["porch"] });
        for (text, expected) in [
            ("", "sources:\n  a: { folder: inbox, watch: [porch] }\n"),
            ("# empty", "# empty\nsources:\n  a: { folder: inbox, watch: [porch] }\n"),
            ("mqtt: { url: x }", "mqtt: { url: x }\nsources:\n  a: { folder: inbox, watch: [porch] }"),
            ("sources:  # none yet\n", "sources: { a: { folder: inbox, watch: [porch] } }  # none yet\n"),
            ("sources: ~\r\n", "sources: { a: { folder: inbox, watch: [porch] } }\r\n"),
            ("sources: {}\n", "sources: { a: { folder: inbox, watch: [porch] } }\n"),
            ("m: 1\r\n", "m: 1\r\nsources:\r\n  a: { folder: inbox, watch: [porch] }\r\n"),
        ] {
            assert_eq!(entry(text, &["sources"], "a", &source), Ok(expected.to_owned()), "{text:?}");
        }
        let list = "label_sets: { porch: { labels: [cat] } }\n";
        assert_eq!(
            label(list, "porch", "dog", &Map::new()),
            Ok("label_sets: { porch: { labels: [dog, cat] } }\n".to_owned())
        );
        assert_eq!(
            label(list, "porch", "dog", &object(json!({ "threshold": 0.5 }))),
            Ok("label_sets: { porch: { labels: { dog: 0.5,cat: ~} } }\n".to_owned())
        );
        assert_eq!(
            label("label_sets:\n  porch:\n", "porch", "dog", &Map::new()),
            Ok("label_sets:\n  porch: { labels: { dog: ~ } }\n".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_refused() {
        let alias = "x: &a { folder: b }\nsources: *a\n";
        for text in ["sources: [a]\n", "sources: text\n", "- a\n", "a: [\n", alias, "a: 1\na: 2\n"] {
            let added = entry(text, &["sources"], "new", &json!({ "folder": "a" }));
            assert!(matches!(added, Err(AddError::Unusual(_))), "{text}: {added:?}");
        }
        let merge = entry("a: 1\n", &[], "<<", &json!({ "b": "1" }));
        assert!(matches!(merge, Err(AddError::Unusual(_))), "{merge:?}");
    }

    proptest! {
        #[test]
        fn every_name_and_every_text_is_added_as_it_is(name in "(?s).{1,20}", text in "(?s).{0,20}") {
            for file in [FILE, "sources: {}\n", ""] {
                match entry(file, &["sources"], &name, &json!({ "folder": text })) {
                    Ok(new) => {
                        let found = shape(&root(&new).unwrap());
                        prop_assert_eq!(&found["sources"][&name]["folder"], &json!(text));
                    }
                    // A carriage return or a byte order mark may have no place in a text.
                    Err(error) => {
                        let is_known = name == "<<" || name == "door" || name == "gate" || matches!(error, AddError::Unusual(_));
                        prop_assert!(is_known, "{}", error);
                    }
                }
            }
        }
    }
}
