//! The judge: the triggers of every label and rule on every source, and the alerts they cause.
//!
//! Pure: the caller passes the time and creates the identifiers. The service, `replay` and `tune` use the same judge.

mod assessment;
mod checkpoint;
mod rejudge;
mod rules;
mod setup;
#[cfg(test)]
mod tests;
mod watched;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::watched::scored_from;
use self::watched::{Evidence, Measured, Watched};
pub use self::{
    assessment::{Assessment, Gate, Judged},
    rejudge::{FrameScores, SourceJudge, Turn},
    setup::{Checkpoint, LabelSetup, LabelState, SetSetup, Setup, Start},
};
use crate::{
    alert::{Alert, ClearReason, FrameInfo, Place, State, Topics},
    classify::Scored,
    config::{Config, Source},
    policy::{LabelSet, Levels},
    trigger::{Baseline, Transition},
};

/// The triggers of every label and rule, by source and label set.
type Triggers = BTreeMap<(String, String), Vec<Watched>>;

/// The triggers of every label and rule on every source.
pub struct Judge {
    model: Arc<str>,
    topics: Topics,
    watched: Triggers,
    /// Where the alerts of each source come from.
    places: BTreeMap<String, Place>,
    /// The baselines from before a restart, until the first reload.
    saved: Vec<SavedBaseline>,
    /// How each source is judged.
    setups: BTreeMap<String, Arc<Setup>>,
}

/// The baseline of a label on a source, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedBaseline {
    source: String,
    label_set: String,
    label: String,
    /// What the scores were computed from. It is compared and nothing else: other prompts give other scores.
    of: String,
    #[serde(flatten)]
    baseline: Baseline,
}

/// What changes when another configuration is in force. The alerts are published first, then the topics.
#[derive(Debug, Default, PartialEq)]
pub struct Reloaded {
    /// Alerts that clear the labels which were raised and are no longer watched, or are switched off.
    pub cleared: Vec<Alert>,
    /// The state topics of labels that are no longer watched.
    pub removed: Vec<String>,
    /// The state topics of labels that are new. A topic may be removed and added, when the spelling of a name changes.
    pub added: Vec<String>,
    /// The state topics of labels that have been raised since before a restart.
    pub raised: Vec<String>,
}

impl Judge {
    /// A judge without triggers; [`Self::reload`] creates them. `model` is the model's name in alerts.
    #[must_use]
    pub fn new(prefix: &str, model: &str) -> Self {
        Self {
            model: model.into(),
            topics: Topics::new(prefix),
            watched: BTreeMap::new(),
            places: BTreeMap::new(),
            saved: Vec::new(),
            setups: BTreeMap::new(),
        }
    }

    /// Restores the state of labels from before a restart: whether each was raised, and its last alert that it was raised. Call
    /// it before the first [`Self::reload`].
    pub fn restore(&mut self, marks: impl IntoIterator<Item = (bool, Alert)>) {
        for (raised, alert) in marks {
            let key = (alert.source.to_string(), alert.label_set.to_string());
            self.watched.entry(key).or_default().push(Watched::restore(raised, alert));
        }
    }

    /// Restores the baselines from before a restart. Call it before the first [`Self::reload`].
    pub fn restore_baselines(&mut self, saved: Vec<SavedBaseline>) {
        self.saved = saved;
    }

    /// The baselines of all labels, for [`Self::restore_baselines`].
    #[must_use]
    pub fn baselines(&self) -> Vec<SavedBaseline> {
        let labels =
            self.watched.iter().flat_map(|(key, labels)| labels.iter().map(move |label| (key, label)));
        labels
            .filter_map(|((source, label_set), label)| {
                let (of, baseline) = label.learnt()?;
                let (source, label_set) = (source.clone(), label_set.clone());
                Some(SavedBaseline { source, label_set, label: label.label.to_string(), of, baseline })
            })
            .collect()
    }

    /// The levels for the next frame of `source`, for labels whose levels are rises over a known baseline: label set, label,
    /// levels.
    pub fn moving_levels(&self, source: &str) -> impl Iterator<Item = (&str, &str, Levels)> {
        self.of_source(source).flat_map(|(set, labels)| {
            let rising = labels.iter().filter(|label| label.settings.trigger.rises);
            rising.filter_map(move |label| Some((set, &*label.label, label.levels()?)))
        })
    }

    fn of_source(&self, source: &str) -> impl Iterator<Item = (&str, &[Watched])> {
        let sets = self.watched.iter().filter(move |((of, _), _)| of == source);
        sets.map(|((_, set), labels)| (set.as_str(), labels.as_slice()))
    }

    /// Creates the triggers for what `config` watches. A label that was watched before, in the same label set on the same source,
    /// keeps the state of its trigger, even if its settings, its prompts or the regions changed.
    pub fn reload(&mut self, config: &Config, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Reloaded {
        self.topics = Topics::of(config);
        let mut before = std::mem::take(&mut self.watched);
        let mut saved = std::mem::take(&mut self.saved);
        let mut reloaded = Reloaded::default();
        let places = config.sources.iter().map(|source| (source.name.clone(), place(config, source)));
        self.places = places.collect();
        for (source, set) in config.watches() {
            self.watch(source, set, &mut before, &mut saved, &mut reloaded);
        }
        self.stop_watching(before, now, &mut id, &mut reloaded);
        self.clear_disabled(now, &mut id, &mut reloaded);
        self.update_setups(config, None);
        reloaded
    }

    /// Creates the triggers for `source`, which `config` has in addition to what is watched already, and removes those of the
    /// source `gone`. All others are unchanged.
    pub fn add(
        &mut self,
        config: &Config,
        source: &Source,
        gone: Option<&str>,
        now: Timestamp,
        mut id: impl FnMut() -> Uuid,
    ) -> Reloaded {
        self.topics = Topics::of(config);
        let mut reloaded = Reloaded::default();
        self.places.insert(source.name.clone(), place(config, source));
        let is_of =
            |(name, _): &(String, String)| gone.is_some_and(|gone| name == gone) || *name == source.name;
        let mut before: Triggers = self.watched.extract_if(.., |key, _| is_of(key)).collect();
        for set in config.watched_by(source) {
            self.watch(source, set, &mut before, &mut Vec::new(), &mut reloaded);
        }
        self.stop_watching(before, now, &mut id, &mut reloaded);
        self.clear_disabled(now, &mut id, &mut reloaded);
        if let Some(gone) = gone {
            self.setups.remove(gone);
            self.places.remove(gone);
        }
        self.update_setups(config, Some(&source.name));
        reloaded
    }

    /// Creates the triggers of a label set on a source. They keep their state in `before`, and the baselines in `saved`.
    fn watch(
        &mut self,
        source: &Source,
        set: &LabelSet,
        before: &mut Triggers,
        saved: &mut Vec<SavedBaseline>,
        reloaded: &mut Reloaded,
    ) {
        let key = (source.name.clone(), set.name.clone());
        let mut known = before.remove(&key).unwrap_or_default();
        let saved = |label: &str| {
            let is_of = |it: &SavedBaseline| it.source == key.0 && it.label_set == key.1 && it.label == label;
            let saved = saved.swap_remove(saved.iter().position(is_of)?);
            Some((saved.of, saved.baseline))
        };
        let labels = watched::of((source, set, &self.model), &mut known, saved, |label, raised| {
            let topics = if raised { &mut reloaded.raised } else { &mut reloaded.added };
            topics.push(self.topics.state(&source.name, &set.name, label));
        });
        if !known.is_empty() {
            before.insert(key.clone(), known);
        }
        self.watched.insert(key, labels);
    }

    /// Clears what was raised and is no longer watched.
    fn stop_watching(
        &self,
        before: Triggers,
        now: Timestamp,
        id: &mut impl FnMut() -> Uuid,
        reloaded: &mut Reloaded,
    ) {
        for ((source, set), labels) in before {
            for label in labels {
                reloaded.removed.push(self.topics.state(&source, &set, &label.label));
                let Some(raised) = label.raised.as_deref() else { continue };
                reloaded.cleared.push(label.cleared(raised.clone(), None, (id(), now)));
            }
        }
    }

    /// Clears what was raised and is switched off now.
    fn clear_disabled(&mut self, now: Timestamp, id: &mut impl FnMut() -> Uuid, reloaded: &mut Reloaded) {
        let labels = self.watched.values_mut().flatten();
        for label in labels.filter(|label| label.settings.silence.disabled) {
            let Some(raised) = label.raised.take() else { continue };
            reloaded.cleared.push(label.cleared(*raised, Some(ClearReason::Disabled), (id(), now)));
        }
    }

    /// Moves the times in all triggers after the clock was set by this much.
    pub fn clock_was_set(&mut self, by: SignedDuration) {
        self.watched.values_mut().flatten().for_each(|watched| watched.clock_was_set(by));
    }

    /// Judges this frame.
    pub fn judge(&mut self, scored: &Scored, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Judged {
        let mut judged = Judged::default();
        let place = self.places.get(&*scored.frame.source).cloned().unwrap_or_default();
        for scores in &scored.sets {
            let key = (scored.frame.source.to_string(), scores.label_set.to_string());
            let scene = Scene { model: &self.model, topics: &self.topics, place: &place, scored, now };
            // A frame that was in flight while the configuration changed may have scores of removed labels and none of new
            // ones. Labels are matched by name; the rest is ignored.
            let labels = self.watched.get_mut(&key).map_or(&mut [][..], Vec::as_mut_slice);
            let labels = labels.iter_mut().enumerate().filter(|(_, watched)| watched.rule.is_none());
            for (likely, watched) in labels {
                let Some(index) = watched.index_in(scores, likely) else { continue };
                let Some((score, region)) = scores.best_in(index, &watched.settings.regions) else {
                    continue;
                };
                // The levels before this frame is learnt.
                let (levels, baseline) = (watched.levels(), watched.baseline());
                let at = scored.frame.captured_at;
                watched.presence.update(score, levels, at);
                let (transition, checks) = watched.update(score, at);
                let label_set = &scores.label_set;
                let measured =
                    Measured { label_set, score, region: region.region.as_ref(), levels, baseline };
                let elsewhere = || watched.other_regions(scores, index, score, levels);
                judged.assessments.push(watched.assess(&measured, (transition, checks), elsewhere));
                let Some(transition) = transition else { continue };
                let evidence = Evidence {
                    score,
                    threshold: levels.map_or(f32::NAN, |levels| levels.threshold),
                    baseline,
                    region: region.region.clone(),
                    scores: scores.labels.iter().cloned().zip(region.labels.iter().copied()).collect(),
                    background: region.background,
                };
                judged.alerts.push(scene.alert(label_set, watched, transition, evidence, id()));
            }
        }
        self.judge_rules(scored, now, &mut id, &mut judged);
        judged
    }
}

/// Where the alerts of a source come from.
fn place(config: &Config, source: &Source) -> Place {
    Place {
        instance: Some(config.instance.as_str().into()),
        area: source.area.as_deref().map(Arc::from),
        location: source.location.as_deref().map(Arc::from),
    }
}

/// What all alerts of a frame have in common.
struct Scene<'s> {
    model: &'s Arc<str>,
    topics: &'s Topics,
    place: &'s Place,
    scored: &'s Scored,
    now: Timestamp,
}

impl Scene<'_> {
    /// The alert of this transition. `watched` keeps it while it is raised.
    fn alert(
        &self,
        label_set: &Arc<str>,
        watched: &mut Watched,
        transition: Transition,
        evidence: Evidence,
        id: Uuid,
    ) -> Alert {
        let Evidence { score, threshold, baseline, region, scores, background } = evidence;
        let raised = transition == Transition::Raised;
        let frame = &self.scored.frame;
        let mut alert = Alert {
            id,
            state: if raised { State::Raised } else { State::Cleared },
            time: self.now,
            source: Arc::clone(&frame.source),
            region,
            label_set: Arc::clone(label_set),
            label: Arc::clone(&watched.label),
            when: watched.rule.as_ref().map(|rule| Arc::clone(&rule.text)),
            score,
            threshold,
            baseline,
            severity: watched.settings.severity,
            message: None,
            reason: None,
            scores,
            background,
            model: Arc::clone(self.model),
            frame: FrameInfo {
                origin: frame.origin.clone(),
                captured_at: frame.captured_at,
                width: frame.picture.width,
                height: frame.picture.height,
            },
            snapshot: raised.then(|| self.topics.snapshot(&frame.source)),
            place: self.place.clone(),
        };
        alert.message = watched.message(&alert);
        watched.raised = raised.then(|| Box::new(alert.clone()));
        alert
    }
}
