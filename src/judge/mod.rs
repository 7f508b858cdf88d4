//! From scores to alerts: the triggers of every label and rule on every source, and what there is to tell when one changes.
//!
//! Pure: the caller brings the time and the identifiers. It refuses to keep or to send anything.

mod rules;
#[cfg(test)]
mod tests;
mod watched;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

pub use self::watched::Known;
use self::watched::{Evidence, Watched};
use crate::{
    alert::{Alert, FrameInfo, State, Topics},
    classify::Scored,
    config::Config,
    policy::Levels,
    trigger::Transition,
};

/// The triggers of every label and rule on every source.
pub struct Judge {
    model: Arc<str>,
    topics: Topics,
    /// By source and label set.
    watched: BTreeMap<(String, String), Vec<Watched>>,
    /// What was known before a restart, by source, label set and label, until the first reload.
    remembered: BTreeMap<Place, Known>,
}

/// The names of a source, a label set and a label, as typed.
pub(crate) type Place = (String, String, String);

/// What there is to tell when other labels are watched. First the alerts, then the topics.
#[derive(Debug, Default, PartialEq)]
pub struct Reloaded {
    /// Labels that are not watched any more were cleared, where they were raised.
    pub(crate) cleared: Vec<Alert>,
    /// The topics of the states of labels that are not watched any more.
    pub(crate) forgotten: Vec<String>,
    /// The topics of the states of labels that are watched from now on; one may have been forgotten just before, under
    /// another spelling of the same name.
    pub(crate) new: Vec<String>,
    /// Likewise, of those that are raised since before a restart.
    pub(crate) still: Vec<String>,
}

impl Judge {
    /// No triggers at all; [`Self::reload`] brings them. `model` is the name that alerts give.
    #[must_use]
    pub fn new(prefix: &str, model: &str) -> Self {
        Self {
            model: model.into(),
            topics: Topics::new(prefix),
            watched: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    /// How it stood with labels before a restart: whether each was raised, and its newest alert that it was. To be said before
    /// the first [`Self::reload`], which goes on from there.
    pub fn recall(&mut self, marks: impl IntoIterator<Item = (bool, Alert)>) {
        for (raised, alert) in marks {
            let key = (alert.source.to_string(), alert.label_set.to_string());
            self.watched.entry(key).or_default().push(Watched::recall(raised, alert));
        }
    }

    /// What was known of labels before a restart. Likewise to be said before the first [`Self::reload`].
    pub(crate) fn remember(&mut self, known: impl IntoIterator<Item = (Place, Known)>) {
        self.remembered.extend(known);
    }

    /// What is known of labels while nothing is to be seen, for [`Self::remember`].
    pub(crate) fn known(&self) -> impl Iterator<Item = (Place, Known)> {
        let places =
            self.watched.iter().flat_map(|(key, labels)| labels.iter().map(move |label| (key, label)));
        places.filter_map(|((source, set), label)| {
            Some(((source.clone(), set.clone(), label.label.to_string()), label.known()?))
        })
    }

    /// The levels that the next frame of `source` is held to, of labels whose levels are rises over a known baseline: the names
    /// of the label set and of the label, and the levels.
    pub fn moving_levels(&self, source: &str) -> impl Iterator<Item = (&str, &str, Levels)> {
        let sets = self.watched.iter().filter(move |((of, _), _)| of == source);
        sets.flat_map(|((_, set), labels)| {
            let rising = labels.iter().filter(|label| label.settings.trigger.rises);
            rising.filter_map(|label| Some((&**set, &*label.label, label.levels()?)))
        })
    }

    /// Triggers for what `config` watches. A label that was watched before, in the same label set on the same source,
    /// keeps what its trigger knows, whatever became of its rule, its prompts and the regions.
    pub fn reload(&mut self, config: &Config, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Reloaded {
        let mut before = std::mem::take(&mut self.watched);
        let mut remembered = std::mem::take(&mut self.remembered);
        let mut told = Reloaded::default();
        for (source, set) in config.watches() {
            let key = (source.name.clone(), set.name.clone());
            let mut known = before.remove(&key).unwrap_or_default();
            let remembered =
                |label: &str| remembered.remove(&(key.0.clone(), key.1.clone(), label.to_owned()));
            let labels = watched::of((source, set, &self.model), &mut known, remembered, |label, raised| {
                let topics = if raised { &mut told.still } else { &mut told.new };
                topics.push(self.topics.state(&source.name, &set.name, label));
            });
            if !known.is_empty() {
                before.insert(key.clone(), known);
            }
            self.watched.insert(key, labels);
        }
        for ((source, set), labels) in before {
            for label in labels {
                told.forgotten.push(self.topics.state(&source, &set, &label.label));
                // Nobody looks any more, so the frame and the scores are still those of the raise.
                let Some(raised) = label.raised.as_deref() else { continue };
                let cleared =
                    Alert { id: id(), state: State::Cleared, time: now, snapshot: None, ..raised.clone() };
                told.cleared.push(Alert { message: label.message(&cleared), ..cleared });
            }
        }
        told
    }

    /// What there is to tell after this frame, in the order of the label sets and their labels, then that of their rules.
    pub fn judge(&mut self, scored: &Scored, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for scores in &scored.sets {
            let key = (scored.frame.source.to_string(), scores.label_set.to_string());
            let scene = Scene { model: &self.model, topics: &self.topics, scored, now };
            // A frame that was under way while the configuration changed may have scores of labels that are not watched
            // any more, and none of those that are new: by their names each finds its own, and the rest is nobody's.
            let labels = self.watched.get_mut(&key).map_or(&mut [][..], Vec::as_mut_slice);
            let labels = labels.iter_mut().enumerate().filter(|(_, watched)| watched.rule.is_none());
            for (likely, watched) in labels {
                let Some(place) = watched.place(scores, likely) else { continue };
                let Some((score, region)) = scores.best_in(place, &watched.settings.regions) else {
                    continue;
                };
                // Before it is learnt from.
                let (levels, baseline) = (watched.levels(), watched.baseline());
                watched.presence.update(score, levels, scored.frame.captured_at);
                let Some(transition) = watched.update(score, scored.frame.captured_at) else { continue };
                let evidence = Evidence {
                    score,
                    threshold: levels.map_or(f32::NAN, |levels| levels.threshold),
                    baseline,
                    region: region.region.clone(),
                    scores: scores.labels.iter().cloned().zip(region.labels.iter().copied()).collect(),
                    background: region.background,
                };
                alerts.push(scene.tell(&scores.label_set, watched, transition, evidence, id()));
            }
        }
        self.judge_rules(scored, now, &mut id, &mut alerts);
        alerts
    }
}

/// What all alerts of a frame have in common.
struct Scene<'s> {
    model: &'s Arc<str>,
    topics: &'s Topics,
    scored: &'s Scored,
    now: Timestamp,
}

impl Scene<'_> {
    /// The alert, which is remembered for as long as what it is about is raised.
    fn tell(
        &self,
        label_set: &Arc<str>,
        watched: &mut Watched,
        transition: Transition,
        evidence: Evidence,
        id: Uuid,
    ) -> Alert {
        let Evidence { score, threshold, baseline, region, scores, background } = evidence;
        let mut alert = Alert {
            id,
            state: match transition {
                Transition::Raised => State::Raised,
                Transition::Cleared => State::Cleared,
            },
            time: self.now,
            source: Arc::clone(&self.scored.frame.source),
            region,
            label_set: Arc::clone(label_set),
            label: Arc::clone(&watched.label),
            when: watched.rule.as_ref().map(|rule| rule.when.text().into()),
            score,
            threshold,
            baseline,
            severity: watched.settings.severity,
            message: None,
            scores,
            background,
            model: Arc::clone(self.model),
            frame: frame_info(self.scored),
            snapshot: (transition == Transition::Raised)
                .then(|| self.topics.snapshot(&self.scored.frame.source)),
        };
        alert.message = watched.message(&alert);
        watched.raised = (transition == Transition::Raised).then(|| Box::new(alert.clone()));
        alert
    }
}

fn frame_info(scored: &Scored) -> FrameInfo {
    let frame = &scored.frame;
    FrameInfo {
        origin: frame.origin.clone(),
        captured_at: frame.captured_at,
        width: frame.picture.width,
        height: frame.picture.height,
    }
}
