//! One label of one label set on one source, or one rule over labels: its settings there, its trigger, and its raised alert.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    assessment::{Assessment, Gate},
    setup::{self, LabelSetup, LabelState},
};
use crate::{
    alert::{Alert, ClearReason, State},
    classify::SetScores,
    config::Source,
    policy::{Condition, Hold, Label, LabelName, LabelSet, Levels, TriggerSettings},
    trigger::{Baseline, Checks, GateKind, Gates, Learning, Presence, Transition, Trigger},
};

/// One label of one label set on one source, or one rule over labels.
pub(super) struct Watched {
    pub(super) label: Arc<str>,
    /// The settings on this source.
    pub(super) settings: Label,
    /// The hours in which it may be raised, as text.
    hours: Option<Arc<str>>,
    /// See [`super::SavedBaseline::of`].
    pub(super) of: String,
    /// Whether the label is present, for the conditions of rules.
    pub(super) presence: Presence,
    /// Present in a rule; `None` is a label.
    pub(super) rule: Option<WatchedRule>,
    pub(super) trigger: Trigger,
    /// The alert that raised it, while it is raised.
    pub(super) raised: Option<Box<Alert>>,
    /// It comes from before a restart, and its state was not published since.
    restored: bool,
}

/// A rule over labels.
pub(super) struct WatchedRule {
    pub(super) when: Condition,
    /// The text of the condition.
    pub(super) text: Arc<str>,
    /// The labels of the condition, with their names as people read them in this label set.
    shown: Vec<(LabelName, Arc<str>)>,
    /// Whether the condition was met on the newest frame; `None` if that is unknown.
    pub(super) met: Option<bool>,
}

/// Whether a label may be raised at one time.
#[derive(Debug, Clone, Copy)]
struct Permission {
    /// It is judged at all.
    enabled: bool,
    /// The time is in its hours, if it has any.
    active: Option<bool>,
    /// A person asked for silence.
    snoozed: bool,
}

/// What a frame says about a label.
pub(super) struct Measured<'s> {
    pub(super) label_set: &'s Arc<str>,
    /// The score that the trigger receives; for a rule, 1 while its condition is met, otherwise 0.
    pub(super) score: f32,
    pub(super) region: Option<&'s Arc<str>>,
    /// The levels and the baseline before the frame.
    pub(super) levels: Option<Levels>,
    pub(super) baseline: Option<f32>,
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

/// A score that raised or cleared its label.
pub(super) struct Counted {
    pub(super) transition: Transition,
    /// The levels with which the score was compared, where they are known.
    pub(super) levels: Option<Levels>,
    /// The baseline before the frame, where it is known.
    pub(super) baseline: Option<f32>,
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
            hours: None,
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
    fn with(
        scoring: Scoring<'_>,
        when: Option<&Condition>,
        before: Option<Self>,
        saved: Option<Learnt>,
    ) -> Self {
        let Scoring { settings, of, over, label_set } = scoring;
        let trigger_settings = settings.trigger;
        let (hours, disabled) =
            (settings.active.as_ref().map(|active| active.to_string().into()), settings.silence.disabled);
        let watched_rule = when.map(|when| WatchedRule::new(when, label_set));
        let learnt = before.as_ref().and_then(Self::learnt).or(saved);
        let baseline = learnt.filter(|(learnt_of, _)| *learnt_of == of).map(|(_, baseline)| baseline);
        match before {
            Some(before) => {
                let same = before.rule.as_ref().map(|rule| &rule.when) == when;
                let trigger = before.trigger.with_settings(trigger_settings).with_baseline(over, baseline);
                let trigger = if same { trigger } else { trigger.without_frames() };
                let trigger = if disabled { trigger.released() } else { trigger };
                let presence = before.presence.with_settings(trigger_settings);
                Self { settings, hours, of, presence, rule: watched_rule, trigger, restored: false, ..before }
            }
            None => Self {
                label: settings.name.as_str().into(),
                settings,
                hours,
                of,
                presence: Presence::new(trigger_settings),
                rule: watched_rule,
                trigger: Trigger::new(trigger_settings).with_baseline(over, baseline),
                raised: None,
                restored: false,
            },
        }
    }

    /// A label or a rule of a stored setup. The state of `before` continues as after a reload of the configuration.
    pub(super) fn of_setup(label_set: &str, setup: &LabelSetup, before: Option<Self>) -> Self {
        let scoring =
            Scoring { label_set, settings: setup.settings(), of: setup.of.clone(), over: setup.over };
        Self::with(scoring, setup.when.as_ref(), before, None)
    }

    /// How it is judged.
    pub(super) fn setup(&self) -> LabelSetup {
        let Label { name: _, prompts: _, trigger, severity, message, active, regions: _, silence, look: _ } =
            &self.settings;
        LabelSetup {
            name: self.label.to_string(),
            trigger: *trigger,
            over: self.trigger.over(),
            active: active.clone(),
            severity: *severity,
            message: message.clone(),
            silence: *silence,
            when: self.rule.as_ref().map(|rule| rule.when.clone()),
            of: self.of.clone(),
        }
    }

    /// Its state.
    pub(super) fn state(&self) -> LabelState {
        LabelState { trigger: self.trigger.state(), presence: self.presence.state() }
    }

    /// After a restart of the service: frames from before do not count.
    pub(super) fn restarted(&mut self) {
        self.trigger = self.trigger.clone().restarted();
        self.presence = Presence::restore(self.settings.trigger, self.trigger.is_raised());
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

    /// Counts the newest score of a label, also for the conditions of rules.
    pub(super) fn count(&mut self, score: f32, at: Timestamp) -> Option<Counted> {
        // The levels before this frame is learnt.
        let (levels, baseline) = (self.levels(), self.baseline());
        self.presence.update(score, levels, at);
        let transition = self.decide(score, self.permission(at), at)?;
        Some(Counted { transition, levels, baseline })
    }

    /// Counts whether the condition of a rule is met; `None` is unknown.
    pub(super) fn count_rule(&mut self, met: Option<bool>, at: Timestamp) -> Option<Transition> {
        if let Some(rule) = &mut self.rule {
            rule.met = met;
        }
        self.decide(rule_score(met), self.permission(at), at)
    }

    /// The transition that the newest score causes, and what the gates said to it. Outside its hours, and while it is snoozed, a label
    /// is not raised, and is cleared as usual. A label that is switched off is neither.
    pub(super) fn update(&mut self, score: f32, at: Timestamp) -> (Option<Transition>, Checks) {
        let permission = self.permission(at);
        let Permission { enabled, active, snoozed } = permission;
        let mut checks = self.trigger.check(score, active.unwrap_or(true), at);
        checks.passed.add_if(GateKind::Active, active == Some(true));
        checks.held.add_if(GateKind::Snooze, snoozed);
        checks.held.add_if(GateKind::Enabled, !enabled);
        (self.decide(score, permission, at), checks)
    }

    /// What the settings say about a frame that was captured at this time, whatever its score is.
    fn permission(&self, at: Timestamp) -> Permission {
        let Label { silence, active, .. } = &self.settings;
        Permission {
            enabled: !silence.disabled,
            active: active.as_ref().map(|active| active.holds(at)),
            snoozed: silence.snoozed(at).is_some(),
        }
    }

    fn decide(&mut self, score: f32, permission: Permission, at: Timestamp) -> Option<Transition> {
        match permission {
            Permission { enabled: false, .. } => None,
            Permission { active: Some(false), .. } | Permission { snoozed: true, .. } => {
                self.trigger.update_inactive(score, at)
            }
            _ => self.trigger.update(score, at),
        }
    }

    /// What was made of a frame, after [`Self::update`]. `refined` gives the gate of a score that is too low, if there is more to say
    /// than that.
    pub(super) fn assess(
        &self,
        measured: &Measured<'_>,
        (transition, checks): (Option<Transition>, Checks),
        refined: impl FnOnce() -> Option<Gate>,
    ) -> Assessment {
        let (raised, rule) = (self.trigger.is_raised(), self.rule.as_ref());
        let mut passed = if raised && transition.is_none() { Gates::default() } else { checks.passed };
        if rule.is_some() && passed.contains(GateKind::Threshold) {
            passed = passed.without(GateKind::Threshold);
            passed.add_if(GateKind::Condition, true);
        }
        // A label that this frame cleared is not raised by it, whatever the gates say.
        let first = checks.held.first().unwrap_or(GateKind::Hold);
        let held_by = (!raised).then(|| match first {
            GateKind::Threshold => refined().unwrap_or(Gate::BelowThreshold),
            other => self.gate(other, checks),
        });
        let also_held_by = if raised { Gates::default() } else { checks.held.without(first) };
        Assessment {
            label_set: Arc::clone(measured.label_set),
            label: Arc::clone(&self.label),
            when: rule.map(|rule| Arc::clone(&rule.text)),
            score: if rule.is_some() { f32::NAN } else { measured.score },
            region: measured.region.cloned(),
            levels: measured.levels.filter(|_| rule.is_none()),
            baseline: measured.baseline,
            raised,
            raised_since: self.trigger.raised_since(),
            held_by,
            also_held_by,
            passed,
        }
    }

    fn gate(&self, kind: GateKind, checks: Checks) -> Gate {
        match kind {
            GateKind::Baseline => {
                let Learning { frames, left } = self.trigger.learning();
                Gate::BaselineUnknown { frames, left }
            }
            GateKind::Enabled => Gate::Disabled,
            GateKind::Active => Gate::Inactive { active: self.hours.clone().unwrap_or_default() },
            GateKind::Snooze => {
                Gate::Snoozed { until: self.settings.silence.snoozed_until.unwrap_or_default() }
            }
            GateKind::For => Gate::Lasting { left: checks.lasting_left },
            GateKind::Cooldown => Gate::Cooldown { left: checks.cooldown_left },
            _ => {
                let Hold { frames, of } = self.settings.trigger.hold;
                // A frame that cleared the label does not count.
                let seen = if checks.held.contains(GateKind::Hold) { checks.agreeing } else { 0 };
                Gate::Hold { seen, frames, of }
            }
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

    /// The gate of a label that is limited to regions, if its score reaches the threshold in another region only. `index` is that of the
    /// label in the scores.
    pub(super) fn other_regions(
        &self,
        scores: &SetScores,
        index: usize,
        here: f32,
        levels: Option<Levels>,
    ) -> Option<Gate> {
        if self.settings.regions.is_empty() {
            return None;
        }
        let (elsewhere, region) = scores.best(index)?;
        let reaches = levels.is_some_and(|levels| elsewhere >= levels.threshold);
        reaches.then(|| Gate::Region { here, elsewhere, region: region.region.clone() })
    }

    /// The alert that clears it without a frame: the frame and the scores are those of the raise.
    pub(super) fn cleared(
        &self,
        raised: Alert,
        reason: Option<ClearReason>,
        (id, time): (Uuid, Timestamp),
    ) -> Alert {
        let cleared = Alert { id, state: State::Cleared, time, snapshot: None, reason, ..raised };
        Alert { message: self.message(&cleared), ..cleared }
    }

    /// The message of the alert for people.
    pub(super) fn message(&self, alert: &Alert) -> Option<String> {
        setup::filled(self.settings.message.as_ref(), alert)
    }
}

impl WatchedRule {
    fn new(when: &Condition, label_set: &str) -> Self {
        let shown = |name: &LabelName| match name.label_set == label_set {
            true => name.label.as_str().into(),
            false => format!("{}/{}", name.label_set, name.label).into(),
        };
        let shown = when.labels().into_iter().map(|name| (name.clone(), shown(name))).collect();
        Self { when: when.clone(), text: when.text().into(), shown, met: None }
    }

    /// The name of a label of the condition, as people read it in the rule's label set.
    pub(super) fn shown(&self, name: &LabelName) -> Option<Arc<str>> {
        self.shown.iter().find(|(known, _)| known == name).map(|(_, shown)| Arc::clone(shown))
    }

    /// The gate of a condition that is not met. `is_present` says whether a label is present, if it is known.
    pub(super) fn gate(&self, is_present: impl Fn(&LabelName) -> Option<bool>) -> Gate {
        let (mut missing, mut present, mut unknown) = (vec![], vec![], vec![]);
        for (name, state) in self.when.in_the_way(is_present) {
            let labels = match state {
                Some(false) => &mut missing,
                Some(true) => &mut present,
                None => &mut unknown,
            };
            labels.extend(self.shown(name));
        }
        Gate::Condition { missing, present, unknown }
    }
}

/// The score of a rule. NaN, for an unknown answer, is on neither side of the levels.
pub(super) fn rule_score(met: Option<bool>) -> f32 {
    met.map_or(f32::NAN, |met| f32::from(u8::from(met)))
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
        let mut settings = source.label(&set.name, label).clone();
        settings.silence.disabled |= !source.enabled;
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
struct Scoring<'s> {
    label_set: &'s str,
    settings: Label,
    /// See [`super::SavedBaseline::of`].
    of: String,
    /// The period of the baseline, where one is learnt.
    over: Option<Duration>,
}

impl<'s> Scoring<'s> {
    fn of(
        source: &Source,
        set: &'s LabelSet,
        settings: Label,
        when: Option<&Condition>,
        model: &str,
    ) -> Self {
        // Whether a condition is met is no score that could drift.
        let over = source.baseline.filter(|_| when.is_none());
        Self { label_set: &set.name, of: scored_from(source, set, &settings, model), settings, over }
    }
}

/// What the scores of a label are computed from. The other labels of the set are not part of it, because they change while the
/// service runs. Every field of the set is named, so that a new field requires a decision.
pub fn scored_from(source: &Source, set: &LabelSet, label: &Label, model: &str) -> String {
    let LabelSet { name: _, templates, scoring, background, labels: _, rules: _ } = set;
    let templates: Vec<_> = templates.iter().map(ToString::to_string).collect();
    let (prompts, regions, all_regions) = (&label.prompts, &label.regions, &source.regions);
    // A source without a mask keeps the baselines that were learnt before there were masks.
    let mask = if source.mask.is_empty() { String::new() } else { format!(" {:?}", source.mask) };
    format!("{model} {scoring:?} {templates:?} {background:?} {prompts:?} {regions:?} {all_regions:?}{mask}")
}
