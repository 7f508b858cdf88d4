//! Reads a label: its short form and its long form, in a label set and adjusted on a source.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::home_assistant;
use crate::{
    policy::{AlertMessage, Hold, Label, Schedule, Severity, Silence, TriggerSettings},
    yaml::{
        fields::{self, Field, Form, Spec, Table, specs, words},
        mask,
        reader::{Reader, Section, Setting},
        tree::Value as Node,
        value::{self, duration_text},
    },
};

const ANY: Form = Form::Duration(Duration::ZERO, Duration::from_secs(365 * 86_400));
const SCHEDULE: Form = Form::like("hours, days or both such as `22:00-06:00`");

/// The threshold of a label that has none in the file.
pub(super) const THRESHOLD: f32 = 0.5;

/// The keys of a label that are the same on every source.
const OWN: &[Field<Label>] = &[Field::new(
    "prompts",
    Form::List(&Form::Text),
    "The texts that are put into the template.",
    |it: &Label| Some(json!(it.prompts)),
)
.default_is("the name of the label")
.example("[a parcel on the doorstep, a cardboard box by a door]")];

/// The keys of a label that can be different on a source.
const ADJUSTABLE: &[Field<Label>] = &[
    Field::new("regions", Form::List(&Form::Text), "The regions that count for this label.", |it: &Label| {
        Some(if it.regions.is_empty() { json!("all") } else { json!(it.regions) })
    })
    .default_is("all regions of the source")
    .example("[step]"),
    Field::new("threshold", Form::Level, "A frame with at least this score counts for the label.", |it: &Label| {
        level_shown(it, false, it.trigger.threshold)
    })
    .default("0.5"),
    Field::new("clear_below", Form::Level, "A frame below this score counts for clearing a raised label.", |it: &Label| {
        level_shown(it, false, it.trigger.clear_below)
    })
    .default_is("the threshold")
    .example("0.5"),
    Field::new(
        "rise",
        Form::Level,
        "Instead of `threshold`: how far the score must be above the source's baseline (`baseline: true`). Never more than half of \
         the range between the baseline and 1.",
        |it: &Label| level_shown(it, true, it.trigger.threshold),
    )
    .example("0.2"),
    Field::new("clear_rise", Form::Level, "Instead of `clear_below`, for a label with a `rise`.", |it: &Label| {
        level_shown(it, true, it.trigger.clear_below)
    })
    .default_is("half the rise")
    .example("0.1"),
];

/// The keys of labels and of rules over labels that can be different on a source.
pub(super) const COMMON: &[Field<Label>] = &[
    Field::new("hold", Hold::FORM, "How many of the newest frames must agree, at most `64 of 64`.", |it: &Label| {
        Some(json!(it.trigger.hold.to_string()))
    })
    .default("1 of 1"),
    Field::new("for", ANY, "How long they must agree before the label is raised.", |it: &Label| {
        Some(json!(duration_text(it.trigger.lasting)))
    })
    .default("0s"),
    Field::new("cooldown", ANY, "The time after a raise in which it is not raised again.", |it: &Label| {
        Some(json!(duration_text(it.trigger.cooldown)))
    })
    .default("0s"),
    Field::new("severity", Form::Words(&words(&Severity::WORDS)), "The severity in its alerts.", |it: &Label| {
        Some(json!(it.severity.map(Severity::word)))
    })
    .example("warning"),
    Field::new(
        "message",
        Form::like("a sentence such as `{label} on {source}`"),
        "The message in its alerts. Placeholders: {label} {label_set} {source} {region} {score} {percent} {threshold} {state} {time} \
         {severity}; a rule has no {score}, {percent} and {threshold}. {{ and }} are braces.",
        |it: &Label| Some(json!(it.message.as_ref().map(ToString::to_string))),
    )
    .example("\"{label} on {source}: {percent} %\""),
    Field::new(
        "active",
        Form::OneOrMore(&SCHEDULE),
        "When it may be raised: hours, days (sat,sun), both (mon-fri 08:00-18:00), or a list of these, in the machine's time zone or \
         the one at the end: 22:00-06:00 Europe/Berlin.",
        |it: &Label| Some(it.active.as_ref().map_or(json!("always"), |active| json!(active.to_string()))),
    )
    .default_is("always")
    .example("22:00-06:00"),
    Field::new("enabled", Form::Switch, "false: it is scored, and never raised.", |it: &Label| {
        Some(json!(!it.silence.disabled))
    })
    .default("true"),
];

/// How Home Assistant shows it; the same on every source.
pub(super) const LOOK: &[Field<Label>] = &[Field::new(
    "home_assistant",
    Form::Mapping(&home_assistant::LOOK),
    "How Home Assistant shows it.",
    |it: &Label| Some(home_assistant::explain_look(&it.look, &it.name)),
)];

/// The long form of a label.
pub(super) const TABLE: Table = Table { title: "label_sets.NAME.labels.NAME", fields: all_fields };
/// The long form of a label on a source.
pub(super) const ON_SOURCE: Table = Table { title: "label_sets.NAME.labels.NAME", fields: on_source };

fn all_fields() -> Vec<&'static Spec> {
    [specs(OWN), on_source(), specs(LOOK)].concat()
}

fn on_source() -> Vec<&'static Spec> {
    [specs(ADJUSTABLE), specs(COMMON)].concat()
}

/// The keys that a label has and a rule over labels does not.
pub(super) fn of_labels_only(key: &str) -> bool {
    [specs(OWN), specs(ADJUSTABLE)].concat().iter().any(|spec| spec.key == key)
}

/// The keys of a label in its label set.
#[must_use]
pub fn keys() -> Vec<&'static str> {
    all_fields().iter().map(|spec| spec.key).collect()
}

/// A label for `check --explain`.
pub(super) fn explain(label: &Label) -> Map<String, Value> {
    let tables = [OWN, ADJUSTABLE, COMMON, LOOK];
    tables.into_iter().flat_map(|table| fields::explain(table, label)).collect()
}

/// A level, if it is of this kind: 0.7 and not 0.699999988.
fn level_shown(label: &Label, rises: bool, level: f32) -> Option<Value> {
    let shown = level.to_string().parse::<f64>().map_or(Value::Null, |level| json!(level));
    (label.trigger.rises == rises).then_some(shown)
}

/// Reads the short form (`person: 0.7`, or `person:` for the default threshold) or the long form.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Label> {
    let plain = Label::new(at.name, TriggerSettings::at(THRESHOLD));
    match &at.node.value {
        Node::Nothing => Some(plain),
        Node::Text(_) => Some(Label { trigger: TriggerSettings::at(level(reader, at)?), ..plain }),
        Node::List(_) => {
            let remedy = format!(
                "prompts have a key of their own:\n{}:\n  prompts: [...]\n  threshold: 0.6",
                mask::shown(at.name)
            );
            reader.wrong(at, remedy);
            None
        }
        Node::Mapping(_) => {
            let section = reader.section(at, &TABLE)?;
            let prompts = section.optional(reader, "prompts", Reader::texts);
            let look = section.optional(reader, "home_assistant", home_assistant::look);
            let label = settings(reader, &section, &plain, true);
            Some(Label {
                prompts: prompts?.unwrap_or(plain.prompts),
                look: look?.unwrap_or_default(),
                ..label?
            })
        }
    }
}

/// Reads how `label` is on a source: the settings there, and otherwise those of its label set.
pub(super) fn adjust(reader: &mut Reader<'_>, at: &Setting<'_>, label: &Label) -> Option<Label> {
    match &at.node.value {
        Node::Text(_) => {
            let threshold = LevelTyped { at: at.clone(), level: level(reader, at)? };
            let typed = LevelsTyped { upper: Some(threshold), lower: None, rises: false };
            Some(Label { trigger: levels(reader, typed, &label.trigger), ..label.clone() })
        }
        Node::Mapping(_) => {
            let section = reader.section_with(at, "", on_source(), |key| {
                let everywhere = [specs(OWN), specs(LOOK)].concat().iter().any(|spec| spec.key == key);
                everywhere.then(|| {
                    let remedy = "move it to the label set, or add another label there";
                    (format!("a label has the same `{key}` on every source"), remedy.to_owned())
                })
            })?;
            settings(reader, &section, label, true)
        }
        Node::Nothing | Node::List(_) => {
            reader.wrong(at, "write a score, or what is different here: `{ threshold: 0.8, hold: 2 of 3 }`");
            None
        }
    }
}

/// Reads the settings of a label, or of a rule over labels, which has no levels and no regions. What is absent is as in `base`.
pub(super) fn settings(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    base: &Label,
    of_label: bool,
) -> Option<Label> {
    let levels_typed = if of_label { typed_levels(reader, section, base).map(Some) } else { Some(None) };
    let regions = if of_label { section.optional(reader, "regions", Reader::texts) } else { Some(None) };
    let enabled = section.optional(reader, "enabled", Reader::switch);
    let hold = section.optional(reader, "hold", |reader, at| reader.parsed(at, Hold::parse));
    let lasting = section.optional(reader, "for", Reader::duration);
    let cooldown = section.optional(reader, "cooldown", Reader::duration);
    let severity = section.optional(reader, "severity", |reader, at| reader.word(at, &Severity::WORDS));
    let message = section.optional(reader, "message", |reader, at| reader.parsed(at, AlertMessage::parse));
    let active = section.optional(reader, "active", |reader, at| {
        reader.list(at, |reader, at| reader.parsed(at, Schedule::parse)).map(Schedule::union)
    });
    let trigger = levels_typed?.map_or(base.trigger, |typed| levels(reader, typed, &base.trigger));
    Some(Label {
        trigger: TriggerSettings {
            hold: hold?.unwrap_or(trigger.hold),
            lasting: lasting?.unwrap_or(trigger.lasting),
            cooldown: cooldown?.unwrap_or(trigger.cooldown),
            ..trigger
        },
        severity: severity?.or(base.severity),
        message: message?.or_else(|| base.message.clone()),
        active: active?.or_else(|| base.active.clone()),
        silence: enabled?.map_or(base.silence, |enabled| Silence { disabled: !enabled, ..base.silence }),
        regions: regions?.unwrap_or_else(|| base.regions.clone()),
        ..base.clone()
    })
}

/// A level in the file.
struct LevelTyped<'n> {
    at: Setting<'n>,
    level: f32,
}

/// The levels in the file: the threshold or the rise, and the level below which a label is cleared.
struct LevelsTyped<'n> {
    upper: Option<LevelTyped<'n>>,
    lower: Option<LevelTyped<'n>>,
    /// Whether they are rises.
    rises: bool,
}

/// Reads the levels of a label; `None` if they are invalid, which is reported.
fn typed_levels<'n>(reader: &mut Reader<'_>, section: &Section<'n>, base: &Label) -> Option<LevelsTyped<'n>> {
    // All are read before an invalid one ends it: one mistake does not hide the next.
    let [threshold, clear_below, rise, clear_rise] = ["threshold", "clear_below", "rise", "clear_rise"]
        .map(|key| section.get(key).map(|at| (level(reader, &at), at)));
    if let (Some(_), Some((_, rise))) = (&threshold, &rise) {
        let remedy = "`threshold` is a score, `rise` is how far above the source's baseline the score must be: remove one of them";
        reader.problem(
            rise.key,
            "a label has either a `threshold` or a `rise`, and this one has both",
            remedy,
        );
        return None;
    }
    // A misspelt key is reported already; the other levels cannot be compared then.
    let misspelt = |key: &str| section.get(key).is_none() && !section.lacks(key);
    if misspelt("threshold") || misspelt("rise") {
        return None;
    }
    let rises = rise.is_some() || base.trigger.rises && threshold.is_none();
    let (lower, foreign) = if rises { (clear_rise, clear_below) } else { (clear_below, clear_rise) };
    if let Some((_, at)) = foreign {
        let (message, remedy) = if rises {
            (
                "`clear_below` is a score, but this label has a `rise`",
                "write how far above the baseline it is cleared: `clear_rise: 0.1`; the default is half the rise",
            )
        } else {
            (
                "`clear_rise` needs a `rise`",
                "this label has a threshold: write `clear_below`, or `rise` instead of `threshold`",
            )
        };
        reader.problem(at.key, message, remedy);
        return None;
    }
    let typed = |typed: Option<(Option<f32>, Setting<'n>)>| match typed {
        None => Some(None),
        Some((level, at)) => level.map(|level| Some(LevelTyped { at, level })),
    };
    Some(LevelsTyped { upper: typed(rise.or(threshold))?, lower: typed(lower)?, rises })
}

/// `base` with the levels in the file. A clear level that is not in any file follows the threshold or the rise.
fn levels(reader: &mut Reader<'_>, typed: LevelsTyped<'_>, base: &TriggerSettings) -> TriggerSettings {
    let LevelsTyped { upper, lower, rises } = typed;
    let same_kind = rises == base.rises;
    let level = upper.as_ref().map_or(base.threshold, |typed| typed.level);
    let follows = !same_kind || base.clear_follows();
    let clear = match &lower {
        Some(typed) => typed.level,
        None if follows => TriggerSettings::usual_clear_level(level, rises),
        None => base.clear_below,
    };
    if clear > level {
        let (upper_words, lower_key, remedy) = if rises {
            ("the rise", "clear_rise", "a label is cleared at a lower or equal rise than it is raised at")
        } else {
            (
                "the threshold",
                "clear_below",
                "a label is raised at the threshold and cleared below a lower or equal score",
            )
        };
        match (lower, upper) {
            (Some(LevelTyped { at, .. }), _) => {
                reader.problem(
                    at.span(),
                    format!("`{lower_key}` {clear} is above {upper_words} {level}"),
                    remedy,
                );
            }
            (None, Some(LevelTyped { at, .. })) => {
                let message =
                    format!("{upper_words} {level} is below the `{lower_key}` {clear} of the label set");
                reader.problem(at.span(), message, format!("{remedy}: add `{lower_key}` here, too"));
            }
            (None, None) => {}
        }
    }
    TriggerSettings { threshold: level, clear_below: clear, rises, ..*base }
}

/// Reads a score or a rise.
fn level(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<f32> {
    reader.parsed(at, |text| {
        TriggerSettings::level_of(text).ok_or_else(|| {
            value::fraction_meant(text).unwrap_or_else(|| match at.name {
                "rise" | "clear_rise" => "write how far above the baseline, such as `0.2`".to_owned(),
                _ => "write a score such as `0.6`".to_owned(),
            })
        })
    })
}
