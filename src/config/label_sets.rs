//! The `label_sets` section, in the main file and in `rules.d`.

use std::collections::HashMap;

use super::{
    Label, LabelSet, Rule,
    error::Span,
    label,
    names::topic_level,
    raw::Value,
    read::{Reader, Setting},
};

pub(super) const SET_KEYS: &[&str] = &["template", "background", "labels"];
/// What is missing is shown with this.
pub(super) const EXAMPLE: &str =
    "label_sets:\n  porch:\n    background: [an empty porch]\n    labels:\n      person: 0.7";
const LABELS: &str = "labels:\n  person: 0.7";

const TEMPLATE: &str = "This is a photo of {}.";

/// The label sets of all files so far. A name counts as defined even where its label set or label is wrong.
#[derive(Default)]
pub(super) struct LabelSets {
    pub sets: Vec<LabelSet>,
    pub names: Vec<String>,
    /// Names of label sets and of their labels.
    labels: Vec<(String, String)>,
    topics: Topics,
}

impl LabelSets {
    /// Reads one file's `label_sets`.
    pub fn read(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>) {
        for set in reader.named(at, &format!("describe what to watch for:\n{EXAMPLE}")) {
            // YAML itself sees a name that is there twice in one file; this is about two files.
            self.topics.check(reader, "label set", set.name, set.key);
            self.names.push(set.name.to_owned());
            let read = label_set(reader, &set);
            self.labels.extend(typed_labels(&set).map(|label| (set.name.to_owned(), label.to_owned())));
            self.sets.extend(read);
        }
    }

    /// The names of the labels of a set.
    pub fn labels_of(&self, set: &str) -> Vec<&str> {
        self.labels.iter().filter(|(of, _)| of == set).map(|(_, label)| &**label).collect()
    }
}

/// Names that end up in topics, by their topic level.
#[derive(Default)]
pub(super) struct Topics(HashMap<String, (String, Span)>);

impl Topics {
    /// Reports `name` if an earlier one has the same topic.
    pub fn check(&mut self, reader: &mut Reader<'_>, what: &str, name: &str, span: Span) {
        let topic = topic_level(name);
        let Some((first, first_span)) = self.0.get(&topic) else {
            self.0.insert(topic, (name.to_owned(), span));
            return;
        };
        let shown = super::mask::shown;
        let place = reader.places.files.name_line(*first_span);
        let (message, remedy) = if first == name {
            let message = format!("the {what} `{}` is defined twice", shown(name));
            (message, format!("the first one is at {place}: rename or remove one of them"))
        } else {
            let message = format!(
                "the {what}s `{}` and `{}` have the same topic level `{topic}`",
                shown(first),
                shown(name)
            );
            let rule = "in a topic a name is lower case, and whatever is not a-z, 0-9 or - becomes `_`";
            (message, format!("rename one of them; the first one is at {place}\n{rule}"))
        };
        reader.problem(span, message, remedy);
    }
}

fn label_set(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<LabelSet> {
    let section = reader.section(at, SET_KEYS, &format!("describe it like this:\n{EXAMPLE}"))?;
    let template = match section.get("template") {
        Some(at) => reader.parsed(&at, "a sentence with `{}` for the prompt", |text| {
            let remedy = "without `{}` all labels would be the same sentence: `a photo of {}`";
            if text.contains("{}") { Ok(text.to_owned()) } else { Err(remedy.to_owned()) }
        }),
        None => Some(TEMPLATE.to_owned()),
    };
    let background = section.get("background").map(|at| reader.texts(&at));
    let Some(labels) = section.get("labels") else {
        if !section.lacks("labels") {
            return None;
        }
        let message = format!("the label set `{}` has no `labels`", super::mask::shown(at.name));
        reader.problem(
            at.key,
            message,
            format!("name what to watch for, and the score from which on it counts:\n{LABELS}"),
        );
        return None;
    };
    let labels = labels_of(reader, &labels);
    Some(LabelSet {
        name: at.name.to_owned(),
        template: template?,
        background: background.unwrap_or(Some(vec![]))?,
        labels,
    })
}

/// The names that were typed below `labels`.
fn typed_labels<'n>(set: &Setting<'n>) -> impl Iterator<Item = &'n str> {
    let labels = match &set.node.value {
        Value::Mapping(entries) => entries.iter().find(|entry| entry.key == "labels"),
        _ => None,
    };
    let (listed, named) = match labels.map(|labels| &labels.value.value) {
        Some(Value::List(items)) => (&items[..], &[][..]),
        Some(Value::Mapping(entries)) => (&[][..], &entries[..]),
        _ => (&[][..], &[][..]),
    };
    let listed = listed.iter().filter_map(|item| match &item.value {
        Value::Text(name) => Some(&**name),
        _ => None,
    });
    listed.chain(named.iter().map(|entry| &*entry.key))
}

fn labels_of(reader: &mut Reader<'_>, at: &Setting<'_>) -> Vec<Label> {
    let mut topics = Topics::default();
    let mut labels = vec![];
    if let Value::List(items) = &at.node.value
        && !items.is_empty()
    {
        // `[cat, dog]`: every label with the defaults.
        for item in reader.items(at, items) {
            let Value::Text(name) = &item.node.value else {
                let remedy = format!("labels with settings are a mapping, without `-`:\n{LABELS}");
                reader.problem(item.span(), "a label in a list can only be a name", remedy);
                continue;
            };
            reader.check_name(name, item.node.span);
            let named = Setting { path: format!("{}.{name}", at.path), name, in_list: false, ..item };
            reader.places.spans.insert(named.path.clone(), named.key);
            check_label_name(reader, &mut topics, &named);
            labels.push(Label::new(name, Rule::at(label::THRESHOLD)));
        }
        return labels;
    }
    for label in
        reader.named(at, &format!("name what to watch for, and the score from which on it counts:\n{LABELS}"))
    {
        check_label_name(reader, &mut topics, &label);
        labels.extend(label::read(reader, &label));
    }
    labels
}

fn check_label_name(reader: &mut Reader<'_>, topics: &mut Topics, at: &Setting<'_>) {
    if at.name == "background" {
        let remedy = "in an alert this word says what the background prompts scored: choose another name";
        reader.problem(at.key, "a label cannot be named `background`", remedy);
    }
    topics.check(reader, "label", at.name, at.key);
}
