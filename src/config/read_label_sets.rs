//! The `label_sets` section, in the main file and in `rules.d`.

use std::collections::HashMap;

use super::{
    read_label,
    read_rules::{self, Pending},
    templates,
};
use crate::{
    policy::{Label, LabelSet, TriggerSettings, Scoring},
    topic::topic_level,
    yaml::{
        error::Span,
        reader::{Reader, Setting},
        tree::Value,
    },
};

pub(super) const SET_KEYS: &[&str] = &["template", "templates", "scoring", "background", "labels", "rules"];
/// What is missing is shown with this.
pub(super) const EXAMPLE: &str =
    "label_sets:\n  porch:\n    background: [an empty porch]\n    labels:\n      person: 0.7";
const LABELS: &str = "labels:\n  person: 0.7";

/// The label sets of all files so far. A name counts as defined even where its label set or label is wrong.
#[derive(Default)]
pub(super) struct LabelSets {
    pub sets: Vec<LabelSet>,
    pub names: Vec<String>,
    /// Names of label sets and of their labels.
    labels: Vec<(String, String)>,
    /// Likewise of their rules.
    rules: Vec<(String, String)>,
    /// Rules whose labels may stand in a file that was not read yet.
    pending: Vec<Pending>,
    topics: Topics,
}

impl LabelSets {
    /// Reads one file's `label_sets`.
    pub fn read(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>) {
        for set in reader.named(at, &format!("describe what to watch for:\n{EXAMPLE}")) {
            // YAML itself sees a name that is there twice in one file; this is about two files.
            self.topics.check(reader, "label set", set.name, set.key);
            self.names.push(set.name.to_owned());
            let mut topics = Topics::default();
            let read = label_set(reader, &set, &mut topics);
            self.labels.extend(typed(&set, "labels").map(|label| (set.name.to_owned(), label.to_owned())));
            self.rules.extend(typed(&set, "rules").map(|rule| (set.name.to_owned(), rule.to_owned())));
            self.pending.extend(label_rules(reader, &set, &mut topics));
            self.sets.extend(read);
        }
    }

    /// All files were read: now rules know their labels.
    pub fn complete(&mut self, reader: &mut Reader<'_>) {
        for pending in std::mem::take(&mut self.pending) {
            let Some((set, rule)) = pending.resolve(reader, self) else { continue };
            if let Some(set) = self.sets.iter_mut().find(|it| it.name == *set) {
                set.rules.push(rule);
            }
        }
    }

    /// The names of the labels of a set.
    pub fn labels_of(&self, set: &str) -> Vec<&str> {
        self.labels.iter().filter(|(of, _)| of == set).map(|(_, label)| &**label).collect()
    }

    /// The names of the rules of a set.
    pub fn rules_of(&self, set: &str) -> Vec<&str> {
        self.rules.iter().filter(|(of, _)| of == set).map(|(_, rule)| &**rule).collect()
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
        let shown = crate::yaml::mask::shown;
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
            let foreign = !name.contains(|letter: char| letter.is_ascii_alphanumeric());
            let other = if foreign { ": its prompts can be in any language" } else { "" };
            (message, format!("rename one of them{other}; the first one is at {place}\n{rule}"))
        };
        reader.problem(span, message, remedy);
    }
}

fn label_set(reader: &mut Reader<'_>, at: &Setting<'_>, topics: &mut Topics) -> Option<LabelSet> {
    let section = reader.section(at, SET_KEYS, &format!("describe it like this:\n{EXAMPLE}"))?;
    let templates = templates::read(reader, &section);
    let scoring = section.get("scoring").map_or(Some(Scoring::Auto), |at| reader.word(&at, &Scoring::WORDS));
    let background = section.get("background").map(|at| reader.texts(&at));
    let Some(labels) = section.get("labels") else {
        if !section.lacks("labels") {
            return None;
        }
        let message = format!("the label set `{}` has no `labels`", crate::yaml::mask::shown(at.name));
        reader.problem(
            at.key,
            message,
            format!("name what to watch for, and the score from which on it counts:\n{LABELS}"),
        );
        return None;
    };
    let labels = labels_of(reader, &labels, topics);
    Some(LabelSet {
        name: at.name.to_owned(),
        templates: templates?,
        scoring: scoring?,
        background: background.unwrap_or(Some(vec![]))?,
        labels,
        rules: Vec::new(),
    })
}

/// The rules of a set; their names share the topics with those of its labels.
fn label_rules(reader: &mut Reader<'_>, set: &Setting<'_>, topics: &mut Topics) -> Vec<Pending> {
    // What else is wrong with the set was told.
    let Value::Mapping(entries) = &set.node.value else { return vec![] };
    let Some(entry) = entries.iter().find(|entry| entry.key == "rules") else { return vec![] };
    let path = format!("{}.rules", set.path);
    let at = Setting { path, name: &entry.key, key: entry.key_span, node: &entry.value, in_list: false };
    let mut read = vec![];
    for rule in reader.named(&at, &format!("name what to alert of, and when:\n{}", read_rules::EXAMPLE)) {
        check_name(reader, topics, "name", &rule);
        read.extend(read_rules::read(reader, set.name, &rule));
    }
    read
}

/// The names that were typed below `key`.
fn typed<'n>(set: &Setting<'n>, key: &str) -> impl Iterator<Item = &'n str> {
    let labels = match &set.node.value {
        Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
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

fn labels_of(reader: &mut Reader<'_>, at: &Setting<'_>, topics: &mut Topics) -> Vec<Label> {
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
            check_name(reader, topics, "label", &named);
            labels.push(Label::new(name, TriggerSettings::at(read_label::THRESHOLD)));
        }
        return labels;
    }
    for label in
        reader.named(at, &format!("name what to watch for, and the score from which on it counts:\n{LABELS}"))
    {
        check_name(reader, topics, "label", &label);
        labels.extend(read_label::read(reader, &label));
    }
    labels
}

fn check_name(reader: &mut Reader<'_>, topics: &mut Topics, what: &str, at: &Setting<'_>) {
    if at.name == "background" {
        let remedy = "in an alert this word says what the background prompts scored: choose another name";
        let message =
            format!("a {} cannot be named `background`", if what == "label" { what } else { "rule" });
        reader.problem(at.key, message, remedy);
    }
    topics.check(reader, what, at.name, at.key);
}
