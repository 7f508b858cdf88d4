//! Rules over labels: what is typed below `rules` of a label set, and which labels their conditions mean.

use super::{home_assistant, read_label, read_label_sets::LabelSets};
use crate::{
    policy::{
        Label, LabelRule, TriggerSettings,
        condition::{LabelName, Typed},
    },
    yaml::names,
    yaml::{
        mask,
        reader::{Reader, Setting, TextPlace},
        tree::Value,
    },
};

pub(super) const KEYS: &[&str] =
    &["when", "home_assistant", "hold", "for", "cooldown", "severity", "message", "active"];
/// Of these, what can be different on a source.
pub(super) const ADJUSTABLE: &[&str] = KEYS.split_at(2).1;

/// What a label has and a rule has not: that of its labels counts.
const OF_LABELS: &[&str] = &["prompts", "threshold", "clear_below", "rise", "clear_rise", "regions"];
/// A condition that is met has a score of 1, one that is not of 0.
const LEVEL: f32 = 0.5;
/// What is wrong is shown with this.
pub(super) const EXAMPLE: &str = "rules:\n  stranger: person and not dog";

/// A rule whose labels nobody has looked for yet.
pub(super) struct Pending {
    /// The label set that it stands in.
    set: String,
    settings: Label,
    when: Typed,
    place: TextPlace,
}

/// A rule's short form, its condition, or its long form.
pub(super) fn read(reader: &mut Reader<'_>, set: &str, at: &Setting<'_>) -> Option<Pending> {
    let plain = Label { prompts: Vec::new(), ..Label::new(at.name, TriggerSettings::at(LEVEL)) };
    match &at.node.value {
        Value::Text(_) => {
            let (when, place) = condition(reader, at)?;
            Some(Pending { set: set.to_owned(), settings: plain, when, place })
        }
        Value::Mapping(_) => {
            let section = reader.section_with(at, KEYS, OF_LABELS, "")?;
            let mut foreign = false;
            for at in OF_LABELS.iter().filter_map(|key| section.get(key)) {
                let message = format!("a rule over labels has no `{}`", at.name);
                reader.problem(at.key, message, "this belongs to its labels: set it there");
                foreign = true;
            }
            let when = match section.get("when") {
                Some(at) => condition(reader, &at),
                None => {
                    if section.lacks("when") {
                        let message = format!("the rule `{}` has no `when`", mask::shown(at.name));
                        reader.problem(
                            at.key,
                            message,
                            "say what it is raised by: `when: person and not dog`",
                        );
                    }
                    None
                }
            };
            let look = section
                .get("home_assistant")
                .map_or(Some(plain.look.clone()), |at| home_assistant::look(reader, &at));
            let settings = read_label::settings(reader, &section, &plain).filter(|_| !foreign);
            let settings = settings.filter(|settings| message_fits(reader, section.get("message"), settings));
            let (when, place) = when?;
            Some(Pending { set: set.to_owned(), settings: Label { look: look?, ..settings? }, when, place })
        }
        Value::Nothing | Value::List(_) => {
            reader.must_be(at, "a condition such as `person and not dog`, or a mapping", EXAMPLE);
            None
        }
    }
}

/// How `rule` is on a source: what is typed there, and else as it is in its set.
pub(super) fn adjust(reader: &mut Reader<'_>, at: &Setting<'_>, rule: &Label) -> Option<Label> {
    let Value::Mapping(_) = &at.node.value else {
        let remedy = "write what is different here: `{ hold: 2 of 3 }`";
        reader.must_be(at, "a mapping, since it is a rule over labels", remedy);
        return None;
    };
    let refused = [OF_LABELS, &["when", "home_assistant"]].concat();
    let section = reader.section_with(at, ADJUSTABLE, &refused, "")?;
    let mut foreign = false;
    for at in refused.iter().filter_map(|key| section.get(key)) {
        let message = format!("a rule over labels cannot have another `{}` on a source", at.name);
        reader.problem(at.key, message, "change its labels here, or make another rule in the label set");
        foreign = true;
    }
    let settings = read_label::settings(reader, &section, rule).filter(|_| !foreign);
    settings.filter(|settings| message_fits(reader, section.get("message"), settings))
}

/// A rule has no number that a message could tell.
fn message_fits(reader: &mut Reader<'_>, at: Option<Setting<'_>>, settings: &Label) -> bool {
    let number = settings.message.as_ref().and_then(crate::policy::AlertMessage::number);
    let (Some(number), Some(at)) = (number, at) else { return true };
    let message = format!("a rule over labels has no `{{{number}}}`");
    reader.problem(at.span(), message, "its labels have; `{label}` is the name of the rule");
    false
}

fn condition(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<(Typed, TextPlace)> {
    let text = reader.text(at)?;
    let place = reader.text_place(at, &text);
    match Typed::parse(&text) {
        Ok(when) => Some((when, place)),
        Err(wrong) => {
            let message = format!(
                "the condition of `{}` cannot be understood: {}",
                mask::shown(name_of(at)),
                wrong.message
            );
            reader.problem(place.part(wrong.at), message, wrong.remedy);
            None
        }
    }
}

/// The name of the rule that a condition belongs to.
fn name_of<'s>(at: &'s Setting<'_>) -> &'s str {
    match at.path.strip_suffix(".when") {
        Some(path) => path.rsplit_once(".rules.").map_or(path, |(_, name)| name),
        None => at.name,
    }
}

impl Pending {
    /// The rule with the labels that it means, and the label set that it belongs to; `None` if one of them means none, and that is
    /// told.
    pub(super) fn resolve(&self, reader: &mut Reader<'_>, sets: &LabelSets) -> Option<(&str, LabelRule)> {
        // Where no label of the set could be read, that was told.
        sets.labels_of(&self.set).first()?;
        let when = self.when.resolve(|name| {
            let found = find(&name.text, &self.set, sets);
            found
                .map_err(|(message, remedy)| {
                    reader.problem(self.place.part(name.at.clone()), message, remedy)
                })
                .ok()
        });
        Some((&self.set, LabelRule { settings: self.settings.clone(), when: when? }))
    }
}

/// `person` is a label of the own set, `yard/fox` one of another.
fn find(name: &str, own: &str, sets: &LabelSets) -> Result<LabelName, (String, String)> {
    let of = |set: &str, label: &str| LabelName { label_set: set.to_owned(), label: label.to_owned() };
    let known = sets.labels_of(own);
    if known.contains(&name) {
        return Ok(of(own, name));
    }
    let parts = || name.match_indices('/').map(|(slash, _)| (name[..slash].trim(), name[slash + 1..].trim()));
    let in_known_set = |(set, _): &(&str, &str)| sets.names.iter().any(|known| known == set);
    if let Some((set, label)) =
        parts().filter(in_known_set).find(|(set, label)| sets.labels_of(set).contains(label))
    {
        return Ok(of(set, label));
    }
    let shown = mask::shown(name);
    let over_rules = |set: &str, label: &str| {
        let message = format!("`{}` is a rule itself, and rules are over labels", mask::shown(label));
        sets.rules_of(set)
            .contains(&label)
            .then(|| (message, "put its condition here, in brackets".to_owned()))
    };
    if let Some((set, label)) = parts().find(in_known_set) {
        return Err(over_rules(set, label).unwrap_or_else(|| {
            let message =
                format!("the label set `{}` has no label `{}`", mask::shown(set), mask::shown(label));
            (message, names::suggest(label, &sets.labels_of(set)))
        }));
    }
    if let Some(told) = over_rules(own, name) {
        return Err(told);
    }
    let message = format!("the label set `{}` has no label `{shown}`", mask::shown(own));
    if let Some((set, _)) = parts().next() {
        let sets: Vec<_> = sets.names.iter().map(String::as_str).collect();
        return Err((format!("there is no label set `{}`", mask::shown(set)), names::suggest(set, &sets)));
    }
    let elsewhere = sets.names.iter().find(|set| sets.labels_of(set).contains(&name));
    let words: Vec<_> = name.split(' ').collect();
    let joined = (1..words.len()).map(|at| (words[..at].join(" "), words[at..].join(" ")));
    let two = joined.into_iter().find(|(one, other)| known.contains(&&**one) && known.contains(&&**other));
    let remedy = match (elsewhere, two) {
        (Some(set), _) => format!("there is one in another label set: write `{}/{shown}`", mask::shown(set)),
        (None, Some((one, other))) => format!("did you mean `{one} and {other}`, or `{one} or {other}`?"),
        (None, None) => names::suggest(name, &known),
    };
    Err((message, remedy))
}
