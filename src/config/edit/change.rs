//! Which bytes of a file are replaced for new settings of a label, in each form in which one can be typed.

use std::ops::Range;

use super::LabelEdit;
use crate::yaml::tree::{Entry, Node, Value};

/// A label of a mapping: its short form becomes the long one, in its long form values are replaced and added.
pub(super) fn change_label(
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
    // What `<<` brought in stands elsewhere.
    let own = entries.iter().filter(|entry| entry.key_span.start >= node.span.start).collect::<Vec<_>>();
    let (mut changes, mut new) = (vec![], vec![]);
    for (key, value) in &edit.settings {
        match own.iter().find(|entry| entry.key == *key) {
            Some(entry)
                if !matches!(entry.value.value, Value::Text(_))
                    || entry.value.span.start < entry.key_span.start =>
            {
                return Err("one of its values is an alias, or no plain value");
            }
            Some(entry) => changes.push((entry.value.span.start..entry.value.span.end, value.clone())),
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
        return Err("its first setting does not stand on a line of its own");
    }
    // Behind a value on one line, so that no comment is parted from what it is about.
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

/// A list of labels becomes a mapping.
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
        let Value::Text(name) = &item.value else { return Err("the list holds more than names") };
        if item.span.start < node.span.start {
            return Err("the list holds an alias");
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
