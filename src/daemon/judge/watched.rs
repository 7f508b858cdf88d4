//! One label of one label set on one source: its settings there, its trigger, and what was told of it.
//!
//! Pure, as all of the judge. It refuses to know about other labels.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    alert::Alert,
    classify::SetScores,
    config::{Facts, Label, LabelSet, Rule, Source},
    trigger::Trigger,
};

/// One label of one label set on one source.
pub(super) struct Watched {
    pub(super) label: Arc<str>,
    /// As it is on this source.
    pub(super) settings: Label,
    pub(super) trigger: Trigger,
    /// What was told when it was raised, for as long as it is.
    pub(super) raised: Option<Box<Alert>>,
    /// It is known from before a restart, and nobody has told its state since.
    recalled: bool,
}

impl Watched {
    /// How it stood before a restart: whether it was raised, and its newest alert that it was.
    pub(super) fn recall(raised: bool, alert: Alert) -> Self {
        let rule = Rule::at(alert.threshold);
        Self {
            label: Arc::clone(&alert.label),
            settings: Label::new(&alert.label, rule),
            trigger: Trigger::recall(rule, raised, alert.frame.captured_at),
            raised: raised.then(|| Box::new(alert)),
            recalled: true,
        }
    }

    /// As `settings` say, going on where it stood before, if it did.
    fn under(settings: Label, before: Option<Self>) -> Self {
        let rule = settings.rule;
        match before {
            Some(before) => {
                let trigger = before.trigger.under(rule);
                Self { settings, trigger, recalled: false, ..before }
            }
            None => Self {
                label: settings.name.as_str().into(),
                settings,
                trigger: Trigger::new(rule),
                raised: None,
                recalled: false,
            },
        }
    }

    /// The score as its trigger is to see it. Outside its hours a label that is not raised has none, so no frame of then
    /// helps to raise it; one that is raised is cleared by its scores as ever.
    pub(super) fn counts(&self, score: f32, at: Timestamp) -> f32 {
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

/// The labels of a set, in its order, as they are on `source`; those that are in `known` are taken from there. Of those
/// whose state was not told yet `new` is told, with whether they are raised.
pub(super) fn of(
    source: &Source,
    set: &LabelSet,
    known: &mut Vec<Watched>,
    mut new: impl FnMut(&str, bool),
) -> Vec<Watched> {
    let mut labels = Vec::with_capacity(set.labels.len());
    for label in &set.labels {
        let settings = source.label(&set.name, label).clone();
        let before = known.iter().position(|known| *known.label == *label.name);
        let before = before.map(|place| known.remove(place));
        let told = before.as_ref().is_some_and(|before| !before.recalled);
        let watched = Watched::under(settings, before);
        if !told {
            new(&label.name, watched.trigger.is_raised());
        }
        labels.push(watched);
    }
    labels
}
