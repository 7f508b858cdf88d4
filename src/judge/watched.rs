//! One label of one label set on one source, or one rule over labels: its settings there, its trigger, and what was told of it.
//!
//! Pure, as all of the judge. It refuses to know about other labels.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    alert::Alert,
    classify::SetScores,
    config::Source,
    policy::{Condition, Facts, Label, LabelSet, Levels, TriggerSettings},
    trigger::{Baseline, Presence, Transition, Trigger},
};

/// What is known of a label while nothing is to be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What its scores were of when it was learnt, in words that are compared and nothing else: other prompts have other scores.
    pub(crate) of: String,
    pub(crate) baseline: Baseline,
}

/// One label of one label set on one source, or one rule over labels.
pub(crate) struct Watched {
    pub(crate) label: Arc<str>,
    /// As it is on this source.
    pub(crate) settings: Label,
    /// What its scores are of, in words that are compared and nothing else.
    of: String,
    /// Whether the label is there, for rules that ask.
    pub(crate) presence: Presence,
    /// What makes a rule of it; `None` is a label.
    pub(crate) rule: Option<Ruled>,
    trigger: Trigger,
    /// What was told when it was raised, for as long as it is.
    pub(crate) raised: Option<Box<Alert>>,
    /// It is known from before a restart, and nobody has told its state since.
    recalled: bool,
}

/// A rule over labels.
pub(crate) struct Ruled {
    pub(crate) when: Condition,
    /// Whether that was so on the newest frame; `None` is not known.
    pub(crate) met: Option<bool>,
}

/// What a transition was seen by.
pub(crate) struct Evidence {
    pub(crate) score: f32,
    pub(crate) threshold: f32,
    pub(crate) baseline: Option<f32>,
    pub(crate) region: Option<Arc<str>>,
    pub(crate) scores: Vec<(Arc<str>, f32)>,
    pub(crate) background: Option<f32>,
}

impl Watched {
    /// How it stood before a restart: whether it was raised, and its newest alert that it was.
    pub(crate) fn recall(raised: bool, alert: Alert) -> Self {
        let rule = TriggerSettings::at(alert.threshold);
        Self {
            label: Arc::clone(&alert.label),
            settings: Label::new(&alert.label, rule),
            of: String::new(),
            presence: Presence::recall(rule, raised),
            rule: None,
            trigger: Trigger::recall(rule, raised, alert.frame.captured_at),
            raised: raised.then(|| Box::new(alert)),
            recalled: true,
        }
    }

    /// As `scored` says, and raised by `when` if it is a rule, going on where it stood before, if it did. The baseline stays what
    /// it is as long as the scores mean the same; one of before a restart is `remembered`.
    fn under(
        scored: Meant,
        when: Option<&Condition>,
        before: Option<Self>,
        remembered: Option<Known>,
    ) -> Self {
        let Meant { settings, of, over } = scored;
        let rule = settings.trigger;
        let ruled = when.map(|when| Ruled { when: when.clone(), met: None });
        let known = before.as_ref().and_then(Self::known).or(remembered).filter(|known| known.of == of);
        let baseline = known.map(|known| known.baseline);
        match before {
            Some(before) => {
                let same = before.rule.as_ref().map(|rule| &rule.when) == when;
                let trigger = before.trigger.under(rule).keeping(over, baseline);
                let trigger = if same { trigger } else { trigger.anew() };
                let presence = before.presence.under(rule);
                Self { settings, of, presence, rule: ruled, trigger, recalled: false, ..before }
            }
            None => Self {
                label: settings.name.as_str().into(),
                settings,
                of,
                presence: Presence::new(rule),
                rule: ruled,
                trigger: Trigger::new(rule).keeping(over, baseline),
                raised: None,
                recalled: false,
            },
        }
    }

    /// What is known of it while nothing is to be seen.
    pub(crate) fn known(&self) -> Option<Known> {
        let of = || self.of.clone();
        self.trigger.baseline().map(|baseline| Known { of: of(), baseline })
    }

    /// Likewise, as far as alerts tell it.
    pub(crate) fn baseline(&self) -> Option<f32> {
        self.trigger.baseline().and_then(Baseline::level)
    }

    /// The scores that the next frame is held to, where they are known.
    pub(crate) fn levels(&self) -> Option<Levels> {
        self.trigger.levels()
    }

    /// What changes with the newest score. Outside its hours a label is not raised; one that is raised is cleared as ever.
    pub(crate) fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        match &self.settings.active {
            Some(active) if !active.holds(at) => self.trigger.update_asleep(score, at),
            _ => self.trigger.update(score, at),
        }
    }

    /// Where the label stands in the scores: where it stands in its set, unless that has changed since.
    pub(crate) fn place(&self, scores: &SetScores, likely: usize) -> Option<usize> {
        if scores.labels.get(likely).is_some_and(|scored| *scored == self.label) {
            return Some(likely);
        }
        scores.labels.iter().position(|scored| *scored == self.label)
    }

    /// What the alert says to people.
    pub(crate) fn message(&self, alert: &Alert) -> Option<String> {
        let facts = Facts {
            label: &alert.label,
            label_set: &alert.label_set,
            source: &alert.source,
            region: alert.region.as_deref(),
            score: alert.score,
            threshold: alert.threshold,
            state: alert.state.word(),
            time: alert.frame.captured_at,
            severity: alert.severity,
        };
        self.settings.message.as_ref().map(|message| message.fill(&facts))
    }
}

/// The labels of a set, in its order, and then its rules, as they are on `source`; those that are in `known` are taken from
/// there, and what is known of their scores from `remembered`. Of those whose state was not told yet `new` is told, with
/// whether they are raised.
pub(crate) fn of(
    (source, set, model): (&Source, &LabelSet, &str),
    known: &mut Vec<Watched>,
    mut remembered: impl FnMut(&str) -> Option<Known>,
    mut new: impl FnMut(&str, bool),
) -> Vec<Watched> {
    let conditions = set.labels.iter().map(|_| None).chain(set.rules.iter().map(|rule| Some(&rule.when)));
    let mut all = Vec::with_capacity(set.labels.len() + set.rules.len());
    for (label, when) in set.alerting().zip(conditions) {
        let settings = source.label(&set.name, label).clone();
        let scored = Meant::of(source, set, settings, when, model);
        let before = known.iter().position(|known| *known.label == *label.name);
        let before = before.map(|place| known.remove(place));
        let told = before.as_ref().is_some_and(|before| !before.recalled);
        let watched = Watched::under(scored, when, before, remembered(&label.name));
        if !told {
            new(&label.name, watched.trigger.is_raised());
        }
        all.push(watched);
    }
    all
}

/// A label as it is scored and judged on a source.
struct Meant {
    settings: Label,
    /// See [`Watched::of`].
    of: String,
    /// The time over which its baseline is estimated, where one is kept.
    over: Option<Duration>,
}

impl Meant {
    fn of(source: &Source, set: &LabelSet, settings: Label, when: Option<&Condition>, model: &str) -> Self {
        // Whether a condition is met is no score that could drift.
        let over = source.baseline.filter(|_| when.is_none());
        Self { of: meaning(source, set, &settings, model), settings, over }
    }
}

/// What the scores of a label are of. Other labels of the set come and go while it runs; of them a score is not said to be.
/// Every field of the set is named, so that whoever adds one decides.
fn meaning(source: &Source, set: &LabelSet, label: &Label, model: &str) -> String {
    let LabelSet { name: _, templates, scoring, background, labels: _, rules: _ } = set;
    let templates: Vec<_> = templates.iter().map(ToString::to_string).collect();
    let (prompts, regions, all_regions) = (&label.prompts, &label.regions, &source.regions);
    format!("{model} {scoring:?} {templates:?} {background:?} {prompts:?} {regions:?} {all_regions:?}")
}
