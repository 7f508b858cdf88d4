//! Reads rules over labels: the section `rules` of a label set, and the labels that their conditions name.

use serde_json::{Map, Value, json};

use super::{home_assistant, labels};
use crate::{
    policy::{AlertMessage, Label, LabelName, LabelRule, TriggerSettings, condition::Parsed},
    yaml::{
        fields::{self, Field, Form, Spec, Table, specs},
        mask, names,
        reader::{Reader, Setting, TextPlace},
        tree::Value as Node,
    },
};

/// The score of a condition is 1 while it is met, otherwise 0.
const THRESHOLD: f32 = 0.5;
const EXAMPLE: &str = "rules:\n  stranger: person and not dog";

/// The form of a condition.
pub(super) const CONDITION: Form = Form::like("a condition such as `person and not dog`");

/// The key that only a rule has.
pub(super) const WHEN: &[Field<LabelRule>] = &[Field::new(
    "when",
    CONDITION,
    "The condition: labels with and, or, not and brackets; SET/LABEL is a label of another set. A label is present from the frames \
     that raise it to those that clear it, by its levels, `hold` and `for`; its `cooldown` and `active` do not matter.",
    |it: &LabelRule| Some(json!(it.when.text())),
)
.required()
.example("package and (person or dog)")];

/// The long form of a rule.
pub(super) const TABLE: Table = Table { title: "label_sets.NAME.rules.NAME", fields: all_fields };

fn all_fields() -> Vec<&'static Spec> {
    [specs(WHEN), specs(labels::COMMON), specs(labels::LOOK)].concat()
}

/// A rule for `check --explain`, with the settings that it has on a source.
pub(super) fn explain(rule: &LabelRule, here: &Label) -> Map<String, Value> {
    let tables = [labels::COMMON, labels::LOOK].map(|table| fields::explain(table, here));
    fields::explain(WHEN, rule).into_iter().chain(tables.into_iter().flatten()).collect()
}

/// All names, including those of label sets, labels and rules that are invalid: a reference to one of these is no mistake.
#[derive(Default)]
pub(super) struct KnownLabels {
    pub sets: Vec<String>,
    /// Names of label sets and of their labels.
    pub labels: Vec<(String, String)>,
    /// Names of label sets and of their rules.
    pub rules: Vec<(String, String)>,
}

impl KnownLabels {
    /// The names of the labels of a set.
    pub fn labels_of(&self, set: &str) -> Vec<&str> {
        self.labels.iter().filter(|(of, _)| of == set).map(|(_, label)| &**label).collect()
    }

    /// The names of the rules of a set.
    pub fn rules_of(&self, set: &str) -> Vec<&str> {
        self.rules.iter().filter(|(of, _)| of == set).map(|(_, rule)| &**rule).collect()
    }
}

/// A rule whose labels may be in a file that is not read yet.
pub(super) struct Pending {
    /// The name of its label set.
    set: String,
    settings: Label,
    when: Parsed,
    place: TextPlace,
}

/// Reads the short form of a rule, which is its condition, or the long form.
pub(super) fn read(reader: &mut Reader<'_>, set: &str, at: &Setting<'_>) -> Option<Pending> {
    let plain = Label { prompts: Vec::new(), ..Label::new(at.name, TriggerSettings::at(THRESHOLD)) };
    match &at.node.value {
        Node::Text(_) => {
            let (when, place) = condition(reader, at, at.name)?;
            Some(Pending { set: set.to_owned(), settings: plain, when, place })
        }
        Node::Mapping(_) => {
            let section = reader.section_with(at, "the rule ", all_fields(), |key| {
                let remedy = "set it for its labels";
                labels::of_labels_only(key)
                    .then(|| (format!("a rule over labels has no `{key}`"), remedy.to_owned()))
            })?;
            let when = section.read(reader, "when", |reader, when| condition(reader, when, at.name));
            let look = section.optional(reader, "home_assistant", home_assistant::look);
            let settings = labels::settings(reader, &section, &plain, false);
            let settings = settings.filter(|settings| message_fits(reader, section.get("message"), settings));
            let (when, place) = when?;
            let settings = Label { look: look?.unwrap_or_default(), ..settings? };
            Some(Pending { set: set.to_owned(), settings, when, place })
        }
        Node::Nothing | Node::List(_) => {
            reader.wrong(at, EXAMPLE);
            None
        }
    }
}

/// Reads how `rule` is on a source: the settings there, and otherwise those of its label set.
pub(super) fn adjust(reader: &mut Reader<'_>, at: &Setting<'_>, rule: &Label) -> Option<Label> {
    if !at.is_mapping() {
        let remedy = "write what is different here: `{ hold: 2 of 3 }`";
        reader.must_be(at, "a mapping, because it is a rule over labels", remedy);
        return None;
    }
    let section = reader.section_with(at, "", specs(labels::COMMON), |key| {
        let known = labels::of_labels_only(key) || ["when", "home_assistant"].contains(&key);
        let message = format!("a rule over labels has the same `{key}` on every source");
        known.then(|| (message, "change its labels here, or add another rule to the label set".to_owned()))
    })?;
    let settings = labels::settings(reader, &section, rule, false);
    settings.filter(|settings| message_fits(reader, section.get("message"), settings))
}

/// A rule has no number for a message.
fn message_fits(reader: &mut Reader<'_>, at: Option<Setting<'_>>, settings: &Label) -> bool {
    let number = settings.message.as_ref().and_then(AlertMessage::number);
    let (Some(number), Some(at)) = (number, at) else { return true };
    let message = format!("a rule over labels has no `{{{number}}}`");
    reader.problem(at.span(), message, "remove it; `{label}` is the name of the rule");
    false
}

fn condition(reader: &mut Reader<'_>, at: &Setting<'_>, rule: &str) -> Option<(Parsed, TextPlace)> {
    let text = reader.text(at)?;
    let place = reader.text_place(at, &text);
    match Parsed::parse(&text) {
        Ok(when) => Some((when, place)),
        Err(mistake) => {
            let message = format!("the condition of `{}` is invalid: {}", mask::shown(rule), mistake.message);
            reader.problem(place.part(mistake.at), message, mistake.remedy);
            None
        }
    }
}

impl Pending {
    /// The rule with the labels that it names, and the name of its label set; `None` if a name is unknown, which is reported.
    pub(super) fn resolve(&self, reader: &mut Reader<'_>, known: &KnownLabels) -> Option<(&str, LabelRule)> {
        // If no label of the set could be read, that is reported already.
        known.labels_of(&self.set).first()?;
        let when = self.when.resolve(|name| {
            let found = find(&name.text, &self.set, known);
            found
                .map_err(|(message, remedy)| {
                    if !reader.lost_names() {
                        reader.problem(self.place.part(name.at.clone()), message, remedy);
                    }
                })
                .ok()
        });
        Some((&self.set, LabelRule { settings: self.settings.clone(), when: when? }))
    }
}

/// The label of a name: `person` in the own set, `yard/fox` in another one.
fn find(name: &str, own: &str, known_labels: &KnownLabels) -> Result<LabelName, (String, String)> {
    let of = |set: &str, label: &str| LabelName { label_set: set.to_owned(), label: label.to_owned() };
    let known = known_labels.labels_of(own);
    if known.contains(&name) {
        return Ok(of(own, name));
    }
    let parts = || name.match_indices('/').map(|(slash, _)| (name[..slash].trim(), name[slash + 1..].trim()));
    let in_known_set = |(set, _): &(&str, &str)| known_labels.sets.iter().any(|known| known == set);
    if let Some((set, label)) =
        parts().filter(in_known_set).find(|(set, label)| known_labels.labels_of(set).contains(label))
    {
        return Ok(of(set, label));
    }
    let shown = mask::shown(name);
    let over_rules = |set: &str, label: &str| {
        let message = format!("`{}` is a rule, and a condition can only name labels", mask::shown(label));
        known_labels
            .rules_of(set)
            .contains(&label)
            .then(|| (message, "write its condition here, in brackets".to_owned()))
    };
    if let Some((set, label)) = parts().find(in_known_set) {
        return Err(over_rules(set, label).unwrap_or_else(|| {
            let message =
                format!("the label set `{}` has no label `{}`", mask::shown(set), mask::shown(label));
            (message, names::suggest(label, &known_labels.labels_of(set)))
        }));
    }
    if let Some(mistake) = over_rules(own, name) {
        return Err(mistake);
    }
    let message = format!("the label set `{}` has no label `{shown}`", mask::shown(own));
    if let Some((set, _)) = parts().next() {
        let sets: Vec<_> = known_labels.sets.iter().map(String::as_str).collect();
        return Err((format!("there is no label set `{}`", mask::shown(set)), names::suggest(set, &sets)));
    }
    let elsewhere = known_labels.sets.iter().find(|set| known_labels.labels_of(set).contains(&name));
    let words: Vec<_> = name.split(' ').collect();
    let joined = (1..words.len()).map(|at| (words[..at].join(" "), words[at..].join(" ")));
    let two = joined.into_iter().find(|(one, other)| known.contains(&&**one) && known.contains(&&**other));
    let remedy = match (elsewhere, two) {
        (Some(set), _) => format!("write `{}/{shown}` for the label of that label set", mask::shown(set)),
        (None, Some((one, other))) => format!("did you mean `{one} and {other}`, or `{one} or {other}`?"),
        (None, None) => names::suggest(name, &known),
    };
    Err((message, remedy))
}
