//! From scores to alerts: the triggers of every label on every source, and what there is to tell when one changes.
//!
//! Pure: the caller brings the time and the identifiers. It refuses to keep or to send anything.

#[cfg(test)]
mod tests;
mod watched;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use self::watched::Watched;
use crate::{
    alert::{Alert, FrameInfo, State, Topics},
    classify::Scored,
    config::Config,
    trigger::Transition,
};

/// The triggers of every label on every source.
pub struct Judge {
    model: Arc<str>,
    topics: Topics,
    /// By source and label set.
    watched: BTreeMap<(String, String), Vec<Watched>>,
}

/// What there is to tell when other labels are watched. First the alerts, then the topics.
#[derive(Debug, Default, PartialEq)]
pub struct Reloaded {
    /// Labels that are not watched any more were cleared, where they were raised.
    pub(super) cleared: Vec<Alert>,
    /// The topics of the states of labels that are not watched any more.
    pub(super) forgotten: Vec<String>,
    /// The topics of the states of labels that are watched from now on; one may have been forgotten just before, under
    /// another spelling of the same name.
    pub(super) new: Vec<String>,
    /// Likewise, of those that are raised since before a restart.
    pub(super) still: Vec<String>,
}

impl Judge {
    /// No triggers at all; [`Self::reload`] brings them. `model` is the name that alerts give.
    #[must_use]
    pub fn new(prefix: &str, model: &str) -> Self {
        Self { model: model.into(), topics: Topics::new(prefix), watched: BTreeMap::new() }
    }

    /// How it stood with labels before a restart: whether each was raised, and its newest alert that it was. To be said before
    /// the first [`Self::reload`], which goes on from there.
    pub fn recall(&mut self, marks: impl IntoIterator<Item = (bool, Alert)>) {
        for (raised, alert) in marks {
            let key = (alert.source.to_string(), alert.label_set.to_string());
            self.watched.entry(key).or_default().push(Watched::recall(raised, alert));
        }
    }

    /// Triggers for what `config` watches. A label that was watched before, in the same label set on the same source,
    /// keeps what its trigger knows, whatever became of its rule, its prompts and the regions.
    pub fn reload(&mut self, config: &Config, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Reloaded {
        let mut before = std::mem::take(&mut self.watched);
        let mut told = Reloaded::default();
        for (source, set) in config.watches() {
            let key = (source.name.clone(), set.name.clone());
            let mut known = before.remove(&key).unwrap_or_default();
            let labels = watched::of(source, set, &mut known, |label, raised| {
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

    /// What there is to tell after this frame, in the order of the label sets and their labels.
    pub fn judge(&mut self, scored: &Scored, now: Timestamp, mut id: impl FnMut() -> Uuid) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for scores in &scored.sets {
            let key = (scored.frame.source.to_string(), scores.label_set.to_string());
            // A frame that was under way while the configuration changed may have scores of labels that are not watched
            // any more, and none of those that are new: by their names each finds its own, and the rest is nobody's.
            let labels = self.watched.get_mut(&key).map_or(&mut [][..], Vec::as_mut_slice);
            for (likely, watched) in labels.iter_mut().enumerate() {
                let Some(place) = watched.place(scores, likely) else { continue };
                let Some((score, region)) = scores.best_in(place, &watched.settings.regions) else {
                    continue;
                };
                let captured_at = scored.frame.captured_at;
                let counts = watched.counts(score, captured_at);
                let Some(transition) = watched.trigger.update(counts, captured_at) else { continue };
                let mut alert = Alert {
                    id: id(),
                    state: match transition {
                        Transition::Raised => State::Raised,
                        Transition::Cleared => State::Cleared,
                    },
                    time: now,
                    source: Arc::clone(&scored.frame.source),
                    region: region.region.clone(),
                    label_set: Arc::clone(&scores.label_set),
                    label: Arc::clone(&watched.label),
                    score,
                    threshold: watched.settings.rule.threshold,
                    severity: watched.settings.severity,
                    message: None,
                    scores: scores.labels.iter().cloned().zip(region.labels.iter().copied()).collect(),
                    background: region.background,
                    model: Arc::clone(&self.model),
                    frame: frame_info(scored),
                    snapshot: (transition == Transition::Raised)
                        .then(|| self.topics.snapshot(&scored.frame.source)),
                };
                alert.message = watched.message(&alert);
                watched.raised = (transition == Transition::Raised).then(|| Box::new(alert.clone()));
                alerts.push(alert);
            }
        }
        alerts
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
