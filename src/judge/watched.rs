//! One label of one label set on one source, or one rule over labels: its settings there, its trigger, and its raised alert.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    alert::Alert,
    classify::SetScores,
    config::Source,
    policy::{Condition, Facts, Label, LabelSet, Levels, TriggerSettings},
    trigger::{Baseline, Presence, Transition, Trigger},
};

/// One label of one label set on one source, or one rule over labels.
pub(super) struct Watched {
    pub(super) label: Arc<str>,
    /// The settings on this source.
    pub(super) settings: Label,
    /// See [`super::SavedBaseline::of`].
    of: String,
    /// Whether the label is present, for the conditions of rules.
    pub(super) presence: Presence,
    /// Present in a rule; `None` is a label.
    pub(super) rule: Option<WatchedRule>,
    trigger: Trigger,
    /// The alert that raised it, while it is raised.
    pub(super) raised: Option<Box<Alert>>,
    /// It comes from before a restart, and its state was not published since.
    restored: bool,
}

/// A rule over labels.
pub(super) struct WatchedRule {
    pub(super) when: Condition,
    /// Whether the condition was met on the newest frame; `None` if that is unknown.
    pub(super) met: Option<bool>,
}

/// What caused a transition.
pub(super) struct Evidence {
    pub(super) score: f32,
    pub(super) threshold: f32,
    pub(super) baseline: Option<f32>,
    pub(super) region: Option<Arc<str>>,
    pub(super) scores: Vec<(Arc<str>, f32)>,
    pub(super) background: Option<f32>,
}

/// A baseline, with what its scores were computed from.
pub(super) type Learnt = (String, Baseline);

impl Watched {
    /// The state from before a restart: whether it was raised, and its last alert that it was raised.
    pub(super) fn restore(raised: bool, alert: Alert) -> Self {
        let settings = TriggerSettings::at(alert.threshold);
        Self {
            label: Arc::clone(&alert.label),
            settings: Label::new(&alert.label, settings),
            of: String::new(),
            presence: Presence::restore(settings, raised),
            rule: None,
            trigger: Trigger::restore(settings, raised, alert.frame.captured_at),
            raised: raised.then(|| Box::new(alert)),
            restored: true,
        }
    }

    /// With the settings of `scoring` and the condition `when` if it is a rule, and with the state of `before`. The baseline is
    /// kept while it is computed from the same; one from before a restart is `saved`.
    fn with(scoring: Scoring, when: Option<&Condition>, before: Option<Self>, saved: Option<Learnt>) -> Self {
        let Scoring { settings, of, over } = scoring;
        let trigger_settings = settings.trigger;
        let watched_rule = when.map(|when| WatchedRule { when: when.clone(), met: None });
        let learnt = before.as_ref().and_then(Self::learnt).or(saved);
        let baseline = learnt.filter(|(learnt_of, _)| *learnt_of == of).map(|(_, baseline)| baseline);
        match before {
            Some(before) => {
                let same = before.rule.as_ref().map(|rule| &rule.when) == when;
                let trigger = before.trigger.with_settings(trigger_settings).with_baseline(over, baseline);
                let trigger = if same { trigger } else { trigger.without_frames() };
                let presence = before.presence.with_settings(trigger_settings);
                Self { settings, of, presence, rule: watched_rule, trigger, restored: false, ..before }
            }
            None => Self {
                label: settings.name.as_str().into(),
                settings,
                of,
                presence: Presence::new(trigger_settings),
                rule: watched_rule,
                trigger: Trigger::new(trigger_settings).with_baseline(over, baseline),
                raised: None,
                restored: false,
            },
        }
    }

    /// The baseline, where one is learnt.
    pub(super) fn learnt(&self) -> Option<Learnt> {
        self.trigger.baseline().map(|baseline| (self.of.clone(), baseline))
    }

    /// The baseline as alerts show it: only once enough frames were seen.
    pub(super) fn baseline(&self) -> Option<f32> {
        self.trigger.baseline().and_then(Baseline::level)
    }

    /// The levels for the next frame, where they are known.
    pub(super) fn levels(&self) -> Option<Levels> {
        self.trigger.levels()
    }

    /// The transition that the newest score causes. Outside its hours a label is not raised, and is cleared as usual.
    pub(super) fn update(&mut self, score: f32, at: Timestamp) -> Option<Transition> {
        match &self.settings.active {
            Some(active) if !active.holds(at) => self.trigger.update_inactive(score, at),
            _ => self.trigger.update(score, at),
        }
    }

    /// See [`Trigger::clock_was_set`].
    pub(super) fn clock_was_set(&mut self, by: SignedDuration) {
        self.trigger.clock_was_set(by);
        self.presence.clock_was_set(by);
    }

    /// The index of the label in the scores: its index in its set, unless that has changed since.
    pub(super) fn index_in(&self, scores: &SetScores, likely: usize) -> Option<usize> {
        if scores.labels.get(likely).is_some_and(|scored| *scored == self.label) {
            return Some(likely);
        }
        scores.labels.iter().position(|scored| *scored == self.label)
    }

    /// The message of the alert for people.
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

/// The labels of a set in its order, then its rules, with their settings on `source`. The state of those in `known` is taken from
/// there, and baselines from `saved`. Calls `added` for each whose state was not published, with whether it is raised.
pub(super) fn of(
    (source, set, model): (&Source, &LabelSet, &str),
    known: &mut Vec<Watched>,
    mut saved: impl FnMut(&str) -> Option<Learnt>,
    mut added: impl FnMut(&str, bool),
) -> Vec<Watched> {
    let conditions = set.labels.iter().map(|_| None).chain(set.rules.iter().map(|rule| Some(&rule.when)));
    let mut all = Vec::with_capacity(set.labels.len() + set.rules.len());
    for (label, when) in set.alerting().zip(conditions) {
        let settings = source.label(&set.name, label).clone();
        let scoring = Scoring::of(source, set, settings, when, model);
        let before = known.iter().position(|known| *known.label == *label.name);
        let before = before.map(|index| known.remove(index));
        let published = before.as_ref().is_some_and(|before| !before.restored);
        let watched = Watched::with(scoring, when, before, saved(&label.name));
        if !published {
            added(&label.name, watched.trigger.is_raised());
        }
        all.push(watched);
    }
    all
}

/// How a label is scored and judged on a source.
struct Scoring {
    settings: Label,
    /// See [`super::SavedBaseline::of`].
    of: String,
    /// The period of the baseline, where one is learnt.
    over: Option<Duration>,
}

impl Scoring {
    fn of(source: &Source, set: &LabelSet, settings: Label, when: Option<&Condition>, model: &str) -> Self {
        // Whether a condition is met is no score that could drift.
        let over = source.baseline.filter(|_| when.is_none());
        Self { of: scored_from(source, set, &settings, model), settings, over }
    }
}

/// What the scores of a label are computed from. The other labels of the set are not part of it, because they change while the
/// service runs. Every field of the set is named, so that a new field requires a decision.
fn scored_from(source: &Source, set: &LabelSet, label: &Label, model: &str) -> String {
    let LabelSet { name: _, templates, scoring, background, labels: _, rules: _ } = set;
    let templates: Vec<_> = templates.iter().map(ToString::to_string).collect();
    let (prompts, regions, all_regions) = (&label.prompts, &label.regions, &source.regions);
    format!("{model} {scoring:?} {templates:?} {background:?} {prompts:?} {regions:?} {all_regions:?}")
}
