//! One label of one label set on one source, or one rule over labels: its settings there, its trigger, and what was told of it.
//!
//! Pure, as all of the judge. It refuses to know about other labels.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    alert::Alert,
    classify::SetScores,
    config::{Condition, Facts, Label, LabelSet, Rule, Source},
    trigger::{Presence, Transition, Trigger},
};

/// One label of one label set on one source, or one rule over labels.
pub(super) struct Watched {
    pub(super) label: Arc<str>,
    /// As it is on this source.
    pub(super) settings: Label,
    /// Whether the label is there, for rules that ask.
    pub(super) presence: Presence,
    /// What makes a rule of it; `None` is a label.
    pub(super) rule: Option<Ruled>,
    trigger: Trigger,
    /// What was told when it was raised, for as long as it is.
    pub(super) raised: Option<Box<Alert>>,
    /// It is known from before a restart, and nobody has told its state since.
    recalled: bool,
}

/// A rule over labels.
pub(super) struct Ruled {
    pub(super) when: Condition,
    /// Whether that was so on the newest frame; `None` is not known.
    pub(super) met: Option<bool>,
}

/// What a transition was seen by.
pub(super) struct Evidence {
    pub(super) score: f32,
    pub(super) threshold: f32,
    pub(super) region: Option<Arc<str>>,
    pub(super) scores: Vec<(Arc<str>, f32)>,
    pub(super) background: Option<f32>,
}

impl Watched {
    /// How it stood before a restart: whether it was raised, and its newest alert that it was.
    pub(super) fn recall(raised: bool, alert: Alert) -> Self {
        let rule = Rule::at(alert.threshold);
        Self {
            label: Arc::clone(&alert.label),
            settings: Label::new(&alert.label, rule),
            presence: Presence::recall(rule, raised),
            rule: None,
            trigger: Trigger::recall(rule, raised, alert.frame.captured_at),
            raised: raised.then(|| Box::new(alert)),
            recalled: true,
        }
    }

    /// As `settings` say, and raised by `when` if it is a rule, going on where it stood before, if it did.
    fn under(settings: Label, when: Option<&Condition>, before: Option<Self>) -> Self {
        let rule = settings.rule;
        let ruled = when.map(|when| Ruled { when: when.clone(), met: None });
        match before {
            Some(before) => {
                let same = before.rule.as_ref().map(|rule| &rule.when) == when;
                let trigger = before.trigger.under(rule);
                let trigger = if same { trigger } else { trigger.anew() };
                let presence = before.presence.under(rule);
                Self { settings, presence, rule: ruled, trigger, recalled: false, ..before }
            }
            None => Self {
                label: settings.name.as_str().into(),
                settings,
                presence: Presence::new(rule),
                rule: ruled,
                trigger: Trigger::new(rule),
                raised: None,
                recalled: false,
            },
        }
    }

    /// Takes the newest score.
    pub(super) fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        let counts = self.counts(score, at);
        self.trigger.update(counts, at)
    }

    /// The score as its trigger is to see it. Outside its hours a label that is not raised has none, so no frame of then
    /// helps to raise it; one that is raised is cleared by its scores as ever.
    fn counts(&self, score: f32, at: Timestamp) -> f32 {
        let asleep = self.settings.active.as_ref().is_some_and(|active| !active.holds(at));
        if asleep && !self.trigger.is_raised() { f32::NAN } else { score }
    }

    /// Where the label stands in the scores: where it stands in its set, unless that has changed since.
    pub(super) fn place(&self, scores: &SetScores, likely: usize) -> Option<usize> {
        if scores.labels.get(likely).is_some_and(|scored| *scored == self.label) {
            return Some(likely);
        }
        scores.labels.iter().position(|scored| *scored == self.label)
    }

    /// What the alert says to people.
    pub(super) fn message(&self, alert: &Alert) -> Option<String> {
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
/// there. Of those whose state was not told yet `new` is told, with whether they are raised.
pub(super) fn of(
    source: &Source,
    set: &LabelSet,
    known: &mut Vec<Watched>,
    mut new: impl FnMut(&str, bool),
) -> Vec<Watched> {
    let conditions = set.labels.iter().map(|_| None).chain(set.rules.iter().map(|rule| Some(&rule.when)));
    let mut all = Vec::with_capacity(set.labels.len() + set.rules.len());
    for (label, when) in set.alerting().zip(conditions) {
        let settings = source.label(&set.name, label).clone();
        let before = known.iter().position(|known| *known.label == *label.name);
        let before = before.map(|place| known.remove(place));
        let told = before.as_ref().is_some_and(|before| !before.recalled);
        let watched = Watched::under(settings, when, before);
        if !told {
            new(&label.name, watched.trigger.is_raised());
        }
        all.push(watched);
    }
    all
}
