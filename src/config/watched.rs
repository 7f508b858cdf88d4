//! Reads `watch` of a source: the label sets that it watches, and how their labels differ there.

use super::{label_sets::LabelSets, labels, rules};
use crate::{
    policy::Label,
    yaml::{
        fields::Form,
        mask, names,
        reader::{Reader, Setting},
        tree::Value,
    },
};

/// The form of `watch`: names of label sets, or a mapping to the labels that are different here.
pub(super) const FORM: Form = Form::Either(&[
    Form::List(&Form::Text),
    Form::Named(&Form::Either(&[
        Form::Nothing,
        Form::Named(&Form::Either(&[Form::Level, Form::Mapping(&labels::ON_SOURCE)])),
    ])),
]);

/// The value of `watch`.
#[derive(Default)]
pub(super) struct Watched {
    /// The names of label sets.
    pub sets: Vec<String>,
    /// The labels that are different here, with the names of their sets.
    pub adjusted: Vec<(String, Label)>,
}

/// Reads `[porch, yard]`, or `{ porch: { person: 0.8 }, yard: }`.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Watched {
    if let Value::Mapping(_) = &at.node.value {
        return mapping(reader, at, sets);
    }
    let Some(watch) = reader.texts(at) else { return Watched::default() };
    let Value::List(items) = &at.node.value else { return Watched::default() };
    for (i, (name, item)) in watch.iter().zip(items).enumerate() {
        let known = sets.known.sets.iter().map(String::as_str).collect::<Vec<_>>();
        // If no label set is defined at all, that is reported already.
        if !known.is_empty() && !known.contains(&&**name) && !reader.lost_names() {
            let message = format!("there is no label set `{}`", mask::shown(name));
            reader.problem(item.span, message, names::suggest(name, &known));
        } else if watch[..i].contains(name) {
            let message = format!("`{}` is in the list twice", mask::shown(name));
            reader.problem(item.span, message, "list each label set once");
        }
    }
    Watched { sets: watch, adjusted: Vec::new() }
}

fn mapping(reader: &mut Reader<'_>, at: &Setting<'_>, sets: &LabelSets) -> Watched {
    let mut watched = Watched::default();
    let known: Vec<_> = sets.known.sets.iter().map(String::as_str).collect();
    for set in reader.named(at, "name the label sets to score: `watch: [porch]`") {
        watched.sets.push(set.name.to_owned());
        if !known.is_empty() && !known.contains(&set.name) {
            if reader.lost_names() {
                continue;
            }
            let message = format!("there is no label set `{}`", mask::shown(set.name));
            reader.problem(set.key, message, names::suggest(set.name, &known));
            continue;
        }
        match &set.node.value {
            Value::Nothing => {}
            Value::Mapping(_) => {
                for at in reader.named(&set, "name the labels that are different here: `person: 0.8`") {
                    let adjusted = adjusted(reader, &at, set.name, sets);
                    watched.adjusted.extend(adjusted.map(|label| (set.name.to_owned(), label)));
                }
            }
            _ => {
                let name = mask::shown(set.name);
                let remedy = format!(
                    "write `{name}:` to watch it unchanged, or `{name}: {{ person: 0.8 }}` to change a label here"
                );
                reader.must_be(&set, "a mapping from labels, or nothing", remedy);
            }
        }
    }
    watched
}

fn adjusted(reader: &mut Reader<'_>, at: &Setting<'_>, set: &str, sets: &LabelSets) -> Option<Label> {
    let known = [sets.known.labels_of(set), sets.known.rules_of(set)].concat();
    if !known.is_empty() && !known.contains(&at.name) {
        if reader.lost_names() {
            return None;
        }
        let message = format!("the label set `{}` has no label `{}`", mask::shown(set), mask::shown(at.name));
        reader.problem(at.key, message, names::suggest(at.name, &known));
        return None;
    }
    // A label that is invalid in its label set is reported there.
    let set = sets.sets.iter().find(|it| it.name == set)?;
    if let Some(rule) = set.rules.iter().find(|rule| rule.settings.name == at.name) {
        return rules::adjust(reader, at, &rule.settings);
    }
    labels::adjust(reader, at, set.labels.iter().find(|it| it.name == at.name)?)
}
