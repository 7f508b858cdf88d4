//! How the scores of a source are judged, and the state of its triggers at one moment: what the history stores beside scores, so that
//! they can be judged again.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    policy::{AlertMessage, Condition, Facts, Label, Schedule, Severity, Silence, TriggerSettings},
    trigger::{PresenceState, TriggerState},
};

/// Everything that decides how the scores of one source are judged. Another setup is in force when any of it changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model's name in alerts.
    pub model: String,
    /// The label sets that the source watches, in its order.
    pub sets: Vec<SetSetup>,
}

/// A label set on the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSetup {
    /// Its name.
    pub name: String,
    /// Its labels, in its order.
    pub labels: Vec<LabelSetup>,
    /// Its rules over labels, in its order.
    pub rules: Vec<LabelSetup>,
}

/// A label or a rule over labels, with its settings on the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelSetup {
    /// Its name.
    pub name: String,
    /// The settings of its trigger.
    pub trigger: TriggerSettings,
    /// The period over which a baseline is learnt; `None` learns none.
    pub over: Option<Duration>,
    /// When it may be raised; `None`: always.
    pub active: Option<Schedule>,
    /// The severity of its alerts.
    pub severity: Option<Severity>,
    /// The message of its alerts.
    pub message: Option<AlertMessage>,
    /// Whether it was switched off, and until when it was snoozed.
    #[serde(default, skip_serializing_if = "Silence::is_none")]
    pub silence: Silence,
    /// The condition of a rule; `None` is a label.
    pub when: Option<Condition>,
    /// What its scores are computed from, as in a saved baseline.
    pub of: String,
}

/// The state of one label or rule.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LabelState {
    /// Its trigger.
    pub trigger: TriggerState,
    /// Whether it is present, for the conditions of rules.
    pub presence: PresenceState,
}

/// The triggers of a source before one of its frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// How they judge.
    pub setup: Arc<Setup>,
    /// Their states, in the order of [`Setup::all`].
    pub states: Vec<LabelState>,
    /// By how much the clock was set since the last checkpoint of the source. The times in the states are moved already.
    pub clock_set_by: SignedDuration,
    /// How it continues what was before.
    pub start: Start,
}

/// How the triggers of a checkpoint continue those before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// They are the same, perhaps with other settings.
    #[default]
    Continued,
    /// The service was restarted: only what is raised, cooldowns and baselines are known from before.
    Restarted,
    /// The source is new, or was removed in between.
    Added,
}

impl Setup {
    /// All labels and rules: of each label set its labels, then its rules.
    pub fn all(&self) -> impl Iterator<Item = (&SetSetup, &LabelSetup)> {
        self.sets.iter().flat_map(|set| set.labels.iter().chain(&set.rules).map(move |label| (set, label)))
    }

    /// The labels, in the order in which their scores are stored.
    pub fn labels(&self) -> impl Iterator<Item = (&SetSetup, &LabelSetup)> {
        self.all().filter(|(_, label)| label.when.is_none())
    }
}

impl LabelSetup {
    /// The message of this alert for people.
    #[must_use]
    pub fn message(&self, alert: &Alert) -> Option<String> {
        filled(self.message.as_ref(), alert)
    }

    /// The settings as the configuration has them, without what only the classifier needs.
    pub(super) fn settings(&self) -> Label {
        Label {
            prompts: Vec::new(),
            severity: self.severity,
            message: self.message.clone(),
            active: self.active.clone(),
            silence: self.silence,
            ..Label::new(&self.name, self.trigger)
        }
    }
}

/// The message about an alert.
pub(super) fn filled(message: Option<&AlertMessage>, alert: &Alert) -> Option<String> {
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
    message.map(|message| message.fill(&facts))
}
