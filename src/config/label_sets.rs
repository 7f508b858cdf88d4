//! Reads the section `label_sets`, in the main file and in `rules.d`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    labels,
    rules::{self, KnownLabels, Pending},
    templates,
};
use crate::{
    policy::{Label, LabelSet, Scoring, TriggerSettings},
    yaml::{
        error::Span,
        fields::{self, Field, Form, Table, specs, words},
        mask,
        reader::{Reader, Setting},
        tree::Value as Node,
    },
};

/// The form of `label_sets`.
pub(super) const FORM: Form = Form::Named(&Form::Mapping(&TABLE));

/// The keys of a label set.
const FIELDS: &[Field<LabelSet>] = &[
    Field::new("template", templates::SENTENCE, "The sentence around every prompt, which replaces {}.", |it: &LabelSet| match &it.templates[..] {
        [template] => Some(json!(template.to_string())),
        _ => None,
    })
        .default("This is a photo of {}."),
    Field::new(
        "templates",
        Form::OneOrMore(&templates::SENTENCE_OR_GROUP),
        "Instead of `template`: several sentences, over which every prompt is averaged. A list of sentences and groups, or one group: \
         camera (daylight, night, infra-red, rain, wide angle, ...), photo, or plain (the prompt alone).",
        |it: &LabelSet| Some(json!(it.templates.iter().map(ToString::to_string).collect::<Vec<_>>())),
    )
    .example("camera"),
    Field::new(
        "scoring",
        Form::Words(&words(&Scoring::WORDS)),
        "auto: as the model was trained. softmax: the labels and the background share a total of 1. sigmoid: each label on its own \
         (only for a model that was trained so). cosine: each label on its own, by its similarity.",
        |it: &LabelSet| Some(json!(it.scoring.word())),
    )
    .default("auto"),
    Field::new("background", Form::List(&Form::Text), "Prompts that are scored and never alert.", |it: &LabelSet| {
        Some(json!(prompts(it, &it.background)))
    })
    .example("[an empty porch, a closed front door]"),
    Field::new(
        "labels",
        Form::Either(&[Form::List(&Form::Text), Form::Named(&LABEL)]),
        "What to watch for, by name; or a list of names.",
        |_: &LabelSet| None,
    )
    .required()
    .example("{ person: 0.7 }"),
    Field::new(
        "rules",
        Form::Named(&Form::Either(&[rules::CONDITION, Form::Mapping(&rules::TABLE)])),
        "Alerts of their own while a condition over labels is met.",
        |_: &LabelSet| None,
    )
    .example("{ stranger: person and not dog }"),
];
const TABLE: Table = Table { title: "label_sets.NAME", fields: || specs(FIELDS) };
const LABEL: Form = Form::Either(&[Form::Nothing, Form::Level, Form::Mapping(&labels::TABLE)]);

/// The prompts as the model reads them; with several templates, as they are in the file.
fn prompts(set: &LabelSet, prompts: &[String]) -> Vec<String> {
    match &set.templates[..] {
        [template] => prompts.iter().map(|prompt| template.fill(prompt)).collect(),
        _ => prompts.to_vec(),
    }
}

/// A label set for `check --explain`. `label` adds to a label or rule what its source changes and determines.
#[must_use]
pub fn explain(
    set: &LabelSet,
    here: impl Fn(&Label) -> Label,
    more: impl Fn(&Label) -> Map<String, Value>,
) -> Map<String, Value> {
    let mut explained = fields::explain(FIELDS, set);
    let labels = set.labels.iter().map(|label| {
        let mut label = here(label);
        label.prompts = prompts(set, &label.prompts);
        (
            label.name.clone(),
            labels::explain(&label).into_iter().chain(more(&label)).collect::<Map<_, _>>().into(),
        )
    });
    explained.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
    let rules = set.rules.iter().map(|rule| {
        let settings = here(&rule.settings);
        let explained = rules::explain(rule, &settings).into_iter().chain(more(&settings));
        let explained = explained.collect::<Map<_, _>>().into();
        (settings.name, explained)
    });
    if !set.rules.is_empty() {
        explained.insert("rules".to_owned(), rules.collect::<Map<_, _>>().into());
    }
    explained
}

/// An example for a missing section.
pub(super) const EXAMPLE: &str =
    "label_sets:\n  porch:\n    background: [an empty porch]\n    labels:\n      person: 0.7";
const LABELS: &str = "labels:\n  person: 0.7";

/// The label sets of all files so far.
#[derive(Default)]
pub(super) struct LabelSets {
    pub sets: Vec<LabelSet>,
    pub known: KnownLabels,
    /// Rules whose labels may be in a file that is not read yet.
    pending: Vec<Pending>,
    seen: Seen,
}

impl LabelSets {
    /// Reads the `label_sets` of one file.
    pub fn read(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>) {
        // A new service watches nothing yet: it is set up in the console.
        if at.is_empty_mapping() {
            return;
        }
        for set in reader.named(at, &format!("describe what to watch for:\n{EXAMPLE}")) {
            // A duplicate in one file is a duplicate key of the YAML; this is about two files.
            self.seen.check(reader, "label set", set.name, set.key);
            self.known.sets.push(set.name.to_owned());
            let names = |key| typed(&set, key).map(|name| (set.name.to_owned(), name.to_owned()));
            self.known.labels.extend(names("labels"));
            self.known.rules.extend(names("rules"));
            let mut seen = Seen::default();
            self.sets.extend(label_set(reader, &set, &mut seen, &mut self.pending));
        }
    }

    /// Adds the rules, after all files are read.
    pub fn complete(&mut self, reader: &mut Reader<'_>) {
        for pending in std::mem::take(&mut self.pending) {
            let Some((set, rule)) = pending.resolve(reader, &self.known) else { continue };
            if let Some(set) = self.sets.iter_mut().find(|it| it.name == *set) {
                set.rules.push(rule);
            }
        }
    }
}

/// The names that were read, with their places, to find duplicates in several files.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Span>);

impl Seen {
    /// Reports `name` if it was read before. Names that differ only in spelling have topics of their own.
    pub fn check(&mut self, reader: &mut Reader<'_>, what: &str, name: &str, span: Span) {
        let Some(first) = self.0.get(name) else {
            self.0.insert(name.to_owned(), span);
            return;
        };
        let place = reader.places.files.name_line(*first);
        let message = format!("the {what} `{}` is defined twice", mask::shown(name));
        reader.problem(span, message, format!("rename or remove one of them: the first one is at {place}"));
    }
}

fn label_set(
    reader: &mut Reader<'_>,
    at: &Setting<'_>,
    seen: &mut Seen,
    pending: &mut Vec<Pending>,
) -> Option<LabelSet> {
    let section = reader.section_with(at, "the label set ", specs(FIELDS), |_| None)?;
    let templates = templates::read(reader, &section);
    let scoring = section.read(reader, "scoring", |reader, at| reader.word(at, &Scoring::WORDS));
    let background = section.optional(reader, "background", Reader::texts);
    let labels = section.read(reader, "labels", |reader, at| Some(labels_of(reader, at, seen)));
    if let Some(rules) = section.get("rules") {
        // The names of rules share the topics with those of the labels.
        for rule in reader.named(&rules, "write what to alert of, and when: `stranger: person and not dog`") {
            check_name(reader, seen, "rule", &rule);
            pending.extend(rules::read(reader, at.name, &rule));
        }
    }
    Some(LabelSet {
        name: at.name.to_owned(),
        templates: templates?,
        scoring: scoring?,
        background: background?.unwrap_or_default(),
        labels: labels?,
        rules: Vec::new(),
    })
}

/// The names below `key` of a label set, valid or not.
fn typed<'n>(set: &Setting<'n>, key: &str) -> impl Iterator<Item = &'n str> {
    let labels = match &set.node.value {
        Node::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    };
    let (listed, named) = match labels.map(|labels| &labels.value.value) {
        Some(Node::List(items)) => (&items[..], &[][..]),
        Some(Node::Mapping(entries)) => (&[][..], &entries[..]),
        _ => (&[][..], &[][..]),
    };
    let listed = listed.iter().filter_map(|item| match &item.value {
        Node::Text(name) => Some(&**name),
        _ => None,
    });
    listed.chain(named.iter().map(|entry| &*entry.key))
}

fn labels_of(reader: &mut Reader<'_>, at: &Setting<'_>, seen: &mut Seen) -> Vec<Label> {
    let mut found = vec![];
    if let Node::List(items) = &at.node.value
        && !items.is_empty()
    {
        // `[cat, dog]`: every label has the defaults.
        for item in reader.items(at, items) {
            let Node::Text(name) = &item.node.value else {
                if matches!(item.node.value, Node::Nothing) {
                    reader.must_be(&item, "a name", "name what to watch for, or remove it");
                    continue;
                }
                let remedy = format!("write labels with settings as a mapping, without `-`:\n{LABELS}");
                reader.problem(item.span(), "a label in a list can only be a name", remedy);
                continue;
            };
            reader.check_name(name, item.node.span);
            let named = Setting { path: format!("{}.{name}", at.path), name, in_list: false, ..item };
            reader.places.spans.insert(named.path.clone(), named.key);
            check_name(reader, seen, "label", &named);
            found.push(Label::new(name, TriggerSettings::at(labels::THRESHOLD)));
        }
        return found;
    }
    for label in
        reader.named(at, &format!("name what to watch for, and the threshold of its score:\n{LABELS}"))
    {
        check_name(reader, seen, "label", &label);
        found.extend(labels::read(reader, &label));
    }
    found
}

fn check_name(reader: &mut Reader<'_>, seen: &mut Seen, what: &str, at: &Setting<'_>) {
    if at.name == "background" {
        let remedy = "choose another name: in an alert this is the score of the background prompts";
        reader.problem(at.key, format!("a {what} cannot be called `background`"), remedy);
    }
    seen.check(reader, if what == "label" { what } else { "name" }, at.name, at.key);
}
