//! Settings of labels that are tried instead of those that were in force: `yard/person.threshold=0.55`. Pure.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    judge::{LabelSetup, SetSetup, Setup},
    policy::{Hold, LabelName, Schedule, TriggerSettings},
    yaml::value,
};

/// The keys that can be tried.
const KEYS: &str = "`threshold`, `clear_below`, `rise`, `clear_rise`, `hold`, `for`, `cooldown` or `active`";

/// One setting of one label or rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// As it was typed.
    text: String,
    /// `person`, or `yard/person` for the label of one label set.
    label: String,
    value: NewValue,
}

#[derive(Debug, Clone, PartialEq)]
enum NewValue {
    /// The threshold, or the rise.
    Upper(Level),
    /// The level below which it is cleared.
    Lower(Level),
    Hold(Hold),
    Lasting(Duration),
    Cooldown(Duration),
    /// `None`: always.
    Active(Option<Schedule>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    level: f32,
    rises: bool,
}

/// Reads `LABEL.KEY=VALUE`; the error is the remedy.
impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("write LABEL.KEY=VALUE such as `yard/person.threshold=0.55`; KEY is {KEYS}");
        let (path, value) = text.split_once('=').ok_or_else(form)?;
        let (label, key) = path.rsplit_once('.').filter(|(label, _)| !label.is_empty()).ok_or_else(form)?;
        let value = new_value(key.trim(), value.trim())?.ok_or_else(form)?;
        Ok(Self { text: text.to_owned(), label: label.to_owned(), value })
    }
}

fn new_value(key: &str, text: &str) -> Result<Option<NewValue>, String> {
    Ok(Some(match key {
        "threshold" | "rise" => NewValue::Upper(Level { level: level(text)?, rises: key == "rise" }),
        "clear_below" | "clear_rise" => {
            NewValue::Lower(Level { level: level(text)?, rises: key == "clear_rise" })
        }
        "hold" => NewValue::Hold(Hold::parse(text)?),
        "for" => NewValue::Lasting(value::duration(text)?),
        "cooldown" => NewValue::Cooldown(value::duration(text)?),
        "active" if text == "always" => NewValue::Active(None),
        "active" => NewValue::Active(Some(Schedule::parse(text)?)),
        _ => return Ok(None),
    }))
}

fn level(text: &str) -> Result<f32, String> {
    TriggerSettings::level_of(text).ok_or_else(|| {
        value::fraction_meant(text).unwrap_or_else(|| "write a score such as `0.6`".to_owned())
    })
}

/// As it was typed.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Change {
    /// The setting `key` of this label; the error is the remedy.
    ///
    /// # Errors
    /// There is no such setting, or the value is wrong.
    pub fn of(name: &LabelName, key: &str, value: &str) -> Result<Self, String> {
        let label = format!("{}/{}", name.label_set, name.label);
        let new = new_value(key, value.trim())?.ok_or_else(|| format!("the settings are {KEYS}"))?;
        Ok(Self { text: format!("{label}.{key}={value}"), label, value: new })
    }

    fn is_of(&self, set: &SetSetup, label: &LabelSetup) -> bool {
        let qualified = self.label.strip_prefix(&set.name).and_then(|rest| rest.strip_prefix('/'));
        self.label == label.name || qualified == Some(&label.name)
    }
}

/// A setup with changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Changed {
    pub(super) setup: Setup,
    /// Whether each label and rule may be judged in another way, in the order of [`Setup::all`]: those with changes, and rules over
    /// them.
    pub(super) affected: Vec<bool>,
}

/// The setup with these changes.
///
/// # Errors
/// A change is impossible for the label as it was.
pub(super) fn apply(changes: &[Change], recorded: &Setup) -> Result<Changed, String> {
    let mut setup = recorded.clone();
    let mut changed: Vec<LabelName> = Vec::new();
    for set in &mut setup.sets {
        let name = SetSetup { name: set.name.clone(), labels: vec![], rules: vec![] };
        for label in set.labels.iter_mut().chain(&mut set.rules) {
            let own: Vec<_> = changes.iter().filter(|change| change.is_of(&name, label)).collect();
            if !own.is_empty() {
                change(label, &own)?;
                changed.push(LabelName { label_set: name.name.clone(), label: label.name.clone() });
            }
        }
    }
    let is_changed =
        |set: &str, label: &str| changed.iter().any(|name| name.label_set == set && name.label == label);
    let affected = setup.all().map(|(set, label)| {
        let over = label.when.as_ref().map_or_else(Vec::new, |when| when.labels());
        is_changed(&set.name, &label.name) || over.iter().any(|name| is_changed(&name.label_set, &name.label))
    });
    let affected = affected.collect();
    Ok(Changed { setup, affected })
}

/// The names of labels that no setup has, of those in `changes`.
pub(super) fn unknown<'c>(
    changes: &'c [Change],
    setups: impl IntoIterator<Item = &'c Setup> + Clone,
) -> Vec<&'c str> {
    let is_known = |change: &&Change| {
        setups.clone().into_iter().any(|setup| setup.all().any(|(set, label)| change.is_of(set, label)))
    };
    changes.iter().filter(|change| !is_known(change)).map(|change| change.label.as_str()).collect()
}

fn change(label: &mut LabelSetup, changes: &[&Change]) -> Result<(), String> {
    let (mut upper, mut lower, mut active) = (None, None, None);
    for change in changes {
        match &change.value {
            NewValue::Upper(_) | NewValue::Lower(_) if label.when.is_some() => {
                return Err(format!(
                    "`{}`: `{}` is a rule over labels, which has no threshold",
                    change.text, label.name
                ));
            }
            NewValue::Upper(level) => upper = Some((change, *level)),
            NewValue::Lower(level) => lower = Some((change, *level)),
            NewValue::Hold(hold) => label.trigger.hold = *hold,
            NewValue::Lasting(lasting) => label.trigger.lasting = *lasting,
            NewValue::Cooldown(cooldown) => label.trigger.cooldown = *cooldown,
            NewValue::Active(schedule) => {
                // Several times are as a list in the configuration.
                let all = active.take().flatten().into_iter().chain(schedule.clone()).collect::<Vec<_>>();
                active = Some((!all.is_empty()).then(|| Schedule::union(all)));
            }
        }
    }
    if let Some(active) = active {
        label.active = active;
    }
    if let Some((change, level)) = upper.filter(|(_, level)| level.rises && label.over.is_none()) {
        let Level { level, .. } = level;
        return Err(format!(
            "`{}`: a rise of {level} needs a baseline, and the source learnt none: `baseline: true`",
            change.text
        ));
    }
    label.trigger = levels(&label.trigger, upper.map(|(_, level)| level), lower)?;
    Ok(())
}

/// The settings with other levels. A clear level that follows the threshold in `base` follows the new one, as in the configuration.
fn levels(
    base: &TriggerSettings,
    upper: Option<Level>,
    lower: Option<(&&Change, Level)>,
) -> Result<TriggerSettings, String> {
    let rises = upper.map_or(base.rises, |upper| upper.rises);
    let threshold = upper.map_or(base.threshold, |upper| upper.level);
    let usual = TriggerSettings::usual_clear_level;
    let follows = rises != base.rises || base.clear_follows();
    let clear_below = match lower {
        Some((change, lower)) => {
            let text = &change.text;
            if lower.rises != rises {
                return Err(format!(
                    "`{text}`: a label with a threshold has `clear_below`, one with a `rise` has `clear_rise`"
                ));
            }
            if lower.level > threshold {
                return Err(format!(
                    "`{text}`: it is above the level {threshold} at which the label is raised"
                ));
            }
            lower.level
        }
        None if follows => usual(threshold, rises),
        None => base.clear_below.min(threshold),
    };
    Ok(TriggerSettings { threshold, clear_below, rises, ..*base })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, Silence};

    fn label(name: &str, trigger: TriggerSettings, when: Option<&str>) -> LabelSetup {
        LabelSetup {
            name: name.to_owned(),
            trigger,
            over: None,
            active: None,
            severity: None,
            message: None,
            silence: Silence::default(),
            when: when.map(|when| Condition::of("yard", when)),
            of: String::new(),
        }
    }

    fn setup() -> Setup {
        let set = |name: &str, labels, rules| SetSetup { name: name.to_owned(), labels, rules };
        let gap = TriggerSettings { clear_below: 0.4, ..TriggerSettings::at(0.6) };
        let yard = vec![label("person", TriggerSettings::at(0.6), None), label("dog", gap, None)];
        let rules = vec![label("stranger", TriggerSettings::at(0.5), Some("person and not dog"))];
        let porch = vec![label("person", TriggerSettings::at(0.7), None)];
        Setup { model: "m".to_owned(), sets: vec![set("yard", yard, rules), set("porch", porch, vec![])] }
    }

    fn tried(texts: &[&str]) -> Result<Changed, String> {
        let changes = texts.iter().map(|text| text.parse()).collect::<Result<Vec<Change>, _>>()?;
        apply(&changes, &setup())
    }

    #[test]
    fn changes_are_of_one_label_or_of_all_with_its_name() {
        let changed = tried(&["yard/person.threshold=0.55"]).unwrap();
        assert_eq!(changed.affected, [true, false, true, false], "and the rule over it");
        let [yard, porch] = &changed.setup.sets[..] else { panic!("two") };
        assert_eq!(yard.labels[0].trigger, TriggerSettings::at(0.55), "the clear level follows");
        assert_eq!(porch.labels[0].trigger, TriggerSettings::at(0.7));
        assert_eq!(tried(&["person.for=5s"]).unwrap().affected, [true, false, true, true]);
        assert_eq!(tried(&["stranger.cooldown=5m"]).unwrap().affected, [false, false, true, false]);
        let (none, setup) = (["cat.for=1s".parse().unwrap()], setup());
        assert_eq!(unknown(&none, [&setup]), ["cat"]);
        assert_eq!(apply(&none, &setup).unwrap().affected, [false; 4]);
    }

    #[test]
    fn a_name_with_the_marks_of_the_text_form_can_be_changed() {
        let name = LabelName { label_set: "yard".to_owned(), label: "a.b=c".to_owned() };
        let change = Change::of(&name, "threshold", "0.55").unwrap();
        assert_eq!(change.to_string(), "yard/a.b=c.threshold=0.55");
        let mut setup = setup();
        setup.sets[0].labels[0].name = "a.b=c".to_owned();
        let changed = apply(&[change], &setup).unwrap();
        assert_eq!(changed.affected, [true, false, false, false]);
        assert!(Change::of(&name, "size", "3").unwrap_err().contains("`threshold`"));
        assert!(Change::of(&name, "hold", "3").unwrap_err().contains("did you mean `3 of 3`?"));
    }

    #[test]
    fn each_key_takes_effect() {
        let dog = |texts: &[&str]| tried(texts).unwrap().setup.sets[0].labels[1].clone();
        let levels = |texts: &[&str]| {
            let trigger = dog(texts).trigger;
            (trigger.threshold, trigger.clear_below)
        };
        assert_eq!(levels(&["dog.threshold=0.8"]), (0.8, 0.4), "the clear level was typed, and stays");
        assert_eq!(levels(&["dog.threshold=0.3"]), (0.3, 0.3), "but is never above");
        assert_eq!(levels(&["dog.clear_below=0.1", "dog.threshold=.9"]), (0.9, 0.1));
        assert_eq!(dog(&["dog.hold=2 of 3"]).trigger.hold, Hold { frames: 2, of: 3 });
        assert_eq!(dog(&["dog.for=1m30s"]).trigger.lasting, Duration::from_secs(90));
        let hours = dog(&["dog.active=22:00-06:00 UTC", "dog.active=sat,sun UTC"]).active.unwrap();
        assert_eq!(hours.to_string(), "22:00-06:00 UTC, sat,sun UTC");
        assert_eq!(dog(&["dog.active=always"]).active, None);
    }

    #[test]
    fn what_is_impossible_has_a_remedy() {
        for (texts, expected) in [
            (&["person"][..], "LABEL.KEY=VALUE"),
            (&["person.size=3"], "LABEL.KEY=VALUE"),
            (&[".for=3s"], "LABEL.KEY=VALUE"),
            (&["person.threshold=60"], "did you mean `0.6`?"),
            (&["person.for=3"], "a duration needs a unit"),
            (&["person.hold=3"], "did you mean `3 of 3`?"),
            (&["person.clear_below=0.9"], "above the level"),
            (&["person.rise=0.2"], "`baseline: true`"),
            (&["person.clear_rise=0.2"], "one with a `rise` has `clear_rise`"),
            (&["stranger.threshold=0.2"], "a rule over labels"),
        ] {
            let error = tried(texts).unwrap_err();
            assert!(error.contains(expected), "{texts:?}: {error}");
        }
    }
}
