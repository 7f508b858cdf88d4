//! Whether a new text says what was meant, and else what the old one did.

use super::{LabelEdit, Refused, child, labels};
use crate::yaml::tree::{self, Node, Value};

/// The new text holds the new settings, and all else as before.
pub(super) fn check(old: &Node, new: &str, edits: &[&LabelEdit]) -> Result<(), Refused> {
    const WHY: &str = "the result would not be what was meant";
    let refused = |edit: &LabelEdit| (edit.label.clone(), WHY);
    let (Some(root), mistakes) = tree::parse(0, new) else { return Err(refused(edits[0])) };
    if !mistakes.is_empty() || plain(old, &mut vec![], edits) != plain(&root, &mut vec![], edits) {
        return Err(refused(edits[0]));
    }
    for edit in edits {
        let label = labels(&root, edit).and_then(|labels| child(labels, &edit.label));
        let is_set = |(key, value): &(&str, String)| {
            let found = label.and_then(|label| child(label, key));
            found.is_some_and(|node| matches!(&node.value, Value::Text(text) if text == value))
        };
        if !edit.settings.iter().all(is_set) {
            return Err(refused(edit));
        }
    }
    Ok(())
}

/// Everything besides the settings that change, without places; a list of labels is a mapping to nothing, and a threshold
/// alone is a label with that threshold.
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
            // Keys that were merged come last, and one that is typed now comes sooner; the order says nothing here.
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
        Value::Text(_) | Value::Nothing if edit.is_some() => "{}".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Nothing => "~".to_owned(),
    }
}
