//! One label: its short form and its long form, in a label set and adjusted on a source.

use super::home_assistant;
use crate::{
    policy::{Schedule, Label, AlertMessage, TriggerSettings, Severity},
    yaml::{
        mask,
        reader::{Reader, Section, Setting},
        tree::Value,
        value,
    },
};

/// What is said of a label in its label set.
pub(super) const KEYS: &[&str] = &[
    "prompts",
    "home_assistant",
    "threshold",
    "clear_below",
    "rise",
    "clear_rise",
    "hold",
    "for",
    "cooldown",
    "severity",
    "message",
    "active",
    "regions",
];
/// Of these, what can be different on a source: its text is encoded once for all of them, and it looks alike everywhere.
pub(super) const ADJUSTABLE: &[&str] = KEYS.split_at(2).1;

/// Where none is typed.
pub(super) const THRESHOLD: f32 = 0.5;

/// A label's short form (`person: 0.7`, or `person:` for the default threshold) or its long form.
pub(super) fn read(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Label> {
    let plain = Label::new(at.name, TriggerSettings::at(THRESHOLD));
    match &at.node.value {
        Value::Nothing => Some(plain),
        Value::Text(_) => Some(Label { trigger: TriggerSettings::at(level(reader, at)?), ..plain }),
        Value::List(_) => {
            let remedy = format!(
                "prompts have a key of their own:\n{}:\n  prompts: [...]\n  threshold: 0.6",
                mask::shown(at.name)
            );
            reader.must_be(at, "a threshold or a mapping", remedy);
            None
        }
        Value::Mapping(_) => {
            let section = reader.section(at, KEYS, "")?;
            let prompts = section.get("prompts").map_or(Some(plain.prompts.clone()), |at| reader.texts(&at));
            let look = section
                .get("home_assistant")
                .map_or(Some(plain.look.clone()), |at| home_assistant::look(reader, &at));
            let label = settings(reader, &section, &plain);
            Some(Label { prompts: prompts?, look: look?, ..label? })
        }
    }
}

/// How `label` is on a source: what is typed there, and else as it is in its set.
pub(super) fn adjust(reader: &mut Reader<'_>, at: &Setting<'_>, label: &Label) -> Option<Label> {
    match &at.node.value {
        Value::Text(_) => {
            let threshold = Typed { at: at.clone(), level: level(reader, at)? };
            let rule =
                levels(reader, Levels { upper: Some(threshold), lower: None, rises: false }, &label.trigger);
            Some(Label { trigger: rule, ..label.clone() })
        }
        Value::Mapping(_) => {
            let section = reader.section_with(at, ADJUSTABLE, &["prompts", "home_assistant"], "")?;
            for at in ["prompts", "home_assistant"].iter().filter_map(|key| section.get(key)) {
                let message = format!("a label has the same `{}` on every source", at.name);
                reader.problem(
                    at.key,
                    message,
                    "move them to the label set, or make a label of its own there",
                );
            }
            settings(reader, &section, label)
        }
        Value::Nothing | Value::List(_) => {
            let remedy = "write a score, or what is different here: `{ threshold: 0.8, hold: 2 of 3 }`";
            reader.must_be(at, "a threshold or a mapping", remedy);
            None
        }
    }
}

/// What is typed, and else what `base` has.
pub(super) fn settings(reader: &mut Reader<'_>, section: &Section<'_>, base: &Label) -> Option<Label> {
    let typed = typed_levels(reader, section, base);
    let hold = section.get("hold").map_or(Some(base.trigger.hold), |at| {
        reader.parsed(&at, "frames out of frames such as `2 of 3`", crate::policy::Hold::parse)
    });
    let mut duration = |key: &str, base| {
        section.get(key).map_or(Some(base), |at| reader.parsed(&at, "a duration", value::duration))
    };
    let lasting = duration("for", base.trigger.lasting);
    let cooldown = duration("cooldown", base.trigger.cooldown);
    let severity = section
        .get("severity")
        .map_or(Some(base.severity), |at| reader.word(&at, &Severity::WORDS).map(Some));
    let message = section.get("message").map_or(Some(base.message.clone()), |at| {
        reader.parsed(&at, "a sentence such as `{label} on {source}`", AlertMessage::parse).map(Some)
    });
    let active = section.get("active").map_or(Some(base.active.clone()), |at| active(reader, &at).map(Some));
    let regions = section.get("regions").map_or(Some(base.regions.clone()), |at| reader.texts(&at));

    let rule = levels(reader, typed?, &base.trigger);
    Some(Label {
        trigger: TriggerSettings { hold: hold?, lasting: lasting?, cooldown: cooldown?, ..rule },
        severity: severity?,
        message: message?,
        active: active?,
        regions: regions?,
        ..base.clone()
    })
}

/// A level that is a number.
struct Typed<'n> {
    at: Setting<'n>,
    level: f32,
}

/// The levels that are typed, the threshold or the rise, and the level below which a label is cleared.
struct Levels<'n> {
    upper: Option<Typed<'n>>,
    lower: Option<Typed<'n>>,
    /// They are rises.
    rises: bool,
}

/// `None`: something is wrong with them, and that was told.
fn typed_levels<'n>(reader: &mut Reader<'_>, section: &Section<'n>, base: &Label) -> Option<Levels<'n>> {
    // All of them first: one that is wrong must not hide the next.
    let [threshold, clear_below, rise, clear_rise] = ["threshold", "clear_below", "rise", "clear_rise"]
        .map(|key| section.get(key).map(|at| (level(reader, &at), at)));
    if let (Some(_), Some((_, rise))) = (&threshold, &rise) {
        let remedy = "`threshold` is a score, `rise` is how far above the source's baseline the score must be: remove one of them";
        reader.problem(rise.key, "a label has a `threshold` or a `rise`, and this one has both", remedy);
        return None;
    }
    // A key that is only misspelt was told: the others are not to be compared with anything.
    let misspelt = |key: &str| section.get(key).is_none() && !section.lacks(key);
    if misspelt("threshold") || misspelt("rise") {
        return None;
    }
    let rises = rise.is_some() || base.trigger.rises && threshold.is_none();
    let (lower, foreign) = if rises { (clear_rise, clear_below) } else { (clear_below, clear_rise) };
    if let Some((_, at)) = foreign {
        let (message, remedy) = if rises {
            (
                "`clear_below` is a score, and this label has a `rise`",
                "say how far above the baseline it is cleared: `clear_rise: 0.1`; half the rise if nothing is said",
            )
        } else {
            (
                "`clear_rise` belongs to a `rise`",
                "this label has a threshold: write `clear_below`, or `rise` in the place of `threshold`",
            )
        };
        reader.problem(at.key, message, remedy);
        return None;
    }
    let typed = |typed: Option<(Option<f32>, Setting<'n>)>| match typed {
        None => Some(None),
        Some((level, at)) => level.map(|level| Some(Typed { at, level })),
    };
    Some(Levels { upper: typed(rise.or(threshold))?, lower: typed(lower)?, rises })
}

/// `base` with the levels that are typed. A clear level that nobody typed follows the threshold or the rise.
fn levels(reader: &mut Reader<'_>, typed: Levels<'_>, base: &TriggerSettings) -> TriggerSettings {
    let Levels { upper, lower, rises } = typed;
    let same_kind = rises == base.rises;
    let level = upper.as_ref().map_or(base.threshold, |typed| typed.level);
    let follows = !same_kind || base.clear_below == TriggerSettings::usual_clear_level(base.threshold, rises);
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
            (Some(Typed { at, .. }), _) => {
                reader.problem(
                    at.span(),
                    format!("`{lower_key}` {clear} is above {upper_words} {level}"),
                    remedy,
                );
            }
            (None, Some(Typed { at, .. })) => {
                let message =
                    format!("{upper_words} {level} is below the `{lower_key}` {clear} of the label set");
                reader.problem(at.span(), message, format!("{remedy}: give `{lower_key}` here, too"));
            }
            (None, None) => {}
        }
    }
    TriggerSettings { threshold: level, clear_below: clear, rises, ..*base }
}

/// One span of time or a list of them.
fn active(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Schedule> {
    const EXPECTED: &str = "hours, days or both such as `22:00-06:00`";
    match &at.node.value {
        Value::List(items) if !items.is_empty() => {
            let items = reader.items(at, items);
            // All of them first: one that is wrong must not hide the next.
            let spans: Vec<_> = items.iter().map(|at| reader.parsed(at, EXPECTED, Schedule::parse)).collect();
            spans.into_iter().collect::<Option<Vec<_>>>().map(Schedule::any)
        }
        _ => reader.parsed(at, EXPECTED, Schedule::parse),
    }
}

/// A score that something is compared with. 0 is none: every frame would reach it, and no frame would be below it.
#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn level(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<f32> {
    reader.parsed(at, "a number more than 0 and at most 1", |text| match value::number(text) {
        Some(level) if level > 0.0 && level <= 1.0 && level as f32 > 0.0 => Ok(level as f32),
        _ => Err(value::fraction_meant(text).unwrap_or_else(|| match at.name {
            "rise" | "clear_rise" => "write how far above the baseline, such as `0.2`".to_owned(),
            _ => "write a score such as `0.6`".to_owned(),
        })),
    })
}
