//! Judges stored scores of one source again: the triggers of the service without pictures, alerts and texts, so that weeks take less
//! than a second. Nothing is allocated for a frame.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    assessment::Assessment,
    setup::{LabelSetup, LabelState, Setup},
    watched::{Counted, Measured, Watched, rule_score},
};
use crate::{
    policy::{LabelName, Levels},
    trigger::Transition,
};

/// The triggers of one source.
pub struct SourceJudge {
    sets: Vec<WatchedSet>,
}

struct WatchedSet {
    name: Arc<str>,
    labels: Vec<Watched>,
    rules: Vec<WatchedOver>,
}

/// A rule, with the places of the labels of its condition: label set and label.
struct WatchedOver {
    watched: Watched,
    labels: Vec<(LabelName, Option<(usize, usize)>)>,
}

/// The scores of one frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameScores<'f> {
    /// When it was captured, in whole milliseconds.
    pub at: Timestamp,
    /// The score of each label of [`Setup::labels`]; `None` if the frame has none. The label then ignores the frame.
    pub scores: &'f [Option<f32>],
    /// Whether each label set was scored. The rules of other sets ignore the frame.
    pub sets: &'f [bool],
}

/// A label or a rule was raised or cleared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The index of its label set in the setup.
    pub set: usize,
    /// Its index among the labels of the set, or for a rule the number of labels and its index among the rules.
    pub label: usize,
    /// Raised or cleared.
    pub transition: Transition,
    /// Its score; NaN for a rule.
    pub score: f32,
    /// Its threshold at that time; NaN for a rule.
    pub threshold: f32,
    /// The baseline before the frame, if it is learnt and known.
    pub baseline: Option<f32>,
}

impl SourceJudge {
    /// The triggers of this setup, without frames.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self::after(None, setup)
    }

    /// The triggers of this setup. Where `before` has the same label or rule, its state continues as after a reload of the
    /// configuration.
    #[must_use]
    pub fn after(before: Option<Self>, setup: &Setup) -> Self {
        let mut before = before.map_or_else(Vec::new, |before| before.sets);
        let mut sets: Vec<_> = setup
            .sets
            .iter()
            .map(|set| {
                let before = before.iter_mut().find(|it| *it.name == *set.name);
                let (mut labels, mut rules) = before.map_or_else(Default::default, |before| {
                    (std::mem::take(&mut before.labels), std::mem::take(&mut before.rules))
                });
                let known = |known: &Watched, label: &LabelSetup| *known.label == *label.name;
                let labels = set.labels.iter().map(|label| {
                    let at = labels.iter().position(|it| known(it, label));
                    Watched::of_setup(&set.name, label, at.map(|at| labels.swap_remove(at)))
                });
                let labels = labels.collect();
                let rules = set.rules.iter().map(|rule| {
                    let at = rules.iter().position(|it| known(&it.watched, rule));
                    let watched =
                        Watched::of_setup(&set.name, rule, at.map(|at| rules.swap_remove(at).watched));
                    WatchedOver { watched, labels: Vec::new() }
                });
                WatchedSet { name: set.name.as_str().into(), labels, rules: rules.collect() }
            })
            .collect();
        resolve(&mut sets);
        Self { sets }
    }

    /// Continues from these states, which are in the order of [`Setup::all`]. Where `wanted` is false, the state stays.
    pub fn resume(&mut self, states: &[LabelState], mut wanted: impl FnMut(usize) -> bool) {
        for (at, (watched, state)) in self.all_mut().zip(states).enumerate() {
            if wanted(at) {
                watched.trigger.resume(&state.trigger);
                watched.presence.resume(&state.presence);
            }
        }
    }

    /// The states of all labels and rules, in the order of [`Setup::all`].
    pub fn states(&self) -> impl Iterator<Item = LabelState> {
        self.sets.iter().flat_map(|set| {
            set.labels.iter().chain(set.rules.iter().map(|rule| &rule.watched)).map(Watched::state)
        })
    }

    /// The levels for the next frame of each label, where they are known, in the order of [`Setup::labels`].
    pub fn levels(&self) -> impl Iterator<Item = Option<Levels>> {
        self.sets.iter().flat_map(|set| &set.labels).map(Watched::levels)
    }

    /// Whether the condition of each rule was met on the newest frame, where that is known: label set and rule, as in [`Turn`].
    pub fn rules(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        self.sets.iter().enumerate().flat_map(|(number, set)| {
            let rules = set.rules.iter().enumerate();
            rules.filter_map(move |(at, rule)| {
                Some((number, set.labels.len() + at, rule.watched.rule.as_ref()?.met?))
            })
        })
    }

    /// The service was restarted: frames from before do not count.
    pub fn restarted(&mut self) {
        self.all_mut().for_each(Watched::restarted);
    }

    /// The clock was set by this much.
    pub fn clock_was_set(&mut self, by: SignedDuration) {
        self.all_mut().for_each(|watched| watched.clock_was_set(by));
    }

    /// Counts a frame, and calls `each` for what it raises and clears: labels in the order of their sets, then rules.
    pub fn judge(&mut self, frame: &FrameScores<'_>, mut each: impl FnMut(Turn)) {
        let mut scores = frame.scores.iter();
        for (number, set) in self.sets.iter_mut().enumerate() {
            for (label, (watched, score)) in set.labels.iter_mut().zip(&mut scores).enumerate() {
                let Some(score) = *score else { continue };
                if let Some(counted) = watched.count(score, frame.at) {
                    each(Turn::of(number, label, score, &counted));
                }
            }
        }
        for number in 0..self.sets.len() {
            if frame.sets.get(number).copied().unwrap_or(false) {
                self.judge_rules(number, frame.at, &mut each);
            }
        }
    }

    /// Counts a frame as [`Self::judge`] does, and says what was made of each label. Regions are not stored, and are not named.
    pub fn assess(&mut self, frame: &FrameScores<'_>) -> Vec<Assessment> {
        let mut assessments = Vec::new();
        let mut scores = frame.scores.iter();
        for set in &mut self.sets {
            for (watched, score) in set.labels.iter_mut().zip(&mut scores) {
                let Some(score) = *score else { continue };
                // The levels before this frame is learnt.
                let (levels, baseline) = (watched.levels(), watched.baseline());
                watched.presence.update(score, levels, frame.at);
                let outcome = watched.update(score, frame.at);
                let measured = Measured { label_set: &set.name, score, region: None, levels, baseline };
                assessments.push(watched.assess(&measured, outcome, || None));
            }
        }
        for number in 0..self.sets.len() {
            if frame.sets.get(number).copied().unwrap_or(false) {
                self.assess_rules(number, frame.at, &mut assessments);
            }
        }
        assessments
    }

    fn assess_rules(&mut self, set: usize, at: Timestamp, assessments: &mut Vec<Assessment>) {
        let label_set = Arc::clone(&self.sets[set].name);
        for number in 0..self.sets[set].rules.len() {
            let rule = &self.sets[set].rules[number];
            let is_present = |name: &LabelName| self.is_present(rule, name);
            let condition = rule.watched.rule.as_ref();
            let met = condition.and_then(|condition| condition.when.is_met(is_present));
            let unmet = condition.filter(|_| met != Some(true));
            let gate = unmet.map(|condition| condition.gate(is_present));
            let score = rule_score(met);
            let watched = &mut self.sets[set].rules[number].watched;
            if let Some(rule) = &mut watched.rule {
                rule.met = met;
            }
            let outcome = watched.update(score, at);
            let measured =
                Measured { label_set: &label_set, score, region: None, levels: None, baseline: None };
            assessments.push(watched.assess(&measured, outcome, || gate));
        }
    }

    fn judge_rules(&mut self, set: usize, at: Timestamp, each: &mut impl FnMut(Turn)) {
        for number in 0..self.sets[set].rules.len() {
            let rule = &self.sets[set].rules[number];
            let met =
                rule.watched.rule.as_ref().and_then(|it| it.when.is_met(|name| self.is_present(rule, name)));
            let label = self.sets[set].labels.len() + number;
            if let Some(transition) = self.sets[set].rules[number].watched.count_rule(met, at) {
                each(Turn { set, label, transition, score: f32::NAN, threshold: f32::NAN, baseline: None });
            }
        }
    }

    fn is_present(&self, rule: &WatchedOver, name: &LabelName) -> Option<bool> {
        let (set, label) = rule.labels.iter().find(|(known, _)| known == name)?.1?;
        self.sets.get(set)?.labels.get(label)?.presence.is_present()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Watched> {
        self.sets
            .iter_mut()
            .flat_map(|set| set.labels.iter_mut().chain(set.rules.iter_mut().map(|rule| &mut rule.watched)))
    }
}

/// Finds the labels of the conditions.
fn resolve(sets: &mut [WatchedSet]) {
    let place = |sets: &[WatchedSet], name: &LabelName| {
        let set = sets.iter().position(|set| *set.name == *name.label_set)?;
        Some((set, sets[set].labels.iter().position(|label| *label.label == *name.label)?))
    };
    for set in 0..sets.len() {
        for rule in 0..sets[set].rules.len() {
            let when = sets[set].rules[rule].watched.rule.as_ref().map(|rule| &rule.when);
            let names: Vec<_> =
                when.map_or_else(Vec::new, |when| when.labels().into_iter().cloned().collect());
            let labels = names.into_iter().map(|name| {
                let place = place(sets, &name);
                (name, place)
            });
            let labels = labels.collect();
            sets[set].rules[rule].labels = labels;
        }
    }
}

impl Turn {
    fn of(set: usize, label: usize, score: f32, counted: &Counted) -> Self {
        let Counted { transition, levels, baseline } = *counted;
        let threshold = levels.map_or(f32::NAN, |levels| levels.threshold);
        Self { set, label, transition, score, threshold, baseline }
    }
}
