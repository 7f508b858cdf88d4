//! The `label_sets` section, in the main file and in `rules.d`.

use std::{collections::HashMap, time::Duration};

use super::{
    Hold, Label, LabelSet, Rule,
    error::Span,
    names::topic_level,
    raw::Value,
    read::{Reader, Setting},
    value,
};

const SET_KEYS: &[&str] = &["template", "background", "labels"];
pub(super) const LABEL_KEYS: &[&str] = &["prompts", "threshold", "clear_below", "hold", "cooldown"];
/// What is missing is shown with this.
pub(super) const EXAMPLE: &str =
    "label_sets:\n  porch:\n    background: [an empty porch]\n    labels:\n      person: 0.7";
const LABELS: &str = "labels:\n  person: 0.7";

const TEMPLATE: &str = "This is a photo of {}.";
const THRESHOLD: f32 = 0.5;

/// The label sets of all files so far. A name counts as defined even where its label set is wrong.
#[derive(Default)]
pub(super) struct LabelSets {
    pub sets: Vec<LabelSet>,
    pub names: Vec<String>,
    topics: Topics,
}

impl LabelSets {
    /// Reads one file's `label_sets`.
    pub fn read(&mut self, reader: &mut Reader<'_>, at: &Setting<'_>) {
        for set in reader.named(at, &format!("describe what to watch for:\n{EXAMPLE}")) {
            // YAML itself sees a name that is there twice in one file; this is about two files.
            self.topics.check(reader, "label set", set.name, set.key);
            self.names.push(set.name.to_owned());
            self.sets.extend(label_set(reader, &set));
        }
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
            labels.push(Label { name: name.clone(), prompts: vec![name.clone()], rule: plain(THRESHOLD) });
        }
        return labels;
    }
    for label in
        reader.named(at, &format!("name what to watch for, and the score from which on it counts:\n{LABELS}"))
    {
        check_label_name(reader, &mut topics, &label);
        labels.extend(read_label(reader, &label));
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

/// A label's short form (`person: 0.7`, or `person:` for the default threshold) or its long form.
fn read_label(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Label> {
    let name = at.name.to_owned();
    match &at.node.value {
        Value::Nothing => Some(Label { prompts: vec![name.clone()], name, rule: plain(THRESHOLD) }),
        Value::Text(_) => {
            let rule = plain(level(reader, at)?);
            Some(Label { prompts: vec![name.clone()], name, rule })
        }
        Value::List(_) => {
            let remedy = format!(
                "prompts have a key of their own:\n{}:\n  prompts: [...]\n  threshold: 0.6",
                super::mask::shown(at.name)
            );
            reader.must_be(at, "a threshold or a mapping", remedy);
            None
        }
        Value::Mapping(_) => long_form(reader, at),
    }
}

fn long_form(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Label> {
    let section = reader.section(at, LABEL_KEYS, "")?;
    let prompts = section.get("prompts").map(|at| reader.texts(&at));
    let threshold = section.get("threshold").map(|at| level(reader, &at));
    let clear_below = section.get("clear_below").map(|at| (level(reader, &at), at));
    let hold = section
        .get("hold")
        .map(|at| reader.parsed(&at, "frames out of frames such as `2 of 3`", value::hold));
    let cooldown = section.get("cooldown").map(|at| reader.parsed(&at, "a duration", value::duration));

    let misspelt = threshold.is_none() && !section.lacks("threshold");
    let threshold = threshold.unwrap_or(Some(THRESHOLD));
    let clear_below = match clear_below {
        Some((Some(clear_below), at)) => {
            if let Some(threshold) = threshold.filter(|threshold| clear_below > *threshold && !misspelt) {
                let message = format!("`clear_below` {clear_below} is above the threshold {threshold}");
                let remedy = "a label is raised at the threshold and cleared below a lower or equal score";
                reader.problem(at.span(), message, remedy);
            }
            Some(clear_below)
        }
        Some((None, _)) => None,
        None => threshold,
    };
    let rule = Rule {
        threshold: threshold?,
        clear_below: clear_below?,
        hold: hold.unwrap_or(Some(Hold { frames: 1, of: 1 }))?,
        cooldown: cooldown.unwrap_or(Some(Duration::ZERO))?,
    };
    let prompts = prompts.unwrap_or_else(|| Some(vec![at.name.to_owned()]))?;
    Some(Label { name: at.name.to_owned(), prompts, rule })
}

/// A score that something is compared with. 0 is none: every frame would reach it, and no frame would be below it.
#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn level(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<f32> {
    reader.parsed(at, "a number more than 0 and at most 1", |text| match value::number(text) {
        Some(level) if level > 0.0 && level <= 1.0 && level as f32 > 0.0 => Ok(level as f32),
        _ => Err(value::fraction_meant(text).unwrap_or_else(|| "write a score such as `0.6`".to_owned())),
    })
}

fn plain(threshold: f32) -> Rule {
    Rule { threshold, clear_below: threshold, hold: Hold { frames: 1, of: 1 }, cooldown: Duration::ZERO }
}
